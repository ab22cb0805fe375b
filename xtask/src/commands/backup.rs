//! `backup`: data sets to their destination.
//!
//! gather (sets, listings, catalogues) → check (mounts, keys, tools, locks) → execute (archive, manifest) → verify (read
//! back; the mount is still the same) → commit (`.sha256`, last) → record → prune. One set that fails does not stop the
//! others.
use super::{Context, at, retain};
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Summary};
use crate::cli::BackupArgs as Args;
use crate::config::{self, Config, DataSet, Destination, Sqlite};
use crate::destination::catalog::{self, Catalog};
use crate::destination::durable::{Run, Written};
use crate::destination::lock;
use crate::destination::marker::Sums;
use crate::destination::memory::Memory;
use crate::destination::mount::{self, Mounted};
use crate::destination::names::ArtifactName;
use crate::destination::retention::Policy;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, show, show_bytes};
use crate::source::folder::{self, Databases};
use crate::source::{Listing, PourError, pour};
use crate::tools::gpg::{self, Key};
use crate::tools::{Tool, preflight};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How often an archive is begun again because a large file shrank.
const TRIES: u32 = 3;

/// One set, and all that its backup needs.
struct Plan {
    set: DataSet,
    destination: Destination,
    name: ArtifactName,
    listing: Listing,
    key: Option<Key>,
    mounted: Mounted,
    catalog: Catalog,
    policy: Policy,
}

impl Plan {
    fn folder(&self) -> PathBuf {
        self.destination.path.join(self.name.folder())
    }

    fn archive(&self) -> PathBuf {
        self.folder().join(self.name.file())
    }
}

/// What came of one set.
struct Done {
    set: String,
    status: &'static str,
    archive: Option<PathBuf>,
    sha256: Option<String>,
    bytes: u64,
    source_bytes: u64,
    entries: u64,
    findings: Vec<Finding>,
    pruned: Vec<String>,
}

