//! One bundle in its folder: made, or found whole. Its lock is written last: without it there is no bundle.
use super::super::{TOOL, at};
use super::image::Tagging;
use super::{Outcome, Plan, short};
use crate::archive::codec::Codec;
use crate::archive::hashing::Hashing;
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Options, Sinks, Summary};
use crate::cli::SnapshotArgs as Args;
use crate::destination::durable::{self, Run};
use crate::destination::names::BundleName;
use crate::destination::release_lock::{Encoder, ReleaseLock};
use crate::destination::releases::Bundle;
use crate::error::{Error, Result};
use crate::finding::{self, Finding};
use crate::interrupt::interrupted;
use crate::restore::{Source, check};
use crate::shown::show;
use crate::source::{Listing, Pour, PourError};
use crate::threads::workers;
use crate::tools::git::Blobs;
use std::io;
use std::path::Path;

/// A bundle of this name is there: the same commit, whole, or in the way.
pub(super) fn unchanged(plan: &Plan, lock: ReleaseLock, lock_only: bool) -> Result<Outcome> {
    check_lock(plan, &lock)?;
    let mut findings = plan.findings.clone();
    let tarball = plan.tarball();
    if !lock_only && lock.tarball.is_some() {
        let bundle = Bundle {
            tarball: tarball.exists().then(|| tarball.clone()),
            manifest: None,
            lock_path: plan.lock(),
            lock: lock.clone(),
            bytes: 0,
        };
        if let Some(source) = Source::of_bundle(&bundle)? {
            let checked = check(&source, None)?;
            let errors = checked.findings.into_iter().filter(|f| f.severity == finding::Severity::Error);
            findings.extend(errors);
        } else {
            let repair = "remove its lock, and run snapshot again: the bytes will be the same";
            findings.push(Finding::error(show(&tarball), "is in the lock, and gone", repair));
        }
    }
    let status = if finding::any_error(&findings) { "damaged" } else { "unchanged" };
    Ok(Outcome { status, lock, findings })
}

/// Whether a lock of this name is of the very bundle that is planned: the same commit under other settings is another.
///
/// # Errors
/// When it is in the way.
pub(super) fn check_lock(plan: &Plan, lock: &ReleaseLock) -> Result<()> {
    let contents = plan.contents();
    let what = if lock.git_commit.as_deref() != Some(&plan.commit.sha) {
        format!("is of another commit ({})", lock.git_sha)
    } else if lock.env != plan.env {
        format!("is for the environment {:?}, not {:?}", lock.env, plan.env)
    } else if lock.root != plan.root {
        format!("holds another folder of this commit ({})", lock.root.as_deref().unwrap_or("all of it"))
    } else if lock.submodules != contents.submodules
        || lock.excluded != contents.excluded
        || lock.entries != contents.items.len() as u64
    {
        "holds other files of this commit: it was made with other patterns".to_owned()
    } else {
        return Ok(());
    };
    let next = "give this one another --version, or another --output-dir; or remove that one";
    Err(Error::refused(format!("{} {what}", show(&plan.lock())), next))
}

/// Makes the bundle: tarball, manifest, and its lock last.
///
/// # Errors
/// When it cannot be written or read back, or something of it cannot be read; nothing is left of it then.
pub(super) fn create(
    args: &Args,
    plan: &Plan,
    existing: Option<ReleaseLock>,
    image: Option<&Tagging>,
    blobs: &mut Blobs,
) -> Result<Outcome> {
    if let Some(lock) = &existing {
        check_lock(plan, lock)?;
    }
    let mut run = Run::public();
    let tarball = plan.tarball();
    for file in &plan.leftovers {
        durable::remove(file)?;
    }
    let manifest = plan.manifest();
    let (summary, sha256, manifest_sha256, findings) = if args.no_tarball {
        let mut sink = Hashing::new(io::sink());
        let sinks = Sinks { archive: &mut sink, manifest: &mut io::sink() };
        let (findings, summary) = pack(plan, blobs, sinks).map_err(|error| at(&tarball, error))?;
        let (sha256, _) = sink.finish().map_err(Error::io("write", &tarball))?;
        (summary, sha256, None, findings)
    } else {
        let (mut archive, mut manifest) = (run.create(&tarball)?, run.create(&manifest)?);
        let packed = pack(plan, blobs, Sinks { archive: &mut archive, manifest: &mut manifest });
        let (findings, summary) = packed.map_err(|error| at(&tarball, error))?;
        (summary, archive.finish()?.sha256, Some(manifest.finish()?.sha256), findings)
    };
    if interrupted() {
        return Err(Error::Interrupted);
    }
    let mut all = plan.findings.clone();
    all.extend(findings);
    if finding::any_error(&all) {
        let worst = all.iter().find(|f| f.severity == finding::Severity::Error);
        let what = worst.map(Finding::line).unwrap_or_default();
        return Err(Error::refused(what, "a bundle is whole or not made at all"));
    }
    let mut lock = lock_of(args, plan, &summary, (sha256, manifest_sha256), &all);
    if let Some(alone) = &existing {
        lock.release_url.clone_from(&alone.release_url);
        lock.docker_tag.clone_from(&alone.docker_tag);
        lock.image_id.clone_from(&alone.image_id);
        lock.repo_digests.clone_from(&alone.repo_digests);
    }
    image.map_or(Ok(()), |image| image.apply(&mut lock))?;
    match existing {
        None => drop(run.publish(&plan.lock(), lock.render().as_bytes())?),
        Some(_) => durable::replace(&plan.lock(), lock.render().as_bytes(), 0o644)?,
    }
    run.commit();
    Ok(Outcome { status: "created", lock, findings: all })
}

