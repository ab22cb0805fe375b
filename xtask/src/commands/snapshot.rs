//! `snapshot`: a commit as a release bundle: tarball, manifest, lock, `SHA256SUMS`.
//!
//! gather (repository, commit, listing) → plan (names, what is there already) → check (nothing of another commit in
//! the way) → execute (archive) → verify (read back) → record (lock, sums, history). The lock is written last of
//! what makes a bundle: without it there is none.
use super::Context;
use super::retain;
use crate::archive::codec::Codec;
use crate::archive::entry::Mtime;
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Sinks, Summary};
use crate::cli::SnapshotArgs as Args;
use crate::config::{Config, Release};
use crate::destination::durable::{self, Run};
use crate::destination::lock;
use crate::destination::marker::Sums;
use crate::destination::memory::Memory;
use crate::destination::names::{BundleName, whole_seconds};
use crate::destination::releases::{self, Encoder, ReleaseLock};
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, show};
use crate::restore::{Source, check, digest_file};
use crate::source::{self, Listing, Pour, PourError, staged::Staged};
use crate::tools::git::{Blobs, Commit, Repository};
use crate::tools::{Tool, preflight};
use jiff::Timestamp;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What a snapshot will do.
struct Plan {
    repository: Repository,
    commit: Commit,
    name: BundleName,
    folder: PathBuf,
    env: String,
    listing: Listing,
    staged: Option<Staged>,
    dirty: bool,
    /// Files of this bundle without a lock: a run was killed before its end, or the lock was taken away.
    leftovers: Vec<PathBuf>,
    keep: Option<u32>,
}

impl Plan {
    fn tarball(&self) -> PathBuf {
        self.folder.join(self.name.tarball())
    }

    fn lock(&self) -> PathBuf {
        self.folder.join(self.name.lock())
    }
}

/// What came of it.
struct Outcome {
    status: &'static str,
    lock: ReleaseLock,
    findings: Vec<Finding>,
}

/// Runs the verb.
///
/// # Errors
/// When there is nothing to bundle, or the bundle cannot be made or would replace another.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    preflight(if args.allow_dirty { &[Tool::Git, Tool::Rsync] } else { &[Tool::Git] })?;
    let repository = Repository::discover(&ctx.start)?.ok_or_else(|| {
        Error::refused(
            format!("{} is not in a git repository", ctx.start.display()),
            "run it inside of one, or name one with -C; `git init` makes one",
        )
    })?;
    let config = super::configuration(ctx)?;
    let mut blobs = repository.blobs()?;
    let plan = gather(args, ctx, &config, repository, &mut blobs)?;
    if args.dry_run {
        return show_plan(args, ctx, &plan);
    }
    let memory = Memory::at(&config.root);
    memory.open()?;
    let _held = lock::repository(memory.root(), "snapshot", ctx.now)?;
    let existing = plan.lock().exists().then(|| releases::read(&plan.lock())).transpose()?;
    let outcome = match existing {
        // A lock that was made alone gets its tarball; otherwise what is there must be whole.
        Some(lock) if lock.tarball.is_some() || args.no_tarball => unchanged(&plan, lock, args.no_tarball)?,
        existing => create(args, &plan, existing, &mut blobs)?,
    };
    write_sums(&plan.folder)?;
    let made = plan.lock();
    memory.record(&json!({"schema": 1, "kind": "snapshot", "time": ctx.now.to_string(), "lock": show(&made),
        "sha256": outcome.lock.tarball_sha256, "git_sha": outcome.lock.git_sha, "git_commit": outcome.lock.git_commit, "status": outcome.status}))?;
    let pruned = match args.prune && !finding::any_error(&outcome.findings) {
        true => retain::prune_bundles(&plan.folder, &plan.name.name, plan.keep.unwrap_or(3), &made, ctx)?,
        false => Vec::new(),
    };
    if !pruned.is_empty() {
        write_sums(&plan.folder)?;
    }
    report(ctx, &plan, &outcome, &pruned);
    Ok(finding::exit(&outcome.findings))
}

