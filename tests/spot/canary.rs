//! The canary: written before each archive, demanded back from the latest one.
use super::super::support::{Stack, outcome};
use super::{drill, found, step};
use serde_json::Value;
use std::fs;

const CANARY: &str = "repo/.codex-api/.recovery-canary";
const LATER: &str = "2026-03-20T12:00:00Z";

/// A set with a canary, and more of its keys.
fn stack(more: &str) -> Stack {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    configure(&stack, &format!("canary = \".recovery-canary\"\n{more}"));
    stack
}

fn configure(stack: &Stack, more: &str) {
    stack.configure("");
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("[destination", &format!("{more}[destination")));
}

fn read(stack: &Stack) -> String {
    fs::read_to_string(stack.path(CANARY)).expect("a canary")
}

/// Whether a drill warns of a backup that has none.
fn is_warned(document: &Value) -> bool {
    let mut findings = document["findings"].as_array().expect("findings").iter();
    findings.any(|one| one["severity"] == "warning" && one["what"] == "was made without its canary")
}

/// The last `backup` record of the history.
fn record(stack: &Stack) -> Value {
    let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
    let mut lines = history.lines().filter(|line| line.contains("\"kind\":\"backup\""));
    serde_json::from_str(lines.next_back().expect("a backup")).expect("JSON")
}

#[test]
fn each_backup_writes_another_and_the_drill_demands_it_back() {
    for more in ["", "consistency = \"staged\"\n"] {
        let stack = stack(more);
        stack.run_at("2026-03-10T12:00:00Z", &["backup"]).ok();
        let first = read(&stack);
        stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
        assert!(read(&stack) != first && read(&stack).contains("codex-api-2026-03-11T120000Z.tar.gz"));
        assert_eq!(record(&stack)["canary"]["path"], ".recovery-canary", "{}", record(&stack));
        let document = drill(&stack, LATER).ok().json();
        let steps = document["steps"].as_array().expect("steps");
        let canaries: Vec<&Value> = steps
            .iter()
            .filter(|step| step["name"].as_str().is_some_and(|n| n.starts_with("canary")))
            .collect();
        assert_eq!(canaries.len(), 1, "of the latest alone: {document}");
        assert!(canaries[0]["name"].to_string().contains("2026-03-11") && canaries[0]["outcome"] == "pass");
        assert!(!document["not_tested"].to_string().contains("canary"), "{document}");
    }
}

/// It is written only when there is an archive to make.
#[test]
fn a_set_in_which_nothing_was_changed_stays_unchanged() {
    let stack = stack("");
    let plain = |now: &str| outcome(stack.plain(&["backup", "--json"]).env("RECOVERY_NOW", now)).ok().json();
    assert_eq!(plain("2026-03-10T12:00:00Z")["sets"][0]["status"], "ok");
    let first = read(&stack);
    assert_eq!(plain("2026-03-11T12:00:00Z")["sets"][0]["status"], "unchanged");
    assert_eq!(read(&stack), first);
    drill(&stack, LATER).ok();
    stack.file("repo/.codex-api/new", "x");
    assert_eq!(plain("2026-03-12T12:00:00Z")["sets"][0]["status"], "ok");
    assert_ne!(read(&stack), first);
    stack.run_at("2026-03-13T12:00:00Z", &["backup", "--dry-run"]).ok();
    assert!(read(&stack).contains("2026-03-12"), "a dry run writes none");
}

#[test]
fn what_is_no_canary_is_not_written_over() {
    let stack = stack("");
    stack.file(CANARY, "mine\n");
    let document = stack.run(&["backup", "--json"]).exits(1).json();
    found(&document["sets"][0], &[".recovery-canary", "is no canary: it is not written over"]);
    assert_eq!(read(&stack), "mine\n");
    assert!(document["sets"][0]["archive"].is_string(), "the backup is made all the same: {document}");
    stack.run(&["verify"]).ok();
    let drilled = drill(&stack, LATER).ok().json();
    assert!(drilled["not_tested"].to_string().contains("canary of codex-api-"), "{drilled}");
    assert!(is_warned(&drilled), "{drilled}");
}

#[test]
fn a_canary_that_no_backup_can_hold_is_a_mistake_of_the_configuration() {
    for (canary, more, words) in [
        ("tmp/canary", "exclude = [\"tmp/\"]\n", "which the set's own `exclude` leaves out"),
        ("x.canary", "exclude = [\"*.canary\"]\n", "which the set's own `exclude` leaves out"),
        ("../canary", "", "not a path inside of the source"),
        ("/canary", "", "not a path inside of the source"),
        ("", "", "not a path inside of the source"),
    ] {
        let stack = Stack::new();
        configure(&stack, &format!("canary = \"{canary}\"\n{more}"));
        stack.run(&["backup"]).exits(3).says(&["data.codex-api.canary", words]);
    }
}

#[test]
fn a_backup_from_before_it_was_configured_has_none_to_show() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    assert!(!is_warned(&drill(&stack, LATER).ok().json()));
    configure(&stack, "canary = \".recovery-canary\"\n");
    let document = drill(&stack, "2026-03-21T12:00:00Z").ok().json();
    assert!(document["not_tested"].to_string().contains("none is on record for it"), "{document}");
    assert!(is_warned(&document), "{document}");
    // Nothing was changed, and the next backup has one all the same.
    let document = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
    assert_eq!(document["sets"][0]["status"], "ok", "{document}");
    let document = drill(&stack, "2026-03-22T12:00:00Z").ok().json();
    assert!(!document["not_tested"].to_string().contains("none is on record for it"), "{document}");
    assert!(!is_warned(&document), "{document}");
}

