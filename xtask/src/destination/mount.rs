//! Whether a destination is the drive that it should be, and not the bare folder beneath it.
//!
//! A drive is known by the number of its device and of its mount. Both are compared: a bind mount has the device of the
//! bare folder beneath it, and an old kernel tells no number of a mount. A [`Mounted`] holds what was looked at open, so
//! that the system gives its numbers to nothing else meanwhile.
//!
//! A dead mount may never answer, so nothing is asked of it without a deadline. Where a server of a FUSE or network mount
//! has taken a question, nothing ends the one who waits for the answer, not even KILL: there `mountpoint` is sent ahead.
//! All else is asked in a thread of its own, which ends with the process.
use crate::error::{Error, Result};
use crate::shown::show;
use crate::tools::mountpoint::{answers, is_mount_point};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

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
#[cfg(target_os = "linux")]
const FUSE: i128 = 0x6573_5546;

/// How long a mount may take to answer. A disk that sleeps needs some seconds to wake up.
const DEADLINE: Duration = Duration::from_secs(15);

/// Which file system something lies on, and through which mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Drive {
    device: u64,
    /// Where the system tells it.
    mount: Option<u64>,
}

/// A destination as it was found.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// What fsync proves there.
    pub durability: Durability,
    /// Bytes that this user may still write, where anybody knows.
    pub free_bytes: Option<u64>,
    /// The mount point, or the destination itself where none is asked for.
    point: PathBuf,
    demanded: bool,
    /// Why nothing can be written there, if that is known already, and where that shows.
    unwritable: Option<(Errno, PathBuf)>,
    /// None on another machine.
    drive: Option<Drive>,
    _held: Option<Arc<OwnedFd>>,
}

/// Checks a destination. With `mount` that folder must be a mount point and the destination must lie on it; without,
/// when a mount is `demanded`, the destination or its parent must be one, and the destination must lie on it.
///
/// # Errors
/// [`Error::NotMounted`], also for a mount that has died or does not answer; `Io` when something is in the way.
pub fn check(destination: &Path, mount: Option<&Path>, demanded: bool) -> Result<Mounted> {
    let demanded = demanded || mount.is_some();
    let point = mount.unwrap_or(destination);
    // Before a tool is asked: whatever is dead or hangs, is told as that.
    let seen = look(point, destination)?;
    let Some(point) = (match mount {
        _ if !demanded => return Ok(Mounted { demanded, ..seen }),
        Some(point) if is_mount_point(point)? => Some(point),
        Some(point) => return Err(away(point, "nothing is mounted there")),
        None => mount_point_at(destination)?,
    }) else {
        let what = "neither it nor its parent folder is a mount point (a mount further up proves nothing; `mount =` names one)";
        return Err(away(destination, what));
    };
    if look(point, point)?.drive != seen.drive {
        let what = format!("the destination {} is not on this mount", destination.display());
        return Err(away(point, &what));
    }
    Ok(Mounted { demanded, point: point.to_owned(), ..seen })
}