fn gather(
    args: &Args,
    ctx: &Context,
    config: &Config,
    repository: Repository,
    blobs: &mut Blobs,
) -> Result<Plan> {
    let mut commit = repository.resolve(args.rev.as_deref().unwrap_or("HEAD"))?;
    let release = release(ctx, config, &commit, blobs)?;
    if let Some(epoch) = (ctx.env)("SOURCE_DATE_EPOCH") {
        let wrong = || Error::Usage(format!("SOURCE_DATE_EPOCH is {epoch:?}, not seconds since 1970"));
        let seconds: i64 = epoch.parse().map_err(|_| wrong())?;
        commit.time = Timestamp::from_second(seconds).map_err(|_| wrong())?;
    }
    let edited = !repository.is_bare() && repository.is_dirty()?;
    let dirty = (args.allow_dirty && edited) || !release.include.is_empty();
    let listing = source::git::list(&repository, &commit, &release.exclude, blobs)?;
    let staged = match dirty {
        true => Some(stage(args, &release, &repository, &commit, &listing)?),
        false => None,
    };
    let version = version(args, &release, &commit, blobs)?;
    let (version, time) = match dirty {
        true => (format!("{version}-dirty"), whole_seconds(ctx.now)),
        false => (version, commit.time),
    };
    let mut plan = Plan {
        name: BundleName { name: release.name, version, time },
        folder: args.output_dir.as_ref().map_or(config.release.output_dir.clone(), |dir| ctx.path(dir)),
        env: args.env.clone().unwrap_or_else(|| config.release.env.clone()),
        repository,
        commit,
        listing,
        staged,
        dirty,
        leftovers: Vec::new(),
        keep: args.keep.or(config.release.keep),
    };
    if !plan.lock().exists() {
        let files = [plan.tarball(), plan.folder.join(plan.name.manifest())];
        plan.leftovers.extend(files.into_iter().filter(|file| file.exists()));
    }
    for file in &plan.leftovers {
        let what = "is there without a lock, and so is no bundle; it is made anew";
        plan.listing.findings.push(Finding::info(show(file), what));
    }
    if edited && !args.allow_dirty {
        let what = "has local edits; they are not in the bundle, which holds the commit";
        plan.listing.findings.push(Finding::info(show(plan.repository.root()), what));
    }
    if plan.staged.as_ref().map_or(&plan.listing, |staged| &staged.listing).files() == 0 {
        let what = format!(
            "nothing to bundle: commit {} holds no files, or all are excluded",
            short(&plan.commit.sha)
        );
        return Err(Error::refused(
            what,
            "look at `exclude` in recovery.toml and at export-ignore in .gitattributes",
        ));
    }
    Ok(plan)
}

/// What shapes a bundle's bytes (name, patterns, where the version comes from) is read from the commit itself, so that
/// the same commit gives the same bundle in every clone; the working tree's file says where bundles go, and stands in
/// for a commit that has none. `--config` is the user's word over both.
fn release(ctx: &Context, config: &Config, commit: &Commit, blobs: &mut Blobs) -> Result<Release> {
    let mut files = |name: &str| blobs.text(&format!("{}:{name}", commit.sha));
    let file = match ctx.config_file.as_deref() {
        None if files("recovery.toml")?.is_none() => config.file.as_deref(),
        file => file,
    };
    Ok(Config::load(&config.root, file, &mut files)?.release)
}

