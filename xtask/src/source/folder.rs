//! A data folder as a stream of entries under the folder's own name, in the order of their paths' bytes.
//!
//! Walks without following links, so a loop of links is just links. Sockets, pipes and devices are passed over and
//! reported. Holds one folder's names at a time, so a million files take no more memory than the fullest folder. Does
//! not read content, except the first 16 bytes of what could be a SQLite database.
use super::{Content, Item, Kept, mtime, patterns};
use crate::archive::entry::{Entry, Kind, MAX_EXTENSION};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::{show, show_bytes};
use crate::tools::sqlite::is_database;
use ignore::gitignore::Gitignore;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use serde::Deserialize;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

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

/// A folder that is to be archived.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    name: Vec<u8>,
    exclude: Gitignore,
    databases: Databases,
}

/// What a walk meets.
#[derive(Debug)]
pub enum Met {
    /// An entry.
    Item(Item),
    /// A path that a pattern leaves out; a folder stands for what is in it.
    Excluded(String),
    /// Something that cannot be archived.
    Finding(Finding),
}

/// What a folder holds, without its content.
#[derive(Debug, Default)]
pub struct Survey {
    /// Number of entries.
    pub entries: u64,
    /// Number of files among them, each name of a hard-linked one.
    pub files: u64,
    /// Bytes of the files, hard-linked ones once.
    pub bytes: u64,
    /// Paths that a pattern leaves out; a folder counts once.
    pub excluded: u64,
    /// Whether a SQLite database is among the files that is to be copied through SQLite.
    pub databases: bool,
    /// What cannot be archived.
    pub findings: Vec<Finding>,
}

impl Folder {
    /// The folder at `root`; `exclude` holds gitignore patterns relative to it.
    ///
    /// # Errors
    /// When `root` is not a folder, or a pattern does not parse.
    pub fn open(root: &Path, exclude: &[String], databases: Databases) -> Result<Self> {
        if !fs::metadata(root).map_err(Error::io("read the source", root))?.is_dir() {
            let what = format!("the source {} is not a folder", root.display());
            return Err(Error::refused(what, "name a folder"));
        }
        let real = fs::canonicalize(root).map_err(Error::io("resolve", root))?;
        let name = root.file_name().or(real.file_name()).unwrap_or(OsStr::new("root")).as_bytes().to_vec();
        Ok(Self { root: root.to_owned(), name, exclude: patterns(exclude)?, databases })
    }

