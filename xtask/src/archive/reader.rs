//! The way back: blocks of an archive, each checked against its digest before a byte of it is believed.
//!
//! With a manifest an archive is a row of groups ([`Group`]) that can be read apart from each other, in any selection and
//! on several threads ([`read_groups`]). Without one it is decoded from the start, like any tar file ([`decode`]).
//!
//! Threads decide only *when* a group is looked at: what they find is handed over in the order of the archive. No more
//! than a few blocks exist at a time, however large the archive or a file in it.
use super::block::MAX_BLOCK;
use super::buffer::{Buffer, Pool};
use super::codec::{Codec, Decoder};
use super::content::Tar;
use super::entry::{Entry, read_tar};
use super::manifest::{Block, Group, MAX_PACKED};
use super::{FormatError, MAX_WORKERS};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A stream that can pass over bytes: a file seeks, a pipe reads them away.
pub trait Skip: Read {
    /// Passes over `bytes` bytes.
    ///
    /// # Errors
    /// When the stream fails or ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;

    /// Fills `part`, and returns its SHA-256 where that comes for nothing. After an error a file stands behind `part` all
    /// the same, so that what follows can be read.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before.
    fn fill(&mut self, part: &mut [u8]) -> io::Result<Option<[u8; 32]>> {
        self.read_exact(part).map(|()| None)
    }
}

