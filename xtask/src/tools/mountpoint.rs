//! mountpoint (util-linux): whether a folder is where a file system is mounted.
use super::{failed, finish, process::expression, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use std::time::Duration;
use xshell::cmd;

/// A dead network mount hangs instead of answering.
const DEADLINE: Duration = Duration::from_secs(15);

/// Whether `path` is a mount point.
///
/// # Errors
/// [`Error::NotMounted`] when the mount does not answer; [`Error::Tool`] when the tool was killed, or is another.
pub fn is_mount_point(path: &Path) -> Result<bool> {
    asked(path)?.ok_or_else(|| {
        let what = format!("mountpoint got no answer from it in {} s", DEADLINE.as_secs());
        let next = "see what hangs there, mount the drive again and run again".into();
        Error::NotMounted { path: path.to_owned(), what, next }
    })
}

/// Whether the mount that `path` lies on says anything at all. A process of its own asks: where a server has taken a
/// question and never answers it, nothing ends the one who waits, and he would keep this run from ending, too.
///
/// # Errors
/// When the tool does not start, or the run is interrupted.
pub fn answers(path: &Path) -> Result<bool> {
    Ok(asked(path)?.is_some())
}

fn asked(path: &Path) -> Result<Option<bool>> {
    let shell = shell_in(Path::new("/"))?;
    let call = expression(cmd!(shell, "mountpoint -q -- {path}")).stdin_null();
    match finish(call, "mountpoint", DEADLINE)? {
        Some(output) if output.status.code().is_none() => {
            Err(failed("mountpoint", &output.status.to_string(), ""))
        }
        // Asked to be quiet, it prints nothing.
        Some(output) if !output.stdout.is_empty() => Err(failed("mountpoint", "no answer that it knows", "")),
        output => Ok(output.map(|output| output.status.success())),
    }
}
