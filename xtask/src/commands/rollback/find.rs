//! Which image an environment is to run: as the command line, a lock or the shell tool's pointers name it, and whether
//! docker has it or it has to be loaded from where images are saved. Reads, and changes nothing.
use super::Args;
use crate::config::Config;
use crate::destination::images::{self, Recorded};
use crate::destination::{read, releases};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use crate::tools::docker::{self, Image, is_reference};
use std::path::{Path, PathBuf};

/// An image that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What names it, for people.
    pub by: String,
    /// Its id.
    pub id: Option<String>,
    /// A name of it.
    pub name: Option<String>,
    /// Its digests in registries.
    pub digests: Vec<String>,
    /// The files that it may have been saved in.
    pub saved: Vec<PathBuf>,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Docker has it.
    Here(Image),
    /// It was saved in this file.
    Saved(PathBuf),
}

/// The image that an environment is to run.
///
/// # Errors
/// When nothing names one.
pub(super) fn wanted(
    args: &Args,
    config: &Config,
    env: &str,
    backup_dir: &Path,
    from_lock: Option<&Path>,
    findings: &mut Vec<Finding>,
) -> Result<Wanted> {
    let app = config.docker.image.rsplit('/').next().unwrap_or(&config.docker.image);
    let pointer = |kind: &str| pointer(backup_dir, env, kind);
    let tar = pointer("tarpath").map(PathBuf::from);
    let wanted = if let Some(reference) = &args.image_id {
        let is_id = reference.starts_with("sha256:");
        let (id, name) = if is_id { (Some(reference), None) } else { (None, Some(reference)) };
        let by = "--image-id".to_owned();
        Wanted { by, id: id.cloned(), name: name.cloned(), digests: vec![], saved: tar.into_iter().collect() }
    } else if let Some(path) = from_lock {
        let recorded = images::read(path)?.into_iter().find(|image| image.env.is_empty() || image.env == env);
        let none = || {
            let next = "give the lock that does, or --image-id, or another --env";
            Error::refused(format!("{} names no image of {env}", show(path)), next)
        };
        of_lock(recorded.ok_or_else(none)?, (app, env), backup_dir, tar)?
    } else {
        let (all, wrong) = images::all(&config.release.output_dir)?;
        findings.extend(wrong);
        let newest = all.into_iter().filter(|image| image.env == env && image.time.is_some());
        match (newest.max_by_key(|image| image.time), pointer("iid")) {
            (Some(recorded), _) => of_lock(recorded, (app, env), backup_dir, tar)?,
            (None, Some(id)) => Wanted {
                by: show(&backup_dir.join(format!("codex-latest-{env}.iid"))),
                id: Some(id),
                name: pointer("tag"),
                digests: vec![],
                saved: tar.into_iter().collect(),
            },
            (None, None) => {
                let what = format!("no lock in {} names an image of {env}", show(&config.release.output_dir));
                let next = "give --from-lock or --image-id; `snapshot --docker-image` records one";
                return Err(Error::refused(what, next));
            }
        }
    };
    if let Some(reference) = wanted.id.iter().chain(&wanted.name).find(|reference| !is_reference(reference)) {
        let next = "look at it: docker would take that for something else";
        return Err(Error::refused(format!("{} names {reference:?}, which is no image", wanted.by), next));
    }
    match (&wanted.id, &wanted.name) {
        (None, None) => {
            let what = format!("{} names no id and no tag of an image of {env}", wanted.by);
            Err(Error::refused(what, "give --image-id"))
        }
        _ => Ok(wanted),
    }
}

/// A lock that is not the one that was written starts nothing.
fn of_lock(
    recorded: Recorded,
    (app, env): (&str, &str),
    backup_dir: &Path,
    tar: Option<PathBuf>,
) -> Result<Wanted> {
    if releases::is_refuted(&recorded.lock)? {
        let what = format!("{} has another SHA-256 than SHA256SUMS says", show(&recorded.lock));
        return Err(Error::refused(what, "bring it back from another copy, or give --image-id"));
    }
    let saved = recorded.stamps.iter().map(|stamp| backup_dir.join(format!("{app}-{env}-{stamp}.tar")));
    Ok(Wanted {
        by: show(&recorded.lock),
        id: recorded.image_id,
        name: recorded.docker_tag,
        digests: recorded.repo_digests,
        saved: saved.chain(tar).collect(),
    })
}

/// What the shell tool has written of its last snapshot: `iid`, `tag` or `tarpath`.
fn pointer(backup_dir: &Path, env: &str, kind: &str) -> Option<String> {
    let text = read::small(&backup_dir.join(format!("codex-latest-{env}.{kind}"))).ok()?;
    let text = String::from_utf8(text).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

impl Wanted {
    /// Where the image is.
    ///
    /// # Errors
    /// When it is nowhere, or docker fails.
    pub(super) fn find(&self) -> Result<Found> {
        if let Some(image) = self.here()? {
            return Ok(Found::Here(image));
        }
        match self.saved.iter().find(|file| file.is_file()) {
            Some(file) => Ok(Found::Saved(file.clone())),
            None => Err(self.nowhere()),
        }
    }

    /// The image, if docker has it: by its id; or by its name, where that is all that is known of it, or the two have a
    /// digest in common. (With another image store docker gives the same image another id.)
    ///
    /// # Errors
    /// When docker fails.
    pub(super) fn here(&self) -> Result<Option<Image>> {
        if let Some(id) = &self.id
            && let Some(image) = docker::inspect(id)?
            && (id.len() < FULL || image.id == *id)
        {
            return Ok(Some(image));
        }
        let Some(name) = &self.name else { return Ok(None) };
        let named = docker::inspect(name)?;
        Ok(named.filter(|image| {
            self.id.is_none() || image.digests.iter().any(|digest| self.digests.contains(digest))
        }))
    }

    /// What is asked for, in words.
    pub(super) fn words(&self) -> String {
        [&self.id, &self.name].into_iter().flatten().cloned().collect::<Vec<_>>().join(", ")
    }

    fn nowhere(&self) -> Error {
        let looked: Vec<String> = self.saved.iter().map(|file| show(file)).collect();
        let files =
            if looked.is_empty() { String::new() } else { format!(", nor is there {}", looked.join(" or ")) };
        let what = format!("docker has no image {}, which {} names{files}", self.words(), self.by);
        let next = "pull or build it, or bring back the file that it was saved in, or give --image-id";
        Error::refused(what, next)
    }
}

/// Characters of a whole id: `sha256:` and 64 digits.
const FULL: usize = 71;
