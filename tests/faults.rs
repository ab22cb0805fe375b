//! The fault suite: kills, failing system calls, short writes, damage, order of writes, crowds, failing tools.
//!
//! Every test runs in two sizes. `scripts/test` runs the short form; `scripts/faults` sets `FAULTS=full` and gets the
//! large numbers. What a test has really done (kills that hit, faults that were injected, damages that were tried) goes
//! to the file that `FAULTS_COUNTS` names, for the script to add up. All that is random comes from one seed, which is
//! printed and can be given as `FAULTS_SEED`; each test draws from it by its own name, so that one alone draws the same.
mod calls;
mod crowd;
mod damage;
mod drill;
mod errs;
mod evidence;
mod kill;
mod order;
mod short;
mod tools;
mod trace;
mod waits;

use super::support::Stack;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The passphrase of the encrypted destinations.
const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");
const ENCRYPTED: &str = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n";
/// A backup that is there before anything goes wrong.
const BEFORE: &str = "2026-03-08T12:00:00Z";
/// A run after what went wrong.
const LATER: &str = "2026-03-11T12:00:00Z";

/// The number for the short form, or the one for the full one.
pub(super) fn size(short: usize, full: usize) -> usize {
    if std::env::var("FAULTS").is_ok_and(|value| value == "full") { full } else { short }
}

/// Adds to what the suite has done.
#[allow(clippy::print_stderr, reason = "shown where the test fails")]
fn count(what: &str, number: usize) {
    eprintln!("{what}: {number}");
    let Some(path) = std::env::var_os("FAULTS_COUNTS") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opens the counts");
    file.write_all(format!("{what} {number}\n").as_bytes()).expect("counts");
}

/// Numbers that look random, the same for the same seed and name (splitmix64, Steele and others 2014).
struct Dice(u64);

impl Dice {
    #[allow(clippy::print_stderr, reason = "shown where the test fails")]
    fn named(name: &str) -> Self {
        static SEED: OnceLock<u64> = OnceLock::new();
        let seed = *SEED.get_or_init(|| {
            let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
            std::env::var("FAULTS_SEED").map_or_else(|_| now(), |text| text.parse().expect("a number"))
        });
        eprintln!("FAULTS_SEED={seed} ({name})");
        Self(name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }

    /// As many of them as asked for, drawn at random and left in their order.
    fn some<T>(&mut self, mut all: Vec<T>, number: usize) -> Vec<T> {
        while all.len() > number {
            all.remove(self.below(all.len()));
        }
        all
    }
}

/// Lays a tree of files, folders and links into a folder: together about `bytes`, some of which compress.
fn tree(stack: &Stack, folder: &str, dice: &mut Dice, files: usize, bytes: usize) {
    let root = stack.path(folder);
    let mut folders = vec![root];
    for number in 0..files {
        let above = folders[dice.below(folders.len())].clone();
        if dice.below(4) == 0 {
            let odd =
                ["plain", "with space", "ümlaut", "-dash", "very-long-name-very-long-name-very-long-name"];
            folders.push(above.join(format!("{} {number}", odd[dice.below(odd.len())])));
            fs::create_dir(folders.last().expect("one")).expect("makes a folder");
        }
        let length = dice.below(2 * bytes / files + 1);
        let content = match dice.below(3) {
            0 => b"the same again and again ".repeat(length / 25 + 1),
            _ => dice.bytes(length),
        };
        let path = above.join(format!("f{number}"));
        fs::write(&path, content).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + dice.below(8) as u32)).expect("sets");
        match dice.below(8) {
            0 => symlink(format!("f{number}"), above.join(format!("l{number}"))).expect("links"),
            1 => fs::hard_link(&path, above.join(format!("h{number}"))).expect("links"),
            _ => {}
        }
    }
}

/// The complete backups of a drive by the system's own tools: markers whose files have the digests they say.
fn complete(stack: &Stack, drive: &str) -> Vec<String> {
    let mut markers = stack.files(drive);
    markers.retain(|name| name.ends_with(".sha256"));
    for marker in &markers {
        let (folder, name) = marker.rsplit_once('/').expect("in a folder");
        stack.sh(&format!("{drive}/{folder}"), &format!("sha256sum --check --strict --quiet '{name}'"));
    }
    markers
}

/// What is kept aside and brought back, so that each fault meets the same world.
struct Saved<'a> {
    stack: &'a Stack,
    folders: &'a [&'a str],
}

impl<'a> Saved<'a> {
    fn of(stack: &'a Stack, folders: &'a [&'a str]) -> Self {
        let saved = Self { stack, folders };
        let each =
            r#"for folder; do mkdir -p "$folder" "saved/$folder"; cp -a "$folder/." "saved/$folder/"; done"#;
        stack.sh(".", &format!("rm -rf saved; mkdir saved; set -- {}; {each}", saved.names()));
        saved
    }

    fn names(&self) -> String {
        self.folders.iter().map(|folder| format!("'{folder}' ")).collect()
    }

    fn back(&self) {
        self.stack.sh(".", &format!("rm -rf {}; cp -a saved/. .", self.names()));
    }
}
