//! Blocks of one long DEFLATE stream (RFC 1951) out of an encoder that only makes whole streams.
//!
//! libdeflate is the fastest encoder there is, but each of its streams ends: the last DEFLATE block in it says so
//! (`BFINAL`, section 3.2.3). [`unfinish`] takes that word back and appends an empty stored block, as zlib's full flush
//! does, so that the next stream can follow on the byte behind. To find the last DEFLATE block it reads the codes of
//! the whole stream, though not what they stand for: that takes a twentieth of the time that making them took, and
//! shows on the way that the stream is well formed.
//!
//! Only reads what our own encoder has just made; what comes from a drive is decoded by a full decoder.
use super::FormatError;
use super::buffer::Buffer;

/// What an empty stored block looks like behind its three header bits and the padding (section 3.2.4).
const EMPTY_STORED: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bits that index a table at once; codes may be longer (up to 15), but seldom are.
const FAST: u32 = 11;

/// Makes the whole DEFLATE stream in `packed` one that goes on, and ends on a byte.
///
/// # Errors
/// `Malformed` when it is not exactly one whole DEFLATE stream.
pub(super) fn unfinish(packed: &mut Buffer) -> Result<(), FormatError> {
    let wrong = || FormatError::Malformed("the encoder made a DEFLATE stream that does not add up".into());
    let (last, end) =
        last_block(packed).filter(|(_, end)| end.div_ceil(8) == packed.len()).ok_or_else(wrong)?;
    packed[last / 8] &= !(1 << (last % 8));
    // The three bits of the next header fit behind the last code, or take a byte of their own.
    if end % 8 == 0 || end % 8 > 5 {
        packed.push(&[0]);
    }
    packed.push(&EMPTY_STORED);
    Ok(())
}

/// The bits at which the last DEFLATE block begins and at which it has ended.
fn last_block(stream: &[u8]) -> Option<(usize, usize)> {
    let mut bits = Bits { bytes: stream, at: 0, held: 0, count: 0 };
    loop {
        let (start, last) = (bits.position(), bits.take(1) == 1);
        match bits.take(2) {
            0 => bits.skip_stored()?,
            1 => fixed().skip_block(&mut bits)?,
            2 => dynamic(&mut bits)?.skip_block(&mut bits)?,
            _ => return None,
        }
        if last {
            return Some((start, bits.position()));
        }
    }
}

/// A bit string, least significant bit of each byte first (section 3.1.1). Behind its end come zeros, which
/// [`Bits::over`] tells.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to be loaded; may lie behind the end.
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Holds at least 56 bits from now on.
    fn fill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            self.held |= word << self.count;
            self.at += (63 - self.count as usize) >> 3;
            self.count |= 56;
            return;
        }
        while self.count < 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.held |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    fn drop(&mut self, bits: u32) {
        self.held >>= bits;
        self.count -= bits;
    }

    /// Up to 16 bits as a number.
    fn take(&mut self, bits: u32) -> usize {
        self.fill();
        let value = self.held & ((1 << bits) - 1);
        self.drop(bits);
        value as usize
    }

    /// How many bits have been taken.
    fn position(&self) -> usize {
        self.at * 8 - self.count as usize
    }

    fn over(&self) -> bool {
        self.position() > self.bytes.len() * 8
    }

    /// Section 3.2.4.
    fn skip_stored(&mut self) -> Option<()> {
        let start = self.position().div_ceil(8);
        let head = self.bytes.get(start..start + 4)?;
        let (len, check) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        let end = start + 4 + usize::from(len);
        if check != !len || end > self.bytes.len() {
            return None;
        }
        (self.at, self.held, self.count) = (end, 0, 0);
        Some(())
    }
}

/// What a code does to the position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Not a code, or one that is longer than [`FAST`].
    Unknown,
    /// Literals: passes over so many bits.
    Literal(u8),
    /// A length: passes over so many bits, code and extra bits together; a distance follows.
    Length(u8),
    /// The end of the DEFLATE block.
    End(u8),
}

/// One Huffman code (section 3.2.2), made for passing over.
struct Code {
    /// By the next [`FAST`] bits.
    fast: Vec<Step>,
    /// By length of the code: how many there are.
    counts: [u16; 16],
    /// What symbols do, in the order of their codes.
    steps: Vec<Step>,
}

