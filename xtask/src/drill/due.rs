//! When a backup, a verification or a drill is to be done again, and since when it is overdue.
//!
//! Pure: last results, cadence and the time go in. Two questions that differ on purpose. *Due* asks whether a run that is
//! started now has work: a little before the time is up, because a line that runs each day may start a minute earlier than
//! the day before, or an hour on the day of summer time, and would then leave out every second day. *Overdue* asks whether
//! somebody has to be told: only when the time is up.
//!
//! A drill of one kind does not stand for the other: the full one restores the latest artifacts in place, the spot one
//! those before them too, and shows that damage is noticed.
use super::evidence::chain::{Stored, chained};
use super::evidence::{Evidence, Verdict};
use super::steps::Role;
use crate::destination::known::{Known, lies_at};
use crate::destination::names::ArtifactName;
use crate::destination::retention::AHEAD;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// How much earlier than its time a run may do the work: a tenth of the cadence, and not more than this.
const EARLY: SignedDuration = SignedDuration::from_hours(3);

/// The kind that a record of a spot drill has.
pub const SPOT: &str = "spot";
/// The kind that a record of a full drill has.
pub const FULL: &str = "full";

/// Whether something is to be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now(Why),
    /// Not before this time.
    At(Timestamp),
}

/// Why it is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No cadence is set: whoever asks is the cadence.
    NoCadence,
    /// It was never done, as far as is known.
    Never,
    /// The last one did not come to a good end.
    Failed,
    /// What the last ones said was lost.
    Lost,
    /// The last good one is of this time.
    Old(Timestamp),
}

/// What is overdue, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// It was never done.
    Never,
    /// Its time was up then.
    Since(Timestamp),
}

/// What is dated in the future says nothing about when the next is due.
fn past(last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    last.filter(|last| last.duration_since(now) <= AHEAD)
}

/// The newest of these times that is not dated in the future, and only where all are, the newest of them: one run under a
/// wrong clock does not hide what was done under a right one.
pub fn newest_past(times: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Option<Timestamp> {
    times.into_iter().max_by_key(|time| (past(Some(*time), now).is_some(), *time))
}

/// Whether to do it now; `last` is when it was last done well.
pub fn due(last: Option<Timestamp>, every: Option<SignedDuration>, now: Timestamp) -> Due {
    let Some(every) = every else { return Due::Now(Why::NoCadence) };
    let Some(last) = past(last, now) else { return Due::Now(Why::Never) };
    let early = (every / 10).min(EARLY);
    match last.checked_add(every - early) {
        Ok(at) if at > now => Due::At(at),
        _ => Due::Now(Why::Old(last)),
    }
}

/// Whether its time is up; never without a cadence.
pub fn overdue(last: Option<Timestamp>, every: Option<SignedDuration>, now: Timestamp) -> Option<Overdue> {
    let every = every?;
    let Some(last) = past(last, now) else { return Some(Overdue::Never) };
    let at = last.checked_add(every).ok()?;
    (now > at).then_some(Overdue::Since(at))
}

/// The last drill of a kind, by the order of the records: a clock may have been set back.
pub fn last<'a>(records: &'a [Stored], kind: &str) -> Option<&'a Evidence> {
    back(records).find(|evidence| evidence.kind == kind)
}

/// Whether records of drills were accepted as lost behind the last drill of a kind: nobody knows what they said, so the
/// next drill is due.
pub fn is_lost_since(records: &[Stored], kind: &str) -> bool {
    back(records).take_while(|evidence| evidence.kind != kind).any(|evidence| !evidence.lost.is_empty())
}

/// The newest first; those of other clones and branches, too.
fn back(records: &[Stored]) -> impl Iterator<Item = &Evidence> {
    chained(records.iter().collect()).into_iter().rev().map(|record| &record.evidence)
}

/// When the last drill of a kind that was verified began.
pub fn verified(records: &[Stored], kind: &str, now: Timestamp) -> Option<Timestamp> {
    let good = records.iter().map(|record| &record.evidence);
    let good = good.filter(|drill| drill.kind == kind && drill.result == Verdict::Verified);
    good.map(|drill| drill.started_at).filter(|time| past(Some(*time), now).is_some()).max()
}

