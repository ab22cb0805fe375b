//! What `prune` and `--prune` remove: what they said before, only what is theirs, and never the last good one.
mod failures;
mod lost;

use super::support::Stack;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const DAYS: [&str; 5] = ["01", "02", "03", "04", "05"];

fn at(day: &str) -> String {
    format!("2026-03-{day}T12:00:00Z")
}

/// A backup a day.
fn five(destination: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    for day in DAYS {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    stack
}

/// The archives at the drive, by their days.
fn days(stack: &Stack) -> Vec<String> {
    let names = archives(stack);
    names.iter().map(|name| name.split("-2026-03-").nth(1).expect("a day")[..2].to_owned()).collect()
}

fn archives(stack: &Stack) -> Vec<String> {
    let names = stack.files("drive").into_iter().filter(|name| name.contains(".tar."));
    names.filter(|name| ![".sha256", ".keep"].iter().any(|end| name.ends_with(end))).collect()
}

/// The paths that a plan removes.
fn removed(document: &Value) -> BTreeSet<String> {
    let items = document["items"].as_array().expect("items").iter();
    items.filter(|item| item["decision"] == "remove").map(|item| text(&item["path"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Bytes of all files below a folder.
fn used(stack: &Stack, folder: &str) -> u64 {
    let sizes = stack.files(folder).into_iter();
    sizes.map(|name| fs::symlink_metadata(stack.path(folder).join(name)).expect("there").len()).sum()
}

#[test]
fn prune_does_what_its_dry_run_said() {
    let stack = five("keep = 2\n");
    for version in ["1", "2", "3"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version]).ok();
    }
    stack.sh("repo", "printf '[release]\\nkeep = 1\\n' >> recovery.toml");
    stack.file("drive/2026/03-02/codex-api-2026-03-02T130000Z.tar.gz", "never completed");
    let (before, listed) = (used(&stack, "drive") + used(&stack, "repo/releases"), stack.listing("."));
    let planned = stack.run(&["prune", "--dry-run", "--json"]).ok().json();
    assert_eq!(stack.listing("."), listed, "a dry run writes nothing");
    let done = stack.run(&["prune", "--json"]).ok().json();
    assert_eq!((&planned["items"], &planned["freed_bytes"]), (&done["items"], &done["freed_bytes"]));
    assert_eq!((&planned["dry_run"], &done["dry_run"]), (&true.into(), &false.into()));
    assert_eq!(removed(&done).len(), 3 + 1 + 2, "backups, what never completed, bundles: {done}");
    assert_eq!(days(&stack), ["04", "05"]);
    let locks = stack.files("repo/releases").into_iter().filter(|name| name.ends_with(".lock.json"));
    assert_eq!(locks.count(), 1);
    for path in removed(&done) {
        assert!(!std::path::Path::new(&path).exists(), "{path}");
    }
    for item in done["items"].as_array().expect("items") {
        assert!(item["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{item}");
    }
    // `SHA256SUMS` is written anew, and shrinks with the bundles; nothing else may differ.
    let (sums, after) = (used(&stack, "repo/releases"), used(&stack, "drive"));
    let lines = fs::read_to_string(stack.path("repo/releases/SHA256SUMS")).expect("reads");
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert_eq!(done["freed_bytes"].as_u64(), Some(before - sums - after - 2 * lines.len() as u64), "{done}");
    stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS");
    stack.run(&["verify"]).ok();
    stack.run(&["status"]).ok();
    assert_eq!(
        removed(&stack.run(&["prune", "--json"]).ok().json()),
        BTreeSet::new(),
        "a second run finds nothing"
    );
}

#[test]
fn backup_and_snapshot_prune_what_their_dry_runs_said() {
    let stack = five("");
    let args = ["backup", "--keep", "2", "--prune", "--json"];
    let planned = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert_eq!(planned["sets"][0]["pruned"], done["sets"][0]["pruned"]);
    assert_eq!(done["sets"][0]["pruned"].as_array().map(Vec::len), Some(4), "{done}");
    assert_eq!(days(&stack), ["05", "10"]);
    for version in ["1", "2", "3"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version]).ok();
    }
    stack.commit("4", "2026-03-04T09:00:00Z");
    let args = ["snapshot", "--version", "4", "--keep", "2", "--prune", "--json"];
    let planned = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert_eq!(planned["pruned"], done["pruned"]);
    assert_eq!(done["pruned"].as_array().map(Vec::len), Some(2), "{done}");
    stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS");
}

#[test]
fn a_dry_run_knows_of_the_verified_one_that_stays() {
    let stack = Stack::configured();
    stack.run_at(&at("01"), &["backup"]).ok();
    stack.run(&["verify"]).ok();
    for day in ["02", "03"] {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    let args = ["backup", "--keep", "1", "--prune", "--json"];
    let planned = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert_eq!(days(&stack), ["01", "10"], "the newest verified and the newest stay: {done}");
    assert_eq!(planned["sets"][0]["pruned"], done["sets"][0]["pruned"]);
}

#[test]
fn a_dry_run_in_the_same_second_says_what_is_removed() {
    let stack = Stack::configured();
    for day in ["01", "02"] {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    stack.run(&["backup"]).ok();
    let args = ["backup", "--keep", "1", "--prune", "--json"];
    let planned = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert_eq!(planned["sets"][0]["pruned"], done["sets"][0]["pruned"]);
}

#[test]
fn a_snapshot_of_an_old_commit_never_prunes_itself() {
    let stack = Stack::new();
    for version in ["2", "3"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version]).ok();
    }
    let args = ["snapshot", "--rev", "HEAD~2", "--keep", "1", "--prune", "--json"];
    let planned = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let done = stack.run(&args).ok().json();
    assert!(std::path::Path::new(&text(&done["lock"])).exists(), "{done}");
    assert_eq!(planned["pruned"], done["pruned"]);
}

#[test]
fn two_suffixes_do_not_evict_each_other() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for (day, suffix) in [("01", "weekly"), ("02", "before-upgrade"), ("03", "weekly"), ("04", "weekly")] {
        stack.run_at(&at(day), &["backup", "--suffix", suffix, "--keep", "1", "--prune"]).ok();
    }
    stack.run_at(&at("05"), &["backup", "--keep", "1", "--prune"]).ok();
    let expected = [
        "2026/03-02/codex-api-before-upgrade-2026-03-02T120000Z.tar.gz",
        "2026/03-04/codex-api-weekly-2026-03-04T120000Z.tar.gz",
        "2026/03-05/codex-api-2026-03-05T120000Z.tar.gz",
    ];
    assert_eq!(archives(&stack), expected);
    stack.run(&["prune"]).ok();
    assert_eq!(archives(&stack), expected);
}

#[test]
fn what_is_pinned_by_hand_stays() {
    let stack = five("keep = 1\n");
    let pinned = archives(&stack)[1].clone();
    stack.file(&format!("drive/{pinned}.keep"), "before the great upgrade");
    let outcome = stack.run(&["prune"]).ok();
    assert!(outcome.stdout.contains("pinned: a .keep lies beside it"), "{}", outcome.stdout);
    let left = archives(&stack);
    assert!(left.len() == 2 && left.contains(&pinned), "{left:?}");
    stack.run(&["verify"]).ok();
    stack.run(&["status"]).ok();
    fs::remove_file(stack.path(&format!("drive/{pinned}.keep"))).expect("removes");
    stack.run(&["prune"]).ok();
    assert_eq!(archives(&stack).len(), 1);
}

#[test]
fn a_bundle_that_is_pinned_by_hand_stays() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let lock = stack.one("repo/releases", ".lock.json").display().to_string();
    fs::write(format!("{lock}.keep"), "").expect("writes");
    for day in ["02", "03"] {
        stack.commit("more", &format!("2026-03-{day}T08:30:00Z"));
        stack.run(&["snapshot", "--keep", "1", "--prune"]).ok();
    }
    let locks = stack.files("repo/releases").into_iter().filter(|name| name.ends_with(".lock.json"));
    assert_eq!(locks.count(), 2);
    assert!(fs::metadata(&lock).is_ok());
}

