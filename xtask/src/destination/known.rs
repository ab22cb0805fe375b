//! What a repository knows of artifacts: those that it made or took over, what was seen of them since, and what speaks
//! against them. Read from the history by [`super::memory`]; nothing is read or written here.
use super::catalog::{self, Artifact, Catalog};
use super::names::ArtifactName;
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What the history says of artifacts, by the path of the archive.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Backups that this repository made, or took over, and did not prune.
    pub made: BTreeMap<String, Made>,
    /// Those whose last verification, or drill, passed.
    pub verified: HashSet<String>,
    /// Those whose last verification found damage.
    pub damaged: HashSet<String>,
    /// Those that something is not in, since it could not be read: made here, or read here and their manifest says so.
    pub partial: HashSet<String>,
    /// When it was last read and compared, whatever came of it.
    pub checked: BTreeMap<String, Timestamp>,
    /// The backup that was made last, by the folder of its destination and its series, whatever its name says of its time.
    pub last: BTreeMap<(PathBuf, String), String>,
    /// When a bundle was last made, or found whole by `snapshot`, by the path of its lock.
    pub bundled: BTreeMap<String, Timestamp>,
    /// When it was last seen that a backup still holds what its source holds.
    pub confirmed: BTreeMap<String, Timestamp>,
    /// Those that are not known yet to have arrived for good.
    pub pending: BTreeSet<String>,
    /// Those that were pruned; one that is there all the same is ours still.
    pub pruned: HashSet<String>,
    /// Those whose removal was begun, and neither ended nor given up: they are there, or gone, or in part.
    pub doomed: HashSet<String>,
    /// Docker tags whose locks were pruned, with the ids of their images: a run has begun to remove them, and not ended it.
    pub untagging: BTreeMap<String, String>,
    /// Of how many parts of an artifact drills have shown that they come back, and how many it has.
    pub sampled: BTreeMap<String, (u64, u64)>,
}

/// A backup as it was made.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Made {
    /// Bytes of the archive; unknown for one that was taken over.
    pub bytes: Option<u64>,
    /// Whom it is encrypted to, where that is public keys.
    pub recipients: Option<Vec<String>>,
    /// The digest of the source's state.
    pub state: Option<String>,
    /// What was written into the source right before.
    pub canary: Option<Canary>,
    /// How long it took to make it and bring it there.
    pub seconds: Option<f64>,
    /// The folder that it is of, where the configuration named it: from the repository's root, if it lies there.
    pub source: Option<String>,
}

/// A file of known content, which was written into a source right before its backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Relative to the source.
    pub path: String,
    /// Of its content.
    pub sha256: String,
}

/// What speaks against a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Its last verification, or drill, found damage.
    Damage,
    /// It is longer or shorter than it was made.
    Length,
    /// Something was not in it from the beginning.
    Part,
}

impl Against {
    /// As it goes on from the path.
    pub fn what(self) -> &'static str {
        match self {
            Self::Damage => "was found damaged by `verify` or a drill",
            Self::Length => "has another length than it was made with",
            Self::Part => "was made with errors, and may hold only a part of its source",
        }
    }
}

/// What is missing of a backup that was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its archive.
    Archive,
    /// Its marker alone: the archive lies there, and may be whole.
    Marker,
}

impl Loss {
    /// Of the backup that is shown as `path`.
    pub fn finding(self, path: &str) -> Finding {
        let (what, repair) = match self {
            Self::Archive => (
                "was a complete backup and is gone, though nothing pruned it",
                "look who else writes to this drive, and make a new backup; `cargo xtask prune --forget-lost` accepts the loss",
            ),
            Self::Marker => (
                "was a complete backup and has lost its marker, though nothing pruned it",
                "`cargo xtask verify` on it reads it through; `docs/runbook.md`, The marker is lost, writes the marker anew",
            ),
        };
        Finding::error(path, what, repair)
    }
}

impl Known {
    /// What speaks against the archive that is shown as `path`, and now has so many `bytes`, as far as they are known.
    pub fn against(&self, path: &str, bytes: Option<u64>) -> Option<Against> {
        let as_made = self.made.get(path).and_then(|made| made.bytes);
        if self.damaged.contains(path) {
            Some(Against::Damage)
        } else if bytes.zip(as_made).is_some_and(|(found, made)| found != made) {
            Some(Against::Length)
        } else {
            self.partial.contains(path).then_some(Against::Part)
        }
    }

    /// What is wrong with a backup, as far as is known: it is damaged, has another length, or holds only a part.
    pub fn wrong_with(&self, artifact: &Artifact) -> Option<Finding> {
        let path = show(&artifact.archive);
        let (what, repair) = match self.against(&path, Some(artifact.archive_bytes))? {
            Against::Damage | Against::Length => {
                ("is damaged", "restore from another; keep it until a new backup is verified")
            }
            part @ Against::Part => (
                part.what(),
                "see what `cargo xtask backup` says of the source, mend that, and back up again",
            ),
        };
        Some(Finding::error(path, what, repair))
    }

