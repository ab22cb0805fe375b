//! `publish`: gather → plan → (print | execute → record) → report.
//!
//! A bundle becomes a release on a forge's page: as a draft first, which is filled, compared with the forge's own digests,
//! and then published; the lock learns its address last. A run that fails or is killed leaves a draft, which the next one
//! finishes. What is published is never changed. `--url` records an address alone, and asks nobody.
mod address;
mod plan;
mod run;
mod subject;

use super::Context;
use crate::cli::PublishArgs as Args;
use crate::destination::memory::Memory;
use crate::destination::{lock, read};
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::restore::scratch::{self, Owner};
use crate::shown::show;
use crate::tools::gh::release::Forge;
use crate::tools::git::Repository;
use crate::tools::{Tool, preflight};
use plan::{Asset, Outcome, Plan, Shown, Step, Wish, plan};
use run::Work;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use subject::Subject;

/// What a run is about.
struct About {
    subject: Subject,
    url: String,
    /// Where it is published, and as what; nothing where an address is all there is.
    place: Option<Place>,
    assets: Vec<Asset>,
    plan: Plan,
}

/// A tag of a repository on a forge.
struct Place {
    forge: Forge,
    tag: String,
    commit: String,
}

/// Runs the verb.
///
/// # Errors
/// When there is no bundle that may be published, or a step fails: the next run goes on where it stopped.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    if args.url.is_none() {
        preflight(&[Tool::Git, Tool::Gh])?;
    }
    let config = super::configuration(ctx)?;
    let memory = super::memory(&config);
    let _held = match (&memory, args.dry_run) {
        (Some(memory), false) => {
            memory.open()?;
            Some(lock::repository(memory.root(), "publish", ctx.now)?)
        }
        _ => None,
    };
    let subject = subject::choose(args.lock.as_deref(), &config, ctx)?;
    let mut about = match &args.url {
        Some(url) => elsewhere(args, subject, url)?,
        None => here(args, subject, ctx)?,
    };
    let steps = about.steps();
    if !args.dry_run {
        about.execute(&steps, memory.as_ref(), ctx)?;
    }
    report(args, &about, &steps, ctx);
    Ok(finding::exit(&about.plan.findings))
}

/// An address that somebody gives. One that is recorded already is replaced only when that is asked for.
fn elsewhere(args: &Args, subject: Subject, url: &str) -> Result<About> {
    address::check(url).map_err(|wrong| {
        Error::Usage(format!("--url is no address such as https://host/path of a release: {wrong}"))
    })?;
    subject.check_clean()?;
    subject.check_lock()?;
    subject.check_tarball()?;
    let findings =
        subject.replaced(url, args.replace_url)?.into_iter().chain(subject.of_another(url)).collect();
    let (steps, outcome) = match subject.is_recorded(url)? {
        true => (Vec::new(), Outcome::Unchanged),
        false => (vec![Step::Record], Outcome::Recorded),
    };
    let plan = Plan { steps, outcome, findings };
    Ok(About { subject, url: url.to_owned(), place: None, assets: Vec::new(), plan })
}

/// A release that this run makes.
fn here(args: &Args, subject: Subject, ctx: &Context) -> Result<About> {
    let commit = subject.check(ctx)?.to_owned();
    let repository = Repository::discover(&ctx.start)?.ok_or_else(|| {
        let what = format!("{} is not in a git repository", show(&ctx.start));
        Error::refused(what, "run it inside of the one that the bundle is of, or name that with -C")
    })?;
    let tag = subject.tag(args.tag.as_deref(), &commit, &repository)?;
    let notes: Option<PathBuf> = args.notes_file.as_ref().map(|file| ctx.path(file));
    notes.iter().try_for_each(|file| read::open(file).map(drop))?;
    let named = (ctx.env)("GH_REPO").filter(|name| !name.is_empty());
    let forge = Forge::of(repository.root(), named.as_deref())?;
    let mut findings = Vec::new();
    match forge.tag_commit(&tag)? {
        Some(there) if there == commit => {}
        Some(there) => return Err(subject::elsewhere(&tag, &forge.repository, &there, &commit)),
        // A forge would make one up, on whatever its default branch has by then.
        None => {
            let what = format!("has no tag {tag}");
            let next = format!("`git tag {tag} {commit:.12} && git push origin {tag}`, and run it again");
            match args.dry_run {
                true => findings.push(Finding::warning(&forge.repository, what, next)),
                false => return Err(Error::refused(format!("{} {what}", forge.repository), next)),
            }
        }
    }
    let url = forge.page(&tag);
    findings.extend(subject.replaced(&url, args.replace_url)?);
    let assets = subject.assets(&url)?;
    let lock = show(&subject.bundle.lock_path);
    let wish = Wish {
        tag: &tag,
        draft: args.draft,
        notes: notes.as_deref(),
        recorded: subject.is_recorded(&url)?,
        lock: &lock,
    };
    let mut plan = plan(forge.release(&tag)?.as_ref(), &assets, &wish)?;
    plan.findings.extend(findings);
    Ok(About { subject, url, place: Some(Place { forge, tag, commit }), assets, plan })
}

