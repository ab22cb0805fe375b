//! The catalogue of bundles in a folder, and `SHA256SUMS` beside them. What a lock says is for [`super::release_lock`].
//!
//! A bundle is what its lock lists. Where a lock cannot be read, what lies beside it is left alone.
use super::durable;
use super::images;
use super::marker::Sums;
use super::release_lock::{LOCK, ReleaseLock, read};
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Its lock.
    pub lock: ReleaseLock,
    /// Where the lock is.
    pub lock_path: PathBuf,
    /// The tarball, when it is there.
    pub tarball: Option<PathBuf>,
    /// The manifest, when it is there.
    pub manifest: Option<PathBuf>,
    /// Bytes of the three together.
    pub bytes: u64,
}

impl Bundle {
    /// The release that it belongs to. A lock of the shell tool says it by its name alone,
    /// `<release>-<version>-<created_at>.lock.json`.
    pub fn release(&self) -> Option<&str> {
        if !self.lock.name.is_empty() {
            return Some(&self.lock.name);
        }
        let stem = self.lock_path.file_name()?.to_str()?.strip_suffix(LOCK)?;
        let end = format!("-{}-{}", self.lock.version, self.lock.created_at);
        stem.strip_suffix(&end).filter(|release| !release.is_empty())
    }

    /// Whether the shell tool before this one has made it.
    pub fn is_of_shell(&self) -> bool {
        self.lock.schema_version == 0
    }

    /// The tarball or manifest that its lock lists, and that is gone.
    pub fn missing(&self) -> Option<&str> {
        let files = [(&self.lock.tarball, &self.tarball), (&self.lock.manifest, &self.manifest)];
        files.into_iter().find_map(|(name, path)| name.as_deref().filter(|_| path.is_none()))
    }
}

/// The bundles in a folder, oldest first, and what is wrong with others.
///
/// # Errors
/// When the folder cannot be read; a folder that is not there holds none.
pub fn scan(folder: &Path) -> Result<(Vec<Bundle>, Vec<Finding>)> {
    let (mut bundles, mut findings) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((bundles, findings)),
        entries => entries.map_err(Error::io("list", folder))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if !path.to_string_lossy().ends_with(".lock.json") {
            continue;
        }
        if let Some(environments) = images::environments(&path) {
            let what = format!(
                "is a lock of image snapshots ({environments}), which holds no bundle: it is left alone, and \
                 `cargo xtask rollback --from-lock` reads it"
            );
            findings.push(Finding::info(show(&path), what));
            continue;
        }
        match read(&path) {
            Ok(lock) => bundles.push(bundle(folder, path, lock, &mut findings)),
            Err(error) => {
                findings.push(Finding::error(
                    show(&path),
                    error.chain(),
                    "it is left alone, and never pruned",
                ));
            }
        }
    }
    bundles.sort_by(|a, b| (a.lock.time(), &a.lock_path).cmp(&(b.lock.time(), &b.lock_path)));
    findings.extend(unfinished(folder)?.into_iter().map(|(path, lock)| {
        let what = format!("has no {}: a run is writing it, was killed, or its lock is lost", show(&lock));
        let repair = "`cargo xtask prune` sweeps what it has left itself; bring the lock back, run snapshot of that commit \
                      again, or remove it";
        Finding::warning(show(&path), what, repair)
    }));
    Ok((bundles, findings))
}

/// Tarballs and manifests of bundles without a lock, by name, and the lock that each would have.
///
/// # Errors
/// When the folder cannot be read; a folder that is not there holds none.
pub fn unfinished(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for name in super::catalog::names(folder)? {
        // Named like a backup, but by version and time of a commit.
        let end = name.rfind(".tar.").or(name.rfind(".manifest.jsonl."));
        let end = super::catalog::unfinished(Path::new(&name)).and(end);
        let Some(stem) = end.and_then(|end| name.get(..end)) else { continue };
        let lock = folder.join(format!("{stem}{LOCK}"));
        if !lock.exists() && folder.join(&name).is_file() {
            found.push((folder.join(name), lock));
        }
    }
    Ok(found)
}

