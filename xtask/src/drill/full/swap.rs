//! Moves a live folder aside, puts what was restored in its place, and brings it back.
//!
//! Everything happens in a private folder beside the live one, so that each move is one rename. A live folder is removed in
//! one case only: it lies aside on another file system, in a copy that was compared with it, after nobody could reach it by
//! its name any more, and is durable. [`Swap::back`] removes nothing, looks at what is there, not at what should be, and may
//! be cut off and called again at every instant. It moves away only what this drill has put in place: what somebody else
//! has laid there is never touched. A state counts when it is on disk: `note` puts it there before it is gone by.
use super::same::same;
use crate::config::live::ASIDES;
use crate::destination::durable;
use crate::destination::mount;
use crate::destination::mount::Durability;
use crate::error::{Error, Result};
use crate::restore::scratch;
use crate::shown::show;
use crate::tools::{OnInterrupt, rsync};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How the private folders are named, in front of the drill's id.
pub const PREFIX: &str = ASIDES;

/// In each of them: whose it is, the live folder and the repository on a line each. Whoever removes a private folder removes
/// this last.
const HELD: &str = ".held";

/// Beside it: nobody commits live data by mistake.
const IGNORE: &str = ".gitignore";
const IGNORED: &[u8] = b"*\n";

/// What is in a private folder before anything of value is, whole or not.
pub const OWN: [&str; 3] = [HELD, IGNORE, ".recovery-new"];

/// What was in the live folder's place for a while, with a number behind it.
const RESTORED: &str = "restored";

/// The clocks of file systems move on at least this often.
const TICK: Duration = Duration::from_millis(20);

/// Where the live data of one folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In place, or aside by rename: whichever of the two is there.
    Whole,
    /// Also in a durable copy on another file system.
    Copied,
    /// In that copy alone: the original may be gone, or gone in part.
    CopyAlone,
}

/// One folder that a drill replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// What it is, for people: `data codex-api`.
    pub what: String,
    /// The live folder, without links.
    pub live: PathBuf,
    /// Which folder it is: its inode, and when it was made. `None` for one that was not there before the drill.
    pub identity: Option<String>,
    /// The same of what the drill puts in its place, once that is known.
    pub placed: Option<String>,
    /// When it was put there, by the clock of its file system, in nanoseconds since 1970.
    #[serde(default)]
    pub placed_at_nanos: Option<i64>,
    /// The private folder beside it.
    pub work: PathBuf,
    /// Where it lies aside.
    pub aside: PathBuf,
    /// See [`State`].
    pub state: State,
}

/// Puts the state of a swap on disk.
pub type Note<'a> = &'a mut dyn FnMut(&Swap) -> Result<()>;

