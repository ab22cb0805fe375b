//! Failing system calls where names are drawn at random or nothing is written: a prune and a restore. And a drive that
//! errs: writes that report a byte more than they did.
//!
//! Neither starts a tool, so the calls are hit by their number in each thread, whatever they are about; `calls.rs` goes by
//! the names of files instead. Whatever fails, there is a whole artifact or none, and what is on record is true.
use super::trace::{Event, calls_of, inject, points};
use super::{BEFORE, Dice, LATER, Saved, complete, count, size};
use crate::support::{Outcome, Stack};
use std::collections::BTreeMap;
use std::path::Path;

/// A fault, and where it was put.
#[derive(Debug, Clone)]
struct Fault {
    call: String,
    number: usize,
    fault: String,
    /// Only calls on these paths count.
    paths: Vec<String>,
}

impl Fault {
    /// What is tried again; Linux interrupts no rename, removal or new folder, and the library lists no folder again.
    fn is_again(&self) -> bool {
        let calls = ["write", "fsync", "close"];
        self.fault.ends_with("EINTR") && calls.contains(&self.call.as_str())
    }

    /// The run may not be able to remove what it made: the removal itself was hit, or the way to it.
    fn hinders_removal(&self) -> bool {
        ["unlink", "unlinkat", "rmdir", "openat"].contains(&self.call.as_str())
    }
}

/// The faults for each kind of call.
fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "write" | "fsync" | "rename" | "renameat" | "renameat2" | "openat" => {
            &["ENOSPC", "EIO", "EDQUOT", "EROFS", "EINTR"]
        }
        "close" => &["EIO", "ENOSPC", "EDQUOT", "EINTR"],
        "syncfs" | "fdatasync" | "ftruncate" => &["EIO", "EINTR"],
        _ => &["EIO", "EROFS"],
    }
}

/// A run in which calls fail.
struct Scene<'a> {
    stack: &'a Stack,
    args: &'a [&'a str],
    saved: Saved<'a>,
    /// Beginnings of the paths that are the run's own.
    places: &'a [&'a str],
}

impl Scene<'_> {
    fn ours(&self, path: &str) -> bool {
        self.places.iter().any(|place| path.starts_with(&self.stack.path(place).display().to_string()))
    }

    /// Every fault of every call that the run makes on its own files.
    fn faults(&self) -> Vec<Fault> {
        self.saved.back();
        let events = calls_of(self.stack, &[], self.args);
        // Linux fails no close of a folder, and the standard library ends the process if one does.
        let counts = |event: &Event| {
            self.ours(&event.path) && !(event.call == "close" && Path::new(&event.path).is_dir())
        };
        let one = |call: &str, number: usize, error: &str| Fault {
            call: call.to_owned(),
            number,
            fault: format!("error={error}"),
            paths: Vec::new(),
        };
        let points = points(&events, counts);
        let all = points.iter().flat_map(|(call, numbers)| numbers.iter().map(move |number| (call, *number)));
        all.flat_map(|(call, number)| errors(call).iter().map(move |error| one(call, number, error)))
            .collect()
    }

    /// Every write to a file with a known name, done short: nothing is written, and a byte is reported.
    fn short_writes(&self) -> Vec<Fault> {
        self.saved.back();
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for event in calls_of(self.stack, &[], self.args) {
            let named = self.ours(&event.path) && !event.path.contains("/locks/");
            *writes.entry(event.path).or_default() += usize::from(named && event.call == "write");
        }
        let one = |path: &str, number: usize| Fault {
            call: "write".into(),
            number,
            fault: "retval=1".into(),
            paths: vec![path.to_owned()],
        };
        writes.iter().flat_map(|(path, count)| (1..=*count).map(move |number| one(path, number))).collect()
    }

    /// Injects `least` of the faults, or all of them in the full form, and looks after each with `check`.
    fn run(&self, all: Vec<Fault>, mut dice: Dice, least: usize, check: impl Fn(&Stack, &Fault, &Outcome)) {
        assert!(all.len() >= least, "only {} faults for {:?}", all.len(), self.args);
        // Which thread makes which call differs from run to run, so that some find none to hit.
        let number = size(least * 2, all.len());
        let (mut runs, mut hit) = (0, 0);
        for fault in dice.some(all, number) {
            if hit >= size(least, usize::MAX) {
                break;
            }
            self.saved.back();
            let at = (&*fault.call, fault.number, &*fault.fault);
            let (said, calls) = inject(self.stack, (&[], self.args), at, &fault.paths);
            if said.stderr.contains("unexpected error during closedir") {
                continue;
            }
            runs += 1;
            if calls == 0 {
                said.ok();
                continue;
            }
            hit += 1;
            assert!([0, 1, 3].contains(&said.code), "{fault:?}: {}", said.shown());
            assert!(!said.stderr.contains("panicked"), "{fault:?}: {}", said.shown());
            if said.code != 0 {
                let all = format!("{}{}", said.stdout, said.stderr);
                assert!(all.contains("error"), "{fault:?}: no word of it: {}", said.shown());
            }
            check(self.stack, &fault, &said);
        }
        count("faults", hit);
        assert!(hit >= least && hit * 2 >= runs, "only {hit} of {runs} faults of {:?} hit a call", self.args);
    }
}

