//! Retention as the verbs use it: candidates from the catalogues, the pure plan, and its execution, which removes the
//! marker first, so that a run that is killed leaves an incomplete artifact and never a marker without its data.
use super::Context;
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::durable::remove;
use crate::destination::known::Known;
use crate::destination::memory::Memory;
use crate::destination::place::Place;
use crate::destination::releases::{self, Bundle};
use crate::destination::retention::{Candidate, Decision, Item, Policy, State, plan};
use crate::error::{Error, Result};
use crate::finding;
use crate::interrupt::interrupted;
use crate::shown::show;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
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
    known: Option<&Known>,
    now: Timestamp,
) -> Vec<Item> {
    let last = known.map(|known| made_last(catalog, known)).unwrap_or_default();
    let candidates: Vec<Candidate> = catalog
        .complete
        .iter()
        .filter(|artifact| only.is_none_or(|series| artifact.name.series == series))
        .map(|artifact| {
            let id = show(&artifact.archive);
            Candidate {
                state: known.map_or(State::Unproven, |known| state(known, artifact)),
                series: artifact.name.series.clone(),
                time: Some(artifact.name.time),
                last: last.contains(&id),
                pinned: artifact.pinned,
                bytes: artifact.bytes,
                id,
            }
        })
        .collect();
    plan(&candidates, policy, now)
}

/// Of each series whose newest backup by name is not the one that was made last, that one.
fn made_last(catalog: &Catalog, known: &Known) -> HashSet<String> {
    let ours = catalog.complete.iter().filter(|artifact| known.made.contains_key(&show(&artifact.archive)));
    let mut newest: BTreeMap<&str, &Artifact> = BTreeMap::new();
    for artifact in ours {
        let known = newest.entry(&artifact.name.series).or_insert(artifact);
        if artifact.name.time > known.name.time {
            *known = artifact;
        }
    }
    newest.into_values().filter_map(|newest| known.last_here(newest)).map(str::to_owned).collect()
}

/// What retention has to know of a backup. Without a memory every backup of our sets is taken for ours.
fn state(known: &Known, artifact: &Artifact) -> State {
    let path = show(&artifact.archive);
    match known.made.get(&path) {
        None if known.pruned.contains(&path) => State::Unproven,
        None => State::Foreign,
        Some(_) if known.is_damaged(artifact) => State::Damaged,
        Some(_) if known.pending.contains(&path) => State::Pending,
        Some(_) if known.partial.contains(&path) => State::Partial,
        Some(_) if known.verified.contains(&path) => State::Verified,
        Some(_) => State::Unproven,
    }
}

/// What was removed so far: also where a failure ended the work, so that it can be told.
#[derive(Debug, Default)]
pub struct Removal {
    /// What names it.
    pub gone: Vec<String>,
    /// Bytes that came free.
    pub freed: u64,
}

impl Removal {
    /// Adds one that is gone.
    pub fn add(&mut self, id: String, bytes: u64) {
        self.gone.push(id);
        self.freed += bytes;
    }
}

/// Where something was lost or damaged, what is left may be all there is: nothing goes.
pub fn spare_all(items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| item.decision == Decision::Remove) {
        item.decision = Decision::Keep;
        item.reasons = vec!["nothing is removed from a place with errors".into()];
    }
}

/// Removes what the plan removes. Each removal is on record before it and behind it, so that neither a kill looks like a
/// loss nor a failure like a removal.
///
/// # Errors
/// When a file cannot be removed, or a record cannot be written; what was removed before is in `removal`.
pub fn apply_backups(
    place: &Place,
    catalog: &Catalog,
    items: &[Item],
    memory: Option<&Memory>,
    now: Timestamp,
    removal: &mut Removal,
) -> Result<()> {
    let doomed: HashSet<String> = removed(items).into_iter().collect();
    for artifact in &catalog.complete {
        let id = show(&artifact.archive);
        if !doomed.contains(&id) {
            continue;
        }
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let note = |kind: &str| {
            memory.map_or(Ok(()), |memory| memory.event(kind, &now.to_string(), &artifact.archive))
        };
        note("pruning")?;
        match place.remove(artifact) {
            Ok(bytes) => removal.add(id, bytes),
            Err(error) => {
                if place.has_marker(artifact) {
                    // Without this line the next `prune` finds out.
                    let _ = note("spared");
                }
                return Err(error);
            }
        }
        note("pruned")?;
    }
    Ok(())
}

