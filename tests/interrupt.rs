//! A run that is told to stop removes what it made; one that is killed leaves nothing that counts. Either way the next
//! run succeeds, and what was good before is good after.
use super::support::Stack;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");
const BEFORE: &str = "2026-03-09T12:00:00Z";
const LATER: &str = "2026-03-11T12:00:00Z";
/// Moments after the first sign of work at which a run is ended, in thousandths of a second.
const MOMENTS: [u64; 6] = [0, 10, 40, 100, 200, 400];

/// Enough that no run ends before it is stopped: `files` of a mebibyte that do not compress.
fn large(destination: &str, files: u32) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    stack.run_with(&[KEY, ("RECOVERY_NOW", BEFORE)], &["backup"]).ok();
    stack.sh(
        "repo/.codex-api",
        &format!("head -c {files}M /dev/urandom | split -b 1M -a 3 - part-; mkdir deep; mv part-a?m deep/"),
    );
    stack
}

/// The same for a repository.
fn large_repository() -> Stack {
    let stack = Stack::configured();
    stack.run_with(&[("RECOVERY_NOW", BEFORE)], &["backup"]).ok();
    stack.sh("repo", "mkdir big; head -c 24M /dev/urandom | split -b 1M -a 3 - big/part-");
    stack.commit("big", "2026-03-02T08:30:00Z");
    stack
}

/// Starts a run, and returns when it has begun to write, or has ended.
fn begun(stack: &Stack, args: &[&str], sign: &dyn Fn(&Stack) -> bool) -> Child {
    let mut child = stack.grouped(args).env(KEY.0, KEY.1).spawn().expect("starts");
    while !sign(stack) && child.try_wait().expect("waits").is_none() {
        sleep(Duration::from_millis(1));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    // It may have ended; then there is nobody to tell.
    let _ = kill_process_group(Pid::from_child(child), signal);
}

fn archive_begun(stack: &Stack) -> bool {
    stack.files("drive").iter().any(|name| name.contains("2026-03-10") && name.contains(".tar."))
}

fn bundle_begun(stack: &Stack) -> bool {
    stack.files("repo/releases").iter().any(|name| name.ends_with(".tar.gz"))
}

fn restore_begun(stack: &Stack) -> bool {
    hidden(stack).iter().any(|name| stack.files(name).iter().any(|file| file.starts_with("tree/")))
}

/// What restores leave beside their target while they run.
fn hidden(stack: &Stack) -> Vec<String> {
    let names = fs::read_dir(stack.path(".")).expect("lists");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".recovery-restore-")).collect()
}

/// Private folders of gpg and of staging.
fn temporary(stack: &Stack) -> Vec<String> {
    let names = fs::read_dir(stack.path(".")).expect("lists");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| !["drive", "home", "repo", "back"].contains(&name.as_str())).collect()
}

#[test]
fn a_backup_that_is_told_to_stop_removes_what_it_made() {
    for destination in ["", "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n"] {
        let stack = large(destination, 40);
        let before = stack.world("drive");
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let mut child = begun(&stack, &["backup"], &archive_begun);
            send(&child, signal);
            let status = child.wait().expect("ends");
            assert_eq!(status.code(), Some(3), "{destination}{signal:?}: {status}");
            assert_eq!(stack.world("drive"), before, "{destination}{signal:?}");
            assert_eq!(temporary(&stack), [""; 0], "{destination}{signal:?}");
        }
        stack.run_with(&[KEY], &["verify"]).ok();
        stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["backup"]).ok();
        stack.run_with(&[KEY], &["verify"]).ok();
    }
}

/// The process that a run has started.
fn child_of(run: &Child) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", run.id())).ok()?;
    let children = tasks.flatten().map(|task| task.path().join("children"));
    let mut numbers = children.filter_map(|path| fs::read_to_string(path).ok());
    numbers.find_map(|text| Pid::from_raw(text.split_whitespace().next()?.parse().ok()?))
}

#[test]
fn a_backup_whose_gpg_alone_is_stopped_fails_and_removes_what_it_made() {
    let stack = large("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", 40);
    let before = stack.world("drive");
    let mut child = begun(&stack, &["backup"], &archive_begun);
    // Between two looks at the threads of the run, none may have it on its list.
    let gpg = std::iter::repeat_with(|| child_of(&child)).take(1_000_000).flatten().next().expect("gpg runs");
    rustix::process::kill_process(gpg, Signal::KILL).expect("sends");
    assert_eq!(child.wait().expect("ends").code(), Some(3));
    assert_eq!(stack.world("drive"), before);
}

