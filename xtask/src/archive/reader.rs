//! The way back: blocks of an archive, each checked against its digest before a byte of it is believed.
//!
//! With a manifest an archive is a row of groups ([`Group`]) that can be read apart from each other, in any selection and
//! on several threads ([`read_groups`]). Without one it is decoded from the start, like any tar file ([`decode`]).
//!
//! Threads decide only *when* a group is looked at: what they find is handed over in the order of the archive. No more
//! than a few blocks exist at a time, however large the archive or a file in it.
use super::FormatError;
use super::block::MAX_BLOCK;
use super::buffer::{Buffer, Pool};
use super::codec::{Codec, Decoder};
use super::entry::{Entry, read_tar};
use super::manifest::{Block, Group, MAX_PACKED};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A stream that can pass over bytes: a file seeks, a pipe reads them away.
pub trait Skip: Read {
    /// Passes over `bytes` bytes.
    ///
    /// # Errors
    /// When the stream fails or ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

impl Skip for &mut dyn Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut Read::take(&mut **self, bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// No more threads than this decode: memory grows with each.
const MAX_WORKERS: usize = 7;

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
        if prologue != self.codec.prologue() {
            return Err(FormatError::Malformed("the archive does not begin as it should".into()));
        }
        let mut rest = Vec::new();
        let epilogue = self.codec.epilogue(self.crc.finalize(), self.tar_bytes);
        Read::take(stream, epilogue.len() as u64 + 1).read_to_end(&mut rest)?;
        if rest == epilogue {
            Ok(())
        } else {
            Err(FormatError::Malformed("the archive does not end as it should".into()))
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
pub type Look<'a, T, R, E> = &'a (dyn Fn(&Group, &T, &mut dyn BufRead) -> Result<R, E> + Sync);

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
    std::thread::scope(|scope| {
        let (jobs, take_job) = sync_channel::<Job<T>>(workers + 2);
        // Unbounded, so that no worker waits for this thread; there are never more answers than blocks in flight.
        let (done, answers) = channel::<Answer<R, E>>();
        let take_job = Arc::new(Mutex::new(take_job));
        for _ in 0..workers {
            let (take_job, done, decoder) = (Arc::clone(&take_job), done.clone(), Decoder::new(codec)?);
            scope.spawn(move || work(codec, decoder, pools, look, &take_job, &done));
        }
        drop((done, take_job));
        let mut feed = Feed { stream, position, pools };
        let mut ending = Ending { codec, crc: crc32fast::Hasher::new(), tar_bytes: 0 };
        // Groups of which a block was sent and not all were taken; the last may have blocks that were not sent yet.
        let mut groups: VecDeque<Arc<(Group, T)>> = VecDeque::new();
        let (mut unsent, mut unasked) = (0, true);
        let mut waiting = BTreeMap::new();
        let (mut sent, mut taken) = (0_u64, 0_u64);
        let mut visitor: Option<Visitor<'_, R, E>> = None;
        let mut parts = 0;
        loop {
            while sent - taken < workers as u64 + 2 {
                if unsent == 0 {
                    let Some(group) = (if unasked { reading.next()? } else { None }) else {
                        unasked = false;
                        break;
                    };
                    unsent = group.0.blocks.len();
                    groups.push_back(Arc::new(group));
                    continue;
                }
                let Some(group) = groups.back() else { break };
                let at = group.0.blocks.len() - unsent;
                let job = feed.job(group, at, sent);
                (sent, unsent) = (sent + 1, unsent - 1);
                jobs.send(job).map_err(|_| FormatError::Malformed("a decoding thread ended".into()))?;
            }
            if sent == taken {
                return Ok(ending);
            }
            let answer = answers.recv();
            let answer = answer.map_err(|_| FormatError::Malformed("a decoding thread ended".into()))?;
            waiting.insert(answer.number, answer);
            while let Some(answer) = waiting.remove(&taken) {
                taken += 1;
                ending.crc.combine(&answer.crc);
                ending.tar_bytes += answer.raw_len;
                let Some(group) = groups.front().map(Arc::clone) else { break };
                let looked = match answer.outcome {
                    Outcome::Looked(result) => result,
                    Outcome::Part(part) => {
                        let visitor_now = visitor.get_or_insert_with(|| {
                            let (give, parts) = sync_channel(1);
                            let group = Arc::clone(&group);
                            let parts = move || Parts { parts, current: None, at: 0, pools };
                            let looking = scope.spawn(move || look(&group.0, &group.1, &mut parts()));
                            Visitor { give, looking }
                        });
                        // One that has seen enough is gone; what it found is told below.
                        let _ = visitor_now.give.send(part);
                        parts += 1;
                        if parts < group.0.blocks.len() {
                            continue;
                        }
                        parts = 0;
                        let Some(Visitor { give, looking }) = visitor.take() else { continue };
                        drop(give);
                        looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    }
                };
                groups.pop_front();
                reading.take(&group.0, &group.1, looked)?;
            }
        }
    })
}

struct Pools {
    packed: Pool,
    raw: Pool,
}

/// One block to be decoded. Of a group of one block its entries are looked at by the thread that decodes it; the parts of
/// a large entry go back, to be put in order.
struct Job<T> {
    number: u64,
    group: Arc<(Group, T)>,
    /// Which block of the group.
    at: usize,
    packed: Result<Buffer, FormatError>,
}

struct Answer<R, E> {
    number: u64,
    crc: crc32fast::Hasher,
    raw_len: u64,
    outcome: Outcome<R, E>,
}

enum Outcome<R, E> {
    Looked(Result<R, E>),
    Part(Result<Buffer, FormatError>),
}

/// The thread that looks at an entry of many blocks while they come in.
struct Visitor<'scope, R, E> {
    give: SyncSender<Result<Buffer, FormatError>>,
    looking: std::thread::ScopedJoinHandle<'scope, Result<R, E>>,
}

/// Where packed blocks come from.
struct Feed<'a> {
    stream: &'a mut dyn Skip,
    position: u64,
    pools: &'a Pools,
}

