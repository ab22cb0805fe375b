//! Databases that somebody writes to, thousands of transactions a second, and databases at rest. A copy holds what one transaction saw:
//! the numbers that the writer counts up, from 1 to the last, each in its transaction.
use super::super::support::{Stack, outcome};
use super::{of_kind, unshared, with};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Counts up in one table until its standard input ends, each number in a transaction, 3,000 a second where the machine
/// can.
const WRITER: &str = "
import os, select, sqlite3, sys, time
db = sqlite3.connect('live.db', timeout=60, isolation_level=None)
db.execute('PRAGMA journal_mode=' + sys.argv[1])
db.execute('PRAGMA synchronous=OFF')
db.execute('CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, filler BLOB)')
n = 0
began = time.monotonic()
while n == 0 or n % 64 or not select.select([sys.stdin], [], [], 0)[0]:
    n += 1
    db.execute('INSERT INTO t VALUES (?, ?)', (n, b'x' * 20))
    if n % 64 == 0:
        with open('../../count.new', 'w') as file:
            file.write(str(n))
        os.rename('../../count.new', '../../count')
        time.sleep(max(0, began + n / 3000 - time.monotonic()))
";

fn writer(stack: &Stack, mode: &str) -> Child {
    let mut command = Command::new("python3");
    command.args(["-c", WRITER, mode]).current_dir(stack.path("repo/.codex-api"));
    command.stdin(Stdio::piped()).spawn().expect("python3 starts")
}

/// How far the writer has come at least.
fn count(stack: &Stack) -> u64 {
    std::fs::read_to_string(stack.path("count")).expect("reads").parse().expect("a number")
}

#[expect(clippy::print_stdout, reason = "the rate is what the test is read for")]
/// Fifty backups while a writer goes on; it must have come to so many commits a second at the least.
fn against_a_writer(mode: &str, least: f64) {
    let stack = Stack::configured();
    let mut writer = writer(&stack, mode);
    while !stack.path("count").exists() {
        assert_eq!(writer.try_wait().expect("waits"), None, "the writer ended");
    }
    let began = std::time::Instant::now();
    let first = count(&stack);
    for number in 1..=50 {
        let before = count(&stack);
        let made = stack.run(&["backup", "--json"]).ok().json();
        let after = count(&stack);
        assert!(after > before, "{mode}: nothing was committed during backup {number}");
        assert_eq!(made["sets"][0]["findings"], serde_json::json!([]), "{mode}: {made}");
        let archive = made["sets"][0]["archive"].as_str().expect("a path").to_owned();
        let (last, rest) = holds(&stack, &archive);
        assert!(last >= before.saturating_sub(64) && last <= after + 64, "{mode}: {before} {last} {after}");
        assert_eq!(
            rest,
            ["big.bin", "config.toml", "current", "live.db", "sessions/2026/one.jsonl", "twin.toml"]
        );
    }
    let rate = (count(&stack) - first) as f64 / began.elapsed().as_secs_f64();
    println!("{mode}: {rate:.0} commits a second");
    assert!(rate >= least, "{mode}: only {rate:.0} commits a second");
    assert_eq!(writer.try_wait().expect("waits"), None, "{mode}: the writer could not go on");
    drop(writer.stdin.take());
    assert!(writer.wait().expect("ends").success(), "{mode}: the writer failed");
}

/// The last number in the database of a backup, which is whole and holds all before it; and the files beside it.
fn holds(stack: &Stack, archive: &str) -> (u64, Vec<String>) {
    stack.sh(".", "rm -rf back");
    stack.run(&["restore", archive, "--to", "../back"]).ok();
    let files = stack.files("back/.codex-api");
    let said = stack.sh(
        "back/.codex-api",
        "sqlite3 live.db 'PRAGMA integrity_check; SELECT count(*), coalesce(min(n), 0), coalesce(max(n), 0) FROM t'",
    );
    let (checked, numbers) = said.trim().split_once('\n').expect("two lines");
    assert_eq!(checked, "ok");
    let numbers: Vec<u64> = numbers.split('|').map(|word| word.parse().expect("a number")).collect();
    assert_eq!((numbers[0], numbers[1]), (numbers[2], 1), "not the numbers from 1 on");
    (numbers[2], files)
}

