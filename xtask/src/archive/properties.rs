//! What holds for every tree, not only for those that somebody thought of: generated entries go in, and come out by each
//! way back; the bytes depend on nothing but the entries.
use super::FormatError;
use super::block::MAX_BLOCK;
use super::codec::Codec;
use super::entry::{Entry, Kind, Mtime, order};
use super::manifest::{Group, Groups, Header, Record, SCHEMA};
use super::reader::{Look, decode, read_groups};
use super::writer::{Options, Sinks, write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read};

type Tree = Vec<(Entry, Vec<u8>)>;

/// Names of any bytes but NUL and `/`, short and long, a few levels deep.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b'a'..=b'e', 1 => 1_u8..=255].prop_filter("no slash", |byte| *byte != b'/');
    let name = prop_oneof![9 => vec(byte.clone(), 1..6), 1 => vec(byte, 90..300)];
    vec(name, 1..4).prop_map(|parts| parts.join(&b'/'))
}

fn node() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let mtime = (-1_i64 << 34..1_i64 << 40).prop_map(|seconds| Mtime { seconds, nanos: 0 });
    let length = prop_oneof![8 => 0_usize..2000, 1 => 300_000_usize..400_000];
    let content = (any::<u8>(), length)
        .prop_map(|(seed, length)| (0..length).map(|at| seed ^ (at >> 3) as u8).collect::<Vec<u8>>());
    let xattrs = btree_map(vec(b'a'..=b'z', 1..9), vec(any::<u8>(), 0..200), 0..3);
    let kind = prop_oneof![6 => Just(Kind::File), 2 => Just(Kind::Folder), 1 => Just(Kind::Symlink)];
    (kind, mtime, 0_u32..0o10000, 0_u64..1 << 33, content, xattrs, path()).prop_map(
        |(kind, mtime, mode, uid, content, xattrs, link)| {
            let content = if kind == Kind::File { content } else { Vec::new() };
            let link = if kind == Kind::Symlink { link } else { Vec::new() };
            let xattrs = xattrs.into_iter().map(|(name, value)| ([b"user.", &name[..]].concat(), value));
            let entry = Entry {
                kind,
                uid,
                link,
                xattrs: if kind == Kind::Symlink { Vec::new() } else { xattrs.collect() },
                ..Entry::file(b"", content.len() as u64, mode, mtime)
            };
            (entry, content)
        },
    )
}

/// In the archive's order, each once.
fn tree() -> impl Strategy<Value = Tree> {
    btree_map(path(), node(), 0..60).prop_map(|nodes| {
        let nodes = nodes.into_iter().map(|(path, (entry, content))| (Entry { path, ..entry }, content));
        let mut tree: Tree = nodes.collect();
        tree.sort_by(|(one, _), (other, _)| order(&one.path, &other.path));
        tree
    })
}

fn pack(tree: &Tree, codec: Codec, workers: usize) -> (Vec<u8>, Vec<u8>) {
    let header = Header {
        schema: SCHEMA,
        archive: "a".into(),
        created_at: "2026-01-01T00:00:00Z".into(),
        codec,
        encoder: codec.encoder().into(),
        level: codec.level(),
        tool: "test".into(),
    };
    let (mut archive, mut manifest) = (Vec::new(), Vec::new());
    let sinks = Sinks { archive: &mut archive, manifest: &mut manifest };
    write::<_, FormatError>(sinks, &header, Options { workers, tar_sha256: false }, |builder| {
        tree.iter().try_for_each(|(entry, content)| builder.add(entry.clone(), content))
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_back_by_every_way(tree in tree(), zstd in any::<bool>(), workers in 1_usize..6) {
        let codec = if zstd { Codec::Zstd } else { Codec::Gzip };
        let (archive, manifest) = pack(&tree, codec, 1);
        prop_assert!(pack(&tree, codec, workers) == (archive.clone(), manifest.clone()), "on {} threads", workers);

        let (back, records) = by_manifest(&archive, &manifest, codec);
        prop_assert!(back == tree);
        for (record, (entry, content)) in records.iter().zip(&tree) {
            prop_assert_eq!(&record.entry, &Entry { xattrs: Vec::new(), ..entry.clone() });
            let digest = (entry.kind == Kind::File).then(|| Sha256::digest(content).into());
            prop_assert_eq!(record.sha256, digest);
        }
        prop_assert_eq!(records.len(), tree.len());

        let mut alone = Tree::new();
        decode(&mut &archive[..], codec, &mut |entry, content| take(&mut alone, entry, content)).expect("decodes");
        prop_assert!(alone == tree);
    }

    #[test]
    fn no_cut_of_an_archive_or_manifest_passes(tree in tree(), zstd in any::<bool>(), at in 0.0..1.0) {
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
