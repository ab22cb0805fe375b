//! The manifest: what an archive holds, entry by entry, and where each block of it lies.
//!
//! Compressed JSON Lines beside the archive: one header, the blocks, the entries in archive order, and an
//! end line, so that a manifest that was cut short is noticed. It is read as a stream. It is an index and a record of digests, never
//! needed to get the data back: without it the archive is a plain tar.
use super::entry::{Entry, Kind, Mtime};
use super::{FormatError, codec::Codec, hex, unhex};
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, BufReader, Read};
use std::ops::Range;

/// The manifest version this tool writes, and the newest it reads.
pub const SCHEMA: u32 = 1;
/// No line is longer: two names of 4 KiB in hexadecimal take a tenth of it.
const MAX_LINE: u64 = 1 << 18;

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

/// What stands in front of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the archive is.
    pub header: Header,
    /// Where its blocks lie.
    pub blocks: Vec<Block>,
}

/// The entries of a manifest, read one by one: a manifest of a million entries takes no more memory than one of
/// ten. What it yields has been checked against what came before; only after [`Records::next_record`] has returned `None`
/// is it known that nothing was cut off.
pub struct Records<'a> {
    lines: Lines<'a>,
    blocks: u64,
    entries: u64,
    ahead: Option<Line>,
    last_block: u64,
    last_path: Vec<u8>,
    /// Blocks that groups have taken so far.
    grouped: u64,
}

/// Blocks that hold whole entries together: one block of many entries, or the many blocks of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their numbers.
    pub blocks: Range<usize>,
    /// The entries in them.
    pub records: Vec<Record>,
}

/// One line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line {
    Header(Header),
    Block(Block),
    Entry(EntryLine),
    End { blocks: u64, entries: u64 },
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
        Some(Record {
            entry: Entry {
                path: bytes_of(self.path, self.path_hex.as_deref())?,
                kind: self.kind,
                size: self.size,
                mode: u32::from_str_radix(&self.mode, 8).ok()?,
                uid: self.uid,
                gid: self.gid,
                mtime: Mtime { seconds: self.mtime, nanos: self.mtime_nanos },
                link,
                xattrs: Vec::new(),
            },
            sha256,
            block: self.block,
            blocks: self.blocks,
        })
    }
}

fn push_line(text: &mut Vec<u8>, line: &Line) -> Result<(), FormatError> {
    serde_json::to_writer(&mut *text, line).map_err(|error| FormatError::Malformed(error.to_string()))?;
    text.push(b'\n');
    Ok(())
}

/// Collects entry lines as they become known, packed, and puts header and blocks in front at the end.
pub(super) struct Collector {
    codec: Codec,
    text: Vec<u8>,
    chunks: Vec<(Vec<u8>, crc32fast::Hasher, u64)>,
    entries: u64,
}

impl Collector {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, text: Vec::new(), chunks: Vec::new(), entries: 0 }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn push(&mut self, record: &Record) -> Result<(), FormatError> {
        push_line(&mut self.text, &Line::Entry(EntryLine::of(record)))?;
        self.entries += 1;
        if self.text.len() >= 1 << 20 {
            let chunk = self.pack()?;
            self.chunks.push(chunk);
        }
        Ok(())
    }

    fn pack(&mut self) -> Result<(Vec<u8>, crc32fast::Hasher, u64), FormatError> {
        let text = std::mem::take(&mut self.text);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&text);
        Ok((self.codec.compress(&text)?, crc, text.len() as u64))
    }

    /// The bytes of the manifest file.
    pub(super) fn finish(mut self, header: &Header, blocks: &[Block]) -> Result<Vec<u8>, FormatError> {
        push_line(&mut self.text, &Line::End { blocks: blocks.len() as u64, entries: self.entries })?;
        let last = self.pack()?;
        push_line(&mut self.text, &Line::Header(header.clone()))?;
        for block in blocks {
            push_line(&mut self.text, &Line::Block(block.clone()))?;
        }
        let first = self.pack()?;
        let mut bytes = self.codec.prologue().to_vec();
        let (mut crc, mut len) = (crc32fast::Hasher::new(), 0);
        for (packed, part, part_len) in std::iter::once(first).chain(self.chunks).chain([last]) {
            bytes.extend(packed);
            crc.combine(&part);
            len += part_len;
        }
        bytes.extend(self.codec.epilogue(crc.finalize(), len));
        Ok(bytes)
    }
}

/// Lines of a decompressed manifest, none longer than [`MAX_LINE`].
struct Lines<'a> {
    text: BufReader<Box<dyn Read + 'a>>,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, FormatError> {
        let mut line = Vec::new();
        self.text.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        self.number += 1;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(self.wrong()),
        }
    }

    fn line(&mut self) -> Result<Option<Line>, FormatError> {
        let Some(text) = self.next()? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|_| self.wrong())
    }

    fn wrong(&self) -> FormatError {
        FormatError::Malformed(format!("line {} of the manifest is wrong", self.number))
    }
}

