//! Reads a manifest as a stream of groups. It comes from a drive that others write to, so nothing in it is believed
//! before it has been checked against what stood before it.
use super::{Block, Group, Header, Line, MAX_PACKED, Record, SCHEMA};
use crate::archive::FormatError;
use crate::archive::block::MAX_BLOCK;
use crate::archive::codec::Codec;
use crate::archive::entry::{Entry, RECORD, order};
use serde::Deserialize;
use std::io::{BufRead as _, BufReader, Read};

/// No line is longer: two names of 4 KiB in hexadecimal take a tenth of it.
const MAX_LINE: u64 = 1 << 18;
/// Blocks of one entry: 8 TiB.
const MAX_BLOCKS: usize = 1 << 20;

/// The groups of a manifest in archive order. Only after [`Groups::next_group`] has returned `None` is it known that
/// nothing was cut off.
pub struct Groups<'a> {
    /// What the archive is.
    pub header: Header,
    lines: Lines<'a>,
    ahead: Option<Line>,
    blocks: u64,
    entries: u64,
    /// Where the next block begins, in the compressed stream and in the tar stream.
    offsets: (u64, u64),
    last_path: Option<Vec<u8>>,
    ended: bool,
    /// How many errors the archive was made with; known behind the last group.
    pub errors: u64,
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
        // Nearly all lines are of entries, and written like this; that they say what they are need not be found out twice.
        let line = match text.starts_with(br#"{"line":"entry","#) {
            true => serde_json::from_slice(&text).map(Line::Entry),
            false => serde_json::from_slice(&text),
        };
        line.map(Some).map_err(|_| self.wrong())
    }

    fn wrong(&self) -> FormatError {
        FormatError::Malformed(format!("line {} of the manifest is wrong", self.number))
    }
}

impl<'a> Groups<'a> {
    /// Begins to read a manifest file (decrypted, still compressed).
    ///
    /// # Errors
    /// `Newer` for a schema that this tool does not know; `Malformed` for what is no manifest.
    pub fn open(file: &'a mut dyn Read, codec: Codec) -> Result<Self, FormatError> {
        let mut lines = Lines { text: BufReader::with_capacity(1 << 16, codec.decoder(file)?), number: 0 };
        let first = lines.next()?.ok_or_else(|| FormatError::Malformed("the manifest is empty".into()))?;
        let header = header_of(&first)?;
        let offsets = (header.codec.prologue().len() as u64, 0);
        let ahead = lines.line()?;
        let (blocks, entries, last_path, ended) = (0, 0, None, false);
        Ok(Self { header, lines, ahead, blocks, entries, offsets, last_path, ended, errors: 0 })
    }

