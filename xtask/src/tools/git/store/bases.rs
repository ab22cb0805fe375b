//! Objects that others are deltas of, kept for the next one: else each object of a long chain would cost all of it.
//!
//! Bounded; the oldest go first.
use std::collections::{HashMap, VecDeque};

/// Bytes that are kept, and of the largest one.
const MOST: usize = 8 << 20;
const LARGE: usize = 1 << 20;

/// The number of a pack, and where in it an object begins.
type Key = (usize, u64);

#[derive(Default)]
pub(super) struct Bases {
    kept: HashMap<Key, Vec<u8>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Bases {
    pub(super) fn get(&self, key: Key) -> Option<&[u8]> {
        self.kept.get(&key).map(Vec::as_slice)
    }

    pub(super) fn keep(&mut self, key: Key, base: &[u8]) {
        if base.len() > LARGE || self.kept.contains_key(&key) {
            return;
        }
        self.bytes += base.len();
        self.kept.insert(key, base.to_vec());
        self.order.push_back(key);
        while self.bytes > MOST {
            let oldest = self.order.pop_front().and_then(|oldest| self.kept.remove(&oldest));
            self.bytes -= oldest.map_or(self.bytes, |oldest| oldest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_large_ones_are_not_kept() {
        let mut bases = Bases::default();
        (0..20).for_each(|at| bases.keep((0, at), &[7; LARGE]));
        (0..20).for_each(|at| bases.keep((0, at), &[7; LARGE]));
        bases.keep((0, 99), &[7; LARGE + 1]);
        let kept: Vec<u64> = (0..100).filter(|at| bases.get((0, *at)).is_some()).collect();
        assert_eq!(bases.bytes, MOST);
        assert_eq!((kept.len(), kept.contains(&99)), (MOST / LARGE, false), "{kept:?}");
        assert!(bases.get((1, kept[0])).is_none());
    }
}
