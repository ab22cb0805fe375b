//! Where entries become files: a folder of our own that nothing outside can reach into and nothing inside can
//! lead out of.
//!
//! [`Layout`] judges the names. Files and folders are made first, then hard links, symbolic links last: while
//! content is written there is no link in the tree that it could be written through. Metadata of folders comes
//! last of all, since making files changes their times.
use super::layout::{Layout, is_set_last, leads_out};
use super::{Source, Trouble, damaged};
use crate::archive::FormatError;
use crate::archive::entry::{Entry, Kind, Mtime};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::show_bytes;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A tree under construction; removed when it is dropped before [`Tree::finish`].
pub(super) struct Tree {
    target: PathBuf,
    root: PathBuf,
    /// Folders above the target that were made for it.
    above: Vec<PathBuf>,
    layout: Layout,
    folders: BTreeMap<PathBuf, Entry>,
    hardlinks: Vec<(PathBuf, Entry)>,
    symlinks: Vec<(PathBuf, Entry)>,
    findings: Vec<Finding>,
    own: bool,
    done: bool,
}

impl Tree {
    /// A hidden folder beside `target`, which must be new or an empty folder; in it, when that is a file system of its
    /// own.
    pub(super) fn beside(target: &Path) -> Result<Self> {
        let target = match target.canonicalize() {
            Ok(real) => real,
            Err(_) => std::path::absolute(target).map_err(Error::io("resolve", target))?,
        };
        let refuse = |what: &str, next: &str| Error::refused(format!("{} {what}", target.display()), next);
        match fs::read_dir(&target).map(Iterator::count) {
            Ok(1..) => {
                let next = "give a folder that does not exist yet, or an empty one";
                return Err(refuse("is not empty", next));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &target)(error)),
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refuse("cannot be restored into", "give a new folder"));
        };
        let missing = parent.ancestors().take_while(|folder| !folder.exists());
        let above: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
        let mounted = target.exists() && device(&target) != device(parent);
        let place = if mounted { target.as_path() } else { parent };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".partial-");
        let root = tempfile::Builder::new()
            .prefix(&hidden)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)
            .map_err(Error::io("create a folder in", place))?
            .keep();
        Ok(Self {
            target,
            root,
            above,
            layout: Layout::default(),
            folders: BTreeMap::new(),
            hardlinks: Vec::new(),
            symlinks: Vec::new(),
            findings: Vec::new(),
            own: rustix::process::geteuid().is_root(),
            done: false,
        })
    }

    /// Makes a file or folder, or notes a link for later. Returns the digest of a file's content.
    pub(super) fn place(
        &mut self,
        source: &Source,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<Option<[u8; 32]>, Trouble> {
        let path = self.layout.add(entry).map_err(|what| damaged(source, what))?;
        let path: PathBuf = self.root.join(path).components().collect();
        match entry.kind {
            Kind::Folder => {
                self.make_folders(&path)?;
                let (last, now): (Vec<_>, _) =
                    entry.xattrs.iter().cloned().partition(|(name, _)| is_set_last(name));
                self.attributes(entry, &path, &now);
                self.folders.insert(path, Entry { xattrs: last, ..entry.clone() });
            }
            Kind::File => {
                self.make_folders(path.parent().unwrap_or(&self.root))?;
                return self.write(entry, &path, content).map(Some);
            }
            Kind::Hardlink => self.hardlinks.push((path, entry.clone())),
            Kind::Symlink => self.symlinks.push((path, entry.clone())),
        }
        Ok(None)
    }

    fn make_folders(&self, path: &Path) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
    }

    fn write(&mut self, entry: &Entry, path: &Path, content: &mut dyn Read) -> Result<[u8; 32], Trouble> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.map_err(Error::io("create", path))?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 128 * 1024]);
        loop {
            let count = content.read(&mut buffer).map_err(FormatError::from)?;
            if count == 0 {
                break;
            }
            if interrupted() {
                return Err(Error::Interrupted.into());
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(Error::io("write", path))?;
        }
        self.dress(entry, path, Some(&file))?;
        Ok(hash.finalize().into())
    }

    /// Owner, mode, attributes and time, in this order: a change of owner clears mode bits.
    fn dress(&mut self, entry: &Entry, path: &Path, file: Option<&File>) -> Result<()> {
        if self.own {
            let (uid, gid) = (u32::try_from(entry.uid).ok(), u32::try_from(entry.gid).ok());
            std::os::unix::fs::lchown(path, uid, gid).map_err(Error::io("set the owner of", path))?;
        }
        if entry.kind != Kind::Symlink {
            self.attributes(entry, path, &entry.xattrs);
            let mode = Permissions::from_mode(entry.mode);
            match file {
                Some(file) => file.set_permissions(mode),
                None => fs::set_permissions(path, mode),
            }
            .map_err(Error::io("set the mode of", path))?;
        }
        let time = timespec(entry.mtime);
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Error::io("set the time of", path)(error.into()))
    }

    fn attributes(&mut self, entry: &Entry, path: &Path, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        for (name, value) in xattrs {
            if let Err(error) = xattr::set(path, OsStr::from_bytes(name), value) {
                let what = format!("its attribute {} could not be set: {error}", show_bytes(name));
                self.findings.push(Finding::warning(show_bytes(&entry.path), what, ""));
            }
        }
    }

    /// Makes the links, dresses the folders, and makes the tree visible under its name.
    pub(super) fn finish(mut self, listed: bool) -> Result<Vec<Finding>> {
        for (path, entry) in std::mem::take(&mut self.hardlinks) {
            self.make_folders(path.parent().unwrap_or(&self.root))?;
            let target: PathBuf = self.root.join(OsStr::from_bytes(&entry.link)).components().collect();
            fs::hard_link(&target, &path).map_err(Error::io("link", &path))?;
        }
        for (path, entry) in std::mem::take(&mut self.symlinks) {
            self.symlink(&path, &entry, listed)?;
        }
        for (path, entry) in std::mem::take(&mut self.folders).iter().rev() {
            self.dress(entry, path, None)?;
        }
        sync(&self.root)?;
        if interrupted() {
            return Err(Error::Interrupted);
        }
        self.show()?;
        Ok(std::mem::take(&mut self.findings))
    }

    /// One rename; in a file system of its own one for each name at the top, which for a backup is one too.
    #[expect(clippy::disallowed_methods, reason = "the rename that makes a restore visible")]
    fn show(&mut self) -> Result<()> {
        if self.root.parent() != Some(&self.target) {
            if let Ok(meta) = fs::symlink_metadata(&self.target) {
                // An empty folder that was made for this keeps its owner and mode.
                let _ = std::os::unix::fs::chown(&self.root, Some(meta.uid()), Some(meta.gid()));
                let _ = fs::set_permissions(&self.root, meta.permissions());
            }
            fs::rename(&self.root, &self.target).map_err(Error::io("make visible", &self.target))?;
            self.done = true;
            return sync(self.target.parent().unwrap_or(&self.target));
        }
        for entry in fs::read_dir(&self.root).map_err(Error::io("list", &self.root))? {
            let entry = entry.map_err(Error::io("list", &self.root))?;
            let path = self.target.join(entry.file_name());
            fs::rename(entry.path(), &path).map_err(Error::io("make visible", &path))?;
        }
        // What is left is the empty folder, which goes when the tree does.
        sync(&self.target)
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
        self.make_folders(path.parent().unwrap_or(&self.root))?;
        std::os::unix::fs::symlink(OsStr::from_bytes(&entry.link), path).map_err(Error::io("link", path))?;
        self.dress(entry, path, None)
    }
}

/// Makes the names in a folder durable, and what lies on its file system with them.
fn sync(folder: &Path) -> Result<()> {
    let open = File::open(folder).map_err(Error::io("open", folder))?;
    rustix::fs::syncfs(&open).map_err(|error| Error::io("make durable", folder)(error.into()))
}

/// A link that leads out, in an archive without a manifest.
pub(super) fn unvouched(name: String, what: &str) -> Finding {
    let what = format!("{what}, and no manifest vouches for it: it is left out");
    Finding::error(name, what, "make it by hand if it is yours")
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.done {
            open_folders(&self.root);
            #[expect(clippy::disallowed_methods, reason = "the folder is this restore's own")]
            let _ = fs::remove_dir_all(&self.root);
            // Those that nothing came to lie in.
            self.above.iter().for_each(|folder| drop(fs::remove_dir(folder)));
        }
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
