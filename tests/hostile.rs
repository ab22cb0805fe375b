//! Archives that want out of their folder, or want all of the memory: refused by name, by `restore` and by `verify`, and
//! nothing is left behind, neither outside of the target nor at it. A manifest that vouches for them changes nothing.
use super::handmade::{Handmade, header, manifest, manifest_text, pax};
use super::support::{Outcome, Stack};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const EVIL: &str = "evil-2026-03-10T120000Z.tar.gz";

/// An archive, and the entry that its error must name.
type Case = (&'static str, Handmade, String);

/// A folder with the archive, one that must never be written to, and one to restore into.
fn scene() -> Stack {
    let stack = Stack::bare();
    stack.file("victim/canary", "untouched\n");
    stack.file("drive/canary", "untouched\n");
    fs::create_dir(stack.path("in")).expect("makes a folder");
    stack
}

fn put(stack: &Stack, name: &str, bytes: &[u8]) -> String {
    let path = stack.path("in").join(name);
    fs::write(&path, bytes).expect("writes");
    path.display().to_string()
}

/// The same archive with a manifest and a marker that both agree with it.
fn put_forged(stack: &Stack, tar: &Handmade) -> String {
    let (archive, manifest) = tar.forged(EVIL);
    put(stack, "evil-2026-03-10T120000Z.manifest.jsonl.gz", &manifest);
    let path = put(stack, EVIL, &archive);
    stack.sh("in", &format!("sha256sum evil*.gz > {EVIL}.sha256"));
    path
}

/// What is wrong with how `restore` took a hostile archive; `None` when it refused it as it should.
fn fault(stack: &Stack, archive: &str, what: &str, entry: &str) -> Option<String> {
    let before = stack.world(".");
    let said = stack.run(&["restore", archive, "--to", "../drive/target"]);
    let left = stack.world(".");
    stack.sh("drive", "rm -rf target");
    if left != before {
        return Some(format!("{what}: something is left behind: {left}\n{}", said.shown()));
    }
    not_one_error(&said, entry).map(|fault| format!("{what}: {fault}"))
}

fn not_one_error(said: &Outcome, entry: &str) -> Option<String> {
    let errors: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("error")).collect();
    let good = said.code == 1 && errors.len() == 1 && errors[0].contains(entry);
    let good = good && !said.stderr.contains("panicked");
    (!good).then(|| format!("exit {} and not one error that names {entry:?}: {}", said.code, said.stderr))
}

#[track_caller]
fn refused(stack: &Stack, archive: &str, what: &str, entry: &str) {
    let fault = fault(stack, archive, what, entry);
    assert!(fault.is_none(), "{}", fault.unwrap_or_default());
}

