//! `.recovery/`: what this repository remembers of its runs. Restoring never needs it.
//!
//! `history.jsonl` is append-only, one JSON object a line. It is what notices that a backup which was complete is
//! gone although nothing pruned it. A removal has two records, `pruning` before it and `pruned` behind it: after a kill in
//! between, what is gone is no loss, and what is there is a backup as before.
use super::durable::append_line;
use super::history;
use super::known::{Canary, Known, Made, lies_at, of_series};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::HashSet;
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
    use super::super::catalog::Catalog;
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
