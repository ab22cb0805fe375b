//! A release bundle's entries: the objects of a commit, never the working tree.
//!
//! No untracked file and no local edit can slip in, since none is looked at. `export-ignore` and the configured
//! patterns leave paths out, and `eol=crlf` is honoured, all as the commit's own `.gitattributes` say; submodules, whose content is not in the commit, and LFS pointers are reported.
use super::eol::Eol;
use super::{Content, Item, Listing, patterns};
use crate::archive::entry::{Entry, Mtime};
use crate::error::Result;
use crate::finding::Finding;
use crate::shown::show_bytes;
use crate::tools::git::{Blobs, Commit, Repository, TreeEntry, Wanted};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// git's mode of a symbolic link.
const LINK: u32 = 0o120_000;
/// git's mode of a submodule.
const SUBMODULE: u32 = 0o160_000;
/// Bytes of the longest target of a link: Linux's `PATH_MAX` less its end.
const MAX_TARGET: u64 = 4095;
/// An LFS pointer is smaller than this (git-lfs, `docs/spec.md`).
const LFS_MAX: u64 = 1024;
const LFS_MAGIC: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Lists `commit`; `exclude` holds gitignore patterns relative to the root.
///
/// # Errors
/// When git fails.
pub fn list(
    repository: &Repository,
    commit: &Commit,
    exclude: &[String],
    blobs: &mut Blobs,
) -> Result<Listing> {
    let exclude = patterns(exclude)?;
    let (tree, attributes) = std::thread::scope(|scope| {
        let attributes = scope.spawn(|| repository.attributes_of(&commit.sha));
        (repository.tree(&commit.sha), attributes.join())
    });
    let mut tree = tree?;
    let paths: Vec<Vec<u8>> = tree.iter().map(|entry| entry.path.clone()).collect();
    let attributes = attributes.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?.paths(&paths)?;
    let attributes = |path: &Vec<u8>| attributes.get(path).cloned().unwrap_or_default();
    let mut listing = Listing::default();
    tree.retain(|entry| {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let excluded = exclude.matched_path_or_any_parents(path, false).is_ignore();
        let left_out = excluded || attributes(&entry.path).export_ignore;
        listing.excluded.extend(left_out.then(|| show_bytes(&entry.path)));
        !left_out
    });
    let small = tree.iter().filter(|entry| is_small(entry));
    let small = small.map(|entry| Wanted { id: entry.id.clone(), size: entry.size.unwrap_or(0) });
    let mut looked_at = blobs.ahead(small.collect());
    let time = Mtime { seconds: commit.time.as_second(), nanos: 0 };
    for entry in tree {
        let small = if is_small(&entry) { looked_at.read(&entry.id)? } else { Vec::new() };
        let attributes = attributes(&entry.path);
        push(entry, &small, Eol::of(&attributes.text, &attributes.eol), time, &mut listing);
    }
    drop(looked_at);
    listing.sort();
    Ok(listing)
}

/// Whether the content has to be looked at: the target of a link, and what may be an LFS pointer.
fn is_small(entry: &TreeEntry) -> bool {
    let size = entry.size.unwrap_or(0);
    match entry.mode {
        SUBMODULE => false,
        LINK => is_target(size),
        _ => size > 0 && size < LFS_MAX,
    }
}

fn is_target(size: u64) -> bool {
    (1..=MAX_TARGET).contains(&size)
}

fn push(entry: TreeEntry, small: &[u8], eol: Eol, time: Mtime, listing: &mut Listing) {
    let (name, size) = (show_bytes(&entry.path), entry.size.unwrap_or(0));
    let item = match entry.mode {
        SUBMODULE => {
            let what = format!("is a submodule at commit {}; its content is not in the bundle", entry.id);
            return listing.findings.push(Finding::warning(name, what, "bundle that repository on its own"));
        }
        LINK if !is_target(size) => {
            let what = format!("is a link with a target of {size} bytes, which no system takes");
            return listing.findings.push(Finding::error(name, what, "leave it out with `exclude`"));
        }
        LINK => Item::new(Entry::symlink(&entry.path, small, time), Content::None),
        mode => {
            if small.starts_with(LFS_MAGIC) {
                let what = "is a Git LFS pointer; the file that it points to is not in the bundle";
                listing.findings.push(Finding::warning(name, what, "keep the LFS store with the bundle"));
            }
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            Item::new(Entry::file(&entry.path, size, mode, time), Content::Blob(entry.id, eol))
        }
    };
    listing.items.push(item);
}
