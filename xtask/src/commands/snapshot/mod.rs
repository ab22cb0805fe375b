//! `snapshot`: a commit as a release bundle: tarball, manifest, lock, `SHA256SUMS`.
//!
//! gather (repository, commit, listing) → plan (names, what is there already) → check (nothing of another commit in
//! the way, nothing in it that refuses it) → execute (archive) → verify (read back) → record (lock, sums, history). The
//! lock is written last of what makes a bundle: without it there is none.
mod again;
mod bundle;
mod gather;
mod image;
mod prune;
mod tags;

use super::stale_tags::StaleTags;
use super::{Context, retain};
use crate::cli::SnapshotArgs as Args;
use crate::config::Config;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::names::BundleName;
use crate::destination::release_lock::{self, ReleaseLock};
use crate::destination::releases;
use crate::destination::retention::{Candidate, State};
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::shown::show;
use crate::source::Listing;
use crate::source::staged::Staged;
use crate::tools::git::{Commit, Repository};
use crate::tools::{Tool, preflight};
use crate::ui::Total;
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;

pub(super) use again::{listing, of_commit};
pub(super) use bundle::pack_listing;
use gather::Edits;
use image::Tagging;

/// What a snapshot will do.
struct Plan {
    repository: Repository,
    commit: Commit,
    name: BundleName,
    folder: PathBuf,
    env: String,
    /// The folder of the repository that is released; `None` for all of it.
    root: Option<String>,
    listing: Listing,
    staged: Option<Staged>,
    /// What there is to say of it; an error refuses it.
    findings: Vec<Finding>,
    dirty: bool,
    /// What is not asked for, and told at the end.
    edits: Option<Edits>,
    /// Files of this bundle without a lock: a run was killed before its end, or the lock was taken away.
    leftovers: Vec<PathBuf>,
    keep: u32,
}

impl Plan {
    fn tarball(&self) -> PathBuf {
        self.folder.join(self.name.tarball())
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(self.name.manifest())
    }

    fn lock(&self) -> PathBuf {
        self.folder.join(self.name.lock())
    }

    /// The lock of this bundle, where it is there.
    fn existing(&self) -> Result<Option<ReleaseLock>> {
        self.lock().exists().then(|| release_lock::read(&self.lock())).transpose()
    }

    /// What the working tree has that the bundle has not.
    ///
    /// # Errors
    /// When this run is interrupted.
    fn left_out(&mut self) -> Result<Option<Finding>> {
        let root = show(self.repository.root());
        let Some(edits) = self.edits.take() else { return Ok(None) };
        Ok(match edits.wait() {
            Ok(false) => None,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Ok(true) => {
                let what = "has local edits; they are not in the bundle, which holds the commit";
                Some(Finding::info(root, what))
            }
            Err(error) => {
                let what = format!("could not be compared with its commit: {}", error.chain());
                Some(Finding::warning(root, what, "the bundle holds the commit; `git status` says more"))
            }
        })
    }