    /// The next group; `None` behind the last, which holds no entry.
    ///
    /// # Errors
    /// `Malformed` for a line that does not parse, a block that leaves a gap, an entry that is out of order or in
    /// another block than it says, and an end that is missing or counts otherwise.
    pub fn next_group(&mut self) -> Result<Option<Group>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        let mut group = Group { first: self.blocks, blocks: Vec::new(), records: Vec::new() };
        while let Some(Line::Block(block)) = self.ahead.take_if(|line| matches!(line, Line::Block(_))) {
            self.take_block(&block)?;
            // Of an entry with several blocks all but the last are full.
            if group.blocks.last().is_some_and(|last| last.size != MAX_BLOCK)
                || group.blocks.len() >= MAX_BLOCKS
            {
                return Err(self.lines.wrong());
            }
            group.blocks.push(block);
            self.ahead = self.lines.line()?;
        }
        if group.blocks.is_empty() && !matches!(self.ahead, None | Some(Line::End { .. })) {
            return Err(self.lines.wrong());
        }
        let mut room: u64 = group.blocks.iter().map(|block| block.size).sum();
        while let Some(Line::Entry(entry)) = self.ahead.take_if(|line| matches!(line, Line::Entry(_))) {
            let record = entry.record().ok_or_else(|| self.lines.wrong())?;
            self.take_record(&record, &group)?;
            room = least_tar_bytes(&record.entry).and_then(|bytes| room.checked_sub(bytes)).ok_or_else(
                || {
                    let path = crate::shown::show_bytes(&record.entry.path);
                    FormatError::Malformed(format!("entry {path} does not fit the blocks in front of it"))
                },
            )?;
            group.records.push(record);
            self.ahead = self.lines.line()?;
        }
        match &self.ahead {
            Some(Line::Block(_)) if !group.records.is_empty() => Ok(Some(group)),
            // The end-of-archive marker fits one block.
            Some(Line::End { blocks, entries, errors, .. })
                if (*blocks, *entries) == (self.blocks, self.entries)
                    && group.records.is_empty()
                    && group.blocks.len() == 1 =>
            {
                (self.ended, self.errors) = (true, *errors);
                match self.lines.next()? {
                    None => Ok(Some(group)),
                    Some(_) => Err(self.lines.wrong()),
                }
            }
            Some(_) => Err(self.lines.wrong()),
            None => Err(FormatError::Malformed("the manifest has no end line: it was cut short".into())),
        }
    }

    /// Blocks follow each other without a gap.
    fn take_block(&mut self, block: &Block) -> Result<(), FormatError> {
        let fits = (1..=MAX_BLOCK).contains(&block.size)
            && (1..=MAX_PACKED).contains(&block.packed)
            && block.sha256.len() == 64;
        if (block.offset, block.tar_offset) != self.offsets || !fits {
            return Err(FormatError::Malformed(format!(
                "block {} of the manifest is out of place",
                self.blocks
            )));
        }
        self.blocks += 1;
        self.offsets =
            (block.offset.saturating_add(block.packed), block.tar_offset.saturating_add(block.size));
        Ok(())
    }

    /// Entries stand in [`order`], each once, behind the blocks that hold them.
    fn take_record(&mut self, record: &Record, group: &Group) -> Result<(), FormatError> {
        let path = &record.entry.path;
        let what = match &self.last_path {
            Some(last) if last == path => "is there twice",
            Some(last) if order(last, path).is_ge() => "stands out of order",
            _ if (record.block, record.blocks) != (group.first, group.blocks.len() as u64) => {
                "does not lie in the blocks in front of it"
            }
            _ if record.blocks > 1 && !group.records.is_empty() => "lies in blocks that are another's",
            _ => {
                self.entries += 1;
                self.last_path = Some(path.clone());
                return Ok(());
            }
        };
        Err(FormatError::Malformed(format!("entry {} {what}", crate::shown::show_bytes(path))))
    }
}

/// What an entry takes in the tar at the least: its extended attributes are not known here. `None` when that is no number.
/// So a block bounds how many entries a group has, and how long their names are together.
fn least_tar_bytes(entry: &Entry) -> Option<u64> {
    let long_names =
        [&entry.path, &entry.link].into_iter().map(|name| name.len() as u64).filter(|len| *len > 99);
    entry.size.checked_next_multiple_of(RECORD)?.checked_add(RECORD + long_names.sum::<u64>())
}

/// What the last lines of a manifest say; the lines before are passed over unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The state of the source, where it was known.
    pub state: Option<String>,
    /// Bytes of the archive, before encryption.
    pub packed_bytes: u64,
}

/// Reads the end of a manifest file (decrypted, still compressed).
///
/// # Errors
/// `Newer` for a schema that this tool does not know; `Malformed` for what does not begin and end like a manifest.
pub fn closing(file: &mut dyn Read, codec: Codec) -> Result<Closing, FormatError> {
    let mut lines = Lines { text: BufReader::with_capacity(1 << 16, codec.decoder(file)?), number: 0 };
    let header = header_of(&lines.next()?.unwrap_or_default())?;
    let (mut last, mut line) = (Vec::new(), Vec::new());
    while let Some(next) = lines.next()? {
        if next.len() < SHORTEST {
            return Err(FormatError::Malformed(format!("line {} of the manifest is none", lines.number)));
        }
        last = std::mem::replace(&mut line, next);
    }
    let parse = |line: &[u8]| serde_json::from_slice(line).ok();
    match (parse(&last), parse(&line)) {
        (Some(Line::Block(block)), Some(Line::End { state, .. })) => {
            let epilogue = header.codec.epilogue(0, 0).len() as u64;
            let packed_bytes = block.offset.saturating_add(block.packed).saturating_add(epilogue);
            Ok(Closing { state, packed_bytes })
        }
        _ => Err(FormatError::Malformed("the manifest has no end: it was cut short".into())),
    }
}

/// Bytes of a line that says anything: it has a `line` with its kind, at least.
const SHORTEST: usize = br#"{"line":"end"}"#.len();

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
