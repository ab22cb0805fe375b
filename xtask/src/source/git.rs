//! A release bundle's entries: the objects of a commit, never the working tree.
//!
//! No untracked file and no local edit can slip in, since none is looked at. `export-ignore` and the configured
//! patterns leave paths out, and `eol=crlf` is honoured, all as the commit's own `.gitattributes` say. The content of
//! submodules comes from their commits in the same way, where it is wanted. What is doubtful is reported
//! ([`super::policy`]).
use super::eol::Eol;
use super::policy::{Candidate, Policy, Submodules, wanted};
use super::{Content, Item, Listing, patterns};
use crate::archive::entry::{Entry, Mtime};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show_bytes;
use crate::tools::git::{
    Attributes, Blobs, Commit, Repository, SUBMODULE, Submodule, TreeEntry, Wanted, is_attributes,
};
use ignore::gitignore::Gitignore;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// git's mode of a symbolic link.
const LINK: u32 = 0o120_000;
/// Bytes of the longest target of a link: Linux's `PATH_MAX` less its end.
const MAX_TARGET: u64 = 4095;

/// What of a commit is listed.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    /// The folder that is released, and that paths are relative to; empty for all of the commit.
    pub root: &'a str,
    /// What is left out of it.
    pub except: Except<'a>,
    /// Whether the content of submodules is taken: of those whose commits the repository has, or borrows.
    pub submodules: Submodules,
    /// What is reported; `None`: no more than what cannot be bundled.
    pub policy: Option<&'a Policy>,
}

/// What is left out of a listing.
#[derive(Debug, Clone, Copy)]
pub enum Except<'a> {
    /// What these gitignore patterns match, and what has the attribute `export-ignore`.
    Patterns(&'a [String]),
    /// These very paths, as a lock shows them.
    Listed(&'a HashSet<&'a str>),
}

/// [`Except`], ready to be asked.
enum Judge<'a> {
    Patterns(Gitignore),
    Listed(&'a HashSet<&'a str>),
}

impl Judge<'_> {
    fn leaves_out(&self, node: &Node) -> bool {
        let entry = &node.entry;
        match self {
            Self::Listed(paths) => paths.contains(&*show_bytes(&entry.path)),
            Self::Patterns(patterns) => {
                let (path, is_folder) = (Path::new(OsStr::from_bytes(&entry.path)), entry.mode == SUBMODULE);
                patterns.matched_path_or_any_parents(path, is_folder).is_ignore()
                    || node.attributes.export_ignore
            }
        }
    }
}

/// A path of the bundle, and what the attributes say of it.
struct Node {
    entry: TreeEntry,
    attributes: Attributes,
}

/// Lists `commit`.
///
/// # Errors
/// When git fails, a pattern does not parse, or the commit does not have the folder.
pub fn list(repository: &Repository, commit: &Commit, take: Take<'_>, blobs: &mut Blobs) -> Result<Listing> {
    let judge = match take.except {
        Except::Patterns(lines) => Judge::Patterns(patterns(lines)?),
        Except::Listed(paths) => Judge::Listed(paths),
    };
    let mut walk = Walk { repository, take, judge, kept: Vec::new(), listing: Listing::default() };
    let nodes = nodes(repository, &commit.sha, take.root, b"")?;
    if nodes.is_empty() && !take.root.is_empty() {
        let what = format!(
            "commit {:.12} has no folder {:?}, which `root` in [release] names",
            commit.sha, take.root
        );
        return Err(Error::refused(
            what,
            "name a folder of that commit, or take `root` out of its recovery.toml",
        ));
    }
    walk.take(nodes, blobs)?;
    let Walk { kept, mut listing, .. } = walk;
    let read = |node: &&Node| is_read(node);
    let small = kept.iter().filter(read);
    let small = small.map(|node| Wanted { id: node.entry.id.clone(), size: node.entry.size.unwrap_or(0) });
    let mut looked_at = blobs.ahead(small.collect());
    let time = Mtime { seconds: commit.time.as_second(), nanos: 0 };
    for node in kept {
        let content = if is_read(&node) { looked_at.read(&node.entry.id)? } else { Vec::new() };
        push(node, &content, take.policy, time, &mut listing);
    }
    drop(looked_at);
    listing.sort();
    if let Some(policy) = take.policy {
        let names = policy.of_names(listing.items.iter().map(|item| &item.entry.path[..]));
        listing.findings.extend(names);
    }
    Ok(listing)
}

/// Goes through a commit, and from there into its submodules.
struct Walk<'a> {
    repository: &'a Repository,
    take: Take<'a>,
    judge: Judge<'a>,
    kept: Vec<Node>,
    listing: Listing,
}

