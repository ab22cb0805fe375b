//! A data folder as a stream of entries under the folder's own name, in the archive's order.
//!
//! It is walked (`walk.rs`) once for its numbers and its state, and once to be read. The list of entries is never
//! held, so a million files take no more memory than the fullest folder.
use super::rules::{Excluded, Judge, LeftOut, Rules};
use super::state::{Facts, State};
use super::walk::{Met, Walk, open_folder};
use super::{Content, Item, Kept};
use crate::archive::entry::{Kind, Mtime};
use crate::error::{Error, Result};
use crate::finding::{self, Finding};
use crate::shown::show_bytes;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A folder that is to be archived.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    name: Vec<u8>,
    judge: Judge,
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
    /// Paths that are left out; a folder counts once.
    pub excluded: Excluded,
    /// Whether a SQLite database is among the files that is to be copied through SQLite.
    pub databases: bool,
    /// What cannot be archived.
    pub findings: Vec<Finding>,
    /// In which state the folder is; see [`Folder::survey`].
    pub state: Option<String>,
}

impl Folder {
    /// The folder at `root`.
    ///
    /// # Errors
    /// When `root` is not a folder, or a pattern does not parse.
    pub fn open(root: &Path, rules: &Rules) -> Result<Self> {
        if !fs::metadata(root).map_err(Error::io("read the source", root))?.is_dir() {
            let what = format!("the source {} is not a folder", root.display());
            return Err(Error::refused(what, "name a folder"));
        }
        let real = fs::canonicalize(root).map_err(Error::io("resolve", root))?;
        let name = root.file_name().or(real.file_name()).unwrap_or(OsStr::new("root")).as_bytes().to_vec();
        Ok(Self { root: root.to_owned(), name, judge: Judge::new(rules)? })
    }

    /// A folder at `root` that is not there yet: with it a backup can be planned, and nothing read.
    ///
    /// # Errors
    /// When a pattern does not parse.
    pub fn to_come(root: &Path, rules: &Rules) -> Result<Self> {
        let name = root.file_name().unwrap_or(OsStr::new("root")).as_bytes().to_vec();
        Ok(Self { root: root.to_owned(), name, judge: Judge::new(rules)? })
    }

    /// Under which its entries stand.
    pub fn file_name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
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

    /// The paths that are left out, relative to the folder, and the state of everything else.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub(super) fn left_out(&self) -> Result<(Vec<Vec<u8>>, String)> {
        let (mut paths, mut state) = (Vec::new(), State::default());
        self.walk_for::<Error>(Some(&mut state), &mut |met| {
            if let Met::Excluded(path, _) = met {
                paths.push(path);
            }
            Ok(())
        })?;
        Ok((paths, state.digest()))
    }

    /// A survey without a state: nothing is waited for.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn glance(&self) -> Result<Survey> {
        Ok(self.look()?.0)
    }

    fn look(&self) -> Result<(Survey, State)> {
        let (mut survey, mut kept) = (Survey::default(), Kept::default());
        let mut state = State::under(u8::from(self.judge.copies_databases()));
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
                Met::Excluded(path, why) => {
                    survey.excluded.add(why);
                    survey.findings.extend(told(&path, why));
                }
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
        let mut walk = Walk { root: &self.root, judge: &self.judge, device: facts.inode.0, state, visit };
        walk.note(&self.name, &facts);
        walk.item(&self.root, None, &facts, self.name.clone(), Kind::Folder, Content::None)?;
        walk.folder(dir, &self.root, &self.name, 0)
    }
}

/// What is told of something that is left out: nobody has named a file that is too large, or what a drill has left.
pub fn told(path: &[u8], why: LeftOut) -> Option<Finding> {
    match why {
        LeftOut::Size(bytes) => {
            let what = format!("has {bytes} bytes, more than `max-size`; left out");
            Some(Finding::info(show_bytes(path), what).of_kind(finding::Kind::Size))
        }
        LeftOut::Aside => {
            let what = "is what a full drill has left aside, which is no data of now; left out";
            Some(Finding::info(show_bytes(path), what))
        }
        LeftOut::Pattern | LeftOut::Cache | LeftOut::FileSystem => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::OPEN_FOLDERS;
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
        let exclude = vec!["/out/".to_owned(), "b".to_owned()];
        let folder =
            Folder::open(&home.path().join("set"), &Rules { exclude, ..Rules::default() }).expect("opens");
        let (mut paths, mut excluded) = (Vec::new(), Vec::new());
        folder
            .walk::<Error>(&mut |met| {
                match met {
                    Met::Item(item, _) => paths.push(String::from_utf8(item.entry.path).expect("text")),
                    Met::Excluded(path, _) => excluded.push(path),
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
            (8, &[b"b".to_vec(), b"out".to_vec()][..]),
            "{paths:?}"
        );
        let survey = folder.survey(Mtime::default()).expect("surveys");
        assert_eq!((survey.entries, survey.files, survey.bytes, survey.excluded.pattern), (8, 4, 4, 2));
    }

    /// Further down than folders are kept open.
    #[test]
    fn a_deep_folder_is_walked_to_its_end() {
        let home = tempfile::tempdir().expect("a folder");
        let deep = (0..OPEN_FOLDERS + 20).fold(home.path().join("set"), |path, _| path.join("d"));
        fs::create_dir_all(&deep).expect("makes");
        fs::write(deep.join("file"), "x").expect("writes");
        let folder = Folder::open(&home.path().join("set"), &Rules::default()).expect("opens");
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
