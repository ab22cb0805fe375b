//! THE FORMAT: how entries become a tar stream, a tar stream becomes blocks, and blocks become a
//! gzip or zstd file; and the way back. `docs/format.md` says the same in prose.
//!
//! This room sees only `Read` and `Write`. It never sees a path of the file system, a process, the
//! clock or the environment, so its bytes can depend on nothing but the entries.
pub mod block;
mod buffer;
pub mod builder;
pub mod codec;
pub mod content;
mod deflate;
pub mod entry;
pub mod hashing;
pub mod manifest;
#[cfg(test)]
mod properties;
pub mod raw;
pub mod reader;
pub mod sha256;
pub mod writer;

use sha2::{Digest, Sha256};
use std::io::{BufRead, Read};

/// No more threads than this pack or unpack, whatever the machine: memory grows with each.
pub const MAX_WORKERS: usize = 7;

/// What can be wrong with an archive or a manifest, without the name of the file it came from: the
/// caller knows that and adds it.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The stream under the archive failed.
    #[error("the stream failed")]
    Io(#[source] std::io::Error),
    /// The bytes are not what the format says.
    #[error("{0}")]
    Malformed(String),
    /// Written by a newer version of this tool.
    #[error("{what} has schema version {found}, newer than {supported}, the newest this version reads")]
    Newer {
        /// Which document.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },
}

impl From<std::io::Error> for FormatError {
    /// What the system says is `Io`; what a decoder says, or a stream that ends early, is `Malformed`.
    fn from(error: std::io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Self::Io(error);
        }
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Malformed("it ends early".into())
            }
            Err(error) => Self::Malformed(error.to_string()),
        }
    }
}

/// Lower-case hexadecimal SHA-256 (FIPS 180-4) of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 and length of what `stream` still holds.
///
/// # Errors
/// When the stream fails.
pub fn digest_stream(stream: &mut dyn BufRead) -> std::io::Result<([u8; 32], u64)> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    loop {
        let count = match stream.fill_buf() {
            Ok([]) => return Ok((hash.finalize().into(), bytes)),
            Ok(part) => {
                hash.update(part);
                part.len()
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        stream.consume(count);
        bytes += count as u64;
    }
}

/// Reads until `buffer` is full or the stream ends, and returns how much there was.
///
/// # Errors
/// When the stream fails.
pub fn read_full(stream: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Lower-case hexadecimal of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that `text` is the hexadecimal of; `None` when it is not hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| {
            let (high, low) = ((pair[0] as char).to_digit(16)?, (pair[1] as char).to_digit(16)?);
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}
