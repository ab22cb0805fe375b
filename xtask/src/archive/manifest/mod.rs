//! The manifest: what an archive holds, entry by entry, and where each block of it lies.
//!
//! Compressed JSON Lines beside the archive: one header; then each block, and behind it the entries that it holds; then
//! an end line, so that a manifest that was cut short is noticed. It is written and read as a stream: one of a million
//! entries takes no more memory than one of ten. It is an index and a record of digests, never needed to get the data
//! back: without it the archive is a plain tar.
mod read;
mod write;

pub use read::{Closing, Groups, closing};
pub(super) use write::Collector;

use super::block::MAX_BLOCK;
use super::entry::{Entry, Kind, Mtime};
use super::{codec::Codec, hex, unhex};
use serde::{Deserialize, Serialize};

/// The manifest version this tool writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// What a block that does not compress takes at the most: a few bytes in each of its parts.
pub(super) const MAX_PACKED: u64 = MAX_BLOCK + MAX_BLOCK / 64;

/// The first line: what the archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Bare file name of the archive when it was made.
    pub archive: String,
    /// UTC, RFC 3339, whole seconds: a backup's start, a bundle's commit time.
    pub created_at: String,
    /// The container.
    pub codec: Codec,
    /// Encoder and version.
    pub encoder: String,
    /// Its level.
    pub level: i32,
    /// Name and version of the tool.
    pub tool: String,
}

/// Where one block lies. Offsets count in the compressed stream as it is before encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// First byte of the block in the compressed stream.
    pub offset: u64,
    /// Compressed bytes.
    pub packed: u64,
    /// First byte of the block in the tar stream.
    pub tar_offset: u64,
    /// Tar bytes.
    pub size: u64,
    /// SHA-256 of the compressed bytes.
    pub sha256: String,
}

/// One entry with its digest and the blocks that hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry; its extended attributes are not in the manifest.
    pub entry: Entry,
    /// SHA-256 of a file's content.
    pub sha256: Option<[u8; 32]>,
    /// Number of the first block that holds it, from 0.
    pub block: u64,
    /// How many blocks hold it.
    pub blocks: u64,
}

/// Blocks that hold whole entries together: one block of many entries, or the many blocks of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Number of the first block, from 0.
    pub first: u64,
    /// Where they lie.
    pub blocks: Vec<Block>,
    /// The entries in them; none in the last group, which holds the end-of-archive marker.
    pub records: Vec<Record>,
}

/// One line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line {
    Header(Header),
    Block(Block),
    Entry(EntryLine),
    End {
        blocks: u64,
        entries: u64,
        /// Of the source, as it was when all of it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        /// How many errors its making had: about what could not be read, say, and is not in the archive.
        #[serde(default, skip_serializing_if = "is_none")]
        errors: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A name is a string where it is UTF-8, else hexadecimal under a key of its own.
#[derive(Serialize, Deserialize)]
struct EntryLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: Kind,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    mode: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u64,
    mtime: i64,
    #[serde(default, skip_serializing_if = "is_zero32")]
    mtime_nanos: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    block: u64,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    blocks: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero32(value: &u32) -> bool {
    *value == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_one(value: &u64) -> bool {
    *value == 1
}
fn one() -> u64 {
    1
}

fn text_or_hex(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(hex(bytes))),
    }
}

fn bytes_of(text: Option<String>, digits: Option<&str>) -> Option<Vec<u8>> {
    text.map(String::into_bytes).or_else(|| digits.and_then(unhex))
}

impl EntryLine {
    fn of(record: &Record) -> Self {
        let entry = &record.entry;
        let (path, path_hex) = text_or_hex(&entry.path);
        let (link, link_hex) = match entry.kind {
            Kind::Symlink | Kind::Hardlink => text_or_hex(&entry.link),
            Kind::File | Kind::Folder => (None, None),
        };
        Self {
            path,
            path_hex,
            kind: entry.kind,
            size: entry.size,
            mode: format!("{:04o}", entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime.seconds,
            mtime_nanos: entry.mtime.nanos,
            link,
            link_hex,
            sha256: record.sha256.map(|digest| hex(&digest)),
            block: record.block,
            blocks: record.blocks,
        }
    }

    fn record(self) -> Option<Record> {
        let link = bytes_of(self.link, self.link_hex.as_deref()).unwrap_or_default();
        let sha256 = match self.sha256 {
            Some(digits) => Some(unhex(&digits)?.try_into().ok()?),
            None => None,
        };
        // A system takes more for an order, such as "now".
        let nanos = (self.mtime_nanos < 1_000_000_000).then_some(self.mtime_nanos)?;
        Some(Record {
            entry: Entry {
                path: bytes_of(self.path, self.path_hex.as_deref())?,
                kind: self.kind,
                size: self.size,
                mode: u32::from_str_radix(&self.mode, 8).ok()?,
                uid: self.uid,
                gid: self.gid,
                mtime: Mtime { seconds: self.mtime, nanos },
                link,
                xattrs: Vec::new(),
            },
            sha256,
            block: self.block,
            blocks: self.blocks,
        })
    }
}