/// The bundle of a lock in a folder, and what is wrong with it.
pub(super) fn bundle(
    folder: &Path,
    lock_path: PathBuf,
    lock: ReleaseLock,
    findings: &mut Vec<Finding>,
) -> Bundle {
    // A name with a path in it would lead elsewhere: it is no name.
    let there = |name: &Option<String>| {
        let name = name.as_ref().filter(|name| !name.contains('/') && !name.is_empty())?;
        Some(folder.join(name)).filter(|path| path.is_file())
    };
    let (tarball, manifest) = (there(&lock.tarball), there(&lock.manifest));
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    let bytes = [tarball.as_ref(), manifest.as_ref(), Some(&lock_path)].into_iter().flatten().map(size).sum();
    let bundle = Bundle { lock, lock_path, tarball, manifest, bytes };
    if let Some(name) = bundle.missing() {
        let what = format!("lists {}, which is gone", show(Path::new(name)));
        let repair = "remove what is left of it, and run snapshot of that commit again";
        findings.push(Finding::error(show(&bundle.lock_path), what, repair));
    }
    bundle
}

/// `SHA256SUMS` of every bundle in the folder, from their locks. A bundle keeps its lines when its lock is not the one that
/// they list, so that damage stays known, unless the lock is the one that was `made` just now. Bundles whose locks are
/// `going` are left out already.
///
/// # Errors
/// When the folder cannot be read, or the file cannot be written.
pub fn write_sums(folder: &Path, made: Option<&Path>, going: &HashSet<String>) -> Result<()> {
    let (mut bundles, _) = scan(folder)?;
    bundles.retain(|bundle| !going.contains(&show(&bundle.lock_path)));
    let (path, mut sums) = (folder.join("SHA256SUMS"), sums(&bundles)?);
    let text = super::read::small(&path).unwrap_or_default();
    let known = super::marker::parse(&String::from_utf8_lossy(&text)).0;
    for (digest, name) in &known.lines {
        let Some(stem) = name.strip_suffix(LOCK) else { continue };
        let lock = folder.join(name);
        let done = made == Some(&lock) || going.contains(&show(&lock)) || !lock.exists();
        if done || sums.digest(name) == Some(digest) {
            continue;
        }
        let is_its =
            |(_, name): &(String, String)| name.strip_prefix(stem).is_some_and(|end| end.starts_with('.'));
        sums.lines.retain(|line| !is_its(line));
        sums.lines.extend(known.lines.iter().filter(|line| is_its(line)).cloned());
    }
    sums.lines.sort_by(|a, b| a.1.cmp(&b.1));
    let new = sums.render();
    if text == new.as_bytes() { Ok(()) } else { durable::replace(&path, new.as_bytes(), 0o644) }
}

/// Whether `SHA256SUMS` has of a lock what that was before it got its image, or its tarball.
///
/// # Errors
/// When the list is there and cannot be read.
pub fn is_behind(path: &Path, lock: &ReleaseLock) -> Result<bool> {
    let bare = ReleaseLock { docker_tag: None, image_id: None, repo_digests: vec![], ..lock.clone() };
    let alone = |lock: &ReleaseLock| ReleaseLock {
        tarball: None,
        manifest: None,
        manifest_sha256: None,
        ..lock.clone()
    };
    let former = [alone(&bare), alone(lock), bare];
    let digests = former.map(|lock| crate::archive::sha256_hex(lock.render().as_bytes()));
    Ok(listed(path)?.is_some_and(|listed| digests.contains(&listed)))
}

/// Whether a lock is not the one that `SHA256SUMS` lists, and not for its `release_url` alone, which may be set by hand. One
/// that is not listed is not refuted.
///
/// # Errors
/// When the list or the lock is there and cannot be read.
pub fn is_refuted(path: &Path) -> Result<bool> {
    Ok(match listed(path)? {
        Some(listed) => refutes(&listed, &super::read::small(path)?),
        None => false,
    })
}

/// The same of a lock that was read, and the digest that is listed of it.
pub fn refutes(listed: &str, lock: &[u8]) -> bool {
    let bare = std::str::from_utf8(lock).ok().and_then(|text| super::release_url::set(text, None));
    let known = [Some(lock), bare.as_ref().map(String::as_bytes)];
    !known.into_iter().flatten().any(|text| crate::archive::sha256_hex(text) == listed)
}

