//! The private folder of a drill: everything restored lives in it, and it goes away with its owner.
//!
//! Restored data is as confidential as the live data, and for an encrypted backup it lies here in the clear:
//! mode 0700, and removed on success, failure and panic alike. Folders that the data set made unwritable are
//! opened first, or they could not be emptied.
use crate::error::{Error, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn new(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("recovery-drill-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(Error::io("make a private folder in", parent))?;
        Ok(Self { folder })
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
        let path = self.path().to_owned();
        open_folders(&path);
        #[expect(clippy::disallowed_methods, reason = "the folder is this drill's own")]
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_folders(self.folder.path());
    }
}

/// Makes every folder beneath `path` one that its owner can empty. Failures show when it is removed.
fn open_folders(path: &Path) {
    let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        // `file_type` does not follow symbolic links: nothing outside is touched.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away_with_unwritable_folders_in_it() {
        let parent = tempfile::tempdir().expect("a folder");
        for drop_only in [true, false] {
            let scratch = Scratch::new(parent.path()).expect("made");
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
