//! A copy to another machine that is stopped half way, or in whose way something lies. The tools over there are those of
//! this machine, with one of them replaced by another of its name: sshd is told where to look for tools first.
use super::super::support::{Stack, outcome};
use super::far::{Sshd, stack};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

const ARCHIVE: &str = "codex-api-2026-03-10T120000Z.tar.gz";

/// An sshd whose scripts find these lines where they look for `tool`; the tool itself is `"$REAL"` there, the stack `"$AT"`.
fn with_tool(stack: &Stack, tool: &str, lines: &str) -> Sshd {
    let at = stack.path("").display().to_string();
    let real = stack.sh(".", &format!("command -v {tool}"));
    stack.file(&format!("there/{tool}"), &format!("#!/bin/sh\nAT='{at}'; REAL={}\n{lines}\n", real.trim()));
    stack.sh("there", &format!("chmod 755 {tool}"));
    Sshd::with(stack, &format!("PATH={at}there:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), "")
}

/// Waits until `go` is there; what stands in it is the exit status, if anything does. Listings are not held up.
const WAITS: &str = "case \"$*\" in *--sender*) exec \"$REAL\" \"$@\";; esac; > \"$AT/asked\"; n=0; \
    while [ ! -e \"$AT/go\" ] && [ $n -lt 6000 ]; do sleep 0.02; n=$((n + 1)); done; \
    if [ -s \"$AT/go\" ]; then > \"$AT/ended\"; exit 1; fi; exec \"$REAL\" \"$@\"";

fn wait_for(path: &Path, mut runs: impl FnMut() -> bool) {
    while !path.exists() {
        assert!(runs(), "it ended before {}", path.display());
        sleep(Duration::from_millis(5));
    }
}

/// Starts a backup, and sends it a signal when that tool is asked over there.
fn stopped(stack: &Stack, signal: Signal) -> (Option<i32>, String) {
    let mut command = stack.grouped(&["backup"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
    wait_for(&stack.path("asked"), || child.try_wait().expect("waits").is_none());
    kill_process(Pid::from_child(&child), signal).expect("is there");
    let output = child.wait_with_output().expect("ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_run_that_is_told_to_stop_leaves_nothing_over_there() {
    // While the data is sent, while it is read back, and while the marker gets its name.
    for tool in ["rsync", "sha256sum", "mv"] {
        let stack = stack("", "");
        let _sshd = with_tool(&stack, tool, WAITS);
        let (code, said) = stopped(&stack, Signal::TERM);
        let left = stack.files("far it's");
        stack.file("go", "1");
        assert_eq!((code, &left[..]), (Some(3), &[][..]), "{tool}: {said}");
        assert!(said.contains("what this run had written is removed"), "{tool}: {said}");
        wait_for(&stack.path("ended"), || true);
        assert_eq!(stack.files("far it's"), [""; 0], "{tool}: nothing comes later");
        fs::write(stack.path("go"), "").expect("writes");
        stack.run(&["backup"]).ok();
        stack.run(&["verify"]).ok();
    }
}

#[test]
fn what_a_killed_run_leaves_over_there_is_told_and_swept() {
    let stack = stack("", "keep = 5");
    let _sshd = with_tool(&stack, "mv", WAITS);
    assert_eq!(stopped(&stack, Signal::KILL).0, None);
    stack.file("go", "1");
    wait_for(&stack.path("ended"), || true);
    let temporary = format!(".{ARCHIVE}.Ab12Cd");
    stack.file(&format!("far it's/2026/03-10/{temporary}"), "the beginning");
    let left = stack.files("far it's");
    assert_eq!(left.len(), 4, "{left:?}");
    let part = format!("{ARCHIVE}.sha256.part");
    stack.run(&["status"]).says(&[&part, &temporary, "has no .sha256"]);
    stack.file("go", "");
    stack.run(&["backup"]).ok();
    stack.run_at("2026-03-12T12:00:00Z", &["prune"]).ok();
    let kept = stack.files("far it's");
    assert!(kept.len() == 3 && !kept.iter().any(|name| left.contains(name)), "{kept:?}");
    stack.run(&["status"]).ok();
}

#[test]
fn a_name_that_is_taken_over_there_is_left_to_its_owner() {
    for (file, more) in
        [(ARCHIVE.to_owned(), ""), (format!("{ARCHIVE}.sha256"), ""), (format!("{ARCHIVE}.sha256.part"), "")]
    {
        let stack = stack("", more);
        let _sshd = Sshd::start(&stack);
        // A listing leaves links out, so that it is not known before.
        stack.file("theirs", "theirs");
        stack.sh("far it's", &format!("mkdir -p 2026/03-10; ln -s ../../../theirs 2026/03-10/{file}"));
        stack.run(&["backup"]).exits(3).says(&[&file, "is there already, and nothing is written over"]);
        assert_eq!(stack.files("far it's"), [format!("2026/03-10/{file}")]);
        assert!(stack.path(&format!("far it's/2026/03-10/{file}")).is_symlink(), "{file}");
        assert_eq!(fs::read_to_string(stack.path("theirs")).expect("reads"), "theirs");
    }
    // It comes at the last moment.
    let stack = stack("", "");
    let _sshd =
        with_tool(&stack, "mv", "for last; do :; done; echo theirs > \"$last\"; exec \"$REAL\" \"$@\"");
    stack.run(&["backup"]).exits(3).says(&["is there already, and nothing is written over"]);
    let marker = format!("2026/03-10/{ARCHIVE}.sha256");
    assert_eq!(stack.files("far it's"), [&*marker]);
    assert_eq!(fs::read_to_string(stack.path("far it's").join(marker)).expect("reads"), "theirs\n");
}

/// What cannot be removed over there is not on record as pruned.
#[test]
fn a_prune_that_fails_over_there_says_what_is_still_there() {
    let stack = stack("", "keep = 1");
    let _sshd = with_tool(
        &stack,
        "rm",
        "if [ -e \"$AT/stuck\" ]; then echo stuck >&2; exit 1; fi; exec \"$REAL\" \"$@\"",
    );
    for day in ["05", "06"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    stack.file("stuck", "");
    outcome(&mut stack.plain(&["prune"])).exits(3).says(&["stuck"]);
    assert!(stack.sh("repo", "tail -n 1 .recovery/history.jsonl").contains("\"spared\""));
    fs::remove_file(stack.path("stuck")).expect("removes");
    outcome(&mut stack.plain(&["prune"])).ok();
    assert_eq!(stack.files("far it's").len(), 3);
    stack.run(&["status"]).ok();
}