/// Tracked files as they lie in the working tree (with `--allow-dirty`) or as committed, and what `include` names.
fn stage(
    args: &Args,
    release: &Release,
    repository: &Repository,
    commit: &Commit,
    listing: &Listing,
) -> Result<Staged> {
    if repository.is_bare() {
        return Err(Error::refused(
            "a bare repository has no working tree to stage from",
            "leave out --allow-dirty and `include`",
        ));
    }
    preflight(&[Tool::Rsync])?;
    let mut files = repository.tracked_files()?;
    if !args.allow_dirty && repository.is_dirty()? {
        return Err(Error::refused(
            "`include` stages from the working tree, and tracked files have local edits",
            "commit them, or add --allow-dirty",
        ));
    }
    for pattern in &release.include {
        let found = source::staged::expand(repository.root(), pattern)?;
        if found.is_empty() {
            let what = format!("`include` names {pattern:?}, and nothing is there");
            return Err(Error::refused(what, "build it first, or take it out of recovery.toml"));
        }
        files.extend(found);
    }
    files.sort();
    files.dedup();
    let time = Mtime { seconds: commit.time.as_second(), nanos: 0 };
    let mut staged = source::staged::stage(repository.root(), &files, &release.exclude, time)?;
    staged.listing.findings.extend(listing.findings.iter().cloned());
    Ok(staged)
}

