//! What a drill knows before its first step: what lies in the destinations, what is picked, what decrypts it,
//! and what stands in the way.
//!
//! Only reads. A drive that is not mounted or a passphrase that is not set does not end the command here: it
//! becomes a blocker, the preflight fails with it, and the evidence says that the drill could not run.
use super::evidence::{Stored, check_chain, last_drilled};
use super::pick::{self, Choice, Set, Taken};
use super::steps::{Kind, Plan, Role};
use super::subject::{Digests, Subject};
use crate::config::keys::{self, Env};
use crate::config::{Config, Destination};
use crate::destination::catalog::Artifact;
use crate::destination::memory::{Known, Memory};
use crate::destination::mount::Durability;
use crate::destination::names::ArtifactName;
use crate::destination::releases::{self, Bundle};
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use crate::restore::Source;
use crate::shown::show;
use crate::tools::Tool;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that is known before the first step.
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// Former evidence.
    pub records: Vec<Stored>,
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
) -> Result<Prepared> {
    findings.extend(check_chain(&records));
    let (bundles, bundle_findings) = releases::scan(&config.release.output_dir)?;
    findings.extend(bundle_findings);
    let mut backups = Backups::default();
    backups.gather(&config)?;
    let known = Memory::at(&config.root).known()?;
    findings.append(&mut backups.findings);
    let drilled = last_drilled(&records);
    let sets = sets(&config);
    let choice = pick::choose(&config.release.name, &bundles, &sets, &backups.artifacts, &drilled);
    findings.extend(choice.picked.iter().filter_map(|(_, taken)| match *taken {
        Taken::Backup(index) => known.wrong_with(&backups.artifacts[index]),
        Taken::Bundle(_) => None,
    }));
    let confirmed = confirmed(&backups.artifacts, &known);
    let newest = newest(&sets, &backups.artifacts, &known, &confirmed);
    let (subjects, mut blockers) = subjects(&choice, &bundles, &backups.artifacts, &config, env)?;
    blockers.splice(0..0, backups.blockers);
    let tools = needed_tools(&choice, &config);
    let plan = Plan {
        required: required(&config, &bundles),
        tools: tools.iter().map(|tool| tool.command().to_owned()).collect(),
        release_checks: config.drill.release_checks.clone(),
        check_timeout: config.drill.check_timeout,
        artifacts: choice.picked.into_iter().map(|(planned, _)| planned).collect(),
    };
    let mut not_tested = plan.not_tested();
    if choice.left > 0 {
        not_tested.push(format!("{} older artifacts, left for later drills", choice.left));
    }
    not_tested.append(&mut backups.not_tested);
    let try_later = backups.try_later;
    Ok(Prepared {
        config,
        records,
        plan,
        subjects,
        tools,
        blockers,
        try_later,
        findings,
        not_tested,
        confirmed,
        newest,
    })
}

fn confirmed(backups: &[Artifact], known: &Known) -> BTreeMap<String, Timestamp> {
    let of = |backup: &Artifact| Some((backup.name.file(), *known.confirmed.get(&show(&backup.archive))?));
    backups.iter().filter_map(of).collect()
}

/// What is known to be damaged would not help.
fn newest(
    sets: &[Set],
    backups: &[Artifact],
    known: &Known,
    confirmed: &BTreeMap<String, Timestamp>,
) -> BTreeMap<String, Timestamp> {
    let mut newest = BTreeMap::new();
    for backup in backups.iter().filter(|backup| !known.is_damaged(backup)) {
        let Some(set) = pick::owner(&backup.name.series, sets) else { continue };
        let as_of =
            confirmed.get(&backup.name.file()).map_or(backup.name.time, |at| *at.max(&backup.name.time));
        let best = newest.entry(set.name.clone()).or_insert(as_of);
        *best = as_of.max(*best);
    }
    newest
}

