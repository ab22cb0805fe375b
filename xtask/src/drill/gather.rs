//! What a drill knows before its first step: what lies in the destinations, what is picked, what decrypts it,
//! and what stands in the way.
//!
//! Only reads. A drive that is not mounted or a passphrase that is not set does not end the command here: it
//! becomes a blocker, the preflight fails with it, and the evidence says that the drill could not run.
use super::copies::Copies;
use super::evidence::chain::{Stored, check_chain};
use super::pick::{self, Choice, Known, Set, Taken};
use super::rotation::{Past, Stock};
use super::steps::{Kind, Pick, Plan, Role};
use super::subject::{Digests, Subject, against};
use crate::config::keys::{self, Env};
use crate::config::{Config, DataSet, Destination};
use crate::destination::catalog::Artifact;
use crate::destination::known::{self, Canary};
use crate::destination::memory::Memory;
use crate::destination::mount::Durability;
use crate::destination::named;
use crate::destination::names::ArtifactName;
use crate::destination::release_lock::{ReleaseLock, Scope};
use crate::destination::releases::{self, Bundle};
use crate::destination::remote::Remote;
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use crate::restore::Source;
use crate::shown::show;
use crate::tools::git::{Blobs, Repository};
use crate::tools::{Tool, preflight};
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that is known before the first step.
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// Former evidence.
    pub records: Vec<Stored>,
    /// The drills among it that ran.
    pub past: Past,
    /// All that is retained.
    pub stock: Vec<Stock>,
    /// What to do.
    pub plan: Plan,
    /// The artifacts of the plan, in its order.
    pub subjects: Vec<Subject>,
    /// Tools that the plan needs.
    pub tools: Vec<Tool>,
    /// What stands in the way of the whole drill.
    pub blockers: Vec<String>,
    /// Whether a blocker is one that goes away by itself: exit 75.
    pub try_later: bool,
    /// What was found while looking.
    pub findings: Vec<Finding>,
    /// What this drill will leave unproven.
    pub not_tested: Vec<String>,
    /// That of it which no drill on this machine proves.
    pub elsewhere: Vec<String>,
    /// When it was last confirmed, by bare file name, that a backup still holds what its source holds.
    pub confirmed: BTreeMap<String, Timestamp>,
    /// As of when the newest backup of each set is, drilled or not.
    pub newest: BTreeMap<String, Timestamp>,
}

