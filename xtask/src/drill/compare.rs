//! Compares a restored folder with the manifest, entry by entry, both ways.
//!
//! Reads what lies on disk after the restore, not what the restore says it wrote: kind, size, content, link
//! target, mode, modification time; and nothing may lie there that the manifest does not know. Owners are
//! not compared: only root can restore them.
use crate::archive::entry::{Kind, order};
use crate::archive::hex;
use crate::archive::manifest::Record;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::restore::digest_file;
use crate::shown::show_bytes;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// Differences beyond this many are counted, not listed.
const LISTED: usize = 20;
const REPAIR: &str = "do not rely on this artifact; run `cargo xtask verify` on it";

/// What a comparison has shown.
#[derive(Debug, Default)]
pub struct Compared {
    /// Entries that were compared.
    pub entries: u64,
    /// Bytes of file content that were hashed.
    pub bytes: u64,
    /// Differences.
    pub findings: Vec<Finding>,
}

/// Compares what lies under `root` with the entries that `next` yields, in the archive's order. Both sides
/// are walked in step, so that a million entries take no more memory than ten.
///
/// # Errors
/// Those of `next`; `Io` when something on disk cannot be read.
pub fn compare(next: &mut dyn FnMut() -> Result<Option<Record>>, root: &Path) -> Result<Compared> {
    let record = next()?;
    let mut merge = Merge { root, next, record, compared: Compared::default(), unlisted: 0 };
    merge.folder(root, b"")?;
    while merge.record.is_some() {
        merge.missing()?;
    }
    if merge.unlisted > 0 {
        let what = format!("and {} more differences", merge.unlisted);
        merge.compared.findings.push(Finding::error("…", what, REPAIR));
    }
    Ok(merge.compared)
}

/// The two sides of a comparison.
struct Merge<'a> {
    root: &'a Path,
    next: &'a mut dyn FnMut() -> Result<Option<Record>>,
    /// The first record that was not met on disk yet.
    record: Option<Record>,
    compared: Compared,
    /// Differences beyond [`LISTED`].
    unlisted: usize,
}

