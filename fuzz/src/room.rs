//! A folder of a target's own, in memory where the machine has such a place; it vanishes with the thread.
use std::path::Path;
use tempfile::TempDir;

pub fn room(prefix: &str) -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix(prefix).tempdir_in(place).expect("a folder")
}
