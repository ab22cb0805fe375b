//! Private folders of a run, for itself and for its tools: mode 0700, held by a lock that falls with the process.
//!
//! A folder's lock, the file `.held`, appears under its name when it is locked already, so nobody takes a folder that was
//! just made for one that was left. A kill before that leaves an empty folder without it, which counts as left after a day;
//! one that holds anything and has no lock is nobody's to remove. The file says whose folder it is.
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Held by the run whose folder it lies in: the kernel lets go of it with the process.
const HELD: &str = ".held";

/// The same, before it is locked.
const NEW: &str = ".new";

/// How long a folder without its lock may be one that is just being made.
const YOUNG_SECONDS: i64 = 24 * 60 * 60;

/// A folder that is removed when this is dropped, as far as its owner can empty it.
#[derive(Debug)]
pub struct Private {
    folder: TempDir,
    _held: File,
}

impl Private {
    /// A new folder in `parent`, with a name that begins with `prefix`.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn new(prefix: &str, parent: &Path) -> Result<Self> {
        Self::of(prefix, parent, "")
    }

    /// The same, which says whose it is, for as long as it is there.
    ///
    /// # Errors
    /// As [`Private::new`].
    pub fn of(prefix: &str, parent: &Path, whose: &str) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the door itself")]
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(Error::io("make a private folder in", parent))?;
        let (path, new) = (folder.path().join(HELD), folder.path().join(NEW));
        let mut held =
            File::options().write(true).create_new(true).open(&new).map_err(Error::io("create", &new))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::io("lock", &new)(error.into()))?;
        held.write_all(whose.as_bytes()).map_err(Error::io("write", &new))?;
        #[expect(clippy::disallowed_methods, reason = "a lock in a folder of this run's own")]
        fs::rename(&new, &path).map_err(Error::io("create", &path))?;
        Ok(Self { folder, _held: held })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// When it was last changed, by the clock of its file system, in seconds since 1970.
    pub fn changed_at(&self) -> i64 {
        self.path().metadata().map_or(i64::MIN, |meta| meta.mtime())
    }

    /// Removes what killed runs have left beside it. What cannot be removed is left to the next run.
    pub(super) fn sweep_beside(&self, prefix: &str) {
        let Some(parent) = self.path().parent() else { return };
        for folder in left_behind(prefix, parent, self.changed_at()) {
            let _ = remove(&folder);
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = empty(self.path());
    }
}

/// Where folders lie that need no place of their own: the user's `TMPDIR`, or `/tmp`.
#[expect(clippy::disallowed_methods, reason = "the one look at it")]
pub fn temporary() -> PathBuf {
    std::env::temp_dir()
}

/// Removes a private folder. Its lock goes last: a kill in between leaves what the next run finds.
///
/// # Errors
/// When something is left. One that is gone already is none.
#[expect(clippy::disallowed_methods, reason = "a folder that a run of this user has made for itself")]
pub fn remove(folder: &Path) -> io::Result<()> {
    match empty(folder).and_then(|()| fs::remove_dir_all(folder)) {
        // Another run was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes all but the lock.
#[expect(clippy::disallowed_methods, reason = "a folder that a run of this user has made for itself")]
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            _ if entry.file_name() == HELD => {}
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Folders of this user in `parent` whose names begin with `prefix`, and which no run holds. `now` is in seconds since
/// 1970.
pub fn left_behind(prefix: &str, parent: &Path, now: i64) -> Vec<PathBuf> {
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let left = |path: &PathBuf| {
        let Ok(meta) = path.symlink_metadata() else { return false };
        if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
            return false;
        }
        match File::open(path.join(HELD)) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(error) => {
                let old = meta.mtime().saturating_add(YOUNG_SECONDS) < now;
                error.kind() == io::ErrorKind::NotFound && old && is_hollow(path)
            }
        }
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(named).filter(left).collect()
}

/// Whether nothing was put into a folder yet.
fn is_hollow(folder: &Path) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == NEW)))
}

/// Whose folder it is, as far as it says.
pub fn whose(folder: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join(HELD)).ok()?.take(8192).read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_left_is_found_and_what_is_held_or_young_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let running = Private::new("x-", parent.path()).expect("made");
        let now = running.changed_at();
        for name in ["x-killed", "x-begun", "x-unheld", "y-other"] {
            fs::create_dir(parent.path().join(name)).expect("made");
        }
        fs::write(parent.path().join("x-killed/.held"), "").expect("written");
        fs::write(parent.path().join("y-other/.held"), "").expect("written");
        fs::write(parent.path().join("x-file"), "").expect("written");
        // Whoever has taken its lock away, nobody knows whether it is in use.
        fs::write(parent.path().join("x-unheld/data"), "").expect("written");
        let found = |now| {
            let mut found = left_behind("x-", parent.path(), now);
            found.sort();
            found
        };
        assert_eq!(found(now), [parent.path().join("x-killed")]);
        let later = now + YOUNG_SECONDS + 60;
        assert_eq!(found(later), [parent.path().join("x-begun"), parent.path().join("x-killed")]);
        let named = Private::of("x-", parent.path(), "/srv/api").expect("made");
        assert_eq!((whose(named.path()).as_deref(), whose(running.path())), (Some("/srv/api"), None));
        running.sweep_beside("x-");
        assert!(!parent.path().join("x-killed").exists() && running.path().exists());
        assert!(parent.path().join("x-begun").exists() && parent.path().join("y-other").exists());
    }
}
