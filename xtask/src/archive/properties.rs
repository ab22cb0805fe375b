//! What holds for every tree, not only for those that somebody thought of: generated entries go in, and come out by each
//! way back; the bytes depend on nothing but the entries, however many threads there are and whoever is slow.
use super::FormatError;
use super::block::MAX_BLOCK;
use super::builder::{Builder, StreamError};
use super::codec::Codec;
use super::entry::{Entry, Kind, Mtime, order};
use super::manifest::{Group, Groups, Header, Record, SCHEMA};
use super::reader::{Look, decode, read_groups};
use super::writer::{Options, Sinks, write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read, Write};
use std::ops::Range;
use std::time::Duration;

type Tree = Vec<(Entry, Vec<u8>)>;
/// Archive and manifest.
type Made = (Vec<u8>, Vec<u8>);

const WORKERS: [usize; 4] = [1, 2, 3, 7];

/// Names of any bytes but NUL and `/`, short and long, a few levels deep.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b'a'..=b'e', 1 => 1_u8..=255].prop_filter("no slash", |byte| *byte != b'/');
    let name = prop_oneof![9 => vec(byte.clone(), 1..6), 1 => vec(byte, 90..300)];
    vec(name, 1..4).prop_map(|parts| parts.join(&b'/'))
}

/// How long a file is.
#[derive(Debug, Clone, Copy)]
enum Length {
    Bytes(usize),
    /// So many bytes more than fill this many blocks, headers included.
    Blocks(u64, i64),
}

/// Around the ends of records, and everywhere below.
fn short() -> impl Strategy<Value = Length> {
    let at_ends = select(vec![0, 1, 511, 512, 513, 1023, 1024, 1025]);
    prop_oneof![3 => at_ends, 8 => 0_usize..2000, 1 => 300_000_usize..400_000].prop_map(Length::Bytes)
}

/// So long that a few fill a block, or around the ends of blocks.
fn long() -> impl Strategy<Value = Length> {
    let around = select(vec![-1025, -513, -512, -511, -1, 0, 1, 511, 512, 513]);
    let bytes = (100_000_usize..500_000).prop_map(Length::Bytes);
    prop_oneof![14 => bytes, 1 => (1_u64..3, around).prop_map(|(blocks, more)| Length::Blocks(blocks, more))]
}

impl Length {
    fn bytes(self, entry: &Entry) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Blocks(blocks, more) => {
                ((blocks * MAX_BLOCK - entry.headers().len() as u64) as i64 + more) as usize
            }
        }
    }
}

/// How content is made from a seed: nothing, a pattern, or what no encoder makes smaller within its window.
fn content(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let piece: Vec<u8> = (0..64_000_u32)
        .map(|at| match seed % 3 {
            0 => 0,
            1 => seed ^ (at >> 3) as u8,
            _ => {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }
        })
        .take(length)
        .collect();
    piece.iter().copied().cycle().take(length).collect()
}

fn node(length: impl Strategy<Value = Length>) -> impl Strategy<Value = (Entry, (Length, u8))> {
    let mtime = (-1_i64 << 34..1_i64 << 40, 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Mtime { seconds, nanos });
    let xattrs = btree_map(vec(b'a'..=b'z', 1..9), vec(any::<u8>(), 0..200), 0..3);
    let kind = prop_oneof![
        6 => Just(Kind::File), 2 => Just(Kind::Folder), 1 => Just(Kind::Symlink), 1 => Just(Kind::Hardlink)
    ];
    (kind, mtime, 0_u32..0o10000, 0_u64..1 << 33, (length, any::<u8>()), xattrs, path()).prop_map(
        |(kind, mtime, mode, uid, content, xattrs, link)| {
            let linked = matches!(kind, Kind::Symlink | Kind::Hardlink);
            let xattrs = xattrs.into_iter().map(|(name, value)| ([b"user.", &name[..]].concat(), value));
            let entry = Entry {
                kind,
                uid,
                link: if linked { link } else { Vec::new() },
                xattrs: if kind == Kind::Symlink { Vec::new() } else { xattrs.collect() },
                ..Entry::file(b"", 0, mode, mtime)
            };
            (entry, content)
        },
    )
}

