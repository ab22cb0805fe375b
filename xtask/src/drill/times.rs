//! The times of a drill: how long the recovery took (RTO), how old what came back was (RPO), and what a failure would lose.
//!
//! Pure: the plan, the steps that were taken and the times of backups in, seconds out. What is too long is for
//! [`super::verdict`].
use super::done::StepRun;
use super::evidence::Outcome;
use super::steps::{Pick, Plan, Planned, Role, Step};
use crate::destination::retention::AHEAD;
use crate::stopwatch::rounded;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The recovery time: from the first step to the last check, without what a recovery would not do; when all of it passed.
pub fn rto_seconds(plan: &Plan, runs: &[StepRun]) -> Option<f64> {
    let steps: Vec<_> = runs.iter().filter(|run| plan.is_recovery(run.step)).collect();
    let all_passed = !steps.is_empty() && steps.iter().all(|run| run.outcome == Outcome::Pass);
    // A sample says nothing of how long all of it takes.
    let sampled = |a: &Planned| a.pick == Pick::Latest && a.demands.sample.is_some();
    let all_passed = all_passed && !plan.artifacts.iter().any(sampled);
    (all_passed && plan.missing().is_empty()).then(|| rounded(steps.iter().map(|run| run.seconds).sum()))
}

/// Whether the latest artifact of every data set was restored: only then the age of restored data is known.
pub fn all_restored(plan: &Plan, runs: &[StepRun]) -> bool {
    let latest = |index: &usize| {
        plan.artifacts[*index].kind.role == Role::Data && plan.artifacts[*index].pick == Pick::Latest
    };
    let restored = |index: usize| {
        runs.iter().any(|run| run.step == Step::Restore(index) && run.outcome == Outcome::Pass)
    };
    let missing = plan.missing().iter().any(|kind| kind.role == Role::Data);
    !missing && (0..plan.artifacts.len()).filter(latest).all(restored)
}

/// The recovery point: how old the restored data was when the drill began, for the set where that is worst. `None` without
/// data, and where some is dated later than that: see [`ahead_seconds`].
pub fn rpo_seconds(
    plan: &Plan,
    confirmed: &BTreeMap<String, Timestamp>,
    started_at: Timestamp,
) -> Option<f64> {
    let known = ahead_seconds(plan, confirmed, started_at).is_none();
    let ages = latest_data(plan).map(|a| age(as_of(a, confirmed), started_at));
    ages.max_by(f64::total_cmp).filter(|_| known)
}

/// How long after the start of the drill the newest data is dated that it restores; `None` where none is: a clock is or was
/// wrong, and nobody knows how old it is.
pub fn ahead_seconds(
    plan: &Plan,
    confirmed: &BTreeMap<String, Timestamp>,
    started_at: Timestamp,
) -> Option<f64> {
    let ahead = latest_data(plan).map(|a| age(started_at, as_of(a, confirmed)));
    ahead.max_by(f64::total_cmp).filter(|seconds| *seconds > 0.0)
}

/// The latest artifact of each data set.
pub(super) fn latest_data(plan: &Plan) -> impl Iterator<Item = &Planned> {
    plan.artifacts.iter().filter(|a| a.kind.role == Role::Data && a.pick == Pick::Latest)
}

/// As of when its source held the same: a backup of which that was `confirmed` later (by bare file name) is as new as that.
pub fn as_of(artifact: &Planned, confirmed: &BTreeMap<String, Timestamp>) -> Timestamp {
    confirmed.get(&artifact.file).map_or(artifact.created_at, |time| *time.max(&artifact.created_at))
}

/// What a failure at `at` would lose: the age of the newest backup of each of `sets`, of the set where that is worst.
/// `None` without sets, and when one of them has no backup: then it would lose all; or one that is dated later than that.
pub fn loss_seconds<'a>(
    sets: impl IntoIterator<Item = &'a str>,
    newest: &BTreeMap<String, Timestamp>,
    at: Timestamp,
) -> Option<f64> {
    // A second run within a second is dated a second later.
    let known = |time: &&Timestamp| time.duration_since(at) <= AHEAD;
    let ages: Option<Vec<f64>> =
        sets.into_iter().map(|set| newest.get(set).filter(known).map(|time| age(*time, at))).collect();
    ages?.into_iter().max_by(f64::total_cmp)
}

/// Seconds between the two; never negative.
fn age(of: Timestamp, at: Timestamp) -> f64 {
    rounded(at.duration_since(of).as_secs_f64().max(0.0))
}

#[cfg(test)]
#[path = "times_tests.rs"]
pub(crate) mod tests;