impl Manifest {
    /// Begins to read a manifest file (decrypted, still compressed).
    ///
    /// # Errors
    /// `Newer` for a schema that this tool does not know; `Malformed` for a line that does not parse, and for blocks
    /// that leave a gap.
    pub fn open<'a>(file: &'a mut dyn Read, codec: Codec) -> Result<(Self, Records<'a>), FormatError> {
        let mut lines = Lines { text: BufReader::with_capacity(1 << 16, codec.decoder(file)?), number: 0 };
        let first = lines.next()?.ok_or_else(|| FormatError::Malformed("the manifest is empty".into()))?;
        let mut manifest = Self { header: header_of(&first)?, blocks: Vec::new() };
        let ahead = loop {
            match lines.line()? {
                Some(Line::Block(block)) => manifest.blocks.push(block),
                other => break other,
            }
        };
        manifest.check_blocks()?;
        let blocks = manifest.blocks.len() as u64;
        let (entries, last_block, last_path, grouped) = (0, 0, Vec::new(), 0);
        Ok((manifest, Records { lines, blocks, entries, ahead, last_block, last_path, grouped }))
    }

    /// Blocks follow each other without a gap.
    fn check_blocks(&self) -> Result<(), FormatError> {
        let mut offset = self.header.codec.prologue().len() as u64;
        let mut tar_offset = 0;
        for (number, block) in self.blocks.iter().enumerate() {
            if (block.offset, block.tar_offset) != (offset, tar_offset)
                || block.size > super::block::MAX_BLOCK
            {
                return Err(FormatError::Malformed(format!(
                    "block {number} of the manifest is out of place"
                )));
            }
            offset = offset.saturating_add(block.packed);
            tar_offset += block.size;
        }
        Ok(())
    }
}

impl Records<'_> {
    /// The next entry in archive order; `None` behind the last.
    ///
    /// # Errors
    /// `Malformed` for a line that does not parse, an entry that is out of order or lies in no block, and an end that
    /// is missing or counts otherwise.
    pub fn next_record(&mut self) -> Result<Option<Record>, FormatError> {
        let line = match self.ahead.take() {
            Some(line) => line,
            None => self.lines.line()?.ok_or_else(cut_short)?,
        };
        match line {
            Line::Entry(entry) => {
                let record = entry.record().ok_or_else(|| self.lines.wrong())?;
                self.check(&record)?;
                self.entries += 1;
                Ok(Some(record))
            }
            Line::End { blocks, entries } if (blocks, entries) == (self.blocks, self.entries) => {
                if self.lines.next()?.is_some() {
                    return Err(self.lines.wrong());
                }
                self.ahead = Some(Line::End { blocks, entries });
                Ok(None)
            }
            Line::End { .. } | Line::Header(_) | Line::Block(_) => Err(self.lines.wrong()),
        }
    }

    /// Entries stand in the order of their paths' bytes, each once, in blocks that exist.
    fn check(&mut self, record: &Record) -> Result<(), FormatError> {
        let path = &record.entry.path;
        let wrong = |what: &str| {
            Err(FormatError::Malformed(format!("entry {} {what}", crate::finding::show_bytes(path))))
        };
        if self.entries > 0 && *path == self.last_path {
            return wrong("is there twice");
        }
        if self.entries > 0 && *path < self.last_path {
            return wrong("stands out of order");
        }
        let end = record.block.checked_add(record.blocks).filter(|_| record.blocks > 0);
        if record.block < self.last_block || end.is_none_or(|end| end > self.blocks) {
            return wrong("lies in no block");
        }
        self.last_block = record.block;
        self.last_path.clone_from(path);
        Ok(())
    }

    /// The next entries that share their blocks. The last group holds no entry, only the end-of-archive marker; `None`
    /// behind it.
    ///
    /// # Errors
    /// As [`Records::next_record`].
    pub fn next_group(&mut self) -> Result<Option<Group>, FormatError> {
        let begin = self.grouped;
        let Some(first) = self.next_record()? else {
            self.grouped = self.blocks;
            let blocks = begin as usize..self.blocks as usize;
            return Ok((!blocks.is_empty()).then_some(Group { blocks, records: Vec::new() }));
        };
        let place = (first.block, first.blocks);
        self.grouped = first.block + first.blocks;
        if first.block != begin {
            let path = crate::finding::show_bytes(&first.entry.path);
            return Err(FormatError::Malformed(format!("entry {path} does not begin where a block does")));
        }
        let blocks = begin as usize..self.grouped as usize;
        let mut records = vec![first];
        while let Some(Line::Entry(entry)) = self.peek()? {
            if (entry.block, entry.blocks) != place {
                break;
            }
            records.extend(self.next_record()?);
        }
        Ok(Some(Group { blocks, records }))
    }

    fn peek(&mut self) -> Result<Option<&Line>, FormatError> {
        if self.ahead.is_none() {
            self.ahead = self.lines.line()?;
        }
        Ok(self.ahead.as_ref())
    }
}

fn cut_short() -> FormatError {
    FormatError::Malformed("the manifest has no end line: it was cut short".into())
}

fn header_of(line: &[u8]) -> Result<Header, FormatError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let wrong = |error: serde_json::Error| FormatError::Malformed(format!("not a manifest: {error}"));
    let version: Version = serde_json::from_slice(line).map_err(wrong)?;
    if version.schema > SCHEMA {
        return Err(FormatError::Newer { what: "the manifest", found: version.schema, supported: SCHEMA });
    }
    match serde_json::from_slice(line).map_err(wrong)? {
        Line::Header(header) => Ok(header),
        _ => Err(FormatError::Malformed("the manifest does not begin with its header".into())),
    }
}
