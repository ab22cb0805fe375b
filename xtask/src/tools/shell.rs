//! The user's own commands: release checks of a drill, what stands before and after a backup. Each has a deadline and a
//! process group of its own.
use super::OnInterrupt;
use super::failed;
use super::process::{Ending, grouped, signal, wait};
use crate::error::{Error, Result};
use duct::Expression;
use rustix::process::Signal;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of output that are kept, the last ones.
pub const TAIL: usize = 4096;
/// How long the output of what has ended is waited for: whoever still holds it has left the group.
const REST: Duration = Duration::from_secs(2);
/// Behind the output of a command that has left somebody running.
pub const LEFT_RUNNING: &str = "[something that it started has left its process group, and may still run]\n";

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0.
    Pass,
    /// Any other, in words.
    Fail(String),
    /// It did not end in time, and was stopped with all that it had started.
    Timeout,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct ShellRun {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// The end of what it printed.
    pub tail: String,
}

/// Runs `line` with `sh -c` in `cwd`, with `env` as its whole environment.
///
/// # Errors
/// When it does not start, or this run is interrupted.
pub fn run(line: &str, cwd: &Path, env: &[(String, String)], deadline: Duration) -> Result<ShellRun> {
    run_for(line, cwd, env, deadline, OnInterrupt::End)
}

/// The word that a line begins with, where the shell finds no program of that name. Nothing of the line is run; of one that
/// begins with anything but a plain word nothing is known.
pub fn missing<'a>(line: &'a str, cwd: &Path, env: &[(String, String)]) -> Option<&'a str> {
    let word = line.split_whitespace().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+-".contains(c);
    if word.starts_with('-') || !word.chars().all(plain) {
        return None;
    }
    let ran = run(&format!("command -v {word}"), cwd, env, Duration::from_secs(10)).ok()?;
    matches!(ran.outcome, Outcome::Fail(_)).then_some(word)
}

/// As [`run`], for one that has its time even if this run is interrupted.
///
/// # Errors
/// When it does not start.
pub fn run_in_any_case(
    line: &str,
    cwd: &Path,
    env: &[(String, String)],
    deadline: Duration,
) -> Result<ShellRun> {
    run_for(line, cwd, env, deadline, OnInterrupt::GoOn)
}

/// The same for one that starts a service: what it leaves running lives on, unless the line fails. All that it and the
/// service print goes to the file `log`, which nobody has to read for the service to go on.
///
/// # Errors
/// As [`run`]; `Io` when the file cannot be made.
#[expect(clippy::disallowed_methods, reason = "this is `tools/`; measures a duration, not a date")]
pub fn start(
    line: &str,
    cwd: &Path,
    env: &[(String, String)],
    deadline: Duration,
    log: &Path,
    on_interrupt: OnInterrupt,
) -> Result<ShellRun> {
    let begin = Instant::now();
    let lost = |error: std::io::Error| failed("sh -c", "was lost", &error.to_string());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(log);
    let file = file.map_err(Error::io("create", log))?;
    let command = sh(line, on_interrupt).dir(cwd).full_env(env.iter().cloned()).stdin_null();
    let child = grouped(&command.stderr_to_stdout().stdout_file(file).unchecked())
        .start()
        .map_err(|error| failed("sh -c", "did not start", &error.to_string()))?;
    let pids = child.pids();
    let ending = wait(&pids, deadline, on_interrupt, || Ok(child.try_wait()?.is_some()), lost);
    let outcome = match ending {
        Ok(Ending::Ended) => match child.try_wait().map_err(lost)? {
            Some(output) if output.status.success() => Outcome::Pass,
            Some(output) => Outcome::Fail(output.status.to_string()),
            None => Outcome::Fail("no exit status".into()),
        },
        Ok(Ending::Timeout) => Outcome::Timeout,
        Err(error) => {
            signal(&pids, Signal::KILL);
            return Err(error);
        }
    };
    if outcome != Outcome::Pass {
        signal(&pids, Signal::KILL);
    }
    let tail = File::open(log).map(tail_of).map_err(Error::io("open", log))?;
    Ok(ShellRun { outcome, seconds: begin.elapsed().as_secs_f64(), tail })
}