    /// Walks it once for numbers and findings.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn survey(&self) -> Result<Survey> {
        let (mut survey, mut kept) = (Survey::default(), Kept::default());
        self.walk::<Error>(&mut |met| {
            match met {
                // Its database will hold what it holds.
                Met::Item(Item { content: Content::Journal(_), .. }) => {}
                Met::Item(item) => {
                    survey.findings.extend(item.finding);
                    survey.entries += 1;
                    survey.files += u64::from(item.content != Content::None);
                    survey.databases |= matches!(item.content, Content::Database(_));
                    if kept.first_name(item.inode).is_none() {
                        survey.bytes += item.entry.size;
                        kept.keep(item.inode, &item.entry.path);
                    }
                }
                Met::Excluded(_) => survey.excluded += 1,
                Met::Finding(finding) => survey.findings.push(finding),
            }
            Ok(())
        })?;
        Ok(survey)
    }

    /// Walks it in the order of the paths' bytes. What cannot be read below it is a finding.
    ///
    /// # Errors
    /// When the folder itself cannot be read, the run is interrupted, or `visit` fails.
    pub fn walk<E: From<Error>>(&self, visit: &mut dyn FnMut(Met) -> Result<(), E>) -> Result<(), E> {
        let meta = fs::metadata(&self.root).map_err(Error::io("read the source", &self.root))?;
        fs::read_dir(&self.root).map_err(Error::io("read the source", &self.root))?;
        visit(item(&self.root, self.name.clone(), &meta, Kind::Folder, Content::None))?;
        self.folder(&self.root, &self.name, visit)
    }

    fn folder<E: From<Error>>(
        &self,
        path: &Path,
        name: &[u8],
        visit: &mut dyn FnMut(Met) -> Result<(), E>,
    ) -> Result<(), E> {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        // The source itself may be a link; what is in it is not followed.
        let links = if path == self.root { OFlags::empty() } else { OFlags::NOFOLLOW };
        let steps = match steps(path, links) {
            Ok(steps) => steps,
            Err(error) => return visit(Met::Finding(super::unreadable(&show_bytes(name), &error))),
        };
        let (mut folders, mut databases) = (HashSet::new(), HashSet::new());
        let listed: HashSet<Vec<u8>> = steps.iter().filter(|step| step.ends_with(b"/")).cloned().collect();
        for step in steps {
            let part = step.strip_suffix(b"/").unwrap_or(&step);
            let path = path.join(OsStr::from_bytes(part));
            let name = [name, b"/", part].concat();
            if step.ends_with(b"/") {
                // Only what is a folder still: a link that took its place is not followed.
                if folders.contains(part) {
                    self.folder(&path, &name, visit)?;
                }
                continue;
            }
            let met = self.meet(&path, name, &databases);
            match &met {
                Met::Item(Item { content: Content::Database(_), .. }) => {
                    databases.insert(part.to_vec());
                }
                Met::Item(Item { entry: Entry { kind: Kind::Folder, .. }, .. }) => {
                    folders.insert(part.to_vec());
                    if !listed.contains(&[part, b"/"].concat()) {
                        let what = "became a folder while the backup ran; what is in it is NOT in the backup";
                        visit(Met::Finding(Finding::error(show(&path), what, "run again")))?;
                    }
                }
                Met::Item(_) | Met::Excluded(_) | Met::Finding(_) => {}
            }
            visit(met)?;
        }
        Ok(())
    }

    /// One name of a folder; `databases` are those that stand before it there.
    fn meet(&self, path: &Path, name: Vec<u8>, databases: &HashSet<Vec<u8>>) -> Met {
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) => return Met::Finding(super::unreadable(&show_bytes(&name), &error)),
        };
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        if self.exclude.matched(relative, meta.is_dir()).is_ignore() {
            return Met::Excluded(show(relative));
        }
        let kind = meta.file_type();
        if kind.is_dir() {
            item(path, name, &meta, Kind::Folder, Content::None)
        } else if kind.is_symlink() {
            item(path, name, &meta, Kind::Symlink, Content::None)
        } else if kind.is_file() {
            let copy = self.databases == Databases::Copy;
            let content = match (copy && holds_database(path, &meta), journal_of(path, databases)) {
                (true, _) => Content::Database(path.to_owned()),
                (false, true) => Content::Journal(path.to_owned()),
                (false, false) => Content::Live(path.to_owned()),
            };
            item(path, name, &meta, Kind::File, content)
        } else {
            let what = match (kind.is_socket(), kind.is_fifo()) {
                (true, _) => "a socket",
                (_, true) => "a pipe",
                _ => "a device",
            };
            let what = format!("is {what}, which has no content to back up; passed over");
            Met::Finding(Finding::info(show_bytes(&name), what))
        }
    }
}

/// The names in a folder, and for each folder among them a second step with `/` at its end, which stands for what is
/// in it: in the order of the bytes, `a/x` comes behind `a-b`.
fn steps(path: &Path, links: OFlags) -> std::io::Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
    let mut steps = Vec::new();
    for entry in Dir::new(rustix::fs::open(path, flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Unknown => path.join(OsStr::from_bytes(&name)).symlink_metadata()?.is_dir(),
            kind => kind == FileType::Directory,
        };
        if is_folder {
            steps.push([&name[..], b"/"].concat());
        }
        steps.push(name);
    }
    steps.sort_unstable();
    Ok(steps)
}

