//! Many objects in their order, read before they are asked for.
//!
//! Threads of ours read them from packs and files ([`super::store`]), a run of objects at a time, each thread every
//! [`READERS`]th run. No more than two runs of a thread exist besides the one in use, and a run is [`RUN`] bytes or one
//! object. What they cannot give, git is asked for by itself. Where all is for git to read, another thread asks for all
//! of it at once, so that git reads while we pack.
use super::super::failed;
use super::objects::{Blobs, Object, TOOL};
use super::store::{LARGEST, Reader, Store};
use crate::error::Result;
use std::io::{BufWriter, Error as IoError, Read, Write as _};
use std::ops::Range;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Threads that read; more would not be faster than what packs.
const READERS: usize = 2;
/// Bytes of a run of objects.
const RUN: u64 = 256 << 10;

/// An object that will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub id: String,
    /// Bytes, as git has listed it.
    pub size: u64,
}

/// Objects that are on their way. Who leaves before the last one has ended git, which would wait for its reader.
pub struct Ahead<'a> {
    blobs: &'a mut Blobs,
    wanted: Arc<[Wanted]>,
    next: usize,
    by: By,
}

/// Who reads.
enum By {
    Git(Option<JoinHandle<Option<ChildStdin>>>),
    Us(Threads),
}

/// Our threads, and the runs that they make of the objects.
struct Threads {
    runs: Arc<[Range<usize>]>,
    run: usize,
    made: Vec<Receiver<Run>>,
    threads: Vec<JoinHandle<()>>,
    current: Run,
}

/// Some objects one behind the other, and where each lies; `None` is for git to read.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    places: std::vec::IntoIter<Option<Range<usize>>>,
}

impl Blobs {
    /// Reads all these objects ahead; they are opened in this order.
    pub fn ahead(&mut self, wanted: Vec<Wanted>) -> Ahead<'_> {
        let wanted: Arc<[Wanted]> = wanted.into();
        let by = match self.store() {
            Some(store) if wanted.first().is_some_and(|first| Store::knows(&first.id)) => {
                By::Us(Threads::start(&store, &wanted))
            }
            _ => {
                let (ask, wanted) = (self.ask.take(), Arc::clone(&wanted));
                By::Git(Some(std::thread::spawn(move || {
                    let mut ask = BufWriter::new(ask?);
                    wanted.iter().try_for_each(|wanted| writeln!(ask, "{}", wanted.id)).ok()?;
                    ask.into_inner().ok()
                })))
            }
        };
        Ahead { blobs: self, wanted, next: 0, by }
    }
}

impl Ahead<'_> {
    /// The next object, which must be `id`: its size, and a reader that must be read to its end.
    ///
    /// # Errors
    /// When it is missing, is not the next, or git fails.
    pub fn open(&mut self, id: &str) -> Result<(u64, impl Read + '_)> {
        let lost = |error: IoError| failed(TOOL, &format!("object {id}"), &error.to_string());
        let next = self.wanted.get(self.next).filter(|wanted| wanted.id == id);
        next.ok_or_else(|| lost(IoError::other("another object is the next")))?;
        self.next += 1;
        if let By::Us(threads) = &mut self.by {
            if let Some(range) = threads.next() {
                let content = &threads.current.bytes[range];
                return Ok((content.len() as u64, Content::Ours(content)));
            }
            self.blobs.ask(id).map_err(lost)?;
        }
        let (size, object) = self.blobs.answered(id).map_err(lost)?;
        Ok((size, Content::Gits(object)))
    }

    /// The same, whole.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn read(&mut self, id: &str) -> Result<Vec<u8>> {
        let (size, mut object) = self.open(id)?;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let read = object.read_to_end(&mut content);
        read.map_err(|error| failed(TOOL, &format!("object {id}"), &error.to_string()))?;
        Ok(content)
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        match &mut self.by {
            By::Git(feeder) => {
                if self.next < self.wanted.len() {
                    self.blobs.give_up();
                }
                self.blobs.ask = feeder.take().and_then(|feeder| feeder.join().ok()?);
            }
            By::Us(threads) => {
                threads.made.clear();
                threads.threads.drain(..).for_each(|thread| drop(thread.join()));
            }
        }
    }
}

impl Threads {
    fn start(store: &Arc<Store>, wanted: &Arc<[Wanted]>) -> Self {
        let runs: Arc<[Range<usize>]> = runs(wanted).into();
        let (mut made, mut threads) = (Vec::new(), Vec::new());
        for first in 0..READERS.min(runs.len()) {
            let (done, take) = sync_channel(1);
            let (store, wanted, runs) = (Arc::clone(store), Arc::clone(wanted), Arc::clone(&runs));
            made.push(take);
            threads.push(std::thread::spawn(move || {
                read(&store, &wanted, runs.iter().skip(first).step_by(READERS), &done);
            }));
        }
        Self { runs, run: 0, made, threads, current: Run::default() }
    }

    /// Where the next object lies in the current run; `None` when it is for git to read.
    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            if let Some(next) = self.current.places.next() {
                return next;
            }
            let objects = self.runs.get(self.run)?.len();
            let made = self.made[self.run % READERS].recv();
            // A thread that has failed gives nothing: git reads the rest of its objects.
            self.current =
                made.unwrap_or_else(|_| Run { bytes: Vec::new(), places: vec![None; objects].into_iter() });
            self.run += 1;
        }
    }
}

/// Reads `runs` one after the other, until nobody wants them.
fn read<'a>(
    store: &Store,
    wanted: &[Wanted],
    runs: impl Iterator<Item = &'a Range<usize>>,
    done: &SyncSender<Run>,
) {
    let mut reader = Reader::new();
    for run in runs {
        let wanted = &wanted[run.clone()];
        let ours = wanted.iter().map(|wanted| wanted.size).filter(|size| *size <= LARGEST as u64);
        let mut bytes = Vec::with_capacity(ours.sum::<u64>() as usize);
        let mut places = Vec::with_capacity(wanted.len());
        for Wanted { id, size } in wanted {
            let place = store.find(id, *size);
            let content = place.and_then(|place| store.read(id, &place, *size, &mut reader));
            places.push(content.map(|content| {
                bytes.extend_from_slice(content);
                bytes.len() - content.len()..bytes.len()
            }));
        }
        if done.send(Run { bytes, places: places.into_iter() }).is_err() {
            return;
        }
    }
}

/// The objects in runs of [`RUN`] bytes; a larger object is one by itself.
fn runs(wanted: &[Wanted]) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0_u64);
    for (at, wanted) in wanted.iter().enumerate() {
        if at > start && bytes.saturating_add(wanted.size) > RUN {
            runs.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes = bytes.saturating_add(wanted.size);
    }
    if start < wanted.len() {
        runs.push(start..wanted.len());
    }
    runs
}

/// The bytes of an object, from us or from git.
enum Content<'a> {
    Ours(&'a [u8]),
    Gits(Object<'a>),
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Ours(content) => content.read(buffer),
            Self::Gits(object) => object.read(buffer),
        }
    }
}
