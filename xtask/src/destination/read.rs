//! Reads what others may have laid on a drive or in a folder: files only, since a pipe in the place of one would make us
//! wait for ever, and small ones only up to a bound.
use crate::archive::{digest_stream, hex};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// No marker, lock, list or record is longer.
const SMALL: u64 = 16 << 20;

/// Opens a regular file.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub fn open(path: &Path) -> Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
    let file = File::from(opened.map_err(|error| Error::io("open", path)(error.into()))?);
    match file.metadata().map_err(Error::io("read", path))?.is_file() {
        true => Ok(file),
        false => Err(Error::refused(format!("{} is not a file", path.display()), "see what lies there")),
    }
}

/// The content of a small regular file.
///
/// # Errors
/// As [`open`]; when it is too long.
pub fn small(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(SMALL + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > SMALL {
        let what = format!("it is longer than {SMALL} bytes, which nothing of its kind is");
        return Err(Error::Damaged { path: path.to_owned(), what, next: "move it away".into() });
    }
    Ok(bytes)
}

/// SHA-256, in lower-case hexadecimal, and length of a regular file, in bytes.
///
/// # Errors
/// When it cannot be read.
pub fn digest_file(path: &Path) -> Result<(String, u64)> {
    let mut file = BufReader::with_capacity(1 << 17, open(path)?);
    let (digest, bytes) = digest_stream(&mut file).map_err(Error::io("read", path))?;
    Ok((hex(&digest), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_only_small_ones_are_read() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("file");
        std::fs::write(&path, "text").expect("writes");
        assert_eq!(small(&path).expect("reads"), b"text");
        let pipe = home.path().join("pipe");
        // There is no such call elsewhere; then nothing is there, which is refused as well.
        #[cfg(target_os = "linux")]
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("makes");
        for odd in [&pipe, home.path(), Path::new("/dev/zero")] {
            assert!(small(odd).is_err(), "{}", odd.display());
        }
        let long = File::create(home.path().join("long")).expect("creates");
        long.set_len(SMALL + 1).expect("grows");
        assert!(matches!(small(&home.path().join("long")), Err(Error::Damaged { .. })));
    }
}
