//! Which backup of a set is restored, and which of its copies first.
//!
//! What this repository has made goes before what only lies at the same place: another repository may have a set of the
//! same name. Of the copies of one backup those on record as good go before damaged ones. Nothing is read but names,
//! lengths and, where two may be copies of each other, markers.
use super::super::Context;
use crate::config::keys::{Env, encryption_of};
use crate::config::{Config, Destination, Encryption};
use crate::destination::catalog::{Artifact, is_of_shell};
use crate::destination::known::Known;
use crate::destination::names::ArtifactName;
use crate::destination::remote::Remote;
use crate::destination::retention::AHEAD;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::restore::Source;
use crate::restore::scratch::Scratch;
use crate::shown::show;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// The copies of one backup.
pub(super) struct Found {
    /// At least one, the best first.
    pub copies: Vec<Copy>,
    /// What is to be known of the choice.
    pub findings: Vec<Finding>,
    /// When the next older one was made that nothing is known to be wrong with.
    pub older: Option<Timestamp>,
}

/// A copy of a backup.
pub(super) struct Copy {
    /// What to read; for one of another machine once it is fetched.
    pub source: Source,
    pub encryption: Option<Encryption>,
    /// Where it lies, if that is another machine.
    pub far: Option<(Remote, Artifact)>,
    /// What was fetched, until the end.
    pub fetched: Option<Scratch>,
}

impl Copy {
    /// The archive, where it lies for good.
    pub fn archive(&self) -> &Path {
        self.far.as_ref().map_or(&self.source.archive, |(_, artifact)| &artifact.archive)
    }
}

impl Copy {
    fn of(artifact: &Artifact, place: &Destination, env: Env) -> Self {
        Self {
            source: Source::from(artifact),
            encryption: encryption_of(&artifact.archive, place.encryption.as_ref(), env),
            far: place.place.remote.clone().map(|remote| (remote, artifact.clone())),
            fetched: None,
        }
    }
}

/// A backup that may be meant.
struct Candidate<'a> {
    artifact: Artifact,
    place: &'a Destination,
    /// Whether this repository has made it, or taken it over.
    own: bool,
}

