//! From what a drill of any kind has measured to its record.
//!
//! Pure. What a kind of drill does, and what of it must pass, is its own; how it is written down is the same for all:
//! one [`Evidence`], with missed targets as findings, and an owner and a date for whatever calls for action.
use super::done::StepRun;
use super::evidence::coverage::Coverage;
use super::evidence::frame::Frame;
use super::evidence::{ArtifactRecord, Evidence, SCHEMA_VERSION, StepRecord, ToolVersion};
use super::steps::Plan;
use super::verdict::{Judgement, missed};
use crate::finding::Finding;
use crate::stopwatch::rounded;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What a drill has measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was restored.
    pub artifacts: Vec<ArtifactRecord>,
    /// Every step.
    pub steps: Vec<StepRecord>,
    /// How long the recovery took; `None` when not all of it passed.
    pub rto_seconds: Option<f64>,
    /// How old the restored data was when the drill began.
    pub rpo_seconds: Option<f64>,
    /// How long after the drill began it is dated, where it is.
    pub rpo_ahead_seconds: Option<f64>,
    /// What a failure at its end would have lost.
    pub loss_now_seconds: Option<f64>,
    /// How much of what is retained the drills up to this one have covered; empty for a full drill, which takes the latest.
    pub coverage: Vec<Coverage>,
    /// What it leaves unproven.
    pub not_tested: Vec<String>,
    /// What was found, but for missed targets.
    pub findings: Vec<Finding>,
    /// What it has shown.
    pub judgement: Judgement,
    /// When it ended: see [`end`].
    pub finished_at: Timestamp,
}

/// A step of a spot drill, as the record has it.
pub fn step(plan: &Plan, run: StepRun) -> StepRecord {
    StepRecord {
        name: plan.name(run.step),
        expected: plan.expected(run.step),
        outcome: run.outcome,
        seconds: run.seconds,
        bytes: run.bytes,
        detail: run.detail,
    }
}

/// The record, not yet chained to the one before it.
pub fn evidence(frame: &Frame, measured: Measured) -> Evidence {
    let seconds = |target: Option<SignedDuration>| target.map(|target| target.as_secs_f64());
    let (rto_target_seconds, rpo_target_seconds) = (seconds(frame.rto_target), seconds(frame.rpo_target));
    let Measured { rto_seconds, rpo_seconds, loss_now_seconds, .. } = measured;
    let targets =
        missed((rto_seconds, rto_target_seconds), (rpo_seconds, rpo_target_seconds), loss_now_seconds);
    let findings = measured.findings.into_iter().chain(targets);
    Evidence {
        schema_version: SCHEMA_VERSION,
        id: frame.id.clone(),
        kind: frame.kind.into(),
        trigger: frame.trigger.clone(),
        operator: Some(frame.operator.clone()),
        recovered_by: frame.recovered_by.clone(),
        host: frame.host.clone(),
        tool: ToolVersion { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        started_at: frame.started_at,
        finished_at: measured.finished_at,
        artifacts: measured.artifacts,
        steps: measured.steps,
        rto_seconds: rto_seconds.map(rounded),
        rto_target_seconds,
        rpo_seconds: rpo_seconds.map(rounded),
        rpo_target_seconds,
        rpo_ahead_seconds: measured.rpo_ahead_seconds,
        loss_now_seconds: loss_now_seconds.map(rounded),
        coverage: measured.coverage,
        not_tested: measured.not_tested,
        findings: findings.map(|finding| frame.assigned(finding)).collect(),
        result: measured.judgement.result,
        reasons: measured.judgement.reasons,
        signature: None,
        lost: vec![],
        previous_sha256: None,
        also_follows: vec![],
    }
}

/// When something ended that began at `started_at`, by its stopwatch, in whole milliseconds: a clock that is set meanwhile
/// does not count.
pub fn end(started_at: Timestamp, elapsed: Duration) -> Timestamp {
    let elapsed = SignedDuration::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(0));
    started_at.saturating_add(elapsed).unwrap_or(started_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_what_the_stopwatch_says_in_whole_milliseconds() {
        let began: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a time");
        assert_eq!(end(began, Duration::from_micros(1_500_999)), began + SignedDuration::from_millis(1500));
        assert_eq!(end(began, Duration::MAX), began);
    }
}
