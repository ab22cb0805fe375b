//! Memory that is filled, handed on and used again.
//!
//! The engine moves everything through pieces of a few mebibytes. Fresh ones would cost a page fault every four KiB,
//! which takes longer than to hash them. A piece never grows: what does not fit is a mistake, not a reallocation.
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// A piece of memory of which the first `filled` bytes count.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// Room for `size` bytes, none of them filled. The system gives the memory when it is first written.
    pub(super) fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], filled: 0 }
    }

    /// All of it, for whoever fills it and then says how far with [`Buffer::set`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `filled` bytes count from now on.
    pub(super) fn set(&mut self, filled: usize) {
        assert!(filled <= self.bytes.len(), "{filled} bytes in a buffer of {}", self.bytes.len());
        self.filled = filled;
    }

    /// The next `count` bytes, which count from now on, whatever they are.
    pub(super) fn extend(&mut self, count: usize) -> &mut [u8] {
        let start = self.filled;
        self.set(start + count);
        &mut self.bytes[start..self.filled]
    }

    /// Appends `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.extend(bytes.len()).copy_from_slice(bytes);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }
}

/// Buffers of one size that nobody uses at the moment. How many there are is bounded by who takes them.
pub(super) struct Pool {
    size: usize,
    free: Mutex<Vec<Buffer>>,
}

impl Pool {
    pub(super) fn new(size: usize) -> Self {
        Self { size, free: Mutex::new(Vec::new()) }
    }

    /// An empty buffer.
    pub(super) fn take(&self) -> Buffer {
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = used.unwrap_or_else(|| Buffer::new(self.size));
        buffer.set(0);
        buffer
    }

    pub(super) fn give(&self, buffer: Buffer) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}
