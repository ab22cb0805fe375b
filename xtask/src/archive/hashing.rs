//! SHA-256 of what goes by on its way to somebody else.
use super::hex;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Hands everything on, and hashes what was taken.
#[derive(Debug)]
pub struct Hashing<W> {
    sha256: Sha256,
    inner: W,
}

impl<W: Write> Hashing<W> {
    /// In front of `inner`.
    pub fn new(inner: W) -> Self {
        Self { sha256: Sha256::new(), inner }
    }

    /// The digest, in lower-case hexadecimal, and who got it, flushed.
    ///
    /// # Errors
    /// When it cannot be flushed.
    pub fn finish(mut self) -> io::Result<(String, W)> {
        self.inner.flush()?;
        Ok((hex(&self.sha256.finalize()), self.inner))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(3)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_was_taken_is_hashed() {
        let mut hashing = Hashing::new(Slow(Vec::new()));
        hashing.write_all(b"recovery").expect("takes all");
        let (digest, slow) = hashing.finish().expect("ends");
        assert_eq!(digest, crate::archive::sha256_hex(b"recovery"));
        assert_eq!(slow.0, b"recovery");
    }
}
