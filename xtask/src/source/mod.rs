//! Where entries come from: a git commit, a staged work tree, a data folder with the SQLite databases in it.
//!
//! A commit and a staged tree are listed ([`Listing`]); a data folder, which may be large, is surveyed and then walked
//! ([`folder::Folder`]). Either way nothing but names and metadata is read until [`Pour`] adds the items to an archive.
//! What could not be read, or changed while it was read, is a finding; content is never made up.
pub mod eol;
pub mod folder;
pub mod git;
pub mod live;
pub mod mirror;
pub mod policy;
pub mod rules;
pub mod sqlite;
pub mod staged;
mod state;
pub mod walk;
mod xattrs;

use crate::archive::FormatError;
use crate::archive::block::MAX_BLOCK;
use crate::archive::builder::{Builder, StreamError};
use crate::archive::entry::{Entry, Kind, order};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::progress::{self, Counted};
use crate::tools::git::{Ahead, Submodule, Wanted};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

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
    /// The submodules of a commit, as they stand in it.
    pub submodules: Vec<Submodule>,
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
            .add_line(None, &literal_braces(line)?)
            .map_err(|error| wrong_pattern(&format!("the pattern {line:?} does not parse: {error}")))?;
    }
    builder.build().map_err(|error| wrong_pattern(&format!("the patterns do not parse: {error}")))
}

/// Braces mean nothing in gitignore(5), and alternatives to the library that parses it; a `[` without an end matches
/// nothing there, and itself here.
fn literal_braces(line: &str) -> Result<String> {
    let mut literal = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            // A class to its end: the first `]` in it is one of its characters.
            '[' => {
                let inner = rest[1..].strip_prefix(['!', '^']).unwrap_or(&rest[1..]);
                let inner = inner.strip_prefix(']').unwrap_or(inner);
                let end = inner.find(']').ok_or_else(|| {
                    wrong_pattern(&format!("the pattern {line:?} has a `[` without its `]`"))
                })?;
                rest.len() - inner.len() + end + 1
            }
            '{' | '}' => {
                literal.push('\\');
                1
            }
            other => other.len_utf8(),
        };
        literal.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Ok(literal)
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
    /// This large file was written to while it was read into the archive: begin again, or have [`live::Reading`] take it
    /// as it is.
    Changed(Vec<u8>),
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
    reading: Option<live::Reading>,
    kept: Kept,
    /// Databases that were copied through SQLite.
    copied: HashSet<Vec<u8>>,
    /// What was found on the way.
    pub findings: Vec<Finding>,
}

impl<'a, 'b> Pour<'a, 'b> {
    /// Into `builder`; `objects` are those of the items to come, in their order.
    pub fn new(builder: &'a mut Builder<'b>, objects: Option<Ahead<'a>>) -> Self {
        let (kept, copied) = (Kept::default(), HashSet::new());
        Self { builder, objects, reading: None, kept, copied, findings: Vec::new() }
    }

    /// Into `builder`, from a folder that others may write to.
    pub fn from_live(builder: &'a mut Builder<'b>, reading: live::Reading) -> Self {
        Self { reading: Some(reading), ..Self::new(builder, None) }
    }

    /// What was found on the way.
    pub fn finish(self) -> Vec<Finding> {
        self.findings
    }

    /// Adds an item; `open` is its file, if it is open already. What cannot be read is a finding. The second and later
    /// names of a file that is in the archive become hard links to the first.
    ///
    /// # Errors
    /// See [`PourError`].
    pub fn add(&mut self, item: Item, open: Option<File>) -> Result<(), PourError> {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let Item { entry, content, inode, finding } = item;
        // What is larger than a block is counted while it is read.
        let size = if entry.encoded_len() > MAX_BLOCK { 0 } else { entry.size };
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
        progress::moved(size);
        progress::finished(1);
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
            let mut content = Counted(&mut content);
            let streamed = self.builder.stream(entry, &mut content).map_err(|error| match error {
                StreamError::Format(error) => error.into(),
                error => broken(&error),
            });
            return streamed.map(drop);
        }
        let mut filling = self.builder.begin(entry)?;
        content.read_exact(filling.content()).map_err(|error| broken(&error))?;
        filling.keep();
        Ok(())
    }
}

/// Opens without following a link that took the file's place, and without waiting on a pipe that did.
fn open(path: &Path) -> std::io::Result<File> {
    Ok(open_at(rustix::fs::CWD, path)?)
}

/// The same from an open folder.
fn open_at(folder: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::io::retry_on_intr(|| rustix::fs::openat(folder, path, flags, Mode::empty()))?))
}
