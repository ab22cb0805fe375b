//! Every kind of difference, planted in a bundle by hand, is named; and no other.
use super::{lock_of, read, rebuilt, relock, repository};
use crate::support::Stack;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use xtask::archive::entry::{END, Entry, Kind, read_tar};
use xtask::archive::{FormatError, hex};

/// An entry, its headers as they are to be written, its content, and what pads it.
struct Part {
    entry: Entry,
    headers: Option<Vec<u8>>,
    content: Vec<u8>,
    padding: u8,
}

fn unpacked(tarball: &PathBuf) -> Vec<u8> {
    let mut tar = Vec::new();
    let packed = fs::File::open(tarball).expect("opens");
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut tar).expect("unpacks");
    tar
}

fn parts(tar: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let taken = read_tar::<FormatError>(&mut &*tar, &mut |entry, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        parts.push(Part { entry, headers: None, content: bytes, padding: 0 });
        Ok(())
    });
    assert!(taken.expect("reads"));
    parts
}

fn packed(parts: Vec<Part>, end: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Part { mut entry, headers, content, padding } in parts {
        entry.size = content.len() as u64;
        tar.extend(headers.unwrap_or_else(|| entry.headers()));
        tar.extend(content);
        let padded = tar.len().next_multiple_of(512);
        tar.resize(padded, padding);
    }
    tar.extend(end);
    tar
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).expect("packs");
    encoder.finish().expect("packs")
}

/// The place of an entry.
fn at(parts: &[Part], path: &str) -> usize {
    parts.iter().position(|part| part.entry.path == path.as_bytes()).expect("is there")
}

fn part<'a>(parts: &'a mut [Part], path: &str) -> &'a mut Part {
    let at = at(parts, path);
    &mut parts[at]
}

fn without(parts: &mut Vec<Part>, path: &str) {
    parts.retain(|part| part.entry.path != path.as_bytes());
}

/// Its header with some bytes replaced, and a right checksum.
fn with_header(part: &mut Part, from: usize, bytes: &[u8]) {
    part.entry.size = part.content.len() as u64;
    let mut raw = part.entry.headers();
    raw[from..from + bytes.len()].copy_from_slice(bytes);
    let mut header = tar::Header::from_byte_slice(&raw).clone();
    header.set_cksum();
    part.headers = Some(header.as_bytes().to_vec());
}

type Plant = (&'static str, fn(&mut Vec<Part>), &'static [(&'static str, &'static str)]);

const PLANTS: [Plant; 15] = [
    ("a byte of content", |parts| part(parts, "run.bat").content[0] ^= 1, &[("run.bat", "content")]),
    (
        "a longer file",
        |parts| part(parts, "run.bat").content.push(b'!'),
        &[("run.bat", "size"), ("run.bat", "content")],
    ),
    ("a mode", |parts| part(parts, "bin/run").entry.mode = 0o644, &[("bin/run", "mode")]),
    ("a time", |parts| part(parts, "run.bat").entry.mtime.seconds += 1, &[("run.bat", "mtime")]),
    ("an owner", |parts| part(parts, "run.bat").entry.uid = 1000, &[("run.bat", "owner")]),
    ("a target", |parts| part(parts, "link").entry.link = b"/etc/passwd".to_vec(), &[("link", "link")]),
    ("a kind", |parts| part(parts, "link").entry.kind = Kind::Hardlink, &[("link", "kind")]),
    (
        "an attribute",
        |parts| part(parts, "run.bat").entry.xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())],
        &[("run.bat", "xattrs")],
    ),
    (
        "a file more",
        |parts| {
            let entry = Entry { path: b"zz".to_vec(), ..parts[0].entry.clone() };
            parts.push(Part { entry, headers: None, content: b"x".to_vec(), padding: 0 });
        },
        &[("zz", "entry")],
    ),
    ("a file less", |parts| without(parts, "run.bat"), &[("run.bat", "entry")]),
    (
        "another place",
        |parts| {
            let moved = at(parts, "run.bat");
            let moved = parts.remove(moved);
            parts.insert(0, moved);
        },
        &[("run.bat", "order")],
    ),
    ("a user's name", |parts| with_header(part(parts, "run.bat"), 265, b"builder"), &[("run.bat", "header")]),
    (
        "another way to write a number",
        |parts| with_header(part(parts, "run.bat"), 100, b"000644 \0"),
        &[("run.bat", "header")],
    ),
    ("padding", |parts| part(parts, "run.bat").padding = 7, &[("run.bat", "padding")]),
    (
        "several at once",
        |parts| {
            part(parts, "bin/run").entry.mode = 0o644;
            without(parts, "link");
        },
        &[("bin/run", "mode"), ("link", "entry")],
    ),
];

