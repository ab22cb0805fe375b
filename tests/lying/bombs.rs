//! Small files that want all of the memory: what they hold is read in bounded memory, or refused.
use super::{BOUND, Work, entry, line_of, none, pack, put, refused};
use crate::support::{Outcome, Stack};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use xtask::archive::codec::Codec;
use xtask::archive::entry::{END, Entry, Kind};
use xtask::archive::sha256_hex;

const CODECS: [Codec; 2] = [Codec::Gzip, Codec::Zstd];

/// Tar bytes so many times over, and then the end, in a small file.
fn over_and_over(codec: Codec, piece: &[u8], times: usize) -> Vec<u8> {
    // Several members and several frames are one stream.
    [pack(codec, piece).repeat(times), pack(codec, &END)].concat()
}

fn bounded(stack: &Stack, archive: &str, code: i32) -> Outcome {
    let said = stack.run_within(BOUND, &["verify", archive]).exits(code);
    assert!(!said.stderr.contains("panicked"), "{}", said.shown());
    said
}

#[test]
fn a_block_that_inflates_to_more_than_it_says_is_refused() {
    let stack = Stack::bare();
    let mut faults = Vec::new();
    for codec in CODECS {
        let packed = match codec {
            Codec::Gzip => codec.compress(&vec![0; 1 << 20]).expect("packs").repeat(1024),
            Codec::Zstd => zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).expect("packs"),
        };
        assert!(packed.len() < 2 << 20, "a small block");
        let small = entry(Kind::File, "data/a", &[0; 512]);
        let mut work = Work::new(codec);
        work.packed(&packed, &[&small.headers()[..], &[0; 512]].concat());
        work.lines.push(line_of(&small, &[0; 512], 0));
        let archive = work.end().put(&stack);
        faults.extend(refused(&stack, &archive, &format!("{codec:?}"), "1 damaged: data/a"));
    }
    none(&faults);
}

/// An honest archive of nothing but zeros is read to its end, and takes no memory for it.
#[test]
fn gigabytes_of_zeros_need_little_memory() {
    let stack = Stack::bare();
    let piece = 64 << 20;
    for (codec, times, said) in
        [(Codec::Gzip, 16, "1 entries, 1.1 GB"), (Codec::Zstd, 160, "1 entries, 11 GB")]
    {
        let header = Entry::file(b"data/zeros", (piece * times) as u64, 0o644, Default::default()).headers();
        let bytes = [pack(codec, &header), over_and_over(codec, &vec![0; piece], times)].concat();
        assert!(bytes.len() < 4 << 20, "a small file");
        bounded(&stack, &put(&stack, codec, &bytes, None), 0).says(&[said]);
    }
}

/// The text of a manifest with so many more lines behind its first ones, packed as it is made.
fn long_manifest(codec: Codec, first: &[Value], lines: u64, line: impl Fn(u64) -> String) -> Vec<u8> {
    let head = json!({"line": "header", "schema": 1, "archive": "a", "created_at": "2026-03-10T12:00:00Z",
        "codec": codec, "encoder": "by hand", "level": 1, "tool": "by hand"});
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    for line in std::iter::once(&head).chain(first) {
        writeln!(packer, "{line}").expect("packs");
    }
    for number in 0..lines {
        writeln!(packer, "{}", line(number)).expect("packs");
    }
    packer.finish().expect("packs")
}

/// Both verbs refuse a gzip archive with this packed manifest.
#[track_caller]
fn manifest_refused(stack: &Stack, manifest: &[u8], expected: &str) {
    let archive = Work::honest(Codec::Gzip).put(stack);
    let beside = stack.one("in", ".manifest.jsonl.gz");
    fs::write(&beside, manifest).expect("writes");
    stack.sh("in", "sha256sum lie*.gz > lie-2026-03-10T120000Z.tar.gz.sha256");
    none(&refused(stack, &archive, "a long manifest", expected));
}

#[test]
fn more_entries_than_a_block_can_hold_are_refused() {
    let digest = "0".repeat(64);
    let block = json!({"line": "block", "offset": 10, "packed": 9, "tar_offset": 0, "size": 8 << 20, "sha256": digest});
    let line = |number: u64| {
        format!(
            r#"{{"line":"entry","path":"data/{number:09}","kind":"file","mode":"0644","mtime":0,"sha256":"{digest}","block":0}}"#
        )
    };
    let manifest = long_manifest(Codec::Gzip, &[block], 1_500_000, line);
    manifest_refused(&Stack::bare(), &manifest, "manifest");
}

/// As many blocks as an entry may have, and one more.
#[test]
fn a_million_blocks_of_one_entry_need_little_memory() {
    let digest = "0".repeat(64);
    let line = |number: u64| {
        let (offset, tar_offset) = (10 + number * 9, number * (8 << 20));
        format!(
            r#"{{"line":"block","offset":{offset},"packed":9,"tar_offset":{tar_offset},"size":8388608,"sha256":"{digest}"}}"#
        )
    };
    let manifest = long_manifest(Codec::Gzip, &[], (1 << 20) + 1, line);
    manifest_refused(&Stack::bare(), &manifest, "line 1048578 of the manifest is wrong");
}