fn item(path: &Path, name: Vec<u8>, meta: &Metadata, kind: Kind, content: Content) -> Met {
    let link = match kind {
        Kind::Symlink => match fs::read_link(path) {
            Ok(target) => target.as_os_str().as_bytes().to_vec(),
            Err(error) => return Met::Finding(super::unreadable(&show_bytes(&name), &error)),
        },
        _ => Vec::new(),
    };
    let entry = Entry {
        kind,
        size: if kind == Kind::File { meta.len() } else { 0 },
        mode: meta.mode() & 0o7777,
        uid: meta.uid().into(),
        gid: meta.gid().into(),
        mtime: mtime(meta),
        link,
        xattrs: Vec::new(),
        path: name,
    };
    let inode = (kind == Kind::File && meta.nlink() > 1).then(|| (meta.dev(), meta.ino()));
    let mut item = Item { entry, content, inode, finding: None };
    if kind != Kind::Symlink {
        match xattrs(path) {
            Ok(xattrs) => item.entry.xattrs = xattrs,
            Err(what) => {
                let what = format!("has extended attributes that are NOT in the backup: {what}");
                let repair = "its content is; keep the attributes elsewhere";
                item.finding = Some(Finding::error(show_bytes(&item.entry.path), what, repair));
            }
        }
    }
    Met::Item(item)
}

/// Name and value.
type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes of a file, sorted. POSIX ACLs are among them. A file system without any has none.
fn xattrs(path: &Path) -> Result<Vec<Attribute>, String> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotFound) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("they could not be listed: {error}")),
    };
    let mut all = Vec::new();
    for name in names {
        match xattr::get(path, &name) {
            Ok(Some(value)) => all.push((name.as_bytes().to_vec(), value)),
            // It was taken away in between.
            Ok(None) => {}
            Err(error) => return Err(format!("{} could not be read: {error}", show(Path::new(&name)))),
        }
    }
    all.sort();
    if all.iter().any(|(name, _)| name.contains(&b'=')) {
        return Err("a name with '=' has no place in a pax record".into());
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len() + RECORD_OVERHEAD).sum();
    match bytes as u64 > MAX_EXTENSION {
        true => Err(format!("they take {bytes} bytes, and {MAX_EXTENSION} is the most")),
        false => Ok(all),
    }
}

/// No more than this stands around name and value in a pax record.
const RECORD_OVERHEAD: usize = 32;

/// A database file is a whole number of pages, and a page at least 512 bytes: no other file is opened.
fn holds_database(path: &Path, meta: &Metadata) -> bool {
    let mut magic = [0; 16];
    meta.len() >= 512
        && meta.len().is_multiple_of(512)
        && super::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && is_database(&magic)
}

/// Whether a file is the journal of a database beside it, which in the order of the bytes stands before it.
fn journal_of(path: &Path, databases: &HashSet<Vec<u8>>) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    super::sqlite::database_of(name).is_some_and(|base| databases.contains(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_whole_paths() {
        let home = tempfile::tempdir().expect("a folder");
        for path in ["set/a/x", "set/a-b", "set/a.d/y", "set/b", "set/a/-/z", "set/out/q"] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
            fs::write(path, "x").expect("writes");
        }
        let exclude = ["/out/".to_owned(), "b".to_owned()];
        let folder = Folder::open(&home.path().join("set"), &exclude, Databases::Copy).expect("opens");
        let (mut paths, mut excluded) = (Vec::new(), Vec::new());
        folder
            .walk::<Error>(&mut |met| {
                match met {
                    Met::Item(item) => paths.push(String::from_utf8(item.entry.path).expect("text")),
                    Met::Excluded(path) => excluded.push(path),
                    Met::Finding(finding) => panic!("{finding:?}"),
                }
                Ok(())
            })
            .expect("walks");
        let mut sorted = paths.clone();
        sorted.sort();
        assert_eq!(paths, sorted);
        assert_eq!(
            (paths.len(), excluded.as_slice()),
            (8, &["b".to_owned(), "out".to_owned()][..]),
            "{paths:?}"
        );
        let survey = folder.survey().expect("surveys");
        assert_eq!((survey.entries, survey.files, survey.bytes, survey.excluded), (8, 4, 4, 2));
    }
}
