//! A SQLite database of a live folder: copied by SQLite itself, checked, and archived as one file.
//!
//! The copy lies in a private temporary folder of this machine, never on the destination. A file that only looks
//! like a database is archived as it lies, with a warning.
use super::{PourError, live};
use crate::archive::entry::Entry;
use crate::archive::writer::Builder;
use crate::error::Error;
use crate::finding::{Finding, show_bytes};
use crate::tools::sqlite;
use std::path::Path;

/// Adds a consistent copy of the database at `path`, with the metadata of `entry`.
pub(super) fn pour(
    entry: &Entry,
    path: &Path,
    builder: &mut Builder,
    findings: &mut Vec<Finding>,
) -> Result<(), PourError> {
    let folder = tempfile::tempdir().map_err(Error::io("create", &std::env::temp_dir()))?;
    let copy = folder.path().join("copy.sqlite");
    let name = show_bytes(&entry.path);
    let checked = sqlite::copy(path, &copy).and_then(|()| sqlite::integrity(&copy));
    match checked {
        Ok(verdict) if verdict == "ok" => {
            let (mut copied, mut entry) = (Vec::new(), entry.clone());
            entry.size = std::fs::metadata(&copy).map_err(Error::io("read", &copy))?.len();
            let time = entry.mtime;
            live_copy(entry, &copy, time, builder, &mut copied)?;
            findings.append(&mut copied);
            Ok(())
        }
        Ok(verdict) => {
            findings.push(Finding::error(
                &name,
                format!("is a SQLite database that does not pass its integrity check: {verdict}"),
                "it is in the backup as it lies; repair it (`sqlite3 FILE .recover`)",
            ));
            live(entry.clone(), path, builder, findings)
        }
        Err(Error::Interrupted) => Err(Error::Interrupted.into()),
        Err(error) => {
            let what =
                format!("looks like a SQLite database, but could not be copied by SQLite: {}", error.chain());
            let repair = "it is in the backup as it lies; `sqlite = \"raw\"` says so for good";
            findings.push(Finding::warning(&name, what, repair));
            live(entry.clone(), path, builder, findings)
        }
    }
}

/// The copy under the original's name and time.
fn live_copy(
    entry: Entry,
    copy: &Path,
    time: crate::archive::entry::Mtime,
    builder: &mut Builder,
    findings: &mut Vec<Finding>,
) -> Result<(), PourError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let stamp = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    rustix::fs::utimensat(CWD, copy, &times, AtFlags::empty())
        .map_err(|error| Error::io("set the time of", copy)(error.into()))?;
    live(entry, copy, builder, findings)
}
