//! git: what a commit holds, read from its objects. Never writes to a repository.
mod objects;

pub use objects::{Ahead, Blobs};

use super::{failed, output_of, output_with, shell_in};
use crate::error::{Error, Result};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use tempfile::Builder;
use xshell::{Shell, cmd};

/// A repository, with a working tree or bare.
#[derive(Debug, Clone)]
pub struct Repository {
    root: PathBuf,
    bare: bool,
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

/// What `.gitattributes` say of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// It is left out of a release, itself or with a folder above it.
    pub export_ignore: bool,
    /// The value of `text`; empty without one.
    pub text: Vec<u8>,
    /// The value of `eol`.
    pub eol: Vec<u8>,
}

fn clean(folder: &Path) -> Result<Shell> {
    let shell = shell_in(folder)?;
    // Nothing may ask on the terminal. A hook's GIT_DIR and the like are not handed on to begin with.
    shell.set_var("GIT_TERMINAL_PROMPT", "0");
    shell.set_var("GIT_OPTIONAL_LOCKS", "0");
    Ok(shell)
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
        let asked = output_of(cmd!(shell, "git rev-parse --is-bare-repository --absolute-git-dir"));
        let answer = match asked {
            Ok(answer) => answer,
            Err(Error::Tool { stderr, .. }) if stderr.contains("not a git repository") => return Ok(None),
            Err(error) => return Err(error),
        };
        let answer = answer.strip_suffix(b"\n").unwrap_or(&answer).to_vec();
        if let Some(folder) = answer.strip_prefix(b"true\n") {
            return Ok(Some(Self { root: PathBuf::from(OsStr::from_bytes(folder)), bare: true }));
        }
        let root = output_of(cmd!(shell, "git rev-parse --show-toplevel"))?;
        let root = root.strip_suffix(b"\n").unwrap_or(&root).to_vec();
        Ok(Some(Self { root: PathBuf::from(OsString::from_vec(root)), bare: false }))
    }

    /// The top of the working tree, or the bare repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it has no working tree.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    fn git(&self, args: &[&str]) -> Result<Vec<u8>> {
        let shell = clean(&self.root)?;
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

    /// What the commit's own `.gitattributes` say of `paths`; those without any word are not among them.
    ///
    /// # Errors
    /// When git fails.
    pub fn attributes(&self, commit: &str, paths: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, Attributes>> {
        let attributes = |path: &Vec<u8>| path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
        if !paths.iter().any(attributes) {
            return Ok(HashMap::new());
        }
        // A folder that is left out leaves out what is in it.
        let asked: BTreeSet<&[u8]> = paths.iter().flat_map(|path| prefixes(path)).collect();
        let mut input = asked.into_iter().collect::<Vec<_>>().join(&0);
        input.push(0);
        let answer = self.check_attr(commit, input)?;
        let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
        let mut said: HashMap<&[u8], HashMap<&[u8], &[u8]>> = HashMap::new();
        for triple in fields.chunks_exact(3).filter(|triple| triple[2] != b"unspecified") {
            said.entry(triple[0]).or_default().insert(triple[1], triple[2]);
        }
        let value = |path: &[u8], name: &[u8]| said.get(path).and_then(|of| of.get(name)).copied();
        let of = |path: &Vec<u8>| Attributes {
            export_ignore: prefixes(path).any(|part| value(part, b"export-ignore") == Some(b"set")),
            text: value(path, b"text").unwrap_or_default().to_vec(),
            eol: value(path, b"eol").unwrap_or_default().to_vec(),
        };
        let all = paths.iter().map(|path| (path.clone(), of(path)));
        Ok(all.filter(|(_, attributes)| *attributes != Attributes::default()).collect())
    }

    /// What `git check-attr` says of the paths in `input`, by the commit's own `.gitattributes` alone. It runs in an empty
    /// git folder of its own that only borrows the objects, since a clone's `info/attributes` and a user's settings
    /// would make the same commit another bundle elsewhere.
    fn check_attr(&self, commit: &str, input: Vec<u8>) -> Result<Vec<u8>> {
        let objects = self.git(&["rev-parse", "--git-path", "objects"])?;
        let objects = self.root.join(OsStr::from_bytes(objects.strip_suffix(b"\n").unwrap_or(&objects)));
        let home = Builder::new().prefix("attributes-").tempdir();
        let home = home.map_err(Error::io("create", &std::env::temp_dir()))?;
        let shell = clean(home.path())?;
        shell.set_var("GIT_ATTR_NOSYSTEM", "1");
        shell.set_var("GIT_DIR", home.path());
        shell.set_var("GIT_OBJECT_DIRECTORY", objects);
        // What `git init` makes, less what the user's templates would add.
        let format = if commit.len() == 64 { "[extensions]\nobjectFormat = sha256\n" } else { "" };
        let config = format!("[core]\nrepositoryFormatVersion = 1\nbare = true\n{format}");
        let made = ["objects", "refs"].iter().try_for_each(|name| shell.create_dir(name).map(drop));
        made.and_then(|()| shell.write_file("HEAD", "ref: refs/heads/none\n"))
            .and_then(|()| shell.write_file("config", config))
            .map_err(|error| failed("git check-attr", "has no folder", &error.to_string()))?;
        output_of(cmd!(shell, "git read-tree {commit}"))?;
        let ask = cmd!(
            shell,
            "git -c core.attributesFile=/dev/null check-attr --cached -z --stdin export-ignore text eol"
        );
        output_with(ask, input)
    }

    /// Whether tracked files differ from the commit; untracked ones do not count.
    ///
    /// # Errors
    /// When git fails.
    pub fn is_dirty(&self) -> Result<bool> {
        Ok(!self.git(&["status", "--porcelain", "-z", "--untracked-files=no"])?.is_empty())
    }

    /// Files in the index.
    ///
    /// # Errors
    /// When git fails.
    pub fn tracked_files(&self) -> Result<Vec<Vec<u8>>> {
        let listed = self.git(&["ls-files", "-z"])?;
        Ok(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

/// The folders above a path, and the path.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([path.len()]).map(|end| &path[..end])
}

fn tree_entry(line: &[u8]) -> Option<TreeEntry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut fields = std::str::from_utf8(&line[..tab]).ok()?.split_ascii_whitespace();
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let _kind = fields.next()?;
    let id = fields.next()?.to_owned();
    Some(TreeEntry { path: line[tab + 1..].to_vec(), mode, id, size: fields.next()?.parse().ok() })
}
