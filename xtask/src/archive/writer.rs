//! Entries in, archive and manifest out: a pipeline with bounded memory.
//!
//! The caller's thread lays entries into blocks by the cut rule; worker threads hash the files of a block and
//! compress it; one thread writes the blocks in order. No more than `in_flight` blocks exist at a time. The
//! bytes depend on the entries and the codec alone: threads only decide *when* a block is ready.
use super::block::{Cut, MAX_BLOCK, cut};
use super::codec::Codec;
use super::entry::{END, Entry, Kind, RECORD};
use super::manifest::{Block, Collector, Header, Record};
use super::{FormatError, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// No more threads than this compress, whatever the machine: memory grows with each.
pub const MAX_WORKERS: usize = 6;

/// Blocks that exist at a time: one filled, one with each worker, and one waiting for its turn to be written.
fn in_flight(workers: usize) -> usize {
    workers + 2
}

/// What an archive came to.
#[derive(Debug)]
pub struct Summary {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of all files.
    pub content_bytes: u64,
    /// Bytes of the tar stream.
    pub tar_bytes: u64,
    /// SHA-256 of the tar stream.
    pub tar_sha256: String,
    /// Compressed bytes (before encryption).
    pub packed_bytes: u64,
}

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
struct Laid {
    entry: Entry,
    digest: Digested,
    blocks: u64,
}

enum Digested {
    /// No content.
    None,
    /// Content at this place of the block; the worker hashes it.
    Here(Range<usize>),
    /// Hashed on the way in.
    Done([u8; 32]),
}

struct Job {
    index: u64,
    raw: Vec<u8>,
    laid: Vec<Laid>,
}

struct Packed {
    index: u64,
    raw_len: u64,
    crc: crc32fast::Hasher,
    bytes: Result<Vec<u8>, FormatError>,
    sha256: String,
    laid: Vec<Laid>,
}

/// Takes entries in the order in which they stand in the archive.
pub struct Builder {
    raw: Vec<u8>,
    laid: Vec<Laid>,
    index: u64,
    tar_hash: Sha256,
    jobs: SyncSender<Job>,
    tokens: SyncSender<()>,
}

impl Builder {
    /// Adds an entry whose content is at hand; `entry.size` must be its length.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn add(&mut self, entry: Entry, content: &[u8]) -> Result<(), FormatError> {
        debug_assert_eq!(entry.size, content.len() as u64);
        let headers = entry.headers();
        let encoded = headers.len() as u64 + entry.size.next_multiple_of(RECORD);
        match cut(self.raw.len() as u64, &entry.path, encoded) {
            Cut::Alone => {
                return self.stream(entry, &mut &*content).map_err(|error| match error {
                    StreamError::Format(error) => error,
                    other => FormatError::Malformed(other.to_string()),
                });
            }
            Cut::Before => self.dispatch()?,
            Cut::Join => {}
        }
        // In one piece: growing by doubling would take twice as much in the end.
        self.raw.reserve_exact(MAX_BLOCK as usize - self.raw.len());
        self.raw.extend(headers);
        let start = self.raw.len();
        self.raw.extend(content);
        let digest = match entry.kind {
            Kind::File => Digested::Here(start..self.raw.len()),
            _ => Digested::None,
        };
        self.pad();
        self.laid.push(Laid { entry, digest, blocks: 1 });
        Ok(())
    }

    /// Adds a file of any size, reading exactly `entry.size` bytes.
    ///
    /// # Errors
    /// `Short` or `Read` leave the archive unfinished: drop it and begin again.
    pub fn stream(&mut self, entry: Entry, content: &mut dyn Read) -> Result<(), StreamError> {
        self.dispatch()?;
        self.raw = entry.headers();
        let (mut hash, mut left, mut blocks) = (Sha256::new(), entry.size, 1);
        let first = self.index;
        while left > 0 {
            let start = self.raw.len();
            let want = (MAX_BLOCK - start as u64).min(left) as usize;
            self.raw.reserve_exact(want);
            self.raw.resize(start + want, 0);
            fill(content, &mut self.raw[start..], left)?;
            hash.update(&self.raw[start..]);
            left -= want as u64;
            if left == 0 {
                self.pad();
            }
            if self.raw.len() as u64 >= MAX_BLOCK && left > 0 {
                self.dispatch()?;
                blocks += 1;
            }
        }
        debug_assert_eq!(blocks, self.index - first + 1);
        self.laid.push(Laid { entry, digest: Digested::Done(hash.finalize().into()), blocks });
        self.dispatch()?;
        Ok(())
    }

    fn pad(&mut self) {
        self.raw.resize(self.raw.len().next_multiple_of(RECORD as usize), 0);
    }

    /// Hands the current block to the workers, waiting while too many are in flight.
    fn dispatch(&mut self) -> Result<(), FormatError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.raw);
        self.tar_hash.update(&raw);
        let job = Job { index: self.index, raw, laid: std::mem::take(&mut self.laid) };
        self.index += 1;
        // A closed channel means that the writer has failed; it reports why.
        let gone = || FormatError::Io(std::io::ErrorKind::BrokenPipe.into());
        self.tokens.send(()).map_err(|_| gone())?;
        self.jobs.send(job).map_err(|_| gone())
    }
}

