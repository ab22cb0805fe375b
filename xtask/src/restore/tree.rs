//! Where entries become files: a folder of our own that nothing outside can reach into and nothing inside can
//! lead out of.
//!
//! [`Layout`] judges the names. Files and folders are made first, then hard links, symbolic links last: while
//! content is written there is no link in the tree that it could be written through. Metadata of folders comes
//! last of all, since making files changes their times.
use super::layout::{Layout, MAX_PATH, held, is_set_last, leads_out};
use super::scratch::{Owner, Scratch};
use super::{Source, Trouble, damaged};
use crate::archive::FormatError;
use crate::archive::entry::{Entry, Kind, Mtime};
use crate::destination::durable::sync_tree;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::show_bytes;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a path, with its end, that the system takes (`PATH_MAX`).
const LONGEST: usize = if cfg!(target_os = "linux") { 4096 } else { 1024 };

/// A tree under construction; removed when it is dropped before [`Tree::finish`].
pub(super) struct Tree {
    target: PathBuf,
    /// Whether the target is a file system of its own, over which nothing can be renamed.
    mounted: bool,
    /// The hidden folder that the tree lies in.
    scratch: Option<Scratch>,
    root: PathBuf,
    /// Folders above the target that were made for it.
    above: Vec<PathBuf>,
    layout: Layout,
    folders: Vec<Late>,
    hardlinks: Vec<Late>,
    symlinks: Vec<Late>,
    findings: Vec<Finding>,
    /// The folder that was made last.
    last_made: PathBuf,
    own: bool,
    /// Whether some files could not be had.
    gaps: bool,
    done: bool,
}

impl Tree {
    /// A hidden folder beside `target`, which must be new or an empty folder; in it, when that is a file system of its
    /// own.
    pub(super) fn beside(target: &Path) -> Result<Self> {
        let target = without_links(target)?;
        is_free(&target)?;
        let Some(parent) = target.parent() else {
            let what = format!("{} cannot be restored into", target.display());
            return Err(Error::refused(what, "give a new folder"));
        };
        let missing = parent.ancestors().take_while(|folder| !folder.exists());
        let above: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
        let mounted = target.exists() && device(&target) != device(parent);
        let scratch = Scratch::new(Owner::Restore, if mounted { &target } else { parent })?;
        let root = scratch.folder("tree")?;
        Ok(Self {
            target,
            mounted,
            scratch: Some(scratch),
            root,
            above,
            layout: Layout::default(),
            folders: Vec::new(),
            hardlinks: Vec::new(),
            symlinks: Vec::new(),
            findings: Vec::new(),
            last_made: PathBuf::new(),
            own: rustix::process::geteuid().is_root(),
            gaps: false,
            done: false,
        })
    }

    /// Makes an entry with its content.
    pub(super) fn place(
        &mut self,
        source: &Source,
        entry: Entry,
        content: &mut dyn BufRead,
    ) -> Result<(), Trouble> {
        let path = self.lay(source, &entry)?;
        if entry.kind == Kind::File {
            let findings = self.files().write(&entry, &path, content)?;
            self.findings.extend(findings);
        }
        Ok(self.keep(source, path, entry)?)
    }

    /// Whether the system takes the path of an entry; one that is too long is told, and left out with all beneath it.
    pub(super) fn takes(&mut self, entry: &Entry) -> bool {
        let length = self.root.as_os_str().len() + 1 + entry.path.len();
        // One that no system takes is no name: the layout refuses it.
        if length < LONGEST || entry.path.len() > MAX_PATH {
            return true;
        }
        self.gaps = true;
        let what =
            format!("is NOT restored: its path would have {length} bytes, and the system takes {LONGEST}");
        let repair =
            "restore into a folder with a shorter path, or with a tar that goes from folder to folder";
        self.findings.push(Finding::error(show_bytes(&entry.path), what, repair));
        false
    }

