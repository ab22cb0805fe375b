//! rsync: copies named files of a working tree into a staging folder, and mirrors a data folder into one.
use super::process::expression;
use super::{DEADLINE, failed, finish, output_with, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use xshell::cmd;

/// Copies `files` (relative to `from`, any bytes but NUL) with their modes and links.
///
/// # Errors
/// When rsync fails, also when one of the files is gone.
pub fn stage(from: &Path, files: &[Vec<u8>], to: &Path) -> Result<()> {
    let shell = shell_in(from)?;
    let list = files.join(&0);
    output_with(cmd!(shell, "rsync --archive --from0 --files-from=- ./ {to}/"), list).map(|_| ())
}

/// What a pass of [`mirror`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Whether anything was other than in the mirror.
    pub changed: bool,
    /// What could not be copied, in rsync's words.
    pub failed: Option<String>,
}

/// rsync's exit status when some files could not be copied, and when some vanished (rsync(1), EXIT VALUES).
const PARTIAL: i32 = 23;
const VANISHED: i32 = 24;
/// In front of each path that was not the same.
const MARK: &str = "changed: ";

/// Makes the folder `to` like `from`, but for the paths `left_out` (relative to it) and for pipes, sockets and devices.
///
/// # Errors
/// When rsync fails otherwise than on single files.
pub fn mirror(from: &Path, left_out: &[Vec<u8>], to: &Path) -> Result<Pass> {
    let shell = shell_in(from)?;
    let patterns: Vec<Vec<u8>> = left_out.iter().map(|path| literal(path)).collect();
    let format = format!("--out-format={MARK}%i %n");
    let command = cmd!(
        shell,
        "rsync --recursive --links --perms --times --group --owner --hard-links --acls --xattrs --sparse --numeric-ids
            --delete --from0 --exclude-from=- {format} ./ {to}/"
    );
    let text = "rsync --recursive … --delete";
    let call = expression(command).stdin_bytes(patterns.join(&0));
    let Some(output) = finish(call, text, DEADLINE)? else {
        return Err(failed(text, &format!("no answer in {} s", DEADLINE.as_secs()), ""));
    };
    let changed = output.stdout.split(|byte| *byte == b'\n').any(|line| line.starts_with(MARK.as_bytes()));
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(Pass { changed, failed: None }),
        Some(VANISHED) => Ok(Pass { changed: true, failed: None }),
        Some(PARTIAL) => match failed(text, "", &said) {
            Error::Tool { stderr, .. } => Ok(Pass { changed, failed: Some(stderr) }),
            other => Err(other),
        },
        _ => Err(failed(text, &output.status.to_string(), &said)),
    }
}

/// A pattern for this path alone: from the top, and without wildcards.
fn literal(path: &[u8]) -> Vec<u8> {
    let mut pattern = b"/".to_vec();
    // rsync takes a backslash for an escape only where there is a wildcard.
    let escape = path.iter().any(|byte| b"*?[".contains(byte));
    for byte in path {
        if escape && b"*?[\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_mirror_is_the_same_but_for_what_is_left_out() {
        let home = tempfile::tempdir().expect("a folder");
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("sub")).expect("makes");
        fs::create_dir(&to).expect("makes");
        let names = ["a*b", "a1b", "back\\slash", "back\\sl*", "sub/x", "sub/y"];
        for name in names {
            fs::write(from.join(name), name).expect("writes");
        }
        fs::write(to.join("old"), "").expect("writes");
        let left_out = ["a*b", "back\\slash", "back\\sl*", "sub/x"].map(|name| name.as_bytes().to_vec());
        let pass = mirror(&from, &left_out, &to).expect("mirrors");
        assert_eq!(pass, Pass { changed: true, failed: None });
        let there = |name: &&str| to.join(name).exists();
        assert_eq!(names.iter().copied().filter(there).collect::<Vec<_>>(), ["a1b", "sub/y"]);
        assert!(!to.join("old").exists());
        assert!(!mirror(&from, &left_out, &to).expect("mirrors").changed);
        fs::write(from.join("sub/y"), "z").expect("writes");
        assert!(mirror(&from, &left_out, &to).expect("mirrors").changed);
    }
}