fn fill(content: &mut dyn Read, buffer: &mut [u8], left: u64) -> Result<(), StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => return Err(StreamError::Short { missing: left - filled as u64 }),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::Read(error)),
        }
    }
    Ok(())
}

/// Where an archive and its manifest go.
pub struct Sinks<'a> {
    /// The archive. Nothing may stand behind it.
    pub archive: &'a mut (dyn Write + Send),
    /// The manifest, likewise.
    pub manifest: &'a mut (dyn Write + Send),
}

/// Writes an archive and its manifest with what `entries` adds, on `workers` threads, and returns what `entries`
/// returned and what the archive came to.
///
/// # Errors
/// Those of `entries`; failures of the sinks and the encoder as [`FormatError`], which win over those of
/// `entries`, because they are their cause.
pub fn write<R, E: From<FormatError>>(
    sinks: Sinks<'_>,
    header: &Header,
    workers: usize,
    entries: impl FnOnce(&mut Builder) -> Result<R, E>,
) -> Result<(R, Summary), E> {
    let workers = workers.clamp(1, MAX_WORKERS);
    let codec = header.codec;
    std::thread::scope(|scope| {
        let (jobs, take_job) = sync_channel::<Job>(workers);
        let (done, take_done) = sync_channel::<Packed>(in_flight(workers));
        let (tokens, take_token) = sync_channel::<()>(in_flight(workers));
        let take_job = Arc::new(Mutex::new(take_job));
        for _ in 0..workers {
            let (take_job, done) = (Arc::clone(&take_job), done.clone());
            scope.spawn(move || work(codec, &take_job, &done));
        }
        drop((done, take_job));
        let written = scope.spawn(move || write_in_order(sinks, header, &take_done, &take_token));
        let mut builder =
            Builder { raw: Vec::new(), laid: Vec::new(), index: 0, tar_hash: Sha256::new(), jobs, tokens };
        let filled = entries(&mut builder).and_then(|value| {
            builder.dispatch()?;
            builder.raw = END.to_vec();
            builder.dispatch()?;
            Ok(value)
        });
        let Builder { tar_hash, jobs, tokens, .. } = builder;
        drop((jobs, tokens));
        let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The sink's own failure is the cause of a closed channel, so it is told first.
        let written = written?;
        let value = filled?;
        let summary = Summary {
            content_bytes: written.content_bytes,
            tar_bytes: written.tar_bytes,
            tar_sha256: hex(&tar_hash.finalize()),
            packed_bytes: written.packed_bytes,
            entries: written.collector.finish()?,
        };
        Ok((value, summary))
    })
}

fn work(codec: Codec, jobs: &Mutex<Receiver<Job>>, done: &SyncSender<Packed>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = job else { return };
        for laid in &mut job.laid {
            if let Digested::Here(range) = &laid.digest {
                laid.digest = Digested::Done(Sha256::digest(&job.raw[range.clone()]).into());
            }
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&job.raw);
        let bytes = codec.compress(&job.raw);
        let sha256 = bytes.as_ref().map(|bytes| super::sha256_hex(bytes)).unwrap_or_default();
        let packed =
            Packed { index: job.index, raw_len: job.raw.len() as u64, crc, bytes, sha256, laid: job.laid };
        if done.send(packed).is_err() {
            return;
        }
    }
}

