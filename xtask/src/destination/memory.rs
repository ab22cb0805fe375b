//! `.recovery/`: what this repository remembers of its runs. Restoring never needs it.
//!
//! `history.jsonl` is append-only, one JSON object a line. It is what notices that a backup which was complete is
//! gone although nothing pruned it.
use super::catalog::{Artifact, Catalog};
use super::durable::append_line;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The memory of one repository.
#[derive(Debug, Clone)]
pub struct Memory {
    root: PathBuf,
}

/// What the history says of artifacts, by the path of the archive.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Backups that this repository made, or took over, and did not prune.
    pub made: BTreeMap<String, Made>,
    /// Those whose last verification, or drill, passed.
    pub verified: HashSet<String>,
    /// Those whose last verification found damage.
    pub damaged: HashSet<String>,
    /// When it was last seen that a backup still holds what its source holds.
    pub confirmed: BTreeMap<String, Timestamp>,
    /// Those that are not known yet to have arrived for good.
    pub pending: BTreeSet<String>,
    /// Those that were to be pruned; one that is there all the same is ours still.
    pub pruned: HashSet<String>,
}

/// A backup as it was made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Made {
    /// Bytes of the archive; unknown for one that was taken over.
    pub bytes: Option<u64>,
    /// Whether something could not be read, and is not in it.
    pub partial: bool,
    /// The digest of the source's state, of one that lies on another machine.
    pub state: Option<String>,
}

impl Known {
    /// What is wrong with a backup, as far as is known: it holds only a part, is damaged, or has another length.
    pub fn wrong_with(&self, artifact: &Artifact) -> Option<Finding> {
        let path = show(&artifact.archive);
        let made = self.made.get(&path).cloned().unwrap_or_default();
        let (what, repair) = if self.is_damaged(artifact) {
            ("is damaged", "restore from another; keep it until a new backup is verified")
        } else if made.partial {
            let repair =
                "let the backup's user read everything, and back up again; `restore --at` names an older one";
            ("holds only a part: something could not be read when it was made", repair)
        } else {
            return None;
        };
        Some(Finding::error(path, what, repair))
    }
}

impl Known {
    /// Whether its last verification found damage, or it has another length than it was made with.
    pub fn is_damaged(&self, artifact: &Artifact) -> bool {
        let path = show(&artifact.archive);
        let made = self.made.get(&path).and_then(|made| made.bytes);
        self.damaged.contains(&path) || made.is_some_and(|bytes| bytes != artifact.archive_bytes)
    }
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
        let mut bytes = Vec::new();
        match super::read::open(&self.file()).map(|mut file| file.read_to_end(&mut bytes)) {
            Ok(Ok(_)) => {
                let lines = bytes.split(|byte| *byte == b'\n');
                Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
            Ok(Err(error)) => Err(Error::io("read", &self.file())(error)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What is known of the artifacts that are still there as far as this repository remembers.
    ///
    /// # Errors
    /// As [`Memory::history`].
    pub fn known(&self) -> Result<Known> {
        let mut known = Known::default();
        for record in self.history()? {
            let (Some(kind), Some(path)) = (record["kind"].as_str(), record["artifact"].as_str()) else {
                continue;
            };
            let path = path.to_owned();
            match kind {
                "backup" => {
                    let bytes = record["bytes"].as_u64();
                    let partial = record["errors"].as_u64().unwrap_or(0) > 0;
                    let state = record["state"].as_str().map(str::to_owned);
                    if record["pending"] == true {
                        known.pending.insert(path.clone());
                    }
                    known.made.insert(path, Made { bytes, partial, state });
                }
                "confirmed" => {
                    let time = record["time"].as_str().and_then(|time| time.parse().ok());
                    known.confirmed.extend(time.map(|time| (path, time)));
                }
                "adopted" => drop(known.made.insert(path, Made::default())),
                "verified" => {
                    known.damaged.remove(&path);
                    known.verified.insert(path);
                }
                "damaged" => {
                    known.verified.remove(&path);
                    known.damaged.insert(path);
                }
                "uploaded" => drop(known.pending.remove(&path)),
                "pruned" | "forgotten" => {
                    known.made.remove(&path);
                    known.pending.remove(&path);
                    known.pruned.insert(path);
                }
                _ => {}
            }
        }
        Ok(known)
    }

    /// Backups under `destination` that were complete, were not pruned, and are not in its catalogue.
    ///
    /// # Errors
    /// As [`Memory::history`].
    pub fn lost(&self, destination: &Path, catalog: &Catalog) -> Result<Vec<Finding>> {
        let there: HashSet<String> =
            catalog.complete.iter().map(|artifact| show(&artifact.archive)).collect();
        let expected = self.known()?.made;
        let lost = expected.into_keys().filter(|path| Path::new(path).starts_with(destination));
        Ok(lost
            .filter(|path| !there.contains(path))
            .map(|path| {
                let what = match Path::new(&path).exists() {
                    true => "was a complete backup and has lost its marker, though nothing pruned it",
                    false => "was a complete backup and is gone, though nothing pruned it",
                };
                let repair = "look who else writes to this drive, and make a new backup; `cargo xtask prune --forget-lost` accepts the loss";
                Finding::error(path, what, repair)
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
