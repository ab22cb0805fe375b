//! From an artifact back to files: open it, check it, extract it, or say how to do so by hand.
//!
//! Used by `verify`, `restore`, `snapshot`, `backup` and the drills, so that what proves an artifact is what
//! restores it. It never changes an artifact, and never writes outside the folder it is given.
pub mod check;
pub mod extract;
mod layout;
pub mod recipe;
pub mod sample;
pub mod scratch;
mod select;
mod tree;

use crate::archive::FormatError;
use crate::archive::codec::Codec;
use crate::archive::entry::Entry;
use crate::archive::manifest::{Closing, Group, Groups, Record, closing};
use crate::archive::reader::Skip;
use crate::destination::catalog::Artifact;
use crate::destination::marker::{self, Sums};
use crate::destination::read;
use crate::destination::releases::Bundle;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::progress;
use crate::tools::gpg::{self, Secret};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

pub use crate::destination::read::digest_file;
pub use check::{Checked, check, check_part, check_stored};
pub use extract::{Extracted, extract, extract_part, extract_whole};
pub use sample::{Located, locate, with_part};
pub use select::{Select, Window};
pub use tree::{is_free, open_folders, without_links};

/// An archive to read, with what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The archive.
    pub archive: PathBuf,
    /// Its manifest, when there is one.
    pub manifest: Option<PathBuf>,
    /// Its `.sha256` (or `SHA256SUMS`), when there is one.
    pub marker: Option<PathBuf>,
    /// The digests that a bundle's lock holds; they count instead of a marker's.
    pub locked: Option<Sums>,
    /// The container, from the name.
    pub codec: Codec,
    /// Whether archive and manifest are encrypted.
    pub encrypted: bool,
}

impl From<&Artifact> for Source {
    fn from(artifact: &Artifact) -> Self {
        Self {
            archive: artifact.archive.clone(),
            manifest: artifact.has_manifest.then(|| artifact.manifest.clone()),
            marker: Some(artifact.marker.clone()),
            locked: None,
            codec: artifact.name.codec,
            encrypted: artifact.name.encrypted,
        }
    }
}

impl Source {
    /// The archive at `path`, with the manifest and the marker that lie beside it.
    ///
    /// # Errors
    /// When there is no file, or its name is not that of an archive.
    pub fn of_file(path: &Path) -> Result<Self> {
        std::fs::metadata(path).map_err(Error::io("read", path))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (stem, codec, encrypted) = split(name).ok_or_else(|| {
            Error::refused(
                format!("{} is not named like an archive", path.display()),
                "give a file that ends in .tar.gz, .tar.zst, .tar.gz.gpg or .tar.zst.gpg",
            )
        })?;
        let ending = if encrypted { ".gpg" } else { "" };
        let beside = |name: String| Some(path.with_file_name(name)).filter(|path| path.exists());
        Ok(Self {
            archive: path.to_owned(),
            manifest: beside(format!("{stem}.manifest.jsonl.{}{ending}", codec.extension())),
            marker: beside(format!("{name}.sha256")).or_else(|| beside("SHA256SUMS".into())),
            locked: None,
            codec,
            encrypted,
        })
    }

    /// The tarball of a bundle, which its lock vouches for; `None` for a lock alone.
    ///
    /// # Errors
    /// As [`Source::of_file`].
    pub fn of_bundle(bundle: &Bundle) -> Result<Option<Self>> {
        let (Some(tarball), lock) = (&bundle.tarball, &bundle.lock) else { return Ok(None) };
        let pairs = [(&lock.tarball_sha256, &lock.tarball), (&lock.manifest_sha256, &lock.manifest)];
        let lines = pairs.into_iter().filter_map(|(digest, name)| Some((digest.clone()?, name.clone()?)));
        let locked = Some(Sums { lines: lines.collect() });
        Ok(Some(Self { locked, marker: Some(bundle.lock_path.clone()), ..Self::of_file(tarball)? }))
    }

    /// The archive's bare file name.
    pub fn name(&self) -> String {
        crate::shown::show(self.archive.file_name().unwrap_or_default().as_ref())
    }

    /// Bytes of the archive as it is stored, where that can be told.
    pub fn stored_bytes(&self) -> Option<u64> {
        std::fs::metadata(&self.archive).ok().map(|meta| meta.len())
    }

    /// Opens the decrypted byte stream of `path`, which is the archive or the manifest.
    fn with_stream<R>(
        &self,
        path: &Path,
        secret: Option<&Secret>,
        body: impl FnOnce(&mut dyn Skip) -> Result<R>,
    ) -> Result<R> {
        // Beside the archive a manifest is nothing.
        let counts = path == self.archive;
        if self.encrypted {
            read::open(path)?;
            return gpg::decrypt(secret, path, |stream: &mut dyn Read| body(&mut Watched { stream, counts }));
        }
        body(&mut Watched { stream: read::open(path)?, counts })
    }

    /// Runs `body` on the manifest; `None` when there is none.
    ///
    /// # Errors
    /// Those of `body`; when it cannot be read, is damaged, or newer than this tool.
    pub fn with_manifest<R>(
        &self,
        secret: Option<&Secret>,
        body: impl FnOnce(&mut Listed<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(path) = &self.manifest else { return Ok(None) };
        self.with_stream(path, secret, |mut stream| {
            let groups = Groups::open(&mut stream, self.codec).map_err(Error::manifest(path))?;
            body(&mut Listed { groups, records: VecDeque::new(), path })
        })
        .map(Some)
    }

    /// The end of the manifest; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or newer than this tool.
    pub fn closing(&self, secret: Option<&Secret>) -> Result<Option<Closing>> {
        let Some(path) = &self.manifest else { return Ok(None) };
        let read =
            |mut stream: &mut dyn Skip| closing(&mut stream, self.codec).map_err(Error::manifest(path));
        self.with_stream(path, secret, read).map(Some)
    }

    /// The digests that the marker holds, and what is odd about it; `None` without a marker.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read_marker(&self) -> Result<Option<(Sums, Vec<String>)>> {
        if let Some(sums) = &self.locked {
            return Ok(Some((sums.clone(), Vec::new())));
        }
        let Some(path) = &self.marker else { return Ok(None) };
        let text = read::small(path)?;
        Ok(Some(marker::parse(&String::from_utf8_lossy(&text))))
    }
}

