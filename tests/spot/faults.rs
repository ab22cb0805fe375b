//! Planted faults: each is found, and named. Others stand with what they are about: canaries with the canary, a published
//! tarball with gh, a share with its sample, a check that accepts everything with the rooms of the drill.
use super::super::support::{Stack, flip};
use super::{drill, edit_lock, found, step};
use std::fs;

const LATER: &str = "2026-03-11T12:00:00Z";

/// A release and a backup.
fn ready(drill: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(drill);
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack
}

/// The tarball of another commit under the right name, with a lock and a list that fit it.
#[test]
fn a_wrong_bundle_is_found() {
    let stack = Stack::new();
    stack.configure("");
    stack.file("repo/server.js", "console.log('another')\n");
    stack.commit("second", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    drill(&stack, "2026-03-11T10:00:00Z").ok();
    stack.run(&["snapshot", "--rev", "HEAD~1", "--output-dir", "../other"]).ok();
    let other = fs::read(stack.one("other", ".lock.json")).expect("reads");
    let other: serde_json::Value = serde_json::from_slice(&other).expect("JSON");
    for ending in [".tar.gz", ".manifest.jsonl.gz"] {
        fs::copy(stack.one("other", ending), stack.one("repo/releases", ending)).expect("copies");
    }
    edit_lock(&stack, |lock| {
        for key in ["tarball_sha256", "tar_sha256", "manifest_sha256", "entries"] {
            lock[key] = other[key].clone();
        }
    });
    stack.sh("repo/releases", "LC_ALL=C; sha256sum *.json *.gz | sort -k 2 > new; mv new SHA256SUMS");
    let document = drill(&stack, LATER).exits(1).json();
    assert_eq!(step(&document, "checksums: acme-api")["outcome"], "pass", "its record fits: {document}");
    assert_eq!(step(&document, "compare with manifest: acme-api")["outcome"], "pass", "{document}");
    assert_eq!(step(&document, "compare with commit: acme-api")["outcome"], "fail", "{document}");
    found(&document, &["server.js", "is not as commit"]);
}

#[test]
fn a_flipped_byte_of_an_archive_is_found() {
    let stack = ready("");
    let archive = stack.one("drive", ".tar.gz");
    flip(&archive, 200);
    let document = drill(&stack, LATER).exits(1).json();
    found(&document, &[&archive.file_name().expect("a name").to_string_lossy(), "digest on record"]);
}

#[test]
fn a_missing_key_file_is_found() {
    let stack = Stack::new();
    stack.configure("");
    stack.sh("repo/.codex-api", "rm config.toml twin.toml");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).exits(1).says(&["no drill would pass"]);
    let document = drill(&stack, LATER).exits(1).json();
    assert_eq!(step(&document, "key files: codex-api")["outcome"], "fail", "{document}");
    found(&document, &["config.toml", "the key file was not restored"]);
}

#[test]
fn a_failing_check_is_found() {
    let stack = ready("[drill]\nrelease-checks = [\"echo it is broken; exit 3\"]\n");
    let document = drill(&stack, LATER).exits(1).json();
    found(&document, &["release check 1", "exit status: 3: it is broken"]);
}

#[test]
fn a_hanging_check_is_found() {
    let stack = ready("[drill]\ncheck-timeout = \"1s\"\nrelease-checks = [\"sleep 600\"]\n");
    let document = drill(&stack, LATER).exits(1).json();
    assert_eq!(step(&document, "release check 1")["outcome"], "timeout");
    found(&document, &["release check 1", "had not ended after 1 s"]);
}

/// Missing a target is a finding, that names the set; what came back did come back.
#[test]
fn a_stale_backup_is_found() {
    let stack = ready("[drill]\nrpo-target = \"1d\"\n");
    let document = drill(&stack, "2026-03-14T12:00:00Z").ok().json();
    let findings = document["findings"].as_array().expect("findings");
    let stale = findings.iter().find(|finding| finding["what"].to_string().contains("it is stale"));
    let stale = stale.unwrap_or_else(|| panic!("{document}"));
    assert!(stale["path"] == "data codex-api" && stale.to_string().contains("4 d 0 h old"), "{stale}");
    assert!(!drill(&stack, LATER).ok().json()["findings"].to_string().contains("stale"));
}

/// What a check does beyond its own folder and group: it is stopped where that can be, and told where it cannot.
#[test]
fn checks_that_misbehave_are_contained() {
    let pid = "$HOME/daemon.pid";
    let checks = [
        "! read line".to_owned(),
        "head -c 100000000 /dev/zero | tr '\\\\0' x".to_owned(),
        "(sleep 600; touch $HOME/lived-on) & echo $! > $HOME/child.pid".to_owned(),
        format!("setsid sh -c 'echo $$ > {pid}; exec sleep 600' & until test -s {pid}; do :; done"),
        "test $PWD != $HOME && test -f server.js && : > made-here".to_owned(),
    ];
    let lines: Vec<String> = checks.iter().map(|line| format!("\"{line}\"")).collect();
    let stack = ready(&format!("[drill]\ncheck-timeout = \"5m\"\nrelease-checks = [{}]\n", lines.join(", ")));
    let document = drill(&stack, LATER).json();
    let daemon = fs::read_to_string(stack.path("home/daemon.pid")).expect("a daemon");
    stack.sh(".", &format!("kill -KILL {}", daemon.trim()));
    assert_eq!(document["result"], "verified", "{document}");
    // The group is gone with the check.
    let child = fs::read_to_string(stack.path("home/child.pid")).expect("a child");
    let gone = format!(
        "for n in $(seq 100); do kill -0 {0} 2>/dev/null || exit 0; sleep 0.1; done; exit 1",
        child.trim()
    );
    stack.sh(".", &gone);
    // What has left it is told.
    let findings = document["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{document}");
    assert!(findings[0]["path"] == "release check 4" && findings[0]["severity"] == "warning", "{document}");
    let size = fs::metadata(document["evidence"].as_str().expect("a path")).expect("a record").len();
    assert!(size < 100_000, "output has a limit: {size}");
    assert!(!stack.path("repo/made-here").exists(), "it ran in the restored bundle");
}
