//! git: what a commit holds, read from its objects. Never writes to a repository but a new one of its own (`copy`).
mod ahead;
mod attributes;
mod copy;
mod objects;
mod store;
mod submodules;

pub use ahead::{Ahead, Wanted};
pub use attributes::{Attributes, AttributesOf, is_attributes};
pub use objects::Blobs;
pub use submodules::{Lent, Submodule};

use super::{failed, output_of, shell_in};
use crate::error::{Error, Result};
use jiff::Timestamp;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// git's mode of a submodule.
pub const SUBMODULE: u32 = 0o160_000;

/// A repository, with a working tree or bare.
#[derive(Debug, Clone)]
pub struct Repository {
    root: PathBuf,
    bare: bool,
    /// Folders of objects of other repositories that are looked into besides.
    borrowed: Vec<PathBuf>,
}

/// How much of a folder is in git's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// No file.
    Nothing,
    /// Some, beside others.
    Part,
    /// Every file that is there.
    All,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// All digits.
    pub sha: String,
    /// Its tree.
    pub tree: String,
    /// The committer's time.
    pub time: Timestamp,
    /// Tags that point at it, sorted.
    pub tags: Vec<String>,
}

/// A file, link or submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// From the root of the repository.
    pub path: Vec<u8>,
    /// git's mode, such as 0o100644.
    pub mode: u32,
    /// Object name.
    pub id: String,
    /// Bytes; `None` for a submodule.
    pub size: Option<u64>,
}

fn clean(folder: &Path) -> Result<Shell> {
    let shell = shell_in(folder)?;
    // Nothing may ask on the terminal. A hook's GIT_DIR and the like are not handed on to begin with.
    shell.set_var("GIT_TERMINAL_PROMPT", "0");
    shell.set_var("GIT_OPTIONAL_LOCKS", "0");
    Ok(shell)
}

/// With it git asks nobody for what a partial clone does not have.
const NO_LAZY_FETCH: &str = "GIT_NO_LAZY_FETCH";

/// Where git looks for objects besides.
const ALTERNATES: &str = "GIT_ALTERNATE_OBJECT_DIRECTORIES";

/// The path on a line.
fn path_of(line: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(line.strip_suffix(b"\n").unwrap_or(line)))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

impl Repository {
    /// The repository around `start`; `None` when there is none.
    ///
    /// # Errors
    /// When git fails for another reason, such as a repository of somebody else (`safe.directory`).
    pub fn discover(start: &Path) -> Result<Option<Self>> {
        let shell = clean(start)?;
        let root = match output_of(cmd!(shell, "git rev-parse --show-toplevel")) {
            Ok(root) => root,
            Err(Error::Tool { stderr, .. }) if stderr.contains("not a git repository") => return Ok(None),
            Err(Error::Tool { tool, status, stderr, .. }) if stderr.contains("dubious ownership") => {
                let next = "run this as who owns it; or, if you trust it, name it to git in `safe.directory`";
                return Err(Error::Tool { tool, status, stderr, next: next.to_owned() });
            }
            // One that is bare has no such top; nor has the folder `.git` of one that is not.
            Err(error) => {
                let answer = output_of(cmd!(shell, "git rev-parse --is-bare-repository --absolute-git-dir"))?;
                let root = path_of(answer.strip_prefix(b"true\n").ok_or(error)?);
                return Ok(Some(Self { root, bare: true, borrowed: Vec::new() }));
            }
        };
        Ok(Some(Self { root: path_of(&root), bare: false, borrowed: Vec::new() }))
    }

