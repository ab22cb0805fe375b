//! What publishing a bundle comes to, given what is there already. Pure: `--dry-run` prints the very steps that a run takes.
//!
//! What was published is never changed. A draft may be: nobody has seen it but those who may change it.
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::tools::gh::release::{self, Notes, Release};
use crate::words::word;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file that is to be in the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asset {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
    pub content: Content,
}

/// Where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    File(PathBuf),
    /// As it is going to be here, too, once it is published.
    Text(String),
}

/// What a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish<'a> {
    pub tag: &'a str,
    /// To leave the release as a draft.
    pub draft: bool,
    pub notes: Option<&'a Path>,
    /// Whether the lock has the address already.
    pub recorded: bool,
    /// The lock, as it is shown.
    pub lock: &'a str,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    CreateDraft(Notes),
    SetNotes(PathBuf),
    /// The asset of this number.
    Upload(usize),
    Compare,
    Publish,
    Record,
}

/// What is there, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Published,
    Draft,
    Unchanged,
    /// The release is published, and holds something else.
    Different,
    Recorded,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Draft => "draft",
            Self::Unchanged => "unchanged",
            Self::Different => "different",
            Self::Recorded => "recorded",
        }
    }
}

/// The steps, and what they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
    pub outcome: Outcome,
    pub findings: Vec<Finding>,
}

/// The steps that lead from what is there to what is wished.
///
/// # Errors
/// When the draft is of another bundle.
pub(super) fn plan(release: Option<&Release>, assets: &[Asset], wish: &Wish<'_>) -> Result<Plan> {
    match release {
        Some(published) if !published.draft => Ok(unchanged(published, assets, wish)),
        release => finish(release, assets, wish),
    }
}

/// From nothing, or from a draft that a run before, or somebody, has left.
fn finish(draft: Option<&Release>, assets: &[Asset], wish: &Wish<'_>) -> Result<Plan> {
    let mut findings = Vec::new();
    let mut steps = match (draft, wish.notes) {
        (None, Some(file)) => vec![Step::CreateDraft(Notes::File(file.into()))],
        (None, None) => vec![Step::CreateDraft(Notes::Generated)],
        (Some(_), Some(file)) => vec![Step::SetNotes(file.into())],
        (Some(_), None) => Vec::new(),
    };
    if let Some(draft) = draft {
        findings.extend(strangers(draft, assets, wish.tag)?);
    }
    let has = |asset: &Asset| {
        let mut there = draft.iter().flat_map(|draft| &draft.assets);
        there.any(|one| is_whole(one, asset))
    };
    steps.extend((0..assets.len()).filter(|index| !has(&assets[*index])).map(Step::Upload));
    steps.push(Step::Compare);
    if wish.draft {
        return Ok(Plan { steps, outcome: Outcome::Draft, findings });
    }
    steps.extend([Step::Publish, Step::Record]);
    Ok(Plan { steps, outcome: Outcome::Published, findings })
}

/// Files in a draft that are not of this bundle: they stay there.
///
/// # Errors
/// When one is of another bundle.
pub(super) fn strangers(draft: &Release, assets: &[Asset], tag: &str) -> Result<Vec<Finding>> {
    let is_ours = |name: &str| assets.iter().any(|asset| asset.name == name);
    let others: Vec<&str> = draft.assets.iter().map(|one| &*one.name).filter(|name| !is_ours(name)).collect();
    let of_bundles = [".tar.gz", ".lock.json", ".manifest.jsonl.gz"];
    if let Some(other) = others.iter().find(|name| of_bundles.iter().any(|end| name.ends_with(end))) {
        let what = format!("the draft of {tag} holds {other}, which is of another bundle");
        let next = format!("`gh release delete-asset {tag} {other}` takes it out, once you know whose it is");
        return Err(Error::refused(what, next));
    }
    let stays = |name: &str| Finding::info(name, format!("is in the draft of {tag} too, and stays there"));
    Ok(others.into_iter().map(stays).collect())
}

/// What is published already has to be the same: what is not is found, and nothing is done.
fn unchanged(published: &Release, assets: &[Asset], wish: &Wish<'_>) -> Plan {
    let differ: Vec<(&Asset, &str)> =
        assets.iter().filter_map(|asset| Some((asset, differs(published, asset)?))).collect();
    if !differ.is_empty() {
        let has_tarball = |asset: &Asset| {
            asset.name.ends_with(".tar.gz") && published.assets.iter().any(|one| is_whole(one, asset))
        };
        let repair = if assets.iter().any(has_tarball) {
            same_tarball(published, wish.lock)
        } else {
            ANOTHER.to_owned()
        };
        let told = |(asset, how): (&Asset, &str)| {
            let what = format!("{how} {}, which is published already and is never changed", published.url);
            Finding::error(&asset.name, what, repair.clone())
        };
        let findings = differ.into_iter().map(told).collect();
        return Plan { steps: Vec::new(), outcome: Outcome::Different, findings };
    }
    let mut findings = Vec::new();
    if wish.notes.is_some() || wish.draft {
        findings.push(Finding::info(&published.url, "is published already: it stays as it is"));
    }
    let record = (!wish.recorded).then_some(Step::Record);
    let steps = [Step::Compare].into_iter().chain(record).collect();
    Plan { steps, outcome: Outcome::Unchanged, findings }
}

/// What helps where a release of that tag holds another tarball.
pub(super) const ANOTHER: &str = "give what you have now a version and a tag of its own, and publish that: `cargo xtask \
                                  snapshot` bundles the commit that has them";

/// What helps where it holds the same one, and only what stands beside it differs: it was not made from here.
fn same_tarball(published: &Release, lock: &str) -> String {
    format!(
        "its tarball is the same: `cargo xtask publish {} --url {}` records that release as this bundle's; or give what \
         you have now a version and a tag of its own",
        word(lock),
        published.url
    )
}

/// How a published release does not hold an asset.
fn differs(published: &Release, asset: &Asset) -> Option<&'static str> {
    let Some(one) = published.assets.iter().find(|one| one.name == asset.name) else {
        return Some("is not in");
    };
    let same = one.sha256.as_ref().is_none_or(|sha256| *sha256 == asset.sha256);
    (one.bytes != asset.bytes || !same).then_some("differs from the one of that name in")
}

/// Whether the forge says that it has this very file.
pub(super) fn is_whole(one: &release::Asset, asset: &Asset) -> bool {
    one.name == asset.name && one.whole && one.sha256.as_ref() == Some(&asset.sha256)
}

/// What each step does, behind "would".
pub(super) struct Shown<'a> {
    pub step: &'a Step,
    pub assets: &'a [Asset],
    pub tag: &'a str,
    pub repository: &'a str,
    pub url: &'a str,
    pub lock: &'a str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, repository, url, lock, .. } = self;
        match self.step {
            Step::CreateDraft(Notes::Generated) => {
                write!(f, "create the release {tag} of {repository} as a draft, with generated notes")
            }
            Step::CreateDraft(Notes::File(file)) => {
                write!(
                    f,
                    "create the release {tag} of {repository} as a draft, with the notes in {}",
                    file.display()
                )
            }
            Step::SetNotes(file) => write!(f, "give the draft of {tag} the notes in {}", file.display()),
            Step::Upload(index) => {
                let Asset { name, bytes, .. } = &self.assets[*index];
                write!(f, "upload {name} ({bytes} bytes)")
            }
            Step::Compare => {
                write!(f, "compare {} files with the digests of {repository}", self.assets.len())
            }
            Step::Publish => write!(f, "publish {url}"),
            Step::Record => write!(f, "record {url} in {lock}"),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
