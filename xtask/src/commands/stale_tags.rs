//! The docker tags of bundles that are pruned, for `--prune-docker`.
//!
//! A tag goes only if a lock of ours has recorded it with its image, that lock goes, no other lock names the tag, and it
//! still names that image. The lock goes first: what is left of a run that was killed, or that docker failed, is known from
//! the history, and the next one goes on with it. Nothing is forced. Docker is asked before anything is removed, so that
//! one that does not answer stops the run there.
use super::retain::{Removal, removed};
use crate::destination::images;
use crate::destination::known::Known;
use crate::destination::memory::Memory;
use crate::destination::releases;
use crate::destination::retention::{Decision, Item};
use crate::error::Result;
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::show;
use crate::tools::docker;
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// What names a tag among the items of a plan.
const MARK: &str = "docker:";

/// A tag that may go.
#[derive(Debug, Clone)]
struct Stale {
    tag: String,
    image_id: String,
    /// The lock that goes with it; none for one that an earlier run has left.
    lock: Option<String>,
    item: Item,
    /// Whether it is gone, or names another image: nothing is left to do.
    settled: bool,
}

/// What becomes of the tags of the bundles that a plan removes.
#[derive(Debug, Default)]
pub(super) struct StaleTags(Vec<Stale>);

impl StaleTags {
    /// Decides about the tags of the bundles in `folder` that `bundles` removes, and of those that earlier runs have left.
    ///
    /// # Errors
    /// When docker is missing, does not answer or fails, or the folder cannot be read. Docker is not asked where there is
    /// no tag to decide about.
    pub(super) fn plan(folder: &Path, bundles: &[Item], known: &Known) -> Result<Self> {
        let doomed = removed(bundles);
        let mut candidates: Vec<(String, String, Option<String>)> = Vec::new();
        for bundle in releases::scan(folder)?.0 {
            let lock = show(&bundle.lock_path);
            if let (Some(tag), Some(id)) = (bundle.lock.docker_tag, bundle.lock.image_id)
                && doomed.contains(&lock)
            {
                candidates.push((tag, id, Some(lock)));
            }
        }
        // Behind the new ones: a tag that docker does not let go stands in no other's way.
        candidates.extend(known.untagging.iter().map(|(tag, id)| (tag.clone(), id.clone(), None)));
        let mut tags = Self::default();
        if candidates.is_empty() {
            return Ok(tags);
        }
        docker::reachable()?;
        let kept = kept(folder, &doomed)?;
        for (tag, image_id, lock) in candidates {
            if tags.0.iter().all(|known| known.tag != tag) {
                tags.0.push(decide(tag, image_id, lock, &kept)?);
            }
        }
        Ok(tags)
    }

    /// The decisions.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        self.0.iter().map(|stale| stale.item.clone())
    }

    /// Takes note of the tags that are to go, before their locks do.
    ///
    /// # Errors
    /// When a record cannot be written.
    pub(super) fn announce(&self, memory: Option<&Memory>, now: Timestamp) -> Result<()> {
        let Some(memory) = memory else { return Ok(()) };
        for stale in self.going().filter(|stale| stale.lock.is_some()) {
            memory.record(&json!({"kind": "untagging", "time": now.to_string(), "tag": stale.tag,
                "image_id": stale.image_id}))?;
        }
        Ok(())
    }

    fn going(&self) -> impl Iterator<Item = &Stale> {
        self.0.iter().filter(|stale| stale.item.decision == Decision::Remove)
    }

    /// Removes the tags whose locks are gone. Where docker fails, or refuses one, that is the finding, and no other is
    /// removed.
    ///
    /// # Errors
    /// When a record cannot be written.
    pub(super) fn remove(
        &self,
        memory: Option<&Memory>,
        now: Timestamp,
        removal: &mut Removal,
    ) -> Result<Option<Finding>> {
        let note = |stale: &Stale| {
            let record = json!({"kind": "untagged", "time": now.to_string(), "tag": stale.tag});
            memory.map_or(Ok(()), |memory| memory.record(&record))
        };
        self.0.iter().filter(|stale| stale.settled && stale.lock.is_none()).try_for_each(note)?;
        for stale in self.going() {
            if interrupted() || stale.lock.as_ref().is_some_and(|lock| !removal.gone.contains(lock)) {
                continue;
            }
            let names_it =
                |image: Option<docker::Image>| image.is_some_and(|image| image.id == stale.image_id);
            let done = docker::inspect(&stale.tag)
                .map(names_it)
                .and_then(|same| if same { docker::remove(&stale.tag).map(|()| true) } else { Ok(false) });
            match done {
                Ok(true) => removal.add(stale.item.id.clone(), 0),
                Ok(false) => {}
                Err(error) => {
                    let repair = "see what it says; the next `cargo xtask prune --prune-docker` tries again";
                    return Ok(Some(Finding {
                        repair: repair.into(),
                        ..Finding::of(&stale.item.id, &error)
                    }));
                }
            }
            note(stale)?;
        }
        Ok(None)
    }
}

/// The tags that locks name which stay, of whatever generation, and one of these locks for each.
fn kept(folder: &Path, doomed: &[String]) -> Result<HashMap<String, String>> {
    let recorded = images::all(folder)?.0.into_iter().map(|image| (image.docker_tag, show(&image.lock)));
    Ok(recorded
        .filter(|(_, lock)| !doomed.contains(lock))
        .filter_map(|(tag, lock)| Some((tag?, lock)))
        .collect())
}

fn decide(
    tag: String,
    image_id: String,
    lock: Option<String>,
    kept: &HashMap<String, String>,
) -> Result<Stale> {
    let of = if lock.is_some() { "its lock goes" } else { "its lock went before" };
    let found = docker::inspect(&tag)?;
    let (decision, reasons, settled) = match (&found, kept.get(&tag)) {
        (_, Some(other)) => (Decision::Keep, vec![format!("{other} names it too")], true),
        (None, None) => (Decision::Keep, vec!["it is gone already".into()], true),
        (Some(image), None) if image.id != image_id => {
            (Decision::Keep, vec![format!("it names another image by now, {}", image.id)], true)
        }
        (Some(image), None) if image.tags.len() < 2 => {
            let alone = "the image has no other name, and goes with it";
            (Decision::Remove, vec![of.into(), alone.into()], false)
        }
        (Some(_), None) => (Decision::Remove, vec![of.into()], false),
    };
    let item = Item { id: format!("{MARK}{tag}"), decision, reasons, bytes: 0 };
    Ok(Stale { tag, image_id, lock, item, settled })
}
