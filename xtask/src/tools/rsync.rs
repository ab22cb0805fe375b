//! rsync: copies named files of a working tree into a staging folder.
use super::{output_with, shell_in};
use crate::error::Result;
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
