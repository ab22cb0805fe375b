//! Lays entries into blocks, in the order in which they stand in the archive.
//!
//! Runs on the caller's thread, and cuts by the rule of [`super::block`]. A file is read to the place from which it is
//! packed, so its bytes are copied once on their way.
use super::block::{Cut, MAX_BLOCK, Rule};
use super::buffer::{Buffer, Pool};
use super::entry::{END, Entry, Kind, Mtime, RECORD};
use super::{FormatError, read_full};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::ops::Range;
use std::sync::mpsc::SyncSender;

/// Why a streamed entry could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The content ended before its size: the archive cannot go on, since its header is already laid.
    #[error("the content ended {missing} bytes early")]
    Short {
        /// Bytes that did not come.
        missing: u64,
    },
    /// The content could not be read.
    #[error("the content could not be read")]
    Read(#[source] std::io::Error),
    /// The archive could not be written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// An entry that lies in a block, its digest not yet known.
pub(super) struct Laid {
    pub(super) entry: Entry,
    pub(super) digest: Digested,
    pub(super) blocks: u64,
}

/// The SHA-256 of an entry's content.
pub(super) enum Digested {
    /// No content.
    None,
    /// Content at this place of the block; the worker hashes it.
    Here(Range<usize>),
    /// Hashed on the way in.
    Done([u8; 32]),
}

/// A filled block.
pub(super) struct Job {
    pub(super) index: u64,
    pub(super) raw: Buffer,
    pub(super) laid: Vec<Laid>,
}

/// Blocks to be filled, and what they are packed into.
pub(super) struct Pools {
    pub(super) raw: Pool,
    pub(super) packed: Pool,
}

/// Takes entries in the order in which they stand in the archive.
pub struct Builder<'a> {
    raw: Buffer,
    laid: Vec<Laid>,
    index: u64,
    tar_hash: Option<Sha256>,
    rule: Rule,
    pools: &'a Pools,
    jobs: SyncSender<Job>,
    tokens: SyncSender<()>,
    state: Option<String>,
    errors: u64,
}

/// What a builder knows in the end.
pub(super) struct Built {
    pub(super) tar_hash: Option<Sha256>,
    pub(super) state: Option<String>,
    pub(super) errors: u64,
}

impl<'a> Builder<'a> {
    /// Its blocks go to `jobs`; each takes a place in `tokens` until it is written.
    pub(super) fn new(
        rule: Rule,
        tar_hash: Option<Sha256>,
        pools: &'a Pools,
        jobs: SyncSender<Job>,
        tokens: SyncSender<()>,
    ) -> Self {
        let (raw, laid) = (pools.raw.take(), Vec::new());
        Self { raw, laid, index: 0, tar_hash, rule, pools, jobs, tokens, state: None, errors: 0 }
    }

    /// Lays the end-of-archive marker.
    pub(super) fn end(&mut self) -> Result<(), FormatError> {
        self.dispatch()?;
        self.raw.push(&END);
        self.dispatch()
    }

    /// Lets the workers go.
    pub(super) fn close(self) -> Built {
        Built { tar_hash: self.tar_hash, state: self.state, errors: self.errors }
    }

    /// Says in which state the source is that all entries came from: what has the same state, has the same entries.
    pub fn source_state(&mut self, state: String) {
        self.state = Some(state);
    }

    /// Says how many errors there were, such as things of the source that could not be read: whoever restores the archive
    /// anywhere is told.
    pub fn source_errors(&mut self, count: u64) {
        self.errors = count;
    }