/// The digest that `SHA256SUMS` beside a lock has of it, if any.
///
/// # Errors
/// When the list is there and cannot be read.
pub fn listed(path: &Path) -> Result<Option<String>> {
    let text = match super::read::small(&path.with_file_name("SHA256SUMS")) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let sums = super::marker::parse(&String::from_utf8_lossy(&text)).0;
    Ok(path.file_name().and_then(|name| sums.digest(&name.to_string_lossy())).map(str::to_owned))
}

/// Whether `SHA256SUMS` is what the bundles in the folder make it: a lock that was changed, or lost, is noticed by it.
///
/// # Errors
/// When the folder or a lock cannot be read.
pub fn check_sums(folder: &Path) -> Result<Vec<Finding>> {
    let bundles = scan(folder)?.0;
    let (path, expected) = (folder.join("SHA256SUMS"), sums(&bundles)?);
    // Where the shell tool alone was at work, somebody else wrote the list, or nobody.
    let ours = bundles.is_empty() || bundles.iter().any(|bundle| !bundle.is_of_shell());
    let text = match super::read::small(&path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Ok(vec![Finding::of(show(&path), &error)]),
    };
    // One of an older version, or of another tool, lists no locks.
    let known = super::marker::parse(&text).0;
    let files = expected.lines.iter().filter(|(_, name)| !name.ends_with(LOCK)).cloned().collect();
    if !text.is_empty() && text == (Sums { lines: files }).render() {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    let repair = "bring it back from another copy; `cargo xtask snapshot` writes SHA256SUMS anew, and a bundle whose \
                  lock was removed";
    for (digest, name) in &known.lines {
        match expected.digest(name) {
            Some(found) if found == digest => {}
            Some(_) => {
                let what = "has another SHA-256 than SHA256SUMS says";
                findings.push(Finding::error(show(&folder.join(name)), what, repair));
            }
            None => {
                let what = "is listed in SHA256SUMS, and is gone or has no lock";
                findings.push(Finding::error(show(&folder.join(name)), what, repair));
            }
        }
    }
    if !ours {
        return Ok(findings);
    }
    for (_, name) in expected.lines.iter().filter(|(_, name)| known.digest(name).is_none()) {
        // A run that was killed leaves its bundle out as a whole.
        let stem = [LOCK, ".tar.", ".manifest."]
            .iter()
            .fold(&**name, |stem, end| stem.split(end).next().unwrap_or(stem));
        let alone = known.lines.iter().any(|(_, listed)| listed.starts_with(stem));
        let severity = if alone { Severity::Error } else { Severity::Warning };
        let what = "is not listed in SHA256SUMS";
        findings.push(Finding::new(severity, show(&folder.join(name)), what, repair));
    }
    let names: HashSet<&String> = known.lines.iter().map(|(_, name)| name).collect();
    if names.is_empty() || names.len() != known.lines.len() || text != known.render() {
        findings.push(Finding::error(show(&path), "is gone, or not as it was written", repair));
    }
    Ok(findings)
}

/// The digests of these bundles: tarball and manifest by the lock's word, and the lock's own.
fn sums(bundles: &[Bundle]) -> Result<Sums> {
    let mut lines = Vec::new();
    for bundle in bundles {
        let lock = &bundle.lock;
        let pairs = [
            (&lock.tarball, &bundle.tarball, &lock.tarball_sha256),
            (&lock.manifest, &bundle.manifest, &lock.manifest_sha256),
        ];
        for (name, path, digest) in pairs {
            if let (Some(name), Some(_), Some(digest)) = (name, path, digest)
                && is_line(digest, name)
            {
                lines.push((digest.clone(), name.clone()));
            }
        }
        let name = bundle.lock_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digest = crate::archive::sha256_hex(&super::read::small(&bundle.lock_path)?);
        lines.extend(is_line(&digest, &name).then_some((digest, name)));
    }
    lines.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(Sums { lines })
}

/// A lock that is wrong adds nothing to the list that others check with.
fn is_line(digest: &str, name: &str) -> bool {
    digest.len() == 64
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !name.contains(char::is_control)
        && name.trim() == name
}
