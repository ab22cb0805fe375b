//! A tar stream with all that is in it: each entry, the digest of its content, and what its headers, its padding and the
//! end of the stream hold besides, which no restore shows. For comparing two streams byte for byte, and saying where they
//! differ.
//!
//! Entries are kept in memory, contents are not; and no more of them than the caller expects, since a small file may unpack
//! to more than any memory holds.
use super::entry::{Entry, RECORD, read_tar};
use super::{FormatError, digest_stream};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::io::{BufRead, Read};
use std::rc::Rc;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What a reader makes of it.
    pub entry: Entry,
    /// Of its content.
    pub sha256: [u8; 32],
    /// Its headers as they are, where they are not those that [`Entry::headers`] makes.
    pub odd_headers: Option<Vec<u8>>,
    /// Whether there is anything but zeros behind its content.
    pub odd_padding: bool,
}

/// What stands behind the last entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Bytes behind the last entry's padding.
    pub bytes: u64,
    /// Whether all of them are zeros.
    pub is_zero: bool,
}

/// A whole stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// In their order.
    pub entries: Vec<Seen>,
    /// What stands behind them.
    pub end: End,
    /// SHA-256 of all of it; `None` when it could not be read to its end.
    pub sha256: Option<[u8; 32]>,
    /// Why no more entries were read.
    pub broken: Option<FormatError>,
}

/// Bytes of headers that are not ours, in one stream: nobody compares more.
const MAX_ODD: usize = 16 << 20;

/// Reads a tar stream to its end, and of its entries `most` at the most: where there are more, it is `broken`.
pub fn read(stream: &mut dyn BufRead, most: usize) -> Stream {
    let tape = Rc::new(RefCell::new(Tape { is_kept: true, ..Tape::default() }));
    let mut taped = Taped { stream, tape: Rc::clone(&tape) };
    let (mut found, mut padding, mut odd) = (Stream::default(), 0, 0);
    let outcome = read_tar::<FormatError>(&mut taped, &mut |entry, content| {
        let kept = tape.borrow_mut().pause();
        if let Some(last) = found.entries.last_mut() {
            last.odd_padding = kept[..padding].iter().any(|byte| *byte != 0);
        }
        let headers = &kept[padding..];
        let odd_headers = (headers != entry.headers()).then(|| headers.to_vec());
        odd += odd_headers.as_ref().map_or(0, Vec::len);
        if found.entries.len() == most || odd > MAX_ODD {
            return Err(FormatError::Malformed(format!(
                "behind {} entries it holds more than anybody compares",
                found.entries.len()
            )));
        }
        padding = ((RECORD - entry.size % RECORD) % RECORD) as usize;
        let sha256 = digest_stream(content)?.0;
        found.entries.push(Seen { entry, sha256, odd_headers, odd_padding: false });
        tape.borrow_mut().is_kept = true;
        Ok(())
    });
    let kept = tape.borrow_mut().pause();
    let (behind, end) = kept.split_at(padding.min(kept.len()));
    if let Some(last) = found.entries.last_mut() {
        last.odd_padding = behind.iter().any(|byte| *byte != 0);
    }
    found.end = End { bytes: end.len() as u64, is_zero: end.iter().all(|byte| *byte == 0) };
    found.broken = outcome.err();
    if let Err(error) = drain(&mut taped, &mut found.end) {
        found.broken.get_or_insert(error.into());
    } else {
        found.sha256 = Some(tape.borrow().sha256.clone().finalize().into());
    }
    found
}

fn drain(stream: &mut dyn BufRead, end: &mut End) -> std::io::Result<()> {
    loop {
        let part = stream.fill_buf()?;
        if part.is_empty() {
            return Ok(());
        }
        end.is_zero &= part.iter().all(|byte| *byte == 0);
        let count = part.len();
        end.bytes += count as u64;
        stream.consume(count);
    }
}

