//! rsync: copies named files of a working tree into a staging folder, mirrors a data folder into one, and copies files to
//! and from another machine.
use super::ssh::{self, Host};
use super::{DEADLINE, OnInterrupt, failed, finish, finish_for, output_with, process, shell_in};
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xshell::cmd;

/// Copies `files` (relative to `from`, any bytes but NUL) with their modes and links.
///
/// # Errors
/// When rsync fails, also when one of the files is gone.
pub fn stage(from: &Path, files: &[Vec<u8>], to: &Path) -> Result<()> {
    let shell = shell_in(from)?;
    let list = files.join(&0);
    output_with(cmd!(shell, "rsync --archive --from0 --files-from=- ./ {to}/"), list)?;
    let copy = |file: &&Vec<u8>| to.join(OsStr::from_bytes(file)).symlink_metadata().is_ok();
    match files.iter().find(|file| !copy(file)) {
        Some(file) => Err(failed("rsync", "made no copy", &String::from_utf8_lossy(file))),
        None => Ok(()),
    }
}

/// What a pass of [`mirror`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Whether anything was other than in the mirror.
    pub changed: bool,
    /// What could not be copied, in rsync's words.
    pub failed: Option<String>,
}

/// rsync's exit status when some files could not be copied, and when some vanished (rsync(1), EXIT VALUES).
const PARTIAL: i32 = 23;
const VANISHED: i32 = 24;
/// In front of each path that was not the same.
const MARK: &str = "changed: ";

/// Makes the folder `to` like `from`, times compared to the nanosecond (a file may be written twice within a second), but
/// for pipes, sockets and devices, and for the paths `left_out` (relative to it): they are not in it, even when an earlier
/// pass has copied them.
///
/// # Errors
/// When rsync fails otherwise than on single files.
pub fn mirror(from: &Path, left_out: &[Vec<u8>], to: &Path) -> Result<Pass> {
    mirror_for((from, left_out), to, DEADLINE, OnInterrupt::End)
}

/// The same with nothing left out, for a copy that may have to be made even when this run is interrupted.
///
/// # Errors
/// As [`mirror`].
pub fn copy(from: &Path, to: &Path, on_interrupt: OnInterrupt) -> Result<Pass> {
    mirror_for((from, &[]), to, ssh::DEADLINE, on_interrupt)
}

fn mirror_for(
    (from, left_out): (&Path, &[Vec<u8>]),
    to: &Path,
    deadline: Duration,
    on_interrupt: OnInterrupt,
) -> Result<Pass> {
    let shell = shell_in(from)?;
    let patterns: Vec<Vec<u8>> = left_out.iter().map(|path| literal(path)).collect();
    // Held until rsync has ended: no names. Without %i it would not tell what it has deleted.
    let format = format!("--out-format={MARK}%i");
    let command = cmd!(
        shell,
        "rsync --recursive --modify-window=-1 --links --perms --times --group --owner --hard-links --acls --xattrs --sparse --numeric-ids
            --delete --delete-excluded --from0 --exclude-from=- {format} ./ {to}/"
    );
    let text = "rsync --recursive … --delete";
    let call = process::expression(command).stdin_bytes(patterns.join(&0));
    let Some(output) = finish_for(call, text, deadline, on_interrupt)? else {
        return Err(failed(text, &format!("no answer in {} s", deadline.as_secs()), ""));
    };
    let changed = output.stdout.split(|byte| *byte == b'\n').any(|line| line.starts_with(MARK.as_bytes()));
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(Pass { changed, failed: None }),
        Some(VANISHED) => Ok(Pass { changed: true, failed: None }),
        Some(PARTIAL) => match failed(text, "", &said) {
            Error::Tool { stderr, .. } => Ok(Pass { changed, failed: Some(stderr) }),
            other => Err(other),
        },
        _ => Err(failed(text, &output.status.to_string(), &said)),
    }
}