#[test]
fn a_database_with_a_log_is_copied_as_of_one_transaction() {
    against_a_writer("WAL", 0.0);
}

#[test]
fn a_database_with_a_rollback_journal_is_copied_as_of_one_transaction() {
    against_a_writer("DELETE", 0.0);
}

/// By itself, since a writer that shares the machine with all the other tests is slower.
#[test]
#[ignore = "long: scripts/test --long"]
fn two_thousand_transactions_a_second_are_committed_meanwhile() {
    against_a_writer("WAL", 2000.0);
    against_a_writer("DELETE", 2000.0);
}

/// Neither the copy nor the look at it leaves anything beside the database, so that the next run sees no change.
#[test]
fn a_quiet_database_with_a_log_is_left_as_it_was() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "sqlite3 live.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n); INSERT INTO t VALUES (1)'",
    );
    let before = stack.listing("repo/.codex-api");
    let status = || -> Value {
        let made = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
        assert_eq!(made["sets"][0]["findings"], serde_json::json!([]), "{made}");
        made["sets"][0]["status"].clone()
    };
    assert_eq!(status(), "ok");
    assert_eq!(stack.listing("repo/.codex-api"), before);
    assert_eq!(status(), "unchanged");
    assert_eq!(stack.listing("repo/.codex-api"), before);
    let archive: PathBuf = stack.one("drive", ".tar.gz");
    assert_eq!(holds(&stack, &archive.display().to_string()).0, 1);
}

/// What a writer that was killed has left in its log is in the copy, and the log stays in the source.
#[test]
fn a_log_that_somebody_left_is_in_the_copy() {
    for index in ["", "rm live.db-shm"] {
        let stack = Stack::configured();
        let mut writer = writer(&stack, "WAL");
        while !stack.path("count").exists() {
            assert_eq!(writer.try_wait().expect("waits"), None, "the writer ended");
        }
        writer.kill().expect("kills");
        writer.wait().expect("ends");
        stack.sh("repo/.codex-api", &format!("test -s live.db-wal; {index}"));
        let before = stack.files("repo/.codex-api");
        let made = stack.run(&["backup", "--json"]).ok().json();
        assert_eq!(made["sets"][0]["findings"], serde_json::json!([]), "{made}");
        assert_eq!(stack.files("repo/.codex-api"), before, "{index}");
        let archive: PathBuf = stack.one("drive", ".tar.gz");
        let (last, files) = holds(&stack, &archive.display().to_string());
        assert!(last >= count(&stack), "{last}");
        assert!(!files.iter().any(|name| name.starts_with("live.db-")), "{files:?}");
    }
}

/// A copy for which there is no room is told, and the database is in the backup as it lies.
#[test]
fn a_database_without_room_for_its_copy_is_archived_as_it_lies_with_a_warning() {
    let stack = with("stage-dir = '../small'", "");
    stack.sh(
        ".",
        "mkdir small; sqlite3 repo/.codex-api/live.db 'CREATE TABLE t(n, x); INSERT INTO t VALUES (1, zeroblob(400000))'",
    );
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!(
        "mount -t tmpfs -o size=128k none ../small; '{xtask}' backup --force --json; find ../small -mindepth 1"
    );
    let made = unshared(&stack, &script).ok().json();
    let warned = of_kind(&made, "database");
    assert_eq!(warned.len(), 1, "{made}");
    assert!(
        made.to_string().contains("a copy takes up to") && made.to_string().contains("stage-dir"),
        "{made}"
    );
    let archive: PathBuf = stack.one("drive", ".tar.gz");
    assert_eq!(holds(&stack, &archive.display().to_string()).0, 1);
}