/// What went by.
#[derive(Default)]
struct Tape {
    sha256: Sha256,
    is_kept: bool,
    kept: Vec<u8>,
}

impl Tape {
    /// Keeps no more, and gives what was kept.
    fn pause(&mut self) -> Vec<u8> {
        self.is_kept = false;
        std::mem::take(&mut self.kept)
    }
}

/// A stream whose bytes are kept, or only hashed, as they go by.
struct Taped<'a> {
    stream: &'a mut dyn BufRead,
    tape: Rc<RefCell<Tape>>,
}

impl BufRead for Taped<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let mut tape = self.tape.borrow_mut();
        // What is consumed was filled before: this reads nothing.
        if let Ok(part) = self.stream.fill_buf() {
            let part = &part[..count.min(part.len())];
            tape.sha256.update(part);
            if tape.is_kept {
                tape.kept.extend_from_slice(part);
            }
        }
        self.stream.consume(count);
    }
}

impl Read for Taped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::{END, Mtime};
    use crate::archive::{hex, sha256_hex};

    fn stream() -> Vec<u8> {
        let time = Mtime { seconds: 1_700_000_000, nanos: 0 };
        let (one, two) = (Entry::file(b"a", 3, 0o644, time), Entry::symlink(&[b'l'; 200], b"a", time));
        [&one.headers()[..], b"abc", &[0; 509], &two.headers(), &END].concat()
    }

    #[test]
    fn nothing_of_our_own_streams_is_odd() {
        let tar = stream();
        let read = read(&mut &tar[..], 9);
        assert_eq!(read.sha256.map(|digest| hex(&digest)), Some(sha256_hex(&tar)));
        assert_eq!(read.end, End { bytes: 1024, is_zero: true });
        assert!(read.broken.is_none() && read.entries.len() == 2);
        assert!(read.entries.iter().all(|seen| seen.odd_headers.is_none() && !seen.odd_padding));
    }

    #[test]
    fn what_no_entry_shows_is_seen() {
        let mut tar = stream();
        tar[512 + 100] = 1;
        let last = tar.len() - 1;
        tar[last] = 1;
        let odd = read(&mut &tar[..], 9);
        assert!(odd.entries[0].odd_padding && !odd.entries[1].odd_padding && !odd.end.is_zero);
        let mut tar = stream();
        tar[265..269].copy_from_slice(b"root");
        let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
        header.set_cksum();
        tar[..512].copy_from_slice(header.as_bytes());
        let odd = read(&mut &tar[..], 9);
        assert_eq!(odd.entries[0].odd_headers.as_deref(), Some(&tar[..512]));
        assert!(odd.entries[1].odd_headers.is_none());
    }

    #[test]
    fn a_stream_that_ends_early_is_read_as_far_as_it_goes() {
        let tar = stream();
        let cut = read(&mut &tar[..1100], 9);
        assert!(cut.broken.is_some() && cut.entries.len() == 1);
        let none = read(&mut &tar[..1024], 9);
        assert!(none.broken.is_none() && none.end.bytes == 0);
    }

    #[test]
    fn more_than_is_expected_is_not_kept_and_still_read_to_its_end() {
        let tar = stream();
        let read = read(&mut &tar[..], 1);
        assert!(read.broken.is_some() && read.entries.len() == 1);
        assert_eq!(read.sha256.map(|digest| hex(&digest)), Some(sha256_hex(&tar)));
        let mut header = tar::Header::from_byte_slice(
            &Entry::file(b"a", 0, 0o644, Mtime { seconds: 0, nanos: 0 }).headers(),
        )
        .clone();
        header.as_mut_bytes()[265..269].copy_from_slice(b"root");
        header.set_cksum();
        let many = header.as_bytes().repeat(MAX_ODD / 512 + 2);
        let kept = super::read(&mut &many[..], usize::MAX);
        assert!(kept.broken.is_some() && kept.entries.len() == MAX_ODD / 512);
    }
}
