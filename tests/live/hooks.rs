//! The user's own commands around the backup of a set: when each of them runs, when it does not, and what is told of it.
use super::super::support::{Stack, outcome};
use super::{of_kind, with};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");

/// What the commands of a stack have noted, in their order.
fn log(stack: &Stack) -> String {
    fs::read_to_string(stack.path("log")).unwrap_or_default()
}

/// Waits for a sign; a run that ends without it fails the test.
fn until(child: &mut Child, sign: &dyn Fn() -> bool) {
    while !sign() {
        assert_eq!(child.try_wait().expect("waits"), None, "it ended too early");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_before_makes_is_in_the_backup_and_after_takes_it_away() {
    let stack = with(
        "before = ['echo rows > .codex-api/dump.sql', 'echo more >> .codex-api/dump.sql']
         after = ['mv .codex-api/dump.sql ../log', 'echo done >> ../log']",
        "",
    );
    let made = stack.run(&["backup", "--json"]).ok().json();
    assert_eq!(made["sets"][0]["status"], "ok", "{made}");
    assert_eq!(made["sets"][0]["before"].as_array().map(Vec::len), Some(2), "{made}");
    assert_eq!(log(&stack), "rows\nmore\ndone\n");
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.sh("back/.codex-api", "cat dump.sql"), "rows\nmore\n");
}

/// The dump is what makes the set need sqlite3, and is copied as a database.
#[test]
fn a_database_that_before_makes_is_copied_as_one() {
    let stack = with(
        "before = ['sqlite3 .codex-api/new.db \"PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (7)\"']",
        "",
    );
    stack.run(&["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.sh("back/.codex-api", "sqlite3 new.db 'SELECT x FROM t'"), "7\n");
}

#[test]
fn a_before_that_fails_stops_its_own_set_only() {
    let stack = with(
        "before = ['echo one >> ../log', 'echo no such table; exit 3', 'echo never >> ../log']
         after = ['echo first >> ../log; exit 4', 'echo second >> ../log']
         [data.other]
         source = 'docs'
         before = ['echo other >> ../log']",
        "",
    );
    let made = stack.run(&["backup", "--json"]).exits(1).json();
    assert_eq!(log(&stack), "one\nfirst\nsecond\nother\n");
    assert_eq!(made["sets"][0]["status"], "failed", "{made}");
    assert_eq!(made["sets"][1]["status"], "ok", "{made}");
    let found = of_kind(&made, "hook");
    assert_eq!(found.len(), 2, "{made}");
    assert!(found.iter().all(|finding| finding["severity"] == "error"), "{made}");
    let what: Vec<String> = found.iter().map(|finding| finding["what"].to_string()).collect();
    assert!(
        what[0].contains("`before`") && what[0].contains('3') && what[0].contains("no such table"),
        "{made}"
    );
    assert!(what[1].contains("`after`") && what[1].contains('4'), "{made}");
    let names = stack.files("drive");
    assert!(names.iter().any(|name| name.contains("other")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("codex-api")), "{names:?}");
}

/// The backup itself is whole; the run is not.
#[test]
fn an_after_that_fails_is_an_error_beside_a_good_backup() {
    let stack = with("after = ['exit 5']", "");
    let made = stack.run(&["backup", "--json"]).exits(1).json();
    assert_eq!(made["sets"][0]["status"], "ok", "{made}");
    assert_eq!(of_kind(&made, "hook").len(), 1, "{made}");
    stack.run(&["verify"]).ok();
}

#[test]
fn after_runs_when_the_set_fails_for_another_reason() {
    let stack = with("before = ['echo before >> ../log']\nafter = ['echo after >> ../log']", "");
    stack.sh("repo", "rm -r .codex-api");
    stack.run(&["backup"]).exits(1).says(&["is the source, and is not there"]);
    assert_eq!(log(&stack), "before\nafter\n");
}

#[test]
fn after_runs_when_the_run_is_interrupted_within_before() {
    let stack = with(
        "before = ['echo $$ > ../pid; mv ../pid ../log; exec sleep 600', 'echo never >> ../log']
         after = ['sleep 1; echo after >> ../log']",
        "",
    );
    for signal in [Signal::TERM, Signal::INT] {
        stack.sh(".", "rm -f log");
        let mut run = stack.grouped(&["backup"]).spawn().expect("starts");
        until(&mut run, &|| !log(&stack).is_empty());
        let pid = log(&stack).trim().to_owned();
        kill_process_group(Pid::from_child(&run), signal).expect("sends");
        assert_eq!(run.wait().expect("ends").code(), Some(3));
        assert_eq!(log(&stack), format!("{pid}\nafter\n"));
        assert!(!Path::new("/proc").join(&pid).exists(), "what `before` had started lives on");
        assert_eq!(stack.files("drive"), [""; 0]);
    }
}

#[test]
fn once_the_run_is_interrupted_no_other_set_is_begun() {
    let stack = with(
        "before = ['echo before >> ../log; exec sleep 600']
         after = ['echo after >> ../log; exit 5']
         [data.other]
         source = 'docs'
         before = ['echo other >> ../log']
         after = ['echo after other >> ../log']",
        "",
    );
    let mut run = stack.grouped(&["backup", "--json"]);
    let mut run = run.stdout(Stdio::piped()).spawn().expect("starts");
    until(&mut run, &|| !log(&stack).is_empty());
    kill_process_group(Pid::from_child(&run), Signal::TERM).expect("sends");
    let output = run.wait_with_output().expect("ends");
    let said: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(log(&stack), "before\nafter\n", "{said}");
    assert!(said["sets"][0]["findings"].to_string().contains("`after` command failed"), "{said}");
    assert!(said["sets"][1]["findings"].to_string().contains("was not begun"), "{said}");
    assert_eq!(stack.files("drive"), [""; 0]);
}

/// What stopped the set does not hide what `after` left undone.
#[test]
fn an_after_that_fails_is_told_beside_what_stopped_the_set() {
    let stack = with("after = ['exit 5']", "passphrase-env = \"KEY\"\n");
    let said = stack.run(&["backup", "--json"]).exits(3).json();
    let told = said["sets"][0]["findings"].to_string();
    assert!(told.contains("`after` command failed") && told.contains("KEY"), "{said}");
    stack.run(&["backup", "-q"]).exits(3).says(&["`after` command failed", "KEY"]);
}

/// Nor does a drive that cannot be written to.
#[test]
fn an_after_that_fails_is_told_beside_a_destination_that_fails() {
    let stack = with("after = ['exit 5']", "");
    stack.file("drive/2026", "in the way");
    let said = stack.run(&["backup", "--json"]).exits(3).json();
    let found = said["sets"][0]["findings"].as_array().map(Vec::len);
    assert_eq!((found, of_kind(&said, "hook").len()), (Some(2), 1), "{said}");
}

#[test]
fn after_runs_when_the_run_is_interrupted_within_the_archive() {
    let stack = with("after = ['echo after >> ../log']", "");
    stack.sh("repo/.codex-api", "head -c 60M /dev/urandom > large");
    let mut run = stack.grouped(&["backup"]).spawn().expect("starts");
    until(&mut run, &|| stack.files("drive").iter().any(|name| name.ends_with(".tar.gz")));
    kill_process_group(Pid::from_child(&run), Signal::TERM).expect("sends");
    assert_eq!(run.wait().expect("ends").code(), Some(3));
    assert_eq!(log(&stack), "after\n");
    assert_eq!(stack.files("drive"), [""; 0]);
}

#[test]
fn a_command_has_a_deadline() {
    let stack = with(
        "hook-timeout = '1s'
         before = ['echo $$ > ../log; exec sleep 600']
         after = ['echo after >> ../log; exec sleep 600', 'echo last >> ../log']",
        "",
    );
    let made = stack.run(&["backup", "--json"]).exits(1).json();
    let found = of_kind(&made, "hook");
    assert_eq!(found.len(), 2, "{made}");
    for finding in found {
        assert!(finding["what"].to_string().contains("it had not ended after 1 s"), "{finding}");
    }
    let log = log(&stack);
    let (pid, rest) = log.split_once('\n').expect("a line");
    assert_eq!(rest, "after\nlast\n");
    assert!(!Path::new("/proc").join(pid).exists(), "it was left running");
    assert_eq!(stack.files("drive"), [""; 0]);
}

/// Not even where it is asked for by name, or printed by the command.
#[test]
fn no_passphrase_is_in_their_environment_or_in_what_is_told() {
    let stack = with(
        "hook-environment = ['PATH', 'WANTED', 'CODEX_BACKUP_GPG_KEY']
         before = ['env > ../log; cat ../secret', 'true']
         after = ['env >> ../log; cat ../secret >&2; exit 1']",
        "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n",
    );
    stack.file("secret", &format!("it is {}\n", KEY.1));
    let env = [KEY, ("WANTED", "yes"), ("UNWANTED", "no")];
    for args in [&["backup"][..], &["backup", "--json"], &["backup", "--verbose"]] {
        let said = stack.run_with(&env, args).exits(1).says(&["it is $CODEX_BACKUP_GPG_KEY"]);
        for told in [&said.stdout, &said.stderr] {
            assert!(!told.contains(KEY.1), "{}", said.shown());
        }
    }
    let seen = log(&stack);
    assert!(seen.contains("WANTED=yes") && seen.contains("PATH="), "{seen}");
    for absent in ["UNWANTED", "CODEX_BACKUP_GPG_KEY", KEY.1, "HOME="] {
        assert!(!seen.contains(absent), "{absent} in {seen}");
    }
    assert_eq!(stack.sh("repo", &format!("grep -rl '{}' .recovery || true", KEY.1)), "");
}

#[test]
fn a_dry_run_or_a_drive_that_is_away_runs_none_of_them() {
    let stack = with("before = ['echo before >> ../log']\nafter = ['echo after >> ../log']", "");
    let planned = stack.run(&["backup", "--dry-run", "--json"]).ok().json();
    assert_eq!(planned["sets"][0]["before"][0], "echo before >> ../log", "{planned}");
    stack.run(&["backup", "--mount-check"]).exits(75);
    assert_eq!(log(&stack), "");
    stack.run(&["backup"]).ok();
    assert_eq!(log(&stack), "before\nafter\n");
}

#[test]
fn they_run_for_a_set_that_is_unchanged_too() {
    let stack = with(
        "before = ['echo before >> ../log; cp -p ../wanted .codex-api/dump 2>/dev/null || true']\nafter = ['echo after >> ../log']",
        "",
    );
    let status = || outcome(&mut stack.plain(&["backup", "--json"])).ok().json()["sets"][0]["status"].clone();
    assert_eq!(status(), "ok");
    assert_eq!(status(), "unchanged");
    assert_eq!(log(&stack), "before\nafter\n".repeat(2));
    stack.file("wanted", "rows\n");
    assert_eq!(status(), "ok", "what `before` has made since is a change");
}
