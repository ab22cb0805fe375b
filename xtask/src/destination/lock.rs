//! One run at a time, a repository and a destination: `flock` on local disk.
//!
//! The kernel drops the lock with its process, so it is never stale. The file's content only names the holder for
//! people; it is never trusted.
use crate::archive::sha256_hex;
use crate::error::{Error, Result};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The lock of a repository, in its memory folder.
///
/// # Errors
/// [`Error::Busy`] names the holder.
pub fn repository(memory: &Path, command: &str, now: Timestamp) -> Result<Lock> {
    let folder = memory.join("locks");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(Error::io("create", &folder))?;
    take(&folder.join("repository"), "this repository", command, now)
}

/// The lock of a destination. It lies on this machine's own disk, under a name that every run of this user finds,
/// from a terminal and from cron.
///
/// # Errors
/// [`Error::Busy`] names the holder.
pub fn destination(path: &Path, command: &str, now: Timestamp) -> Result<Lock> {
    let uid = rustix::process::geteuid();
    let folder = PathBuf::from(format!("/tmp/recovery-locks-{}", uid.as_raw()));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io("create", &folder)(error));
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(&folder).map_err(Error::io("read", &folder))?;
    if !meta.is_dir() || meta.uid() != uid.as_raw() {
        let what = format!("{} is not a folder of ours", folder.display());
        return Err(Error::refused(what, "somebody else made it: remove it"));
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = sha256_hex(real.as_os_str().as_bytes());
    take(&folder.join(&name[..32]), &path.display().to_string(), command, now)
}

fn take(path: &Path, what: &str, command: &str, now: Timestamp) -> Result<Lock> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = file.map_err(Error::io("open", path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let holder = if holder.is_empty() { "another run".to_owned() } else { holder.trim().to_owned() };
        return Err(Error::Busy { what: what.to_owned(), holder });
    }
    let note = format!("`{command}` (process {}, since {now})\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(Error::io("write", path))?;
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let home = tempfile::tempdir().expect("a folder");
        let held = repository(home.path(), "backup", Timestamp::UNIX_EPOCH).expect("free");
        let busy = repository(home.path(), "prune", Timestamp::UNIX_EPOCH).expect_err("held");
        assert!(
            matches!(&busy, Error::Busy { holder, .. } if holder.starts_with("`backup` (process ")),
            "{busy}"
        );
        drop(held);
        assert!(repository(home.path(), "prune", Timestamp::UNIX_EPOCH).is_ok());
    }
}
