//! `.recovery/`: what this repository remembers of its runs. Restoring never needs it.
//!
//! `history.jsonl` is append-only, one JSON object a line. It is what notices that a backup which was complete is
//! gone although nothing pruned it. A removal has two records, `pruning` before it and `pruned` behind it: after a kill in
//! between, what is gone is no loss, and what is there is a backup as before.
use super::catalog::{self, Artifact, Catalog};
use super::durable::append_line;
use super::history;
use super::names::ArtifactName;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
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

/// The history as it was when it was read. What is recorded since is not in it.
#[derive(Debug, Default, Clone)]
pub struct Remembered {
    /// Every record that parses, oldest first; a torn line is passed over.
    pub records: Vec<Value>,
    /// The lines that are not what was written: what they told may be forgotten, or wrong.
    pub damage: Option<Finding>,
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
            Self::Part => "holds only a part: something could not be read when it was made",
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
                "let the backup's user read everything, and back up again; `restore --at` names an older one",
            ),
        };
        Some(Finding::error(path, what, repair))
    }

    /// Whether this repository has made it, or taken it over. One that was pruned and is there all the same is ours still.
    pub fn is_on_record(&self, artifact: &Artifact) -> bool {
        let path = show(&artifact.archive);
        self.made.contains_key(&path) || self.pruned.contains(&path)
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
        let path = show(&newest.archive);
        let last = self.last.get(&of_series(&path)?).filter(|last| **last != path)?;
        let time = ArtifactName::parse(Path::new(last).file_name()?.to_str()?)?.time;
        (self.made.contains_key(&path) && time < newest.name.time).then_some(last)
    }
}

