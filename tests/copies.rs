//! Which backup a restore takes, and which copy of it: the one that is whole, of those that this repository has made.
use super::support::{Outcome, Stack, flip, outcome};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");
const ENCRYPTED: &str = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n";

/// A stack whose set goes to the folders `destinations` of `a` and `b`, with files of several blocks.
fn stack(more: &str, destinations: &str) -> Stack {
    let stack = Stack::new();
    let home = stack.path("").display().to_string();
    for name in ["a", "b"] {
        fs::create_dir(stack.path(name)).expect("makes a folder");
    }
    stack.file(
        "repo/recovery.toml",
        &format!(
            "[data.codex-api]\nsource = \".codex-api\"\ndestination = [{destinations}]\n\
             [destination.a]\npath = \"{home}a\"\n{more}\n[destination.b]\npath = \"{home}b\"\n{more}\n"
        ),
    );
    stack.sh("repo/.codex-api", "for n in $(seq 30); do head -c 200000 /dev/urandom > s$n; done");
    stack.run_with(&[KEY], &["backup"]).ok();
    stack
}

/// The archive at a destination, or its manifest.
fn file(stack: &Stack, folder: &str, part: &str) -> PathBuf {
    let mut names = stack.files(folder);
    names.retain(|name| name.contains(part) && !name.ends_with(".sha256"));
    assert_eq!(names.len(), 1, "{names:?}");
    stack.path(folder).join(&names[0])
}

fn restored(stack: &Stack, code: i32) -> Value {
    let said = stack.run_with(&[KEY], &["restore", "codex-api", "--to", "../back", "--json"]).exits(code);
    said.json()
}

/// All is back; then it is removed.
fn all_is_back(stack: &Stack) {
    assert!(stack.listing("back/.codex-api") == stack.listing("repo/.codex-api"), "not what is live");
    stack.sh(".", "rm -r back");
}

fn finding<'a>(document: &'a Value, what: &str) -> &'a Value {
    let all = document["findings"].as_array().expect("findings");
    let found = all.iter().find(|one| one["what"].as_str().is_some_and(|text| text.contains(what)));
    found.unwrap_or_else(|| panic!("no {what:?} in {document}"))
}

fn lies_in(stack: &Stack, value: &Value, folder: &str) -> bool {
    value.as_str().is_some_and(|path| path.starts_with(&stack.path(folder).display().to_string()))
}

#[test]
fn a_copy_that_is_on_record_as_damaged_is_passed_over() {
    for (damaged, whole) in [("a", "b"), ("b", "a")] {
        let stack = stack("", "\"a\", \"b\"");
        let archive = file(&stack, damaged, ".tar.");
        flip(&archive, fs::read(&archive).expect("reads").len() / 2);
        stack.run(&["verify"]).exits(1);
        let document = restored(&stack, 0);
        assert!(lies_in(&stack, &document["archive"], whole), "{document}");
        assert!(lies_in(&stack, &finding(&document, "is passed over")["path"], damaged), "{document}");
        all_is_back(&stack);
        let lines = stack.run(&["restore", "codex-api", "--explain"]).ok().says(&["is passed over"]);
        assert!(lines.stdout.contains(&stack.path(whole).display().to_string()), "{}", lines.stdout);
    }
}

#[test]
fn a_copy_that_turns_out_to_be_damaged_gives_way_to_the_next() {
    for (more, parts) in [
        ("", [(".tar.", 0), (".tar.", 300_000), (".manifest.", 100)]),
        (ENCRYPTED, [(".tar.", 6), (".tar.", 300_000), (".manifest.", 6)]),
    ] {
        let stack = stack(more, "\"a\", \"b\"");
        for (part, at) in parts {
            for (damaged, whole) in [("a", "b"), ("b", "a")] {
                let path = file(&stack, damaged, part);
                flip(&path, at);
                let document = restored(&stack, 0);
                assert!(lies_in(&stack, &document["archive"], whole), "{part} {at}: {document}");
                // The first of the two is the first that is tried.
                if damaged == "a" {
                    let told = finding(&document, "the next copy is tried");
                    assert!(
                        lies_in(&stack, &told["path"], "a") && told["severity"] == "warning",
                        "{document}"
                    );
                }
                all_is_back(&stack);
                flip(&path, at);
            }
        }
    }
}

#[test]
fn a_damaged_copy_is_salvaged_only_where_none_is_whole() {
    let stack = stack("", "\"a\", \"b\"");
    for folder in ["a", "b"] {
        flip(&file(&stack, folder, ".tar."), 3_000_000);
    }
    let document = restored(&stack, 1);
    assert!(lies_in(&stack, &document["archive"], "a"), "{document}");
    finding(&document, "is NOT restored");
    for folder in ["a", "b"] {
        let told = document["findings"].as_array().expect("findings").iter();
        let mut told = told.filter(|one| one["severity"] == "warning");
        assert!(told.any(|one| lies_in(&stack, &one["path"], folder)), "{document}");
    }
    assert!(stack.files("back/.codex-api").len() > 10);
    stack.sh(".", "rm -r back");
    // Not even that: the error is told, and nothing is left.
    for folder in ["a", "b"] {
        let manifest = file(&stack, folder, ".manifest.");
        fs::write(manifest, "none").expect("writes");
    }
    assert_eq!(restored(&stack, 1)["status"], "error");
    let left = stack.sh(".", "ls -A");
    assert!(!left.contains("back") && !left.contains("recovery-"), "{left}");
}

