//! The only door for durable writes.
//!
//! A file is created exclusively under its final name, hashed while it is written, fsynced with its folder, read back
//! and compared, piece by piece by CRC-32: a drive that errs is found out, except once in four thousand million errors;
//! against who bends a file on purpose there is the SHA-256. A marker gets its name when it is whole ([`Run::publish`]).
//! Until [`Run::commit`], everything a run made is removed when the run ends in any other way than a kill; what a kill
//! leaves has no marker, and so never counts.
//!
//! What a [`Run`] makes is made, read back and removed in its folder as it was opened, not by its path. So a drive that goes
//! away leaves no byte in the bare folder beneath it: [`Run::on`] looks at each folder after it was opened. [`remove`],
//! [`replace`] and [`append_line`] go by path.
use super::mount::Mounted;
use crate::archive::hex;
use crate::error::{Error, Result};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RawMode, RenameFlags, flock, mkdirat, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempPath;

/// What a run has made so far.
#[derive(Debug)]
pub struct Run {
    made: Vec<Place>,
    folders: Vec<Place>,
    file_mode: u32,
    folder_mode: u32,
    drive: Option<Mounted>,
}

/// A name in a folder that is held open.
#[derive(Debug, Clone)]
struct Place {
    folder: Arc<File>,
    name: OsString,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Where a file lies that [`Run::publish`] has not given its name yet.
pub fn part_of(path: &Path) -> PathBuf {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    path.with_file_name(part)
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
        Self { made: Vec::new(), folders: Vec::new(), file_mode, folder_mode, drive: None }
    }

    /// Nothing is made elsewhere than on this drive.
    #[must_use]
    pub fn on(mut self, drive: &Mounted) -> Self {
        self.drive = Some(drive.clone());
        self
    }

    /// Creates a file that must not exist, and the folders above it.
    ///
    /// # Errors
    /// When it exists or cannot be created; [`Error::NotMounted`] when it would not lie on the drive.
    pub fn create(&mut self, path: &Path) -> Result<NewFile> {
        let name = path.file_name().unwrap_or_default().to_owned();
        let place = Place { folder: self.folder(path.parent().unwrap_or(Path::new("")))?, name };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = place.open(flags, self.file_mode).map_err(Error::io("create", path))?;
        self.made.push(place.clone());
        Ok(NewFile { path: path.to_owned(), place, file, hash: Sha256::new(), pieces: Pieces::default() })
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

    /// Creates a file that has its name only when it is whole: no kill leaves a marker without its content.
    ///
    /// # Errors
    /// As [`Run::write`].
    pub fn publish(&mut self, path: &Path, content: &[u8]) -> Result<Written> {
        let name = path.file_name().unwrap_or_default().to_owned();
        let written = self.write(&part_of(path), content)?;
        let Some(place) = self.made.last_mut() else { return Ok(written) };
        let folder = &place.folder;
        rename_new((folder, &place.name), (folder, &name))
            .map_err(|error| Error::io("create", path)(error.into()))?;
        place.name = name;
        synced(&place.folder, path.parent().unwrap_or(Path::new(".")))?;
        Ok(written)
    }

    /// Opens a folder, which is made where it is missing.
    fn folder(&mut self, path: &Path) -> Result<Arc<File>> {
        let (mut folder, mut missing) = (None, Vec::new());
        for known in path.ancestors() {
            match self.open(known) {
                Ok(found) => {
                    folder = Some(found);
                    break;
                }
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    missing.push(known);
                }
                Err(error) => return Err(error),
            }
        }
        let mut folder = folder.ok_or_else(|| Error::io("open", path)(io::ErrorKind::NotFound.into()))?;
        for made in missing.into_iter().rev() {
            let Some(Component::Normal(name)) = made.components().next_back() else { continue };
            let place = Place { folder: Arc::clone(&folder), name: name.to_owned() };
            let mode = Mode::from_raw_mode(self.folder_mode as RawMode);
            match retry_on_intr(|| mkdirat(&place.folder, name, mode)) {
                Ok(()) => self.folders.push(place.clone()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::io("create", made)(error.into())),
            }
            synced(&folder, made.parent().unwrap_or(made))?;
            let next = place.open(OFlags::RDONLY | OFlags::DIRECTORY, 0).map_err(Error::io("open", made))?;
            folder = self.on_drive(next)?;
        }
        Ok(folder)
    }

    fn open(&self, path: &Path) -> Result<Arc<File>> {
        let folder = open_folder(path)?;
        self.on_drive(folder)
    }

    fn on_drive(&self, folder: File) -> Result<Arc<File>> {
        self.drive.as_ref().map_or(Ok(()), |drive| drive.holds(&folder))?;
        Ok(Arc::new(folder))
    }

    /// Everything is complete: keep it.
    pub fn commit(mut self) {
        self.made.clear();
        self.folders.clear();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for place in self.made.iter().rev() {
            let _ = retry_on_intr(|| unlinkat(&place.folder, &place.name, AtFlags::empty()));
        }
        for place in self.folders.iter().rev() {
            let _ = retry_on_intr(|| unlinkat(&place.folder, &place.name, AtFlags::REMOVEDIR));
        }
    }
}

impl Place {
    fn open(&self, flags: OFlags, mode: u32) -> io::Result<File> {
        let name: &OsStr = &self.name;
        let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode as RawMode));
        Ok(retry_on_intr(|| openat(&self.folder, name, flags, mode))?.into())
    }
}

