//! `.recovery/`: what this repository remembers of its runs. Restoring never needs it.
//!
//! `history.jsonl` is append-only, one JSON object a line. It is what notices that a backup which was complete is
//! gone although nothing pruned it.
use super::catalog::Catalog;
use super::durable::append_line;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The memory of one repository.
#[derive(Debug, Clone)]
pub struct Memory {
    root: PathBuf,
}

impl Memory {
    /// The memory of the repository at `repository`; nothing is made yet.
    pub fn at(repository: &Path) -> Self {
        Self { root: repository.join(".recovery") }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder, ignored by git through a `.gitignore` of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(&self) -> Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(Error::io("create", &self.root))?;
        let ignore = self.root.join(".gitignore");
        if ignore.exists() { Ok(()) } else { super::durable::replace(&ignore, b"*\n", 0o644) }
    }

    fn file(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }

    /// Appends one record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self, record: &Value) -> Result<()> {
        append_line(&self.file(), &record.to_string())
    }

    /// Notes that an artifact passed `verify`, or was pruned.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&self, kind: &str, time: &str, artifact: &Path) -> Result<()> {
        self.record(&json!({"schema": 1, "kind": kind, "time": time, "artifact": show(artifact)}))
    }

    /// Every record that parses; a torn line is passed over.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn history(&self) -> Result<Vec<Value>> {
        match fs::read_to_string(self.file()) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("read", &self.file())(error)),
        }
    }

    /// The artifacts that passed `verify` or a drill.
    ///
    /// # Errors
    /// As [`Memory::history`].
    pub fn verified(&self) -> Result<HashSet<String>> {
        let history = self.history()?;
        let verified = history.iter().filter(|record| record["kind"] == "verified");
        Ok(verified.filter_map(|record| record["artifact"].as_str().map(str::to_owned)).collect())
    }

    /// Backups that were complete and were not pruned.
    ///
    /// # Errors
    /// As [`Memory::history`].
    pub fn complete(&self) -> Result<BTreeSet<String>> {
        let mut complete = BTreeSet::new();
        for record in self.history()? {
            let Some(artifact) = record["artifact"].as_str() else { continue };
            match record["kind"].as_str() {
                Some("backup") => complete.insert(artifact.to_owned()),
                Some("pruned") => complete.remove(artifact),
                _ => continue,
            };
        }
        Ok(complete)
    }

    /// Backups under `destination` that were complete, were not pruned, and are not in its catalogue.
    ///
    /// # Errors
    /// As [`Memory::history`].
    pub fn lost(&self, destination: &Path, catalog: &Catalog) -> Result<Vec<Finding>> {
        let there: HashSet<String> =
            catalog.complete.iter().map(|artifact| show(&artifact.archive)).collect();
        let expected = self.complete()?;
        let lost = expected.into_iter().filter(|path| Path::new(path).starts_with(destination));
        Ok(lost
            .filter(|path| !there.contains(path))
            .map(|path| {
                let what = match Path::new(&path).exists() {
                    true => "was a complete backup and has lost its marker, though nothing pruned it",
                    false => "was a complete backup and is gone, though nothing pruned it",
                };
                Finding::error(path, what, "look who else writes to this drive; make a new backup now")
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_vanished_is_noticed() {
        let home = tempfile::tempdir().expect("a folder");
        let memory = Memory::at(home.path());
        memory.open().expect("opens");
        let drive = home.path().join("drive");
        for name in ["a", "b"] {
            memory.event("backup", "t", &drive.join(name)).expect("records");
        }
        memory.event("pruned", "t", &drive.join("a")).expect("records");
        let lost = memory.lost(&drive, &Catalog::default()).expect("reads");
        assert_eq!(lost.len(), 1);
        assert!(lost[0].path.ends_with("/b"), "{lost:?}");
        assert_eq!(fs::read_to_string(home.path().join(".recovery/.gitignore")).expect("there"), "*\n");
    }
}
