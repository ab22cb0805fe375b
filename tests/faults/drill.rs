//! A full drill that is killed, told to stop, or has a full disk beneath it: `recover` brings the live data back byte for
//! byte, and the service answers with it, always.
use super::{Dice, LATER, count, size};
use crate::full::service::{asides, is_closed, is_live, stack};
use crate::support::Stack;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const DRILL: [&str; 3] = ["restore-drill", "full", "--yes"];

/// What other verbs say of a drill that did not come to its end, and what brings it to one.
fn recovered(stack: &Stack, live: &str) {
    if !is_closed(stack) {
        let journal = std::fs::read_to_string(stack.path("repo/.recovery/drill.json")).expect("reads");
        let journal: serde_json::Value = serde_json::from_str(&journal).expect("a journal");
        // Where only its evidence is missing, nothing has to wait for it.
        if journal["phase"] != "kept" {
            stack.run(&["backup"]).exits(3).says(&["did not come to its end", "restore-drill recover"]);
            stack.run(&["prune"]).exits(3).says(&["restore-drill recover"]);
            stack.run(&["restore-drill"]).exits(3).says(&["restore-drill recover"]);
        }
        stack.run(&["status"]).exits(1).says(&["restore-drill recover"]);
        stack.run_at(LATER, &["restore-drill", "recover"]).ok();
    }
    assert!(is_closed(stack));
    is_live(stack, live);
    let status = stack.run_at(LATER, &["status"]);
    assert!(!status.shown().contains("nothing here remembers"), "{}", status.shown());
}

/// A stack whose drill takes all its ways: the live folder goes back at its end, since a cache is in no backup.
fn ready(more: &str) -> Stack {
    let stack = stack(more, false);
    let text = std::fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("key-files", "exclude = [\"cache/\"]\nkey-files"));
    stack.file("repo/.codex-api/cache/one", "in no backup");
    stack.sh(".", "mkdir -p deployed; echo before > deployed/server.js");
    stack
}

/// Removes what drills have left aside, and their evidence: a hundred drills leave much.
fn forget(stack: &Stack) {
    let folders = "find . $(readlink -f repo/.codex-api)/.. -maxdepth 3 -name '.recovery-full-*'";
    stack.sh(
        ".",
        &format!("{folders} -exec rm -rf {{}} +; rm -rf repo/docs/drills repo/.recovery/history.jsonl"),
    );
}

fn killed(stack: &Stack, live: &str, name: &str, wanted: usize) {
    let mut dice = Dice::named(name);
    let begin = Instant::now();
    stack.run(&DRILL).ok();
    let mut span = begin.elapsed();
    let (mut hits, mut instants) = (0, 0);
    while hits < wanted {
        assert!(instants < 4 * wanted, "only {hits} of {instants} kills hit a drill");
        instants += 1;
        let mut child = stack.grouped(&DRILL).spawn().expect("starts");
        sleep(span * dice.below(1000) as u32 / 1000);
        child.kill().expect("kills");
        let hit = child.wait().expect("ends").signal() == Some(9);
        span = if hit { span * 101 / 100 } else { span * 9 / 10 };
        hits += usize::from(hit);
        count("instants", 1);
        count("kills", usize::from(hit));
        // What the drill had started may still be at it for a moment, like a `docker stop` that goes on by itself.
        recovered(stack, live);
        forget(stack);
        count("survived", 1);
    }
    stack.run_at(LATER, &DRILL).ok();
    is_live(stack, live);
}

#[test]
fn a_killed_full_drill_is_brought_back() {
    let stack = ready("");
    let live = stack.listing("repo/.codex-api");
    killed(&stack, &live, "full drill", size(4, 70));
}

/// The live data lies aside on another file system, in a copy; the original is gone for a while. Memory may not be where it
/// lies aside, so the live data is in memory here.
#[test]
fn a_killed_full_drill_across_file_systems_is_brought_back() {
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let (stack, live) = apart(memory.path());
    killed(&stack, &live, "full drill, apart", size(3, 40));
}

