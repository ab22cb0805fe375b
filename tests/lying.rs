//! Archives and manifests that lie: about sizes, places, order, digests, numbers, and about what an entry is. The digests
//! that a liar can make right are right, and the marker agrees. Each lie is an error that names the file, in bounded
//! memory; `restore` leaves nothing behind. Names that lead out are in `hostile.rs`, damage by chance in `damage.rs`.
mod bombs;

use super::support::{Outcome, Stack};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use xtask::archive::codec::Codec;
use xtask::archive::entry::{END, Entry, Kind, Mtime};
use xtask::archive::sha256_hex;

/// Kilobytes of address space for each run, which bounds what can be resident.
const BOUND: u32 = 200_000;

/// An archive in blocks, one for each group of entries, and the lines of its manifest.
struct Work {
    codec: Codec,
    archive: Vec<u8>,
    tar: Vec<u8>,
    lines: Vec<Value>,
}

fn entry(kind: Kind, path: &str, content: &[u8]) -> Entry {
    let link = if matches!(kind, Kind::Symlink | Kind::Hardlink) { content } else { b"" };
    let size = if kind == Kind::File { content.len() as u64 } else { 0 };
    let mode = if kind == Kind::Folder { 0o755 } else { 0o644 };
    Entry { kind, link: link.to_vec(), ..Entry::file(path.as_bytes(), size, mode, Mtime::default()) }
}

fn line_of(entry: &Entry, content: &[u8], block: usize) -> Value {
    let mut line = json!({"line": "entry", "path": String::from_utf8_lossy(&entry.path), "kind": entry.kind,
        "size": entry.size, "mode": format!("{:04o}", entry.mode), "mtime": 0, "block": block});
    match entry.kind {
        Kind::File => line["sha256"] = sha256_hex(content).into(),
        Kind::Folder => {}
        Kind::Symlink | Kind::Hardlink => line["link"] = String::from_utf8_lossy(&entry.link).into(),
    }
    line
}

impl Work {
    fn new(codec: Codec) -> Self {
        Self { codec, archive: codec.prologue().to_vec(), tar: Vec::new(), lines: Vec::new() }
    }

    /// Packs tar bytes, and lists them as a block.
    fn block(&mut self, raw: &[u8]) {
        let packed = self.codec.compress(raw).expect("packs");
        self.packed(&packed, raw);
    }

    fn packed(&mut self, packed: &[u8], raw: &[u8]) {
        self.lines.push(json!({"line": "block", "offset": self.archive.len(), "packed": packed.len(),
            "tar_offset": self.tar.len(), "size": raw.len(), "sha256": sha256_hex(packed)}));
        self.archive.extend(packed);
        self.tar.extend(raw);
    }

    /// A block with these entries.
    fn group(&mut self, entries: &[(Kind, &str, &[u8])]) {
        let number = self.lines.iter().filter(|line| line["line"] == "block").count();
        let (mut raw, mut lines) = (Vec::new(), Vec::new());
        for (kind, path, content) in entries {
            let entry = entry(*kind, path, content);
            raw.extend(entry.headers());
            if *kind == Kind::File {
                raw.extend(*content);
            }
            raw.resize(raw.len().next_multiple_of(512), 0);
            lines.push(line_of(&entry, content, number));
        }
        self.block(&raw);
        self.lines.extend(lines);
    }

    fn end(mut self) -> Self {
        self.block(&END);
        self.archive.extend(self.codec.epilogue(crc32fast::hash(&self.tar), self.tar.len() as u64));
        self.listed()
    }

    /// With the first line of the manifest and the last.
    fn listed(mut self) -> Self {
        let count = |kind: &str| self.lines.iter().filter(|line| line["line"] == kind).count();
        let end = json!({"line": "end", "blocks": count("block"), "entries": count("entry")});
        self.lines.push(end);
        let head = json!({"line": "header", "schema": 1, "archive": "a", "created_at": "2026-03-10T12:00:00Z",
            "codec": self.codec, "encoder": "by hand", "level": 1, "tool": "by hand"});
        self.lines.insert(0, head);
        self
    }