impl About {
    fn lock(&self) -> String {
        show(&self.subject.bundle.lock_path)
    }

    /// The steps of the plan, in words.
    fn steps(&self) -> Vec<String> {
        let (lock, place) = (self.lock(), self.place.as_ref());
        let (tag, repository) = place.map_or(("", ""), |place| (&*place.tag, &*place.forge.repository));
        let shown = |step| Shown { step, assets: &self.assets, tag, repository, url: &self.url, lock: &lock };
        self.plan.steps.iter().map(|step| shown(step).to_string()).collect()
    }

    fn execute(&mut self, steps: &[String], memory: Option<&Memory>, ctx: &Context) -> Result<()> {
        let Self { subject, url, place, assets, plan } = self;
        let found = match place {
            Some(Place { forge, tag, .. }) => {
                let temporary = ctx.temporary();
                // Copies of what is published: they stand in nobody's way.
                let _ = scratch::sweep(scratch::left_behind(Owner::Publish, &temporary, ctx.now));
                let work = Work { subject, assets, tag, url, forge, temporary: &temporary };
                work.execute(plan, |index| ctx.ui.detail(&format!("done: {}", steps[index])))?
            }
            None if plan.steps.is_empty() => Vec::new(),
            None => run::record(subject, url).map(|()| Vec::new())?,
        };
        plan.findings.extend(found);
        let is_new = plan.steps.contains(&Step::Record);
        // A run that was killed behind the lock has left no line of it.
        let is_owed = plan.outcome == Outcome::Unchanged;
        if let Some(memory) = memory
            && (is_new || is_owed && !is_noted(memory, url, &subject.bundle.lock_path))
        {
            let place = place.as_ref();
            memory.record(&json!({"kind": "published", "time": ctx.now.to_string(), "url": url,
                "lock": show(&subject.bundle.lock_path), "tag": place.map(|place| &place.tag),
                "git_commit": place.map(|place| &place.commit)}))?;
        }
        Ok(())
    }
}

/// Whether the history knows that this bundle is published there. One that cannot be read is not added to.
fn is_noted(memory: &Memory, url: &str, lock: &Path) -> bool {
    let (kind, lock) = ("published", show(lock));
    let is_it = |line: &Value| line["kind"] == kind && line["url"] == url && line["lock"] == *lock;
    memory.read().map_or(true, |remembered| remembered.records.iter().any(is_it))
}

fn report(args: &Args, about: &About, steps: &[String], ctx: &Context) {
    let (plan, place) = (&about.plan, about.place.as_ref());
    let status = if args.dry_run { "planned" } else { plan.outcome.word() };
    let assets: Vec<Value> = about
        .assets
        .iter()
        .map(|asset| json!({"name": asset.name, "sha256": asset.sha256, "bytes": asset.bytes}))
        .collect();
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "publish", "status": status, "dry_run": args.dry_run,
        "lock": about.lock(), "version": about.subject.bundle.lock.version, "url": about.url,
        "repository": place.map(|place| &place.forge.repository), "tag": place.map(|place| &place.tag),
        "git_commit": place.map(|place| &place.commit), "assets": assets, "steps": steps,
        "findings": plan.findings,
    }));
    match args.dry_run {
        true if plan.outcome == Outcome::Different => {
            ctx.ui.result(&format!("would change nothing: {} holds something else", about.url));
        }
        true if steps.is_empty() => ctx.ui.result(&format!("nothing to do: {} is recorded", about.url)),
        true => steps.iter().for_each(|step| ctx.ui.result(&format!("would {step}"))),
        false => {
            ctx.ui.result(&format!("{status} {}", about.url));
            ctx.ui.result(&format!("lock {}", about.lock()));
        }
    }
    ctx.ui.findings(&plan.findings);
    ctx.told.of(&format!("{status} {}", about.url), &plan.findings);
}
