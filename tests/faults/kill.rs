//! `kill -9` at random instants over every verb that writes.
//!
//! After each: what a marker completes is whole by `sha256sum`, and that alone is listed, counted and verified; the
//! earlier backups are the same bytes; live data is untouched; the next run succeeds. A run that ended before its kill
//! came is no hit, and the instants are drawn from a shorter time then.
use super::trace::inject;
use super::{BEFORE, Dice, ENCRYPTED, KEY, LATER, Saved, complete, count, size, tree};
use crate::support::Stack;
use std::cell::Cell;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A verb that is killed again and again.
struct Killing<'a> {
    stack: &'a Stack,
    args: &'a [&'a str],
    dice: Dice,
    /// How long a run takes that nobody kills.
    span: Duration,
}

impl<'a> Killing<'a> {
    /// Measures one run that nobody kills.
    fn of(stack: &'a Stack, args: &'a [&'a str], dice: Dice) -> Self {
        let begin = Instant::now();
        let status = stack.grouped(args).env(KEY.0, KEY.1).status().expect("starts");
        assert!(status.success(), "{args:?}: {status}");
        Self { stack, args, dice, span: begin.elapsed() }
    }

    /// Kills a run at some instant; whether it was still at work.
    fn strike(&mut self) -> bool {
        let share = self.dice.below(1000) as u32;
        let mut child = self.stack.grouped(self.args).env(KEY.0, KEY.1).spawn().expect("starts");
        sleep(self.span * share / 1000);
        child.kill().expect("kills");
        let hit = child.wait().expect("ends").signal() == Some(9);
        self.span = if hit { self.span * 101 / 100 } else { self.span * 9 / 10 };
        hit
    }

    /// Kills runs until so many were at work, each in the world as it was saved, and looks after each with `check`.
    fn hits(&mut self, wanted: usize, saved: &Saved<'_>, mut check: impl FnMut(&Stack)) {
        let (mut hits, mut instants) = (0, 0);
        while hits < wanted {
            assert!(instants < 4 * wanted, "only {hits} of {instants} kills of {:?} hit a run", self.args);
            instants += 1;
            saved.back();
            let hit = usize::from(self.strike());
            hits += hit;
            count("instants", 1);
            count("kills", hit);
            check(self.stack);
            count("survived", 1);
        }
    }
}

/// A stack with a backup from before, and then much more data. The data is small enough for the checks to be quick.
fn stack(destination: &str, dice: &mut Dice, bytes: usize) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    stack.run_with(&[KEY, ("RECOVERY_NOW", BEFORE)], &["backup"]).ok();
    tree(&stack, "repo/.codex-api", dice, 60, bytes);
    stack
}

/// Only what is complete is listed, counted and verified, and what was there before is unchanged.
fn only_whole_ones(stack: &Stack, before: &[(String, Vec<u8>)]) {
    let whole = complete(stack, "drive").len();
    let status = stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["status", "--json"]).ok().json();
    assert_eq!(status["data"][0]["count"], whole, "{status}");
    let checked = stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["verify", "--json"]).ok().json();
    let backups = checked["artifacts"].as_array().expect("a list").iter();
    let backups = backups.filter(|one| one["path"].as_str().is_some_and(|path| path.contains("/drive/")));
    assert_eq!(backups.count(), whole, "{checked}");
    for (name, bytes) in before {
        assert!(fs::read(stack.path("drive").join(name)).expect("is there") == *bytes, "{name} was changed");
    }
}

fn files(stack: &Stack, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = stack.files(folder).into_iter();
    names.map(|name| (name.clone(), fs::read(stack.path(folder).join(name)).expect("reads"))).collect()
}

fn backups_are_killed(name: &str, destination: &str) {
    let mut dice = Dice::named(name);
    let stack = stack(destination, &mut dice, 6_000_000);
    let folders = ["drive", "repo/.recovery"];
    let (saved, before) = (Saved::of(&stack, &folders), files(&stack, "drive"));
    let live = stack.listing("repo/.codex-api");
    let mut restored = 0;
    Killing::of(&stack, &["backup"], dice).hits(size(4, 50), &saved, |stack| {
        only_whole_ones(stack, &before);
        let next = stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["backup"]).ok();
        let held = stack.sh(".", "find . -path './recovery-*/.held'");
        assert_eq!(held, "", "the next run removes what a killed one left");
        only_whole_ones(stack, &before);
        assert!(next.stdout.contains("2026-03-11T120000Z"), "{}", next.stdout);
        assert_eq!(stack.listing("repo/.codex-api"), live, "live data was touched");
        restored += 1;
        if restored % 4 == 0 {
            let args = ["restore", "codex-api", "--to", "../back"];
            stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &args).ok();
            assert_eq!(stack.listing("back/.codex-api"), live);
            stack.sh(".", "rm -rf back");
        }
    });
    assert!(restored >= 4);
}

