//! The canary: a small file that is written into a source right before an archive is made of it, and that the next drill
//! must bring back with that content.
//!
//! Its content names the archive, so each backup has another: one that was made of an old state, or whose files belong to
//! another, does not hold it. It is written only when there is an archive to make: a set in which nothing was changed
//! stays unchanged. It is written as a whole, and over nothing but a canary: what lies there and is none is somebody's.
use super::foretold::unless_mended;
use crate::archive::sha256_hex;
use crate::config::DataSet;
use crate::destination::durable;
use crate::destination::known::Canary;
use crate::destination::names::ArtifactName;
use crate::destination::read;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use rustix::fs::Access;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How each begins.
const HEAD: &str = "canary of a backup: written by cargo xtask backup, and demanded back by its drills\n";

/// Where the canary of a set lies, if it has one.
pub(super) fn path(set: &DataSet) -> Option<PathBuf> {
    set.proof.canary.as_ref().map(|canary| set.source.join(canary))
}

/// Whether it is there, and not a file of somebody's under its name.
pub(super) fn is_there(set: &DataSet) -> bool {
    path(set)
        .is_some_and(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()) && free(&path).is_ok())
}

/// Writes the canary of a set for the archive of this name, if it is to have one.
///
/// # Errors
/// When it cannot be written, or would take the place of something else; nothing is changed then.
pub(super) fn write(set: &DataSet, name: &ArtifactName, now: Timestamp) -> Result<Option<Canary>> {
    let (Some(path), Some(canary)) = (path(set), &set.proof.canary) else { return Ok(None) };
    may_be_written(set, &path)?;
    let content = format!("{HEAD}{}\n{now}\n", name.file());
    durable::replace(&path, content.as_bytes(), 0o600)?;
    Ok(Some(Canary { path: canary.clone(), sha256: sha256_hex(content.as_bytes()) }))
}

/// What keeps the next backup from writing the canary of a set, as far as that can be told before.
pub(in crate::commands) fn foreseen(set: &DataSet) -> Option<Finding> {
    // Of a source that is not there something else is told.
    let path = path(set).filter(|_| set.source.exists())?;
    let error = may_be_written(set, &path).err()?;
    Some(unless_mended(set, unwritten(&path, "cannot be written", &error)))
}

/// What is told of a canary that a backup does not have.
pub(super) fn unwritten(path: &Path, how: &str, error: &Error) -> Finding {
    let repair = error.next_step().unwrap_or_else(|| "let the backup's user write there".into());
    Finding::error(show(path), format!("the canary {how}: {}", error.chain()), repair)
}

/// It would lie in a folder of the source that can be written to, and take the place of nothing but an older canary.
fn may_be_written(set: &DataSet, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(&set.source);
    let real = |path: &Path| path.canonicalize().map_err(Error::io("resolve", path));
    if !real(folder)?.starts_with(real(&set.source)?) {
        let what = format!("the canary {} would lie outside of the source", show(path));
        return Err(Error::refused(
            what,
            "name a file in a folder of the source itself: `canary` of the data set",
        ));
    }
    free(path)?;
    rustix::fs::access(folder, Access::WRITE_OK).map_err(|errno| Error::io("write to", folder)(errno.into()))
}

/// Nothing lies there but an older canary.
fn free(path: &Path) -> Result<()> {
    let taken = || {
        let what = format!("{} is there, and is no canary: it is not written over", show(path));
        Error::refused(what, "give the canary a name of its own: `canary` of the data set")
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look at", path)(error)),
        Ok(meta) if !meta.is_file() || meta.len() > 4096 => Err(taken()),
        Ok(_) if read::small(path)?.starts_with(HEAD.as_bytes()) => Ok(()),
        Ok(_) => Err(taken()),
    }
}