    /// Whether this repository has made it, or taken it over. One that was pruned and is there all the same is ours still.
    pub fn is_on_record(&self, artifact: &Artifact) -> bool {
        let path = show(&artifact.archive);
        self.made.contains_key(&path) || self.pruned.contains(&path)
    }

    /// What the folder of a backup was called when it was made, where that is on record.
    pub fn folder(&self, artifact: &Artifact) -> Option<&OsStr> {
        let source = self.made.get(&show(&artifact.archive))?.source.as_deref()?;
        Path::new(source).file_name()
    }

    /// What is told of a backup that this repository has neither made nor taken over.
    pub fn strange(&self, artifact: &Artifact) -> Option<Finding> {
        let what = "is not on record here: nothing says which repository or machine has made it";
        let repair = "see that it is what you mean; `cargo xtask prune --adopt` takes it over";
        (!self.is_on_record(artifact)).then(|| Finding::warning(show(&artifact.archive), what, repair))
    }

    /// Whether its last verification found damage, or it has another length than it was made with.
    pub fn is_damaged(&self, artifact: &Artifact) -> bool {
        let against = self.against(&show(&artifact.archive), Some(artifact.archive_bytes));
        matches!(against, Some(Against::Damage | Against::Length))
    }

    /// Backups under `destination` that were complete, were not pruned, and are not in its `catalog`. Whoever does not hold
    /// the locks reads the history after the catalogue: what is removed meanwhile is on record before it goes.
    pub fn lost(&self, destination: &Path, catalog: &Catalog) -> Vec<Finding> {
        self.losses(destination, catalog).into_iter().map(|(path, loss)| loss.finding(&path)).collect()
    }

    /// The same, each with what is missing of it.
    pub fn losses(&self, destination: &Path, catalog: &Catalog) -> Vec<(String, Loss)> {
        let there = catalog.archives();
        let listed: HashSet<String> = catalog.incomplete.iter().map(|path| show(path)).collect();
        let expected = self.made.keys().filter(|path| !self.doomed.contains(*path));
        let lost = expected.filter(|path| lies_at(path, destination) && !there.contains(*path));
        lost.map(|path| (path.clone(), if listed.contains(path) { Loss::Marker } else { Loss::Archive }))
            .collect()
    }

    /// Whether a file without a marker is of a backup that was complete and whose archive lies there still: it is no
    /// leftover of a run, and nobody's to sweep.
    pub fn has_lost_marker(&self, file: &Path, catalog: &Catalog) -> bool {
        let Some(name) = catalog::unfinished(file) else { return false };
        let archive = file.with_file_name(name.file());
        let path = show(&archive);
        let was_complete = self.made.contains_key(&path) && !self.doomed.contains(&path);
        was_complete && catalog.incomplete.contains(&archive)
    }

    /// Takes note of a backup that a run without `--dry-run` would have made.
    pub fn would_make(&mut self, path: String) {
        self.last.extend(of_series(&path).map(|of| (of, path.clone())));
        self.made.insert(path, Made::default());
    }

    /// Of the newest backup by name: the one that was made after it all the same. A clock was wrong when either was made.
    pub fn overtaken(&self, newest: &Artifact) -> Option<&str> {
        // Of one that was taken over nobody knows when that was.
        let here = self.made.get(&show(&newest.archive)).is_some_and(|made| made.bytes.is_some());
        self.last_here(newest).filter(|_| here)
    }

    /// Of the newest backup by name: the one that this repository made last, where that is another and has an older name.
    pub fn last_here(&self, newest: &Artifact) -> Option<&str> {
        let path = show(&newest.archive);
        let last = self.last.get(&of_series(&path)?).filter(|last| **last != path)?;
        let time = ArtifactName::parse(Path::new(last).file_name()?.to_str()?)?.time;
        (self.made.contains_key(&path) && time < newest.name.time).then_some(last)
    }
}

/// Folder of the destination and series of an archive, `FOLDER/YYYY/MM-DD/NAME`.
pub(super) fn of_series(path: &str) -> Option<(PathBuf, String)> {
    let path = Path::new(path);
    let name = ArtifactName::parse(path.file_name()?.to_str()?)?;
    Some((path.ancestors().nth(3)?.to_owned(), name.series))
}

/// Whether a backup lies at a destination, as `DESTINATION/YYYY/MM-DD/NAME`, or a lock in a folder of bundles: what is in a
/// folder further down may be another destination's.
pub fn lies_at(path: &str, folder: &Path) -> bool {
    let mut above = Path::new(path).ancestors().skip(1);
    above.next() == Some(folder) || above.nth(1) == Some(folder)
}
