//! What a bundle may hold: each doubt has its word and a way on, all of them are told together, and what refuses does so
//! before anything is written.
use super::support::Stack;
use serde_json::Value;
use std::fs;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n";

/// A commit with everything that refuses, and everything that warns.
fn doubtful() -> Stack {
    let stack = Stack::new();
    stack.file("repo/.env", "SECRET=1\n");
    stack.file("repo/docs/server.key", KEY);
    stack.file("repo/large.bin", POINTER);
    stack.file("repo/version.txt", "$Format:%H$\n");
    stack.file("repo/plain.txt", "$Format:%H$\n");
    stack.file("repo/.gitattributes", "version.txt export-subst\n");
    stack.file("repo/readme", "a\n");
    stack.file("repo/README", "b\n");
    stack.file("repo/aux.c", "\n");
    stack.commit("doubtful", "2026-03-01T08:30:00Z");
    stack.sh("repo", "git tag v1.4.3");
    stack
}

/// Severity and path of each finding.
fn told(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let findings = document["findings"].as_array().expect("a list");
    let mut told: Vec<_> = findings.iter().map(|one| (text(&one["severity"]), text(&one["path"]))).collect();
    told.sort();
    told
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(severity, path)| ((*severity).to_owned(), (*path).to_owned())).collect()
}

#[test]
fn all_that_refuses_a_bundle_is_told_together_and_nothing_is_written() {
    let stack = doubtful();
    let before = stack.world("repo");
    let expected = pairs(&[
        ("error", ".env"),
        ("error", "docs/server.key"),
        ("error", "large.bin"),
        ("error", "v1.4.3"),
        ("info", "aux.c"),
        ("warning", "readme"),
        ("warning", "version.txt"),
    ]);
    for args in [&["snapshot"][..], &["snapshot", "--dry-run"], &["snapshot", "--no-tarball"]] {
        let document = stack.run(&[args, &["--json"]].concat()).exits(1).json();
        assert_eq!(document["status"], "refused", "{args:?}");
        assert_eq!(told(&document), expected, "{args:?}");
        let open = document["findings"].as_array().expect("a list").iter();
        let mut open = open.filter(|finding| finding["severity"] != "info");
        assert!(open.all(|finding| finding["repair"] != ""), "{document}");
        let parts = [".env", "allow-secrets", "lfs = \"pointer\"", "--version", "nothing is written"];
        stack.run(args).exits(1).says(&parts);
    }
    assert_eq!(stack.world("repo"), before);
}

#[test]
fn what_is_allowed_by_name_is_bundled_and_the_lock_reports_it() {
    let stack = doubtful();
    stack.file(
        "repo/recovery.toml",
        "[release]\nlfs = \"pointer\"\nallow-secrets = [\".env\", \"docs/server.key\", \"docs/*\"]\n",
    );
    stack.sh("repo", "git tag -d v1.4.3 > /dev/null; git mv -f README other");
    stack.commit("allowed", "2026-03-02T08:30:00Z");
    let document = stack.run(&["snapshot", "--json"]).ok().json();
    let expected = [
        ("info", ".env"),
        ("info", "aux.c"),
        ("info", "docs/*"),
        ("info", "docs/server.key"),
        ("warning", "large.bin"),
        ("warning", "version.txt"),
    ];
    assert_eq!(told(&document), pairs(&expected));
    let lock = fs::read_to_string(stack.one("repo/releases", ".lock.json")).expect("reads");
    let lock: Value = serde_json::from_str(&lock).expect("JSON");
    let reported: Vec<&str> =
        lock["reported"].as_array().expect("a list").iter().filter_map(|one| one["path"].as_str()).collect();
    assert_eq!(reported, ["large.bin", "version.txt"]);
    let path = stack.one("repo/releases", ".lock.json").display().to_string();
    stack.run(&["verify", "--rebuild", &path]).ok();
}

#[test]
fn what_is_left_out_refuses_nothing() {
    let stack = doubtful();
    stack.file(
        "repo/recovery.toml",
        "[release]\nexclude = [\".env\", \"*.key\", \"large.bin\", \"README\"]\n",
    );
    stack.sh("repo", "git tag -d v1.4.3 > /dev/null");
    stack.commit("less", "2026-03-02T08:30:00Z");
    let document = stack.run(&["snapshot", "--json"]).ok().json();
    assert_eq!(told(&document), pairs(&[("info", "aux.c"), ("warning", "version.txt")]));
}

