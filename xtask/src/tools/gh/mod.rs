//! gh: the releases on a forge's page. Here what every call has in common, logins, and downloads; [`release`] publishes.
//!
//! gh alone sees its own tokens, never asks, and has a deadline. That it could not look (no login, no network) is told
//! apart from what it has seen: that the release, or a file of it, is not there.
pub mod release;

use super::process;
use super::{Tool, failed, finish, preflight, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use xshell::{Cmd, Shell, cmd};

/// What gh needs of our environment, beside what every tool sees: its tokens and its way into the network.
const OWN: [&str; 16] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "GH_CONFIG_DIR",
    "GH_ENTERPRISE_TOKEN",
    "GH_HOST",
    "GH_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_TOKEN",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "GH_PATH",
];
/// Those of them that are secret.
pub const TOKENS: [&str; 4] = ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"];

/// What gh says when it has looked, and what was asked for is not there.
const NOT_THERE: [&str; 3] =
    ["release not found", "no assets match the file pattern", "no assets to download"];
/// Its exit status when nobody is logged in.
const NO_LOGIN: i32 = 4;

/// How the call is named.
const DOWNLOAD: &str = "gh release download";
/// How long a forge may take to say whether it knows a login.
const LOGIN: Duration = Duration::from_secs(30);

/// What came of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// The file is there.
    Done,
    /// The release is not there, or has no such file: in gh's words.
    Missing(String),
    /// It could not look, and why.
    Blocked(String),
    /// It had not ended in time.
    Timeout,
}

/// Downloads the file `name` of the release `tag` of `repository` (`HOST/OWNER/NAME`) into the folder `to`.
///
/// # Errors
/// [`Error::MissingTools`] without gh; when it cannot be started, or this run is interrupted.
pub fn download(repository: &str, tag: &str, name: &str, to: &Path, deadline: Duration) -> Result<Download> {
    let shell = shell(to)?;
    // A pattern that matches this name alone.
    let pattern = literal(name);
    let call = cmd!(shell, "gh release download --repo {repository} --pattern {pattern} --dir {to} -- {tag}");
    let Some(output) = ended(call, DOWNLOAD, deadline)? else { return Ok(Download::Timeout) };
    if output.status.success() {
        return Ok(Download::Done);
    }
    let said = said(DOWNLOAD, &output);
    Ok(match output.status.code() {
        Some(NO_LOGIN) => Download::Blocked(format!("nobody is logged in: {said}")),
        _ if NOT_THERE.iter().any(|words| said.contains(words)) => Download::Missing(said),
        _ => Download::Blocked(format!("{}: {said}", output.status)),
    })
}

/// Whether somebody is logged in at the forge `host`, with a login that it takes.
///
/// # Errors
/// [`Error::MissingTools`] without gh; [`Error::Refused`] where nobody is, or there is no answer.
pub fn logged_in(host: &str) -> Result<()> {
    let (shell, text) = (shell(Path::new("/"))?, "gh auth status");
    match ended(cmd!(shell, "gh auth status --hostname {host}"), text, LOGIN)? {
        Some(output) if output.status.success() => Ok(()),
        Some(output) => Err(nobody(&said(text, &output))),
        None => {
            let what = format!("`{text}` has not answered in {} s", LOGIN.as_secs());
            Err(Error::refused(what, format!("see whether {host} can be reached from here")))
        }
    }
}

/// Nobody is logged in, in gh's words.
fn nobody(said: &str) -> Error {
    Error::refused(format!("nobody is logged in: {said}"), "`gh auth login` logs in; in a job, set GH_TOKEN")
}

/// A shell in which gh has what it needs, and asks nobody.
fn shell(folder: &Path) -> Result<Shell> {
    preflight(&[Tool::Gh])?;
    let shell = shell_in(folder)?;
    for (name, value) in process::besides(&OWN) {
        shell.set_var(name, value);
    }
    for (name, value) in [("GH_PROMPT_DISABLED", "1"), ("GH_NO_UPDATE_NOTIFIER", "1"), ("NO_COLOR", "1")] {
        shell.set_var(name, value);
    }
    Ok(shell)
}

/// What came of a call; `None` when it was ended at the deadline.
fn ended(call: Cmd<'_>, text: &str, deadline: Duration) -> Result<Option<Output>> {
    finish(process::expression(call).stdin_null(), text, deadline)
}

/// The last lines of what it said on standard error.
fn said(text: &str, output: &Output) -> String {
    match failed(text, "", &String::from_utf8_lossy(&output.stderr)) {
        Error::Tool { stderr, .. } => stderr,
        other => other.to_string(),
    }
}

/// As a glob that matches nothing else.
fn literal(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if "*?[]{}\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_one_name() {
        assert_eq!(literal("api-v1.4.2+b.tar.gz"), "api-v1.4.2+b.tar.gz");
        assert_eq!(literal("a*[b]"), "a\\*\\[b\\]");
    }
}
