//! mountpoint (util-linux): whether a folder is where a file system is mounted.
use crate::error::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// A dead network mount hangs instead of answering.
const DEADLINE: Duration = Duration::from_secs(15);

/// Whether `path` is a mount point.
///
/// # Errors
/// [`Error::NotMounted`] when the mount does not answer.
pub fn is_mount_point(path: &Path) -> Result<bool> {
    let away = |what: String| Error::NotMounted { path: path.to_owned(), what };
    let call = duct::cmd("mountpoint", ["-q".as_ref(), "--".as_ref(), path.as_os_str()])
        .stderr_capture()
        .stdout_null()
        .unchecked()
        .start()
        .map_err(|error| super::failed("mountpoint", "did not start", &error.to_string()))?;
    match call.wait_timeout(DEADLINE) {
        Ok(Some(output)) => Ok(output.status.success()),
        Ok(None) => {
            let _ = call.kill();
            Err(away(format!("the mount did not answer in {} s", DEADLINE.as_secs())))
        }
        Err(error) => Err(away(error.to_string())),
    }
}
