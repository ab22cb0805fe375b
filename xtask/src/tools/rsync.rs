//! rsync: copies named files of a working tree into a staging folder, and files to and from another machine.
use super::ssh::{DEADLINE, Host};
use super::{failed, finish, output_with, process, shell_in};
use crate::error::Result;
use std::path::{Path, PathBuf};
use xshell::cmd;

/// Copies `files` (relative to `from`, any bytes but NUL) with their modes and links.
///
/// # Errors
/// When rsync fails, also when one of the files is gone.
pub fn stage(from: &Path, files: &[Vec<u8>], to: &Path) -> Result<()> {
    let shell = shell_in(from)?;
    let list = files.join(&0);
    output_with(cmd!(shell, "rsync --archive --from0 --files-from=- ./ {to}/"), list).map(|_| ())
}

/// Copies files into a folder of another machine, where their owner alone may read them.
///
/// # Errors
/// [`crate::error::Error::Unreachable`] when it does not answer; when rsync fails otherwise, such as for want of room.
pub fn send(host: &Host, files: &[&Path], folder: &str) -> Result<()> {
    let files: Vec<PathBuf> = files.iter().map(|file| (*file).to_owned()).collect();
    let to = format!("{}:{folder}/", host.name);
    transfer(host, &["--times", "--perms", "--chmod=F600"], &files, Path::new(&to)).map(|_| ())
}

/// Copies files of a folder of another machine into a local one.
///
/// # Errors
/// As [`send`].
pub fn fetch(host: &Host, folder: &str, names: &[String], to: &Path) -> Result<()> {
    let from: Vec<PathBuf> =
        names.iter().map(|name| PathBuf::from(format!("{}:{folder}/{name}", host.name))).collect();
    transfer(host, &["--times", "--chmod=F600", "--perms"], &from, to).map(|_| ())
}

/// Files two folders below `folder` on another machine, such as `2026/11-23/a.tar.gz`, and their lengths in bytes.
///
/// # Errors
/// As [`send`].
pub fn list(host: &Host, folder: &str) -> Result<Vec<(String, u64)>> {
    let from = PathBuf::from(format!("{}:{folder}/", host.name));
    let two_down = ["--recursive", "--list-only", "--no-human-readable", "--include=/????/"];
    let options =
        [&two_down[..], &["--include=/????/??-??/", "--include=/????/??-??/*", "--exclude=*"]].concat();
    let text = transfer(host, &options, &[from], Path::new(""))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(listed).collect())
}

/// `-rw------- 1234 2026/11/23 17:45:12 2026/11-23/a.tar.gz`; none for what is no regular file.
fn listed(line: &str) -> Option<(String, u64)> {
    let (mode, rest) = line.split_once(' ')?;
    let (length, rest) = rest.trim_start().split_once(' ')?;
    let (_date, rest) = rest.trim_start().split_once(' ')?;
    let (_time, name) = rest.trim_start().split_once(' ')?;
    mode.starts_with('-').then_some((name.to_owned(), length.parse().ok()?))
}

/// Exit status of rsync when the connection failed or went dead: socket, start of the protocol, stream, timeouts, ssh.
const UNREACHED: [i32; 6] = [5, 10, 12, 30, 35, 255];

fn transfer(host: &Host, options: &[&str], from: &[PathBuf], to: &Path) -> Result<Vec<u8>> {
    let shell = shell_in(Path::new("/"))?;
    let rsh = host.remote_shell();
    let to = Some(to).filter(|to| !to.as_os_str().is_empty());
    let call = process::expression(cmd!(
        shell,
        "rsync --protect-args --timeout=300 --rsh={rsh} {options...} -- {from...} {to...}"
    ));
    let text = format!("rsync with {}", host.name);
    let Some(output) = finish(call.stdin_null(), &text, DEADLINE)? else {
        return Err(failed(&text, &format!("no answer in {} s", DEADLINE.as_secs()), ""));
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // A full disk over there breaks the stream too; rsync says so in its own words.
    let full = said.contains("No space left") || said.contains("Disk quota exceeded");
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        Some(code) if UNREACHED.contains(&code) && !full => Err(host.unreachable(&said)),
        _ => Err(failed(&text, &output.status.to_string(), &said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let line = "-rw-------          1234 2026/11/23 17:45:12 2026/11-23/a b.tar.gz";
        assert_eq!(listed(line), Some(("2026/11-23/a b.tar.gz".into(), 1234)));
        assert_eq!(listed("drwx------          4096 2026/11/23 17:45:12 2026"), None);
        assert_eq!(listed("nonsense"), None);
    }
}