/// In the archive's order, each once.
fn tree(length: impl Strategy<Value = Length>, entries: Range<usize>) -> impl Strategy<Value = Tree> {
    let grown = |(path, (mut entry, (length, seed))): (Vec<u8>, (Entry, (Length, u8)))| {
        entry.path = path;
        let length = if entry.kind == Kind::File { length.bytes(&entry) } else { 0 };
        entry.size = length as u64;
        (entry, content(seed, length))
    };
    btree_map(path(), node(length), entries).prop_map(move |nodes| {
        let mut tree: Tree = nodes.into_iter().map(grown).collect();
        tree.sort_by(|(one, _), (other, _)| order(&one.path, &other.path));
        tree
    })
}

/// As a tar brings it back: without nanoseconds.
fn whole_seconds(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    tree.iter_mut().for_each(|(entry, _)| entry.mtime.nanos = 0);
    tree
}

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

fn pack(tree: &Tree, codec: Codec, workers: usize) -> Made {
    let (mut archive, mut manifest) = (Vec::new(), Vec::new());
    let sinks = Sinks { archive: &mut archive, manifest: &mut manifest };
    write::<_, FormatError>(sinks, &header(codec), Options { workers, tar_sha256: false }, |builder| {
        tree.iter().try_for_each(|(entry, content)| builder.add(entry.clone(), content))
    })
    .expect("writes");
    (archive, manifest)
}

/// Somebody who is slow, on a whim: now gives way, now sleeps, now goes on, and never does all that is asked at once.
struct Moody(u64);

impl Moody {
    /// Of so many bytes at least one, and all of them at times.
    fn some(&mut self, bytes: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let whim = (self.0 >> 33) as usize;
        match whim % 8 {
            0 => std::thread::sleep(Duration::from_micros(whim as u64 % 700)),
            1..5 => std::thread::yield_now(),
            _ => {}
        }
        if whim.is_multiple_of(3) { bytes } else { (whim % 100_000).min(bytes).max(1) }
    }
}

struct MoodySink<'a>(&'a mut Vec<u8>, Moody);

impl Write for MoodySink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..self.1.some(bytes.len())])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct MoodySource<'a>(&'a [u8], Moody);

impl Read for MoodySource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.1.some(buffer.len()) {
            count if count % 7 == 3 => Err(io::ErrorKind::Interrupted.into()),
            count => self.0.read(&mut buffer[..count]),
        }
    }
}

/// As [`pack`], with a source and sinks that keep nobody's time.
fn pack_moodily(tree: &Tree, codec: Codec, workers: usize, seed: u64) -> Made {
    let (mut archive, mut manifest) = (Vec::new(), Vec::new());
    let mut sinks = (MoodySink(&mut archive, Moody(seed)), MoodySink(&mut manifest, Moody(seed ^ 1)));
    let sinks = Sinks { archive: &mut sinks.0, manifest: &mut sinks.1 };
    let mut mood = Moody(seed ^ 2);
    let mut add = |builder: &mut Builder<'_>, (entry, content): &(Entry, Vec<u8>)| {
        mood.some(1);
        if entry.encoded_len() > MAX_BLOCK {
            builder.stream(entry.clone(), &mut MoodySource(content, Moody(seed ^ entry.size))).map(drop)
        } else {
            Ok(builder.add(entry.clone(), content)?)
        }
    };
    write::<_, StreamError>(sinks, &header(codec), Options { workers, tar_sha256: false }, |builder| {
        tree.iter().try_for_each(|next| add(builder, next))
    })
    .expect("writes");
    (archive, manifest)
}

