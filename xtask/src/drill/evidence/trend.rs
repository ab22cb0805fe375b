//! Recovery time and age of the data over all drills of a kind: for people as a line, for programs as numbers.
//!
//! Pure. A drill that could not run has measured nothing, whatever its record holds: it is a gap. So is a value that was
//! not measured.
use super::chain::LOST;
use super::render::duration;
use super::{Evidence, Verdict};
use serde::Serialize;

/// What stands in a line for a drill without a value.
const GAP: char = '·';
/// From the smallest to the largest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The newest so many drills are drawn.
const DRAWN: usize = 60;

/// One drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its id.
    pub id: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// What it has shown.
    pub result: Verdict,
    /// Time to recover.
    pub rto_seconds: Option<f64>,
    /// Age of the restored data.
    pub rpo_seconds: Option<f64>,
}

/// One measure over all drills.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many drills have measured it.
    pub measured: usize,
    /// The first of them.
    pub first: Option<f64>,
    /// The middle one by size; the mean of the two in the middle.
    pub median: Option<f64>,
    /// The newest of them.
    pub last: Option<f64>,
    /// The target that the newest record names.
    pub target: Option<f64>,
}

/// All drills of a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// `spot` or `full`.
    pub kind: String,
    /// How many were verified.
    pub verified: usize,
    /// How many were not.
    pub not_verified: usize,
    /// How many could not run.
    pub could_not_run: usize,
    /// The time to recover, in seconds.
    pub rto: Summary,
    /// The age of the restored data, in seconds.
    pub rpo: Summary,
    /// Each drill, in the order of the records.
    pub points: Vec<Point>,
}

/// The trend of each kind of drill that is on record, spot drills first.
pub fn trends(drills: &[&Evidence]) -> Vec<Trend> {
    let mut kinds: Vec<&str> = drills.iter().map(|drill| &*drill.kind).filter(|kind| *kind != LOST).collect();
    kinds.sort_by_key(|kind| (*kind != "spot", *kind));
    kinds.dedup();
    kinds.into_iter().map(|kind| trend(kind, drills)).collect()
}

fn trend(kind: &str, drills: &[&Evidence]) -> Trend {
    let drills: Vec<&Evidence> = drills.iter().copied().filter(|drill| drill.kind == kind).collect();
    let points: Vec<Point> = drills.iter().map(|drill| point(drill)).collect();
    let count = |result| points.iter().filter(|point| point.result == result).count();
    let newest = drills.last();
    Trend {
        kind: kind.into(),
        verified: count(Verdict::Verified),
        not_verified: count(Verdict::NotVerified),
        could_not_run: count(Verdict::CouldNotRun),
        rto: summary(points.iter().map(|point| point.rto_seconds), newest.and_then(|d| d.rto_target_seconds)),
        rpo: summary(points.iter().map(|point| point.rpo_seconds), newest.and_then(|d| d.rpo_target_seconds)),
        points,
    }
}

fn point(drill: &Evidence) -> Point {
    let ran = drill.result != Verdict::CouldNotRun;
    Point {
        id: drill.id.clone(),
        started_at: drill.started_at.to_string(),
        result: drill.result,
        rto_seconds: drill.rto_seconds.filter(|_| ran),
        rpo_seconds: drill.rpo_seconds.filter(|_| ran),
    }
}

fn summary(values: impl Iterator<Item = Option<f64>>, target: Option<f64>) -> Summary {
    let values: Vec<f64> = values.flatten().collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() {
        0 => None,
        even if even % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    };
    Summary {
        measured: values.len(),
        first: values.first().copied(),
        median,
        last: values.last().copied(),
        target,
    }
}

/// A trend for people: a row for each measure, as cells.
pub fn rows(trend: &Trend) -> Vec<Vec<String>> {
    let row = |name: &str, summary: &Summary, values: Vec<Option<f64>>| {
        let target = summary.target.map_or_else(|| "no target".into(), |_| duration(summary.target));
        vec![
            format!("{} {name}", trend.kind),
            sparkline(&values),
            format!("first {}", duration(summary.first)),
            format!("median {}", duration(summary.median)),
            format!("last {}", duration(summary.last)),
            format!("target {target}").replace("target no target", "no target"),
        ]
    };
    let points = &trend.points;
    vec![
        row("RTO", &trend.rto, points.iter().map(|point| point.rto_seconds).collect()),
        row("RPO", &trend.rpo, points.iter().map(|point| point.rpo_seconds).collect()),
    ]
}