/// Reads catalogs, bundles and configuration, and makes the plan. `findings` are those of the evidence folder.
///
/// # Errors
/// When a data set names no destination, or the releases folder cannot be read. A destination that cannot be
/// read is a blocker, so that the failed drill leaves evidence.
pub fn prepare(
    config: Config,
    records: Vec<Stored>,
    mut findings: Vec<Finding>,
    env: Env,
    now: Timestamp,
) -> Result<Prepared> {
    let (bundles, bundle_findings) = releases::scan(&config.release.output_dir)?;
    findings.extend(check_chain(&records).into_iter().chain(bundle_findings));
    let mut backups = Backups::default();
    backups.gather(&config)?;
    let known = Memory::at(&config.root).known()?;
    backups.copies.keep_ours(&known, &mut backups.artifacts);
    findings.append(&mut backups.findings);
    let (past, sets, commits) = (Past::of(&records), sets(&config), Commits::of(&config));
    let choice = pick::choose(
        &config.release.name,
        &bundles,
        &sets,
        &backups.artifacts,
        &Known {
            past: &past,
            now,
            canary: &|backup| backups.copies.all(backup).find_map(|copy| canary(&known, copy)),
            copies: &|backup| backups.copies.destinations(backup),
            far: &|backup| backups.far.get(&backup.archive).map(|remote| remote.host.name.clone()),
            staged: !config.release.include.is_empty(),
            has_commit: &|lock| commits.has(lock),
        },
    );
    for (planned, taken) in &choice.picked {
        let told = match *taken {
            Taken::Backup(index) => {
                let backup = backups.copies.taken(planned, &backups.artifacts[index]);
                against(&known, backup, planned.pick)
            }
            Taken::Bundle(index) => refutations(&bundles[index]),
        };
        findings.extend(told.into_iter().filter(|one| !findings.contains(one)).collect::<Vec<_>>());
    }
    backups.copies.passed_over(&choice).into_iter().for_each(|text| backups.gap(text));
    let all: Vec<&Artifact> = backups.artifacts.iter().flat_map(|one| backups.copies.all(one)).collect();
    let confirmed = confirmed(&all, &known);
    let newest = newest(&sets, &all, &known, &confirmed);
    let (subjects, mut blockers) = subjects(&choice, &bundles, &backups, &config, (&known, env))?;
    blockers.splice(0..0, backups.blockers);
    let tools = needed_tools(&choice, &config, &subjects);
    let plan = Plan {
        required: required(&config, &bundles),
        tools: tools.iter().map(|tool| tool.command().to_owned()).collect(),
        release_checks: config.drill.release_checks.clone(),
        check_timeout: config.drill.check_timeout,
        artifacts: choice.picked.into_iter().map(|(planned, _)| planned).collect(),
    };
    let mut not_tested = plan.not_tested();
    for file in silent(&plan, &sets) {
        let made = |one: &&&Artifact| one.name.file() == file && known.made.contains_key(&show(&one.archive));
        let (what, next) = ("was made without its canary", "see what `cargo xtask backup` says of it");
        findings.extend(all.iter().find(made).map(|one| Finding::warning(show(&one.archive), what, next)));
        not_tested.push(format!("the canary of {file}: none is on record for it"));
    }
    if choice.left > 0 {
        not_tested.push(format!("{} older artifacts, left for later drills", choice.left));
    }
    let elsewhere = std::mem::take(&mut backups.not_tested);
    not_tested.extend(elsewhere.iter().cloned());
    let (try_later, stock) = (backups.try_later, choice.stock);
    Ok(Prepared {
        config,
        records,
        past,
        stock,
        plan,
        subjects,
        tools,
        blockers,
        try_later,
        findings,
        not_tested,
        elsewhere,
        confirmed,
        newest,
    })
}

/// What `SHA256SUMS` has against the lock of a bundle. A list that cannot be read is no reason to drill nothing.
fn refutations(bundle: &Bundle) -> Vec<Finding> {
    named::refutations(bundle).unwrap_or_else(|error| {
        vec![Finding::of(show(&bundle.lock_path.with_file_name("SHA256SUMS")), &error)]
    })
}

/// The last confirmation of each, whichever of its copies was confirmed.
fn confirmed(backups: &[&Artifact], known: &known::Known) -> BTreeMap<String, Timestamp> {
    let mut confirmed = BTreeMap::new();
    for backup in backups {
        if let Some(at) = known.confirmed.get(&show(&backup.archive)) {
            let last = confirmed.entry(backup.name.file()).or_insert(*at);
            *last = *at.max(last);
        }
    }
    confirmed
}

/// What is known to be damaged would not help.
fn newest(
    sets: &[Set],
    backups: &[&Artifact],
    known: &known::Known,
    confirmed: &BTreeMap<String, Timestamp>,
) -> BTreeMap<String, Timestamp> {
    let mut newest = BTreeMap::new();
    for backup in backups.iter().copied().filter(|backup| !known.is_damaged(backup)) {
        let Some(set) = pick::owner(&backup.name.series, sets) else { continue };
        let as_of =
            confirmed.get(&backup.name.file()).map_or(backup.name.time, |at| *at.max(&backup.name.time));
        let best = newest.entry(set.name.clone()).or_insert(as_of);
        *best = as_of.max(*best);
    }
    newest
}

