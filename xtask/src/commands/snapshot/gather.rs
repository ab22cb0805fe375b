//! What a bundle will hold, what it is called and where it goes. Reads the repository; writes only the staged copy of a
//! working tree, into a private folder.
use super::super::Context;
use super::tags::{Tagged, disagreement};
use super::{Plan, short};
use crate::archive::entry::Mtime;
use crate::cli::SnapshotArgs as Args;
use crate::config::{Config, Release, beneath};
use crate::destination::durable;
use crate::destination::names::{BundleName, whole_seconds};
use crate::destination::release_lock;
use crate::destination::retention::DEFAULT_KEEP;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::restore::without_links;
use crate::shown::{show, show_bytes};
use crate::source::git::{Except, Take, list};
use crate::source::policy::Submodules;
use crate::source::{self, Listing, staged::Staged};
use crate::tools::git::{Blobs, Commit, Repository};
use crate::tools::{Tool, preflight};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::path::Path;
use std::thread::JoinHandle;

/// Reads the repository and decides what the bundle holds, what it is called and where it goes.
///
/// # Errors
/// When the revision, the version or the configuration is wrong, or there is nothing to bundle.
pub(super) fn gather(
    args: &Args,
    ctx: &Context,
    config: &Config,
    repository: Repository,
    blobs: &mut Blobs,
    edits: Option<Edits>,
) -> Result<Plan> {
    let mut commit = repository.resolve(args.rev.as_deref().unwrap_or("HEAD"), blobs)?;
    let release = release(ctx, config, repository.is_bare(), &commit, blobs)?;
    let repository = match release.submodules {
        Submodules::Include => repository.with_submodules(&commit.sha, &release.root)?.0,
        Submodules::Record => repository,
    };
    if release.submodules == Submodules::Include {
        *blobs = repository.blobs()?;
    }
    let take = Take {
        root: &release.root,
        except: Except::Patterns(&release.exclude),
        submodules: release.submodules,
        policy: Some(&release.policy),
    };
    if let Some(epoch) = (ctx.env)("SOURCE_DATE_EPOCH") {
        let wrong = || Error::Usage(format!("SOURCE_DATE_EPOCH is {epoch:?}, not seconds since 1970"));
        let seconds: i64 = epoch.parse().map_err(|_| wrong())?;
        commit.time = Timestamp::from_second(seconds).map_err(|_| wrong())?;
    }
    // Two slow questions at a time.
    let (tags, listing) = std::thread::scope(|scope| {
        let tags = scope.spawn(|| repository.tags(&commit));
        let listing = list(&repository, &commit, take, blobs);
        (joined(tags.join()), listing)
    });
    let listing = listing?;
    commit.tags = tags?;
    let (edited, edits) = match edits {
        Some(edits) if args.allow_dirty => (edits.wait()?, None),
        edits => (false, edits),
    };
    let dirty = edited || !release.include.is_empty();
    if dirty && args.rev.is_some() && repository.resolve("HEAD", blobs)?.sha != commit.sha {
        let what = "`include` stages from the working tree, which is not at that revision";
        return Err(Error::refused(
            what,
            "check the revision out first (`git worktree add`), and run it there",
        ));
    }
    let staged = match dirty {
        true => Some(stage(args, &release, &repository, &commit, &listing)?),
        false => None,
    };
    let version = version(args.version.as_deref(), &release, &commit, blobs)?;
    let tagged = Tagged {
        name: &release.name,
        root: &release.root,
        version: &version,
        is_given: args.version.is_some(),
    };
    let mut findings = staged.as_ref().map_or(&listing, |staged| &staged.listing).findings.clone();
    findings.extend(disagreement(&tagged, &commit.tags));
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
        root: (!release.root.is_empty()).then_some(release.root),
        listing,
        staged,
        findings,
        dirty,
        edits,
        leftovers: Vec::new(),
        keep: args.keep.or(config.release.keep).unwrap_or(DEFAULT_KEEP),
    };
    refuse_git(&plan.folder)?;
    if plan.folder.exists() && !plan.folder.is_dir() {
        let what = format!("bundles cannot go to {}, which is no folder", show(&plan.folder));
        return Err(Error::refused(what, "give --output-dir a folder, or set `output-dir` of [release]"));
    }
    while plan.dirty && plan.lock().exists() {
        // No two working trees are the same bundle, not even in one second.
        plan.name.time = plan.name.time.saturating_add(SignedDuration::from_secs(1)).unwrap_or(ctx.now);
    }
    look_around(args, &mut plan)?;
    Ok(plan)
}