/// A stack whose live data is a folder in memory, and lies aside on the disk.
fn apart(memory: &Path) -> (Stack, String) {
    let stack = ready("");
    let data = memory.join("data");
    let (from, to) = (stack.path("repo/.codex-api").display().to_string(), data.display().to_string());
    stack.sh(
        ".",
        &format!("sh service/stop.sh run; cp -a {from} {to}; rm -r {from}; ln -s {to} {from}; mkdir aside"),
    );
    let text = std::fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let aside = format!("aside-dir = \"{}\"\nstop =", stack.path("aside").display());
    stack.file(
        "repo/recovery.toml",
        &text.replace("\".codex-api\"", &format!("\"{to}\"")).replace("stop =", &aside),
    );
    crate::full::service::start(&stack);
    let live = stack.listing("repo/.codex-api/.");
    (stack, live)
}

/// Recovery may be killed as well.
#[test]
fn a_recovery_that_is_killed_is_begun_again() {
    let mut dice = Dice::named("recover");
    let stack = ready("");
    let live = stack.listing("repo/.codex-api");
    stack.run(&DRILL).ok();
    for _ in 0..size(3, 20) {
        // Killed while the service is checked: everything is in its place, and the live data is not.
        let mark = stack.path("smoked").display().to_string();
        let text = std::fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
        let slow = text.replacen("smoke = [", &format!("smoke = [\"touch {mark}; sleep 30\", "), 1);
        stack.file("repo/recovery.toml", &slow);
        let mut child = stack.grouped(&DRILL).spawn().expect("starts");
        while !stack.path("smoked").exists() {
            sleep(Duration::from_millis(5));
            assert!(child.try_wait().expect("waits").is_none(), "the drill ended before its smoke test");
        }
        child.kill().expect("kills");
        child.wait().expect("ends");
        stack.file("repo/recovery.toml", &text);
        stack.sh(".", "rm -f smoked");
        let mut recovery = stack.grouped(&["restore-drill", "recover"]).spawn().expect("starts");
        sleep(Duration::from_millis(dice.below(500) as u64));
        recovery.kill().expect("kills");
        let hit = recovery.wait().expect("ends").signal() == Some(9);
        count("instants", 1);
        count("kills", usize::from(hit));
        recovered(&stack, &live);
        forget(&stack);
        count("survived", 1);
    }
}

/// Who tells a drill to stop gets the service back, without `recover`.
#[test]
fn a_drill_that_is_told_to_stop_brings_everything_back() {
    let mut dice = Dice::named("full drill, told to stop");
    let stack = ready("");
    let live = stack.listing("repo/.codex-api");
    let begin = Instant::now();
    stack.run(&DRILL).ok();
    let span = begin.elapsed();
    for _ in 0..size(3, 20) {
        let mut child = stack.grouped(&DRILL).stderr(Stdio::piped()).spawn().expect("starts");
        // From when it listens to signals.
        sleep(Duration::from_millis(50) + span * dice.below(1000) as u32 / 1000);
        let pid = Pid::from_raw(child.id() as i32).expect("a process");
        let _ = kill_process(pid, Signal::TERM);
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("reads");
        let status = child.wait().expect("ends");
        assert!(status.code().is_some(), "it was ended, and did not end: {status}");
        assert!(!said.contains("what this run had written is removed"), "something lies aside: {said}");
        assert!(is_closed(&stack), "it left its journal");
        is_live(&stack, &live);
        count("instants", 1);
        count("survived", 1);
    }
    assert!(asides(&stack).len() > 1);
}

