//! The evidence of drills: who ran them, what was expected and seen, and that nobody changes or removes it unnoticed.
mod golden;
mod joined;
mod mended;
mod told;

use super::support::{Outcome, Stack};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const DRILLS: &str = "repo/docs/drills";

/// A release, a backup, and a drill on each of so many days.
fn drilled(more: &str, days: u32) -> Stack {
    let stack = Stack::new();
    stack.configure(more);
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    for day in 0..days {
        drill_at(&stack, day).ok();
    }
    stack
}

fn drill_at(stack: &Stack, day: u32) -> Outcome {
    stack.run_at(&format!("2026-03-{}T12:00:00Z", 11 + day), &["restore-drill", "--json"])
}

/// The files of the folder with this ending, oldest first.
fn files(stack: &Stack, ending: &str) -> Vec<PathBuf> {
    let names = stack.files(DRILLS).into_iter().filter(|name| name.ends_with(ending));
    names.filter(|name| name.starts_with("drill-")).map(|name| stack.path(DRILLS).join(name)).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("reads");
    assert!(text.contains(from), "no {from:?} in {text}");
    fs::write(path, text.replacen(from, to, 1)).expect("writes");
}

/// `verify --evidence` finds an error about each of these, and about no other file.
#[track_caller]
fn finds(stack: &Stack, parts: &[&str]) -> Value {
    let document = stack.run(&["verify", "--evidence", "--json"]).exits(1).json();
    let findings = document["findings"].as_array().expect("findings").iter();
    let errors: Vec<String> =
        findings.filter(|finding| finding["severity"] == "error").map(Value::to_string).collect();
    for part in parts {
        assert!(errors.iter().any(|error| error.contains(part)), "no {part:?} in {errors:#?}");
    }
    let strange: Vec<_> =
        errors.iter().filter(|error| !parts.iter().any(|part| error.contains(part))).collect();
    assert!(strange.is_empty(), "besides {parts:?}: {strange:#?}");
    document
}

#[test]
fn a_record_says_who_ran_it_what_was_expected_and_how_fast_it_was() {
    let stack = drilled("[drill]\nrto-target = \"15m\"\nrpo-target = \"2d\"\n", 0);
    let run = stack.run_with(
        &[("RECOVERY_NOW", "2026-03-11T12:00:00Z"), ("SUDO_USER", "ada"), ("CI", "true")],
        &["restore-drill", "--json"],
    );
    let document = run.ok().json();
    let operator = &document["operator"];
    let (user, uid) = (stack.sh(".", "id -un"), stack.sh(".", "id -u"));
    assert_eq!(operator["user"], user.trim(), "{operator}");
    assert_eq!(operator["uid"], uid.trim().parse::<u32>().expect("a number"), "{operator}");
    assert_eq!((&operator["login"], &operator["started_by"]), (&"ada".into(), &"ci".into()));
    for step in document["steps"].as_array().expect("steps") {
        assert!(step["expected"].as_str().is_some_and(|text| !text.is_empty()), "{step}");
        let name = step["name"].as_str().expect("a name");
        let through = ["checksums", "verify", "restore", "compare"].iter().any(|verb| name.starts_with(verb));
        assert_eq!(step["bytes"].as_u64().is_some_and(|bytes| bytes > 0), through, "{step}");
        let (bytes, seconds) = (step["bytes"].as_f64(), step["seconds"].as_f64().expect("seconds"));
        let speed = bytes.filter(|_| seconds > 0.0).map(|bytes| bytes / 1e6 / seconds);
        let told = step["mb_per_second"].as_f64();
        assert_eq!(told.is_some(), speed.is_some(), "{step}");
        assert!(speed.zip(told).is_none_or(|(speed, told)| (speed - told).abs() < 0.001), "{step}");
    }
    assert_eq!(document["rto_target_seconds"], 900.0);
    let page = fs::read_to_string(&files(&stack, ".md")[0]).expect("a page");
    let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
    for text in [page, list] {
        assert!(text.contains(&format!("ada as {}, in a CI job", user.trim())), "{text}");
    }
}

