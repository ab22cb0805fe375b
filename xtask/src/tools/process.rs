//! Runs a program to its end: in a process group of its own, with a deadline, and never beyond this run's own end.
//!
//! A terminal's Ctrl-C reaches only us, and we end the group: TERM, then KILL. So a tool cannot die under a run that is
//! about to clean up, and nothing that a tool has started outlives it.
use crate::error::{Error, Result};
use crate::interrupt::interrupted;
use duct::Expression;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at a program that runs: short at first, since most calls take milliseconds.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// How long the pauses are short.
const AT_FIRST: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself.
    Ended,
    /// It did not, in its time.
    Timeout,
}

/// Whether a program is ended when this run is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// With the run.
    End,
    /// It has its time all the same: it puts back what an earlier one has changed.
    GoOn,
}

/// In a process group of its own.
pub(super) fn grouped(expression: &Expression) -> Expression {
    expression.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    })
}

/// What a tool may see of our environment. Everything else stays here: whatever variable a passphrase is in, no child has
/// it.
const HANDED_ON: [&str; 17] = [
    "CARGO_HOME",
    "DYLD_LIBRARY_PATH",
    "GIT_CEILING_DIRECTORIES",
    "GNUPGHOME",
    "GPG_TTY",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSH_AUTH_SOCK",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
];
/// The same for whole families.
const FAMILIES: [&str; 3] = ["LC_", "XDG_", "GIT_CONFIG"];

/// The environment of a tool.
#[expect(clippy::disallowed_methods, reason = "what is on the list is handed on; no setting is read")]
pub(super) fn environment() -> BTreeMap<OsString, OsString> {
    let handed_on = |name: &OsStr| {
        let name = name.to_string_lossy();
        HANDED_ON.contains(&&*name) || FAMILIES.iter().any(|family| name.starts_with(family))
    };
    std::env::vars_os().filter(|(name, _)| handed_on(name)).collect()
}

/// What one tool alone may see besides, of our environment.
#[expect(clippy::disallowed_methods, reason = "what is named is handed on; no setting is read")]
pub(super) fn besides(names: &[&str]) -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| names.contains(&&*name.to_string_lossy())).collect()
}

/// All of our environment but these variables: for the one tool whose files may ask for any.
#[expect(clippy::disallowed_methods, reason = "what is not hidden is handed on; no setting is read")]
pub(super) fn all_but(hidden: &[String]) -> Vec<(OsString, OsString)> {
    let shown = |name: &OsStr| !hidden.iter().any(|hidden| *hidden == name.to_string_lossy());
    std::env::vars_os().filter(|(name, _)| shown(name)).collect()
}

/// An xshell command for duct, which can wait with a deadline.
pub(super) fn expression(command: xshell::Cmd<'_>) -> Expression {
    from_command(&command.into())
}

/// The same for any command.
#[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
pub(super) fn from_command(command: &Command) -> Expression {
    let mut environment = environment();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => environment.insert(name.to_owned(), value.to_owned()),
            None => environment.remove(name),
        };
    }
    let expression = duct::cmd(command.get_program(), command.get_args()).full_env(environment);
    match command.get_current_dir() {
        Some(folder) => expression.dir(folder),
        None => expression,
    }
}

/// Waits until `ended` says so; ends the groups of `pids` at the deadline, or when this run is interrupted if that is to
/// end them.
///
/// # Errors
/// [`Error::Interrupted`]; and `Io` of `ended`, mapped by `lost`.
#[expect(clippy::disallowed_methods, reason = "keeps a deadline; not a date")]
pub(super) fn wait(
    pids: &[u32],
    deadline: Duration,
    on_interrupt: OnInterrupt,
    mut ended: impl FnMut() -> io::Result<bool>,
    lost: impl Fn(io::Error) -> Error,
) -> Result<Ending> {
    let begin = Instant::now();
    while !ended().map_err(&lost)? {
        let ending = match on_interrupt == OnInterrupt::End && interrupted() {
            true => Some(Err(Error::Interrupted)),
            false => (begin.elapsed() > deadline).then_some(Ok(Ending::Timeout)),
        };
        if let Some(ending) = ending {
            signal(pids, Signal::TERM);
            let asked = Instant::now();
            while asked.elapsed() < GRACE && !ended().unwrap_or(true) {
                std::thread::sleep(PAUSES[1]);
            }
            signal(pids, Signal::KILL);
            return ending;
        }
        std::thread::sleep(PAUSES[usize::from(begin.elapsed() > AT_FIRST)]);
    }
    Ok(Ending::Ended)
}

/// Whether a child has ended, reaped or not.
pub(super) fn has_ended(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Ok(ended) => ended.is_some(),
        Err(error) => error == rustix::io::Errno::CHILD,
    }
}

/// Sends a signal to every process of the groups.
pub(super) fn signal(pids: &[u32], signal: Signal) {
    for group in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        let _ = kill_process_group(group, signal);
    }
}
