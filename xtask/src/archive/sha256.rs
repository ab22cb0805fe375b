//! SHA-256 (FIPS 180-4) of many messages, two at a time.
//!
//! A processor with instructions for SHA-256 waits, within one message, most of the time for the round before. Two
//! messages side by side fill that time: half as fast again, where hashing is a third of all work. Elsewhere, and for a
//! single message, this is the `sha2` crate, which the results are tested against.
//!
//! Owns the one `unsafe` of the house: the call of a function that needs those instructions, behind the question whether
//! they are there.
use sha2::block_api::compress256;

/// First words (section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The digest of each message.
pub(super) fn digests(messages: &[&[u8]]) -> Vec<[u8; 32]> {
    let mut digests = vec![[0; 32]; messages.len()];
    let mut next = messages.iter().enumerate().map(|(slot, message)| Lane::new(slot, message));
    let mut lanes = [next.next(), next.next()];
    while let [Some(one), Some(other)] = &mut lanes {
        let count = one.blocks().len().min(other.blocks().len());
        compress_both(one, other, count, true);
        for lane in &mut lanes {
            if let Some(done) = lane.take_if(|lane| lane.blocks().is_empty()) {
                digests[done.slot] = done.digest();
                *lane = next.next();
            }
        }
    }
    for mut lane in lanes.into_iter().flatten() {
        lane.finish();
        digests[lane.slot] = lane.digest();
    }
    digests
}

/// A message that comes in parts, of which each may be wanted by itself, too.
pub struct Running {
    state: [u32; 8],
    /// What does not fill a block yet.
    pending: Vec<u8>,
    length: u64,
}

impl Default for Running {
    fn default() -> Self {
        Self { state: INITIAL, pending: Vec::with_capacity(64), length: 0 }
    }
}

impl Running {
    /// The next part.
    pub fn update(&mut self, part: &[u8]) {
        let (blocks, rest) = self.align(part);
        compress256(&mut self.state, blocks);
        self.pending.extend(rest);
    }

    /// The next part, and the digest of that part alone: for little more than one of the two.
    pub fn update_and_digest(&mut self, part: &[u8]) -> [u8; 32] {
        let (blocks, rest) = self.align(part);
        let mut alone = Lane::new(0, part);
        let mut whole = Lane { slot: 0, state: self.state, body: blocks, end: [[0; 64]; 2], left: 0..0 };
        let count = blocks.len().min(alone.body.len());
        compress_both(&mut whole, &mut alone, count, true);
        whole.finish();
        alone.finish();
        self.state = whole.state;
        self.pending.extend(rest);
        alone.digest()
    }

    /// Fills up the pending block with the beginning of `part`, and returns the whole blocks behind it and the rest.
    fn align<'a>(&mut self, part: &'a [u8]) -> (&'a [[u8; 64]], &'a [u8]) {
        self.length += part.len() as u64;
        let (mut first, mut part) = ([0; 64], part);
        if !self.pending.is_empty() {
            let missing = (64 - self.pending.len()).min(part.len());
            let (head, behind) = part.split_at(missing);
            self.pending.extend(head);
            part = behind;
            if self.pending.len() < 64 {
                return (&[], &[]);
            }
            first.copy_from_slice(&self.pending);
            compress256(&mut self.state, &[first]);
            self.pending.clear();
        }
        part.as_chunks()
    }

    /// The digest of all parts.
    pub fn digest(&self) -> [u8; 32] {
        let mut end = Lane::new(0, &self.pending);
        end.state = self.state;
        // The length that padding tells is that of all of it.
        let last = end.left.end - 1;
        end.end[last][56..].copy_from_slice(&(self.length * 8).to_be_bytes());
        end.finish();
        end.digest()
    }
}

/// One message under way: its whole blocks, then what padding makes of its end (section 5.1.1).
struct Lane<'a> {
    slot: usize,
    state: [u32; 8],
    body: &'a [[u8; 64]],
    end: [[u8; 64]; 2],
    /// Which blocks of `end` are still to come.
    left: std::ops::Range<usize>,
}

