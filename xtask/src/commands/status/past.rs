//! How backups have gone so far, from the history of this repository: what the page draws. Pure.
//!
//! The clock may have been set back between two records, so they are put in the order of their times here.
use crate::destination::known::{Known, lies_at};
use crate::destination::names::ArtifactName;
use crate::destination::retention::AHEAD;
use crate::drill::evidence::trend::Trend;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All that was before.
pub(super) struct Past {
    /// Each set that is configured.
    pub sets: Vec<SetPast>,
    /// Each kind of drill.
    pub drills: Vec<Trend>,
}

/// What is remembered of a set at a destination that is not there.
pub(super) struct Away {
    pub set: String,
    pub destination: String,
    /// As of when it was last backed up there.
    pub last: Option<Timestamp>,
}

/// The backups of a set that were ever made, those too that were pruned since.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SetPast {
    pub set: String,
    /// By time, one for all copies.
    pub made: Vec<MadeThen>,
    /// When a sound backup was made, or was seen to hold what its source held.
    pub good: Vec<Timestamp>,
}

/// A backup as it was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MadeThen {
    pub at: Timestamp,
    /// Of the archive.
    pub bytes: Option<u64>,
    /// Until its slowest copy was there.
    pub seconds: Option<f64>,
}

/// The past of each of these sets.
pub(super) fn of(history: &[Value], known: &Known, sets: &[(&str, Vec<PathBuf>)]) -> Vec<SetPast> {
    sets.iter().map(|(set, places)| of_set(history, known, set, places)).collect()
}

