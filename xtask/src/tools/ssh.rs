//! ssh: a script on another machine.
//!
//! It never asks: neither for a password nor whether a new host is the right one. A line that goes dead is given up
//! after a minute, and so is a question without an answer. What is run there is a POSIX shell script of ours, with every
//! path quoted. Its answer begins behind a line of our own: a login shell may have printed something in front of it.
use super::process::{self, OnInterrupt};
use super::{Tool, failed, finish_for, preflight, shell_in};
use crate::error::{Error, Result};
use crate::words::{quoted, words};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xshell::cmd;

/// How long a question may take, and what tidies up.
const QUESTION: Duration = Duration::from_secs(60);
/// No call takes longer: the far side reads a whole archive to tell its digest.
pub(super) const DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// The exit status of ssh itself when it could not reach the other machine.
const UNREACHED: i32 = 255;
/// The line in front of what a script prints.
const MARK: &str = "recovery: the answer";

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

    /// The same for `rsync --rsh`.
    pub(super) fn remote_shell(&self) -> String {
        rsh(&self.argv())
    }

    /// Runs `script` with `sh` over there, however long it takes, and returns its standard output.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the machine does not answer; [`Error::Tool`] when the script fails.
    pub fn run(&self, script: &str, input: &[u8]) -> Result<Vec<u8>> {
        self.call(script, input, DEADLINE, OnInterrupt::End).map(|answer| answer.said)
    }

    /// The same for what is answered within a minute; what the login shell printed first is handed back too.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn ask(&self, script: &str) -> Result<Answer> {
        self.call(script, b"", QUESTION, OnInterrupt::End)
    }

    /// The same for what has its minute even when this run is interrupted: it begins something that must be known to
    /// have been done, or takes it back.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn settle(&self, script: &str) -> Result<Vec<u8>> {
        self.call(script, b"", QUESTION, OnInterrupt::GoOn).map(|answer| answer.said)
    }

    fn call(
        &self,
        script: &str,
        input: &[u8],
        deadline: Duration,
        on_interrupt: OnInterrupt,
    ) -> Result<Answer> {
        self.installed()?;
        let shell = shell_in(Path::new("/"))?;
        let argv = self.argv();
        let (program, options) = argv.split_first().map_or(("ssh", &[][..]), |(first, rest)| (first, rest));
        let (name, script) = (&self.name, format!("echo; echo {}; {script}", quoted(MARK)));
        let line = format!("sh -c {}", quoted(&script));
        let call = process::expression(cmd!(shell, "{program} {options...} -- {name} {line}"));
        let text = format!("ssh {name}");
        let Some(output) = finish_for(call.stdin_bytes(input), &text, deadline, on_interrupt)? else {
            return Err(self.unreachable(&format!("no answer in {} s", deadline.as_secs())));
        };
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Answer::of(&output.stdout)
                .ok_or_else(|| failed(&text, "answered with something else than a POSIX shell", &said)),
            Some(UNREACHED) => Err(self.unreachable(&said)),
            _ => Err(failed(&text, &output.status.to_string(), &said)),
        }
    }

    /// The tool of ours that reaches it; none where the configuration names another.
    pub fn tool(&self) -> Option<Tool> {
        self.ssh.first().is_none_or(|program| program == Tool::Ssh.command()).then_some(Tool::Ssh)
    }

    /// Whether the program that reaches it is there.
    fn installed(&self) -> Result<()> {
        if let Some(tool) = self.tool() {
            return preflight(&[tool]);
        }
        let missing = self.ssh.first().filter(|program| which::which(program).is_err());
        missing.map_or(Ok(()), |program| {
            let next = "install it, or correct `ssh` of the destination in recovery.toml".to_owned();
            Err(Error::MissingTools { tools: vec![program.clone()], next })
        })
    }

    /// The line with which a user sees whether it can be reached.
    pub fn attempt(&self) -> String {
        words(self.ssh.iter().map(String::as_str).chain([&*self.name, "true"]))
    }

    pub(super) fn unreachable(&self, said: &str) -> Error {
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no answer");
        let (path, attempt) = (PathBuf::from(&self.name), self.attempt());
        Error::Unreachable { path, what: last.to_owned(), attempt }
    }
}

/// What came back from another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was printed before our script began, without blanks at its ends.
    pub before: String,
    /// What our script printed.
    pub said: Vec<u8>,
}

impl Answer {
    /// None where our script printed nothing, not even its [`MARK`].
    fn of(output: &[u8]) -> Option<Self> {
        let mark = format!("\n{MARK}\n");
        let at = output.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        let before = String::from_utf8_lossy(&output[..at]).trim().to_owned();
        Some(Self { before, said: output[at + mark.len()..].to_owned() })
    }
}

/// Words as the one line that `rsync --rsh` takes: it splits at blanks, knows quotes, and in them takes two for one, as rsync(1)
/// says. No shell reads it.
pub fn rsh(words: &[String]) -> String {
    let quoted = |word: &String| match word.contains([' ', '\'', '"']) || word.is_empty() {
        true => format!("'{}'", word.replace('\'', "''")),
        false => word.clone(),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rsync itself says how it has split the line: it runs the first word with the others.
    #[test]
    fn rsync_splits_a_line_into_the_words_that_it_was_made_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let (said, script) = (folder.path().join("said"), folder.path().join("it's a shell"));
        let text = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{}'\nexit 1\n", said.display());
        std::fs::write(&script, text).expect("writes");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("marks");
        let odd = ["-i", "a key's \"name\"", "-o", "plain=1"].map(str::to_owned);
        let line = rsh(&[&[script.display().to_string()], &odd[..]].concat());
        let shell = shell_in(folder.path()).expect("a shell");
        cmd!(shell, "rsync --rsh={line} far:/x .")
            .ignore_status()
            .quiet()
            .ignore_stderr()
            .run()
            .expect("runs");
        let said = std::fs::read_to_string(said).expect("it was run");
        assert_eq!(said.lines().take(4).collect::<Vec<_>>(), odd);
    }

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
        let chatty = fake("printf 'Welcome!'; sh -c \"$last\"").ask("echo yes").expect("runs");
        assert_eq!((&*chatty.before, &*chatty.said), ("Welcome!", &b"yes\n"[..]));
        assert!(matches!(fake("echo closed for today").ask("true"), Err(Error::Tool { .. })));
        let slow = fake("sleep 60").call("true", b"", Duration::from_millis(100), OnInterrupt::End);
        assert!(matches!(slow, Err(Error::Unreachable { .. })), "{slow:?}");
        let none = Host { name: "far".into(), ssh: vec!["/no/such-ssh".into()] }.ask("true");
        assert!(
            matches!(&none, Err(Error::MissingTools { tools, .. }) if tools == &["/no/such-ssh"]),
            "{none:?}"
        );
        let away = fake("echo 'no route' >&2; exit 255").run("true", b"").expect_err("is away");
        assert!(matches!(&away, Error::Unreachable { what, .. } if what == "no route"), "{away}");
        let line = format!("sh {} '-p 2' u@far true", ssh.display());
        assert!(away.next_step().is_some_and(|next| next.contains(&line)), "{:?}", away.next_step());
        assert!(matches!(fake("exit 4").run("true", b""), Err(Error::Tool { .. })));
    }
}