#[test]
fn the_newest_and_the_newest_verified_stay_whatever_the_policy() {
    let stack = five("keep = 1\n");
    let named = stack.path("drive/2026/03-02/codex-api-2026-03-02T120000Z.tar.gz").display().to_string();
    stack.run(&["verify", &named]).ok();
    stack.run(&["prune"]).ok();
    assert_eq!(days(&stack), ["02", "05"]);
    // A drill proves as well as a check.
    stack.run(&["restore-drill"]).ok();
    stack.run_at(&at("11"), &["backup"]).ok();
    stack.run_at(&at("12"), &["prune"]).ok();
    assert_eq!(days(&stack), ["05", "11"]);
}

#[test]
fn each_rule_of_the_configuration_keeps_its_own() {
    let made = ["2026-01-05", "2026-01-30", "2026-02-10", "2026-03-02", "2026-03-05", "2026-03-09"];
    let rows: [(&str, &[&str]); 7] = [
        ("", &made),
        ("keep = 2\n", &made[4..]),
        ("keep-daily = 3\n", &made[3..]),
        ("keep-weekly = 2\n", &made[4..]),
        ("keep-monthly = 3\n", &[made[1], made[2], made[5]]),
        ("keep-yearly = 1\n", &made[5..]),
        ("keep-within = \"9d\"\nmin-age = \"5d\"\n", &made[3..]),
    ];
    for (rule, expected) in rows {
        let stack = Stack::new();
        stack.configure(rule);
        for day in made {
            stack.run_at(&format!("{day}T06:00:00Z"), &["backup"]).ok();
        }
        stack.run(&["prune"]).ok();
        let names = archives(&stack);
        let kept: Vec<&str> = names.iter().map(|name| &name[name.len() - 25..name.len() - 15]).collect();
        assert_eq!(kept, expected, "{rule}");
    }
}

