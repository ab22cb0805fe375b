//! The user's own commands: release checks of a drill, each with a deadline and a process group of its own.
use super::failed;
use crate::error::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of output that are kept, the last ones.
const TAIL: usize = 4096;
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);

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
#[expect(clippy::disallowed_methods, reason = "measures a duration and keeps a deadline; not a date")]
pub fn run(line: &str, cwd: &Path, env: &[(String, String)], deadline: Duration) -> Result<ShellRun> {
    let begin = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(cwd)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("sh -c", "did not start", &error.to_string()))?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || output.map(tail).unwrap_or_default());
    let status = loop {
        let ended = child.try_wait().map_err(|error| failed("sh -c", "was lost", &error.to_string()))?;
        if let Some(status) = ended {
            break Some(status);
        }
        if crate::interrupt::interrupted() {
            stop(&mut child);
            return Err(Error::Interrupted);
        }
        if begin.elapsed() > deadline {
            stop(&mut child);
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // Whatever it left running in its group would hold the pipe, and outlive the drill.
    signal(&child, Signal::KILL);
    let outcome = match status {
        None => Outcome::Timeout,
        Some(status) if status.success() => Outcome::Pass,
        Some(status) => Outcome::Fail(status.to_string()),
    };
    Ok(ShellRun { outcome, seconds: begin.elapsed().as_secs_f64(), tail: reader.join().unwrap_or_default() })
}

fn signal(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

#[expect(clippy::disallowed_methods, reason = "measures a duration")]
fn stop(child: &mut Child) {
    signal(child, Signal::TERM);
    let begin = Instant::now();
    while begin.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(child, Signal::KILL);
    let _ = child.wait();
}

fn tail(mut stream: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 4 * TAIL {
            kept.drain(..kept.len() - TAIL);
        }
    }
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
        assert!(sh("echo to stderr >&2; echo end", 10_000).tail.ends_with("end\n"));
        assert_eq!(sh("env | grep -c HOME", 10_000).tail, "0\n");
    }

    #[test]
    fn nothing_that_was_started_outlives_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark");
        sh(&format!("(sleep 1; touch {}) & sleep 60", mark.display()), 100);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!mark.exists(), "a grandchild lived on");
    }
}
