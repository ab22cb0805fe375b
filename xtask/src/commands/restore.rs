//! `restore`: the latest backup of a set, or any archive file, into a new folder; or the recipe for doing it by hand.
use super::Context;
use crate::cli::RestoreArgs as Args;
use crate::config::{Config, Encryption, keys};
use crate::destination::catalog::Artifact;
use crate::destination::memory::Known;
use crate::destination::remote::Remote;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::restore::{self, Select, Source};
use crate::shown::show;
use crate::tools::gpg::Lock;
use crate::tools::{Tool, preflight};
use globset::{GlobBuilder, GlobSetBuilder};
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::path::Path;

/// Runs the verb.
///
/// # Errors
/// When there is no such backup, the folder is not empty, or the archive is damaged or cannot be decrypted. Nothing is
/// left behind then.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let at = args.at.as_deref().map(time).transpose()?;
    let Found { mut source, encryption, far } = find(args, ctx, &config, at)?;
    let to = match (&args.to, args.explain) {
        (Some(to), _) => ctx.path(to),
        (None, true) => ctx.path(Path::new("restored")),
        (None, false) => return Err(Error::Usage("restore needs --to DIR, a new or empty folder".into())),
    };
    if args.explain {
        return Ok(explain(ctx, &source, far.as_ref(), &to, encryption.as_ref()));
    }
    // Held until the end: what was fetched goes with it.
    let _fetched = match &far {
        Some((remote, artifact)) => Some(fetch(remote, artifact, &to, &mut source)?),
        None => None,
    };
    if source.encrypted {
        preflight(&[Tool::Gpg])?;
    }
    let secret = keys::opening(source.encrypted, encryption.as_ref(), ctx.env)?;
    let select = select(&args.path)?;
    let mut extracted = restore::extract(&source, secret.as_ref(), &to, select.as_ref())?;
    // Restoring never needs the memory.
    let known = super::memory(&config).and_then(|memory| memory.known().ok()).unwrap_or_default();
    let path = far.as_ref().map_or(&source.archive, |(_, artifact)| &artifact.archive);
    extracted.findings.extend(said_of(&known, path));
    let findings = &extracted.findings;
    let status = if finding::any_error(findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "restore", "status": status, "target": show(&to),
        "archive": show(&source.archive), "entries": extracted.entries, "bytes": extracted.bytes,
        "findings": findings}),
    );
    ctx.ui.result(&format!(
        "restored {} entries ({}) of {} into {}",
        extracted.entries,
        crate::ui::bytes(extracted.bytes),
        source.name(),
        show(&to)
    ));
    ctx.ui.findings(findings);
    Ok(finding::exit(findings))
}

/// Clocks that differ by less are taken for the same.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

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

/// What is to be restored.
struct Found {
    source: Source,
    encryption: Option<Encryption>,
    /// Where it lies, if that is another machine.
    far: Option<(Remote, Artifact)>,
}

/// Copies a backup from another machine into a hidden folder beside the target.
fn fetch(remote: &Remote, artifact: &Artifact, to: &Path, source: &mut Source) -> Result<tempfile::TempDir> {
    preflight(&remote.tools())?;
    let beside = to.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let folder = tempfile::Builder::new()
        .prefix(".fetched-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir_in(beside)
        .map_err(Error::io("make a folder in", beside))?;
    remote.fetch(artifact, folder.path())?;
    *source = Source::of_file(&folder.path().join(artifact.name.file()))?;
    Ok(folder)
}

/// What is on record against an archive: what was restored may not be all, or not what it was.
fn said_of(known: &Known, archive: &Path) -> Option<Finding> {
    let path = show(archive);
    let made = known.made.get(&path);
    let length = std::fs::metadata(archive).map(|meta| meta.len()).ok();
    let other = length.zip(made.and_then(|made| made.bytes)).is_some_and(|(found, made)| found != made);
    let what = if known.damaged.contains(&path) {
        "was found damaged by `verify` or a drill"
    } else if other {
        "has another length than it was made with"
    } else if made.is_some_and(|made| made.partial) {
        "holds only a part: something could not be read when it was made"
    } else {
        return None;
    };
    Some(Finding::warning(path, what, "`--at` restores an older one"))
}

/// An existing file is an archive; anything else names a set, with its suffix if it has one.
fn find(args: &Args, ctx: &Context, config: &Config, at: Option<Timestamp>) -> Result<Found> {
    let path = ctx.path(Path::new(&args.what));
    let place = super::destination_around(config, &path)?;
    if path.is_file() {
        let encryption = place.and_then(|place| place.encryption.clone());
        return Ok(Found { source: Source::of_file(&path)?, encryption, far: None });
    }
    let (mut candidates, mut away) = (Vec::new(), None);
    for place in &config.destinations {
        match place.place.look(false) {
            Ok((_, catalog)) => {
                candidates.extend(catalog.latest(&args.what, at).cloned().map(|found| (found, place)));
            }
            // In an emergency what is there must be enough.
            Err(error) => {
                ctx.ui.error(&format!("passed over: {}", error.chain()), None);
                away.get_or_insert(error);
            }
        }
    }
    // Of two copies the one that is nearer.
    candidates.sort_by_key(|(found, place)| (found.name.time, place.place.remote.is_none()));
    match (candidates.last(), away) {
        (Some((found, _)), _) if at.is_none() && found.name.time.duration_since(ctx.now) > SKEW => {
            let what = format!(
                "the newest backup of {:?}, {}, is dated in the future",
                args.what,
                found.name.file()
            );
            let next = "set the clock; or name the backup that you mean, with --at TIME or by its file";
            Err(Error::refused(what, next))
        }
        (Some((found, place)), _) => Ok(Found {
            source: Source::from(found),
            encryption: place.encryption.clone(),
            far: place.place.remote.clone().map(|remote| (remote, found.clone())),
        }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::refused(
            format!(
                "no backup of {:?} {}",
                args.what,
                at.map_or("is there".into(), |at| format!("is as old as {at}"))
            ),
            "`cargo xtask status` lists what there is; an archive file can be named too",
        )),
    }
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

fn explain(
    ctx: &Context,
    source: &Source,
    far: Option<&(Remote, Artifact)>,
    to: &Path,
    encryption: Option<&Encryption>,
) -> Exit {
    // How this one was made, whatever the configuration says today.
    let variable = match (encryption, Lock::of(&source.archive)) {
        (_, Lock::PublicKey) | (Some(Encryption::Recipients(_)), Lock::Unknown) => None,
        (Some(Encryption::Passphrase { variable }), _) => Some(variable.as_str()),
        (Some(Encryption::Recipients(_)) | None, _) => Some(keys::DEFAULT_VARIABLE),
    };
    let fetch = far.map(|(remote, artifact)| remote.recipe(artifact));
    let lines = restore::recipe::recipe(source, fetch.as_deref(), to, variable);
    ctx.ui.document(&json!({"schema_version": 1, "command": "restore", "status": "ok", "target": show(to),
        "archive": show(&source.archive), "entries": null, "bytes": null, "recipe": lines}));
    lines.iter().for_each(|line| ctx.ui.result(line));
    Exit::Done
}
