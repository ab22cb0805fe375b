//! Files of OpenPGP (RFC 4880) by their packets, without gpg: what opens one, and where its content begins. Nothing is
//! decrypted, and what does not parse is left to gpg, which says what it is.
use crate::error::{Error, Result};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What opens a file, by its first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// A secret key.
    PublicKey,
    /// A passphrase.
    Passphrase,
    /// Damage, or none of ours: gpg tells.
    Unknown,
}

impl Lock {
    /// That of the file at `path`; unknown where it cannot be read.
    pub fn of(path: &Path) -> Self {
        // What lies there may be a pipe, which nobody is to wait for.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
        opened.and_then(|mut file| locked_with(&mut file)).unwrap_or(Self::Unknown)
    }
}

/// Reads the tag of the first packet (RFC 4880, 4.2), and goes back to it. Whoever changes `recipients` for
/// `passphrase-env`, or back, still opens what was made before.
pub(super) fn locked_with(file: &mut std::fs::File) -> std::io::Result<Lock> {
    let mut first = [0];
    let count = file.read(&mut first)?;
    file.rewind()?;
    let tag = match first[0] {
        byte if count == 0 || byte & 0x80 == 0 => 0,
        byte if byte & 0x40 == 0 => byte >> 2 & 0xf,
        byte => byte & 0x3f,
    };
    Ok(match tag {
        1 => Lock::PublicKey,
        3 => Lock::Passphrase,
        _ => Lock::Unknown,
    })
}

/// Where the encrypted content of the file at `path` begins: behind the packets that hold its key, one for each recipient and
/// passphrase. 0 where the file does not begin with such packets.
///
/// # Errors
/// When it cannot be read.
pub fn content_begins(path: &Path) -> Result<u64> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(1 << 20).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let mut at = 0;
    while let Some(packet) = head.get(at..).and_then(key_packet) {
        at += packet;
    }
    Ok(at as u64)
}

/// The bytes of the packet that holds a session key at the beginning of these (RFC 4880, 4.2; tags 1 and 3); `None` where
/// another packet begins.
fn key_packet(bytes: &[u8]) -> Option<usize> {
    let octets = |from: usize, count: usize| {
        let length = bytes.get(from..from + count)?;
        Some(from + count + length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (first, second) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let tag = if first & 0x40 == 0 { first >> 2 & 0xf } else { first & 0x3f };
    if first & 0x80 == 0 || ![1, 3].contains(&tag) {
        return None;
    }
    match (first & 0x40 == 0, first & 3, second) {
        (true, 3, _) | (false, _, 224..=254) => None,
        (true, kind, _) => octets(1, 1 << kind),
        (false, _, 0..=191) => Some(2 + second),
        (false, _, 192..=223) => Some(3 + ((second - 192) << 8) + usize::from(*bytes.get(2)?) + 192),
        (false, ..) => octets(2, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_begins_behind_all_that_holds_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let begins = |parts: &[&[u8]]| {
            std::fs::write(&path, parts.concat()).expect("writes");
            content_begins(&path).expect("reads")
        };
        let content: &[u8] = &[0xd2, 5, 1, 2, 3, 4, 5];
        let (short, long) =
            (&[&[0x85, 1, 12][..], &[7; 268]].concat(), &[&[0xc1, 192, 8][..], &[7; 200]].concat());
        assert_eq!(begins(&[content]), 0);
        assert_eq!(begins(&[&[0x8c, 2, 7, 7], content]), 4);
        assert_eq!(begins(&[short, &[0xc3, 1, 7], content]), 271 + 3);
        assert_eq!(begins(&[long, &[0xc1, 255, 0, 0, 0, 2, 7, 7], content]), 203 + 8);
        assert_eq!(begins(&[&[0x1f, 0x8b, 8]]), 0);
        assert_eq!(begins(&[]), 0);
    }
}
