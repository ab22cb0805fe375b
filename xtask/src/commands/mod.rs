//! A file a verb, each: gather → plan → check → execute → verify → record. What several verbs do alike is here
//! and in `environment`, `notify`, `overdue`, [`retain`] and `stale_tags`.
pub mod backup;
pub mod completions;
pub mod doctor;
mod environment;
pub mod init;
pub mod man;
mod notify;
mod overdue;
pub mod prune;
pub mod publish;
pub mod restore;
pub mod restore_drill;
pub mod retain;
pub mod rollback;
pub mod schedule;
pub mod snapshot;
mod stale_tags;
pub mod status;
pub mod verify;

use crate::archive::FormatError;
use crate::cli::Verb;
use crate::config::keys::Env;
use crate::config::{self, Config, DataSet, Destination, beneath};
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::mount;
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::{show, show_bytes};
use crate::source::PourError;
use crate::tools::git::Repository;
use crate::ui::{Ui, Veil, bytes};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use notify::Told;

/// How much is free at a destination, in words.
fn free(mounted: &mount::Mounted) -> String {
    mounted.free_bytes.map_or_else(|| "free room unknown".into(), |free| format!("{} free", bytes(free)))
}

/// Name and version of this tool, as artifacts record it.
pub const TOOL: &str = concat!("xtask ", env!("CARGO_PKG_VERSION"));

/// What a run knows of the world: read once, in `start`.
#[derive(Debug)]
pub struct Context {
    /// How to print.
    pub ui: Ui,
    /// When the run began.
    pub now: Timestamp,
    /// `-C`, or the working folder.
    pub start: PathBuf,
    /// `--config`.
    pub config_file: Option<PathBuf>,
    /// Reads an environment variable.
    pub env: Env,
    /// The names of all that are set.
    pub variables: fn() -> Vec<String>,
    /// The file of this program, where the system tells it.
    pub exe: Option<PathBuf>,
    /// For how long yet a run that another's lock is in the way of begins anew.
    pub retry_lock: Duration,
    /// What the verb tells of its work, for who is notified.
    pub told: Told,
}

impl Context {
    /// A path as it was given: relative to the start, and without `.` and `..`, so that it can be compared.
    fn path(&self, path: &Path) -> PathBuf {
        config::clean(&self.start.join(path))
    }

    /// The same, with all talk through this veil.
    fn veiled(&self, veil: Veil) -> Self {
        Self {
            ui: Ui { veil, ..self.ui.clone() },
            start: self.start.clone(),
            config_file: self.config_file.clone(),
            exe: self.exe.clone(),
            told: Told::default(),
            ..*self
        }
    }

    /// Ends a run that has time to wait before it has done anything, where another holds the lock of one of these places: it
    /// begins anew, holds nothing meanwhile, and no line of the user's is run twice for it.
    ///
    /// # Errors
    /// [`Error::Busy`].
    fn has_locks_of<'a>(&self, places: impl Iterator<Item = &'a Destination>, command: &str) -> Result<()> {
        match self.retry_lock.is_zero() {
            true => Ok(()),
            false => lock::none_held(places.map(|place| &*place.place.path), command, self.now),
        }
    }

    /// The system's folder for temporary files, as every tool finds it.
    fn temporary(&self) -> PathBuf {
        (self.env)("TMPDIR").filter(|path| !path.is_empty()).map_or_else(|| "/tmp".into(), PathBuf::from)
    }
}

/// The key files of a set that its source has not, not even as a link that leads nowhere.
fn lost_key_files(set: &DataSet) -> Vec<Finding> {
    let lost = |file: &&String| set.source.join(file).symlink_metadata().is_err();
    let told = |file| {
        let what = format!("has no {file}, which `key-files` names: no drill would pass");
        Finding::error(show(&set.source), what, "mend `key-files`, or put the file back")
    };
    set.key_files.iter().filter(lost).map(told).collect()
}

/// Runs one verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: &Verb, ctx: &Context) -> Result<Exit> {
    let ended = dispatch(verb, ctx);
    notify::after(verb, &ended, ctx);
    ended
}

