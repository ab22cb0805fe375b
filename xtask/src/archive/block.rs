//! The cut rule: where one block ends and the next begins.
//!
//! A cut depends on the entries alone (path and encoded size), never on threads, time or machine, and
//! it resynchronises: a changed file moves the cuts only up to the next path whose hash calls for one.
use sha2::{Digest, Sha256};

/// A block is not cut before it holds this many tar bytes (except in front of an entry that is too
/// large to share one).
pub const MIN_BLOCK: u64 = 1 << 20;
/// No block holds more tar bytes than this.
pub const MAX_BLOCK: u64 = 8 << 20;
/// One path in this many calls for a cut once [`MIN_BLOCK`] is reached.
pub const CUT_ONE_IN: u32 = 64;

/// What the cut rule says of the next entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It joins the current block.
    Join,
    /// The current block ends in front of it; it starts a new one.
    Before,
    /// The current block ends in front of it; it has blocks of its own, of [`MAX_BLOCK`] bytes and a
    /// rest, and the entry behind it starts a new one.
    Alone,
}

/// Decides whether a block that holds `filled` tar bytes ends in front of the entry `path`, whose
/// headers, content and padding take `encoded` bytes.
pub fn cut(filled: u64, path: &[u8], encoded: u64) -> Cut {
    if encoded > MAX_BLOCK {
        Cut::Alone
    } else if filled + encoded > MAX_BLOCK || (filled >= MIN_BLOCK && calls_for_cut(path)) {
        Cut::Before
    } else {
        Cut::Join
    }
}

/// The first four bytes of SHA-256(path), big endian, fall in the lowest 1/[`CUT_ONE_IN`].
fn calls_for_cut(path: &[u8]) -> bool {
    let digest = Sha256::digest(path);
    let word = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    word < u32::MAX / CUT_ONE_IN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks as lists of entry numbers.
    fn blocks(entries: &[(String, u64)]) -> Vec<Vec<String>> {
        let (mut done, mut current, mut filled) = (Vec::new(), Vec::new(), 0);
        for (path, size) in entries {
            if cut(filled, path.as_bytes(), *size) != Cut::Join && !current.is_empty() {
                done.push(std::mem::take(&mut current));
                filled = 0;
            }
            current.push(format!("{path}:{size}"));
            filled += size;
        }
        done.push(current);
        done
    }

    fn tree() -> Vec<(String, u64)> {
        (0..5000u64).map(|n| (format!("dir/{n:05}.txt"), 512 + (n * 7919) % 60_000)).collect()
    }

    #[test]
    fn blocks_keep_to_the_bounds() {
        let all = blocks(&tree());
        assert!(all.len() > 10, "{} blocks", all.len());
        for block in &all {
            let size: u64 =
                block.iter().map(|e| e.rsplit_once(':').map_or(0, |(_, n)| n.parse().unwrap_or(0))).sum();
            assert!(size <= MAX_BLOCK, "a block of {size} bytes");
        }
    }

    #[test]
    fn cuts_resynchronise_after_a_change() {
        let before = blocks(&tree());
        let mut entries = tree();
        entries[2500].1 += 40_000;
        entries.remove(1000);
        let changed = blocks(&entries).into_iter().filter(|block| !before.contains(block)).count();
        assert!((1..=before.len() / 4).contains(&changed), "{changed} of {} blocks changed", before.len());
    }

    #[test]
    fn an_entry_over_the_maximum_stands_alone() {
        assert_eq!(cut(0, b"big", MAX_BLOCK + 1), Cut::Alone);
        assert_eq!(cut(0, b"fits", MAX_BLOCK), Cut::Join);
        assert_eq!(cut(1, b"fits", MAX_BLOCK), Cut::Before);
    }
}
