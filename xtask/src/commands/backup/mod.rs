//! `backup`: data sets to their destinations.
//!
//! gather (sets, surveys of their folders) → preflight (the tools that all of them need) → per set: check (key, mount,
//! catalogue) → plan → store (archive, manifest, read back, marker last), or nothing where the last backup is still the
//! source's → record → prune. One set that fails does not stop the others.
mod hooks;
mod select;
mod stage;
mod store;
mod unchanged;

use super::{Context, retain};
use crate::archive::entry::Mtime;
use crate::cli::BackupArgs as Args;
use crate::config::live::{Consistency, Live};
use crate::config::{self, Config, DataSet, Destination, keys};
use crate::destination::catalog::{self, Artifact};
use crate::destination::lock;
use crate::destination::memory::{Made, Memory};
use crate::destination::mount::{self, Durability, Mounted};
use crate::destination::names::ArtifactName;
use crate::destination::retention::Policy;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::interrupt::interrupted;
use crate::shown::show;
use crate::source::folder::{Folder, Survey};
use crate::source::rules::Excluded;
use crate::tools::gpg::Key;
use crate::tools::{Tool, preflight};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use store::{Stored, store};
use unchanged::Same;

/// One set as it was found.
struct Gathered {
    set: DataSet,
    destination: Destination,
    /// A source that is missing or unreadable fails its own set alone.
    source: Result<(Folder, Survey)>,
}

/// One set, and all that its backup needs.
struct Plan {
    set: DataSet,
    destination: Destination,
    name: ArtifactName,
    folder: Folder,
    survey: Survey,
    key: Option<Key>,
    mounted: Mounted,
    policy: Policy,
    /// The last backup, when it still holds what the source holds.
    same: Option<Same>,
}

impl Plan {
    fn day(&self) -> PathBuf {
        self.destination.path.join(self.name.folder())
    }

    fn archive(&self) -> PathBuf {
        self.day().join(self.name.file())
    }

    /// As the catalogue will have it.
    fn artifact(&self) -> Artifact {
        Artifact {
            archive: self.archive(),
            manifest: self.day().join(self.name.manifest()),
            marker: self.day().join(self.name.marker()),
            bytes: 0,
            has_manifest: true,
            name: self.name.clone(),
        }
    }
}

/// What came of one set.
#[derive(Default)]
struct Done {
    set: String,
    status: &'static str,
    archive: Option<PathBuf>,
    sha256: Option<String>,
    durability: Option<Durability>,
    bytes: u64,
    source_bytes: u64,
    entries: u64,
    excluded: Excluded,
    live: Live,
    findings: Vec<Finding>,
    pruned: Vec<String>,
}

impl Done {
    fn failed(set: &str, finding: Finding) -> Self {
        Self { set: set.to_owned(), status: "failed", findings: vec![finding], ..Self::default() }
    }