impl<'a> Lane<'a> {
    fn new(slot: usize, message: &'a [u8]) -> Self {
        let (body, rest) = message.as_chunks::<64>();
        let mut end = [[0; 64]; 2];
        let blocks = if rest.len() < 56 { 1 } else { 2 };
        end[0][..rest.len()].copy_from_slice(rest);
        end[0][rest.len()] = 0x80;
        end[blocks - 1][56..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
        Self { slot, state: INITIAL, body, end, left: 0..blocks }
    }

    /// The next blocks; none when all are done.
    fn blocks(&self) -> &[[u8; 64]] {
        if self.body.is_empty() { &self.end[self.left.clone()] } else { self.body }
    }

    fn compress(&mut self, count: usize) {
        let mut state = self.state;
        compress256(&mut state, &self.blocks()[..count]);
        self.state = state;
        self.pass(count);
    }

    fn finish(&mut self) {
        while !self.blocks().is_empty() {
            self.compress(self.blocks().len());
        }
    }

    fn pass(&mut self, count: usize) {
        if self.body.is_empty() {
            self.left.start += count;
        } else {
            self.body = &self.body[count..];
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes
            .chunks_mut(4)
            .zip(self.state)
            .for_each(|(part, word)| part.copy_from_slice(&word.to_be_bytes()));
        bytes
    }
}

/// The next `count` blocks of both; `accelerated` by the processor's instructions, if it has them.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(unused_variables, reason = "one kind of processor is asked for its instructions")
)]
fn compress_both(one: &mut Lane<'_>, other: &mut Lane<'_>, count: usize, accelerated: bool) {
    #[cfg(target_arch = "x86_64")]
    if accelerated
        && is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
    {
        let mut states = [one.state, other.state];
        let blocks = [&one.blocks()[..count], &other.blocks()[..count]];
        // SAFETY: the processor has what the function is compiled for, as was just asked.
        #[expect(
            unsafe_code,
            reason = "the only way to call a function that needs more than every processor has"
        )]
        unsafe {
            x86::compress_both(&mut states, blocks);
        }
        [one.state, other.state] = states;
        one.pass(count);
        other.pass(count);
        return;
    }
    one.compress(count);
    other.compress(count);
}

