//! A manifest: its decompressed text, packed here; its compressed bytes as they are; or lines that fit together but for
//! a few lies. What is accepted must be what `docs/format.md` says of one.
use super::input::Input;
use super::sealed::{manifest, pack};
use serde_json::{Value, json};
use xtask::archive::FormatError;
use xtask::archive::codec::Codec;
use xtask::archive::entry::order;
use xtask::archive::manifest::{Group, Groups, closing};

const FULL: u64 = 8 << 20;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let codec = if way & 4 == 0 { Codec::Gzip } else { Codec::Zstd };
    let file = match way & 3 {
        0 => input.rest().to_vec(),
        1 => pack(codec, input.rest()),
        _ => {
            let lines = lines(codec, &mut input);
            pack(codec, manifest(codec, lines, &mut input).0.as_bytes())
        }
    };
    let closing = closing(&mut &file[..], codec);
    if let Ok(groups) = read(&file, codec) {
        accepted(&groups);
        let (begin, last) = groups.last().expect("an end block");
        let end = last.blocks.last().map_or(*begin, |block| block.offset + block.packed);
        let closing = closing.expect("what is whole ends well");
        assert!((end..=end + 10).contains(&closing.packed_bytes), "{end} {closing:?}");
    }
}

fn read(mut file: &[u8], codec: Codec) -> Result<Vec<(u64, Group)>, FormatError> {
    let mut all = Vec::new();
    let mut groups = Groups::open(&mut file, codec)?;
    let begin = groups.header.codec.prologue().len() as u64;
    while let Some(group) = groups.next_group()? {
        all.push((begin, group));
    }
    assert!(groups.next_group().is_ok_and(|none| none.is_none()), "something behind the end");
    Ok(all)
}

fn accepted(groups: &[(u64, Group)]) {
    let (mut packed, mut tar, mut number) = (groups.first().map_or(0, |(begin, _)| *begin), 0, 0);
    let mut last: Option<&[u8]> = None;
    for (at, (_, group)) in groups.iter().enumerate() {
        assert_eq!((group.first, group.records.is_empty()), (number, at + 1 == groups.len()));
        assert!(group.blocks.len() == 1 || group.records.len() == 1, "many blocks of many entries");
        for (index, block) in group.blocks.iter().enumerate() {
            assert_eq!((block.offset, block.tar_offset), (packed, tar), "a gap");
            assert!((1..=FULL).contains(&block.size) && (1..=FULL + FULL / 64).contains(&block.packed));
            assert!(block.size == FULL || index + 1 == group.blocks.len(), "a part that is not full");
            (packed, tar, number) = (packed + block.packed, tar + block.size, number + 1);
        }
        for record in &group.records {
            let path = &record.entry.path;
            assert!(last.is_none_or(|last| order(last, path).is_lt()), "out of order");
            assert_eq!((record.block, record.blocks), (group.first, group.blocks.len() as u64));
            last = Some(path);
        }
    }
}

/// Blocks that follow each other, and entries in order.
fn lines(codec: Codec, input: &mut Input<'_>) -> Vec<Value> {
    let (mut packed, mut tar, mut number, mut name) = (codec.prologue().len() as u64, 0, 0, 0);
    let mut lines = Vec::new();
    let digest = "0".repeat(64);
    let mut block = |lines: &mut Vec<Value>, size: u64, bytes: u64| {
        lines.push(
            json!({"line": "block", "offset": packed, "packed": bytes, "tar_offset": tar, "size": size,
            "sha256": digest}),
        );
        (packed, tar) = (packed + bytes, tar + size);
    };
    for _ in 0..input.byte() % 6 {
        let (full, entries) = (u64::from(input.byte() % 4), 1 + input.byte() % 3);
        for _ in 0..full {
            block(&mut lines, FULL, 1 + u64::from(input.byte()));
        }
        block(&mut lines, 512 * (1 + input.number() % 16_384), 1 + input.number() % (FULL + FULL / 64));
        for _ in 0..if full > 0 { 1 } else { entries } {
            name += 1;
            let size = if full > 0 { full * FULL - 512 } else { u64::from(input.byte()) };
            lines.push(json!({"line": "entry", "path": format!("{name:03}{}", String::from_utf8_lossy(input.bytes(20))),
                "kind": input.pick(&["file", "folder", "symlink", "hardlink"]), "mode": "0644", "mtime": input.number() as i64,
                "size": size, "block": number, "blocks": full + 1}));
        }
        number += full + 1;
    }
    block(&mut lines, 1024, 20);
    lines
}
