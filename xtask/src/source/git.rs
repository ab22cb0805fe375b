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
use crate::tools::git::{Blobs, Commit, Repository, TreeEntry};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

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
    let tree = repository.tree(&commit.sha)?;
    let paths: Vec<Vec<u8>> = tree.iter().map(|entry| entry.path.clone()).collect();
    let attributes = repository.attributes(&commit.sha, &paths)?;
    let time = Mtime { seconds: commit.time.as_second(), nanos: 0 };
    let mut listing = Listing::default();
    for entry in tree {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let excluded = exclude.matched_path_or_any_parents(path, false).is_ignore();
        let attributes = attributes.get(&entry.path).cloned().unwrap_or_default();
        if excluded || attributes.export_ignore {
            listing.excluded.push(show_bytes(&entry.path));
            continue;
        }
        push(entry, Eol::of(&attributes.text, &attributes.eol), time, blobs, &mut listing)?;
    }
    listing.sort();
    Ok(listing)
}

fn push(entry: TreeEntry, eol: Eol, time: Mtime, blobs: &mut Blobs, listing: &mut Listing) -> Result<()> {
    let name = show_bytes(&entry.path);
    let size = entry.size.unwrap_or(0);
    let item = match entry.mode {
        0o160_000 => {
            let what = format!("is a submodule at commit {}; its content is not in the bundle", entry.id);
            listing.findings.push(Finding::warning(name, what, "bundle that repository on its own"));
            return Ok(());
        }
        0o120_000 => {
            let target = blobs.read(&entry.id)?;
            Item::new(Entry::symlink(&entry.path, &target, time), Content::None)
        }
        mode => {
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            if size < LFS_MAX && size > 0 && blobs.read(&entry.id)?.starts_with(LFS_MAGIC) {
                let what = "is a Git LFS pointer; the file that it points to is not in the bundle";
                listing.findings.push(Finding::warning(name, what, "keep the LFS store with the bundle"));
            }
            Item::new(Entry::file(&entry.path, size, mode, time), Content::Blob(entry.id, eol))
        }
    };
    listing.items.push(item);
    Ok(())
}