/// Until it can be written each run tries again, and says so.
#[test]
fn a_backup_without_its_canary_is_not_taken_for_unchanged() {
    let stack = stack("");
    stack.file(CANARY, "mine\n");
    let plain = |now: &str| outcome(stack.plain(&["backup", "--json"]).env("RECOVERY_NOW", now));
    for now in ["2026-03-10T12:00:00Z", "2026-03-11T12:00:00Z"] {
        let document = plain(now).exits(1).json();
        found(&document["sets"][0], &[".recovery-canary", "the canary was not written"]);
        assert_eq!(document["sets"][0]["status"], "findings", "{document}");
    }
    fs::remove_file(stack.path(CANARY)).expect("removes");
    assert_eq!(plain("2026-03-12T12:00:00Z").ok().json()["sets"][0]["status"], "ok");
    assert_eq!(plain("2026-03-13T12:00:00Z").ok().json()["sets"][0]["status"], "unchanged");
}

#[test]
fn what_keeps_it_from_being_written_a_dry_run_says_before_and_once() {
    let stack = stack("destination = [\"drive\", \"other\"]\n");
    let other = stack.path("other").display().to_string();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &format!("{text}[destination.other]\npath = \"{other}\"\n"));
    stack.file(CANARY, "mine\n");
    let document = stack.run(&["backup", "--dry-run", "--json"]).exits(1).json();
    found(&document["sets"][0], &[".recovery-canary", "the canary cannot be written"]);
    assert_eq!(document.to_string().matches("the canary cannot be written").count(), 1, "{document}");
    assert_eq!(document["sets"][0]["status"], "planned", "{document}");
    assert_eq!(read(&stack), "mine\n");
    fs::remove_file(stack.path(CANARY)).expect("removes");
    stack.run(&["backup", "--dry-run"]).ok();
    assert!(!stack.path(CANARY).exists());
}

#[test]
fn where_before_fails_none_is_written() {
    let stack = stack("before = [\"false\"]\n");
    stack.run(&["backup"]).exits(1);
    assert!(!stack.path(CANARY).exists());
}

/// Alone it is no data.
#[test]
fn an_emptied_source_is_noticed_though_a_canary_is_left() {
    let stack = stack("");
    stack.run(&["backup"]).ok();
    stack.sh("repo/.codex-api", "find . -mindepth 1 ! -name .recovery-canary -delete");
    stack
        .run_at("2026-03-11T12:00:00Z", &["backup"])
        .exits(1)
        .says(&["holds no files, though it was backed up before"]);
}

#[test]
fn a_canary_in_a_folder_that_leads_out_of_the_source_is_not_written() {
    let stack = Stack::new();
    stack.sh("repo", "mkdir ../elsewhere; ln -s ../../elsewhere .codex-api/out");
    configure(&stack, "canary = \"out/canary\"\n");
    stack.run(&["backup"]).exits(1).says(&["would lie outside of the source"]);
    assert_eq!(stack.files("elsewhere"), [""; 0]);
}

/// The files of an older backup under the names of the newest, with a marker that fits them.
#[test]
fn an_older_state_under_a_newer_name_is_found() {
    let stack = stack("");
    stack.run_at("2026-03-10T12:00:00Z", &["backup"]).ok();
    stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
    stack.sh(
        "drive/2026",
        "cd 03-11; for f in *.tar.gz *.jsonl.gz; do cp ../03-10/${f/03-11/03-10} $f; done; \
         sha256sum *.tar.gz *.jsonl.gz > new; mv new *.sha256",
    );
    let document = drill(&stack, LATER).exits(1).json();
    assert_eq!(step(&document, "checksums: codex-api-2026-03-11")["outcome"], "pass", "{document}");
    assert_eq!(step(&document, "canary: codex-api-2026-03-11")["outcome"], "fail", "{document}");
    found(&document, &[".recovery-canary", "with another content than was written before the backup"]);
}

/// A rule that is not a pattern leaves it out: the folder comes to be tagged as a cache.
#[test]
fn a_canary_that_is_gone_is_found() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    stack.file("repo/.codex-api/tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    configure(&stack, "canary = \"tagged/canary\"\nexclude-caches = true\n");
    stack.run(&["backup"]).ok();
    let document = drill(&stack, LATER).exits(1).json();
    assert_eq!(step(&document, "canary: codex-api")["outcome"], "fail", "{document}");
    found(&document, &["tagged/canary", "did not come back"]);
}

#[test]
fn where_it_cannot_be_written_the_backup_is_made_all_the_same() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    configure(&stack, "canary = \"gone/canary\"\n");
    let document = stack.run(&["backup", "--json"]).exits(1).json();
    found(&document["sets"][0], &["gone/canary", "the canary was not written"]);
    assert!(document["sets"][0]["archive"].is_string(), "{document}");
    stack.run(&["verify"]).ok();
}

/// A destination that missed the backup gets its copy later, and with it what the drill demands of it.
#[test]
fn a_copy_that_is_made_later_has_the_same_canary() {
    let stack = stack("destination = [\"drive\", \"other\"]\n");
    let other = stack.path("other").display().to_string();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &format!("{text}[destination.other]\npath = \"{other}\"\n"));
    stack.file("other", "in the way");
    stack.run(&["backup"]).exits(1);
    let first = record(&stack);
    stack.sh(".", "rm other; mkdir other");
    outcome(&mut stack.plain(&["backup"])).ok();
    let second = record(&stack);
    assert!(
        first["artifact"] != second["artifact"] && first["canary"] == second["canary"],
        "{first} {second}"
    );
    stack.sh("drive", "rm -r *");
    let document = drill(&stack, LATER).json();
    assert_eq!(step(&document, "canary: codex-api")["outcome"], "pass", "{document}");
}