#[test]
fn a_killed_backup_counts_for_nothing() {
    backups_are_killed("kill-plain", "compression = \"zstd\"\n");
}

#[test]
fn a_killed_encrypted_backup_counts_for_nothing() {
    backups_are_killed("kill-encrypted", ENCRYPTED);
}

/// Archived once and copied: whatever was reached, each destination has whole backups alone, and the next run completes
/// both.
#[test]
fn a_killed_backup_to_several_destinations_counts_for_nothing() {
    let mut dice = Dice::named("backup, several destinations");
    let stack = Stack::new();
    let home = stack.path("").display().to_string();
    fs::create_dir(stack.path("second")).expect("makes a folder");
    stack.file(
        "repo/recovery.toml",
        &format!(
            "[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"drive\", \"second\"]\n\
             [destination.drive]\npath = \"{home}drive\"\n[destination.second]\npath = \"{home}second\"\n"
        ),
    );
    stack.run_at(BEFORE, &["backup"]).ok();
    tree(&stack, "repo/.codex-api", &mut dice, 60, 6_000_000);
    let folders = ["drive", "second", "repo/.recovery"];
    let (saved, before) = (Saved::of(&stack, &folders), files(&stack, "drive"));
    Killing::of(&stack, &["backup"], dice).hits(size(4, 40), &saved, |stack| {
        only_whole_ones(stack, &before);
        assert!(!complete(stack, "second").is_empty());
        stack.run_at(LATER, &["backup"]).ok();
        only_whole_ones(stack, &before);
        complete(stack, "second");
        stack.sh(".", "diff -r drive/2026/03-11 second/2026/03-11");
    });
}

#[test]
fn a_killed_snapshot_is_made_anew() {
    let mut dice = Dice::named("kill-snapshot");
    let stack = Stack::configured();
    stack.run_with(&[("RECOVERY_NOW", BEFORE)], &["backup"]).ok();
    stack.run(&["snapshot"]).ok();
    tree(&stack, "repo/docs", &mut dice, 40, 5_000_000);
    stack.commit("more", "2026-03-02T08:30:00Z");
    let folders = ["repo/releases", "repo/.recovery", "drive"];
    let (saved, before) = (Saved::of(&stack, &folders), files(&stack, "repo/releases"));
    let (drive, live) = (files(&stack, "drive"), stack.listing("repo/docs"));
    let mut bytes = None;
    Killing::of(&stack, &["snapshot"], dice).hits(size(4, 50), &saved, |stack| {
        only_whole_ones(stack, &drive);
        let locks = stack.files("repo/releases").iter().filter(|name| name.ends_with(".lock.json")).count();
        let status = stack.run(&["status", "--json"]).ok().json();
        assert_eq!(status["releases"].as_array().map(Vec::len), Some(locks), "{status}");
        for (name, bytes) in before.iter().filter(|(name, _)| name != "SHA256SUMS") {
            let now = fs::read(stack.path("repo/releases").join(name)).expect("is there");
            assert!(now == *bytes, "{name} was changed");
        }
        stack.run(&["snapshot"]).ok();
        stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
        stack.run(&["verify"]).ok();
        let made = fs::read(stack.one("repo/releases", "2026-03-02T083000Z.tar.gz")).expect("reads");
        assert!(bytes.get_or_insert_with(|| made.clone()) == &made, "the same bytes each time");
        assert_eq!(stack.listing("repo/docs"), live, "the working tree was touched");
    });
}

