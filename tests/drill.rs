//! `restore-drill`: what counts as proof, what never does, and that the evidence tells it without telling a secret.
use super::support::{Outcome, Stack, flip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse battery");
const LATER: &str = "2026-03-11T12:00:00Z";
const CHECKS: &str = "[drill]\nrelease-checks = [\"test -f server.js\", \"sh bin/run\"]\n";
const DRILLS: &str = "repo/docs/drills";

/// A release and one backup.
fn ready(destination: &str, drill: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(&format!("{destination}{drill}"));
    stack.run(&["snapshot"]).ok();
    stack.run_with(&[KEY], &["backup"]).ok();
    stack
}

fn drill_at(stack: &Stack, now: &str) -> Outcome {
    let said = stack.run_with(&[("RECOVERY_NOW", now), KEY], &["restore-drill", "--json"]);
    assert_eq!(leftovers(stack), [""; 0], "restored data is left: {}", said.shown());
    said
}

/// Private folders of drills, and of gpg, that were not removed.
fn leftovers(stack: &Stack) -> Vec<String> {
    let names = fs::read_dir(stack.path(".")).expect("lists");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("recovery-drill-") || name.starts_with("recovery-gnupg-")).collect()
}

fn sha256(path: &Path) -> String {
    xtask::archive::hex(&Sha256::digest(fs::read(path).expect("reads")))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("reads")).expect("a record")
}

/// The records of all drills, oldest first.
fn records(stack: &Stack) -> Vec<PathBuf> {
    let names = stack.files(DRILLS).into_iter().filter(|name| name.ends_with(".json"));
    names.map(|name| stack.path(DRILLS).join(name)).collect()
}

fn step<'a>(document: &'a Value, part: &str) -> &'a Value {
    let steps = document["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"].as_str().is_some_and(|name| name.contains(part)));
    found.unwrap_or_else(|| panic!("no step {part:?} in {document}"))
}

