//! The key files of a restored data set: there, inside, and not empty.
use std::fs;
use std::path::Path;

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