impl Swap {
    /// Looks at a live folder, and changes nothing. `aside_dir` is where it is to lie aside, if not beside itself.
    ///
    /// # Errors
    /// When it is no folder, or cannot be moved because something is mounted on it or in it; when what would lie aside would
    /// not outlive a loss of power.
    pub fn plan(what: String, live: &Path, name: &str, aside_dir: Option<&Path>) -> Result<Self> {
        let live = crate::restore::without_links(live)?;
        let (Some(parent), Some(_)) = (live.parent(), live.file_name()) else {
            return Err(Error::refused(
                format!("{} cannot be moved aside", show(&live)),
                "name a folder in another",
            ));
        };
        let above = fs::metadata(parent).map_err(Error::io("look at", parent))?;
        match fs::symlink_metadata(&live) {
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::refused(
                    format!("{} is no folder", show(&live)),
                    "name the folder itself",
                ));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("look at", &live)(error));
            }
            _ => {}
        }
        if let Some(point) = mount::points_in(&live) {
            let what = match point == live {
                true => format!("{} is a mount point, which cannot be moved aside", show(&live)),
                false => format!("{} holds the mount point {}", show(&live), show(&point)),
            };
            return Err(Error::refused(what, "keep the data in a folder without mounts, and name that"));
        }
        let name = format!("{PREFIX}{name}");
        let work = parent.join(&name);
        let aside = match aside_dir
            .filter(|folder| fs::metadata(folder).map_or(true, |meta| meta.dev() != above.dev()))
        {
            None => work.join("aside"),
            Some(folder) => {
                fs::metadata(folder).map_err(Error::io("look at", folder))?;
                let cached = mount::check(folder, None, false)?.durability != Durability::Local;
                if cached || scratch::is_in_memory(folder) && !scratch::is_in_memory(parent) {
                    let what = format!("{} would not outlive a loss of power", show(folder));
                    return Err(Error::refused(what, "name a folder on a disk: `aside-dir` in [drill]"));
                }
                folder.join(&name).join("aside")
            }
        };
        let identity = identity(&live);
        Ok(Self {
            what,
            live,
            identity,
            placed: None,
            placed_at_nanos: None,
            work,
            aside,
            state: State::Whole,
        })
    }

    /// Whether it lies aside on another file system.
    pub fn is_apart(&self) -> bool {
        !self.aside.starts_with(&self.work)
    }

    /// The private folders that hold what lies aside, and what was taken away again.
    pub fn folders(&self) -> Vec<&Path> {
        let apart = self.aside.parent().filter(|_| self.is_apart());
        std::iter::once(&*self.work).chain(apart).collect()
    }

    /// Whether another drill has left folders of these names.
    pub fn is_taken(&self) -> bool {
        self.folders().into_iter().any(is_there)
    }

    /// Makes the private folders, which say that they are of this live folder and of `repository`.
    ///
    /// # Errors
    /// When one is there already, or cannot be made; then none is left of those that were.
    pub fn open(&self, repository: &Path) -> Result<()> {
        let (whose, mut made) = (format!("{}\n{}\n", show(&self.live), show(repository)), Vec::new());
        let opened = self.folders().into_iter().try_for_each(|folder| {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(Error::io("create", folder))?;
            made.push(folder.to_owned());
            durable::replace(&folder.join(HELD), whose.as_bytes(), 0o600)?;
            durable::replace(&folder.join(IGNORE), IGNORED, 0o600)
        });
        match opened {
            // What was there already is another drill's.
            Err(error) => scratch::sweep(made).and(Err(error)),
            opened => opened,
        }
    }

    /// Moves the live folder aside. Returns the bytes that were copied, where a rename would not do.
    ///
    /// # Errors
    /// When a step fails; [`Swap::back`] takes back what was done.
    pub fn move_aside(&mut self, note: Note<'_>) -> Result<u64> {
        if self.identity.is_none() {
            return self.must_be_free().map(|()| 0);
        }
        self.must_be_live()?;
        if !self.is_apart() {
            durable::move_folder(&self.live, &self.aside)?;
            return Ok(0);
        }
        copy(&self.live, &self.aside, OnInterrupt::End)?;
        self.becomes(State::Copied, note)?;
        durable::move_folder(&self.live, &self.leaving())?;
        // Nobody finds it by its name any more: what was written until now is seen.
        let bytes = compared(&self.leaving(), &self.aside, OnInterrupt::End)?;
        self.becomes(State::CopyAlone, note)?;
        remove(&self.leaving())?;
        Ok(bytes)
    }

    /// Puts `restored` where the live folder was.
    ///
    /// # Errors
    /// When something is there, or the rename fails.
    pub fn place(&mut self, restored: &Path, note: Note<'_>) -> Result<()> {
        let mut next = self.clone();
        next.placed = identity(restored);
        next.placed_at_nanos = Some(self.moment()?);
        // What is written from here on is changed later than that.
        std::thread::sleep(TICK);
        note(&next)?;
        *self = next;
        durable::move_folder(restored, &self.live)
    }

    /// Brings the live folder back; what the drill has put in its place is kept beside it.
    ///
    /// # Errors
    /// When it is nowhere to be found, something else is in its place, or a rename or copy fails. Calling it again goes on.
    pub fn back(&mut self, note: Note<'_>) -> Result<()> {
        if self.identity.is_none() {
            return self.put_away();
        }
        if self.must_be_live().is_ok() {
            return self.is_back(note);
        }
        match self.state {
            State::Whole => {
                self.must_be_there(&self.aside)?;
                self.put_away()?;
                durable::move_folder(&self.aside, &self.live)?;
            }
            State::Copied => {
                self.must_be_there(&self.leaving())?;
                self.put_away()?;
                durable::move_folder(&self.leaving(), &self.live)?;
            }
            State::CopyAlone => {
                self.must_be_there(&self.aside)?;
                // A copy that a killed run had begun may still be written to.
                let back = free(&self.work, "back");
                copy(&self.aside, &back, OnInterrupt::GoOn)?;
                compared(&self.aside, &back, OnInterrupt::GoOn)?;
                self.put_away()?;
                let mut next = self.clone();
                next.identity = identity(&back);
                note(&next)?;
                *self = next;
                durable::move_folder(&back, &self.live)?;
            }
        }
        self.must_be_live()?;
        self.is_back(note)
    }

    /// The live folder is in place, and a copy of it is needed no more, as soon as that is on record.
    fn is_back(&mut self, note: Note<'_>) -> Result<()> {
        if self.state == State::Whole { Ok(()) } else { self.becomes(State::Whole, note) }
    }

    fn becomes(&mut self, state: State, note: Note<'_>) -> Result<()> {
        let next = Self { state, ..self.clone() };
        note(&next)?;
        *self = next;
        Ok(())
    }

    /// What is in the live folder's place is that folder itself.
    fn must_be_live(&self) -> Result<()> {
        match identity(&self.live) {
            Some(found) if Some(&found) == self.identity.as_ref() => Ok(()),
            Some(_) => Err(self.strange()),
            None => Err(self.lost(&self.live)),
        }
    }

    fn must_be_there(&self, folder: &Path) -> Result<()> {
        if is_there(folder) { Ok(()) } else { Err(self.lost(folder)) }
    }

    fn must_be_free(&self) -> Result<()> {
        if is_there(&self.live) { Err(self.strange()) } else { Ok(()) }
    }

    fn strange(&self) -> Error {
        let what =
            format!("{} is neither the live folder nor what the drill has put there", show(&self.live));
        Error::refused(what, self.by_hand())
    }

    fn lost(&self, folder: &Path) -> Error {
        Error::refused(
            format!("{} is not there, where {} should be", show(folder), self.what),
            self.by_hand(),
        )
    }

    fn by_hand(&self) -> String {
        let (live, work, aside) = (show(&self.live), show(&self.work), show(&self.aside));
        format!(
            "look at {live}, {work} and {aside}: decide which is the live data, move it to {live}, and what is there now \
             away; then remove `.recovery/drill.json` and start the service"
        )
    }

    /// Moves what the drill has put in the live folder's place into the private folder: what was written to it is kept.
    fn put_away(&self) -> Result<()> {
        match identity(&self.live) {
            None if !is_there(&self.live) => Ok(()),
            Some(found) if Some(&found) == self.placed.as_ref() => {
                durable::move_folder(&self.live, &free(&self.work, RESTORED))
            }
            // A folder that was not there before the drill, and that somebody else has made since.
            _ if self.identity.is_none() => Ok(()),
            _ => Err(self.strange()),
        }
    }

    /// Where the original goes once a copy of it lies aside.
    fn leaving(&self) -> PathBuf {
        self.work.join("leaving")
    }

    /// What time it is for the file system of the live folder, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn moment(&self) -> Result<i64> {
        let mark = self.work.join(IGNORE);
        durable::replace(&mark, IGNORED, 0o600)?;
        let meta = fs::metadata(&mark).map_err(Error::io("look at", &mark))?;
        Ok(meta.ctime() * 1_000_000_000 + meta.ctime_nsec())
    }

    /// What was in the live folder's place and was moved away again.
    pub fn put_away_folders(&self) -> Vec<PathBuf> {
        let names = (0..).map(|number| self.work.join(format!("{RESTORED}-{number}")));
        names.take_while(|path| is_there(path)).collect()
    }

    /// Where the archive is restored to, before it is put in place.
    pub fn staging(&self) -> PathBuf {
        self.work.join("staged")
    }

    /// Removes what is needed no more: what was restored and never put in place, copies of what is in its place, and the
    /// private folders, if nothing else is in them. Returns those that are kept: they hold live data, or what was in
    /// its place for a while.
    ///
    /// # Errors
    /// When something cannot be looked at or removed.
    pub fn tidy(&self) -> Result<Vec<PathBuf>> {
        remove(&self.staging())?;
        if self.is_apart() && self.identity.is_some() {
            match self.state {
                State::Whole => {
                    self.must_be_live()?;
                    remove(&self.leaving())?;
                    remove(&self.aside)?;
                }
                State::CopyAlone => remove(&self.leaving())?,
                State::Copied => {}
            }
            for name in names(&self.work)?.iter().filter(|name| name.starts_with("back-")) {
                remove(&self.work.join(name))?;
            }
        }
        let mut kept = Vec::new();
        for folder in self.folders().into_iter().filter(|folder| is_there(folder)) {
            match names(folder)?.iter().all(|name| OWN.contains(&&**name)) {
                true => remove(folder)?,
                false => kept.push(folder.to_owned()),
            }
        }
        Ok(kept)
    }

    /// The restored release has the mode and the owner of the folder whose place it takes, before it is compared with that: a
    /// bundle knows neither.
    ///
    /// # Errors
    /// When they cannot be set.
    pub fn dress(&self, restored: &Path) -> Result<()> {
        let before = fs::metadata(&self.aside).ok();
        let mode = before.as_ref().map_or(0o755, |meta| meta.mode() & 0o7777);
        if let Some(meta) = before.filter(|_| rustix::process::geteuid().is_root()) {
            std::os::unix::fs::chown(restored, Some(meta.uid()), Some(meta.gid()))
                .map_err(Error::io("set the owner of", restored))?;
        }
        fs::set_permissions(restored, Permissions::from_mode(mode))
            .map_err(Error::io("set the mode of", restored))
    }
}