impl Walk<'_> {
    fn take(&mut self, nodes: Vec<Node>, blobs: &mut Blobs) -> Result<()> {
        for node in nodes {
            if self.judge.leaves_out(&node) {
                self.listing.excluded.push(show_bytes(&node.entry.path));
            } else if node.entry.mode == SUBMODULE {
                self.submodule(&node.entry, blobs)?;
            } else {
                self.kept.push(node);
            }
        }
        Ok(())
    }

    fn submodule(&mut self, entry: &TreeEntry, blobs: &mut Blobs) -> Result<()> {
        let (path, commit) = (show_bytes(&entry.path), entry.id.clone());
        let included = self.take.submodules == Submodules::Include && self.repository.has(&commit, blobs)?;
        self.listing.submodules.push(Submodule { path: path.clone(), commit: commit.clone(), included });
        if included {
            let nodes = nodes(self.repository, &commit, "", &entry.path)?;
            return self.take(nodes, blobs);
        }
        let found = match self.take.submodules {
            Submodules::Record => {
                let what = format!("is a submodule at commit {commit}; its content is not in the bundle");
                let repair = "set `submodules = \"include\"` in [release] and commit recovery.toml, or bundle that repository on its own";
                Finding::warning(path, what, repair)
            }
            Submodules::Include => {
                let what = format!("is a submodule at commit {commit}, which is not on this machine");
                let repair = "`git submodule update --init --recursive` brings it (for an older revision: check it out first, \
                              `git worktree add`); or leave it out with `exclude`, and commit recovery.toml";
                Finding::error(path, what, repair)
            }
        };
        self.listing.findings.push(found);
        Ok(())
    }
}

/// What `commit` holds below `root`, by its path behind `prefix`.
fn nodes(repository: &Repository, commit: &str, root: &str, prefix: &[u8]) -> Result<Vec<Node>> {
    let (tree, attributes) = std::thread::scope(|scope| {
        let attributes = scope.spawn(|| repository.attributes_of(commit));
        (repository.tree(commit), attributes.join())
    });
    let attributes = attributes.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let tree = tree?;
    let ruled = tree.iter().any(|entry| is_attributes(&entry.path));
    let below = |path: &[u8]| match root {
        "" => Some(path.to_vec()),
        root => Some(path.strip_prefix(root.as_bytes())?.strip_prefix(b"/")?.to_vec()),
    };
    let inside: Vec<(TreeEntry, Vec<u8>)> = tree
        .into_iter()
        .filter_map(|entry| {
            let path = below(&entry.path)?;
            Some((entry, path))
        })
        .collect();
    let mut said = match ruled {
        true => {
            attributes.paths(&inside.iter().map(|(entry, _)| entry.path.clone()).collect::<Vec<_>>(), root)?
        }
        false => Default::default(),
    };
    let node = |(entry, path): (TreeEntry, Vec<u8>)| {
        let attributes = said.remove(&entry.path).unwrap_or_default();
        let path = if prefix.is_empty() { path } else { [prefix, b"/", &path].concat() };
        Node { entry: TreeEntry { path, ..entry }, attributes }
    };
    Ok(inside.into_iter().map(node).collect())
}

/// Whether the content has to be looked at: the target of a link, and what may be something else than a file.
fn is_read(node: &Node) -> bool {
    let size = node.entry.size.unwrap_or(0);
    match node.entry.mode {
        LINK => is_target(size),
        _ => wanted(&node.entry.path, size, node.attributes.export_subst),
    }
}

fn is_target(size: u64) -> bool {
    (1..=MAX_TARGET).contains(&size)
}

fn push(node: Node, content: &[u8], policy: Option<&Policy>, time: Mtime, listing: &mut Listing) {
    let Node { entry, attributes } = node;
    let size = entry.size.unwrap_or(0);
    let item = match entry.mode {
        LINK if !is_target(size) => {
            let what = format!("is a link with a target of {size} bytes, which no system takes");
            let name = show_bytes(&entry.path);
            return listing.findings.push(Finding::error(
                name,
                what,
                "leave it out with `exclude`, and commit recovery.toml",
            ));
        }
        LINK => Item::new(Entry::symlink(&entry.path, content, time), Content::None),
        mode => {
            if let Some(policy) = policy {
                let file =
                    Candidate { path: &entry.path, size, content, export_subst: attributes.export_subst };
                policy.of_file(file, &mut listing.findings);
            }
            let eol = Eol::of(&attributes.text, &attributes.eol);
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            Item::new(Entry::file(&entry.path, size, mode, time), Content::Blob(entry.id, eol))
        }
    };
    listing.items.push(item);
}
