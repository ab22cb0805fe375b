//! Retention as the verbs use it: candidates from the catalogues, the pure plan, and its execution, which removes the
//! marker first, so that a run that is killed leaves an incomplete artifact and never a marker without its data.
use super::Context;
use crate::destination::catalog::Catalog;
use crate::destination::durable::remove;
use crate::destination::memory::Memory;
use crate::destination::names::BundleName;
use crate::destination::releases::{self, Bundle};
use crate::destination::retention::{Candidate, Decision, Item, Policy, plan};
use crate::error::Result;
use crate::shown::show;
use jiff::Timestamp;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The paths that a plan removes.
pub fn removed(items: &[Item]) -> Vec<String> {
    items.iter().filter(|item| item.decision == Decision::Remove).map(|item| item.id.clone()).collect()
}

/// Decides about every backup of a catalogue; `only` narrows it to one series.
pub fn plan_backups(
    catalog: &Catalog,
    only: Option<&str>,
    policy: &Policy,
    verified: &HashSet<String>,
    now: Timestamp,
) -> Vec<Item> {
    let candidates: Vec<Candidate> = catalog
        .complete
        .iter()
        .filter(|artifact| only.is_none_or(|series| artifact.name.series == series))
        .map(|artifact| {
            let id = show(&artifact.archive);
            let name = artifact.name.file();
            Candidate {
                verified: verified.contains(&id) || verified.contains(&name),
                series: artifact.name.series.clone(),
                time: Some(artifact.name.time),
                bytes: artifact.bytes,
                id,
            }
        })
        .collect();
    plan(&candidates, policy, now)
}

/// Removes what the plan removes; returns the paths and the bytes that came free.
///
/// # Errors
/// When a file cannot be removed; what was removed before is recorded.
pub fn apply_backups(
    catalog: &Catalog,
    items: &[Item],
    memory: Option<&Memory>,
    now: Timestamp,
) -> Result<(Vec<String>, u64)> {
    let doomed: HashSet<String> = removed(items).into_iter().collect();
    let (mut gone, mut freed) = (Vec::new(), 0);
    for artifact in &catalog.complete {
        let id = show(&artifact.archive);
        if !doomed.contains(&id) {
            continue;
        }
        if let Some(memory) = memory {
            memory.event("pruned", &now.to_string(), &artifact.archive)?;
        }
        freed += remove(&artifact.marker)?;
        if artifact.has_manifest {
            freed += remove(&artifact.manifest)?;
        }
        freed += remove(&artifact.archive)?;
        gone.push(id);
    }
    Ok((gone, freed))
}

/// Decides about the bundles of one release in a folder; `extra` is one that the plan's run would add.
///
/// # Errors
/// When the folder cannot be read.
pub fn plan_bundles(
    folder: &Path,
    name: &str,
    keep: u32,
    extra: Option<(&BundleName, PathBuf)>,
    ctx: &Context,
) -> Result<Vec<Item>> {
    let (bundles, _) = releases::scan(folder)?;
    let mut candidates: Vec<Candidate> =
        bundles.iter().filter(|bundle| bundle.lock.name == name).map(candidate).collect();
    candidates.extend(extra.map(|(name, path)| Candidate {
        id: show(&path),
        series: name.name.clone(),
        time: Some(name.time),
        verified: false,
        bytes: 0,
    }));
    Ok(plan(&candidates, &Policy::newest(keep), ctx.now))
}

/// A bundle is made by reading it back, so every one that is whole counts as verified only after `verify`: retention
/// goes by its lock's date alone.
fn candidate(bundle: &Bundle) -> Candidate {
    Candidate {
        id: show(&bundle.lock_path),
        series: bundle.lock.name.clone(),
        time: bundle.lock.time(),
        verified: false,
        bytes: bundle.bytes,
    }
}

/// Prunes the bundles of one release; never the one at `protect`.
///
/// # Errors
/// When a file cannot be removed.
pub fn prune_bundles(
    folder: &Path,
    name: &str,
    keep: u32,
    protect: &Path,
    ctx: &Context,
) -> Result<Vec<String>> {
    let items = except(plan_bundles(folder, name, keep, None, ctx)?, protect);
    Ok(apply_bundles(folder, &items)?.0)
}

/// A plan without the bundle that the run is about.
pub fn except(items: Vec<Item>, protect: &Path) -> Vec<Item> {
    items.into_iter().filter(|item| item.id != show(protect)).collect()
}

/// Removes the bundles that the plan removes, lock first.
///
/// # Errors
/// When a file cannot be removed.
pub fn apply_bundles(folder: &Path, items: &[Item]) -> Result<(Vec<String>, u64)> {
    let doomed: HashSet<String> = removed(items).into_iter().collect();
    let (bundles, _) = releases::scan(folder)?;
    let (mut gone, mut freed) = (Vec::new(), 0);
    for bundle in bundles {
        let id = show(&bundle.lock_path);
        if doomed.contains(&id) {
            freed += remove(&bundle.lock_path)?;
            for path in bundle.tarball.iter().chain(&bundle.manifest) {
                freed += remove(path)?;
            }
            gone.push(id);
        }
    }
    Ok((gone, freed))
}