#[test]
fn a_killed_prune_removes_nothing_that_was_to_stay() {
    let dice = Dice::named("kill-prune");
    let stack = Stack::new();
    stack.configure("keep = 2\n");
    for hour in 1..=4 {
        stack.commit(&format!("more {hour}"), &format!("2026-03-01T{hour:02}:30:00Z"));
        stack.run(&["snapshot"]).ok();
    }
    let all = size(8, 30);
    for number in 0..all {
        let now = format!("2026-03-{:02}T{:02}:00:00Z", 1 + number / 24, number % 24);
        stack.run_at(&now, &["backup"]).ok();
    }
    let folders = ["drive", "repo/.recovery", "repo/releases"];
    let (saved, mut before) = (Saved::of(&stack, &folders), files(&stack, "drive"));
    let mut bundles = files(&stack, "repo/releases");
    bundles.retain(|(name, _)| ["T033000Z", "T043000Z"].iter().any(|time| name.contains(time)));
    assert_eq!(bundles.len(), 6, "two bundles stay");
    before.retain(|(name, _)| {
        [all - 1, all - 2]
            .iter()
            .any(|number| name.contains(&format!("2026-03-{:02}T{:02}0000Z", 1 + number / 24, number % 24)))
    });
    assert_eq!(before.len(), 6, "two backups stay");
    let live = stack.listing("repo/.codex-api");
    let half = Cell::new(0);
    let mut killing = Killing::of(&stack, &["prune", "--keep", "2"], dice);
    let look = |stack: &Stack| {
        only_whole_ones(stack, &before);
        let locks = stack.files("repo/releases").iter().filter(|name| name.ends_with(".lock.json")).count();
        let between = (5..all + 4).contains(&(complete(stack, "drive").len() + locks));
        half.set(half.get() + usize::from(between));
        stack.run_at(LATER, &["prune", "--keep", "2"]).ok();
        assert!(files(stack, "drive") == before, "{:?}", stack.files("drive"));
        let mut kept = files(stack, "repo/releases");
        kept.retain(|(name, _)| name != "SHA256SUMS");
        assert!(kept == bundles, "{:?}", stack.files("repo/releases"));
        only_whole_ones(stack, &before);
        assert_eq!(stack.listing("repo/.codex-api"), live, "live data was touched");
    };
    killing.hits(size(4, 50), &saved, look);
    // Of the few of the short form none may come between the first removal and the last; the test of each removal makes them.
    let half = half.get();
    assert!(half >= size(0, 5), "only {half} kills came between the first removal and the last");
}

/// A marker is there whole or not at all, wherever in its making the kill comes.
#[test]
fn a_backup_killed_while_its_marker_is_made_counts_only_when_that_is_whole() {
    let stack = Stack::new();
    stack.configure("");
    stack.run_at(BEFORE, &["backup"]).ok();
    let before = files(&stack, "drive");
    let saved = Saved::of(&stack, &["drive", "repo/.recovery"]);
    let day = stack.path("drive/2026/03-11").display().to_string();
    let part = format!("{day}/codex-api-2026-03-11T120000Z.tar.gz.sha256.part");
    let mut killed = 0;
    // Names are made and changed in the open folder.
    for (call, path) in [("openat", &day), ("renameat2", &day), ("write", &part), ("fsync", &part)] {
        for number in 1.. {
            saved.back();
            let (env, at) = ([("RECOVERY_NOW", LATER)], (call, number, "signal=KILL"));
            let (said, _) = inject(&stack, (&env, &["backup"]), at, std::slice::from_ref(path));
            if said.code == 0 {
                assert!(number > 1, "{call} was never hit: {}", said.shown());
                break;
            }
            killed += 1;
            only_whole_ones(&stack, &before);
            stack.run_at("2026-03-13T12:00:00Z", &["backup"]).ok();
            stack.run_at("2026-03-13T13:00:00Z", &["prune"]).ok();
            let left = stack.files("drive");
            assert!(!left.iter().any(|name| name.ends_with(".part")), "{call} {number}: {left:?}");
        }
    }
    assert!(killed >= 6, "only {killed}");
    count("kills", killed);
}

/// A torn lock would be in the way of every later run.
#[test]
fn a_snapshot_killed_while_its_lock_is_made_is_made_anew() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["snapshot"]).ok();
    let folder = stack.path("repo/releases").display().to_string();
    let part = format!("{}.part", stack.one("repo/releases", ".lock.json").display());
    let (mut killed, mut parts) = (0, 0);
    for (call, path) in [("openat", &folder), ("renameat2", &folder), ("write", &part), ("fsync", &part)] {
        for number in 1.. {
            // Without what remembers the last one, which would be missed.
            stack.sh(
                "repo",
                "rm -r releases; mkdir releases; sed -i '/\"snapshot\"/d' .recovery/history.jsonl",
            );
            let at = (call, number, "signal=KILL");
            let (said, _) = inject(&stack, (&[], &["snapshot"]), at, std::slice::from_ref(path));
            if said.code == 0 {
                assert!(number > 1, "{call} was never hit: {}", said.shown());
                break;
            }
            (killed, parts) = (killed + 1, parts + usize::from(Path::new(&part).exists()));
            stack.run(&["status"]).ok();
            // Without a tarball it is in the way no less.
            let more: &[&str] = if number % 2 == 0 { &["--no-tarball"] } else { &[] };
            stack.run(&[&["snapshot"], more].concat()).ok();
            stack.run(&["snapshot"]).ok();
            stack.run(&["verify"]).ok();
            let left = stack.files("repo/releases");
            assert!(!left.iter().any(|name| name.ends_with(".part")), "{call} {number}: {left:?}");
        }
    }
    assert!(killed >= 6 && parts >= 2, "only {killed}, {parts} with a part");
    count("kills", killed);
}