/// `--version`, else what the commit's own package file says, else `git-<short sha>`; a `v` before a bare number.
fn version(args: &Args, release: &Release, commit: &Commit, blobs: &mut Blobs) -> Result<String> {
    let label = match &args.version {
        Some(label) => label.clone(),
        None => release
            .version(&mut |name| blobs.text(&format!("{}:{name}", commit.sha)))?
            .unwrap_or_else(|| format!("git-{}", short(&commit.sha))),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if label.is_empty() || !label.chars().all(good) || label.starts_with(['-', '.']) {
        return Err(Error::Usage(format!(
            "the version {label:?} cannot be part of a file name: use letters, digits and . _ + -"
        )));
    }
    let bare = label.starts_with(|c: char| c.is_ascii_digit());
    Ok(if bare { format!("v{label}") } else { label })
}

/// The first 12 digits, as locks record them.
fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

/// A bundle of this name is there: the same commit, whole, or in the way.
fn unchanged(plan: &Plan, lock: ReleaseLock, lock_only: bool) -> Result<Outcome> {
    same_commit(plan, &lock)?;
    let mut findings = plan.listing.findings.clone();
    let tarball = plan.tarball();
    if !lock_only && lock.tarball.is_some() {
        if tarball.exists() {
            let checked = check(&Source::of_file(&tarball)?, None)?;
            findings.extend(checked.findings.into_iter().filter(|f| f.severity == finding::Severity::Error));
            let (digest, _) = digest_file(&tarball)?;
            if lock.tarball_sha256.as_deref() != Some(&digest) {
                let what = format!("has SHA-256 {digest}, but its lock says {:?}", lock.tarball_sha256);
                findings.push(Finding::error(
                    show(&tarball),
                    what,
                    "remove it and its lock, and run snapshot again",
                ));
            }
        } else {
            let repair = "remove its lock, and run snapshot again: the bytes will be the same";
            findings.push(Finding::error(show(&tarball), "is in the lock, and gone", repair));
        }
    }
    let status = if finding::any_error(&findings) { "damaged" } else { "unchanged" };
    Ok(Outcome { status, lock, findings })
}

fn same_commit(plan: &Plan, lock: &ReleaseLock) -> Result<()> {
    if lock.git_commit.as_deref() == Some(&plan.commit.sha) {
        return Ok(());
    }
    Err(Error::refused(
        format!("{} is of another commit ({})", show(&plan.lock()), lock.git_sha),
        "give this one another --version, or another --output-dir",
    ))
}

fn create(args: &Args, plan: &Plan, existing: Option<ReleaseLock>, blobs: &mut Blobs) -> Result<Outcome> {
    if let Some(lock) = &existing {
        same_commit(plan, lock)?;
    }
    let mut run = Run::public();
    let tarball = plan.tarball();
    for file in &plan.leftovers {
        durable::remove(file)?;
    }
    let manifest = plan.folder.join(plan.name.manifest());
    let (summary, sha256, manifest_sha256, findings) = if args.no_tarball {
        let mut sink = Hashing::default();
        let sinks = Sinks { archive: &mut sink, manifest: &mut std::io::sink() };
        let (findings, summary) = pack(plan, blobs, sinks).map_err(|error| super::at(&tarball, error))?;
        (summary, sink.finish(), None, findings)
    } else {
        let (mut archive, mut manifest) = (run.create(&tarball)?, run.create(&manifest)?);
        let packed = pack(plan, blobs, Sinks { archive: &mut archive, manifest: &mut manifest });
        let (findings, summary) = packed.map_err(|error| super::at(&tarball, error))?;
        (summary, archive.finish()?.sha256, Some(manifest.finish()?.sha256), findings)
    };
    if crate::interrupt::interrupted() {
        return Err(Error::Interrupted);
    }
    let mut all = plan.listing.findings.clone();
    all.extend(findings);
    if finding::any_error(&all) {
        let worst = all.iter().find(|f| f.severity == finding::Severity::Error);
        let what = worst.map_or(String::new(), |f| format!("{} {}", f.path, f.what));
        return Err(Error::refused(what, "a bundle is whole or not made at all"));
    }
    let lock = lock_of(args, plan, &summary, (sha256, manifest_sha256), &all);
    match existing {
        None => drop(run.write(&plan.lock(), lock.render().as_bytes())?),
        Some(alone) => {
            let lock = ReleaseLock { release_url: alone.release_url, ..lock.clone() };
            durable::replace(&plan.lock(), lock.render().as_bytes(), 0o644)?;
        }
    }
    run.commit();
    Ok(Outcome { status: "created", lock, findings: all })
}

/// SHA-256 of what would be written.
#[derive(Default)]
struct Hashing(sha2::Sha256);

impl Hashing {
    fn finish(self) -> String {
        use sha2::Digest as _;
        crate::archive::hex(&self.0.finalize())
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        use sha2::Digest as _;
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pack(plan: &Plan, blobs: &mut Blobs, sinks: Sinks<'_>) -> Result<(Vec<Finding>, Summary), PourError> {
    let header = Header {
        schema: SCHEMA,
        archive: plan.name.tarball(),
        created_at: plan.name.time.to_string(),
        codec: Codec::Gzip,
        encoder: Codec::Gzip.encoder().into(),
        level: Codec::Gzip.level(),
        tool: super::TOOL.into(),
    };
    let listing = plan.staged.as_ref().map_or(&plan.listing, |staged| &staged.listing);
    writer::write(sinks, &header, super::workers(), |builder| {
        let mut pour = Pour::new(builder, Some(blobs));
        listing.items.iter().cloned().try_for_each(|item| pour.add(item))?;
        Ok(pour.findings)
    })
}

fn lock_of(
    args: &Args,
    plan: &Plan,
    summary: &Summary,
    (sha256, manifest_sha256): (String, Option<String>),
    reported: &[Finding],
) -> ReleaseLock {
    let listing = plan.staged.as_ref().map_or(&plan.listing, |staged| &staged.listing);
    ReleaseLock {
        schema_version: 1,
        version: plan.name.version.clone(),
        env: plan.env.clone(),
        git_sha: short(&plan.commit.sha).to_owned(),
        created_at: plan.name.time.to_string(),
        tarball: (!args.no_tarball).then(|| plan.name.tarball()),
        tarball_sha256: Some(sha256),
        docker_tag: None,
        release_url: None,
        keep: Some(plan.keep.unwrap_or(3)),
        name: plan.name.name.clone(),
        git_commit: Some(plan.commit.sha.clone()),
        git_tree: Some(plan.commit.tree.clone()),
        tags: plan.commit.tags.clone(),
        tar_sha256: Some(summary.tar_sha256.clone()),
        encoder: Some(Encoder { name: Codec::Gzip.encoder().into(), level: Codec::Gzip.level() }),
        manifest: (!args.no_tarball).then(|| plan.name.manifest()),
        manifest_sha256,
        entries: summary.entries,
        dirty: plan.dirty,
        excluded: listing.excluded.clone(),
        // Local edits are this machine's, not the commit's: the lock must be the same everywhere.
        reported: reported.iter().filter(|f| f.severity != finding::Severity::Info).cloned().collect(),
        tool_version: super::TOOL.into(),
    }
}

/// `SHA256SUMS` of every bundle in the folder, from their locks.
pub(super) fn write_sums(folder: &Path) -> Result<()> {
    let (bundles, _) = releases::scan(folder)?;
    let mut lines = Vec::new();
    for bundle in &bundles {
        let lock = &bundle.lock;
        let pairs = [(&lock.tarball, &lock.tarball_sha256), (&lock.manifest, &lock.manifest_sha256)];
        for (name, digest) in pairs {
            if let (Some(name), Some(digest)) = (name, digest)
                && folder.join(name).exists()
            {
                lines.push((digest.clone(), name.clone()));
            }
        }
    }
    lines.sort_by(|a, b| a.1.cmp(&b.1));
    let (path, text) = (folder.join("SHA256SUMS"), Sums { lines }.render());
    match std::fs::read(&path) {
        Ok(known) if known == text.as_bytes() => Ok(()),
        _ => durable::replace(&path, text.as_bytes(), 0o644),
    }
}

fn show_plan(args: &Args, ctx: &Context, plan: &Plan) -> Result<Exit> {
    let listing = plan.staged.as_ref().map_or(&plan.listing, |staged| &staged.listing);
    let there = plan.lock().exists();
    let pruned = match args.prune {
        true => {
            let extra = (!there).then_some((&plan.name, plan.lock()));
            let keep = plan.keep.unwrap_or(3);
            let items = retain::plan_bundles(&plan.folder, &plan.name.name, keep, extra, ctx)?;
            retain::except(items, &plan.lock())
        }
        false => Vec::new(),
    };
    let pruned: Vec<String> = retain::removed(&pruned);
    let status = if there { "exists" } else { "planned" };
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "snapshot", "status": status, "dry_run": true,
        "tarball": show(&plan.tarball()), "lock": show(&plan.lock()), "sha256": null, "git_sha": short(&plan.commit.sha), "git_commit": plan.commit.sha,
        "version": plan.name.version, "entries": listing.items.len(), "source_bytes": listing.bytes(),
        "excluded": listing.excluded, "findings": plan.listing.findings, "pruned": pruned,
    }));
    listing.excluded.iter().for_each(|path| ctx.ui.detail(&format!("left out {path}")));
    let verb = if there { "would verify" } else { "would write" };
    if !args.no_tarball {
        ctx.ui.result(&format!("{verb} {}", show(&plan.tarball())));
    }
    ctx.ui.result(&format!("{verb} {}", show(&plan.lock())));
    ctx.ui.result(&format!(
        "commit {} · {} entries · {}",
        short(&plan.commit.sha),
        listing.items.len(),
        crate::ui::bytes(listing.bytes())
    ));
    for path in &pruned {
        ctx.ui.result(&format!("would prune {path}"));
    }
    ctx.ui.findings(&plan.listing.findings);
    Ok(Exit::Done)
}

