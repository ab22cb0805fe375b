//! `verify --rebuild`: a bundle is made once more from its commit, in a fresh clone, and compared.
//!
//! find (lock, tarball, commit) → clone (that commit alone, into a private folder) → pack (what the lock says is in the
//! bundle) → compare (`tar_sha256`, then bytes, then entry by entry) → report. Nothing is taken from the bundle, from the
//! working tree or from the settings of the repository, and nothing is written but the private folder. No network is used.
mod differences;
mod report;
mod subject;

use crate::archive::FormatError;
use crate::archive::codec::Codec;
use crate::archive::hashing::Hashing;
use crate::archive::raw::{self, Stream};
use crate::archive::writer::Sinks;
use crate::cli::VerifyArgs as Args;
use crate::commands::snapshot::{listing, pack_listing};
use crate::commands::{Context, TOOL, at};
use crate::destination::names::BundleName;
use crate::destination::read;
use crate::destination::release_lock::ReleaseLock;
use crate::error::{Error, Exit, Result};
use crate::finding;
use crate::interrupt::interrupted;
use crate::restore::digest_file;
use crate::restore::scratch::{self, Owner, Scratch};
use crate::shown::show;
use crate::tools::git::Repository;
use crate::tools::{Tool, preflight};
use differences::differences;
use report::{Outcome, judge};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::path::Path;
use subject::{Subject, commit_of, find};

/// Runs the verb.
///
/// # Errors
/// When a bundle cannot be rebuilt at all; what differs is a finding.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    preflight(&[Tool::Git])?;
    let repository = Repository::discover(&ctx.start)?.ok_or_else(|| {
        let what = format!("{} is not in a git repository", ctx.start.display());
        Error::refused(what, "name the repository that the bundle was made of with -C")
    })?;
    let config = crate::commands::configuration_of(Some(&repository), ctx)?;
    let parent = ctx.temporary();
    scratch::sweep(scratch::left_behind(Owner::Rebuild, &parent, ctx.now))?;
    let paths = args.rebuild.iter().map(|path| ctx.path(path));
    let subjects: Vec<Subject> = paths.map(|path| find(&path, &config)).collect::<Result<_>>()?;
    let (mut artifacts, mut findings) = (Vec::new(), Vec::new());
    for subject in &subjects {
        let Outcome { verdict, findings: found, differences, entries, sha256, tar_sha256 } =
            one(subject, &repository, &parent)?;
        let (shown, commit) = (show(subject.shown()), subject.lock.git_commit.as_deref().unwrap_or_default());
        ctx.ui.result(&format!("{} {shown} ({entries} entries of commit {commit:.12})", verdict.word()));
        artifacts.push(json!({"path": shown, "lock": show(&subject.lock_path), "git_commit": commit,
            "result": verdict.name(), "entries": entries, "sha256": sha256, "tar_sha256": tar_sha256,
            "differences": differences}));
        findings.extend(found);
    }
    let status = if finding::any_error(&findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "verify", "status": status, "checked": artifacts.len(),
        "artifacts": artifacts, "findings": findings}),
    );
    ctx.ui.findings(&findings);
    ctx.told.of(&format!("{} rebuilt", subjects.len()), &findings);
    Ok(finding::exit(&findings))
}

/// What was rebuilt.
struct Rebuilt {
    tree: String,
    entries: u64,
    sha256: String,
    tar_sha256: String,
    manifest_sha256: String,
    /// The archive, where there is one to compare it with.
    archive: Option<File>,
    /// Paths that the lock says were left out, and that the commit does not have.
    unknown: Vec<String>,
}

