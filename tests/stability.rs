//! What stays the same: after a small change of a large tree all but a few blocks; and what the promise of equal bytes
//! hangs on, the versions of the encoders.
use crate::support::Stack;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use xtask::archive::codec::Codec;
use xtask::archive::sha256_hex;

const FILES: u64 = 5_000;
/// Files of one folder.
const PER_FOLDER: u64 = 100;
/// How many blocks of an archive a change at one place may change.
///
/// The block that holds the place is another one. It ends where it did when the entry there still finds the least size of
/// a block in it: then no other block changes. A change of a few kB moves an end in one case of a hundred or two. The block
/// after a moved end begins elsewhere, and ends at the same entry again in about half of all cases. Three blocks for a
/// place leave room for two such misses; a rule that does not fall back into step would change all that stand behind,
/// which is half of them on average.
const BLOCKS_PER_PLACE: usize = 3;

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.next() as f64 / f64::from(1_u32 << 31)
    }

    /// Log-normal: a median of 5 kB, a mean of 10 kB, one in a thousand over 200 kB.
    fn length(&mut self) -> usize {
        let normal: f64 = (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0;
        (5_000.0 * (1.2 * normal).exp()) as usize
    }
}

/// A tree of 5,000 files, and one of 17 MB with blocks of its own.
struct Large {
    stack: Stack,
    numbers: Numbers,
    words: Vec<u8>,
    /// The small files that stand first in a block of the newest archive.
    first_of_blocks: Vec<String>,
}

/// An archive, and its blocks by the manifest: offset, packed bytes, digest.
struct Archive {
    bytes: Vec<u8>,
    blocks: Vec<(usize, usize, String)>,
}

impl Large {
    fn new() -> Self {
        let mut numbers = Numbers(1);
        // Half as large when it is packed: two of four bytes are random.
        let words: Vec<u8> =
            (0..500_000).flat_map(|_| [numbers.next() as u8, b'x', numbers.next() as u8, b' ']).collect();
        let mut large = Self { stack: Stack::bare(), numbers, words, first_of_blocks: Vec::new() };
        for folder in 0..FILES / PER_FOLDER {
            fs::create_dir_all(large.stack.path(&format!("repo/.data/{folder:02}"))).expect("makes a folder");
        }
        for number in 0..FILES {
            let length = large.numbers.length();
            large.write(&name(number), length);
        }
        let big: Vec<u8> = large.words.iter().copied().cycle().take(17_000_000).collect();
        fs::write(large.path("big"), big).expect("writes");
        large.age();
        large
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stack.path("repo/.data").join(name)
    }

    /// Content of that length, other than any before.
    fn write(&mut self, name: &str, length: usize) {
        let begin = self.numbers.next() as usize % (self.words.len() - 500_000);
        let length = length.min(500_000);
        fs::write(self.path(name), &self.words[begin..begin + length]).expect("writes");
    }

    /// Gives everything the same time, folders too.
    fn age(&self) {
        self.stack.sh("repo", "find .data -exec touch -h -d 2026-02-03T04:05:06Z {} +");
    }

    fn backed_up(&mut self, name: &str, codec: Codec) -> Archive {
        let (compression, unpack) = match codec {
            Codec::Gzip => ("gzip", "gzip -dc"),
            Codec::Zstd => ("zstd", "zstd -dc"),
        };
        let to = format!("{name}-{compression}");
        let args =
            ["backup", "--source", ".data", "--dest", &format!("../{to}"), "--compression", compression];
        fs::create_dir(self.stack.path(&to)).expect("makes a folder");
        self.stack.run(&args).ok();
        let archive = self.stack.one(&to, &format!(".tar.{}", codec.extension()));
        let manifest = archive.display().to_string().replace(".tar.", ".manifest.jsonl.");
        let lines = self.stack.sh(".", &format!("{unpack} '{manifest}'"));
        let mut archive = Archive { bytes: fs::read(&archive).expect("reads"), blocks: Vec::new() };
        self.first_of_blocks.clear();
        let mut is_first = false;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let number = |key: &str| line[key].as_u64().expect("a number") as usize;
            let text = |key: &str| line[key].as_str().expect("a text").to_owned();
            if line["line"] == "block" {
                archive.blocks.push((number("offset"), number("packed"), text("sha256")));
                is_first = true;
            } else if line["line"] == "entry" {
                if is_first && line["kind"] == "file" && line["blocks"].is_null() {
                    self.first_of_blocks.push(text("path").trim_start_matches(".data/").to_owned());
                }
                is_first = false;
            }
        }
        fs::remove_dir_all(self.stack.path(&to)).expect("removes");
        archive
    }
}

fn name(number: u64) -> String {
    format!("{:02}/{number:04}.txt", number / PER_FOLDER)
}