#[test]
fn a_run_that_found_errors_prunes_nothing() {
    let stack = five("");
    stack.sh("repo", "printf '[data.a]\\nsource = \"nowhere\"\\n' >> recovery.toml");
    let done = stack.run(&["backup", "--keep", "1", "--prune", "--json"]).exits(1).json();
    assert_eq!(done["sets"][1]["status"], "ok", "the other set is saved: {done}");
    assert_eq!(days(&stack).len(), 6, "the run found an error, and pruned: {done}");
}

#[test]
fn a_backup_with_unreadable_files_evicts_no_whole_one() {
    let stack = five("");
    stack.sh(".", concat!("cp '", env!("CARGO_BIN_EXE_xtask"), "' xtask"));
    stack.sh("repo", "rm .codex-api/twin.toml; chmod 000 .codex-api/config.toml");
    let root = stack.sh(".", "id -u").trim() == "0";
    let become_other = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    if root {
        stack.sh(".", "chmod 755 .; chown -R 65534:65534 repo drive home");
    }
    let script = format!("set +e; {become_other} ../xtask backup --keep 1 --prune --json; echo $?");
    let said = stack.sh("repo", &script);
    assert!(said.ends_with("}\n1\n"), "{said}");
    assert_eq!(days(&stack), ["01", "02", "03", "04", "05", "10"], "{said}");
}

