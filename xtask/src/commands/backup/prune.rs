//! What follows on the copies of a run: older backups of their series go, and quotas are looked at.
//!
//! The copies are made by then. So whatever fails here is a finding of its set, and the other sets and destinations are
//! looked after all the same. Where nothing goes because something is lost or damaged, that is told, too: a run that
//! stopped pruning without a word would fill the drive.
use super::{Args, Done, Prunable};
use crate::commands::Context;
use crate::commands::prune::{not_on_record, quota};
use crate::commands::retain::{self, Removal};
use crate::config::Config;
use crate::destination::memory::{Memory, Remembered};
use crate::destination::retention::{DEFAULT_KEEP, Policy};
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use std::collections::HashMap;
use std::path::Path;

/// Prunes every series where it was backed up; returns what failed.
pub(super) fn prune(
    args: &Args,
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    done: &mut [Done],
    prunable: &[(usize, Prunable)],
) -> Vec<Error> {
    let (mut told, mut failed) = (Vec::new(), Vec::new());
    for (index, one) in prunable {
        let (mut found, mut removal) = (Vec::new(), Removal::default());
        if let Err(error) = series(args, ctx, (config, memory), one, (&mut found, &mut removal)) {
            found.push(Finding::of(show(&one.destination.place.path), &error));
            failed.push(error);
        }
        done[*index].pruned.extend(removal.gone);
        // What several sets find at one destination is told once.
        found.retain(|finding| !told.contains(finding));
        told.extend(found.iter().cloned());
        done[*index].findings.extend(found);
    }
    failed
}

/// Prunes a series at a destination, the new backup among them; in a dry run only says what would go.
fn series(
    args: &Args,
    ctx: &Context,
    (config, memory): (&Config, Option<&Memory>),
    one: &Prunable,
    (found, removal): (&mut Vec<Finding>, &mut Removal),
) -> Result<()> {
    let place = &one.destination.place;
    let policy = match args.keep {
        Some(keep) => Policy::newest(keep),
        None if one.destination.keep == Policy::default() => Policy::newest(DEFAULT_KEEP),
        None => one.destination.keep.clone(),
    };
    let mut catalog = place.scan()?;
    // A drive that went away meanwhile has lost nothing.
    place.recheck(&one.mounted)?;
    let remembered = memory.map(Memory::read).transpose()?;
    let mut known = remembered.as_ref().map(Remembered::known);
    let mut wrong = catalog.findings.clone();
    if let (Some(remembered), Some(known)) = (remembered, &known) {
        wrong.extend(known.lost(&place.path, &catalog));
        wrong.extend(remembered.damage);
        found.extend(not_on_record(config, &one.destination, known, &catalog));
    }
    wrong.retain(|finding| finding.severity == Severity::Error);
    let mut now = ctx.now;
    if let Some(planned) = &one.planned {
        now = now.max(planned.name.time);
        if let Some(known) = &mut known {
            known.would_make(show(&planned.archive));
        }
        catalog.complete.push(planned.clone());
    }
    let mut items = retain::plan_backups(&catalog, Some(&one.series), &policy, known.as_ref(), now);
    if !wrong.is_empty() {
        found.append(&mut wrong);
        let what = "is not pruned: what is left may be all there is";
        found.push(Finding::warning(show(&place.path), what, "mend that first"));
        retain::spare_all(&mut items);
    }
    if args.dry_run {
        removal.gone = retain::removed(&items);
        return Ok(());
    }
    place.recheck(&one.mounted)?;
    retain::apply_backups(place, &catalog, &items, memory, ctx.now, removal)
}

/// How full a drive is, told once, by the last set that went there; returns what failed.
pub(super) fn quotas(done: &mut [Done], prunable: &[(usize, Prunable)]) -> Vec<Error> {
    let last: HashMap<&Path, (usize, &Prunable)> =
        prunable.iter().map(|(index, one)| (one.destination.place.path.as_path(), (*index, one))).collect();
    let mut failed = Vec::new();
    for (path, (index, one)) in last {
        if one.destination.quota.is_none() {
            continue;
        }
        match one.destination.place.scan() {
            Ok(catalog) => done[index].findings.extend(quota(&one.destination, &catalog, 0)),
            Err(error) => {
                done[index].findings.push(Finding::of(show(path), &error));
                failed.push(error);
            }
        }
    }
    failed
}
