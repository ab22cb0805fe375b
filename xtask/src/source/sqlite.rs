//! A SQLite database of a live folder: copied by SQLite itself, checked, and archived as one file.
//!
//! The copy lies in a private folder of this machine, never on the destination. The source is left as it was: SQLite
//! makes no `-wal` and no `-shm` there, but for a log that could not be copied apart, which it opens in place. A file that only looks like a database, or for whose copy there is no room, is
//! archived as it lies, with a warning.
use super::live::Reading;
use super::{Pour, PourError};
use crate::archive::entry::Entry;
use crate::error::{Error, Result};
use crate::finding::{Finding, Kind};
use crate::shown::{show, show_bytes};
use crate::tools::sqlite::{self, Opened};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

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
        let name = show_bytes(&entry.path);
        let checked =
            |(room, copy): (TempDir, PathBuf)| sqlite::integrity(&copy).map(|verdict| (room, copy, verdict));
        let room = room(self.reading.as_ref(), path);
        let copy = room.and_then(|room| copied(path, room.path()).map(|copy| (room, copy)));
        match copy.and_then(checked) {
            Ok((_room, copy, verdict)) if verdict == "ok" => {
                super::staged::set_time(&copy, entry.mtime)?;
                self.copied.insert(entry.path.clone());
                self.live(entry, &copy, None)
            }
            Ok((_, _, verdict)) => {
                let what = format!("is a SQLite database that does not pass its integrity check: {verdict}");
                let repair = "it is in the backup as it lies; repair it (`sqlite3 FILE .recover`)";
                self.findings.push(Finding::error(name, what, repair).of_kind(Kind::Database));
                self.live(entry, path, None)
            }
            Err(Error::Interrupted) => Err(Error::Interrupted.into()),
            Err(error) => {
                let what = format!(
                    "looks like a SQLite database, but could not be copied by SQLite: {}",
                    error.chain()
                );
                let next = error.next_step().filter(|_| matches!(error, Error::Refused { .. }));
                let next = next.unwrap_or_else(|| "`sqlite = \"raw\"` says so for good".into());
                let repair = format!("it is in the backup as it lies; {next}");
                self.findings.push(Finding::warning(name, what, repair).of_kind(Kind::Database));
                self.live(entry, path, None)
            }
        }
    }
}

/// A private folder for one copy, in the one that the set has for them.
fn room(reading: Option<&Reading>, path: &Path) -> Result<TempDir> {
    let Some(parent) = reading.and_then(|reading| reading.room.as_deref()) else {
        return Err(Error::refused("it came while the backup was under way", "the next backup copies it"));
    };
    let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
    // A log that somebody left is copied with its database first.
    let copies = if log.exists() && !index.exists() { 2 } else { 1 };
    let needed = length(path).saturating_add(length(&log)).saturating_mul(copies);
    let room = rustix::fs::statvfs(parent).map_err(|error| Error::io("look at", parent)(error.into()))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if room.f_blocks > 0 && free < needed {
        return Err(Error::refused(
            format!("a copy takes up to {needed} bytes, and {} has {free} free", show(parent)),
            "name a folder with more room: `stage-dir` of the data set",
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "inside of the set's own private folder, and goes with it")]
    tempfile::tempdir_in(parent).map_err(Error::io("make a private folder in", parent))
}

/// Copies a database into `room`, and returns where the copy is.
///
/// Whether there is a writer decides how it is opened, and a writer that comes meanwhile leaves its traces beside the
/// database; then it is read as any reader would, and what lies beside it is the writer's.
fn copied(path: &Path, room: &Path) -> Result<PathBuf> {
    let copy = room.join("copy.sqlite");
    if keeps_wal(path)? {
        let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
        let (before, first) = (look(path), room.join("first.sqlite"));
        // Whoever opens the database makes a log, and moves what it has written into the database before it goes.
        let alone = || look(path) == before && !log.exists();
        let done = if !log.exists() {
            sqlite::copy(path, &first, Opened::Immutable).map(|()| alone())
        } else if index.exists() {
            sqlite::copy(path, &first, Opened::ReadOnlyIndex).map(|()| true)
        } else {
            apart(path, &log, room).and_then(|apart| match apart {
                Some(apart) => sqlite::copy(&apart, &first, Opened::Reader).map(|()| true),
                None => Ok(false),
            })
        };
        match done {
            Ok(true) => return Ok(first),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Ok(false) | Err(_) => {}
        }
    }
    sqlite::copy(path, &copy, Opened::Reader).map(|()| copy)
}

fn keeps_wal(path: &Path) -> Result<bool> {
    let mut first = [0; 20];
    let mut file = super::open(path).map_err(Error::io("open", path))?;
    file.read_exact(&mut first).map_err(Error::io("read", path))?;
    Ok(sqlite::keeps_wal(&first))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// What tells that a file was written to.
fn look(path: &Path) -> Option<(u64, u64, i64, i64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}

/// Copies a database and the log that somebody left beside it, to be recovered there; `None` when they were written to
/// meanwhile.
fn apart(path: &Path, log: &Path, room: &Path) -> Result<Option<PathBuf>> {
    let folder = room.join("apart");
    fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
    let to = folder.join("left.sqlite");
    let before = (look(path), look(log));
    for (from, to) in [(path, to.clone()), (log, beside(&to, "-wal"))] {
        let mut file = super::open(from).map_err(Error::io("open", from))?;
        let mut copy =
            File::options().write(true).create_new(true).open(&to).map_err(Error::io("create", &to))?;
        std::io::copy(&mut file, &mut copy).map_err(Error::io("copy", from))?;
    }
    let still = (look(path), look(log)) == before && !beside(path, "-shm").exists();
    Ok(still.then_some(to))
}