fn dispatch(verb: &Verb, ctx: &Context) -> Result<Exit> {
    match verb {
        Verb::Snapshot(args) => snapshot::run(args, ctx),
        Verb::Publish(args) => publish::run(args, ctx),
        Verb::Backup(args) => backup::run(args, ctx),
        Verb::Verify(args) => verify::run(args, ctx),
        Verb::Restore(args) => restore::run(args, ctx),
        Verb::RestoreDrill(args) => restore_drill::run(args, ctx),
        Verb::Prune(args) => prune::run(args, ctx),
        Verb::Status(args) => status::run(args, ctx),
        Verb::Schedule(args) => schedule::run(args, ctx),
        Verb::Rollback(args) => rollback::run(args, ctx),
        Verb::Init(args) => init::run(args, ctx),
        Verb::Doctor => doctor::run(ctx),
        Verb::Completions(args) => completions::run(args, ctx),
        Verb::Man(args) => man::run(args, ctx),
    }
}

/// The root of the repository around the start, or the start itself, whatever its configuration says.
fn root(ctx: &Context) -> PathBuf {
    match Repository::discover(&ctx.start) {
        Ok(Some(repository)) => repository.root().to_owned(),
        _ => marked(&ctx.start),
    }
}

/// The nearest folder that looks like a repository, or is configured.
fn marked(start: &Path) -> PathBuf {
    // Without `..`: above `repo/../other` lies no `repo`.
    let start = config::clean(start);
    let marks = ["recovery.toml", ".git", ".recovery/drill.json"];
    let marked = |folder: &&Path| marks.iter().any(|mark| folder.join(mark).exists());
    start.ancestors().find(marked).unwrap_or(&start).to_owned()
}

/// The configuration of the repository around the start, or of the start itself.
fn configuration(ctx: &Context) -> Result<Config> {
    // None that git may or can read is none: a backup goes on without.
    configuration_of(Repository::discover(&ctx.start).unwrap_or(None).as_ref(), ctx)
}

/// The configuration of a repository; without one, of the start itself.
fn configuration_of(repository: Option<&Repository>, ctx: &Context) -> Result<Config> {
    let config = load(repository, ctx)?;
    ctx.told.listens(&config.notify);
    Ok(config)
}

fn load(repository: Option<&Repository>, ctx: &Context) -> Result<Config> {
    let file = ctx.config_file.as_deref();
    match repository {
        None => {
            let root = marked(&ctx.start);
            Config::load(&root, file, &mut beneath(&root))
        }
        // A bare repository has no files but those of its commits.
        Some(bare) if bare.is_bare() => {
            let mut blobs = bare.blobs()?;
            Config::load(bare.root(), file, &mut |name| blobs.text(&format!("HEAD:{name}")))
        }
        Some(repository) => Config::load(repository.root(), file, &mut beneath(repository.root())),
    }
}

/// The memory of the run's repository; a folder that is neither a repository nor configured has none.
fn memory(config: &Config) -> Option<Memory> {
    let known =
        config.file.is_some() || config.root.join(".git").exists() || config.root.join("HEAD").exists();
    known.then(|| Memory::at(&config.root))
}

/// The destination that holds a file that was named. A file that is there is taken for what it is; one that is not
/// there may be on a drive that is away.
fn destination_around<'a>(config: &'a Config, file: &Path) -> Result<Option<&'a Destination>> {
    let Some(place) = config.destination_around(file) else { return Ok(None) };
    // First of all whether it answers, since nothing else has a deadline.
    mount::check(&place.place.path, None, false)?;
    if !file.is_file() {
        place.place.check(false)?;
    }
    Ok(Some(place))
}

/// What went wrong while an archive was written at `path`.
fn at(path: &Path, error: PourError) -> Error {
    if interrupted() {
        return Error::Interrupted;
    }
    match error {
        PourError::Source(error) => error,
        PourError::Archive(FormatError::Io(source)) => Error::io("write", path)(source),
        PourError::Archive(error) => Error::format(path)(error),
        PourError::Changed(name) => Error::refused(
            format!("{} changed while it was read", show_bytes(&name)),
            "run again while nothing writes to it",
        ),
        PourError::Short(name, why) => Error::refused(
            format!("{} {why} while it was read", show_bytes(&name)),
            "run again while nothing writes to it",
        ),
    }
}
