//! Which artifacts stay: a pure function of the artifacts, the policy and the time.
//!
//! Sees no file system and no clock. Every decision carries its reasons. Whatever the policy says, the newest artifact, the
//! one that was made last, the newest verified one, what is younger than the minimum age, what is pinned, what cannot be dated and what is dated
//! in the future stay; an empty policy keeps everything.
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};

/// How many to keep, by which rule. Rules add up: what any of them keeps stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub keep: Option<u32>,
    /// The newest of each of the last so many days that have one.
    pub daily: Option<u32>,
    /// The same by ISO 8601 week.
    pub weekly: Option<u32>,
    /// By month.
    pub monthly: Option<u32>,
    /// By year.
    pub yearly: Option<u32>,
    /// Everything younger than this.
    pub within: Option<SignedDuration>,
    /// Nothing younger than this goes.
    pub min_age: SignedDuration,
}

/// How many `--prune` keeps where neither the call nor the configuration says so.
pub const DEFAULT_KEEP: u32 = 3;

impl Policy {
    /// The newest `keep`.
    pub fn newest(keep: u32) -> Self {
        Self { keep: Some(keep), ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        let counts = [self.keep, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().all(Option::is_none) && self.within.is_none()
    }
}

/// An artifact that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What names it.
    pub id: String,
    /// Only artifacts of the same series count against each other.
    pub series: String,
    /// When it was made; `None` when that cannot be told.
    pub time: Option<Timestamp>,
    /// What is known of it.
    pub state: State,
    /// Whether it is the one that was made last, as far as is known; its time may say otherwise.
    pub last: bool,
    /// Whether somebody laid a `.keep` beside it.
    pub pinned: bool,
    /// What it takes.
    pub bytes: u64,
}

/// What is known of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Nothing bad, nothing proven.
    #[default]
    Unproven,
    /// Its last verification, or drill, passed.
    Verified,
    /// It was made with errors. Counts beside whole ones, and never evicts one.
    Partial,
    /// Its last verification found damage. Counts for nothing, and stays until somebody has looked.
    Damaged,
    /// It is not known yet to have arrived for good. Counts for nothing until it is, and stays.
    Pending,
    /// This repository does not remember making it. Counts for nothing, and stays.
    Foreign,
}

impl State {
    /// What is decided together.
    fn group(self) -> Self {
        if self == Self::Verified { Self::Unproven } else { self }
    }

    /// Whether one in that state takes a place in the rules by which this group is decided.
    fn counts(self, other: Self) -> bool {
        let other = other.group();
        other == self || self == Self::Partial && other == Self::Unproven
    }

    /// Why it stays whatever the rules say.
    fn spared(self) -> Option<&'static str> {
        match self {
            Self::Damaged => Some("damaged: look at it before it goes"),
            Self::Foreign => {
                Some("not made by this repository, as far as it remembers (`prune --adopt` takes it over)")
            }
            Self::Pending => Some("not confirmed yet: its destination's `confirm` has not succeeded"),
            Self::Unproven | Self::Verified | Self::Partial => None,
        }
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// [`Candidate::id`].
    #[serde(rename = "path")]
    pub id: String,
    /// What becomes of it.
    pub decision: Decision,
    /// Why.
    pub reasons: Vec<String>,
    /// What it takes.
    pub bytes: u64,
}

/// How far a name may be ahead of the clock: several backups of one second get names of the seconds behind it.
pub const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// Whether a time lies so far ahead that a clock must be wrong.
fn ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > AHEAD
}

/// A rule puts times in buckets and keeps the newest of each of the newest so many buckets.
type Bucket = fn(Date) -> (i16, i16);
/// How many of a rule's buckets a policy asks for.
type Count = fn(&Policy) -> Option<u32>;

const BUCKETS: [(&str, Bucket, Count); 4] = [
    ("day", |t| (t.year(), t.day_of_year()), |p| p.daily),
    ("week", |t| (t.iso_week_date().year(), t.iso_week_date().week().into()), |p| p.weekly),
    ("month", |t| (t.year(), t.month().into()), |p| p.monthly),
    ("year", |t| (t.year(), 0), |p| p.yearly),
];

/// Decides about every candidate, in their order.
pub fn plan(candidates: &[Candidate], policy: &Policy, now: Timestamp) -> Vec<Item> {
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); candidates.len()];
    let kinds: BTreeSet<(&str, State)> =
        candidates.iter().map(|candidate| (candidate.series.as_str(), candidate.state.group())).collect();
    for (series, group) in kinds.into_iter().filter(|(_, group)| group.spared().is_none()) {
        // Newest first; equal times by name, so that the plan is the same each time.
        let mut members: Vec<(usize, Timestamp)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.series == series && group.counts(candidate.state))
            .filter_map(|(index, candidate)| Some((index, candidate.time?)))
            .collect();
        members.sort_by(|a, b| (b.1, &candidates[b.0].id).cmp(&(a.1, &candidates[a.0].id)));
        let mut found: Vec<Vec<String>> = vec![Vec::new(); candidates.len()];
        keep_in_series(candidates, &members, policy, now, &mut found);
        let own = candidates.iter().zip(found).map(|(one, found)| (one.state.group() == group, found));
        for ((_, found), reasons) in own.zip(&mut reasons).filter(|((own, _), _)| *own) {
            reasons.extend(found);
        }
    }
    for (candidate, reasons) in candidates.iter().zip(&mut reasons) {
        reasons.extend(candidate.state.spared().map(str::to_owned));
        if candidate.pinned {
            reasons.push("pinned: a .keep lies beside it".into());
        }
        if candidate.time.is_none() {
            reasons.push("its age cannot be told".into());
        }
    }
    candidates.iter().zip(reasons).map(|(candidate, reasons)| item(candidate, reasons)).collect()
}