#[test]
fn what_never_completed_is_swept_when_it_is_old() {
    let stack = five("keep = 9\n");
    let old = "drive/2026/03-08/codex-api-2026-03-08T120000Z.tar.gz";
    let old_manifest = "drive/2026/03-08/codex-api-2026-03-08T120000Z.manifest.jsonl.gz";
    let alone = "drive/2026/03-07/codex-api-2026-03-07T120000Z.manifest.jsonl.zst";
    let young = "drive/2026/03-10/codex-api-2026-03-10T110000Z.tar.zst.gpg";
    for name in [old, old_manifest, alone, young] {
        stack.file(name, "begun");
    }
    let status = stack.run(&["status", "--json"]).ok().json();
    assert!(status["findings"].to_string().contains("2026-03-08T120000Z.tar.gz"), "{status}");
    let done = stack.run(&["prune", "--json"]).ok().json();
    assert_eq!(removed(&done).len(), 3, "{done}");
    assert_eq!(done["freed_bytes"], 15);
    assert!(stack.path(young).exists(), "another machine may be writing it");
    for name in [old, old_manifest, alone] {
        assert!(!stack.path(name).exists(), "{name}");
    }
    assert_eq!(days(&stack), ["01", "02", "03", "04", "05", "10"]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let stack = five("keep = 1\n");
    let others = [
        "drive/2026/03-01/other-2026-03-01T120000Z.tar.gz",
        "drive/2026/03-01/other-2026-03-01T120000Z.tar.gz.sha256",
        "drive/2026/03-02/other-2026-03-02T120000Z.tar.gz",
        "drive/2026/03-02/other-2026-03-02T120000Z.tar.gz.sha256",
        "drive/2026/03-02/other-2026-03-02T130000Z.tar.gz",
        "drive/2026/03-01/notes.txt",
        "drive/2026/03-01/codex-api-holiday.tar.gz",
        "drive/2026/03-01/codex-apis-2026-03-01T120000Z.tar.gz",
        "drive/2026-03-01/codex-api-2026-03-01T120000Z.tar.gz",
        "drive/codex-api-2026-03-01T120000Z.tar.gz",
        "drive/photos/2026/a.jpg",
        "repo/releases/notes.md",
        "repo/releases/thing-v1.0.0.tar.gz",
    ];
    for name in others {
        stack.file(name, "not ours");
    }
    stack.run(&["prune", "--keep", "1"]).ok();
    stack.run(&["backup", "--keep", "1", "--prune"]).ok();
    stack.run(&["snapshot", "--keep", "1", "--prune"]).ok();
    for name in others {
        assert_eq!(fs::read_to_string(stack.path(name)).expect(name), "not ours", "{name}");
    }
    assert_eq!(archives(&stack).iter().filter(|name| name.contains("/codex-api-2026-03-10")).count(), 1);
}

/// It takes its room as backups do, and `prune` that sweeps it has mended that.
#[test]
fn what_a_killed_run_has_left_counts_in_the_quota_until_it_is_swept() {
    let stack = Stack::new();
    stack.configure("quota = \"50 kB\"\nkeep = 3\n");
    stack.run_at(&at("02"), &["backup"]).ok();
    let left = "2026/03-01/codex-api-2026-03-01T010000Z.tar.gz";
    stack.sh("drive", &format!("mkdir -p 2026/03-01; head -c 100k /dev/urandom > {left}"));
    stack.run_at(&at("03"), &["status"]).exits(1).says(&["of its quota of"]);
    stack.run_at(&at("03"), &["prune"]).ok();
    stack.run_at(&at("03"), &["status"]).ok();
}

#[test]
fn over_its_quota_a_destination_is_an_error_until_prune_has_made_room() {
    let stack = five("");
    let (full, one) = (used(&stack, "drive"), used(&stack, "drive/2026/03-05"));
    let with = |quota: u64, keep: &str| stack.configure(&format!("quota = \"{quota} B\"\n{keep}"));
    with(full, "");
    let said = stack.run(&["status", "--json"]).ok().json();
    assert_eq!(said["findings"][0]["severity"], "warning", "full, but not over: {said}");
    with(full - 1, "");
    for args in [&["status"][..], &["prune"]] {
        stack.run(args).exits(1).says(&["quota", "error"]);
    }
    assert_eq!(days(&stack).len(), 5, "no rule is set: nothing goes");
    with(full - 1, "keep = 1\n");
    stack.run(&["prune", "--json"]).ok();
    assert_eq!((days(&stack).len(), used(&stack, "drive")), (1, one));
    with(one - 1, "keep = 1\n");
    stack.run(&["prune"]).exits(1).says(&["quota"]);
    assert_eq!(days(&stack), ["05"], "the last one stays, whatever the quota");
}

/// Locks as the shell tool before this one wrote them, and one of its generation before.
fn legacy(stack: &Stack) -> Vec<String> {
    let mut locks = Vec::new();
    stack.sh("repo", "mkdir -p releases");
    for day in ["01", "02", "03"] {
        let stem = format!("acme-api-v1.0.{day}-2025-11-{day}T101500Z");
        let digest =
            format!("tar -czf {stem}.tar.gz -C .. server.js; sha256sum < {stem}.tar.gz | cut -d' ' -f1");
        let digest = stack.sh("repo/releases", &digest);
        let lock = serde_json::json!({"version": format!("v1.0.{day}"), "env": "prod", "git_sha": "0123456789ab",
            "created_at": format!("2025-11-{day}T10:15:00Z"), "tarball": format!("{stem}.tar.gz"),
            "tarball_sha256": digest.trim(), "docker_tag": "acme:prod-20251101-101500Z", "release_url": null,
            "keep": 3, "notes": {"output_dir": "releases", "dry_run": false, "prune": true}});
        locks.push(format!("repo/releases/{stem}.lock.json"));
        stack.file(&locks[locks.len() - 1], &lock.to_string());
    }
    let images = r#"{"images": [{"env": "prod", "image_id": "sha256:00", "docker_tag": "a:b", "snap_ts_utc": "20250901-101500Z"}]}"#;
    locks.push("repo/releases/acme-api-prod-20250901-101500Z.lock.json".to_owned());
    stack.file(&locks[3], images);
    locks
}

#[test]
fn bundles_of_the_tool_before_are_listed_checked_and_not_destroyed() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let locks = legacy(&stack);
    let texts: Vec<String> =
        locks.iter().map(|lock| fs::read_to_string(stack.path(lock)).expect("reads")).collect();
    let status = stack.run(&["status", "--json"]).json();
    assert!(status["releases"].to_string().contains("v1.0.03"), "{status}");
    assert!(
        status["findings"].to_string().contains("20250901-101500Z"),
        "what cannot be read is told: {status}"
    );
    stack.run(&["verify", "releases/acme-api-v1.0.01-2025-11-01T101500Z.tar.gz"]).ok();
    for version in ["2", "3"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version, "--keep", "1", "--prune"]).ok();
    }
    stack.run(&["prune", "--keep", "1"]);
    for (lock, text) in locks.iter().zip(texts) {
        assert_eq!(fs::read_to_string(stack.path(lock)).expect(lock), text, "never rewritten: {lock}");
    }
    let tarballs = stack.files("repo/releases").into_iter().filter(|name| name.ends_with(".tar.gz"));
    assert_eq!(tarballs.filter(|name| name.contains("v1.0.")).count(), 3);
    stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS");
}

