//! Whether a destination is the drive that it should be, and not the bare folder beneath it.
use crate::error::{Error, Result};
use crate::tools::mountpoint::is_mount_point;
use serde::Serialize;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What fsync proves at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// A file system of this machine.
    Local,
    /// FUSE: the bytes may still lie in the mount's cache.
    MountCache,
    /// Another machine, which was told to flush and read its digests afterwards.
    Remote,
}

/// `FUSE_SUPER_MAGIC` of statfs(2).
const FUSE: i128 = 0x6573_5546;

/// A destination as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// What fsync proves there.
    pub durability: Durability,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Its file system.
    pub device: u64,
}

/// Checks a destination. With `mount` that folder must be a mount point and the destination must lie on it; without,
/// when a mount is `demanded`, the destination or its parent must be one.
///
/// # Errors
/// [`Error::NotMounted`].
pub fn check(destination: &Path, mount: Option<&Path>, demanded: bool) -> Result<Mounted> {
    let existing = destination.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if let Some(point) = mount {
        let away = |what: &str| Err(Error::NotMounted { path: point.to_owned(), what: what.into() });
        if !is_mount_point(point)? {
            return away("nothing is mounted there");
        }
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
        match (device(point), device(existing)) {
            (Ok(a), Ok(b)) if a == b => {}
            (Ok(_), Ok(_)) => {
                let what = format!("the destination {} is not on this mount", destination.display());
                return away(&what);
            }
            _ => return away("the mount does not answer"),
        }
    } else if demanded {
        let parent = destination.parent().unwrap_or(destination);
        let candidates = [destination, parent];
        let mut found = false;
        for candidate in candidates.into_iter().filter(|path| path.exists()) {
            found |= is_mount_point(candidate)?;
        }
        if !found {
            let what = "neither it nor its parent folder is a mount point (a mount further up proves nothing; `mount =` names one)";
            return Err(Error::NotMounted { path: destination.to_owned(), what: what.into() });
        }
    }
    state(existing)
}

fn state(path: &Path) -> Result<Mounted> {
    let meta = fs::metadata(path).map_err(Error::io("read", path))?;
    let stat = rustix::fs::statfs(path).map_err(|error| Error::io("read", path)(error.into()))?;
    let room = rustix::fs::statvfs(path).map_err(|error| Error::io("read", path)(error.into()))?;
    #[cfg(target_os = "linux")]
    let fuse = i128::from(stat.f_type) == FUSE;
    #[cfg(not(target_os = "linux"))]
    let fuse = false;
    Ok(Mounted {
        durability: if fuse { Durability::MountCache } else { Durability::Local },
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        device: meta.dev(),
    })
}

/// The path with every link in it resolved, as far as it exists.
pub fn resolved(path: &Path) -> PathBuf {
    let known = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
    known.canonicalize().map_or_else(|_| path.to_owned(), |known| known.join(rest).components().collect())
}

/// Right before the commit: the destination is still the same file system.
///
/// # Errors
/// [`Error::NotMounted`] when it is not.
pub fn recheck(before: &Mounted, destination: &Path) -> Result<()> {
    match fs::metadata(destination) {
        Ok(meta) if meta.dev() == before.device => Ok(()),
        _ => Err(Error::NotMounted {
            path: destination.to_owned(),
            what: "the drive went away, or another took its place, while the backup was written".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_drive_in_its_place_is_noticed() {
        let home = tempfile::tempdir().expect("a folder");
        let before = check(home.path(), None, false).expect("is there");
        assert!(recheck(&before, home.path()).is_ok());
        let other = Mounted { device: before.device + 1, ..before };
        assert!(matches!(recheck(&other, home.path()), Err(Error::NotMounted { .. })));
        assert!(matches!(recheck(&before, &home.path().join("gone")), Err(Error::NotMounted { .. })));
    }

    #[test]
    fn a_bare_folder_is_not_a_drive() {
        let home = tempfile::tempdir().expect("a folder");
        let destination = home.path().join("drive/backups");
        fs::create_dir_all(&destination).expect("creates");
        assert!(check(&destination, None, false).is_ok());
        assert!(matches!(check(&destination, None, true), Err(Error::NotMounted { .. })));
        let point = home.path().join("drive");
        assert!(matches!(check(&destination, Some(&point), false), Err(Error::NotMounted { .. })));
        // A mount point that the destination is not on proves nothing.
        assert!(matches!(
            check(&destination, Some(Path::new("/proc")), false),
            Err(Error::NotMounted { .. })
        ));
    }
}
