//! `verify`: artifacts against their records, without writing anything but a line of memory for each that passed or
//! is damaged.
mod evidence;
mod rebuild;

use super::{Context, overdue};
use crate::cli::VerifyArgs as Args;
use crate::config::keys::DEFAULT_VARIABLE;
use crate::config::{Config, Encryption, keys};
use crate::destination::catalog::{Artifact, is_of_shell};
use crate::destination::memory::Memory;
use crate::destination::mount::Mounted;
use crate::destination::named;
use crate::destination::place::Place;
use crate::destination::releases;
use crate::destination::remote::Remote;
use crate::drill::due::{Due, due};
use crate::drill::evidence::record;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::restore::{self, Source};
use crate::shown::show;
use crate::ui::Total;
use jiff::Timestamp;
use rustix::io::Errno;
use serde_json::json;
use std::path::{Path, PathBuf};

/// One artifact to check.
struct Subject {
    source: Source,
    encryption: Option<Encryption>,
    /// Where it lies, if that is another machine.
    far: Option<(Remote, Artifact)>,
    /// The destination that it was seen at.
    seen: Option<(Place, Mounted)>,
    /// When it was last read and compared, as far as is known.
    read_back: Option<Timestamp>,
}

impl Subject {
    /// Whether its drive is still the one that it was seen on: of one that went away nothing is known.
    fn is_there(&self) -> bool {
        self.seen.as_ref().is_none_or(|(place, mounted)| place.recheck(mounted).is_ok())
    }

    /// Whether an error says that its files cannot be read, whoever has the key.
    fn is_unreadable(&self, error: &Error) -> bool {
        let own = |path: &Path| path.parent() == self.source.archive.parent();
        match error {
            // Of what is not let in, or of want of memory or descriptors, the files know nothing.
            Error::Io { path, source, .. } => {
                own(path)
                    && (source.raw_os_error().is_none() || Errno::from_io_error(source) == Some(Errno::IO))
            }
            error => error.damaged_file().is_some(),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When an artifact that was named cannot be read; damage is a finding.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    if !args.rebuild.is_empty() {
        return rebuild::run(args, ctx);
    }
    let config = super::configuration(ctx)?;
    if args.evidence {
        return evidence::run(&config, args, ctx);
    }
    let (mut findings, mut away) = (Vec::new(), false);
    let mut subjects: Vec<Subject> = match args.artifacts.is_empty() {
        false => {
            let one = |path: &PathBuf| of_artifact(ctx, &config, path, &mut findings);
            args.artifacts.iter().map(one).collect::<Result<_>>()?
        }
        true => gather(args, &config, &mut findings, &mut away)?,
    };
    let there = subjects.len();
    if args.if_due {
        let every = config.drill.verify_every;
        subjects.retain(|subject| matches!(due(subject.read_back, every, ctx.now), Due::Now(_)));
    }
    if there > 0 && subjects.is_empty() {
        ctx.ui.say("nothing is due to be verified");
        if findings.is_empty() {
            ctx.told.idle();
        }
    } else if subjects.is_empty() {
        let next = "make one with `cargo xtask snapshot` or `cargo xtask backup`";
        findings.push(Finding::error(show(&config.root), "there is nothing to verify", next));
    }
    let memory = super::memory(&config);
    let (mut checked, mut entries, mut bytes) = (Vec::new(), 0, 0);
    let mut unread = Vec::new();
    for subject in &subjects {
        let archive = show(&subject.source.archive);
        let (result, mut found) = match one(subject, ctx) {
            Ok(outcome) => outcome,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                let found = Finding::of(&archive, &error);
                ctx.ui.result(&format!("UNREAD  {archive}"));
                if subject.is_unreadable(&error) && subject.is_there() {
                    findings.extend(note(memory.as_ref(), "damaged", subject, 0, ctx));
                    findings.push(found);
                } else {
                    unread.push((found, error));
                }
                continue;
            }
        };
        found.extend(restore::partial(&subject.source, result.errors));
        let sound = !finding::any_error(&found);
        // Without a marker nothing was compared with what was written, and without a key nothing was read.
        let read = result.entries > 0 || subject.far.is_some();
        let proven = sound && subject.source.marker.is_some() && read;
        if proven || !sound && subject.is_there() {
            let kind = if proven { "verified" } else { "damaged" };
            findings.extend(note(memory.as_ref(), kind, subject, result.errors, ctx));
        }
        ctx.ui.result(&format!(
            "{} {archive} ({} entries, {})",
            if sound { "ok     " } else { "DAMAGED" },
            result.entries,
            crate::ui::bytes(result.bytes)
        ));
        checked
            .push(json!({"path": archive, "sound": sound, "entries": result.entries, "bytes": result.bytes,
            "compared_with_manifest": result.manifest}));
        entries += result.entries;
        bytes += result.bytes;
        findings.extend(found);
    }
    // Nothing else is to be told.
    if subjects.len() == 1
        && findings.is_empty()
        && let Some((_, error)) = unread.pop()
    {
        return Err(error);
    }
    let damaged = finding::any_error(&findings);
    // That something is to be tried again later hides nothing else.
    let exits = || unread.iter().map(|(_, error)| error.exit());
    let stopped =
        exits().find(|exit| *exit != Exit::TryLater).or_else(|| exits().next()).filter(|_| !damaged);
    findings.extend(unread.into_iter().map(|(found, _)| found));
    let status = if finding::any_error(&findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "verify", "status": status, "checked": checked.len(),
        "artifacts": checked, "entries": entries, "bytes": bytes, "findings": findings}),
    );
    ctx.ui.findings(&findings);
    ctx.told.of(&format!("{} checked", checked.len()), &findings);
    // Of what could not be read for want of a key or a right it is not said that it is damaged.
    Ok(match (stopped, finding::exit(&findings)) {
        (Some(stopped), _) => stopped,
        (None, Exit::Done) if away => Exit::TryLater,
        (None, exit) => exit,
    })
}