/// A shell that goes by the name of a cron daemon, since that is how the system shows one.
#[test]
fn a_drill_that_cron_has_started_says_so() {
    let stack = drilled("", 0);
    stack.sh(".", "cp \"$(command -v bash)\" crond; cp crond other");
    stack
        .file("job", concat!("cd repo; '", env!("CARGO_BIN_EXE_xtask"), "' restore-drill --json; exit $?\n"));
    for (above, started_by) in [("crond", "cron"), ("other", "other")] {
        let said = stack.sh(".", &format!("./{above} job"));
        let document: Value = serde_json::from_str(&said).expect("a document");
        assert_eq!(document["operator"]["started_by"], started_by, "{document}");
    }
}

/// The backup is as old as its confirmation; and what a failure now would lose is counted at the end of the drill.
#[test]
fn ages_count_from_the_last_confirmation() {
    let stack = drilled("", 0);
    let seconds = |document: &Value, key: &str| document[key].as_f64().expect("seconds");
    let document = drill_at(&stack, 0).ok().json();
    assert_eq!(seconds(&document, "rpo_seconds"), 86_400.0);
    let lost = seconds(&document, "loss_now_seconds");
    assert!((86_400.0..90_000.0).contains(&lost), "{lost}");
    let confirmed = stack.plain(&["backup", "--json"]).env("RECOVERY_NOW", "2026-03-11T06:00:00Z").output();
    assert!(String::from_utf8_lossy(&confirmed.expect("runs").stdout).contains("unchanged"));
    let document = drill_at(&stack, 0).ok().json();
    assert_eq!(seconds(&document, "rpo_seconds"), 6.0 * 3600.0);
    assert!((21_600.0..25_000.0).contains(&seconds(&document, "loss_now_seconds")));
}

#[test]
fn what_calls_for_action_has_owner_and_date_and_what_does_not_has_none() {
    let stack = drilled("[drill]\nrpo-target = \"1h\"\n", 0);
    let args = ["restore-drill", "--owner", "Ada | Lovelace", "--due", "2026-04-30", "--json"];
    let document = stack.run_at("2026-03-11T12:00:00Z", &args).ok().json();
    let findings = document["findings"].as_array().expect("findings");
    let what = |text: &str| findings.iter().any(|finding| finding["what"].to_string().contains(text));
    assert!(what("RPO") && what("it is stale"), "a missed target: {document}");
    for finding in findings {
        assert_eq!((&finding["owner"], &finding["due"]), (&"Ada | Lovelace".into(), &"2026-04-30".into()));
    }
    let page = fs::read_to_string(&files(&stack, ".md")[0]).expect("a page");
    assert!(page.contains("| Ada \\| Lovelace | 2026-04-30 |") && page.contains("**missed**"), "{page}");
    let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
    assert!(list.contains("(Ada \\| Lovelace, due 2026-04-30)"), "{list}");
    stack.run(&["verify", "--evidence"]).ok();
    for wrong in ["soon", "2026-02-30", "30.04.2026", ""] {
        stack.run(&["restore-drill", "--due", wrong]).exits(2).says(&["2026-12-31"]);
    }
    for over in ["2026-03-09", "2001-01-01"] {
        stack.run(&["restore-drill", "--due", over]).exits(2).says(&["that day is over"]);
    }
    stack.run(&["restore-drill", "--due", "2026-03-10", "--dry-run"]).ok();
    for owner in ["", " ", "Ada\nLovelace", "Ada\u{1b}[2J"] {
        stack.run(&["restore-drill", "--owner", owner]).exits(2);
    }
}

#[test]
fn evidence_that_is_whole_is_listed_and_none_is_an_error() {
    let stack = drilled("", 3);
    let said = stack.run(&["verify", "--evidence"]).ok();
    assert_eq!(said.stdout.lines().filter(|line| line.starts_with("ok      drill-2026-03-1")).count(), 3);
    let document = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    assert_eq!((&document["checked"], document["records"].as_array().map(Vec::len)), (&3.into(), Some(3)));
    let none = drilled("", 0);
    none.run(&["verify", "--evidence"]).exits(1).says(&["holds no record of a drill"]);
    for other in [&["--all"][..], &["--latest"], &["x.tar.gz"]] {
        stack.run(&[&["verify", "--evidence"], other].concat()).exits(2);
    }
}

