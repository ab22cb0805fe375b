//! The spot drill: which artifacts it takes, what they have to show, and that each planted fault is found and named.
mod canary;
mod faults;
mod published;
mod sample;

use super::support::{Outcome, Stack};
use serde_json::Value;
use std::fs;

/// Drills at a time.
fn drill(stack: &Stack, now: &str) -> Outcome {
    stack.run_at(now, &["restore-drill", "--json"])
}

fn step<'a>(document: &'a Value, part: &str) -> &'a Value {
    let steps = document["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"].as_str().is_some_and(|name| name.contains(part)));
    found.unwrap_or_else(|| panic!("no step {part:?} in {document}"))
}

/// A finding of severity error that says all of this.
fn found(document: &Value, parts: &[&str]) {
    let findings = document["findings"].as_array().expect("findings");
    let says = |finding: &&Value| parts.iter().all(|part| finding.to_string().contains(part));
    let hit = findings.iter().find(says).unwrap_or_else(|| panic!("no finding of {parts:?} in {document}"));
    assert_eq!(hit["severity"], "error", "{hit}");
}

/// Changes the one lock of a release.
fn edit_lock(stack: &Stack, change: impl FnOnce(&mut Value)) {
    let path = stack.one("repo/releases", ".lock.json");
    let mut lock: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
    change(&mut lock);
    fs::write(path, serde_json::to_string_pretty(&lock).expect("renders") + "\n").expect("writes");
    // The list goes with it: who forges one forges both.
    stack.sh("repo/releases", "sed -i '/lock.json$/d' SHA256SUMS; sha256sum *.lock.json >> SHA256SUMS");
}

/// Two sets, so that the rotation of one cannot hide that the other has none.
fn two_sets() -> Stack {
    let stack = Stack::new();
    stack.configure("[data.logs]\nsource = \"logs\"\nkey-files = [\"a.log\"]\n");
    stack.file("repo/logs/a.log", "one\n");
    stack
}

#[test]
fn each_set_has_its_latest_and_one_older_drilled_in_turn_and_the_coverage_is_told() {
    let stack = two_sets();
    for (day, version) in [("01", "1.0.0"), ("02", "1.1.0"), ("03", "1.2.0")] {
        stack.file("repo/package.json", &format!("{{\"name\": \"@acme/api\", \"version\": \"{version}\"}}"));
        stack.commit(version, &format!("2026-03-{day}T09:00:00Z"));
        stack.run(&["snapshot"]).ok();
    }
    for day in ["05", "06", "07", "08"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    let planned = stack.run(&["restore-drill", "--dry-run", "--json"]).ok().json();
    assert_eq!(planned["coverage"][1]["every_artifact_in"], 3, "{planned}");
    assert_eq!(planned["coverage"][1]["covered"], 0);
    let mut seen: Vec<String> = Vec::new();
    for number in 1..=3_usize {
        let document = drill(&stack, &format!("2026-03-1{number}T12:00:00Z")).ok().json();
        let artifacts = document["artifacts"].as_array().expect("artifacts");
        let older: Vec<&Value> = artifacts.iter().filter(|a| a["pick"] == "older").collect();
        assert_eq!((artifacts.len(), older.len()), (6, 3), "{document}");
        assert!(artifacts.iter().all(|artifact| artifact["proven"] == true), "{document}");
        seen.extend(older.iter().map(|a| a["path"].as_str().expect("a name").to_owned()));
        let of = |set: &str| {
            let all = document["coverage"].as_array().expect("coverage");
            all.iter().find(|one| one["set"] == *set).expect("the set").clone()
        };
        for set in ["codex-api", "logs"] {
            let coverage = of(set);
            assert_eq!(coverage["retained"], 4, "{coverage}");
            assert_eq!(coverage["covered"], number + 1, "{coverage}");
            assert_eq!(coverage["every_artifact_in"], 3, "{coverage}");
            assert_eq!(coverage["drills_needed"], 3 - number, "{coverage}");
            assert_eq!(coverage["covered_since"].is_null(), number < 3, "{coverage}");
        }
        let release = of("acme-api");
        assert_eq!(release["covered"].as_u64(), Some(3.min(number as u64 + 1)), "{release}");
        // The record, its page and the run's output say the same.
        let path = document["evidence"].as_str().expect("a path");
        let record: Value = serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON");
        assert_eq!(record["coverage"], document["coverage"]);
        let page = fs::read_to_string(path.replace(".json", ".md")).expect("reads");
        let line = format!("data logs: {} of 4 artifacts covered", number + 1);
        assert!(page.contains("## Covered so far") && page.contains(&line), "{page}");
        assert!(page.contains("every retained artifact is covered in 3 drills"), "{page}");
    }
    seen.sort();
    let twice = seen.windows(2).find(|pair| pair[0] == pair[1] && !pair[0].starts_with("acme"));
    assert_eq!((seen.len(), twice), (9, None), "without replacement: {seen:?}");
    let text = stack.run_at("2026-03-20T12:00:00Z", &["restore-drill"]).ok().stdout;
    assert!(text.contains("covered: data logs: 4 of 4 artifacts covered since 2026-03-1"), "{text}");
}

/// What is pruned and made between drills neither skips nor starves the others.
#[test]
fn the_rotation_holds_while_backups_come_and_go() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    for day in ["01", "02", "03", "04"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    let mut older = Vec::new();
    for day in ["05", "06", "07", "08"] {
        let document = drill(&stack, &format!("2026-03-{day}T12:00:00Z")).ok().json();
        let artifacts = document["artifacts"].as_array().expect("artifacts").clone();
        let path = |a: &Value| a["path"].as_str().expect("a name")[10..20].to_owned();
        older.extend(artifacts.iter().filter(|a| a["pick"] == "older").map(path));
        stack.run_at(&format!("2026-03-{day}T13:00:00Z"), &["backup"]).ok();
        if day == "05" {
            stack.sh("drive", "rm 2026/03-02/*");
            stack.run_at("2026-03-05T14:00:00Z", &["prune", "--forget-lost"]).ok();
        }
    }
    // The second is gone; the fourth was drilled as the latest with the first, and what is new comes behind both.
    assert_eq!(older, ["2026-03-01", "2026-03-03", "2026-03-01", "2026-03-04"]);
}
