//! Damage to every kind of stored file: each bit, cut, swap and loss that is tried is found by `verify`, is named, comes
//! with what mends it, and ends with 1. A restore of what is damaged brings all back that is not, and names the rest.
use super::{BEFORE, Dice, ENCRYPTED, KEY, LATER, Saved, complete, count, size, tree};
use crate::support::Stack;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How often a bit is flipped in each kind of file.
const FLIPS: (usize, usize) = (5, 300);

/// A kind of stored file: where one lies.
struct Kind {
    name: &'static str,
    folder: &'static str,
    ending: &'static str,
    /// Whether the loss of its end, or of all of it, is noticed.
    whole: bool,
}

const fn kind(name: &'static str, folder: &'static str, ending: &'static str) -> Kind {
    Kind { name, folder, ending, whole: true }
}

/// What a plain and an encrypted destination, bundles and drills leave. In the history and in drills `status` finds it too.
const KINDS: [Kind; 10] = [
    kind("archive", "drive", "Z.tar.gz"),
    kind("manifest", "drive", "Z.manifest.jsonl.gz"),
    kind("marker", "drive", "Z.tar.gz.sha256"),
    kind("tarball", "repo/releases", "Z.tar.gz"),
    kind("manifest of a bundle", "repo/releases", "Z.manifest.jsonl.gz"),
    kind("lock", "repo/releases", ".lock.json"),
    kind("record of a drill", "repo/docs/drills", ".json"),
    kind("page of a drill", "repo/docs/drills", "-spot.md"),
    // The end of the history may be torn by a kill; what stands in it may not change.
    Kind { whole: false, ..kind("history", "repo/.recovery", "history.jsonl") },
    kind("list of bundles", "repo/releases", "SHA256SUMS"),
];
const ZSTD: [Kind; 3] = [
    kind("archive in zstd", "drive", "Z.tar.zst"),
    kind("manifest in zstd", "drive", "Z.manifest.jsonl.zst"),
    kind("marker of an archive in zstd", "drive", "Z.tar.zst.sha256"),
];
const SEALED_GZIP: [Kind; 2] = [
    kind("encrypted archive in gzip", "drive", "Z.tar.gz.gpg"),
    kind("encrypted manifest in gzip", "drive", "Z.manifest.jsonl.gz.gpg"),
];
const SEALED: [Kind; 3] = [
    kind("encrypted archive", "drive", "Z.tar.zst.gpg"),
    kind("encrypted manifest", "drive", "Z.manifest.jsonl.zst.gpg"),
    kind("marker of an encrypted archive", "drive", "Z.tar.zst.gpg.sha256"),
];

const FOLDERS: [&str; 4] = ["drive", "repo/releases", "repo/.recovery", "repo/docs"];

/// Backups, bundles and drills, two of each.
fn stack(destination: &str, dice: &mut Dice) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    tree(&stack, "repo/.codex-api", dice, 12, 30_000);
    for now in [BEFORE, crate::support::NOW] {
        stack.run_with(&[KEY, ("RECOVERY_NOW", now)], &["backup"]).ok();
    }
    stack.run(&["snapshot"]).ok();
    stack.commit("more", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    for now in [crate::support::NOW, LATER] {
        stack.run_with(&[KEY, ("RECOVERY_NOW", now)], &["restore-drill"]).ok();
    }
    stack
}