impl Done {
    fn failed(set: &str, finding: Finding) -> Self {
        Self {
            set: set.to_owned(),
            status: "failed",
            archive: None,
            sha256: None,
            bytes: 0,
            source_bytes: 0,
            entries: 0,
            findings: vec![finding],
            pruned: Vec::new(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "set": self.set, "status": self.status, "archive": self.archive.as_deref().map(show), "sha256": self.sha256,
            "bytes": self.bytes, "source_bytes": self.source_bytes, "entries": self.entries,
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
    let memory = super::memory(&config).filter(|_| !args.dry_run);
    if let Some(memory) = &memory {
        memory.open()?;
    }
    let _repository = match &memory {
        Some(memory) => Some(lock::repository(memory.root(), "backup", ctx.now)?),
        None => None,
    };
    let (mut locks, mut done, mut first) = (Locks::default(), Vec::new(), None);
    for (set, destination) in select(args, ctx, &config)? {
        let name = set.name.clone();
        match one(args, ctx, memory.as_ref(), &mut locks, set, destination) {
            Ok(one) => done.push(one),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                let next = error.next_step().unwrap_or_default();
                done.push(Done::failed(&name, Finding::error(&name, error.chain(), next)));
                first.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first.filter(|_| done.iter().all(|done| done.status == "failed")) {
        return Err(error);
    }
    report(args, ctx, &done);
    let all: Vec<Finding> = done.iter().flat_map(|done| done.findings.iter().cloned()).collect();
    Ok(finding::exit(&all))
}

/// The destinations that this run has locked.
type Locks = HashMap<PathBuf, lock::Lock>;

fn one(
    args: &Args,
    ctx: &Context,
    memory: Option<&Memory>,
    locks: &mut Locks,
    set: DataSet,
    destination: Destination,
) -> Result<Done> {
    if !args.dry_run && !locks.contains_key(&destination.path) {
        let lock = lock::destination(&destination.path, "backup", ctx.now)?;
        locks.insert(destination.path.clone(), lock);
    }
    let name = set.name.clone();
    match plan(args, ctx, set, destination)? {
        Err(finding) => Ok(Done::failed(&name, finding)),
        Ok(plan) if args.dry_run => Ok(preview(args, ctx, &plan)),
        Ok(plan) => execute(args, ctx, memory, &plan),
    }
}

/// The sets of the run with their destinations, the command line's word before the file's.
fn select(args: &Args, ctx: &Context, config: &Config) -> Result<Vec<(DataSet, Destination)>> {
    let source = args.source.as_ref().map(|path| absolute(ctx, path));
    let mut sets: Vec<DataSet> = Vec::new();
    for name in &args.sets {
        let set = config.set(name).ok_or_else(|| {
            let known: Vec<&str> = config.data.iter().map(|set| set.name.as_str()).collect();
            Error::Usage(format!("no data set is named {name:?}; known: {}", known.join(", ")))
        })?;
        if sets.iter().any(|known| known.name == *name) {
            return Err(Error::Usage(format!("the data set {name:?} is named twice")));
        }
        sets.push(set.clone());
    }
    match source {
        Some(source) if sets.len() == 1 => sets[0].source = source,
        Some(_) if !sets.is_empty() => {
            return Err(Error::Usage("--source goes with one data set, not with several".into()));
        }
        Some(source) => match config.data.iter().find(|set| set.source == source) {
            Some(set) => sets.push(set.clone()),
            None => sets.push(unnamed(source)?),
        },
        None if sets.is_empty() => sets.clone_from(&config.data),
        None => {}
    }
    if sets.is_empty() {
        return Err(Error::refused(
            "there is nothing to back up: no data set is configured",
            "add [data.NAME] to recovery.toml (`cargo xtask init` writes one), or give --source and --dest",
        ));
    }
    sets.into_iter().map(|set| Ok((set.clone(), destination(args, ctx, config, &set)?))).collect()
}

fn absolute(ctx: &Context, path: &Path) -> PathBuf {
    ctx.start.join(path).components().collect()
}

/// A set named after its folder, without a leading dot.
fn unnamed(source: PathBuf) -> Result<DataSet> {
    let name = source.file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned());
    let name = name.unwrap_or_default();
    config::good_name("the source folder", &name)
        .map_err(|(what, _)| Error::refused(what, "configure it as [data.NAME] in recovery.toml"))?;
    Ok(DataSet {
        name,
        source,
        exclude: Vec::new(),
        destination: None,
        key_files: Vec::new(),
        sqlite: Sqlite::Copy,
    })
}

fn destination(args: &Args, ctx: &Context, config: &Config, set: &DataSet) -> Result<Destination> {
    let mut destination = match &args.dest {
        None => config.destination_of(set)?.clone(),
        Some(path) => {
            let path = absolute(ctx, path);
            let known = config.destinations.iter().find(|place| place.path == path);
            known.cloned().unwrap_or_else(|| Destination {
                name: show(&path),
                path,
                mount: None,
                quota: None,
                alert_at_percent: 80,
                keep: Policy::default(),
                compression: crate::archive::codec::Codec::default(),
                encryption: None,
            })
        }
    };
    if let Some(codec) = args.compression {
        destination.compression = codec;
    }
    config::apart(&set.source, &destination.path).map_err(|(what, next)| Error::refused(what, next))?;
    Ok(destination)
}

/// Everything that can be known before the first byte. A set whose source is missing or emptied is a finding; what no
/// set could get around ends the run.
fn plan(
    args: &Args,
    ctx: &Context,
    set: DataSet,
    destination: Destination,
) -> Result<std::result::Result<Plan, Finding>> {
    let demanded = args.mount_check || destination.mount.is_some();
    let mut tools = Vec::new();
    tools.extend(demanded.then_some(Tool::Mountpoint));
    let encrypted = args.encrypt || destination.encryption.is_some();
    tools.extend(encrypted.then_some(Tool::Gpg));
    preflight(&tools)?;
    let key = encrypted.then(|| super::key_of(destination.encryption.as_ref(), ctx)).transpose()?;
    let mounted = mount::check(&destination.path, destination.mount.as_deref(), demanded)?;
    let series = match &args.suffix {
        Some(suffix) => {
            config::good_name("--suffix", suffix)
                .map_err(|(what, next)| Error::Usage(format!("{what}: {next}")))?;
            format!("{}-{suffix}", set.name)
        }
        None => set.name.clone(),
    };
    if !set.source.exists() {
        let repair = "check `source` in recovery.toml; nothing was written for this set";
        return Ok(Err(Finding::error(show(&set.source), "is the source, and is not there", repair)));
    }
    let databases = if set.sqlite == Sqlite::Copy { Databases::Copied } else { Databases::Raw };
    let listing = folder::list(&set.source, &set.exclude, databases)?;
    if listing.has_databases() {
        preflight(&[Tool::Sqlite3])?;
    }
    let catalog = catalog::scan(&destination.path)?;
    if listing.files() == 0 && catalog.latest(&series, None).is_some() {
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
    Ok(Ok(Plan { set, destination, name, listing, key, mounted, catalog, policy }))
}

fn preview(args: &Args, ctx: &Context, plan: &Plan) -> Done {
    let mut findings = plan.listing.findings.clone();
    findings.extend(empty(plan));
    let mut with_new = Catalog { complete: plan.catalog.complete.clone(), ..Catalog::default() };
    with_new.complete.push(catalog::Artifact {
        archive: plan.archive(),
        manifest: plan.folder().join(plan.name.manifest()),
        marker: plan.folder().join(plan.name.marker()),
        bytes: 0,
        has_manifest: true,
        name: plan.name.clone(),
    });
    let items = match args.prune {
        true => {
            retain::plan_backups(&with_new, Some(&plan.name.series), &plan.policy, &HashSet::new(), ctx.now)
        }
        false => Vec::new(),
    };
    Done {
        set: plan.set.name.clone(),
        status: "planned",
        archive: Some(plan.archive()),
        sha256: None,
        bytes: 0,
        source_bytes: plan.listing.bytes(),
        entries: plan.listing.items.len() as u64,
        findings,
        pruned: retain::removed(&items),
    }
}

fn empty(plan: &Plan) -> Option<Finding> {
    let what = "is the source, and holds no files";
    (plan.listing.files() == 0)
        .then(|| Finding::warning(show(&plan.set.source), what, "check that it is the right folder"))
}

fn execute(args: &Args, ctx: &Context, memory: Option<&Memory>, plan: &Plan) -> Result<Done> {
    let mut left_out: HashSet<Vec<u8>> = HashSet::new();
    let mut tries = 0;
    let mut findings = plan.listing.findings.clone();
    findings.extend(empty(plan));
    let (archive, summary) = loop {
        let mut run = Run::new();
        match write(plan, &mut run, &left_out)? {
            Attempt::Written(found, archive, summary) => {
                findings.extend(found);
                commit(plan, &mut run, &archive, &summary)?;
                run.commit();
                break (archive, summary);
            }
            Attempt::Shrunk(path) => {
                tries += 1;
                if tries >= TRIES {
                    let what = format!("shrank while it was read, {TRIES} times, and is NOT in the backup");
                    findings.push(Finding::error(
                        show_bytes(&path),
                        what,
                        "back it up while nothing writes to it",
                    ));
                    left_out.insert(path);
                    tries = 0;
                }
            }
        }
    };
    if let Some(memory) = memory {
        memory.completed(&ctx.now.to_string(), &plan.set.name, &plan.archive(), &archive.sha256)?;
    }
    let mut done = Done {
        set: plan.set.name.clone(),
        status: if finding::any_error(&findings) { "findings" } else { "ok" },
        archive: Some(plan.archive()),
        sha256: Some(archive.sha256),
        bytes: archive.bytes,
        source_bytes: summary.content_bytes,
        entries: summary.entries,
        findings,
        pruned: Vec::new(),
    };
    // Nothing is pruned by a run that found an error.
    if args.prune && done.status == "ok" {
        mount::recheck(&plan.mounted, &plan.destination.path)?;
        let verified = memory.map(Memory::verified).transpose()?.unwrap_or_default();
        let now = catalog::scan(&plan.destination.path)?;
        let items = retain::plan_backups(
            &now,
            Some(&plan.name.series),
            &plan.policy,
            &verified,
            plan.name.time.max(ctx.now),
        );
        done.pruned = retain::apply_backups(&now, &items, memory, ctx.now)?.0;
    }
    Ok(done)
}

type Packed = (Vec<Finding>, Summary);

/// What an attempt came to.
enum Attempt {
    Written(Vec<Finding>, Written, Summary),
    /// This large file shrank under the reader; its header in the stream no longer tells the truth.
    Shrunk(Vec<u8>),
}

/// Writes the archive, once.
fn write(plan: &Plan, run: &mut Run, left_out: &HashSet<Vec<u8>>) -> Result<Attempt> {
    let path = plan.archive();
    let mut file = run.create(&path)?;
    let packed = match &plan.key {
        None => shrunk(pack(plan, left_out, &mut file), &path)?,
        Some(key) => gpg::encrypt(key, &mut file, |sink| shrunk(pack(plan, left_out, sink), &path))?,
    };
    let (findings, summary) = match packed {
        Ok(packed) => packed,
        Err(name) => return Ok(Attempt::Shrunk(name)),
    };
    Ok(Attempt::Written(findings, file.finish()?, summary))
}

fn pack(
    plan: &Plan,
    left_out: &HashSet<Vec<u8>>,
    sink: &mut (dyn Write + Send),
) -> Result<Packed, PourError> {
    let codec = plan.name.codec;
    let header = Header {
        schema: SCHEMA,
        archive: plan.name.file(),
        created_at: crate::destination::names::whole_seconds(plan.name.time).to_string(),
        codec,
        encoder: codec.encoder().into(),
        level: codec.level(),
        tool: super::TOOL.into(),
    };
    let some: Vec<_>;
    let items = if left_out.is_empty() {
        &plan.listing.items
    } else {
        some =
            plan.listing.items.iter().filter(|item| !left_out.contains(&item.entry.path)).cloned().collect();
        &some
    };
    writer::write(sink, &header, super::workers(), |builder| pour(items, None, builder))
}

fn shrunk(packed: Result<Packed, PourError>, path: &Path) -> Result<std::result::Result<Packed, Vec<u8>>> {
    match packed {
        Ok(packed) => Ok(Ok(packed)),
        Err(PourError::Shrunk(name)) => Ok(Err(name)),
        Err(error) => Err(at(path, error)),
    }
}

/// Manifest, then the drive once more, then the marker: with it the backup is one.
fn commit(plan: &Plan, run: &mut Run, archive: &Written, summary: &Summary) -> Result<()> {
    let path = plan.folder().join(plan.name.manifest());
    let manifest = match &plan.key {
        None => run.write(&path, &summary.manifest)?,
        Some(key) => {
            let mut file = run.create(&path)?;
            gpg::encrypt(key, &mut file, |sink| {
                sink.write_all(&summary.manifest).map_err(Error::io("write", &path))
            })?;
            file.finish()?
        }
    };
    mount::recheck(&plan.mounted, &plan.destination.path)?;
    let lines = vec![(archive.sha256.clone(), plan.name.file()), (manifest.sha256, plan.name.manifest())];
    run.write(&plan.folder().join(plan.name.marker()), Sums { lines }.render().as_bytes())?;
    Ok(())
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
            _ => ctx.ui.result(&format!(
                "{}: {archive} ({} entries, {} in {})\nsha256 {}",
                done.set,
                done.entries,
                crate::ui::bytes(done.source_bytes),
                crate::ui::bytes(done.bytes),
                done.sha256.as_deref().unwrap_or("-")
            )),
        }
        for path in &done.pruned {
            ctx.ui.result(&format!("{} {path}", if args.dry_run { "would prune" } else { "pruned" }));
        }
    }
    ctx.ui.findings(&all);
}