fn bundled() -> (Stack, PathBuf, PathBuf, Vec<u8>) {
    let stack = repository("neither");
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    let (lock, tar) = (lock_of(&stack), unpacked(&tarball));
    (stack, lock, tarball, tar)
}

/// Path and respect of each difference.
fn told(document: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let all = document["artifacts"][0]["differences"].as_array().expect("a list");
    all.iter().map(|one| (text(&one["path"]), text(&one["field"]))).collect()
}

#[test]
fn every_difference_is_named_and_no_other() {
    let (stack, lock, tarball, tar) = bundled();
    for (what, plant, expected) in PLANTS {
        let mut parts = parts(&tar);
        plant(&mut parts);
        fs::write(&tarball, gzip(&packed(parts, &END))).expect("writes");
        let document = rebuilt(&stack, &lock, 1);
        assert_eq!(document["artifacts"][0]["result"], "different", "{what}");
        let expected: Vec<_> =
            expected.iter().map(|(path, field)| ((*path).into(), (*field).into())).collect();
        assert_eq!(told(&document), expected, "{what}");
        for (path, field) in expected {
            let findings = document["findings"].as_array().expect("a list");
            let of_it = findings.iter().find(|finding| finding["path"] == path).expect("a finding");
            let said: String = of_it["what"].as_str().expect("text").into();
            let word = if field == "entry" { "bundle" } else { &field };
            assert!(said.contains(word) && of_it["severity"] == "error", "{what}: {said}");
        }
    }
}

#[test]
fn what_no_entry_shows_is_told_of_the_stream() {
    let (stack, lock, tarball, tar) = bundled();
    for (what, end) in [
        ("more zeros", vec![0; 10_240]),
        ("no end", vec![]),
        ("bytes behind", [END.to_vec(), vec![7; 512]].concat()),
    ] {
        fs::write(&tarball, gzip(&packed(parts(&tar), &end))).expect("writes");
        assert_eq!(told(&rebuilt(&stack, &lock, 1)), [(".".to_owned(), "end".to_owned())], "{what}");
    }
    for (what, bytes) in [
        ("cut short", gzip(&tar)[..20_000].to_vec()),
        ("no archive", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("a device", gzip(&[&with_device(&tar)[..], &END].concat())),
    ] {
        fs::write(&tarball, bytes).expect("writes");
        let document = rebuilt(&stack, &lock, 1);
        let said = document["findings"].to_string();
        assert_eq!(document["artifacts"][0]["result"], "different", "{what}");
        assert!(said.contains("cannot be read behind") || said.contains("missing"), "{what}: {said}");
    }
}

fn with_device(tar: &[u8]) -> Vec<u8> {
    let mut parts = parts(tar);
    with_header(&mut parts[0], 156, b"3");
    packed(parts, b"")
}

/// The same tar stream in other bytes: what another version makes is told as that; what this one would not make is wrong.
#[test]
fn another_encoder_is_told_as_what_it_is() {
    let (stack, lock, tarball, tar) = bundled();
    let other = gzip(&tar);
    fs::write(&tarball, &other).expect("writes");
    let document = rebuilt(&stack, &lock, 1);
    assert_eq!(document["artifacts"][0]["result"], "different");
    assert!(document["findings"].to_string().contains("in other gzip bytes"), "{document}");
    // A lock that says another encoder does not excuse a tarball that is not the one of that lock.
    relock(&lock, |lock| lock["encoder"]["name"] = "libdeflate (libdeflater 0.9.0)".into());
    assert_eq!(rebuilt(&stack, &lock, 1)["artifacts"][0]["result"], "different");
    relock(&lock, |lock| lock["tarball_sha256"] = hex(&Sha256::digest(&other)).into());
    let document = rebuilt(&stack, &lock, 0);
    assert_eq!((&document["status"], &document["artifacts"][0]["result"]), (&"ok".into(), &"encoder".into()));
    let finding = &document["findings"][0];
    assert!(finding["severity"] == "warning" && finding["what"].to_string().contains("libdeflater 0.9.0"));
    assert!(finding["repair"].to_string().contains(read(&lock)["tool_version"].as_str().expect("a version")));
    // By the lock alone it is the same.
    fs::remove_file(&tarball).expect("removes");
    assert_eq!(rebuilt(&stack, &lock, 0)["artifacts"][0]["result"], "encoder");
    relock(&lock, |lock| lock["tar_sha256"] = "0".repeat(64).into());
    rebuilt(&stack, &lock, 1);
}