    /// Three blocks and the end. Lines: 0 header, 1 block, 2 folder, 3 file, 4 block, 5 file, 6 hard link, 7 block,
    /// 8 file, 9 link, 10 block, 11 end.
    fn honest(codec: Codec) -> Self {
        let mut work = Self::new(codec);
        work.group(&[(Kind::Folder, "data", b""), (Kind::File, "data/a", b"one")]);
        work.group(&[(Kind::File, "data/b", b"two"), (Kind::Hardlink, "data/c", b"data/b")]);
        work.group(&[(Kind::File, "data/d", &[b'x'; 700]), (Kind::Symlink, "data/e", b"a")]);
        work.end()
    }

    /// Archive, manifest and a marker that agrees with both; the archive's path.
    fn put(&self, stack: &Stack) -> String {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        put(stack, self.codec, &self.archive, Some(text.as_bytes()))
    }
}

fn pack(codec: Codec, raw: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(raw).expect("packs");
            encoder.finish().expect("packs")
        }
        Codec::Zstd => zstd::encode_all(raw, 1).expect("packs"),
    }
}

fn put(stack: &Stack, codec: Codec, archive: &[u8], manifest: Option<&[u8]>) -> String {
    stack.sh(".", "rm -rf in; mkdir in");
    let stem = "lie-2026-03-10T120000Z";
    let name = format!("{stem}.tar.{}", codec.extension());
    fs::write(stack.path("in").join(&name), archive).expect("writes");
    if let Some(text) = manifest {
        let name = format!("{stem}.manifest.jsonl.{}", codec.extension());
        fs::write(stack.path("in").join(name), pack(codec, text)).expect("writes");
    }
    stack.sh("in", &format!("sha256sum lie* > {name}.sha256"));
    stack.path("in").join(name).display().to_string()
}

/// What is wrong with how a verb took a lie; `None` when it named the file, and said what was expected, in an error.
fn fault(said: &Outcome, expected: &str) -> Option<String> {
    let named = [&said.stdout, &said.stderr].iter().any(|text| text.contains("lie-2026-03-10"));
    let error = said.stderr.lines().any(|line| line.starts_with("error") && line.contains(expected));
    let good = said.code == 1 && named && error && !said.stderr.contains("panicked");
    (!good).then(|| format!("not exit 1 with an error that says {expected:?}: {}", said.shown()))
}