/// Decides about the bundles of one release in a folder; `extra` is one that the plan's run would add. While the folder
/// holds something that is wrong, all of them stay.
///
/// # Errors
/// When the folder cannot be read.
pub fn plan_bundles(
    folder: &Path,
    name: &str,
    keep: u32,
    extra: Option<Candidate>,
    known: &Known,
    ctx: &Context,
) -> Result<Vec<Item>> {
    let (bundles, findings) = releases::scan(folder)?;
    let mut candidates: Vec<Candidate> =
        bundles.iter().filter(|bundle| bundle.release() == Some(name)).map(|b| candidate(b, known)).collect();
    candidates.extend(extra);
    let mut items = plan(&candidates, &Policy::newest(keep), ctx.now);
    if finding::any_error(&findings) {
        spare_all(&mut items);
    }
    Ok(items)
}

/// What counts together among bundles; a lock that was made `alone` gives nothing back.
pub fn bundle_series(name: &str, dirty: bool, alone: bool) -> String {
    match (alone, dirty) {
        (true, _) => format!("{name} (lock alone)"),
        (false, true) => format!("{name} (dirty)"),
        (false, false) => name.to_owned(),
    }
}

/// Whether a file named like it with `.keep` behind it lies beside a bundle's lock or tarball.
fn pinned(bundle: &Bundle) -> bool {
    let keep = |path: &Path| PathBuf::from(format!("{}.keep", path.display())).exists();
    keep(&bundle.lock_path) || bundle.tarball.as_deref().is_some_and(keep)
}

/// A bundle counts among its like: one that was staged from a working tree never evicts one of a commit, a lock alone
/// evicts no bundle, and what the shell tool has made and what we make do not evict each other.
fn candidate(bundle: &Bundle, known: &Known) -> Candidate {
    let path = bundle.tarball.as_deref().map(show).unwrap_or_default();
    let release = bundle.release().unwrap_or_default();
    let series = bundle_series(release, bundle.lock.dirty, bundle.lock.tarball.is_none());
    Candidate {
        id: show(&bundle.lock_path),
        series: if bundle.is_of_shell() { format!("{series} (of the shell tool)") } else { series },
        time: bundle.lock.time(),
        state: match () {
            () if known.damaged.contains(&path) || bundle.missing().is_some() => State::Damaged,
            () if known.verified.contains(&path) => State::Verified,
            () => State::Unproven,
        },
        last: false,
        pinned: pinned(bundle),
        bytes: bundle.bytes,
    }
}

/// Removes the bundles that the plan removes: from `SHA256SUMS`, then lock first. Each is on record before it and behind it,
/// so that what a kill leaves of one is known from a bundle that has lost its lock.
///
/// # Errors
/// When a file cannot be removed, or a record cannot be written; what was removed before is in `removal`.
pub fn apply_bundles(
    folder: &Path,
    items: &[Item],
    memory: Option<&Memory>,
    now: Timestamp,
    removal: &mut Removal,
) -> Result<()> {
    let doomed: HashSet<String> = removed(items).into_iter().collect();
    if !doomed.is_empty() {
        releases::write_sums(folder, None, &doomed)?;
    }
    let (bundles, _) = releases::scan(folder)?;
    for bundle in bundles {
        let id = show(&bundle.lock_path);
        if !doomed.contains(&id) {
            continue;
        }
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let note = |kind: &str| {
            memory.map_or(Ok(()), |memory| memory.event(kind, &now.to_string(), &bundle.lock_path))
        };
        note("pruning")?;
        let mut freed = remove(&bundle.lock_path)?;
        for path in bundle.tarball.iter().chain(&bundle.manifest) {
            freed += remove(path)?;
        }
        removal.add(id, freed);
        note("pruned")?;
    }
    Ok(())
}
