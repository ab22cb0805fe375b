//! A copy of a complete backup: the same bytes, compared with the marker on the way, and the marker last.
use super::unchanged::Same;
use super::{Copied, Ready};
use crate::destination::catalog::{self, Artifact};
use crate::destination::durable::Run;
use crate::destination::marker::Sums;
use crate::destination::place::Place;
use crate::destination::read;
use crate::error::{Error, Result};
use crate::interrupt::interrupted;
use crate::progress;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A complete backup that others are copied from.
#[derive(Clone)]
pub(super) struct Master {
    pub artifact: Artifact,
    /// Its marker: the digests of archive and manifest.
    pub sums: Sums,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Whether it lies on another machine, and cannot be copied from.
    pub far: bool,
}

impl Master {
    /// The last backup, which is still what the source is.
    pub(super) fn of(same: &Same, far: bool) -> Self {
        Self { artifact: same.artifact.clone(), sums: same.sums.clone(), bytes: same.bytes, far }
    }

    /// The digest of the archive.
    pub(super) fn digest(&self) -> String {
        self.sums.digest(&self.artifact.name.file()).unwrap_or_default().to_owned()
    }

    /// What it is, or will be, at another place.
    pub(super) fn artifact_at(&self, place: &Place) -> Artifact {
        let planned = Artifact::planned(&place.path, self.artifact.name.clone());
        Artifact { bytes: self.artifact.bytes, archive_bytes: self.bytes, ..planned }
    }
}

impl Copied {
    /// An artifact at a destination that is there.
    pub(super) fn at(ready: &Ready, artifact: &Artifact) -> Self {
        Self {
            destination: ready.destination.name.clone(),
            archive: artifact.archive.clone(),
            status: "ok",
            durability: Some(ready.mounted.durability),
            pending: ready.destination.confirm.is_some(),
        }
    }
}

/// Copies a backup to a destination that does not have it.
///
/// # Errors
/// When it cannot be written; [`Error::Damaged`] when the backup is not what its marker says. Nothing is left then.
pub(super) fn copy(master: &Master, ready: &Ready) -> Result<()> {
    let (place, name) = (&ready.destination.place, &master.artifact.name);
    let day = place.path.join(name.folder());
    // What a copy that was killed has left has no marker.
    let of_it = |path: &&PathBuf| {
        path.starts_with(&day) && catalog::unfinished(path).is_some_and(|left| left.file() == name.file())
    };
    for left in ready.catalog.incomplete.iter().filter(of_it) {
        place.remove_files(left, &[])?;
    }
    let from = |file: &str| master.artifact.archive.with_file_name(file);
    if let Some(remote) = &place.remote {
        let files: Vec<PathBuf> = master.sums.lines.iter().map(|(_, file)| from(file)).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        return remote.put(&day, &files, &master.sums, &name.marker());
    }
    let mut run = Run::private().on(&ready.mounted);
    for (digest, file) in &master.sums.lines {
        copy_file(&mut run, &from(file), &day.join(file), digest)?;
    }
    if interrupted() {
        return Err(Error::Interrupted);
    }
    place.recheck(&ready.mounted)?;
    run.publish(&day.join(name.marker()), master.sums.render().as_bytes())?;
    run.commit();
    Ok(())
}

fn copy_file(run: &mut Run, from: &Path, to: &Path, digest: &str) -> Result<()> {
    let (mut source, mut target) = (read::open(from)?, run.create(to)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let count = source.read(&mut buffer).map_err(Error::io("read", from))?;
        if count == 0 {
            break;
        }
        target.write_all(&buffer[..count]).map_err(Error::io("write", to))?;
        progress::moved(count as u64);
    }
    if target.finish()?.sha256 == *digest {
        return Ok(());
    }
    Err(Error::Damaged {
        path: from.to_owned(),
        what: "is not what its marker says, and is not copied".into(),
        next: "run `cargo xtask verify`, and `cargo xtask backup --force`".into(),
    })
}
