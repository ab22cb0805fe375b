//! Eight runs at once: one works, seven are told who it is and end with 75; a holder that is killed holds nobody up.
//!
//! No clock decides who comes first: the one that works is held at its first call of gpg until all others have ended.
use super::{ENCRYPTED, KEY, Saved, complete, count, size};
use crate::support::{Outcome, Stack};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const CROWD: usize = 8;

/// A stack whose gpg waits for the file `go` before it does anything.
fn stack() -> Stack {
    let stack = Stack::new();
    stack.configure(ENCRYPTED);
    let real = stack.sh(".", "command -v gpg");
    let home = stack.path("").display().to_string();
    let script = format!(
        "#!/bin/sh\ntouch '{home}/begun'\nwhile ! [ -e '{home}/go' ]; do sleep 0.01; done\nexec {} \"$@\"\n",
        real.trim()
    );
    stack.file("bin/gpg", &script);
    fs::set_permissions(stack.path("bin/gpg"), fs::Permissions::from_mode(0o755)).expect("sets");
    stack
}

/// The verbs that take the lock of the destination, `backup` the most often.
fn start(stack: &Stack, number: usize, repository: &str) -> Child {
    let args: &[&str] = if number % 4 == 3 { &["prune"] } else { &["backup"] };
    let mut command = stack.command(args);
    let path = std::env::var("PATH").expect("a path");
    command.current_dir(stack.path(repository)).env(KEY.0, KEY.1);
    command.env("PATH", format!("{}:{path}", stack.path("bin").display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{what} has not come to pass");
}

fn ended(child: Child) -> (i32, String) {
    let output = child.wait_with_output().expect("ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// Starts the crowd in these repositories, `first` of them a backup, and looks at what comes of it.
fn crowd(stack: &Stack, repositories: &[String]) {
    fs::remove_file(stack.path("go")).ok();
    fs::remove_file(stack.path("begun")).ok();
    let before = complete(stack, "drive").len();
    let holder = start(stack, 0, &repositories[0]);
    let number = holder.id();
    until("the first run's gpg", || stack.path("begun").exists());
    let others: Vec<Child> =
        (1..CROWD).map(|number| start(stack, number, &repositories[number % repositories.len()])).collect();
    for other in others {
        let (code, said) = ended(other);
        assert_eq!(code, 75, "{said}");
        assert!(said.contains(&format!("`backup` (process {number}, since ")), "no holder in: {said}");
    }
    stack.file("go", "");
    let (code, said) = ended(holder);
    assert_eq!(code, 0, "{said}");
    assert_eq!(complete(stack, "drive").len(), before + 1, "one backup was made");
}

fn again(stack: &Stack) -> Outcome {
    let later = ("RECOVERY_NOW", super::LATER);
    stack.run_with(&[KEY, later], &["backup"])
}

#[test]
fn of_eight_runs_in_one_repository_one_works() {
    let stack = stack();
    for _ in 0..size(1, 5) {
        crowd(&stack, &["repo".to_owned()]);
        count("crowds", CROWD);
    }
    again(&stack).ok();
    stack.run_with(&[KEY, ("RECOVERY_NOW", super::LATER)], &["verify"]).ok();
}

#[test]
fn of_eight_repositories_with_one_drive_one_works() {
    let stack = stack();
    let repositories: Vec<String> = (0..CROWD).map(|number| format!("other-{number}")).collect();
    for repository in &repositories {
        stack.sh(".", &format!("cp -a repo {repository}"));
    }
    for _ in 0..size(1, 5) {
        crowd(&stack, &repositories);
        count("crowds", CROWD);
    }
}

/// Eight at the same instant, and nobody is held: whoever does not work is told so, and what is made is whole.
#[test]
fn eight_at_the_same_instant_make_whole_backups_or_none() {
    let stack = stack();
    stack.file("go", "");
    let saved = Saved::of(&stack, &["drive", "repo/.recovery"]);
    for _ in 0..size(1, 10) {
        saved.back();
        let all: Vec<Child> = (0..CROWD).map(|_| start(&stack, 0, "repo")).collect();
        let codes: Vec<(i32, String)> = all.into_iter().map(ended).collect();
        let worked = codes.iter().filter(|(code, _)| *code == 0).count();
        assert!(worked >= 1 && codes.iter().all(|(code, _)| [0, 75].contains(code)), "{codes:?}");
        assert_eq!(complete(&stack, "drive").len(), worked, "{codes:?}");
        let left = stack.files("drive");
        assert_eq!(left.len(), 3 * worked, "{left:?}");
        count("crowds", CROWD);
    }
}

#[test]
fn a_killed_holder_blocks_nobody() {
    let stack = stack();
    for _ in 0..size(2, 10) {
        fs::remove_file(stack.path("go")).ok();
        fs::remove_file(stack.path("begun")).ok();
        let mut holder = start(&stack, 0, "repo");
        until("the run's gpg", || stack.path("begun").exists());
        holder.kill().expect("kills");
        holder.wait().expect("ends");
        // Its gpg still waits, and must not hold the lock in its stead.
        again(&stack).ok();
        let prune = stack.run_with(&[("RECOVERY_NOW", super::LATER)], &["prune"]);
        prune.ok();
        stack.file("go", "");
        stack.sh("drive", "rm -rf 2026");
        stack.sh("repo", "rm -rf .recovery");
        count("crowds", 1);
    }
    // The last of them may still be looking for the file.
    Command::new("sleep").arg("0.1").status().expect("waits");
}
