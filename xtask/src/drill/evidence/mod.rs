//! The evidence: what is written down of drills, and whether it is there as it was written.
//!
//! It knows what a drill is about ([`super::steps`]) and what must not be told of it ([`super::redact`]), and nothing of how
//! one is run: whoever runs one uses the words of the record, and [`super::measured`] makes it. Its place among the others is
//! for [`chain`], its page for [`render`], its row for [`checklist`], its signature for [`signed`]; [`record`] stores them.
//!
//! Here is the record itself: one JSON document, how it is written, and how old ones are read. Pure. Records of a newer
//! schema are refused, because what they mean is unknown here; unknown *fields* of a known schema are passed over.
pub mod chain;
pub mod checklist;
pub mod coverage;
pub mod frame;
mod known;
pub mod lost;
mod mended;
pub mod record;
pub mod render;
mod rows;
pub mod signed;
pub mod trend;

use super::redact::Redaction;
use super::steps::{Pick, Role};
use crate::archive::FormatError;
use crate::error::Error;
use crate::finding::Finding;
use crate::stopwatch::rounded;
use coverage::{Coverage, Part};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The newest schema that this version writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done, and as it should be.
    Pass,
    /// Done or tried, and not as it should be.
    Fail,
    /// Not done on purpose. Skipped is not passed.
    Skip,
    /// Not done, because a step that it needs did not pass or the run was interrupted.
    Blocked,
    /// Not done within its time.
    Timeout,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Blocked => "blocked",
            Self::Timeout => "timeout",
        })
    }
}

/// What the drill has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that must come back came back.
    Verified,
    /// The drill ran, and at least one thing did not come back or was not looked at.
    NotVerified,
    /// The drill could not be carried out; nothing is known.
    CouldNotRun,
}

impl Verdict {
    /// The word in records, tables and documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::NotVerified => "not_verified",
            Self::CouldNotRun => "could_not_run",
        }
    }
}

/// The program that did the drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// An artifact that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Release or data.
    pub role: Role,
    /// Name of the release or data set.
    pub set: String,
    /// Bare file name.
    pub path: String,
    /// SHA-256 of the stored archive as it was read; empty when it could not be read.
    pub sha256: String,
    /// Bytes of the stored archive.
    pub bytes: u64,
    /// When it was made.
    #[serde(with = "time")]
    pub created_at: Timestamp,
    /// The latest of its set, or an older one by rotation.
    #[serde(default)]
    pub pick: Pick,
    /// The destination whose copy it is, where several have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// Which share of it was restored and compared; `None` for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Whether that came back; older records say it of the drill as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<bool>,
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// See [`super::steps::Plan::name`].
    pub name: String,
    /// What had to be seen for it to pass; empty in records that do not say.
    #[serde(default)]
    pub expected: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// Bytes that it went through, for steps that go through bytes.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// What was seen, for people.
    #[serde(default)]
    pub detail: String,
}

impl StepRecord {
    /// How fast it was, in MB (a million bytes) a second; `None` where it went through nothing, or took no time that was
    /// measured.
    pub fn mb_per_second(&self) -> Option<f64> {
        let bytes = self.bytes.filter(|bytes| *bytes > 0)?;
        (self.seconds > 0.0).then(|| rounded(bytes as f64 / 1e6 / self.seconds))
    }
}

/// How a drill was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    /// At a terminal.
    Terminal,
    /// By cron, anacron or at.
    Cron,
    /// By a unit of systemd.
    Systemd,
    /// By a job of a build server.
    Ci,
    /// In another way, or in one that did not show.
    Other,
}

impl Started {
    /// In words, behind the name of who did it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Terminal => "at a terminal",
            Self::Cron => "by cron",
            Self::Systemd => "by systemd",
            Self::Ci => "in a CI job",
            Self::Other => "without a terminal",
        }
    }
}

/// Who or what ran a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The name of the user that the run had.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// Who had logged in, where that is somebody else (`sudo`, `su`), as the environment says.
    pub login: Option<String>,
    /// How it was started.
    pub started_by: Started,
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.login {
            Some(login) => write!(f, "{login} as {}, {}", self.user, self.started_by.words()),
            None => write!(f, "{}, {}", self.user, self.started_by.words()),
        }
    }
}

/// The signature that lies beside a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Fingerprint of the gpg key.
    pub key: String,
    /// Bare file name of the detached signature of the record's bytes.
    pub file: String,
}

/// A record that is missing, as far as is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Its id.
    pub id: String,
    /// Digest of its bytes; `None` where nothing knows it any more.
    pub sha256: Option<String>,
}