    /// Makes room for an entry: judges its name, makes the folder that it lies in (or is), and returns where it lies.
    pub(super) fn lay(&mut self, source: &Source, entry: &Entry) -> Result<PathBuf> {
        let path = self.layout.add(entry).map_err(|what| damaged(source, what))?;
        let path: PathBuf = self.root.join(path).components().collect();
        match entry.kind {
            Kind::Folder => self.make_folders(&path)?,
            Kind::File => self.make_above(&path)?,
            Kind::Hardlink | Kind::Symlink => {}
        }
        Ok(path)
    }

    /// What is no file is dressed or made in the end. Attributes are set now where they decide over nothing that comes to
    /// lie in a folder, so that not all of them are held.
    pub(super) fn keep(&mut self, source: &Source, path: PathBuf, mut entry: Entry) -> Result<()> {
        match entry.kind {
            Kind::File => {}
            Kind::Folder => {
                self.layout.hold(held(&entry)).map_err(|what| damaged(source, what))?;
                let now;
                (entry.xattrs, now) = entry.xattrs.into_iter().partition(|(name, _)| is_set_last(name));
                self.findings.extend(set_attributes(&entry.path, &path, &now));
                self.folders.push(Late::of(self.inside(&path), entry));
            }
            Kind::Hardlink => self.hardlinks.push(Late::of(self.inside(&path), entry)),
            Kind::Symlink => self.symlinks.push(Late::of(self.inside(&path), entry)),
        }
        Ok(())
    }

