//! One set to all its destinations: archived once, at the first that is there, and copied byte for byte to the others.
//!
//! Each destination succeeds or fails for itself ([`super::serve`]). One that is out of reach, or errs for a moment, is
//! tried again, with growing pauses, for as long as its `retry-for` says, while the others are served. What was not
//! changed since the last backup is not archived again; a destination that missed that backup gets its copy.
use super::canary;
use super::copy::Master;
use super::foretold;
use super::unchanged::{self, Same};
use super::{Copied, Done, Gathered, Locks, Prunable, Ready, demanded, encrypted};
use crate::archive::codec::Codec;
use crate::cli::BackupArgs as Args;
use crate::commands::{Context, lost_key_files};
use crate::config::{self, DataSet, Destination, keys};
use crate::destination::catalog::{self, Artifact};
use crate::destination::known::{Canary, Known, lies_at};
use crate::destination::memory::Memory;
use crate::destination::mount;
use crate::destination::names::{ArtifactName, whole_seconds};
use crate::destination::retention::AHEAD;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::interrupt::{self, interrupted};
use crate::restore::scratch::Scratch;
use crate::shown::show;
use crate::source::folder::{Folder, Survey};
use crate::stopwatch::Monotonic;
use crate::tools::gpg::{self, Key};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two tries of a destination that is out of reach, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What came of a set; the error when nothing at all came of it.
pub(super) struct Outcome {
    pub done: Done,
    pub prunable: Vec<Prunable>,
    pub stopped: Option<Error>,
}

impl Outcome {
    /// Nothing came of it, and it is known why.
    pub(super) fn failed(set: &str, finding: Finding) -> Self {
        Self { done: Done::failed(set, finding), prunable: Vec::new(), stopped: None }
    }
}

/// The work on one set.
pub(super) struct Work<'a> {
    pub args: &'a Args,
    pub ctx: &'a Context,
    pub memory: Option<&'a Memory>,
    pub set: DataSet,
    pub series: String,
    codec: Codec,
    pub key: Option<Key>,
    pub known: Known,
    pub folder: Folder,
    pub survey: Survey,
    /// As the history has it, where the configuration names it.
    pub source: Option<String>,
    /// The complete backup that is copied from, as soon as there is one.
    pub master: Option<Master>,
    /// Where it lies when no folder could take it.
    pub outbox: Option<Scratch>,
    /// Series and time of the backups that are there, and where to look for other files of a new one's names.
    taken: BTreeSet<(String, Timestamp)>,
    roots: BTreeSet<PathBuf>,
    /// How many `error` findings a new archive came with; none while there is no new one.
    pub errors: Option<usize>,
    /// What the new archive has to bring back, if it has one.
    pub canary: Option<Canary>,
    pub done: Done,
    prunable: Vec<Prunable>,
    failures: Vec<Error>,
    /// Runs since the work on the set began.
    pub stopwatch: Monotonic,
}

