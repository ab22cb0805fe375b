//! The answer by what it stands on: sets, drills, targets, and a clock that is wrong.
use super::*;
use crate::drill::evidence::ArtifactRecord;
use crate::drill::evidence::tests::sample;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

const NOW: &str = "2026-03-20T12:00:00Z";

fn of(sets: &[(&str, Option<&str>)], drills: &[Evidence]) -> Recovery {
    let sets: Vec<_> = sets.iter().map(|(set, time)| (*set, time.map(at))).collect();
    let targets = Targets { rto: Some(SignedDuration::from_hours(1)), rpo: None };
    Recovery::of(&sets, &drills.iter().collect::<Vec<_>>(), targets, at(NOW))
}

fn drill(kind: &str, day: i8, result: Verdict, rto_seconds: Option<f64>) -> Evidence {
    let started_at = at(&format!("2026-03-{day:02}T10:00:00Z"));
    let drill = Evidence { kind: kind.into(), started_at, result, rto_seconds, ..sample(1, None) };
    with(&["a"], drill)
}

/// A drill that had a backup of each of these sets.
fn with(sets: &[&str], mut drill: Evidence) -> Evidence {
    let backup =
        drill.artifacts.iter().find(|artifact| artifact.role == Role::Data).expect("a backup").clone();
    let of = |set: &&str| ArtifactRecord { set: (*set).into(), ..backup.clone() };
    drill.artifacts.retain(|artifact| artifact.role == Role::Release);
    drill.artifacts.extend(sets.iter().map(of));
    drill
}

/// What a drill has not restored, it has not proven.
#[test]
fn each_set_is_proven_by_a_drill_of_its_own_backup() {
    let sets = [("a", Some(NOW)), ("b", Some(NOW))];
    let one = |day, sets: &[&str]| with(sets, drill("spot", day, Verdict::Verified, Some(3.0)));
    let none = of(&sets, &[one(2, &[])]);
    assert_eq!((&none.proven_at, none.rto_seconds), (&None, None));
    assert!(none.sentence().ends_with("never proven by a drill"), "{}", none.sentence());
    let half = of(&sets, &[one(2, &["a"])]);
    assert_eq!((&half.proven_at, half.rto_seconds), (&None, None));
    assert!(half.sentence().ends_with("never proven by a drill for b"), "{}", half.sentence());
    let both = of(&sets, &[one(2, &["b"]), one(3, &["a"])]);
    assert_eq!(both.proven_at.as_deref(), Some("2026-03-02T10:00:00Z"), "the one that is the longest ago");
    assert_eq!(of(&sets, &[one(2, &["a", "b"]), one(3, &["a"])]).rto_seconds, Some(3.0));
    assert!(of(&[], &[one(2, &[])]).proven_at.is_some(), "without a set any drill will do");
}

#[test]
fn the_oldest_of_the_newest_backups_is_how_far_back_recovery_goes() {
    let found = of(&[("a", Some("2026-03-20T11:00:00Z")), ("b", Some("2026-03-19T12:00:00Z"))], &[]);
    assert!(found.possible && found.reasons.is_empty());
    assert_eq!((found.to.as_deref(), found.age_seconds), (Some("2026-03-19T12:00:00Z"), Some(86_400)));
    assert_eq!(
        found.sentence(),
        "could we recover now? yes, to 2026-03-19T12:00:00Z (1 d ago); no drill has measured how long it takes; \
         never proven by a drill"
    );
}

#[test]
fn one_set_without_a_sound_backup_is_enough_for_a_no() {
    let found = of(&[("a", Some("2026-03-20T11:00:00Z")), ("b", None)], &[]);
    assert_eq!((found.possible, &found.to, found.age_seconds), (false, &None, None));
    assert_eq!(found.reasons, ["b has no sound backup at a destination that is there"]);
    assert!(found.sentence().starts_with("could we recover now? NO: b has no sound backup"));
    let none = of(&[], &[]);
    assert_eq!(none.reasons, ["no data set is configured"]);
    assert!(none.sentence().starts_with("could we recover now? no data set is configured; "));
    let passphrases = ["A_KEY".to_owned()].into();
    let locked = Recovery { passphrases, ..of(&[("a", Some(NOW))], &[]) };
    let words = "could we recover now? with the passphrase in A_KEY, to 2026-03-20T12:00:00Z (0 s ago); ";
    assert!(locked.sentence().starts_with(words), "{}", locked.sentence());
}

