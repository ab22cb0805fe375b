//! What is to be rebuilt: a lock, the tarball that belongs to it, and the commit that both were made of. Each reason why
//! it cannot be rebuilt says what can be done.
use crate::config::Config;
use crate::destination::named;
use crate::destination::release_lock::ReleaseLock;
use crate::destination::releases::Bundle;
use crate::error::{Error, Result};
use crate::shown::show;
use crate::tools::git::{Lent, Repository};
use crate::words::word;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// A bundle by its lock.
pub(super) struct Subject {
    pub lock_path: PathBuf,
    pub lock: ReleaseLock,
    /// Its tarball, where it is here.
    pub tarball: Option<PathBuf>,
}

impl Subject {
    /// How it is called: by its tarball where that is here.
    pub(super) fn shown(&self) -> &Path {
        self.tarball.as_deref().unwrap_or(&self.lock_path)
    }
}

/// The bundle of a file that was named: a lock, or a tarball with its lock beside it or among those of the repository.
///
/// # Errors
/// When a file cannot be read, or nothing is known of it.
pub(super) fn find(path: &Path, config: &Config) -> Result<Subject> {
    let Bundle { lock_path, lock, tarball, .. } = named::of_file(path, &[&config.release.output_dir])?;
    Ok(Subject { lock_path, lock, tarball })
}

/// Commit and time of the bundle, and what lends it the content of submodules.
///
/// # Errors
/// When the bundle is not of a commit, its lock does not say enough, or the commit is not in the repository.
pub(super) fn commit_of<'a>(
    subject: &'a Subject,
    repository: &Repository,
) -> Result<(&'a str, Timestamp, Vec<Lent>)> {
    let Subject { lock, lock_path, .. } = subject;
    if lock.dirty {
        let what = format!(
            "{} was staged from a working tree (`dirty`), and not made of a commit alone",
            show(subject.shown())
        );
        let next = "commit what is in it, without `include` in [release] where that is set, and make a bundle of the commit: \
                    `cargo xtask snapshot`";
        return Err(Error::refused(what, next));
    }
    let known = lock.git_commit.as_deref().zip(lock.time()).filter(|_| lock.tar_sha256.is_some());
    let Some((commit, time)) = known else {
        let what =
            format!("{} does not say all of the commit and the digest of the tar stream", show(lock_path));
        let next = format!(
            "it is of an older tool: compare its `tarball_sha256` with `sha256sum`, and bundle the commit anew \
             (`cargo xtask snapshot --rev {}`)",
            lock.git_sha
        );
        return Err(Error::refused(what, next));
    };
    let mut blobs = repository.local_blobs()?;
    if !repository.has(commit, &mut blobs)? {
        let what = format!("commit {commit} is not in {}", show(repository.root()));
        return Err(Error::refused(what, fetch(lock, commit, repository)?));
    }
    let left_out = repository.left_out(commit)?;
    if left_out > 0 {
        let root = show(repository.root());
        let what =
            format!("{root} is a partial clone, and {left_out} objects of commit {commit} are not in it");
        let remote = remote(repository)?.unwrap_or_else(|| "REMOTE".into());
        let next = format!(
            "nothing is fetched for a rebuild; `git -C {} fetch --refetch --no-filter {remote} {commit}` brings them",
            word(&root)
        );
        return Err(Error::refused(what, next));
    }
    if !lock.scope().submodules {
        return Ok((commit, time, Vec::new()));
    }
    let (_, lent) = repository.with_submodules(commit, &lock.scope().root)?;
    let included = lock.submodules.iter().filter(|module| module.included);
    for module in included {
        if !lent.iter().any(|other| other.commit == module.commit) {
            let what = format!(
                "{} is a submodule at commit {}, which is not on this machine",
                module.path, module.commit
            );
            let next = format!(
                "check commit {commit:.12} out, and bring its submodules: `git submodule update --init --recursive`"
            );
            return Err(Error::refused(what, next));
        }
    }
    Ok((commit, time, lent))
}

/// How the commit is brought here.
fn fetch(lock: &ReleaseLock, commit: &str, repository: &Repository) -> Result<String> {
    let mut next = match remote(repository)? {
        Some(remote) => {
            format!("fetch it: `git -C {} fetch {remote} {commit}`", word(&show(repository.root())))
        }
        None => "this repository has no remote to fetch it from: name the one that it was made in, or a clone of it, with -C"
            .to_owned(),
    };
    if let Some(url) = &lock.release_url {
        next.push_str(&format!("; the bundle was published at {url}"));
    }
    Ok(next)
}

/// The remote to fetch from: `origin`, or the first.
fn remote(repository: &Repository) -> Result<Option<String>> {
    let remotes = repository.remotes()?;
    let at = remotes.iter().position(|name| name == "origin").unwrap_or(0);
    Ok(remotes.into_iter().nth(at))
}