/// Each record in turn: the first, one in the middle, and the newest, which no other vouches for.
#[test]
fn whatever_is_edited_or_removed_is_found_and_named() {
    let stack = drilled("", 3);
    stack.sh(".", "cp -a repo/docs/drills whole");
    for at in 0..3 {
        let id = &*format!("drill-2026-03-{}T120000Z-spot", 11 + at);
        let next = format!("drill-2026-03-{}T120000Z-spot", 12 + at);
        // What names it in the chain, if anything does.
        let chained: Vec<&str> = if at < 2 { vec![id, &next] } else { vec![id] };
        let first: Vec<&str> = if at == 0 { vec!["the first record of the chain is gone"] } else { vec![] };
        let back = || drop(stack.sh(".", "rm -r repo/docs/drills; cp -a whole repo/docs/drills"));

        edit(&files(&stack, ".json")[at], "\"spot\"", "\"full\"");
        let document = finds(&stack, &chained);
        assert_eq!(document["records"][at]["sound"], false, "{document}");
        back();
        edit(&files(&stack, ".md")[at], "Recovery is proven", "Recovery is certain");
        finds(&stack, &[id]);
        back();
        fs::remove_file(&files(&stack, ".json")[at]).expect("removes");
        finds(&stack, &[&chained[..], &first].concat());
        back();
        fs::remove_file(&files(&stack, ".md")[at]).expect("removes");
        finds(&stack, &[id]);
        back();
        edit(&stack.path(DRILLS).join("restore-checklist.md"), &format!("[{id}]"), "[drill-other]");
        finds(&stack, &[id, "drill-other"]);
        back();
    }
    stack.run(&["verify", "--evidence"]).ok();
}

/// In a clone there is no history: the chain, the rows and the pages are left.
#[test]
fn what_a_clone_notices_and_what_only_the_history_does() {
    let stack = drilled("", 3);
    stack.sh(".", "cp -a repo/docs/drills whole; mv repo/.recovery memory");
    let back = || drop(stack.sh(".", "rm -r repo/docs/drills; cp -a whole repo/docs/drills"));
    stack.run(&["verify", "--evidence"]).ok();
    fs::remove_file(&files(&stack, ".json")[2]).expect("removes");
    finds(&stack, &["lists drill-2026-03-13T120000Z-spot, whose record is gone"]);
    back();
    // Record, page and row of the newest together: nothing is left of it but the history.
    let gone = "rm drill-2026-03-13T*; sed -i '/03-13T120000Z-spot/d' restore-checklist.md";
    stack.sh(DRILLS, gone);
    stack.run(&["verify", "--evidence"]).ok();
    stack.sh(".", "mv memory repo/.recovery");
    finds(&stack, &["drill-2026-03-13T120000Z-spot"]);
    back();
    stack.run(&["verify", "--evidence"]).ok();
    // One that this clone has not written is told, and no error.
    stack.sh("repo/.recovery", "sed -i '/03-13T120000Z-spot/d' history.jsonl");
    let said = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    assert!(said["findings"].to_string().contains("is not in the history of this clone"), "{said}");
}

/// A list that an older version wrote keeps its rows, and they are still held against their records.
#[test]
fn evidence_of_the_former_version_stays_valid() {
    let stack = drilled("", 0);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/evidence");
    fs::create_dir_all(stack.path(DRILLS)).expect("makes folders");
    let id = "drill-2026-03-09T120000Z-spot";
    for (from, to) in [("former.json", format!("{id}.json")), ("former.md", "restore-checklist.md".into())] {
        fs::copy(data.join(from), stack.path(DRILLS).join(to)).expect("copies");
    }
    stack.run(&["verify", "--evidence"]).ok().says(&[id]);
    drill_at(&stack, 0).ok();
    stack.run(&["verify", "--evidence"]).ok();
    stack.run(&["restore-drill", "history"]).ok().says(&[id, "drill-2026-03-11T120000Z-spot"]);
    edit(
        &stack.path(DRILLS).join("restore-checklist.md"),
        "| verified | 0.0 s | 1 d 0 h |",
        "| verified | 0.0 s | 0 d 1 h |",
    );
    finds(&stack, &[id]);
}

/// A home with a gpg key of this name, without a passphrase; its fingerprint.
fn key(stack: &Stack, name: &str) -> String {
    stack.sh(
        "home",
        &format!(
            "mkdir -p -m 700 .gnupg; gpg --batch --quiet --passphrase '' --quick-generate-key {name} default default never 2>/dev/null
             gpg --batch --with-colons --list-secret-keys {name} | awk -F: '/^fpr/{{print $10; exit}}'"
        ),
    )
    .trim()
    .to_owned()
}

