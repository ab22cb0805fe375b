//! Writes a manifest while its archive is written.
use super::{Block, EntryLine, Header, Line, Record};
use crate::archive::FormatError;
use crate::archive::codec::Codec;
use std::io::Write;

/// Bytes of text that are compressed together.
const CHUNK: usize = 1 << 20;

/// Takes lines as they become known, and writes them in compressed chunks.
pub(in crate::archive) struct Collector<'a> {
    sink: &'a mut (dyn Write + Send),
    codec: Codec,
    text: Vec<u8>,
    crc: crc32fast::Hasher,
    bytes: u64,
    blocks: u64,
    entries: u64,
}

impl<'a> Collector<'a> {
    pub(in crate::archive) fn new(
        sink: &'a mut (dyn Write + Send),
        header: &Header,
    ) -> Result<Self, FormatError> {
        let (codec, text, crc) = (header.codec, Vec::new(), crc32fast::Hasher::new());
        sink.write_all(codec.prologue()).map_err(FormatError::Io)?;
        let mut collector = Self { sink, codec, text, crc, bytes: 0, blocks: 0, entries: 0 };
        collector.line(&Line::Header(header.clone()))?;
        Ok(collector)
    }

    pub(in crate::archive) fn block(&mut self, block: Block) -> Result<(), FormatError> {
        self.blocks += 1;
        self.line(&Line::Block(block))
    }

    pub(in crate::archive) fn entry(&mut self, record: &Record) -> Result<(), FormatError> {
        self.entries += 1;
        self.line(&Line::Entry(EntryLine::of(record)))
    }

    /// Writes the end, and returns the number of entries.
    pub(in crate::archive) fn finish(
        mut self,
        state: Option<String>,
        errors: u64,
    ) -> Result<u64, FormatError> {
        self.line(&Line::End { blocks: self.blocks, entries: self.entries, state, errors })?;
        self.pack()?;
        let epilogue = self.codec.epilogue(self.crc.finalize(), self.bytes);
        self.sink.write_all(&epilogue).and_then(|()| self.sink.flush()).map_err(FormatError::Io)?;
        Ok(self.entries)
    }

    fn line(&mut self, line: &Line) -> Result<(), FormatError> {
        serde_json::to_writer(&mut self.text, line)
            .map_err(|error| FormatError::Malformed(error.to_string()))?;
        self.text.push(b'\n');
        if self.text.len() >= CHUNK { self.pack() } else { Ok(()) }
    }

    fn pack(&mut self) -> Result<(), FormatError> {
        self.crc.update(&self.text);
        self.bytes += self.text.len() as u64;
        let packed = self.codec.compress(&self.text)?;
        self.text.clear();
        self.sink.write_all(&packed).map_err(FormatError::Io)
    }
}
