//! One part of an archive: where it lies, whether it is sound, and what it holds.
//!
//! An archive is cut into equal parts by the bytes of its tar stream. An entry belongs to the part in which its group
//! begins: so each belongs to one, and all parts together are the whole archive. A part in which nothing begins (a large
//! file lies across it) is passed over for the next one. Only with a manifest is it known what lies where, and only what
//! is not encrypted can be read from the middle.
use super::Source;
use super::select::{Selection, Wanted, Window};
use crate::archive::manifest::Record;
use crate::error::{Error, Result};
use crate::tools::gpg::Secret;
use std::ops::Range;

/// Where a part of an archive lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The numbers of the parts, from 1: those that were passed over, and the one that was found.
    pub numbers: Vec<u32>,
    /// Its blocks.
    pub window: Window,
    /// Where they lie in the archive's file, as it is before encryption.
    pub packed: Range<u64>,
    /// Entries that lie in them.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// How many errors the archive was made with: above 0 it may hold only a part of its source.
    pub errors: u64,
}

/// A group that holds entries.
struct Place {
    blocks: Range<u64>,
    packed: Range<u64>,
    tar_offset: u64,
    entries: u64,
    bytes: u64,
}

/// Finds the first part from `number` on (of `of`, from 1, and behind the last from the first) in which an entry begins.
///
/// # Errors
/// When the manifest cannot be read, or there is none, or it lists no entry.
pub fn locate(source: &Source, secret: Option<&Secret>, number: u32, of: u32) -> Result<Located> {
    let (mut places, mut tar_bytes, mut errors) = (Vec::new(), 0, 0);
    let listed = source.with_manifest(secret, |listed| {
        while let Some(group) = listed.next_group()? {
            let (Some(first), Some(last)) = (group.blocks.first(), group.blocks.last()) else { continue };
            tar_bytes = last.tar_offset.saturating_add(last.size);
            if group.records.is_empty() {
                continue;
            }
            places.push(Place {
                blocks: group.first..group.first + group.blocks.len() as u64,
                packed: first.offset..last.offset.saturating_add(last.packed),
                tar_offset: first.tar_offset,
                entries: group.records.len() as u64,
                bytes: group.records.iter().map(|record| record.entry.size).sum(),
            });
        }
        errors = listed.errors();
        Ok(())
    })?;
    let none = || {
        let what = format!("{} has no manifest with entries, and so no parts", source.name());
        Error::refused(what, "")
    };
    listed.ok_or_else(none)?;
    let located = find(&places, tar_bytes, number, of).ok_or_else(none)?;
    Ok(Located { errors, ..located })
}

fn find(places: &[Place], tar_bytes: u64, number: u32, of: u32) -> Option<Located> {
    let part = |place: &Place| {
        let part = u128::from(place.tar_offset) * u128::from(of) / u128::from(tar_bytes.max(1));
        part.min(u128::from(of.saturating_sub(1))) as u32 + 1
    };
    let mut numbers = Vec::new();
    for step in 0..of {
        let number = (number.max(1) - 1 + step) % of + 1;
        numbers.push(number);
        let inside: Vec<&Place> = places.iter().filter(|place| part(place) == number).collect();
        if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
            return Some(Located {
                numbers,
                window: Window { blocks: first.blocks.start..last.blocks.end, always: Vec::new() },
                packed: first.packed.start..last.packed.end,
                entries: inside.iter().map(|place| place.entries).sum(),
                bytes: inside.iter().map(|place| place.bytes).sum(),
                errors: 0,
            });
        }
    }
    None
}

/// Runs `body` on the entries that [`super::extract_part`] restores of that part, in the archive's order; `None` without a
/// manifest.
///
/// # Errors
/// Those of `body`, and of reading the manifest.
pub fn with_part<R>(
    source: &Source,
    secret: Option<&Secret>,
    window: &Window,
    body: impl FnOnce(&mut dyn FnMut() -> Result<Option<Record>>) -> Result<R>,
) -> Result<Option<R>> {
    let selection = Selection::new(source, secret, Wanted::Part(window))?;
    source.with_manifest(secret, |listed| {
        body(&mut || loop {
            match listed.next_record()? {
                Some(record) if !selection.wants(&record.entry.path, Some(record.block)) => {}
                other => return Ok(other),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(offsets: &[u64]) -> Vec<Place> {
        let place = |(index, offset): (usize, &u64)| Place {
            blocks: index as u64..index as u64 + 1,
            packed: *offset..*offset + 1,
            tar_offset: *offset,
            entries: 1,
            bytes: 1,
        };
        offsets.iter().enumerate().map(place).collect()
    }

    #[test]
    fn each_entry_lies_in_one_part_and_an_empty_part_is_passed_over() {
        let places = places(&[0, 10, 25, 26, 99]);
        let found = |number| {
            let found = find(&places, 100, number, 4).expect("a part");
            (found.numbers, found.window.blocks)
        };
        assert_eq!(found(1), (vec![1], 0..2));
        assert_eq!(found(2), (vec![2], 2..4));
        assert_eq!(found(3), (vec![3, 4], 4..5), "nothing begins in the third");
        assert_eq!(found(4), (vec![4], 4..5));
        assert_eq!(find(&places[..1], 100, 2, 4).expect("a part").numbers, [2, 3, 4, 1]);
        assert_eq!(find(&[], 100, 1, 4), None);
    }

    #[test]
    fn all_parts_together_are_the_whole() {
        for of in 1..40 {
            let places = places(&[0, 1, 7, 30, 31, 32, 60, 98]);
            let mut seen = vec![0; places.len()];
            let mut number = 1;
            while number <= of {
                let found = find(&places, 99, number, of).expect("a part");
                if found.numbers.windows(2).any(|pair| pair[1] < pair[0]) {
                    break;
                }
                found.window.blocks.for_each(|block| seen[block as usize] += 1);
                number = found.numbers.last().expect("a number") + 1;
            }
            assert_eq!(seen, vec![1; places.len()], "of {of}");
        }
    }
}