/// Backs up one set.
///
/// # Errors
/// What stops the set before a destination is looked at: a key that is not there, a source that cannot be read.
pub(super) fn one(
    args: &Args,
    ctx: &Context,
    memory: Option<&Memory>,
    locks: &mut Locks,
    gathered: Gathered,
) -> Result<Outcome> {
    let Gathered { set, destinations, source } = gathered;
    let first = &destinations[0];
    set.may_be_staged(encrypted(args, first)).map_err(|(what, next)| Error::refused(what, next))?;
    let key =
        encrypted(args, first).then(|| keys::sealing(first.encryption.as_ref(), ctx.env)).transpose()?;
    if let Some(key) = key.as_ref().filter(|_| args.dry_run) {
        gpg::may_encrypt(key, &first.place.path)?;
    }
    let series = series(args, &set)?;
    // A drive that is away is told before a source that is: one destination alone decides it for the run.
    if let ([only], Err(_)) = (&destinations[..], &source)
        && only.retry_for.is_zero()
    {
        only.place.check(demanded(args, only))?;
    }
    let awaited = foretold::awaited(&set).filter(|_| args.dry_run);
    if !set.source.exists() && awaited.is_none() {
        let given = if args.source.is_some() { "--source" } else { "`source` in recovery.toml" };
        let repair = format!(
            "check {given}; nothing was written for this set; where the data is lost, `cargo xtask restore {} --to DIR` \
             brings back the last backup",
            set.name
        );
        let missing = Finding::error(show(&set.source), "is the source, and is not there", repair);
        return Ok(Outcome::failed(&set.name, missing));
    }
    let (folder, survey) = match awaited {
        Some(_) => (Folder::to_come(&set.source, &set.rules())?, Survey::default()),
        None => source?,
    };
    let known = memory.map(Memory::known).transpose()?.unwrap_or_default();
    let named = args.source.is_none().then(|| of_root(&set.source, memory));
    if named.is_some() && !args.force {
        let places: Vec<&Destination> = destinations.iter().collect();
        not_of_another(&set, memory, &known, &places, &series)?;
    }
    let mut work = Work {
        args,
        ctx,
        memory,
        series,
        key,
        known,
        taken: BTreeSet::new(),
        roots: BTreeSet::new(),
        errors: None,
        canary: None,
        codec: first.compression,
        done: Done {
            set: set.name.clone(),
            source_bytes: survey.bytes,
            entries: survey.entries,
            excluded: survey.excluded,
            live: set.live.clone(),
            findings: match awaited {
                Some(found) => vec![found],
                None if args.dry_run => foretold::lost_key_files(&set),
                None => lost_key_files(&set),
            },
            ..Done::default()
        },
        set,
        folder,
        survey,
        source: named,
        master: None,
        outbox: None,
        prunable: Vec::new(),
        failures: Vec::new(),
        stopwatch: Monotonic::start(),
    };
    work.rounds(destinations, locks)?;
    Ok(work.outcome())
}

/// Files of the user: a canary is none.
pub(in crate::commands) fn files(set: &DataSet, survey: &Survey) -> u64 {
    survey.files.saturating_sub(u64::from(canary::is_there(set)))
}

/// A source that was emptied since its `last` backup is a mistake until somebody says otherwise.
pub(in crate::commands) fn emptied(
    set: &DataSet,
    survey: &Survey,
    last: Option<&Artifact>,
    known: &Known,
) -> Option<Finding> {
    let (what, repair) = match survey.excluded.total() {
        0 => (
            "is the source, and holds no files, though it was backed up before",
            "if that is right, remove the set; else look where the files went: what backups have of them is still there",
        ),
        _ => (
            "is the source, and all that it holds is excluded, though it was backed up before",
            "look at `exclude` and its like of the set: what backups have of it is still there",
        ),
    };
    // Of one that is not there something else is told.
    let is_empty = files(set, survey) == 0 && set.source.exists();
    // One that never held a file was not emptied: the last backup is of the same state.
    let then = known.made.get(&show(&last?.archive)).and_then(|made| made.state.as_ref());
    let was_empty = then.is_some() && then == survey.state.as_ref();
    (is_empty && !was_empty).then(|| Finding::error(show(&set.source), what, repair))
}

/// A folder as the history has it: a repository may move, and its data with it.
fn of_root(folder: &Path, memory: Option<&Memory>) -> String {
    let root = memory.and_then(|memory| memory.root().parent());
    match root.and_then(|root| folder.strip_prefix(root).ok()) {
        Some(below) if below.as_os_str().is_empty() => ".".into(),
        Some(below) => show(below),
        None => show(folder),
    }
}