#[test]
fn a_drill_restores_release_and_data_and_leaves_evidence_that_agrees() {
    for destination in ["", "compression = \"zstd\"\n", "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n"] {
        let stack = ready(destination, CHECKS);
        let before =
            (stack.listing("repo/.codex-api"), stack.listing("drive"), stack.listing("repo/releases"));
        let document = drill_at(&stack, LATER).ok().json();
        let after =
            (stack.listing("repo/.codex-api"), stack.listing("drive"), stack.listing("repo/releases"));
        assert_eq!(before, after, "a drill only looks");
        assert_eq!((&document["kind"], &document["result"]), (&"spot".into(), &"verified".into()));
        assert_eq!((&document["command"], &document["status"]), (&"restore-drill".into(), &"ok".into()));
        assert_eq!(document["rpo_seconds"], 86_400.0, "the backup is a day old");
        assert!(document["rto_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{document}");
        assert!(document["not_tested"].to_string().contains("full drill"), "{document}");
        for step in document["steps"].as_array().expect("steps") {
            assert_eq!(step["outcome"], "pass", "{step}");
            assert!(step["seconds"].is_f64() && step["detail"].as_str().is_some_and(|text| !text.is_empty()));
        }
        for part in
            ["preflight", "pick", "checksums: ", "restore: ", "compare with manifest: ", "key files: "]
        {
            step(&document, part);
        }
        for part in ["release check 1: ", "release check 2: ", "negative control: ", "clean up"] {
            step(&document, part);
        }
        evidence_agrees(&stack, &document);
    }
}

/// The record, its page and its row in the list say what the run said.
fn evidence_agrees(stack: &Stack, document: &Value) {
    let path = PathBuf::from(document["evidence"].as_str().expect("a path"));
    let record = read(&path);
    for key in ["id", "kind", "result", "rto_seconds", "rpo_seconds", "artifacts", "not_tested", "operator"] {
        assert_eq!(record[key], document[key], "{key}");
    }
    let mut steps = document["steps"].clone();
    for step in steps.as_array_mut().expect("steps") {
        step.as_object_mut().expect("a step").remove("mb_per_second").expect("a speed, or null");
    }
    assert_eq!(record["steps"], steps);
    assert_eq!(record["schema_version"], 1);
    assert_eq!(record["previous_sha256"], Value::Null);
    let page = fs::read_to_string(path.with_extension("md")).expect("a page");
    let list = fs::read_to_string(path.with_file_name("restore-checklist.md")).expect("a list");
    let row = list.lines().last().expect("a row");
    assert!(row.contains(record["id"].as_str().expect("a name")) && row.contains("| verified |"), "{row}");
    assert!(page.contains("| result | verified |"), "{page}");
    let stored = [stack.one("repo/releases", ".tar.gz"), archive(stack)];
    assert_eq!(record["artifacts"].as_array().expect("artifacts").len(), stored.len());
    for path in stored {
        let (name, digest) = (path.file_name().expect("a name").to_string_lossy(), sha256(&path));
        let artifacts = record["artifacts"].as_array().expect("artifacts");
        assert!(artifacts.iter().any(|a| a["path"] == *name && a["sha256"] == *digest), "{name}: {record}");
        assert!(page.contains(&digest) && row.contains(&*name), "{page}{row}");
    }
}

/// The one backup.
fn archive(stack: &Stack) -> PathBuf {
    let mut names = stack.files("drive").into_iter();
    let name = names.rfind(|name| name.contains(".tar.") && !name.ends_with(".sha256"));
    stack.path("drive").join(name.expect("a backup"))
}

#[test]
fn each_record_names_the_digest_of_the_one_before_it() {
    let stack = ready("", "");
    for day in ["11", "12", "13"] {
        drill_at(&stack, &format!("2026-03-{day}T12:00:00Z")).ok();
    }
    let paths = records(&stack);
    assert_eq!(paths.len(), 3);
    assert_eq!(read(&paths[0])["previous_sha256"], Value::Null);
    for pair in paths.windows(2) {
        assert_eq!(read(&pair[1])["previous_sha256"].as_str(), Some(&*sha256(&pair[0])));
    }
    let history = stack.run(&["restore-drill", "history", "--json"]).ok().json();
    assert_eq!(history["drills"].as_array().map(Vec::len), Some(3));
    let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
    assert_eq!(list.lines().filter(|line| line.starts_with("| 2026-")).count(), 3, "{list}");
}

#[test]
fn a_record_that_was_changed_or_taken_away_is_noticed() {
    let stack = ready("", "");
    for day in ["11", "12", "13"] {
        drill_at(&stack, &format!("2026-03-{day}T12:00:00Z")).ok();
    }
    let paths = records(&stack);
    let edited = fs::read_to_string(&paths[1]).expect("reads").replace("\"manual\"", "\"by hand\"");
    let whole = fs::read(&paths[1]).expect("reads");
    fs::write(&paths[1], edited).expect("writes");
    let noticed = |what: &str| {
        stack.run(&["restore-drill", "history"]).exits(1).says(&["drill-2026-03-13"]);
        let status = stack.run_at("2026-03-13T13:00:00Z", &["status", "--json"]).exits(1).json();
        assert!(status["findings"].to_string().contains("drill-2026-03-13"), "{what}: {status}");
    };
    noticed("edited");
    fs::remove_file(&paths[1]).expect("removes");
    noticed("removed");
    fs::write(&paths[1], whole).expect("writes");
    stack.run(&["restore-drill", "history"]).ok();
    fs::write(&paths[1], "{").expect("writes");
    stack.run(&["restore-drill", "history"]).exits(1).says(&["drill-2026-03-12"]);
    // A drill on a broken chain still runs, and does not call that verified.
    assert_eq!(drill_at(&stack, "2026-03-14T12:00:00Z").exits(1).json()["result"], "not_verified");
}

#[test]
fn every_older_artifact_has_its_turn() {
    let stack = ready("", "");
    for day in ["11", "12", "13"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    let mut seen = BTreeSet::new();
    for drill in 0..3 {
        let document = drill_at(&stack, &format!("2026-03-2{drill}T12:00:00Z")).ok().json();
        let artifacts = document["artifacts"].as_array().expect("artifacts").clone();
        assert_eq!(artifacts.len(), 3, "the release, the newest backup, and an older one: {document}");
        assert!(artifacts.iter().any(|a| a["path"] == "codex-api-2026-03-13T120000Z.tar.gz"), "{document}");
        seen.extend(artifacts.iter().map(|a| a["path"].as_str().expect("a name").to_owned()));
    }
    assert_eq!(seen.len(), 5, "four backups and the release after three drills: {seen:?}");
}

#[test]
fn what_did_not_come_back_is_never_called_verified() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("a key file", "[drill]\n", "rm repo/.codex-api/{config,twin}.toml", "key files"),
        ("an empty key file", "[drill]\n", ": > repo/.codex-api/config.toml", "key files"),
        ("a failing check", "[drill]\nrelease-checks = [\"true\", \"false\"]\n", "true", "release check 2"),
    ];
    for (what, drill, before, failed) in rows {
        let stack = Stack::new();
        stack.configure(drill);
        stack.sh(".", before);
        stack.run(&["snapshot"]).ok();
        stack.run(&["backup"]);
        let document = drill_at(&stack, LATER).exits(1).json();
        assert_eq!((&document["result"], &document["status"]), (&"not_verified".into(), &"findings".into()));
        assert_eq!(step(&document, failed)["outcome"], "fail", "{what}: {document}");
        let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
        assert!(list.contains("| not_verified |") && list.contains(failed), "{what}: {list}");
        let page = fs::read_to_string(records(&stack)[0].with_extension("md")).expect("a page");
        assert!(page.contains("**not verified**"), "{what}: {page}");
    }
}

