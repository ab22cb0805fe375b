//! The docker image that belongs to a bundle: it gets a name after the bundle, and the lock records both.
//!
//! The name has the bundle's own time, the commit's, and not that of the run: so the same commit has the same name and the
//! same lock whenever it is bundled. A name that another image has already is never moved. The name is given before the
//! lock is written: a lock never speaks of one that is not there.
use super::Plan;
use crate::cli::SnapshotArgs as Args;
use crate::config::Config;
use crate::destination::durable;
use crate::destination::release_lock::ReleaseLock;
use crate::error::{Error, Result};
use crate::shown::show;
use crate::tools::OnInterrupt;
use crate::tools::docker::{self, Image};
use jiff::tz::Offset;

/// An image, and the name that it gets.
pub(super) struct Tagging {
    image: Image,
    pub tag: String,
}

/// What is to be done with the image that the run names; nothing without one. `lock` is the bundle's, where it is there.
///
/// # Errors
/// When docker does not answer or has no such image, when lock or name belong to another one, or when the lock was
/// published: what is published is never changed.
pub(super) fn plan(
    args: &Args,
    config: &Config,
    plan: &Plan,
    lock: Option<&ReleaseLock>,
) -> Result<Option<Tagging>> {
    let Some(reference) = &args.docker_image else { return Ok(None) };
    let prefix = args.docker_tag_prefix.as_ref().unwrap_or(&config.docker.image);
    let time = Offset::UTC.to_datetime(plan.name.time).strftime("%Y%m%d-%H%M%SZ");
    let tag = format!("{prefix}:{}-{time}", plan.env);
    if !docker::is_reference(reference) {
        return Err(Error::Usage(format!(
            "--docker-image {reference:?} is no name of an image that docker takes"
        )));
    }
    if !docker::is_tag(&tag) {
        return Err(misnamed(args, &plan.env, prefix));
    }
    docker::reachable()?;
    let image = docker::inspect(reference)?.ok_or_else(|| {
        let next = "`docker image ls` lists what is there; build or pull it first";
        Error::refused(format!("docker has no image {reference}"), next)
    })?;
    let other = |what: String| {
        let next = "give this one another --version or --docker-tag-prefix, or another --output-dir";
        Err(Error::refused(what, next))
    };
    if let Some(lock) = lock
        && lock.docker_tag.is_some()
        && (lock.docker_tag.as_ref(), lock.image_id.as_ref()) != (Some(&tag), Some(&image.id))
    {
        let (named, id) = (lock.docker_tag.as_deref(), lock.image_id.as_deref());
        let of = format!("{} ({})", named.unwrap_or_default(), id.unwrap_or("no id"));
        return other(format!("{} records another image, {of}", show(&plan.lock())));
    }
    if let Some(lock) = lock
        && lock.docker_tag.is_none()
        && let Some(url) = &lock.release_url
    {
        return other(format!("{} is published without an image ({url})", show(&plan.lock())));
    }
    match docker::inspect(&tag)? {
        Some(named) if named.id != image.id => {
            other(format!("{tag} is the name of another image already, {}", named.id))
        }
        _ => Ok(Some(Tagging { image, tag })),
    }
}

/// Which part of the name that an image would get is to blame.
fn misnamed(args: &Args, env: &str, prefix: &str) -> Error {
    if docker::is_tag(&format!("{prefix}:x")) {
        let what = format!("the environment {env:?} cannot be part of an image's name");
        return match args.env {
            Some(_) => Error::Usage(what),
            None => Error::refused(what, "set `env` of [release] to letters, digits, '.', '_' and '-'"),
        };
    }
    let what = format!("no image can be called {prefix:?}");
    match args.docker_tag_prefix {
        Some(_) => {
            Error::Usage(format!("--docker-tag-prefix: {what}: use small letters, digits, '.', '_' and '-'"))
        }
        None => {
            Error::refused(what, "set `image` of [docker], in small letters, or give --docker-tag-prefix")
        }
    }
}

impl Tagging {
    /// What a dry run says of it.
    pub(super) fn planned(&self) -> String {
        format!("would name the image {} {}", self.image.id, self.tag)
    }

    /// Names the image, and puts it into a lock that is to be written.
    ///
    /// # Errors
    /// When docker fails.
    pub(super) fn apply(&self, lock: &mut ReleaseLock) -> Result<()> {
        docker::tag(&self.image.id, &self.tag, OnInterrupt::End)?;
        let mut digests = self.image.digests.clone();
        digests.sort();
        lock.docker_tag = Some(self.tag.clone());
        lock.image_id = Some(self.image.id.clone());
        lock.repo_digests = digests;
        Ok(())
    }

    /// The same for a bundle that is there: its lock is replaced when it did not record the image yet. Whether it was.
    ///
    /// # Errors
    /// When docker fails, or the lock cannot be written.
    pub(super) fn add(&self, plan: &Plan, lock: &mut ReleaseLock) -> Result<bool> {
        let new = lock.docker_tag.is_none();
        let mut with = lock.clone();
        self.apply(&mut with)?;
        if new {
            durable::replace(&plan.lock(), with.render().as_bytes(), 0o644)?;
            *lock = with;
        }
        Ok(new)
    }
}