fn item(candidate: &Candidate, mut reasons: Vec<String>) -> Item {
    let decision = if reasons.is_empty() { Decision::Remove } else { Decision::Keep };
    if reasons.is_empty() {
        reasons.push("no rule keeps it".into());
    }
    Item { id: candidate.id.clone(), decision, reasons, bytes: candidate.bytes }
}

fn keep_in_series(
    candidates: &[Candidate],
    members: &[(usize, Timestamp)],
    policy: &Policy,
    now: Timestamp,
    reasons: &mut [Vec<String>],
) {
    let past = || members.iter().filter(|(_, time)| !ahead(*time, now));
    if let Some((index, _)) = members.first() {
        reasons[*index].push("newest".into());
    }
    for (index, _) in members.iter().skip(1).filter(|(index, _)| candidates[*index].last) {
        reasons[*index].push("made last here, though dated before another".into());
    }
    if let Some((index, _)) = members.iter().find(|(index, _)| candidates[*index].state == State::Verified) {
        reasons[*index].push("newest verified".into());
    }
    for (index, time) in members {
        let age = now.duration_since(*time).max(SignedDuration::ZERO);
        if ahead(*time, now) {
            reasons[*index].push("dated in the future: check the clock".into());
        } else if age < policy.min_age {
            reasons[*index].push("younger than the minimum age".into());
        }
        if policy.within.is_some_and(|within| age <= within) {
            reasons[*index].push("within the time to keep everything".into());
        }
        if policy.is_empty() {
            reasons[*index].push("no retention rule is set".into());
        }
    }
    for (index, _) in past().take(policy.keep.unwrap_or(0) as usize) {
        reasons[*index].push(format!("one of the newest {}", policy.keep.unwrap_or(0)));
    }
    for (name, bucket, count) in BUCKETS {
        let mut seen = HashSet::new();
        for (index, time) in past() {
            let key = bucket(Offset::UTC.to_datetime(*time).date());
            if seen.len() < count(policy).unwrap_or(0) as usize && seen.insert(key) {
                reasons[*index].push(format!("newest of its {name}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(times: &[&str]) -> Vec<Candidate> {
        times
            .iter()
            .map(|time| Candidate {
                id: (*time).into(),
                series: "s".into(),
                time: format!("{time}:00:00Z").parse().ok(),
                state: State::Unproven,
                last: false,
                pinned: false,
                bytes: 1,
            })
            .collect()
    }

    /// The ids that stay.
    fn kept(all: &[Candidate], policy: &Policy) -> Vec<String> {
        let now = "2027-01-10T12:00:00Z".parse().expect("a time");
        let items = plan(all, policy, now);
        assert_eq!(items.len(), all.len(), "every artifact is decided");
        assert!(items.iter().all(|item| !item.reasons.is_empty()), "every decision has a reason");
        items.into_iter().filter(|i| i.decision == Decision::Keep).map(|i| i.id).collect()
    }

    #[test]
    fn each_rule_keeps_its_own() {
        let none = Policy::default();
        let rows: [(&str, Policy, &[&str], &[&str]); 8] = [
            (
                "nothing set",
                none.clone(),
                &["2026-01-01T00", "2026-01-02T00"],
                &["2026-01-01T00", "2026-01-02T00"],
            ),
            (
                "newest",
                Policy::newest(2),
                &["2026-01-01T00", "2026-01-02T00", "2026-01-03T00"],
                &["2026-01-02T00", "2026-01-03T00"],
            ),
            (
                "days",
                Policy { daily: Some(2), ..none.clone() },
                &["2026-01-01T00", "2026-01-02T01", "2026-01-02T09", "2026-01-05T00"],
                &["2026-01-02T09", "2026-01-05T00"],
            ),
            // 2026-12-31 and 2027-01-01 lie in ISO week 2026-W53, 2027-01-04 in 2027-W01.
            (
                "ISO week at New Year",
                Policy { weekly: Some(2), ..none.clone() },
                &["2026-12-27T00", "2026-12-31T00", "2027-01-01T00", "2027-01-04T00"],
                &["2027-01-01T00", "2027-01-04T00"],
            ),
            (
                "leap day",
                Policy { monthly: Some(2), ..none.clone() },
                &["2024-02-28T00", "2024-02-29T00", "2024-03-01T00"],
                &["2024-02-29T00", "2024-03-01T00"],
            ),
            (
                "years",
                Policy { yearly: Some(2), ..none.clone() },
                &["2024-01-01T00", "2024-12-31T00", "2025-06-01T00"],
                &["2024-12-31T00", "2025-06-01T00"],
            ),
            (
                "within",
                Policy { within: Some(SignedDuration::from_hours(48)), ..none.clone() },
                &["2027-01-01T00", "2027-01-08T13", "2027-01-10T00"],
                &["2027-01-08T13", "2027-01-10T00"],
            ),
            (
                "the clock was set back",
                Policy::newest(1),
                &["2027-01-01T00", "2027-01-09T00", "2030-01-01T00"],
                &["2027-01-09T00", "2030-01-01T00"],
            ),
        ];
        for (name, policy, times, expected) in rows {
            assert_eq!(kept(&candidates(times), &policy), expected, "{name}");
        }
    }

    #[test]
    fn some_stay_whatever_the_policy() {
        let mut all = candidates(&["2026-01-01T00", "2026-01-02T00", "2026-01-03T00", "2026-01-04T00"]);
        all[0].time = None;
        all[1].state = State::Verified;
        assert_eq!(kept(&all, &Policy::newest(1)), ["2026-01-01T00", "2026-01-02T00", "2026-01-04T00"]);
        let young = Policy { min_age: SignedDuration::from_hours(24 * 400), ..Policy::newest(1) };
        assert_eq!(kept(&all, &young).len(), 4);
    }

    #[test]
    fn what_is_as_old_as_the_minimum_age_may_go() {
        let all = candidates(&["2027-01-09T12", "2027-01-09T13", "2027-01-10T11"]);
        let policy = Policy { min_age: SignedDuration::from_hours(24), ..Policy::newest(1) };
        assert_eq!(kept(&all, &policy), ["2027-01-09T13", "2027-01-10T11"]);
    }

    /// What is damaged, partial or somebody else's takes no place from what is whole, and is not lost for it.
    #[test]
    fn only_what_is_whole_evicts_what_is_whole() {
        let mut all = candidates(&["2026-01-01T00", "2026-01-02T00", "2026-01-03T00", "2026-01-04T00"]);
        for state in [State::Damaged, State::Foreign, State::Pending] {
            (all[2].state, all[3].state) = (state, state);
            assert_eq!(kept(&all, &Policy::newest(1)), ["2026-01-02T00", "2026-01-03T00", "2026-01-04T00"]);
        }
        (all[2].state, all[3].state) = (State::Partial, State::Partial);
        assert_eq!(kept(&all, &Policy::newest(1)), ["2026-01-02T00", "2026-01-04T00"]);
        // One that is older than as many whole ones goes.
        (all[0].state, all[2].state, all[3].state) = (State::Partial, State::Unproven, State::Verified);
        all[1].state = State::Unproven;
        assert_eq!(kept(&all, &Policy::newest(2)), ["2026-01-03T00", "2026-01-04T00"]);
        assert_eq!(kept(&all, &Policy::newest(4)).len(), 4);
        (all[2].state, all[3].state) = (State::Damaged, State::Foreign);
        assert_eq!(kept(&all, &Policy::newest(2)).len(), 4, "they count for nothing here either");
    }

    #[test]
    fn what_is_seconds_ahead_counts_as_made_now() {
        let mut all = candidates(&["2027-01-10T12", "2027-01-10T12", "2027-01-10T12", "2027-01-10T12"]);
        for (seconds, candidate) in [0, 1, 60, 61].into_iter().zip(&mut all) {
            candidate.id = seconds.to_string();
            candidate.time = candidate.time.map(|time| time + SignedDuration::from_secs(seconds));
        }
        assert_eq!(kept(&all, &Policy::newest(1)), ["60", "61"]);
        assert_eq!(kept(&all[..3], &Policy::newest(1)), ["60"]);
    }

    /// A pin adds to what the rules keep, and takes no place from anything.
    #[test]
    fn what_is_pinned_stays() {
        let mut all = candidates(&["2026-01-01T00", "2026-01-02T00", "2026-01-03T00"]);
        all[0].pinned = true;
        assert_eq!(kept(&all, &Policy::newest(1)), ["2026-01-01T00", "2026-01-03T00"]);
    }

    #[test]
    fn days_weeks_and_months_of_two_years_are_two() {
        let same = ["2025-03-05T00", "2026-03-05T00"];
        for policy in [
            Policy { daily: Some(2), ..Policy::default() },
            Policy { weekly: Some(2), ..Policy::default() },
            Policy { monthly: Some(2), ..Policy::default() },
        ] {
            assert_eq!(kept(&candidates(&same), &policy), same, "{policy:?}");
        }
    }

    #[test]
    fn one_series_never_evicts_another() {
        let mut all = candidates(&["2026-01-01T00", "2026-01-02T00", "2026-01-03T00"]);
        all[0].series = "other".into();
        assert_eq!(kept(&all, &Policy::newest(1)), ["2026-01-01T00", "2026-01-03T00"]);
    }
}
