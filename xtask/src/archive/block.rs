//! The cut rule: where one block ends and the next begins.
//!
//! A cut depends on the entries alone (path and encoded size) and on the codec, never on threads, time or machine, and
//! it resynchronises: a changed file moves the cuts only up to the next entry that calls for one.
use super::codec::Codec;
use sha2::{Digest, Sha256};

/// No block holds more tar bytes than this.
pub const MAX_BLOCK: u64 = 8 << 20;

/// How large the blocks of a codec are. zstd packs large ones better; for gzip, which looks back 32 KiB, small ones are
/// as good, share the work more evenly, and single files come faster out of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// A block is not cut before it holds this many tar bytes (except in front of an entry that is too large to share
    /// one).
    pub min: u64,
    /// Behind that an entry of `encoded` bytes calls for a cut with a probability of `encoded` to this.
    pub every: u64,
}

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

impl Rule {
    /// That of a codec.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::Gzip => Self { min: 1 << 20, every: 1 << 20 },
            Codec::Zstd => Self { min: 4 << 20, every: 2 << 20 },
        }
    }

    /// Decides whether a block that holds `filled` tar bytes ends in front of the entry `path`, whose headers, content
    /// and padding take `encoded` bytes.
    pub fn cut(self, filled: u64, path: &[u8], encoded: u64) -> Cut {
        if encoded > MAX_BLOCK {
            Cut::Alone
        } else if filled + encoded > MAX_BLOCK || (filled >= self.min && self.calls(path, encoded)) {
            Cut::Before
        } else {
            Cut::Join
        }
    }

    /// The first four bytes of SHA-256(path), big endian, are to 2³² less than `encoded` is to `every`.
    fn calls(self, path: &[u8], encoded: u64) -> bool {
        let digest = Sha256::digest(path);
        let word = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        u64::from(word) * self.every < encoded << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Codec; 2] = [Codec::Gzip, Codec::Zstd];

    /// Blocks as lists of entries.
    fn blocks(codec: Codec, entries: &[(String, u64)]) -> Vec<Vec<String>> {
        let (mut done, mut current, mut filled) = (Vec::new(), Vec::new(), 0);
        for (path, size) in entries {
            if Rule::of(codec).cut(filled, path.as_bytes(), *size) != Cut::Join && !current.is_empty() {
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
        for codec in RULES {
            let all = blocks(codec, &tree());
            assert!(all.len() > 10, "{} blocks", all.len());
            let size = |block: &Vec<String>| -> u64 {
                block.iter().map(|e| e.rsplit_once(':').map_or(0, |(_, n)| n.parse().unwrap_or(0))).sum()
            };
            assert!(all.iter().all(|block| size(block) <= MAX_BLOCK), "{codec:?}");
            let but_last = &all[..all.len() - 1];
            assert!(but_last.iter().all(|block| size(block) >= Rule::of(codec).min), "{codec:?}");
            let forced = but_last.iter().filter(|block| size(block) > MAX_BLOCK - 60_512).count();
            assert!(forced * 3 < all.len(), "{codec:?}: {forced} of {} blocks are full", all.len());
        }
    }

    /// Wherever the change is, and also where files are as large as blocks.
    #[test]
    fn cuts_resynchronise_after_a_change() {
        let large: Vec<_> = tree().into_iter().map(|(path, size)| (path, size * 40)).collect();
        for (codec, tree) in RULES.into_iter().flat_map(|codec| [(codec, tree()), (codec, large.clone())]) {
            let before: std::collections::HashSet<_> = blocks(codec, &tree).into_iter().collect();
            let mut worst = 0;
            for at in (10..4900).step_by(61) {
                let mut entries = tree.clone();
                entries[at].1 += 40_000;
                entries.remove(at + 50);
                worst = worst
                    .max(blocks(codec, &entries).iter().filter(|block| !before.contains(*block)).count());
            }
            assert!((2..=12).contains(&worst), "{codec:?}: {worst} of {} blocks changed", before.len());
        }
    }

    #[test]
    fn an_entry_over_the_maximum_stands_alone() {
        for rule in RULES.map(Rule::of) {
            assert_eq!(rule.cut(0, b"big", MAX_BLOCK + 1), Cut::Alone);
            assert_eq!(rule.cut(0, b"fits", MAX_BLOCK), Cut::Join);
            assert_eq!(rule.cut(1, b"fits", MAX_BLOCK), Cut::Before);
        }
    }
}
