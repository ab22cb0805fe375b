//! `restore`: the latest backup of a set, or any archive file, into a new folder; or the recipe for doing it by hand.
//!
//! A backup that lies at several destinations is taken from the first copy that is whole; what is whole in a damaged one is
//! restored only where there is none. Nothing is written outside of the target but a hidden folder beside it.
mod choose;

use super::Context;
use crate::cli::RestoreArgs as Args;
use crate::config::{Config, Encryption, keys};
use crate::destination::known::Known;
use crate::destination::mount::resolved;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::restore::scratch::{self, Owner, Scratch};
use crate::restore::{self, Extracted, Select, Source};
use crate::shown::show;
use crate::tools::gpg::Secret;
use crate::tools::openpgp::Lock;
use crate::tools::{Tool, preflight};
use crate::ui::Total;
use choose::{Copy, Found};
use globset::{GlobBuilder, GlobSetBuilder};
use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::json;
use std::io::ErrorKind;
use std::path::Path;

/// Runs the verb.
///
/// # Errors
/// When there is no such backup, the folder is not empty, or the archive is damaged or cannot be decrypted. Nothing is
/// left behind then.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let at = args.at.as_deref().map(time).transpose()?;
    // Restoring never needs the memory.
    let known = super::memory(&config).and_then(|memory| memory.known().ok()).unwrap_or_default();
    let mut found = choose::find(&args.what, ctx, &config, &known, at)?;
    let to = match (&args.to, args.explain) {
        (Some(to), _) => ctx.path(to),
        (None, true) => ctx.path(Path::new("restored")),
        (None, false) => return Err(Error::Usage("restore needs --to DIR, a new or empty folder".into())),
    };
    if args.explain {
        let said = found.copies.first().and_then(|copy| said_of(&known, copy.archive()));
        found.findings.extend(said);
        return Ok(explain(ctx, &found, &to));
    }
    let target = restore::without_links(&to)?;
    outside(&target, &config)?;
    found.findings.extend(swept(&target, ctx.now));
    restore::is_free(&target)?;
    let select = select(&args.path)?;
    let restored = best(&mut found, &target, select.as_ref(), ctx)
        .map_err(|error| match &error {
            Error::Io { source, .. } if is_full(source) => {
                let next = "free some room there, or give a folder on a drive that has it (`--to`)";
                Error::refused(error.chain(), next)
            }
            _ => error,
        })
        // What is known by now may be why.
        .inspect_err(|error| {
            let older = older(&args.what, found.older).filter(|_| error.exit() == Exit::Found);
            found.findings.extend(older);
            ctx.ui.findings(&found.findings);
        })?;
    let Restored { copy, mut extracted } = restored;
    let (archive, name) = (found.copies[copy].archive(), found.copies[copy].source.name());
    // What the history has against it goes before what the manifest says of the same.
    let partial = restore::partial(&found.copies[copy].source, extracted.errors);
    let said = said_of(&known, archive).or(partial);
    let is_whole = said.is_none() && !finding::any_error(&extracted.findings);
    extracted.findings.extend(said);
    extracted.findings.extend(older(&args.what, found.older).filter(|_| !is_whole));
    extracted.findings.append(&mut found.findings);
    let findings = &extracted.findings;
    let status = if finding::any_error(findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "restore", "status": status, "target": show(&to),
        "archive": show(archive), "entries": extracted.entries, "bytes": extracted.bytes,
        "findings": findings}),
    );
    ctx.ui.result(&format!(
        "restored {} entries ({}) of {name} into {}",
        extracted.entries,
        crate::ui::bytes(extracted.bytes),
        show(&to)
    ));
    ctx.ui.findings(findings);
    Ok(finding::exit(findings))
}

/// What was restored, and of which copy.
struct Restored {
    copy: usize,
    extracted: Extracted,
}