impl Code {
    /// From the lengths of the symbols' codes; `step` says what a symbol does behind its code, given the code's length.
    fn new(lengths: &[u8], step: impl Fn(usize, u8) -> Step) -> Self {
        let mut counts = [0_u16; 16];
        lengths.iter().for_each(|length| counts[usize::from(*length)] += 1);
        counts[0] = 0;
        let (mut code, mut next) = (0_u32, [0_u32; 16]);
        for length in 1..16 {
            code = (code + u32::from(counts[length - 1])) << 1;
            next[length] = code;
        }
        let mut fast = vec![Step::Unknown; 1 << FAST];
        let mut by_code: Vec<(u8, u32, Step)> = Vec::new();
        for (symbol, length) in lengths.iter().copied().enumerate().filter(|(_, length)| *length > 0) {
            let code = next[usize::from(length)];
            next[usize::from(length)] += 1;
            by_code.push((length, code, step(symbol, length)));
            if u32::from(length) <= FAST {
                let reversed = code.reverse_bits() >> (32 - u32::from(length));
                let slots = fast.iter_mut().skip(reversed as usize).step_by(1 << length);
                slots.for_each(|slot| *slot = step(symbol, length));
            }
        }
        by_code.sort_unstable_by_key(|(length, code, _)| (*length, *code));
        Self { fast, counts, steps: by_code.into_iter().map(|(_, _, step)| step).collect() }
    }

    /// Two literals, where the bits of one lookup hold both: text is passed over in half the steps.
    fn pair_literals(mut self) -> Self {
        let single = self.fast.clone();
        for (index, slot) in self.fast.iter_mut().enumerate() {
            if let Step::Literal(first) = single[index]
                && let Step::Literal(second) = single[index >> first]
                && u32::from(first + second) <= FAST
            {
                *slot = Step::Literal(first + second);
            }
        }
        self
    }

    fn next(&self, bits: &Bits<'_>) -> Step {
        match self.fast[(bits.held & ((1 << FAST) - 1)) as usize] {
            Step::Unknown => self.slow(bits),
            step => step,
        }
    }