impl Skip for &mut dyn Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut Read::take(&mut **self, bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// The tar stream that came out of [`read_groups`], to be compared with what stands behind it.
pub struct Ending {
    codec: Codec,
    crc: crc32fast::Hasher,
    tar_bytes: u64,
}

impl Ending {
    /// After every block was read, and nothing of `stream` behind them: what stands in front of the first and behind the
    /// last is what it must be.
    ///
    /// # Errors
    /// `Malformed` when it is not.
    pub fn check(self, prologue: &[u8], stream: &mut dyn Read) -> Result<(), FormatError> {
        self.check_beginning(prologue)?;
        let mut rest = Vec::new();
        let epilogue = self.codec.epilogue(self.crc.finalize(), self.tar_bytes);
        Read::take(stream, epilogue.len() as u64 + 1).read_to_end(&mut rest)?;
        if rest == epilogue {
            Ok(())
        } else {
            Err(FormatError::Malformed("the archive does not end as it should".into()))
        }
    }

    /// What stands in front of the first block is what it must be.
    ///
    /// # Errors
    /// `Malformed` when it is not.
    pub fn check_beginning(&self, prologue: &[u8]) -> Result<(), FormatError> {
        match prologue == self.codec.prologue() {
            true => Ok(()),
            false => Err(FormatError::Malformed("the archive does not begin as it should".into())),
        }
    }
}

/// What somebody wants of an archive, and does with it; all of it on the thread that calls [`read_groups`]. `T` goes with
/// a group to the thread that looks at it, `R` comes back, `E` is what can go wrong.
pub trait Reading<T, R, E> {
    /// The next group that is wanted, in ascending order; `None` behind the last.
    ///
    /// # Errors
    /// Whatever ends the reading.
    fn next(&mut self) -> Result<Option<(Group, T)>, E>;

    /// Takes what came of a group, in the order of the archive.
    ///
    /// # Errors
    /// Whatever ends the reading. `looked` may be an error without being one for the others.
    fn take(&mut self, group: &Group, with: &T, looked: Result<R, E>) -> Result<(), E>;
}

impl<T, R, E, N, K> Reading<T, R, E> for (N, K)
where
    N: FnMut() -> Result<Option<(Group, T)>, E>,
    K: FnMut(&Group, &T, Result<R, E>) -> Result<(), E>,
{
    fn next(&mut self) -> Result<Option<(Group, T)>, E> {
        self.0()
    }

    fn take(&mut self, group: &Group, with: &T, looked: Result<R, E>) -> Result<(), E> {
        self.1(group, with, looked)
    }
}

/// Looks at the tar bytes of a group, which holds whole entries. Called on many threads.
pub type Look<'a, T, R, E> = &'a (dyn Fn(&Group, &T, Tar<'_>) -> Result<R, E> + Sync);

/// Reads groups of the archive in `stream`, which stands `position` bytes behind its beginning, on `workers` threads
/// besides this one.
///
/// # Errors
/// Those of `reading`. What is wrong with a group goes to its `take`, and the others are read all the same.
pub fn read_groups<T: Send + Sync, R: Send, E: From<FormatError> + Send>(
    (stream, position): (&mut dyn Skip, u64),
    codec: Codec,
    workers: usize,
    reading: &mut dyn Reading<T, R, E>,
    look: Look<'_, T, R, E>,
) -> Result<Ending, E> {
    let workers = workers.clamp(1, MAX_WORKERS);
    let packed = Pool::new(MAX_PACKED as usize + Decoder::SPARE);
    let pools = &Pools { packed, raw: Pool::new(MAX_BLOCK as usize + Decoder::SPARE) };
    let limit = workers + 2;
    std::thread::scope(|scope| {
        let (jobs, take_job) = sync_channel::<Job<T>>(limit);
        let (tell, told) = channel::<Message<R, E>>();
        let take_job = Arc::new(Mutex::new(take_job));
        for _ in 0..workers {
            let (take_job, tell, decoder) =
                (Arc::clone(&take_job), Teller(tell.clone()), Decoder::new(codec)?);
            scope.spawn(move || work(codec, decoder, pools, look, &take_job, &tell));
        }
        let mut feed = Feed { stream, position, pools, sent: 0 };
        let mut ending = Ending { codec, crc: crc32fast::Hasher::new(), tar_bytes: 0 };
        // Groups that were not taken yet, the first of them, and how many blocks of the last were not sent yet.
        let (mut groups, mut first, mut unsent) = (VecDeque::<Arc<(Group, T)>>::new(), 0_u64, 0);
        let (mut in_flight, mut more) = (0, true);
        // What came out of turn: blocks, and what was found in groups.
        let (mut blocks, mut turn, mut found) = (BTreeMap::new(), 0, BTreeMap::new());
        let mut parts: Option<Sender<Result<Buffer, FormatError>>> = None;
        loop {
            while in_flight < limit && (more || unsent > 0) {
                if unsent == 0 {
                    let Some(group) = reading.next()? else {
                        more = false;
                        continue;
                    };
                    unsent = group.0.blocks.len();
                    groups.push_back(Arc::new(group));
                }
                let Some(group) = groups.back() else { break };
                let at = group.0.blocks.len() - unsent;
                let job = feed.job(first + groups.len() as u64 - 1, group, at);
                jobs.send(job).map_err(|_| broken())?;
                (unsent, in_flight) = (unsent - 1, in_flight + 1);
            }
            if groups.is_empty() {
                return Ok(ending);
            }
            match told.recv().map_err(|_| broken())? {
                Message::Block(block) => drop(blocks.insert(block.number, block)),
                Message::Used => in_flight -= 1,
                Message::Visited(group, looked) => drop(found.insert(group, looked)),
                Message::Broken => return Err(broken().into()),
            }
            while let Some(block) = blocks.remove(&turn) {
                turn += 1;
                ending.crc.combine(&block.crc);
                ending.tar_bytes += block.raw_len;
                match block.outcome {
                    Outcome::Looked(looked) => {
                        in_flight -= 1;
                        found.insert(block.group, looked);
                    }
                    Outcome::Part { part, last } => {
                        let give = parts.take().unwrap_or_else(|| {
                            let (give, parts) = channel();
                            let group = Arc::clone(&groups[(block.group - first) as usize]);
                            let (number, tell) = (block.group, Teller(tell.clone()));
                            scope.spawn(move || visit(number, &group, look, parts, pools, &tell));
                            give
                        });
                        // One that has seen enough takes the others all the same.
                        let _ = give.send(part);
                        parts = (!last).then_some(give);
                    }
                }
            }
            while let Some(looked) = found.remove(&first) {
                let Some(group) = groups.pop_front() else { break };
                first += 1;
                reading.take(&group.0, &group.1, looked)?;
            }
        }
    })
}

struct Pools {
    packed: Pool,
    raw: Pool,
}

/// A thread ended that should not have: its panic is told when the others have ended, too.
fn broken() -> FormatError {
    FormatError::Malformed("a thread that decodes has failed".into())
}

/// One block to be decoded. Of a group of one block its entries are looked at by the thread that decodes it; the parts of
/// a large entry go back, to be put in order.
struct Job<T> {
    number: u64,
    /// Number of the group, and the group.
    of: (u64, Arc<(Group, T)>),
    /// Which block of the group.
    at: usize,
    packed: Result<Fed, FormatError>,
}

/// What the threads tell the caller's.
enum Message<R, E> {
    /// A block is decoded.
    Block(Decoded<R, E>),
    /// A part of a large entry is used up.
    Used,
    /// A large entry was looked at.
    Visited(u64, Result<R, E>),
    /// A thread panics.
    Broken,
}

struct Decoded<R, E> {
    number: u64,
    group: u64,
    crc: crc32fast::Hasher,
    raw_len: u64,
    outcome: Outcome<R, E>,
}

enum Outcome<R, E> {
    Looked(Result<R, E>),
    Part { part: Result<Buffer, FormatError>, last: bool },
}

/// Tells the caller's thread, whatever happens: it never waits for one that is gone.
struct Teller<R, E>(Sender<Message<R, E>>);

impl<R, E> Teller<R, E> {
    /// When nobody listens any more, the run has ended.
    fn tell(&self, message: Message<R, E>) -> bool {
        self.0.send(message).is_ok()
    }
}

impl<R, E> Drop for Teller<R, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell(Message::Broken);
        }
    }
}

