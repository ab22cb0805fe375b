//! `backup`: data sets to their destinations.
//!
//! gather (sets, surveys of their folders) → preflight (the tools that all of them need) → per set, between its hooks: check
//! (key, mount, catalogue) → plan → store (archive, manifest, read back, marker last), or nothing where the last backup is
//! still the source's → record. Then, for all sets: confirm → prune, where none has an error → quotas. One set that fails
//! does not stop the others.
pub(super) mod canary;
mod confirm;
mod copy;
mod due;
mod foretold;
mod hooks;
mod prune;
mod select;
mod serve;
mod set;
mod space;
pub(super) mod stage;
mod store;
mod unchanged;

use super::Context;
use crate::archive::entry::Mtime;
use crate::cli::BackupArgs as Args;
use crate::config::live::{Consistency, Live};
use crate::config::{Config, DataSet, Destination};
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::mount::{Durability, Mounted};
use crate::destination::names::ArtifactName;
use crate::destination::place::Place;
use crate::drill::full::{asides, journal};
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::interrupt::interrupted;
use crate::restore::scratch;
use crate::shown::show;
use crate::source::folder::{Folder, Survey};
use crate::source::rules::Excluded;
use crate::tools::{Tool, preflight};
pub(super) use foretold::{awaited, lost_key_files, unless_mended};
use serde_json::{Value, json};
pub(super) use set::{emptied, files, not_of_another};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use unchanged::Same;

/// One set as it was found.
struct Gathered {
    set: DataSet,
    /// At least one.
    destinations: Vec<Destination>,
    /// A source that is missing or unreadable fails its own set alone.
    source: Result<(Folder, Survey)>,
}

/// Where a new archive is to lie.
struct Plan {
    place: Place,
    mounted: Mounted,
    name: ArtifactName,
}

impl Plan {
    fn day(&self) -> PathBuf {
        self.place.path.join(self.name.folder())
    }

    fn archive(&self) -> PathBuf {
        self.day().join(self.name.file())
    }

    /// As the catalogue will have it.
    fn artifact(&self) -> Artifact {
        Artifact::planned(&self.place.path, self.name.clone())
    }
}

/// A destination that is there.
struct Ready {
    destination: Destination,
    mounted: Mounted,
    catalog: Catalog,
    /// Its last backup, when that still holds what the source holds.
    same: Option<Same>,
}

/// What came of one set at one destination.
struct Copied {
    destination: String,
    archive: PathBuf,
    /// `ok`, `unchanged`, `planned`, `failed`.
    status: &'static str,
    /// None where it failed.
    durability: Option<Durability>,
    /// Whether it is not known yet to have arrived for good.
    pending: bool,
}

/// A destination at which a set was backed up, and its older backups may go.
struct Prunable {
    destination: Destination,
    mounted: Mounted,
    series: String,
    /// What a dry run would have added.
    planned: Option<Artifact>,
}

/// What came of one set.
#[derive(Default)]
struct Done {
    set: String,
    status: &'static str,
    sha256: Option<String>,
    bytes: u64,
    source_bytes: u64,
    entries: u64,
    excluded: Excluded,
    live: Live,
    copies: Vec<Copied>,
    findings: Vec<Finding>,
    pruned: Vec<String>,
}

impl Done {
    fn failed(set: &str, finding: Finding) -> Self {
        Self { set: set.to_owned(), status: "failed", findings: vec![finding], ..Self::default() }
    }

    /// The first copy that came to something; what is told of the set as a whole is told of it.
    fn copy(&self) -> Option<&Copied> {
        self.copies.iter().find(|copy| copy.status != "failed")
    }