struct Written<'a> {
    collector: Collector<'a>,
    content_bytes: u64,
    tar_bytes: u64,
    packed_bytes: u64,
}

/// Puts blocks on the sinks in order. Keeps its receivers until it ends, so that a failure closes the channels and
/// stops the others.
fn write_in_order<'a>(
    sinks: Sinks<'a>,
    header: &Header,
    done: &Receiver<Packed>,
    tokens: &Receiver<()>,
) -> Result<Written<'a>, FormatError> {
    let (codec, sink) = (header.codec, sinks.archive);
    let mut waiting = BTreeMap::new();
    let (mut crc, mut next) = (crc32fast::Hasher::new(), 0);
    let collector = Collector::new(sinks.manifest, header)?;
    let packed_bytes = codec.prologue().len() as u64;
    let mut written = Written { collector, content_bytes: 0, tar_bytes: 0, packed_bytes };
    sink.write_all(codec.prologue()).map_err(FormatError::Io)?;
    while let Ok(packed) = done.recv() {
        waiting.insert(packed.index, packed);
        while let Some(packed) = waiting.remove(&next) {
            next += 1;
            crc.combine(&packed.crc);
            written.put(sink, packed)?;
            let _ = tokens.recv();
        }
    }
    let epilogue = codec.epilogue(crc.finalize(), written.tar_bytes);
    sink.write_all(&epilogue).and_then(|()| sink.flush()).map_err(FormatError::Io)?;
    written.packed_bytes += epilogue.len() as u64;
    Ok(written)
}

