//! Where entries come from: a git commit, a staged work tree, a data folder with the SQLite databases in it.
//!
//! A commit and a staged tree are listed ([`Listing`]); a data folder, which may be large, is surveyed and then walked
//! ([`folder::Folder`]). Either way nothing but names and metadata is read until [`Pour`] adds the items to an archive.
//! What could not be read, or changed while it was read, is a finding; content is never made up.
pub mod eol;
pub mod folder;
pub mod git;
pub mod sqlite;
pub mod staged;
mod state;

use crate::archive::block::MAX_BLOCK;
use crate::archive::builder::{Builder, StreamError};
use crate::archive::entry::{Entry, Kind, Mtime, order};
use crate::archive::{FormatError, read_full};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::show_bytes;
use crate::tools::git::{Ahead, Wanted};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How often a file that changes while it is read is read again.
const TRIES: u32 = 3;

/// Where the content of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// There is none.
    None,
    /// A file of a live folder: it may change at any time.
    Live(PathBuf),
    /// A SQLite database of a live folder: copied through SQLite.
    Database(PathBuf),
    /// The journal of a database beside it.
    Journal(PathBuf),
    /// A git object, and the line ends that it is checked out with.
    Blob(String, eol::Eol),
}

/// One entry to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its metadata; the size of a live file is that of the listing.
    pub entry: Entry,
    /// Its content.
    pub content: Content,
    /// Device and inode of a file with several names.
    pub inode: Option<Inode>,
    /// What of it cannot be archived.
    pub finding: Option<Finding>,
}

/// Device and inode.
pub type Inode = (u64, u64);

impl Item {
    fn new(entry: Entry, content: Content) -> Self {
        Self { entry, content, inode: None, finding: None }
    }
}

/// Under which name a file of several names stands in the archive already.
#[derive(Default)]
struct Kept(HashMap<Inode, Vec<u8>>);

impl Kept {
    fn first_name(&self, inode: Option<Inode>) -> Option<&Vec<u8>> {
        self.0.get(&inode?)
    }

    fn keep(&mut self, inode: Option<Inode>, name: &[u8]) {
        if let Some(inode) = inode {
            self.0.insert(inode, name.to_vec());
        }
    }
}

/// A commit or a staged tree as it was found.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted in the archive's order.
    pub items: Vec<Item>,
    /// What was passed over: unreadable, of a kind that is not backed up.
    pub findings: Vec<Finding>,
    /// Paths left out by the user's patterns; a folder stands for what is in it.
    pub excluded: Vec<String>,
}

impl Listing {
    /// Bytes of all files, as listed.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.entry.size).sum()
    }

    /// Number of entries with content.
    pub fn files(&self) -> usize {
        self.items.iter().filter(|item| item.content != Content::None).count()
    }

    /// The git objects of all entries, in their order.
    pub fn objects(&self) -> Vec<Wanted> {
        let wanted = |item: &Item| match &item.content {
            Content::Blob(id, _) => Some(Wanted { id: id.clone(), size: item.entry.size }),
            _ => None,
        };
        self.items.iter().filter_map(wanted).collect()
    }

    fn sort(&mut self) {
        self.items.sort_unstable_by(|a, b| order(&a.entry.path, &b.entry.path));
    }
}

/// Patterns in gitignore syntax.
///
/// # Errors
/// When one does not parse.
pub fn patterns(lines: &[String]) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder
            .add_line(None, line)
            .map_err(|error| wrong_pattern(&format!("the pattern {line:?} does not parse: {error}")))?;
    }
    builder.build().map_err(|error| wrong_pattern(&format!("the patterns do not parse: {error}")))
}

fn wrong_pattern(what: &str) -> Error {
    Error::refused(what, "mend `exclude` in recovery.toml: it holds patterns as in .gitignore")
}

/// Why an archive could not be filled.
#[derive(Debug)]
pub enum PourError {
    /// The archive failed.
    Archive(FormatError),
    /// The source, or the run, failed.
    Source(Error),
    /// This large file shrank or failed while its header was already written: begin again, and leave it out if it
    /// does so each time.
    Short(Vec<u8>, String),
}