fn pack(plan: &Plan, blobs: &mut Blobs, sinks: Sinks<'_>) -> Result<(Vec<Finding>, Summary), PourError> {
    pack_listing(&plan.name, plan.contents(), blobs, sinks)
}

/// The manifest, packed, of a bundle that holds this.
///
/// # Errors
/// When something of it cannot be read.
pub(super) fn manifest_of(name: &BundleName, listing: &Listing, blobs: &mut Blobs) -> Result<Vec<u8>> {
    let mut manifest = Vec::new();
    let sinks = Sinks { archive: &mut io::sink(), manifest: &mut manifest };
    let packed = pack_listing(name, listing, blobs, sinks);
    packed.map_err(|error| at(Path::new(&name.tarball()), error))?;
    Ok(manifest)
}

/// Writes the archive and the manifest of a bundle that holds this.
///
/// # Errors
/// When something of it cannot be read or written.
pub(in crate::commands) fn pack_listing(
    name: &BundleName,
    listing: &Listing,
    blobs: &mut Blobs,
    sinks: Sinks<'_>,
) -> Result<(Vec<Finding>, Summary), PourError> {
    let header = Header {
        schema: SCHEMA,
        archive: name.tarball(),
        created_at: name.time.to_string(),
        codec: Codec::Gzip,
        encoder: Codec::Gzip.encoder().into(),
        level: Codec::Gzip.level(),
        tool: TOOL.into(),
    };
    writer::write(sinks, &header, Options { workers: workers(), tar_sha256: true }, |builder| {
        let mut pour = Pour::new(builder, Some(blobs.ahead(listing.objects())));
        listing.items.iter().cloned().try_for_each(|item| pour.add(item, None))?;
        Ok(pour.finish())
    })
}

fn lock_of(
    args: &Args,
    plan: &Plan,
    summary: &Summary,
    (sha256, manifest_sha256): (String, Option<String>),
    reported: &[Finding],
) -> ReleaseLock {
    let listing = plan.contents();
    ReleaseLock {
        schema_version: 1,
        version: plan.name.version.clone(),
        env: plan.env.clone(),
        git_sha: short(&plan.commit.sha).to_owned(),
        created_at: plan.name.time.to_string(),
        tarball: (!args.no_tarball).then(|| plan.name.tarball()),
        tarball_sha256: Some(sha256),
        docker_tag: None,
        image_id: None,
        repo_digests: Vec::new(),
        release_url: None,
        keep: Some(plan.keep),
        name: plan.name.name.clone(),
        git_commit: Some(plan.commit.sha.clone()),
        git_tree: Some(plan.commit.tree.clone()),
        tags: plan.commit.tags.clone(),
        tar_sha256: summary.tar_sha256.clone(),
        encoder: Some(Encoder { name: Codec::Gzip.encoder().into(), level: Codec::Gzip.level() }),
        manifest: (!args.no_tarball).then(|| plan.name.manifest()),
        manifest_sha256,
        entries: summary.entries,
        dirty: plan.dirty,
        root: plan.root.clone(),
        submodules: listing.submodules.clone(),
        excluded: listing.excluded.clone(),
        // Local edits are this machine's, not the commit's: the lock must be the same everywhere.
        reported: reported.iter().filter(|f| f.severity != finding::Severity::Info).cloned().collect(),
        tool_version: TOOL.into(),
    }
}
