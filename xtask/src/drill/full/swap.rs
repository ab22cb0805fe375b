//! Moves a live folder aside, puts what was restored in its place, and brings it back.
//!
//! Everything happens in a private folder beside the live one, so that each move is one rename. A live folder is removed in
//! one case only: it lies aside on another file system, in a copy that was compared with it and is durable. [`Swap::back`]
//! looks at what is there, not at what should be, and may be cut off and called again at every instant.
use super::same::same;
use crate::destination::durable;
use crate::error::{Error, Result};
use crate::restore::scratch;
use crate::shown::show;
use crate::tools::{OnInterrupt, rsync};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How the private folders are named, in front of the drill's id.
pub const PREFIX: &str = ".recovery-full-";

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
    /// Its device and inode; `None` for one that was not there before the drill.
    pub identity: Option<(u64, u64)>,
    /// The private folder beside it.
    pub work: PathBuf,
    /// Where it lies aside.
    pub aside: PathBuf,
    /// See [`State`].
    pub state: State,
}

impl Swap {
    /// Looks at a live folder, and changes nothing. `aside_dir` is where it is to lie aside, if not beside itself.
    ///
    /// # Errors
    /// When it is no folder, or cannot be moved because something is mounted on it.
    pub fn plan(what: String, live: &Path, name: &str, aside_dir: Option<&Path>) -> Result<Self> {
        let live = crate::restore::resolved(live)?;
        let (Some(parent), Some(_)) = (live.parent(), live.file_name()) else {
            return Err(Error::refused(
                format!("{} cannot be moved aside", show(&live)),
                "name a folder in another",
            ));
        };
        let above = fs::metadata(parent).map_err(Error::io("look at", parent))?;
        let identity = match fs::symlink_metadata(&live) {
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::refused(
                    format!("{} is no folder", show(&live)),
                    "name the folder itself",
                ));
            }
            Ok(meta) if meta.dev() != above.dev() => {
                let what = format!("{} is a mount point, which cannot be moved aside", show(&live));
                return Err(Error::refused(
                    what,
                    "keep the data in a folder on that file system, and name that",
                ));
            }
            Ok(meta) => Some((meta.dev(), meta.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("look at", &live)(error)),
        };
        let name = format!("{PREFIX}{name}");
        let work = parent.join(&name);
        let aside = match aside_dir {
            None => work.join("aside"),
            Some(folder) => {
                let other = fs::metadata(folder).map_err(Error::io("look at", folder))?;
                match other.dev() == above.dev() {
                    true => work.join("aside"),
                    false => folder.join(&name).join("aside"),
                }
            }
        };
        Ok(Self { what, live, identity, work, aside, state: State::Whole })
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

    /// Makes the private folders.
    ///
    /// # Errors
    /// When one is there already, or cannot be made.
    pub fn open(&self) -> Result<()> {
        for folder in self.folders() {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(Error::io("create", folder))?;
            // In a work tree: nobody commits live data by mistake.
            durable::replace(&folder.join(".gitignore"), b"*\n", 0o600)?;
        }
        Ok(())
    }

    /// Moves the live folder aside. `note` puts the new state on disk, before what it allows is done. Returns the bytes that
    /// were copied, where a rename would not do.
    ///
    /// # Errors
    /// When a step fails; [`Swap::back`] takes back what was done.
    pub fn move_aside(&mut self, note: &mut dyn FnMut(&Self) -> Result<()>) -> Result<u64> {
        if self.identity.is_none() {
            return Ok(0);
        }
        if !self.is_apart() {
            durable::move_folder(&self.live, &self.aside)?;
            return Ok(0);
        }
        let bytes = copied(&self.live, &self.aside, OnInterrupt::End)?;
        self.state = State::Copied;
        note(self)?;
        durable::move_folder(&self.live, &self.leaving())?;
        self.state = State::CopyAlone;
        note(self)?;
        remove(&self.leaving())?;
        Ok(bytes)
    }

    /// Puts `restored` where the live folder was.
    ///
    /// # Errors
    /// When the folder there was not moved aside, or the rename fails.
    pub fn place(&self, restored: &Path) -> Result<()> {
        durable::move_folder(restored, &self.live)
    }