/// Whether the working tree has other files than its commit, asked of git beside all other work: in a fresh clone git reads
/// every file for the answer. A run that ends without it leaves git behind, which only reads.
pub(super) struct Edits(JoinHandle<Result<bool>>);

impl Edits {
    /// Asks.
    pub fn of(repository: &Repository) -> Self {
        let repository = repository.clone();
        Self(std::thread::spawn(move || Ok(!repository.is_bare() && repository.is_dirty()?)))
    }

    /// The answer.
    ///
    /// # Errors
    /// When git fails.
    pub fn wait(self) -> Result<bool> {
        joined(self.0.join())
    }
}

/// git's own folder is nobody else's: git may remove what it does not know there, and no clone has it.
fn refuse_git(folder: &Path) -> Result<()> {
    match without_links(folder)?.components().any(|part| part.as_os_str() == ".git") {
        true => {
            let what = format!("bundles cannot go to {}, which is in git's own folder", show(folder));
            Err(Error::refused(what, "give --output-dir another folder, or set `output-dir` of [release]"))
        }
        false => Ok(()),
    }
}

/// What is there already, and whether there is anything to bundle.
fn look_around(args: &Args, plan: &mut Plan) -> Result<()> {
    let whole = plan.lock().exists().then(|| release_lock::read(&plan.lock())).transpose()?;
    if let Some(lock) = &whole {
        super::bundle::check_lock(plan, lock)?;
    }
    let lock = durable::part_of(&plan.lock());
    let mut files = if whole.is_none() { vec![lock] } else { Vec::new() };
    if whole.is_none_or(|lock| lock.tarball.is_none()) && !args.no_tarball {
        files.extend([plan.tarball(), plan.manifest()]);
    }
    plan.leftovers.extend(files.into_iter().filter(|file| file.exists()));
    for file in &plan.leftovers {
        let what = "is there without a lock, and so is no bundle; it is made anew";
        plan.findings.push(Finding::info(show(file), what));
    }
    if plan.contents().files() == 0 {
        let what = format!(
            "nothing to bundle: commit {} holds no files, or all are excluded",
            short(&plan.commit.sha)
        );
        return Err(Error::refused(
            what,
            "look at `exclude` in recovery.toml and at export-ignore in .gitattributes",
        ));
    }
    Ok(())
}

fn joined<T>(ended: std::thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What shapes a bundle's bytes (name, patterns, where the version comes from) is read from the commit itself, so that
/// the same commit gives the same bundle in every clone; the working tree's file says where bundles go, and stands in
/// for a commit that has none. `--config` is the user's word over both.
fn release(
    ctx: &Context,
    config: &Config,
    bare: bool,
    commit: &Commit,
    blobs: &mut Blobs,
) -> Result<Release> {
    let mut files = |name: &str| match blobs.text(&format!("{}:{name}", commit.sha))? {
        None if name == "recovery.toml" && bare => blobs.text("HEAD:recovery.toml"),
        None if name == "recovery.toml" => beneath(&config.root)(name),
        text => Ok(text),
    };
    Ok(Config::load(&config.root, ctx.config_file.as_deref(), &mut files)?.release)
}

/// A path of the repository from the folder that is released; `None` when it is not in it.
fn below<'a>(path: &'a [u8], root: &str) -> Option<&'a [u8]> {
    match root {
        "" => Some(path),
        root => path.strip_prefix(root.as_bytes())?.strip_prefix(b"/"),
    }
}