/// Changes of a file's bytes, by name.
fn changes(content: &[u8], other: &[u8], dice: &mut Dice, flips: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for _ in 0..flips {
        let (at, bit) = (dice.below(content.len()), dice.below(8));
        let mut bytes = content.to_vec();
        bytes[at] ^= 1 << bit;
        all.push((format!("bit {bit} of byte {at} flipped"), bytes));
    }
    let part = content.len().min(64) / 2;
    let (one, two) = (dice.below(part), content.len() - part);
    let mut bytes = content.to_vec();
    let (front, back) = bytes.split_at_mut(two);
    let length = part.min(two - one);
    front[one..][..length].swap_with_slice(&mut back[..length]);
    if bytes != content {
        all.push((format!("{length} bytes at {one} and at {two} swapped"), bytes));
    }
    let cut = dice.below(content.len());
    all.push((format!("cut after {cut} bytes"), content[..cut].to_vec()));
    all.push(("cut by its last byte".into(), content[..content.len() - 1].to_vec()));
    all.push(("empty".into(), Vec::new()));
    all.push(("longer by a byte".into(), [content, b"x"].concat()));
    all.push(("longer by zeros".into(), [content, &[0; 600]].concat()));
    all.push(("twice".into(), [content, content].concat()));
    let at = dice.below(content.len());
    let end = content.len().min(at + 512);
    if content[at..end].iter().any(|byte| *byte != 0) {
        let mut bytes = content.to_vec();
        bytes[at..end].fill(0);
        all.push((format!("bytes {at} to {end} zeroed"), bytes));
    }
    if other != content {
        all.push(("that of another".into(), other.to_vec()));
    }
    all
}

fn each_damage_is_found(destination: &str, kinds: &[Kind], name: &str, flips: usize) {
    let mut dice = Dice::named(name);
    let stack = stack(destination, &mut dice);
    let saved = Saved::of(&stack, &FOLDERS);
    let (mut tried, mut undetected) = (0, Vec::new());
    for kind in kinds {
        let mut files = stack.files(kind.folder);
        files.retain(|file| file.ends_with(kind.ending));
        let paths: Vec<PathBuf> = files.iter().map(|file| stack.path(kind.folder).join(file)).collect();
        assert!(!paths.is_empty(), "no {} in {:?}", kind.name, stack.files(kind.folder));
        let path = &paths[dice.below(paths.len())];
        let content = fs::read(path).expect("reads");
        let other = paths
            .iter()
            .find(|other| *other != path)
            .map_or(content.clone(), |other| fs::read(other).expect("reads"));
        let mut all: Vec<(String, Option<Vec<u8>>)> = changes(&content, &other, &mut dice, flips)
            .into_iter()
            .map(|(how, bytes)| (how, Some(bytes)))
            .collect();
        all.push(("deleted".into(), None));
        let loses = |how: &str| ["cut", "empty", "twice", "deleted"].iter().any(|word| how.starts_with(word));
        all.retain(|(how, _)| kind.whole || !loses(how));
        for (how, bytes) in all {
            match &bytes {
                Some(bytes) => fs::write(path, bytes).expect("writes"),
                None => fs::remove_file(path).expect("removes"),
            }
            tried += 1;
            let found = looks(&stack, path);
            if let Some(why) = found {
                undetected.push(format!("{}: {how}: {why}", kind.name));
            }
            saved.back();
        }
    }
    count("undetected", undetected.len());
    assert_eq!(undetected, [""; 0], "{} of {tried}", undetected.len());
    assert!(tried >= kinds.len() * flips, "only {tried} damages");
    count("damages", tried);
    // The world as it was is sound: what was found, was the damage.
    stack.run_with(&[KEY], &["verify"]).ok();
    assert!(complete(&stack, "drive").len() >= 2);
}

/// Why a damage was overlooked, if it was.
fn looks(stack: &Stack, path: &Path) -> Option<String> {
    let args = ["verify", "--json"];
    let outcome = stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &args);
    if outcome.code != 1 {
        return Some(format!("it ended with {}", outcome.code));
    }
    let document = outcome.json();
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    // The one that is damaged, or what lies beside it under the same stem.
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = file.split("Z.").next().unwrap_or(&file).to_owned();
    let stem = stem.strip_suffix(".json").unwrap_or(&stem).to_owned();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let named: Vec<&serde_json::Value> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .filter(|finding| format!("{} {}", text(finding, "path"), text(finding, "what")).contains(&stem))
        .collect();
    if named.is_empty() {
        Some(format!("not named: {document}"))
    } else if named.iter().all(|finding| text(finding, "repair").is_empty()) {
        Some(format!("nothing mends it: {document}"))
    } else {
        None
    }
}

