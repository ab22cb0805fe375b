//! Entries in, archive and manifest out: a pipeline with bounded memory.
//!
//! The caller's thread lays entries into blocks ([`Builder`]); worker threads compress a block and hash the files in it;
//! one thread writes the blocks in order. No more than `in_flight` blocks exist at a time. The bytes depend on the
//! entries and the codec alone: threads only decide *when* a block is ready.
use super::block::{MAX_BLOCK, Rule};
use super::buffer::{Buffer, Pool};
use super::builder::{Builder, Built, Digested, Job, Laid, Pools};
use super::codec::{Codec, Encoder};
use super::manifest::{Block, Collector, Header, Record};
use super::sha256::digests;
use super::{FormatError, MAX_WORKERS, hex};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// SHA-256 of the tar stream, if it was asked for.
    pub tar_sha256: Option<String>,
    /// Compressed bytes (before encryption).
    pub packed_bytes: u64,
}

struct Packed {
    index: u64,
    raw_len: u64,
    crc: crc32fast::Hasher,
    bytes: Result<Buffer, FormatError>,
    sha256: String,
    laid: Vec<Laid>,
}

/// Where an archive and its manifest go.
pub struct Sinks<'a> {
    /// The archive. Nothing may stand behind it.
    pub archive: &'a mut (dyn Write + Send),
    /// The manifest, likewise.
    pub manifest: &'a mut (dyn Write + Send),
}

/// How an archive is written. None of it changes a byte.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that compress; [`MAX_WORKERS`] at the most.
    pub workers: usize,
    /// Whether the SHA-256 of the whole tar stream is wanted as well, which takes another pass over it.
    pub tar_sha256: bool,
}

/// Writes an archive and its manifest with what `entries` adds, and returns what `entries` returned and what the archive
/// came to.
///
/// # Errors
/// Those of `entries`; failures of the sinks and the encoder as [`FormatError`], which win over those of
/// `entries`, because they are their cause.
pub fn write<R, E: From<FormatError>>(
    sinks: Sinks<'_>,
    header: &Header,
    options: Options,
    entries: impl FnOnce(&mut Builder<'_>) -> Result<R, E>,
) -> Result<(R, Summary), E> {
    let workers = options.workers.clamp(1, MAX_WORKERS);
    let codec = header.codec;
    let block = MAX_BLOCK as usize;
    let pools = Pools { raw: Pool::new(block), packed: Pool::new(Encoder::bound(block)) };
    let pools = &pools;
    std::thread::scope(|scope| {
        let (jobs, take_job) = sync_channel::<Job>(workers);
        let (done, take_done) = sync_channel::<Packed>(in_flight(workers));
        let (tokens, take_token) = sync_channel::<()>(in_flight(workers));
        let take_job = Arc::new(Mutex::new(take_job));
        for _ in 0..workers {
            let (take_job, done, encoder) = (Arc::clone(&take_job), done.clone(), Encoder::new(codec)?);
            scope.spawn(move || work(codec, encoder, pools, &take_job, &done));
        }
        drop((done, take_job));
        let written = scope.spawn(move || write_in_order(sinks, header, pools, &take_done, &take_token));
        let tar_hash = options.tar_sha256.then(Sha256::new);
        let mut builder = Builder::new(Rule::of(codec), tar_hash, pools, jobs, tokens);
        let filled = entries(&mut builder).and_then(|value| {
            builder.end()?;
            Ok(value)
        });
        let Built { tar_hash, state, errors } = builder.close();
        let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The sink's own failure is the cause of a closed channel, so it is told first.
        let written = written?;
        let value = filled?;
        let summary = Summary {
            content_bytes: written.content_bytes,
            tar_bytes: written.tar_bytes,
            tar_sha256: tar_hash.map(|hash| hex(&hash.finalize())),
            packed_bytes: written.packed_bytes,
            entries: written.collector.finish(state, errors)?,
        };
        Ok((value, summary))
    })
}

fn work(
    codec: Codec,
    mut encoder: Encoder,
    pools: &Pools,
    jobs: &Mutex<Receiver<Job>>,
    done: &SyncSender<Packed>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { index, raw, mut laid }) = job else { return };
        let _unfinished = Unfinished { index, done };
        let mut crc = crc32fast::Hasher::new();
        if codec == Codec::Gzip {
            crc.update(&raw);
        }
        let mut packed = pools.packed.take();
        let result = encoder.compress(&raw, &mut packed);
        let sha256 = hex(&digest_all(&raw, &packed, &mut laid));
        let raw_len = raw.len() as u64;
        pools.raw.give(raw);
        let packed = Packed { index, raw_len, crc, bytes: result.map(|()| packed), sha256, laid };
        if done.send(packed).is_err() {
            return;
        }
    }
}

