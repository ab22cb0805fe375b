//! The containers: how one block is compressed, and what stands before and behind the blocks.
//!
//! `gzip` is *one* member (RFC 1952) whose DEFLATE stream (RFC 1951) is fully flushed between blocks, so
//! that every gzip reader reads it and each block can be decoded on its own. `zstd` (RFC 8878) is one
//! frame a block, with content size and checksum. Both are safe to cut because a full flush and a frame
//! end reset the decoder: no block refers to bytes of another.
use super::FormatError;
use super::buffer::Buffer;
use super::deflate::unfinish;
use libdeflater::CompressionLvl;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::Read;
use zstd::zstd_safe::CParameter;

/// The encoder and its version, as locks and manifests record it: bytes are promised to be the same only
/// for the same encoder.
pub const GZIP_ENCODER: &str = "libdeflate (libdeflater 1.26.1)";
/// See [`GZIP_ENCODER`].
pub const ZSTD_ENCODER: &str = "libzstd (zstd 0.14.4)";

/// Which container an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// `.tar.gz`, level 5.
    #[default]
    Gzip,
    /// `.tar.zst`, level 3 with smaller tables.
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
            Self::Gzip => 5,
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

    /// Compresses one block, for who has only one.
    ///
    /// # Errors
    /// Only when the encoder itself fails (out of memory).
    pub fn compress(self, raw: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut packed = Buffer::new(Encoder::bound(raw.len()));
        Encoder::new(self)?.compress(raw, &mut packed)?;
        Ok(packed.to_vec())
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
}

/// What compresses blocks. What comes out depends on what goes in, the codec and the encoder's version, and never on
/// what went before: each block is a beginning.
pub(super) struct Encoder(Packer);

enum Packer {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn new(codec: Codec) -> Result<Self, FormatError> {
        Ok(Self(match codec {
            Codec::Gzip => {
                let level = CompressionLvl::new(codec.level());
                Packer::Gzip(libdeflater::Compressor::new(level.map_err(|_| failed("the level is unknown"))?))
            }
            Codec::Zstd => {
                let mut encoder = zstd::bulk::Compressor::new(codec.level())?;
                // Tables that fit the cache of a core: a tenth faster than the level's own, and a hundredth larger.
                encoder.set_parameter(CParameter::HashLog(16))?;
                encoder.set_parameter(CParameter::ChainLog(15))?;
                encoder.include_checksum(true)?;
                encoder.include_contentsize(true)?;
                Packer::Zstd(encoder)
            }
        }))
    }

    /// Room that is enough for a block of `raw_len` bytes, whatever is in it.
    pub(super) fn bound(raw_len: usize) -> usize {
        // libdeflate: five bytes for each stored block of 5,000 or more, and ours; zstd: a 256th and some.
        raw_len + raw_len / 128 + 1024
    }

    /// Compresses one block into `packed`, which has [`Encoder::bound`] bytes.
    ///
    /// # Errors
    /// Only when the encoder itself fails.
    pub(super) fn compress(&mut self, raw: &[u8], packed: &mut Buffer) -> Result<(), FormatError> {
        match &mut self.0 {
            Packer::Gzip(encoder) => {
                let count = encoder.deflate_compress(raw, packed.room());
                packed.set(count.map_err(|error| failed(&error.to_string()))?);
                unfinish(packed)
            }
            Packer::Zstd(encoder) => {
                let count = encoder.compress_to_buffer(raw, packed.room())?;
                packed.set(count);
                Ok(())
            }
        }
    }
}

fn failed(what: &str) -> FormatError {
    FormatError::Malformed(format!("the encoder failed: {what}"))
}

/// What decodes blocks.
pub(super) struct Decoder {
    unpacker: Unpacker,
    /// A stored block of its own that ends the stream. No archive can know what is in it.
    end: [u8; 13],
}

enum Unpacker {
    Gzip(libdeflater::Decompressor),
    Zstd(zstd::bulk::Decompressor<'static>),
}

/// How much of [`Decoder::end`] is content.
const SEAL: usize = 8;

impl Decoder {
    /// Room that a buffer needs behind a packed block, and behind a raw one.
    pub(super) const SPARE: usize = 13;