impl Written<'_> {
    fn put(&mut self, sink: &mut dyn Write, packed: Packed) -> Result<(), FormatError> {
        let bytes = packed.bytes?;
        sink.write_all(&bytes).map_err(FormatError::Io)?;
        self.collector.block(Block {
            offset: self.packed_bytes,
            packed: bytes.len() as u64,
            tar_offset: self.tar_bytes,
            size: packed.raw_len,
            sha256: packed.sha256,
        })?;
        self.packed_bytes += bytes.len() as u64;
        self.tar_bytes += packed.raw_len;
        for laid in packed.laid {
            let sha256 = if let Digested::Done(digest) = laid.digest { Some(digest) } else { None };
            self.content_bytes += laid.entry.size;
            let block = packed.index + 1 - laid.blocks;
            self.collector.entry(&Record { entry: laid.entry, sha256, block, blocks: laid.blocks })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Mtime, read_tar};
    use super::super::manifest::{Groups, SCHEMA};
    use super::super::reader::{Blocks, decode};
    use super::*;

    fn header(codec: Codec) -> Header {
        Header {
            schema: SCHEMA,
            archive: "a".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
            codec,
            encoder: codec.encoder().into(),
            level: codec.level(),
            tool: "test".into(),
        }
    }

    /// Small files, one over a block, an empty one, links.
    fn tree() -> Vec<(Entry, Vec<u8>)> {
        let time = Mtime { seconds: 1_700_000_000, nanos: 5 };
        let content = |n: usize| (0..n).map(|i| ((i * i) >> (n % 7)) as u8).collect::<Vec<u8>>();
        let mut all: Vec<_> = (0..300)
            .map(|n| (format!("d/{n:04}"), content(n * 97)))
            .chain([("d/big".to_owned(), content(20_000_000)), ("d/empty".to_owned(), Vec::new())])
            .map(|(path, bytes)| (Entry::file(path.as_bytes(), bytes.len() as u64, 0o640, time), bytes))
            .collect();
        all.push((Entry::symlink(b"d/link", b"0001", time), Vec::new()));
        all.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        all
    }

    fn pack(codec: Codec, workers: usize) -> (Vec<u8>, Vec<u8>, Summary) {
        let (mut archive, mut manifest) = (Vec::new(), Vec::new());
        let sinks = Sinks { archive: &mut archive, manifest: &mut manifest };
        let ((), summary) = write::<_, FormatError>(sinks, &header(codec), workers, |builder| {
            tree().into_iter().try_for_each(|(entry, content)| builder.add(entry, &content))
        })
        .expect("writes");
        (archive, manifest, summary)
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_threads() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let (one, manifest, summary) = pack(codec, 1);
            assert_eq!(one.len() as u64, summary.packed_bytes);
            for workers in [2, 5] {
                let (many, other, _) = pack(codec, workers);
                assert!(one == many && manifest == other, "{codec:?} on {workers} threads");
            }
        }
    }

    #[test]
    fn what_goes_in_comes_out_with_and_without_the_manifest() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let (file, manifest, _) = pack(codec, 2);
            let mut manifest = &manifest[..];
            let mut groups = Groups::open(&mut manifest, codec).expect("opens");
            let mut records = Vec::new();
            let mut seen = Vec::new();
            let mut collect = |entry: Entry, content: &mut dyn Read| {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                seen.push((entry, bytes));
                Ok::<_, FormatError>(())
            };
            let mut stream: &mut dyn Read = &mut &file[..];
            let mut blocks = Blocks::new(&mut stream, codec);
            while let Some(group) = groups.next_group().expect("a group") {
                read_tar(&mut blocks.group(&group), &mut collect).expect("a group reads");
                records.extend(group.records);
            }
            assert_eq!(records.len(), tree().len());
            blocks.finish(codec.prologue()).expect("the end is right");
            decode(&mut &file[..], codec, &mut collect).expect("decodes");
            let mut expected = tree();
            for (entry, _) in &mut expected {
                entry.mtime.nanos = 0;
            }
            assert!(seen == [expected.clone(), expected].concat());
            let digests = records.iter().zip(tree()).all(|(record, (entry, content))| {
                record.entry == entry
                    && record.sha256 == (entry.kind == Kind::File).then(|| Sha256::digest(&content).into())
            });
            assert!(digests, "the manifest has every entry and digest");
        }
    }

    fn sinks<'a>(archive: &'a mut (dyn Write + Send), manifest: &'a mut (dyn Write + Send)) -> Sinks<'a> {
        Sinks { archive, manifest }
    }

    #[test]
    fn a_file_that_shrinks_is_never_filled_up() {
        let entry = Entry::file(b"log", 100_000_000, 0o600, Mtime::default());
        let result = write::<_, StreamError>(
            sinks(&mut Vec::new(), &mut Vec::new()),
            &header(Codec::Zstd),
            2,
            |builder| builder.stream(entry, &mut std::io::repeat(7).take(99_999_990)),
        );
        assert!(matches!(result, Err(StreamError::Short { missing: 10 })), "{result:?}");
    }

    #[test]
    fn a_full_disk_is_the_error_that_is_told() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let result = write::<_, FormatError>(
            sinks(&mut Full(3_000), &mut Vec::new()),
            &header(Codec::Gzip),
            2,
            |builder| tree().into_iter().try_for_each(|(entry, content)| builder.add(entry, &content)),
        );
        match result {
            Err(FormatError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_manifest_that_was_cut_or_is_newer_is_refused() {
        let (_, manifest, _) = pack(Codec::Zstd, 2);
        let text = zstd::decode_all(&manifest[..]).expect("decodes");
        let read = |text: &[u8]| {
            let packed = zstd::encode_all(text, 1).expect("packs");
            let mut packed = &packed[..];
            let mut groups = Groups::open(&mut packed, Codec::Zstd)?;
            while groups.next_group()?.is_some() {}
            Ok::<_, FormatError>(())
        };
        assert!(read(&text).is_ok());
        let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
        assert!(read(&lines[..lines.len() - 1].concat()).is_err(), "no end");
        assert!(read(&[&lines[..3], &lines[4..]].concat().concat()).is_err(), "a line is missing");
        let newer = String::from_utf8_lossy(&text).replacen("\"schema\":1", "\"schema\":2", 1);
        assert!(matches!(read(newer.as_bytes()), Err(FormatError::Newer { found: 2, .. })));
    }
}