/// The destination or its parent, where that is a mount point.
fn mount_point_at(destination: &Path) -> Result<Option<&Path>> {
    for candidate in [Some(destination), destination.parent()].into_iter().flatten() {
        if candidate.exists() && is_mount_point(candidate)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Right before the commit: the destination is still on the same drive. A destination that is not there any more is,
/// as long as the folder above it is on it.
///
/// # Errors
/// [`Error::NotMounted`] when it is not.
pub fn recheck(before: &Mounted, destination: &Path) -> Result<()> {
    match look(&before.point, destination) {
        Ok(now) if now.drive == before.drive => Ok(()),
        Err(error @ Error::NotMounted { .. }) => Err(error),
        _ => Err(before.gone()),
    }
}

impl Mounted {
    /// A folder of another machine, which is looked at by that machine.
    pub(super) fn remote(path: PathBuf, free_bytes: Option<u64>, unwritable: Option<Errno>) -> Self {
        let unwritable = unwritable.or((free_bytes == Some(0)).then_some(Errno::NOSPC));
        Self {
            durability: Durability::Remote,
            free_bytes,
            unwritable: unwritable.map(|why| (why, path.clone())),
            point: path,
            demanded: false,
            drive: None,
            _held: None,
        }
    }

    /// What can be known of writing there before the first byte.
    ///
    /// # Errors
    /// `Io` where the mount is read-only, nothing is free, or this user may make nothing in the folder, or in the one above it
    /// that is there; [`Error::Refused`] where another machine's folder is somebody else's.
    pub fn writable(&self) -> Result<()> {
        match &self.unwritable {
            None => Ok(()),
            Some((Errno::ACCESS, folder)) if self.durability == Durability::Remote => Err(Error::refused(
                format!("{}: the folder is there, and its user over there cannot write to it", show(folder)),
                "let that user write there, or name another in `path` (USER@HOST:/FOLDER)",
            )),
            Some((why, place)) => Err(Error::io("write to", place)((*why).into())),
        }
    }

    /// Whether an open file or folder lies on this drive, where a mount is demanded; else it may lie anywhere.
    ///
    /// # Errors
    /// [`Error::NotMounted`] when it does not.
    pub fn holds(&self, opened: impl AsFd) -> Result<()> {
        match drive(opened.as_fd()) {
            Ok(drive) if !self.demanded || Some(drive) == self.drive => Ok(()),
            Err(error) if !is_dead(&error) => Err(Error::io("read", &self.point)(error)),
            _ => Err(self.gone()),
        }
    }

    fn gone(&self) -> Error {
        away(&self.point, "the drive went away, or another took its place, while it was in use")
    }
}

/// A destination that is not there, and may be in a moment.
pub(super) fn away(point: &Path, what: &str) -> Error {
    let next = "mount the drive and run again".to_owned();
    Error::NotMounted { path: point.to_owned(), what: what.into(), next }
}

/// A mount that is there by name only: its server has ended, or its device is gone.
fn is_dead(error: &io::Error) -> bool {
    use Errno as E;
    let dead = [E::NOTCONN, E::STALE, E::TIMEDOUT, E::HOSTDOWN, E::NODEV, E::NXIO, E::CONNABORTED];
    error.raw_os_error().is_some_and(|number| dead.iter().any(|known| known.raw_os_error() == number))
}

/// Whether this is an error of a drive at `destination` that may be gone the next time: it died, or did not read or write.
pub fn may_pass(error: &Error, destination: &Path) -> bool {
    let passes = |error: &io::Error| is_dead(error) || Errno::from_io_error(error) == Some(Errno::IO);
    matches!(error, Error::Io { path, source, .. } if path.starts_with(destination) && passes(source))
}

/// What is told of an error at `path`, on or beneath the mount point `point`.
fn told(point: &Path, path: &Path, error: io::Error) -> Error {
    if !is_dead(&error) {
        return Error::io("read", path)(error);
    }
    let point = listed(path).unwrap_or_else(|| point.to_owned());
    let next = format!(
        "unmount it (`umount -l {0}`, or `fusermount3 -uz {0}`), mount it again and run again",
        point.display()
    );
    Error::NotMounted { path: point, what: format!("the mount has died: {error}"), next }
}

/// Looks at the drive that `path` lies on, or will: at the nearest folder above it that is there.
fn look(point: &Path, path: &Path) -> Result<Mounted> {
    let (ours, wanted) = (point.to_owned(), path.to_owned());
    let there = || {
        within(DEADLINE, move || {
            let there = nearest(&wanted);
            there
                .and_then(|there| state(&ours, &there).map_err(|error| (there, error)))
                .map_err(|(path, error)| told(&ours, &path, error))
        })
    };
    let seen = if silent(path)? { None } else { there() };
    seen.unwrap_or_else(|| {
        let point = listed(path).unwrap_or_else(|| point.to_owned());
        let next = format!(
            "see what hangs there (`umount -l {}` takes it away), mount it again and run again",
            point.display()
        );
        let what = format!("the mount did not answer in {} s", DEADLINE.as_secs());
        Err(Error::NotMounted { path: point, what, next })
    })
}

/// Kinds of file systems whose answers come from a server. A FUSE one may do with them whatever it likes.
const SERVED: [&str; 12] =
    ["9p", "afs", "autofs", "ceph", "cifs", "coda", "fuse", "lustre", "ncpfs", "nfs", "smb", "virtiofs"];

/// What did not answer is not asked again in this run: each time would cost its whole deadline.
static SILENT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether a served mount is on the way to `path` and does not answer.
fn silent(path: &Path) -> Result<bool> {
    // The system's own list, which asks nobody. Where there is none, the deadline of [`within`] must do.
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    if !served(path, &String::from_utf8_lossy(&table)) {
        return Ok(false);
    }
    if SILENT.lock().is_ok_and(|known| known.iter().any(|known| path.starts_with(known))) {
        return Ok(true);
    }
    match answers(path) {
        Ok(true) => Ok(false),
        Ok(false) => {
            SILENT.lock().iter_mut().for_each(|known| known.push(path.to_owned()));
            Ok(true)
        }
        Err(Error::MissingTools { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether `path` lies, by its name, beneath a mount of a [`SERVED`] kind, in a table of the form of
/// `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn served(path: &Path, table: &str) -> bool {
    let mounts = mounts(table).filter(|(_, kind)| SERVED.iter().any(|served| kind.starts_with(served)));
    mounts.into_iter().any(|(point, _)| path.starts_with(point))
}

/// A field of a table of mounts: what would end it stands there as a backslash and three octal digits (proc_pid_mounts(5)).
pub fn unescaped(field: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(field.to_owned(), |text, pair| text.replace(&pair[..4], &pair[4..]))
}

/// Mount points and kinds of such a table.
fn mounts(table: &str) -> impl Iterator<Item = (PathBuf, &str)> {
    table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4).unwrap_or_default();
        Some((PathBuf::from(unescaped(point)), kind))
    })
}

/// The mount point in the system's list, which asks nobody, that `path` lies beneath by its name: what is to be unmounted.
fn listed(path: &Path) -> Option<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let over = mounts(&table).map(|(point, _)| point).filter(|point| path.starts_with(point));
    over.filter(|point| point.parent().is_some()).max_by_key(|point| point.components().count())
}

/// The first mount point that is `folder`, which has no link in it, or lies in it.
pub fn points_in(folder: &Path) -> Option<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let inside = mounts(&table).map(|(point, _)| point).find(|point| point.starts_with(folder));
    // Where there is no table, the numbers of the devices must do.
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let other = || (device(folder)? != device(folder.parent()?)?).then(|| folder.to_owned());
    inside.or_else(other)
}