impl From<FormatError> for PourError {
    fn from(error: FormatError) -> Self {
        Self::Archive(error)
    }
}

impl From<Error> for PourError {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

/// Adds items to an archive, one by one.
pub struct Pour<'a, 'b> {
    builder: &'a mut Builder<'b>,
    objects: Option<Ahead<'a>>,
    kept: Kept,
    /// Databases that were copied through SQLite.
    copied: HashSet<Vec<u8>>,
    /// What was found on the way.
    pub findings: Vec<Finding>,
}

impl<'a, 'b> Pour<'a, 'b> {
    /// Into `builder`; `objects` are those of the items to come, in their order.
    pub fn new(builder: &'a mut Builder<'b>, objects: Option<Ahead<'a>>) -> Self {
        Self { builder, objects, kept: Kept::default(), copied: HashSet::new(), findings: Vec::new() }
    }

    /// What was found on the way.
    pub fn finish(self) -> Vec<Finding> {
        self.findings
    }

    /// Adds an item; `open` is its file, if it is open already. What cannot be read is a finding. The second and later names of a file that is in the archive
    /// become hard links to the first.
    ///
    /// # Errors
    /// See [`PourError`].
    pub fn add(&mut self, item: Item, open: Option<File>) -> Result<(), PourError> {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let Item { entry, content, inode, finding } = item;
        self.findings.extend(finding);
        if let Some(first) = self.kept.first_name(inode) {
            let entry = Entry { kind: Kind::Hardlink, size: 0, link: first.clone(), ..entry };
            return Ok(self.builder.add(entry, &[])?);
        }
        match content {
            Content::None => self.builder.add(entry, &[])?,
            Content::Live(path) => self.named(entry, inode, |pour, entry| pour.live(entry, &path, open))?,
            Content::Database(path) => self.named(entry, inode, |pour, entry| pour.database(entry, &path))?,
            Content::Journal(path) => self.named(entry, inode, |pour, entry| pour.journal(entry, &path))?,
            Content::Blob(id, eol) => self.blob(entry, &id, eol)?,
        }
        Ok(())
    }

    /// Adds a file with `add`, and remembers its name when it is in the archive.
    fn named(
        &mut self,
        entry: Entry,
        inode: Option<Inode>,
        add: impl FnOnce(&mut Self, Entry) -> Result<bool, PourError>,
    ) -> Result<(), PourError> {
        let name = inode.map(|_| entry.path.clone());
        if add(self, entry)? {
            self.kept.keep(inode, &name.unwrap_or_default());
        }
        Ok(())
    }

    /// An object of a commit.
    fn blob(&mut self, entry: Entry, id: &str, eol: eol::Eol) -> Result<(), PourError> {
        let defect =
            || Error::refused("a commit's objects without a repository", "this is a defect: report it");
        let objects = self.objects.as_mut().ok_or_else(defect)?;
        let broken = |error: &dyn std::fmt::Display| {
            PourError::Source(Error::refused(format!("object {id}: {error}"), "run `git fsck`"))
        };
        if eol != eol::Eol::Asis {
            let content = eol.apply(objects.read(id)?);
            return Ok(self.builder.add(Entry { size: content.len() as u64, ..entry }, &content)?);
        }
        let (size, mut content) = objects.open(id)?;
        let entry = Entry { size, ..entry };
        if entry.encoded_len() > MAX_BLOCK {
            return self.builder.stream(entry, &mut content).map_err(|error| match error {
                StreamError::Format(error) => error.into(),
                error => broken(&error),
            });
        }
        let mut filling = self.builder.begin(entry)?;
        content.read_exact(filling.content()).map_err(|error| broken(&error))?;
        filling.keep();
        Ok(())
    }

