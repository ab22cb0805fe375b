//! Archives made by hand, record by record, as no honest tool makes them; on wish with a manifest that vouches for them.
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use xtask::archive::codec::Codec;
use xtask::archive::hex;

/// The tar stream so far, and what a manifest would say about it.
#[derive(Default, Clone)]
pub struct Handmade {
    tar: Vec<u8>,
    records: Vec<Value>,
}

/// A tar header with these fields and a right checksum.
pub fn header(kind: u8, name: &[u8], link: &[u8], size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// `<length> <key>=<value>\n`, where the length counts itself.
pub fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (rest + 1..).find(|len| len - len.to_string().len() == rest).expect("some length fits");
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Handmade {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        self.tar.extend(header(kind, name.as_bytes(), link.as_bytes(), content.len() as u64).as_bytes());
        self.content(content);
        let path = if name.len() > 1 { name.trim_end_matches('/') } else { name };
        let (kind, mode) = match kind {
            b'1' => ("hardlink", "0644"),
            b'2' => ("symlink", "0644"),
            b'5' => ("folder", "0755"),
            _ => ("file", "0644"),
        };
        let mut record = json!({"line": "entry", "path": path, "kind": kind, "mode": mode, "mtime": 0,
            "size": content.len(), "block": 0});
        match kind {
            "file" => record["sha256"] = hex(&Sha256::digest(content)).into(),
            "folder" => {}
            _ => record["link"] = link.into(),
        }
        self.records.push(record);
        self
    }

    fn content(&mut self, content: &[u8]) {
        self.tar.extend(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, "", content.as_bytes())
    }

    pub fn folder(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    pub fn symlink(self, name: &str, link: &str) -> Self {
        self.entry(b'2', name, link, b"")
    }

    pub fn hardlink(self, name: &str, link: &str) -> Self {
        self.entry(b'1', name, link, b"")
    }

    /// A header as it is, and what stands behind it; a manifest says nothing about it.
    pub fn raw(mut self, header: &tar::Header, content: &[u8]) -> Self {
        self.tar.extend(header.as_bytes());
        self.content(content);
        self
    }

    /// An extension header: `L`, `K`, `x` or `g`.
    pub fn extension(self, kind: u8, data: &[u8]) -> Self {
        let header = header(kind, b"././extension", b"", data.len() as u64);
        self.raw(&header, data)
    }

    fn ended(&self) -> Vec<u8> {
        [&self.tar[..], &[0; 1024]].concat()
    }

    /// One plain gzip member, as `tar -czf` makes it.
    pub fn gz(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.ended()).expect("packs");
        encoder.finish().expect("packs")
    }

    /// Frames of Zstandard.
    pub fn zst(&self) -> Vec<u8> {
        zstd::encode_all(&self.ended()[..], 1).expect("packs")
    }

    /// The archive as one block and its end, and a manifest that says that all of it is as it should be.
    pub fn forged(&self, archive: &str) -> (Vec<u8>, Vec<u8>) {
        let codec = Codec::Gzip;
        let (mut bytes, mut tar_bytes, mut lines) = (codec.prologue().to_vec(), 0, Vec::new());
        for (raw, records) in [(&self.tar[..], &self.records[..]), (&[0; 1024], &[])] {
            let packed = codec.compress(raw).expect("packs");
            lines.push(json!({"line": "block", "offset": bytes.len(), "packed": packed.len(),
                "tar_offset": tar_bytes, "size": raw.len(), "sha256": hex(&Sha256::digest(&packed))}));
            lines.extend(records.iter().cloned());
            bytes.extend(packed);
            tar_bytes += raw.len();
        }
        bytes.extend(codec.epilogue(crc32fast::hash(&self.ended()), tar_bytes as u64));
        (bytes, manifest(archive, &lines))
    }
}

/// A manifest of these lines, between its header and its end.
pub fn manifest(archive: &str, lines: &[Value]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(manifest_text(archive, lines).as_bytes()).expect("packs");
    encoder.finish().expect("packs")
}

/// The same in the clear.
pub fn manifest_text(archive: &str, lines: &[Value]) -> String {
    let head = json!({"line": "header", "schema": 1, "archive": archive, "created_at": "2026-03-10T12:00:00Z",
        "codec": "gzip", "encoder": "by hand", "level": 6, "tool": "by hand"});
    let count = |kind: &str| lines.iter().filter(|line| line["line"] == kind).count();
    let end = json!({"line": "end", "blocks": count("block"), "entries": count("entry")});
    let lines = std::iter::once(&head).chain(lines).chain([&end]);
    lines.map(|line| format!("{line}\n")).collect()
}
