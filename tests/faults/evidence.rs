//! Drills that are killed at each step of writing their evidence: page, record, row, history. What is left is no damage, and
//! the next drill mends it.
use super::drill::traced;
use super::trace::{calls_of, inject, points};
use super::{LATER, Saved, count, size};
use crate::full::service::{self, is_closed, is_live};
use crate::support::{NOW, Stack};
use std::fs;

const DRILL: [&str; 1] = ["restore-drill"];

/// A stack with so many drills on record.
fn ready(drills: usize) -> Stack {
    let stack = Stack::new();
    stack.configure("");
    stack.run(&["backup"]).ok();
    (0..drills).for_each(|_| drop(stack.run(&DRILL).ok()));
    stack
}

/// Its records.
fn records(stack: &Stack) -> usize {
    stack.files("repo/docs/drills").iter().filter(|name| name.ends_with(".json")).count()
}

#[test]
fn a_drill_that_is_killed_while_it_writes_its_evidence_leaves_no_damage() {
    killed(&ready(1));
}

/// There is no list yet.
#[test]
fn the_first_drill_may_be_killed_while_it_writes_its_evidence() {
    killed(&ready(0));
}

fn killed(stack: &Stack) {
    let env = [("RECOVERY_NOW", LATER)];
    let (drills, memory) = (stack.path("repo/docs/drills"), stack.path("repo/.recovery/history.jsonl"));
    let paths = [drills.display().to_string(), memory.display().to_string()];
    let folders = ["repo/docs/drills", "repo/.recovery"];
    let saved = Saved::of(stack, &folders);
    let events = calls_of(stack, &env, &DRILL);
    let found = points(&events, |event| paths.iter().any(|path| event.path.starts_with(path)));
    let (mut rowless, mut strays) = (0, 0);
    let calls = ["write", "rename", "renameat", "renameat2", "fsync"];
    // In the short form what is between two calls that change something.
    for call in &calls[..size(4, 5)] {
        for number in found.get(*call).into_iter().flatten() {
            saved.back();
            let (said, _) = inject(stack, (&env, &DRILL), (call, *number, "signal=KILL"), &[]);
            // strace ends as its child has.
            assert_eq!(said.code, -1, "{call} {number} was not hit: {}", said.shown());
            count("instants", 1);
            count("kills", 1);
            let records = records(stack);
            let checked = stack.run(&["verify", "--evidence", "--json"]);
            // Where there is none at all, that is an error, and no other is.
            assert_eq!(checked.code, i32::from(records == 0), "{call} {number}: {}", checked.shown());
            let checked = checked.json();
            let errors = checked["findings"].to_string().matches("\"error\"").count();
            assert_eq!(errors, usize::from(records == 0), "{checked}");
            assert_eq!(checked["checked"], records, "{checked}");
            let told = checked["findings"].to_string();
            rowless += usize::from(told.contains("the next drill adds it"));
            strays += usize::from(told.contains("belongs to a drill without a record"));
            let next = stack.run_at("2026-03-12T12:00:00Z", &DRILL).ok();
            for wrong in ["was gone", "had lost", "version control"] {
                assert!(!next.shown().contains(wrong), "{call} {number}: {}", next.shown());
            }
            let list = fs::read_to_string(drills.join("restore-checklist.md")).expect("a list");
            for name in stack.files(folders[0]) {
                let id = name.strip_suffix(".json").unwrap_or("restore-checklist");
                assert!(
                    list.contains(&format!("[{id}]")) || !name.starts_with("drill-") || name.ends_with(".md"),
                    "{name}"
                );
            }
            let told = stack.run(&["verify", "--evidence"]).ok();
            assert!(!told.shown().contains("the next drill adds it"), "{}", told.shown());
            count("survived", 1);
        }
    }
    assert!(
        rowless > 0 && strays > 0,
        "no kill between record and row, or page and record: {rowless}, {strays}"
    );
}

/// Of two that are killed one after the other one row is missing at most, since the second adds the first one's before all
/// else.
#[test]
fn two_drills_that_are_killed_one_after_the_other_leave_no_damage() {
    let stack = ready(1);
    let list = stack.path("repo/docs/drills/restore-checklist.md");
    let killed_at = |day: u32, path: &str, number: usize| {
        let now = format!("2026-03-{day}T12:00:00Z");
        let env = [("RECOVERY_NOW", &*now)];
        inject(&stack, (&env, &DRILL), ("renameat", number, "signal=KILL"), &[path.to_owned()]).0
    };
    let list = list.display().to_string();
    assert_eq!(killed_at(11, &list, 1).code, -1);
    assert_eq!(records(&stack), 2);
    let folders = ["repo/docs/drills", "repo/.recovery"];
    let saved = Saved::of(&stack, &folders);
    let record = stack.path("repo/docs/drills/drill-2026-03-12T120000Z-spot.json").display().to_string();
    for (path, number, expected) in [(&list, 1, 2), (&record, 1, 2), (&list, 2, 3)] {
        saved.back();
        let said = killed_at(12, path, number);
        assert_eq!((said.code, records(&stack)), (-1, expected), "{path} {number}: {}", said.shown());
        count("instants", 1);
        count("kills", 1);
        stack.run(&["verify", "--evidence"]).ok();
        let next = stack.run_at("2026-03-13T12:00:00Z", &DRILL).ok();
        assert!(!next.shown().contains("had lost"), "{}", next.shown());
        stack.run(&["verify", "--evidence"]).ok();
        count("survived", 1);
    }
}

/// Killed behind the page of a full drill, and `recover` behind its record, which has another name since the page is there:
/// that drill has one record all the same.
#[test]
fn a_recovery_that_is_killed_behind_its_record_writes_no_other() {
    let stack = service::stack("", false);
    stack.run(&["backup"]).ok();
    let live = stack.listing("repo/.codex-api");
    let record = stack.path("repo/docs/drills/drill-2026-03-10T120000Z-full.json").display().to_string();
    let drill = ["restore-drill", "full", "--yes", "--no-fresh-backup"];
    traced(&stack, &drill, NOW, "renameat", &killed_on(&record, "renameat"));
    assert!(stack.path("repo/docs/drills/drill-2026-03-10T120000Z-full.md").exists());
    assert_eq!(records(&stack), 0);
    let journal = stack.path("repo/.recovery/drill.json").display().to_string();
    let recover = ["restore-drill", "recover"];
    traced(&stack, &recover, LATER, "unlink", &killed_on(&journal, "unlink"));
    assert_eq!((records(&stack), is_closed(&stack)), (1, false));
    is_live(&stack, &live);
    stack.run_at(LATER, &recover).ok().says(&["had come to its end"]);
    is_live(&stack, &live);
    assert!(is_closed(&stack));
    assert_eq!(records(&stack), 1, "{:?}", stack.files("repo/docs/drills"));
    stack.run(&["verify", "--evidence"]).ok();
}

/// A kill at the first such call on this file.
fn killed_on(path: &str, call: &str) -> Vec<String> {
    ["-P", path, "-e", &format!("inject={call}:signal=KILL")].map(str::to_owned).to_vec()
}