/// Takes note of the result; a warning where that cannot be.
fn note(
    memory: Option<&Memory>,
    kind: &str,
    subject: &Subject,
    errors: u64,
    ctx: &Context,
) -> Option<Finding> {
    let memory = memory.filter(|memory| memory.root().exists())?;
    let mut record =
        json!({"kind": kind, "time": ctx.now.to_string(), "artifact": show(&subject.source.archive)});
    if errors > 0 && kind == "verified" {
        record["errors"] = errors.into();
    }
    let error = memory.record(&record).err()?;
    let what = format!("could not take note of the result: {}", error.chain());
    Some(Finding::warning(show(memory.root()), what, ""))
}

fn one(subject: &Subject, ctx: &Context) -> Result<(restore::Checked, Vec<Finding>)> {
    let _shown = ctx.ui.progress(&subject.source.name(), Total::of(subject.source.stored_bytes()));
    if let Some((remote, artifact)) = &subject.far {
        return there(remote, artifact);
    }
    let source = &subject.source;
    if is_of_shell(&source.archive) {
        return of_shell(subject, ctx);
    }
    let secret = keys::opening(source.encrypted, subject.encryption.as_ref(), ctx.env)?;
    let mut checked = restore::check(source, secret.as_ref())?;
    let findings = std::mem::take(&mut checked.findings);
    Ok((checked, findings))
}

/// What the shell tool has made is read through where there is its key, and else compared with its digest. That it has no
/// manifest, and where its `.sha256` says that it lay, is no news.
fn of_shell(subject: &Subject, ctx: &Context) -> Result<(restore::Checked, Vec<Finding>)> {
    let source = &subject.source;
    let encryption = keys::encryption_of(&source.archive, subject.encryption.as_ref(), ctx.env);
    let secret = match keys::opening(source.encrypted, encryption.as_ref(), ctx.env) {
        Ok(secret) => secret,
        Err(_) if source.encrypted => None,
        Err(error) => return Err(error),
    };
    let mut checked = match source.encrypted && secret.is_none() {
        false => restore::check(source, secret.as_ref())?,
        true => {
            let what =
                "is encrypted, and there is no key: it was compared with its digest, and not read through";
            let mut findings = restore::check_stored(source)?;
            findings
                .push(Finding::info(source.name(), format!("{what} (the key goes into {DEFAULT_VARIABLE})")));
            restore::Checked { findings, ..restore::Checked::default() }
        }
    };
    let mut findings = std::mem::take(&mut checked.findings);
    if source.marker.is_some() {
        findings
            .iter_mut()
            .filter(|finding| finding.severity == Severity::Warning)
            .for_each(|finding| finding.severity = Severity::Info);
    }
    Ok((checked, findings))
}

/// A backup on another machine is compared with its marker by that machine, and its entries are not looked at: it is the
/// same bytes as the one that was made here.
fn there(remote: &Remote, artifact: &Artifact) -> Result<(restore::Checked, Vec<Finding>)> {
    let (marker, found) = remote.digests(artifact)?;
    let mut findings = Vec::new();
    for path in [&artifact.archive, &artifact.manifest] {
        let name = show(path.file_name().unwrap_or_default().as_ref());
        let what = match (marker.digest(&name), found.digest(&name)) {
            (Some(expected), Some(digest)) if expected == digest => continue,
            (Some(_), Some(_)) => "has another SHA-256 than its marker says",
            (None, _) => "is not in its marker",
            (_, None) => "is in its marker, and is gone",
        };
        let repair = "remove this backup over there, and run `cargo xtask backup`: the copy is made again";
        findings.push(Finding::error(show(path), what, repair));
    }
    let checked = restore::Checked { bytes: artifact.archive_bytes, ..restore::Checked::default() };
    Ok((checked, findings))
}

