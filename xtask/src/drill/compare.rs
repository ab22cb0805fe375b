//! Compares a restored folder with the manifest, entry by entry, both ways.
//!
//! Reads what lies on disk after the restore, not what the restore says it wrote: kind, size, content, link
//! target, mode, modification time; and nothing may lie there that the manifest does not know. Owners are
//! not compared: only root can restore them.
use crate::archive::entry::Kind;
use crate::archive::hex;
use crate::archive::manifest::{Manifest, Record};
use crate::error::{Error, Result};
use crate::finding::{Finding, show_bytes};
use crate::restore::digest_file;
use std::collections::BTreeSet;
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

/// Compares what lies under `root` with `manifest`.
///
/// # Errors
/// `Io` when something there cannot be read.
pub fn compare(manifest: &Manifest, root: &Path) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut known = BTreeSet::new();
    let mut differences = Vec::new();
    for record in &manifest.records {
        let shown = show_bytes(&record.entry.path);
        compared.entries += 1;
        let Some(path) = inside(root, &record.entry.path) else {
            differences.push(Finding::error(shown, "its name leads out of the restored folder", REPAIR));
            continue;
        };
        known.extend(path.ancestors().take_while(|a| *a != root).map(Path::to_path_buf));
        compared.bytes += record.entry.size;
        if let Some(difference) = difference(record, root, &path)? {
            differences.push(difference.finding(shown));
        }
    }
    strangers(root, root, &known, &mut differences)?;
    let more = differences.len().saturating_sub(LISTED);
    differences.truncate(LISTED);
    if more > 0 {
        differences.push(Finding::error("…", format!("and {more} more differences"), REPAIR));
    }
    compared.findings = differences;
    Ok(compared)
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

/// What lies under `folder` and is neither an entry nor a folder above one.
fn strangers(root: &Path, folder: &Path, known: &BTreeSet<PathBuf>, found: &mut Vec<Finding>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let path = entry.path();
        if !known.contains(&path) {
            let shown = path.strip_prefix(root).unwrap_or(&path);
            let what = "was restored although the manifest does not know it";
            found.push(Finding::error(crate::finding::show(shown), what, REPAIR));
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            strangers(root, &path, known, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::codec::Codec;
    use crate::archive::entry::{Entry, Mtime};
    use crate::archive::manifest::Header;
    use crate::finding::any_error;
    use sha2::{Digest as _, Sha256};

    fn record(entry: Entry, content: Option<&[u8]>) -> Record {
        Record { entry, sha256: content.map(|c| Sha256::digest(c).into()), block: 0, blocks: 1 }
    }

    /// A restored folder and its manifest: `set/file`, `set/link` → `file`, `set/twin` = `set/file`.
    fn restored() -> (tempfile::TempDir, Manifest) {
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
        let header = Header {
            schema: 1,
            archive: "a".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
            codec: Codec::Gzip,
            encoder: String::new(),
            level: 6,
            tool: String::new(),
        };
        (root, Manifest { header, blocks: vec![], records })
    }

    #[test]
    fn the_same_is_the_same() {
        let (root, manifest) = restored();
        let compared = compare(&manifest, root.path()).expect("compared");
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
            let (root, manifest) = restored();
            change(&root.path().join("set"));
            let compared = compare(&manifest, root.path()).expect("compared");
            assert!(any_error(&compared.findings), "{name}");
        }
    }

    #[test]
    fn another_time_is_a_warning() {
        let (root, mut manifest) = restored();
        manifest.records[0].entry.mtime.seconds -= 5;
        let compared = compare(&manifest, root.path()).expect("compared");
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