#[test]
fn damage_of_every_kind_of_plain_file_is_found() {
    each_damage_is_found("", &KINDS, "damage", size(FLIPS.0, FLIPS.1));
    each_damage_is_found("compression = \"zstd\"\n", &ZSTD, "damage, zstd", size(FLIPS.0, FLIPS.1));
}

#[test]
fn damage_of_every_kind_of_encrypted_file_is_found() {
    let destination = format!("{ENCRYPTED}compression = \"zstd\"\n");
    each_damage_is_found(&destination, &SEALED, "damage, encrypted", size(4, FLIPS.1));
    each_damage_is_found(ENCRYPTED, &SEALED_GZIP, "damage, encrypted gzip", size(2, FLIPS.1));
}

/// The list of bundles takes no lock at its word again once it is damaged.
#[test]
fn a_damaged_lock_stays_damaged_when_another_bundle_is_made() {
    for damage in ["s/prod/test/", "s/schema/scheme/"] {
        let stack = Stack::configured();
        stack.run(&["snapshot"]).ok();
        let lock = stack.one("repo/releases", ".lock.json");
        let content = fs::read_to_string(&lock).expect("reads");
        stack.sh("repo/releases", &format!("sed -i {damage} *.lock.json"));
        assert_ne!(content, fs::read_to_string(&lock).expect("reads"));
        stack.commit("more", "2026-03-02T08:30:00Z");
        stack.run(&["snapshot"]);
        let name = lock.file_name().expect("a name").to_string_lossy().into_owned();
        stack.run(&["verify"]).exits(1).says(&[&name]);
        fs::write(&lock, content).expect("writes");
        stack.run(&["verify"]).ok();
        count("damages", 1);
    }
}

/// A byte of an archive costs the files of its block alone, and they are named.
#[test]
fn a_restore_of_a_damaged_archive_brings_back_all_that_is_not() {
    let mut dice = Dice::named("damage, restored");
    for codec in ["gzip", "zstd"] {
        let stack = Stack::new();
        stack.configure(&format!("compression = \"{codec}\"\n"));
        for number in 0..60 {
            let path = stack.path(&format!("repo/.codex-api/part-{number:02}"));
            fs::write(path, dice.bytes(300_000)).expect("writes");
        }
        stack.run(&["backup"]).ok();
        let archive = stack.one("drive", if codec == "gzip" { ".tar.gz" } else { ".tar.zst" });
        let content = fs::read(&archive).expect("reads");
        for _ in 0..size(2, 20) {
            let mut bytes = content.clone();
            let at = content.len() / 4 + dice.below(content.len() / 2);
            bytes[at] ^= 0x10;
            fs::write(&archive, bytes).expect("writes");
            stack.sh(".", "rm -rf back");
            let to = stack.path("back").display().to_string();
            let outcome = stack.run(&["restore", "codex-api", "--to", &to, "--json"]).exits(1);
            let findings = outcome.json()["findings"].to_string();
            let (mut back, mut lost) = (BTreeMap::new(), 0);
            for file in stack.files("repo/.codex-api") {
                let original = fs::read(stack.path("repo/.codex-api").join(&file)).expect("reads");
                match fs::read(stack.path("back/.codex-api").join(&file)) {
                    Ok(restored) => {
                        assert!(restored == original, "{file} is not what it was");
                        back.insert(file, ());
                    }
                    Err(_) => {
                        assert!(findings.contains(&file), "{file} is gone without a word: {findings}");
                        lost += 1;
                    }
                }
            }
            assert!(lost > 0 && back.len() > lost, "{lost} lost, {} back", back.len());
            count("damages", 1);
        }
    }
}