const SIGNED: &str = "[drill]\nsign-with = \"ops@example.org\"\n";

#[test]
fn a_signed_record_says_who_signed_it_and_gpg_agrees() {
    let stack = drilled(SIGNED, 0);
    let fingerprint = key(&stack, "ops@example.org");
    for day in 0..2 {
        let document = drill_at(&stack, day).ok().json();
        assert_eq!(document["signature"]["key"], *fingerprint, "{document}");
    }
    // Plain gpg, as somebody without this tool would check it.
    stack.sh(
        DRILLS,
        "for record in drill-*.json; do HOME=../../../home gpg --verify $record.asc $record 2>&1; done",
    );
    let document = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    assert_eq!(document["records"][1]["signed_by"], *fingerprint, "{document}");
    let page = fs::read_to_string(&files(&stack, ".md")[0]).expect("a page");
    assert!(page.contains(&format!("by the key `{fingerprint}`")), "{page}");

    // Without a history, and with the chain and the rows made to fit: the signature alone is left.
    stack.sh("repo", "rm -r .recovery");
    let newest = files(&stack, ".json")[1].clone();
    edit(&newest, "\"host\": \"", "\"host\": \"x");
    edit(
        &stack.path(DRILLS).join("restore-checklist.md"),
        "2026-03-12T12:00:00Z |",
        "2026-03-12T12:00:00Z  |",
    );
    let document = stack.run(&["verify", "--evidence", "--json"]).exits(1).json();
    assert!(document["findings"].to_string().contains("the signature is of other bytes"), "{document}");
    stack.sh("home", "gpgconf --kill all");
}

#[test]
fn each_thing_that_is_wrong_with_a_signature_is_a_finding_of_its_own() {
    let stack = drilled(SIGNED, 0);
    let fingerprint = key(&stack, "ops@example.org");
    drill_at(&stack, 0).ok();
    let (record, signature) = (files(&stack, ".json")[0].clone(), files(&stack, ".asc")[0].clone());
    let whole = fs::read(&signature).expect("reads");
    let id = "drill-2026-03-11T120000Z-spot.json";

    fs::remove_file(&signature).expect("removes");
    finds(&stack, &[&format!("says that {fingerprint} has signed it, and the signature is gone")]);
    fs::write(&signature, "no signature\n").expect("writes");
    let document = finds(&stack, &["gpg cannot read the signature"]);
    let said = document["findings"].to_string();
    for part in [&format!("{id}.asc: no valid OpenPGP data found"), &format!("bring {}", signature.display())]
    {
        assert!(said.contains(part.as_str()), "{part} in {said}");
    }
    // A sound signature of the same bytes, by another key of the ring.
    let other = key(&stack, "mallory@example.org");
    fs::remove_file(&signature).expect("removes");
    stack.sh(
        "home",
        &format!(
            "gpg --batch --local-user {other} --armor --output {0}.asc --detach-sign {0}",
            record.display()
        ),
    );
    finds(&stack, &[&format!("says that {fingerprint} has signed it")]);
    // A signature by the right key, of other bytes.
    fs::remove_file(&signature).expect("removes");
    stack.sh(
        "home",
        &format!(
            "echo other | gpg --batch --local-user {fingerprint} --armor --output {}.asc --detach-sign",
            record.display()
        ),
    );
    finds(&stack, &["the signature is of other bytes"]);
    fs::write(&signature, &whole).expect("writes");
    stack.run(&["verify", "--evidence"]).ok();
    // Somebody who does not have the key.
    stack.sh("home", "gpgconf --kill all; mv .gnupg away; mkdir -m 700 .gnupg");
    let document = finds(&stack, &["which this key ring does not have"]);
    assert!(document["findings"].to_string().contains(id), "{document}");
    stack.sh("home", "gpgconf --kill all; rm -r .gnupg; mv away .gnupg");
    stack.run(&["verify", "--evidence"]).ok();
    stack.sh("home", "gpgconf --kill all");
}

