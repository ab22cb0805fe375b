//! What is lost, or was never known: a memory, a marker, a folder below another. Nothing good goes for it.
use super::super::support::{Stack, flip};
use super::{archives, at, days, five, removed};
use serde_json::Value;
use std::fs;

/// The reasons for each item whose path holds this.
fn reasons(document: &Value, part: &str) -> Vec<String> {
    let items = document["items"].as_array().expect("items").iter();
    let items = items.filter(|item| item["path"].as_str().is_some_and(|path| path.contains(part)));
    items.map(|item| item["reasons"].to_string()).collect()
}

/// No backup is known as verified when the memory is lost, and the newest may be no good.
#[test]
fn what_a_run_takes_over_it_does_not_remove() {
    let stack = five("keep = 1\n");
    stack.run(&["verify"]).ok();
    flip(&stack.one("drive/2026/03-05", ".tar.gz"), 300);
    stack.sh("repo", "rm -r .recovery");
    let args = ["prune", "--adopt", "--json"];
    let dry = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert_eq!((&dry["items"], &dry["freed_bytes"]), (&done["items"], &done["freed_bytes"]));
    assert!(removed(&done).is_empty(), "{done}");
    let told = reasons(&done, "/2026/");
    assert!(told.len() == 5 && told.iter().all(|text| text.contains("taken over just now")), "{done}");
    assert_eq!(archives(&stack).len(), 5);
    // That it was taken over tells nothing of what is in it.
    stack.run(&["status"]).says(&["if the backup of codex-api is whole"]);
    // Read once, the newest counts for nothing, and the next run goes by the rules.
    stack.run(&["verify"]).exits(1);
    stack.run(&["prune", "--adopt"]);
    assert_eq!(days(&stack), ["04", "05"]);
}

#[test]
fn what_is_taken_over_takes_no_place_from_what_is_known() {
    let stack = five("keep = 1\n");
    stack.sh(".", "mv repo/.recovery memory");
    stack.run(&["backup"]).ok();
    stack.sh(".", "rm -r repo/.recovery; mv memory repo/.recovery");
    stack.run(&["prune", "--adopt"]).ok();
    assert_eq!(days(&stack), ["05", "10"], "the newest that is known, and the one that is not read yet");
    stack.run(&["prune"]).ok();
    assert_eq!(days(&stack), ["05", "10"], "what was made last here stays as well");
}

/// Its archive may be whole: what is accepted as lost is what is gone.
#[test]
fn a_backup_that_has_lost_its_marker_alone_is_neither_forgotten_nor_swept() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for day in ["01", "02"] {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    let archive = stack.one("drive/2026/03-02", ".tar.gz").display().to_string();
    let marker = stack.one("drive/2026/03-02", ".sha256");
    let text = fs::read_to_string(&marker).expect("reads");
    fs::remove_file(&marker).expect("removes");
    stack.sh("drive", "rm -r 2026/03-01");
    let (told, next) = ("has lost its marker", "`docs/runbook.md`, The marker is lost");
    for args in [&["prune"][..], &["prune", "--forget-lost", "--dry-run"], &["prune", "--forget-lost"]] {
        let said = stack.run(&[args, &["--json"]].concat()).exits(1).says(&[told, next]);
        assert!(removed(&said.json()).is_empty(), "{}", said.shown());
        let kept = reasons(&said.json(), "/03-02/");
        assert!(kept.len() == 2 && kept.iter().all(|text| text.contains("lost its .sha256")), "{kept:?}");
    }
    // The one that is gone is forgotten, and the other is not.
    let said = stack.run(&["status"]).exits(1).says(&[told, next]);
    for other in ["is gone", "a run is writing it"] {
        assert!(!said.shown().contains(other), "{other}: {}", said.shown());
    }
    stack.run(&["verify", &archive]).ok().says(&["or has lost its marker"]);
    let said = stack.run_at(&at("03"), &["restore", "codex-api", "--to", "../back"]).exits(3);
    said.says(&["or has lost its marker: name its file", &archive]);
    let said = stack.run_at(&at("03"), &["backup", "--dry-run"]);
    assert!(!said.shown().contains("right drive"), "{}", said.shown());
    fs::write(&marker, text).expect("writes");
    stack.run(&["verify"]).ok();
    stack.run(&["prune"]).ok();
    stack.run(&["status"]).ok();
    assert_eq!(archives(&stack).len(), 1);
}

/// What is left of it is in the way of drills and pruning until that is accepted, and then no more.
#[test]
fn what_is_left_of_a_backup_whose_archive_is_gone_goes_when_the_loss_is_accepted() {
    for remembered in [true, false] {
        let stack = five("keep = 4\n");
        fs::remove_file(stack.one("drive/2026/03-02", ".tar.gz")).expect("removes");
        if !remembered {
            stack.sh("repo", "rm -r .recovery");
            stack.run(&["prune", "--adopt"]);
        }
        let said = stack.run(&["status"]).exits(1);
        said.says(&["is the marker of", "`cargo xtask prune --forget-lost` removes what is left of it"]);
        stack.run(&["restore-drill"]).exits(1);
        stack.run(&["prune"]).exits(1);
        let dry = stack.run(&["prune", "--forget-lost", "--dry-run", "--json"]).ok().json();
        assert_eq!(reasons(&dry, "/03-02/").len(), 2, "{dry}");
        stack.run(&["prune", "--forget-lost"]).ok();
        assert_eq!(stack.files("drive").iter().filter(|name| name.contains("03-02")).count(), 0);
        let said = stack.run(&["status"]);
        assert!(!said.shown().contains("is gone"), "{}", said.shown());
        stack.run(&["restore-drill"]).ok();
        // The archive of a marker that nobody here has written may be on its way still.
        let young = "2026/03-10/codex-api-2026-03-10T110000Z.tar.gz.sha256";
        stack.file(&format!("drive/{young}"), "");
        stack.run(&["prune", "--forget-lost"]).exits(1).says(&[young]);
        assert!(stack.path("drive").join(young).exists());
    }
}

/// What was made in a folder of a drive was not made at the drive's root.
#[test]
fn a_destination_above_another_is_not_asked_for_its_backups() {
    let stack = Stack::configured();
    let path = stack.path("repo/recovery.toml");
    let config = fs::read_to_string(&path).expect("reads");
    fs::write(&path, config.replace("/drive\"", "/drive/backups\"")).expect("writes");
    stack.run_at(&at("01"), &["backup"]).ok();
    let said = stack.run(&["backup", "--dest", &stack.path("drive").display().to_string()]).ok();
    assert!(!said.shown().contains("right drive"), "{}", said.shown());
}
