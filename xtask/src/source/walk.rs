//! The walk through a data folder, name by name.
//!
//! Follows no link, so a loop of links is just links. Sockets, pipes and devices are passed over and reported. Holds the
//! names of the folders above it at a time. Does not read content, except the first 16 bytes of what could be a SQLite
//! database, and the tag of a cache. Names are looked up from their open folder, and files are opened at once: lookups
//! cost.
use super::rules::{Judge, LeftOut};
use super::state::{Facts, State};
use super::xattrs::xattrs;
use super::{Content, Item, live};
use crate::archive::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::finding::{self, Finding};
use crate::interrupt::interrupted;
use crate::shown::show_bytes;
use crate::tools::sqlite::is_database;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use xattr::FileExt as _;

/// Below this many folders names are looked up by their whole path: every open folder costs a descriptor.
pub(super) const OPEN_FOLDERS: usize = 100;

/// What a walk meets.
#[derive(Debug)]
pub enum Met {
    /// An entry, and its file if that was opened.
    Item(Item, Option<File>),
    /// A path that is left out, and why; a folder stands for what is in it.
    Excluded(Vec<u8>, LeftOut),
    /// Something that cannot be archived.
    Finding(Finding),
}

/// A walk under way.
pub(super) struct Walk<'a, E> {
    /// The folder that is walked through.
    pub(super) root: &'a Path,
    /// What of it is left out.
    pub(super) judge: &'a Judge,
    /// On which the folder itself lies.
    pub(super) device: u64,
    /// Of a walk that only looks at what there is; one without it opens files, to read them.
    pub(super) state: Option<&'a mut State>,
    pub(super) visit: &'a mut dyn FnMut(Met) -> Result<(), E>,
}

pub(super) fn open_folder(at: BorrowedFd<'_>, path: &Path, links: OFlags) -> rustix::io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
    Dir::new(rustix::io::retry_on_intr(|| rustix::fs::openat(at, path, flags, Mode::empty()))?)
}

