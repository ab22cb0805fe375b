//! The objects of a repository, read by ourselves: packs, loose files, and those of its alternates.
//!
//! It knows less than git, and says so: what it does not find or does not understand (a pack that is broken, new or cut
//! short, an object that is promised by a remote, one above [`LARGEST`], an id of SHA-256) is `None`, and who asked asks
//! git. So every error and every doubt is git's. Of what it does give, the zlib checksum of each piece, the length of
//! each piece and of the whole, and the kind (a blob) were compared, and its SHA-1 with its id. git does not compare that on
//! reading; but a flipped bit in the distance to a delta's base can give another object of the same length, and a snapshot
//! takes only three hundredths more processor time.
//!
//! Files stay open, so that a repack beside us takes nothing away. Reads, and holds no more than a few objects in memory.
mod bases;
mod delta;
mod index;
mod loose;
mod pack;

use bases::Bases;
use libdeflater::Decompressor;
use pack::Pack;
use sha1::{Digest as _, Sha1};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Name of an object: SHA-1.
type Id = [u8; 20];

/// Bytes of the largest object that is read here; git streams what is larger.
pub(super) const LARGEST: usize = 4 << 20;
/// Packs that are opened, each with two files; git reads what is in others.
const PACKS: usize = 100;
/// Folders of objects that are looked at, with those of alternates of alternates.
const FOLDERS: usize = 10;
/// Bytes of `info/alternates` that are read.
const ALTERNATES: u64 = 1 << 16;

/// Where the objects of a repository lie.
pub(super) struct Store {
    folders: Vec<PathBuf>,
    packs: Vec<Pack>,
}

/// Where an object was found.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the pack of this number, beginning here.
    Packed(usize, u64),
    /// In a file of its own.
    Loose(PathBuf),
}

/// What one thread reads with. The vectors are used again for the next object.
pub(super) struct Reader {
    inflater: Decompressor,
    /// As it lies in the pack or the file.
    packed: Vec<u8>,
    /// The delta, or the file with its head, unpacked.
    delta: Vec<u8>,
    /// What was read.
    object: Vec<u8>,
    result: Vec<u8>,
    bases: Bases,
}

impl Store {
    /// What lies in `objects`, the folders of that name in repositories, and in their alternates.
    pub(super) fn open(objects: &[PathBuf]) -> Self {
        let mut folders = objects.to_vec();
        let mut looked_at = 0;
        while let Some(folder) = folders.get(looked_at).filter(|_| looked_at < FOLDERS) {
            let others = alternates(folder);
            let others: Vec<PathBuf> = others.into_iter().filter(|other| !folders.contains(other)).collect();
            folders.extend(others);
            looked_at += 1;
        }
        folders.truncate(FOLDERS);
        let mut indexes: Vec<(u64, PathBuf)> = folders.iter().flat_map(|folder| indexes(folder)).collect();
        // Most objects are in the largest.
        indexes.sort_unstable_by(|a, b| b.cmp(a));
        indexes.truncate(PACKS);
        let packs = indexes.into_iter().filter_map(|(_, index)| Pack::open(&index)).collect();
        Self { folders, packs }
    }

    /// Whether an object with a name like this may be found.
    pub(super) fn knows(id: &str) -> bool {
        parse(id).is_some()
    }

    /// Where an object of `size` bytes is, as its id is written; `None` when it is for git to read.
    pub(super) fn find(&self, id: &str, size: u64) -> Option<Place> {
        let bytes = parse(id).filter(|_| size <= LARGEST as u64)?;
        let mut packed = self.packs.iter().enumerate();
        let packed = packed.find_map(|(number, pack)| Some(Place::Packed(number, pack.index.find(&bytes)?)));
        packed.or_else(|| {
            let mut files = self.folders.iter().map(|folder| folder.join(&id[..2]).join(&id[2..]));
            files.find(|file| file.is_file()).map(Place::Loose)
        })
    }

    /// The blob of `size` bytes that was found at `place`, and has the digest that its id is; `None` when it is for git to
    /// read.
    pub(super) fn read<'a>(
        &self,
        id: &str,
        place: &Place,
        size: u64,
        reader: &'a mut Reader,
    ) -> Option<&'a [u8]> {
        let content = self.unpack(place, size, reader)?;
        let digest = Sha1::new().chain_update(format!("blob {size}\0")).chain_update(content).finalize();
        (parse(id)? == <[u8; 20]>::from(digest)).then_some(content)
    }

    /// The same, whatever its id.
    fn unpack<'a>(&self, place: &Place, size: u64, reader: &'a mut Reader) -> Option<&'a [u8]> {
        match place {
            Place::Packed(number, at) => self.packs.get(*number)?.read(*number, *at, reader)?,
            Place::Loose(file) => loose::read(file, usize::try_from(size).ok()?, reader)?,
        }
        (reader.object.len() as u64 == size).then_some(&reader.object)
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            inflater: Decompressor::new(),
            packed: Vec::new(),
            delta: Vec::new(),
            object: Vec::new(),
            result: Vec::new(),
            bases: Bases::default(),
        }
    }
}

/// The indexes of a folder of objects, each with its size.
fn indexes(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder.join("pack")).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("idx")));
    paths.filter_map(|path| Some((path.metadata().ok()?.len(), path))).collect()
}

/// Opens a file, and gives its length; nothing else of that name is waited for.
fn open(path: &Path) -> Option<(File, u64)> {
    let meta = path.metadata().ok().filter(fs::Metadata::is_file)?;
    Some((File::open(path).ok()?, meta.len()))
}

/// What `info/alternates` names: a folder a line, from `folder` where it is relative. A line in quotation marks is left
/// to git.
fn alternates(folder: &Path) -> Vec<PathBuf> {
    let mut lines = Vec::new();
    if let Some((file, _)) = open(&folder.join("info/alternates")) {
        let _ = file.take(ALTERNATES).read_to_end(&mut lines);
    }
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !matches!(line, [] | [b'#' | b'"', ..]));
    lines.map(|line| folder.join(OsStr::from_bytes(line))).collect()
}

/// The bytes of 40 digits.
fn parse(id: &str) -> Option<Id> {
    let (pairs, rest) = id.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let mut bytes = [0; 20];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