#[expect(clippy::disallowed_methods, reason = "this is `tools/`; measures a duration, not a date")]
fn run_for(
    line: &str,
    cwd: &Path,
    env: &[(String, String)],
    deadline: Duration,
    on_interrupt: OnInterrupt,
) -> Result<ShellRun> {
    let begin = Instant::now();
    let lost = |error: std::io::Error| failed("sh -c", "was lost", &error.to_string());
    let command = sh(line, on_interrupt).dir(cwd).full_env(env.iter().cloned());
    let child = grouped(&command.stdin_null().stderr_to_stdout().unchecked())
        .reader()
        .map_err(|error| failed("sh -c", "did not start", &error.to_string()))?;
    let pids = child.pids();
    let child = Arc::new(child);
    let output = Arc::clone(&child);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (keeps, (done, ended)) = (Arc::clone(&kept), std::sync::mpsc::channel::<()>());
    // Not joined: a daemon would hold its output, and with it the run.
    std::thread::spawn(move || {
        read_tail(&*output, &keeps);
        drop(done);
    });
    let ending = wait(&pids, deadline, on_interrupt, || Ok(child.try_wait()?.is_some()), lost);
    // Whatever it left running in its group would hold the pipe, and outlive the run.
    signal(&pids, Signal::KILL);
    let left_running = ended.recv_timeout(REST) == Err(RecvTimeoutError::Timeout);
    let mut tail = tail(&kept.lock().unwrap_or_else(PoisonError::into_inner));
    if left_running {
        tail.push_str(LEFT_RUNNING);
    }
    let outcome = match ending? {
        Ending::Timeout => Outcome::Timeout,
        Ending::Ended => match child.try_wait().map_err(lost)? {
            Some(output) if output.status.success() => Outcome::Pass,
            Some(output) => Outcome::Fail(output.status.to_string()),
            None => Outcome::Fail("no exit status".into()),
        },
    };
    Ok(ShellRun { outcome, seconds: begin.elapsed().as_secs_f64(), tail })
}

/// The shell for a line. One that ends when this run is interrupted gets TERM when this run is killed, where util-linux can
/// have the kernel send it: then it begins nothing more. What it has started gets no signal, unless the shell has become
/// that: by `exec`, or by itself for a line of one command, as bash does and dash does not.
#[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
fn sh(line: &str, on_interrupt: OnInterrupt) -> Expression {
    let guard = if on_interrupt == OnInterrupt::End { setpriv() } else { None };
    match guard {
        Some(setpriv) => {
            let line = [DEATH[0], DEATH[1], "sh", "-c", line];
            duct::cmd(setpriv, line)
        }
        None => duct::cmd("sh", ["-c", line]),
    }
}

/// What util-linux's setpriv(1) calls `PR_SET_PDEATHSIG` of prctl(2).
const DEATH: [&str; 2] = ["--pdeathsig", "TERM"];

/// setpriv, where it is there and knows that: busybox has another.
#[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let path = which::which("setpriv").ok()?;
        let works = duct::cmd(&path, [DEATH[0], DEATH[1], "true"]).stdin_null().stdout_null().stderr_null();
        works.unchecked().run().is_ok_and(|output| output.status.success()).then_some(path)
    };
    FOUND.get_or_init(find).as_deref()
}

/// Keeps the end of what is read, and reads all of it.
fn read_tail(mut stream: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 4 * TAIL {
            let over = kept.len() - TAIL;
            kept.drain(..over);
        }
    }
}

