//! A pack: objects one after the other, each packed by itself or as a delta of another (gitformat-pack(5), versions 2 and
//! 3).
//!
//! Reads at places that its index and its deltas name. What does not fit (a place beyond the end, a base behind its delta,
//! another length than was said, a checksum) is no object: whoever asks, asks git then. Bases that form a circle end at
//! [`DEPTH`]. Nothing is held that is larger than [`LARGEST`].
use super::delta::apply;
use super::index::Index;
use super::{Id, LARGEST, Reader};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes in front of the first object.
const HEAD: u64 = 12;
/// The digest at the end.
const TRAILER: u64 = 20;
/// The longest chain of deltas that git makes (`pack.depth`).
const DEPTH: usize = 4095;
/// A chain of more deltas is kept for the next object: files of one commit seldom share a short one.
const LONG: usize = 4;
/// Bytes that are read at once of an object whose size is not known yet.
const FIRST: usize = 4096;

pub(super) struct Pack {
    pub(super) index: Index,
    file: File,
    /// Where the objects end.
    end: u64,
}

/// What the head of an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blob,
    /// Of the object that begins so many bytes before it.
    Distance(u64),
    /// Of the object with this id, in the same pack.
    Named(Id),
}

/// The head of an object: its kind, its size or that of the delta, and its own length.
type Head = (Kind, usize, usize);

impl Pack {
    /// The pack of an index `NAME.idx`; `None` when it cannot be read, or is another one than the index knows.
    pub(super) fn open(index: &Path) -> Option<Self> {
        let (file, index) = (File::open(index.with_extension("pack")).ok()?, Index::open(index)?);
        let end = file.metadata().ok()?.len().checked_sub(TRAILER)?;
        let (mut head, mut digest) = ([0; HEAD as usize], [0; TRAILER as usize]);
        file.read_exact_at(&mut head, 0).and_then(|()| file.read_exact_at(&mut digest, end)).ok()?;
        let known = matches!(head, [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, ..]);
        let count = u64::from(u32::from_be_bytes(*head.last_chunk()?));
        (known && count == index.count() && digest == index.pack).then_some(Self { index, file, end })
    }

    /// The blob that begins at `place`, in `reader.object`. `number` is that of the pack, for the reader's cache.
    pub(super) fn read(&self, number: usize, place: u64, reader: &mut Reader) -> Option<()> {
        let (mut at, mut deltas) = (place, Vec::new());
        loop {
            if let Some(kept) = reader.bases.get((number, at)) {
                reader.object.clear();
                reader.object.extend_from_slice(kept);
                break;
            }
            let (kind, size, head) = self.fill(at, reader)?;
            let base = match kind {
                Kind::Blob => {
                    self.inflate(at, head, size, reader)?;
                    std::mem::swap(&mut reader.delta, &mut reader.object);
                    break;
                }
                Kind::Distance(distance) => at.checked_sub(distance).filter(|base| *base < at)?,
                Kind::Named(id) => self.index.find(&id)?,
            };
            if deltas.len() == DEPTH {
                return None;
            }
            deltas.push(at);
            at = base;
        }
        // From the base up to what was asked for.
        let long = deltas.len() > LONG;
        for delta in deltas.into_iter().rev() {
            if long {
                reader.bases.keep((number, at), &reader.object);
            }
            let (_, size, head) = self.fill(delta, reader)?;
            self.inflate(delta, head, size, reader)?;
            apply(&reader.object, &reader.delta, &mut reader.result, LARGEST)?;
            std::mem::swap(&mut reader.object, &mut reader.result);
            at = delta;
        }
        Some(())
    }

    /// Reads the first bytes of an object into `reader.packed`, and gives what they say.
    fn fill(&self, at: u64, reader: &mut Reader) -> Option<Head> {
        if at < HEAD {
            return None;
        }
        let count = FIRST.min(usize::try_from(self.end.checked_sub(at)?).unwrap_or(FIRST));
        reader.packed.resize(count, 0);
        self.file.read_exact_at(&mut reader.packed, at).ok()?;
        head(&reader.packed)
    }

    /// Unpacks the object at `at`, whose first bytes were just read, into `reader.delta`.
    fn inflate(&self, at: u64, head: usize, size: usize, reader: &mut Reader) -> Option<()> {
        reader.delta.resize(size, 0);
        let end = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        // Mostly, half of what it may take is enough.
        for most in [bound(size) / 2, bound(size)] {
            let (have, most) = (reader.packed.len(), end.min(head + most));
            if have < most {
                reader.packed.resize(most, 0);
                self.file.read_exact_at(&mut reader.packed[have..], at + have as u64).ok()?;
            }
            let made = reader.inflater.zlib_decompress(&reader.packed[head..], &mut reader.delta);
            if made == Ok(size) {
                return Some(());
            }
        }
        None
    }
}

/// Bytes that zlib makes of `size` bytes, at the most.
pub(super) fn bound(size: usize) -> usize {
    size + (size >> 12) + (size >> 14) + (size >> 25) + 64
}

/// `None` when it is cut, is no blob and no delta, or says that it is larger than [`LARGEST`].
fn head(bytes: &[u8]) -> Option<Head> {
    let first = *bytes.first()?;
    let (mut size, mut used) = (usize::from(first & 15), 1);
    let mut more = first & 0x80 != 0;
    while more {
        let byte = *bytes.get(used)?;
        size |= usize::from(byte & 0x7f).checked_shl(7 * used as u32 - 3)?;
        if size > LARGEST {
            return None;
        }
        used += 1;
        more = byte & 0x80 != 0;
    }
    let kind = match first >> 4 & 7 {
        3 => Kind::Blob,
        6 => {
            let (distance, length) = distance(&bytes[used..])?;
            used += length;
            Kind::Distance(distance)
        }
        7 => {
            let id = bytes[used..].first_chunk()?;
            used += id.len();
            Kind::Named(*id)
        }
        _ => return None,
    };
    Some((kind, size, used))
}

/// How far before a delta its base begins, and how many bytes say so.
fn distance(bytes: &[u8]) -> Option<(u64, usize)> {
    let (first, rest) = bytes.split_first()?;
    let (mut value, mut used, mut more) = (u64::from(first & 0x7f), 1, first & 0x80 != 0);
    while more {
        let byte = *rest.get(used - 1)?;
        value = (value + 1).checked_mul(128)? + u64::from(byte & 0x7f);
        (used, more) = (used + 1, byte & 0x80 != 0);
    }
    Some((value, used))
}
