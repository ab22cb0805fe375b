//! Where entries come from: a git commit, a staged work tree, a data folder with the SQLite databases in it.
//!
//! A source is first listed ([`Listing`]: sorted, nothing read but names and metadata), so that a plan can be
//! printed and the tools be known, and then poured into an archive. What could not be read, or changed while it
//! was read, is a finding; content is never made up.
pub mod folder;
pub mod git;
pub mod sqlite;
pub mod staged;

use crate::archive::FormatError;
use crate::archive::block::MAX_BLOCK;
use crate::archive::entry::{Entry, Mtime};
use crate::archive::writer::{Builder, StreamError};
use crate::destination::durable::interrupted;
use crate::error::{Error, Result};
use crate::finding::{Finding, show_bytes};
use crate::tools::git::Blobs;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::fs::{File, Metadata};
use std::io::Read as _;
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
    /// A git object.
    Blob(String),
}

/// One entry to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its metadata; the size of a live file is that of the listing.
    pub entry: Entry,
    /// Its content.
    pub content: Content,
}

/// A source as it was found.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted by path bytes.
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

    /// Whether any entry is a SQLite database.
    pub fn has_databases(&self) -> bool {
        self.items.iter().any(|item| matches!(item.content, Content::Database(_)))
    }

    fn sort(&mut self) {
        self.items.sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path));
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
            .map_err(|error| Error::Usage(format!("the pattern {line:?} does not parse: {error}")))?;
    }
    builder.build().map_err(|error| Error::Usage(format!("the patterns do not parse: {error}")))
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
    Shrunk(Vec<u8>),
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

/// Adds every item to the archive. Returns what was found on the way.
///
/// # Errors
/// See [`PourError`].
pub fn pour(
    items: &[Item],
    blobs: Option<&mut Blobs>,
    builder: &mut Builder,
) -> Result<Vec<Finding>, PourError> {
    let mut findings = Vec::new();
    let mut blobs = blobs;
    for item in items {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        match &item.content {
            Content::None => builder.add(item.entry.clone(), &[])?,
            Content::Live(path) => live(item.entry.clone(), path, builder, &mut findings)?,
            Content::Database(path) => sqlite::pour(&item.entry, path, builder, &mut findings)?,
            Content::Blob(id) => {
                let blobs = blobs.as_deref_mut().ok_or_else(|| {
                    Error::refused("a commit's objects without a repository", "this is a defect: report it")
                })?;
                let content = blobs.read(id)?;
                let entry = Entry { size: content.len() as u64, ..item.entry.clone() };
                builder.add(entry, &content)?;
            }
        }
    }
    Ok(findings)
}

/// A file of a live folder. Up to a block it is read whole, and again while it changes, so that its size is that of
/// what was read; a larger one is streamed.
fn live(
    entry: Entry,
    path: &Path,
    builder: &mut Builder,
    findings: &mut Vec<Finding>,
) -> Result<(), PourError> {
    let name = show_bytes(&entry.path);
    let opened = open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (meta, file) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(unreadable(&name, &error));
            return Ok(());
        }
    };
    if meta.len() > MAX_BLOCK - (1 << 20) {
        return large(Entry { size: meta.len(), ..entry }, &meta, file, builder, findings);
    }
    match read_steady(path, meta, file) {
        Err(error) => findings.push(unreadable(&name, &error)),
        Ok((content, meta, steady)) => {
            findings.extend(steady.finding(&name));
            let entry = Entry { size: content.len() as u64, mtime: mtime(&meta), ..entry };
            builder.add(entry, &content)?;
        }
    }
    Ok(())
}

/// Opens without following a link that took the file's place, and without waiting on a pipe that did.
fn open(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
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
        let same_file = (before.dev(), before.ino()) == (after.dev(), after.ino());
        if same_file && mtime(before) == mtime(after) && read == after.len() && before.len() == after.len() {
            Self::Yes
        } else if same_file && after.len() >= read && after.len() > before.len() {
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

fn read_steady(path: &Path, meta: Metadata, file: File) -> std::io::Result<(Vec<u8>, Metadata, Steady)> {
    let (mut meta, mut file) = (meta, file);
    let mut tried = 1;
    loop {
        let mut content = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        (&mut file).take(MAX_BLOCK - (1 << 20)).read_to_end(&mut content)?;
        let after = std::fs::symlink_metadata(path)?;
        let steady = Steady::of(&meta, &after, content.len() as u64);
        if steady == Steady::Yes || tried == TRIES {
            return Ok((content, meta, steady));
        }
        tried += 1;
        file = open(path)?;
        meta = file.metadata()?;
    }
}

fn large(
    entry: Entry,
    meta: &Metadata,
    mut file: File,
    builder: &mut Builder,
    findings: &mut Vec<Finding>,
) -> Result<(), PourError> {
    let path = entry.path.clone();
    let name = show_bytes(&path);
    let size = entry.size;
    match builder.stream(Entry { mtime: mtime(meta), ..entry }, &mut Watched(&mut file)) {
        Ok(()) => {}
        Err(StreamError::Format(error)) => return Err(error.into()),
        Err(StreamError::Short { .. } | StreamError::Read(_)) if interrupted() => {
            return Err(Error::Interrupted.into());
        }
        Err(StreamError::Short { .. } | StreamError::Read(_)) => return Err(PourError::Shrunk(path)),
    }
    if let Ok(after) = file.metadata() {
        findings.extend(Steady::of(meta, &after, size).finding(&name));
    }
    Ok(())
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