/// The record of one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `drill-<stamp>-spot`; also the name of its files.
    pub id: String,
    /// `spot` or `full`; `lost` for a record that is of no drill: see [`Evidence::lost`].
    pub kind: String,
    /// What started it: `manual` or `if-due`.
    pub trigger: String,
    /// Who or what ran it; `None` in records that do not say.
    #[serde(default)]
    pub operator: Option<Operator>,
    /// Who or what has ended it with `recover`, where it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_by: Option<Operator>,
    /// The machine's name.
    pub host: String,
    /// The program.
    pub tool: ToolVersion,
    /// When it began.
    #[serde(with = "time")]
    pub started_at: Timestamp,
    /// When it ended, by the run's stopwatch: a clock set in between does not change it.
    #[serde(with = "time")]
    pub finished_at: Timestamp,
    /// What was restored.
    pub artifacts: Vec<ArtifactRecord>,
    /// What was done.
    pub steps: Vec<StepRecord>,
    /// Seconds that bringing back the latest artifacts took; `None` when not all of it passed.
    pub rto_seconds: Option<f64>,
    /// How many it may take.
    pub rto_target_seconds: Option<f64>,
    /// Age of the restored data at the start of the drill: of the set whose latest backup is oldest.
    pub rpo_seconds: Option<f64>,
    /// How old it may be.
    pub rpo_target_seconds: Option<f64>,
    /// How long after the start of the drill the newest restored data is dated: then its age is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_ahead_seconds: Option<f64>,
    /// What a failure at the end of the drill would have lost: age of the newest backup, of the set where that is worst.
    #[serde(default)]
    pub loss_now_seconds: Option<f64>,
    /// How much of what is retained the drills up to this one have covered.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// What this drill leaves unproven.
    #[serde(default)]
    pub not_tested: Vec<String>,
    /// What was found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What it has shown.
    pub result: Verdict,
    /// Why it is no better than that; empty when it is verified.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What signs this record, if anything does.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Records that were lost, which somebody has accepted; `reasons` says why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// Digest of the record before this one; `None` for the first.
    pub previous_sha256: Option<String>,
    /// Digests of the other ends that the chain had then: drills were done in several clones or branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_follows: Vec<String>,
}

impl Evidence {
    /// Digests of the records right before this one; none for the first.
    pub fn follows(&self) -> impl Iterator<Item = &str> {
        self.previous_sha256.iter().chain(&self.also_follows).map(String::as_str)
    }

    /// Who or what ran it, and who has ended it where it was killed; `None` where the record does not say.
    pub fn ran_by(&self) -> Option<String> {
        let ended = self.recovered_by.as_ref().map_or_else(String::new, |by| format!("; recovered by {by}"));
        self.operator.as_ref().map(|operator| format!("{operator}{ended}"))
    }

    /// Behind the result: of what only a sample was restored; empty where all of everything was.
    pub fn sampled(&self) -> String {
        let parts = self.artifacts.iter().filter(|artifact| artifact.part.is_some());
        let sets: BTreeSet<&str> = parts.map(|artifact| artifact.set.as_str()).collect();
        let sets: Vec<&str> = sets.into_iter().collect();
        if sets.is_empty() {
            String::new()
        } else {
            format!(" (of {} only a sample was restored)", sets.join(", "))
        }
    }

    /// The JSON text that is stored.
    ///
    /// # Errors
    /// Never for values that [`super::measured`] makes; a seconds value that is no number cannot be written.
    pub fn to_json(&self) -> Result<String, FormatError> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| FormatError::Malformed(error.to_string()))?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a record of this or an older schema.
    ///
    /// # Errors
    /// `Newer` for a newer schema, whatever else is in it; `Malformed` for what is no record.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Head {
            schema_version: u32,
        }
        let malformed =
            |error: serde_json::Error| FormatError::Malformed(format!("no drill record: {error}"));
        let Head { schema_version: found } = serde_json::from_slice(bytes).map_err(malformed)?;
        if found > SCHEMA_VERSION {
            let what = "a drill record";
            return Err(FormatError::Newer { what, found, supported: SCHEMA_VERSION });
        }
        if found == 0 {
            return Err(FormatError::Malformed("no drill record: schema_version is 0".into()));
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The record with every secret and environment value taken out of every free text.
    pub fn redacted(mut self, redaction: &Redaction) -> Self {
        for step in &mut self.steps {
            for text in [&mut step.name, &mut step.expected, &mut step.detail] {
                *text = redaction.text(text);
            }
        }
        for finding in &mut self.findings {
            *finding = redaction.finding(finding);
        }
        for text in self.not_tested.iter_mut().chain(&mut self.reasons) {
            *text = redaction.text(text);
        }
        self
    }
}

/// Why something failed. What an interrupted drill leaves, and what it removes, is for the drill to say.
pub(super) fn why(error: &Error) -> String {
    match error {
        Error::Interrupted => "the drill was interrupted".into(),
        error => error.chain(),
    }
}

/// Times as RFC 3339 text.
pub(super) mod time {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
pub(crate) mod tests;