/// Looks whether the last backups of the series are of this set's folder.
///
/// # Errors
/// When the one at some destination is of another.
pub(in crate::commands) fn not_of_another(
    set: &DataSet,
    memory: Option<&Memory>,
    known: &Known,
    places: &[&Destination],
    series: &str,
) -> Result<()> {
    let own = of_root(&set.source, memory);
    let another = places.iter().find_map(|place| {
        let last = known.last.get(&(place.place.path.clone(), series.to_owned()))?;
        let other = known.made.get(last)?.source.as_deref().filter(|other| *other != own)?;
        Some((&place.name, other))
    });
    let Some((place, other)) = another else { return Ok(()) };
    let what = format!("{}: the last backup of that name at {place} is of {other}", set.name);
    let next = "give one of the two sets another name: their backups would take each other's place; if the data has \
                moved, `cargo xtask backup --force`";
    Err(Error::refused(what, next))
}

/// What retention counts together: the set, with its suffix if it has one.
pub(super) fn series(args: &Args, set: &DataSet) -> Result<String> {
    let Some(suffix) = &args.suffix else { return Ok(set.name.clone()) };
    config::good_name("--suffix", suffix).map_err(|(what, next)| Error::Usage(format!("{what}: {next}")))?;
    Ok(format!("{}-{suffix}", set.name))
}