/// The compression function (section 6.2.2) with the SHA extensions of x86.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// The constants of the rounds (section 4.2.2).
    const K: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];

    /// Two states, each by as many blocks.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn compress_both(states: &mut [[u32; 8]; 2], [one, other]: [&[[u8; 64]]; 2]) {
        // The instructions want the words as (a, b, e, f) and (c, d, g, h).
        let mut words = states.map(|[a, b, c, d, e, f, g, h]| {
            (vector([a, b, e, f].map(u32::cast_signed)), vector([c, d, g, h].map(u32::cast_signed)))
        });
        for (one, other) in one.iter().zip(other) {
            let (before, mut schedule) = (words, [load(one), load(other)]);
            for round in 0..16 {
                let k = [K[4 * round + 3], K[4 * round + 2], K[4 * round + 1], K[4 * round]];
                let k = vector(k.map(u32::cast_signed));
                for (w, (abef, cdgh)) in schedule.iter_mut().zip(&mut words) {
                    let [this, next, over, last] = [0, 1, 2, 3].map(|ahead| (round + ahead) % 4);
                    if round >= 4 {
                        let far = _mm_alignr_epi8(w[last], w[over], 4);
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[this], w[next]), far);
                        w[this] = _mm_sha256msg2_epu32(sum, w[last]);
                    }
                    let sum = _mm_add_epi32(w[this], k);
                    let half = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
                    (*abef, *cdgh) = (_mm_sha256rnds2_epu32(*abef, half, _mm_shuffle_epi32(sum, 0x0e)), half);
                }
            }
            for ((abef, cdgh), (abef_before, cdgh_before)) in words.iter_mut().zip(before) {
                (*abef, *cdgh) = (_mm_add_epi32(*abef, abef_before), _mm_add_epi32(*cdgh, cdgh_before));
            }
        }
        for (state, (abef, cdgh)) in states.iter_mut().zip(words) {
            let ([a, b, e, f], [c, d, g, h]) = (words_of(abef), words_of(cdgh));
            *state = [a, b, c, d, e, f, g, h];
        }
    }

    /// From the highest word to the lowest.
    #[target_feature(enable = "sse2")]
    fn vector([a, b, c, d]: [i32; 4]) -> __m128i {
        _mm_set_epi32(a, b, c, d)
    }

    #[target_feature(enable = "sse4.1")]
    fn words_of(vector: __m128i) -> [u32; 4] {
        let words = [
            _mm_extract_epi32(vector, 3),
            _mm_extract_epi32(vector, 2),
            _mm_extract_epi32(vector, 1),
            _mm_extract_epi32(vector, 0),
        ];
        words.map(i32::cast_unsigned)
    }

    /// A block as sixteen big-endian words.
    #[target_feature(enable = "ssse3")]
    fn load(block: &[u8; 64]) -> [__m128i; 4] {
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let (halves, _) = block.as_chunks::<8>();
        [0, 1, 2, 3].map(|quarter| {
            let [low, high] = [2 * quarter, 2 * quarter + 1].map(|half| i64::from_le_bytes(halves[half]));
            _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    /// Every length around the ends of blocks, in company of every other sort of length.
    #[test]
    fn they_are_those_of_the_sha2_crate() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let lengths = (0..200).chain([4096, 65_535, 65_536, 70_000, 3, 0, 1]);
        for step in [1, 2, 3, 7] {
            let messages: Vec<&[u8]> = lengths.clone().step_by(step).map(|length| &bytes[..length]).collect();
            for some in [&messages[..], &messages[..1], &messages[..0], &messages[messages.len() - 2..]] {
                let expected: Vec<[u8; 32]> = some.iter().map(|one| Sha256::digest(one).into()).collect();
                assert!(digests(some) == expected, "every {step}th of {} lengths", some.len());
            }
        }
    }

    /// Three turns end one of two messages: each has its whole blocks, and its end.
    #[test]
    fn two_at_a_time_are_those_of_the_sha2_crate_with_and_without_instructions() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| (at.wrapping_mul(at) >> 6) as u8).collect();
        for length in (0..200).chain([4096, 65_535, 65_536]) {
            let pairs = [0, 3, 64, 119, length, 69_000].map(|other| [&bytes[..length], &bytes[1..=other]]);
            for (messages, accelerated) in pairs.iter().flat_map(|pair| [(pair, false), (pair, true)]) {
                let [mut one, mut other] = messages.map(|message| Lane::new(0, message));
                for _ in 0..3 {
                    let count = one.blocks().len().min(other.blocks().len());
                    compress_both(&mut one, &mut other, count, accelerated);
                }
                let what = format!("{:?}, accelerated: {accelerated}", messages.map(<[u8]>::len));
                assert!(one.blocks().is_empty() || other.blocks().is_empty(), "{what}: not done");
                for (mut lane, message) in [one, other].into_iter().zip(messages) {
                    lane.finish();
                    let expected: [u8; 32] = Sha256::digest(message).into();
                    assert!(lane.digest() == expected, "{what}");
                }
            }
        }
    }

    #[test]
    fn a_running_digest_is_that_of_all_parts() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
        for lengths in [vec![0], vec![1, 63, 64, 65], vec![5, 5, 5, 54, 1, 0, 130], vec![9000, 64, 3, 12_000]]
        {
            let (mut running, mut at) = (Running::default(), 0);
            for (turn, length) in lengths.iter().enumerate() {
                let part = &bytes[at..at + length];
                at += length;
                if turn % 2 == 0 {
                    let alone: [u8; 32] = Sha256::digest(part).into();
                    assert!(running.update_and_digest(part) == alone, "{lengths:?}");
                } else {
                    running.update(part);
                }
                let whole: [u8; 32] = Sha256::digest(&bytes[..at]).into();
                assert!(running.digest() == whole, "{lengths:?} up to {at}");
            }
        }
    }
}