/// Whether a drill of this kind is due. One that was not verified, or could not run, counts for nothing: while it is the
/// last of its kind, the next is due at once.
pub fn drill(records: &[Stored], kind: &str, every: Option<SignedDuration>, now: Timestamp) -> Due {
    match last(records, kind) {
        Some(last) if last.result != Verdict::Verified => Due::Now(Why::Failed),
        _ if every.is_some() && is_lost_since(records, kind) => Due::Now(Why::Lost),
        _ => due(verified(records, kind, now), every, now),
    }
}

/// The first of these sets that has a backup here, and that no drill on record has had: what others have proven says nothing
/// of it.
pub fn undrilled<'a>(
    sets: impl IntoIterator<Item = &'a str>,
    known: &Known,
    records: &[Stored],
) -> Option<&'a str> {
    let has_backup = |set: &str| {
        let series = |path: &String| ArtifactName::parse(Path::new(path).file_name()?.to_str()?);
        known.made.keys().filter_map(series).any(|name| name.series == set)
    };
    let was_drilled = |set: &str| {
        let mut had = records.iter().flat_map(|record| &record.evidence.artifacts);
        had.any(|artifact| artifact.role == Role::Data && artifact.set == set)
    };
    sets.into_iter().find(|set| has_backup(set) && !was_drilled(set))
}

/// Whether the user has said that live data may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// With `--yes`.
    Given,
    /// Not at all.
    Missing,
}

/// Which drill `--if-due` runs where none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The full one.
    Full,
    /// The spot one.
    Spot,
    /// The full one is due, and nobody has said that it may.
    FullNeedsConsent,
    /// None before this time; `None` where that is not known.
    Nothing(Option<Timestamp>),
}

/// The drill whose turn it is: the full one where it has a cadence, is due, and may; else the spot one where it is due.
/// One run does one drill; the other has its turn with the next.
pub fn turn(
    records: &[Stored],
    (spot_every, full_every): (Option<SignedDuration>, Option<SignedDuration>),
    consent: Consent,
    now: Timestamp,
) -> Turn {
    // Without a cadence a full drill is never begun by a schedule.
    let full = full_every.map(|every| drill(records, FULL, Some(every), now));
    let spot = drill(records, SPOT, spot_every, now);
    match (full, consent, spot) {
        (Some(Due::Now(_)), Consent::Given, _) => Turn::Full,
        (_, _, Due::Now(_)) => Turn::Spot,
        (Some(Due::Now(_)), Consent::Missing, Due::At(_)) => Turn::FullNeedsConsent,
        (Some(Due::At(full)), _, Due::At(spot)) => Turn::Nothing(Some(full.min(spot))),
        (None, _, Due::At(spot)) => Turn::Nothing(Some(spot)),
    }
}

/// As of when the backups of a series at a destination are good, as far as this repository remembers. What is partial,
/// damaged, about to be removed, or not known to have arrived, is none.
pub fn backed_up(known: &Known, series: &str, destination: &Path, now: Timestamp) -> Option<Timestamp> {
    let good = known.made.keys().filter(|path| {
        let whole = !known.partial.contains(*path) && !known.damaged.contains(*path);
        whole && !known.doomed.contains(*path) && !known.pending.contains(*path)
    });
    let here = good.filter(|path| lies_at(path, destination));
    let times = here.filter_map(|path| {
        let name = ArtifactName::parse(Path::new(path).file_name()?.to_str()?)?;
        let confirmed = known.confirmed.get(path).copied();
        (name.series == series).then(|| std::iter::once(name.time).chain(confirmed))
    });
    newest_past(times.flatten(), now)
}

