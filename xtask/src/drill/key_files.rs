//! The key files of a restored data set: there, inside, and not empty.
use super::done::Done;
use crate::error::{Error, Result};
use crate::finding::Finding;
use std::fs;
use std::path::Path;

/// The step of a drill: that they match the manifest was shown by the one before; here they must be there at all, hold
/// something, and not be links that lead elsewhere. `folder` is the data set's in `root`, both as restored.
pub(super) fn looked(root: &Path, folder: &Path, names: &[String]) -> Result<Done> {
    let root = root.canonicalize().map_err(Error::io("resolve", root))?;
    let (mut sound, mut findings) = (Vec::new(), Vec::new());
    for name in names {
        match wrong_with(&root, &root.join(folder).join(name)) {
            None => sound.push(name.as_str()),
            Some(what) => findings.push(Finding::error(name, what, "back up the right folder again")),
        }
    }
    Ok(Done::looked(sound.len() as u64, format!("restored: {}", sound.join(", ")), findings))
}

/// What is wrong with the key file at `path`, which must lie in `root` (resolved) after following links.
pub(super) fn wrong_with(root: &Path, path: &Path) -> Option<&'static str> {
    match path.canonicalize() {
        Err(_) => Some("the key file was not restored"),
        Ok(real) if !real.starts_with(root) => Some("the key file is a link out of the restored folder"),
        Ok(real) => match fs::metadata(&real) {
            Ok(meta) if !meta.is_file() => Some("the key file is no file"),
            Ok(meta) if meta.len() == 0 => Some("the key file is empty"),
            Ok(_) => None,
            Err(_) => Some("the key file cannot be read"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_must_be_a_file_inside_that_holds_something() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("resolved").join("restored");
        fs::create_dir(&root).expect("made");
        fs::write(root.join("full"), "x").expect("written");
        fs::write(root.join("empty"), "").expect("written");
        fs::write(root.join("../outside"), "x").expect("written");
        std::os::unix::fs::symlink("../outside", root.join("out")).expect("linked");
        std::os::unix::fs::symlink("full", root.join("in")).expect("linked");
        for (name, sound) in
            [("full", true), ("in", true), ("empty", false), ("gone", false), ("out", false), (".", false)]
        {
            assert_eq!(wrong_with(&root, &root.join(name)).is_none(), sound, "{name}");
        }
    }
}