#[track_caller]
fn one_error(said: &Outcome, what: &str, entry: &str) {
    let fault = not_one_error(said, entry);
    assert!(fault.is_none(), "{what}: {}", fault.unwrap_or_default());
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Names and links that lead out of the folder.
fn escapes(victim: &Path) -> Vec<Case> {
    let (out, canary) =
        (victim.join("made").display().to_string(), victim.join("canary").display().to_string());
    let (folder, new) = (victim.display().to_string(), Handmade::new);
    let case = |what, tar, entry: &str| (what, tar, entry.to_owned());
    vec![
        case("an absolute name", new().file(&out, "x"), &out),
        case("a name above", new().file("../made", "x"), "../made"),
        case("a name that climbs", new().file("a/b", "x").file("a/../../made", "x"), "a/../../made"),
        case("a folder above", new().folder("../made/"), "../made"),
        case("no name", new().file("data/a", "x").file("", "x"), "entry "),
        case(
            "through an absolute link",
            new().symlink("data/out", &folder).file("data/out/made", "x"),
            "data/out",
        ),
        case(
            "through a relative link",
            new().symlink("data/out", "../../victim").file("data/out/made", "x"),
            "data/out",
        ),
        case(
            "a folder that becomes a link",
            new().folder("data/out/").symlink("data/out", &folder).file("data/out/made", "x"),
            "data/out",
        ),
        case("a hard link to outside", new().hardlink("data/h", &canary), &canary),
        case("a hard link above", new().hardlink("data/h", "../victim/canary"), "../victim/canary"),
        case(
            "a hard link to a link that leads out",
            new().symlink("data/s", &canary).hardlink("data/h", "data/s"),
            "data/h",
        ),
        case(
            "a hard link through a link that leads out",
            new().symlink("data/s", &folder).hardlink("data/h", "data/s/canary"),
            "data/h",
        ),
        case("a link at a name above", new().symlink("../made", "canary"), "../made"),
        case("a hard link at a name above", new().file("a", "x").hardlink("../made", "a"), "../made"),
    ]
}

/// Entries that are in each other's way.
fn quarrels() -> Vec<Case> {
    let new = Handmade::new;
    let case = |what, tar, entry: &str| (what, tar, entry.to_owned());
    vec![
        case("a file twice", new().file("data/a", "x").file("data/a", "y"), "data/a"),
        case("a file twice, spelt otherwise", new().file("data/a", "x").file("./data/a", "y"), "data/a"),
        case("a link twice", new().symlink("data/a", "x").symlink("data/a", "y"), "data/a"),
        case("a file where a folder is needed", new().file("data/a", "x").file("data/a/b", "y"), "data/a"),
        case("a file where a folder is", new().file("data/a/b", "x").file("data/a", "y"), "data/a"),
        case("a folder where a file is", new().file("data/a", "x").folder("data/a/"), "data/a"),
        case("a hard link where a file is", new().file("b", "x").file("a", "y").hardlink("a", "b"), "a"),
        case("a hard link to nothing", new().hardlink("data/h", "data/none"), "data/h"),
        case("a hard link to a folder", new().folder("data/f/").hardlink("data/h", "data/f"), "data/h"),
        case("a link where a folder is needed", new().symlink("a", "b").symlink("a/c", "d"), "a"),
    ]
}

/// Records that are no entries of a backup, or do not add up.
fn nonsense() -> Vec<Case> {
    let new = Handmade::new;
    let case = |what, tar, entry: &str| (what, tar, entry.to_owned());
    let sized = |set: &dyn Fn(&mut tar::Header)| {
        let mut bad = header(b'0', b"data/bad", b"", 5);
        set(&mut bad);
        bad.set_cksum();
        new().file("data/good", "x").raw(&bad, b"12345")
    };
    let negative = sized(&|header| header.as_old_mut().size = [0xff; 12]);
    let huge = sized(&|header| header.as_old_mut().size = *b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    let letters = sized(&|header| header.as_old_mut().size = *b"0000000zzzz\0");
    let huge_name = header(b'L', b"././@LongLink", b"", 1 << 33);
    vec![
        case("a character device", new().entry(b'3', "dev/tty", "", b""), "dev/tty"),
        case("a block device", new().entry(b'4', "dev/sda", "", b""), "dev/sda"),
        case("a pipe", new().entry(b'6', "data/pipe", "", b""), "data/pipe"),
        case("an unknown kind", new().entry(b'Q', "data/q", "", b""), "data/q"),
        case(
            "a name with a NUL",
            new().extension(b'x', &pax("path", b"data/n\0ul")).file("data/n", "x"),
            "ul",
        ),
        case(
            "an absolute name in an extension",
            new().extension(b'x', &pax("path", b"/made/up")).file("data/n", "x"),
            "/made/up",
        ),
        case("a long name above", new().extension(b'L', b"../made\0").file("data/n", "x"), "../made"),
        case(
            "a hard link in an extension",
            new().extension(b'K', b"../victim/canary\0").hardlink("data/h", "data/n"),
            "../victim/canary",
        ),
        case("a size in an extension", new().extension(b'x', &pax("size", b"5")).file("data/n", "x"), EVIL),
        case("an extension that does not add up", new().extension(b'x', b"99 path=a\n").file("n", "x"), EVIL),
        case("a giant extension", new().extension(b'L', &[b'a'; 2 << 20]).file("data/n", "x"), EVIL),
        case("an extension beyond all sizes", new().raw(&huge_name, b"x"), EVIL),
        case("a negative size", negative, EVIL),
        case("a size beyond all sizes", huge, EVIL),
        case("a size in letters", letters, EVIL),
    ]
}

#[test]
fn nothing_gets_out_of_the_folder_it_is_restored_into() {
    let stack = scene();
    let mut faults = Vec::new();
    for (what, tar, entry) in escapes(&stack.path("victim")).iter().chain(&quarrels()) {
        let archive = put(&stack, EVIL, &tar.gz());
        faults.extend(fault(&stack, &archive, what, entry));
    }
    none(&faults);
}

#[test]
fn a_manifest_that_vouches_for_it_opens_no_door() {
    let stack = scene();
    let mut faults = Vec::new();
    for (what, tar, entry) in escapes(&stack.path("victim")).iter().chain(&quarrels()) {
        let archive = put_forged(&stack, tar);
        stack.sh("in", &format!("sha256sum --check --strict --quiet {EVIL}.sha256"));
        faults.extend(fault(&stack, &archive, what, entry));
    }
    none(&faults);
}

#[test]
fn what_is_no_entry_of_a_backup_is_never_restored() {
    let stack = scene();
    let mut faults = Vec::new();
    for (what, tar, entry) in nonsense() {
        let archive = put(&stack, EVIL, &tar.gz());
        faults.extend(fault(&stack, &archive, what, &entry));
    }
    none(&faults);
}

/// What `restore` refuses is not restorable, and `verify` must not call it sound.
#[test]
fn verify_refuses_what_restore_refuses() {
    let stack = scene();
    let mut missed = Vec::new();
    let mut look = |archive: &str, what: &str, entry: &str, how: &str| {
        let said = stack.run(&["verify", archive]);
        assert!(!said.stderr.contains("panicked"), "{what}: {}", said.shown());
        if said.code != 1 || !said.stderr.contains(entry) {
            missed.push(format!("{what} ({how}): exit {}", said.code));
        }
    };
    for (what, tar, entry) in escapes(&stack.path("victim")).iter().chain(&quarrels()).chain(&nonsense()) {
        look(&put(&stack, EVIL, &tar.gz()), what, entry, "alone");
    }
    for (what, tar, entry) in escapes(&stack.path("victim")).iter().chain(&quarrels()) {
        look(&put_forged(&stack, tar), what, entry, "with a manifest");
    }
    none(&missed);
}

#[test]
fn a_link_that_leads_out_is_left_out_when_nothing_vouches_for_it() {
    let stack = scene();
    let victim = stack.path("victim").display().to_string();
    for link in [&victim, "../../victim", "x/../../../victim"] {
        let tar = Handmade::new().file("data/a", "x").symlink("data/out", link);
        let archive = put(&stack, EVIL, &tar.gz());
        let said = stack.run(&["restore", &archive, "--to", "../drive/target"]);
        one_error(&said, link, "data/out");
        assert_eq!(stack.files("drive/target"), ["data/a"], "{link}");
        stack.sh("drive", "rm -r target");
    }
}

/// Each of two links stays inside by its name; one behind the other leads out.
#[test]
fn links_that_lead_out_together_are_not_followed() {
    let stack = scene();
    let tar = Handmade::new()
        .file("a/b/c/file", "x")
        .symlink("a/b/c/up", "../../..")
        .symlink("out", "a/b/c/up/../canary");
    let archive = put(&stack, EVIL, &tar.gz());
    let said = stack.run(&["restore", &archive, "--to", "../drive/target"]);
    let led = fs::canonicalize(stack.path("drive/target/out")).ok();
    assert_ne!(led, Some(stack.path("drive/canary")), "it leads out: {}", said.shown());
    one_error(&said, "a chain of links", "out");
}

/// A file that is asked for by name comes through the same door.
#[test]
fn a_selection_lets_nothing_out_either() {
    let stack = scene();
    let tar = Handmade::new().file("data/a", "x").file("../made", "x");
    for archive in [put(&stack, EVIL, &tar.gz()), put_forged(&stack, &tar)] {
        let before = stack.world(".");
        let said = stack.run(&["restore", &archive, "--path", "**/made", "--to", "../drive/target"]);
        assert_eq!(stack.world("."), before, "{}", said.shown());
        one_error(&said, "a selection", "../made");
    }
}

#[test]
fn not_even_the_folders_above_the_target_are_left() {
    let stack = scene();
    let archive = put(&stack, EVIL, &Handmade::new().file("../made", "x").gz());
    let before = stack.world(".");
    stack.run(&["restore", &archive, "--to", "../new/deep/target"]).exits(1);
    assert_eq!(stack.world("."), before);
}

#[test]
fn what_stands_behind_the_end_is_not_passed_over() {
    let stack = scene();
    let tar = Handmade::new().file("data/a", "x");
    for more in [&b"garbage"[..], &tar.gz()] {
        let archive = put(&stack, EVIL, &[&tar.gz(), more].concat());
        stack.run(&["verify", &archive]).exits(1).says(&[EVIL]);
        refused(&stack, &archive, "more behind the end", EVIL);
    }
}

/// The address space of these runs, in kilobytes: more than the resident memory that they may use.
const BOUND: u32 = 200_000;

fn bounded(stack: &Stack, archive: &str, code: i32) -> Outcome {
    stack.run_within(BOUND, &["verify", archive]).exits(code);
    stack.run_within(BOUND, &["restore", archive, "--to", "../drive/target"]).exits(code)
}

#[test]
fn a_bomb_of_zeros_needs_little_memory() {
    let stack = scene();
    let tar = Handmade::new().entry(b'0', "data/zeros", "", &vec![0; 200 << 20]);
    for (name, bytes) in [(EVIL, tar.gz()), ("evil.tar.zst", tar.zst())] {
        assert!(bytes.len() < 2 << 20, "a small file");
        let archive = put(&stack, name, &bytes);
        bounded(&stack, &archive, 0);
        let restored = fs::metadata(stack.path("drive/target/data/zeros")).expect("there").len();
        assert_eq!(restored, 200 << 20);
        stack.sh("drive", "rm -r target");
    }
    stack.run_within(4_000, &["verify", &put(&stack, EVIL, &tar.gz())]).fails();
}

#[test]
fn a_bomb_of_extension_headers_needs_little_memory() {
    let stack = scene();
    let record = pax("SCHILY.xattr.user.note", &vec![0; (1 << 20) - 100]);
    let many = (0..400).fold(Handmade::new(), |tar, _| tar.extension(b'x', &record));
    let archive = put(&stack, EVIL, &many.file("data/a", "x").gz());
    bounded(&stack, &archive, 1).says(&[EVIL]);
    assert!(!stack.path("drive/target").exists());
}

#[test]
fn a_bomb_in_a_manifest_needs_little_memory() {
    let stack = scene();
    let tar = Handmade::new().file("data/a", "x");
    let archive = put_forged(&stack, &tar);
    let text = manifest_text(EVIL, &[json!({"line": "block", "note": "@"})]);
    let (begin, end) = text.split_once('@').expect("the note");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(begin.as_bytes()).expect("packs");
    for _ in 0..400 {
        packer.write_all(&[b' '; 1 << 20]).expect("packs");
    }
    packer.write_all(end.as_bytes()).expect("packs");
    let bomb = packer.finish().expect("packs");
    assert!(bomb.len() < 4 << 20, "a small file");
    put(&stack, "evil-2026-03-10T120000Z.manifest.jsonl.gz", &bomb);
    bounded(&stack, &archive, 1).says(&["manifest"]);
    assert!(!stack.path("drive/target").exists());
}

/// Numbers in a manifest are believed as little as names.
#[test]
fn numbers_beyond_all_sizes_in_a_manifest_are_refused() {
    let stack = scene();
    let (max, digest) = (u64::MAX, "0".repeat(64));
    let block = |offset: u64, packed: u64, size: u64| json!({"line": "block", "offset": offset, "packed": packed, "tar_offset": 0, "size": size, "sha256": digest});
    let entry = |size: u64, first: u64, blocks: u64| {
        json!({"line": "entry", "path": "data/a", "kind": "file", "mode": "0644", "mtime": 0, "size": size,
            "sha256": digest, "block": first, "blocks": blocks})
    };
    let rows = [
        (vec![block(10, max, 512)], vec![entry(1, 0, 1)]),
        (vec![block(10, 5, max)], vec![entry(1, 0, 1)]),
        (vec![block(max, 5, 512)], vec![entry(1, 0, 1)]),
        (vec![block(10, 5, 512)], vec![entry(max, 0, 1), entry(max, 0, 1)]),
        (vec![block(10, 5, 512)], vec![entry(1, max, 1)]),
        (vec![block(10, 5, 512)], vec![entry(1, 0, max)]),
        (vec![block(10, 5, 512)], vec![entry(1, 0, 0)]),
        (vec![], vec![]),
    ];
    for (blocks, records) in rows {
        let archive = put_forged(&stack, &Handmade::new().file("data/a", "x"));
        let bytes = manifest(EVIL, &[&blocks[..], &records[..]].concat());
        put(&stack, "evil-2026-03-10T120000Z.manifest.jsonl.gz", &bytes);
        stack.sh("in", &format!("sha256sum evil*.gz > {EVIL}.sha256"));
        let what = format!("{blocks:?} {records:?}");
        let said = stack.run_within(BOUND, &["verify", &archive]);
        assert_eq!(said.code, 1, "{what}: {}", said.shown());
        refused(&stack, &archive, &what, "evil");
    }
}

/// The harness itself: what is honest passes through the same hands.
#[test]
fn an_honest_archive_of_the_same_making_is_restored() {
    let stack = scene();
    let tar = Handmade::new()
        .folder("data/")
        .file("data/a", "x")
        .hardlink("data/h", "data/a")
        .symlink("data/l", "a");
    let alone = put(&stack, EVIL, &tar.gz());
    stack.run(&["verify", &alone]).ok();
    stack.run(&["restore", &alone, "--to", "../drive/one"]).ok();
    let listed = put_forged(&stack, &tar);
    stack.run(&["verify", &listed]).ok();
    stack.run(&["restore", &listed, "--to", "../drive/two"]).ok();
    for target in ["drive/one", "drive/two"] {
        assert_eq!(stack.files(target), ["data/a", "data/h", "data/l"]);
        assert_eq!(fs::read_link(stack.path(target).join("data/l")).expect("a link"), PathBuf::from("a"));
    }
}