/// A block that is being packed. When its thread panics the writer is told, so that nobody waits for the block.
struct Unfinished<'a> {
    index: u64,
    done: &'a SyncSender<Packed>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let bytes = Err(FormatError::Malformed("a thread that packs has failed".into()));
            let (crc, laid) = (crc32fast::Hasher::new(), Vec::new());
            let _ = self.done.send(Packed {
                index: self.index,
                raw_len: 0,
                crc,
                bytes,
                sha256: String::new(),
                laid,
            });
        }
    }
}

/// Fills in the digests of what lies in a block, and returns that of the packed block. All at once: that is faster.
fn digest_all(raw: &[u8], packed: &[u8], laid: &mut [Laid]) -> [u8; 32] {
    let mut messages = vec![packed];
    messages.extend(laid.iter().filter_map(|laid| match &laid.digest {
        Digested::Here(range) => Some(&raw[range.clone()]),
        Digested::None | Digested::Done(_) => None,
    }));
    let mut digests = digests(&messages).into_iter();
    let mut next = || digests.next().expect("a digest for each message");
    let block = next();
    for laid in laid.iter_mut().filter(|laid| matches!(laid.digest, Digested::Here(_))) {
        laid.digest = Digested::Done(next());
    }
    block
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
    pools: &Pools,
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
            written.put(sink, pools, packed)?;
            let _ = tokens.recv();
        }
    }
    let epilogue = codec.epilogue(crc.finalize(), written.tar_bytes);
    sink.write_all(&epilogue).and_then(|()| sink.flush()).map_err(FormatError::Io)?;
    written.packed_bytes += epilogue.len() as u64;
    Ok(written)
}

