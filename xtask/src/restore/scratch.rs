//! The private folder of a drill or a backup: everything that is restored or staged lives in it, and it goes away with
//! its owner.
//!
//! What lies in it is as confidential as the live data, and of an encrypted backup it lies here in the clear:
//! mode 0700, and removed on success, failure and panic alike. Folders that the data set made unwritable are
//! opened first, or they could not be emptied. What a run that was killed has left, the next one removes.
use super::open_folders;
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Restores into it.
    Drill,
    /// Stages what it archives in it.
    Backup,
}

impl Owner {
    /// How its folders are named.
    fn prefix(self) -> &'static str {
        match self {
            Self::Drill => "recovery-drill-",
            Self::Backup => "recovery-backup-",
        }
    }
}

/// Held by the run whose folder it lies in: the kernel lets go of it with the process.
const HELD: &str = ".held";

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    _held: File,
}

/// Folders in `parent` that killed runs have left, with data in the clear.
pub fn left_behind(owner: Owner, parent: &Path) -> Vec<PathBuf> {
    let own = |path: &PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw())
    };
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(owner.prefix()))
    };
    let free = |path: &PathBuf| {
        let held = File::open(path.join(HELD));
        held.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(named).filter(own).filter(free).collect()
}

/// Removes what [`left_behind`] finds; returns how many.
///
/// # Errors
/// `Io` when something is left.
pub fn sweep(folders: impl IntoIterator<Item = PathBuf>) -> Result<usize> {
    folders.into_iter().try_fold(0, |count, folder| remove_tree(&folder).map(|()| count + 1))
}

/// Whether a folder's files lie in memory alone (tmpfs, ramfs), and this user may make some there.
pub fn is_in_memory(folder: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
        const MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58f6];
        let kind = rustix::fs::statfs(folder).map(|stat| i128::from(stat.f_type));
        kind.is_ok_and(|kind| MEMORY.contains(&kind))
            && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    open_folders(path);
    #[expect(clippy::disallowed_methods, reason = "the folder is its owner's own")]
    fs::remove_dir_all(path).map_err(Error::io("remove", path))
}

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn new(owner: Owner, parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(owner.prefix())
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(Error::io("make a private folder in", parent))?;
        let path = folder.path().join(HELD);
        let held =
            File::options().write(true).create_new(true).open(&path).map_err(Error::io("create", &path))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::io("lock", &path)(error.into()))?;
        Ok(Self { folder, _held: held })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder in it.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(path)
    }

    /// Removes it now, and says when that fails.
    ///
    /// # Errors
    /// `Io` when something is left.
    pub fn remove(self) -> Result<()> {
        remove_tree(self.path())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_folders(self.folder.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_drill_left_is_swept_and_a_running_ones_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let running = Scratch::new(Owner::Drill, parent.path()).expect("made");
        let killed = parent.path().join("recovery-drill-killed");
        fs::create_dir(&killed).expect("made");
        fs::write(killed.join(HELD), "").expect("written");
        fs::create_dir(parent.path().join("recovery-drill-of-somebody")).expect("made");
        assert_eq!(sweep(left_behind(Owner::Drill, parent.path())).expect("sweeps"), 1);
        assert!(!killed.exists() && running.path().exists());
        assert!(left_behind(Owner::Backup, parent.path()).is_empty());
        assert!(parent.path().join("recovery-drill-of-somebody").exists(), "no drill made it");
    }

    #[test]
    fn it_is_private_and_goes_away_with_unwritable_folders_in_it() {
        let parent = tempfile::tempdir().expect("a folder");
        for drop_only in [true, false] {
            let scratch = Scratch::new(Owner::Drill, parent.path()).expect("made");
            let mode = fs::metadata(scratch.path()).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            let inner = scratch.folder("a").expect("made").join("b");
            fs::create_dir(&inner).expect("made");
            fs::write(inner.join("file"), "x").expect("written");
            fs::set_permissions(&inner, Permissions::from_mode(0o500)).expect("set");
            if drop_only {
                drop(scratch);
            } else {
                scratch.remove().expect("removed");
            }
            assert_eq!(fs::read_dir(parent.path()).expect("there").count(), 0);
        }
    }
}
