//! The containers: how one block is compressed, and what stands before and behind the blocks.
//!
//! `gzip` is *one* member (RFC 1952) whose DEFLATE stream (RFC 1951) is fully flushed between blocks, so
//! that every gzip reader reads it and each block can be decoded on its own. `zstd` (RFC 8878) is one
//! frame a block, with content size and checksum. Both are safe to cut because a full flush and a frame
//! end reset the decoder: no block refers to bytes of another.
use super::FormatError;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};
use std::io::Read;

/// The encoder and its version, as locks and manifests record it: bytes are promised to be the same only
/// for the same encoder.
pub const GZIP_ENCODER: &str = "zlib-rs (flate2 1.1.11)";
/// See [`GZIP_ENCODER`].
pub const ZSTD_ENCODER: &str = "libzstd (zstd 0.14.4)";

/// Which container an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// `.tar.gz`, level 6.
    #[default]
    Gzip,
    /// `.tar.zst`, level 3.
    Zstd,
}

impl Codec {
    /// What stands behind `.tar.` in the file name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// The level that is used.
    pub fn level(self) -> i32 {
        match self {
            Self::Gzip => 6,
            Self::Zstd => 3,
        }
    }

    /// Name and version of the encoder.
    pub fn encoder(self) -> &'static str {
        match self {
            Self::Gzip => GZIP_ENCODER,
            Self::Zstd => ZSTD_ENCODER,
        }
    }

    /// The bytes in front of the first block. RFC 1952: no name, no time, "unknown" operating system.
    pub fn prologue(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            Self::Zstd => &[],
        }
    }

    /// The bytes behind the last block: for gzip an empty final DEFLATE block, the CRC-32 of all tar bytes
    /// and their number modulo 2³² (RFC 1952, section 2.3.1).
    pub fn epilogue(self, crc: u32, tar_bytes: u64) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut bytes = vec![0x03, 0x00];
                bytes.extend(crc.to_le_bytes());
                bytes.extend(((tar_bytes & 0xffff_ffff) as u32).to_le_bytes());
                bytes
            }
            Self::Zstd => Vec::new(),
        }
    }

    /// Compresses one block. The result depends on `raw`, the codec and the encoder's version alone.
    ///
    /// # Errors
    /// Only when the encoder itself fails (out of memory).
    pub fn compress(self, raw: &[u8]) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Gzip => deflate(raw, self.level()),
            Self::Zstd => {
                let mut encoder = zstd::bulk::Compressor::new(self.level())?;
                encoder.include_checksum(true)?;
                encoder.include_contentsize(true)?;
                Ok(encoder.compress(raw)?)
            }
        }
    }

    /// Decodes a whole file from its beginning, for a reader that has no manifest.
    ///
    /// # Errors
    /// When the decoder cannot be made (out of memory).
    pub fn decoder<'a>(self, file: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, FormatError> {
        Ok(match self {
            // Several members are one stream (RFC 1952, section 2.2); anything else behind the last is damage.
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
        })
    }

    /// Decompresses one block that must come to exactly `raw_len` bytes; never allocates more.
    ///
    /// # Errors
    /// `Malformed` when the block does not decode, or decodes to another length.
    pub fn decompress(self, packed: &[u8], raw_len: usize) -> Result<Vec<u8>, FormatError> {
        let raw = match self {
            Self::Gzip => inflate(packed, raw_len)?,
            Self::Zstd => zstd::bulk::decompress(packed, raw_len)
                .map_err(|error| FormatError::Malformed(format!("a zstd frame does not decode: {error}")))?,
        };
        if raw.len() == raw_len {
            Ok(raw)
        } else {
            Err(FormatError::Malformed(format!("a block holds {} bytes, not {raw_len}", raw.len())))
        }
    }
}

/// Raw DEFLATE of one block, ending on a byte boundary with a full flush (an empty stored block).
fn deflate(raw: &[u8], level: i32) -> Result<Vec<u8>, FormatError> {
    let mut encoder = Compress::new(Compression::new(level.unsigned_abs()), false);
    let mut packed = Vec::with_capacity(raw.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
        let before = packed.len();
        encoder
            .compress_vec(&raw[taken..], &mut packed, FlushCompress::Full)
            .map_err(|error| FormatError::Malformed(format!("deflate failed: {error}")))?;
        let all_in = encoder.total_in() == raw.len() as u64;
        if all_in && packed.len() < packed.capacity() {
            return Ok(packed);
        }
        if packed.len() == before && packed.capacity() > packed.len() {
            return Err(FormatError::Malformed("deflate made no progress".into()));
        }
        packed.reserve(packed.len().max(1024));
    }
}

fn inflate(packed: &[u8], raw_len: usize) -> Result<Vec<u8>, FormatError> {
    let mut decoder = Decompress::new(false);
    // One byte more than promised, so that a longer block is noticed and not cut short.
    let mut raw = Vec::with_capacity(raw_len + 1);
    let status = decoder
        .decompress_vec(packed, &mut raw, FlushDecompress::Sync)
        .map_err(|error| FormatError::Malformed(format!("a gzip block does not decode: {error}")))?;
    if status == Status::StreamEnd || decoder.total_in() != packed.len() as u64 {
        return Err(FormatError::Malformed("a gzip block ends early".into()));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        let mut state = 7u32;
        (0..len)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n % 3 == 0 { (state >> 24) as u8 } else { b'a' + (n % 17) as u8 }
            })
            .collect()
    }

    #[test]
    fn a_block_comes_back() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            for len in [0, 1, 511, 70_000, 3_000_000] {
                let raw = sample(len);
                let packed = codec.compress(&raw).expect("compresses");
                assert_eq!(codec.decompress(&packed, len).expect("decompresses"), raw);
                assert!(codec.decompress(&packed, len + 1).is_err(), "{codec:?} {len}: one byte short");
                if len > 0 {
                    assert!(codec.decompress(&packed, len - 1).is_err(), "{codec:?} {len}: one byte over");
                }
            }
        }
    }

    #[test]
    fn blocks_make_one_gzip_member() {
        let (first, second) = (sample(100_000), sample(5_000));
        let mut file = Codec::Gzip.prologue().to_vec();
        let mut crc = crc32fast::Hasher::new();
        for block in [&first, &second] {
            file.extend(Codec::Gzip.compress(block).expect("compresses"));
            let mut part = crc32fast::Hasher::new();
            part.update(block);
            crc.combine(&part);
        }
        file.extend(Codec::Gzip.epilogue(crc.finalize(), 105_000));
        let mut decoder = flate2::bufread::GzDecoder::new(&file[..]);
        let mut raw = Vec::new();
        decoder.read_to_end(&mut raw).expect("one member, right checksum");
        assert_eq!(raw, [first, second].concat());
        assert!(decoder.into_inner().is_empty(), "nothing behind the member");
    }
}
