//! A SQLite database of a live folder: copied by SQLite itself, checked, and archived as one file.
//!
//! The copy lies in a private temporary folder of this machine, never on the destination. A file that only looks
//! like a database is archived as it lies, with a warning.
use super::{Pour, PourError};
use crate::archive::entry::Entry;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show_bytes;
use crate::tools::sqlite;
use std::path::Path;

/// The database whose journal a file of this name would be.
pub(super) fn database_of(name: &[u8]) -> Option<&[u8]> {
    ["-wal", "-shm", "-journal"].iter().find_map(|ending| name.strip_suffix(ending.as_bytes()))
}

impl Pour<'_, '_> {
    /// Adds the journal of a database that was archived as it lies; a copy made by SQLite holds what its journal held.
    pub(super) fn journal(&mut self, entry: Entry, path: &Path) -> Result<bool, PourError> {
        match database_of(&entry.path).is_some_and(|database| self.copied.contains(database)) {
            true => Ok(false),
            false => self.live(entry, path, None),
        }
    }

    /// Adds a consistent copy of the database at `path`, with the metadata of `entry`. Returns whether it is in the
    /// archive.
    pub(super) fn database(&mut self, entry: Entry, path: &Path) -> Result<bool, PourError> {
        let folder = tempfile::tempdir().map_err(Error::io("create", &std::env::temp_dir()))?;
        let copy = folder.path().join("copy.sqlite");
        let name = show_bytes(&entry.path);
        match sqlite::copy(path, &copy).and_then(|()| sqlite::integrity(&copy)) {
            Ok(verdict) if verdict == "ok" => {
                super::staged::set_time(&copy, entry.mtime)?;
                self.copied.insert(entry.path.clone());
                self.live(entry, &copy, None)
            }
            Ok(verdict) => {
                self.findings.push(Finding::error(
                    name,
                    format!("is a SQLite database that does not pass its integrity check: {verdict}"),
                    "it is in the backup as it lies; repair it (`sqlite3 FILE .recover`)",
                ));
                self.live(entry, path, None)
            }
            Err(Error::Interrupted) => Err(Error::Interrupted.into()),
            Err(error) => {
                let what = format!(
                    "looks like a SQLite database, but could not be copied by SQLite: {}",
                    error.chain()
                );
                let repair = "it is in the backup as it lies; `sqlite = \"raw\"` says so for good";
                self.findings.push(Finding::warning(name, what, repair));
                self.live(entry, path, None)
            }
        }
    }
}