fn of_artifact(ctx: &Context, config: &Config, path: &Path, findings: &mut Vec<Finding>) -> Result<Subject> {
    let path = ctx.path(path);
    let place = super::destination_around(config, &path)?;
    let seen = place.map(|place| Ok((place.place.clone(), place.place.check(false)?))).transpose()?;
    Ok(Subject {
        source: source_of(&path, findings)?,
        encryption: place.and_then(|place| place.encryption.clone()),
        far: None,
        seen,
        read_back: None,
    })
}

/// A file that was named, as its record knows it: a tarball with its lock beside it is compared with that, and the lock with
/// `SHA256SUMS`.
fn source_of(path: &Path, findings: &mut Vec<Finding>) -> Result<Source> {
    let source = Source::of_file(path)?;
    let Some(lock) = named::lock_beside(path) else { return Ok(source) };
    let bundle = match named::of_file(path, &[]) {
        Ok(bundle) => bundle,
        Err(error) => {
            findings.push(Finding::of(show(&lock), &error));
            return Ok(source);
        }
    };
    findings.extend(named::refutations(&bundle)?);
    let is_its = bundle.lock.tarball.as_deref().map(Path::new) == path.file_name().map(Path::new);
    if !is_its {
        let what = format!("has the name of {}, and speaks of another tarball or of none", source.name());
        findings.push(Finding::error(show(&lock), what, "see which of the two has the wrong name"));
    }
    match bundle.lock.tarball_sha256.is_some() && is_its {
        true => Ok(Source::of_bundle(&bundle)?.unwrap_or(source)),
        false => Ok(source),
    }
}

/// Everything that is to be checked. What is due where a drive is `away` can be checked later.
fn gather(
    args: &Args,
    config: &Config,
    findings: &mut Vec<Finding>,
    away: &mut bool,
) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let memory = super::memory(config);
    // One that cannot be read is told with each destination below.
    let remembered = memory.as_ref().and_then(|memory| memory.read().ok()).unwrap_or_default();
    let known = remembered.known();
    let (mut bundles, found) = releases::scan(&config.release.output_dir)?;
    findings.extend(found);
    if !bundles.is_empty() || config.release.output_dir.join("SHA256SUMS").exists() {
        findings.extend(releases::check_sums(&config.release.output_dir)?);
    }
    if args.latest {
        bundles = bundles
            .into_iter()
            .rfind(|bundle| {
                bundle.tarball.is_some() && (!bundle.lock.dirty || !config.release.include.is_empty())
            })
            .into_iter()
            .collect();
    }
    for bundle in bundles {
        if let Some(source) = Source::of_bundle(&bundle)? {
            let read_back = overdue::bundle_read_back(&known, &bundle);
            subjects.push(Subject { source, encryption: None, far: None, seen: None, read_back });
        } else if bundle.lock.tarball.is_none() {
            let what = "is a lock alone, made with --no-tarball: there is no bundle to verify";
            findings.push(Finding::info(show(&bundle.lock_path), what));
        }
    }
    findings.extend(record::check(&config.drill.evidence_dir, &remembered.records)?);
    findings.extend(remembered.damage);
    for place in &config.destinations {
        let (mounted, catalog) = match place.place.look(false) {
            Ok(seen) => seen,
            Err(error) if subjects.is_empty() && config.destinations.len() == 1 => return Err(error),
            Err(error) => {
                let found = Finding::of(show(&place.place.path), &error);
                let later = args.if_due && error.is_away();
                *away |= later;
                findings.push(if later { Finding { severity: Severity::Warning, ..found } } else { found });
                continue;
            }
        };
        findings.extend(catalog.findings.iter().cloned());
        if let Some(memory) = &memory {
            match memory.known() {
                Ok(known) => findings.extend(known.lost(&place.place.path, &catalog)),
                Err(error) => {
                    let what =
                        format!("cannot be read, so that a loss would not be noticed: {}", error.chain());
                    let next = error.next_step().unwrap_or_default();
                    findings.push(Finding::error(show(memory.root()), what, next));
                }
            }
        }
        let newest_of_shell = |artifact: &Artifact| {
            let mut series = catalog.shell.iter().filter(|other| other.name.series == artifact.name.series);
            catalog.latest(&artifact.name.series, None).is_none() && series.next_back() == Some(artifact)
        };
        for artifact in catalog.complete.iter().chain(&catalog.shell) {
            let newest = catalog.latest(&artifact.name.series, None).is_some_and(|newest| newest == artifact);
            if newest || !args.latest || newest_of_shell(artifact) {
                let far = place.place.remote.clone().map(|remote| (remote, artifact.clone()));
                let seen = Some((place.place.clone(), mounted.clone()));
                subjects.push(Subject {
                    source: artifact.into(),
                    encryption: place.encryption.clone(),
                    far,
                    seen,
                    read_back: Some(overdue::backup_read_back(&known, artifact)),
                });
            }
        }
    }
    Ok(subjects)
}