#[test]
fn a_check_that_hangs_is_stopped_and_those_behind_it_are_not_run() {
    let checks = "[drill]\ncheck-timeout = \"1s\"\nrelease-checks = [\"sleep 600 & sleep 600\", \"true\"]\n";
    let stack = ready("", checks);
    let document = drill_at(&stack, LATER).exits(1).json();
    assert_eq!(document["result"], "not_verified");
    assert_eq!(step(&document, "release check 1")["outcome"], "timeout");
    assert_eq!(step(&document, "release check 2")["outcome"], "blocked");
    assert_eq!(document["rto_seconds"], Value::Null, "nothing was recovered");
}

#[test]
fn one_flipped_byte_in_release_or_data_is_not_verified() {
    for place in ["drive", "repo/releases"] {
        let stack = ready("", "");
        let path = if place == "drive" { archive(&stack) } else { stack.one(place, ".tar.gz") };
        flip(&path, 200);
        let document = drill_at(&stack, LATER).exits(1).json();
        assert_eq!(document["result"], "not_verified");
        let name = path.file_name().expect("a name").to_string_lossy();
        assert_eq!(step(&document, &format!("checksums: {name}"))["outcome"], "fail");
        assert_eq!(step(&document, &format!("restore: {name}"))["outcome"], "blocked");
        assert!(document["findings"].to_string().contains(&*name), "{document}");
        // What was not proven does not count as verified afterwards.
        let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        let verified: Vec<&str> = history.lines().filter(|line| line.contains("\"verified\"")).collect();
        assert!(!verified.iter().any(|line| line.contains(&*name)), "{verified:?}");
    }
}

#[test]
fn without_a_backup_or_a_release_nothing_is_verified() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let document = drill_at(&stack, LATER).exits(1).json();
    assert_eq!((&document["result"], &document["rpo_seconds"]), (&"not_verified".into(), &Value::Null));
    assert!(document["findings"].to_string().contains("codex-api"), "{document}");
    let stack = Stack::new();
    stack.configure(CHECKS);
    stack.run(&["backup"]).ok();
    let document = drill_at(&stack, LATER).exits(1).json();
    assert_eq!(document["result"], "not_verified");
    assert!(document["not_tested"].to_string().contains("release"), "{document}");
}