    /// Brings the live folder back; what was put in its place is kept beside it. `note` as in [`Swap::move_aside`].
    ///
    /// # Errors
    /// When it is nowhere to be found, or a rename or copy fails. Calling it again goes on.
    pub fn back(&mut self, note: &mut dyn FnMut(&Self) -> Result<()>) -> Result<()> {
        match (self.state, self.identity) {
            (_, None) => self.put_away(),
            (State::Whole, _) if self.is_apart() => {
                // Never moved, or back: what lies aside is a copy, whole or not.
                self.must_be_live()?;
                remove(&self.aside)
            }
            (State::Whole, _) if is_there(&self.aside) => {
                self.put_away()?;
                durable::move_folder(&self.aside, &self.live)
            }
            (State::Whole, _) => self.must_be_live(),
            (State::Copied, _) => {
                if is_there(&self.leaving()) {
                    self.put_away()?;
                    durable::move_folder(&self.leaving(), &self.live)?;
                }
                self.must_be_live()?;
                self.is_back(note)
            }
            (State::CopyAlone, _) => {
                let back = self.work.join("back");
                remove(&self.leaving())?;
                copied(&self.aside, &back, OnInterrupt::GoOn)?;
                self.put_away()?;
                durable::move_folder(&back, &self.live)?;
                let meta = fs::symlink_metadata(&self.live).map_err(Error::io("look at", &self.live))?;
                self.identity = Some((meta.dev(), meta.ino()));
                self.is_back(note)
            }
        }
    }

    /// The live folder is in place: its copy is needed no more, as soon as that is on record.
    fn is_back(&mut self, note: &mut dyn FnMut(&Self) -> Result<()>) -> Result<()> {
        self.state = State::Whole;
        note(self)?;
        remove(&self.aside)
    }

    /// What is in the live folder's place is that folder itself.
    fn must_be_live(&self) -> Result<()> {
        let found = fs::symlink_metadata(&self.live).map(|meta| (meta.dev(), meta.ino()));
        match found {
            Ok(found) if Some(found) == self.identity => Ok(()),
            found => {
                let there = if found.is_ok() { "another folder is there" } else { "nothing is there" };
                let what =
                    format!("{} is not the folder that it was before the drill: {there}", show(&self.live));
                let next = format!(
                    "look for it in {} and {}, and move it back by hand",
                    show(&self.work),
                    show(&self.aside)
                );
                Err(Error::refused(what, next))
            }
        }
    }

    /// Moves what is in the live folder's place into the private folder: what was written to it since is kept.
    fn put_away(&self) -> Result<()> {
        if !is_there(&self.live) {
            return Ok(());
        }
        let away =
            (0..).map(|number| self.work.join(format!("restored-{number}"))).find(|path| !is_there(path));
        away.map_or(Ok(()), |away| durable::move_folder(&self.live, &away))
    }

    /// Where the original goes once a copy of it lies aside.
    fn leaving(&self) -> PathBuf {
        self.work.join("leaving")
    }

    /// Where the archive is restored to, before it is put in place.
    pub fn staging(&self) -> PathBuf {
        self.work.join("restored")
    }

    /// Removes what was restored and never put in place, and a copy on its way back.
    ///
    /// # Errors
    /// When something is left.
    pub fn tidy(&self) -> Result<()> {
        [self.staging(), self.work.join("back")].iter().try_for_each(|folder| remove(folder))
    }

    /// Removes the private folders: what lies in them is needed no more.
    ///
    /// # Errors
    /// When something is left.
    pub fn close(&self) -> Result<()> {
        self.folders().into_iter().try_for_each(remove)
    }

    /// Whether something of value lies in the private folders: live data, or what was restored and may have been written to.
    pub fn holds_anything(&self) -> bool {
        let kept = |name: &OsStr| name == "aside" || name.to_string_lossy().starts_with("restored-");
        let entries =
            self.folders().into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        entries.flatten().any(|entry| kept(&entry.file_name()))
    }