/// The same for a drill that fetches nothing: what lies on another machine alone is in its way.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_near(
    config: Config,
    records: Vec<Stored>,
    findings: Vec<Finding>,
    env: Env,
    now: Timestamp,
) -> Result<Prepared> {
    let mut prepared = prepare(config, records, findings, env, now)?;
    for (planned, subject) in prepared.plan.artifacts.iter().zip(&prepared.subjects) {
        if planned.pick == Pick::Latest && subject.far.is_some() {
            let what =
                format!("{} lies on another machine alone, and is not fetched by this drill", planned.file);
            prepared.blockers.push(what);
        }
    }
    Ok(prepared)
}

fn sets(config: &Config) -> Vec<Set> {
    let set = |set: &DataSet| Set {
        name: set.name.clone(),
        key_files: set.key_files.clone(),
        parts: set.proof.parts,
        canary: set.proof.canary.is_some(),
    };
    config.data.iter().map(set).collect()
}

/// What was written into the source right before a backup, as far as is on record.
fn canary(known: &known::Known, backup: &Artifact) -> Option<Canary> {
    known.made.get(&show(&backup.archive))?.canary.clone()
}

/// The files of latest backups that should have a canary, and have none on record.
fn silent(plan: &Plan, sets: &[Set]) -> Vec<String> {
    let asked = |set: &str| sets.iter().any(|known| known.canary && known.name == set);
    let latest = plan.artifacts.iter().filter(|a| a.kind.role == Role::Data && a.pick == Pick::Latest);
    latest.filter(|a| asked(&a.kind.set) && a.demands.canary.is_none()).map(|a| a.file.clone()).collect()
}

/// The commits of this repository.
struct Commits {
    repository: Option<(Repository, RefCell<Blobs>)>,
}

impl Commits {
    /// Of none where git, or a repository, is not there: then no bundle is compared with its commit.
    fn of(config: &Config) -> Self {
        let repository = Repository::discover(&config.root).ok().flatten();
        let with_blobs = |repository: Repository| {
            let blobs = repository.local_blobs().ok()?;
            Some((repository, RefCell::new(blobs)))
        };
        Self { repository: repository.and_then(with_blobs) }
    }

    fn has(&self, lock: &ReleaseLock) -> bool {
        let Some(((repository, blobs), commit)) = self.repository.as_ref().zip(lock.git_commit.as_deref())
        else {
            return false;
        };
        let here = repository.has(commit, &mut blobs.borrow_mut()).unwrap_or(false);
        let scope = lock.scope();
        if !here || !scope.submodules {
            return here;
        }
        let lent = repository.with_submodules(commit, &scope.root).map(|(_, lent)| lent).unwrap_or_default();
        let mut included = lock.submodules.iter().filter(|module| module.included);
        included.all(|module| lent.iter().any(|other| other.commit == module.commit))
    }
}

/// Every configured data set; and the release where `[release]` says something of it, as soon as there is one, or checks
/// for one.
pub fn required(config: &Config, bundles: &[Bundle]) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if config.release.configured || !bundles.is_empty() || !config.drill.release_checks.is_empty() {
        kinds.push(Kind { role: Role::Release, set: config.release.name.clone() });
    }
    kinds.extend(config.data.iter().map(|set| Kind { role: Role::Data, set: set.name.clone() }));
    kinds
}