    fn json(&self) -> Value {
        let copy = |copy: &Copied| {
            json!({"destination": copy.destination, "status": copy.status, "archive": show(&copy.archive),
                "durability": copy.durability, "pending": copy.pending})
        };
        let copies: Vec<Value> = self.copies.iter().map(copy).collect();
        json!({
            "set": self.set, "status": self.status, "archive": self.copy().map(|copy| show(&copy.archive)),
            "sha256": self.sha256, "bytes": self.bytes, "source_bytes": self.source_bytes, "entries": self.entries,
            "excluded": self.excluded.total(), "excluded_by": BTreeMap::from(self.excluded.reasons()),
            "before": self.live.before, "after": self.live.after, "durability": self.copy().and_then(|copy| copy.durability), "copies": copies,
            "findings": self.findings, "pruned": self.pruned,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// When no set can be backed up at all: configuration, mount, key, tools, lock.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let memory = super::memory(&config);
    let (selected, not_due) = due::sort(args, ctx, memory.as_ref(), select::select(args, ctx, &config)?)?;
    if selected.is_empty() {
        // Of a drill that was killed it would say nothing else; one that is at work holds the lock.
        if let Some(memory) = memory.as_ref().filter(|memory| lock::holder_of(memory.root()).is_none()) {
            journal::refuse_open(memory.root())?;
        }
        ctx.told.idle();
        report(args, ctx, &not_due);
        return Ok(Exit::Done);
    }
    let sets = selected.iter().map(|(set, places)| (set, &places[..]));
    preflight(&tools(args, &sets.collect::<Vec<_>>(), false))?;
    // Before anything is looked at: whoever waits for the lock begins anew.
    let _repository = match memory.as_ref().filter(|_| !args.dry_run) {
        Some(memory) => {
            memory.open()?;
            let lock = lock::repository(memory.root(), "backup", ctx.now)?;
            Some(lock)
        }
        None => None,
    };
    // What lies where the live data should be may not be the live data.
    memory.as_ref().map_or(Ok(()), |memory| journal::refuse_beside(memory.root(), args.dry_run))?;
    if !args.dry_run {
        ctx.has_locks_of(selected.iter().flat_map(|(_, places)| places), "backup")?;
    }
    let gathered = gathered(args, ctx, selected)?;
    let (mut done, exit) = make(args, ctx, &config, memory.as_ref(), gathered)?;
    done.extend(not_due);
    report(args, ctx, &done);
    Ok(exit)
}

/// What a backup for a drill came to.
pub(super) struct Made {
    /// In words.
    pub detail: String,
    /// The archive of each set that has one.
    pub archives: BTreeMap<String, PathBuf>,
    pub findings: Vec<Finding>,
}

/// A backup of every set, for a drill, which holds the repository's lock.
///
/// # Errors
/// As [`run`].
pub(super) fn fresh(ctx: &Context, config: &Config, memory: &Memory) -> Result<Made> {
    let args = Args::default();
    let gathered = gathered(&args, ctx, select::select(&args, ctx, config)?)?;
    let (done, exit) = make(&args, ctx, config, Some(memory), gathered)?;
    let line = |done: &Done| {
        let archive = done.copy().map_or_else(|| "no archive".into(), |copy| show(&copy.archive));
        format!("{}: {}, {archive}", done.set, done.status)
    };
    let mut findings = findings(&done);
    if exit != Exit::Done && !finding::any_error(&findings) {
        let repair = "see what it says when it is run alone";
        findings.push(Finding::error("backup", "did not come to its end", repair));
    }
    let archive = |done: &Done| Some((done.set.clone(), done.copy()?.archive.clone()));
    Ok(Made {
        detail: done.iter().map(line).collect::<Vec<_>>().join("; "),
        archives: done.iter().filter_map(archive).collect(),
        findings,
    })
}

/// The sets of a run as they are found; the tools that they need are there.
fn gathered(args: &Args, ctx: &Context, selected: Vec<(DataSet, Vec<Destination>)>) -> Result<Vec<Gathered>> {
    let gathered: Vec<Gathered> = selected.into_iter().map(|one| gather(one, ctx)).collect();
    let databases = gathered.iter().any(|one| one.source.as_ref().is_ok_and(|(_, survey)| survey.databases));
    let sets = gathered.iter().map(|one| (&one.set, &one.destinations[..]));
    preflight(&tools(args, &sets.collect::<Vec<_>>(), databases))?;
    Ok(gathered)
}

/// Backs up what was gathered. Whoever calls it holds the repository's lock.
fn make(
    args: &Args,
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    gathered: Vec<Gathered>,
) -> Result<(Vec<Done>, Exit)> {
    let mut left = Vec::new();
    if !args.dry_run
        && let Err(error) = scratch::sweep(stage::left_behind(ctx, config, memory))
    {
        let what = format!("holds what a killed backup has left: {}", error.chain());
        left.push(Finding::warning(show(&config.root), what, "remove it by hand"));
    }
    left.extend(strange(config, memory));
    let (mut locks, mut done, mut prunable) = (Locks::default(), Vec::new(), Vec::new());
    let mut stopped: Vec<Error> = Vec::new();
    for gathered in gathered {
        let name = gathered.set.name.clone();
        if interrupted() && !done.is_empty() {
            let what = "was not begun: the run was interrupted";
            done.push(Done::failed(&name, Finding::error(&name, what, "run it again")));
            continue;
        }
        let work = |gathered| set::one(args, ctx, memory, &mut locks, gathered);
        match hooks::around(args, ctx, config, gathered, work) {
            Ok(outcome) => {
                prunable.extend(outcome.prunable.into_iter().map(|one| (done.len(), one)));
                stopped.extend(outcome.stopped);
                done.push(outcome.done);
            }
            Err(Error::Interrupted) if done.is_empty() => return Err(Error::Interrupted),
            Err(error) => {
                done.push(Done::failed(&name, Finding::of(&name, &error)));
                stopped.push(error);
            }
        }
    }
    if let Some(first) = done.first_mut() {
        first.findings.append(&mut left);
    }
    // An error that stopped every set gives the run its exit code.
    let stopped = if stopped.len() == done.len() { stopped.into_iter().next() } else { None };
    let stopped = match (stopped, &done[..]) {
        // Nothing else is to be told.
        (Some(error), [only]) if only.copies.len() < 2 && only.findings.len() < 2 => {
            return Err(error);
        }
        (stopped, _) => stopped,
    };
    let mut failed = Vec::new();
    if !args.dry_run {
        failed.extend(confirm::confirm(ctx, config, memory, &mut done, &prunable));
    }
    // Nothing is pruned by a run that found an error, in whichever set.
    if args.prune && !finding::any_error(&findings(&done)) && !interrupted() {
        failed.extend(prune::prune(args, ctx, config, memory, &mut done, &prunable));
    }
    if !args.dry_run {
        failed.extend(prune::quotas(&mut done, &prunable));
    }
    let exit = match stopped {
        Some(error) => error.exit(),
        None if interrupted() => Exit::CouldNotRun,
        // Copies were made all the same, and are told.
        None => failed.first().map_or_else(|| finding::exit(&findings(&done)), Error::exit),
    };
    Ok((done, exit))
}

/// What full drills have left beside the sources, or in them, and nobody remembers: live data may lie in it, and no backup
/// has that. What cannot be read of the memory is told elsewhere.
fn strange(config: &Config, memory: Option<&Memory>) -> Vec<Finding> {
    let history = memory.and_then(|memory| memory.read().ok()).unwrap_or_default().records;
    let strange = asides::strange(config, &history).into_iter();
    strange.map(|folder| asides::told(&folder, Severity::Warning)).collect()
}

/// Those of all sets.
fn findings(done: &[Done]) -> Vec<Finding> {
    done.iter().flat_map(|done| done.findings.iter().cloned()).collect()
}

/// The destinations that this run has locked.
type Locks = HashMap<PathBuf, lock::Lock>;

/// Before the walk: what is changed within a tick of it is looked at again.
pub(super) fn moment(ctx: &Context) -> Mtime {
    Mtime { seconds: ctx.now.as_second(), nanos: ctx.now.subsec_nanosecond().unsigned_abs() }
}

fn gather((set, destinations): (DataSet, Vec<Destination>), ctx: &Context) -> Gathered {
    let survey = |folder: Folder| folder.survey(moment(ctx)).map(|survey| (folder, survey));
    let source = Folder::open(&set.source, &set.rules()).and_then(survey);
    Gathered { set, destinations, source }
}

/// What all sets together need, so that everything that is missing is told at once.
fn tools(args: &Args, sets: &[(&DataSet, &[Destination])], databases: bool) -> Vec<Tool> {
    let places = || sets.iter().flat_map(|(_, places)| *places);
    let any = |needs: &dyn Fn(&Destination) -> bool| places().any(needs);
    let remote = any(&|place| place.place.remote.is_some());
    let staged = sets.iter().any(|(set, _)| set.live.consistency == Consistency::Staged);
    let needs = [
        (Tool::Mountpoint, any(&|place| place.place.remote.is_none() && demanded(args, place))),
        (Tool::Gpg, any(&|place| encrypted(args, place))),
        (Tool::Sqlite3, databases),
        (
            Tool::Ssh,
            any(&|place| place.place.remote.as_ref().is_some_and(|far| far.tools().contains(&Tool::Ssh))),
        ),
        (Tool::Rsync, remote || staged),
    ];
    needs.into_iter().filter_map(|(tool, needed)| needed.then_some(tool)).collect()
}

fn demanded(args: &Args, destination: &Destination) -> bool {
    args.mount_check || destination.place.mount.is_some()
}

fn encrypted(args: &Args, destination: &Destination) -> bool {
    args.encrypt || destination.encryption.is_some()
}

/// Each reason that left something out.
fn reasons(excluded: &Excluded) -> String {
    let words =
        ["by `exclude`", "as caches", "on other file systems", "over `max-size`", "as left by full drills"];
    let counted = excluded.reasons().into_iter().zip(words).filter(|((_, count), _)| *count > 0);
    counted.map(|((_, count), words)| format!("{count} {words}")).collect::<Vec<_>>().join(", ")
}

fn report(args: &Args, ctx: &Context, done: &[Done]) {
    let all = findings(done);
    let status = if finding::any_error(&all) { "findings" } else { "ok" };
    let sets: Vec<Value> = done.iter().map(Done::json).collect();
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "backup", "status": status, "dry_run": args.dry_run, "sets": sets,
    }));
    for done in done {
        done.tell(args, ctx);
    }
    ctx.ui.findings(&all);
    let told: Vec<String> = done.iter().map(|done| format!("{}: {}", done.set, done.status)).collect();
    ctx.told.of(&told.join(", "), &all);
}