    /// Takes away what there is of a file whose content cannot be had.
    pub(super) fn forget(&mut self, path: &Path) -> Result<()> {
        self.gaps = true;
        #[expect(clippy::disallowed_methods, reason = "a file of this restore's own")]
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn found(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// What writes the files, on any thread.
    pub(super) fn files(&self) -> Files {
        Files { own: self.own }
    }

    /// A path beneath the root, without it.
    fn inside<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Makes the folders above a path; the root is there.
    fn make_above(&mut self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |parent| self.make_folders(parent))
    }

    /// Makes a folder and those above it. Entries of one folder mostly follow each other.
    fn make_folders(&mut self, path: &Path) -> Result<()> {
        if self.last_made != path {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(Error::io("create", path))?;
            self.last_made = path.to_owned();
        }
        Ok(())
    }

    /// Gives an entry that is there its metadata.
    fn dress(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        self.findings.extend(self.files().dress(entry, path, None)?);
        Ok(())
    }

    /// Makes the links, dresses the folders, and makes the tree visible under its name.
    pub(super) fn finish(mut self, listed: bool) -> Result<Vec<Finding>> {
        for entry in std::mem::take(&mut self.hardlinks).into_iter().map(|late| late.entry(Kind::Hardlink)) {
            let path = self.root.join(OsStr::from_bytes(&entry.path));
            self.make_above(&path)?;
            let target: PathBuf = self.root.join(OsStr::from_bytes(&entry.link)).components().collect();
            match fs::hard_link(&target, &path) {
                Err(error) if self.gaps && error.kind() == std::io::ErrorKind::NotFound => {
                    let what =
                        format!("is a hard link to {}, which is NOT restored", show_bytes(&entry.link));
                    let repair = "take it from another backup: `restore --at` names an older one";
                    self.findings.push(Finding::error(show_bytes(&entry.path), what, repair));
                }
                linked => linked.map_err(Error::io("link", &path))?,
            }
        }
        for entry in std::mem::take(&mut self.symlinks).into_iter().map(|late| late.entry(Kind::Symlink)) {
            self.symlink(&self.root.join(OsStr::from_bytes(&entry.path)), &entry, listed)?;
        }
        // What lies in a folder comes before it: its mode may shut it.
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by(|a, b| b.path().cmp(a.path()));
        for entry in folders.into_iter().map(|late| late.entry(Kind::Folder)) {
            self.dress(&entry, &self.root.join(OsStr::from_bytes(&entry.path)))?;
        }
        sync_tree(&self.root)?;
        if interrupted() {
            return Err(Error::Interrupted);
        }
        self.show()?;
        Ok(std::mem::take(&mut self.findings))
    }

    /// One rename; in a file system of its own one for each name at the top, which for a backup is one too.
    #[expect(clippy::disallowed_methods, reason = "the rename that makes a restore visible")]
    fn show(&mut self) -> Result<()> {
        if !self.mounted {
            let mut late = None;
            if let Ok(meta) = fs::symlink_metadata(&self.target) {
                // An empty folder that was made for this keeps its owner and mode. One that its owner must not write to
                // cannot be moved to another folder.
                let _ = std::os::unix::fs::chown(&self.root, Some(meta.uid()), Some(meta.gid()));
                let open = self.own || meta.mode() & 0o200 != 0;
                late = (!open).then(|| meta.permissions());
                let _ = if open { fs::set_permissions(&self.root, meta.permissions()) } else { Ok(()) };
            }
            fs::rename(&self.root, &self.target).map_err(Error::io("make visible", &self.target))?;
            self.done = true;
            let _ = late.map(|mode| fs::set_permissions(&self.target, mode));
            return sync_tree(self.target.parent().unwrap_or(&self.target));
        }
        for entry in fs::read_dir(&self.root).map_err(Error::io("list", &self.root))? {
            let entry = entry.map_err(Error::io("list", &self.root))?;
            let path = self.target.join(entry.file_name());
            fs::rename(entry.path(), &path).map_err(Error::io("make visible", &path))?;
        }
        self.done = true;
        sync_tree(&self.target)
    }

    fn symlink(&mut self, path: &Path, entry: &Entry, listed: bool) -> Result<()> {
        if leads_out(entry) {
            let name = show_bytes(&entry.path);
            let what = format!("is a link to {}, outside of the folder", show_bytes(&entry.link));
            if !listed {
                self.findings.push(unvouched(name, &what));
                return Ok(());
            }
            self.findings.push(Finding::info(name, what));
        }
        self.make_above(path)?;
        std::os::unix::fs::symlink(OsStr::from_bytes(&entry.link), path).map_err(Error::io("link", path))?;
        self.dress(entry, path)
    }
}

/// What is made or dressed when all files are written, held in as little memory as there can be millions.
struct Late {
    /// The path beneath the root, and behind it the target of a link.
    names: Box<[u8]>,
    path_len: u32,
    mode: u32,
    /// The largest number where there is none: `chown` takes it for "leave it".
    owner: (u32, u32),
    mtime: Mtime,
    xattrs: Option<Box<Xattrs>>,
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

impl Late {
    fn of(path: &Path, entry: Entry) -> Self {
        let path = path.as_os_str().as_bytes();
        let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
        Self {
            names: [path, &entry.link].concat().into_boxed_slice(),
            path_len: path.len() as u32,
            mode: entry.mode,
            owner: (id(entry.uid), id(entry.gid)),
            mtime: entry.mtime,
            xattrs: (!entry.xattrs.is_empty()).then(|| Box::new(entry.xattrs)),
        }
    }

    fn path(&self) -> &[u8] {
        &self.names[..self.path_len as usize]
    }

    fn entry(self, kind: Kind) -> Entry {
        let (path, link) = self.names.split_at(self.path_len as usize);
        Entry {
            path: path.to_vec(),
            kind,
            size: 0,
            mode: self.mode,
            uid: self.owner.0.into(),
            gid: self.owner.1.into(),
            mtime: self.mtime,
            link: link.to_vec(),
            xattrs: self.xattrs.map(|xattrs| *xattrs).unwrap_or_default(),
        }
    }
}

/// Writes the files of a tree. Holds nothing but what all threads may know.
#[derive(Clone, Copy)]
pub(super) struct Files {
    /// Whether owners are restored.
    own: bool,
}

impl Files {
    /// Writes a file whose folder is there and whose name is not. Returns what of its metadata could not be set.
    pub(super) fn write(
        self,
        entry: &Entry,
        path: &Path,
        content: &mut dyn BufRead,
    ) -> Result<Vec<Finding>, Trouble> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.map_err(Error::io("create", path))?;
        loop {
            let part = content.fill_buf().map_err(FormatError::from)?;
            if part.is_empty() {
                break;
            }
            if interrupted() {
                return Err(Error::Interrupted.into());
            }
            file.write_all(part).map_err(Error::io("write", path))?;
            let count = part.len();
            content.consume(count);
        }
        Ok(self.dress(entry, path, Some(&file))?)
    }

