//! A fresh copy of one commit in a new, bare repository, as `git clone` makes one of another machine's.
//!
//! The objects come through `git upload-pack`, never as hard links or by path: each is read, sent and named anew by its
//! content, so that what is damaged in the repository does not get into the copy. Only that commit is copied, without its
//! history. Settings, hooks, grafts, replaced objects and `info/attributes` of the repository stay behind. The network
//! is not used.
use super::super::output_of;
use super::submodules::Lent;
use super::{NO_LAZY_FETCH, Repository, clean};
use crate::error::{Error, Result};
use std::path::Path;
use xshell::{Shell, cmd};

/// What to do when a commit cannot be copied.
const NEXT: &str = "`git fsck` there tells what is missing or broken";

impl Repository {
    /// A new bare repository in the empty folder `into` that holds this commit, and those of submodules that others lend.
    ///
    /// # Errors
    /// When an object is missing or broken, or git fails.
    pub fn copy(&self, commit: &str, submodules: &[Lent], into: &Path) -> Result<Self> {
        let shell = clean(into)?;
        shell.set_var(NO_LAZY_FETCH, "1");
        let format = if commit.len() == 64 { "sha256" } else { "sha1" };
        output_of(cmd!(shell, "git init --quiet --bare --template= --object-format={format} ."))?;
        fetch(&shell, &self.root, commit)?;
        submodules.iter().try_for_each(|module| fetch(&shell, &module.git_dir, &module.commit))?;
        Ok(Self { root: into.to_owned(), bare: true, borrowed: Vec::new() })
    }
}

impl Repository {
    /// How many objects of a commit a partial clone does not have, though it knows who has them. They are not fetched. None
    /// of a repository that is no partial clone, whatever it lacks.
    ///
    /// # Errors
    /// When git fails.
    pub fn left_out(&self, commit: &str) -> Result<usize> {
        let promised =
            self.git(&["config", "--get-regexp", r"^remote\..*\.promisor$|^extensions\.partialclone$"]);
        // Without any such setting git ends with 1.
        if promised.map_or(true, |found| found.is_empty()) {
            return Ok(0);
        }
        let shell = clean(self.root())?;
        shell.set_var(NO_LAZY_FETCH, "1");
        let listed = output_of(cmd!(shell, "git rev-list --objects --missing=print --max-count=1 {commit}"))?;
        Ok(listed.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"?")).count())
    }
}

/// The repository's working tree, which its settings name, may be gone: that of a submodule that is not checked out.
const UPLOAD: &str = "--upload-pack=GIT_WORK_TREE=. git-upload-pack";

/// Fetches one commit without its history from a repository on this machine.
fn fetch(shell: &Shell, from: &Path, commit: &str) -> Result<()> {
    // A server of version 2 gives any commit that it has. What a user has forbidden or set for other fetches is no
    // matter here.
    let settings =
        ["protocol.version=2", "protocol.file.allow=always", "gc.auto=0", "maintenance.auto=false"];
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let command = cmd!(
        shell,
        "git {settings...} fetch {UPLOAD} --quiet --depth=1 --no-tags --no-recurse-submodules --no-write-fetch-head {from} {commit}"
    );
    let failed = |error| match error {
        Error::Tool { tool, status, stderr, .. } => Error::Tool { tool, status, stderr, next: NEXT.into() },
        other => other,
    };
    output_of(command).map(drop).map_err(failed)
}
