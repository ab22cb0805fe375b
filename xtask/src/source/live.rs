//! Reads files that others may write to, so that what is archived is a state that the file was in.
//!
//! When a file's times, its length and its name are the same after the reading as before, nobody wrote to it. When they
//! are not, or are so young that the clock of the file system could not tell, the bytes are read once more: what is
//! there at two readings, each of them later than the other, stood in the file between them. So a log that only grew is
//! archived up to the length that it had when it was opened, and a file that another one replaced is archived whole, as
//! it was. What is not the same twice is read anew, and archived with a warning when that did not help.
//!
//! It is no proof against a write that is undone between the two readings.
use super::rules::Databases;
use super::{Pour, PourError, open};
use crate::archive::block::MAX_BLOCK;
use crate::archive::builder::StreamError;
use crate::archive::entry::{Entry, Mtime};
use crate::archive::read_full;
use crate::error::Error;
use crate::finding::{Finding, Kind};
use crate::interrupt::interrupted;
use crate::progress::Counted;
use crate::shown::show_bytes;
use crate::tools::sqlite::is_database;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// How often a file that changes while it is read is read.
pub const TRIES: u32 = 3;
/// The coarsest clock of a file system: FAT counts two seconds.
const TICK: i64 = 2;
/// Bytes that are compared at a time.
const PIECE: usize = 1 << 16;

/// How the files of a live folder are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// A time before the run began to look: what was changed since then is read twice.
    pub since: Mtime,
    /// Whether SQLite databases are copied through SQLite.
    pub databases: Databases,
    /// A private folder for SQLite's copies; without one none is made.
    pub room: Option<PathBuf>,
    /// Whether a file over a block that changes ends the archive ([`PourError::Changed`]), or is taken with a warning.
    pub begin_again: bool,
}

/// What was seen of a file around a reading.
struct Seen {
    before: Metadata,
    after: Metadata,
    read: u64,
}

/// What a reading is worth.
enum Worth {
    /// The bytes stood in the file as they were read.
    True,
    /// So they did, and others came behind them.
    Grew,
    /// So they did, and the file has lost its name since.
    Unnamed,
    /// There are fewer of them than there were when it was opened.
    Shrank,
    /// They may mix two states.
    Torn,
    /// More of them can be read than the system says there are.
    Longer,
}

/// What came of a file that fits a block.
enum Small {
    /// It is in the archive.
    Kept(Option<Finding>),
    /// It is better read again.
    Again,
    /// It could not be read.
    Unreadable(io::Error),
}

impl Seen {
    /// `again` reads the same bytes once more, and says whether they are the same.
    fn worth(
        &self,
        file: &File,
        since: Option<Mtime>,
        again: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<Worth> {
        let (before, after) = (&self.before, &self.after);
        if self.read < before.len() {
            return Ok(Worth::Shrank);
        }
        let times = |meta: &Metadata| (mtime(meta), changed(meta));
        let still = times(before) == times(after) && before.len() == after.len();
        let young = since.is_some_and(|since| {
            mtime(after).max(changed(after)).seconds >= since.seconds.saturating_sub(TICK)
        });
        if (!still || young) && !again()? {
            return Ok(Worth::Torn);
        }
        let last = if still && !young { after.clone() } else { file.metadata()? };
        Ok(match last {
            last if last.nlink() == 0 => Worth::Unnamed,
            last if last.len() > self.read => Worth::Grew,
            _ if file.read_at(&mut [0], self.read)? == 0 => Worth::True,
            _ if file.metadata()?.len() > self.read => Worth::Grew,
            _ => Worth::Longer,
        })
    }
}

impl Pour<'_, '_> {
    /// A file of a live folder. Up to a block it is read whole, and again while it changes, so that its size is that
    /// of what was read; a larger one is streamed. Returns whether it is in the archive.
    pub(super) fn live(
        &mut self,
        entry: Entry,
        path: &Path,
        mut already: Option<File>,
    ) -> Result<bool, PourError> {
        let name = show_bytes(&entry.path);
        let mut tried = 1;
        loop {
            let opened = already.take().map_or_else(|| open(path), Ok);
            let (before, file) = match opened.and_then(|file| Ok((file.metadata()?, file))) {
                Ok(opened) => opened,
                Err(error) => return self.not_there(gone_or_unreadable(&name, &error)),
            };
            if !before.is_file() {
                return self.not_there(other_kind(&name, before.file_type(), "passed over"));
            }
            let entry = Entry { size: before.len(), mtime: mtime(&before), ..entry.clone() };
            if entry.encoded_len() > MAX_BLOCK {
                return self.large(entry, before, &file, path);
            }
            match self.small(entry, before, &file, path, tried == TRIES)? {
                Small::Kept(finding) => {
                    self.findings.extend(finding);
                    return Ok(true);
                }
                Small::Again => tried += 1,
                Small::Unreadable(error) => return self.not_there(gone_or_unreadable(&name, &error)),
            }
        }
    }