impl Feed<'_> {
    fn job<T>(&mut self, group: &Arc<(Group, T)>, at: usize, number: u64) -> Job<T> {
        let packed = self.block(group.0.first + at as u64, &group.0.blocks[at]);
        Job { number, group: Arc::clone(group), at, packed }
    }

    fn block(&mut self, number: u64, block: &Block) -> Result<Buffer, FormatError> {
        let ahead = block
            .offset
            .checked_sub(self.position)
            .ok_or_else(|| FormatError::Malformed(format!("block {number} was asked for out of order")))?;
        self.stream.skip(ahead)?;
        self.position = block.offset;
        let mut packed = self.pools.packed.take();
        let part = packed.extend(block.packed as usize);
        let mut filled = 0;
        while filled < part.len() {
            match self.stream.read(&mut part[filled..]) {
                Ok(0) => {
                    let what = format!("the archive ends within block {number}");
                    return Err(FormatError::Malformed(what));
                }
                Ok(count) => (filled, self.position) = (filled + count, self.position + count as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(packed)
    }
}

fn work<T, R, E: From<FormatError>>(
    codec: Codec,
    mut decoder: Decoder,
    pools: &Pools,
    look: Look<'_, T, R, E>,
    jobs: &Mutex<Receiver<Job<T>>>,
    done: &Sender<Answer<R, E>>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, group, at, packed }) = job else { return };
        let (group, with) = &*group;
        let block = &group.blocks[at];
        let raw =
            packed.and_then(|packed| unpack(&mut decoder, pools, group.first + at as u64, block, packed));
        let mut crc = crc32fast::Hasher::new();
        if let (Codec::Gzip, Ok(raw)) = (codec, &raw) {
            crc.update(raw);
        }
        let outcome = match raw {
            raw if group.blocks.len() > 1 => Outcome::Part(raw),
            Err(error) => Outcome::Looked(Err(error.into())),
            Ok(raw) => {
                let looked = look(group, with, &mut &raw[..]);
                pools.raw.give(raw);
                Outcome::Looked(looked)
            }
        };
        if done.send(Answer { number, crc, raw_len: block.size, outcome }).is_err() {
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
    mut packed: Buffer,
) -> Result<Buffer, FormatError> {
    if super::sha256_hex(&packed) != block.sha256 {
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
}

impl BufRead for Parts<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|current| self.at == current.len()) {
            self.current.take().into_iter().for_each(|used| self.pools.raw.give(used));
            self.at = 0;
            self.current = match self.parts.recv() {
                Ok(part) => Some(part.map_err(io::Error::other)?),
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