/// The thread that looks at an entry of many blocks while they come in.
fn visit<T, R, E: From<FormatError>>(
    number: u64,
    group: &(Group, T),
    look: Look<'_, T, R, E>,
    parts: Receiver<Result<Buffer, FormatError>>,
    pools: &Pools,
    tell: &Teller<R, E>,
) {
    let used = || {
        tell.tell(Message::Used);
    };
    let mut parts = Parts { parts, current: None, at: 0, pools, used: &used };
    let looked = look(&group.0, &group.1, Tar::Parts(&mut parts));
    parts.release();
    while let Ok(part) = parts.parts.recv() {
        part.into_iter().for_each(|part| pools.raw.give(part));
        used();
    }
    tell.tell(Message::Visited(number, looked));
}

/// Where packed blocks come from.
struct Feed<'a> {
    stream: &'a mut dyn Skip,
    position: u64,
    pools: &'a Pools,
    /// Blocks that were sent.
    sent: u64,
}

impl Feed<'_> {
    fn job<T>(&mut self, number: u64, group: &Arc<(Group, T)>, at: usize) -> Job<T> {
        let packed = self.block(group.0.first + at as u64, &group.0.blocks[at]);
        self.sent += 1;
        Job { number: self.sent - 1, of: (number, Arc::clone(group)), at, packed }
    }

    fn block(&mut self, number: u64, block: &Block) -> Result<Fed, FormatError> {
        let ahead = block
            .offset
            .checked_sub(self.position)
            .ok_or_else(|| FormatError::Malformed(format!("block {number} was asked for out of order")))?;
        self.stream.skip(ahead)?;
        self.position = block.offset;
        let mut packed = self.pools.packed.take();
        let filled = self.stream.fill(packed.extend(block.packed as usize));
        self.position += block.packed;
        match filled {
            Ok(digest) => Ok((packed, digest)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(FormatError::Malformed(format!("the archive ends within block {number}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A packed block, and its digest where that is known.
type Fed = (Buffer, Option<[u8; 32]>);

fn work<T, R, E: From<FormatError>>(
    codec: Codec,
    mut decoder: Decoder,
    pools: &Pools,
    look: Look<'_, T, R, E>,
    jobs: &Mutex<Receiver<Job<T>>>,
    tell: &Teller<R, E>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, of: (of, group), at, packed }) = job else { return };
        let (group, with) = &*group;
        let block = &group.blocks[at];
        let raw =
            packed.and_then(|packed| unpack(&mut decoder, pools, group.first + at as u64, block, packed));
        let mut crc = crc32fast::Hasher::new();
        if let (Codec::Gzip, Ok(raw)) = (codec, &raw) {
            crc.update(raw);
        }
        let outcome = match raw {
            part if group.blocks.len() > 1 => Outcome::Part { part, last: at + 1 == group.blocks.len() },
            Err(error) => Outcome::Looked(Err(error.into())),
            Ok(raw) => {
                let looked = look(group, with, Tar::Whole(&raw));
                pools.raw.give(raw);
                Outcome::Looked(looked)
            }
        };
        let decoded = Decoded { number, group: of, crc, raw_len: block.size, outcome };
        if !tell.tell(Message::Block(decoded)) {
            return;
        }
    }
}

/// The tar bytes of one block.
fn unpack(
    decoder: &mut Decoder,
    pools: &Pools,
    number: u64,
    block: &Block,
    (mut packed, digest): Fed,
) -> Result<Buffer, FormatError> {
    if super::hex(&digest.unwrap_or_else(|| Sha256::digest(&packed[..]).into())) != block.sha256 {
        return Err(FormatError::Malformed(format!("block {number} does not have the manifest's digest")));
    }
    let mut raw = pools.raw.take();
    decoder.decompress(&mut packed, block.size as usize, &mut raw)?;
    pools.packed.give(packed);
    Ok(raw)
}

/// The blocks of a large entry as one stream.
struct Parts<'a> {
    parts: Receiver<Result<Buffer, FormatError>>,
    current: Option<Buffer>,
    at: usize,
    pools: &'a Pools,
    /// Called for each part that is used up.
    used: &'a dyn Fn(),
}

impl Parts<'_> {
    fn release(&mut self) {
        if let Some(used) = self.current.take() {
            self.pools.raw.give(used);
            (self.used)();
        }
    }
}

impl BufRead for Parts<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|current| self.at == current.len()) {
            self.release();
            self.at = 0;
            self.current = match self.parts.recv() {
                Ok(Ok(part)) => Some(part),
                Ok(Err(error)) => {
                    (self.used)();
                    return Err(io::Error::other(error));
                }
                Err(_) => None,
            };
        }
        Ok(self.current.as_ref().map_or(&[], |current| &current[self.at..]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Reads a whole archive without a manifest, entry by entry.
///
/// # Errors
/// As [`read_tar`]'s; `Malformed` too when the end-of-archive marker is missing: with zstd, a file that was
/// cut between two frames still decodes.
pub fn decode<E: From<FormatError>>(
    stream: &mut dyn Read,
    codec: Codec,
    visit: &mut dyn FnMut(Entry, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    let mut tar = BufReader::with_capacity(1 << 17, codec.decoder(stream)?);
    if !read_tar(&mut tar, visit)? {
        return Err(FormatError::Malformed("the archive has no end: it was cut short".into()).into());
    }
    // To the very end, so that the container's own checksums are compared too. Other tars fill up with zeros.
    let mut rest = [0; 8192];
    loop {
        match tar.read(&mut rest).map_err(FormatError::from)? {
            0 => return Ok(()),
            count if rest[..count].iter().all(|byte| *byte == 0) => {}
            _ => {
                return Err(FormatError::Malformed("something stands behind the archive's end".into()).into());
            }
        }
    }
}