fn needed_tools(choice: &Choice, config: &Config, subjects: &[Subject]) -> Vec<Tool> {
    let mut tools = Vec::new();
    if config.destinations.iter().any(|destination| destination.place.mount.is_some()) {
        tools.push(Tool::Mountpoint);
    }
    if choice.picked.iter().any(|(planned, _)| planned.encrypted) {
        tools.push(Tool::Gpg);
    }
    let far = subjects.iter().filter_map(|subject| subject.far.as_ref());
    for tool in far.flat_map(|(remote, _)| remote.tools()) {
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    tools
}

/// What lies in the destinations of the configured sets.
#[derive(Default)]
struct Backups {
    artifacts: Vec<Artifact>,
    copies: Copies,
    /// The machine of those that are not on this one, by their archive.
    far: BTreeMap<PathBuf, Remote>,
    findings: Vec<Finding>,
    blockers: Vec<String>,
    not_tested: Vec<String>,
    try_later: bool,
}

/// What a look at another machine came to.
type Listing = Result<Vec<Artifact>>;

impl Backups {
    /// Looks at every destination once, at other machines only where none on this one has a backup of the set. A set is
    /// in the way of the drill when none of its destinations can; where several hold the same backup, the first is drilled.
    fn gather(&mut self, config: &Config) -> Result<()> {
        let mut near: Vec<(&Destination, Option<Error>)> = Vec::new();
        let mut far: Vec<(&Destination, Listing)> = Vec::new();
        for set in &config.data {
            let (machines, folders): (Vec<_>, Vec<_>) = config
                .destinations_of(set)?
                .into_iter()
                .partition(|destination| destination.place.remote.is_some());
            for destination in &folders {
                if !near.iter().any(|(known, _)| known.name == destination.name) {
                    near.push((destination, self.scan(destination, config).err()));
                }
            }
            let of_set = |name: &str| folders.iter().any(|destination| destination.name == name);
            let seen = || near.iter().filter(|(known, _)| of_set(&known.name));
            let answered = seen().any(|(_, error)| error.is_none());
            let of_this = |artifact: &Artifact| owns(set, &artifact.name.series);
            let mut found = answered && self.artifacts.iter().any(of_this);
            let mut failed: Vec<(&Destination, &Error)> =
                seen().filter_map(|(known, error)| Some((*known, error.as_ref()?))).collect();
            for destination in &machines {
                if found {
                    let why = "they lie on another machine, and others are nearer";
                    self.gap(format!("the copies at {}: {why}", destination.name));
                    continue;
                }
                if !far.iter().any(|(known, _)| known.name == destination.name) {
                    far.push((destination, listed(destination, config)));
                }
                let listing = far.iter().find(|(known, _)| known.name == destination.name);
                if let Some((_, Ok(listed))) = listing {
                    found = true;
                    self.take(destination, set, listed);
                }
            }
            let of_set = |name: &str| machines.iter().any(|destination| destination.name == name);
            let answers = far.iter().filter(|(known, _)| of_set(&known.name));
            failed.extend(answers.filter_map(|(known, listing)| Some((*known, listing.as_ref().err()?))));
            for (destination, error) in failed {
                if found || answered {
                    self.gap(format!("the copies at {}: {}", destination.name, error.chain()));
                    continue;
                }
                self.try_later |= error.exit() == Exit::TryLater;
                let blocker = blocker(error);
                if !self.blockers.contains(&blocker) {
                    self.blockers.push(blocker);
                }
            }
        }
        Ok(())
    }

    fn gap(&mut self, text: String) {
        if !self.not_tested.contains(&text) {
            self.not_tested.push(text);
        }
    }

    /// The backups of a set that are fetched from another machine.
    fn take(&mut self, destination: &Destination, set: &DataSet, listed: &[Artifact]) {
        let Some(remote) = &destination.place.remote else { return };
        for artifact in listed.iter().filter(|artifact| owns(set, &artifact.name.series)) {
            if !self.artifacts.iter().any(|known| known.name == artifact.name) {
                self.far.insert(artifact.archive.clone(), remote.clone());
                self.artifacts.push(artifact.clone());
            }
        }
    }

    fn scan(&mut self, destination: &Destination, config: &Config) -> Result<()> {
        let (mounted, found) = destination.place.look(false)?;
        if mounted.durability == Durability::MountCache {
            let name = &destination.name;
            self.not_tested.push(format!("whether {name} has uploaded what its mount's cache shows"));
        }
        // The drive may be shared: what belongs to others is theirs to mend.
        let ours = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            config.data.iter().any(|set| name.starts_with(&format!("{}-", set.name)))
        };
        self.findings.extend(found.findings.into_iter().filter(|finding| ours(&finding.path)));
        for path in found.incomplete.iter().map(|path| show(path)).filter(|path| ours(path)) {
            let what = "has no .sha256: it never was completed, or has lost its marker, and is not drilled";
            let repair = "`cargo xtask prune` sweeps after a day what never was completed";
            self.findings.push(Finding::warning(path, what, repair));
        }
        let known: Vec<ArtifactName> = self.artifacts.iter().map(|known| known.name.clone()).collect();
        for one in found.complete {
            self.copies.add(&destination.name, &one);
            self.artifacts.extend((!known.contains(&one.name)).then_some(one));
        }
        Ok(())
    }
}