    /// What goes into the bundle.
    fn contents(&self) -> &Listing {
        self.staged.as_ref().map_or(&self.listing, |staged| &staged.listing)
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
    let config = super::configuration_of(Some(&repository), ctx)?;
    let mut blobs = repository.blobs()?;
    let memory = Memory::at(&config.root);
    let edits = Edits::of(&repository);
    let mut plan = gather::gather(args, ctx, &config, repository, &mut blobs, Some(edits))?;
    let planned = plan.existing()?;
    let mut image = image::plan(args, &config, &plan, planned.as_ref())?;
    if args.dry_run || finding::any_error(&plan.findings) {
        let left_out = plan.left_out()?;
        plan.findings.extend(left_out);
        return show_plan(args, ctx, &memory, &plan, image.as_ref());
    }
    memory.open()?;
    let _held = lock::repository(memory.root(), "snapshot", ctx.now)?;
    let existing = plan.existing()?;
    if existing != planned {
        // Another run was here meanwhile: what it has named stays named.
        image = image::plan(args, &config, &plan, existing.as_ref())?;
    }
    let mut outcome = match existing {
        // A lock that was made alone gets its tarball; otherwise what is there must be whole.
        Some(lock) if lock.tarball.is_some() || args.no_tarball => {
            let mut outcome = bundle::unchanged(&plan, lock, args.no_tarball)?;
            if let Some(image) = image.as_ref().filter(|_| outcome.status == "unchanged")
                && image.add(&plan, &mut outcome.lock)?
            {
                outcome.status = "tagged";
            }
            outcome
        }
        existing => {
            let contents = plan.contents();
            let entries = Some(contents.items.len() as u64);
            let _shown =
                ctx.ui.progress(&plan.name.tarball(), Total { bytes: Some(contents.bytes()), entries });
            bundle::create(args, &plan, existing, image.as_ref(), &mut blobs)?
        }
    };
    let made = plan.lock();
    let is_new = ["created", "tagged"].contains(&outcome.status);
    // Of a run that was killed between its lock and the list, the list has the lock from before.
    let is_ours = is_new || outcome.status == "unchanged" && releases::is_behind(&made, &outcome.lock)?;
    releases::write_sums(&plan.folder, is_ours.then_some(made.as_path()), &HashSet::new())?;
    memory.record(&json!({"kind": "snapshot", "time": ctx.now.to_string(), "lock": show(&made),
        "sha256": outcome.lock.tarball_sha256, "git_sha": outcome.lock.git_sha, "git_commit": outcome.lock.git_commit, "status": outcome.status}))?;
    outcome.findings.extend(plan.left_out()?);
    let (pruned, wrong) = match args.prune && !finding::any_error(&outcome.findings) {
        true => {
            let (name, keep, docker) = (&plan.name.name, plan.keep, args.prune_docker.into());
            prune::prune(&plan.folder, name, keep, &made, docker, &memory, ctx)?
        }
        false => Default::default(),
    };
    outcome.findings.extend(wrong);
    report(ctx, &plan, &outcome, &pruned);
    Ok(finding::exit(&outcome.findings))
}

/// The version that a bundle of now would have, and what there is to say of it; an error refuses it. Nothing is written, but
/// for the private folder in which what `include` asks for is staged: only there it is seen what the bundle would hold.
///
/// # Errors
/// When there is nothing to bundle.
pub(super) fn foreseen(
    config: &Config,
    repository: Repository,
    ctx: &Context,
) -> Result<(String, Vec<Finding>)> {
    let (args, mut blobs) = (Args::default(), repository.blobs()?);
    let plan = gather::gather(&args, ctx, config, repository, &mut blobs, None)?;
    Ok((plan.name.version, plan.findings))
}

/// The first 12 digits, as locks record them.
fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

fn show_plan(
    args: &Args,
    ctx: &Context,
    memory: &Memory,
    plan: &Plan,
    image: Option<&Tagging>,
) -> Result<Exit> {
    let (listing, is_refused) = (plan.contents(), finding::any_error(&plan.findings));
    let image = image.filter(|_| !is_refused);
    let alone = |lock: ReleaseLock| lock.tarball.is_none() && !args.no_tarball;
    let there = plan.lock().exists() && !alone(release_lock::read(&plan.lock())?);
    let pruned = match args.prune && !is_refused {
        true => {
            let extra = (!plan.lock().exists()).then(|| Candidate {
                id: show(&plan.lock()),
                series: retain::bundle_series(&plan.name.name, plan.dirty, args.no_tarball),
                time: Some(plan.name.time),
                state: State::Unproven,
                last: false,
                pinned: false,
                bytes: 0,
            });
            let (keep, known) = (plan.keep, memory.known()?);
            let items = retain::plan_bundles(&plan.folder, &plan.name.name, keep, extra, &known, ctx)?;
            let mut items = prune::except(items, &plan.lock());
            if args.prune_docker {
                let tags = StaleTags::plan(&plan.folder, &items, &known)?;
                items.extend(tags.items());
            }
            items
        }
        false => Vec::new(),
    };
    let pruned: Vec<String> = retain::removed(&pruned);
    let status = match (is_refused, there) {
        (true, _) => "refused",
        (false, true) => "exists",
        (false, false) => "planned",
    };
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "snapshot", "status": status, "dry_run": args.dry_run,
        "tarball": show(&plan.tarball()), "lock": show(&plan.lock()), "sha256": null, "git_sha": short(&plan.commit.sha), "git_commit": plan.commit.sha,
        "version": plan.name.version, "entries": listing.items.len(), "source_bytes": listing.bytes(),
        "docker_tag": image.map(|image| &image.tag), "excluded": listing.excluded, "findings": plan.findings, "pruned": pruned,
    }));
    listing.excluded.iter().for_each(|path| ctx.ui.detail(&format!("left out {path}")));
    let verb = match status {
        "refused" => "refused, nothing is written:",
        "exists" => "would verify",
        _ => "would write",
    };
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
    image.iter().for_each(|image| ctx.ui.result(&image.planned()));
    for path in &pruned {
        ctx.ui.result(&format!("would prune {path}"));
    }
    ctx.ui.findings(&plan.findings);
    ctx.told.of(&format!("{status} {}", show(&plan.lock())), &plan.findings);
    Ok(finding::exit(&plan.findings))
}

fn report(ctx: &Context, plan: &Plan, outcome: &Outcome, pruned: &[String]) {
    let lock = &outcome.lock;
    let tarball = lock.tarball.as_ref().map(|name| show(&plan.folder.join(name)));
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "snapshot", "status": outcome.status, "dry_run": false,
        "tarball": tarball, "lock": show(&plan.lock()), "sha256": lock.tarball_sha256, "git_sha": short(&plan.commit.sha), "git_commit": plan.commit.sha,
        "version": lock.version, "entries": lock.entries, "dirty": lock.dirty, "tar_sha256": lock.tar_sha256,
        "docker_tag": lock.docker_tag, "excluded": lock.excluded, "findings": outcome.findings, "pruned": pruned,
    }));
    lock.excluded.iter().for_each(|path| ctx.ui.detail(&format!("left out {path}")));
    ctx.ui.result(&format!("{} {}", outcome.status, tarball.unwrap_or_else(|| show(&plan.lock()))));
    ctx.ui.result(&format!("sha256 {}", lock.tarball_sha256.as_deref().unwrap_or("-")));
    ctx.ui.result(&format!("commit {} · {} entries", lock.git_sha, lock.entries));
    lock.docker_tag.iter().for_each(|tag| ctx.ui.result(&format!("docker image {tag}")));
    for path in pruned {
        ctx.ui.result(&format!("pruned {path}"));
    }
    ctx.ui.findings(&outcome.findings);
    ctx.told.of(&format!("{} {}", outcome.status, show(&plan.lock())), &outcome.findings);
}
