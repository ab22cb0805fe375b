//! Whether the entries of an archive can lie in one folder together: no name leads out of it, none is there twice, none
//! lies where another is in the way. `verify` and `restore` ask the same rules, so that what the one calls sound the
//! other can bring back.
//!
//! Pure: sees names, and no file system. Remembers a few bytes an entry, so that a million entries fit.
use crate::archive::entry::{Entry, Kind};
use crate::shown::show_bytes;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::hash::BuildHasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// No path is longer: Linux takes 4096 bytes (`PATH_MAX`).
pub(super) const MAX_PATH: usize = 16 * 1024;

/// Folders without an entry, all in all and for each entry: one long name may bring thousands of them. A bundle has files
/// alone, and no folder without one.
const FREE_FOLDERS: usize = 1 << 16;
const FOLDERS_AN_ENTRY: usize = 16;

/// Bytes of attributes that are held until everything is there, all in all and for each folder: an access list has some
/// tens of them.
const FREE_ATTRIBUTES: usize = 16 << 20;
const ATTRIBUTES_A_FOLDER: usize = 1 << 10;

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A folder that is there only because something lies in it.
    Above,
    Entry(Kind),
}

/// The entries so far.
#[derive(Default)]
pub(super) struct Layout {
    /// By the hash of the path, under a key that no archive can know.
    places: HashMap<u64, Place>,
    entries: usize,
    /// Folders that had no entry of their own when something came to lie in them.
    above: usize,
    folders: usize,
    /// Bytes of the attributes of folders that are set last.
    held: usize,
    hash: RandomState,
}

impl Layout {
    /// Takes the next entry, and returns where it lies in the folder.
    ///
    /// # Errors
    /// Why it cannot lie there, with its name.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<PathBuf, String> {
        let shown = || show_bytes(&entry.path);
        let path = inside(&entry.path)?;
        if path.as_os_str().is_empty() && entry.kind != Kind::Folder {
            return Err(format!("entry {} has no name", shown()));
        }
        self.entries += 1;
        if self.above > FREE_FOLDERS + FOLDERS_AN_ENTRY * self.entries {
            return Err(format!("entry {} lies in too many folders that have no entry", shown()));
        }
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match self.places.insert(self.key(above), Place::Above) {
                None => self.above += 1,
                Some(place @ (Place::Above | Place::Entry(Kind::Folder))) => {
                    self.places.insert(self.key(above), place);
                    break;
                }
                Some(Place::Entry(_)) => {
                    let above = show_bytes(above.as_os_str().as_bytes());
                    return Err(format!("entry {} needs the folder {above}, which is none", shown()));
                }
            }
        }
        if entry.kind == Kind::Symlink && (entry.link.is_empty() || entry.link.contains(&0)) {
            return Err(format!("entry {} is a link to nothing", shown()));
        }
        if entry.kind == Kind::Hardlink {
            self.check_target(entry)?;
        }
        self.folders += usize::from(entry.kind == Kind::Folder);
        match (self.places.insert(self.key(&path), Place::Entry(entry.kind)), entry.kind) {
            (None, _) | (Some(Place::Above), Kind::Folder) => Ok(path),
            (Some(Place::Above), _) => Err(format!("entry {} lies where a folder is needed", shown())),
            (Some(Place::Entry(_)), _) => Err(format!("entry {} is there twice", shown())),
        }
    }

    /// A hard link is another name of a file that stands before it.
    fn check_target(&self, entry: &Entry) -> Result<(), String> {
        let target = inside(&entry.link)?;
        match self.places.get(&self.key(&target)) {
            Some(Place::Entry(Kind::File | Kind::Hardlink)) => Ok(()),
            _ => {
                let (name, link) = (show_bytes(&entry.path), show_bytes(&entry.link));
                Err(format!(
                    "entry {name} is a hard link to {link}, which is no file before it in the archive"
                ))
            }
        }
    }

    /// Takes note of so many bytes of attributes that are held until everything is there.
    ///
    /// # Errors
    /// When they are too many for the folders so far.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), String> {
        self.held += bytes;
        match self.held > FREE_ATTRIBUTES + ATTRIBUTES_A_FOLDER * self.folders {
            true => Err(format!("the attributes of its folders take {} bytes, more than is held", self.held)),
            false => Ok(()),
        }
    }

    fn key(&self, path: &Path) -> u64 {
        self.hash.hash_one(path.as_os_str().as_bytes())
    }
}