impl Skip for File {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(|_| std::io::ErrorKind::UnexpectedEof)?;
        self.seek_relative(bytes)
    }

    fn fill(&mut self, part: &mut [u8]) -> std::io::Result<Option<[u8; 32]>> {
        let start = self.stream_position()?;
        self.read_exact(part).or_else(|error| {
            self.seek(SeekFrom::Start(start + part.len() as u64))?;
            Err(error)
        })?;
        Ok(None)
    }
}

/// A stream whose bytes count as progress, or do not.
struct Watched<S> {
    stream: S,
    counts: bool,
}

impl<S> Watched<S> {
    fn count(&self, bytes: u64) {
        if self.counts {
            progress::moved(bytes);
        }
    }
}

impl<S: Read> Read for Watched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.count(count as u64);
        Ok(count)
    }
}

impl<S: Skip> Skip for Watched<S> {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        self.stream.skip(bytes)?;
        self.count(bytes);
        Ok(())
    }

    fn fill(&mut self, part: &mut [u8]) -> std::io::Result<Option<[u8; 32]>> {
        let filled = self.stream.fill(part)?;
        self.count(part.len() as u64);
        Ok(filled)
    }
}

/// The entries of a manifest, with errors that carry its name.
pub struct Listed<'a> {
    groups: Groups<'a>,
    /// Of a group that [`Listed::next_record`] has taken apart.
    records: VecDeque<Record>,
    path: &'a Path,
}

impl Listed<'_> {
    /// The next entry in archive order; `None` behind the last.
    ///
    /// # Errors
    /// As [`Groups::next_group`]'s.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        while self.records.is_empty() {
            let Some(group) = self.next_group()? else { return Ok(None) };
            self.records.extend(group.records);
        }
        Ok(self.records.pop_front())
    }

    /// How many errors the archive was made with; known behind the last entry.
    fn errors(&self) -> u64 {
        self.groups.errors
    }

    fn next_group(&mut self) -> Result<Option<Group>> {
        self.groups.next_group().map_err(Error::manifest(self.path))
    }

    fn codec(&self) -> Codec {
        self.groups.header.codec
    }
}

/// What is told of an archive that was made with so many `errors`, if it was.
pub fn partial(source: &Source, errors: u64) -> Option<Finding> {
    let what = format!("was made with errors ({errors}): it may hold only a part of its source");
    (errors > 0).then(|| Finding::warning(source.name(), what, "an older one may have the rest"))
}

/// Stem, container and encryption of an archive's file name.
fn split(name: &str) -> Option<(&str, Codec, bool)> {
    let (bare, encrypted) = name.strip_suffix(".gpg").map_or((name, false), |bare| (bare, true));
    [Codec::Gzip, Codec::Zstd].into_iter().find_map(|codec| {
        let stem = bare.strip_suffix(codec.extension())?.strip_suffix(".tar.")?;
        Some((stem, codec, encrypted))
    })
}

/// In which respects an entry that was read is not the one that the manifest lists.
fn differs(record: &Record, entry: &Entry, sha256: Option<[u8; 32]>) -> Option<String> {
    let (expected, found) = (&record.entry, entry);
    // Nanoseconds are in the manifest alone.
    let fields = [
        ("name", expected.path == found.path),
        ("kind", expected.kind == found.kind),
        ("size", expected.size == found.size),
        ("mode", expected.mode == found.mode),
        ("owner", (expected.uid, expected.gid) == (found.uid, found.gid)),
        ("time", expected.mtime.seconds == found.mtime.seconds),
        ("link target", expected.link == found.link),
        ("content", record.sha256 == sha256),
    ];
    let wrong: Vec<&str> = fields.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    (!wrong.is_empty()).then(|| format!("{} is not what the manifest says", wrong.join(" and ")))
}

/// A problem inside the archive, as an error that carries its name.
fn damaged(source: &Source, what: impl Into<String>) -> Error {
    let next = match &source.manifest {
        Some(_) => {
            "nothing was restored; use another backup (`restore --at`), or what is whole in it (`--path`)"
        }
        None => "nothing was restored; use another backup (`restore --at`)",
    };
    Error::Damaged { path: source.archive.clone(), what: what.into(), next: next.into() }
}

/// Carries both our errors and those of the archive room through [`crate::archive::entry::read_tar`].
enum Trouble {
    Format(FormatError),
    Ours(Error),
}

impl From<FormatError> for Trouble {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Trouble {
    fn into_error(self, source: &Source) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Format(FormatError::Malformed(what)) => damaged(source, what),
            Self::Format(error) => Error::format(&source.archive)(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sector that cannot be read costs what is in it, and nothing behind it.
    #[test]
    fn after_an_error_a_file_stands_where_it_would_without() {
        let home = tempfile::tempdir().expect("a folder");
        let mut file = File::create(home.path().join("written")).expect("creates");
        let error = file.fill(&mut [0; 7]).expect_err("it is not open for reading");
        assert_ne!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(file.stream_position().expect("a position"), 7);
    }
}