impl Done {
    fn tell(&self, args: &Args, ctx: &Context) {
        let archive = self.copy().map(|copy| show(&copy.archive)).unwrap_or_default();
        let source = format!("{} entries, {}", self.entries, crate::ui::bytes(self.source_bytes));
        let line = match self.status {
            "failed" => "failed".to_owned(),
            "not_due" => "not due".to_owned(),
            "planned" => format!("would write {archive} ({source})"),
            "unchanged" => format!("unchanged since {archive} ({source})"),
            _ => format!(
                "{archive} ({source} in {})\nsha256 {}",
                crate::ui::bytes(self.bytes),
                self.sha256.as_deref().unwrap_or("-")
            ),
        };
        ctx.ui.result(&format!("{}: {line}", self.set));
        if self.copies.len() > 1 {
            for copy in &self.copies {
                let word = match copy.status {
                    "planned" => "would be written",
                    "unchanged" => "unchanged",
                    "failed" => "FAILED",
                    _ => "ok",
                };
                ctx.ui.result(&format!(
                    "{}: {}: {word}: {}",
                    self.set,
                    copy.destination,
                    show(&copy.archive)
                ));
            }
        }
        if self.excluded.total() > 0 {
            let (total, reasons) = (self.excluded.total(), reasons(&self.excluded));
            ctx.ui.say(&format!("{}: {total} paths left out: {reasons}", self.set));
        }
        for copy in self.copies.iter().filter(|copy| copy.durability == Some(Durability::MountCache)) {
            let text = "is in the cache of a FUSE mount; fsync does not prove that it has been uploaded";
            ctx.ui.say(&format!("{}: {}: {text}", self.set, copy.destination));
        }
        for path in &self.pruned {
            ctx.ui.result(&format!("{} {path}", if args.dry_run { "would prune" } else { "pruned" }));
        }
    }
}