/// An existing file is an archive; anything else names a set, with its suffix if it has one.
pub(super) fn find(
    what: &str,
    ctx: &Context,
    config: &Config,
    known: &Known,
    at: Option<Timestamp>,
) -> Result<Found> {
    let path = ctx.path(Path::new(what));
    let place = super::super::destination_around(config, &path)?;
    if path.is_file() {
        let encryption = encryption_of(&path, place.and_then(|place| place.encryption.as_ref()), ctx.env);
        let copy = Copy { source: Source::of_file(&path)?, encryption, far: None, fetched: None };
        return Ok(Found { copies: vec![copy], findings: Vec::new(), older: None });
    }
    let (mut candidates, mut away, mut findings) = (Vec::new(), None, Vec::new());
    let (mut undigested, mut incomplete) = (Vec::new(), Vec::new());
    for place in &config.destinations {
        match place.place.look(false) {
            Ok((_, catalog)) => {
                let shell = catalog.shell.iter().filter(|artifact| artifact.name.series == what);
                let there = catalog.series(what).chain(shell);
                let there = there.filter(|found| at.is_none_or(|at| found.name.time <= at));
                candidates.extend(there.map(|artifact| Candidate {
                    own: known.is_on_record(artifact),
                    artifact: artifact.clone(),
                    place,
                }));
                let meant = |name: &ArtifactName| name.series == what && at.is_none_or(|at| name.time <= at);
                undigested.extend(catalog.undigested.into_iter().filter_map(|archive| {
                    let name = ArtifactName::parse(archive.file_name()?.to_str()?).filter(meant)?;
                    Some((name.time, archive))
                }));
                incomplete.extend(catalog.incomplete.iter().map(|path| show(path)));
            }
            // In an emergency what is there must be enough.
            Err(error) => {
                let why = format!("is passed over: {}", error.chain());
                let next = error.next_step().unwrap_or_default();
                findings.push(Finding::warning(show(&place.place.path), why, next));
                away.get_or_insert(error);
            }
        }
    }
    let rank = |candidate: &&Candidate<'_>| {
        let time = candidate.artifact.name.time;
        let near = candidate.place.place.remote.is_none();
        (at == Some(time), candidate.own, time, near, candidate.artifact.has_manifest)
    };
    let Some(chosen) = candidates.iter().max_by_key(rank) else {
        return Err(away.unwrap_or_else(|| none(config, known, what, at, undigested.iter().max())));
    };
    let time = chosen.artifact.name.time;
    if at.is_none() && time.duration_since(ctx.now) > AHEAD {
        let what =
            format!("the newest backup of {what:?}, {}, is dated in the future", chosen.artifact.name.file());
        let next = "set the clock; or name the backup that you mean, with --at TIME or by its file";
        return Err(Error::refused(what, next));
    }
    let (copies, others): (Vec<&Candidate<'_>>, Vec<_>) =
        candidates.iter().partition(|other| is_copy(other, chosen));
    findings.extend(told(known, chosen, &others));
    if let Some(last) = known.overtaken(&chosen.artifact).filter(|_| at.is_none()) {
        let what = format!(
            "was made after {}, which is restored, and is dated before it: a clock was wrong",
            chosen.artifact.name.file()
        );
        findings.push(Finding::warning(
            last,
            what,
            "see which of the two you want: `restore` takes this one by its file",
        ));
    }
    findings.extend(undigested.into_iter().filter(|(made, _)| *made > time).map(|(_, archive)| {
        let what = "is newer, and is passed over: it has no .sha256 that can be read, so nothing says that it is whole";
        let repair = "`cargo xtask verify` on it reads it through; `restore` takes it by its file";
        Finding::warning(show(&archive), what, repair)
    }));
    let there = |path: &String| candidates.iter().any(|other| show(&other.artifact.archive) == *path);
    findings.extend(missing(known, what, (time, at), &there, &incomplete));
    let older = others.iter().filter(|other| other.own == chosen.own && other.artifact.name.time < time);
    let older = older.filter(|other| known.wrong_with(&other.artifact).is_none());
    let older = older.map(|other| other.artifact.name.time).max();
    Ok(Found { copies: ranked(known, copies, &mut findings, ctx.env), findings, older })
}

fn none(
    config: &Config,
    known: &Known,
    what: &str,
    at: Option<Timestamp>,
    undigested: Option<&(Timestamp, PathBuf)>,
) -> Error {
    let when = at.map_or("is there".into(), |at| format!("is as old as {at:.0}"));
    if let Some((_, archive)) = undigested {
        let what = format!(
            "no backup of {what:?} {when} but {}, which has no .sha256 that can be read",
            show(archive)
        );
        let next = "`cargo xtask verify` on it reads it through; `restore` takes it by its file";
        return Error::refused(what, next);
    }
    if what.contains('/') {
        return Error::refused(
            format!("{what:?} is neither a file nor the name of a data set"),
            "check the path",
        );
    }
    let next = match at {
        Some(_) => "`cargo xtask prune --dry-run` names each backup that there is, with its time".into(),
        None => {
            let names: Vec<&str> = config.data.iter().map(|set| &*set.name).collect();
            let names = if names.is_empty() { "none".into() } else { names.join(", ") };
            // Of a folder that no configuration names there may be a backup all the same.
            let elsewhere = known.last.iter().rev().find(|((_, series), _)| series == what);
            match elsewhere {
                Some((_, archive)) if Path::new(archive).is_file() => format!(
                    "one is on record, and lies at no destination of here, or has lost its marker: name its file, {archive}"
                ),
                Some((_, archive)) => format!("one is on record, and is not there: {archive}"),
                None => format!("data sets here: {names}; an archive file can be named too"),
            }
        }
    };
    Error::refused(format!("no backup of {what:?} {when}"), next)
}