impl Merge<'_> {
    /// Walks a folder in the archive's order. Returns whether it holds anything that the manifest knows.
    fn folder(&mut self, path: &Path, name: &[u8]) -> Result<bool> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
            let entry = entry.map_err(Error::io("list", path))?;
            let is_folder = entry.file_type().map_err(Error::io("look at", &entry.path()))?.is_dir();
            names.push(([name, entry.file_name().as_bytes()].concat(), is_folder));
        }
        names.sort_unstable();
        let mut known = false;
        for (name, is_folder) in names {
            let met = self.meet(&name)?;
            let path = self.root.join(OsStr::from_bytes(&name));
            // The folder above an entry need not be an entry.
            let inside = is_folder && self.folder(&path, &[&name[..], b"/"].concat())?;
            if !met && !inside {
                self.stranger(&name);
            }
            known |= met || inside;
        }
        Ok(known)
    }

    /// Something lies on disk under this name: whether the manifest knows it.
    fn meet(&mut self, name: &[u8]) -> Result<bool> {
        while self.record.as_ref().is_some_and(|record| order(&record.entry.path, name).is_lt()) {
            self.missing()?;
        }
        let Some(record) = self.record.take_if(|record| record.entry.path == name) else { return Ok(false) };
        self.compared.entries += 1;
        self.compared.bytes += record.entry.size;
        let path = self.root.join(OsStr::from_bytes(name));
        if let Some(difference) = difference(&record, self.root, &path)? {
            self.push(difference.finding(show_bytes(name)));
        }
        self.record = (self.next)()?;
        Ok(true)
    }

    fn missing(&mut self) -> Result<()> {
        if let Some(record) = self.record.take() {
            let what = match inside(self.root, &record.entry.path) {
                Some(_) => "was not restored",
                None => "its name leads out of the restored folder",
            };
            self.compared.entries += 1;
            self.push(Finding::error(show_bytes(&record.entry.path), what, REPAIR));
        }
        self.record = (self.next)()?;
        Ok(())
    }

    fn stranger(&mut self, name: &[u8]) {
        let what = "was restored although the manifest does not know it";
        self.push(Finding::error(show_bytes(name), what, REPAIR));
    }

    fn push(&mut self, finding: Finding) {
        if self.compared.findings.len() < LISTED {
            self.compared.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

/// `root` with the entry's name behind it; `None` when that would not lie in `root`.
fn inside(root: &Path, name: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let plain = name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !name.as_os_str().is_empty()).then(|| root.join(name).components().collect())
}

/// How an entry on disk is not what the manifest says.
enum Difference {
    /// Its content or what it is: the data did not come back.
    Wrong(String),
    /// Its modification time: the data did.
    Time,
}

impl Difference {
    fn finding(self, path: String) -> Finding {
        match self {
            Self::Wrong(what) => Finding::error(path, what, REPAIR),
            Self::Time => Finding::warning(path, "was restored with another modification time", ""),
        }
    }
}

fn difference(record: &Record, root: &Path, path: &Path) -> Result<Option<Difference>> {
    let wrong = |what: String| Ok(Some(Difference::Wrong(what)));
    let entry = &record.entry;
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return wrong("was not restored".into());
        }
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    let kind = kind_of(&meta);
    let expected = if entry.kind == Kind::Hardlink { Some(Kind::File) } else { Some(entry.kind) };
    if kind != expected {
        return wrong("was restored as something else than it was".into());
    }
    match entry.kind {
        Kind::File => {
            if meta.len() != entry.size {
                return wrong(format!("has {} bytes, the manifest says {}", meta.len(), entry.size));
            }
            match record.sha256 {
                Some(digest) if digest_file(path)?.0 == hex(&digest) => {}
                Some(_) => return wrong("has another content than the manifest says".into()),
                None => return wrong("has no digest in the manifest".into()),
            }
        }
        Kind::Symlink => {
            let target = fs::read_link(path).map_err(Error::io("read the link", path))?;
            if target.as_os_str().as_bytes() != entry.link {
                return wrong("points elsewhere than the manifest says".into());
            }
            return Ok(None);
        }
        Kind::Hardlink => {
            let target = inside(root, &entry.link).and_then(|path| fs::symlink_metadata(path).ok());
            let same = target.is_some_and(|t| (t.dev(), t.ino()) == (meta.dev(), meta.ino()));
            return if same { Ok(None) } else { wrong("is no longer the same file as its hard link".into()) };
        }
        Kind::Folder => {}
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode != entry.mode & 0o7777 {
        return wrong(format!("has mode {mode:04o}, the manifest says {:04o}", entry.mode));
    }
    Ok((meta.mtime() != entry.mtime.seconds).then_some(Difference::Time))
}

fn kind_of(meta: &Metadata) -> Option<Kind> {
    let kind = meta.file_type();
    if kind.is_file() {
        Some(Kind::File)
    } else if kind.is_dir() {
        Some(Kind::Folder)
    } else if kind.is_symlink() {
        Some(Kind::Symlink)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::{Entry, Mtime};
    use crate::finding::any_error;
    use sha2::{Digest as _, Sha256};

    fn record(entry: Entry, content: Option<&[u8]>) -> Record {
        Record { entry, sha256: content.map(|c| Sha256::digest(c).into()), block: 0, blocks: 1 }
    }

    /// A restored folder and its manifest: `set/file`, `set/link` → `file`, `set/twin` = `set/file`.
    fn restored() -> (tempfile::TempDir, Vec<Record>) {
        let root = tempfile::tempdir().expect("a folder");
        let set = root.path().join("set");
        fs::create_dir(&set).expect("made");
        fs::write(set.join("file"), "content").expect("written");
        fs::set_permissions(set.join("file"), fs::Permissions::from_mode(0o640)).expect("set");
        std::os::unix::fs::symlink("file", set.join("link")).expect("linked");
        fs::hard_link(set.join("file"), set.join("twin")).expect("linked");
        let seconds = fs::metadata(set.join("file")).expect("there").mtime();
        let mtime = Mtime { seconds, nanos: 0 };
        let mut twin = Entry::file(b"set/twin", 0, 0o640, mtime);
        (twin.kind, twin.link) = (Kind::Hardlink, b"set/file".to_vec());
        let records = vec![
            record(Entry::file(b"set/file", 7, 0o640, mtime), Some(b"content")),
            record(Entry::symlink(b"set/link", b"file", mtime), None),
            record(twin, None),
        ];
        (root, records)
    }

    fn compared(records: &[Record], root: &Path) -> Compared {
        let mut records = records.iter().cloned();
        compare(&mut || Ok(records.next()), root).expect("compared")
    }

    #[test]
    fn the_same_is_the_same() {
        let (root, records) = restored();
        let compared = compared(&records, root.path());
        assert_eq!((compared.entries, compared.bytes, compared.findings), (3, 7, vec![]));
    }

    #[test]
    fn every_kind_of_difference_is_an_error() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 8] = [
            ("content", |set| fs::write(set.join("file"), "CONTENT").expect("written")),
            ("size", |set| fs::write(set.join("file"), "more content").expect("written")),
            ("mode", |set| {
                fs::set_permissions(set.join("file"), fs::Permissions::from_mode(0o600)).expect("set");
            }),
            ("gone", |set| fs::remove_file(set.join("link")).expect("removed")),
            ("target", |set| {
                fs::remove_file(set.join("link")).expect("removed");
                std::os::unix::fs::symlink("other", set.join("link")).expect("linked");
            }),
            ("kind", |set| {
                fs::remove_file(set.join("link")).expect("removed");
                fs::write(set.join("link"), "file").expect("written");
            }),
            ("hard link", |set| {
                fs::remove_file(set.join("twin")).expect("removed");
                fs::copy(set.join("file"), set.join("twin")).expect("copied");
            }),
            ("stranger", |set| fs::create_dir(set.join("new")).expect("made")),
        ];
        for (name, change) in changes {
            let (root, records) = restored();
            change(&root.path().join("set"));
            assert!(any_error(&compared(&records, root.path()).findings), "{name}");
        }
    }

    #[test]
    fn folders_in_between_need_no_entry_and_empty_ones_do() {
        let (root, records) = restored();
        for name in ["set-b", "set-b/inner", "set"] {
            let _ = fs::create_dir(root.path().join(name));
        }
        let found = compared(&records, root.path()).findings;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|finding| finding.path.starts_with("set-b")), "{found:?}");
    }

    #[test]
    fn more_differences_than_are_listed_are_counted() {
        let (root, records) = restored();
        for number in 0..LISTED + 5 {
            fs::write(root.path().join(format!("new{number}")), "").expect("written");
        }
        let found = compared(&records, root.path()).findings;
        assert_eq!(found.last().map(|finding| finding.what.as_str()), Some("and 5 more differences"));
    }

    #[test]
    fn another_time_is_a_warning() {
        let (root, mut records) = restored();
        records[0].entry.mtime.seconds -= 5;
        let compared = compared(&records, root.path());
        assert_eq!(compared.findings.len(), 1);
        assert!(!any_error(&compared.findings));
    }

    #[test]
    fn a_name_that_leads_out_is_not_followed() {
        for name in ["../x", "/etc/passwd", "", "set/../../x"] {
            assert_eq!(inside(Path::new("/r"), name.as_bytes()), None, "{name}");
        }
        assert_eq!(inside(Path::new("/r"), b"./set/"), Some(PathBuf::from("/r/set")));
    }
}
