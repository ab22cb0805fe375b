//! What a snapshot prunes, for `--prune`: older bundles of its release, and with `--prune-docker` their tags.
//!
//! The bundle is made by then, and is never among them. Which go is for [`retain`] to say, and what becomes of a tag for
//! [`StaleTags`].
use crate::commands::Context;
use crate::commands::retain::{self, Removal};
use crate::commands::stale_tags::StaleTags;
use crate::destination::memory::Memory;
use crate::destination::releases;
use crate::destination::retention::Item;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::shown::show;
use std::path::Path;

/// Prunes the bundles of one release; never the one at `protect`. Returns what went, and the errors for which nothing did.
///
/// # Errors
/// When a file cannot be removed.
pub(super) fn prune(
    folder: &Path,
    name: &str,
    keep: u32,
    protect: &Path,
    docker: DockerTags,
    memory: &Memory,
    ctx: &Context,
) -> Result<(Vec<String>, Vec<Finding>)> {
    let (_, mut wrong) = releases::scan(folder)?;
    wrong.retain(|finding| finding.severity == Severity::Error);
    let known = memory.known()?;
    let items = except(retain::plan_bundles(folder, name, keep, None, &known, ctx)?, protect);
    let tags = match docker {
        DockerTags::Prune => StaleTags::plan(folder, &items, &known)?,
        DockerTags::Leave => StaleTags::default(),
    };
    let mut removal = Removal::default();
    tags.announce(Some(memory), ctx.now)?;
    retain::apply_bundles(folder, &items, Some(memory), ctx.now, &mut removal)?;
    wrong.extend(tags.remove(Some(memory), ctx.now, &mut removal)?);
    Ok((removal.gone, wrong))
}

/// Whether the docker tags of bundles go with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DockerTags {
    /// They go.
    Prune,
    /// They stay.
    Leave,
}

impl From<bool> for DockerTags {
    fn from(prune: bool) -> Self {
        if prune { Self::Prune } else { Self::Leave }
    }
}

/// A plan without the bundle that the run is about.
pub(super) fn except(items: Vec<Item>, protect: &Path) -> Vec<Item> {
    items.into_iter().filter(|item| item.id != show(protect)).collect()
}