/// A copy that was made by hand is one where its marker says so.
#[test]
fn a_copy_that_was_made_by_hand_is_one() {
    let stack = stack("", "\"a\"");
    stack.sh(".", "cp -a a/. b/");
    flip(&file(&stack, "a", ".tar."), 300_000);
    let document = restored(&stack, 0);
    assert!(lies_in(&stack, &document["archive"], "b"), "{document}");
    all_is_back(&stack);
    // Another backup of the same name is none.
    let marker = stack.one("b", ".sha256");
    let text = fs::read_to_string(&marker).expect("reads");
    fs::write(&marker, text.replace(&text[..8], "00000000")).expect("writes");
    assert!(lies_in(&stack, &restored(&stack, 1)["archive"], "a"));
}

/// Two repositories with a set of one name, and one drive: `repo` made a backup on the 9th, the other one on the 10th.
fn shared() -> Stack {
    let stack = Stack::configured();
    stack.run_at("2026-03-09T12:00:00Z", &["backup"]).ok();
    stack.sh(".", "cp -a repo second; rm -r second/.recovery; echo other > second/.codex-api/config.toml");
    let made: Outcome = outcome(stack.command(&["backup"]).current_dir(stack.path("second")));
    made.ok();
    stack
}

#[test]
fn the_backup_of_another_repository_is_not_restored_unasked() {
    let stack = shared();
    let at = "2026-03-10T12:00:00Z";
    let document = restored(&stack, 0);
    assert!(document["archive"].as_str().is_some_and(|path| path.contains("03-09T12")), "{document}");
    let told = finding(&document, "not on record here");
    assert_eq!(told["severity"], "warning");
    assert!(told["path"].as_str().is_some_and(|path| path.contains("03-10T12")), "{document}");
    assert!(told["repair"].as_str().is_some_and(|text| text.contains(&format!("--at {at}"))), "{document}");
    all_is_back(&stack);
    stack.run(&["restore", "codex-api", "--explain"]).ok().says(&[
        "not on record here",
        "03-09T12",
        "03-10T12",
    ]);
    let to = ["--to", "../back"];
    stack.run(&[&["restore", "codex-api"], &to[..]].concat()).ok().says(&[
        "03-10T12",
        "not on record here",
        at,
    ]);
    all_is_back(&stack);
    // It is when it is asked for, and that it is not on record is told.
    stack
        .run(&[&["restore", "codex-api", "--at", at], &to[..]].concat())
        .ok()
        .says(&["not on record here", "03-10T12"]);
    stack.sh(".", "diff -r back/.codex-api second/.codex-api; rm -r back");
    // A later time asks for none of another repository.
    stack.run(&[&["restore", "codex-api", "--at", "2026-03-11"], &to[..]].concat()).ok();
    all_is_back(&stack);
}

#[test]
fn without_a_history_the_newest_is_restored_and_that_nothing_is_on_record_is_told() {
    let stack = shared();
    stack.sh("repo", "rm -r .recovery");
    let document = restored(&stack, 0);
    assert!(document["archive"].as_str().is_some_and(|path| path.contains("03-10T12")), "{document}");
    assert_eq!(finding(&document, "is not on record here")["severity"], "warning");
    stack.sh(".", "diff -r back/.codex-api second/.codex-api");
}

#[test]
fn a_newer_backup_that_is_on_record_and_not_there_is_told() {
    let stack = Stack::configured();
    for day in ["08", "09"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    stack.sh("drive", "mv 2026/03-09 ../aside");
    let document = restored(&stack, 0);
    let told = finding(&document, "is newer and on record");
    assert!(told["path"].as_str().is_some_and(|path| path.contains("03-09T12")), "{document}");
    stack.sh(".", "rm -r back");
    stack.run(&["restore", "codex-api", "--at", "2026-03-08", "--to", "../back", "--json"]).ok();
}

#[test]
fn a_newer_backup_that_has_lost_its_marker_is_told_as_that() {
    let stack = Stack::configured();
    for day in ["08", "09"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    fs::remove_file(stack.one("drive/2026/03-09", ".sha256")).expect("removes");
    let document = restored(&stack, 0);
    let told = finding(&document, "is newer and on record, and is passed over: it has lost its marker");
    assert!(told["path"].as_str().is_some_and(|path| path.contains("03-09T12")), "{document}");
    assert!(!document.to_string().contains("lies at no destination"), "{document}");
}

#[test]
fn gits_own_folder_is_no_target() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", ".git/back"]).exits(3).says(&["git's own folder"]);
    stack.configure("[drill]\ndeploy-dir = \".git\"\n");
    stack.run(&["status"]).exits(3).says(&["drill.deploy-dir", "git's own folder"]);
}

#[test]
fn a_target_in_live_data_or_at_a_destination_or_behind_a_dead_link_is_refused() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.sh(".", "ln -s nowhere dead; ln -s drive alias");
    let before = stack.world(".");
    for (to, why) in [
        (".codex-api/empty", "lies inside of"),
        (".codex-api/new/deep", "the source of a data set"),
        ("../drive", "a destination"),
        ("../drive/new", "a destination"),
        ("../alias/new", "a destination"),
        ("../dead", "leads nowhere"),
        ("../dead/new", "leads nowhere"),
    ] {
        let next = if why == "leads nowhere" { "give another folder" } else { "give a folder outside of it" };
        stack.run(&["restore", "codex-api", "--to", to]).exits(3).says(&[why, next]);
        assert!(stack.world(".") == before, "{to}: {:?}", stack.files("."));
    }
    // What comes back has the folder's own name, and would lie below it: also where it is lost.
    stack.sh("repo", "mv .codex-api ../kept");
    stack.run(&["restore", "codex-api", "--to", ".codex-api"]).exits(3).says(&["lies inside of"]);
}