/// An open that a signal has interrupted is tried again.
#[test]
fn an_interrupted_open_is_taken_up_again() {
    let stack = Stack::configured();
    let folders = ["drive", "repo/.recovery"];
    stack.run_at(BEFORE, &["backup"]).ok();
    let saved = Saved::of(&stack, &folders);
    let paths =
        ["drive", "drive/2026", "drive/2026/03-10"].map(|path| stack.path(path).display().to_string());
    let (mut hit, mut missed) = (0, 0);
    for number in 1..100 {
        saved.back();
        let (said, calls) = inject(&stack, (&[], &["backup"]), ("openat", number, "error=EINTR"), &paths);
        let listing = said.code == 3 && said.stderr.contains("could not list");
        assert!(said.code == 0 || listing, "open {number}: {}", said.shown());
        hit += usize::from(calls > 0 && !listing);
        missed = if calls == 0 { missed + 1 } else { 0 };
        if missed == 3 {
            break;
        }
    }
    count("faults", hit);
    assert!(hit >= 10, "only {hit} opens were interrupted");
}

/// A marker that was written short is no marker, and an archive is read back: nothing that is wrong is kept.
#[test]
fn a_backup_on_a_drive_that_errs_is_whole_or_not_there() {
    let stack = Stack::new();
    stack.configure("");
    stack.run_at(BEFORE, &["backup"]).ok();
    let folders = ["drive", "repo/.recovery"];
    let saved = Saved::of(&stack, &folders);
    let before = stack.world("drive/2026/03-08");
    let args = ["backup", "--json"];
    let scene = Scene { stack: &stack, args: &args, saved, places: &folders };
    scene.run(scene.short_writes(), Dice::named("errs-backup"), 6, |stack, fault, said| {
        assert_eq!(stack.world("drive/2026/03-08"), before, "{fault:?}: {}", said.shown());
        let mut files = stack.files("drive");
        files.retain(|name| name.contains("2026-03-10"));
        let whole = complete(stack, "drive").len();
        if fault.paths[0].contains("/drive/") {
            assert_eq!((whole, files.len(), said.code), (1, 0, 1), "{fault:?}: {}", said.shown());
            stack.run(&["status"]).ok();
        } else {
            // A line that lost its bytes is found by whoever reads the history next.
            assert_eq!(whole, 2, "{fault:?}: {}", said.shown());
            stack.run(&["status"]).exits(1).says(&["history.jsonl"]);
        }
        stack.run_at(LATER, &["backup"]).ok();
        assert_eq!(complete(stack, "drive").len(), whole + 1);
    });
}

