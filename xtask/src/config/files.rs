//! The files that a configuration is read from: one that the user has named, and those at a repository's root.
use crate::destination::read;
use crate::error::{Error, Result};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// Gives the text of a file at a repository's root; `None` when there is none.
pub type Files<'a> = &'a mut dyn FnMut(&str) -> Result<Option<String>>;

/// No configuration is longer.
const MAX_FILE: u64 = 1 << 20;

/// A file that the user has named; a pipe will do, an endless one will not.
pub(super) fn read_small(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        let what = format!("{} has more than {MAX_FILE} bytes", path.display());
        return Err(Error::refused(what, "name a recovery.toml"));
    }
    utf8(path, bytes)
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| {
        Error::refused(format!("{} is not UTF-8 text", path.display()), "save it as UTF-8, and run again")
    })
}

/// The files that lie in `root`, which somebody else may have laid there: no pipe is waited for.
pub fn beneath(root: &Path) -> impl FnMut(&str) -> Result<Option<String>> {
    move |name| {
        let path = root.join(name);
        match std::fs::metadata(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
            Ok(_) => {}
        }
        utf8(&path, read::small(&path)?).map(Some)
    }
}