fn one(subject: &Subject, repository: &Repository, parent: &Path) -> Result<Outcome> {
    let scratch = Scratch::new(Owner::Rebuild, parent)?;
    let rebuilt = rebuild(subject, repository, &scratch)?;
    let found = match &subject.tarball {
        Some(tarball) => Some((digest_file(tarball)?.0, tarball)),
        None => None,
    };
    let compared = match (found, &rebuilt.archive) {
        (Some((sha256, tarball)), Some(archive)) if sha256 != rebuilt.sha256 => {
            // Whatever is in the bundle, it takes memory for what its commit makes, and some more.
            let most = usize::try_from(rebuilt.entries).unwrap_or(usize::MAX).saturating_mul(2).max(10_000);
            let bundle = stream_of(read::open(tarball)?, tarball, most)?;
            let again = archive.try_clone().map_err(Error::io("read", parent))?;
            let again = stream_of(again, tarball, usize::MAX)?;
            let differences = differences(&bundle, &again);
            Some((sha256, Some((bundle, differences))))
        }
        (Some((sha256, _)), _) => Some((sha256, None)),
        (None, _) => None,
    };
    if interrupted() {
        return Err(Error::Interrupted);
    }
    let outcome = judge(subject, rebuilt, compared);
    scratch.remove()?;
    Ok(outcome)
}

/// Makes the bundle's archive once more, from a clone in `scratch`.
fn rebuild(subject: &Subject, repository: &Repository, scratch: &Scratch) -> Result<Rebuilt> {
    let lock = &subject.lock;
    let (commit, time, submodules) = commit_of(subject, repository)?;
    let clone = repository.copy(commit, &submodules, &scratch.folder("clone")?)?;
    let mut blobs = clone.blobs()?;
    let mut commit = clone.resolve(commit, &mut blobs)?;
    // It may have been given.
    commit.time = time;
    let scope = lock.scope();
    let listing = listing(&clone, &commit, &scope, &mut blobs)?;
    let unknown = scope.left_out.into_iter().filter(|path| !listing.excluded.contains(path)).collect();
    let name = BundleName { name: lock.name.clone(), version: lock.version.clone(), time };
    #[expect(
        clippy::disallowed_methods,
        reason = "inside of the run's own private folder, and without a name"
    )]
    let file = match subject.tarball {
        Some(_) => Some(tempfile::tempfile_in(scratch.path()).map_err(Error::io("create", scratch.path()))?),
        None => None,
    };
    let sink: Box<dyn Write + Send> = match &file {
        Some(file) => Box::new(BufWriter::new(file)),
        None => Box::new(io::sink()),
    };
    let (mut archive, mut manifest) = (Hashing::new(sink), Hashing::new(io::sink()));
    let sinks = Sinks { archive: &mut archive, manifest: &mut manifest };
    let packed = pack_listing(&name, &listing, &mut blobs, sinks);
    let (_, summary) = packed.map_err(|error| at(scratch.path(), error))?;
    let (sha256, sink) = archive.finish().map_err(Error::io("write", scratch.path()))?;
    drop(sink);
    let (manifest_sha256, _) = manifest.finish().map_err(Error::io("write", scratch.path()))?;
    if let Some(mut file) = file.as_ref() {
        file.rewind().map_err(Error::io("read", scratch.path()))?;
    }
    let tar_sha256 = summary.tar_sha256.unwrap_or_default();
    Ok(Rebuilt {
        tree: commit.tree,
        entries: summary.entries,
        sha256,
        tar_sha256,
        manifest_sha256,
        archive: file,
        unknown,
    })
}

/// The tar stream in an archive, with so many entries at the most.
fn stream_of(mut file: File, tarball: &Path, most: usize) -> Result<Stream> {
    let codec = match tarball.extension() {
        Some(ending) if ending == Codec::Zstd.extension() => Codec::Zstd,
        _ => Codec::Gzip,
    };
    let mut decoder = codec.decoder(&mut file).map_err(Error::format(tarball))?;
    let stream = raw::read(&mut BufReader::with_capacity(1 << 17, &mut decoder), most);
    match stream.broken {
        // What the drive says is no difference.
        Some(FormatError::Io(source)) => Err(Error::io("read", tarball)(source)),
        _ => Ok(stream),
    }
}
