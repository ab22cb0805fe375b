//! The only room that starts a process.
//!
//! A call is argv, never a shell string (except the user's own commands in [`shell`]); no secret stands in
//! argv, and no passphrase in a child's environment (`gh` alone sees its tokens); output is captured, and a failure
//! carries its last lines. Every program runs in a
//! process group of its own; one-shot calls have a deadline, and a stream that stands still is ended (`idle`).
pub mod cargo;
pub mod curl;
pub mod docker;
pub mod gh;
pub mod git;
pub mod gpg;
mod idle;
pub mod mountpoint;
pub mod openpgp;
pub mod private;
mod process;
pub mod rsync;
pub mod shell;
pub mod signature;
pub mod sqlite;
pub mod ssh;

use crate::error::{Error, Result};
pub use process::OnInterrupt;
use rustix::process::Signal;
use std::process::Output;
use std::time::Duration;

/// A program that some plans need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Reads a repository.
    Git,
    /// Stages a working tree, and copies to other machines.
    Rsync,
    /// Encrypts and decrypts.
    Gpg,
    /// Says whether a folder is a mount point.
    Mountpoint,
    /// Copies live databases.
    Sqlite3,
    /// Reaches another machine.
    Ssh,
    /// Publishes, and downloads what was published.
    Gh,
    /// Tells a check that a run went well, or not.
    Curl,
    /// Names images, and starts services on them.
    Docker,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Git,
        Self::Rsync,
        Self::Gpg,
        Self::Mountpoint,
        Self::Sqlite3,
        Self::Ssh,
        Self::Gh,
        Self::Curl,
        Self::Docker,
    ];

    /// Its command.
    pub fn command(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Rsync => "rsync",
            Self::Gpg => "gpg",
            Self::Mountpoint => "mountpoint",
            Self::Sqlite3 => "sqlite3",
            Self::Ssh => "ssh",
            Self::Gh => "gh",
            Self::Curl => "curl",
            Self::Docker => "docker",
        }
    }

    /// The Debian package that brings it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Rsync => "rsync",
            Self::Gpg => "gnupg",
            Self::Mountpoint => "util-linux",
            Self::Sqlite3 => "sqlite3",
            Self::Ssh => "openssh-client",
            Self::Gh => "gh",
            Self::Curl => "curl",
            Self::Docker => "docker.io",
        }
    }

    /// The Homebrew formula that brings it.
    fn formula(self) -> &'static str {
        match self {
            Self::Sqlite3 => "sqlite",
            Self::Ssh => "openssh",
            Self::Docker => "docker",
            _ => self.package(),
        }
    }
}