    /// Bit by bit, for the long codes.
    #[cold]
    fn slow(&self, bits: &Bits<'_>) -> Step {
        let (mut code, mut first, mut index) = (0_usize, 0_usize, 0_usize);
        for length in 1..16 {
            code |= (bits.held >> (length - 1)) as usize & 1;
            let count = usize::from(self.counts[length]);
            if code < first + count {
                return self.steps[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Step::Unknown
    }
}

/// The two codes of a DEFLATE block.
struct Codes {
    literals: Code,
    distances: Code,
}

impl Codes {
    fn new(literals: &[u8], distances: &[u8]) -> Self {
        let literal = |symbol: usize, length: u8| match symbol {
            0..=255 => Step::Literal(length),
            256 => Step::End(length),
            257..=285 => Step::Length(length + length_bits(symbol)),
            _ => Step::Unknown,
        };
        let distance = |symbol: usize, length: u8| match symbol {
            0..=29 => Step::Length(length + (symbol as u8 / 2).saturating_sub(1)),
            _ => Step::Unknown,
        };
        Self {
            literals: Code::new(literals, literal).pair_literals(),
            distances: Code::new(distances, distance),
        }
    }

    /// Passes over everything up to and with the end-of-block code.
    fn skip_block(&self, bits: &mut Bits<'_>) -> Option<()> {
        loop {
            bits.fill();
            // A code and its extra bits take 20 bits at the most, a distance 28.
            match self.literals.next(bits) {
                Step::Literal(width) => {
                    bits.drop(width.into());
                    // Two more literals may follow before the held bits run out.
                    for _ in 0..2 {
                        match self.literals.next(bits) {
                            Step::Literal(width) => bits.drop(width.into()),
                            _ => break,
                        }
                    }
                }
                Step::Length(width) => {
                    bits.drop(width.into());
                    match self.distances.next(bits) {
                        Step::Length(width) => bits.drop(width.into()),
                        _ => return None,
                    }
                }
                Step::End(width) => {
                    bits.drop(width.into());
                    return (!bits.over()).then_some(());
                }
                Step::Unknown => return None,
            }
            if bits.over() {
                return None;
            }
        }
    }
}

/// Extra bits of a length symbol (section 3.2.5).
fn length_bits(symbol: usize) -> u8 {
    match symbol {
        257..=264 | 285 => 0,
        _ => ((symbol - 261) / 4) as u8,
    }
}

/// Section 3.2.6.
fn fixed() -> Codes {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    Codes::new(&lengths, &[5; 30])
}

/// The codes of a dynamic block are at its beginning (section 3.2.7).
fn dynamic(bits: &mut Bits<'_>) -> Option<Codes> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut widths = [0; 19];
    for place in &ORDER[..count] {
        widths[*place] = bits.take(3) as u8;
    }
    // Here a symbol stands for itself; `Literal` carries it instead of a width.
    let code = Code::new(&widths, |symbol, _| Step::Literal(symbol as u8));
    let mut lengths = Vec::with_capacity(320);
    while lengths.len() < literals + distances {
        bits.fill();
        let Step::Literal(symbol) = code.next(bits) else { return None };
        bits.drop(widths[usize::from(symbol)].into());
        let (value, repeat) = match symbol {
            0..=15 => (symbol, 1),
            16 => (*lengths.last()?, bits.take(2) + 3),
            17 => (0, bits.take(3) + 3),
            _ => (0, bits.take(7) + 11),
        };
        lengths.extend(std::iter::repeat_n(value, repeat));
    }
    if lengths.len() != literals + distances || bits.over() {
        return None;
    }
    Some(Codes::new(&lengths[..literals], &lengths[literals..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress, Status};
    use libdeflater::{CompressionLvl, Compressor};
    use proptest::prelude::*;

    fn stream(raw: &[u8], level: i32) -> Buffer {
        let mut encoder = Compressor::new(CompressionLvl::new(level).expect("a level"));
        let mut packed = Buffer::new(encoder.deflate_compress_bound(raw.len()) + 5);
        let count = encoder.deflate_compress(raw, packed.room()).expect("compresses");
        packed.set(count);
        packed
    }

    /// Two streams behind each other are one that goes on, for a decoder that knows nothing of ours.
    fn join(first: &[u8], second: &[u8], level: i32) {
        let (mut one, mut two) = (stream(first, level), stream(second, level));
        unfinish(&mut one).expect("goes on");
        unfinish(&mut two).expect("goes on");
        let both = [&one[..], &two[..]].concat();
        let mut raw = Vec::with_capacity(first.len() + second.len() + 1);
        let mut decoder = Decompress::new(false);
        let status = decoder.decompress_vec(&both, &mut raw, FlushDecompress::Sync).expect("decodes");
        assert!(status != Status::StreamEnd && decoder.total_in() == both.len() as u64);
        assert!(raw == [first, second].concat());
    }

    /// Bytes of so many kinds that every sort of code comes up: `spread` 0 gives one byte over and over, 255 noise.
    fn bytes(seed: u32, len: usize, spread: u8) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        (0..len).map(|_| (next() as u8 & spread) + (next() as u8 & next() as u8 & (spread / 2))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn streams_join(seed in any::<u32>(), len in 0_usize..400_000, spread in 0_u8..128, level in 0..12) {
            join(&bytes(seed, len, spread), &bytes(seed ^ 7, len / 3, spread.wrapping_mul(5) & 127), level);
        }
    }

    #[test]
    fn every_kind_of_block_is_passed_over() {
        join(b"", b"", 6);
        join(b"a", b"", 6);
        join(&bytes(1, 300_000, 127), &[0; 300_000], 6);
        // Noise is stored; one long code comes up once in 70,000.
        let rare: Vec<u8> =
            (0..70_000_usize).map(|at| if at % 65_000 == 9 { 200 } else { (at % 7) as u8 }).collect();
        join(&rare, &bytes(2, 10, 3), 9);
    }

    #[test]
    fn what_is_no_whole_stream_is_refused() {
        let raw = bytes(3, 100_000, 63);
        let whole = stream(&raw, 6);
        for cut in [0, 1, 2, whole.len() / 2, whole.len() - 1] {
            let mut part = Buffer::new(whole.len() + 5);
            part.push(&whole[..cut]);
            assert!(unfinish(&mut part).is_err(), "{cut} of {} bytes", whole.len());
        }
        let mut more = Buffer::new(whole.len() + 8);
        more.push(&whole);
        more.push(&[0, 0]);
        assert!(unfinish(&mut more).is_err(), "something behind it");
    }
}
