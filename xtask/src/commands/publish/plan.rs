//! What publishing a bundle comes to, given what is there already. Pure: `--dry-run` prints the very steps that a run takes.
//!
//! What was published is never changed. A draft may be: nobody has seen it but those who may change it.
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::tools::gh::release::{Notes, Release};
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
    Recorded,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Draft => "draft",
            Self::Unchanged => "unchanged",
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
/// When the release is published and is another, or the draft is of another bundle.
pub(super) fn plan(release: Option<&Release>, assets: &[Asset], wish: &Wish<'_>) -> Result<Plan> {
    match release {
        Some(published) if !published.draft => unchanged(published, assets, wish),
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
    for other in draft.iter().flat_map(|draft| &draft.assets).filter(|one| !is_ours(&one.name, assets)) {
        let tag = wish.tag;
        if [".tar.gz", ".lock.json", ".manifest.jsonl.gz"].iter().any(|end| other.name.ends_with(end)) {
            let what = format!("the draft of {tag} holds {}, which is of another bundle", other.name);
            let next = format!(
                "`gh release delete-asset {tag} {}` takes it out, once you know whose it is",
                other.name
            );
            return Err(Error::refused(what, next));
        }
        findings.push(Finding::info(&other.name, format!("is in the draft of {tag} too, and stays there")));
    }
    let has = |asset: &Asset| {
        let mut there = draft.iter().flat_map(|draft| &draft.assets);
        there.any(|one| one.name == asset.name && one.whole && one.sha256.as_ref() == Some(&asset.sha256))
    };
    steps.extend((0..assets.len()).filter(|index| !has(&assets[*index])).map(Step::Upload));
    steps.push(Step::Compare);
    if wish.draft {
        return Ok(Plan { steps, outcome: Outcome::Draft, findings });
    }
    steps.extend([Step::Publish, Step::Record]);
    Ok(Plan { steps, outcome: Outcome::Published, findings })
}

/// What is published already has to be the same.
fn unchanged(published: &Release, assets: &[Asset], wish: &Wish<'_>) -> Result<Plan> {
    let differs = |asset: &Asset| match published.assets.iter().find(|one| one.name == asset.name) {
        None => Some(format!("without {}", asset.name)),
        Some(one)
            if one.bytes != asset.bytes
                || one.sha256.as_ref().is_some_and(|sha256| *sha256 != asset.sha256) =>
        {
            Some(format!("with another {}", asset.name))
        }
        Some(_) => None,
    };
    if let Some(how) = assets.iter().find_map(differs) {
        return Err(Error::refused(
            format!("{} is published already, {how}, and is never changed", published.url),
            format!(
                "give what you have now a version and a tag of its own; or `cargo xtask publish --url {}`, if that release is this bundle",
                published.url
            ),
        ));
    }
    let mut findings = Vec::new();
    if wish.notes.is_some() || wish.draft {
        findings.push(Finding::info(&published.url, "is published already: it stays as it is"));
    }
    let record = (!wish.recorded).then_some(Step::Record);
    Ok(Plan {
        steps: [Step::Compare].into_iter().chain(record).collect(),
        outcome: Outcome::Unchanged,
        findings,
    })
}

fn is_ours(name: &str, assets: &[Asset]) -> bool {
    assets.iter().any(|asset| asset.name == name)
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
