//! Where the backups of a destination lie: a folder of this machine, or one of another that is reached by ssh.
//!
//! The one seam behind which a further kind (object storage) joins: look, list, remove. Backups are put there by
//! [`super::durable`] and by [`Remote::put`].
use super::catalog::{self, Artifact, Catalog};
use super::marker::{self, Sums};
use super::mount::{self, Mounted};
use super::remote::Remote;
use super::{durable, read};
use crate::error::{Error, Result};
use crate::shown::show;
use std::path::{Path, PathBuf};

/// Where backups lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder; on another machine with its name in front, as ssh and rsync write it.
    pub path: PathBuf,
    /// The mount point that it must lie on.
    pub mount: Option<PathBuf>,
    /// The other machine, if it is one.
    pub remote: Option<Remote>,
}

impl Place {
    /// A folder of this machine, mounted or not.
    pub fn folder(path: PathBuf) -> Self {
        Self { path, mount: None, remote: None }
    }

    /// Looks whether it is there; `demanded` as in [`mount::check`].
    ///
    /// # Errors
    /// [`crate::error::Error::NotMounted`], [`crate::error::Error::Unreachable`].
    pub fn check(&self, demanded: bool) -> Result<Mounted> {
        if let Some(remote) = &self.remote {
            return remote.check();
        }
        let mounted = mount::check(&self.path, self.mount.as_deref(), demanded || self.mount.is_some())?;
        if self.path.is_symlink() && !self.path.exists() {
            let what = format!("{} is a link that leads nowhere", show(&self.path));
            return Err(Error::refused(what, "make the folder that it names, or mend the link"));
        }
        Ok(mounted)
    }

    /// Looks whether it is there, and at what it holds: a drive that goes away meanwhile is not taken for an empty one.
    ///
    /// # Errors
    /// As [`Place::check`]; when it cannot be listed.
    pub fn look(&self, demanded: bool) -> Result<(Mounted, Catalog)> {
        let mounted = self.check(demanded)?;
        let found = self.scan();
        if self.remote.is_none() {
            mount::recheck(&mounted, &self.path)?;
        }
        Ok((mounted, found?))
    }

    /// Whether it is still what [`Place::check`] has seen.
    ///
    /// # Errors
    /// As there.
    pub fn recheck(&self, before: &Mounted) -> Result<()> {
        match &self.remote {
            Some(remote) => remote.check().map(|_| ()),
            None => mount::recheck(before, &self.path),
        }
    }

    /// What it holds.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn scan(&self) -> Result<Catalog> {
        match &self.remote {
            Some(remote) => remote.scan(),
            None => catalog::scan(&self.path),
        }
    }

    /// What the marker of a backup says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn marker(&self, artifact: &Artifact) -> Result<Sums> {
        match &self.remote {
            Some(remote) => remote.marker(artifact),
            None => Ok(marker::parse(&String::from_utf8_lossy(&read::small(&artifact.marker)?)).0),
        }
    }

    /// Whether the marker of a backup is there; not where that cannot be told. It is asked even when the run is
    /// interrupted.
    pub fn has_marker(&self, artifact: &Artifact) -> bool {
        match &self.remote {
            Some(remote) => remote.has_marker(artifact).unwrap_or(false),
            None => artifact.marker.exists(),
        }
    }

    /// Removes a backup, marker first; returns the bytes that came free.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, artifact: &Artifact) -> Result<u64> {
        let data = [artifact.has_manifest.then_some(&*artifact.manifest), Some(&*artifact.archive)];
        let data: Vec<&Path> = data.into_iter().flatten().collect();
        self.remove_files(&artifact.marker, &data).map(|freed| freed.unwrap_or(artifact.bytes))
    }

    /// Removes `first`, and when that is durable, `then`; returns the bytes that came free, where that is known.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_files(&self, first: &Path, then: &[&Path]) -> Result<Option<u64>> {
        if let Some(remote) = &self.remote {
            return remote.remove(first, then).map(|()| None);
        }
        let mut freed = durable::remove(first)?;
        for path in then {
            freed += durable::remove(path)?;
        }
        Ok(Some(freed))
    }
}
