//! Where entries become files: a folder of our own that nothing outside can reach into and nothing inside can
//! lead out of.
//!
//! Names are checked part by part. Files and folders are made first, then hard links, symbolic links last: while
//! content is written there is no link in the tree that it could be written through. Metadata of folders comes
//! last of all, since making files changes their times.
use super::{Source, Trouble, damaged};
use crate::archive::FormatError;
use crate::archive::entry::{Entry, Kind, Mtime};
use crate::error::{Error, Result};
use crate::finding::{Finding, show_bytes};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// A tree under construction; removed when it is dropped before [`Tree::finish`].
pub(super) struct Tree {
    target: PathBuf,
    root: PathBuf,
    folders: BTreeMap<PathBuf, Entry>,
    hardlinks: Vec<Entry>,
    symlinks: Vec<Entry>,
    findings: Vec<Finding>,
    own: bool,
    done: bool,
}

impl Tree {
    /// A hidden folder beside `target`, which must be new or an empty folder.
    pub(super) fn beside(target: &Path) -> Result<Self> {
        let target = std::path::absolute(target).map_err(Error::io("resolve", target))?;
        match fs::read_dir(&target) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    let what = format!("{} is not empty", target.display());
                    return Err(Error::refused(
                        what,
                        "give a folder that does not exist yet, or an empty one",
                    ));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &target)(error)),
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::refused(
                format!("{} cannot be restored into", target.display()),
                "give a new folder",
            ));
        };
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".partial-{}", std::process::id()));
        let root = parent.join(hidden);
        fs::DirBuilder::new().mode(0o700).create(&root).map_err(Error::io("create", &root))?;
        let own = rustix::process::geteuid().is_root();
        Ok(Self {
            target,
            root,
            folders: BTreeMap::new(),
            hardlinks: Vec::new(),
            symlinks: Vec::new(),
            findings: Vec::new(),
            own,
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
        let path = self.inside(&entry.path).map_err(|what| damaged(source, what))?;
        match entry.kind {
            Kind::Folder => {
                self.make_folders(&path)?;
                if self.folders.insert(path, entry.clone()).is_some() {
                    return Err(damaged(source, twice(&entry.path)).into());
                }
            }
            Kind::File => {
                self.make_folders(path.parent().unwrap_or(&self.root).to_owned().as_path())?;
                return self.write(source, entry, &path, content).map(Some);
            }
            Kind::Hardlink => {
                self.inside(&entry.link).map_err(|what| damaged(source, what))?;
                self.hardlinks.push(entry.clone());
            }
            Kind::Symlink => self.symlinks.push(entry.clone()),
        }
        Ok(None)
    }

    /// The place of an entry, or why it would not be inside.
    fn inside(&self, path: &[u8]) -> Result<PathBuf, String> {
        let relative = Path::new(OsStr::from_bytes(path));
        let good = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if path.is_empty() || path.contains(&0) || !relative.components().all(good) {
            return Err(format!("entry {} would be restored outside of the folder", show_bytes(path)));
        }
        Ok(self.root.join(relative).components().collect())
    }

    fn make_folders(&self, path: &Path) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
    }

    fn write(
        &mut self,
        source: &Source,
        entry: &Entry,
        path: &Path,
        content: &mut dyn Read,
    ) -> Result<[u8; 32], Trouble> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(damaged(source, twice(&entry.path)).into());
            }
            made => made.map_err(Error::io("create", path))?,
        };
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 128 * 1024]);
        loop {
            let count = content.read(&mut buffer).map_err(FormatError::from)?;
            if count == 0 {
                break;
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
            for (name, value) in &entry.xattrs {
                if let Err(error) = xattr::set(path, OsStr::from_bytes(name), value) {
                    let what = format!("its attribute {} could not be set: {error}", show_bytes(name));
                    self.findings.push(Finding::warning(show_bytes(&entry.path), what, ""));
                }
            }
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

    /// Makes the links, dresses the folders, and makes the tree visible under its name.
    #[expect(clippy::disallowed_methods, reason = "the one rename that makes a restore visible")]
    pub(super) fn finish(mut self, source: &Source, listed: bool) -> Result<Vec<Finding>> {
        for entry in std::mem::take(&mut self.hardlinks) {
            self.hardlink(source, &entry)?;
        }
        for entry in std::mem::take(&mut self.symlinks) {
            self.symlink(source, &entry, listed)?;
        }
        for (path, entry) in std::mem::take(&mut self.folders).iter().rev() {
            self.dress(entry, path, None)?;
        }
        let root = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        rustix::fs::syncfs(&root).map_err(|error| Error::io("make durable", &self.root)(error.into()))?;
        fs::rename(&self.root, &self.target).map_err(Error::io("make visible", &self.target))?;
        self.done = true;
        Ok(std::mem::take(&mut self.findings))
    }

    fn hardlink(&mut self, source: &Source, entry: &Entry) -> Result<()> {
        let (path, target) = (self.bare(&entry.path), self.bare(&entry.link));
        self.no_link_above(source, entry)?;
        self.make_folders(path.parent().unwrap_or(&self.root))?;
        fs::hard_link(&target, &path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => damaged(source, twice(&entry.path)),
            std::io::ErrorKind::NotFound => {
                let (name, link) = (show_bytes(&entry.path), show_bytes(&entry.link));
                damaged(source, format!("entry {name} is a hard link to {link}, which is not in the archive"))
            }
            _ => Error::io("link", &path)(error),
        })
    }

    fn symlink(&mut self, source: &Source, entry: &Entry, listed: bool) -> Result<()> {
        if leads_out(&entry.path, &entry.link) {
            let (name, link) = (show_bytes(&entry.path), show_bytes(&entry.link));
            if !listed {
                let what =
                    format!("is a link to {link}, outside of the folder, and no manifest vouches for it");
                self.findings.push(Finding::error(
                    name,
                    what,
                    "it was left out; make it by hand if it is yours",
                ));
                return Ok(());
            }
            self.findings.push(Finding::info(name, format!("is a link to {link}, outside of the folder")));
        }
        let path = self.bare(&entry.path);
        self.no_link_above(source, entry)?;
        self.make_folders(path.parent().unwrap_or(&self.root))?;
        std::os::unix::fs::symlink(OsStr::from_bytes(&entry.link), &path).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => damaged(source, twice(&entry.path)),
                _ => Error::io("link", &path)(error),
            }
        })?;
        self.dress(entry, &path, None)
    }

    /// A link that was made just before must not lead the next one elsewhere.
    fn no_link_above(&self, source: &Source, entry: &Entry) -> Result<()> {
        let path = self.bare(&entry.path);
        let mut above = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        if above.any(|folder| folder.symlink_metadata().is_ok_and(|meta| meta.is_symlink())) {
            let name = show_bytes(&entry.path);
            return Err(damaged(source, format!("entry {name} lies beneath a symbolic link of the archive")));
        }
        Ok(())
    }

    /// The place of a path that [`Tree::inside`] has passed.
    fn bare(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.done {
            #[expect(clippy::disallowed_methods, reason = "the folder is this restore's own")]
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

fn twice(path: &[u8]) -> String {
    format!("entry {} is there twice", show_bytes(path))
}

/// Whether a link at `path` to `target` points out of the tree, by name alone.
fn leads_out(path: &[u8], target: &[u8]) -> bool {
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    for part in Path::new(OsStr::from_bytes(target)).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

fn timespec(time: Mtime) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
}
