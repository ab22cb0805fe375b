//! Locks that are damaged, refuted, or of another tarball: `publish`, `verify FILE` and `restore-drill` each say so.
use super::{BUNDLE, bundled, publish};
use crate::migrate::old::shell_bundle_of;
use crate::support::{Stack, outcome, unprivileged};
use serde_json::Value;
use std::fs;

/// Ways in which a lock is none, and how that is told.
const BROKEN: [(&str, &str); 4] = [
    ("truncate -s 40 *.lock.json", "ends in the middle (line 3, column "),
    ("sed -i 's/\"version\": /\"version\" /' *.lock.json", "is no JSON (line 3, column "),
    ("sed -i 's/\"created_at\"/\"made_at\"/' *.lock.json", "has no `created_at`"),
    (
        "sed -i 's/\"dirty\": false/\"dirty\": \"no\"/' *.lock.json",
        "has a value that no lock has there (line ",
    ),
];

/// Nothing of how the tool reads it.
#[track_caller]
fn in_plain_words(said: &str) {
    for word in ["expected", "invalid type", "struct", "EOF", "missing field", "serde"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_damaged_lock_is_named_by_each_verb_in_plain_words() {
    for (damage, words) in BROKEN {
        let stack = bundled();
        stack.sh("repo/releases", damage);
        let tarball = format!("releases/{BUNDLE}.tar.gz");
        let lock = format!("releases/{BUNDLE}.lock.json");
        for args in [&[][..], &[&*tarball], &[&*lock], &["--url", super::URL]] {
            let said = publish(&stack, args).exits(1);
            in_plain_words(&said.stderr);
            said.says(&[".lock.json", "no lock of a bundle", words, "next: "]);
        }
        let said = stack.run(&["verify", &tarball]).exits(1);
        in_plain_words(&said.stderr);
        said.says(&[".lock.json", words]);
        stack.run(&["verify", "--rebuild", &tarball]).exits(1).says(&[words]);
    }
}

/// One that cannot be read may be the newest: an older bundle is not published in its place.
#[test]
fn no_older_bundle_is_taken_for_one_whose_lock_is_damaged() {
    let stack = bundled();
    stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "2.0.0"}"#);
    stack.commit("second", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    stack.sh("repo/releases", "truncate -s 40 acme-api-v2.0.0-*.lock.json");
    publish(&stack, &[]).exits(1).says(&["acme-api-v2.0.0", "name the lock of the bundle"]);
    publish(&stack, &[&format!("releases/{BUNDLE}.lock.json")]).ok();
}

/// Two releases may share a folder, and locks of the shell tool say by their names alone of which they are. Those of others,
/// however new and alike, are neither published nor drilled as this one's.
#[test]
fn what_the_shell_tool_left_of_another_release_is_not_this_ones() {
    let stack = Stack::configured();
    super::forge(&stack);
    stack.run(&["backup"]).ok();
    for release in ["acme-api-admin", "other", "api"] {
        shell_bundle_of(&stack, release, "9.0.0", "2026-03-09T101500Z");
    }
    publish(&stack, &[]).exits(3).says(&["there is no bundle of acme-api in"]);
    full_drills(&stack);
    let drilled = |args: &[&str]| {
        let said = stack.run(&[&["restore-drill"], args, &["--json"]].concat()).json();
        said["steps"].to_string()
    };
    for args in [&["spot", "--dry-run"][..], &["full", "--dry-run"]] {
        let steps = drilled(args);
        assert!(steps.contains("codex-api") && !steps.contains("v9.0.0"), "{steps}");
    }
    stack.run(&["snapshot"]).ok();
    let steps = drilled(&["spot"]);
    assert!(steps.contains(&format!("restore: {BUNDLE}")) && !steps.contains("v9.0.0"), "{steps}");
    let done = publish(&stack, &["--json"]).ok().json();
    assert_eq!(done["tag"], super::TAG, "{done}");
    assert!(done["lock"].to_string().contains(BUNDLE), "{done}");
}

fn edit(stack: &Stack, change: impl FnOnce(&mut Value)) {
    let path = stack.one("repo/releases", ".lock.json");
    let mut lock: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
    change(&mut lock);
    fs::write(&path, serde_json::to_string_pretty(&lock).expect("JSON") + "\n").expect("writes");
}

#[test]
fn a_lock_that_does_not_fit_or_is_refuted_is_told_by_verify_and_by_drills() {
    let other = "0".repeat(64);
    let set = |stack: &Stack, field: &str| edit(stack, |lock| lock[field] = other.clone().into());
    let tarball = format!("releases/{BUNDLE}.tar.gz");
    // Refuted by the list, whatever it says of the tarball.
    let stack = bundled();
    stack.run(&["verify", &tarball]).ok();
    stack.run(&["backup"]).ok();
    set(&stack, "git_tree");
    stack
        .run(&["verify", &tarball])
        .exits(1)
        .says(&[".lock.json", "has another SHA-256 than SHA256SUMS says"]);
    stack.run(&["restore-drill"]).exits(1).says(&[".lock.json", "has another SHA-256 than SHA256SUMS says"]);
    full_drills(&stack);
    let said = stack.run(&["restore-drill", "full", "--yes", "--json"]).exits(1);
    let said = said.says(&[".lock.json", "has another SHA-256 than SHA256SUMS says"]).json();
    assert_eq!((&said["kind"], &said["result"]), (&"full".into(), &"not_verified".into()), "{said}");
    // Of another tarball, where no list says so.
    let stack = bundled();
    set(&stack, "tarball_sha256");
    stack.sh("repo/releases", "rm SHA256SUMS");
    stack.run(&["verify", &tarball]).exits(1).says(&["DAMAGED", ".tar.gz"]);
    // The list knows its tarball, and not the lock itself, as lists of older versions do.
    let stack = bundled();
    set(&stack, "tarball_sha256");
    stack.sh("repo/releases", "sed -i '/lock.json/d' SHA256SUMS");
    stack.run(&["verify", &tarball]).exits(1).says(&["has another SHA-256 of", "than SHA256SUMS"]);
    // It has the name, and speaks of another.
    let stack = bundled();
    edit(&stack, |lock| lock["tarball"] = "other.tar.gz".into());
    stack.sh("repo/releases", "rm SHA256SUMS");
    stack.run(&["verify", &tarball]).exits(1).says(&["speaks of another tarball"]);
    // An address that was set by hand refutes nothing.
    let stack = bundled();
    let set = format!("sed -i 's|\"release_url\": null|\"release_url\": \"{}\"|' *.lock.json", super::URL);
    stack.sh("repo/releases", &set);
    stack.run(&["verify", &tarball]).ok();
}

/// Says all that a full drill needs, of a service that is none.
fn full_drills(stack: &Stack) {
    let deployed = stack.path("home/deployed").display().to_string();
    let keys = format!("smoke = [\"true\"]\ndeploy-dir = \"{deployed}\"\n");
    stack.configure(&format!("[drill]\nstop = \"true\"\nstart = \"true\"\n{keys}"));
}

/// Of a folder, a list that is too long, and one of somebody else's: the data sets are drilled all the same, and it is on
/// record that nothing was verified.
#[test]
fn a_list_that_cannot_be_read_is_a_finding_of_drills() {
    let ways = [
        ("rm SHA256SUMS; mkdir SHA256SUMS", "is not a file"),
        ("truncate -s 17M SHA256SUMS", "is longer than"),
        ("chmod 000 SHA256SUMS", "Permission denied"),
    ];
    for (way, words) in ways {
        let stack = bundled();
        full_drills(&stack);
        stack.run(&["backup"]).ok();
        stack.sh("repo/releases", way);
        for kind in [&["spot"][..], &["full", "--yes"]] {
            let args = [&["restore-drill"], kind, &["--json"]].concat();
            let said = outcome(&mut unprivileged(&stack, &args)).exits(1).says(&["SHA256SUMS", words]).json();
            assert_eq!(said["result"], "not_verified", "{said}");
            let restored = said["steps"].as_array().expect("steps").iter().any(|step| {
                step["outcome"] == "pass" && step["name"].to_string().contains("restore: codex-api-")
            });
            assert!(restored || kind.len() == 2, "{said}");
        }
        let records = stack.files("repo/docs/drills");
        assert_eq!(records.iter().filter(|name| name.ends_with(".json")).count(), 2, "{records:?}");
    }
}

/// What is published has the name that its lock lists, beside its lock.
#[test]
fn a_tarball_of_another_name_is_not_published() {
    let stack = bundled();
    stack.sh("repo", "mkdir else; cp releases/*.tar.gz else/mine.tar.gz");
    publish(&stack, &["else/mine.tar.gz"]).exits(3).says(&["mine.tar.gz", BUNDLE, "give it that name"]);
    stack.sh("repo/else", "echo x | gzip > mine.tar.gz");
    publish(&stack, &["else/mine.tar.gz"]).exits(3).says(&["no lock speaks of"]);
}
