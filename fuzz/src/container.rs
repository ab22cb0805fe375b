//! The container reader: compressed bytes as they are, one block, a tar stream without a manifest, and blocks by a
//! manifest. Two ways to read the same tar must come to the same entries.
use super::input::Input;
use super::sealed::{pack, seal};
use super::tars::{Built, build, mend};
use std::io::Read;
use xtask::archive::FormatError;
use xtask::archive::codec::Codec;
use xtask::archive::entry::{END, Entry, read_tar};
use xtask::archive::manifest::Groups;
use xtask::archive::reader::{Blocks, decode};

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

fn note(entries: &mut Entries, entry: Entry, content: &mut dyn Read) -> Result<(), FormatError> {
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

/// A block that decodes has the length that was asked for.
fn block(codec: Codec, input: &mut Input<'_>) {
    let length = usize::from(input.byte()) << (input.byte() % 16);
    let bytes = input.rest();
    if let Ok(raw) = codec.decompress(bytes, length) {
        assert_eq!(raw.len(), length);
    }
    let packed = codec.compress(bytes).expect("packs");
    assert_eq!(codec.decompress(&packed, bytes.len()).expect("comes back"), bytes);
    assert!(codec.decompress(&packed, bytes.len() + 1).is_err(), "a byte too few passed");
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
    let (mut archive, mut manifest): (&mut dyn Read, _) = (&mut &sealed.archive[..], &sealed.manifest[..]);
    let Ok(mut groups) = Groups::open(&mut manifest, codec) else { return };
    let codec = groups.header.codec;
    let mut blocks = Blocks::new(&mut archive, codec);
    let mut tar = Vec::new();
    while let Ok(Some(group)) = groups.next_group() {
        let (from, size) = (tar.len(), group.blocks.iter().map(|block| block.size as usize).sum::<usize>());
        if blocks.group(&group).read_to_end(&mut tar).is_err() {
            return;
        }
        assert_eq!(tar.len() - from, size, "a group of another length");
        let mut entries = Vec::new();
        let _ = read_tar(&mut &tar[from..], &mut |entry, content| note(&mut entries, entry, content));
    }
    if sealed.honest && groups.next_group().is_ok() {
        assert!(tar == [&built.tar[..], &END].concat(), "what came back is not what went in");
        blocks.finish(codec.prologue()).expect("an honest end");
    }
}