fn sets(config: &Config) -> Vec<Set> {
    config.data.iter().map(|set| Set { name: set.name.clone(), key_files: set.key_files.clone() }).collect()
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

fn needed_tools(choice: &Choice, config: &Config) -> Vec<Tool> {
    let mut tools = Vec::new();
    if config.destinations.iter().any(|destination| destination.place.mount.is_some()) {
        tools.push(Tool::Mountpoint);
    }
    if choice.picked.iter().any(|(planned, _)| planned.encrypted) {
        tools.push(Tool::Gpg);
    }
    tools
}

/// What lies in the destinations of the configured sets.
#[derive(Default)]
struct Backups {
    artifacts: Vec<Artifact>,
    findings: Vec<Finding>,
    blockers: Vec<String>,
    not_tested: Vec<String>,
    try_later: bool,
}

impl Backups {
    /// Looks at every destination once. A set is in the way of the drill when none of its destinations can be read; where
    /// several hold the same backup, the first is drilled.
    fn gather(&mut self, config: &Config) -> Result<()> {
        let mut looked: Vec<(&Destination, Option<Error>)> = Vec::new();
        for set in &config.data {
            let destinations = config.destinations_of(set)?;
            for destination in &destinations {
                if !looked.iter().any(|(known, _)| known.name == destination.name) {
                    looked.push((destination, self.scan(destination, config).err()));
                }
            }
            let of_set = |name: &str| destinations.iter().any(|destination| destination.name == name);
            let failed = || looked.iter().filter(|(known, error)| of_set(&known.name) && error.is_some());
            for (destination, error) in failed() {
                let Some(error) = error else { continue };
                if failed().count() == destinations.len() {
                    self.try_later |= error.exit() == Exit::TryLater;
                    let next = error.next_step().map_or(String::new(), |next| format!(": {next}"));
                    let blocker = error.chain() + &next;
                    if !self.blockers.contains(&blocker) {
                        self.blockers.push(blocker);
                    }
                } else {
                    let text = format!("the copies at {}: {}", destination.name, error.chain());
                    if !self.not_tested.contains(&text) {
                        self.not_tested.push(text);
                    }
                }
            }
        }
        Ok(())
    }

    fn scan(&mut self, destination: &Destination, config: &Config) -> Result<()> {
        if destination.place.remote.is_some() {
            let what = format!("backups at {} lie on another machine", destination.name);
            return Err(Error::refused(what, "`cargo xtask verify` has that machine compare their digests"));
        }
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
            let what = "has no .sha256: it was never completed, and is not drilled";
            self.findings.push(Finding::warning(path, what, "run `cargo xtask prune` to sweep it"));
        }
        let known: Vec<ArtifactName> = self.artifacts.iter().map(|known| known.name.clone()).collect();
        let (copies, new): (Vec<_>, Vec<_>) =
            found.complete.into_iter().partition(|one| known.contains(&one.name));
        if !copies.is_empty() {
            self.not_tested.push(format!("the copies at {} of what is drilled elsewhere", destination.name));
        }
        self.artifacts.extend(new);
        Ok(())
    }
}

/// What belongs to each pick; and what stands in the way of decrypting it.
fn subjects(
    choice: &Choice,
    bundles: &[Bundle],
    backups: &[Artifact],
    config: &Config,
    env: Env,
) -> Result<(Vec<Subject>, Vec<String>)> {
    let (mut subjects, mut blockers) = (Vec::new(), Vec::new());
    for (planned, taken) in &choice.picked {
        match *taken {
            Taken::Bundle(index) => subjects.extend(of_bundle(&bundles[index])?),
            Taken::Backup(index) => {
                let backup = &backups[index];
                let set = config.data.iter().find(|set| set.name == planned.kind.set);
                let places = set.map(|set| config.destinations_of(set)).transpose()?.unwrap_or_default();
                // All destinations of a set are encrypted alike.
                let secret = match places.first() {
                    Some(destination) if planned.encrypted => {
                        keys::opening(true, destination.encryption.as_ref(), env).unwrap_or_else(|error| {
                            let blocker = error.chain();
                            if !blockers.contains(&blocker) {
                                blockers.push(blocker);
                            }
                            None
                        })
                    }
                    _ => None,
                };
                let folder = set.and_then(|set| set.source.file_name()).unwrap_or_default();
                subjects.push(Subject {
                    source: Source::of_file(&backup.archive)?,
                    secret,
                    digests: Digests::Marker(backup.marker.clone()),
                    folder: folder.into(),
                });
            }
        }
    }
    Ok((subjects, blockers))
}

fn of_bundle(bundle: &Bundle) -> Result<Option<Subject>> {
    let Some(tarball) = &bundle.tarball else { return Ok(None) };
    let source = Source::of_file(tarball)?;
    let mut digests = Vec::new();
    digests.extend(bundle.lock.tarball_sha256.clone().map(|digest| (source.archive.clone(), digest)));
    digests.extend(source.manifest.clone().zip(bundle.lock.manifest_sha256.clone()));
    Ok(Some(Subject { source, secret: None, digests: Digests::Lock(digests), folder: PathBuf::new() }))
}
