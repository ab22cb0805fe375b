//! Failing system calls: each write, fsync, rename, open and close of a run on what it keeps, in turn, ends with `ENOSPC`,
//! `EIO`, `EDQUOT`, `EROFS` or `EINTR`.
//!
//! Whatever fails, there is a whole artifact that `verify` accepts, or none and nothing beside it; the exit code says which,
//! and the next run succeeds. Only calls on the run's own files and folders are hit (`strace -P`): a pipe to a tool knows
//! none of these errors. `strace` counts in each thread, so that a number may hit more than one call, or none.
use super::{BEFORE, Dice, ENCRYPTED, KEY, LATER, Saved, complete, count, size};
use crate::support::{Outcome, Stack, outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The system has several calls for a rename; each that a run makes is a kind of its own.
const CALLS: [&str; 7] = ["write", "fsync", "rename", "renameat", "renameat2", "openat", "close"];
const ERRORS: [&str; 5] = ["ENOSPC", "EIO", "EDQUOT", "EROFS", "EINTR"];

/// One call, counted from 1, and how it ends.
#[derive(Debug, Clone)]
struct Fault {
    call: String,
    number: usize,
    error: &'static str,
}

impl Fault {
    /// The run is to take it up again, or need not know of it.
    fn is_harmless(&self) -> bool {
        self.call == "close" || self.error == "EINTR" && ["write", "fsync"].contains(&&*self.call)
    }
}

/// A run, and the folders of the stack whose content it keeps.
struct Scene<'a> {
    stack: &'a Stack,
    args: &'a [&'a str],
    places: &'a [&'a str],
    /// Files and folders there after a run in which nothing fails.
    paths: Vec<String>,
}