/// What `work` comes to; `None` when it takes longer. Then its thread is left behind, and ends with the process.
fn within<T: Send + 'static>(deadline: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = answer.send(work());
    });
    answered.recv_timeout(deadline).ok()
}

/// `path`, or the first folder above it that is there.
fn nearest(path: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
    for path in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        match fs::metadata(path) {
            Ok(_) => return Ok(path.to_owned()),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err((path.to_owned(), error)),
        }
    }
    Ok(PathBuf::from(if path.is_absolute() { "/" } else { "." }))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn state(point: &Path, path: &Path) -> io::Result<Mounted> {
    #[cfg(target_os = "linux")]
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let held = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
    let room = rustix::fs::fstatvfs(&held)?;
    #[cfg(target_os = "linux")]
    let fuse = i128::from(rustix::fs::fstatfs(&held)?.f_type) == FUSE;
    #[cfg(not(target_os = "linux"))]
    let fuse = false;
    // ramfs, a tmpfs without a limit and some FUSE file systems count no blocks at all.
    let counted = room.f_blocks > 0;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let read_only = room.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    let unwritable = match (read_only, counted && room.f_bavail == 0) {
        (true, _) => Some((Errno::ROFS, point)),
        (false, true) => Some((Errno::NOSPC, point)),
        (false, false) => closed(path).map(|why| (why, path)),
    };
    Ok(Mounted {
        durability: if fuse { Durability::MountCache } else { Durability::Local },
        free_bytes: counted.then_some(free),
        point: point.to_owned(),
        demanded: false,
        unwritable: unwritable.map(|(why, place)| (why, place.to_owned())),
        drive: Some(drive(held.as_fd())?),
        _held: Some(Arc::new(held)),
    })
}

