//! The evidence of a drill: one JSON record, how old ones are read, and the chain through all of them.
//!
//! Pure. A record names in `previous_sha256` the digest of the record before it, so that one which was
//! changed or taken away later is noticed by the next. Records of a newer schema are refused, because what
//! they mean is unknown here; unknown *fields* of a known schema are passed over.
use super::redact::Redaction;
use super::steps::{Pick, Plan, Role, Step};
use crate::archive::FormatError;
use crate::finding::Finding;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// See [`Plan::name`].
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen, for people.
    #[serde(default)]
    pub detail: String,
}

/// A step that was taken, before it becomes a [`StepRecord`].
#[derive(Debug, Clone)]
pub struct StepRun {
    /// Which step of the plan.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen.
    pub detail: String,
    /// How many things were looked at, for steps that look at things.
    pub checked: Option<u64>,
}

/// The record of one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `drill-<stamp>-spot`; also the name of its files.
    pub id: String,
    /// `spot` or `full`.
    pub kind: String,
    /// What started it: `manual` or `if-due`.
    pub trigger: String,
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
    /// Age of the data at the start of the drill: of the set whose latest backup is oldest.
    pub rpo_seconds: Option<f64>,
    /// How old it may be.
    pub rpo_target_seconds: Option<f64>,
    /// What this drill leaves unproven.
    #[serde(default)]
    pub not_tested: Vec<String>,
    /// What was found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What it has shown.
    pub result: Verdict,
    /// Digest of the record before this one; `None` for the first.
    pub previous_sha256: Option<String>,
}

impl Evidence {
    /// The JSON text that is stored.
    ///
    /// # Errors
    /// Never for values that [`super::run`] makes; a seconds value that is no number cannot be written.
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
            step.name = redaction.text(&step.name);
            step.detail = redaction.text(&step.detail);
        }
        for finding in &mut self.findings {
            *finding = redaction.finding(finding);
        }
        for gap in &mut self.not_tested {
            *gap = redaction.text(gap);
        }
        self
    }
}

/// Seconds to a thousandth: more digits say nothing and make records hard to read.
pub fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The recovery time: the sum over the recovery steps, when all of them passed.
pub fn rto_seconds(plan: &Plan, runs: &[StepRun]) -> Option<f64> {
    let steps: Vec<_> = runs.iter().filter(|run| plan.is_recovery(run.step)).collect();
    let all_passed = !steps.is_empty() && steps.iter().all(|run| run.outcome == Outcome::Pass);
    (all_passed && plan.missing().is_empty()).then(|| rounded(steps.iter().map(|run| run.seconds).sum()))
}

/// The recovery point: how old the data was when the drill began, for the set where that is worst; never
/// negative. `None` without data.
pub fn rpo_seconds(plan: &Plan, started_at: Timestamp) -> Option<f64> {
    plan.artifacts
        .iter()
        .filter(|a| a.kind.role == Role::Data && a.pick == Pick::Latest)
        .map(|a| started_at.duration_since(a.created_at).as_secs_f64().max(0.0))
        .max_by(f64::total_cmp)
        .map(rounded)
}

/// A record as it lies in the evidence folder.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Bare file name.
    pub file: String,
    /// Digest of its bytes.
    pub sha256: String,
    /// What it says.
    pub evidence: Evidence,
}

/// When each artifact (bare file name) was last restored by a drill that ran; for the rotation.
pub fn last_drilled(records: &[Stored]) -> BTreeMap<String, Timestamp> {
    let mut last = BTreeMap::new();
    for record in records.iter().filter(|r| r.evidence.result != Verdict::CouldNotRun) {
        for artifact in &record.evidence.artifacts {
            let at = record.evidence.started_at;
            let known = last.entry(artifact.path.clone()).or_insert(at);
            *known = at.max(*known);
        }
    }
    last
}

/// The record to chain to: the newest that no other names as the one before it. By links rather than by
/// time, because a clock may be set back.
pub fn newest(records: &[Stored]) -> Option<&Stored> {
    let named: BTreeSet<_> = records.iter().filter_map(|r| r.evidence.previous_sha256.as_deref()).collect();
    let by_time =
        |a: &&Stored, b: &&Stored| (a.evidence.started_at, &a.file).cmp(&(b.evidence.started_at, &b.file));
    let ends = records.iter().filter(|record| !named.contains(record.sha256.as_str()));
    ends.max_by(by_time)
}

/// Whether the records make one unbroken chain: one first record, every other names exactly one that is
/// there, and no two name the same.
pub fn check_chain(records: &[Stored]) -> Vec<Finding> {
    const REPAIR: &str = "bring the records back from version control";
    let there: BTreeSet<_> = records.iter().map(|record| record.sha256.as_str()).collect();
    let mut named_by: BTreeMap<Option<&str>, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for record in records {
        let previous = record.evidence.previous_sha256.as_deref();
        if let Some(digest) = previous.filter(|digest| !there.contains(digest)) {
            let what = format!("the record before it ({:.12}…) is gone or was changed", digest);
            findings.push(Finding::error(&record.file, what, REPAIR));
        } else if let Some(other) = named_by.insert(previous, &record.file) {
            let what = match previous {
                Some(_) => format!("follows the same record as {other}: the chain has two ends"),
                None => format!("claims to be the first record, and so does {other}"),
            };
            findings.push(Finding::error(&record.file, what, REPAIR));
        }
    }
    if !records.is_empty() && !records.iter().any(|record| record.evidence.previous_sha256.is_none()) {
        findings.push(Finding::error(&records[0].file, "the first record of the chain is gone", REPAIR));
    }
    findings
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
