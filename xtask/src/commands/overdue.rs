//! What is overdue, as findings of `status`: a backup, a verification, a drill. Each says since when, and what to run.
//! The rules are those of [`crate::drill::due`]; this is what they are applied to.
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::known::Known;
use crate::destination::releases::Bundle;
use crate::drill::due::{
    FULL, Overdue, SPOT, Why, is_lost_since, last, newest_past, overdue, read_back, verified,
};
use crate::drill::evidence::Verdict;
use crate::drill::evidence::chain::Stored;
use crate::finding::Finding;
use crate::shown::show;
use crate::ui::span;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// When a backup was last read and compared.
pub(super) fn backup_read_back(known: &Known, artifact: &Artifact) -> Timestamp {
    read_back(known, &show(&artifact.archive), artifact.name.time)
}

/// The same for a bundle: its own time is the commit's, so what counts is when `snapshot` made it or found it whole. `None`
/// where nothing is known of it, not even its commit's time.
pub(super) fn bundle_read_back(known: &Known, bundle: &Bundle) -> Option<Timestamp> {
    let made = known.bundled.get(&show(&bundle.lock_path)).copied().or(bundle.lock.time())?;
    Some(read_back(known, &show(bundle.tarball.as_ref()?), made))
}

/// As of when a series is backed up at a destination that is there: by its whole backups, and what is known of them.
pub(super) fn backed_up(known: &Known, catalog: &Catalog, series: &str, now: Timestamp) -> Option<Timestamp> {
    let whole = |artifact: &&Artifact| {
        known.wrong_with(artifact).is_none() && !known.pending.contains(&show(&artifact.archive))
    };
    let times = |artifact: &Artifact| {
        let confirmed = known.confirmed.get(&show(&artifact.archive)).copied();
        std::iter::once(artifact.name.time).chain(confirmed)
    };
    newest_past(ours(known, catalog, series).filter(whole).flat_map(times), now)
}

/// The backups of a series that count for this repository. Where it remembers making any, another's do not, as in `restore`.
pub(super) fn ours<'a>(
    known: &'a Known,
    catalog: &'a Catalog,
    series: &'a str,
) -> impl Iterator<Item = &'a Artifact> {
    let any_own = catalog.series(series).any(|artifact| known.is_on_record(artifact));
    catalog.series(series).filter(move |artifact| !any_own || known.is_on_record(artifact))
}

/// Why something is due, in words.
pub(super) fn reason(why: Why, now: Timestamp) -> String {
    match why {
        Why::NoCadence => "no cadence is set".into(),
        Why::Never => "none is on record".into(),
        Why::Failed => "the last one was not verified".into(),
        Why::Lost => "records of drills were lost since the last one".into(),
        Why::Old(last) => format!("the last one is {} old", span(now.duration_since(last))),
    }
}

/// A set whose last backup at a destination is too old.
pub(super) fn backup(
    set: &str,
    destination: &str,
    last: Option<Timestamp>,
    every: Option<SignedDuration>,
    now: Timestamp,
) -> Option<Finding> {
    let cadence = span(every?);
    let what = match (overdue(last, every, now)?, last) {
        (Overdue::Since(since), Some(last)) => format!(
            "has a newest whole backup at {destination} that is {} old; one is due every {cadence}, and overdue since {}",
            span(now.duration_since(last)),
            show_time(since)
        ),
        (Overdue::Never, Some(ahead)) => {
            let what = format!(
                "has a last whole backup at {destination} that is dated in the future, {}: a clock is or was wrong",
                show_time(ahead)
            );
            let repair = format!("set the clock; if it is right, run `cargo xtask backup --force {set}`");
            return Some(Finding::error(set, what, repair));
        }
        (_, None) => format!("has no whole backup at {destination}; one is due every {cadence}"),
    };
    Some(Finding::error(set, what, format!("run `cargo xtask backup {set}`")))
}

/// The time that something was last read and compared, and its path.
pub(super) type Checked = (Timestamp, String);

/// Whether some artifacts of a place were not read and compared in time.
pub(super) fn verification(
    place: &str,
    all: &[Checked],
    every: Option<SignedDuration>,
    now: Timestamp,
) -> Option<Finding> {
    let late = |(time, _): &&Checked| overdue(Some(*time), every, now).is_some();
    let count = all.iter().filter(late).count();
    let (time, oldest) = all.iter().filter(late).min()?;
    let since = match overdue(Some(*time), every, now)? {
        Overdue::Since(since) => format!(", overdue since {}", show_time(since)),
        Overdue::Never => String::new(),
    };
    let what = format!(
        "holds {count} of {} artifacts that were not verified for {}; the longest {oldest}{since}",
        all.len(),
        span(every?)
    );
    Some(Finding::error(place, what, "run `cargo xtask verify --if-due`"))
}

/// A kind of drill that is overdue, and its last one where that was not verified.
pub(super) fn drill(
    records: &[Stored],
    kind: &str,
    every: Option<SignedDuration>,
    evidence_dir: &Path,
    now: Timestamp,
) -> Vec<Finding> {
    let (mut findings, command, proven) = (Vec::new(), command(kind), verified(records, kind, now));
    if let (Some(every), Some(late)) = (every, overdue(proven, every, now)) {
        let cadence = span(every);
        let what = match (late, proven) {
            (Overdue::Since(since), Some(proven)) => format!(
                "the last verified {kind} drill is {} old; one is due every {cadence}, and overdue since {}",
                span(now.duration_since(proven)),
                show_time(since)
            ),
            _ if kind == SPOT && verified(records, FULL, now).is_none() => {
                "no drill has proven recovery yet".to_owned()
            }
            _ => format!("no {kind} drill has proven recovery yet; one is due every {cadence}"),
        };
        findings.push(Finding::error("drill", what, format!("run `{command}`")));
    }
    if let Some(last) = last(records, kind).filter(|last| last.result != Verdict::Verified) {
        let counts = if last.result == Verdict::CouldNotRun { ", which counts as overdue" } else { "" };
        let (id, word) = (&last.id, last.result.word());
        let what = format!("the last {kind} drill on record, {id}, is {word}{counts}");
        let page = show(&evidence_dir.join(format!("{id}.md")));
        let repair = format!("see {page}, mend what it names, and run `{command}`");
        findings.push(Finding::error("drill", what, repair));
    }
    if every.is_some() && is_lost_since(records, kind) {
        let what = format!("records of drills were accepted as lost since the last {kind} drill on record");
        findings.push(Finding::error("drill", what, format!("run `{command}`: nobody knows what they said")));
    }
    findings
}

fn command(kind: &str) -> &'static str {
    if kind == FULL { "cargo xtask restore-drill full" } else { "cargo xtask restore-drill" }
}

/// To the second: nobody plans by less.
fn show_time(time: Timestamp) -> String {
    crate::destination::names::whole_seconds(time).to_string()
}
