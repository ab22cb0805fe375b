//! mountpoint (util-linux): whether a folder is where a file system is mounted.
use super::{finish, process::expression, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use std::time::Duration;
use xshell::cmd;

/// A dead network mount hangs instead of answering.
const DEADLINE: Duration = Duration::from_secs(15);

/// Whether `path` is a mount point.
///
/// # Errors
/// [`Error::NotMounted`] when the mount does not answer.
pub fn is_mount_point(path: &Path) -> Result<bool> {
    let shell = shell_in(Path::new("/"))?;
    let call = expression(cmd!(shell, "mountpoint -q -- {path}")).stdin_null();
    match finish(call, "mountpoint", DEADLINE)? {
        Some(output) => Ok(output.status.success()),
        None => {
            let what = format!("mountpoint got no answer from it in {} s", DEADLINE.as_secs());
            let next = "see what hangs there, mount the drive again and run again".into();
            Err(Error::NotMounted { path: path.to_owned(), what, next })
        }
    }
}
