//! Whether recovery is possible now, to which time, how fast, and when that was last proven: the first line of `status`,
//! and the `recovery` of its document. Pure.
//!
//! It speaks of the data sets: a release comes back from its bundle, and without one from its commit. What is dated in the
//! future counts for nothing here: a clock was wrong when it was made, or is wrong now.
use crate::commands::overdue::ours;
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::known::Known;
use crate::destination::retention::AHEAD;
use crate::drill::due::{FULL, SPOT};
use crate::drill::evidence::render::duration;
use crate::drill::evidence::{Evidence, Verdict};
use crate::drill::steps::Role;
use crate::shown::show;
use crate::ui::span;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Recovery {
    /// Whether each set has a sound backup at a destination that is there.
    possible: bool,
    /// RFC 3339, UTC: the oldest among the newest sound backups of the sets.
    to: Option<String>,
    age_seconds: Option<i64>,
    rpo_target_seconds: Option<f64>,
    rto_seconds: Option<f64>,
    /// The kind of drill that measured it.
    rto_of: Option<String>,
    rto_target_seconds: Option<f64>,
    /// RFC 3339, UTC: when the last verified drill began that restored a set; of several sets, where it is the longest ago.
    proven_at: Option<String>,
    proven_age_seconds: Option<i64>,
    /// Its kind.
    proven_by: Option<String>,
    /// The sets that no verified drill has restored, where one has restored others.
    #[serde(skip)]
    unproven: Vec<String>,
    /// Why it is not possible.
    reasons: Vec<String>,
    /// The variables of passphrases that it takes and that are not set here.
    #[serde(skip)]
    pub passphrases: BTreeSet<String>,
    /// The sets whose newest sound backup was neither made nor read here.
    #[serde(skip)]
    pub unseen: Vec<String>,
}

const NO_SET: &str = "no data set is configured";

/// What is aimed at, as configured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Targets {
    /// How long recovery may take.
    pub rto: Option<SignedDuration>,
    /// How old the data may be.
    pub rpo: Option<SignedDuration>,
}

/// A backup that is whole, as far as anything here knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sound {
    /// When it was made, or was last seen to hold what its source holds.
    pub as_of: Timestamp,
    /// Whether it was made, or read through, here: of another's nothing tells but its name.
    pub seen: bool,
}

/// What a series comes back from at a destination: the newest of its whole backups that are known to have arrived.
pub(super) fn sound(known: &Known, catalog: &Catalog, series: &str, now: Timestamp) -> Option<Sound> {
    let as_of = |artifact: &Artifact| {
        let path = show(&artifact.archive);
        let confirmed = known.confirmed.get(&path).copied();
        let times = confirmed.into_iter().chain([artifact.name.time]);
        // A second run within a second is dated a second later.
        // Of one that was taken over nothing is known but that.
        let made = known.made.get(&path).is_some_and(|made| made.bytes.is_some());
        let as_of = times.filter(|time| !is_ahead(*time, now)).max()?.min(now);
        Some(Sound { as_of, seen: made || known.verified.contains(&path) })
    };
    let whole = |artifact: &&Artifact| {
        known.wrong_with(artifact).is_none()
            && !known.pending.contains(&show(&artifact.archive))
            && !is_ahead(artifact.name.time, now)
    };
    ours(known, catalog, series).filter(whole).filter_map(as_of).max()
}

fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > AHEAD
}

/// Whether a drill restored a backup of the set.
fn had(drill: &Evidence, set: &str) -> bool {
    drill.artifacts.iter().any(|artifact| artifact.role == Role::Data && artifact.set == set)
}

/// The last verified drill of a set, by the order of the records; of any drill where no set is asked for.
pub(super) fn proven<'a>(drills: &[&'a Evidence], set: Option<&str>, now: Timestamp) -> Option<&'a Evidence> {
    let good = |drill: &&Evidence| {
        let is_of = set.is_none_or(|set| had(drill, set));
        is_of && drill.result == Verdict::Verified && !is_ahead(drill.started_at, now)
    };
    drills.iter().copied().rev().find(good)
}

/// The drill that says how fast recovery of all sets is: the last full one that was verified, else the last spot one that
/// measured it.
fn measured<'a>(drills: &[&'a Evidence], sets: &[&str], now: Timestamp) -> Option<&'a Evidence> {
    let counts = |drill: &&Evidence| {
        let full = drill.kind == FULL && drill.result == Verdict::Verified;
        let spot = drill.kind == SPOT && drill.result != Verdict::CouldNotRun;
        let measured = drill.rto_seconds.is_some() && sets.iter().all(|set| had(drill, set));
        measured && (full || spot) && !is_ahead(drill.started_at, now)
    };
    let last = |kind| drills.iter().copied().rev().filter(counts).find(|drill| drill.kind == kind);
    last(FULL).or_else(|| last(SPOT))
}