/// What `[release]` speaks of has to come back, though no bundle of it was ever made.
#[test]
fn a_release_that_is_configured_must_come_back_too() {
    let stack = Stack::new();
    stack.configure("[release]\nname = \"api\"\n");
    stack.run(&["backup"]).ok();
    let document = drill_at(&stack, LATER).exits(1).json();
    assert_eq!(document["result"], "not_verified");
    let reasons = document["reasons"].to_string();
    assert!(reasons.contains("there is no artifact of release api to restore"), "{document}");
    let page = fs::read_to_string(records(&stack)[0].with_extension("md")).expect("a page");
    assert!(page.contains("\nWhy:\n\n- there is no artifact of release api to restore\n"), "{page}");
    stack.run(&["snapshot"]).ok();
    drill_at(&stack, "2026-03-12T12:00:00Z").ok();
}

#[test]
fn a_drill_that_could_not_run_says_so_and_leaves_evidence() {
    let stack = ready("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", "");
    for value in [None, Some("")] {
        let env: Vec<(&str, &str)> = value.map(|value| (KEY.0, value)).into_iter().collect();
        let document = stack.run_with(&env, &["restore-drill", "--json"]).exits(3).json();
        assert_eq!((&document["result"], &document["status"]), (&"could_not_run".into(), &"error".into()));
        assert!(step(&document, "preflight").to_string().contains(KEY.0), "{document}");
        assert_eq!(step(&document, "restore: codex-api")["outcome"], "blocked");
        assert!(Path::new(document["evidence"].as_str().expect("a path")).is_file());
    }
    let stack = Stack::new();
    stack.configure(&format!("mount = \"{}\"\n", stack.path("drive").display()));
    let document = stack.run(&["restore-drill", "--json"]).exits(75).json();
    assert_eq!(document["result"], "could_not_run");
    assert!(step(&document, "preflight").to_string().contains("mount"), "{document}");
    assert_eq!(records(&stack).len(), 1);
}

#[test]
fn a_backup_that_was_encrypted_by_flag_is_drilled_too() {
    let stack = Stack::new();
    stack.configure("");
    stack.run(&["snapshot"]).ok();
    stack.run_with(&[KEY], &["backup", "--encrypt"]).ok();
    stack.run_with(&[KEY], &["verify"]).ok();
    let document = drill_at(&stack, LATER).json();
    assert_eq!(document["result"], "verified", "{document}");
}