/// The working tree's own files are looked at where they are what is bundled.
#[test]
fn staged_files_are_looked_at_as_well() {
    let stack = Stack::new();
    stack.file("repo/dist/.env.production", "SECRET=1\n");
    stack.file("repo/dist/tls.pem", KEY);
    stack.file("repo/dist/ca.pem", "-----BEGIN CERTIFICATE-----\n");
    stack.file("repo/recovery.toml", "[release]\ninclude = [\"dist/\"]\n");
    let said = stack.run(&["snapshot", "--json"]).exits(1).json();
    let errors: Vec<_> = told(&said).into_iter().filter(|(severity, _)| severity == "error").collect();
    assert_eq!(errors, pairs(&[("error", "dist/.env.production"), ("error", "dist/tls.pem")]));
    assert!(!stack.path("repo/releases").exists());
    stack.file("repo/server.js", POINTER);
    stack.file("repo/recovery.toml", "[release]\nmax-file-size = \"90 B\"\n");
    let said = stack.run(&["snapshot", "--allow-dirty", "--json"]).exits(1).json();
    assert_eq!(
        said["findings"].to_string().matches("server.js").count(),
        2,
        "a pointer, and too large: {said}"
    );
}

#[test]
fn a_file_over_the_size_that_was_set_is_refused() {
    let stack = Stack::new();
    stack.sh("repo", "head -c 2000 /dev/zero > docs/big; head -c 1000 /dev/zero > docs/fits");
    stack.file("repo/recovery.toml", "[release]\nmax-file-size = \"1 kB\"\n");
    stack.commit("big", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).exits(1).says(&["docs/big has 2000 bytes, more than 1000", "max-file-size"]);
    for odd in ["\"0\"", "\"much\"", "7", "\"-1 B\""] {
        stack.file("repo/recovery.toml", &format!("[release]\nmax-file-size = {odd}\n"));
        stack.run(&["snapshot", "--config", "recovery.toml"]).exits(3).says(&["max-file-size", "next:"]);
    }
}

#[test]
fn hostile_values_are_refused_or_mean_nothing() {
    let stack = doubtful();
    for (text, part) in [
        ("lfs = \"fetch\"", "lfs"),
        ("lfs = true", "lfs"),
        ("submodules = \"all\"", "submodules"),
        ("submodules = [\"include\"]", "submodules"),
        ("allow-secrets = \".env\"", "allow-secrets"),
        ("allow-secrets = [\"\"]", "allow-secrets"),
        ("allow-secrets = [\"/.env\"]", "allow-secrets"),
        ("allow-secrets = [\"docs/../.env\"]", "allow-secrets"),
        ("allow-secret = [\".env\"]", "allow-secrets"),
        ("version-from = \"../Cargo.toml\"", "version-from"),
        ("version-from = \"/etc/package.json\"", "version-from"),
    ] {
        stack.file("other.toml", &format!("[release]\n{text}\n"));
        stack.run(&["--config", "../other.toml", "snapshot"]).exits(3).says(&[part, "next:"]);
    }
    stack.file("other.toml", "[release]\nallow-secrets = [\"*\", \"./.env\", \".ENV\"]\n");
    let document = stack.run(&["--config", "../other.toml", "snapshot", "--json"]).exits(1).json();
    assert!(told(&document).contains(&("error".into(), ".env".into())), "{document}");
}

#[test]
fn the_tags_of_a_commit_agree_with_its_version() {
    let stack = Stack::new();
    stack.sh("repo", "git tag v1.4.1; git tag other-v9.0.0; git tag nightly");
    stack.run(&["snapshot"]).exits(1).says(&["v1.4.1 is a tag of this commit, and the version is v1.4.2"]);
    let given = stack.run(&["snapshot", "--version", "1.4.2", "--dry-run", "--json"]).ok().json();
    assert_eq!(told(&given), pairs(&[("warning", "v1.4.1")]));
    stack.sh("repo", "git tag acme-api-v1.4.2");
    stack.run(&["snapshot"]).ok();
    let lock = fs::read_to_string(stack.one("repo/releases", ".lock.json")).expect("reads");
    assert!(lock.contains("\"acme-api-v1.4.2\""), "{lock}");
}