/// Whether they are the same backup: both ours, or with the same digests. Another repository may have made one of the same
/// name.
fn is_copy(one: &Candidate<'_>, other: &Candidate<'_>) -> bool {
    let digests = |of: &Candidate<'_>| of.place.place.marker(&of.artifact).ok();
    let same = || digests(one).is_some_and(|sums| digests(other).is_some_and(|others| sums == others));
    one.artifact.name == other.artifact.name
        && (one.artifact.archive == other.artifact.archive || one.own && other.own || same())
}

/// Good ones first, and of those the nearer, then what was verified.
fn ranked(
    known: &Known,
    mut copies: Vec<&Candidate<'_>>,
    findings: &mut Vec<Finding>,
    env: Env,
) -> Vec<Copy> {
    let is_damaged = |copy: &Candidate<'_>| known.is_damaged(&copy.artifact);
    copies.sort_by_key(|copy| {
        let verified = known.verified.contains(&show(&copy.artifact.archive));
        (is_damaged(copy), !copy.artifact.has_manifest, copy.place.place.remote.is_some(), !verified)
    });
    if copies.first().is_some_and(|first| !is_damaged(first)) {
        let damaged = copies.iter().filter(|copy| is_damaged(copy));
        findings.extend(damaged.map(|copy| {
            let what = "is damaged as far as is on record, and is passed over: another copy is whole";
            Finding::warning(show(&copy.artifact.archive), what, "`cargo xtask verify` says what is damaged")
        }));
    }
    copies.into_iter().map(|copy| Copy::of(&copy.artifact, copy.place, env)).collect()
}

/// What is not on record: the one that was chosen, or a newer one that was not.
fn told(known: &Known, chosen: &Candidate<'_>, others: &[&Candidate<'_>]) -> Option<Finding> {
    let path = |of: &Candidate<'_>| show(&of.artifact.archive);
    if is_of_shell(&chosen.artifact.archive) {
        let what = "was made by the shell tool before this one: there is no manifest to compare with";
        return Some(Finding::warning(path(chosen), what, "make a backup with `cargo xtask backup`"));
    }
    if let Some(strange) = known.strange(&chosen.artifact) {
        return Some(Finding {
            repair: "see that it is what you mean; `--at` restores another one".into(),
            ..strange
        });
    }
    let newer = others.iter().filter(|other| other.artifact.name.time >= chosen.artifact.name.time);
    let newest = newer.max_by_key(|other| other.artifact.name.time)?;
    let what = "is newer, and not on record here: another repository or machine may have made it, so the newest that is on \
                record is restored";
    let repair = format!("`--at {}` restores it", newest.artifact.name.time);
    (!newest.own).then(|| Finding::warning(path(newest), what, repair))
}

/// The newest backup that is on record, where that is newer than what was found.
fn missing(
    known: &Known,
    series: &str,
    (found, at): (Timestamp, Option<Timestamp>),
    there: &dyn Fn(&String) -> bool,
    incomplete: &[String],
) -> Option<Finding> {
    let newer = |path: &String| {
        let name = ArtifactName::parse(Path::new(path).file_name()?.to_str()?)?;
        let wanted = name.series == series && name.time > found && at.is_none_or(|at| name.time <= at);
        (wanted && !known.doomed.contains(path) && !there(path)).then_some(name.time)
    };
    let newest = known.made.keys().filter_map(|path| Some((newer(path)?, path))).max()?;
    let (what, repair) = match incomplete.contains(newest.1) {
        true => (
            "is newer and on record, and is passed over: it has lost its marker, so nothing says that it is whole",
            "`cargo xtask verify` on it reads it through; `restore` takes it by its file",
        ),
        false => (
            "is newer and on record, and lies at no destination that was looked at",
            "to restore that one name its file; or bring its destination back",
        ),
    };
    Some(Finding::warning(newest.1.clone(), what, repair))
}
