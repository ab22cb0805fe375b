//! Drills that are killed at each step of writing their evidence: page, record, row, history. What is left is no damage, and
//! the next drill mends it.
use super::trace::{calls_of, inject, points};
use super::{LATER, Saved, count, size};
use crate::support::Stack;
use std::fs;

const DRILL: [&str; 1] = ["restore-drill"];

/// A stack with one drill on record.
fn ready() -> Stack {
    let stack = Stack::new();
    stack.configure("");
    stack.run(&["backup"]).ok();
    stack.run(&DRILL).ok();
    stack
}

#[test]
fn a_drill_that_is_killed_while_it_writes_its_evidence_leaves_no_damage() {
    let stack = ready();
    let env = [("RECOVERY_NOW", LATER)];
    let (drills, memory) = (stack.path("repo/docs/drills"), stack.path("repo/.recovery/history.jsonl"));
    let paths = [drills.display().to_string(), memory.display().to_string()];
    let folders = ["repo/docs/drills", "repo/.recovery"];
    let saved = Saved::of(&stack, &folders);
    let events = calls_of(&stack, &env, &DRILL);
    let found = points(&events, |event| paths.iter().any(|path| event.path.starts_with(path)));
    let (mut rowless, mut strays) = (0, 0);
    let calls = ["write", "rename", "renameat", "renameat2", "fsync"];
    // In the short form what is between two calls that change something.
    for call in &calls[..size(4, 5)] {
        for number in found.get(*call).into_iter().flatten() {
            saved.back();
            let (said, _) = inject(&stack, (&env, &DRILL), (call, *number, "signal=KILL"), &[]);
            // strace ends as its child has.
            assert_eq!(said.code, -1, "{call} {number} was not hit: {}", said.shown());
            count("kills", 1);
            let records = stack.files(folders[0]).iter().filter(|name| name.ends_with(".json")).count();
            let checked = stack.run(&["verify", "--evidence", "--json"]);
            assert_eq!(checked.code, 0, "{call} {number}: {}", checked.shown());
            let checked = checked.json();
            assert_eq!(checked["checked"], records, "{checked}");
            let told = checked["findings"].to_string();
            rowless += usize::from(told.contains("the next drill adds it"));
            strays += usize::from(told.contains("belongs to a drill without a record"));
            stack.run_at("2026-03-12T12:00:00Z", &DRILL).ok();
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