/// A bar for each of the newest values, as high as the value is beside the largest of them.
pub fn sparkline(values: &[Option<f64>]) -> String {
    let drawn = &values[values.len().saturating_sub(DRAWN)..];
    let largest = drawn.iter().flatten().copied().fold(0.0, f64::max);
    let top = (BARS.len() - 1) as f64;
    let bar = |value: f64| match largest > 0.0 {
        true => BARS[(value / largest * top).round().clamp(0.0, top) as usize],
        false => BARS[0],
    };
    drawn.iter().map(|value| value.map_or(GAP, bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::sample;

    fn drills(values: &[(Verdict, Option<f64>)]) -> Vec<Evidence> {
        let drill = |(result, rto_seconds): &(Verdict, Option<f64>)| Evidence {
            result: *result,
            rto_seconds: *rto_seconds,
            ..sample(1, None)
        };
        values.iter().map(drill).collect()
    }

    fn trends_of(drills: &[Evidence]) -> Vec<Trend> {
        trends(&drills.iter().collect::<Vec<_>>())
    }

    #[test]
    fn none_one_and_many() {
        assert_eq!(trends_of(&[]), []);
        let unknown = &trends_of(&drills(&[(Verdict::NotVerified, None)]))[0].rto;
        assert_eq!((unknown.measured, unknown.first, unknown.median, unknown.last), (0, None, None, None));
        let one = trends_of(&drills(&[(Verdict::Verified, Some(3.0))]));
        assert_eq!(one.len(), 1);
        let rto = Summary {
            measured: 1,
            first: Some(3.0),
            median: Some(3.0),
            last: Some(3.0),
            target: Some(3600.0),
        };
        assert_eq!(one[0].rto, rto);
        assert_eq!(
            rows(&one[0])[0].join(" "),
            "spot RTO █ first 3.0 s median 3.0 s last 3.0 s target 1 h 0 min"
        );
        assert_eq!(rows(&one[0])[1].last().map(String::as_str), Some("no target"));
        let many: Vec<_> = (1..=200).map(|at| (Verdict::Verified, Some(f64::from(at)))).collect();
        let many = trends_of(&drills(&many));
        assert_eq!((many[0].points.len(), many[0].rto.median), (200, Some(100.5)));
        assert_eq!(rows(&many[0])[0][1].chars().count(), DRAWN);
    }

    #[test]
    fn a_drill_that_could_not_run_is_a_gap_whatever_it_says() {
        let trend = &trends_of(&drills(&[
            (Verdict::Verified, Some(8.0)),
            (Verdict::CouldNotRun, Some(99.0)),
            (Verdict::NotVerified, None),
            (Verdict::NotVerified, Some(4.0)),
            (Verdict::Verified, Some(1.0)),
        ]))[0];
        assert_eq!((trend.verified, trend.not_verified, trend.could_not_run), (2, 2, 1));
        assert_eq!(rows(trend)[0][1], "█··▅▂");
        assert_eq!((trend.rto.measured, trend.rto.first, trend.rto.median), (3, Some(8.0), Some(4.0)));
        assert_eq!((trend.points[1].rto_seconds, trend.points[1].rpo_seconds), (None, None));
    }

    #[test]
    fn each_kind_has_its_own() {
        let full = Evidence { kind: "full".into(), ..sample(2, None) };
        let kinds: Vec<String> =
            trends_of(&[full.clone(), sample(1, None), full]).into_iter().map(|t| t.kind).collect();
        assert_eq!(kinds, ["spot", "full"]);
    }

    #[test]
    fn values_of_nothing_are_drawn_flat() {
        assert_eq!(sparkline(&[Some(0.0), Some(0.0), None]), "▁▁·");
        assert_eq!(sparkline(&[]), "");
    }
}
