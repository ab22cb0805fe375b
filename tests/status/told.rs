//! What `status` tells of backups that are damaged or incomplete, and of those that a wrong clock has dated.
use super::super::support::{NOW, Stack, flip, outcome};
use serde_json::Value;
use std::fs;

const AHEAD: &str = "2027-03-01T00:00:00Z";

/// A stack whose set is due each day, and each backup to be read every ten.
fn daily() -> Stack {
    let stack = Stack::new();
    stack.configure("[drill]\nverify-every = \"10d\"\n");
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let due = text.replace("[data.codex-api]\n", "[data.codex-api]\nbackup-every = \"1d\"\n");
    fs::write(&path, due).expect("writes");
    stack
}

/// What is told now, each with what mends it.
fn told(stack: &Stack) -> Vec<String> {
    let document = stack.run(&["status", "--json"]).json();
    let findings = document["findings"].as_array().expect("findings").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = findings.map(|one| [&one["path"], &one["what"], &one["repair"]].map(text).join(" | "));
    all.collect()
}

fn count(all: &[String], part: &str) -> usize {
    all.iter().filter(|one| one.contains(part)).count()
}

#[test]
fn each_backup_that_is_damaged_is_told_and_none_twice() {
    let stack = Stack::configured();
    for now in ["2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z", NOW] {
        stack.run_at(now, &["backup"]).ok();
    }
    let archive = |day: &str| stack.one(&format!("drive/2026/03-{day}"), ".tar.gz");
    for day in ["08", "10"] {
        flip(&archive(day), 300);
    }
    stack.run(&["verify"]).exits(1);
    let all = told(&stack);
    assert_eq!(count(&all, "| is damaged |"), 2, "{all:?}");
    for day in ["08", "10"] {
        assert_eq!(count(&all, &format!("03-{day}T120000Z.tar.gz | is damaged")), 1, "{all:?}");
    }
    flip(&archive("10"), 300);
    stack.run(&["verify"]).exits(1);
    stack.run(&["status"]).exits(1).says(&["03-08T120000Z", "is damaged"]);
    stack.sh("drive", "rm -r 2026/03-08");
    stack.run(&["prune", "--forget-lost"]).ok();
    stack.run(&["status"]).ok();
}

/// The run of a clock that was ahead is one too many, and hides none of the others.
#[test]
fn a_backup_of_the_future_does_not_hide_those_that_there_are() {
    let stack = daily();
    stack.run_at(AHEAD, &["backup"]).ok();
    let all = told(&stack);
    assert_eq!(count(&all, "that is dated in the future, 2027-03-01T00:00:00Z"), 1, "{all:?}");
    assert_eq!(count(&all, "no whole backup"), 0, "{all:?}");
    stack.run_at("2026-03-08T12:00:00Z", &["backup"]).ok();
    let all = told(&stack);
    assert_eq!(count(&all, "newest whole backup at drive that is 2 d"), 1, "{all:?}");
    stack.run(&["backup"]).ok();
    let all = told(&stack);
    assert_eq!(count(&all, "whole backup"), 0, "{all:?}");
    stack.run(&["backup", "--if-due"]).ok().says(&["not due"]);
}

#[test]
fn a_verification_of_now_settles_a_backup_of_the_future() {
    let stack = daily();
    stack.run_at(AHEAD, &["backup"]).ok();
    assert_eq!(count(&told(&stack), "verify --if-due"), 1);
    stack.run(&["verify", "--if-due"]).ok();
    assert_eq!(count(&told(&stack), "verify --if-due"), 0);
    stack.run(&["verify", "--if-due"]).ok().says(&["nothing is due"]);
}

/// No new backup is newer than one that is dated ahead.
#[test]
fn what_was_overtaken_by_a_clock_that_was_ahead_is_mended_by_moving_that_one_away() {
    let stack = Stack::configured();
    stack.run_at(AHEAD, &["backup"]).ok();
    stack.run(&["backup"]).ok();
    let all = told(&stack);
    let repair = "| set the clock; then move the files of codex-api-2027-03-01T000000Z.tar.gz away";
    assert_eq!((count(&all, repair), count(&all, "mends it")), (1, 0), "{all:?}");
    stack.sh("drive", "rm -r 2027");
    stack.run(&["prune", "--forget-lost"]).ok();
    stack.run(&["status"]).ok();
}

#[test]
fn a_confirmation_of_the_future_is_told_as_one() {
    let stack = Stack::configured();
    let plain = |now: &str| {
        let mut run = stack.plain(&["backup", "--json"]);
        outcome(run.env("RECOVERY_NOW", now)).ok().json()["sets"][0]["status"].clone()
    };
    assert_eq!(plain("2026-03-09T12:00:00Z"), "ok");
    assert_eq!(plain(AHEAD), "unchanged");
    let all = told(&stack);
    assert_eq!(count(&all, "was confirmed at a time in the future"), 1, "{all:?}");
    assert_eq!(count(&all, "is dated in the future"), 0, "{all:?}");
    stack.run(&["status"]).exits(1).says(&["1 d ago"]);
    assert_eq!(plain(NOW), "unchanged");
    stack.run(&["status"]).ok();
}

#[test]
fn a_backup_without_its_manifest_is_not_called_verified() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["verify"]).ok();
    let row = || {
        let said = stack.run(&["status"]).stdout;
        said.lines().find(|line| line.starts_with("data")).expect("a row").to_owned()
    };
    assert!(row().contains("verified"), "{}", row());
    fs::remove_file(stack.one("drive", ".manifest.jsonl.gz")).expect("removes");
    assert!(row().contains("no manifest") && !row().contains("verified"), "{}", row());
}