/// So many mistakes that they would not fit are told by the first of them.
#[test]
fn a_mistake_in_each_of_many_entries_needs_little_memory() {
    let stack = Stack::bare();
    let twin = entry(Kind::File, &format!("data/{}", "twin".repeat(1000)), b"").headers();
    let archive = put(&stack, Codec::Zstd, &over_and_over(Codec::Zstd, &twin.repeat(1000), 64), None);
    let said = bounded(&stack, &archive, 1).says(&["twin is there twice", "more errors than"]);
    assert!(said.stderr.len() < 8 << 20, "{} bytes of mistakes", said.stderr.len());
}

/// Folders that no entry makes, a thousand deep, in names that have nothing in common.
#[test]
fn deep_names_need_little_memory() {
    let stack = Stack::bare();
    let piece = |from: usize| -> Vec<u8> {
        let name = |number: usize| format!("{number}/{}", "d/".repeat(2000)) + "f";
        (from..from + 100).flat_map(|number| entry(Kind::File, &name(number), b"").headers()).collect()
    };
    let mut bytes: Vec<u8> = (0..50).flat_map(|number| pack(Codec::Zstd, &piece(number * 100))).collect();
    bytes.extend(pack(Codec::Zstd, &END));
    assert!(bytes.len() < 1 << 20, "a small file");
    let archive = put(&stack, Codec::Zstd, &bytes, None);
    bounded(&stack, &archive, 1).says(&["folders"]);
}

/// A frame of Zstandard says how much memory its reader needs.
#[test]
fn a_frame_that_asks_for_too_much_memory_is_refused() {
    let stack = Stack::bare();
    let frame = |window: u8| {
        let block = ((END.len() << 3 | 1) as u32).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3][..], &block[..3], &END].concat()
    };
    bounded(&stack, &put(&stack, Codec::Zstd, &frame(20), None), 0);
    bounded(&stack, &put(&stack, Codec::Zstd, &frame(27), None), 0);
    bounded(&stack, &put(&stack, Codec::Zstd, &frame(31), None), 1)
        .says(&["lie-2026-03-10", "requires too much memory"]);
}

/// Those of them that would decide over what comes to lie in a folder are set last, and cannot be held without a bound.
#[test]
fn attributes_of_many_folders_need_little_memory() {
    let stack = Stack::bare();
    for (name, code) in [("user.note", 0), ("system.posix_acl_default", 1)] {
        let folder = |number: usize| {
            let xattrs = vec![(name.into(), vec![b'x'; 1_000_000])];
            let folder = Entry { xattrs, ..entry(Kind::Folder, &format!("data/{number:03}"), b"") };
            pack(Codec::Zstd, &folder.headers())
        };
        let mut bytes: Vec<u8> = (0..300).flat_map(folder).collect();
        bytes.extend(pack(Codec::Zstd, &END));
        assert!(bytes.len() < 1 << 20, "a small file");
        let archive = put(&stack, Codec::Zstd, &bytes, None);
        bounded(&stack, &archive, code);
        let said = stack.run_within(BOUND, &["restore", &archive, "--to", "../drive/target"]).exits(code);
        assert_eq!(stack.path("drive/target").exists(), code == 0, "{}", said.shown());
        stack.sh("drive", "rm -rf target");
    }
}

/// The manifest says one entry of many blocks; the blocks are full of small ones.
#[test]
fn many_entries_in_the_blocks_of_one_need_little_memory() {
    let stack = Stack::bare();
    let full = entry(Kind::File, "data/a", b"").headers().repeat(1 << 14);
    let packed = Codec::Zstd.compress(&full).expect("packs");
    let mut work = Work::new(Codec::Zstd);
    for number in 0..80_usize {
        work.lines.push(json!({"line": "block", "offset": number * packed.len(), "packed": packed.len(),
            "tar_offset": number * full.len(), "size": full.len(), "sha256": sha256_hex(&packed)}));
        work.archive.extend(&packed);
    }
    let big = Entry { size: 79 << 23, ..entry(Kind::File, "data/a", b"") };
    let mut line = line_of(&big, b"", 0);
    line["blocks"] = 80.into();
    work.lines.push(line);
    let end = Codec::Zstd.compress(&END).expect("packs");
    work.lines.push(json!({"line": "block", "offset": work.archive.len(), "packed": end.len(),
        "tar_offset": 80 * full.len(), "size": END.len(), "sha256": sha256_hex(&end)}));
    work.archive.extend(end);
    let archive = work.listed().put(&stack);
    none(&refused(&stack, &archive, "many entries in the blocks of one", "hold another"));
}
