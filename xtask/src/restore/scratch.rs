//! The private folder of a drill, a backup, a restore, a rebuild or a publish: everything that is restored, staged, fetched,
//! cloned or laid out for an upload lives in it, and it goes away with its owner.
//!
//! What lies in it is as confidential as the live data, and of an encrypted backup it lies here in the clear:
//! mode 0700, and removed on success, failure and panic alike. Folders that the data set made unwritable are
//! opened first, or they could not be emptied. What a run that was killed has left, the next one removes.
use super::open_folders;
use crate::error::{Error, Result};
use crate::shown::show;
use crate::tools::private::{self, Private};
use jiff::Timestamp;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Restores into it.
    Drill,
    /// Stages what it archives in it.
    Backup,
    /// Restores into it, beside the target, and fetches into it.
    Restore,
    /// Clones into it.
    Rebuild,
    /// Lays what it uploads, and what comes back to be compared, into it.
    Publish,
}

impl Owner {
    /// How its folders are named.
    fn prefix(self) -> &'static str {
        match self {
            Self::Drill => "recovery-drill-",
            Self::Backup => "recovery-backup-",
            Self::Rebuild => "recovery-rebuild-",
            Self::Publish => "recovery-publish-",
            // Beside the folders of a user, who need not see it.
            Self::Restore => ".recovery-restore-",
        }
    }
}

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: Private,
}

/// Folders in `parent` that killed runs have left, with data in the clear.
pub fn left_behind(owner: Owner, parent: &Path, now: Timestamp) -> Vec<PathBuf> {
    private::left_behind(owner.prefix(), parent, now.as_second())
}

/// Of which repository a folder is, as far as it says.
pub fn whose(folder: &Path) -> String {
    private::whose(folder).unwrap_or_else(|| "a repository that it does not name".into())
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
    private::remove(path).map_err(Error::io("remove", path))
}

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn new(owner: Owner, parent: &Path) -> Result<Self> {
        Private::new(owner.prefix(), parent).map(|folder| Self { folder })
    }

    /// The same, which names the repository that it is of.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn of(owner: Owner, parent: &Path, repository: &Path) -> Result<Self> {
        Private::of(owner.prefix(), parent, &show(repository)).map(|folder| Self { folder })
    }

    /// When it was last changed, by the clock of its file system.
    pub fn changed_at(&self) -> Timestamp {
        Timestamp::from_second(self.folder.changed_at()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Removes what killed drills have left beside it: data in the clear, whichever repository's. The lock of each shows
    /// that its drill is over. Returns what is told of them.
    ///
    /// # Errors
    /// `Io` when something is left.
    pub fn sweep_others(&self) -> Result<Vec<String>> {
        let left = left_behind(Owner::Drill, self.path().parent().unwrap_or(self.path()), self.changed_at());
        let told = left.iter().map(|folder| format!("{} of {}", show(folder), whose(folder))).collect();
        sweep(left)?;
        Ok(told)
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
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("create", &path))?;
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
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_a_killed_drill_left_is_swept_and_a_running_ones_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let running = Scratch::new(Owner::Drill, parent.path()).expect("made");
        let killed = parent.path().join("recovery-drill-killed");
        fs::create_dir(&killed).expect("made");
        fs::write(killed.join(".held"), "").expect("written");
        fs::create_dir(parent.path().join("recovery-drill-of-somebody")).expect("made");
        assert_eq!(
            sweep(left_behind(Owner::Drill, parent.path(), Timestamp::UNIX_EPOCH)).expect("sweeps"),
            1
        );
        assert!(!killed.exists() && running.path().exists());
        assert!(left_behind(Owner::Backup, parent.path(), Timestamp::UNIX_EPOCH).is_empty());
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