/// The path of a name within the folder; empty for the folder itself.
fn inside(name: &[u8]) -> Result<PathBuf, String> {
    let path = Path::new(OsStr::from_bytes(name));
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.len() > MAX_PATH {
        let begin = show_bytes(&name[..60]);
        return Err(format!("entry {begin}… has a name of {} bytes, which no system takes", name.len()));
    }
    if name.is_empty() || name.contains(&0) || !path.components().all(plain) {
        return Err(format!("entry {} would lie outside of the folder", show_bytes(name)));
    }
    Ok(path.components().filter(|part| *part != Component::CurDir).collect())
}

/// Bytes of the attributes of a folder that are set last.
pub(super) fn held(entry: &Entry) -> usize {
    let folder = entry.kind == Kind::Folder;
    let last = entry.xattrs.iter().filter(|(name, _)| folder && is_set_last(name));
    last.map(|(name, value)| name.len() + value.len()).sum()
}

/// Whether an attribute of a folder is set when all that lies in it is there: an access list or a label would decide over
/// that; what only users read does not.
pub(super) fn is_set_last(name: &[u8]) -> bool {
    !name.starts_with(b"user.")
}

/// Whether a symbolic link may lead out of the folder, judged by its name alone: a `..` behind the name of a folder
/// counts, because that folder may be a link itself.
pub(super) fn leads_out(entry: &Entry) -> bool {
    let inside = inside(&entry.path).unwrap_or_default();
    let (mut above, mut named) = (inside.components().count().saturating_sub(1), false);
    for part in Path::new(OsStr::from_bytes(&entry.link)).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => named = true,
            Component::ParentDir if above > 0 && !named => above -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::Mtime;

    fn entry(kind: Kind, path: &str, link: &str) -> Entry {
        Entry { kind, link: link.into(), ..Entry::file(path.as_bytes(), 0, 0o644, Mtime::default()) }
    }

    fn add_all(entries: &[(Kind, &str, &str)]) -> Result<(), String> {
        let mut layout = Layout::default();
        entries.iter().try_for_each(|(kind, path, link)| layout.add(&entry(*kind, path, link)).map(drop))
    }

    #[test]
    fn what_other_tars_write_is_taken() {
        use Kind::{File, Folder, Hardlink, Symlink};
        let rows: [(Kind, &str, &str); 7] = [
            (Folder, ".", ""),
            (File, "./a/b", ""),
            (Folder, "./a", ""),
            (Folder, "c", ""),
            (File, "c/d", ""),
            (Hardlink, "e", "./a/b"),
            (Symlink, "f", "/anywhere"),
        ];
        assert_eq!(add_all(&rows), Ok(()));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        use Kind::{File, Folder, Hardlink, Symlink};
        type Row<'a> = (&'a [(Kind, &'a str, &'a str)], &'a str);
        let rows: [Row<'_>; 9] = [
            (&[(File, "../a", "")], "../a"),
            (&[(File, "/a", "")], "/a"),
            (&[(File, ".", "")], "no name"),
            (&[(File, "a", ""), (File, "./a", "")], "./a is there twice"),
            (&[(Folder, "a", ""), (Folder, "a/", "")], "twice"),
            (&[(Symlink, "a", "b"), (File, "a/c/d", "")], "needs the folder a"),
            (&[(File, "a/b", ""), (File, "a", "")], "where a folder is needed"),
            (&[(Hardlink, "a", "b"), (File, "b", "")], "hard link to b"),
            (&[(Symlink, "s", "x"), (Hardlink, "a", "s")], "hard link to s"),
        ];
        for (entries, expected) in rows {
            let what = add_all(entries).expect_err(expected);
            assert!(what.contains(expected), "{what}");
        }
    }

    #[test]
    fn links_are_judged_by_their_names() {
        let out = |path: &str, link: &str| leads_out(&entry(Kind::Symlink, path, link));
        for (path, link) in [("a", "b/c"), ("a/b/c", "../../x"), ("./a/b", "../x"), ("a", "./b")] {
            assert!(!out(path, link), "{path} -> {link}");
        }
        for (path, link) in [("a", "/b"), ("a", ".."), ("a/b", "../../x"), ("a", "b/../c"), ("./a", "../x")] {
            assert!(out(path, link), "{path} -> {link}");
        }
    }

    /// Each entry may bring so many folders without one, and a last one then cannot be added, or can.
    #[test]
    fn folders_without_an_entry_are_counted() {
        let limit = (1 << 16) + 16 * 513;
        for (folders, is_taken) in [(limit, true), (limit + 1, false)] {
            let mut layout = Layout::default();
            for number in 0..512 {
                let own = if number < 511 { 144 } else { folders - 511 * 144 };
                let name = format!("{number}/{}f", "a/".repeat(own - 1));
                assert_eq!(layout.add(&entry(Kind::File, &name, "")).err(), None, "{number}");
            }
            let last = layout.add(&entry(Kind::File, "last", ""));
            assert_eq!(last.is_ok(), is_taken, "{folders}");
        }
    }

    #[test]
    fn attributes_are_held_for_as_many_folders_as_there_are() {
        use Kind::{File, Folder};
        let mut layout = Layout::default();
        for (kind, path) in [(Folder, "a"), (Folder, "b"), (Folder, "c"), (File, "d")] {
            layout.add(&entry(kind, path, "")).expect("is taken");
        }
        assert_eq!(layout.hold(16 << 20), Ok(()));
        assert_eq!(layout.hold(3 << 10), Ok(()));
        let what = layout.hold(1).expect_err("too many");
        assert_eq!(what, "the attributes of its folders take 16780289 bytes, more than is held");
    }

    #[test]
    fn only_what_decides_over_a_folder_is_held_until_its_end() {
        let with = |kind, names: &[&str]| {
            let mut entry = entry(kind, "a", "");
            entry.xattrs = names.iter().map(|name| (name.as_bytes().to_vec(), b"12345".to_vec())).collect();
            held(&entry)
        };
        assert_eq!(with(Kind::Folder, &["system.acl", "user.note"]), 15);
        assert_eq!(with(Kind::File, &["system.acl", "user.note"]), 0);
        let last =
            ["user.note", "system.acl", "security.x", "usernote"].map(|name| is_set_last(name.as_bytes()));
        assert_eq!(last, [false, true, true, true]);
    }

    #[test]
    fn names_that_no_system_takes_are_refused() {
        let longest = "a".repeat(16 * 1024);
        assert_eq!(add_all(&[(Kind::File, &longest, "")]), Ok(()));
        let what = add_all(&[(Kind::File, &format!("{longest}a"), "")]).expect_err("too long");
        assert!(what.ends_with("has a name of 16385 bytes, which no system takes"), "{what}");
        for name in ["", "a\0b"] {
            let what = add_all(&[(Kind::File, name, "")]).expect_err(name);
            assert!(what.ends_with("would lie outside of the folder"), "{what}");
        }
        for link in ["", "a\0b"] {
            let what = add_all(&[(Kind::Symlink, "s", link)]).expect_err(link);
            assert_eq!(what, "entry s is a link to nothing");
        }
    }
}
