//! What is wrong with another machine is told as what it is, with what mends it, before a byte is archived.
use super::super::support::{Outcome, Stack};
use super::far::{Sshd, configure, stack};
use std::fs;

/// Every verb that looks over there ends with this code, or `status` with a finding, and says so.
fn all_say(stack: &Stack, code: i32, what: &[&str]) {
    let check = |said: Outcome, code: i32| drop(said.exits(code).says(what));
    check(stack.run(&["backup"]), code);
    check(stack.run(&["backup", "--dry-run"]), code);
    check(stack.run(&["status"]), 1);
}

/// A folder with these tools in it, for sshd to look in alone.
fn only(stack: &Stack, tools: &[&str]) -> String {
    let folder = format!("only-{}", tools.len());
    fs::create_dir(stack.path(&folder)).expect("makes a folder");
    for tool in tools {
        stack.sh(&folder, &format!("ln -s \"$(command -v {tool})\" {tool}"));
    }
    format!("PATH={}", stack.path(&folder).display())
}

#[test]
fn a_tool_that_is_missing_over_there_is_named() {
    let stack = stack("", "");
    let shell = ["sh", "df", "tail", "cat", "mkdir"];
    {
        let _sshd = Sshd::with(&stack, &only(&stack, &shell), "");
        all_say(&stack, 3, &["rsync (on 127.0.0.1), sha256sum (on 127.0.0.1)", "install over there"]);
    }
    let _sshd = Sshd::with(&stack, &only(&stack, &[&shell[..], &["rsync"]].concat()), "");
    all_say(&stack, 3, &["not installed: sha256sum (on 127.0.0.1)"]);
}

#[test]
fn a_login_shell_that_talks_is_told() {
    let stack = stack("", "");
    {
        let talks = "ForceCommand echo Welcome to the far side; eval \"$SSH_ORIGINAL_COMMAND\"";
        let _sshd = Sshd::with(&stack, "", talks);
        all_say(&stack, 3, &["prints \"Welcome to the far side\"", "true` has to print nothing"]);
    }
    let _sshd = Sshd::with(&stack, "", "ForceCommand echo closed for today");
    all_say(&stack, 3, &["something else than a POSIX shell"]);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_told() {
    let stack = stack("", "");
    let _sshd = Sshd::start(&stack);
    fs::remove_dir(stack.path("far it's")).expect("removes");
    stack.file("far it's", "in the way");
    all_say(&stack, 3, &["far it's is no folder", "move away what lies there"]);
}

#[test]
fn what_reaches_the_other_machine_is_told_as_it_is_configured() {
    let stack = stack("", "");
    let home = stack.path("").display().to_string();
    let home = home.trim_end_matches('/');
    // Nobody listens there: the line to try has all that `ssh =` has.
    stack.file("home/ssh.conf", "Port 1\n");
    all_say(&stack, 75, &[&format!("`ssh -F {home}/home/ssh.conf 127.0.0.1 true` works")]);
    let toml = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &toml.replace("\"ssh -F", "\"no-such-ssh -F"));
    all_say(&stack, 3, &["not installed: no-such-ssh", "correct `ssh` of the destination"]);
    // Where another program is named, nobody asks for `ssh`.
    configure(&stack, "", "");
    let _sshd = Sshd::start(&stack);
    let toml = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let path = only(&stack, &["git", "rsync", "sh", "gzip"]);
    let path = path.strip_prefix("PATH=").expect("a path");
    stack.run_with(&[("PATH", path)], &["backup"]).exits(3).says(&["not installed: ssh", "openssh-client"]);
    let other = stack.path("another").display().to_string();
    stack.sh(".", "ln -s \"$(command -v ssh)\" another");
    stack.file("repo/recovery.toml", &toml.replace("\"ssh -F", &format!("\"{other} -F")));
    stack.run_with(&[("PATH", path)], &["backup"]).ok();
    stack.run_with(&[("PATH", path)], &["restore", "codex-api", "--to", "../back"]).ok();
}

/// A machine on which nothing tells what is free: the rest is told all the same, and no number is made up.
#[test]
fn free_room_that_nobody_tells_is_null_and_no_number() {
    let stack = stack("", "");
    fs::create_dir(stack.path("all but df")).expect("makes a folder");
    stack.sh("all but df", "ln -s /usr/bin/* /bin/* . 2> ../home/doubles || true; rm df; test -e rsync");
    let path = format!("PATH=\"{}\"", stack.path("all but df").display());
    let _sshd = Sshd::with(&stack, &path, "");
    stack.run(&["backup"]).ok();
    let status = stack.run(&["status", "--prometheus", "../numbers", "--json"]).ok().json();
    let far = &status["destinations"][1];
    assert_eq!((&far["name"], &far["available"]), (&"far".into(), &true.into()), "{status}");
    assert!(far["free_bytes"].is_null() && far["used_bytes"].as_u64() > Some(0), "{status}");
    let numbers = fs::read_to_string(stack.path("numbers")).expect("reads");
    let of_far: Vec<&str> = numbers.lines().filter(|line| line.contains("destination=\"far\"")).collect();
    assert!(of_far.iter().any(|line| line.starts_with("recovery_destination_used_bytes")), "{numbers}");
    assert!(!of_far.iter().any(|line| line.starts_with("recovery_destination_free_bytes")), "{numbers}");
    stack.run(&["status"]).ok().says(&["free room unknown"]);
}