impl<'a> Scene<'a> {
    fn new(stack: &'a Stack, args: &'a [&'a str], places: &'a [&'a str]) -> Self {
        let saved = Saved::of(stack, places);
        stack.run_with(&[KEY], args).ok();
        let top = places.iter().map(|place| format!("'{place}'")).collect::<Vec<_>>().join(" ");
        let paths = stack.sh(".", &format!("find {top}"));
        let paths = paths.lines().map(|path| stack.path(path).display().to_string()).collect();
        saved.back();
        Self { stack, args, places, paths }
    }

    /// A run under `strace`, and what that has seen of calls on [`Scene::paths`].
    fn traced(&self, calls: &str, inject: Option<String>) -> (Outcome, String) {
        let plain = self.stack.command(self.args);
        let log = self.stack.path("trace.log");
        let mut command = Command::new("strace");
        command.args(["--seccomp-bpf", "-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-o"]).arg(&log);
        command.args(["-e", &format!("trace={calls}")]);
        command.args(inject.iter().flat_map(|inject| ["-e", inject]));
        command.args(self.paths.iter().flat_map(|path| ["-P", path]));
        command.args(["timeout", "--kill-after=5", "60"]).arg(plain.get_program()).args(plain.get_args());
        command.current_dir(self.stack.path("repo")).env_clear().env(KEY.0, KEY.1);
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = outcome(&mut command);
        (said, fs::read_to_string(log).expect("reads the log"))
    }

    /// Every fault of every call.
    fn faults(&self) -> Vec<Fault> {
        let (said, log) = self.traced(&CALLS.join(","), None);
        let said = said.ok();
        let mut threads: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut numbers: BTreeSet<(&str, usize)> = BTreeSet::new();
        for line in log.lines().filter(|line| !line.contains("resumed>")) {
            let (thread, text) = line.split_once(' ').expect("a thread");
            let (call, rest) = text.trim_start().split_once('(').expect("a call");
            let number = threads.entry((thread, call)).or_default();
            *number += 1;
            // Linux fails no close of a folder, and the standard library ends a process in which one does.
            let of = rest.split(['<', '>']).nth(1).unwrap_or_default();
            if !(call == "close" && Path::new(of).is_dir()) {
                numbers.insert((call, *number));
            }
        }
        assert!(numbers.len() >= 20, "{numbers:?}: {}", said.shown());
        let one = |(call, number): &(&str, usize), error| Fault {
            call: (*call).to_owned(),
            number: *number,
            error,
        };
        numbers.iter().flat_map(|at| ERRORS.map(|error| one(at, error))).collect()
    }

    /// Lets the faults happen, so many of them in the short form, and looks after each with `check`. Returns the calls that
    /// the run makes.
    fn run(&self, name: &str, short: usize, check: impl Fn(&Fault, &Outcome)) -> BTreeSet<String> {
        let saved = Saved::of(self.stack, self.places);
        let faults = self.faults();
        let step = size(faults.len().div_ceil(short), 1);
        let first = Dice::named(name).below(step);
        let (mut runs, mut injected) = (0, 0);
        for fault in faults.iter().skip(first).step_by(step) {
            saved.back();
            let inject = format!("inject={}:error={}:when={}", fault.call, fault.error, fault.number);
            let (said, log) = self.traced(&fault.call, Some(inject));
            let hit = log.matches("(INJECTED)").count();
            if said.stderr.contains("unexpected error during closedir") {
                continue;
            }
            (runs, injected) = (runs + 1, injected + hit);
            assert!([0, 1, 3].contains(&said.code), "{fault:?}: {}", said.shown());
            assert!(!said.stderr.contains("panicked"), "{fault:?}: {}", said.shown());
            assert!(said.code == 0 || said.stderr.contains("error: "), "{fault:?}: {}", said.shown());
            assert!(said.code == 0 || hit > 0, "nothing failed, {fault:?}: {}", said.shown());
            assert!(said.code == 0 || !fault.is_harmless(), "{fault:?}: {}", said.shown());
            check(fault, &said);
        }
        count("faults", injected);
        assert!(runs >= short * 3 / 4, "only {runs} runs of {} faults", faults.len());
        assert!(injected * 10 >= runs * 8, "only {injected} faults happened in {runs} runs");
        faults.into_iter().map(|fault| fault.call).collect()
    }
}

fn backup_meets_faults(name: &str, destination: &str, short: usize) {
    let stack = Stack::new();
    stack.configure(destination);
    stack.run_with(&[KEY, ("RECOVERY_NOW", BEFORE)], &["backup"]).ok();
    let (before, live) = (stack.world("drive/2026/03-08"), stack.listing("repo/.codex-api"));
    let scene = Scene::new(&stack, &["backup"], &["drive", "repo/.recovery"]);
    scene.run(name, short, |fault, said| {
        assert_eq!(stack.world("drive/2026/03-08"), before, "{fault:?}: {}", said.shown());
        let whole = complete(&stack, "drive").len();
        let made = stack.files("drive").into_iter().filter(|name| name.contains("2026-03-10")).count();
        match whole {
            1 => assert_eq!((made, said.code), (0, 3), "{fault:?}: {}", said.shown()),
            2 => assert_eq!(made, 3, "{fault:?}: {}", said.shown()),
            other => panic!("{fault:?}: {other} backups: {}", said.shown()),
        }
        let status = stack.run_with(&[KEY], &["status", "--json"]).ok().json();
        assert_eq!(status["data"][0]["count"], whole, "{fault:?}: {status}");
        stack.run_with(&[KEY], &["verify"]).ok();
        stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["backup"]).ok();
        assert_eq!(complete(&stack, "drive").len(), whole + 1);
        assert_eq!(stack.listing("repo/.codex-api"), live, "live data was touched");
    });
}

#[test]
fn a_backup_in_which_a_call_fails_is_whole_or_not_there() {
    backup_meets_faults("calls-plain", "", 20);
}

#[test]
fn an_encrypted_backup_in_which_a_call_fails_is_whole_or_not_there() {
    backup_meets_faults("calls-encrypted", ENCRYPTED, 8);
}

#[test]
fn a_snapshot_in_which_a_call_fails_is_whole_or_not_there() {
    let stack = Stack::configured();
    stack.run_at(BEFORE, &["snapshot"]).ok();
    stack.commit("more", "2026-03-10T08:30:00Z");
    let scene = Scene::new(&stack, &["snapshot"], &["repo/releases", "repo/.recovery"]);
    let calls = scene.run("calls-snapshot", 16, |fault, said| {
        let made = stack.files("repo/releases").into_iter().filter(|name| name.contains("2026-03-10"));
        let made: Vec<String> = made.collect();
        match made.iter().any(|name| name.ends_with(".lock.json")) {
            true => {
                let bundle = stack.one("repo/releases", "2026-03-10T083000Z.tar.gz").display().to_string();
                stack.run(&["verify", &bundle]).ok();
            }
            false => {
                assert!(made.is_empty(), "{fault:?}: {made:?}: {}", said.shown());
                assert_eq!(said.code, 3, "{fault:?}: {}", said.shown());
            }
        }
        stack.run(&["snapshot"]).ok();
        stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
        stack.run(&["verify"]).ok();
    });
    assert!(calls.iter().any(|call| call.starts_with("rename")), "only {calls:?}");
}
