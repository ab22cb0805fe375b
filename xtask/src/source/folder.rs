//! A data folder as a stream of entries under the folder's own name, in the archive's order.
//!
//! Walks without following links, so a loop of links is just links. Sockets, pipes and devices are passed over and
//! reported. Holds the names of the folders above it at a time, so a million files take no more memory than the fullest
//! folder. Does not read content, except the first 16 bytes of what could be a SQLite database. Names are looked up from
//! their open folder, and files are opened at once: lookups cost.
use super::state::{Facts, State};
use super::{Content, Item, Kept, patterns};
use crate::archive::entry::{Entry, Kind, MAX_EXTENSION, Mtime};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::{show, show_bytes};
use crate::tools::sqlite::is_database;
use ignore::gitignore::Gitignore;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use xattr::FileExt as _;

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
    /// An entry, and its file if that was opened.
    Item(Item, Option<File>),
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
    /// Their bytes, hard-linked ones once.
    pub bytes: u64,
    /// Paths that a pattern leaves out; a folder counts once.
    pub excluded: u64,
    /// Whether a SQLite database is among the files that is to be copied through SQLite.
    pub databases: bool,
    /// What cannot be archived.
    pub findings: Vec<Finding>,
    /// In which state the folder is; see [`Folder::survey`].
    pub state: Option<String>,
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

    /// Walks it once for numbers and findings, reading no file.
    ///
    /// Where the state that comes with them is the same, nothing was changed. For that, `now` must be a time before the
    /// walk: an entry that was changed within a tick of the file system's clock is waited for; while the folder is
    /// written to, there is no state.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn survey(&self, now: Mtime) -> Result<Survey> {
        let (survey, state) = self.look()?;
        let wait = state.unsettled(now);
        let first = state.digest();
        let Some(wait) = wait else { return Ok(Survey { state: Some(first), ..survey }) };
        std::thread::sleep(wait);
        let (mut survey, state) = self.look()?;
        survey.state = Some(state.digest()).filter(|second| *second == first);
        Ok(survey)
    }

    /// Between the survey whose state is kept and the reading: has the system write out what was changed in memory. From
    /// then on the first write to a page, through a mapping too, leaves another `ctime`; one before is read.
    pub fn settle(&self) {
        #[cfg(target_os = "linux")]
        let _ = File::open(&self.root).map(rustix::fs::syncfs);
    }

    fn look(&self) -> Result<(Survey, State)> {
        let (mut survey, mut kept) = (Survey::default(), Kept::default());
        let mut state = State::under(u8::from(self.databases == Databases::Copy));
        self.walk_for::<Error>(Some(&mut state), &mut |met| {
            match met {
                // Its database will hold what it holds.
                Met::Item(Item { content: Content::Journal(_), .. }, _) => {}
                Met::Item(item, _) => {
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
        Ok((survey, state))
    }

    /// Walks it to read it. What cannot be read below it is a finding.
    ///
    /// # Errors
    /// When the folder itself cannot be read, the run is interrupted, or `visit` fails.
    pub fn walk<E: From<Error>>(&self, visit: &mut dyn FnMut(Met) -> Result<(), E>) -> Result<(), E> {
        self.walk_for(None, visit)
    }

    fn walk_for<E: From<Error>>(
        &self,
        state: Option<&mut State>,
        visit: &mut dyn FnMut(Met) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: Errno| Error::io("read the source", &self.root)(error.into());
        // The source itself may be a link; what is in it is not followed.
        let stat = rustix::fs::stat(&self.root).map_err(failed)?;
        let dir = open_folder(CWD, &self.root, OFlags::empty()).map_err(failed)?;
        let facts = Facts::of(&stat);
        let mut walk = Walk { folder: self, state, visit };
        walk.note(&self.name, &facts);
        walk.item(&self.root, None, &facts, self.name.clone(), Kind::Folder, Content::None)?;
        walk.folder(dir, &self.root, &self.name, 0)
    }
}

/// Below this many folders names are looked up by their whole path: every open folder costs a descriptor.
const OPEN_FOLDERS: usize = 100;

/// A walk under way.
struct Walk<'a, E> {
    folder: &'a Folder,
    /// Of a walk that only looks at what there is; one without it opens files, to read them.
    state: Option<&'a mut State>,
    visit: &'a mut dyn FnMut(Met) -> Result<(), E>,
}

fn open_folder(at: BorrowedFd<'_>, path: &Path, links: OFlags) -> rustix::io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
    Dir::new(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

impl<E: From<Error>> Walk<'_, E> {
    /// What is in the open folder `dir`, which lies at `path` and is called `name` in the archive.
    fn folder(&mut self, mut dir: Dir, path: &Path, name: &[u8], depth: usize) -> Result<(), E> {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let names = match names(&mut dir) {
            Ok(names) => names,
            Err(error) => return self.unreadable(name, error),
        };
        let kept = (depth < OPEN_FOLDERS).then_some(dir);
        let mut databases = HashSet::new();
        for (part, listed) in names {
            let inside = path.join(OsStr::from_bytes(&part));
            let name = [name, b"/", &part[..]].concat();
            let fd = kept
                .as_ref()
                .map(Dir::fd)
                .transpose()
                .map_err(|error| Error::io("read", path)(error.into()))?;
            let place = match fd {
                Some(fd) => (fd, Path::new(OsStr::from_bytes(&part))),
                None => (CWD, inside.as_path()),
            };
            match self.meet(place, &inside, name.clone(), listed, &databases)? {
                Entered::Nothing => {}
                Entered::Database => drop(databases.insert(part)),
                Entered::Folder => match open_folder(place.0, place.1, OFlags::NOFOLLOW) {
                    Ok(dir) => self.folder(dir, &inside, &name, depth + 1)?,
                    Err(error) => self.unreadable(&name, error)?,
                },
            }
        }
        Ok(())
    }

    fn reads(&self) -> bool {
        self.state.is_none()
    }

    fn note(&mut self, name: &[u8], facts: &Facts) {
        if let Some(state) = &mut self.state {
            state.add(name, facts);
        }
    }

    fn unreadable(&mut self, name: &[u8], error: Errno) -> Result<(), E> {
        (self.visit)(Met::Finding(super::unreadable(&show_bytes(name), &error.into())))
    }

    /// One name of a folder; `databases` are those that stand before it there.
    fn meet(
        &mut self,
        (fd, relative): (BorrowedFd<'_>, &Path),
        path: &Path,
        name: Vec<u8>,
        listed: FileType,
        databases: &HashSet<Vec<u8>>,
    ) -> Result<Entered, E> {
        let inside = path.strip_prefix(&self.folder.root).unwrap_or(path);
        let excluded = |folder| self.folder.exclude.matched(inside, folder).is_ignore();
        let leave_out =
            |walk: &mut Self| (walk.visit)(Met::Excluded(show(inside))).map(|()| Entered::Nothing);
        // What is left out is not even opened.
        if listed != FileType::Unknown && excluded(listed == FileType::Directory) {
            return leave_out(self);
        }
        let read = self.reads() && listed == FileType::RegularFile;
        let opened = read.then(|| super::open_at(fd, relative)).transpose();
        let (stat, file) = match opened {
            Ok(Some(file)) => (rustix::fs::fstat(&file), Some(file)),
            // What took its place is looked at for what it is.
            Ok(None) | Err(Errno::LOOP | Errno::NXIO | Errno::OPNOTSUPP) => {
                (rustix::fs::statat(fd, relative, AtFlags::SYMLINK_NOFOLLOW), None)
            }
            Err(error) => (Err(error), None),
        };
        let facts = match stat {
            Ok(stat) => Facts::of(&stat),
            Err(error) => return self.unreadable(&name, error).map(|()| Entered::Nothing),
        };
        if listed == FileType::Unknown && excluded(facts.kind == FileType::Directory) {
            return leave_out(self);
        }
        self.note(&name, &facts);
        let (kind, content) = match facts.kind {
            FileType::Directory => (Kind::Folder, Content::None),
            FileType::Symlink => (Kind::Symlink, Content::None),
            FileType::RegularFile => {
                let copy = self.folder.databases == Databases::Copy;
                let content = if copy && holds_database((fd, relative), facts.size, file.as_ref()) {
                    Content::Database(path.to_owned())
                } else if journal_of(path, databases) {
                    Content::Journal(path.to_owned())
                } else {
                    Content::Live(path.to_owned())
                };
                (Kind::File, content)
            }
            other => {
                let what = match other {
                    FileType::Socket => "a socket",
                    FileType::Fifo => "a pipe",
                    _ => "a device",
                };
                let what = format!("is {what}, which has no content to back up; passed over");
                (self.visit)(Met::Finding(Finding::info(show_bytes(&name), what)))?;
                return Ok(Entered::Nothing);
            }
        };
        let entered = match (kind, &content) {
            (Kind::Folder, _) => Entered::Folder,
            (_, Content::Database(_)) => Entered::Database,
            _ => Entered::Nothing,
        };
        self.item(path, file, &facts, name, kind, content)?;
        Ok(entered)
    }

    fn item(
        &mut self,
        path: &Path,
        file: Option<File>,
        facts: &Facts,
        name: Vec<u8>,
        kind: Kind,
        content: Content,
    ) -> Result<(), E> {
        let reading = self.reads();
        let link = match kind {
            Kind::Symlink if reading => match fs::read_link(path) {
                Ok(target) => target.as_os_str().as_bytes().to_vec(),
                Err(error) => {
                    return (self.visit)(Met::Finding(super::unreadable(&show_bytes(&name), &error)));
                }
            },
            _ => Vec::new(),
        };
        let mut entry = Entry {
            kind,
            size: if kind == Kind::File { facts.size } else { 0 },
            mode: facts.mode,
            uid: facts.uid.into(),
            gid: facts.gid.into(),
            mtime: facts.mtime,
            link,
            xattrs: Vec::new(),
            path: name,
        };
        let mut finding = None;
        if kind != Kind::Symlink && reading {
            let xattrs = match &file {
                Some(file) => xattrs(|| file.list_xattr(), |name| file.get_xattr(name)),
                None => xattrs(|| xattr::list(path), |name| xattr::get(path, name)),
            };
            match xattrs {
                Ok(xattrs) => entry.xattrs = xattrs,
                Err(what) => {
                    let what = format!("has extended attributes that are NOT in the backup: {what}");
                    let repair = "its content is; keep the attributes elsewhere";
                    finding = Some(Finding::error(show_bytes(&entry.path), what, repair));
                }
            }
        }
        let inode = (kind == Kind::File && facts.links > 1).then_some(facts.inode);
        (self.visit)(Met::Item(Item { entry, content, inode, finding }, file))
    }
}

/// What a name turned out to be.
enum Entered {
    Nothing,
    Folder,
    Database,
}

/// The names in a folder in the order of their bytes, and what the folder says they are.
fn names(dir: &mut Dir) -> rustix::io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    for entry in dir {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _): &(Vec<u8>, _)| one.cmp(other));
    Ok(names)
}

/// Name and value.
type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes of a file, sorted. POSIX ACLs are among them. A file system without any has none.
fn xattrs(
    list: impl Fn() -> std::io::Result<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Attribute>, String> {
    let names = match list() {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotFound) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("they could not be listed: {error}")),
    };
    let mut all = Vec::new();
    for name in names {
        match get(&name) {
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
fn holds_database((fd, path): (BorrowedFd<'_>, &Path), size: u64, file: Option<&File>) -> bool {
    use std::os::unix::fs::FileExt as _;
    if size < 512 || !size.is_multiple_of(512) {
        return false;
    }
    let mut magic = [0; 16];
    let read = match file {
        Some(file) => file.read_exact_at(&mut magic, 0),
        None => {
            super::open_at(fd, path).map_err(Into::into).and_then(|file| file.read_exact_at(&mut magic, 0))
        }
    };
    read.is_ok() && is_database(&magic)
}

/// Whether a file is the journal of a database beside it, which in the order of the bytes stands before it.
fn journal_of(path: &Path, databases: &HashSet<Vec<u8>>) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    super::sqlite::database_of(name).is_some_and(|base| databases.contains(base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::order;

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
                    Met::Item(item, _) => paths.push(String::from_utf8(item.entry.path).expect("text")),
                    Met::Excluded(path) => excluded.push(path),
                    Met::Finding(finding) => panic!("{finding:?}"),
                }
                Ok(())
            })
            .expect("walks");
        let mut sorted = paths.clone();
        sorted.sort_by(|a, b| order(a.as_bytes(), b.as_bytes()));
        assert_eq!(paths, sorted);
        let at = |path: &str| paths.iter().position(|it| it == path).expect(path);
        assert_eq!(at("set/a/x") + 1, at("set/a-b"), "a folder is done when the next name comes: {paths:?}");
        assert_eq!(
            (paths.len(), excluded.as_slice()),
            (8, &["b".to_owned(), "out".to_owned()][..]),
            "{paths:?}"
        );
        let survey = folder.survey(Mtime::default()).expect("surveys");
        assert_eq!((survey.entries, survey.files, survey.bytes, survey.excluded), (8, 4, 4, 2));
    }

    /// Further down than folders are kept open.
    #[test]
    fn a_deep_folder_is_walked_to_its_end() {
        let home = tempfile::tempdir().expect("a folder");
        let deep = (0..OPEN_FOLDERS + 20).fold(home.path().join("set"), |path, _| path.join("d"));
        fs::create_dir_all(&deep).expect("makes");
        fs::write(deep.join("file"), "x").expect("writes");
        let folder = Folder::open(&home.path().join("set"), &[], Databases::Copy).expect("opens");
        let mut files = Vec::new();
        folder
            .walk::<Error>(&mut |met| {
                match met {
                    Met::Item(item, Some(_)) => files.push(item.entry.path.len()),
                    Met::Item(..) => {}
                    other => panic!("{other:?}"),
                }
                Ok(())
            })
            .expect("walks");
        assert_eq!(files, ["set/file".len() + 2 * (OPEN_FOLDERS + 20)]);
        let survey = folder.survey(Mtime::default()).expect("surveys");
        assert_eq!((survey.entries as usize, survey.files), (OPEN_FOLDERS + 22, 1));
    }
}