#[test]
fn what_cannot_be_dated_is_never_pruned() {
    let stack = Stack::new();
    for version in ["2", "3", "4"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version]).ok();
    }
    let lock = "repo/releases/acme-api-v2-2026-03-02T090000Z.lock.json";
    let text = fs::read_to_string(stack.path(lock)).expect("reads");
    fs::write(stack.path(lock), text.replace("2026-03-02T09:00:00Z", "last spring")).expect("writes");
    let done = stack.run(&["prune", "--keep", "1", "--json"]).json();
    assert_eq!(removed(&done).len(), 1, "{done}");
    assert!(stack.path(lock).exists() && !stack.path(&lock.replace('2', "3")).exists());
    let future = Stack::configured();
    for time in ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z", "2030-01-01T12:00:00Z"] {
        future.run_at(time, &["backup"]).ok();
    }
    future.run(&["prune", "--keep", "1"]).ok();
    assert_eq!(archives(&future).len(), 2, "one from the future evicts none: {:?}", archives(&future));
}

/// A drive that is not there, or a lock that another holds: nothing is removed.
#[test]
fn nothing_is_pruned_while_the_drive_is_not_sure_to_be_there() {
    let stack = five("");
    stack.configure(&format!("keep = 1\nmount = \"{}\"\n", stack.path("drive").display()));
    stack.run(&["prune"]).exits(75).says(&["mount"]);
    assert_eq!(days(&stack).len(), 5);
    stack.configure("keep = 1\n");
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!("set +e; flock .recovery/locks/repository '{xtask}' prune >&2; echo $?");
    assert_eq!(stack.sh("repo", &script), "75\n");
    assert_eq!(days(&stack).len(), 5);
}