/// Whether something is there, whatever it is.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Which folder it is, whatever its name: its inode, and when it was made, as far as the file system knows, since inodes
/// are used again. It has to lie on the file system of the folder above; device numbers would change when the machine starts
/// again.
fn identity(folder: &Path) -> Option<String> {
    let (meta, above) = (fs::symlink_metadata(folder).ok()?, fs::metadata(folder.parent()?).ok()?);
    let made = meta.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    (meta.is_dir() && meta.dev() == above.dev()).then(|| format!("{}-{}", meta.ino(), made.as_nanos()))
}

/// The first name of its kind that is free.
fn free(work: &Path, kind: &str) -> PathBuf {
    let names = (0..).map(|number| work.join(format!("{kind}-{number}")));
    names.into_iter().find(|path| !is_there(path)).unwrap_or_else(|| work.join(kind))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        // Removed already, by one that was killed behind it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", folder))?,
    };
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry.map_err(Error::io("list", folder))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Copies a folder, with owners, times, links and attributes, and makes the copy durable.
fn copy(from: &Path, to: &Path, on_interrupt: OnInterrupt) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to).map_err(Error::io("create", to))?;
    if let Some(failed) = rsync::copy(from, to, on_interrupt)?.failed {
        return Err(Error::refused(format!("{} could not be copied whole: {failed}", show(from)), ""));
    }
    durable::sync_tree(to)
}

/// Whether a copy is what it was made of; the bytes that were compared.
fn compared(from: &Path, to: &Path, on_interrupt: OnInterrupt) -> Result<u64> {
    let compared = same(from, to, on_interrupt)?;
    let Some(first) = compared.first else { return Ok(compared.bytes) };
    let what = format!("the copy of {} is not what it was: {first}", show(from));
    let next = "stop what writes to it; what cannot be copied cannot be moved to another file system";
    Err(Error::refused(what, next))
}

/// Removes a folder that a drill has made; nothing where there is none.
fn remove(folder: &Path) -> Result<()> {
    if !is_there(folder) {
        return Ok(());
    }
    scratch::sweep([folder.to_owned()]).map(|_| ())
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