/// Restores the first copy that is whole; where there is none, what is whole in the first that gives anything.
fn best(found: &mut Found, to: &Path, select: Option<&Select>, ctx: &Context) -> Result<Restored> {
    let alone = found.copies.len() == 1;
    for (number, copy) in found.copies.iter_mut().enumerate().filter(|_| !alone) {
        match copy.restore(to, ctx, &|source, secret| restore::extract_whole(source, secret, to, select)) {
            Ok(extracted) => return Ok(Restored { copy: number, extracted }),
            Err(error) if copy.is_to_blame(&error) => {
                let what = format!("is not restored whole, and the next copy is tried: {}", error.chain());
                let repair = "run `cargo xtask verify`, and keep this one until another is whole";
                found.findings.push(Finding::warning(show(copy.archive()), what, repair));
            }
            Err(error) => return Err(error),
        }
    }
    let mut first = None;
    for (number, copy) in found.copies.iter_mut().enumerate() {
        match copy.restore(to, ctx, &|source, secret| restore::extract(source, secret, to, select)) {
            Ok(extracted) => return Ok(Restored { copy: number, extracted }),
            Err(error) if copy.is_to_blame(&error) => drop(first.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| Error::refused("there is no copy to restore", "")))
}

/// Restores what it is given.
type Extract<'a> = &'a dyn Fn(&Source, Option<&Secret>) -> Result<Extracted>;

impl Copy {
    fn restore(&mut self, to: &Path, ctx: &Context, extract: Extract<'_>) -> Result<Extracted> {
        self.fetch(to)?;
        if self.source.encrypted {
            preflight(&[Tool::Gpg])?;
        }
        let secret = keys::opening(self.source.encrypted, self.encryption.as_ref(), ctx.env)?;
        let _shown = ctx.ui.progress(&self.source.name(), Total::of(self.source.stored_bytes()));
        extract(&self.source, secret.as_ref())
    }

    /// Copies it from another machine into a hidden folder beside the target, once.
    fn fetch(&mut self, to: &Path) -> Result<()> {
        let (Some((remote, artifact)), None) = (&self.far, &self.fetched) else { return Ok(()) };
        preflight(&remote.tools())?;
        let folder = Scratch::new(Owner::Restore, beside(to))?;
        remote.fetch(artifact, folder.path())?;
        self.source = Source::of_file(&folder.path().join(artifact.name.file()))?;
        self.fetched = Some(folder);
        Ok(())
    }

    /// Whether another copy may do better.
    fn is_to_blame(&self, error: &Error) -> bool {
        let source = &self.source;
        match error {
            Error::Io { path, .. } => {
                [Some(&source.archive), source.manifest.as_ref(), source.marker.as_ref()]
                    .contains(&Some(path))
            }
            Error::Refused { .. } => source.encrypted,
            Error::Interrupted | Error::Usage(_) | Error::Config { .. } | Error::Busy { .. } => false,
            _ => true,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The folder that is there in which the target lies, or will lie.
fn beside(to: &Path) -> &Path {
    to.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}

/// A restore into live data would be archived with it, and one into a destination would take its room.
fn outside(to: &Path, config: &Config) -> Result<()> {
    if to.components().any(|part| part.as_os_str() == ".git") {
        let what = format!("{} lies in git's own folder", to.display());
        return Err(Error::refused(what, "give a folder outside of it"));
    }
    let sources = config.data.iter().map(|set| (&set.source, "the source of a data set"));
    let local = config.destinations.iter().filter(|place| place.place.remote.is_none());
    let places = sources.chain(local.map(|place| (&place.place.path, "a destination")));
    for (folder, what) in places {
        let inside = match folder.canonicalize() {
            Ok(real) => real.is_dir() && to.starts_with(real),
            // What comes back has the folder's own name: in its place, it would be a folder further down.
            Err(_) => to.starts_with(resolved(folder)),
        };
        if inside {
            let what = format!("{} lies inside of {}, {what}", to.display(), folder.display());
            let next = "give a folder outside of it; what comes back in that has its own name, and can be moved to its place";
            return Err(Error::refused(what, next));
        }
    }
    Ok(())
}

/// Removes what killed restores left where this one writes, or in a folder above, in which what was fetched may lie.
fn swept(to: &Path, now: Timestamp) -> Vec<Finding> {
    let swept = |folder: &Path| match scratch::sweep(scratch::left_behind(Owner::Restore, folder, now)) {
        Ok(0) => None,
        Ok(count) => {
            let what = format!("held what killed restores had left ({count} hidden folders): it is removed");
            Some(Finding::info(show(folder), what))
        }
        Err(error) => {
            let what = format!("holds what a killed restore has left, in the clear: {}", error.chain());
            Some(Finding::warning(show(folder), what, "remove it by hand"))
        }
    };
    to.ancestors().filter_map(swept).collect()
}

/// RFC 3339, or a date, which means its end.
fn time(text: &str) -> Result<Timestamp> {
    if let Ok(date) = text.parse::<Date>() {
        let end = date.tomorrow().ok().and_then(|day| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
        if let Some(end) = end.filter(|_| text.len() == 10) {
            return Ok(end.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(end));
        }
    }
    text.parse().map_err(|_| {
        Error::Usage(format!(
            "--at {text:?} is no time: write 2026-11-23T17:45:12Z, or 2026-11-23 for the end of that day"
        ))
    })
}

/// What is on record against an archive: what was restored may not be all, or not what it was.
fn said_of(known: &Known, archive: &Path) -> Option<Finding> {
    let path = show(archive);
    let bytes = std::fs::metadata(archive).map(|meta| meta.len()).ok();
    let what = known.against(&path, bytes)?.what();
    Some(Finding::warning(path, what, "`--at` restores an older one"))
}

/// Which backup of the series to take in place of one that is not whole.
fn older(series: &str, made: Option<Timestamp>) -> Option<Finding> {
    let made = made?;
    let what = format!("has an older backup that nothing is known to be wrong with: `--at {made}` takes it");
    Some(Finding::info(series, what))
}

fn select(patterns: &[String]) -> Result<Option<Select>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let wrong = |error: globset::Error| Error::Usage(format!("--path: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(
            GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build().map_err(wrong)?,
        );
    }
    let globs = set.build().map_err(wrong)?;
    Ok(Some(Select { patterns: patterns.to_vec(), globs }))
}

fn explain(ctx: &Context, found: &Found, to: &Path) -> Exit {
    let Some(copy) = found.copies.first() else { return Exit::Found };
    let source = &copy.source;
    // How this one was made, whatever the configuration says today.
    let variable = match (&copy.encryption, Lock::of(&source.archive)) {
        (_, Lock::PublicKey) | (Some(Encryption::Recipients(_)), Lock::Unknown) => None,
        (Some(Encryption::Passphrase { variable }), _) => Some(variable.as_str()),
        (Some(Encryption::Recipients(_)) | None, _) => Some(keys::DEFAULT_VARIABLE),
    };
    let fetch = copy.far.as_ref().map(|(remote, artifact)| remote.recipe(artifact));
    let lines = restore::recipe::recipe(source, fetch.as_deref(), to, variable);
    ctx.ui.document(&json!({"schema_version": 1, "command": "restore", "status": "ok", "target": show(to),
        "archive": show(&source.archive), "entries": null, "bytes": null, "recipe": lines,
        "findings": found.findings}));
    lines.iter().for_each(|line| ctx.ui.result(line));
    ctx.ui.findings(&found.findings);
    finding::exit(&found.findings)
}