/// A drive that is full is emptied alone: bundles, and what lies elsewhere, stay.
#[test]
fn a_destination_that_is_named_is_pruned_alone() {
    let stack = five("");
    stack.sh(
        ".",
        "cp -r drive usb; sed -i '/^key-files/a destination = [\"drive\", \"usb\"]' repo/recovery.toml",
    );
    stack.sh("repo", "printf '[destination.usb]\\npath = \"../usb\"\\n' >> recovery.toml");
    for (version, day) in ["1.5.0", "1.6.0"].into_iter().zip(DAYS) {
        stack.file("repo/package.json", &format!(r#"{{"name": "@acme/api", "version": "{version}"}}"#));
        stack.commit(version, &at(day));
        stack.run(&["snapshot"]).ok();
    }
    let (usb, bundles) = (stack.listing("usb"), stack.listing("repo/releases"));
    stack.run(&["prune", "flash"]).exits(2).says(&["no destination \"flash\"", "defined are: drive, usb"]);
    stack.run(&["prune", "drive", "--prune-docker"]).exits(2);
    let plan = stack.run(&["prune", "drive", "--keep", "1", "--dry-run", "--json"]).ok().json();
    assert_eq!(removed(&plan).len(), 4);
    stack.run(&["prune", "drive", "--keep", "1"]).ok();
    assert_eq!(days(&stack), ["05"]);
    assert!(stack.listing("usb") == usb && stack.listing("repo/releases") == bundles);
}

/// What is not looked at is not settled: a removal of bundles that a kill has cut off stays open until bundles are pruned.
#[test]
fn a_destination_that_is_named_settles_nothing_of_the_bundles() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    for (version, day) in ["1.5.0", "1.6.0"].into_iter().zip(DAYS) {
        stack.file("repo/package.json", &format!(r#"{{"name": "@acme/api", "version": "{version}"}}"#));
        stack.commit(version, &at(day));
        stack.run(&["snapshot"]).ok();
    }
    stack.sh("repo", "cp -r releases ../kept");
    stack.run(&["prune", "--keep", "1"]).ok();
    // As a kill right before the first removal would have left it.
    stack.sh("repo", "rm -r releases; mv ../kept releases; sed -i '/\"pruning\"/q' .recovery/history.jsonl");
    let told = |kind: &str| {
        let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        history.lines().filter(|line| line.contains(&format!("\"{kind}\""))).count()
    };
    assert_eq!((told("pruning"), told("pruned"), told("spared")), (1, 0, 0));
    stack.run(&["prune", "drive", "--keep", "1"]).ok();
    assert_eq!((told("pruned"), told("spared")), (0, 0), "its files are there");
    stack.run(&["prune", "--keep", "9"]).ok();
    assert_eq!((told("pruned"), told("spared")), (0, 1));
}
