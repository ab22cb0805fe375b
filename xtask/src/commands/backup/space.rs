//! Whether there is room for what is known to be needed, looked at before the first byte is written.
//!
//! It keeps nothing free: others may write meanwhile, and then the write itself fails.
use crate::destination::mount::Mounted;
use crate::error::{Error, Result};
use crate::shown::show;
use std::path::Path;

/// Whether `needed` bytes, and one at least, are free at `path`, which was looked at; `next` says how to get them.
///
/// # Errors
/// [`Error::Refused`] when there are fewer.
pub fn enough(mounted: &Mounted, path: &Path, needed: u64, next: &str) -> Result<()> {
    let Some(free) = mounted.free_bytes.filter(|free| *free < needed.max(1)) else { return Ok(()) };
    let (free, needed) = (crate::ui::bytes(free), crate::ui::bytes(needed));
    Err(Error::refused(format!("{} has {free} free, and at least {needed} are needed", show(path)), next))
}