/// A copy at none of the set's own places made none of them younger.
fn of_set(history: &[Value], known: &Known, set: &str, places: &[PathBuf]) -> SetPast {
    let (mut made, mut good) = (BTreeMap::<Timestamp, MadeThen>::new(), Vec::new());
    for record in history {
        let Some((path, name)) = artifact(record).filter(|(_, name)| name.series == set) else { continue };
        let whole = !known.damaged.contains(path)
            && !known.pending.contains(path)
            && places.iter().any(|place| lies_at(path, place));
        match record["kind"].as_str() {
            Some("backup") => {
                let at = name.time;
                let then = made.entry(at).or_insert(MadeThen { at, bytes: None, seconds: None });
                then.bytes = then.bytes.max(record["bytes"].as_u64());
                let seconds = record["seconds"].as_f64();
                then.seconds = then.seconds.into_iter().chain(seconds).reduce(f64::max);
                let partial = record["errors"].as_u64().unwrap_or(0) > 0;
                good.extend((whole && !partial).then_some(at));
            }
            Some("confirmed") if whole => {
                good.extend(record["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok()));
            }
            _ => {}
        }
    }
    good.sort();
    good.dedup();
    SetPast { set: set.to_owned(), made: made.into_values().collect(), good }
}

fn artifact(record: &Value) -> Option<(&str, ArtifactName)> {
    let path = record["artifact"].as_str()?;
    Some((path, ArtifactName::parse(Path::new(path).file_name()?.to_str()?)?))
}

impl SetPast {
    /// The age that the newest good backup had over time, in seconds: it grows until there is another, and is nothing then.
    pub(super) fn ages(&self, now: Timestamp) -> Vec<(Timestamp, f64)> {
        let mut line = Vec::new();
        let mut last: Option<Timestamp> = None;
        // What is dated ahead makes nothing of now younger.
        for at in self.good.iter().filter(|at| at.duration_since(now) <= AHEAD) {
            line.extend(last.map(|last| (*at, at.duration_since(last).as_secs_f64())));
            line.push((*at, 0.0));
            last = Some(*at);
        }
        line.extend(
            last.filter(|last| *last < now).map(|last| (now, now.duration_since(last).as_secs_f64())),
        );
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn sets() -> [(&'static str, Vec<PathBuf>); 1] {
        [("a", vec!["/d".into(), "/e".into()])]
    }

    fn backup(folder: &str, series: &str, day: u8, bytes: u64, seconds: f64) -> Value {
        json!({"kind": "backup", "time": format!("2026-03-{day:02}T00:00:09Z"), "set": "a", "bytes": bytes,
            "artifact": format!("{folder}/2026/03-{day:02}/{series}-2026-03-{day:02}T000000Z.tar.gz"),
            "seconds": seconds, "errors": 0})
    }

    #[test]
    fn nothing_is_known_of_an_empty_history() {
        let past = of(&[], &Known::default(), &sets());
        assert_eq!(past, [SetPast { set: "a".into(), ..SetPast::default() }]);
        assert_eq!(past[0].ages(at("2026-03-09T00:00:00Z")), []);
    }

    #[test]
    fn copies_are_one_backup_and_those_with_a_suffix_another_series() {
        let history = [
            backup("/d", "a", 2, 10, 1.0),
            backup("/e", "a", 2, 10, 3.5),
            backup("/d", "a-x", 3, 99, 9.0),
            backup("/d", "a", 1, 8, 2.0),
        ];
        let past = &of(&history, &Known::default(), &sets())[0];
        let seen: Vec<_> = past.made.iter().map(|made| (made.bytes, made.seconds)).collect();
        assert_eq!(seen, [(Some(8), Some(2.0)), (Some(10), Some(3.5))], "in the order of their times");
    }

    #[test]
    fn age_grows_until_there_is_another_good_backup() {
        let day = |day: u8| at(&format!("2026-03-{day:02}T00:00:00Z"));
        let mut history = vec![backup("/d", "a", 1, 1, 1.0), backup("/d", "a", 3, 1, 1.0)];
        let ages = |history: &[Value], now| of(history, &Known::default(), &sets())[0].ages(now);
        let (one, two) = (86_400.0, 2.0 * 86_400.0);
        let line = vec![(day(1), 0.0), (day(3), two), (day(3), 0.0), (day(4), one)];
        assert_eq!(ages(&history, day(4)), line);
        history[1]["errors"] = 1.into();
        assert_eq!(ages(&history, day(3)), [(day(1), 0.0), (day(3), two)], "a partial one is none");
        let confirmed =
            json!({"kind": "confirmed", "time": day(2).to_string(), "artifact": history[0]["artifact"]});
        history.push(confirmed);
        assert_eq!(ages(&history, day(3)), [(day(1), 0.0), (day(2), one), (day(2), 0.0), (day(3), one)]);
    }

    #[test]
    fn a_clock_that_was_set_back_draws_no_age_below_nothing() {
        let history = [backup("/d", "a", 5, 1, 1.0), backup("/d", "a", 2, 1, 1.0)];
        let line = of(&history, &Known::default(), &sets())[0].ages(at("2026-03-03T00:00:00Z"));
        assert!(line.iter().all(|(_, age)| *age >= 0.0) && line.is_sorted_by_key(|(at, _)| *at), "{line:?}");
        let day = 86_400.0;
        assert_eq!(line.last().map(|(_, age)| *age), Some(day), "what is dated ahead makes nothing younger");
    }

    #[test]
    fn what_is_damaged_or_has_not_arrived_is_no_good_backup() {
        let made = [backup("/d", "a", 1, 1, 1.0), backup("/d", "a", 2, 1, 1.0)];
        let path = made[1]["artifact"].as_str().expect("a path").to_owned();
        let confirmed = json!({"kind": "confirmed", "time": "2026-03-05T00:00:00Z", "artifact": path});
        let history = [&made[..], &[confirmed]].concat();
        let good = |known: &Known| of(&history, known, &sets())[0].good.len();
        let mut known = Known::default();
        assert_eq!(good(&known), 3);
        known.damaged.insert(path.clone());
        assert_eq!(good(&known), 1);
        known.damaged.clear();
        known.pending.insert(path);
        assert_eq!(good(&known), 1);
    }

    #[test]
    fn a_backup_of_right_now_has_no_age_yet() {
        let past = &of(&[backup("/d", "a", 3, 1, 1.0)], &Known::default(), &sets())[0];
        let now = at("2026-03-03T00:00:00Z");
        assert_eq!(past.ages(now), [(now, 0.0)]);
    }
}
