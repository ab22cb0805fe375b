//! Archives of the first format, made once and kept: they verify and restore for ever, with the tool and without it; and
//! the same tree still gives the same bytes.
use super::support::{NOW, Stack, outcome};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of the encrypted one.
const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "golden correct horse");
const STEM: &str = "service-2026-03-10T120000Z";
const BUNDLE: &str = "acme-api-v1.4.2-2026-03-01T083000Z";

/// The SHA-256 of each stored archive that does not depend on chance. Their gzip was made by zlib-rs, before libdeflate
/// was the encoder, and their zstd with larger tables: what reads them must not care.
const PINNED: [(&str, &str); 3] = [
    ("service-2026-03-10T120000Z.tar.gz", "a8cbc13b003522ecc3533e6637b780878c682bb781f3cc13d6c29dd5e058422c"),
    (
        "service-2026-03-10T120000Z.tar.zst",
        "b5ad7c90aa8435e306b3bb3eb09fce86cf9e3e8f18497e6bfe291c429fa81d8f",
    ),
    (
        "acme-api-v1.4.2-2026-03-01T083000Z.tar.gz",
        "6d8c8690242bd9cab959d02b930bc29ebd42f5d43c1a67e3b843ecbd3cbb76e9",
    ),
];

/// The SHA-256 of what the same trees and commit give today, in that order. A change here is a change of bytes that
/// everybody rebuilds: it needs a reason, another name, version or level of the encoder, and a line in the changelog.
const MADE: [&str; 3] = [
    "99570423d320469104398a0e4efa93da8ee2fbf881b6c958de4fb2f19349d8a7",
    "b5ad7c90aa8435e306b3bb3eb09fce86cf9e3e8f18497e6bfe291c429fa81d8f",
    "5fb92938060246ef14848f18130d51c2a5be069e30a8a772f1f6a5d913acdb43",
];

/// The tree that was backed up: made in `repo`, with times and modes of its own.
const TREE: &str = "
mkdir -p .service/sessions/2026 .service/empty; cd .service
printf 'model = \"x\"\\n' > config.toml
seq 1 5000 > sessions/2026/numbers.txt
printf 'x' > $'not \\xff utf-8'
printf 'run' > run; ln config.toml twin.toml; ln -s sessions/2026/numbers.txt current; ln -s /etc/hostname absolute
d=$(printf 'd%.0s' $(seq 90)); mkdir -p $d/$d; printf 'deep' > $d/$d/file
find . -type d -exec chmod 755 {} +; find . -type f -exec chmod 644 {} +; chmod 600 config.toml; chmod 755 run; chmod 700 empty
find . -exec touch -h -d 2026-02-03T04:05:06Z {} +; touch -d 1969-12-31T23:59:58Z run";

/// Everything but owners, which only root restores.
const LIST: &str = "find . -printf '%P %y %m %Ts %l\\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum";

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/format-1")
}

fn sha256(bytes: &[u8]) -> String {
    xtask::archive::hex(&Sha256::digest(bytes))
}

/// A stack with a copy of what is stored, in which no run can change it.
fn scene() -> Stack {
    let stack = Stack::bare();
    fs::create_dir(stack.path("golden")).expect("makes a folder");
    for entry in fs::read_dir(stored()).expect("lists") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), stack.path("golden").join(entry.file_name())).expect("copies");
    }
    stack
}

fn listed() -> String {
    String::from_utf8_lossy(&fs::read(stored().join("LISTING")).expect("reads")).into_owned()
}

#[test]
fn the_stored_files_are_those_that_were_stored() {
    let stack = scene();
    stack.sh("golden", "sha256sum --check --strict --quiet *.sha256 SHA256SUMS");
    for (name, digest) in PINNED {
        assert_eq!(sha256(&fs::read(stored().join(name)).expect(name)), digest, "{name}");
    }
    assert_eq!(stack.files("golden").len(), 14, "{:?}", stack.files("golden"));
}

#[test]
fn backups_of_the_first_format_verify_and_restore() {
    let stack = scene();
    for ending in ["tar.gz", "tar.zst", "tar.gz.gpg"] {
        let archive = format!("../golden/{STEM}.{ending}");
        let checked = stack.run_with(&[KEY], &["verify", &archive, "--json"]).ok().json();
        assert_eq!(checked["artifacts"][0]["compared_with_manifest"], true, "{checked}");
        assert_eq!(checked["findings"].as_array().map(Vec::len), Some(0), "{checked}");
        let back = format!("back {ending}");
        stack.run_with(&[KEY], &["restore", &archive, "--to", &format!("../{back}")]).ok();
        assert_eq!(stack.sh(&format!("{back}/.service"), LIST), listed(), "{ending}");
        let some = format!("some {ending}");
        let args = ["restore", &archive, "--path", "**/numbers.txt", "--to", &format!("../{some}")];
        stack.run_with(&[KEY], &args).ok();
        assert_eq!(stack.files(&some), [".service/sessions/2026/numbers.txt"]);
    }
}

#[test]
fn they_come_back_with_plain_tools_and_without_their_manifests() {
    let stack = scene();
    stack.sh("golden", "rm *.manifest.jsonl.*; mkdir gz zst gpg alone");
    stack.sh("golden", &format!("tar -xzf {STEM}.tar.gz -C gz; zstd -dcq {STEM}.tar.zst | tar -xf - -C zst"));
    let gpg = format!(
        "mkdir -m 700 g; printf '%s\\n' '{}' | GNUPGHOME=g gpg --batch --quiet --pinentry-mode loopback \
         --passphrase-fd 0 --decrypt {STEM}.tar.gz.gpg | tar -xzf - -C gpg; GNUPGHOME=g gpgconf --kill all",
        KEY.1
    );
    stack.sh("golden", &gpg);
    for folder in ["gz", "zst", "gpg"] {
        assert_eq!(stack.sh(&format!("golden/{folder}/.service"), LIST), listed(), "{folder}");
    }
    // Without the manifest nothing vouches for the one link that leads out.
    let archive = format!("../golden/{STEM}.tar.gz");
    stack.run(&["restore", &archive, "--to", "../alone"]).exits(1).says(&["absolute"]);
    let rest: String =
        listed().lines().filter(|line| !line.starts_with("absolute ")).map(|l| format!("{l}\n")).collect();
    assert_eq!(stack.sh("alone/.service", LIST), rest);
}

