//! Drills in several places that share their evidence or their history: two clones, two branches of one, two services.
use super::super::support::{Outcome, Stack, outcome};
use super::read;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use xtask::archive::sha256_hex;

/// A repository with a backup, in which one drill is committed.
fn committed() -> Stack {
    let stack = Stack::new();
    stack.configure("");
    let settings = ["user.name a", "user.email a@example.org", "maintenance.auto false"];
    settings.iter().for_each(|one| drop(stack.sh(".", &format!("git config --global {one}"))));
    // As docs/drills.md has it.
    stack.file("repo/.gitattributes", "docs/drills/restore-checklist.md merge=union\n");
    stack.run(&["backup"]).ok();
    drill(&stack, "repo", 11);
    stack
}

/// A run in a clone at noon of that day in March.
fn run(stack: &Stack, clone: &str, day: u32, args: &[&str]) -> Outcome {
    let now = format!("2026-03-{day}T12:00:00Z");
    outcome(stack.command(args).current_dir(stack.path(clone)).env("RECOVERY_NOW", now))
}

/// A verified drill there, which is committed; its record.
fn drill(stack: &Stack, clone: &str, day: u32) -> PathBuf {
    let document = run(stack, clone, day, &["restore-drill", "--json"]).ok().json();
    assert_eq!(document["result"], "verified", "{document}");
    stack.sh(clone, "git add -A; git commit -q -m drill");
    document["evidence"].as_str().expect("a path").into()
}

fn digest(record: &Path) -> String {
    sha256_hex(&fs::read(record).expect("reads"))
}

/// The ends of the chain that are told of, of evidence in which nothing calls for action.
fn told(stack: &Stack, clone: &str) -> Vec<String> {
    let document = run(stack, clone, 20, &["verify", "--evidence", "--json"]).ok().json();
    let findings = document["findings"].as_array().expect("findings");
    assert!(findings.iter().all(|finding| finding["severity"] == "info"), "{document}");
    let lines = findings.iter().map(Value::to_string);
    lines.filter(|line| line.contains("is an end of the chain beside")).collect()
}

#[test]
fn drills_of_two_clones_are_no_damage_and_the_next_drill_joins_them() {
    let stack = committed();
    stack.sh(".", "git clone -q repo twin");
    let (here, there) = (drill(&stack, "repo", 12), drill(&stack, "twin", 13));
    stack.sh("repo", "git pull -q --no-rebase --no-edit ../twin main");
    let ends = told(&stack, "repo");
    assert!(ends.len() == 1 && ends[0].contains("drill-2026-03-12T120000Z-spot.json"), "{ends:?}");
    run(&stack, "repo", 20, &["restore-drill", "history"]).ok();
    let accept = ["verify", "--evidence", "--accept-lost", "the disk died"];
    run(&stack, "repo", 20, &accept).exits(3).says(&["no record is missing"]);

    let joining = drill(&stack, "repo", 14);
    let record = read(&joining);
    assert_eq!(record["previous_sha256"], digest(&there), "{record}");
    assert_eq!(record["also_follows"], serde_json::json!([digest(&here)]), "{record}");
    let page = fs::read_to_string(joining.with_extension("md")).expect("a page");
    assert!(page.contains(&format!("`{}`, `{}`", digest(&there), digest(&here))), "{page}");
    assert_eq!(told(&stack, "repo"), [""; 0]);
    // The next one has one record before it.
    let record = read(&drill(&stack, "repo", 15));
    assert!(record["also_follows"].is_null() && record["previous_sha256"] == digest(&joining), "{record}");
    stack.sh("twin", "git pull -q --no-rebase --no-edit ../repo main");
    for clone in ["repo", "twin"] {
        assert_eq!(told(&stack, clone), [""; 0], "{clone}");
    }

    // By the chain alone, in a clone without a history, and by the histories.
    stack.sh(".", "git clone -q repo third");
    for clone in ["third", "repo", "twin"] {
        for record in [&here, &there] {
            let path = stack.path(clone).join("docs/drills").join(record.file_name().expect("a name"));
            let whole = fs::read_to_string(&path).expect("reads");
            fs::remove_file(&path).expect("removes");
            run(&stack, clone, 20, &["verify", "--evidence"]).exits(1).says(&["is gone or was changed"]);
            fs::write(&path, whole.replacen("\"host\": \"", "\"host\": \"x", 1)).expect("writes");
            run(&stack, clone, 20, &["verify", "--evidence"]).exits(1).says(&["is gone or was changed"]);
            fs::write(&path, whole).expect("writes");
        }
        assert_eq!(told(&stack, clone), [""; 0], "{clone}");
    }
}

