//! The way back: blocks of an archive, each checked against its digest before a byte of it is believed.
//!
//! With a manifest an archive is a row of groups ([`Group`]) that can be read apart from each other, in any order or
//! selection. Without one it is decoded from the start, like any tar file.
use super::FormatError;
use super::codec::Codec;
use super::entry::{Entry, read_tar};
use super::manifest::{Block, Group};
use std::io::{self, Read};

/// A stream that can pass over bytes: a file seeks, a pipe reads them away.
pub trait Skip: Read {
    /// Passes over `bytes` bytes.
    ///
    /// # Errors
    /// When the stream fails or ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

impl Skip for &mut dyn Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut Read::take(&mut **self, bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Reads the blocks of an archive, group by group in ascending order.
pub struct Blocks<'a> {
    stream: &'a mut dyn Skip,
    codec: Codec,
    position: u64,
    tar_bytes: u64,
    crc: crc32fast::Hasher,
}

impl<'a> Blocks<'a> {
    /// Begins at the start of `stream`, which is the archive, decrypted.
    pub fn new(stream: &'a mut dyn Skip, codec: Codec) -> Self {
        Self { stream, codec, position: 0, tar_bytes: 0, crc: crc32fast::Hasher::new() }
    }

    /// The tar bytes of one block.
    fn block(&mut self, number: u64, block: &Block) -> Result<Vec<u8>, FormatError> {
        let ahead = block
            .offset
            .checked_sub(self.position)
            .ok_or_else(|| FormatError::Malformed(format!("block {number} was asked for out of order")))?;
        self.stream.skip(ahead)?;
        let mut packed = Vec::new();
        Read::take(&mut *self.stream, block.packed).read_to_end(&mut packed)?;
        self.position = block.offset + packed.len() as u64;
        if packed.len() as u64 != block.packed {
            return Err(FormatError::Malformed(format!("the archive ends within block {number}")));
        }
        if super::sha256_hex(&packed) != block.sha256 {
            return Err(FormatError::Malformed(format!(
                "block {number} does not have the manifest's digest"
            )));
        }
        let raw = self.codec.decompress(&packed, block.size as usize)?;
        self.crc.update(&raw);
        self.tar_bytes += raw.len() as u64;
        Ok(raw)
    }

    /// The tar bytes of a group as a stream. Its errors are `Malformed` when a block's digest or length is not the
    /// manifest's.
    pub fn group<'b>(&'b mut self, group: &'b Group) -> GroupReader<'b, 'a> {
        GroupReader { blocks: self, left: &group.blocks, number: group.first, raw: Vec::new(), at: 0 }
    }

    /// After every block was read: what stands before the first and behind the last is what it must be.
    ///
    /// # Errors
    /// `Malformed` when it is not.
    pub fn finish(self, prologue: &[u8]) -> Result<(), FormatError> {
        if prologue != self.codec.prologue() {
            return Err(FormatError::Malformed("the archive does not begin as it should".into()));
        }
        let mut rest = Vec::new();
        let epilogue = self.codec.epilogue(self.crc.finalize(), self.tar_bytes);
        Read::take(&mut *self.stream, epilogue.len() as u64 + 1).read_to_end(&mut rest)?;
        if rest == epilogue {
            Ok(())
        } else {
            Err(FormatError::Malformed("the archive does not end as it should".into()))
        }
    }
}

/// See [`Blocks::group`].
pub struct GroupReader<'b, 'a> {
    blocks: &'b mut Blocks<'a>,
    left: &'b [Block],
    number: u64,
    raw: Vec<u8>,
    at: usize,
}

impl Read for GroupReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.raw.len() {
            let Some((block, left)) = self.left.split_first() else { return Ok(0) };
            self.raw = self.blocks.block(self.number, block).map_err(io::Error::other)?;
            (self.left, self.number, self.at) = (left, self.number + 1, 0);
        }
        let count = buffer.len().min(self.raw.len() - self.at);
        buffer[..count].copy_from_slice(&self.raw[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Reads a whole archive without a manifest, entry by entry.
///
/// # Errors
/// As [`read_tar`]'s; `Malformed` too when the end-of-archive marker is missing: with zstd, a file that was
/// cut between two frames still decodes.
pub fn decode<E: From<FormatError>>(
    stream: &mut dyn Read,
    codec: Codec,
    visit: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut tar = codec.decoder(stream)?;
    if !read_tar(&mut *tar, visit)? {
        return Err(FormatError::Malformed("the archive has no end: it was cut short".into()).into());
    }
    // To the very end, so that the container's own checksums are compared too. Other tars fill up with zeros.
    let mut rest = [0; 8192];
    loop {
        match tar.read(&mut rest).map_err(FormatError::from)? {
            0 => return Ok(()),
            count if rest[..count].iter().all(|byte| *byte == 0) => {}
            _ => {
                return Err(FormatError::Malformed("something stands behind the archive's end".into()).into());
            }
        }
    }
}
