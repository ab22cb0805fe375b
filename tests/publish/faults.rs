//! Every call of `gh` fails, is killed, hangs, or sees its caller killed, before and behind what it does: whatever is left,
//! the next `publish` finishes it, and nothing is published before all of it was compared.
use super::{Stack, TAG, bundled, command, log, publish, published};
use crate::faults::size;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

/// Calls of a run that has nothing in its way.
fn calls() -> usize {
    let stack = bundled();
    publish(&stack, &[]).ok();
    log(&stack).len()
}

fn with_fault(at: usize, what: &str) -> Stack {
    let stack = bundled();
    stack.file("home/forge/fault", &format!("{at} {what}\n"));
    stack
}

/// What must be true of a forge whenever a run may have been cut off: a release that everybody sees is whole.
#[track_caller]
fn nothing_is_public_by_halves(stack: &Stack, how: &str) {
    let release = stack.path(&format!("home/forge/releases/{TAG}"));
    if release.exists() && !release.join("draft").exists() {
        let assets = stack.files(&format!("home/forge/releases/{TAG}/assets"));
        assert_eq!(assets.len(), 4, "{how}: {assets:?}");
        stack.sh(
            &format!("home/forge/releases/{TAG}/assets"),
            "sha256sum --check --strict --quiet SHA256SUMS",
        );
    }
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
}

#[track_caller]
fn is_finished(stack: &Stack, how: &str) {
    fs::remove_file(stack.path("home/forge/fault")).expect("removes");
    nothing_is_public_by_halves(stack, how);
    publish(stack, &[]).ok();
    published(stack);
}

#[test]
fn a_call_that_fails_or_is_killed_is_made_up_for_by_the_next_run() {
    let calls = calls();
    assert_eq!(calls, 21);
    for (kind, what) in ["fail-before", "killed-after", "fail-after", "killed-before"].into_iter().enumerate()
    {
        for at in 1..=calls {
            if (at, what) == (3, "fail-after") {
                continue; // It fails anyway: there is no such release yet.
            }
            // In the short form every second call fails, and the others are killed.
            if (at + kind) % 2 >= size(1, 2) {
                continue;
            }
            let how = format!("{what} of call {at}");
            let stack = with_fault(at, what);
            let said = publish(&stack, &[]);
            assert_eq!(said.code, 3, "{how}: {}", said.shown());
            assert!(said.stderr.contains("gh "), "{how} is named: {}", said.shown());
            assert!(said.stderr.contains("next: "), "{how} has a next step: {}", said.shown());
            is_finished(&stack, &how);
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_call_is_finished_by_the_next() {
    for (kind, what) in ["kills-before", "kills-after"].into_iter().enumerate() {
        for at in (1..=calls()).filter(|at| (at + kind) % 2 < size(1, 2)) {
            let how = format!("{what} of call {at}");
            let stack = with_fault(at, what);
            let said = publish(&stack, &[]);
            assert_eq!(said.code, -1, "{how}: {}", said.shown());
            is_finished(&stack, &how);
        }
    }
}

/// Every call has a deadline of minutes; a run that is told to stop does not wait for it.
#[test]
fn a_call_that_hangs_ends_with_its_run() {
    for at in (1..=calls()).filter(|at| at % 2 < size(1, 2)) {
        let how = format!("call {at} hangs");
        let stack = with_fault(at, "hang-after");
        let mut command = command(&stack, &[]);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let mut waits = 0;
        while !stack.path("home/forge/hangs").exists() {
            assert!(waits < 3000, "{how}: it never came to that");
            assert!(child.try_wait().expect("asks").is_none(), "{how}: it ended");
            std::thread::sleep(Duration::from_millis(20));
            waits += 1;
        }
        stack.sh(".", &format!("kill -TERM {}", child.id()));
        assert_eq!(child.wait().expect("ends").code(), Some(3), "{how}");
        is_finished(&stack, &how);
    }
}

/// Between the lock and `SHA256SUMS` there is an instant in which the two do not fit.
#[test]
fn a_run_that_was_killed_while_it_recorded_is_finished_by_the_next() {
    let stack = bundled();
    stack.sh("repo/releases", "cp SHA256SUMS ../../old-sums");
    publish(&stack, &[]).ok();
    stack.sh("repo/releases", "cp ../../old-sums SHA256SUMS");
    stack.run(&["verify"]).exits(1);
    assert_eq!(publish(&stack, &["--json"]).ok().json()["status"], "unchanged");
    published(&stack);
}

/// Between the lock and the history there is one more: the lock has the address, and no line says so.
#[test]
fn a_run_that_was_killed_before_its_line_of_history_is_noted_by_the_next() {
    let stack = bundled();
    let lines = || {
        let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        history.matches("\"kind\":\"published\"").count()
    };
    publish(&stack, &[]).ok();
    for args in [&[][..], &["--url", super::URL]] {
        stack.sh("repo/.recovery", "sed -i '/\"kind\":\"published\"/d' history.jsonl");
        publish(&stack, &[args, &["--dry-run"]].concat()).ok();
        assert_eq!(lines(), 0, "a dry run notes nothing");
        publish(&stack, args).ok().says(&["unchanged"]);
        publish(&stack, args).ok().says(&["unchanged"]);
        assert_eq!(lines(), 1, "once, and not each time");
    }
}

/// Somebody publishes the draft while this run fills it: nothing is uploaded behind that, and nothing written over.
#[test]
fn what_somebody_publishes_meanwhile_is_left_alone() {
    for (at, uploads) in [(5, 0), (8, 1), (11, 2), (14, 3)] {
        let stack = with_fault(at, "publishes-before");
        publish(&stack, &[]).exits(3).says(&["published meanwhile", "next: "]);
        let sent = log(&stack).iter().filter(|line| line.contains("upload")).count();
        assert_eq!(sent, uploads, "{:?}", log(&stack));
        let release = stack.world("home/forge/releases");
        fs::remove_file(stack.path("home/forge/fault")).expect("removes");
        publish(&stack, &[]).exits(1).says(&["different", "never changed"]);
        assert_eq!(stack.world("home/forge/releases"), release);
    }
    // Other notes are no less of a change.
    let stack = bundled();
    stack.file("notes.md", "the first\n");
    publish(&stack, &["--draft", "--notes-file", "../notes.md"]).ok();
    let calls = log(&stack).len();
    stack.file("home/forge/fault", &format!("{} publishes-before\n", calls + 5));
    stack.file("notes.md", "the second\n");
    publish(&stack, &["--notes-file", "../notes.md"]).exits(3).says(&["published meanwhile"]);
    assert_eq!(stack.sh(&format!("home/forge/releases/{TAG}"), "cat notes"), "the first\n");
}

/// Only a file that differs is written over.
#[test]
fn a_draft_that_holds_another_file_of_a_name_has_that_one_replaced() {
    let stack = bundled();
    publish(&stack, &["--draft"]).ok();
    crate::support::flip(&stack.one(&format!("home/forge/releases/{TAG}/assets"), ".tar.gz"), 100);
    fs::remove_file(stack.one(&format!("home/forge/releases/{TAG}/assets"), ".lock.json")).expect("removes");
    let before = log(&stack).len();
    publish(&stack, &[]).ok();
    published(&stack);
    let sent: Vec<String> =
        log(&stack).split_off(before).into_iter().filter(|line| line.contains("upload")).collect();
    let over =
        |end: &str| sent.iter().find(|line| line.ends_with(end)).map(|line| line.contains("--clobber"));
    assert_eq!((sent.len(), over(".tar.gz"), over(".lock.json")), (2, Some(true), Some(false)), "{sent:?}");
}