/// Writes, flushes, renames and new folders of a full drill fail, one in each run, drawn from all of its main thread.
#[test]
fn a_full_drill_in_which_a_call_fails_is_brought_back() {
    let stack = ready("");
    let live = stack.listing("repo/.codex-api");
    stack.run(&DRILL).ok();
    let mut dice = Dice::named("full drill, calls");
    // Each run a minute after the one before it: where each of them makes a backup, one clock that stands still would soon
    // give them names of the future.
    let mut clock = (0..).map(|run| format!("2026-03-10T{:02}:{:02}:00Z", 12 + run / 60, run % 60));
    let mut next = || clock.next().expect("a minute");
    let faults =
        [("renameat2", "EIO"), ("fsync", "EIO"), ("write", "ENOSPC"), ("mkdir", "ENOSPC"), ("syncfs", "EIO")];
    for (call, error) in faults {
        let calls = traced(&stack, &DRILL, &next(), call, &[]);
        let said = std::fs::read_to_string(stack.path("trace.said")).expect("reads");
        assert!(calls > 0, "a drill makes no {call}: {said}");
        let mut hits = 0;
        for number in dice.some((1..=calls).collect(), size(3, 25)) {
            let inject = format!("inject={call}:error={error}:when={number}");
            let hit = traced(&stack, &DRILL, &next(), call, &["-e".to_owned(), inject]);
            hits += hit;
            count("faults", hit);
            recovered(&stack, &live);
            if hits >= size(1, usize::MAX) {
                break;
            }
        }
        assert!(hits > 0, "no {call} was hit");
    }
}

/// A drill under `strace`, its main thread alone: the service lives longer. Returns how many such calls were made, or with
/// `inject` how many were hit.
pub(super) fn traced(stack: &Stack, drill: &[&str], now: &str, call: &str, inject: &[String]) -> usize {
    let plain = stack.command(drill);
    let log = stack.path("trace.log");
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", "signal=none", "-e", &format!("trace={call}"), "-o"]).arg(&log);
    command.args(inject);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(stack.path("repo"));
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("RECOVERY_NOW", now);
    let said = std::fs::File::create(stack.path("trace.said")).expect("creates");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    command.status().expect("starts");
    let log = std::fs::read_to_string(log).expect("reads");
    if inject.is_empty() { log.lines().count() } else { log.matches("(INJECTED").count() }
}

/// The disk fills while the service is stopped: there is no room for what is restored.
#[test]
fn a_full_drill_on_a_full_disk_is_brought_back() {
    let stack = stack("", false);
    let home = stack.path("").display().to_string();
    let text = std::fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let text = text
        .replace("\".codex-api\"", &format!("\"{home}small/data\""))
        .replace(&format!("{home}repo/.codex-api"), &format!("{home}small/data"));
    let fill = format!("stop = \"dd if=/dev/zero of={home}small/fill bs=64k 2>&1; ");
    stack.file("repo/recovery.toml", &text.replacen("stop = \"", &fill, 1));
    stack
        .sh(".", "head -c 4000000 /dev/urandom > repo/.codex-api/large; mkdir small; sh service/stop.sh run");
    let look = "(cd small/data && find . -printf '%P %y %m %T@ %l\\n' | sort; find small/data -type f -print0 | sort -z | xargs -0 sha256sum)";
    let drill = format!(
        "'{}' -C repo restore-drill full --yes --json --no-fresh-backup",
        env!("CARGO_BIN_EXE_xtask")
    );
    let backup = format!("'{}' -C repo backup -q", env!("CARGO_BIN_EXE_xtask"));
    let script = format!(
        "cd '{home}'; mount -t tmpfs -o size=16m none small; cp -a repo/.codex-api small/data; {look} > before
         sh service/start.sh run {home}small/data </dev/null >/dev/null 2>&1; {backup}
         {drill} > said || echo $? > code
         {look} > after; python3 service/ask.py run > answer; sh service/stop.sh run; ls -A small > left"
    );
    stack.sh(".", &format!("unshare --mount --map-root-user bash -euc \"$(cat <<'END'\n{script}\nEND\n)\""));
    let read = |name: &str| std::fs::read_to_string(stack.path(name)).expect("reads");
    assert_eq!(read("before"), read("after"), "{}", read("said"));
    assert!(read("said").contains("No space left") && read("code").trim() == "1", "{}", read("said"));
    assert!(read("answer").contains("large "), "{}", read("answer"));
    assert!(is_closed(&stack) && !read("left").contains("recovery-full"), "{}", read("left"));
}
