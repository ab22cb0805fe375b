//! The journal of a full drill: how to get back, as one small file that is replaced as a whole.
//!
//! It is on disk before the step that it speaks of, and it alone is enough to bring everything back: no configuration, no
//! destination and no archive is needed for that. While it is there, a drill is open.
use super::swap::Swap;
use crate::archive::FormatError;
use crate::destination::{durable, lock, read};
use crate::drill::evidence::{ArtifactRecord, Operator, StepRecord, time};
use crate::error::{Error, Result};
use crate::shown::show;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The newest schema that this version writes and reads.
const SCHEMA_VERSION: u32 = 1;

/// What is to become of the live folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// They are to come back.
    Open,
    /// They are back, or were never moved; the service is to run on them again.
    Back,
    /// Everything is where it is to stay, the live folders in place or aside for a while; the evidence may be missing.
    Kept,
}

/// See the head of this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// See [`Journal::SCHEMA`].
    pub schema_version: u32,
    /// The drill's id.
    pub id: String,
    /// What started it.
    pub trigger: String,
    /// When it began.
    #[serde(with = "time")]
    pub started_at: Timestamp,
    /// Who or what began it.
    #[serde(default)]
    pub operator: Option<Operator>,
    /// How long the recovery may take, in seconds.
    #[serde(default)]
    pub rto_target_seconds: Option<i64>,
    /// How old the data may be, in seconds.
    #[serde(default)]
    pub rpo_target_seconds: Option<i64>,
    /// See [`Phase`].
    pub phase: Phase,
    /// The folders that it replaces.
    pub swaps: Vec<Swap>,
    /// How the service is stopped and started.
    pub service: Service,
    /// The file that says so; `None` where that is not known.
    #[serde(default)]
    pub configuration: Option<PathBuf>,
    /// Where its evidence goes.
    pub evidence_dir: PathBuf,
    /// Whether what was restored stays though it is not what lies aside: that may be all there is of it, and is kept.
    pub differs: bool,
    /// How long what lies aside is kept, in seconds.
    pub keep_aside_seconds: i64,
    /// The gpg key that signs it.
    #[serde(default)]
    pub sign_with: Option<String>,
    /// What was restored.
    pub artifacts: Vec<ArtifactRecord>,
    /// The steps that have ended.
    pub steps: Vec<StepRecord>,
}

/// How the service is stopped and started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Shell line.
    pub stop: String,
    /// Shell line.
    pub start: String,
    /// Where both run.
    pub folder: PathBuf,
    /// What each may take, in seconds.
    pub deadline_seconds: u64,
    /// Names of the variables that they see.
    pub environment: Vec<String>,
    /// Names of the variables whose values are shown nowhere.
    pub secrets: Vec<String>,
}

/// Where the journal of the memory folder `memory` lies.
pub fn path(memory: &Path) -> PathBuf {
    memory.join("drill.json")
}

impl Journal {
    /// The schema that is written.
    pub const SCHEMA: u32 = SCHEMA_VERSION;

    /// That of an open drill; `None` when none is open.
    ///
    /// # Errors
    /// When it is there and cannot be read: then somebody has to look.
    pub fn load(memory: &Path) -> Result<Option<Self>> {
        let path = path(memory);
        let bytes = match read::small(&path) {
            Ok(bytes) => bytes,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = |error: serde_json::Error| {
            let what = format!("{} is not the journal of a drill that it should be: {error}", show(&path));
            let next = "see whether live data lies in a `.recovery-full-…` folder beside its place, move it back, remove \
                        the journal, and start the service";
            Error::refused(what, next)
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
        match value["schema_version"].as_u64() {
            Some(found) if found > u64::from(SCHEMA_VERSION) => {
                let found = u32::try_from(found).unwrap_or(u32::MAX);
                let newer =
                    FormatError::Newer { what: "a drill's journal", found, supported: SCHEMA_VERSION };
                Err(Error::format(&path)(newer))
            }
            _ => serde_json::from_value(value).map(Some).map_err(malformed),
        }
    }

    /// Puts it on disk.
    ///
    /// # Errors
    /// When it does not get there; then the step that it speaks of must not be taken.
    pub fn save(&self, memory: &Path) -> Result<()> {
        let path = path(memory);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::format(&path)(FormatError::Malformed(error.to_string())))?;
        durable::replace(&path, &text, 0o600)
    }

    /// The drill is over.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn close(memory: &Path) -> Result<()> {
        durable::remove(&path(memory)).map(|_| ())
    }
}