    fn not_there(&mut self, finding: Finding) -> Result<bool, PourError> {
        self.findings.push(finding);
        Ok(false)
    }

    /// Reads a file that fits a block, and adds it; at the `last` try whatever was read of it.
    fn small(
        &mut self,
        entry: Entry,
        before: Metadata,
        mut file: &File,
        path: &Path,
        last: bool,
    ) -> Result<Small, PourError> {
        let name = show_bytes(&entry.path);
        let since = self.reading.as_ref().map(|reading| reading.since);
        let mut filling = self.builder.begin(entry.clone())?;
        let read = || -> io::Result<(usize, Worth)> {
            let count = read_full(&mut file, filling.content())?;
            let seen = Seen { before, after: file.metadata()?, read: count as u64 };
            let worth = seen.worth(file, since, || same_again(file, &filling.content()[..count]))?;
            Ok((count, worth))
        };
        let (count, worth) = match read() {
            Ok(read) => read,
            Err(error) => return Ok(Small::Unreadable(error)),
        };
        let finding = match worth {
            Worth::True => odd_database(&name, self.reading.as_ref(), filling.content()),
            Worth::Grew => Some(grew(&name, entry.size)),
            Worth::Longer => Some(longer(&name, entry.size)),
            Worth::Unnamed => match took_its_place(&name, path) {
                None if !last => return Ok(Small::Again),
                None => Some(replaced(&name)),
                told => told,
            },
            _ if !last => return Ok(Small::Again),
            Worth::Torn => Some(torn(&name)),
            Worth::Shrank => {
                let content = filling.content()[..count].to_vec();
                drop(filling);
                self.builder.add(Entry { size: count as u64, ..entry }, &content)?;
                return Ok(Small::Kept(Some(shrank(&name, count))));
            }
        };
        filling.keep();
        Ok(Small::Kept(finding))
    }

    /// Streams a file over a block.
    fn large(&mut self, entry: Entry, before: Metadata, file: &File, path: &Path) -> Result<bool, PourError> {
        let (key, size) = (entry.path.clone(), entry.size);
        let name = show_bytes(&key);
        let digest = match self.builder.stream(entry, &mut Counted(Watched(file))) {
            Ok(digest) => digest,
            Err(StreamError::Format(error)) => return Err(error.into()),
            Err(StreamError::Short { .. } | StreamError::Read(_)) if interrupted() => {
                return Err(Error::Interrupted.into());
            }
            Err(StreamError::Short { .. }) => return Err(PourError::Short(key, "shrank".into())),
            Err(StreamError::Read(error)) => {
                return Err(PourError::Short(key, format!("could not be read to its end ({error})")));
            }
        };
        let since = self.reading.as_ref().map(|reading| reading.since);
        let mut first = [0; 16];
        let worth = file.read_at(&mut first, 0).and(file.metadata()).and_then(|after| {
            Seen { before, after, read: size }.worth(file, since, || Ok(sha256(file, size)? == digest))
        });
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let finding = match worth {
            Ok(Worth::True) => odd_length(&name, self.reading.as_ref(), &first, size),
            Ok(Worth::Grew) => Some(grew(&name, size)),
            Ok(Worth::Longer) => Some(longer(&name, size)),
            Ok(Worth::Unnamed) => took_its_place(&name, path).or_else(|| Some(replaced(&name))),
            Ok(Worth::Torn | Worth::Shrank) | Err(_) => {
                if self.reading.as_ref().is_some_and(|reading| reading.begin_again) {
                    return Err(PourError::Changed(key));
                }
                Some(torn(&name))
            }
        };
        self.findings.extend(finding);
        Ok(true)
    }
}

/// Whether these bytes still stand at the beginning of the file.
fn same_again(file: &File, bytes: &[u8]) -> io::Result<bool> {
    let mut piece = vec![0; PIECE.min(bytes.len())];
    for (index, expected) in bytes.chunks(PIECE).enumerate() {
        let piece = &mut piece[..expected.len()];
        match file.read_exact_at(piece, (index * PIECE) as u64) {
            Ok(()) if piece == expected => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Of the first `size` bytes, or of those that are left.
fn sha256(file: &File, size: u64) -> io::Result<[u8; 32]> {
    let (mut hash, mut piece, mut at) = (Sha256::new(), vec![0; PIECE], 0);
    while at < size && !interrupted() {
        let want = (size - at).min(PIECE as u64) as usize;
        match file.read_at(&mut piece[..want], at) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&piece[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().into())
}

/// A file that stops being read when the run is interrupted.
struct Watched<'a>(&'a File);

impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupted() {
            return Ok(0);
        }
        self.0.read(buffer)
    }
}

fn grew(name: &str, bytes: u64) -> Finding {
    let what = format!("grew while it was read; the backup holds the {bytes} bytes that it had before");
    Finding::info(name, what).of_kind(Kind::Grew)
}

fn longer(name: &str, bytes: u64) -> Finding {
    let what = format!(
        "has more bytes than the {bytes} that its file system tells of; what is behind them is NOT in the backup"
    );
    let repair = "exclude it, and save it with a command in `before`";
    Finding::error(name, what, repair).of_kind(Kind::Unreadable)
}

fn shrank(name: &str, bytes: usize) -> Finding {
    let what =
        format!("shrank while it was read, {TRIES} times; the backup holds the {bytes} bytes that were left");
    Finding::warning(name, what, "back it up while it is quiet, or exclude it").of_kind(Kind::Shrank)
}

fn torn(name: &str) -> Finding {
    let what = format!("kept changing while it was read, {TRIES} times; the copy may mix two states");
    let repair = "back it up while it is quiet, with `consistency = \"staged\"`, or exclude it";
    Finding::warning(name, what, repair).of_kind(Kind::Changed)
}

fn replaced(name: &str) -> Finding {
    let what = "was replaced by another file while it was read; the backup holds it as it was before";
    Finding::info(name, what).of_kind(Kind::Replaced)
}

/// What has the place of a file that was read whole and has no name any more; `None` for another file.
fn took_its_place(name: &str, path: &Path) -> Option<Finding> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() => None,
        Ok(meta) => Some(other_kind(name, meta.file_type(), "the backup holds the file as it was before")),
        Err(_) => {
            let what = "was removed while it was read; the backup holds it as it was before";
            Some(Finding::info(name, what).of_kind(Kind::Vanished))
        }
    }
}