/// Whether a series is of a set, with or without a suffix.
fn owns(set: &DataSet, series: &str) -> bool {
    let rest = series.strip_prefix(set.name.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// What another machine holds.
fn listed(destination: &Destination, config: &Config) -> Listing {
    let tools = destination.place.remote.as_ref().map(Remote::tools).unwrap_or_default();
    preflight(&tools)?;
    let (_, found) = destination.place.look(false)?;
    let ours = |artifact: &Artifact| config.data.iter().any(|set| owns(set, &artifact.name.series));
    Ok(found.complete.into_iter().filter(ours).collect())
}

/// What belongs to each pick; and what stands in the way of decrypting it.
fn subjects(
    choice: &Choice,
    bundles: &[Bundle],
    backups: &Backups,
    config: &Config,
    (known, env): (&known::Known, Env),
) -> Result<(Vec<Subject>, Vec<String>)> {
    let (mut subjects, mut blockers) = (Vec::new(), Vec::new());
    for (planned, taken) in &choice.picked {
        match *taken {
            Taken::Bundle(index) => subjects.extend(of_bundle(&bundles[index])?),
            Taken::Backup(index) => {
                let backup = backups.copies.taken(planned, &backups.artifacts[index]);
                let set = config.data.iter().find(|set| set.name == planned.kind.set);
                let places = set.map(|set| config.destinations_of(set)).transpose()?.unwrap_or_default();
                // All destinations of a set are encrypted alike.
                let secret = match places.first() {
                    Some(destination) if planned.encrypted => {
                        let configured = destination.encryption.as_ref();
                        let encryption = keys::encryption_of(&backup.archive, configured, env);
                        keys::opening(true, encryption.as_ref(), env).unwrap_or_else(|error| {
                            let blocker = blocker(&error);
                            if !blockers.contains(&blocker) {
                                blockers.push(blocker);
                            }
                            None
                        })
                    }
                    _ => None,
                };
                let now = || set.and_then(|set| set.source.file_name());
                let folder = known.folder(backup).or_else(now).unwrap_or_default();
                let far = backups.far.get(&backup.archive).map(|remote| (remote.clone(), backup.clone()));
                subjects.push(Subject {
                    source: match far {
                        Some(_) => Source::from(backup),
                        None => Source::of_file(&backup.archive)?,
                    },
                    far,
                    secret,
                    digests: Digests::Marker(backup.marker.clone()),
                    lock: None,
                    scope: Scope::default(),
                    folder: folder.into(),
                });
            }
        }
    }
    Ok((subjects, blockers))
}

/// An error that a drill cannot begin with, and what to do about it.
fn blocker(error: &Error) -> String {
    let next = error.next_step().map_or(String::new(), |next| format!(": {next}"));
    error.chain() + &next
}

fn of_bundle(bundle: &Bundle) -> Result<Option<Subject>> {
    let Some(tarball) = &bundle.tarball else { return Ok(None) };
    let source = Source::of_file(tarball)?;
    let mut digests = Vec::new();
    digests.extend(bundle.lock.tarball_sha256.clone().map(|digest| (source.archive.clone(), digest)));
    digests.extend(source.manifest.clone().zip(bundle.lock.manifest_sha256.clone()));
    Ok(Some(Subject {
        source,
        far: None,
        secret: None,
        digests: Digests::Lock(digests),
        lock: Some(bundle.lock_path.clone()),
        scope: bundle.lock.scope(),
        folder: PathBuf::new(),
    }))
}