impl<E: From<Error>> Walk<'_, E> {
    /// What is in the open folder `dir`, which lies at `path` and is called `name` in the archive.
    pub(super) fn folder(&mut self, mut dir: Dir, path: &Path, name: &[u8], depth: usize) -> Result<(), E> {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let names = match names(&mut dir) {
            Ok(names) => names,
            Err(error) => return self.unreadable(name, error),
        };
        let kept = (depth < OPEN_FOLDERS).then_some(dir);
        let mut databases = HashSet::new();
        for (part, listed) in names {
            let inside = path.join(OsStr::from_bytes(&part));
            let name = [name, b"/", &part[..]].concat();
            let fd = kept
                .as_ref()
                .map(Dir::fd)
                .transpose()
                .map_err(|error| Error::io("read", path)(error.into()))?;
            let place = match fd {
                Some(fd) => (fd, Path::new(OsStr::from_bytes(&part))),
                None => (CWD, inside.as_path()),
            };
            match self.meet(place, &inside, name.clone(), listed, &databases)? {
                Entered::Nothing => {}
                Entered::Database => drop(databases.insert(part)),
                Entered::Folder => match open_folder(place.0, place.1, OFlags::NOFOLLOW) {
                    Ok(dir) => self.folder(dir, &inside, &name, depth + 1)?,
                    Err(Errno::NOTDIR | Errno::LOOP) => {
                        let what = "was a folder when it was listed, and is none now; what is in the backup is empty";
                        let found = Finding::warning(show_bytes(&name), what, "run again");
                        (self.visit)(Met::Finding(found.of_kind(finding::Kind::Turned)))?;
                    }
                    Err(error) => self.unreadable(&name, error)?,
                },
            }
        }
        Ok(())
    }

    fn reads(&self) -> bool {
        self.state.is_none()
    }

    pub(super) fn note(&mut self, name: &[u8], facts: &Facts) {
        if let Some(state) = &mut self.state {
            state.add(name, facts);
        }
    }

    fn unreadable(&mut self, name: &[u8], error: Errno) -> Result<(), E> {
        (self.visit)(Met::Finding(live::unreadable(&show_bytes(name), &error.into())))
    }

    /// One name of a folder; `databases` are those that stand before it there.
    fn meet(
        &mut self,
        (fd, relative): (BorrowedFd<'_>, &Path),
        path: &Path,
        name: Vec<u8>,
        listed: FileType,
        databases: &HashSet<Vec<u8>>,
    ) -> Result<Entered, E> {
        let inside = path.strip_prefix(self.root).unwrap_or(path);
        let leave_out = |walk: &mut Self, why: LeftOut| {
            let path = inside.as_os_str().as_bytes().to_vec();
            (walk.visit)(Met::Excluded(path, why)).map(|()| Entered::Nothing)
        };
        let judge = self.judge;
        // What is left out is not even opened.
        if let Some(why) = (listed != FileType::Unknown).then(|| judge.by_name(inside, listed)).flatten() {
            return leave_out(self, why);
        }
        let read = self.reads() && listed == FileType::RegularFile;
        let opened = read.then(|| super::open_at(fd, relative)).transpose();
        let (stat, file) = match opened {
            Ok(Some(file)) => (rustix::fs::fstat(&file), Some(file)),
            // What took its place is looked at for what it is.
            Ok(None) | Err(Errno::LOOP | Errno::NXIO | Errno::OPNOTSUPP) => {
                (rustix::fs::statat(fd, relative, AtFlags::SYMLINK_NOFOLLOW), None)
            }
            Err(error) => (Err(error), None),
        };
        let facts = match stat {
            Ok(stat) => Facts::of(&stat),
            // A journal goes with its transaction, and SQLite's copy needs none.
            Err(Errno::NOENT) if judge.copies_databases() && journal_of(path, databases) => {
                return Ok(Entered::Nothing);
            }
            Err(error) => return self.unreadable(&name, error).map(|()| Entered::Nothing),
        };
        let mut left_out = judge.by_facts(facts.kind, facts.size, facts.inode, self.device);
        if listed == FileType::Unknown {
            left_out = judge.by_name(inside, facts.kind).or(left_out);
        }
        if facts.kind == FileType::Directory {
            left_out = left_out.or_else(|| judge.by_content(fd, relative));
        }
        if let Some(why) = left_out {
            return leave_out(self, why);
        }
        let (kind, content) = match facts.kind {
            FileType::Directory => (Kind::Folder, Content::None),
            FileType::Symlink => (Kind::Symlink, Content::None),
            FileType::RegularFile => {
                let copy = judge.copies_databases();
                let content = if copy && holds_database((fd, relative), facts.size, file.as_ref()) {
                    Content::Database(path.to_owned())
                } else if journal_of(path, databases) {
                    Content::Journal(path.to_owned())
                } else {
                    Content::Live(path.to_owned())
                };
                (Kind::File, content)
            }
            other => {
                let what = match other {
                    FileType::Socket => "a socket",
                    FileType::Fifo => "a pipe",
                    _ => "a device",
                };
                let what = format!("is {what}, which has no content to back up; passed over");
                self.note(&name, &facts);
                (self.visit)(Met::Finding(Finding::info(show_bytes(&name), what)))?;
                return Ok(Entered::Nothing);
            }
        };
        match content {
            Content::Journal(_) if name.ends_with(b"-shm") => {}
            Content::Journal(_) if name.ends_with(b"-wal") => self.note(&name, &facts.written()),
            _ => self.note(&name, &facts),
        }
        let entered = match (kind, &content) {
            (Kind::Folder, _) => Entered::Folder,
            (_, Content::Database(_)) => Entered::Database,
            _ => Entered::Nothing,
        };
        self.item(path, file, &facts, name, kind, content)?;
        Ok(entered)
    }

    pub(super) fn item(
        &mut self,
        path: &Path,
        file: Option<File>,
        facts: &Facts,
        name: Vec<u8>,
        kind: Kind,
        content: Content,
    ) -> Result<(), E> {
        let reading = self.reads();
        let link = match kind {
            Kind::Symlink if reading => match fs::read_link(path) {
                Ok(target) => target.as_os_str().as_bytes().to_vec(),
                Err(error) => {
                    return (self.visit)(Met::Finding(live::unreadable(&show_bytes(&name), &error)));
                }
            },
            _ => Vec::new(),
        };
        let mut entry = Entry {
            kind,
            size: if kind == Kind::File { facts.size } else { 0 },
            mode: facts.mode,
            uid: facts.uid.into(),
            gid: facts.gid.into(),
            mtime: facts.mtime,
            link,
            xattrs: Vec::new(),
            path: name,
        };
        let mut finding = None;
        if kind != Kind::Symlink && reading {
            let xattrs = match &file {
                Some(file) => xattrs(|| file.list_xattr(), |name| file.get_xattr(name)),
                None => xattrs(|| xattr::list(path), |name| xattr::get(path, name)),
            };
            match xattrs {
                Ok(xattrs) => entry.xattrs = xattrs,
                Err(what) => {
                    let what = format!("has extended attributes that are NOT in the backup: {what}");
                    let repair = "its content is; keep the attributes elsewhere";
                    finding = Some(Finding::error(show_bytes(&entry.path), what, repair));
                }
            }
        }
        let inode = (kind == Kind::File && facts.links > 1).then_some(facts.inode);
        (self.visit)(Met::Item(Item { entry, content, inode, finding }, file))
    }
}

/// What a name turned out to be.
enum Entered {
    Nothing,
    Folder,
    Database,
}

/// The names in a folder in the order of their bytes, and what the folder says they are.
fn names(dir: &mut Dir) -> rustix::io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    for entry in dir {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _): &(Vec<u8>, _)| one.cmp(other));
    Ok(names)
}

/// A database file is a whole number of pages, and a page at least 512 bytes: no other file is opened.
fn holds_database((fd, path): (BorrowedFd<'_>, &Path), size: u64, file: Option<&File>) -> bool {
    use std::os::unix::fs::FileExt as _;
    if size < 512 || !size.is_multiple_of(512) {
        return false;
    }
    let mut magic = [0; 16];
    let read = match file {
        Some(file) => file.read_exact_at(&mut magic, 0),
        None => {
            super::open_at(fd, path).map_err(Into::into).and_then(|file| file.read_exact_at(&mut magic, 0))
        }
    };
    read.is_ok() && is_database(&magic)
}

/// Whether a file is the journal of a database beside it, which in the order of the bytes stands before it.
fn journal_of(path: &Path, databases: &HashSet<Vec<u8>>) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    super::sqlite::database_of(name).is_some_and(|base| databases.contains(base))
}