/// What one clone has removed and drilled anew, its history tells.
#[test]
fn a_newest_drill_that_is_replaced_is_missing_in_the_clone_that_ran_it() {
    let stack = committed();
    let replaced = drill(&stack, "repo", 12);
    stack
        .sh("repo/docs/drills", "rm drill-2026-03-12T*; sed -i '/03-12T120000Z-spot/d' restore-checklist.md");
    drill(&stack, "repo", 13);
    let verify = ["verify", "--evidence"];
    run(&stack, "repo", 20, &verify).exits(1).says(&["drill-2026-03-12T120000Z-spot.json", "cannot be read"]);
    // Back from version control it is a drill like any other.
    stack.sh("repo", "git checkout -q HEAD~1 -- 'docs/drills/drill-2026-03-12T*'");
    assert!(replaced.exists());
    run(&stack, "repo", 20, &verify).exits(1).says(&["does not list drill-2026-03-12T120000Z-spot"]);
    drill(&stack, "repo", 14);
    assert_eq!(told(&stack, "repo"), [""; 0]);
}

/// In one second: there the id is taken in the history alone.
#[test]
fn drills_of_two_branches_have_ids_of_their_own_and_are_joined_as_well() {
    let stack = committed();
    stack.sh("repo", "git checkout -q -b side");
    let side = drill(&stack, "repo", 12);
    stack.sh("repo", "git checkout -q main");
    let main = drill(&stack, "repo", 12);
    assert!(main.ends_with("drill-2026-03-12T120000Z-spot-2.json"), "{main:?}");
    run(&stack, "repo", 20, &["verify", "--evidence"]).exits(1).says(&["drill-2026-03-12T120000Z-spot.json"]);
    stack.sh("repo", "git merge -q --no-edit side");
    assert_eq!(told(&stack, "repo").len(), 1);
    let record = read(&drill(&stack, "repo", 13));
    assert_eq!(record["previous_sha256"], digest(&side), "{record}");
    assert_eq!(record["also_follows"], serde_json::json!([digest(&main)]), "{record}");
    assert_eq!(told(&stack, "repo"), [""; 0]);
}

/// Each with a configuration and an evidence folder, and one history.
#[test]
fn two_services_of_one_repository_that_drill_in_one_second_keep_apart() {
    let stack = committed();
    stack.sh(
        "repo",
        "{ cat recovery.toml; echo '[drill]'; echo 'evidence-dir = \"other/drills\"'; } > other.toml",
    );
    let other = |args: &[&str]| run(&stack, "repo", 12, &[&["--config", "other.toml"], args].concat());
    run(&stack, "repo", 12, &["restore-drill"]).ok();
    other(&["restore-drill"]).ok();
    let record = stack.one("repo/other/drills", ".json");
    assert!(record.ends_with("drill-2026-03-12T120000Z-spot-2.json"), "{record:?}");
    let verify = ["verify", "--evidence"];
    assert_eq!(told(&stack, "repo"), [""; 0]);
    other(&verify).ok();
    // What one of them has lost is not what the other has.
    let path = stack.path("repo/docs/drills/drill-2026-03-11T120000Z-spot.json");
    fs::remove_file(&path).expect("removes");
    let accept = ["verify", "--evidence", "--accept-lost", "the disk died", "--json"];
    let told = run(&stack, "repo", 13, &accept).ok().json()["findings"].to_string();
    assert!(told.contains("these records are lost: drill-2026-03-11T120000Z-spot ("), "{told}");
    let whole = fs::read(&record).expect("reads");
    fs::write(&record, [&whole[..], b"\n"].concat()).expect("writes");
    other(&verify).exits(1).says(&["is not the record that its drill has written"]);
}