/// Whether every tool of a plan is installed; all that are not are named at once.
///
/// # Errors
/// [`Error::MissingTools`].
pub fn preflight(needs: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> =
        needs.iter().copied().filter(|tool| which::which(tool.command()).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let listed =
        |name: fn(Tool) -> &'static str| missing.iter().map(|tool| name(*tool)).collect::<Vec<_>>().join(" ");
    let them = if missing.len() == 1 { "it" } else { "them" };
    Err(Error::MissingTools {
        tools: missing.iter().map(|tool| tool.command().to_owned()).collect(),
        next: format!(
            "install {them}: `apt-get install {}`, or `brew install {}`",
            listed(Tool::package),
            listed(Tool::formula)
        ),
    })
}

/// What a tool says of its version: the first line.
///
/// # Errors
/// [`Error::MissingTools`]; when it does not answer, or fails.
pub fn version(tool: Tool) -> Result<String> {
    preflight(&[tool])?;
    let (shell, name) = (shell_in(std::path::Path::new("/"))?, tool.command());
    let flag = if tool == Tool::Ssh { "-V" } else { "--version" };
    let command = process::expression(xshell::cmd!(shell, "{name} {flag}"));
    let text = format!("{name} {flag}");
    let Some(output) = finish(command, &text, ANSWER)? else {
        return Err(failed(&text, &format!("no answer in {} s", ANSWER.as_secs()), ""));
    };
    // ssh says it on standard error.
    let said = [checked(&text, output.clone())?, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

/// How long a tool may take to say its version.
const ANSWER: Duration = Duration::from_secs(15);

/// A shell for one-shot calls in `folder`, quiet, with the C locale.
#[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
fn shell_in(folder: &std::path::Path) -> Result<xshell::Shell> {
    let shell =
        xshell::Shell::new().map_err(|error| failed("xshell", "no working folder", &error.to_string()))?;
    shell.change_dir(folder);
    shell.set_var("LC_ALL", "C");
    Ok(shell)
}

/// No one-shot call takes longer: a copy of a large database, a tree that rsync stages.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Standard output of a call that must succeed.
fn output_of(command: xshell::Cmd<'_>) -> Result<Vec<u8>> {
    output_with(command, Vec::new())
}

/// [`output_of`] with `input` as its standard input.
fn output_with(command: xshell::Cmd<'_>, input: Vec<u8>) -> Result<Vec<u8>> {
    let text = command.to_string();
    match finish(process::expression(command).stdin_bytes(input), &text, DEADLINE)? {
        Some(output) => checked(&text, output),
        None => Err(failed(&text, &format!("no answer in {} s", DEADLINE.as_secs()), "")),
    }
}

/// What came of a call, whatever its exit status; `None` when it was ended at the deadline.
fn finish(expression: duct::Expression, text: &str, deadline: Duration) -> Result<Option<Output>> {
    finish_for(expression, text, deadline, OnInterrupt::End)
}

/// The same, for one that may have its time even when this run is interrupted.
fn finish_for(
    expression: duct::Expression,
    text: &str,
    deadline: Duration,
    on_interrupt: OnInterrupt,
) -> Result<Option<Output>> {
    let lost = |error: std::io::Error| failed(text, "was lost", &error.to_string());
    let child = process::grouped(&expression.stdout_capture().stderr_capture().unchecked())
        .start()
        .map_err(|error| not_started(text, &error))?;
    let pids = child.pids();
    let ended = || {
        // Whoever a program has left running in its group would hold its streams open.
        if pids.iter().all(|pid| process::has_ended(*pid)) {
            process::signal(&pids, Signal::KILL);
        }
        Ok(child.try_wait()?.is_some())
    };
    let ending = process::wait(&pids, deadline, on_interrupt, ended, lost);
    process::signal(&pids, Signal::KILL);
    match ending? {
        process::Ending::Ended => child.into_output().map(Some).map_err(lost),
        process::Ending::Timeout => Ok(None),
    }
}

fn checked(text: &str, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(text, &output.status.to_string(), &String::from_utf8_lossy(&output.stderr)))
}

/// What a program that did not start calls for: to be installed, if that is why.
fn not_started(text: &str, error: &std::io::Error) -> Error {
    let program = text.split(' ').next().unwrap_or_default();
    let tool = Tool::ALL.into_iter().find(|tool| tool.command() == program);
    match tool.map(|tool| preflight(&[tool])) {
        Some(Err(missing)) if error.kind() == std::io::ErrorKind::NotFound => missing,
        _ => failed(text, "did not start", &error.to_string()),
    }
}

/// An [`Error::Tool`] with the last lines of what the tool said.
fn failed(tool: &str, status: &str, stderr: &str) -> Error {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("; ");
    Error::Tool { tool: tool.into(), status: status.into(), stderr: tail, next: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_is_told_its_own_names() {
        let names = |tool: Tool| (tool.package(), tool.formula());
        assert_eq!(names(Tool::Ssh), ("openssh-client", "openssh"));
        assert_eq!(names(Tool::Docker), ("docker.io", "docker"));
        assert_eq!(names(Tool::Rsync), ("rsync", "rsync"));
    }

    #[test]
    fn a_failure_carries_the_last_lines() {
        let shell = shell_in(std::path::Path::new("/")).expect("a shell");
        let error =
            output_of(xshell::cmd!(shell, "git rev-parse --no-such-thing /nowhere")).expect_err("fails");
        assert!(matches!(&error, Error::Tool { tool, .. } if tool.starts_with("git rev-parse")), "{error}");
    }

    #[test]
    fn a_call_that_hangs_is_ended_and_input_reaches_it() {
        let shell = shell_in(std::path::Path::new("/")).expect("a shell");
        let hangs = process::expression(xshell::cmd!(shell, "sleep 60"));
        assert!(finish(hangs, "sleep", Duration::from_millis(100)).expect("waits").is_none());
        let echoed = output_with(xshell::cmd!(shell, "cat"), b"input".to_vec()).expect("runs");
        assert_eq!(echoed, b"input");
    }
}