    /// # Errors
    /// When there is no memory for it.
    pub(super) fn new(codec: Codec) -> Result<Self, FormatError> {
        let seal = RandomState::new().hash_one(()).to_le_bytes();
        let mut end = [1, SEAL as u8, 0, !(SEAL as u8), 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        end[5..].copy_from_slice(&seal);
        let unpacker = match codec {
            Codec::Gzip => Unpacker::Gzip(libdeflater::Decompressor::new()),
            Codec::Zstd => Unpacker::Zstd(zstd::bulk::Decompressor::new()?),
        };
        Ok(Self { unpacker, end })
    }

    /// Decodes the block in `packed` into `raw`, which must come to exactly `raw_len` bytes; never writes more. Both have
    /// [`Decoder::SPARE`] bytes to spare.
    ///
    /// # Errors
    /// `Malformed` when the block does not decode, or decodes to another length.
    pub(super) fn decompress(
        &mut self,
        packed: &mut Buffer,
        raw_len: usize,
        raw: &mut Buffer,
    ) -> Result<(), FormatError> {
        let found = match &mut self.unpacker {
            Unpacker::Gzip(decoder) => {
                // libdeflate wants a stream that ends. That ours is where it ended shows that nothing in the block did.
                let len = packed.len();
                packed.push(&self.end);
                let found = decoder.deflate_decompress(packed, &mut raw.room()[..raw_len + SEAL]);
                packed.set(len);
                let found = found.map_err(|error| wrong_block("gzip block", &error.to_string()))?;
                match raw.room()[..found].strip_suffix(&self.end[5..]) {
                    Some(content) => content.len(),
                    None => return Err(FormatError::Malformed("a gzip block ends early".into())),
                }
            }
            Unpacker::Zstd(decoder) => decoder
                .decompress_to_buffer(packed, &mut raw.room()[..raw_len])
                .map_err(|error| wrong_block("zstd frame", &error.to_string()))?,
        };
        if found != raw_len {
            return Err(FormatError::Malformed(format!("a block holds {found} bytes, not {raw_len}")));
        }
        raw.set(raw_len);
        Ok(())
    }
}

fn wrong_block(what: &str, error: &str) -> FormatError {
    FormatError::Malformed(format!("a {what} does not decode: {error}"))
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

    fn unpack(codec: Codec, packed: &[u8], raw_len: usize) -> Result<Vec<u8>, FormatError> {
        let (mut from, mut to) =
            (Buffer::new(packed.len() + Decoder::SPARE), Buffer::new(raw_len + Decoder::SPARE));
        from.push(packed);
        Decoder::new(codec)?.decompress(&mut from, raw_len, &mut to)?;
        Ok(to.to_vec())
    }

    /// A block that ends the whole stream would end it for every other reader, whatever stands behind it.
    #[test]
    fn a_gzip_block_that_ends_the_stream_is_refused() {
        let raw = sample(1000);
        let mut whole = vec![0; 2000];
        let mut encoder = libdeflater::Compressor::new(CompressionLvl::default());
        let count = encoder.deflate_compress(&raw, &mut whole).expect("compresses");
        assert!(unpack(Codec::Gzip, &whole[..count], 1000).is_err());
        assert!(unpack(Codec::Gzip, &whole, 1000).is_err());
    }

    /// What an encoder did before does not show in what it does next.
    #[test]
    fn an_encoder_has_no_memory() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let mut encoder = Encoder::new(codec).expect("an encoder");
            for len in [3_000_000, 10, 70_000, 0, 2_000_000, 70_000] {
                let (raw, mut packed) = (sample(len), Buffer::new(Encoder::bound(len)));
                encoder.compress(&raw, &mut packed).expect("compresses");
                assert!(packed[..] == codec.compress(&raw).expect("compresses"), "{codec:?} {len}");
            }
        }
    }

    #[test]
    fn a_block_comes_back() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            for len in [0, 1, 511, 70_000, 3_000_000] {
                let raw = sample(len);
                let packed = codec.compress(&raw).expect("compresses");
                assert_eq!(unpack(codec, &packed, len).expect("decompresses"), raw);
                assert!(unpack(codec, &packed, len + 1).is_err(), "{codec:?} {len}: one byte short");
                if len > 0 {
                    assert!(unpack(codec, &packed, len - 1).is_err(), "{codec:?} {len}: one byte over");
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