    /// Owner, mode, attributes and time, in this order: a change of owner clears mode bits.
    fn dress(self, entry: &Entry, path: &Path, file: Option<&File>) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        if self.own {
            let (uid, gid) = (u32::try_from(entry.uid).ok(), u32::try_from(entry.gid).ok());
            let owned = match file {
                Some(file) => std::os::unix::fs::fchown(file, uid, gid),
                None => std::os::unix::fs::lchown(path, uid, gid),
            };
            owned.map_err(Error::io("set the owner of", path))?;
        }
        if entry.kind != Kind::Symlink {
            findings.extend(set_attributes(&entry.path, path, &entry.xattrs));
            let mode = Permissions::from_mode(entry.mode);
            match file {
                Some(file) => file.set_permissions(mode),
                None => fs::set_permissions(path, mode),
            }
            .map_err(Error::io("set the mode of", path))?;
        }
        let time = timespec(entry.mtime);
        let times = Timestamps { last_access: time, last_modification: time };
        match file {
            Some(file) => rustix::fs::futimens(file, &times),
            None => rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(|error| Error::io("set the time of", path)(error.into()))?;
        Ok(findings)
    }
}

/// What could not be set is a warning.
fn set_attributes(name: &[u8], path: &Path, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, value) in xattrs {
        if let Err(error) = xattr::set(path, OsStr::from_bytes(key), value) {
            let what = format!("its attribute {} could not be set: {error}", show_bytes(key));
            findings.push(Finding::warning(show_bytes(name), what, ""));
        }
    }
    findings
}

/// A link that leads out, in an archive without a manifest.
pub(super) fn unvouched(name: String, what: &str) -> Finding {
    let what = format!("{what}, and no manifest vouches for it: it is left out");
    Finding::error(name, what, "make it by hand if it is yours")
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(self.scratch.take());
        if !self.done {
            // Those that nothing came to lie in.
            self.above.iter().for_each(|folder| drop(fs::remove_dir(folder)));
        }
    }
}

/// The folder that `to` names, without links: of what is not there yet, the folders above it.
///
/// # Errors
/// When it leads over a link that leads nowhere, or cannot be looked at.
pub fn without_links(to: &Path) -> Result<PathBuf> {
    let whole = std::path::absolute(to).map_err(Error::io("resolve", to))?;
    let (mut there, mut missing) = (whole.as_path(), Vec::new());
    loop {
        match there.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, name| path.join(name))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("resolve", there)(error)),
        }
        if there.is_symlink() {
            let what = format!("{} is a link that leads nowhere", there.display());
            return Err(Error::refused(what, "remove it, or give another folder"));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return Ok(whole) };
        missing.push(name);
        there = parent;
    }
}

/// Whether a restore may go to `target`: it is new, or an empty folder.
///
/// # Errors
/// When it is anything else.
pub fn is_free(target: &Path) -> Result<()> {
    match fs::read_dir(target).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => {
            let next = "give a folder that does not exist yet, or an empty one";
            Err(Error::refused(format!("{} is not empty", target.display()), next))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("open", target)(error)),
    }
}

/// Makes every folder beneath `path` one that its owner can empty. Failures show when it is removed.
pub fn open_folders(path: &Path) {
    let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        // `file_type` does not follow symbolic links: nothing outside is touched.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

fn timespec(time: Mtime) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
}
