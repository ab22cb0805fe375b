//! How far the work at hand has come: bytes and entries, counted where they are moved, shown by [`crate::ui`].
//!
//! Process-wide, as [`crate::interrupt`] is: what moves bytes knows nothing of who looks. Nothing is decided by these
//! numbers, so nothing depends on their being exact: what is tried again may count twice.
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static BYTES: AtomicU64 = AtomicU64::new(0);
static ENTRIES: AtomicU64 = AtomicU64::new(0);

/// So much is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes that were moved: of the source on the way into an archive, of the archive on the way out.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

/// Another piece of work begins.
pub fn begin() {
    BYTES.store(0, Relaxed);
    ENTRIES.store(0, Relaxed);
}

/// So many bytes more.
pub fn moved(bytes: u64) {
    BYTES.fetch_add(bytes, Relaxed);
}

/// So many entries more.
pub fn finished(entries: u64) {
    ENTRIES.fetch_add(entries, Relaxed);
}

/// What is done of the work that was begun last.
pub fn done() -> Done {
    Done { bytes: BYTES.load(Relaxed), entries: ENTRIES.load(Relaxed) }
}

/// Counts what is read through it.
#[derive(Debug)]
pub struct Counted<R>(pub R);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        moved(count as u64);
        Ok(count)
    }
}