/// Folder of the destination and series of an archive, `FOLDER/YYYY/MM-DD/NAME`.
fn of_series(path: &str) -> Option<(PathBuf, String)> {
    let path = Path::new(path);
    let name = ArtifactName::parse(path.file_name()?.to_str()?)?;
    Some((path.ancestors().nth(3)?.to_owned(), name.series))
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
        if !self.root.is_dir() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
            made.map_err(Error::io("create", &self.root))?;
            super::durable::sync_folder(self.root.parent().unwrap_or(&self.root))?;
        }
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
        append_line(&self.file(), &history::line(record), history::TORN)
    }

    /// Notes that something was done with an artifact: `verified`, `pruning`, `pruned`, …
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&self, kind: &str, time: &str, artifact: &Path) -> Result<()> {
        self.record(&json!({"kind": kind, "time": time, "artifact": show(artifact)}))
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match super::read::open(&self.file()).map(|mut file| file.read_to_end(&mut bytes)) {
            Ok(Ok(_)) => Ok(bytes),
            Ok(Err(error)) => Err(Error::io("read", &self.file())(error)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads the history.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> Result<Remembered> {
        let (records, lines) = history::read(&self.bytes()?);
        Ok(Remembered { records, damage: damaged(&self.file(), &lines) })
    }

    /// What the history says now of artifacts, for who asks nothing else of it.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn known(&self) -> Result<Known> {
        self.read().map(|remembered| remembered.known())
    }

    /// Ends the records of removals below `folder` that a kill has cut off: what is not `there` is gone. Whoever calls it
    /// holds the lock of what lies there.
    ///
    /// # Errors
    /// When a record cannot be written.
    pub fn settle(
        &self,
        known: &mut Known,
        folder: &Path,
        there: &HashSet<String>,
        time: &str,
    ) -> Result<()> {
        let open: Vec<String> = known.doomed.iter().filter(|path| lies_at(path, folder)).cloned().collect();
        for path in open {
            known.doomed.remove(&path);
            let kind = if there.contains(&path) { "spared" } else { "pruned" };
            self.event(kind, time, Path::new(&path))?;
            if kind == "pruned" {
                known.made.remove(&path);
                known.pruned.insert(path);
            }
        }
        Ok(())
    }
}

/// Whether a backup lies at a destination, as `DESTINATION/YYYY/MM-DD/NAME`, or a lock in a folder of bundles: what is in a
/// folder further down may be another destination's.
pub fn lies_at(path: &str, folder: &Path) -> bool {
    let mut above = Path::new(path).ancestors().skip(1);
    above.next() == Some(folder) || above.nth(1) == Some(folder)
}

/// The lines of a history that are not what was written.
fn damaged(file: &Path, lines: &[usize]) -> Option<Finding> {
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    let what = match lines.len() {
        0 => return None,
        1 => format!("is damaged in line {}", lines[0]),
        2..=20 => format!("is damaged in the lines {}", lines.join(", ")),
        many => format!("is damaged in {many} lines, first in line {}", lines[0]),
    };
    let repair = "bring it back from a copy, or remove these lines: what they told is forgotten then, and \
                  `cargo xtask prune --adopt` takes over backups that no line names";
    Some(Finding::error(show(file), what, repair))
}

impl Remembered {
    /// What is known of the artifacts that are still there as far as this repository remembers.
    pub fn known(&self) -> Known {
        let mut known = Known::default();
        for record in &self.records {
            let time = record["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
            if let ("snapshot", Some(lock)) =
                (record["kind"].as_str().unwrap_or_default(), record["lock"].as_str())
            {
                let tarball = format!("{}.tar.gz", lock.strip_suffix(".lock.json").unwrap_or(lock));
                if record["status"] == "damaged" {
                    known.damaged.insert(tarball);
                } else {
                    // It was made anew, or found whole.
                    known.damaged.remove(&tarball);
                    known.checked.remove(&tarball);
                    known.bundled.extend(time.map(|time| (lock.to_owned(), time)));
                }
            }
            match (record["kind"].as_str(), record["tag"].as_str(), record["image_id"].as_str()) {
                (Some("untagging"), Some(tag), Some(id)) => {
                    drop(known.untagging.insert(tag.to_owned(), id.to_owned()));
                }
                (Some("untagged"), Some(tag), _) => drop(known.untagging.remove(tag)),
                _ => {}
            }
            let (Some(kind), Some(path)) = (record["kind"].as_str(), record["artifact"].as_str()) else {
                continue;
            };
            let path = path.to_owned();
            if ["verified", "damaged"].contains(&kind) {
                known.checked.extend(time.map(|time| (path.clone(), time)));
            }
            let partial = record["errors"].as_u64().unwrap_or(0) > 0;
            match kind {
                "backup" => {
                    // What was known of a file of this name was of another.
                    known.doomed.remove(&path);
                    known.damaged.remove(&path);
                    known.verified.remove(&path);
                    known.checked.remove(&path);
                    known.pending.remove(&path);
                    known.sampled.remove(&path);
                    let seconds = record["seconds"].as_f64();
                    let bytes = record["bytes"].as_u64();
                    let state = record["state"].as_str().map(str::to_owned);
                    if record["pending"] == true {
                        known.pending.insert(path.clone());
                    }
                    let names = |names: &Vec<Value>| {
                        names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
                    };
                    let recipients = record["recipients"].as_array().map(names);
                    let canary = Canary::deserialize(&record["canary"]).ok();
                    known.last.extend(of_series(&path).map(|of| (of, path.clone())));
                    let source = record["source"].as_str().map(str::to_owned);
                    let made = Made { bytes, recipients, state, canary, seconds, source };
                    match partial {
                        true => known.partial.insert(path.clone()),
                        false => known.partial.remove(&path),
                    };
                    known.made.insert(path, made);
                }
                "confirmed" => known.confirmed.extend(time.map(|time| (path, time))),
                "adopted" => drop(known.made.insert(path, Made::default())),
                "pruning" => drop(known.doomed.insert(path)),
                "spared" => drop(known.doomed.remove(&path)),
                "verified" => {
                    known.damaged.remove(&path);
                    known.partial.extend(partial.then(|| path.clone()));
                    known.verified.insert(path);
                }
                "sampled" => {
                    known.partial.extend(partial.then(|| path.clone()));
                    let parts = record["parts"].as_u64().zip(record["of"].as_u64());
                    known.sampled.extend(parts.map(|parts| (path, parts)));
                }
                "damaged" => {
                    known.verified.remove(&path);
                    known.sampled.remove(&path);
                    known.damaged.insert(path);
                }
                "uploaded" => drop(known.pending.remove(&path)),
                "pruned" | "forgotten" => {
                    known.made.remove(&path);
                    known.partial.remove(&path);
                    known.pending.remove(&path);
                    known.doomed.remove(&path);
                    known.last.retain(|_, last| *last != path);
                    known.pruned.insert(path);
                }
                _ => {}
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever removes a damaged copy gets a new one of the same name.
    #[test]
    fn a_new_backup_takes_the_word_on_the_old_one_back() {
        let home = tempfile::tempdir().expect("a folder");
        let memory = Memory::at(home.path());
        memory.open().expect("opens");
        let path = home.path().join("a");
        for kind in ["damaged", "verified"] {
            memory.event("backup", "t", &path).expect("records");
            memory.event(kind, "t", &path).expect("records");
            let known = memory.known().expect("reads");
            assert_eq!(known.damaged.len() + known.verified.len(), 1, "{known:?}");
            memory.event("backup", "t", &path).expect("records");
            let known = memory.known().expect("reads");
            assert!(known.damaged.is_empty() && known.verified.is_empty() && known.made.len() == 1);
        }
    }

    #[test]
    fn a_backup_that_vanished_is_noticed() {
        let home = tempfile::tempdir().expect("a folder");
        let memory = Memory::at(home.path());
        memory.open().expect("opens");
        let drive = home.path().join("drive");
        // Nor is what lies at a destination below it.
        memory.event("backup", "t", &drive.join("below/2026/03-01/c")).expect("records");
        let (home_of, drive) = (drive.clone(), drive.join("2026/03-01"));
        for name in ["a", "b"] {
            memory.event("backup", "t", &drive.join(name)).expect("records");
        }
        memory.event("pruned", "t", &drive.join("a")).expect("records");
        let lost = || memory.known().expect("reads").lost(&home_of, &Catalog::default());
        assert!(lost().len() == 1 && lost()[0].path.ends_with("/b"), "{:?}", lost());
        // A removal that was begun is no loss, until somebody has seen the backup again.
        memory.event("pruning", "t", &drive.join("b")).expect("records");
        assert_eq!(lost(), []);
        memory.event("spared", "t", &drive.join("b")).expect("records");
        assert_eq!(lost().len(), 1);
        let mut known = memory.known().expect("reads");
        assert!(known.made.len() == 2 && known.doomed.is_empty(), "{known:?}");
        memory.event("pruning", "t", &drive.join("b")).expect("records");
        known = memory.known().expect("reads");
        memory.settle(&mut known, &home_of, &HashSet::new(), "t").expect("records");
        assert!(known.made.len() == 1 && known.pruned.len() == 2, "{known:?}");
        assert_eq!(memory.known().expect("reads").made.len(), 1);
        assert_eq!(memory.read().expect("reads").damage, None);
        assert_eq!(fs::read_to_string(home.path().join(".recovery/.gitignore")).expect("there"), "*\n");
    }
}