/// Why this user can make nothing in `folder`, which is there, as far as the system says before the first byte.
fn closed(folder: &Path) -> Option<Errno> {
    if !folder.is_dir() {
        return Some(Errno::NOTDIR);
    }
    let asked = rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    // A system that cannot be asked so has said nothing against it.
    asked.err().filter(|why| *why == Errno::ACCESS)
}

/// The numbers of the drive that an open file or folder lies on.
fn drive(opened: std::os::fd::BorrowedFd<'_>) -> io::Result<Drive> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        let found = statx(opened, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID);
        if let Ok(found) = found {
            let told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
            let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
            return Ok(Drive { device, mount: told.then_some(found.stx_mnt_id) });
        }
    }
    let device = fs::File::from(opened.try_clone_to_owned()?).metadata()?.dev();
    Ok(Drive { device, mount: None })
}

/// The path with every link in it resolved, as far as it exists; as it stands, where a mount in it does not answer.
pub fn resolved(path: &Path) -> PathBuf {
    let wanted = path.to_owned();
    if silent(path).unwrap_or(false) {
        return path.to_owned();
    }
    let resolved = within(DEADLINE, move || {
        let path = wanted.as_path();
        let known = path.ancestors().find(|path| path.exists()).unwrap_or(path);
        let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
        known.canonicalize().map_or_else(|_| path.to_owned(), |known| known.join(rest).components().collect())
    });
    resolved.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_drive_in_its_place_is_noticed() {
        let home = tempfile::tempdir().expect("a folder");
        let before = check(home.path(), None, false).expect("is there");
        assert!(recheck(&before, home.path()).is_ok());
        let known = before.drive.expect("a drive");
        for drive in [
            Drive { device: known.device + 1, ..known },
            Drive { mount: known.mount.map(|number| number + 1).or(Some(0)), ..known },
        ] {
            let other = Mounted { drive: Some(drive), demanded: true, ..before.clone() };
            assert!(matches!(recheck(&other, home.path()), Err(Error::NotMounted { .. })));
            assert!(matches!(
                other.holds(other._held.as_deref().expect("held")),
                Err(Error::NotMounted { .. })
            ));
        }
        // A folder that a failed run has removed again is no sign of another drive.
        assert!(recheck(&before, &home.path().join("gone")).is_ok());
        let proc = check(Path::new("/proc"), None, false).expect("is there");
        assert!(matches!(recheck(&proc, home.path()), Err(Error::NotMounted { .. })));
    }

    #[test]
    fn a_drive_that_goes_away_while_it_is_looked_at_is_not_an_empty_one() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("drive");
        std::os::unix::fs::symlink("/proc", &path).expect("links");
        let before = check(&path, None, false).expect("is there");
        fs::remove_file(&path).expect("removes");
        fs::create_dir(&path).expect("creates");
        let seen = recheck(&before, &path);
        assert!(matches!(seen, Err(Error::NotMounted { .. })), "{seen:?}");
        let again = check(&path, None, false).expect("is there");
        assert!(recheck(&again, &path).is_ok());
    }

    #[test]
    fn beneath_a_file_nothing_can_be_written() {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("file"), "x").expect("writes");
        for (name, may) in [("", true), ("new/one", true), ("file", false), ("file/one", false)] {
            let seen = check(&home.path().join(name), None, false).expect("is there");
            assert_eq!(seen.writable().is_ok(), may, "{name}");
        }
    }

    #[test]
    fn nothing_is_waited_for_without_end() {
        let (_never, held) = mpsc::channel::<()>();
        assert!(within(Duration::from_millis(20), move || held.recv()).is_none());
        assert_eq!(within(DEADLINE, || 7), Some(7));
    }

    #[test]
    fn what_a_server_answers_for_is_known_by_the_table() {
        let table = "23 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                     40 23 0:44 / /mnt/my\\040drive rw shared:2 - fuse.rclone remote: rw\n\
                     41 23 0:45 / /srv rw - nfs4 host:/srv rw\n";
        for (path, is) in
            [("/mnt/my drive/a", true), ("/mnt/my driver", false), ("/srv", true), ("/home", false)]
        {
            assert_eq!(served(Path::new(path), table), is, "{path}");
        }
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