/// Both verbs refuse it, and nothing is left behind.
fn refused(stack: &Stack, archive: &str, what: &str, expected: &str) -> Vec<String> {
    let before = stack.world(".");
    let verified = stack.run_within(BOUND, &["verify", archive]);
    let restored = stack.run_within(BOUND, &["restore", archive, "--to", "../drive/target"]);
    let mut faults: Vec<String> =
        [fault(&verified, expected), fault(&restored, "")].into_iter().flatten().collect();
    // What can be had of it is what was packed; the rest is named.
    let honest: [&[u8]; 3] = [b"one", b"two", &[b'x'; 700]];
    for file in stack.files("drive/target") {
        let path = stack.path("drive/target").join(&file);
        let same = path.is_symlink() || honest.contains(&&*fs::read(&path).expect("reads"));
        if restored.code == 0 || !same {
            faults.push(format!("{file} is left behind"));
        }
    }
    stack.sh("drive", "rm -rf target");
    if stack.world(".") != before {
        faults.push("something is left behind".into());
    }
    faults.into_iter().map(|fault| format!("{what}: {fault}")).collect()
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What lies, how, and what `verify` says of it.
type Lie = (&'static str, fn(&mut Work), &'static str);

fn add(work: &mut Work, line: usize, field: &str, more: i64) {
    let known = work.lines[line][field].as_i64().expect("a number");
    work.lines[line][field] = (known + more).into();
}

/// Gives two lines each other's value of a field.
fn swap(work: &mut Work, one: usize, other: usize, field: &str) {
    let (first, second) = (work.lines[one][field].clone(), work.lines[other][field].clone());
    work.lines[one][field] = second;
    work.lines[other][field] = first;
}

const BLOCKS: [Lie; 15] = [
    ("a block that is larger", |work| add(work, 4, "size", 512), "out of place"),
    ("a last block that is larger", |work| add(work, 10, "size", 512), "block holds"),
    ("a last block that is smaller", |work| add(work, 10, "size", -512), ""),
    ("a block that takes more room", |work| add(work, 4, "packed", 1), "out of place"),
    ("a block that takes less room", |work| add(work, 4, "packed", -1), "out of place"),
    ("a last block that takes less room", |work| add(work, 10, "packed", -1), "digest"),
    ("blocks that overlap", |work| add(work, 4, "offset", -1), "out of place"),
    ("blocks that overlap in the tar", |work| add(work, 4, "tar_offset", -512), "out of place"),
    (
        "two blocks that lie about their border",
        |work| (add(work, 1, "packed", 1), add(work, 4, "offset", 1), add(work, 4, "packed", -1)).0,
        "digest",
    ),
    (
        "two blocks that lie about their border in the tar",
        |work| (add(work, 1, "size", 512), add(work, 4, "tar_offset", 512), add(work, 4, "size", -512)).0,
        "does not fit",
    ),
    ("a block that is missing, and its entries", |work| drop(work.lines.drain(4..7)), "out of place"),
    ("blocks in another order", |work| work.lines.swap(4, 7), "out of place"),
    ("the digests of two blocks swapped", |work| swap(work, 1, 4, "sha256"), "digest"),
    ("no end block", |work| drop(work.lines.remove(10)), "line"),
    ("one block listed twice", |work| work.lines.insert(4, work.lines[4].clone()), "out of place"),
];

const ENTRIES: [Lie; 18] = [
    ("a file that is larger", |work| add(work, 3, "size", 1), "size is not what"),
    ("a file that is smaller", |work| add(work, 3, "size", -1), "size is not what"),
    ("a file larger than its block", |work| work.lines[3]["size"] = (1_u64 << 40).into(), ""),
    ("a folder that is a file", |work| work.lines[2]["kind"] = "file".into(), "kind is not what"),
    ("a file that is a link", |work| work.lines[8]["kind"] = "symlink".into(), "kind"),
    (
        "a hard link that is a symbolic one",
        |work| work.lines[6]["kind"] = "symlink".into(),
        "kind is not what",
    ),
    ("another mode", |work| work.lines[3]["mode"] = "4755".into(), "mode is not what"),
    ("another owner", |work| work.lines[3]["uid"] = 1.into(), "owner is not what"),
    ("another group", |work| work.lines[3]["gid"] = 1.into(), "owner is not what"),
    ("a time that no clock shows", |work| work.lines[3]["mtime_nanos"] = 1_500_000_000.into(), "line"),
    ("a time that is an order", |work| work.lines[3]["mtime_nanos"] = 0x3fff_ffff.into(), "line"),
    ("another time", |work| work.lines[3]["mtime"] = 1.into(), "time is not what"),
    ("another target of a link", |work| work.lines[9]["link"] = "d".into(), "link target is not what"),
    (
        "another target of a hard link",
        |work| work.lines[6]["link"] = "data/a".into(),
        "link target is not what",
    ),
    ("another name", |work| work.lines[8]["path"] = "data/dd".into(), "name is not what"),
    ("the digests of two files swapped", |work| swap(work, 3, 5, "sha256"), "content is not what"),
    (
        "no digest",
        |work| drop(work.lines[3].as_object_mut().expect("an object").remove("sha256")),
        "content is not what",
    ),
    ("a digest of a folder", |work| work.lines[2]["sha256"] = "0".repeat(64).into(), "content is not what"),
];

const NUMBERS: [Lie; 13] = [
    ("an entry less", |work| (work.lines.remove(6), add(work, 10, "entries", -1)).1, "not in the manifest"),
    (
        "an entry more",
        |work| {
            let more = line_of(&entry(Kind::File, "data/f", b""), b"", 2);
            work.lines.insert(10, more);
            add(work, 12, "entries", 1);
        },
        "",
    ),
    ("an entry less, and the end does not know", |work| drop(work.lines.remove(6)), "line"),
    ("an entry in another block", |work| work.lines[5]["block"] = 0.into(), "does not lie in the blocks"),
    ("an entry of two blocks", |work| work.lines[5]["blocks"] = 2.into(), "does not lie in the blocks"),
    ("an entry of no block", |work| work.lines[5]["blocks"] = 0.into(), "does not lie in the blocks"),
    ("entries in another order", |work| work.lines.swap(5, 6), "out of order"),
    ("an end with more blocks", |work| add(work, 11, "blocks", 1), "line"),
    ("an end with fewer blocks", |work| add(work, 11, "blocks", -1), "line"),
    ("an end with more entries", |work| add(work, 11, "entries", 1), "line"),
    ("an end of nothing", |work| work.lines[11] = json!({"line": "end", "blocks": 0, "entries": 0}), "line"),
    (
        "an end in the middle",
        |work| work.lines.insert(7, json!({"line": "end", "blocks": 2, "entries": 4})),
        "line",
    ),
    (
        "another container",
        |work| work.lines[0]["codec"] = if work.codec == Codec::Gzip { "zstd" } else { "gzip" }.into(),
        "",
    ),
];

#[test]
fn a_manifest_that_disagrees_with_the_archive_is_refused() {
    let stack = Stack::bare();
    let mut faults = Vec::new();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let honest = Work::honest(codec).put(&stack);
        stack.run_within(BOUND, &["verify", &honest]).ok();
        stack.run_within(BOUND, &["restore", &honest, "--to", "../drive/target"]).ok();
        stack.sh("drive", "test \"$(cat target/data/c)\" = two; rm -r target");
        for (what, lie, expected) in BLOCKS.iter().chain(&ENTRIES).chain(&NUMBERS) {
            let mut work = Work::honest(codec);
            lie(&mut work);
            let archive = work.put(&stack);
            faults.extend(refused(&stack, &archive, &format!("{what} ({codec:?})"), expected));
        }
    }
    none(&faults);
}

