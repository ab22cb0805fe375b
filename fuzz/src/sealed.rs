//! Archives and manifests that are well formed but for what an input spoils: compressed, with digests that agree.
use super::input::Input;
use super::tars::Built;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write as _;
use xtask::archive::codec::Codec;
use xtask::archive::entry::{END, Entry, Kind, read_tar};
use xtask::archive::{FormatError, digest_stream, hex, sha256_hex};

/// A whole file in the container, as other tools make one.
pub fn pack(codec: Codec, raw: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(raw).expect("packs");
            encoder.finish().expect("packs")
        }
        Codec::Zstd => zstd::encode_all(raw, 1).expect("packs"),
    }
}

/// An archive, its manifest, and whether nothing in either was spoilt.
pub struct Sealed {
    pub archive: Vec<u8>,
    pub manifest: Vec<u8>,
    pub honest: bool,
}

/// The archive of a tar stream in blocks that end where the input says, and a manifest with the lies it asks for.
pub fn seal(built: &Built, codec: Codec, input: &mut Input<'_>) -> Sealed {
    let (mut archive, mut lines) = (codec.prologue().to_vec(), Vec::new());
    let (mut from, mut number) = (0, 0);
    let mut cuts: Vec<usize> =
        built.starts.iter().copied().filter(|at| *at > 0 && input.byte() % 4 == 1).collect();
    cuts.push(built.tar.len());
    for to in cuts.into_iter().filter(|to| *to > 0) {
        let packed = codec.compress(&built.tar[from..to]).expect("packs");
        lines.push(block(&archive, &packed, from, to - from));
        lines.extend(records(&built.tar[from..to], number));
        archive.extend(packed);
        (from, number) = (to, number + 1);
    }
    let packed = codec.compress(&END).expect("packs");
    lines.push(block(&archive, &packed, from, END.len()));
    archive.extend(packed);
    let crc = crc32fast::hash(&[&built.tar[..], &END].concat());
    archive.extend(codec.epilogue(crc, (from + END.len()) as u64));
    let mut honest = true;
    if input.rarely() && !archive.is_empty() {
        let at = input.number() as usize % archive.len();
        archive[at] ^= input.byte();
        honest = false;
    }
    let (manifest, told) = manifest(codec, lines, input);
    Sealed { archive, manifest: pack(codec, manifest.as_bytes()), honest: honest && told }
}

fn block(archive: &[u8], packed: &[u8], tar_offset: usize, size: usize) -> Value {
    json!({"line": "block", "offset": archive.len(), "packed": packed.len(), "tar_offset": tar_offset, "size": size,
        "sha256": sha256_hex(packed)})
}

/// What an honest manifest says of a piece of tar, as far as it can be read.
fn records(piece: &[u8], block: u64) -> Vec<Value> {
    let mut lines = Vec::new();
    let _ = read_tar::<FormatError>(&mut &*piece, &mut |entry, content| {
        let (digest, _) = digest_stream(content)?;
        lines.push(record(&entry, digest, block));
        Ok(())
    });
    lines
}

fn record(entry: &Entry, digest: [u8; 32], block: u64) -> Value {
    let mut line = json!({"line": "entry", "kind": entry.kind, "size": entry.size, "mode": format!("{:04o}", entry.mode),
        "uid": entry.uid, "gid": entry.gid, "mtime": entry.mtime.seconds, "block": block});
    name(&mut line, "path", &entry.path);
    match entry.kind {
        Kind::File => line["sha256"] = hex(&digest).into(),
        Kind::Folder => {}
        Kind::Symlink | Kind::Hardlink => name(&mut line, "link", &entry.link),
    }
    line
}

fn name(line: &mut Value, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line[key] = text.into(),
        Err(_) => line[format!("{key}_hex")] = hex(bytes).into(),
    }
}

/// The text of a manifest with these lines, and whether none was spoilt.
pub fn manifest(codec: Codec, mut lines: Vec<Value>, input: &mut Input<'_>) -> (String, bool) {
    let count = |kind: &str| lines.iter().filter(|line| line["line"] == kind).count();
    let end = json!({"line": "end", "blocks": count("block"), "entries": count("entry")});
    let head = json!({"line": "header", "schema": 1, "archive": "a.tar", "created_at": "2026-03-10T12:00:00Z",
        "codec": codec, "encoder": "by hand", "level": 1, "tool": "by hand"});
    lines.insert(0, head);
    lines.push(end);
    let lies = input.byte() % 4;
    for _ in 0..lies {
        spoil(&mut lines, input);
    }
    (lines.iter().map(|line| format!("{line}\n")).collect(), lies == 0)
}

/// One lie: a line too few or too many, two in the wrong order, or a field that says something else.
fn spoil(lines: &mut Vec<Value>, input: &mut Input<'_>) {
    const FIELDS: [&str; 20] = [
        "line",
        "schema",
        "codec",
        "offset",
        "packed",
        "tar_offset",
        "size",
        "sha256",
        "path",
        "path_hex",
        "kind",
        "mode",
        "uid",
        "mtime",
        "mtime_nanos",
        "link",
        "link_hex",
        "block",
        "blocks",
        "entries",
    ];
    if lines.is_empty() {
        return;
    }
    let at = usize::from(input.byte()) % lines.len();
    match input.byte() % 8 {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = usize::from(input.byte()) % lines.len();
            lines.swap(at, other);
        }
        3 => {
            let field = input.pick(&FIELDS);
            if let Some(object) = lines[at].as_object_mut() {
                object.remove(field);
            }
        }
        _ => {
            let field = input.pick(&FIELDS);
            let known = lines[at][field].as_u64().unwrap_or_default();
            lines[at][field] = match input.byte() % 6 {
                0 => known.wrapping_add(1).into(),
                1 => known.wrapping_sub(1).into(),
                2 => input.number().into(),
                3 => String::from_utf8_lossy(input.bytes(80)).into(),
                4 => input
                    .pick(&[
                        "entry", "block", "file", "folder", "symlink", "hardlink", "gzip", "zstd", "0777",
                    ])
                    .into(),
                _ => (-(input.byte() as i64)).into(),
            };
        }
    }
}