#[test]
fn a_dry_run_writes_nothing_and_lists_the_steps_of_the_real_one() {
    let stack = ready("", CHECKS);
    stack.run_at("2026-03-10T13:00:00Z", &["backup"]).ok();
    let before = stack.listing(".");
    let planned = stack.run(&["restore-drill", "--dry-run", "--json"]).ok().json();
    let text = stack.run(&["restore-drill", "--dry-run"]).ok().stdout;
    assert_eq!(stack.listing("."), before);
    let names = |document: &Value| -> Vec<String> {
        let steps = document["steps"].as_array().expect("steps").iter();
        steps.map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
    };
    let real = drill_at(&stack, "2026-03-10T14:00:00Z").ok().json();
    assert_eq!(names(&planned), names(&real));
    assert!(names(&real).iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn a_drill_is_due_until_one_was_verified() {
    let stack = ready("", "[drill]\nspot-every = \"31d\"\nrelease-checks = [\"test -e $HOME/up\"]\n");
    let if_due = |now: &str| stack.run_at(now, &["restore-drill", "--if-due", "--json"]);
    assert_eq!(if_due("2026-03-11T12:00:00Z").exits(1).json()["result"], "not_verified");
    stack.file("home/up", "");
    assert_eq!(
        if_due("2026-03-12T12:00:00Z").ok().json()["result"],
        "verified",
        "the failed one is no drill"
    );
    let before = stack.listing(DRILLS);
    assert_eq!(if_due("2026-03-13T12:00:00Z").ok().json()["result"], "not_due");
    assert_eq!(if_due("2026-04-12T08:59:59Z").ok().json()["result"], "not_due");
    assert_eq!(stack.listing(DRILLS), before, "nothing is written when nothing is due");
    assert_eq!(if_due("2026-04-12T09:00:00Z").ok().json()["result"], "verified");
    assert_eq!(read(records(&stack).last().expect("a record"))["trigger"], "if-due");
}

#[test]
fn no_secret_and_no_environment_value_gets_into_the_evidence() {
    let leak = "echo $CODEX_BACKUP_GPG_KEY $API_TOKEN; cat $HOME/leak; env; tr '\\\\0' '\\\\n' < /proc/$PPID/environ | grep GPG; exit 7";
    let drill = format!(
        "[drill]\nenvironment = [\"PATH\", \"HOME\", \"API_TOKEN\", \"{}\"]\nrelease-checks = [\"{leak}\"]\n",
        KEY.0
    );
    let stack = ready("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", &drill);
    let token = ("API_TOKEN", "tok-31337-tok");
    // One that no command sees, and two that no variable holds.
    let (hidden, github) = (("DEPLOY_PASSWORD", "pw-4711"), ["ghp_", &"a1".repeat(18)].concat());
    stack.file("home/leak", &format!("{} {github} postgres://app:hunter2@db/app\n", hidden.1));
    let env = [KEY, token, hidden, ("RECOVERY_NOW", LATER)];
    let said = stack.run_with(&env, &["restore-drill", "--json"]).exits(1);
    let detail = step(&said.json(), "release check 1")["detail"].to_string();
    assert!(
        ["$CODEX_BACKUP_GPG_KEY", "$API_TOKEN", "$DEPLOY_PASSWORD (secret) postgres://app:(secret)@db/app"]
            .iter()
            .all(|part| detail.contains(part)),
        "it did print: {detail}"
    );
    let mut told = vec![said.shown().split("--- stdout").nth(1).expect("output").to_owned()];
    for folder in [DRILLS, "repo/.recovery"] {
        let files = stack.files(folder).into_iter();
        told.extend(files.map(|name| fs::read_to_string(stack.path(folder).join(name)).expect("reads")));
    }
    for text in told {
        for secret in [KEY.1, token.1, hidden.1, &github, "hunter2"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_check_sees_the_variables_of_the_list_and_no_other() {
    let checks = "test \\\"$API_TOKEN\\\" = tok && test -z \\\"$OTHER$CODEX_BACKUP_GPG_KEY$HOME\\\"";
    let drill = format!(
        "[drill]\nenvironment = [\"PATH\", \"API_TOKEN\", \"CODEX_BACKUP_GPG_KEY\"]\nrelease-checks = [\"{checks}\"]\n"
    );
    let stack = ready("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", &drill);
    let env = [KEY, ("API_TOKEN", "tok"), ("OTHER", "x"), ("RECOVERY_NOW", LATER)];
    stack.run_with(&env, &["restore-drill"]).ok();
}

/// Sends TERM while a check runs.
fn stopped() -> Stack {
    let stack = ready("", "[drill]\nrelease-checks = [\"touch $HOME/begun; sleep 600\"]\n");
    let mut child = stack.grouped(&["restore-drill"]).spawn().expect("starts");
    while !stack.path("home/begun").exists() {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before its check");
        sleep(Duration::from_millis(20));
    }
    assert_eq!(leftovers(&stack).len(), 1, "while it runs there is a private folder");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("sends");
    assert_eq!(child.wait().expect("ends").code(), Some(3));
    stack
}

#[test]
fn a_drill_that_is_stopped_leaves_nothing_restored_behind() {
    let stack = stopped();
    assert_eq!(leftovers(&stack), [""; 0]);
    stack.configure("");
    drill_at(&stack, LATER).ok();
}

#[test]
fn a_drill_that_is_stopped_is_on_record() {
    let stack = stopped();
    let records = records(&stack);
    assert_eq!(records.len(), 1, "a drill that was stopped leaves no record: {:?}", stack.files(DRILLS));
    assert_eq!(read(&records[0])["result"], "could_not_run");
}