impl Recovery {
    /// Of these sets, each with the time as of which it comes back, and these drills in the order of their records.
    pub(super) fn of(
        sets: &[(&str, Option<Timestamp>)],
        drills: &[&Evidence],
        targets: Targets,
        now: Timestamp,
    ) -> Self {
        let lacks = |(set, as_of): &(&str, Option<Timestamp>)| {
            as_of.is_none().then(|| format!("{set} has no sound backup at a destination that is there"))
        };
        let mut reasons: Vec<String> = sets.iter().filter_map(lacks).collect();
        if sets.is_empty() {
            reasons.push(NO_SET.into());
        }
        let to = sets.iter().filter_map(|(_, as_of)| *as_of).min().filter(|_| reasons.is_empty());
        let names: Vec<&str> = sets.iter().map(|(set, _)| *set).collect();
        let measured = measured(drills, &names, now);
        // As long ago as the set whose proof is the oldest.
        let each = names.iter().map(|set| (*set, proven(drills, Some(set), now)));
        let (with, without): (Vec<_>, Vec<_>) = each.partition(|(_, drill)| drill.is_some());
        let oldest = with.iter().filter_map(|(_, drill)| *drill).min_by_key(|drill| drill.started_at);
        let proven = match names.is_empty() {
            true => proven(drills, None, now),
            false => oldest.filter(|_| without.is_empty()),
        };
        let unproven = if with.is_empty() { Vec::new() } else { without };
        let old = |time: Timestamp| now.duration_since(time).as_secs().max(0);
        Self {
            possible: reasons.is_empty(),
            to: to.map(|to| to.to_string()),
            age_seconds: to.map(old),
            rpo_target_seconds: targets.rpo.map(|target| target.as_secs_f64()),
            rto_seconds: measured.and_then(|drill| drill.rto_seconds),
            rto_of: measured.map(|drill| drill.kind.clone()),
            rto_target_seconds: targets.rto.map(|target| target.as_secs_f64()),
            proven_at: proven.map(|drill| drill.started_at.to_string()),
            proven_age_seconds: proven.map(|drill| old(drill.started_at)),
            proven_by: proven.map(|drill| drill.kind.clone()),
            unproven: unproven.into_iter().map(|(set, _)| set.to_owned()).collect(),
            reasons,
            passphrases: BTreeSet::new(),
            unseen: Vec::new(),
        }
    }

    /// The answer in a line.
    pub(super) fn sentence(&self) -> String {
        let ago = |seconds: i64| format!("{} ago", span(SignedDuration::from_secs(seconds)));
        let now = match (&self.to, self.age_seconds) {
            (Some(to), Some(age)) if self.passphrases.is_empty() => format!("yes, to {to} ({})", ago(age)),
            (Some(to), Some(age)) => {
                let names: Vec<&str> = self.passphrases.iter().map(|name| &**name).collect();
                format!("with the passphrase in {}, to {to} ({})", names.join(" and "), ago(age))
            }
            // That is no failure: a repository may have nothing but releases.
            _ if self.reasons == [NO_SET] => NO_SET.into(),
            _ => format!("NO: {}", self.reasons.join("; ")),
        };
        let now = match (&self.to, &self.unseen[..]) {
            (Some(_), [_, ..]) => {
                let sets = self.unseen.join(" and ");
                format!(
                    "{now}, if the backup of {sets} is whole: nothing is on record here of making or reading it"
                )
            }
            _ => now,
        };
        let fast = match (self.rto_seconds, self.rto_of.as_deref()) {
            (Some(seconds), Some(FULL)) => {
                format!("took {} in the last verified full drill", duration(Some(seconds)))
            }
            (Some(seconds), Some(kind)) => {
                format!("took {} in the last {kind} drill that measured it", duration(Some(seconds)))
            }
            _ => "no drill has measured how long it takes".into(),
        };
        let proof = match (self.proven_age_seconds, &self.proven_by) {
            (Some(age), Some(kind)) => format!("last proven {} by a {kind} drill", ago(age)),
            _ if !self.unproven.is_empty() => {
                format!("never proven by a drill for {}", self.unproven.join(", "))
            }
            _ => "never proven by a drill".into(),
        };
        format!("could we recover now? {now}; {fast}; {proof}")
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