/// The digests agree; it is the tar's own headers that lie about what stands behind them.
#[test]
fn a_tar_header_that_lies_about_its_size_is_refused() {
    let stack = Stack::bare();
    let mut faults = Vec::new();
    for (what, size) in [("more than its block", 1 << 20), ("more", 600), ("less", 5), ("nothing", 0)] {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let (honest, content) = (entry(Kind::File, "data/a", &[b'y'; 513]), [b'y'; 1024]);
            let mut lying = honest.headers();
            let mut header = tar::Header::from_byte_slice(&lying).clone();
            header.set_size(size);
            header.set_cksum();
            lying.copy_from_slice(header.as_bytes());
            let mut work = Work::new(codec);
            work.block(&[&lying[..], &content].concat());
            work.lines.push(line_of(&honest, &content[..513], 0));
            let archive = work.end().put(&stack);
            faults.extend(refused(&stack, &archive, &format!("{what} ({codec:?})"), ""));
        }
    }
    none(&faults);
}

/// All digests agree, and the tar is sound: but several blocks are one entry's.
#[test]
fn entries_that_share_several_blocks_are_refused() {
    let stack = Stack::bare();
    let mut faults = Vec::new();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut work = Work::new(codec);
        work.group(&[(Kind::File, "data/a", &vec![b'y'; (8 << 20) - 512])]);
        work.group(&[(Kind::File, "data/b", b"two")]);
        // Both blocks, then both files.
        work.lines.swap(1, 2);
        for file in &mut work.lines[2..] {
            file["block"] = 0.into();
            file["blocks"] = 2.into();
        }
        let archive = work.end().put(&stack);
        let expected = "data/b lies in blocks that are another's";
        faults.extend(refused(&stack, &archive, &format!("two in two blocks ({codec:?})"), expected));
    }
    none(&faults);
}
