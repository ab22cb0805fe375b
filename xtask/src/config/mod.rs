//! `recovery.toml` as one resolved value: every default filled in, every path absolute, every contradiction refused.
//!
//! `raw` is the file as it is written; this is what it means. Reads the file and the names of packages; writes
//! nothing.
mod detect;
pub mod docker;
mod files;
pub mod keys;
pub mod live;
mod notify;
pub mod proof;
mod raw;
mod release;

use crate::archive::codec::Codec;
use crate::destination::mount::resolved;
use crate::destination::place::Place;
use crate::destination::retention::Policy;
use crate::error::{Error, Result};
use crate::source::rules::Databases;
use jiff::SignedDuration;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub use docker::{Deployment, Docker};
use files::read_small;
pub use files::{Files, beneath};
pub use notify::Notify;
pub use release::{Release, VersionFrom};

/// Everything a run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The repository's root, or the folder of the run where there is no repository.
    pub root: PathBuf,
    /// The file, when there is one.
    pub file: Option<PathBuf>,
    /// `[release]`.
    pub release: Release,
    /// `[data.*]`, by name.
    pub data: Vec<DataSet>,
    /// `[destination.*]`, by name.
    pub destinations: Vec<Destination>,
    /// `[drill]`.
    pub drill: Drill,
    /// `[notify]`.
    pub notify: Notify,
    /// `[docker]`.
    pub docker: Docker,
}

/// `[data.NAME]`.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// NAME.
    pub name: String,
    /// The folder.
    pub source: PathBuf,
    /// gitignore patterns, relative to it.
    pub exclude: Vec<String>,
    /// Names of its destinations; the only one when not set.
    pub destinations: Vec<String>,
    /// Files that a drill spot-checks, relative to the source.
    pub key_files: Vec<String>,
    /// How often a backup is due.
    pub backup_every: Option<SignedDuration>,
    /// Whether SQLite databases are copied through SQLite.
    pub sqlite: Databases,
    /// How it is read while it is in use.
    pub live: live::Live,
    /// What its drills prove.
    pub proof: proof::Proof,
}

/// How archives of a destination are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// The passphrase in an environment variable.
    Passphrase {
        /// Its name.
        variable: String,
    },
    /// Public keys.
    Recipients(Vec<String>),
}

/// `[destination.NAME]`.
#[derive(Debug, Clone)]
pub struct Destination {
    /// NAME.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Bytes that all backups there may take.
    pub quota: Option<u64>,
    /// Default 80.
    pub alert_at_percent: u8,
    /// What `prune` leaves.
    pub keep: Policy,
    /// Default gzip.
    pub compression: Codec,
    /// None: plain.
    pub encryption: Option<Encryption>,
    /// How long a run waits for one that is out of reach; default not at all.
    pub retry_for: Duration,
    /// A shell line that succeeds when what was written there has arrived for good.
    pub confirm: Option<String>,
    /// Its deadline; default 10 minutes.
    pub confirm_timeout: Duration,
}

impl Destination {
    /// A folder with nothing said of it.
    pub fn plain(path: PathBuf) -> Self {
        Self {
            name: path.display().to_string(),
            place: Place::folder(path),
            quota: None,
            alert_at_percent: 80,
            keep: Policy::default(),
            compression: Codec::default(),
            encryption: None,
            retry_for: Duration::ZERO,
            confirm: None,
            confirm_timeout: TEN_MINUTES,
        }
    }
}

/// The deadline of a command that does not have one of its own.
pub(crate) const TEN_MINUTES: Duration = Duration::from_secs(600);

/// `[drill]`.
#[derive(Debug, Clone)]
pub struct Drill {
    /// Default `docs/drills`.
    pub evidence_dir: PathBuf,
    /// How often a spot drill is due.
    pub spot_every: Option<SignedDuration>,
    /// How often a full drill is due.
    pub full_every: Option<SignedDuration>,
    /// How long a bundle or backup may go without being read and compared.
    pub verify_every: Option<SignedDuration>,
    /// Shell lines that must succeed in the restored bundle.
    pub release_checks: Vec<String>,
    /// Deadline of each; default 10 minutes.
    pub check_timeout: Duration,
    /// Stops the service.
    pub stop: Option<String>,
    /// Starts the service.
    pub start: Option<String>,
    /// Shell lines that must succeed against the running service.
    pub smoke: Vec<String>,
    /// Recovery time objective.
    pub rto_target: Option<SignedDuration>,
    /// Recovery point objective.
    pub rpo_target: Option<SignedDuration>,
    /// Variables that release checks, the commands of a full drill and each `confirm` may see; default PATH, HOME, LANG.
    pub environment: Vec<String>,
    /// How a full drill puts the restored release in place.
    pub deploy: Option<Deploy>,
    /// Where live data lies aside during a full drill; default beside itself.
    pub aside_dir: Option<PathBuf>,
    /// How long what lies aside is kept behind a full drill; default 7 days.
    pub keep_aside: SignedDuration,
    /// The gpg key that signs the evidence.
    pub sign_with: Option<String>,
}