/// Entries and content as the manifest's blocks give them, and the manifest's own records.
fn by_manifest(archive: &[u8], manifest: &[u8], codec: Codec) -> (Tree, Vec<Record>) {
    let (mut tree, mut records) = (Tree::new(), Vec::new());
    let (mut stream, mut manifest): (&mut dyn Read, _) = (&mut &*archive, manifest);
    let mut groups = Groups::open(&mut manifest, codec).expect("opens");
    let mut reading = (
        || Ok(groups.next_group()?.map(|group| (group, ()))),
        |group: &Group, (): &(), found: Result<Tree, FormatError>| {
            assert!(group.blocks.iter().all(|block| block.size <= MAX_BLOCK));
            records.extend(group.records.iter().cloned());
            found.map(|found| tree.extend(found))
        },
    );
    let look: Look<'_, (), Tree, FormatError> = &|_, (), tar| {
        let mut found = Tree::new();
        tar.read(&mut |entry, content| take(&mut found, entry, content))?;
        Ok(found)
    };
    let ending = read_groups((&mut stream, 0), codec, 3, &mut reading, look).expect("reads");
    ending.check(codec.prologue(), &mut stream).expect("ends");
    (tree, records)
}

fn take(tree: &mut Tree, entry: Entry, content: &mut dyn BufRead) -> Result<(), FormatError> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    tree.push((entry, bytes));
    Ok(())
}

/// What went in comes out by the manifest and without it.
fn assert_comes_back(tree: &Tree, (archive, manifest): &Made, codec: Codec) -> Result<(), TestCaseError> {
    let plain = whole_seconds(tree);
    let (back, records) = by_manifest(archive, manifest, codec);
    prop_assert!(back == plain);
    for (record, (entry, content)) in records.iter().zip(tree) {
        prop_assert_eq!(&record.entry, &Entry { xattrs: Vec::new(), ..entry.clone() });
        let digest = (entry.kind == Kind::File).then(|| Sha256::digest(content).into());
        prop_assert_eq!(record.sha256, digest);
    }
    prop_assert_eq!(records.len(), tree.len());

    let mut alone = Tree::new();
    decode(&mut &archive[..], codec, &mut |entry, content| take(&mut alone, entry, content))
        .expect("decodes");
    prop_assert!(alone == plain);
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn every_tree_comes_back_by_every_way(tree in tree(short(), 0..60), zstd in any::<bool>(), workers in 1_usize..6) {
        let codec = if zstd { Codec::Zstd } else { Codec::Gzip };
        let made = pack(&tree, codec, 1);
        prop_assert!(pack(&tree, codec, workers) == made, "on {} threads", workers);
        assert_comes_back(&tree, &made, codec)?;
    }

    #[test]
    fn no_cut_of_an_archive_or_manifest_passes(tree in tree(short(), 0..60), zstd in any::<bool>(), at in 0.0..1.0) {
        let codec = if zstd { Codec::Zstd } else { Codec::Gzip };
        let (archive, manifest) = pack(&tree, codec, 2);
        let cut = |bytes: &[u8]| bytes[..(bytes.len() as f64 * at) as usize].to_vec();
        let mut all = |entry: Entry, content: &mut dyn BufRead| take(&mut Tree::new(), entry, content);
        let decoded = decode(&mut &cut(&archive)[..], codec, &mut all);
        prop_assert!(decoded.is_err());
        let cut = cut(&manifest);
        let mut short = &cut[..];
        let read = Groups::open(&mut short, codec).and_then(|mut groups| {
            while groups.next_group()?.is_some() {}
            Ok(())
        });
        prop_assert!(read.is_err());
    }
}

proptest! {
    #![proptest_config(config(6))]

    /// All at once, so that they also take the processors from each other.
    #[test]
    fn bytes_do_not_depend_on_threads_or_who_is_slow(tree in tree(long(), 10..40), seed in any::<u64>()) {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let made = pack(&tree, codec, 1);
            let others = std::thread::scope(|scope| {
                let tree = &tree;
                let start = |workers| scope.spawn(move || pack_moodily(tree, codec, workers, seed));
                WORKERS.map(start).map(|thread| thread.join().expect("packs"))
            });
            for (workers, other) in WORKERS.into_iter().zip(others) {
                prop_assert!(other == made, "{:?} on {} threads", codec, workers);
            }
            assert_comes_back(&tree, &made, codec)?;
        }
    }
}