#[test]
fn the_bundle_of_the_first_format_verifies_and_restores() {
    let stack = scene();
    let archive = format!("../golden/{BUNDLE}.tar.gz");
    let checked = stack.run(&["verify", &archive, "--json"]).ok().json();
    assert_eq!(checked["artifacts"][0]["compared_with_manifest"], true, "{checked}");
    stack.run(&["restore", &archive, "--to", "../back"]).ok();
    let files = [".gitignore", "bin/run", "docs/read me.md", "main.js", "package.json", "server.js"];
    assert_eq!(stack.files("back"), files);
    stack.sh("back", "test -x bin/run; test \"$(readlink main.js)\" = server.js; grep -q up server.js");
    // In a releases folder of today it is a release like any other.
    stack.sh(".", "mkdir repo/releases; cp golden/acme* golden/SHA256SUMS repo/releases/");
    stack.file("repo/recovery.toml", "schema = 1\n[release]\nname = \"acme-api\"\n");
    let status = stack.run(&["status", "--json"]).ok().json();
    assert_eq!(status["releases"][0]["version"], "v1.4.2", "{status}");
    stack.run(&["verify", "--all"]).ok();
}

#[test]
fn the_same_commit_still_gives_the_same_bundle() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    let made = |ending: &str| fs::read(stack.one("repo/releases", ending)).expect("reads");
    let kept = |ending: &str| fs::read(stored().join(format!("{BUNDLE}{ending}"))).expect("reads");
    assert_eq!(sha256(&made(".tar.gz")), MADE[2]);
    // The tar in it is the stored one; only the encoder is another.
    let lock = |bytes: &[u8]| {
        let mut lock: Value = serde_json::from_slice(bytes).expect("a lock");
        for key in ["tool_version", "manifest_sha256", "tarball_sha256"] {
            assert!(lock[key].take().is_string(), "{key}");
        }
        assert!(lock["encoder"].take().is_object());
        // They came later, and say nothing of a bundle without an image, a folder of its own and submodules.
        let lists = ["repo_digests", "submodules"].map(|key| (key, Value::Array(vec![])));
        for (key, empty) in lists.into_iter().chain([("image_id", Value::Null), ("root", Value::Null)]) {
            let found = lock.as_object_mut().expect("an object").remove(key);
            assert!(found.is_none_or(|found| found == empty), "{key}");
        }
        lock
    };
    assert_eq!(lock(&made(".lock.json")), lock(&kept(".lock.json")));
}

/// Owners stand in the archive. In a name space where the user is root they are the same for everybody.
fn backed_up(tree: &str, umask: &str, compression: &str) -> Vec<u8> {
    let stack = Stack::bare();
    stack.sh("repo", tree);
    let script = format!(
        "umask {umask}; '{}' backup --source .service --dest ../drive --compression {compression}",
        env!("CARGO_BIN_EXE_xtask")
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "bash", "-ec", &script]).current_dir(stack.path("repo"));
    unshare.env("HOME", stack.path("home")).env("RECOVERY_NOW", NOW).env("LC_ALL", "C");
    outcome(&mut unshare).ok();
    fs::read(stack.one("drive", if compression == "gzip" { ".tar.gz" } else { ".tar.zst" })).expect("made")
}

#[test]
fn the_same_tree_still_gives_the_same_backups() {
    for (umask, compression, digest) in [("012", "gzip", MADE[0]), ("022", "zstd", MADE[1])] {
        assert_eq!(sha256(&backed_up(TREE, umask, compression)), digest, "{compression}");
    }
}

/// Kept, too, since zlib-rs made the others: what libdeflate packs today.
#[test]
fn what_is_made_today_will_come_back() {
    let today = stored().join("../today.tar.gz");
    assert_eq!(sha256(&fs::read(&today).expect("reads")), MADE[0]);
    let stack = Stack::bare();
    fs::copy(&today, stack.path("today.tar.gz")).expect("copies");
    stack.sh("", "mkdir plain; gzip -t today.tar.gz; tar -xzf today.tar.gz -C plain");
    assert_eq!(stack.sh("plain/.service", LIST), listed());
}

/// Many blocks: where they are cut is a part of the format. Too large to be kept, so only their digests are.
#[test]
fn the_same_large_tree_is_still_cut_at_the_same_places() {
    let tree = "mkdir -p .service; cd .service
        { yes zeros || :; } | head -c 20000000 > large; ln large zeros
        for n in $(seq 900); do head -c $((n * 30)) zeros > file-$n; done
        rm zeros
        chmod 755 .; chmod 644 *; touch -d 2026-02-03T04:05:06Z * .";
    for (compression, digest) in [
        ("gzip", "f74aa5ddf25e8524f69c796796f84e092e0b68bb4fccac4055765e0314c99b4f"),
        ("zstd", "a3c861c8bc964eeaecc4edde77910a42692de38cc17b3c894a372edbde7a2ad8"),
    ] {
        let made = backed_up(tree, "022", compression);
        assert_eq!(sha256(&made), digest, "{compression}");
    }
}