    /// The top of the working tree, or the bare repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it has no working tree.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// What lies in the working tree and is not tracked, ignored or not: paths from its top. Of a folder in which nothing is
    /// tracked, the folder alone, with `/` behind it.
    ///
    /// # Errors
    /// When git fails.
    pub fn untracked(&self) -> Result<Vec<Vec<u8>>> {
        let listed = self.git(&["ls-files", "-z", "--others", "--directory"])?;
        Ok(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// Whether something in a folder of the working tree is neither tracked nor ignored.
    ///
    /// # Errors
    /// When git fails, as it does for what is not in the working tree.
    pub fn would_add(&self, folder: &Path) -> Result<bool> {
        let shell = clean(&self.root)?;
        let listed = cmd!(
            shell,
            "git --literal-pathspecs ls-files -z --others --exclude-standard --directory --no-empty-directory -- {folder}"
        );
        Ok(!output_of(listed)?.is_empty())
    }

    /// How much of a folder of the working tree git tracks.
    ///
    /// # Errors
    /// As [`Self::would_add`].
    pub fn tracked(&self, folder: &Path) -> Result<Tracked> {
        let listed = |what: &str| {
            let shell = clean(&self.root)?;
            output_of(cmd!(shell, "git --literal-pathspecs ls-files -z {what} -- {folder}"))
        };
        Ok(match (listed("--cached")?.is_empty(), listed("--others")?.is_empty()) {
            (true, _) => Tracked::Nothing,
            (false, false) => Tracked::Part,
            (false, true) => Tracked::All,
        })
    }

    fn git(&self, args: &[&str]) -> Result<Vec<u8>> {
        let shell = clean(&self.root)?;
        if let Some(borrowed) = self.alternates() {
            shell.set_var(ALTERNATES, borrowed);
        }
        output_of(cmd!(shell, "git {args...}"))
    }

    /// The commit that `rev` names; its tags are not looked up.
    ///
    /// # Errors
    /// When there is none.
    pub fn resolve(&self, rev: &str, blobs: &mut Blobs) -> Result<Commit> {
        if let Some(commit) = blobs.commit(rev)? {
            return Ok(commit);
        }
        Err(match blobs.commit("HEAD")? {
            None => Error::refused(
                format!("{} has no commit yet", self.root.display()),
                "commit something first: a bundle holds a commit",
            ),
            Some(_) => Error::refused(
                format!("no commit is named {rev:?} in {}", self.root.display()),
                "`git log --oneline --all` lists what there is",
            ),
        })
    }

    /// The tags that point at a commit, sorted.
    ///
    /// # Errors
    /// When git fails.
    pub fn tags(&self, commit: &Commit) -> Result<Vec<String>> {
        let tags = text(self.git(&["tag", "--points-at", &commit.sha])?);
        let mut tags: Vec<String> = tags.lines().map(str::to_owned).collect();
        tags.sort();
        Ok(tags)
    }

    /// Every file, link and submodule of a commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>> {
        let listed = self.git(&["ls-tree", "-r", "-z", "-l", "--full-tree", commit])?;
        let lines = listed.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                tree_entry(line)
                    .ok_or_else(|| failed("git ls-tree", "unexpected line", &String::from_utf8_lossy(line)))
            })
            .collect()
    }

    /// The names of its remotes.
    ///
    /// # Errors
    /// When git fails.
    pub fn remotes(&self) -> Result<Vec<String>> {
        Ok(text(self.git(&["remote"])?).lines().map(str::to_owned).collect())
    }

    /// Whether tracked files differ from the commit; untracked ones do not count.
    ///
    /// # Errors
    /// When git fails.
    pub fn is_dirty(&self) -> Result<bool> {
        Ok(!self.git(&["status", "--porcelain", "-z", "--untracked-files=no"])?.is_empty())
    }

    /// Files in the index; with those in checked-out submodules where they are wanted.
    ///
    /// # Errors
    /// When git fails.
    pub fn tracked_files(&self, in_submodules: bool) -> Result<Vec<Vec<u8>>> {
        let args: &[&str] = if in_submodules { &["--recurse-submodules"] } else { &[] };
        let listed = self.git(&[&["ls-files", "-z"], args].concat())?;
        Ok(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

fn tree_entry(line: &[u8]) -> Option<TreeEntry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut fields = std::str::from_utf8(&line[..tab]).ok()?.split_ascii_whitespace();
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let _kind = fields.next()?;
    let id = fields.next()?.to_owned();
    Some(TreeEntry { path: line[tab + 1..].to_vec(), mode, id, size: fields.next()?.parse().ok() })
}