#[test]
fn a_verified_full_drill_says_how_fast_before_any_spot_drill() {
    use Verdict::{CouldNotRun, NotVerified, Verified};
    let sets = [("a", Some(NOW))];
    let how = |drills: &[Evidence]| {
        let found = of(&sets, drills);
        (found.rto_of, found.rto_seconds)
    };
    let spot = |seconds| (Some("spot".to_owned()), Some(seconds));
    let mut drills = vec![drill("spot", 1, Verified, Some(3.0)), drill("spot", 2, NotVerified, None)];
    assert_eq!(how(&drills), spot(3.0), "the last that measured it");
    drills.push(drill("spot", 3, CouldNotRun, Some(9.0)));
    assert_eq!(how(&drills), spot(3.0), "one that could not run has measured nothing");
    drills.push(drill("full", 4, NotVerified, Some(7.0)));
    assert_eq!(how(&drills), spot(3.0), "nor counts a full one that was not verified");
    drills.insert(0, drill("full", 1, Verified, Some(70.0)));
    assert_eq!(how(&drills), (Some("full".into()), Some(70.0)), "a full one of before goes first");
    assert_eq!(how(&[]), (None, None));
}

#[test]
fn the_last_verified_drill_is_the_proof() {
    use Verdict::{NotVerified, Verified};
    let sets = [("a", Some(NOW))];
    let drills = [drill("full", 1, Verified, Some(70.0)), drill("spot", 2, Verified, Some(1.0))];
    let found = of(&sets, &drills);
    assert_eq!(
        (found.proven_at.as_deref(), found.proven_by.as_deref(), found.proven_age_seconds),
        (Some("2026-03-02T10:00:00Z"), Some("spot"), Some(18 * 86_400 + 7_200))
    );
    assert_eq!(
        found.sentence(),
        "could we recover now? yes, to 2026-03-20T12:00:00Z (0 s ago); took 1 min 10 s in the last verified full drill; \
         last proven 18 d 2 h ago by a spot drill"
    );
    let failed = [drills[0].clone(), drill("spot", 3, NotVerified, None)];
    assert_eq!(of(&sets, &failed).proven_at.as_deref(), Some("2026-03-01T10:00:00Z"));
}

#[test]
fn what_a_wrong_clock_has_dated_in_the_future_counts_for_nothing() {
    let ahead = [drill("spot", 25, Verdict::Verified, Some(1.0))];
    let found = of(&[("a", Some("2026-03-20T12:00:30Z"))], &ahead);
    assert_eq!((found.proven_at, found.rto_seconds), (None, None));
    assert_eq!(found.age_seconds, Some(0), "a few seconds are no age below nothing");
}

/// A catalogue of backups of `a`, of these days of March.
fn catalog(days: &[i8]) -> Catalog {
    let file = |day: &i8| {
        let name = format!("a-2026-03-{day:02}T120000Z.tar.gz");
        let parts = ["", ".sha256"].map(|end| (format!("{name}{end}"), Some(10)));
        (PathBuf::from(format!("/d/2026/03-{day:02}")), BTreeMap::from(parts))
    };
    crate::destination::catalog::listing(days.iter().map(file).collect())
}

fn path(day: i8) -> String {
    show(Path::new(&format!("/d/2026/03-{day:02}/a-2026-03-{day:02}T120000Z.tar.gz")))
}

#[test]
fn a_backup_is_sound_that_is_whole_and_ours_and_of_the_past() {
    let found = |known: &Known, days: &[i8]| {
        sound(known, &catalog(days), "a", at(NOW)).map(|sound| sound.as_of.to_string())
    };
    let day = |day: i8| Some(format!("2026-03-{day:02}T12:00:00Z"));
    let mut known = Known::default();
    assert_eq!(found(&known, &[]), None);
    assert_eq!(found(&known, &[1, 3]), day(3), "nothing is on record: all that lies there counts");
    assert_eq!(found(&known, &[1, 25]), day(1), "one of the future does not");
    known.damaged.insert(path(3));
    assert_eq!(found(&known, &[1, 3]), day(1));
    known.made.insert(path(1), Default::default());
    assert_eq!(found(&known, &[1, 4]), day(1), "another repository's is none of ours");
    known.confirmed.insert(path(1), at("2026-03-10T12:00:00Z"));
    assert_eq!(found(&known, &[1]), day(10));
    known.confirmed.insert(path(1), at("2026-03-25T12:00:00Z"));
    assert_eq!(found(&known, &[1]), day(1), "nor does what was confirmed in the future");
    known.pending.insert(path(1));
    assert_eq!(found(&known, &[1]), None);
}

#[test]
fn a_drill_is_of_the_future_when_it_is_more_than_a_name_may_be_ahead() {
    let at_most = at(NOW) + AHEAD;
    for (started_at, counts) in [(at_most, true), (at_most + SignedDuration::from_secs(1), false)] {
        let drill = Evidence { started_at, ..drill("spot", 1, Verdict::Verified, Some(3.0)) };
        let found = of(&[("a", Some(NOW))], &[drill]);
        assert_eq!(found.proven_at.is_some(), counts, "{started_at}");
    }
}

#[test]
fn the_line_names_the_kind_of_drill_that_measured_it() {
    let spot = [drill("spot", 1, Verdict::NotVerified, Some(3.0))];
    let line = of(&[("a", Some(NOW))], &spot).sentence();
    assert!(line.contains("; took 3.0 s in the last spot drill that measured it; never proven"), "{line}");
}