fn report(ctx: &Context, plan: &Plan, outcome: &Outcome, pruned: &[String]) {
    let lock = &outcome.lock;
    let tarball = lock.tarball.as_ref().map(|name| show(&plan.folder.join(name)));
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "snapshot", "status": outcome.status, "dry_run": false,
        "tarball": tarball, "lock": show(&plan.lock()), "sha256": lock.tarball_sha256, "git_sha": short(&plan.commit.sha), "git_commit": plan.commit.sha,
        "version": lock.version, "entries": lock.entries, "dirty": lock.dirty, "tar_sha256": lock.tar_sha256,
        "excluded": lock.excluded, "findings": outcome.findings, "pruned": pruned,
    }));
    lock.excluded.iter().for_each(|path| ctx.ui.detail(&format!("left out {path}")));
    ctx.ui.result(&format!("{} {}", outcome.status, tarball.unwrap_or_else(|| show(&plan.lock()))));
    ctx.ui.result(&format!("sha256 {}", lock.tarball_sha256.as_deref().unwrap_or("-")));
    ctx.ui.result(&format!("commit {} · {} entries", lock.git_sha, lock.entries));
    for path in pruned {
        ctx.ui.result(&format!("pruned {path}"));
    }
    ctx.ui.findings(&outcome.findings);
}