#[test]
fn a_snapshot_that_is_told_to_stop_removes_what_it_made() {
    let stack = large_repository();
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = begun(&stack, &["snapshot"], &bundle_begun);
        send(&child, signal);
        let status = child.wait().expect("ends");
        assert_eq!(status.code(), Some(3), "{signal:?}: {status}");
        assert_eq!(stack.files("repo/releases"), [""; 0], "{signal:?}");
    }
    let document = stack.run(&["snapshot", "--json"]).ok().json();
    assert_eq!(document["status"], "created");
    stack.run(&["verify"]).ok();
}

#[test]
fn a_restore_that_is_told_to_stop_leaves_no_target() {
    let stack = large("", 40);
    stack.run(&["backup"]).ok();
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = begun(&stack, &["restore", "codex-api", "--to", "../back"], &restore_begun);
        send(&child, signal);
        let status = child.wait().expect("ends");
        assert_eq!(status.code(), Some(3), "{signal:?}: {status}");
        assert!(
            !stack.path("back").exists() && hidden(&stack).is_empty(),
            "{signal:?}: {:?}",
            hidden(&stack)
        );
    }
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("repo", "diff -r .codex-api ../back/.codex-api");
}

/// A single file is no reason to go on until its end.
#[test]
fn a_restore_of_one_large_file_stops_too() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "rm -rf *; head -c 400M /dev/zero > large; echo 'model' > config.toml; mv large zeros",
    );
    stack.run(&["backup"]).ok();
    let sign = |stack: &Stack| {
        let files = hidden(stack).into_iter().flat_map(|name| stack.files(&name));
        files.into_iter().any(|name| name.ends_with("zeros"))
    };
    let mut child = begun(&stack, &["restore", "codex-api", "--to", "../back"], &sign);
    send(&child, Signal::TERM);
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(3), "{status}");
    assert!(!stack.path("back").exists() && hidden(&stack).is_empty());
}

/// Kills a run at each of the moments; `check` looks at what it left. Returns how many were killed while they ran.
fn kills(
    stack: &Stack,
    args: &[&str],
    sign: &dyn Fn(&Stack) -> bool,
    mut check: impl FnMut(&Stack, bool),
) -> usize {
    let mut hits = 0;
    for moment in MOMENTS {
        let mut child = begun(stack, args, sign);
        sleep(Duration::from_millis(moment));
        send(&child, Signal::KILL);
        let killed = child.wait().expect("ends").signal() == Some(9);
        hits += usize::from(killed);
        check(stack, killed);
    }
    hits
}

/// The catalogue holds what is whole, and nothing else.
fn only_whole_ones(stack: &Stack) {
    let status = stack.run_with(&[KEY], &["status", "--json"]).ok().json();
    let whole = stack.files("drive").iter().filter(|name| name.ends_with(".sha256")).count();
    assert_eq!(status["data"][0]["count"], whole, "{status}");
    let checked = stack.run_with(&[KEY], &["verify", "--json"]).ok().json();
    assert_eq!(checked["checked"], whole, "{checked}");
}

#[test]
fn a_backup_that_is_killed_never_counts() {
    for destination in ["", "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n"] {
        let stack = large(destination, 30);
        let hits = kills(&stack, &["backup"], &archive_begun, |stack, killed| {
            only_whole_ones(stack);
            if killed {
                stack.sh("drive", "rm -rf 2026/03-10");
            }
        });
        assert!(hits >= 2, "only {hits} of {} were killed at work", MOMENTS.len());
        // What a kill left is in nobody's way: the same second has it as a neighbour.
        let child = begun(&stack, &["backup"], &archive_begun);
        send(&child, Signal::KILL);
        child.wait_with_output().expect("ends");
        stack.run_with(&[KEY], &["backup"]).ok();
        only_whole_ones(&stack);
        let args = ["restore", "codex-api", "--to", "../back"];
        stack.run_with(&[KEY], &args).ok();
        stack.sh("repo", "diff -r .codex-api ../back/.codex-api");
    }
}

#[test]
fn a_snapshot_that_is_killed_is_made_anew() {
    let stack = large_repository();
    let mut bytes = None;
    let hits = kills(&stack, &["snapshot"], &bundle_begun, |stack, _| {
        let status = stack.run(&["status", "--json"]).json();
        let locks = stack.files("repo/releases").iter().filter(|name| name.ends_with(".lock.json")).count();
        assert_eq!(status["releases"].as_array().map(Vec::len), Some(locks), "{status}");
        stack.run(&["verify"]).ok();
        stack.run(&["snapshot"]).ok();
        stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
        let made = fs::read(stack.one("repo/releases", ".tar.gz")).expect("reads");
        assert!(bytes.get_or_insert_with(|| made.clone()) == &made, "the same bytes each time");
        stack.sh("repo", "rm -r releases");
    });
    assert!(hits >= 2, "only {hits} of {} were killed at work", MOMENTS.len());
}

