//! The bundle that somebody names by one of its files, and what `SHA256SUMS` has against its lock. It reads, and compares no
//! content.
use super::images;
use super::marker;
use super::read::{self, digest_file};
use super::release_lock::{self, LOCK, ReleaseLock};
use super::releases::{self, Bundle};
use crate::archive::FormatError;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use std::path::{Path, PathBuf};

/// The bundle of a lock; or of a tarball with its lock beside it, or among the locks of `folders`. A tarball may have another
/// name than its lock says.
///
/// # Errors
/// When a file cannot be read, the lock is damaged, or nothing is known of the tarball.
pub fn of_file(path: &Path, folders: &[&Path]) -> Result<Bundle> {
    std::fs::metadata(path).map_err(Error::io("read", path))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".json") {
        return of_lock(path);
    }
    if let Some(lock) = lock_beside(path) {
        return Ok(Bundle { tarball: Some(path.to_owned()), ..of_lock(&lock)? });
    }
    // It may have another name by now.
    let sha256 = digest_file(path)?.0;
    for folder in [path.parent().unwrap_or(Path::new("."))].iter().chain(folders) {
        let (bundles, _) = releases::scan(folder)?;
        let its = |lock: &ReleaseLock| {
            lock.tarball.as_deref() == Some(name) || lock.tarball_sha256.as_deref() == Some(&*sha256)
        };
        if let Some(bundle) = bundles.into_iter().find(|bundle| its(&bundle.lock)) {
            return Ok(Bundle { tarball: Some(path.to_owned()), ..bundle });
        }
    }
    let what = format!("no lock speaks of {}: its commit is not known", show(path));
    Err(Error::refused(what, "put the .lock.json that was made, or published, with it beside it"))
}

fn of_lock(path: &Path) -> Result<Bundle> {
    if images::environments(path).is_some() {
        let what = format!("{} is a lock of image snapshots, which holds no bundle", show(path));
        return Err(Error::refused(what, "name the lock or the tarball of a bundle"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(releases::bundle(folder, path.to_owned(), release_lock::read(path)?, &mut Vec::new()))
}

/// The lock that lies beside a tarball, by their names.
pub fn lock_beside(tarball: &Path) -> Option<PathBuf> {
    let name = tarball.file_name()?.to_str()?;
    let stem = [".tar.gz", ".tar.zst"].into_iter().find_map(|end| name.strip_suffix(end))?;
    Some(tarball.with_file_name(format!("{stem}{LOCK}"))).filter(|lock| lock.is_file())
}

/// That each lock of a release in a folder is among its `bundles`: one that cannot be read may be the newest.
///
/// # Errors
/// What is wrong with one that is not.
pub fn all_readable(folder: &Path, release: &str, bundles: &[Bundle]) -> Result<()> {
    let is_its = |name: &&String| {
        name.ends_with(LOCK) && name.strip_prefix(release).is_some_and(|rest| rest.starts_with('-'))
    };
    for name in super::catalog::names(folder)?.iter().filter(is_its) {
        let path = folder.join(name);
        if bundles.iter().all(|bundle| bundle.lock_path != path) && images::environments(&path).is_none() {
            release_lock::read(&path).map_err(|error| unreadable(&path, error))?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: Error) -> Error {
    match error {
        Error::Format { source: FormatError::Malformed(what), .. } => {
            let next = "bring it back from another copy; or remove it, and run `cargo xtask snapshot` of that commit again; or \
                        name the lock of the bundle that is meant";
            Error::Damaged { path: path.to_owned(), what, next: next.into() }
        }
        error => error,
    }
}

/// What `SHA256SUMS` beside a lock has against it: another digest of the lock, but for its `release_url`, or of one of the
/// files that it speaks of.
///
/// # Errors
/// When the list or the lock is there and cannot be read.
pub fn refutations(bundle: &Bundle) -> Result<Vec<Finding>> {
    let (path, lock) = (&bundle.lock_path, &bundle.lock);
    let repair = "bring it back from another copy; or remove the lock, and run `cargo xtask snapshot` of that commit again";
    let mut findings = Vec::new();
    if releases::is_refuted(path)? {
        let what = "has another SHA-256 than SHA256SUMS says, and not for its `release_url` alone";
        findings.push(Finding::error(show(path), what, repair));
    }
    let list = path.with_file_name("SHA256SUMS");
    if !list.exists() {
        return Ok(findings);
    }
    let sums = marker::parse(&String::from_utf8_lossy(&read::small(&list)?)).0;
    for (name, digest) in [(&lock.tarball, &lock.tarball_sha256), (&lock.manifest, &lock.manifest_sha256)] {
        if let (Some(name), Some(digest)) = (name, digest)
            && sums.digest(name).is_some_and(|listed| !listed.eq_ignore_ascii_case(digest))
        {
            let what = format!("has another SHA-256 of {} than SHA256SUMS", show(Path::new(name)));
            findings.push(Finding::error(show(path), what, repair));
        }
    }
    Ok(findings)
}