/// What is left of a backup or a bundle is no error, and goes with the next run.
#[test]
fn a_prune_killed_at_each_of_its_removals_leaves_nothing_behind() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for day in 1..=2 {
        stack.run_at(&format!("2026-03-0{day}T12:00:00Z"), &["backup"]).ok();
        stack.commit(&format!("more {day}"), &format!("2026-03-01T0{day}:30:00Z"));
        stack.run(&["snapshot"]).ok();
    }
    let folders = ["drive", "repo/.recovery", "repo/releases"];
    let saved = Saved::of(&stack, &folders);
    let (mut before, mut bundles) = (files(&stack, "drive"), files(&stack, "repo/releases"));
    before.retain(|(name, _)| name.contains("2026-03-02T"));
    bundles.retain(|(name, _)| name.contains("T023000Z"));
    let args = ["prune", "--keep", "1"];
    let mut killed = 0;
    loop {
        saved.back();
        let (said, _) = inject(
            &stack,
            (&[("RECOVERY_NOW", LATER)], &args),
            ("unlink,unlinkat", killed + 1, "signal=KILL"),
            &[],
        );
        if said.code == 0 {
            break;
        }
        killed += 1;
        only_whole_ones(&stack, &before);
        stack.run_at(LATER, &args).ok();
        assert!(files(&stack, "drive") == before, "after kill {killed}: {:?}", stack.files("drive"));
        let mut kept = files(&stack, "repo/releases");
        kept.retain(|(name, _)| name != "SHA256SUMS");
        assert!(kept == bundles, "after kill {killed}: {:?}", stack.files("repo/releases"));
        only_whole_ones(&stack, &before);
        assert!(killed < 20, "{}", said.shown());
    }
    count("kills", killed);
    assert!(killed >= 6, "only {killed} removals");
}

/// A tarball whose lock was lost, and not by a prune, is told and left.
#[test]
fn a_bundle_without_its_lock_is_told_and_never_removed() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.sh("repo/releases", "rm *.lock.json");
    let left = stack.files("repo/releases");
    stack.run_at(LATER, &["status"]).says(&["has no ", ".lock.json"]);
    stack.run_at(LATER, &["prune", "--keep", "1"]).says(&["has no ", ".lock.json"]);
    let now: Vec<String> = stack.files("repo/releases");
    assert_eq!(now, left);
    stack.run(&["snapshot"]).ok();
    stack.run(&["verify"]).ok();
}

#[test]
fn a_killed_restore_shows_nothing_or_all() {
    let mut dice = Dice::named("kill-restore");
    let stack = stack("", &mut dice, 12_000_000);
    stack.run(&["backup"]).ok();
    let saved = Saved::of(&stack, &[]);
    let (before, live) = (files(&stack, "drive"), stack.listing("repo/.codex-api"));
    let args = ["restore", "codex-api", "--to", "../back"];
    let mut killing = Killing::of(&stack, &args, dice);
    stack.sh(".", "rm -rf back");
    let mut left = 0;
    killing.hits(size(4, 50), &saved, |stack| {
        left += hidden(stack).len();
        // What was visible when the kill came is whole.
        let to = if stack.path("back").exists() { "../next" } else { "../back" };
        // Much later: one that was killed before it could lock its folder counts after a day.
        stack.run_at("2099-01-01T00:00:00Z", &["restore", "codex-api", "--to", to]).ok();
        assert_eq!(hidden(stack), [""; 0], "the next restore removes it");
        for name in ["back", "next"].iter().filter(|name| stack.path(name).exists()) {
            let listing = stack.listing(&format!("{name}/.codex-api"));
            assert_eq!(listing, live, "restored is not what is live");
        }
        only_whole_ones(stack, &before);
        stack.sh(".", "rm -rf back next");
    });
    assert!(left > 0, "no kill has left anything");
}

/// What lies beside the target and is not shown.
fn hidden(stack: &Stack) -> Vec<String> {
    let names =
        fs::read_dir(stack.path(".")).expect("lists").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with('.')).collect()
}
