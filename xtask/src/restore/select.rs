//! What of an archive is wanted: all of it, what patterns match, or one part; with the folders above it and the targets of
//! hard links, without which it cannot be restored.
use super::{Source, Trouble};
use crate::archive::entry::{Entry, Kind};
use crate::archive::reader::decode;
use crate::error::Result;
use crate::tools::gpg::Secret;
use globset::GlobSet;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// What the user has asked for.
#[derive(Debug)]
pub struct Select {
    /// As they were written.
    pub patterns: Vec<String>,
    /// All of them together.
    pub globs: GlobSet,
}

/// Entries that stand together in an archive, and some that are wanted wherever they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// The numbers of their blocks.
    pub blocks: Range<u64>,
    /// Paths of the others.
    pub always: Vec<Vec<u8>>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Everything.
    All,
    /// What patterns match.
    Paths(&'a Select),
    /// One part.
    Part(&'a Window),
}

impl<'a> Wanted<'a> {
    /// Everything, or what was asked for.
    pub(super) fn of(select: Option<&'a Select>) -> Self {
        select.map_or(Self::All, Self::Paths)
    }
}

/// Which entries are wanted: those that match, the folders above them, and the targets of hard links.
pub(super) struct Selection<'a> {
    wanted: Wanted<'a>,
    /// Folders and targets that do not match by themselves.
    besides: HashSet<Vec<u8>>,
    /// The patterns that nothing has matched so far, by their numbers.
    unmatched: BTreeSet<usize>,
}

impl<'a> Selection<'a> {
    /// Reads the manifest, or without one the archive, once ahead: a folder stands before what is in it. For a
    /// part it is read again while links lead to more.
    pub(super) fn new(source: &Source, secret: Option<&Secret>, wanted: Wanted<'a>) -> Result<Self> {
        let patterns = if let Wanted::Paths(select) = wanted { select.patterns.len() } else { 0 };
        let mut selection = Self { wanted, besides: HashSet::new(), unmatched: (0..patterns).collect() };
        if let Wanted::Part(window) = wanted {
            selection.besides.extend(window.always.iter().cloned());
        }
        let mut known = None;
        while known != Some(selection.besides.len()) {
            known = Some(selection.besides.len());
            match wanted {
                Wanted::All => break,
                Wanted::Paths(_) => {
                    selection.read(source, secret)?;
                    break;
                }
                Wanted::Part(_) => selection.read(source, secret)?,
            }
        }
        Ok(selection)
    }

    fn read(&mut self, source: &Source, secret: Option<&Secret>) -> Result<()> {
        let listed = source.with_manifest(secret, |listed| {
            while let Some(record) = listed.next_record()? {
                self.note(record.entry, Some(record.block));
            }
            Ok(())
        })?;
        if listed.is_none() {
            source.with_stream(&source.archive, secret, |mut stream| {
                decode(&mut stream, source.codec, &mut |entry, _| {
                    self.note(entry, None);
                    Ok::<_, Trouble>(())
                })
                .map_err(|trouble| trouble.into_error(source))
            })?;
        }
        Ok(())
    }

    /// What has to come with an entry that is wanted.
    fn note(&mut self, entry: Entry, block: Option<u64>) {
        if !self.wants(&entry.path, block) {
            return;
        }
        if let (Wanted::Paths(select), false) = (self.wanted, self.unmatched.is_empty()) {
            let matched = above(&entry.path).flat_map(|part| select.globs.matches(part));
            for number in matched {
                self.unmatched.remove(&number);
            }
        }
        let slashes = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        self.besides.extend(slashes.map(|(at, _)| entry.path[..at].to_vec()));
        if entry.kind == Kind::Hardlink {
            self.besides.insert(entry.link);
        } else if entry.kind == Kind::Symlink && self.is_named(&entry.path) {
            self.besides.extend(target(&entry.path, &entry.link));
        }
    }

    /// Whether somebody will look at what lies behind it.
    fn is_named(&self, path: &[u8]) -> bool {
        matches!(self.wanted, Wanted::Part(_)) && self.besides.contains(path)
    }

    /// The patterns that match nothing.
    pub(super) fn unmatched(&self) -> Vec<&'a str> {
        let Wanted::Paths(select) = self.wanted else { return Vec::new() };
        self.unmatched.iter().map(|number| select.patterns[*number].as_str()).collect()
    }

    pub(super) fn all(&self) -> bool {
        matches!(self.wanted, Wanted::All)
    }

    /// `block` is the number of an entry's first, where there is a manifest to say it.
    pub(super) fn wants(&self, path: &[u8], block: Option<u64>) -> bool {
        let matching = match self.wanted {
            Wanted::All => true,
            Wanted::Paths(select) => matches(&select.globs, path),
            Wanted::Part(window) => block.is_some_and(|block| window.blocks.contains(&block)),
        };
        matching || self.besides.contains(path)
    }
}

/// A pattern matches a path, or a folder above it.
fn matches(globs: &GlobSet, path: &[u8]) -> bool {
    above(path).any(|part| globs.is_match(part))
}

/// A path, and the folders above it.
fn above(path: &[u8]) -> impl Iterator<Item = &Path> {
    Path::new(OsStr::from_bytes(path)).ancestors()
}

/// Where a symbolic link leads within the archive, by name alone; nowhere when it leads out of it.
fn target(path: &[u8], link: &[u8]) -> Option<Vec<u8>> {
    let mut at: PathBuf = Path::new(OsStr::from_bytes(path)).parent()?.to_owned();
    for part in Path::new(OsStr::from_bytes(link)).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => at.push(name),
            Component::ParentDir if at.pop() => {}
            _ => return None,
        }
    }
    Some(at.as_os_str().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_name_within_the_archive_or_nowhere() {
        let to = |link: &str| {
            target(b"set/a/link", link.as_bytes()).map(|path| String::from_utf8(path).expect("text"))
        };
        assert_eq!(to("file").as_deref(), Some("set/a/file"));
        assert_eq!(to("../b/./file").as_deref(), Some("set/b/file"));
        assert_eq!(to("../../../etc/passwd"), None);
        assert_eq!(to("/etc/passwd"), None);
    }
}