/// How a full drill puts the restored release in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deploy {
    /// It takes the place of this folder.
    Folder(PathBuf),
    /// A shell line, run in the restored bundle.
    Command(String),
}

/// How long what lies aside is kept, if nothing else is said.
const A_WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Config {
    /// Reads `file`; without one, the `recovery.toml` that `files` gives, if any. `files` gives the files of the
    /// repository's root by name: those of a working tree ([`beneath`]) or of a commit.
    ///
    /// # Errors
    /// [`Error::Config`] for what is unknown, out of range or contradictory, with the line where it is known.
    pub fn load(root: &Path, file: Option<&Path>, files: Files<'_>) -> Result<Self> {
        let path = file.map_or_else(|| root.join("recovery.toml"), Path::to_owned);
        let text = match file {
            Some(file) => Some(read_small(file)?),
            None => files("recovery.toml")?,
        };
        let raw = raw::parse(&path, text.as_deref().unwrap_or_default())?;
        let wrong = |(what, next)| Error::Config { path: path.clone(), what, next };
        let release_root = release::root(raw.release.root.as_deref()).map_err(wrong)?;
        let name = match &raw.release.name {
            Some(name) => name.clone(),
            None => detect::name(root, &release_root, files)?,
        };
        let config = Self::resolve(root, text.is_some().then(|| path.clone()), (release_root, name), raw)
            .map_err(|(what, next)| Error::Config { path: path.clone(), what, next })?;
        config.check().map_err(|(what, next)| Error::Config { path, what, next })?;
        Ok(config)
    }

    fn resolve(
        root: &Path,
        file: Option<PathBuf>,
        (release_root, name): (String, String),
        raw: raw::Raw,
    ) -> Result<Self, (String, String)> {
        of_no_shell(&raw)?;
        let at = |path: &str| clean(&root.join(path));
        let release = Release::resolve(raw.release, release_root, name, &at)?;
        let data =
            raw.data.into_iter().map(|(name, set)| set.resolve(name, &at)).collect::<Result<_, _>>()?;
        let destinations = raw
            .destination
            .into_iter()
            .map(|(name, place)| place.resolve(name, &at))
            .collect::<Result<_, _>>()?;
        let drill = raw.drill.resolve(&at)?;
        let notify = raw.notify.resolve(&at)?;
        // Images are called after it.
        good_name("release.name", &release.name)?;
        let docker = raw.docker.resolve(&release.name, &at)?;
        Ok(Self { root: root.to_owned(), file, release, data, destinations, drill, notify, docker })
    }

    /// What no single key is to blame for.
    fn check(&self) -> Result<(), (String, String)> {
        for set in &self.data {
            good_name("a data set", &set.name)?;
            set.check_canary()?;
            for other in &self.data {
                if other.name.starts_with(&format!("{}-", set.name)) {
                    let what = format!(
                        "the data sets {:?} and {:?} could not be told apart: a suffix is put behind a name with '-'",
                        set.name, other.name
                    );
                    return Err((what, format!("rename {:?}", other.name)));
                }
            }
            let places = self.find_destinations(set)?;
            for place in &places {
                apart(&set.source, place)?;
                set.stages_elsewhere(place)?;
                let first = places[0];
                if (place.compression, &place.encryption) != (first.compression, &first.encryption) {
                    let what = format!(
                        "data.{} goes to {:?} and {:?}, which differ in compression or encryption: an archive is made once, and copied byte for byte",
                        set.name, first.name, place.name
                    );
                    return Err((what, "give the two the same".into()));
                }
            }
            set.may_be_staged(places.iter().any(|place| place.encryption.is_some()))?;
        }
        for (index, destination) in self.destinations.iter().enumerate() {
            good_name("a destination", &destination.name)?;
            let twin = self.destinations[..index]
                .iter()
                .find(|other| resolved(&other.place.path) == resolved(&destination.place.path));
            if let Some(other) = twin {
                let what =
                    format!("the destinations {:?} and {:?} are one folder", other.name, destination.name);
                return Err((what, "keep one of the two".into()));
            }
        }
        Ok(())
    }

    /// The destinations that there are, for who has named none of them.
    pub(crate) fn defined(&self) -> String {
        let names: Vec<&str> = self.destinations.iter().map(|place| &*place.name).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(", ") };
        format!("defined are: {names}")
    }

    fn find_destinations(&self, set: &DataSet) -> Result<Vec<&Destination>, (String, String)> {
        if set.destinations.is_empty() {
            if self.destinations.len() > 1 {
                let what = format!("data.{} does not say which destination it goes to", set.name);
                return Err((what, format!("add `destination = \"NAME\"`; {}", self.defined())));
            }
            return Ok(self.destinations.iter().collect());
        }
        let find = |name: &String| {
            self.destinations.iter().find(|place| place.name == *name).ok_or_else(|| {
                let what =
                    format!("data.{} goes to the destination {name:?}, which is not defined", set.name);
                (what, format!("add [destination.{name}] with a path; {}", self.defined()))
            })
        };
        if let Some(twice) =
            (1..set.destinations.len()).find(|at| set.destinations[..*at].contains(&set.destinations[*at]))
        {
            let what = format!("data.{} names the destination {:?} twice", set.name, set.destinations[twice]);
            return Err((what, "name it once".into()));
        }
        set.destinations.iter().map(find).collect()
    }

    /// The destination at `path` itself, however it is written.
    pub fn destination_at(&self, path: &Path) -> Option<&Destination> {
        self.destinations.iter().find(|place| resolved(&place.place.path) == resolved(path))
    }

    /// The destination that holds `path`.
    pub fn destination_around(&self, path: &Path) -> Option<&Destination> {
        self.destinations.iter().find(|place| resolved(path).starts_with(resolved(&place.place.path)))
    }

    /// The set of that name.
    pub fn set(&self, name: &str) -> Option<&DataSet> {
        self.data.iter().find(|set| set.name == name)
    }

    /// Where a set goes: one destination or several, all with the same container and encryption.
    ///
    /// # Errors
    /// When the file defines no destination at all.
    pub fn destinations_of(&self, set: &DataSet) -> Result<Vec<&Destination>> {
        match self.find_destinations(set) {
            Ok(places) if places.is_empty() => Err(Error::refused(
                format!("the data set {} has no destination", set.name),
                "add [destination.NAME] with a path to recovery.toml, or give --dest",
            )),
            Ok(places) => Ok(places),
            Err((what, next)) => Err(Error::refused(what, next)),
        }
    }
}

