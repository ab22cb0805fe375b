//! What the `.gitattributes` of a commit say, as `git check-attr` reads them.
//!
//! It runs in an empty git folder of its own that only borrows the objects, since a clone's `info/attributes` and a user's
//! settings would make the same commit another bundle elsewhere.
use super::super::{failed, output_of, output_with, private};
use super::{ALTERNATES, Repository, clean};
use crate::error::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use tempfile::{Builder, TempDir};
use xshell::{Shell, cmd};

/// What `.gitattributes` say of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// It is left out of a release, itself or with a folder above it.
    pub export_ignore: bool,
    /// `git archive` fills `$Format:…$` in it in.
    pub export_subst: bool,
    /// The value of `text`; empty without one.
    pub text: Vec<u8>,
    /// The value of `eol`.
    pub eol: Vec<u8>,
}

/// Whether a path is that of a file of attributes.
pub fn is_attributes(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes")
}

/// Where a commit's attributes can be asked for.
pub struct AttributesOf {
    home: TempDir,
    objects: PathBuf,
    borrowed: Option<OsString>,
}

impl Repository {
    /// Makes ready for questions about the attributes of `commit`, which takes git as long as an answer does.
    ///
    /// # Errors
    /// When git fails.
    pub fn attributes_of(&self, commit: &str) -> Result<AttributesOf> {
        let objects = self.git(&["rev-parse", "--git-path", "objects"])?;
        let objects = self.root.join(OsStr::from_bytes(objects.strip_suffix(b"\n").unwrap_or(&objects)));
        let temporary = private::temporary();
        #[expect(
            clippy::disallowed_methods,
            reason = "holds the settings of an empty repository, and nobody's data"
        )]
        let home = Builder::new().prefix("attributes-").tempdir_in(&temporary);
        let home = home.map_err(Error::io("create", &temporary))?;
        let made = AttributesOf { home, objects, borrowed: self.alternates() };
        let shell = made.shell()?;
        // What `git init` makes, less what the user's templates would add.
        let format = if commit.len() == 64 { "[extensions]\nobjectFormat = sha256\n" } else { "" };
        let config = format!("[core]\nrepositoryFormatVersion = 1\nbare = true\n{format}");
        let folders = ["objects", "refs"].iter().try_for_each(|name| shell.create_dir(name).map(drop));
        folders
            .and_then(|()| shell.write_file("HEAD", "ref: refs/heads/none\n"))
            .and_then(|()| shell.write_file("config", config))
            .map_err(|error| failed("git check-attr", "has no folder", &error.to_string()))?;
        output_of(cmd!(shell, "git read-tree {commit}"))?;
        Ok(made)
    }
}

impl AttributesOf {
    /// What they say of `paths`, which are those of the commit below the folder `root`; those without any word are not
    /// among them. The folder itself is never left out.
    ///
    /// # Errors
    /// When git fails.
    pub fn paths(&self, paths: &[Vec<u8>], root: &str) -> Result<HashMap<Vec<u8>, Attributes>> {
        // A folder that is left out leaves out what is in it.
        let asked: BTreeSet<&[u8]> = paths.iter().flat_map(|path| prefixes(path)).collect();
        let mut input = asked.into_iter().collect::<Vec<_>>().join(&0);
        input.push(0);
        let shell = self.shell()?;
        let ask = cmd!(
            shell,
            "git -c core.attributesFile=/dev/null check-attr --cached -z --stdin export-ignore export-subst text eol"
        );
        let answer = output_with(ask, input)?;
        let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
        let mut said: HashMap<&[u8], HashMap<&[u8], &[u8]>> = HashMap::new();
        for triple in fields.chunks_exact(3).filter(|triple| triple[2] != b"unspecified") {
            said.entry(triple[0]).or_default().insert(triple[1], triple[2]);
        }
        let value = |path: &[u8], name: &[u8]| said.get(path).and_then(|of| of.get(name)).copied();
        let of = |path: &Vec<u8>| Attributes {
            export_ignore: prefixes(path)
                .any(|part| part.len() > root.len() && value(part, b"export-ignore") == Some(b"set")),
            export_subst: value(path, b"export-subst") == Some(b"set"),
            text: value(path, b"text").unwrap_or_default().to_vec(),
            eol: value(path, b"eol").unwrap_or_default().to_vec(),
        };
        let all = paths.iter().map(|path| (path.clone(), of(path)));
        Ok(all.filter(|(_, attributes)| *attributes != Attributes::default()).collect())
    }

    fn shell(&self) -> Result<Shell> {
        let shell = clean(self.home.path())?;
        shell.set_var("GIT_ATTR_NOSYSTEM", "1");
        shell.set_var("GIT_DIR", self.home.path());
        shell.set_var("GIT_OBJECT_DIRECTORY", &self.objects);
        if let Some(borrowed) = &self.borrowed {
            shell.set_var(ALTERNATES, borrowed);
        }
        // Else each path is answered with a write of its own.
        shell.set_var("GIT_FLUSH", "0");
        Ok(shell)
    }
}

/// The folders above a path, and the path.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([path.len()]).map(|end| &path[..end])
}