fn tail_of(stream: impl Read) -> String {
    let kept = Mutex::new(Vec::new());
    read_tail(stream, &kept);
    tail(&kept.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn tail(kept: &[u8]) -> String {
    let start = kept.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&kept[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str, deadline: u64) -> ShellRun {
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        run(line, Path::new("/"), &env, Duration::from_millis(deadline)).expect("starts")
    }

    #[test]
    fn outcomes_are_told_apart() {
        assert_eq!(sh("true", 10_000).outcome, Outcome::Pass);
        assert!(matches!(sh("exit 3", 10_000).outcome, Outcome::Fail(text) if text.contains('3')));
        assert_eq!(sh("sleep 60", 200).outcome, Outcome::Timeout);
        assert!(sh("echo to stderr >&2; echo end", 10_000).tail.ends_with("to stderr\nend\n"));
        assert_eq!(sh("env | grep -c HOME", 10_000).tail, "0\n");
        assert_eq!(sh("yes | head -c 1000000; echo end", 10_000).tail.len(), TAIL);
    }

    #[test]
    fn a_line_whose_program_is_not_there_is_known_without_running_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let known = |line| missing(line, folder.path(), &env);
        for line in [
            "cd x && y",
            "touch mark",
            "X=1 no-such",
            "(no-such)",
            "$(touch mark)",
            "if true; then :; fi",
            "",
        ] {
            assert_eq!(known(line), None, "{line}");
        }
        assert_eq!((known("no-such a b"), known("./no-such")), (Some("no-such"), Some("./no-such")));
        assert!(!folder.path().join("mark").exists(), "it was run");
    }

    #[test]
    fn nothing_that_was_started_outlives_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        for (line, mark) in [("(sleep 1; touch {}) & sleep 60", "a"), ("(sleep 1; touch {}) & true", "b")] {
            let mark = folder.path().join(mark);
            sh(&line.replace("{}", &mark.display().to_string()), 100);
            std::thread::sleep(Duration::from_millis(1500));
            assert!(!mark.exists(), "a grandchild of {line} lived on");
        }
    }

    /// A daemon holds the output open for as long as it likes; nobody waits for it.
    #[test]
    fn one_that_leaves_its_group_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let ran = sh(
            &format!(
                "setsid sh -c 'echo $$ > {0}; exec sleep 600' & until [ -s {0} ]; do :; done; echo up",
                pid.display()
            ),
            60_000,
        );
        assert_eq!((ran.outcome, ran.tail), (Outcome::Pass, format!("up\n{LEFT_RUNNING}")));
        let pid = std::fs::read_to_string(pid)
            .expect("reads")
            .trim()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process"), Signal::KILL).expect("still runs");
    }

    #[test]
    fn nothing_is_read_from_and_endless_output_is_drained() {
        assert_eq!(sh("cat; echo end", 60_000).tail, "end\n");
        let ran = sh("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end", 60_000);
        assert_eq!((ran.outcome, ran.tail.len()), (Outcome::Pass, TAIL));
        assert!(ran.tail.ends_with("x\nend\n"));
    }

    #[test]
    fn what_a_start_leaves_running_lives_on_unless_it_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        for (end, lives, mark) in [("true", true, "a"), ("false", false, "b")] {
            // What the first one leaves running may still write into its log.
            let (log, mark) = (folder.path().join(format!("log-{mark}")), folder.path().join(mark));
            let line = format!("echo begun; (sleep 1; touch {}; echo on) & {end}", mark.display());
            let ran = start(&line, folder.path(), &env, Duration::from_secs(10), &log, OnInterrupt::End);
            let ran = ran.expect("starts");
            assert_eq!((ran.outcome == Outcome::Pass, &*ran.tail), (lives, "begun\n"));
            let there = (0..50).any(|_| {
                std::thread::sleep(Duration::from_millis(100));
                mark.exists()
            });
            assert_eq!(there, lives, "{line}");
        }
    }

    #[test]
    fn one_that_does_not_listen_is_killed() {
        assert_eq!(sh("trap '' TERM; while :; do sleep 1; done", 100).outcome, Outcome::Timeout);
    }
}