    /// A folder that was not there before has the mode that folders have.
    ///
    /// # Errors
    /// When it cannot be set.
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

/// Copies a folder, with owners, times, links and attributes, compares the two, and makes the copy durable.
fn copied(from: &Path, to: &Path, on_interrupt: OnInterrupt) -> Result<u64> {
    remove(to)?;
    fs::DirBuilder::new().mode(0o700).create(to).map_err(Error::io("create", to))?;
    let pass = rsync::copy(from, to, on_interrupt)?;
    if let Some(failed) = pass.failed {
        return Err(Error::refused(format!("{} could not be copied whole: {failed}", show(from)), ""));
    }
    let compared = same(from, to, on_interrupt)?;
    if let Some(first) = compared.first {
        let what = format!("the copy of {} is not what it was: {first}", show(from));
        return Err(Error::refused(
            what,
            "stop what writes to it; what cannot be copied cannot be moved to another file system",
        ));
    }
    durable::sync_tree(to)?;
    Ok(compared.bytes)
}

/// Removes a folder that a drill has made; nothing where there is none.
fn remove(folder: &Path) -> Result<()> {
    if !is_there(folder) {
        return Ok(());
    }
    scratch::sweep([folder.to_owned()]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does something with a folder and what was restored for it.
    type Act<'a> = &'a dyn Fn(&mut Swap, &Path);

    fn quiet(_: &Swap) -> Result<()> {
        Ok(())
    }

    /// A live folder with a file in it, and what was restored beside it.
    fn ready(aside_dir: Option<&Path>) -> (tempfile::TempDir, Swap, PathBuf) {
        let home = tempfile::tempdir().expect("a folder");
        let live = home.path().join("live");
        fs::create_dir(&live).expect("makes");
        fs::write(live.join("file"), "live").expect("writes");
        let swap = Swap::plan("data live".into(), &live, "x-0", aside_dir).expect("plans");
        swap.open().expect("opens");
        let restored = swap.work.join("restored");
        fs::create_dir(&restored).expect("makes");
        fs::write(restored.join("file"), "restored").expect("writes");
        (home, swap, restored)
    }

    fn holds(swap: &Swap) -> String {
        fs::read_to_string(swap.live.join("file")).expect("the live file")
    }

    #[test]
    fn the_live_folder_is_back_whenever_it_is_asked_for() {
        let steps: [Act<'_>; 3] = [
            &|_, _| {},
            &|swap, _| assert_eq!(swap.move_aside(&mut quiet).expect("moves"), 0),
            &|swap, restored| {
                swap.move_aside(&mut quiet).expect("moves");
                swap.place(restored).expect("places");
                assert_eq!(holds(swap), "restored");
            },
        ];
        for step in steps {
            let (_home, mut swap, restored) = ready(None);
            step(&mut swap, &restored);
            for _ in 0..2 {
                swap.back(&mut quiet).expect("brings it back");
                assert_eq!(holds(&swap), "live");
            }
            swap.close().expect("closes");
            assert!(swap.live.exists() && !swap.work.exists());
        }
    }

    #[test]
    fn what_was_put_in_its_place_is_kept() {
        let (_home, mut swap, restored) = ready(None);
        swap.move_aside(&mut quiet).expect("moves");
        swap.place(&restored).expect("places");
        fs::write(swap.live.join("new"), "written since").expect("writes");
        swap.back(&mut quiet).expect("brings it back");
        assert_eq!(fs::read_to_string(swap.work.join("restored-0/new")).expect("kept"), "written since");
        assert!(swap.holds_anything());
    }

    #[test]
    fn on_another_file_system_a_verified_copy_lies_aside_before_the_original_goes() {
        let other = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let (_home, mut swap, restored) = ready(Some(other.path()));
        if !swap.is_apart() {
            return assert!(swap.aside.starts_with(&swap.work), "one file system needs no copy");
        }
        let mut states = Vec::new();
        let mut note = |swap: &Swap| {
            states.push((swap.state, swap.live.exists(), swap.aside.join("file").exists()));
            Ok(())
        };
        swap.move_aside(&mut note).expect("moves");
        assert_eq!(states, [(State::Copied, true, true), (State::CopyAlone, false, true)]);
        swap.place(&restored).expect("places");
        swap.back(&mut quiet).expect("brings it back");
        assert_eq!(holds(&swap), "live");
        assert!(!swap.aside.exists());
        swap.back(&mut quiet).expect("once more");
        assert_eq!(holds(&swap), "live");
    }

    #[test]
    fn a_folder_that_is_not_the_one_it_was_is_not_taken_for_it() {
        let (home, mut swap, _) = ready(None);
        fs::rename(&swap.live, home.path().join("elsewhere")).expect("moves");
        swap.back(&mut quiet).expect_err("gone");
        fs::create_dir(&swap.live).expect("makes");
        swap.back(&mut quiet).expect_err("another");
    }

    #[test]
    fn a_folder_that_was_not_there_goes_away_again() {
        let home = tempfile::tempdir().expect("a folder");
        let mut swap =
            Swap::plan("release app".into(), &home.path().join("new"), "x-0", None).expect("plans");
        swap.open().expect("opens");
        assert_eq!(swap.move_aside(&mut quiet).expect("nothing to move"), 0);
        let restored = swap.work.join("restored");
        fs::create_dir(&restored).expect("makes");
        swap.place(&restored).expect("places");
        assert!(swap.live.exists());
        swap.back(&mut quiet).expect("takes it away");
        assert!(!swap.live.exists());
    }

    #[test]
    fn what_cannot_be_moved_is_refused_before_anything_is() {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("file"), "").expect("writes");
        for path in [home.path().join("file"), PathBuf::from("/proc"), PathBuf::from("/")] {
            Swap::plan(String::new(), &path, "x", None).expect_err("refused");
        }
    }
}
