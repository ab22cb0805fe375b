//! One run at a time, a repository and a folder (a destination, or live data in a full drill): `flock` on local disk.
//!
//! The kernel drops the lock with its process, so it is never stale. The file's content only names the holder for
//! people; it is never trusted.
use super::mount::{check, resolved};
use crate::archive::sha256_hex;
use crate::error::{Error, Result};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// A file that nobody else looks for any more once the lock falls.
    passing: Option<PathBuf>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.passing {
            // Still locked: whoever has it open already sees that it is gone, and begins again.
            #[expect(clippy::disallowed_methods, reason = "the lock's own file")]
            let _ = fs::remove_file(path);
        }
    }
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
    let file = take(&folder.join("repository"), "this repository", command, now)?;
    Ok(Lock { _file: file, passing: None })
}

/// Who holds the lock of a repository, if anybody does. Nothing is written for the answer.
pub fn holder_of(memory: &Path) -> Option<String> {
    let mut file = File::open(memory.join("locks/repository")).ok()?;
    let held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
    held.then(|| holder(&mut file))
}

/// Where locks of folders lie: folders of this machine's own disk that everybody may write to. Always the same
/// one, whoever runs, from a terminal or from cron.
const PLACES: [&str; 3] = ["/run/lock", "/var/lock", "/tmp"];

/// How often it is looked who holds a lock, 5 ms apart.
const LOOKS: u32 = 20;

/// The lock of a folder that other repositories and users of this machine may work on as well.
///
/// # Errors
/// [`Error::Busy`] names the holder; [`Error::NotMounted`] when it is on a mount that has died or hangs.
pub fn folder(path: &Path, command: &str, now: Timestamp) -> Result<Lock> {
    let shared = |place: &&str| fs::metadata(place).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o2 != 0);
    let place = PLACES.into_iter().find(shared).unwrap_or("/tmp");
    check(path, None, false)?;
    let real = resolved(path);
    let name = format!("recovery-{}.lock", &sha256_hex(real.as_os_str().as_bytes())[..32]);
    let lock = Path::new(place).join(name);
    let file = take(&lock, &path.display().to_string(), command, now)?;
    Ok(Lock { _file: file, passing: Some(lock) })
}

/// Whether nobody holds the lock of any of these folders; one whose drive is away has none.
///
/// # Errors
/// [`Error::Busy`] names the holder.
pub fn none_held<'a>(
    mut folders: impl Iterator<Item = &'a Path>,
    command: &str,
    now: Timestamp,
) -> Result<()> {
    let held = folders.find_map(|path| match folder(path, command, now) {
        Err(busy @ Error::Busy { .. }) => Some(busy),
        _ => None,
    });
    held.map_or(Ok(()), Err)
}

fn take(path: &Path, what: &str, command: &str, now: Timestamp) -> Result<File> {
    loop {
        let mut file = open(path).map_err(Error::io("open", path))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(Error::io("lock", path)(error.into()));
            }
            return Err(Error::Busy { what: what.to_owned(), holder: holder(&mut file) });
        }
        // Its holder may have removed it between our open and our lock.
        if file.metadata().map_err(Error::io("read", path))?.nlink() == 0 {
            continue;
        }
        let note = format!("`{command}` (process {}, since {now})\n", std::process::id());
        // Another user's file can be locked, but not written to: then the holder has no name.
        let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
        return Ok(file);
    }
}

/// What the holder has written of itself, which it does right after it has taken the lock.
fn holder(file: &mut File) -> String {
    for _ in 0..LOOKS {
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if let Some(line) = text.strip_suffix('\n') {
            return line.to_owned();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    "another run".to_owned()
}

/// Opens the file of a lock, and makes it where there is none. Follows no link that somebody else may have laid.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    loop {
        let known = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let known = match known {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                OpenOptions::new().read(true).custom_flags(flags).open(path)
            }
            known => known,
        };
        match known {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            known => return known,
        }
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
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
        let place = home.path().join("drive");
        let held = folder(&place, "backup", Timestamp::UNIX_EPOCH).expect("free");
        let busy = folder(&place, "prune", Timestamp::UNIX_EPOCH).expect_err("held");
        assert!(busy.to_string().contains("`backup` (process "), "{busy}");
        let file = held.passing.clone().expect("a file");
        drop(held);
        assert!(!file.exists(), "nothing is left");
        assert!(folder(&place, "prune", Timestamp::UNIX_EPOCH).is_ok());
        assert!(repository(home.path(), "prune", Timestamp::UNIX_EPOCH).is_ok());
    }
}