impl Written<'_> {
    fn put(&mut self, sink: &mut dyn Write, pools: &Pools, packed: Packed) -> Result<(), FormatError> {
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
        pools.packed.give(bytes);
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
    use super::super::builder::StreamError;
    use super::super::entry::{Entry, Kind, Mtime, order};
    use super::super::manifest::{Group, Groups, SCHEMA};
    use super::super::reader::{Look, Skip, decode, read_groups};
    use super::*;
    use std::io::{BufRead, Read};

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

    fn on(workers: usize) -> Options {
        Options { workers, tar_sha256: false }
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
        all.sort_by(|a, b| order(&a.0.path, &b.0.path));
        all
    }

    fn pack(codec: Codec, workers: usize) -> (Vec<u8>, Vec<u8>, Summary) {
        let (mut archive, mut manifest) = (Vec::new(), Vec::new());
        let sinks = Sinks { archive: &mut archive, manifest: &mut manifest };
        let ((), summary) = write::<_, FormatError>(sinks, &header(codec), on(workers), |builder| {
            tree().into_iter().try_for_each(|(entry, content)| builder.add(entry, &content))
        })
        .expect("writes");
        (archive, manifest, summary)
    }

    /// Else its block would be waited for, with every lock held.
    #[test]
    fn a_thread_that_panics_ends_the_run() {
        let (jobs, take_job) = sync_channel(1);
        let (done, told) = sync_channel(1);
        let laid = Laid {
            entry: Entry::file(b"a", 9, 0o644, Mtime::default()),
            digest: Digested::Here(0..9),
            blocks: 1,
        };
        jobs.send(Job { index: 3, raw: Buffer::new(0), laid: vec![laid] }).expect("sends");
        let work = std::thread::spawn(move || {
            let pools = Pools { raw: Pool::new(0), packed: Pool::new(Encoder::bound(0)) };
            let encoder = Encoder::new(Codec::Gzip).expect("an encoder");
            work(Codec::Gzip, encoder, &pools, &Mutex::new(take_job), &done);
        });
        let packed = told.recv().expect("is told");
        assert!(packed.index == 3 && packed.bytes.is_err());
        assert!(work.join().is_err());
    }

    fn collect(
        seen: &mut Vec<(Entry, Vec<u8>)>,
        entry: Entry,
        content: &mut dyn BufRead,
    ) -> Result<(), FormatError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        seen.push((entry, bytes));
        Ok(())
    }

    #[test]
    fn what_goes_in_comes_out_with_and_without_the_manifest() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let (file, manifest, _) = pack(codec, 2);
            let mut manifest = &manifest[..];
            let mut groups = Groups::open(&mut manifest, codec).expect("opens");
            let (mut records, mut seen) = (Vec::new(), Vec::new());
            let mut stream: &mut dyn Read = &mut &file[..];
            let mut reading = (
                || Ok(groups.next_group()?.map(|group| (group, ()))),
                |group: &Group, (): &(), found: Result<Vec<_>, FormatError>| {
                    records.extend(group.records.iter().cloned());
                    found.map(|found| seen.extend(found))
                },
            );
            let look: Look<'_, (), Vec<_>, FormatError> = &|_, (), tar| {
                let mut found = Vec::new();
                tar.read(&mut |entry, content| collect(&mut found, entry, content))?;
                Ok(found)
            };
            let ending = read_groups((&mut stream, 0), codec, 3, &mut reading, look).expect("reads");
            ending.check(codec.prologue(), &mut stream).expect("the end is right");
            assert_eq!(records.len(), tree().len());
            decode(&mut &file[..], codec, &mut |entry, content| collect(&mut seen, entry, content))
                .expect("decodes");
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

    /// A stream of which the second block cannot be read.
    struct Torn<'a>(std::io::Cursor<&'a [u8]>, usize);

    impl Read for Torn<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Skip for Torn<'_> {
        fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
            self.0.set_position(self.0.position() + bytes);
            Ok(())
        }

        fn fill(&mut self, part: &mut [u8]) -> std::io::Result<Option<[u8; 32]>> {
            self.read_exact(part)?;
            self.1 += 1;
            if self.1 == 2 { Err(std::io::Error::other("a bad sector")) } else { Ok(None) }
        }
    }

    #[test]
    fn what_cannot_be_read_costs_its_own_group_alone() {
        let (file, manifest, _) = pack(Codec::Gzip, 2);
        let mut manifest = &manifest[..];
        let mut groups = Groups::open(&mut manifest, Codec::Gzip).expect("opens");
        let mut lost = Vec::new();
        let mut reading = (
            || Ok(groups.next_group()?.map(|group| (group, ()))),
            |_: &Group, (): &(), found: Result<_, FormatError>| {
                lost.push(found.is_err());
                Ok(())
            },
        );
        let look: Look<'_, (), _, FormatError> = &|_, (), tar| tar.digests();
        let mut stream = Torn(std::io::Cursor::new(&file), 0);
        read_groups((&mut stream, 0), Codec::Gzip, 2, &mut reading, look).expect("reads on");
        assert!(lost.len() > 2 && lost.iter().filter(|lost| **lost).count() == 1, "{lost:?}");
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
            on(2),
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
            on(2),
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