impl Work<'_> {
    /// Tries every destination, and those that are out of reach again until their time is up.
    fn rounds(&mut self, mut waiting: Vec<Destination>, locks: &mut Locks) -> Result<()> {
        // An archive is made in a folder; other machines are sent copies.
        waiting.sort_by_key(|destination| destination.place.remote.is_some());
        let (mut waited, mut pause) = (Duration::ZERO, PAUSES.0);
        loop {
            let (mut ready, mut missed) = (Vec::new(), Vec::new());
            for destination in waiting {
                match self.look(&destination, locks) {
                    Ok(one) => ready.push(one),
                    Err(error) => missed.push((destination, error)),
                }
            }
            self.names(&ready);
            let strange: Vec<Finding> =
                ready.iter().filter_map(|one| self.strange(one)).chain(self.behind()).collect();
            self.done.findings.extend(strange);
            let name = self.name();
            let (mut found, set, known) = (Vec::new(), &self.set, &self.known);
            for one in ready.iter_mut().filter(|_| !self.args.force) {
                one.same = unchanged::unchanged(self.ctx, set, &self.survey, &name, one, known, &mut found);
            }
            self.done.findings.extend(found);
            let emptied = self.emptied(&ready);
            let stops = finding::any_error(emptied.as_slice());
            self.done.findings.extend(emptied);
            if stops {
                // That key files are not there either is no news.
                let lost = lost_key_files(&self.set);
                self.done.findings.retain(|found| !lost.contains(found));
                return Ok(());
            }
            self.find_same(&ready);
            for one in ready {
                match self.serve(&one) {
                    Ok(copied) => self.served(one, copied),
                    Err(error) => missed.push((one.destination, error)),
                }
            }
            if interrupted() && self.done.copies.is_empty() {
                return Err(Error::Interrupted);
            }
            waiting = Vec::new();
            for (destination, error) in missed {
                let again = (error.is_away() || mount::may_pass(&error, &destination.place.path))
                    && !(self.args.dry_run || interrupted())
                    && waited + pause <= destination.retry_for;
                if again {
                    let text = format!(
                        "{}: {}; trying again in {} s",
                        destination.name,
                        error.chain(),
                        pause.as_secs()
                    );
                    self.ctx.ui.say(&text);
                    waiting.push(destination);
                } else {
                    self.failed(&destination, error);
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            interrupt::pause(pause);
            waited += pause;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Takes the lock of a destination, and looks at what is there.
    fn look(&self, destination: &Destination, locks: &mut Locks) -> Result<Ready> {
        let path = &destination.place.path;
        if !self.args.dry_run && !locks.contains_key(path) {
            locks.insert(path.clone(), super::lock::folder(path, "backup", self.ctx.now)?);
        }
        let (mounted, catalog) = destination.place.look(demanded(self.args, destination))?;
        Ok(Ready { destination: destination.clone(), mounted, catalog, same: None })
    }

    /// Whether the source may be another when its backup begins: no line of `before` is run.
    fn is_to_come(&self) -> bool {
        self.args.dry_run && !self.set.live.before.is_empty()
    }

    fn emptied(&self, ready: &[Ready]) -> Option<Finding> {
        let last = ready.iter().find_map(|one| one.catalog.latest(&self.series, None));
        let found = emptied(&self.set, &self.survey, last, &self.known)?;
        Some(if self.is_to_come() { foretold::unless_mended(&self.set, found) } else { found })
    }

    /// A drive that has none of the backups that were made on it may be another one. It gets its backup all the same: a new
    /// drive in the place of one that is lost is no mistake.
    fn strange(&self, one: &Ready) -> Option<Finding> {
        let path = &one.destination.place.path;
        let mut there = one.catalog.archives();
        // One that has lost its marker alone is there.
        there.extend(one.catalog.incomplete.iter().map(|path| show(path)));
        let on_record = self.known.made.keys().filter(|made| lies_at(made, path));
        let expected = on_record.filter(|made| !self.known.doomed.contains(*made));
        let (mut count, mut found) = (0, false);
        for made in expected {
            count += 1;
            found |= there.contains(made);
        }
        let what =
            format!("holds none of the {count} backups that were made there: is this the right drive?");
        let repair =
            "look which drive is mounted there; `cargo xtask prune --forget-lost` accepts that they are gone";
        let place = &one.destination.place;
        let unasked = place.remote.is_none() && !demanded(self.args, &one.destination);
        if unasked && count == 0 && !path.exists() {
            let what = "is not there yet, and will be made";
            return Some(Finding::info(show(path), format!("{what}; `mount` would ask for a drive")));
        }
        (count > 0 && !found).then(|| Finding::warning(show(path), what, repair))
    }

    /// The newest backup that still holds what the source holds is the one that all are to have. A destination that has
    /// it, and would not confirm it, makes a new one for all; so does one that can only be had from another machine.
    fn find_same(&mut self, ready: &[Ready]) {
        let confirms = |one: &Ready, name: &ArtifactName| {
            one.same.as_ref().is_some_and(|same| same.artifact.name == *name)
        };
        let holds = |one: &Ready, name: &ArtifactName| {
            one.catalog.complete.iter().any(|artifact| artifact.name == *name)
        };
        let local = |one: &Ready| one.destination.place.remote.is_none();
        if self
            .master
            .as_ref()
            .is_some_and(|master| master.far && !ready.iter().all(|one| confirms(one, &master.artifact.name)))
        {
            self.master = None;
        }
        if self.master.is_none() {
            let good = |(one, same): &(&Ready, &Same)| {
                let name = &same.artifact.name;
                ready.iter().all(|other| match holds(other, name) {
                    true => confirms(other, name),
                    false => local(one),
                })
            };
            let all = ready.iter().filter_map(|one| Some((one, one.same.as_ref()?))).filter(good);
            let newest = all.max_by_key(|(one, same)| (local(one), same.artifact.name.time));
            self.master = newest.map(|(one, same)| Master::of(same, !local(one)));
        }
    }

    /// Remembers what is taken at these destinations.
    fn names(&mut self, ready: &[Ready]) {
        for one in ready {
            let incomplete = one.catalog.incomplete.iter().filter_map(|path| catalog::unfinished(path));
            let complete = one.catalog.complete.iter().map(|artifact| artifact.name.clone());
            self.taken.extend(complete.chain(incomplete).map(|name| (name.series, name.time)));
            self.roots.insert(one.destination.place.path.clone());
        }
    }

    /// The name of a new backup: that of the run's time, or the next second that is free everywhere.
    pub(super) fn name(&self) -> ArtifactName {
        let (series, codec) = (self.series.clone(), self.codec);
        // A name that a prune has set free lies before others of this second: the newest has the latest name.
        let now = self.ctx.now;
        let time = match self.newest() {
            Some(newest) if newest >= now && newest.duration_since(now) <= AHEAD => next_second(newest),
            _ => now,
        };
        let mut name = ArtifactName { series, time, codec, encrypted: self.key.is_some() };
        let free = |name: &ArtifactName| {
            let files = [name.file(), name.manifest(), name.marker()];
            let lies = |root: &PathBuf| files.iter().any(|file| root.join(name.folder()).join(file).exists());
            let known = (name.series.clone(), whole_seconds(name.time));
            !self.taken.contains(&known) && !self.roots.iter().any(lies)
        };
        while !free(&name) {
            name.time = next_second(name.time);
        }
        name
    }

    /// The latest time that a backup of the series has, at these destinations or on record.
    fn newest(&self) -> Option<Timestamp> {
        let taken = self.taken.iter().filter(|(series, _)| *series == self.series).map(|(_, time)| *time);
        let parsed = |path: &String| ArtifactName::parse(Path::new(path).file_name()?.to_str()?);
        let known = self.known.made.keys().filter_map(parsed).filter(|name| name.series == self.series);
        taken.chain(known.map(|name| name.time)).max()
    }

    /// A backup that would be dated before another of its series, which is no second ahead but more.
    fn behind(&self) -> Option<Finding> {
        let newest = self.newest().filter(|newest| newest.duration_since(self.ctx.now) > AHEAD)?;
        let what = format!(
            "has a backup of {newest}, which is in the future: this machine's clock is behind, or was ahead then"
        );
        let repair = "set the clock; if it is right, see `docs/runbook.md`, The clock was wrong";
        Some(Finding::warning(&self.series, what, repair))
    }

    fn served(&mut self, ready: Ready, copied: Copied) {
        let planned = (copied.status == "planned").then(|| {
            let name =
                self.master.as_ref().map_or_else(|| self.name(), |master| master.artifact.name.clone());
            Artifact::planned(&ready.destination.place.path, name)
        });
        self.prunable.push(Prunable {
            destination: ready.destination,
            mounted: ready.mounted,
            series: self.series.clone(),
            planned,
        });
        self.done.copies.push(copied);
    }

    fn failed(&mut self, destination: &Destination, error: Error) {
        self.done.copies.push(Copied {
            destination: destination.name.clone(),
            archive: destination.place.path.clone(),
            status: "failed",
            durability: None,
            pending: false,
        });
        self.done.findings.push(Finding::of(show(&destination.place.path), &error));
        self.failures.push(error);
    }

    fn outcome(mut self) -> Outcome {
        if let Some(master) = &self.master {
            self.done.sha256 = Some(master.digest());
            self.done.bytes = master.bytes;
        }
        if self.errors.is_none() {
            self.done.findings.splice(0..0, self.survey.findings.iter().cloned());
        }
        let good = self.done.copy().map(|copy| copy.status);
        if files(&self.set, &self.survey) == 0 && good.is_some() && !self.is_to_come() {
            let (what, repair) = ("is the source, and holds no files", "check that it is the right folder");
            self.done.findings.push(Finding::warning(show(&self.set.source), what, repair));
        }
        let any = |status: &str| self.done.copies.iter().any(|copy| copy.status == status);
        self.done.status = match good {
            None => "failed",
            Some(_) if any("ok") && finding::any_error(&self.done.findings) => "findings",
            Some(_) if any("ok") => "ok",
            Some(status) => status,
        };
        // One that may be tried again later does not hide one that may not.
        let worst = self.failures.iter().position(|error| error.exit() != Exit::TryLater).unwrap_or(0);
        let stopped = (good.is_none() && !self.failures.is_empty()).then(|| self.failures.swap_remove(worst));
        Outcome { done: self.done, prunable: self.prunable, stopped }
    }
}

fn next_second(time: Timestamp) -> Timestamp {
    time.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(time)
}
