//! The repositories of submodules, where they lie on this machine, so that their objects can be read with those of the
//! repository that they belong to.
//!
//! A submodule's repository is looked for where `git submodule` puts it (`modules/<name>` in the git folder) and where it
//! is checked out. Nothing is fetched, and nothing in them is run: of each only its objects are read, and its settings
//! are not asked.
use super::super::output_of;
use super::{Blobs, Repository, SUBMODULE, TreeEntry, clean};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use xshell::cmd;

/// A submodule as a lock records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submodule {
    /// Where it stands in the bundle; as text, with what is odd escaped.
    pub path: String,
    /// Its commit.
    pub commit: String,
    /// Whether its content is in the bundle.
    pub included: bool,
}

/// A submodule whose commit is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// Its commit.
    pub commit: String,
    /// Its git folder.
    pub git_dir: PathBuf,
}

/// A repository that may have submodules: its git folders, and where it is checked out.
struct Parent {
    git_dirs: Vec<PathBuf>,
    checked_out: Option<PathBuf>,
}

impl Repository {
    /// This repository with the objects of its submodules, and of theirs, as far as `commit` needs them below `folder` and
    /// they are here; and which these are.
    ///
    /// # Errors
    /// When git fails.
    pub fn with_submodules(&self, commit: &str, folder: &str) -> Result<(Self, Vec<Lent>)> {
        // A linked working tree has submodules of its own.
        let folders = ["--git-dir", "--git-common-dir"]
            .map(|folder| Ok(self.root.join(line(&self.git(&["rev-parse", folder])?)).join("modules")));
        let git_dirs = folders.into_iter().collect::<Result<Vec<_>>>()?;
        let parent = Parent { git_dirs, checked_out: (!self.bare).then(|| self.root.clone()) };
        let (mut all, mut lent) = (self.clone(), Vec::new());
        let tree = self.tree(commit)?;
        let wanted = |path: &[u8]| {
            folder.is_empty()
                || path.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let tree = tree.into_iter().filter(|entry| wanted(&entry.path)).collect();
        all.borrow_from(&parent, commit, tree, &mut lent)?;
        Ok((all, lent))
    }

    /// Adds what the submodules in `tree`, that of `commit`, need.
    fn borrow_from(
        &mut self,
        parent: &Parent,
        commit: &str,
        tree: Vec<TreeEntry>,
        lent: &mut Vec<Lent>,
    ) -> Result<()> {
        let modules: Vec<TreeEntry> = tree.into_iter().filter(|entry| entry.mode == SUBMODULE).collect();
        if modules.is_empty() {
            return Ok(());
        }
        let names = self.names_of(commit)?;
        for module in modules {
            let checked_out =
                parent.checked_out.as_ref().map(|root| root.join(OsStr::from_bytes(&module.path)));
            let name = names.get(&module.path).filter(|name| is_name(name));
            let mut places: Vec<PathBuf> = Vec::new();
            if let Some(name) = name {
                places.extend(parent.git_dirs.iter().map(|folder| folder.join(OsStr::from_bytes(name))));
            }
            places.extend(checked_out.as_ref().map(|folder| folder.join(".git")));
            let found = places
                .into_iter()
                .filter(|place| place.exists())
                .find_map(|place| objects(&place, &module.id));
            let Some((git_dir, objects)) = found else { continue };
            if !self.borrowed.contains(&objects) {
                self.borrowed.push(objects);
            }
            if lent.iter().any(|other: &Lent| other.commit == module.id) {
                continue;
            }
            let below = Parent { git_dirs: vec![git_dir.join("modules")], checked_out };
            lent.push(Lent { commit: module.id.clone(), git_dir });
            let tree = self.tree(&module.id)?;
            self.borrow_from(&below, &module.id, tree, lent)?;
        }
        Ok(())
    }

    /// The names of submodules by their paths, as the `.gitmodules` of a commit has them.
    fn names_of(&self, commit: &str) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
        let blob = format!("--blob={commit}:.gitmodules");
        let asked = self.git(&["config", &blob, "-z", "--get-regexp", r"^submodule\..*\.path$"]);
        let listed = match asked {
            Ok(listed) => listed,
            // Without the file, or with one that git does not understand, a submodule has no name.
            Err(Error::Tool { .. }) => return Ok(HashMap::new()),
            Err(error) => return Err(error),
        };
        let named = |line: &[u8]| {
            let at = line.iter().position(|byte| *byte == b'\n')?;
            let name = line[..at].strip_prefix(b"submodule.")?.strip_suffix(b".path")?;
            Some((line[at + 1..].to_vec(), name.to_vec()))
        };
        Ok(listed.split(|byte| *byte == 0).filter_map(named).collect())
    }

    /// The folders of borrowed objects as git takes them; `None` without any.
    pub(super) fn alternates(&self) -> Option<OsString> {
        let quoted = |folder: &PathBuf| quoted(folder.as_os_str().as_bytes());
        let all: Vec<Vec<u8>> = self.borrowed.iter().map(quoted).collect();
        (!all.is_empty()).then(|| OsString::from_vec(all.join(&b':')))
    }

    /// Whether a commit is here, with the objects that are borrowed.
    ///
    /// # Errors
    /// When git fails.
    pub fn has(&self, commit: &str, blobs: &mut Blobs) -> Result<bool> {
        let is_name = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(is_name && blobs.commit(commit)?.is_some_and(|found| found.sha == commit))
    }
}

fn line(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(bytes)))
}

/// Git folder and folder of objects of the repository at `place`, a git folder or the file that names one, if it has
/// `commit`. A partial one is not completed.
fn objects(place: &Path, commit: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = place.parent()?;
    let shell = clean(folder).ok()?;
    shell.set_var("GIT_DIR", place);
    // Else git looks for the working tree that its settings name, which may be gone.
    shell.set_var("GIT_WORK_TREE", folder);
    shell.set_var(super::NO_LAZY_FETCH, "1");
    let wanted = format!("{commit}^{{commit}}");
    output_of(cmd!(shell, "git cat-file -e {wanted}")).ok()?;
    let git_dir = output_of(cmd!(shell, "git rev-parse --absolute-git-dir")).ok()?;
    let objects = output_of(cmd!(shell, "git rev-parse --git-path objects")).ok()?;
    Some((line(&git_dir).to_owned(), folder.join(line(&objects))))
}

/// No name leads out of the folder of the modules (git refuses such names as well).
fn is_name(name: &[u8]) -> bool {
    !name.starts_with(b"/")
        && name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// A folder in a list that `:` separates: quoted as in C where it has to be.
fn quoted(path: &[u8]) -> Vec<u8> {
    if !path.iter().any(|byte| matches!(byte, b':' | b'"' | b'\\' | 0..=31 | 127..)) {
        return path.to_vec();
    }
    let mut text = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            32..=126 => text.push(*byte),
            other => text.extend(format!("\\{other:03o}").into_bytes()),
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for good in [&b"lib"[..], b"vendor/lib", b"a b", b"..a"] {
            assert!(is_name(good));
        }
        for odd in [&b""[..], b"/etc", b"../x", b"a/../../b", b"a//b", b"./a"] {
            assert!(!is_name(odd));
        }
    }

    #[test]
    fn a_folder_with_a_colon_is_one_folder() {
        assert_eq!(quoted(b"/a b/c"), b"/a b/c");
        assert_eq!(quoted(b"/a:b\"\\\n\xff"), b"\"/a:b\\\"\\\\\\012\\377\"");
    }
}