/// When an artifact of this time was last read and compared: when it was made, which ends with that, or since then. What
/// was recorded last counts, not the later time: what a clock that was ahead has made would never be settled.
pub fn read_back(known: &Known, archive: &str, made: Timestamp) -> Timestamp {
    known.checked.get(archive).copied().unwrap_or(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::known::Made;
    use crate::drill::evidence::chain::LOST;
    use crate::drill::evidence::tests::{chain, next, sample, stored};
    use crate::drill::evidence::{ArtifactRecord, Lost};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const MONTH: SignedDuration = SignedDuration::from_hours(24 * 31);

    #[test]
    fn due_comes_a_little_before_the_time_is_up_and_overdue_after_it() {
        let last = Some(at("2026-03-01T03:23:00Z"));
        for (every, early, up) in [
            (DAY, "2026-03-02T00:59:00Z", "2026-03-02T03:23:00Z"),
            (MONTH, "2026-04-01T00:23:00Z", "2026-04-01T03:23:00Z"),
            (SignedDuration::from_mins(10), "2026-03-01T03:32:00Z", "2026-03-01T03:33:00Z"),
        ] {
            let second = SignedDuration::from_secs(1);
            assert_eq!(due(last, Some(every), at(early) - second), Due::At(at(early)), "{every}");
            assert!(matches!(due(last, Some(every), at(early)), Due::Now(Why::Old(_))), "{every}");
            assert_eq!(overdue(last, Some(every), at(up)), None, "{every}");
            assert_eq!(overdue(last, Some(every), at(up) + second), Some(Overdue::Since(at(up))));
        }
    }

    /// A line that runs each day does the work each day: minutes earlier, and on the short day of summer time.
    #[test]
    fn a_daily_line_leaves_out_no_day() {
        let mut last = at("2026-03-27T03:23:40Z");
        for run in ["2026-03-28T03:23:02Z", "2026-03-29T02:23:01Z", "2026-03-30T02:23:01Z"] {
            assert!(matches!(due(Some(last), Some(DAY), at(run)), Due::Now(_)), "{run}");
            last = at(run);
        }
        assert!(matches!(due(Some(last), Some(DAY), at("2026-03-30T20:00:00Z")), Due::At(_)));
    }

    #[test]
    fn without_a_cadence_it_is_always_due_and_never_overdue() {
        let now = at("2026-03-02T00:00:00Z");
        assert_eq!(due(Some(now), None, now), Due::Now(Why::NoCadence));
        assert_eq!(overdue(None, None, now), None);
    }

    #[test]
    fn what_was_never_done_or_is_of_the_future_is_due_and_overdue() {
        let now = at("2026-03-02T00:00:00Z");
        for last in [None, Some(at("2027-01-01T00:00:00Z"))] {
            assert_eq!(due(last, Some(DAY), now), Due::Now(Why::Never));
            assert_eq!(overdue(last, Some(DAY), now), Some(Overdue::Never));
        }
        // A second run within a second is dated a second later.
        assert!(matches!(due(Some(at("2026-03-02T00:00:02Z")), Some(DAY), now), Due::At(_)));
    }

    #[test]
    fn due_counts_from_the_last_verified_drill() {
        let mut records = chain();
        let is_due = |records: &[Stored], every, now: &str| {
            matches!(drill(records, SPOT, every, at(now)), Due::Now(_))
        };
        assert!(is_due(&[], Some(DAY), "2026-03-01T00:00:00Z"));
        assert!(!is_due(&records, Some(DAY), "2026-03-04T07:35:59Z"));
        assert!(is_due(&records, Some(DAY), "2026-03-04T07:36:00Z"));
        assert!(is_due(&records, None, "2026-03-03T10:00:00Z"));
        for result in [Verdict::NotVerified, Verdict::CouldNotRun] {
            records[2].evidence.result = result;
            assert!(is_due(&records, Some(MONTH), "2026-03-03T10:00:01Z"), "the last was not verified");
        }
        records[2].evidence.result = Verdict::Verified;
        records[1].evidence.result = Verdict::NotVerified;
        assert!(!is_due(&records, Some(MONTH), "2026-03-03T10:00:01Z"), "one that was done again since");
    }

    /// spot, spot, spot as they are; the second or third made a full one.
    fn with_full(number: usize, result: Verdict) -> Vec<Stored> {
        let mut records = chain();
        (records[number].evidence.kind, records[number].evidence.result) = (FULL.into(), result);
        records
    }

    #[test]
    fn a_drill_of_one_kind_does_not_stand_for_the_other() {
        let now = at("2026-03-03T12:00:00Z");
        let failed = with_full(2, Verdict::NotVerified);
        assert!(matches!(drill(&failed, SPOT, Some(MONTH), now), Due::At(_)), "the full one failed");
        assert_eq!(drill(&failed, FULL, Some(MONTH), now), Due::Now(Why::Failed));
        let before = with_full(1, Verdict::CouldNotRun);
        assert_eq!(drill(&before, FULL, Some(MONTH), now), Due::Now(Why::Failed), "no spot mends it");
        assert!(matches!(drill(&with_full(1, Verdict::Verified), FULL, Some(MONTH), now), Due::At(_)));
        assert_eq!(drill(&chain(), FULL, Some(MONTH), now), Due::Now(Why::Never));
    }

    #[test]
    fn the_full_drill_goes_first_and_never_without_cadence_and_consent() {
        use Consent::{Given, Missing};
        let now = at("2026-03-03T12:00:00Z");
        let of = |records: &[Stored], spot, full, consent| turn(records, (spot, full), consent, now);
        let (month, day) = (Some(MONTH), Some(SignedDuration::from_hours(2)));
        let spots = chain();
        assert_eq!(of(&[], month, month, Given), Turn::Full);
        assert_eq!(of(&[], month, month, Missing), Turn::Spot);
        assert_eq!(of(&[], month, None, Given), Turn::Spot);
        assert_eq!(of(&spots, month, month, Given), Turn::Full);
        assert_eq!(of(&spots, month, month, Missing), Turn::FullNeedsConsent);
        assert_eq!(of(&spots, day, month, Missing), Turn::Spot);
        assert_eq!(of(&spots, month, None, Given), Turn::Nothing(Some(at("2026-04-03T07:00:00Z"))));
        let both = with_full(1, Verdict::Verified);
        assert_eq!(of(&both, month, month, Given), Turn::Nothing(Some(at("2026-04-02T07:00:00Z"))));
        assert_eq!(of(&with_full(1, Verdict::CouldNotRun), month, month, Given), Turn::Full);
        assert_eq!(of(&both, None, month, Given), Turn::Spot, "without a cadence each run does a spot drill");
    }

    #[test]
    fn a_drill_of_another_branch_is_the_last_of_its_kind_too() {
        let mut records = chain();
        let full = Evidence { kind: FULL.into(), ..sample(2, Some(&records[0].sha256.clone())) };
        records.push(stored(Evidence { id: "drill-2026-03-02T100000Z-full".into(), ..full }));
        for _ in 0..2 {
            assert_eq!(last(&records, FULL).map(|drill| &*drill.id), Some("drill-2026-03-02T100000Z-full"));
            records.push(stored(next(9, &records)));
        }
    }

    #[test]
    fn a_broken_chain_is_no_endless_walk() {
        let mut records = chain();
        records[0].evidence.previous_sha256 = Some(records[2].sha256.clone());
        assert_eq!(last(&records, FULL), None);
    }

    #[test]
    fn a_set_with_a_backup_that_no_drill_has_had_is_told() {
        let mut known = Known::default();
        let mut make = |series: &str| {
            let path = format!("/d/2026/03-01/{series}-2026-03-01T000000Z.tar.gz");
            known.made.insert(path, Made::default());
            known.clone()
        };
        let (db, files, logs) = (make("db"), make("files-cold"), make("logs"));
        let sets = ["db", "files", "logs"];
        let mut records = chain();
        assert_eq!(undrilled(sets, &db, &[]), Some("db"), "no drill at all");
        assert_eq!(undrilled(sets, &db, &records), None, "the only one that has a backup was drilled");
        assert_eq!(undrilled(sets, &files, &records), None, "a series of another name is not the set's");
        assert_eq!(undrilled(sets, &logs, &records), Some("logs"));
        let had = records[1].evidence.artifacts[0].clone();
        let release = ArtifactRecord { set: "logs".into(), role: Role::Release, ..had.clone() };
        records[1].evidence.artifacts.push(release);
        assert_eq!(undrilled(sets, &logs, &records), Some("logs"), "a release of that name is no data");
        records[0].evidence.artifacts.push(ArtifactRecord { set: "logs".into(), ..had });
        assert_eq!(undrilled(sets, &logs, &records), None, "once is enough");
    }

    #[test]
    fn an_artifact_was_read_back_when_it_was_made_or_since() {
        let mut known = Known::default();
        let (made, later) = (at("2026-03-01T00:00:00Z"), at("2026-03-02T00:00:00Z"));
        assert_eq!(read_back(&known, "/a", made), made);
        known.checked.insert("/a".into(), later);
        assert_eq!((read_back(&known, "/a", made), read_back(&known, "/b", made)), (later, made));
        let ahead = at("2027-03-01T00:00:00Z");
        assert_eq!((read_back(&known, "/a", ahead), read_back(&known, "/b", ahead)), (later, ahead));
    }

    #[test]
    fn only_whole_backups_of_the_series_at_the_destination_count() {
        let path = |folder: &str, series: &str, day: u8| {
            format!("{folder}/2026/03-{day:02}/{series}-2026-03-{day:02}T000000Z.tar.gz")
        };
        let mut known = Known::default();
        for (folder, series, day) in
            [("/d", "a", 1), ("/d", "a", 2), ("/d", "a-x", 5), ("/dd", "a", 6), ("/d", "a", 3)]
        {
            known.made.insert(path(folder, series, day), Made::default());
        }
        let now = at("2026-03-10T00:00:00Z");
        let last = |known: &Known| backed_up(known, "a", Path::new("/d"), now).map(|time| time.to_string());
        assert_eq!(last(&known).as_deref(), Some("2026-03-03T00:00:00Z"));
        let newest = path("/d", "a", 3);
        for spoil in 0..4 {
            let mut known = known.clone();
            match spoil {
                0 => assert!(known.damaged.insert(newest.clone())),
                1 => assert!(known.doomed.insert(newest.clone())),
                2 => assert!(known.pending.insert(newest.clone())),
                _ => assert!(known.partial.insert(newest.clone())),
            }
            assert_eq!(last(&known).as_deref(), Some("2026-03-02T00:00:00Z"), "{spoil}");
        }
        known.confirmed.insert(path("/d", "a", 1), at("2026-03-09T00:00:00Z"));
        assert_eq!(last(&known).as_deref(), Some("2026-03-09T00:00:00Z"), "it still holds what there is");
        assert_eq!(backed_up(&known, "b", Path::new("/d"), now), None);
        // A clock that was ahead once hides nothing.
        known.confirmed.insert(path("/d", "a", 1), at("2027-03-09T00:00:00Z"));
        known.made.insert(path("/d", "a", 20), Made::default());
        assert_eq!(last(&known).as_deref(), Some("2026-03-03T00:00:00Z"));
        known.made.retain(|path, _| path.contains("/03-20/"));
        assert_eq!(last(&known).as_deref(), Some("2026-03-20T00:00:00Z"), "it is told as what it is");
    }

    #[test]
    fn records_that_were_lost_since_make_the_next_drill_due() {
        let now = at("2026-03-05T12:00:00Z");
        let next = |records: &[Stored], day, change: &dyn Fn(&mut Evidence)| {
            let mut record = sample(day, records.last().map(|record| &*record.sha256));
            change(&mut record);
            [records, &[stored(record)]].concat()
        };
        let lost = |record: &mut Evidence| {
            record.kind = LOST.into();
            record.lost = vec![Lost { id: "gone".into(), sha256: None }];
        };
        let records = next(&chain(), 4, &lost);
        assert!(is_lost_since(&records, SPOT) && !is_lost_since(&chain(), SPOT));
        assert_eq!(drill(&records, SPOT, Some(MONTH), now), Due::Now(Why::Lost));
        assert_eq!(drill(&records, SPOT, None, now), Due::Now(Why::NoCadence));
        let full = next(&records, 5, &|record| record.kind = FULL.into());
        assert!(is_lost_since(&full, SPOT) && !is_lost_since(&full, FULL));
        let spot = next(&records, 5, &|_| {});
        assert!(!is_lost_since(&spot, SPOT) && is_lost_since(&spot, FULL));
    }
}