/// A change of the tree, and at how many places of the archive it is.
type Change = (&'static str, usize, fn(&mut Large));

/// Blocks that are not the same any more.
fn changed(before: &Archive, after: &Archive) -> usize {
    let known: BTreeSet<&str> = before.blocks.iter().map(|block| &block.2[..]).collect();
    after.blocks.iter().filter(|block| !known.contains(&block.2[..])).count()
}

impl Archive {
    fn block(&self, (offset, packed, _): &(usize, usize, String)) -> &[u8] {
        &self.bytes[*offset..offset + packed]
    }
}

/// The blocks that stayed are the same bytes in both files, and so is all in front of the first that did not.
fn assert_same_bytes(before: &Archive, after: &Archive) {
    let mut same = 0;
    for block in &after.blocks {
        assert_eq!(sha256_hex(after.block(block)), block.2, "the manifest knows its block");
        if let Some(old) = before.blocks.iter().find(|old| old.2 == block.2) {
            assert!(before.block(old) == after.block(block));
            same += 1;
        }
    }
    assert!(same > 0, "no block stayed");
    let stayed = before.blocks.iter().zip(&after.blocks).take_while(|(old, new)| old == new);
    let end = stayed.last().map_or(0, |(block, _)| block.0 + block.1);
    assert!(before.bytes[..end] == after.bytes[..end]);
}

impl Large {
    /// An edit: new content and a new time.
    fn edit(&mut self, number: u64, more: i64) {
        let path = self.path(&name(number));
        let length = fs::metadata(&path).expect("is there").len().cast_signed() + more;
        assert!(length > 0, "a file that can be {} bytes shorter", -more);
        self.write(&name(number), length as usize);
        self.touch(&name(number), "2026-03-04T05:06:07Z");
    }

    fn touch(&self, name: &str, time: &str) {
        self.stack.sh("repo/.data", &format!("touch -d {time} '{name}'"));
    }

    /// As if the folder had not changed: what adding, removing and renaming alone do.
    fn age_folder(&self, folder: &str) {
        self.touch(folder, "2026-02-03T04:05:06Z");
    }

    fn add(&mut self, name: &str) {
        self.write(name, 9_000);
        self.touch(name, "2026-03-04T05:06:07Z");
    }

    fn remove(&self, number: u64) {
        fs::remove_file(self.path(&name(number))).expect("removes");
    }

    fn rename(&self, number: u64, to: &str) {
        fs::rename(self.path(&name(number)), self.path(to)).expect("renames");
    }
}

/// A folder's entry stands in front of all that is in it, so a new time of it is a place of its own.
const CHANGES: [Change; 12] = [
    ("a file gets longer", 1, |large| large.edit(1_234, 4_321)),
    ("a file gets shorter", 1, |large| large.edit(2_045, -2_000)),
    ("a file gets other content", 1, |large| large.edit(3_456, 0)),
    ("a file is added", 1, |large| {
        large.add("07/0750 new.txt");
        large.age_folder("07");
    }),
    ("a file is added, and its folder has a new time", 2, |large| large.add("17/1799 new.txt")),
    ("a file is removed", 1, |large| {
        large.remove(2_250);
        large.age_folder("22");
    }),
    ("a file is removed, and its folder has a new time", 2, |large| large.remove(2_750)),
    ("a file is renamed", 2, |large| {
        large.rename(3_210, "32/3290 renamed.txt");
        large.age_folder("32");
    }),
    ("a file is moved, and both folders have a new time", 4, |large| large.rename(3_760, "42/3760.txt")),
    ("the first file of a block is removed", 1, |large| {
        fs::remove_file(large.path(&large.first_of_blocks[3])).expect("removes");
        large.age_folder(&large.first_of_blocks[3][..2]);
    }),
    ("the first file of a block is renamed", 2, |large| {
        let name = large.first_of_blocks[5].clone();
        fs::rename(large.path(&name), large.path(&format!("{name} renamed"))).expect("renames");
        large.age_folder(&name[..2]);
    }),
    ("a byte of the large file", 1, |large| {
        let mut big = fs::read(large.path("big")).expect("reads");
        big[12_000_000] ^= 1;
        fs::write(large.path("big"), big).expect("writes");
        large.age_folder("big");
    }),
];

#[test]
fn a_small_change_of_a_large_tree_changes_few_blocks() {
    let mut large = Large::new();
    let codecs = [Codec::Gzip, Codec::Zstd];
    let mut before = codecs.map(|codec| large.backed_up("first", codec));
    assert!(before[0].blocks.len() >= 25, "{} blocks", before[0].blocks.len());
    for (number, (what, places, change)) in CHANGES.into_iter().enumerate() {
        change(&mut large);
        for (codec, before) in codecs.into_iter().zip(&mut before) {
            let after = large.backed_up(&number.to_string(), codec);
            let [new, gone] = [changed(before, &after), changed(&after, before)];
            let all = after.blocks.len();
            for count in [new, gone] {
                assert!(
                    (1..=places * BLOCKS_PER_PLACE).contains(&count),
                    "{what}: {new} new, {gone} gone, of {all}"
                );
            }
            assert_same_bytes(before, &after);
            *before = after;
        }
    }
}

/// The digits that the promise hangs on stand in three places: in what locks and manifests record, in the manifest of
/// the crate, where nothing but that version will do, and in the lock file.
#[test]
fn the_encoders_that_are_recorded_are_those_that_are_built_in() {
    let read =
        |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("reads");
    let (manifest, lock) = (read("Cargo.toml"), read("../Cargo.lock"));
    for codec in [Codec::Gzip, Codec::Zstd] {
        let encoder = codec.encoder();
        let inside = encoder.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let (name, version) = inside.and_then(|inside| inside.split_once(' ')).expect("`… (crate version)`");
        assert!(
            lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")),
            "Cargo.lock: {encoder}"
        );
        let line =
            manifest.lines().position(|line| line.starts_with(&format!("{name} = "))).expect("a dependency");
        let lines: Vec<&str> = manifest.lines().collect();
        assert!(lines[line].contains(&format!("\"={version}\"")), "not pinned: {}", lines[line]);
        assert!(lines[line - 1].starts_with("# "), "no reason above it: {}", lines[line]);
        let wrapped = if name == "zstd" { "zstd-sys = { version = \"=" } else { "libdeflate-sys = \"=" };
        assert!(lines.iter().any(|line| line.starts_with(wrapped)), "not pinned: {wrapped}");
    }
    // Not the system's: that may be any.
    assert_eq!(zstd::zstd_safe::version_string(), "1.5.7");
}
