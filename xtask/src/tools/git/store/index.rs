//! The index of a pack: where in it an object begins (gitformat-pack(5), version 2).
//!
//! Reads what a search needs, and holds no more than the first of its tables: an index of ten million objects is not
//! small. It is only believed to be sorted; where it is not, an object is not found, and the search ends all the same.
use super::Id;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const MAGIC: &[u8] = &[0xff, b't', b'O', b'c', 0, 0, 0, 2];
const FANOUT: u64 = 8;
const IDS: u64 = FANOUT + 4 * 256;
/// Two digests at the end: that of the pack, and its own.
const TRAILER: u64 = 40;
/// Ids that are read at once.
const WINDOW: u64 = 256;
/// An offset with this bit is one of the table of long ones.
const LONG: u32 = 1 << 31;

pub(super) struct Index {
    file: File,
    /// How many ids begin with this byte or a lower one.
    fanout: Vec<u32>,
    count: u64,
    longs: u64,
    /// The digest at the end of its pack.
    pub(super) pack: [u8; 20],
}

impl Index {
    /// `None` when there is none that can be read, or of another version.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut head = [0; IDS as usize];
        file.read_exact_at(&mut head, 0).ok()?;
        let fanout: Vec<u32> = head[FANOUT as usize..].chunks_exact(4).map(be32).collect();
        let count = u64::from(*fanout.last()?);
        // An id, a checksum and an offset for each, and the long offsets.
        let longs = length.checked_sub(IDS + 28 * count + TRAILER)?;
        if !head.starts_with(MAGIC) || !fanout.is_sorted() || longs % 8 != 0 {
            return None;
        }
        let mut pack = [0; 20];
        file.read_exact_at(&mut pack, length - TRAILER).ok()?;
        Some(Self { file, fanout, count, longs: longs / 8, pack })
    }

    /// Objects of the pack.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where the object begins in the pack; `None` when it is not there.
    pub(super) fn find(&self, id: &Id) -> Option<u64> {
        let first = usize::from(id[0]);
        let mut low = if first == 0 { 0 } else { u64::from(self.fanout[first - 1]) };
        let mut high = u64::from(self.fanout[first]);
        let mut window = [0; WINDOW as usize * 20];
        // Ids are spread evenly, so that the first guess is mostly near, and what it misses is beside it. After that, the
        // rest is halved.
        let mut guess = ((high - low) * u64::from(be32(&id[1..5]))) >> 32;
        for tried in 1.. {
            if low >= high {
                return None;
            }
            let start =
                (low + guess).saturating_sub(WINDOW / 2).clamp(low, low.max(high.saturating_sub(WINDOW)));
            let count = WINDOW.min(high - start);
            let part = &mut window[..count as usize * 20];
            self.file.read_exact_at(part, IDS + 20 * start).ok()?;
            let (ids, _) = part.as_chunks::<20>();
            if id < ids.first()? {
                high = start;
            } else if id > ids.last()? {
                low = start + count;
            } else {
                let at = ids.binary_search(id).ok()?;
                return self.offset(start + at as u64);
            }
            guess = match tried {
                1 if high == start => high - low,
                1 => 0,
                _ => high.saturating_sub(low) / 2,
            };
        }
        None
    }

    fn offset(&self, at: u64) -> Option<u64> {
        let mut short = [0; 4];
        let table = IDS + 24 * self.count;
        self.file.read_exact_at(&mut short, table + 4 * at).ok()?;
        let short = u32::from_be_bytes(short);
        if short & LONG == 0 {
            return Some(u64::from(short));
        }
        let at = u64::from(short & !LONG);
        let mut long = [0; 8];
        self.file
            .read_exact_at(&mut long, (at < self.longs).then_some(table + 4 * self.count + 8 * at)?)
            .ok()?;
        Some(u64::from_be_bytes(long))
    }
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}