/// A pattern for this path alone: from the top, and without wildcards.
fn literal(path: &[u8]) -> Vec<u8> {
    let mut pattern = b"/".to_vec();
    // rsync takes a backslash for an escape only where there is a wildcard.
    let escape = path.iter().any(|byte| b"*?[".contains(byte));
    for byte in path {
        if escape && b"*?[\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

/// Copies files into a folder of another machine, where their owner alone may read them.
///
/// # Errors
/// [`crate::error::Error::Unreachable`] when it does not answer; when rsync fails otherwise, such as for want of room.
pub fn send(host: &Host, files: &[&Path], folder: &str) -> Result<()> {
    let files: Vec<PathBuf> = files.iter().map(|file| (*file).to_owned()).collect();
    let to = format!("{}:{folder}/", host.name);
    transfer(host, STILL, &["--times", "--perms", "--chmod=F600"], &files, Path::new(&to)).map(|_| ())
}

/// Copies files of a folder of another machine into a local one.
///
/// # Errors
/// As [`send`].
pub fn fetch(host: &Host, folder: &str, names: &[String], to: &Path) -> Result<()> {
    let from: Vec<PathBuf> =
        names.iter().map(|name| PathBuf::from(format!("{}:{folder}/{name}", host.name))).collect();
    transfer(host, STILL, &["--times", "--chmod=F600", "--perms"], &from, to).map(|_| ())
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
    let text = transfer(host, SILENT, &options, &[from], Path::new(""))?;
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

/// Seconds without a byte after which a transfer is given up, and a listing.
const STILL: u32 = 600;
const SILENT: u32 = 60;

fn transfer(host: &Host, idle: u32, options: &[&str], from: &[PathBuf], to: &Path) -> Result<Vec<u8>> {
    let shell = shell_in(Path::new("/"))?;
    let (rsh, idle) = (host.remote_shell(), idle.to_string());
    let to = Some(to).filter(|to| !to.as_os_str().is_empty());
    let call = process::expression(cmd!(
        shell,
        "rsync --protect-args --timeout={idle} --rsh={rsh} {options...} -- {from...} {to...}"
    ));
    let text = format!("rsync with {}", host.name);
    let Some(output) = finish(call.stdin_null(), &text, ssh::DEADLINE)? else {
        return Err(host.unreachable(&format!("not done in {} s", ssh::DEADLINE.as_secs())));
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
    use std::fs;

    #[test]
    fn a_mirror_is_the_same_but_for_what_is_left_out() {
        let home = tempfile::tempdir().expect("a folder");
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("sub")).expect("makes");
        fs::create_dir(&to).expect("makes");
        let names = ["a*b", "a1b", "back\\slash", "back\\sl*", "sub/x", "sub/y"];
        for name in names {
            fs::write(from.join(name), name).expect("writes");
        }
        fs::write(to.join("old"), "").expect("writes");
        let left_out = ["a*b", "back\\slash", "back\\sl*", "sub/x"].map(|name| name.as_bytes().to_vec());
        let pass = mirror(&from, &left_out, &to).expect("mirrors");
        assert_eq!(pass, Pass { changed: true, failed: None });
        let there = |name: &&str| to.join(name).exists();
        assert_eq!(names.iter().copied().filter(there).collect::<Vec<_>>(), ["a1b", "sub/y"]);
        assert!(!to.join("old").exists());
        assert!(!mirror(&from, &left_out, &to).expect("mirrors").changed);
        fs::write(from.join("sub/y"), "z").expect("writes");
        assert!(mirror(&from, &left_out, &to).expect("mirrors").changed);
        // The same length within the same second.
        for (content, time) in [("1", "2026-01-01 00:00:00.1"), ("2", "2026-01-01 00:00:00.2")] {
            fs::write(from.join("sub/y"), content).expect("writes");
            let shell = shell_in(&from).expect("a shell");
            output_with(cmd!(shell, "touch -d {time} sub/y"), Vec::new()).expect("sets the time");
            mirror(&from, &left_out, &to).expect("mirrors");
            assert_eq!(fs::read_to_string(to.join("sub/y")).expect("reads"), content);
        }
    }

    #[test]
    fn a_listing_is_read() {
        let line = "-rw-------          1234 2026/11/23 17:45:12 2026/11-23/a b.tar.gz";
        assert_eq!(listed(line), Some(("2026/11-23/a b.tar.gz".into(), 1234)));
        assert_eq!(listed("drwx------          4096 2026/11/23 17:45:12 2026"), None);
        assert_eq!(listed("nonsense"), None);
    }
}
