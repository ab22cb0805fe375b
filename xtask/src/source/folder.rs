//! A data folder as a list of entries, under the folder's own name.
//!
//! Walks without following links, so a loop of links is just links. Sockets, pipes and devices are passed over
//! and reported. Does not read content, except the first 16 bytes of what could be a SQLite database.
use super::{Content, Item, Listing, mtime, patterns};
use crate::archive::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::finding::{Finding, show, show_bytes};
use crate::tools::sqlite::is_database;
use ignore::gitignore::Gitignore;
use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Whether SQLite databases are copied through SQLite or as they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Databases {
    /// Through SQLite: one consistent file, without its journal.
    Copied,
    /// As any other file.
    Raw,
}

/// Lists `root`; `exclude` holds gitignore patterns relative to it.
///
/// # Errors
/// When `root` is not a folder that can be read. Below it, what cannot be read is a finding.
pub fn list(root: &Path, exclude: &[String], databases: Databases) -> Result<Listing> {
    let meta = fs::metadata(root).map_err(Error::io("read the source", root))?;
    if !meta.is_dir() {
        return Err(Error::refused(
            format!("the source {} is not a folder", root.display()),
            "name a folder",
        ));
    }
    let name = match root.file_name() {
        Some(name) => name.as_bytes().to_vec(),
        None => fs::canonicalize(root)
            .map_err(Error::io("resolve", root))?
            .file_name()
            .map_or(b"root".to_vec(), |name| name.as_bytes().to_vec()),
    };
    let mut walk = Walk { exclude: patterns(exclude)?, databases, listing: Listing::default() };
    walk.push(root, name.clone(), &meta, Kind::Folder, Content::None);
    walk.folder(root, &name, Path::new(""))?;
    let Walk { mut listing, .. } = walk;
    drop_journals(&mut listing);
    listing.sort();
    link_twins(&mut listing);
    Ok(listing)
}

struct Walk {
    exclude: Gitignore,
    databases: Databases,
    listing: Listing,
}

impl Walk {
    fn folder(&mut self, path: &Path, name: &[u8], relative: &Path) -> Result<()> {
        if crate::destination::durable::interrupted() {
            return Err(Error::Interrupted);
        }
        let entries = match fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => entries,
            Err(error) if relative.as_os_str().is_empty() => {
                return Err(Error::io("read the source", path)(error));
            }
            Err(error) => {
                self.listing.findings.push(super::unreadable(&show_bytes(name), &error));
                return Ok(());
            }
        };
        for entry in entries {
            let (path, part) = (entry.path(), entry.file_name());
            let name = [name, b"/", part.as_bytes()].concat();
            let relative = relative.join(&part);
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) => {
                    self.listing.findings.push(super::unreadable(&show_bytes(&name), &error));
                    continue;
                }
            };
            if self.exclude.matched(&relative, meta.is_dir()).is_ignore() {
                self.listing.excluded.push(show(&relative));
                continue;
            }
            self.entry(&path, name, &relative, &meta)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: Vec<u8>, relative: &Path, meta: &Metadata) -> Result<()> {
        let kind = meta.file_type();
        if kind.is_dir() {
            self.push(path, name.clone(), meta, Kind::Folder, Content::None);
            return self.folder(path, &name, relative);
        }
        if kind.is_symlink() {
            self.push(path, name, meta, Kind::Symlink, Content::None);
        } else if kind.is_file() {
            let content = if self.databases == Databases::Copied && holds_database(path, meta) {
                Content::Database(path.to_owned())
            } else {
                Content::Live(path.to_owned())
            };
            self.push(path, name, meta, Kind::File, content);
        } else {
            let what = if kind.is_socket() {
                "a socket"
            } else if kind.is_fifo() {
                "a pipe"
            } else {
                "a device"
            };
            let what = format!("is {what}, which has no content to back up; passed over");
            self.listing.findings.push(Finding::info(show_bytes(&name), what));
        }
        Ok(())
    }

    fn push(&mut self, path: &Path, name: Vec<u8>, meta: &Metadata, kind: Kind, content: Content) {
        let link = match kind {
            Kind::Symlink => match fs::read_link(path) {
                Ok(target) => target.as_os_str().as_bytes().to_vec(),
                Err(error) => {
                    self.listing.findings.push(super::unreadable(&show_bytes(&name), &error));
                    return;
                }
            },
            _ => Vec::new(),
        };
        let entry = Entry {
            kind,
            size: if kind == Kind::File { meta.len() } else { 0 },
            mode: meta.mode() & 0o7777,
            uid: meta.uid().into(),
            gid: meta.gid().into(),
            mtime: mtime(meta),
            link,
            xattrs: if kind == Kind::Symlink { Vec::new() } else { xattrs(path) },
            path: name,
        };
        self.listing.items.push(Item { entry, content });
    }
}

/// The attributes of a file, sorted. POSIX ACLs are among them. Names with `=` cannot be written in a pax record.
fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Ok(names) = xattr::list(path) else { return Vec::new() };
    let mut all: Vec<_> = names
        .filter(|name| !name.as_bytes().contains(&b'='))
        .filter_map(|name| Some((name.as_bytes().to_vec(), xattr::get(path, &name).ok()??)))
        .collect();
    all.sort();
    all
}

/// A database file is a whole number of pages, and a page at least 512 bytes: no other file is opened.
fn holds_database(path: &Path, meta: &Metadata) -> bool {
    let mut magic = [0; 16];
    meta.len() >= 512
        && meta.len().is_multiple_of(512)
        && super::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && is_database(&magic)
}

/// A database that is copied through SQLite comes without its journal: what that held is in the copy.
fn drop_journals(listing: &mut Listing) {
    let databases: HashSet<Vec<u8>> = listing
        .items
        .iter()
        .filter(|item| matches!(item.content, Content::Database(_)))
        .map(|item| item.entry.path.clone())
        .collect();
    listing.items.retain(|item| {
        let path = &item.entry.path;
        !["-wal", "-shm", "-journal"]
            .iter()
            .any(|ending| path.strip_suffix(ending.as_bytes()).is_some_and(|base| databases.contains(base)))
    });
}

/// The second and later names of a file become hard links to the first in archive order.
fn link_twins(listing: &mut Listing) {
    let mut first: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    for item in &mut listing.items {
        let Content::Live(path) = &item.content else { continue };
        let Ok(meta) = fs::symlink_metadata(path) else { continue };
        if meta.nlink() < 2 {
            continue;
        }
        match first.entry((meta.dev(), meta.ino())) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(item.entry.path.clone());
            }
            std::collections::hash_map::Entry::Occupied(target) => {
                item.entry.kind = Kind::Hardlink;
                item.entry.size = 0;
                item.entry.link.clone_from(target.get());
                item.content = Content::None;
            }
        }
    }
}
