//! Whether two folders are the same byte for byte: names, kinds, content, link targets, modes, owners, hard links,
//! attributes, and the times of files. Reads both, and changes nothing.
//!
//! What cannot be restored (sockets, pipes, devices) makes a difference too: the answer decides whether live data may stay
//! aside, and a doubt speaks for the live data.
use crate::error::{Error, Result};
use crate::interrupt::interrupted;
use crate::shown::show;
use crate::tools::OnInterrupt;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a comparison has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Entries that were compared.
    pub entries: u64,
    /// Bytes of content that were compared.
    pub bytes: u64,
    /// How many entries differ.
    pub differences: u64,
    /// The first of them, in words.
    pub first: Option<String>,
}

/// Compares two folders.
///
/// # Errors
/// `Io` when something cannot be read; [`Error::Interrupted`], if that is to end it.
pub fn same(one: &Path, other: &Path, on_interrupt: OnInterrupt) -> Result<Compared> {
    let mut walk = Walk { on_interrupt, compared: Compared::default() };
    walk.entry(one, other, Path::new("."))?;
    Ok(walk.compared)
}

struct Walk {
    on_interrupt: OnInterrupt,
    compared: Compared,
}

impl Walk {
    fn differs(&mut self, name: &Path, how: &str) {
        self.compared.differences += 1;
        self.compared.first.get_or_insert_with(|| format!("{}: {how}", show(name)));
    }

    fn entry(&mut self, one: &Path, other: &Path, name: &Path) -> Result<()> {
        if self.on_interrupt == OnInterrupt::End && interrupted() {
            return Err(Error::Interrupted);
        }
        let (a, b) = (look(one)?, look(other)?);
        self.compared.entries += 1;
        if kind(a.file_type()) != kind(b.file_type()) {
            self.differs(name, "is of another kind");
            return Ok(());
        }
        let to = |path: &Path| fs::read_link(path).map_err(Error::io("read", path));
        let how = if let Some(how) = dressed(&a, &b) {
            Some(how)
        } else if a.is_symlink() {
            (to(one)? != to(other)?).then_some("leads elsewhere")
        } else if attributes(one)? != attributes(other)? {
            Some("has other attributes")
        } else if a.is_file() && !self.content(one, other)? {
            Some("has other content")
        } else {
            None
        };
        how.into_iter().for_each(|how| self.differs(name, how));
        if a.is_dir() { self.folder(one, other, name) } else { Ok(()) }
    }

    fn folder(&mut self, one: &Path, other: &Path, name: &Path) -> Result<()> {
        let (a, b) = (names(one)?, names(other)?);
        for alone in a.symmetric_difference(&b) {
            self.differs(&name.join(alone), "is in one of the two alone");
        }
        a.intersection(&b)
            .try_for_each(|inner| self.entry(&one.join(inner), &other.join(inner), &name.join(inner)))
    }

    fn content(&mut self, one: &Path, other: &Path) -> Result<bool> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(Error::io("open", path))?;
            Ok::<_, Error>(BufReader::with_capacity(1 << 17, file))
        };
        let (mut a, mut b) = (open(one)?, open(other)?);
        loop {
            let (left, right) = (
                a.fill_buf().map_err(Error::io("read", one))?,
                b.fill_buf().map_err(Error::io("read", other))?,
            );
            let count = left.len().min(right.len());
            if left[..count] != right[..count] || (count == 0 && left.len() != right.len()) {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
            self.compared.bytes += count as u64;
            a.consume(count);
            b.consume(count);
        }
    }
}

fn look(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(Error::io("look at", path))
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    entries.map(|entry| Ok(entry.map_err(Error::io("list", folder))?.file_name())).collect()
}

