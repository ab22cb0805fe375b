//! ssh: a script on another machine.
//!
//! It never asks: neither for a password nor whether a new host is the right one. A line that goes dead is given up
//! after a minute. What is run there is a POSIX shell script of ours, with every path quoted.
use super::{failed, finish, process, shell_in};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xshell::cmd;

/// No call takes longer: the far side reads a whole archive to tell its digest.
pub(super) const DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// The exit status of ssh itself when it could not reach the other machine.
const UNREACHED: i32 = 255;

/// Another machine, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `[user@]machine`, as ssh takes it.
    pub name: String,
    /// ssh and its own arguments, such as a port, a key or a configuration file.
    pub ssh: Vec<String>,
}

impl Host {
    /// ssh with all its options, as argv.
    fn argv(&self) -> Vec<String> {
        let options =
            ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=4"];
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option.to_owned()]);
        self.ssh.iter().cloned().chain(options).collect()
    }

    /// The same as the one line that `rsync --rsh` takes, which it splits at blanks and quotes.
    pub(super) fn remote_shell(&self) -> String {
        self.argv().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// Runs `script` with `sh` over there and returns its standard output.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the machine does not answer; [`Error::Tool`] when the script fails.
    pub fn run(&self, script: &str, input: &[u8]) -> Result<Vec<u8>> {
        let shell = shell_in(Path::new("/"))?;
        let argv = self.argv();
        let (program, options) = argv.split_first().map_or(("ssh", &[][..]), |(first, rest)| (first, rest));
        let (name, line) = (&self.name, format!("sh -c {}", quoted(script)));
        let call = process::expression(cmd!(shell, "{program} {options...} -- {name} {line}"));
        let text = format!("ssh {name}");
        let Some(output) = finish(call.stdin_bytes(input), &text, DEADLINE)? else {
            return Err(failed(&text, &format!("no answer in {} s", DEADLINE.as_secs()), ""));
        };
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            Some(UNREACHED) => Err(self.unreachable(&said)),
            _ => Err(failed(&text, &output.status.to_string(), &said)),
        }
    }

    pub(super) fn unreachable(&self, said: &str) -> Error {
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no answer");
        Error::Unreachable { path: PathBuf::from(&self.name), what: last.to_owned() }
    }
}

/// A word for a POSIX shell, whatever stands in it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        let shell = shell_in(Path::new("/")).expect("a shell");
        for word in ["", "a b", "it's", "$HOME `id` \"x\" \\", "-n", "ä\n*"] {
            let line = format!("printf %s {}", quoted(word));
            let output = super::super::output_of(cmd!(shell, "sh -c {line}")).expect("runs");
            assert_eq!(String::from_utf8_lossy(&output), word);
        }
    }

    /// `ssh` by another name: what it is told, and what its exit status means.
    #[test]
    fn what_ssh_says_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let ssh = folder.path().join("ssh");
        let fake = |end: &str| {
            let text = format!("#!/bin/sh\nfor last; do :; done\n{end}\n");
            std::fs::write(&ssh, text).expect("writes");
            std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("sets the mode");
            Host { name: "u@far".into(), ssh: vec!["sh".into(), ssh.display().to_string(), "-p 2".into()] }
        };
        let echo = fake("sh -c \"$last\"; echo \"$3\"").run("cat; echo 'a  b'", b"in ").expect("runs");
        assert_eq!(String::from_utf8_lossy(&echo), "in a  b\nBatchMode=yes\n");
        let away = fake("echo 'no route' >&2; exit 255").run("true", b"").expect_err("is away");
        assert!(matches!(&away, Error::Unreachable { what, .. } if what == "no route"), "{away}");
        assert!(matches!(fake("exit 4").run("true", b""), Err(Error::Tool { .. })));
    }
}