fn other_kind(name: &str, kind: FileType, then: &str) -> Finding {
    let now = match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let what = format!("was a file when the folder was listed, and is {now} now; {then}");
    Finding::warning(name, what, "run again").of_kind(Kind::Turned)
}

fn gone_or_unreadable(name: &str, error: &io::Error) -> Finding {
    // Of a file that was to be read: a link or a socket is not opened.
    match Errno::from_io_error(error) {
        Some(Errno::LOOP | Errno::NXIO | Errno::OPNOTSUPP) => {
            let what = "was a file when the folder was listed, and is a link or a socket now; passed over";
            Finding::warning(name, what, "run again").of_kind(Kind::Turned)
        }
        _ => unreadable(name, error),
    }
}

/// What cannot be opened or read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> Finding {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        let what = "vanished before it was read";
        return Finding::warning(name, what, "exclude it if it comes and goes").of_kind(Kind::Vanished);
    }
    Finding::error(
        name,
        format!("could not be read and is NOT in the backup: {error}"),
        "let the backup's user read it, or exclude it",
    )
    .of_kind(Kind::Unreadable)
}

fn odd_database(name: &str, reading: Option<&Reading>, content: &[u8]) -> Option<Finding> {
    odd_length(name, reading, content, content.len() as u64)
}

/// A database is a whole number of pages, and a page at least 512 bytes: one of another length was not taken for one.
fn odd_length(name: &str, reading: Option<&Reading>, first: &[u8], size: u64) -> Option<Finding> {
    let copied = reading.is_some_and(|reading| reading.databases == Databases::Copy);
    let whole = size >= 512 && size.is_multiple_of(512);
    (copied && !whole && is_database(first)).then(|| {
        let what = format!(
            "begins like a SQLite database, and is none that is whole: it has {size} bytes; it is in the backup as it lies"
        );
        let repair = "repair it (`sqlite3 FILE .recover`); `sqlite = \"raw\"` says so for good";
        Finding::warning(name, what, repair).of_kind(Kind::Database)
    })
}

/// Modification time of a file.
fn mtime(meta: &Metadata) -> Mtime {
    Mtime { seconds: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) }
}

/// When the file, or what is known of it, was changed last.
fn changed(meta: &Metadata) -> Mtime {
    Mtime { seconds: meta.ctime(), nanos: u32::try_from(meta.ctime_nsec()).unwrap_or(0) }
}