/// The drill is on record all the same, its finding says why it is not signed, and the exit code is 1.
#[test]
fn a_record_that_cannot_be_signed_is_stored_and_says_so() {
    let stack = drilled(SIGNED, 0);
    let unsigned = |day: u32, why: &str| {
        let document = drill_at(&stack, day).exits(1).json();
        assert_eq!((&document["result"], &document["status"]), (&"verified".into(), &"findings".into()));
        assert_eq!(document["signature"], Value::Null);
        let finding = &document["findings"][0];
        let what = finding["what"].as_str().unwrap_or_default();
        assert!(what.contains("could not be signed") && what.contains(why), "{document}");
        assert_eq!(finding["severity"], "error");
        let record = read(Path::new(document["evidence"].as_str().expect("a path")));
        assert_eq!(record["findings"], document["findings"]);
        assert_eq!(files(&stack, ".asc").len(), 0);
        stack.run(&["verify", "--evidence"]).ok();
    };
    unsigned(0, "no secret key ops@example.org");
    // A key with a passphrase that nobody has typed: no pinentry is waited for.
    stack.sh("home", "mkdir -p -m 700 .gnupg; gpg --batch --quiet --pinentry-mode loopback --passphrase secret --quick-generate-key ops@example.org default default never 2>/dev/null; gpgconf --kill all");
    unsigned(1, "gpg --detach-sign failed");
    stack.sh("home", "gpgconf --kill all");
}

#[test]
fn history_lists_every_drill_and_draws_a_trend_for_each_kind() {
    let none = drilled("", 0);
    none.run(&["restore-drill", "history"]).ok().says(&["no drill is on record"]);
    assert_eq!(none.run(&["restore-drill", "history", "--json"]).ok().json()["trend"], serde_json::json!([]));
    let stack = drilled("[drill]\nrto-target = \"15m\"\n", 2);
    // One that could not run, in the middle.
    stack.sh(".", "mv drive away");
    let mounted = stack.path("drive").display().to_string();
    stack.configure(&format!("mount = \"{mounted}\"\n[drill]\nrto-target = \"15m\"\n"));
    stack.run_at("2026-03-13T12:00:00Z", &["restore-drill"]).fails();
    stack.sh(".", "rm -rf drive; mv away drive");
    stack.configure("[drill]\nrto-target = \"15m\"\n");
    drill_at(&stack, 3).ok();
    let said = stack.run(&["restore-drill", "history"]).ok();
    let line = said.stdout.lines().find(|line| line.starts_with("spot RTO")).expect("a trend").to_owned();
    let drawn = line.split_whitespace().nth(2).expect("bars");
    assert_eq!(drawn.chars().count(), 4, "{line}");
    assert_eq!(drawn.chars().nth(2), Some('·'), "{line}");
    for part in ["first ", "median ", "last ", "target 15 min"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(said.stdout.lines().filter(|line| line.starts_with("drill-2026")).count(), 4);
    let document = stack.run(&["restore-drill", "history", "--json"]).ok().json();
    let trend = &document["trend"][0];
    assert_eq!((&trend["verified"], &trend["could_not_run"]), (&3.into(), &1.into()));
    assert_eq!(trend["points"][2]["rto_seconds"], Value::Null);
    assert_eq!(trend["rto"]["measured"], 3);
}

/// Made by hand from one record, chained as drills are.
#[test]
fn history_holds_two_hundred_drills() {
    let stack = drilled("", 1);
    let first = files(&stack, ".json")[0].clone();
    let mut record = read(&first);
    let mut text = fs::read(&first).expect("reads");
    for number in 1..200 {
        record["previous_sha256"] = xtask::archive::sha256_hex(&text).into();
        record["id"] = format!("drill-2026-03-11T120000Z-spot-{}", number + 1).into();
        record["rto_seconds"] = f64::from(number).into();
        text = serde_json::to_vec_pretty(&record).expect("writes");
        let name = format!("{}.json", record["id"].as_str().expect("a name"));
        fs::write(stack.path(DRILLS).join(name), &text).expect("writes");
    }
    let said = stack.run(&["restore-drill", "history"]).ok();
    assert_eq!(said.stdout.lines().count(), 1 + 200 + 2, "head, drills, trend");
    let document = stack.run(&["restore-drill", "history", "--json"]).ok().json();
    assert_eq!(document["trend"][0]["points"].as_array().map(Vec::len), Some(200));
}
