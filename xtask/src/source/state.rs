//! Whether a folder was changed: a digest of what the system says of each entry in it, without reading any.
//!
//! Content and metadata that are changed leave another `ctime`, which nobody can set back (POSIX.1-2017, section 4.9), so the
//! same state means the same entries. A program that writes through a mapping (mmap(2)) leaves one only with the first
//! write after the system has written the page out, which [`super::folder::Folder::settle`] has it do. It is no proof
//! against a clock that is turned back; against a mapping on a file system that is never written out (tmpfs) or that is
//! mounted inside of the folder; or on a file system without a `ctime` of its own (FAT): there size and `mtime` have to
//! do, as they do for `rsync`.
use super::Inode;
use crate::archive::entry::Mtime;
use crate::archive::hex;
use rustix::fs::{FileType, Stat};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// What a digest of the state of a folder has seen.
#[derive(Default)]
pub(super) struct State {
    hash: Sha256,
    /// When something in it was changed last: seconds and nanoseconds since 1970.
    newest: (i64, i64),
}

/// What the system says of a name.
pub(super) struct Facts {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Mtime,
    ctime: (i64, i64),
    pub(super) links: u64,
    pub(super) inode: Inode,
}

impl Facts {
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the fields differ between systems"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: Mtime { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 },
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            links: stat.st_nlink as u64,
            inode: (stat.st_dev as u64, stat.st_ino as u64),
        }
    }
}

impl Facts {
    /// Of a file that only its content counts of: SQLite, run by root, gives a `-wal` its owner again each time it opens
    /// one, which leaves another `ctime`.
    pub(super) fn written(&self) -> Self {
        Self { ctime: (self.mtime.seconds, self.mtime.nanos.into()), ..*self }
    }
}

impl State {
    /// A walk under settings that shape what it gives.
    pub(super) fn under(settings: u8) -> Self {
        let mut state = Self::default();
        state.hash.update([settings]);
        state
    }

    /// The digest, in hexadecimal.
    pub(super) fn digest(self) -> String {
        hex(&self.hash.finalize())
    }

    /// How long to wait before another look shows whether anything was changed, if `now` was before the first: within a
    /// tick of its clock a file system cannot tell two changes apart. `None` when all is older than that.
    pub(super) fn unsettled(&self, now: Mtime) -> Option<Duration> {
        let (seconds, nanos) = self.newest;
        let age =
            i128::from(now.seconds - seconds) * 1_000_000_000 + i128::from(i64::from(now.nanos) - nanos);
        let tick = tick(self.newest);
        (age <= tick.as_nanos().cast_signed()).then_some(tick)
    }

    pub(super) fn add(&mut self, name: &[u8], facts: &Facts) {
        let (seconds, nanos) = facts.ctime;
        self.newest = self.newest.max(facts.ctime);
        let kind = match facts.kind {
            FileType::Directory => 1,
            FileType::Symlink => 2,
            FileType::RegularFile => 3,
            _ => 4,
        };
        // A fixed number of fixed-size fields behind a length: no two states share their bytes.
        let mut bytes = Vec::with_capacity(name.len() + 80);
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name);
        bytes.extend([kind]);
        for number in [facts.mode, facts.uid, facts.gid, facts.mtime.nanos] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [facts.mtime.seconds, seconds, nanos] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(facts.size.to_le_bytes());
        self.hash.update(&bytes);
    }
}

/// How coarse the clock of a file system is whose newest change is this: a few milliseconds, or seconds where it has
/// nothing finer.
fn tick((_, nanos): (i64, i64)) -> Duration {
    if nanos == 0 { Duration::from_secs(2) } else { Duration::from_millis(20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(ctime: (i64, i64)) -> Facts {
        let (kind, mtime) = (FileType::RegularFile, Mtime::default());
        Facts { kind, mode: 0o644, uid: 0, gid: 0, size: 1, mtime, ctime, links: 1, inode: (0, 0) }
    }

    /// Whichever of the names it is that was changed last.
    #[test]
    fn what_was_changed_within_a_tick_of_the_look_is_unsettled() {
        let (fine, coarse) = (Some(Duration::from_millis(20)), Some(Duration::from_secs(2)));
        for (newest, now, wait) in [
            ((100, 500_000_000), (100, 500_000_000), fine),
            ((100, 500_000_000), (100, 520_000_000), fine),
            ((100, 500_000_000), (100, 520_000_001), None),
            ((100, 990_000_000), (101, 10_000_000), fine),
            ((100, 990_000_000), (101, 10_000_001), None),
            ((100, 500_000_000), (100, 499_999_999), fine),
            ((100, 500_000_000), (7, 0), fine),
            ((100, 500_000_000), (5000, 0), None),
            ((100, 0), (100, 0), coarse),
            ((100, 0), (102, 0), coarse),
            ((100, 0), (102, 1), None),
        ] {
            let older = changed((99, 999_999_999));
            let changes = [older, changed(newest)];
            for changes in [[&changes[0], &changes[1]], [&changes[1], &changes[0]]] {
                let mut state = State::default();
                changes.iter().for_each(|facts| state.add(b"name", facts));
                let now = Mtime { seconds: now.0, nanos: now.1 };
                assert_eq!(state.unsettled(now), wait, "{newest:?} seen at {now:?}");
            }
        }
    }
}