    fn json(&self) -> Value {
        json!({
            "set": self.set, "status": self.status, "archive": self.archive.as_deref().map(show),
            "sha256": self.sha256, "bytes": self.bytes, "source_bytes": self.source_bytes, "entries": self.entries,
            "excluded": self.excluded.total(), "excluded_by": BTreeMap::from(self.excluded.reasons()),
            "durability": self.durability, "findings": self.findings, "pruned": self.pruned,
            "before": self.live.before, "after": self.live.after,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// When no set can be backed up at all: configuration, mount, key, tools, lock.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let gathered: Vec<Gathered> =
        select::select(args, ctx, &config)?.into_iter().map(|one| gather(one, ctx)).collect();
    preflight(&tools(args, &gathered))?;
    let memory = super::memory(&config);
    let _repository = match memory.as_ref().filter(|_| !args.dry_run) {
        Some(memory) => {
            memory.open()?;
            Some(lock::repository(memory.root(), "backup", ctx.now)?)
        }
        None => None,
    };
    let (mut locks, mut done, mut plans) = (Locks::default(), Vec::new(), Vec::new());
    let (mut first, mut errors) = (None, 0);
    for gathered in gathered {
        let name = gathered.set.name.clone();
        match one(args, ctx, &config, memory.as_ref(), &mut locks, gathered) {
            Ok((one, plan)) => {
                plans.extend(plan.map(|plan| (done.len(), plan)));
                done.push(one);
            }
            Err(Error::Interrupted) if done.is_empty() => return Err(Error::Interrupted),
            Err(error) => {
                done.push(Done::failed(&name, Finding::of(&name, &error)));
                first.get_or_insert(error);
                errors += 1;
            }
        }
    }
    // An error that stopped every set gives the run its exit code.
    let stopped = first.filter(|_| errors == done.len());
    let stopped = match stopped {
        Some(error) if done.len() == 1 => return Err(error),
        stopped => stopped,
    };
    let all: Vec<Finding> = done.iter().flat_map(|done| done.findings.iter().cloned()).collect();
    // Nothing is pruned by a run that found an error, in whichever set.
    if args.prune && !finding::any_error(&all) {
        for (index, plan) in &plans {
            done[*index].pruned = prune(args, ctx, memory.as_ref(), plan)?;
        }
    }
    if !args.dry_run {
        // How full a drive is, is told once, by the last set that went there.
        let last: HashMap<&Path, (usize, &Plan)> =
            plans.iter().map(|(index, plan)| (plan.destination.path.as_path(), (*index, plan))).collect();
        for (index, plan) in last.into_values() {
            let catalog = catalog::scan(&plan.destination.path)?;
            done[index].findings.extend(super::prune::quota(&plan.destination, &catalog, 0));
        }
    }
    let all: Vec<Finding> = done.iter().flat_map(|done| done.findings.iter().cloned()).collect();
    report(args, ctx, &done);
    Ok(match stopped {
        Some(error) => error.exit(),
        None if interrupted() => Exit::CouldNotRun,
        None => finding::exit(&all),
    })
}

/// The destinations that this run has locked.
type Locks = HashMap<PathBuf, lock::Lock>;

fn gather((set, destination): (DataSet, Destination), ctx: &Context) -> Gathered {
    let now = Mtime { seconds: ctx.now.as_second(), nanos: ctx.now.subsec_nanosecond().unsigned_abs() };
    let survey = |folder: Folder| folder.survey(now).map(|survey| (folder, survey));
    let source = Folder::open(&set.source, &set.rules()).and_then(survey);
    Gathered { set, destination, source }
}

/// What all sets together need, so that everything that is missing is told at once.
fn tools(args: &Args, gathered: &[Gathered]) -> Vec<Tool> {
    let any = |needs: &dyn Fn(&Gathered) -> bool| gathered.iter().any(needs);
    let databases = |one: &Gathered| one.source.as_ref().is_ok_and(|(_, survey)| survey.databases);
    let needs: [(Tool, bool); 4] = [
        (Tool::Mountpoint, any(&|one| demanded(args, &one.destination))),
        (Tool::Gpg, any(&|one| encrypted(args, &one.destination))),
        (Tool::Sqlite3, any(&databases)),
        (Tool::Rsync, any(&|one| one.set.live.consistency == Consistency::Staged)),
    ];
    needs.into_iter().filter_map(|(tool, needed)| needed.then_some(tool)).collect()
}

fn demanded(args: &Args, destination: &Destination) -> bool {
    args.mount_check || destination.mount.is_some()
}

fn encrypted(args: &Args, destination: &Destination) -> bool {
    args.encrypt || destination.encryption.is_some()
}

fn one(
    args: &Args,
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    locks: &mut Locks,
    gathered: Gathered,
) -> Result<(Done, Option<Plan>)> {
    let destination = &gathered.destination.path;
    if !args.dry_run && !locks.contains_key(destination) {
        locks.insert(destination.clone(), lock::destination(destination, "backup", ctx.now)?);
    }
    let name = gathered.set.name.clone();
    hooks::around(args, ctx, config, gathered, |gathered| match plan(args, ctx, memory, gathered)? {
        Err(finding) => Ok((Done::failed(&name, finding), None)),
        Ok(plan) if args.dry_run => Ok((preview(&plan), Some(plan))),
        Ok(plan) => match &plan.same {
            Some(same) => Ok((confirm(ctx, memory, &plan, same), Some(plan))),
            None => Ok((execute(ctx, memory, &plan)?, Some(plan))),
        },
    })
}

/// Everything that can be known before the first byte. A source that is missing or was emptied is a finding.
fn plan(
    args: &Args,
    ctx: &Context,
    memory: Option<&Memory>,
    gathered: Gathered,
) -> Result<std::result::Result<Plan, Finding>> {
    let Gathered { set, destination, source } = gathered;
    let encrypted = encrypted(args, &destination);
    set.may_be_staged(encrypted).map_err(|(what, next)| Error::refused(what, next))?;
    let key = encrypted.then(|| keys::sealing(destination.encryption.as_ref(), ctx.env)).transpose()?;
    let mounted =
        mount::check(&destination.path, destination.mount.as_deref(), demanded(args, &destination))?;
    let series = series(args, &set)?;
    if !set.source.exists() {
        let repair = "check `source` in recovery.toml; nothing was written for this set";
        return Ok(Err(Finding::error(show(&set.source), "is the source, and is not there", repair)));
    }
    let (folder, survey) = source?;
    let catalog = catalog::scan(&destination.path)?;
    if survey.files == 0 && catalog.latest(&series, None).is_some() {
        let what = "is the source, and holds no files, though it was backed up before";
        let repair =
            "if that is right, remove the set; else look where the files went: the backups still have them";
        return Ok(Err(Finding::error(show(&set.source), what, repair)));
    }
    let mut name = ArtifactName { series, time: ctx.now, codec: destination.compression, encrypted };
    let taken = |name: &ArtifactName| {
        let folder = destination.path.join(name.folder());
        [name.file(), name.manifest(), name.marker()].iter().any(|file| folder.join(file).exists())
    };
    while taken(&name) {
        name.time = name.time.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(ctx.now);
    }
    let policy = match args.keep {
        Some(keep) => Policy::newest(keep),
        None if destination.keep == Policy::default() => Policy::newest(3),
        None => destination.keep.clone(),
    };
    let mut plan = Plan { set, destination, name, folder, survey, key, mounted, policy, same: None };
    if !args.force {
        let known = memory.map(Memory::known).transpose()?.unwrap_or_default();
        plan.same = unchanged::unchanged(ctx, &plan, &catalog, &known);
    }
    Ok(Ok(plan))
}

/// What retention counts together: the set, with its suffix if it has one.
fn series(args: &Args, set: &DataSet) -> Result<String> {
    let Some(suffix) = &args.suffix else { return Ok(set.name.clone()) };
    config::good_name("--suffix", suffix).map_err(|(what, next)| Error::Usage(format!("{what}: {next}")))?;
    Ok(format!("{}-{suffix}", set.name))
}

fn preview(plan: &Plan) -> Done {
    let mut findings = plan.survey.findings.clone();
    findings.extend(empty(plan));
    let (status, archive) = match &plan.same {
        Some(same) => ("unchanged", same.artifact.archive.clone()),
        None => ("planned", plan.archive()),
    };
    Done {
        set: plan.set.name.clone(),
        status,
        archive: Some(archive),
        durability: Some(plan.mounted.durability),
        source_bytes: plan.survey.bytes,
        entries: plan.survey.entries,
        excluded: plan.survey.excluded,
        live: plan.set.live.clone(),
        findings,
        ..Done::default()
    }
}

fn empty(plan: &Plan) -> Option<Finding> {
    let what = "is the source, and holds no files";
    (plan.survey.files == 0)
        .then(|| Finding::warning(show(&plan.set.source), what, "check that it is the right folder"))
}

/// Nothing was changed since the last backup: it is as good as one of now, and that is what is recorded.
fn confirm(ctx: &Context, memory: Option<&Memory>, plan: &Plan, same: &Same) -> Done {
    let mut findings = plan.survey.findings.clone();
    findings.extend(empty(plan));
    if let Some(memory) = memory {
        let recorded = memory.event("confirmed", &ctx.now.to_string(), &same.artifact.archive);
        findings.extend(recorded.err().map(|error| Finding::of(show(memory.root()), &error)));
    }
    Done {
        set: plan.set.name.clone(),
        status: "unchanged",
        archive: Some(same.artifact.archive.clone()),
        sha256: Some(same.sha256.clone()),
        durability: Some(plan.mounted.durability),
        bytes: same.bytes,
        source_bytes: plan.survey.bytes,
        entries: plan.survey.entries,
        excluded: plan.survey.excluded,
        live: plan.set.live.clone(),
        findings,
        pruned: Vec::new(),
    }
}

fn execute(ctx: &Context, memory: Option<&Memory>, plan: &Plan) -> Result<Done> {
    // A drive that went away makes any error; it is told as what it is.
    let away = |error| mount::recheck(&plan.mounted, &plan.destination.path).err().unwrap_or(error);
    let Stored { archive, summary, mut findings } =
        stage::ready(ctx, memory, plan).and_then(|ready| store(plan, &ready)).map_err(away)?;
    findings.extend(empty(plan));
    if let Some(memory) = memory {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let recorded = memory.record(&json!({
            "schema": 1, "kind": "backup", "time": ctx.now.to_string(), "set": plan.set.name,
            "artifact": show(&plan.archive()), "sha256": archive.sha256, "bytes": archive.bytes,
            "errors": errors, "durability": plan.mounted.durability,
        }));
        // The backup is complete; only this repository will not remember it.
        findings.extend(recorded.err().map(|error| Finding::of(show(memory.root()), &error)));
    }
    Ok(Done {
        set: plan.set.name.clone(),
        status: if finding::any_error(&findings) { "findings" } else { "ok" },
        archive: Some(plan.archive()),
        sha256: Some(archive.sha256),
        durability: Some(plan.mounted.durability),
        bytes: archive.bytes,
        source_bytes: summary.content_bytes,
        entries: summary.entries,
        excluded: plan.survey.excluded,
        live: plan.set.live.clone(),
        findings,
        pruned: Vec::new(),
    })
}

/// Prunes the series of a plan, the new backup among them; in a dry run only says what would go.
fn prune(args: &Args, ctx: &Context, memory: Option<&Memory>, plan: &Plan) -> Result<Vec<String>> {
    let mut catalog = catalog::scan(&plan.destination.path)?;
    let planned = args.dry_run && plan.same.is_none();
    if planned {
        catalog.complete.push(plan.artifact());
    }
    let mut known = memory.map(Memory::known).transpose()?;
    if let (Some(known), true) = (&mut known, planned) {
        known.made.insert(show(&plan.archive()), Made::default());
    }
    let now = plan.name.time.max(ctx.now);
    let series = Some(plan.name.series.as_str());
    let mut items = retain::plan_backups(&catalog, series, &plan.policy, known.as_ref(), now);
    let mut found = catalog.findings.clone();
    if let Some(memory) = memory {
        found.extend(memory.lost(&plan.destination.path, &catalog)?);
    }
    if finding::any_error(&found) {
        retain::spare_all(&mut items);
    }
    if args.dry_run {
        return Ok(retain::removed(&items));
    }
    mount::recheck(&plan.mounted, &plan.destination.path)?;
    Ok(retain::apply_backups(&catalog, &items, memory, ctx.now)?.0)
}

/// Each reason that left something out.
fn reasons(excluded: &Excluded) -> String {
    let words = ["by `exclude`", "as caches", "on other file systems", "over `max-size`"];
    let counted = excluded.reasons().into_iter().zip(words).filter(|((_, count), _)| *count > 0);
    counted.map(|((_, count), words)| format!("{count} {words}")).collect::<Vec<_>>().join(", ")
}

fn report(args: &Args, ctx: &Context, done: &[Done]) {
    let all: Vec<Finding> = done.iter().flat_map(|done| done.findings.iter().cloned()).collect();
    let status = if finding::any_error(&all) { "findings" } else { "ok" };
    let sets: Vec<Value> = done.iter().map(Done::json).collect();
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "backup", "status": status, "dry_run": args.dry_run, "sets": sets,
    }));
    for done in done {
        let archive = done.archive.as_deref().map(show).unwrap_or_default();
        match done.status {
            "failed" => ctx.ui.result(&format!("{}: failed", done.set)),
            "planned" => ctx.ui.result(&format!(
                "{}: would write {archive} ({} entries, {})",
                done.set,
                done.entries,
                crate::ui::bytes(done.source_bytes)
            )),
            "unchanged" => ctx.ui.result(&format!(
                "{}: unchanged since {archive} ({} entries, {})",
                done.set,
                done.entries,
                crate::ui::bytes(done.source_bytes)
            )),
            _ => ctx.ui.result(&format!(
                "{}: {archive} ({} entries, {} in {})\nsha256 {}",
                done.set,
                done.entries,
                crate::ui::bytes(done.source_bytes),
                crate::ui::bytes(done.bytes),
                done.sha256.as_deref().unwrap_or("-")
            )),
        }
        if done.excluded.total() > 0 {
            ctx.ui.say(&format!(
                "{}: {} paths left out: {}",
                done.set,
                done.excluded.total(),
                reasons(&done.excluded)
            ));
        }
        if done.durability == Some(Durability::MountCache) {
            let text = "is in the cache of a FUSE mount; fsync does not prove that it has been uploaded";
            ctx.ui.say(&format!("{}: {text}", done.set));
        }
        for path in &done.pruned {
            ctx.ui.result(&format!("{} {path}", if args.dry_run { "would prune" } else { "pruned" }));
        }
    }
    ctx.ui.findings(&all);
}