/// A file being written.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    place: Place,
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
        synced(&self.place.folder, self.path.parent().unwrap_or(Path::new(".")))?;
        let found = read_back(&self.place).map_err(Error::io("read back", &self.path))?;
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
fn read_back(place: &Place) -> io::Result<Pieces> {
    let mut file = place.open(OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
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
fn synced(folder: &File, path: &Path) -> Result<()> {
    match folder.sync_all() {
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Err(Error::io("make durable", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When it cannot be opened or flushed.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    synced(&open_folder(path)?, path)
}

fn open_folder(path: &Path) -> Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).map_err(Error::io("open", path))
}

/// Gives a new name to what is there, in a folder or another of the same file system; replaces nothing.
fn rename_new((from, old): (&File, &OsStr), (to, new): (&File, &OsStr)) -> rustix::io::Result<()> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // Some file systems cannot be asked to replace nothing.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => renameat(from, old, to, new),
                there => there.and(Err(Errno::EXIST)),
            }
        }
        moved => moved,
    }
}

/// Moves a folder, with all that is in it, to another name on its file system, durably; nothing may be there.
///
/// # Errors
/// When it cannot be moved; then it is where it was.
pub fn move_folder(from: &Path, to: &Path) -> Result<()> {
    let above = |path: &Path| open_folder(path.parent().unwrap_or(Path::new(".")));
    let (old, new) = (above(from)?, above(to)?);
    let (name, renamed) = (from.file_name().unwrap_or_default(), to.file_name().unwrap_or_default());
    rename_new((&old, name), (&new, renamed)).map_err(|error| Error::io("move", from)(error.into()))?;
    synced(&new, to)?;
    synced(&old, from)
}

/// Makes everything on the file system of a folder durable, as after many files were written there.
///
/// # Errors
/// When it cannot be opened or flushed.
pub fn sync_tree(folder: &Path) -> Result<()> {
    let open = open_folder(folder)?;
    #[cfg(target_os = "linux")]
    let flushed = retry_on_intr(|| rustix::fs::syncfs(&open)).map_err(io::Error::from);
    // Elsewhere nothing flushes one file system: all of them are written out, and the drive of this one is told to keep it.
    #[cfg(not(target_os = "linux"))]
    let flushed = {
        rustix::fs::sync();
        open.sync_all()
    };
    flushed.map_err(Error::io("make durable", folder))
}

/// Replaces a small file as a whole: readers see the old content or the new. What a run that was killed has left of its
/// own is removed; one at a time replaces in a folder.
///
/// # Errors
/// When a step fails; the old content is untouched then.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let held = open_folder(folder)?;
    // Whoever holds it replaces a small file: that takes no time.
    let mut tries = 0;
    while let Err(error) = flock(&held, FlockOperation::NonBlockingLockExclusive) {
        tries += 1;
        if ![Errno::WOULDBLOCK, Errno::INTR].contains(&error) || tries > 1000 {
            return Err(Error::io("lock", folder)(error.into()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let new = std::path::absolute(folder.join(NEW)).and_then(TempPath::try_from_path);
    let new = new.map_err(Error::io("create a file in", folder))?;
    match unlinkat(&held, NEW, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(Error::io("remove", &new)(error.into())),
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    let mut file = file.map_err(Error::io("create", &new))?;
    file.write_all(content).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("make durable", path))?;
    if std::fs::read(&new).map_err(Error::io("read back", path))? != content {
        return Err(not_kept(path));
    }
    new.persist(path).map_err(|error| Error::io("replace", path)(error.error))?;
    synced(&held, folder)
}

/// The name of a file that is to replace another.
const NEW: &str = ".recovery-new";

/// Removes a file durably and returns how many bytes it had.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<u64> {
    let bytes = std::fs::symlink_metadata(path).map_err(Error::io("read", path))?.len();
    #[expect(clippy::disallowed_methods, reason = "the door itself")]
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(bytes)
}

/// What came back is not what was written.
fn not_kept(path: &Path) -> Error {
    let next = "check the drive; nothing of this run is kept".into();
    Error::Damaged { path: path.to_owned(), what: "other bytes came back than were written".into(), next }
}

/// Appends one line durably. A line that a kill left half-written is ended first with `gap`, so that it spoils no other.
///
/// # Errors
/// When a step fails, or what was written does not come back.
pub fn append_line(path: &Path, line: &str, gap: &str) -> Result<()> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let mut file = file.map_err(Error::io("open", path))?;
    let mut last = [b'\n'];
    let known = file.seek(SeekFrom::End(-1)).is_ok();
    if known {
        file.read_exact(&mut last).map_err(Error::io("read", path))?;
    }
    let before = file.seek(SeekFrom::End(0)).map_err(Error::io("read", path))?;
    let gap = if last[0] == b'\n' { "" } else { gap };
    let text = format!("{gap}{line}\n");
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("make durable", path))?;
    let mut kept = Vec::new();
    file.seek(SeekFrom::Start(before)).map_err(Error::io("read back", path))?;
    file.read_to_end(&mut kept).map_err(Error::io("read back", path))?;
    // Somebody else may have come first.
    if !kept.windows(text.len()).any(|part| part == text.as_bytes()) {
        return Err(not_kept(path));
    }
    if known { Ok(()) } else { sync_folder(path.parent().unwrap_or(Path::new("."))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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

    /// The drive that was looked at is away by now, and the bare folder beneath it is all that its path leads to.
    #[test]
    fn nothing_is_made_beneath_a_drive_that_went_away() {
        let home = tempfile::tempdir().expect("a folder");
        let proc = Path::new("/proc");
        let away = super::super::mount::check(proc, Some(proc), true).expect("is mounted");
        let mut run = Run::private().on(&away);
        let error = run.create(&home.path().join("2026/11-23/a")).expect_err("refused");
        assert!(matches!(error, Error::NotMounted { .. }), "{error}");
        assert_eq!(fs::read_dir(home.path()).expect("lists").count(), 0);
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