/// Zeros, cuts, more at the end, and the first bytes: what comes back is what it was, the rest is named, and that something
/// is damaged is told each time. Of a plain archive all comes back that lies outside of the damage; an encrypted one may
/// give nothing from it on.
#[test]
fn a_restore_of_an_archive_that_is_zeroed_cut_or_longer_tells_it() {
    let mut dice = Dice::named("damage, restored, of every kind");
    for (more, ending) in [
        ("", ".tar.gz"),
        ("compression = \"zstd\"\n", ".tar.zst"),
        (ENCRYPTED, ".tar.gz.gpg"),
        ("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\ncompression = \"zstd\"\n", ".tar.zst.gpg"),
    ] {
        let stack = Stack::new();
        stack.configure(more);
        for number in 0..40 {
            let path = stack.path(&format!("repo/.codex-api/part-{number:02}"));
            fs::write(path, dice.bytes(500_000)).expect("writes");
        }
        stack.run_with(&[KEY], &["backup"]).ok();
        let archive = stack.one("drive", ending);
        let content = fs::read(&archive).expect("reads");
        let (length, plain) = (content.len(), more != ENCRYPTED && !ending.ends_with("gpg"));
        let zeroed = |from: usize, to: usize| {
            let mut bytes = content.clone();
            bytes[from..to].fill(0);
            bytes
        };
        let flipped = |at: usize| {
            let mut bytes = content.clone();
            bytes[at] ^= 0x40;
            bytes
        };
        // How many of the 40 must come back at least, of a plain one.
        let mut all = vec![
            ("a sector zeroed", zeroed(length / 2, length / 2 + 512), 20),
            ("much zeroed", zeroed(length / 2, length / 4 * 3), 10),
            ("cut", content[..length / 2].to_vec(), 10),
            ("longer", [&content[..], &[7; 1000]].concat(), 40),
            ("the end flipped", flipped(length - 3), 20),
        ];
        // The first bytes, and what gpg reads before it decrypts anything. With zstd they belong to the first block.
        let least = if ending == ".tar.gz" { 40 } else { 20 };
        all.extend([0, 3, 6, 9].map(|at| ("the beginning flipped", flipped(at), least)));
        for (how, bytes, least) in all {
            fs::write(&archive, bytes).expect("writes");
            stack.sh(".", "rm -rf back");
            let args = ["restore", "codex-api", "--to", "../back", "--json"];
            let outcome = stack.run_with(&[KEY], &args);
            assert_eq!(outcome.code, 1, "{ending}, {how}: {}", outcome.shown());
            count("damages", 1);
            let document = outcome.json();
            let name = archive.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(document.to_string().contains(&name), "{ending}, {how}: {document}");
            if !stack.path("back").exists() {
                assert!(!plain && document["status"] == "error", "{ending}, {how}: {document}");
                continue;
            }
            let (findings, mut back) = (document["findings"].to_string(), 0);
            assert!(findings.contains("damaged"), "{ending}, {how}: {document}");
            for file in stack.files("repo/.codex-api") {
                let original = fs::read(stack.path("repo/.codex-api").join(&file)).expect("reads");
                match fs::read(stack.path("back/.codex-api").join(&file)) {
                    Ok(restored) => {
                        assert!(restored == original, "{ending}, {how}: {file} is not what it was")
                    }
                    Err(_) => {
                        assert!(findings.contains(&file), "{ending}, {how}: {file} is gone without a word")
                    }
                }
                back += usize::from(
                    file.starts_with("part-") && stack.path("back/.codex-api").join(&file).exists(),
                );
            }
            // Blocks of zstd are larger.
            let enough = if least < 40 && ending.contains("zst") { back > 0 } else { back >= least };
            assert!(enough || !plain, "{ending}, {how}: only {back} came back");
        }
    }
}
