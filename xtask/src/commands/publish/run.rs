//! The steps, done one behind the other. What is done is found by the next run, so each may be the last: a draft goes on
//! being a draft, what is published is compared, and the lock is told once all of that is so.
use super::plan::{ANOTHER, Asset, Content, Plan, Step, is_whole, strangers};
use super::subject::{Subject, path_of};
use crate::destination::durable::{self, Run};
use crate::destination::releases;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::restore::digest_file;
use crate::restore::scratch::{Owner, Scratch};
use crate::tools::gh::release::{Forge, Former, Release, TRANSFER};
use crate::tools::gh::{self, Download};
use std::collections::HashSet;
use std::path::Path;

/// What helps where a draft does not hold what it should.
const AGAIN: &str = "run it again: of a draft it uploads what differs";

/// What the steps are done with.
pub(super) struct Work<'a> {
    pub subject: &'a Subject,
    pub assets: &'a [Asset],
    pub tag: &'a str,
    pub url: &'a str,
    pub forge: &'a Forge,
    /// Where private folders are made.
    pub temporary: &'a Path,
}

impl Work<'_> {
    /// Does all of them.
    ///
    /// # Errors
    /// That of the first step that fails; the steps before it are done.
    pub fn execute(&self, plan: &Plan, done: impl Fn(usize)) -> Result<Vec<Finding>> {
        let (scratch, mut findings) = (Scratch::new(Owner::Publish, self.temporary)?, Vec::new());
        let mut texts = Run::private();
        for asset in self.assets {
            if let Content::Text(text) = &asset.content {
                texts.write(&path_of(asset, scratch.path()), text.as_bytes())?;
            }
        }
        texts.commit();
        for (index, step) in plan.steps.iter().enumerate() {
            match step {
                Step::CreateDraft(notes) => self.forge.create_draft(self.tag, notes)?,
                Step::SetNotes(file) => {
                    self.draft()?;
                    self.forge.set_notes(self.tag, file)?;
                }
                Step::Upload(asset) => self.upload(&self.assets[*asset], &scratch)?,
                Step::Compare => self.compare(&scratch)?,
                Step::Publish => findings.extend(self.publish()?),
                Step::Record => record(self.subject, self.url)?,
            }
            done(index);
        }
        scratch.remove()?;
        Ok(findings)
    }

    /// A file that the draft does not have, or has otherwise: only that one is written over.
    fn upload(&self, asset: &Asset, scratch: &Scratch) -> Result<()> {
        let draft = self.draft()?;
        let former = match draft.assets.iter().find(|one| one.name == asset.name) {
            Some(one) if is_whole(one, asset) => return Ok(()),
            Some(_) => Former::Replace,
            None => Former::Stay,
        };
        self.forge.upload(self.tag, &path_of(asset, scratch.path()), former)
    }

    /// The release as it is at this moment: a draft still, and of this bundle. Somebody else may have been at work since the
    /// plan was made, and what is published is never changed.
    fn draft(&self) -> Result<Release> {
        let release = self.look()?;
        if !release.draft {
            let what = format!("{} was published meanwhile, and not by this run", release.url);
            let next =
                "see who else works on it; run again, it compares what is published and changes nothing";
            return Err(Error::refused(what, next));
        }
        strangers(&release, self.assets, self.tag)?;
        Ok(release)
    }

    /// Each file with what the forge says that it holds; where it says nothing, with what comes back.
    fn compare(&self, scratch: &Scratch) -> Result<()> {
        let release = self.look()?;
        let next = if release.draft { AGAIN } else { ANOTHER };
        for (index, asset) in self.assets.iter().enumerate() {
            let there = release.assets.iter().find(|one| one.name == asset.name && one.whole);
            let there = there.ok_or_else(|| self.differs(asset, "is not there, or not as a whole", next))?;
            let found = match &there.sha256 {
                Some(sha256) => sha256.clone(),
                None => self.downloaded(asset, &scratch.folder(&format!("compared-{index}"))?)?,
            };
            if there.bytes != asset.bytes || found != asset.sha256 {
                let how = format!("has SHA-256 {found} there, not {}", asset.sha256);
                return Err(self.differs(asset, &how, next));
            }
        }
        Ok(())
    }

    fn look(&self) -> Result<Release> {
        self.forge.release(self.tag)?.ok_or_else(|| {
            let what = format!("the release {} of {} is gone again", self.tag, self.forge.repository);
            Error::refused(what, "see who else works on it, and run it again")
        })
    }

    fn downloaded(&self, asset: &Asset, to: &Path) -> Result<String> {
        match gh::download(&self.forge.repository, self.tag, &asset.name, to, TRANSFER)? {
            Download::Done => Ok(digest_file(&to.join(&asset.name))?.0),
            Download::Missing(said) | Download::Blocked(said) => {
                Err(self.unread(asset, &format!("could not be downloaded to be compared: {said}")))
            }
            Download::Timeout => Err(self.unread(asset, "could not be downloaded in time to be compared")),
        }
    }

    fn unread(&self, asset: &Asset, how: &str) -> Error {
        self.differs(asset, how, "run it again")
    }

    fn differs(&self, asset: &Asset, how: &str, next: &str) -> Error {
        Error::Damaged {
            path: asset.name.clone().into(),
            what: format!("{how}, in the release {} of {}", self.tag, self.forge.repository),
            next: next.into(),
        }
    }

    fn publish(&self) -> Result<Option<Finding>> {
        self.forge.publish(self.tag)?;
        let Release { draft, url, .. } = self.look()?;
        if draft {
            let what = format!("{url} is still a draft after it was to be published");
            return Err(Error::refused(what, "see what the forge says of it, and run it again"));
        }
        let what = format!("is what the forge calls the release that the lock knows as {}", self.url);
        Ok((url != self.url).then(|| Finding::warning(url, what, "see that both lead to the same release")))
    }
}

/// The address in the lock, and the lock's new digest in `SHA256SUMS`.
///
/// # Errors
/// When one of the two cannot be replaced; the next run does what is left.
pub(super) fn record(subject: &Subject, url: &str) -> Result<()> {
    let path = &subject.bundle.lock_path;
    durable::replace(path, subject.with_url(url)?.as_bytes(), 0o644)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    releases::write_sums(folder, Some(path), &HashSet::new())
}