fn attributes(path: &Path) -> Result<Vec<(OsString, Option<Vec<u8>>)>> {
    let mut all = Vec::new();
    match xattr::list(path) {
        Ok(names) => {
            for name in names {
                let value = xattr::get(path, &name).map_err(Error::io("read an attribute of", path))?;
                all.push((name, value));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
        Err(error) => return Err(Error::io("read the attributes of", path)(error)),
    }
    all.sort();
    Ok(all)
}

fn kind(kind: FileType) -> u8 {
    match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
        (true, _, _) => 0,
        (_, true, _) => 1,
        (_, _, true) => 2,
        // What cannot be restored is never the same.
        _ => 3,
    }
}

/// What is other about two entries of one kind.
fn dressed(a: &Metadata, b: &Metadata) -> Option<&'static str> {
    let link = a.is_symlink();
    if !link && a.mode() & 0o7777 != b.mode() & 0o7777 {
        Some("has another mode")
    } else if (a.uid(), a.gid()) != (b.uid(), b.gid()) {
        Some("has another owner")
    } else if a.is_file() && a.len() != b.len() {
        Some("has another length")
    } else if a.is_file() && a.nlink() != b.nlink() {
        Some("has another number of names")
    } else if a.is_file() && (a.mtime(), a.mtime_nsec()) != (b.mtime(), b.mtime_nsec()) {
        Some("has another time")
    } else if kind(a.file_type()) == 3 {
        Some("is a socket, a pipe or a device")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    /// Changes a folder.
    type Change<'a> = &'a dyn Fn(&Path);

    /// Two folders with the same in them.
    fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let home = tempfile::tempdir().expect("a folder");
        let folders = ["a", "b"].map(|name| home.path().join(name));
        for folder in &folders {
            fs::create_dir_all(folder.join("sub")).expect("makes");
            fs::write(folder.join("sub/file"), vec![7; 300_000]).expect("writes");
            symlink("file", folder.join("sub/link")).expect("links");
            let file = File::options().write(true).open(folder.join("sub/file")).expect("opens");
            file.set_modified(std::time::UNIX_EPOCH).expect("sets");
        }
        let [a, b] = folders;
        (home, a, b)
    }

    #[test]
    fn the_same_is_the_same() {
        let (_home, a, b) = two();
        let compared = same(&a, &b, OnInterrupt::End).expect("compares");
        assert_eq!(compared, Compared { entries: 4, bytes: 300_000, differences: 0, first: None });
    }

    #[test]
    fn every_difference_is_seen() {
        let changes: [(&str, Change<'_>); 9] = [
            ("alone", &|b| fs::write(b.join("new"), "").expect("writes")),
            ("alone", &|b| fs::remove_file(b.join("sub/link")).expect("removes")),
            ("mode", &|b| {
                fs::set_permissions(b.join("sub"), fs::Permissions::from_mode(0o700)).expect("sets")
            }),
            ("length", &|b| fs::write(b.join("sub/file"), "").expect("writes")),
            ("names", &|b| {
                fs::hard_link(b.join("sub/file"), b.parent().expect("above").join("c")).expect("links")
            }),
            ("elsewhere", &|b| {
                fs::remove_file(b.join("sub/link")).expect("removes");
                symlink("fold", b.join("sub/link")).expect("links");
            }),
            ("kind", &|b| {
                fs::remove_file(b.join("sub/link")).expect("removes");
                fs::create_dir(b.join("sub/link")).expect("makes");
            }),
            ("time", &|b| {
                let file = File::options().write(true).open(b.join("sub/file")).expect("opens");
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1)).expect("sets");
            }),
            ("content", &|b| {
                let mut bytes = vec![7; 300_000];
                bytes[299_999] = 8;
                fs::write(b.join("sub/file"), bytes).expect("writes");
                let file = File::options().write(true).open(b.join("sub/file")).expect("opens");
                file.set_modified(std::time::UNIX_EPOCH).expect("sets");
            }),
        ];
        for (word, change) in changes {
            let (_home, a, b) = two();
            change(&b);
            for (one, other) in [(&a, &b), (&b, &a)] {
                let compared = same(one, other, OnInterrupt::End).expect("compares");
                assert!(
                    compared.differences == 1 && compared.first.as_ref().is_some_and(|f| f.contains(word)),
                    "{word}: {compared:?}"
                );
            }
        }
    }
}
