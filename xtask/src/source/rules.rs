//! What of a data folder is left out, and by which rule: patterns, caches, other file systems, files that are too large.
//!
//! Every rule is asked during the walk, and what it leaves out takes no part in the state of the folder: so what comes to
//! be left out, or no longer is, is a change, and what changes while it is left out is none.
use super::{Inode, patterns};
use crate::error::Result;
use ignore::gitignore::Gitignore;
use rustix::fs::FileType;
use serde::Deserialize;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// How a file says that its folder is a cache (Cache Directory Tagging Specification, bford.info/cachedir).
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// How the private folders are named in which full drills keep live data aside, in front of the drill's id.
pub const ASIDES: &str = ".recovery-full-";

/// Whether SQLite databases are copied through SQLite or as they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Databases {
    /// Through SQLite: one consistent file, without its journal.
    #[default]
    Copy,
    /// As any other file.
    Raw,
}

/// How a data folder is read.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// gitignore patterns, relative to the folder.
    pub exclude: Vec<String>,
    /// Whether SQLite databases are copied through SQLite.
    pub databases: Databases,
    /// Leaves out folders with a `CACHEDIR.TAG` in them.
    pub exclude_caches: bool,
    /// Leaves out folders that lie on another file system than the source itself.
    pub one_file_system: bool,
    /// Leaves out files with more bytes.
    pub max_size: Option<u64>,
}

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// A pattern of `exclude`.
    Pattern,
    /// It is tagged as a cache.
    Cache,
    /// It lies on another file system.
    FileSystem,
    /// It has so many bytes.
    Size(u64),
    /// A full drill keeps in it what was live, or restored, at another time.
    Aside,
}

/// How many paths are left out, by reason; a folder counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Excluded {
    /// By a pattern.
    pub pattern: u64,
    /// Caches.
    pub cache: u64,
    /// On another file system.
    pub file_system: u64,
    /// Too large.
    pub size: u64,
    /// Left by full drills.
    pub aside: u64,
}

impl Excluded {
    /// Counts one more.
    pub fn add(&mut self, why: LeftOut) {
        *match why {
            LeftOut::Pattern => &mut self.pattern,
            LeftOut::Cache => &mut self.cache,
            LeftOut::FileSystem => &mut self.file_system,
            LeftOut::Size(_) => &mut self.size,
            LeftOut::Aside => &mut self.aside,
        } += 1;
    }

    /// For whatever reason.
    pub fn total(&self) -> u64 {
        self.pattern + self.cache + self.file_system + self.size + self.aside
    }

    /// Each reason as JSON has it, and its number.
    pub fn reasons(&self) -> [(&'static str, u64); 5] {
        [
            ("pattern", self.pattern),
            ("cache", self.cache),
            ("file-system", self.file_system),
            ("size", self.size),
            ("aside", self.aside),
        ]
    }
}

/// [`Rules`] with their patterns parsed.
#[derive(Debug)]
pub(super) struct Judge {
    patterns: Gitignore,
    rules: Rules,
}

impl Judge {
    /// # Errors
    /// When a pattern does not parse.
    pub(super) fn new(rules: &Rules) -> Result<Self> {
        Ok(Self { patterns: patterns(&rules.exclude)?, rules: rules.clone() })
    }

    pub(super) fn copies_databases(&self) -> bool {
        self.rules.databases == Databases::Copy
    }

    /// By its name alone, relative to the source.
    pub(super) fn by_name(&self, path: &Path, kind: FileType) -> Option<LeftOut> {
        let folder = kind == FileType::Directory;
        if folder
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(ASIDES.as_bytes()))
        {
            return Some(LeftOut::Aside);
        }
        self.patterns.matched(path, folder).is_ignore().then_some(LeftOut::Pattern)
    }

    /// By what the system says of it; `device` is that of the source itself.
    pub(super) fn by_facts(&self, kind: FileType, size: u64, inode: Inode, device: u64) -> Option<LeftOut> {
        match kind {
            FileType::Directory if self.rules.one_file_system && inode.0 != device => {
                Some(LeftOut::FileSystem)
            }
            FileType::RegularFile if self.rules.max_size.is_some_and(|most| size > most) => {
                Some(LeftOut::Size(size))
            }
            _ => None,
        }
    }

    /// By what lies in the folder at `path` below `at`.
    pub(super) fn by_content(&self, at: BorrowedFd<'_>, path: &Path) -> Option<LeftOut> {
        (self.rules.exclude_caches && tagged(at, path)).then_some(LeftOut::Cache)
    }
}

fn tagged(at: BorrowedFd<'_>, path: &Path) -> bool {
    let mut first = [0; SIGNATURE.len()];
    super::open_at(at, &path.join(TAG)).is_ok_and(|mut file| {
        file.metadata().is_ok_and(|meta| meta.is_file()) && file.read_exact(&mut first).is_ok()
    }) && first == *SIGNATURE
}