/// What `include` names in the working tree, which must hold no edits; nothing is copied.
///
/// # Errors
/// When there is no working tree, tracked files have edits that nobody has allowed, or nothing is there.
fn included(args: &Args, release: &Release, repository: &Repository) -> Result<Vec<Vec<u8>>> {
    if repository.is_bare() {
        return Err(Error::refused(
            "a bare repository has no working tree to stage from",
            "leave out --allow-dirty and `include`",
        ));
    }
    preflight(&[Tool::Rsync])?;
    if !args.allow_dirty && repository.is_dirty()? {
        return Err(Error::refused(
            "`include` stages from the working tree, and tracked files have local edits",
            "commit them, or add --allow-dirty",
        ));
    }
    let (root, mut files) = (repository.root().join(&release.root), Vec::new());
    for pattern in &release.include {
        let found = source::staged::expand(&root, pattern)?;
        if found.is_empty() {
            let what = format!("`include` names {pattern:?}, and nothing is there");
            return Err(Error::refused(what, "build it first, or take it out of recovery.toml"));
        }
        files.extend(found);
    }
    Ok(files)
}

/// Tracked files as they lie in the working tree (with `--allow-dirty`) or as committed, and what `include` names.
fn stage(
    args: &Args,
    release: &Release,
    repository: &Repository,
    commit: &Commit,
    listing: &Listing,
) -> Result<Staged> {
    let included = included(args, release, repository)?;
    let tracked = repository.tracked_files(release.submodules == Submodules::Include)?;
    let attributes = repository.attributes_of(&commit.sha)?.paths(&tracked, &release.root)?;
    let left_out: HashSet<&str> = listing.excluded.iter().map(String::as_str).collect();
    let (mut files, mut ignored, mut substituted) = (Vec::new(), Vec::new(), HashSet::new());
    for path in tracked {
        let Some(below) = below(&path, &release.root) else { continue };
        let attributes = attributes.get(&path).cloned().unwrap_or_default();
        // What is in a submodule has attributes of its own, which the commit's listing knows.
        if attributes.export_ignore || left_out.contains(&*show_bytes(below)) {
            ignored.push(show_bytes(below));
            continue;
        }
        if attributes.export_subst {
            substituted.insert(below.to_vec());
        }
        files.push(below.to_vec());
    }
    let root = repository.root().join(&release.root);
    files.extend(included);
    files.sort();
    files.dedup();
    let time = Mtime { seconds: commit.time.as_second(), nanos: 0 };
    let look = (&release.policy, &substituted);
    let mut staged = source::staged::stage(&root, &files, &release.exclude, time, look)?;
    let is_module = |finding: &&Finding| listing.submodules.iter().any(|module| module.path == finding.path);
    staged.listing.findings.extend(listing.findings.iter().filter(is_module).cloned());
    staged.listing.submodules.clone_from(&listing.submodules);
    staged.listing.excluded.extend(ignored);
    staged.listing.excluded.sort();
    Ok(staged)
}

/// `--version`, else what the commit's own package file says, else `git-<short sha>`; a `v` before a bare number.
fn version(given: Option<&str>, release: &Release, commit: &Commit, blobs: &mut Blobs) -> Result<String> {
    let label = match given {
        Some(label) => label.to_owned(),
        None => release
            .version(&mut |name| blobs.text(&format!("{}:{name}", commit.sha)))?
            .unwrap_or_else(|| format!("git-{}", short(&commit.sha))),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if label.is_empty() || !label.chars().all(good) || label.starts_with(['-', '.']) {
        let what =
            format!("the version {label:?} cannot be part of a file name: use letters, digits and . _ + -");
        return Err(match given.is_none() {
            true => Error::refused(what, "mend it in the package file, or give --version"),
            false => Error::Usage(what),
        });
    }
    let bare = label.starts_with(|c: char| c.is_ascii_digit());
    Ok(if bare { format!("v{label}") } else { label })
}