/// Refuses a path that only a shell could read: taken as it stands, it would be a folder called `~` in the repository.
fn of_no_shell(raw: &raw::Raw) -> Result<(), (String, String)> {
    let of = |key: &str, path: &Option<String>| (key.to_owned(), path.clone());
    let mut paths = vec![
        of("release.output-dir", &raw.release.output_dir),
        of("drill.evidence-dir", &raw.drill.evidence_dir),
        of("drill.deploy-dir", &raw.drill.deploy_dir),
        of("drill.aside-dir", &raw.drill.aside_dir),
        of("notify.ping-url-file", &raw.notify.ping_url_file),
        of("docker.backup-dir", &raw.docker.backup_dir),
    ];
    for (name, set) in &raw.data {
        paths.push((format!("data.{name}.source"), Some(set.source.clone())));
        paths.push((format!("data.{name}.stage-dir"), set.stage_dir.clone()));
    }
    for (name, place) in &raw.destination {
        paths.push((format!("destination.{name}.path"), Some(place.path.clone())));
        paths.push((format!("destination.{name}.mount"), place.mount.clone()));
    }
    for (key, path) in paths {
        let path = path.unwrap_or_default();
        if path == "~" || path.starts_with("~/") || path.starts_with('$') {
            return Err((
                format!("{key} is {path:?}"),
                "write the whole path: no shell reads this file".into(),
            ));
        }
    }
    Ok(())
}

/// Neither lies in the other: a backup would hold itself, or be taken for data.
pub(crate) fn apart(source: &Path, destination: &Destination) -> Result<(), (String, String)> {
    if destination.place.remote.is_some() {
        return Ok(());
    }
    let (source, destination) = (resolved(source), resolved(&destination.place.path));
    let (inner, outer) = match (destination.starts_with(&source), source.starts_with(&destination)) {
        (true, _) => (("destination", &destination), ("source", &source)),
        (_, true) => (("source", &source), ("destination", &destination)),
        _ => return Ok(()),
    };
    let what =
        format!("the {} {} lies inside of the {} {}", inner.0, inner.1.display(), outer.0, outer.1.display());
    Err((what, "keep the two apart".to_owned()))
}

/// Names stand in file names, before a `-` and a time.
pub(crate) fn good_name(what: &str, name: &str) -> Result<(), (String, String)> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(good) || name.starts_with(['.', '-']) {
        let text = format!("the name {name:?} of {what} cannot be part of a file name");
        return Err((text, "use letters, digits, '.', '_' and '-', a letter or digit first".into()));
    }
    Ok(())
}

/// `.` and `..` taken out, by name alone.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
