//! The container reader: compressed bytes as they are, one block, a tar stream without a manifest, and blocks by a
//! manifest. Two ways to read the same tar must come to the same entries.
use super::input::Input;
use super::sealed::{pack, seal};
use super::tars::{Built, build, mend};
use std::io::{BufRead, Read};
use xtask::archive::codec::Codec;
use xtask::archive::content::Tar;
use xtask::archive::entry::{END, Entry, read_tar};
use xtask::archive::manifest::{Block, Group, Groups};
use xtask::archive::reader::{Ending, decode, read_groups};
use xtask::archive::{FormatError, digest_stream, sha256_hex};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let codec = if way & 4 == 0 { Codec::Gzip } else { Codec::Zstd };
    match way & 3 {
        0 => drop(decoded(input.rest(), codec)),
        1 => block(codec, &mut input),
        2 => {
            let mut tar = input.rest().to_vec();
            mend(&mut tar);
            plain(&tar, codec);
        }
        _ => {
            let built = build(&mut input, "/nowhere");
            plain(&[&built.tar[..], &END].concat(), codec);
            by_manifest(&built, codec, &mut input);
        }
    }
}

type Entries = Vec<(Entry, u64)>;

fn note(entries: &mut Entries, entry: Entry, content: &mut dyn BufRead) -> Result<(), FormatError> {
    let bytes = std::io::copy(content, &mut std::io::sink())?;
    assert_eq!(bytes, entry.size, "content of another length");
    entries.push((entry, bytes));
    Ok(())
}

fn decoded(mut file: &[u8], codec: Codec) -> Result<Entries, FormatError> {
    let mut entries = Vec::new();
    decode(&mut file, codec, &mut |entry, content| note(&mut entries, entry, content))?;
    Ok(entries)
}

/// The tar bytes of each group that `next` gives, as long as all is well.
fn groups(
    mut archive: &[u8],
    codec: Codec,
    mut next: impl FnMut() -> Result<Option<Group>, FormatError>,
) -> (Vec<Vec<u8>>, Result<Ending, FormatError>) {
    let mut stream: &mut dyn Read = &mut archive;
    let mut all = Vec::new();
    let take = |_: &Group, (): &(), tar: Result<Vec<u8>, FormatError>| tar.map(|tar| all.push(tar));
    let mut reading = (|| Ok(next()?.map(|group| (group, ()))), take);
    let ending = read_groups((&mut stream, 0), codec, 2, &mut reading, &|group, (), tar| {
        let mut bytes = Vec::new();
        match tar {
            Tar::Whole(mut whole) => whole.read_to_end(&mut bytes)?,
            Tar::Parts(parts) => parts.read_to_end(&mut bytes)?,
        };
        let size: u64 = group.blocks.iter().map(|block| block.size).sum();
        assert_eq!(bytes.len() as u64, size, "a group of another length");
        Ok(bytes)
    });
    (all, ending)
}

/// What a block decodes to, if it has so many bytes.
fn unpacked(codec: Codec, packed: &[u8], size: u64) -> Result<Vec<u8>, FormatError> {
    let block =
        Block { offset: 0, packed: packed.len() as u64, tar_offset: 0, size, sha256: sha256_hex(packed) };
    let mut group = Some(Group { first: 0, blocks: vec![block], records: Vec::new() });
    let (mut all, ending) = groups(packed, codec, || Ok(group.take()));
    ending.map(|_| all.pop().expect("one group"))
}

/// Any bytes as a block; and a block that comes back, in its own length alone.
fn block(codec: Codec, input: &mut Input<'_>) {
    let size = 1 + (u64::from(input.byte()) << (input.byte() % 16));
    let bytes = input.rest();
    let _ = unpacked(codec, bytes, size);
    let packed = codec.compress(bytes).expect("packs");
    let size = bytes.len() as u64;
    if size > 0 {
        assert_eq!(unpacked(codec, &packed, size).expect("comes back"), bytes);
    }
    assert!(unpacked(codec, &packed, size + 1).is_err(), "a byte too few passed");
}

fn plain(tar: &[u8], codec: Codec) {
    let (mut bare, mut direct) = (tar, Vec::new());
    let read = read_tar(&mut bare, &mut |entry, content| note(&mut direct, entry, content));
    let whole = matches!(read, Ok(true)) && bare.iter().all(|byte| *byte == 0);
    match decoded(&pack(codec, tar), codec) {
        Ok(entries) => assert!(whole && entries == direct, "packed, it is another archive"),
        Err(error) => assert!(!whole, "packed, it is none: {error}"),
    }
}

fn by_manifest(built: &Built, codec: Codec, input: &mut Input<'_>) {
    let sealed = seal(built, codec, input);
    let mut manifest = &sealed.manifest[..];
    let Ok(mut listed) = Groups::open(&mut manifest, codec) else { return };
    let codec = listed.header.codec;
    let (pieces, ending) = groups(&sealed.archive, codec, || listed.next_group());
    pieces.iter().for_each(|piece| digests(piece));
    let Ok(ending) = ending else { return };
    if sealed.honest {
        assert!(pieces.concat() == [&built.tar[..], &END].concat(), "what came back is not what went in");
        let end = sealed.archive.len() - codec.epilogue(0, 0).len();
        ending.check(codec.prologue(), &mut &sealed.archive[end..]).expect("an honest end");
    }
}

/// The digests of many entries at once are those of each.
fn digests(piece: &[u8]) {
    let mut one_by_one = Vec::new();
    let read = read_tar::<FormatError>(&mut &piece[..], &mut |entry, content| {
        one_by_one.push((entry, digest_stream(content)?.0));
        Ok(())
    });
    match Tar::Whole(piece).digests() {
        Ok(together) => assert!(read.is_ok() && together == one_by_one, "digests that are others together"),
        Err(error) => assert!(read.is_err(), "together they are refused: {error}"),
    }
}
