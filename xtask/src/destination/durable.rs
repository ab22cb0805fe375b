//! The only door for durable writes.
//!
//! A file is created exclusively under its final name, hashed while it is written, fsynced with its folder, read back
//! and compared, piece by piece by CRC-32: a drive that errs is found out, except once in four thousand million errors;
//! against who bends a file on purpose there is the SHA-256. Until [`Run::commit`], everything a run made is removed when the run ends in any other way than a
//! kill; what a kill leaves has no marker, and so never counts.
use crate::archive::hex;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What a run has made so far.
#[derive(Debug)]
pub struct Run {
    made: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    file_mode: u32,
    folder_mode: u32,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Run {
    /// A run that makes what its user alone may read: files 0600, folders 0700.
    pub fn private() -> Self {
        Self::with_modes(0o600, 0o700)
    }

    /// A run that makes what everybody may read, as far as the umask allows.
    pub fn public() -> Self {
        Self::with_modes(0o644, 0o755)
    }

    fn with_modes(file_mode: u32, folder_mode: u32) -> Self {
        Self { made: Vec::new(), folders: Vec::new(), file_mode, folder_mode }
    }

    /// Creates a file that must not exist, and the folders above it.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    pub fn create(&mut self, path: &Path) -> Result<NewFile> {
        self.make_folders(path.parent().unwrap_or(Path::new(".")))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(self.file_mode).open(path);
        let file = file.map_err(Error::io("create", path))?;
        self.made.push(path.to_owned());
        Ok(NewFile { path: path.to_owned(), file, hash: Sha256::new(), pieces: Pieces::default() })
    }

    /// Creates a file with this content.
    ///
    /// # Errors
    /// As [`Run::create`] and [`NewFile::finish`].
    pub fn write(&mut self, path: &Path, content: &[u8]) -> Result<Written> {
        let mut file = self.create(path)?;
        file.write_all(content).map_err(Error::io("write", path))?;
        file.finish()
    }

    fn make_folders(&mut self, path: &Path) -> Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .take_while(|f| !f.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::DirBuilder::new().mode(self.folder_mode).create(folder) {
                Ok(()) => self.folders.push(folder.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", folder)(error)),
            }
            if let Some(parent) = folder.parent() {
                sync_folder(parent)?;
            }
        }
        Ok(())
    }

    /// Everything is complete: keep it.
    pub fn commit(mut self) {
        self.made.clear();
        self.folders.clear();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            #[expect(clippy::disallowed_methods, reason = "the door itself")]
            let _ = fs::remove_file(path);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A file being written.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: File,
    hash: Sha256,
    pieces: Pieces,
}

/// Bytes that share a checksum.
const PIECE: u64 = 1 << 20;

/// The CRC-32 of each [`PIECE`] of a file, and its length.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pieces {
    sums: Vec<u32>,
    bytes: u64,
}

impl Pieces {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = self.bytes % PIECE;
            let before = if filled == 0 { 0 } else { self.sums.pop().unwrap_or(0) };
            let (part, rest) = bytes.split_at(bytes.len().min((PIECE - filled) as usize));
            let mut sum = crc32fast::Hasher::new_with_initial(before);
            sum.update(part);
            self.sums.push(sum.finalize());
            self.bytes += part.len() as u64;
            bytes = rest;
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.pieces.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile {
    /// Makes the file durable, reads it back and compares.
    ///
    /// # Errors
    /// When a step fails; [`Error::Damaged`] when what comes back is not what was written.
    pub fn finish(self) -> Result<Written> {
        self.file.sync_all().map_err(Error::io("make durable", &self.path))?;
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        let found = read_back(&self.path).map_err(Error::io("read back", &self.path))?;
        if found != self.pieces {
            let (path, bytes, expected) = (self.path, found.bytes, self.pieces.bytes);
            return Err(Error::Damaged {
                path,
                what: format!("{bytes} bytes came back that are not the {expected} written"),
                next: "check the drive; nothing of this run is kept".into(),
            });
        }
        Ok(Written { sha256: hex(&self.hash.finalize()), bytes: found.bytes })
    }
}

/// What the drive has: the page cache is asked to forget the file first.
fn read_back(path: &Path) -> io::Result<Pieces> {
    let mut file = File::open(path)?;
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let (mut pieces, mut buffer) = (Pieces::default(), vec![0; PIECE as usize]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(pieces),
            Ok(count) => pieces.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// fsync of a folder: the names in it are durable. Some FUSE file systems know no such thing.
fn sync_folder(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let folder = File::open(path).map_err(Error::io("open", path))?;
    match folder.sync_all() {
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Err(Error::io("make durable", path)(error))
        }
        _ => Ok(()),
    }
}

/// Replaces a small file as a whole: readers see the old content or the new.
///
/// # Errors
/// When a step fails; the old content is untouched then.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    temporary.write_all(content).map_err(Error::io("write", path))?;
    temporary.as_file().sync_all().map_err(Error::io("make durable", path))?;
    temporary.persist(path).map_err(|error| Error::io("replace", path)(error.error))?;
    sync_folder(folder)
}

/// Removes a file durably and returns how many bytes it had.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<u64> {
    let bytes = fs::symlink_metadata(path).map_err(Error::io("read", path))?.len();
    #[expect(clippy::disallowed_methods, reason = "the door itself")]
    fs::remove_file(path).map_err(Error::io("remove", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(bytes)
}

/// Appends one line durably. A line that a kill left half-written is ended first with `gap`, so that it spoils no other.
///
/// # Errors
/// When a step fails.
pub fn append_line(path: &Path, line: &str, gap: &str) -> Result<()> {
    use std::io::{Seek as _, SeekFrom};
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let mut file = file.map_err(Error::io("open", path))?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last).map_err(Error::io("read", path))?;
    }
    let gap = if last[0] == b'\n' { "" } else { gap };
    file.write_all(format!("{gap}{line}\n").as_bytes()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("make durable", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_not_committed_is_gone() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("2026/11-23/a");
        for commit in [false, true] {
            let mut run = Run::private();
            let written = run.write(&path, b"abc").expect("writes");
            assert_eq!(written.bytes, 3);
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
            assert!(run.create(&path).is_err(), "never over another file");
            if commit {
                run.commit();
            } else {
                drop(run);
            }
            assert_eq!(path.exists(), commit);
            assert_eq!(home.path().join("2026").exists(), commit);
        }
    }

    #[test]
    fn a_file_has_the_same_pieces_however_it_comes() {
        let bytes: Vec<u8> = (0..PIECE as usize * 3 + 77).map(|at| (at * at / 977) as u8).collect();
        let of = |step: usize| {
            let mut pieces = Pieces::default();
            bytes.chunks(step).for_each(|part| pieces.update(part));
            pieces
        };
        assert_eq!((of(1 << 24).sums.len(), of(1 << 24)), (4, of(65_521)));
        assert_ne!(of(1 << 24).sums[1], of(1 << 24).sums[2]);
    }

    /// What the drive gives back is compared with what it was given.
    #[test]
    fn a_drive_that_does_not_keep_what_it_was_given_is_found_out() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a");
        let mut run = Run::private();
        let mut file = run.create(&path).expect("creates");
        file.write_all(b"what was written").expect("writes");
        fs::write(&path, b"what was WRITTEN").expect("bends");
        let error = file.finish().expect_err("found");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("log");
        append_line(&path, "one", "\n").expect("appends");
        fs::write(&path, "one\ntw").expect("writes");
        append_line(&path, "three", "\n").expect("appends");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "one\ntw\nthree\n");
    }
}
