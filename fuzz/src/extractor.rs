//! `verify` and `restore` of one archive, with and without a manifest. Beside the folder that it is restored into stands
//! one that must never change. What `verify` calls sound comes back, and a restore that fails leaves nothing behind.
use super::input::Input;
use super::room::room;
use super::sealed::{pack, seal};
use super::tars::{Built, build, mend};
use globset::{Glob, GlobSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use xtask::archive::codec::Codec;
use xtask::archive::entry::END;
use xtask::error::Error;
use xtask::finding;
use xtask::restore::{Select, Source, check, extract, open_folders};

thread_local! {
    static ROOM: TempDir = furnished();
}

fn furnished() -> TempDir {
    let room = room("fuzz-extractor-");
    for folder in ["in", "out", "victim", "victim/folder"] {
        fs::create_dir(room.path().join(folder)).expect("makes a folder");
    }
    fs::write(room.path().join("victim/canary"), "untouched\n").expect("writes");
    symlink("canary", room.path().join("victim/link")).expect("links");
    room
}

pub fn run(data: &[u8]) {
    ROOM.with(|room| run_in(room.path(), &mut Input::new(data)));
}

fn run_in(room: &Path, input: &mut Input<'_>) {
    let way = input.byte();
    let codec = if way & 1 == 0 { Codec::Gzip } else { Codec::Zstd };
    let select = (way & 2 != 0).then(selection);
    let victim = room.join("victim").display().to_string();
    let source = match way & 12 {
        0 => {
            let mut tar = input.rest().to_vec();
            mend(&mut tar);
            laid(room, codec, &pack(codec, &tar), None)
        }
        4 => {
            let built = build(input, &victim);
            laid(room, codec, &pack(codec, &[&built.tar[..], &END].concat()), None)
        }
        8 => {
            let sealed = seal(&build(input, &victim), codec, input);
            laid(room, codec, &sealed.archive, Some(&sealed.manifest))
        }
        _ => {
            let mut tar = input.rest().to_vec();
            mend(&mut tar);
            let sealed = seal(&Built { tar, starts: vec![0] }, codec, &mut Input::new(&[]));
            laid(room, codec, &sealed.archive, Some(&sealed.manifest))
        }
    };
    both(room, &source, select.as_ref());
}

fn selection() -> Select {
    let globs = GlobSet::builder().add(Glob::new("**/b").expect("a pattern")).build().expect("patterns");
    Select { patterns: vec!["**/b".into()], globs }
}

fn laid(room: &Path, codec: Codec, archive: &[u8], manifest: Option<&[u8]>) -> Source {
    let at = |name: &str| room.join("in").join(format!("{name}.{}", codec.extension()));
    fs::write(at("a.tar"), archive).expect("writes");
    let manifest = manifest.map(|bytes| {
        fs::write(at("a.manifest.jsonl"), bytes).expect("writes");
        at("a.manifest.jsonl")
    });
    Source { archive: at("a.tar"), manifest, marker: None, locked: None, codec, encrypted: false }
}

fn both(room: &Path, source: &Source, select: Option<&Select>) {
    let (before, target) = (listing(room), room.join("out/target"));
    let checked = check(source, None).expect("damage is a finding");
    assert_eq!(listing(room), before, "verify wrote something");
    let sound = !finding::any_error(&checked.findings);
    let restored = extract(source, None, &target, select);
    match &restored {
        Ok(extracted) => {
            assert!(
                sound || select.is_some() || finding::any_error(&extracted.findings),
                "{:?}",
                checked.findings
            );
            assert!(extracted.entries <= checked.entries || !sound);
            open_folders(&target);
            fs::remove_dir_all(&target).expect("removes");
        }
        // A name that is too long, or a number that the file system does not take.
        Err(Error::Io { .. }) => {}
        Err(Error::Refused { .. }) => assert!(select.is_some(), "{restored:?}"),
        Err(error) => {
            assert!(!sound, "verify passes it, and restore says: {error:?}");
            assert!(error.damaged_file().is_some(), "{error:?} names no file");
        }
    }
    assert_eq!(listing(room), before, "something was left behind, or changed: {restored:?}");
}

/// Everything in the room: names, kinds, modes, owners, links, times of files, content.
fn listing(room: &Path) -> String {
    let (mut text, mut open) = (String::new(), vec![PathBuf::new()]);
    while let Some(folder) = open.pop() {
        let mut names: Vec<PathBuf> = fs::read_dir(room.join(&folder))
            .expect("lists")
            .map(|entry| folder.join(entry.expect("an entry").file_name()))
            .collect();
        names.sort();
        for name in names {
            let path = room.join(&name);
            let meta = fs::symlink_metadata(&path).expect("is there");
            let _ = write!(text, "{} {:o} {} {}", name.display(), meta.mode(), meta.uid(), meta.gid());
            if meta.is_dir() {
                open.push(name);
            } else {
                let _ = write!(text, " {} {} {}", meta.nlink(), meta.mtime(), meta.mtime_nsec());
            }
            if meta.is_file() {
                let _ = write!(text, " {}", xtask::archive::sha256_hex(&fs::read(&path).expect("reads")));
            }
            text.push('\n');
        }
    }
    text
}
