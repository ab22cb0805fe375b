//! Repositories whose live folders lie beside each other: what a full drill of one has put aside there is its own, while it
//! is at work and afterwards; and it tells that still when its memory is lost.
use crate::support::{NOW, Outcome, Stack, outcome};
use std::thread::sleep;
use std::time::Duration;

const DRILL: [&str; 3] = ["restore-drill", "full", "--yes"];

/// Two repositories in one folder, with their live folders beside them. The service of the first is not well before there is
/// a file `go`.
fn two() -> Stack {
    let stack = Stack::new();
    let drive = stack.path("drive").display().to_string();
    stack.sh(".", "mkdir srv");
    let slow = "touch ../../smoked; until test -e ../../go; do sleep 0.05; done";
    for (name, smoke) in [("one", slow), ("two", "true")] {
        stack.sh(".", &format!("cp -a repo srv/{name}; mv srv/{name}/.codex-api srv/{name}-data"));
        stack.file(
            &format!("srv/{name}/recovery.toml"),
            &format!(
                "schema = 1\n[data.{name}]\nsource = \"../{name}-data\"\n[destination.drive]\npath = \"{drive}\"\n\
                 [drill]\nstop = \"true\"\nstart = \"true\"\nsmoke = [\"{smoke}\"]\ndeploy-dir = \"../{name}-live\"\n"
            ),
        );
        run_at(&stack, NOW, name, &["snapshot"]).ok();
    }
    stack
}

/// Runs the binary in one of them.
fn run_at(stack: &Stack, now: &str, name: &str, args: &[&str]) -> Outcome {
    let mut command = stack.command(args);
    outcome(command.current_dir(stack.path("srv").join(name)).env("RECOVERY_NOW", now))
}

/// The private folders beside them.
fn asides(stack: &Stack) -> Vec<String> {
    let found =
        stack.sh("srv", "find . -maxdepth 1 -name '.recovery-full-*' -printf '%P\\n' | LC_ALL=C sort");
    found.lines().map(str::to_owned).collect()
}

/// The second does all that it is asked for, says nothing of these folders of the first, and leaves them where they are.
#[track_caller]
fn at_peace(stack: &Stack, hour: u8, anothers: &[String]) {
    let verbs = [&["backup"][..], &["status"], &["restore-drill", "recover"], &DRILL, &["status"]];
    for (minute, args) in verbs.into_iter().enumerate() {
        let said = run_at(stack, &format!("2026-03-10T{hour}:0{minute}:00Z"), "two", args).ok();
        for folder in anothers {
            assert!(!said.shown().contains(folder), "{folder} in {}", said.shown());
            assert!(stack.path("srv").join(folder).is_dir(), "{folder} is gone: {}", said.shown());
        }
    }
}

#[test]
fn what_another_repository_has_put_aside_is_its_own() {
    let stack = two();
    let live = stack.listing("srv/one-data");
    let mut command = stack.grouped(&DRILL);
    let mut drill = command.current_dir(stack.path("srv/one")).spawn().expect("starts");
    while !stack.path("smoked").exists() {
        assert!(drill.try_wait().expect("waits").is_none(), "the drill ended before its smoke test");
        sleep(Duration::from_millis(10));
    }
    // Beside the release's place one that is hollow, and beside the data's one with live data in it.
    let anothers = asides(&stack);
    assert_eq!(anothers.len(), 2, "{anothers:?}");
    at_peace(&stack, 12, &anothers);
    stack.file("go", "");
    assert!(drill.wait().expect("ends").success());
    assert!(stack.listing("srv/one-data") == live, "the live data is not what it was");
    let left = &anothers[1..];
    assert_eq!(stack.listing(&format!("srv/{}/aside", left[0])), live);
    at_peace(&stack, 13, left);
}

/// The live folder decides: the repository itself may have another name by then.
#[test]
fn ones_own_is_told_among_those_of_others() {
    let stack = two();
    stack.file("go", "");
    run_at(&stack, NOW, "one", &DRILL).ok();
    let anothers = asides(&stack);
    assert_eq!(anothers.len(), 1, "{anothers:?}");
    run_at(&stack, NOW, "one", &["status"]).ok();
    stack.sh("srv", "rm -rf one/.recovery");
    for (before, name) in [("one", "one"), ("one", "renamed")] {
        stack.sh("srv", &format!("test {before} = {name} || mv {before} {name}"));
        let told = ["nothing here remembers", anothers[0].as_str()];
        run_at(&stack, NOW, name, &["status"]).exits(1).says(&told);
        run_at(&stack, NOW, name, &["restore-drill", "recover"]).exits(1).says(&told);
        run_at(&stack, NOW, name, &DRILL).exits(3).says(&told);
    }
    at_peace(&stack, 12, &anothers);
}
