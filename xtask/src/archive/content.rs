//! The tar bytes of one group as they are looked at: entry by entry, or all digests at once.
//!
//! Sees memory and streams that were checked against their digests before.
use super::FormatError;
use super::entry::{Entry, read_tar};
use super::sha256::digests;
use std::cell::Cell;
use std::io::{self, BufRead, Read};

/// The tar bytes of a group.
pub enum Tar<'a> {
    /// All at hand.
    Whole(&'a [u8]),
    /// Of one large entry, as they come in.
    Parts(&'a mut dyn BufRead),
}

impl Tar<'_> {
    /// Reads the entries as [`read_tar`] does.
    ///
    /// # Errors
    /// As [`read_tar`]'s.
    pub fn read<E: From<FormatError>>(
        self,
        visit: &mut dyn FnMut(Entry, &mut dyn BufRead) -> Result<(), E>,
    ) -> Result<bool, E> {
        match self {
            Self::Whole(mut bytes) => read_tar(&mut bytes, visit),
            Self::Parts(parts) => read_tar(parts, visit),
        }
    }

    /// The entries, each with the SHA-256 of its content.
    ///
    /// # Errors
    /// As [`read_tar`]'s.
    pub fn digests(self) -> Result<Vec<(Entry, [u8; 32])>, FormatError> {
        let mut found = Vec::new();
        match self {
            Self::Parts(parts) => {
                read_tar::<FormatError>(parts, &mut |entry, content| {
                    found.push((entry, super::digest_stream(content)?.0));
                    Ok(())
                })?;
                Ok(found)
            }
            Self::Whole(bytes) => {
                let mut contents = Vec::new();
                let position = Cell::new(0);
                read_tar::<FormatError>(&mut Slice { bytes, position: &position }, &mut |entry, _| {
                    let content = bytes[position.get()..].get(..entry.size as usize);
                    contents.push(content.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
                    found.push((entry, [0; 32]));
                    Ok(())
                })?;
                let digests = digests(&contents);
                found.iter_mut().zip(digests).for_each(|((_, place), digest)| *place = digest);
                Ok(found)
            }
        }
    }
}

/// Bytes that are read while somebody else looks where.
struct Slice<'a> {
    bytes: &'a [u8],
    position: &'a Cell<usize>,
}

impl BufRead for Slice<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.bytes[self.position.get()..])
    }

    fn consume(&mut self, count: usize) {
        self.position.set(self.position.get() + count);
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
