//! What a full drill needs of the file systems before it touches anything: room, and a place for its evidence. Reads only.
use super::swap::Swap;
use crate::error::{Error, Result};
use crate::shown::show;
use std::path::Path;

/// Whether the evidence will find its place, as far as that can be told.
pub(super) fn writable(folder: &Path) -> Result<()> {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
    let access = rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    access.map_err(|error| Error::io("write to", there)(error.into()))
}

/// Whether what is restored, and a copy where one is made, find room. What was restored is about as large as the live folder;
/// where that lies aside on another file system, it needs the room again on its way back.
pub(super) fn room(swap: &Swap) -> Result<()> {
    if swap.identity.is_none() {
        return Ok(());
    }
    let size = fs_extra::dir::get_size(&swap.live).map_err(|error| {
        Error::refused(
            format!("the size of {} cannot be told: {error}", show(&swap.live)),
            "see who owns what is in it",
        )
    })?;
    let copy = swap.aside.ancestors().find(|folder| folder.is_dir()).filter(|_| swap.is_apart());
    for folder in swap.live.parent().into_iter().chain(copy) {
        let free = rustix::fs::statvfs(folder).map_err(|error| Error::io("look at", folder)(error.into()))?;
        // Some file systems count no blocks.
        let free = if free.f_blocks == 0 { u64::MAX } else { free.f_bavail.saturating_mul(free.f_frsize) };
        if free < size {
            let what = format!("{} has {free} bytes free, and {size} are needed", show(folder));
            return Err(Error::refused(what, "free some room there"));
        }
    }
    Ok(())
}