    /// A file of a live folder. Up to a block it is read whole, and again while it changes, so that its size is that
    /// of what was read; a larger one is streamed. Returns whether it is in the archive.
    fn live(&mut self, entry: Entry, path: &Path, already: Option<File>) -> Result<bool, PourError> {
        let (name, mut already) = (entry.path.clone(), already);
        let mut unreadable = |error: &std::io::Error| {
            self.findings.push(unreadable(&show_bytes(&name), error));
            Ok(false)
        };
        for tried in 1..=TRIES {
            let opened = already.take().map_or_else(|| open(path), Ok);
            let (meta, mut file) = match opened.and_then(|file| Ok((file.metadata()?, file))) {
                Ok(opened) => opened,
                Err(error) => return unreadable(&error),
            };
            if !meta.is_file() {
                let what = "was a file when the folder was listed, and is none now; passed over";
                self.findings.push(Finding::warning(show_bytes(&name), what, "run again"));
                return Ok(false);
            }
            let entry = Entry { size: meta.len(), mtime: mtime(&meta), ..entry.clone() };
            if entry.encoded_len() > MAX_BLOCK {
                return self.large(entry, &meta, file);
            }
            let mut filling = self.builder.begin(entry.clone())?;
            let read = read_full(&mut file, filling.content());
            let (count, after) = match read.and_then(|count| Ok((count, file.metadata()?))) {
                Ok(read) => read,
                Err(error) => {
                    drop(filling);
                    return unreadable(&error);
                }
            };
            let steady = Steady::of(&meta, &after, count as u64);
            if steady == Steady::Yes || (tried == TRIES && count as u64 == meta.len()) {
                filling.keep();
            } else if tried == TRIES {
                // It shrank each time: what there was of it.
                let content = filling.content()[..count].to_vec();
                drop(filling);
                self.builder.add(Entry { size: count as u64, ..entry }, &content)?;
            } else {
                continue;
            }
            self.findings.extend(steady.finding(&show_bytes(&name)));
            break;
        }
        Ok(true)
    }

    fn large(&mut self, entry: Entry, meta: &Metadata, mut file: File) -> Result<bool, PourError> {
        let path = entry.path.clone();
        let size = entry.size;
        match self.builder.stream(entry, &mut Watched(&mut file)) {
            Ok(()) => {}
            Err(StreamError::Format(error)) => return Err(error.into()),
            Err(StreamError::Short { .. } | StreamError::Read(_)) if interrupted() => {
                return Err(Error::Interrupted.into());
            }
            Err(StreamError::Short { .. }) => return Err(PourError::Short(path, "shrank".into())),
            Err(StreamError::Read(error)) => {
                return Err(PourError::Short(path, format!("could not be read to its end ({error})")));
            }
        }
        if let Ok(after) = file.metadata() {
            self.findings.extend(Steady::of(meta, &after, size).finding(&show_bytes(&path)));
        }
        Ok(true)
    }
}

/// Opens without following a link that took the file's place, and without waiting on a pipe that did.
fn open(path: &Path) -> std::io::Result<File> {
    Ok(open_at(rustix::fs::CWD, path)?)
}

/// The same from an open folder.
fn open_at(folder: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, path, flags, Mode::empty())?))
}

/// Whether a file held still while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steady {
    Yes,
    Grew,
    No,
}

impl Steady {
    fn of(before: &Metadata, after: &Metadata, read: u64) -> Self {
        // Without a name it was removed, or another file was put in its place.
        let named = after.nlink() > 0;
        if named && mtime(before) == mtime(after) && read == after.len() && before.len() == after.len() {
            Self::Yes
        } else if named && after.len() >= read && after.len() > before.len() {
            Self::Grew
        } else {
            Self::No
        }
    }

    fn finding(self, name: &str) -> Option<Finding> {
        match self {
            Self::Yes => None,
            Self::Grew => {
                Some(Finding::info(name, "grew while it was read; the backup holds it up to that point"))
            }
            Self::No => Some(Finding::warning(
                name,
                format!("kept changing while it was read, {TRIES} times; the copy may mix two states"),
                "back it up while it is quiet, or exclude it",
            )),
        }
    }
}

/// A file that stops being read when the run is interrupted.
struct Watched<'a>(&'a mut File);

impl std::io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if interrupted() {
            return Ok(0);
        }
        self.0.read(buffer)
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Finding {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Finding::warning(name, "vanished before it was read", "exclude it if it comes and goes");
    }
    Finding::error(
        name,
        format!("could not be read and is NOT in the backup: {error}"),
        "let the backup's user read it, or exclude it",
    )
}

/// Modification time of a file.
fn mtime(meta: &Metadata) -> Mtime {
    Mtime { seconds: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) }
}