#[test]
fn a_restore_that_is_killed_leaves_no_visible_target() {
    let stack = large("", 40);
    stack.run(&["backup"]).ok();
    let args = ["restore", "codex-api", "--to", "../back"];
    let hits = kills(&stack, &args, &restore_begun, |stack, killed| {
        // Its one rename may be done before the kill: then all of it is there.
        if !killed || stack.path("back").exists() {
            stack.sh("repo", "diff -r .codex-api ../back/.codex-api; rm -r ../back");
        }
        stack.run(&["verify"]).ok();
    });
    assert!(hits >= 2, "only {hits} of {} were killed at work", MOMENTS.len());
    // What earlier ones have left would pass for the begin of this one.
    stack.sh(".", "rm -rf .recovery-restore-*");
    let child = begun(&stack, &args, &restore_begun);
    send(&child, Signal::KILL);
    child.wait_with_output().expect("ends");
    assert!(!hidden(&stack).is_empty(), "a kill leaves what it finds");
    stack.run(&args).ok().says(&["killed restores had left", "is removed"]);
    assert_eq!(hidden(&stack), [""; 0]);
    stack.sh("repo", "diff -r .codex-api ../back/.codex-api");
}

/// What restores and gpg of killed runs have left goes with the next run; what a run holds, is young, or is not ours stays.
#[test]
fn what_killed_runs_left_goes_with_the_next_and_nothing_else() {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    let made = |names: &[&str], held: bool| {
        for name in names {
            stack.file(&format!("{name}/tree/secret"), "in the clear");
            if held {
                stack.file(&format!("{name}/.held"), "");
            }
        }
    };
    let (gone, old) =
        ([".recovery-restore-1", "recovery-gnupg-1"], [".recovery-restore-2", "recovery-gnupg-2"]);
    // What holds something and has no lock, nobody knows whether it is in use, however old it is.
    let stay = [
        ".recovery-restore-3",
        "recovery-gnupg-3",
        ".back.partial-1",
        "gnupg-4",
        ".recovery-restore-held",
        ".recovery-restore-5",
        "recovery-gnupg-5",
    ];
    made(&gone, true);
    old.iter().for_each(|name| fs::create_dir(stack.path(name)).expect("makes"));
    made(&stay, false);
    stack.file(".recovery-restore-held/.held", "");
    stack.sh(
        ".",
        "chmod 500 .recovery-restore-1/tree; touch -d '2 days ago' .recovery-restore-[25] recovery-gnupg-[25]",
    );
    let held = fs::File::open(stack.path(".recovery-restore-held/.held")).expect("opens");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locks");
    stack.run_with(&[KEY], &["backup"]).ok();
    let there = |names: &[&str]| names.iter().filter(|name| stack.path(name).exists()).count();
    assert_eq!((there(&gone), there(&old)), (1, 1), "gpg's are gone: {:?}", stack.files("."));
    let now = stack.sh(".", "date -u +%Y-%m-%dT%H:%M:%SZ");
    let args = ["restore", "codex-api", "--to", "../back", "--json"];
    let said = stack.run_with(&[KEY, ("RECOVERY_NOW", now.trim())], &args).ok();
    assert!(said.stdout.contains("2 hidden folders"), "{}", said.shown());
    assert_eq!((there(&gone), there(&old), there(&stay)), (0, 0, 7), "{:?}", stack.files("."));
    assert!(stack.listing("back/.codex-api") == stack.listing("repo/.codex-api"));
}

#[test]
fn a_prune_that_is_killed_loses_no_backup_that_was_to_stay() {
    let stack = Stack::new();
    stack.configure("keep = 2\n");
    for day in 1..=9 {
        for hour in [6, 12, 18] {
            stack.run_at(&format!("2026-03-0{day}T{hour:02}:00:00Z"), &["backup"]).ok();
        }
    }
    let marker = |stack: &Stack| stack.files("drive").iter().filter(|name| name.ends_with(".sha256")).count();
    let mut hits = 0;
    for moment in MOMENTS {
        let all = marker(&stack);
        let mut child = begun(&stack, &["prune"], &|stack| marker(stack) < all);
        sleep(Duration::from_millis(moment / 20));
        send(&child, Signal::KILL);
        hits += usize::from(child.wait().expect("ends").signal() == Some(9));
        only_whole_ones(&stack);
        for day in ["2026/03-09/codex-api-2026-03-09T120000Z", "2026/03-09/codex-api-2026-03-09T180000Z"] {
            assert!(stack.path("drive").join(format!("{day}.tar.gz.sha256")).exists(), "{day}");
        }
        stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
        stack.sh(".", "rm -r back");
    }
    assert!(hits >= 1, "none of {} was killed at work", MOMENTS.len());
    stack.run_at(LATER, &["prune"]).ok();
    assert_eq!(stack.files("drive").len(), 6, "two whole backups: {:?}", stack.files("drive"));
    stack.run(&["verify"]).ok();
}
