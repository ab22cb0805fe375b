//! Deltas as packs hold them: an object told as pieces of another and bytes of its own (gitformat-pack(5)).
//!
//! Pure. A delta is what somebody else wrote: it may lie about sizes and places, and then there is no result.

/// A number in groups of seven bits, the lowest first, and how many bytes it takes; `None` where it does not end or is
/// larger than 64 bits.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// What `delta` makes of `base`, put in place of what `result` holds; `None` when it is not a delta of this base, or its
/// result has more than `most` bytes.
pub(super) fn apply(base: &[u8], delta: &[u8], result: &mut Vec<u8>, most: usize) -> Option<()> {
    let (base_size, used) = varint(delta)?;
    let (size, more) = varint(&delta[used..])?;
    let size = usize::try_from(size).ok().filter(|size| *size <= most)?;
    if base_size != base.len() as u64 {
        return None;
    }
    result.clear();
    result.reserve(size);
    let mut left = &delta[used + more..];
    while let Some((&order, rest)) = left.split_first() {
        let piece;
        if order & 0x80 == 0 {
            // Bytes of its own; an order of zero is not in use.
            (piece, left) = rest.split_at_checked(usize::from(order))?;
            if piece.is_empty() {
                return None;
            }
        } else {
            let ((from, count), used) = place(order, rest)?;
            piece = base.get(from..from.checked_add(count)?)?;
            left = &rest[used..];
        }
        if piece.len() > size - result.len() {
            return None;
        }
        result.extend_from_slice(piece);
    }
    (result.len() == size).then_some(())
}

/// Offset and length of a piece of the base, of which the bytes that are not zero follow the order; and how many they are.
fn place(order: u8, bytes: &[u8]) -> Option<((usize, usize), usize)> {
    let (mut from, mut count, mut used) = (0, 0, 0);
    for bit in 0..7 {
        if order & (1 << bit) != 0 {
            let byte = usize::from(*bytes.get(used)?);
            used += 1;
            if bit < 4 {
                from |= byte << (8 * bit);
            } else {
                count |= byte << (8 * (bit - 4));
            }
        }
    }
    Some(((from, if count == 0 { 0x1_0000 } else { count }), used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
        let mut result = b"of the last one".to_vec();
        apply(base, delta, &mut result, 1 << 20).map(|()| result)
    }

    #[test]
    fn pieces_and_bytes_of_its_own_are_put_together() {
        let base = b"0123456789";
        assert_eq!(made(base, &[10, 6, 0x91, 7, 3, 3, b'a', b'b', b'c']).as_deref(), Some(&b"789abc"[..]));
        assert_eq!(made(base, &[10, 0]).as_deref(), Some(&b""[..]));
        // No byte of a length is 65,536.
        let large = vec![7; 0x1_0000];
        assert_eq!(made(&large, &[0x80, 0x80, 4, 0x80, 0x80, 4, 0x80]).as_ref(), Some(&large));
    }

    #[test]
    fn what_lies_has_no_result() {
        let base = b"0123456789";
        for (what, delta) in [
            ("nothing", &[][..]),
            ("another base", &[9, 3, 0x90, 3]),
            ("more than it says", &[10, 2, 0x90, 3]),
            ("less than it says", &[10, 4, 0x90, 3]),
            ("beyond the base", &[10, 3, 0x91, 8, 3]),
            ("a piece that is cut", &[10, 3, 0x91, 8]),
            ("bytes that are cut", &[10, 3, 3, b'a', b'b']),
            ("an order that is none", &[10, 0, 0]),
            ("more than may be", &[10, 0x81, 0x80, 0x40]),
            ("a number without end", &[0xff; 40]),
        ] {
            assert_eq!(made(base, delta), None, "{what}");
        }
    }

    #[test]
    fn numbers_are_read_in_groups_of_seven_bits() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x80, 1, 9]), Some((128, 2)));
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[0xff; 10]), None);
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Some((u64::MAX >> 1, 9)));
    }

    #[test]
    fn places_and_lengths_have_more_than_one_byte() {
        let base: Vec<u8> = (0..600_u16).map(|at| (at / 3) as u8).collect();
        assert_eq!(made(&base, &[0xd8, 4, 3, 0x92, 1, 3]).as_deref(), Some(&base[256..259]));
        assert_eq!(made(&base, &[0xd8, 4, 0x80, 2, 0xa0, 1]).as_deref(), Some(&base[..256]));
        assert_eq!(made(&base, &[0xd8, 4, 0x81, 2, 0xb1, 9, 1, 1]).as_deref(), Some(&base[9..266]));
    }

    #[test]
    fn no_more_is_held_than_a_delta_says() {
        let mut result = Vec::new();
        assert_eq!(apply(b"0123456789", &[10, 4, 0x90, 3, 0x90, 3], &mut result, 1 << 20), None);
        assert_eq!(result, b"012");
    }
}
