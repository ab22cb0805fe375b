//! The lock of a bundle, the catalogue of a folder with that lock in it, and `SHA256SUMS`, which is made from locks.
//!
//! The input is a lock and, behind a NUL, the text of a list of digests.
use super::room::room;
use super::sealed::pack;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use xtask::archive::codec::Codec;
use xtask::archive::entry::END;
use xtask::destination::{marker, release_lock, releases};
use xtask::restore::{Source, check};

thread_local! {
    static ROOM: TempDir = furnished();
}

/// A folder with a tarball that locks can name.
fn furnished() -> TempDir {
    let room = room("fuzz-lock-");
    fs::write(room.path().join("a.tar.gz"), pack(Codec::Gzip, &END)).expect("writes");
    fs::write(room.path().join("a.manifest.jsonl.gz"), b"no manifest").expect("writes");
    room
}

pub fn run(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    ROOM.with(|room| lock(room.path(), &data[..cut]));
    sums(&String::from_utf8_lossy(&data[cut..]));
}

fn lock(folder: &Path, text: &[u8]) {
    let path = folder.join("a.lock.json");
    fs::write(&path, text).expect("writes");
    if let Ok(lock) = release_lock::read(&path) {
        let again = folder.join("again");
        fs::write(&again, lock.render()).expect("writes");
        assert_eq!(release_lock::read(&again).expect("what was written is read"), lock);
        let _ = lock.time();
    }
    let (bundles, findings) = releases::scan(folder).expect("the folder is there");
    assert_eq!(
        bundles.len() + usize::from(bundles.is_empty() && !findings.is_empty()),
        1,
        "neither read nor refused"
    );
    for bundle in &bundles {
        for file in bundle.tarball.iter().chain(&bundle.manifest) {
            assert_eq!(file.parent(), Some(folder), "{}", file.display());
        }
        // A lock may name any file there; only one that is named like an archive is one.
        if let Ok(Some(source)) = Source::of_bundle(bundle) {
            check(&source, None).expect("damage is a finding");
        }
    }
    releases::write_sums(folder, None, &HashSet::new()).expect("writes");
    // Nothing is written where there is nothing to list.
    let written = fs::read_to_string(folder.join("SHA256SUMS")).unwrap_or_default();
    let (sums, oddities) = marker::parse(&written);
    assert!(
        oddities.is_empty() && sums.lines.len() <= 2,
        "what is no list of digests was written: {written:?}"
    );
    let _ = fs::remove_file(folder.join("SHA256SUMS"));
}

/// A list that is as it should be is written as it was read.
fn sums(text: &str) {
    let (sums, oddities) = marker::parse(text);
    if oddities.is_empty() && sums.lines.iter().all(|(_, name)| !name.is_empty()) {
        let (again, oddities) = marker::parse(&sums.render());
        assert!(again == sums && oddities.is_empty(), "{sums:?} is written so that it is read as {again:?}");
    }
}