    /// Adds an entry whose content is at hand; `entry.size` must be its length.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn add(&mut self, entry: Entry, content: &[u8]) -> Result<(), FormatError> {
        debug_assert_eq!(entry.size, content.len() as u64);
        if entry.encoded_len() > MAX_BLOCK {
            let streamed = self.stream(entry, &mut &*content).map_err(|error| match error {
                StreamError::Format(error) => error,
                other => FormatError::Malformed(other.to_string()),
            });
            return streamed.map(drop);
        }
        let mut filling = self.begin(entry)?;
        filling.content().copy_from_slice(content);
        filling.keep();
        Ok(())
    }

    /// Lays the headers of an entry that fits a block ([`Entry::encoded_len`] up to [`MAX_BLOCK`]), and hands out the
    /// place of its content, so that a file is read to where it is packed from.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn begin(&mut self, entry: Entry) -> Result<Filling<'_>, FormatError> {
        let headers = entry.headers();
        let encoded = headers.len() as u64 + entry.size.next_multiple_of(RECORD);
        if self.rule.cut(self.raw.len() as u64, &entry.path, encoded) != Cut::Join {
            self.dispatch()?;
        }
        let start = self.raw.len();
        self.raw.push(&headers);
        let content = self.raw.len()..self.raw.len() + entry.size as usize;
        self.raw.extend(content.len());
        Ok(Filling { raw: &mut self.raw, laid: &mut self.laid, entry, start, content })
    }

    /// Adds a file of any size, reading exactly `entry.size` bytes; returns their SHA-256.
    ///
    /// # Errors
    /// `Short` or `Read` leave the archive unfinished: drop it and begin again.
    pub fn stream(&mut self, entry: Entry, content: &mut dyn Read) -> Result<[u8; 32], StreamError> {
        self.dispatch()?;
        self.raw.push(&entry.headers());
        let (mut hash, mut left, mut blocks) = (Sha256::new(), entry.size, 1);
        let first = self.index;
        while left > 0 {
            let want = (MAX_BLOCK - self.raw.len() as u64).min(left) as usize;
            let part = self.raw.extend(want);
            let count = read_full(content, part).map_err(StreamError::Read)?;
            if count < want {
                return Err(StreamError::Short { missing: left - count as u64 });
            }
            hash.update(&*part);
            left -= want as u64;
            if left == 0 {
                pad(&mut self.raw);
            }
            if self.raw.len() as u64 >= MAX_BLOCK && left > 0 {
                self.dispatch()?;
                blocks += 1;
            }
        }
        debug_assert_eq!(blocks, self.index - first + 1);
        let digest = hash.finalize().into();
        self.laid.push(Laid { entry, digest: Digested::Done(digest), blocks });
        self.dispatch()?;
        Ok(digest)
    }

    /// Hands the current block to the workers, waiting while too many are in flight.
    fn dispatch(&mut self) -> Result<(), FormatError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        // A closed channel means that the writer has failed; it reports why.
        let gone = || FormatError::Io(std::io::ErrorKind::BrokenPipe.into());
        self.tokens.send(()).map_err(|_| gone())?;
        let raw = std::mem::replace(&mut self.raw, self.pools.raw.take());
        if let Some(hash) = &mut self.tar_hash {
            hash.update(&raw[..]);
        }
        let job = Job { index: self.index, raw, laid: std::mem::take(&mut self.laid) };
        self.index += 1;
        self.jobs.send(job).map_err(|_| gone())
    }
}

/// An entry whose headers are laid and whose content is still to come. Dropped, it is gone from the block.
pub struct Filling<'a> {
    raw: &'a mut Buffer,
    laid: &'a mut Vec<Laid>,
    entry: Entry,
    start: usize,
    content: Range<usize>,
}

impl Filling<'_> {
    /// Where the content goes, all `entry.size` bytes of it. What is there before is of no meaning.
    pub fn content(&mut self) -> &mut [u8] {
        &mut self.raw[self.content.clone()]
    }

    /// The content is there.
    pub fn keep(mut self) {
        pad(self.raw);
        let digest = match self.entry.kind {
            Kind::File => Digested::Here(self.content.clone()),
            _ => Digested::None,
        };
        let entry = std::mem::replace(&mut self.entry, Entry::file(b"", 0, 0, Mtime::default()));
        self.laid.push(Laid { entry, digest, blocks: 1 });
        self.start = self.raw.len();
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.raw.set(self.start);
    }
}

/// Fills up to a whole record with zeros.
fn pad(raw: &mut Buffer) {
    let missing = raw.len().next_multiple_of(RECORD as usize) - raw.len();
    raw.extend(missing).fill(0);
}