/// Refuses what must not run while live data may lie aside.
///
/// # Errors
/// [`Error::Refused`] when a drill is open.
pub fn refuse_open(memory: &Path) -> Result<()> {
    match Journal::load(memory)? {
        // Everything is where it is to be.
        None | Some(Journal { phase: Phase::Kept, .. }) => Ok(()),
        Some(journal) => Err(Error::refused(open(&journal), NEXT)),
    }
}

/// Refuses a dry run, which holds no lock, beside a drill that is at work: that was not killed.
///
/// # Errors
/// [`Error::Busy`].
pub fn not_at_work(memory: &Path) -> Result<()> {
    match (Journal::load(memory)?, lock::holder_of(memory)) {
        (Some(_), Some(holder)) => Err(Error::Busy { what: "this repository".into(), holder }),
        _ => Ok(()),
    }
}

/// Both, for a run that holds the lock unless it is a dry one.
///
/// # Errors
/// As [`refuse_open`] and [`not_at_work`].
pub fn refuse_beside(memory: &Path, dry_run: bool) -> Result<()> {
    if dry_run {
        not_at_work(memory)?;
    }
    refuse_open(memory)
}

/// What is said of an open drill.
pub fn open(journal: &Journal) -> String {
    let of = format!("the full drill {} did not come to its end", journal.id);
    match journal.phase {
        Phase::Open => format!("{of}: live data may lie aside, and the service may be stopped"),
        Phase::Back => format!("{of}: the live data is back, and the service may be stopped"),
        Phase::Kept => format!("{of}: only its evidence is missing"),
    }
}

/// What mends it.
pub const NEXT: &str = "run `cargo xtask restore-drill recover`";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::drill::full) fn sample() -> Journal {
        Journal {
            schema_version: SCHEMA_VERSION,
            id: "drill-1".into(),
            trigger: "manual".into(),
            started_at: Timestamp::UNIX_EPOCH,
            operator: None,
            rto_target_seconds: None,
            rpo_target_seconds: None,
            phase: Phase::Open,
            swaps: vec![],
            service: Service {
                stop: "true".into(),
                start: "true".into(),
                folder: "/".into(),
                deadline_seconds: 10,
                environment: vec![],
                secrets: vec![],
            },
            configuration: None,
            evidence_dir: "/nowhere".into(),
            differs: false,
            keep_aside_seconds: 0,
            sign_with: None,
            artifacts: vec![],
            steps: vec![],
        }
    }

    #[test]
    fn it_is_there_until_it_is_closed() {
        let home = tempfile::tempdir().expect("a folder");
        assert_eq!(Journal::load(home.path()).expect("reads"), None);
        refuse_open(home.path()).expect("nothing is open");
        sample().save(home.path()).expect("saves");
        assert_eq!(Journal::load(home.path()).expect("reads"), Some(sample()));
        refuse_open(home.path()).expect_err("open");
        Journal::close(home.path()).expect("closes");
        refuse_open(home.path()).expect("closed");
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_closed() {
        let home = tempfile::tempdir().expect("a folder");
        for text in ["", "{", "{}", r#"{"schema_version": 9}"#] {
            std::fs::write(path(home.path()), text).expect("writes");
            refuse_open(home.path()).expect_err(text);
        }
    }
}
