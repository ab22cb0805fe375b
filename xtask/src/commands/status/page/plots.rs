//! What the page draws: size, duration and age of each set's backups, and the recovery time of drills. Pure.
use super::plot::{Line, Plot, Unit, svg};
use super::{Page, text};
use crate::commands::status::past::{MadeThen, SetPast};
use crate::drill::evidence::Verdict;
use crate::drill::evidence::trend::Trend;
use jiff::Timestamp;
use maud::{Markup, html};

/// So many of the newest points are drawn.
const POINTS: usize = 400;

/// All plots.
pub(super) fn all(page: &Page<'_>) -> Markup {
    let drawn = page.past.sets.iter().filter(|set| !set.made.is_empty() || !set.good.is_empty());
    let of_sets: Vec<Markup> = drawn.map(|set| of_set(set, page)).collect();
    let of_drills: Vec<Markup> = page.past.drills.iter().map(|trend| of_drills(trend, page)).collect();
    html! {
        section #trends {
            h2 { "Over time" }
            @if of_sets.is_empty() && of_drills.is_empty() {
                p { "No backup and no drill is on record yet." }
            }
            @for set in of_sets { (set) }
            @if !of_drills.is_empty() { h3 { "Drills" } div.plots { @for drill in of_drills { (drill) } } }
        }
    }
}

fn newest<T: Clone>(points: &[T]) -> Vec<T> {
    points[points.len().saturating_sub(POINTS)..].to_vec()
}

fn of_set(set: &SetPast, page: &Page<'_>) -> Markup {
    let name = text(&set.set);
    let line = |value: fn(&MadeThen) -> Option<f64>| Line {
        points: newest(&set.made).iter().filter_map(|made| Some((made.at, value(made)?))).collect(),
        dots: true,
    };
    let target = page.document.pointer("/recovery/rpo_target_seconds").and_then(|target| target.as_f64());
    let plots = [
        ("size", "Size of each backup", Unit::Bytes, line(|made| made.bytes.map(|bytes| bytes as f64)), None),
        ("time", "How long each backup took", Unit::Seconds, line(|made| made.seconds), None),
        (
            "age",
            "Age of the newest sound backup",
            Unit::Seconds,
            Line { points: newest(&set.ages(page.now)), dots: false },
            target.map(|target| ("RPO target", target)),
        ),
    ];
    html! {
        h3 { (name) }
        div.plots {
            @for (id, title, unit, line, target) in plots {
                (svg(&Plot { id: &format!("{id}-{name}"), title, subject: &name, unit, line, target }))
            }
        }
    }
}

fn of_drills(trend: &Trend, page: &Page<'_>) -> Markup {
    let kind = text(&trend.kind);
    let measured = trend.points.iter().filter(|point| point.result != Verdict::CouldNotRun);
    let points: Vec<(Timestamp, f64)> =
        measured.filter_map(|point| Some((point.started_at.parse().ok()?, point.rto_seconds?))).collect();
    let target = page.document.pointer("/recovery/rto_target_seconds").and_then(|target| target.as_f64());
    let plot = Plot {
        id: &format!("rto-{kind}"),
        title: &format!("Recovery time, {kind} drills"),
        subject: &format!("{kind} drills"),
        unit: Unit::Seconds,
        line: Line { points: newest(&points), dots: true },
        target: target.map(|target| ("RTO target", target)),
    };
    svg(&plot)
}