#[test]
fn a_snapshot_on_a_drive_that_errs_is_whole_or_not_there() {
    let stack = Stack::configured();
    stack.run_at(BEFORE, &["snapshot"]).ok();
    stack.commit("more", "2026-03-10T08:30:00Z");
    let folders = ["repo/releases"];
    let saved = Saved::of(&stack, &folders);
    let args = ["snapshot", "--json"];
    let scene = Scene { stack: &stack, args: &args, saved, places: &folders };
    scene.run(scene.short_writes(), Dice::named("errs-snapshot"), 5, |stack, fault, said| {
        let mut files = stack.files("repo/releases");
        files.retain(|name| name.contains("2026-03-10"));
        // The list of bundles comes behind the lock.
        assert!([0, 3].contains(&files.len()) && said.code == 1, "{fault:?}: {}", said.shown());
        assert!(files.is_empty() || fault.paths[0].ends_with(".recovery-new"), "{fault:?}: {}", said.shown());
        stack.run(&["snapshot"]).ok();
        stack.run(&["verify"]).ok();
    });
}

#[test]
fn a_prune_in_which_a_call_fails_tells_the_truth_of_what_is_gone() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for day in 1..=3 {
        stack.run_at(&format!("2026-03-0{day}T12:00:00Z"), &["backup"]).ok();
    }
    let folders = ["drive", "repo/.recovery"];
    let saved = Saved::of(&stack, &folders);
    let newest = stack.world("drive/2026/03-03");
    let args = ["prune", "--json"];
    let scene = Scene { stack: &stack, args: &args, saved, places: &folders };
    scene.run(scene.faults(), Dice::named("calls-prune"), 24, |stack, fault, said| {
        assert_eq!(stack.world("drive/2026/03-03"), newest, "{fault:?}: {}", said.shown());
        let whole = complete(stack, "drive");
        assert!(said.code != 0 || whole.len() == 1, "{fault:?}: {}", said.shown());
        assert!(said.code == 0 || said.code == 3, "{fault:?}: {}", said.shown());
        let history = std::fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        for marker in &whole {
            let archive = stack.path("drive").join(marker.trim_end_matches(".sha256")).display().to_string();
            let gone = |line: &&str| line.contains("\"pruned\"") && line.contains(&archive);
            assert!(!history.lines().any(|line| gone(&line)), "{fault:?}: {archive} is there: {history}");
        }
        // What is half gone is no loss, and what is left goes with the next run.
        stack.run(&["status"]).ok();
        stack.run(&["prune"]).ok();
        assert_eq!(stack.files("drive").len(), 3, "{fault:?}: {:?}", stack.files("drive"));
        stack.run(&["verify"]).ok();
    });
}

#[test]
fn a_restore_in_which_a_call_fails_shows_nothing_or_all() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "for n in $(seq 12); do head -c 5000 /dev/urandom > f$n; done");
    stack.run(&["backup"]).ok();
    let live = stack.listing("repo/.codex-api");
    let folders: [&str; 0] = [];
    let saved = Saved::of(&stack, &folders);
    let args = ["restore", "codex-api", "--to", "../back", "--json"];
    let places = [".recovery-restore", "back"];
    let scene = Scene { stack: &stack, args: &args, saved, places: &places };
    let faults = scene.faults();
    assert!(faults.iter().any(|fault| fault.call == "syncfs"), "what was restored is made durable");
    stack.sh(".", "rm -rf back");
    let scene = Scene { stack: &stack, saved: Saved::of(&stack, &["back"]), ..scene };
    stack.sh(".", "rm -rf back");
    scene.run(faults, Dice::named("calls-restore"), 24, |stack, fault, said| {
        if stack.path("back/.codex-api").exists() {
            assert_eq!(stack.listing("back/.codex-api"), live, "{fault:?}: {}", said.shown());
        } else {
            assert!(said.code != 0, "{fault:?}: {}", said.shown());
            assert!(!fault.is_again(), "{fault:?}: {}", said.shown());
            let left = stack.sh(".", "find . -maxdepth 1 -name '.recovery-restore*'");
            assert!(left.is_empty() || fault.hinders_removal(), "{fault:?}: {left} {}", said.shown());
            stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
            assert_eq!(stack.listing("back/.codex-api"), live);
        }
        stack.sh(".", "rm -rf back .recovery-restore*");
    });
}
