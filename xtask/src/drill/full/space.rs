//! What a full drill needs of the file systems before it touches anything: room, and a place for its evidence. Reads only.
use super::swap::Swap;
use crate::destination::mount;
use crate::error::{Error, Result};
use crate::shown::show;
use std::collections::BTreeMap;
use std::path::Path;

/// Whether the evidence will find its place, as far as that can be told.
pub(super) fn writable(folder: &Path) -> Result<()> {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
    let access = rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    access.map_err(|error| Error::io("write to", there)(error.into()))
}

/// Whether what is restored, and a copy where one is made, find room, all together on each file system. What was restored is
/// about as large as the live folder; where that lies aside on another file system, it needs the room again on its way back.
pub(super) fn enough(swaps: &[Swap]) -> Result<()> {
    let mut needs: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for swap in swaps.iter().filter(|swap| swap.identity.is_some()) {
        let size = fs_extra::dir::get_size(&swap.live).map_err(|error| {
            Error::refused(
                format!("the size of {} cannot be told: {error}", show(&swap.live)),
                "see who owns what is in it",
            )
        })?;
        let copy = swap.aside.ancestors().find(|folder| folder.is_dir()).filter(|_| swap.is_apart());
        for folder in swap.live.parent().into_iter().chain(copy) {
            let device =
                rustix::fs::stat(folder).map_err(|error| Error::io("look at", folder)(error.into()))?;
            needs.entry(device.st_dev).or_insert((folder, 0)).1 += size;
        }
    }
    for (folder, needed) in needs.into_values() {
        if let Some(free) = mount::check(folder, None, false)?.free_bytes.filter(|free| *free < needed) {
            let what = format!("{} has {free} bytes free, and {needed} are needed", show(folder));
            return Err(Error::refused(what, "free some room there"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::swap::State;
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn folders_of_one_file_system_need_room_together() {
        let home = tempfile::tempdir().expect("a folder");
        let free = mount::check(home.path(), None, false).expect("there").free_bytes.expect("counted");
        let swap = |name: &str| {
            let live = home.path().join(name);
            fs::create_dir(&live).expect("makes");
            // Of this length, and takes no room.
            File::create(live.join("large")).expect("creates").set_len(free / 5 * 3).expect("sets");
            Swap {
                what: name.into(),
                identity: Some("1".into()),
                placed: None,
                placed_at_nanos: None,
                work: home.path().join("work"),
                aside: home.path().join("work/aside"),
                state: State::Whole,
                live,
            }
        };
        let swaps = [swap("one"), swap("other")];
        enough(&swaps[..1]).expect("room for one");
        enough(&swaps[1..]).expect("room for the other");
        let error = enough(&swaps).expect_err("no room for both").to_string();
        assert!(error.contains("are needed"), "{error}");
        let gone = Swap { identity: None, ..swaps[1].clone() };
        enough(&[swaps[0].clone(), gone]).expect("one that is not there needs none");
    }
}
