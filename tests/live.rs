//! Live data that is in the way of a careless archiver: databases in use, hard links to what cannot be read, names that
//! come and go. What is backed up must come back, and what is not must be told.
mod changes;
mod excludes;
mod hooks;
mod sqlite;
mod staged;

use super::support::{NOW, Outcome, Stack, outcome, unprivileged};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

/// A stack whose data set has these keys too, and whose configuration ends so.
fn with(keys: &str, more: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(more);
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let last = "key-files = [\"config.toml\"]\n";
    assert!(text.contains(last), "{text}");
    fs::write(path, text.replace(last, &format!("{last}{keys}\n"))).expect("writes");
    stack
}

/// Runs a script in the repository, in a mount namespace of its own.
fn unshared(stack: &Stack, script: &str) -> Outcome {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "bash", "-ec", script]).current_dir(stack.path("repo"));
    outcome(unshare.env("HOME", stack.path("home")).env("RECOVERY_NOW", NOW).env("LC_ALL", "C"))
}

/// The findings of the one set in a document, of this kind.
fn of_kind(document: &Value, kind: &str) -> Vec<Value> {
    let findings = document["sets"][0]["findings"].as_array().expect("findings");
    findings.iter().filter(|finding| finding["kind"] == kind).cloned().collect()
}

#[test]
fn what_only_looks_like_a_database_comes_as_it_lies_with_its_journal() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        r"printf 'SQLite format 3\000' > jobs.db; head -c 4080 /dev/zero >> jobs.db; echo rows > jobs.db-wal",
    );
    let made = stack.run(&["backup", "--json"]).ok().json();
    assert!(made["sets"][0]["findings"].to_string().contains("could not be copied by SQLite"), "{made}");
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh(
        "repo/.codex-api",
        "cmp jobs.db ../../back/.codex-api/jobs.db; cmp jobs.db-wal ../../back/.codex-api/jobs.db-wal",
    );
}

/// Such a write changes `ctime` only when the page was written out before.
#[test]
fn a_write_through_a_mapping_is_no_unchanged_folder() {
    let stack = Stack::configured();
    // In memory nothing is ever written out, as docs/architecture.md says.
    let (second, kept) = match stack.sh("repo", "stat -f -c %T .codex-api").trim() {
        "tmpfs" => ("unchanged", "oneo\n"),
        _ => ("ok", "twoo\n"),
    };
    let mut writer = Command::new("python3")
        .args([
            "-c",
            "import mmap, sys\nfile = open('live', 'r+b')\nmapped = mmap.mmap(file.fileno(), 0)\n\
            for line in sys.stdin:\n    mapped[:3] = line[:3].encode()\n    print('wrote', flush=True)",
        ])
        .current_dir({
            stack.file("repo/.codex-api/live", "zero\n");
            stack.path("repo/.codex-api")
        })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let (mut ask, answer) = (writer.stdin.take().expect("a pipe"), writer.stdout.take().expect("a pipe"));
    let mut answers = BufReader::new(answer).lines();
    let mut statuses = Vec::new();
    for word in ["one", "two"] {
        writeln!(ask, "{word}").expect("asks");
        assert_eq!(answers.next().expect("an answer").expect("text"), "wrote");
        let made = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
        statuses.push(made["sets"][0]["status"].clone());
    }
    drop(ask);
    writer.wait().expect("ends");
    assert_eq!(statuses, ["ok", second]);
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.sh("back", "cat .codex-api/live"), kept);
}

#[test]
fn an_excluded_or_unreadable_first_name_does_not_take_the_second_with_it() {
    let stack = Stack::configured();
    stack.file("repo/.codex-api/a-first", "shared\n");
    stack.file("repo/.codex-api/private", "secret\n");
    stack.sh(
        "repo/.codex-api",
        "ln a-first m-second; ln a-first z-third; ln private q-private; chmod 000 private",
    );
    stack.sh("repo", "echo 'exclude = [\"a-first\"]' > x; sed -i '/^key-files/r x' recovery.toml; rm x");
    let made = outcome(&mut unprivileged(&stack, &["backup", "--json"])).exits(1).json();
    let findings = made["sets"][0]["findings"].to_string();
    assert!(findings.contains("private") && findings.contains("q-private"), "{findings}");
    outcome(&mut unprivileged(&stack, &["restore", "codex-api", "--to", "../home/back"])).ok();
    let back = stack.path("home/back/.codex-api");
    assert_eq!(fs::read_to_string(back.join("m-second")).expect("reads"), "shared\n");
    assert_eq!(stack.sh("home/back/.codex-api", "stat -c %i m-second z-third | uniq | wc -l"), "1\n");
    assert!(!back.join("a-first").exists() && !back.join("q-private").exists());
}

#[test]
fn one_name_of_a_hard_link_can_be_restored_alone() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let archive = stack.one("drive", ".tar.gz").display().to_string();
    for (number, manifest) in [true, false].into_iter().enumerate() {
        if !manifest {
            fs::remove_file(stack.one("drive", ".manifest.jsonl.gz")).expect("removes");
        }
        let to = format!("../back{number}");
        stack.run(&["restore", &archive, "--path", "**/twin.toml", "--to", &to]).ok();
        assert_eq!(
            stack.files(&format!("back{number}")),
            [".codex-api/config.toml", ".codex-api/twin.toml"],
            "its target comes with it"
        );
    }
}

#[test]
fn files_around_the_size_of_a_block_come_back() {
    let stack = Stack::configured();
    for size in
        [(8 << 20) - 1024, (8 << 20) - 512, (8 << 20) - 511, 8 << 20, (8 << 20) + 1, 16 << 20, 20 << 20]
    {
        stack.sh("repo/.codex-api", &format!("head -c {size} /dev/urandom > f{size}"));
    }
    stack.run(&["backup"]).ok();
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
}

/// A file over a block is streamed: when it shrinks, its header no longer tells the truth, and the archive is begun anew.
#[test]
fn a_large_file_that_shrinks_is_read_again() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "head -c 60M /dev/urandom > large");
    let large = stack.path("repo/.codex-api/large");
    let mut run = stack.command(&["backup"]).stdout(Stdio::null()).spawn().expect("starts");
    let begun = || stack.files("drive").iter().any(|name| name.ends_with(".tar.gz"));
    while !begun() && run.try_wait().expect("waits").is_none() {}
    let file = fs::OpenOptions::new().write(true).open(&large).expect("opens");
    file.set_len(50 << 20).expect("cuts");
    assert!(run.wait().expect("ends").success());
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("repo", "cmp .codex-api/large ../back/.codex-api/large");
}

#[test]
fn attributes_and_owners_come_back() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "setfattr -n user.note -v 'one thing' config.toml; setfattr -n user.other -v x config.toml; setfattr -n user.note -v y empty
         if [ $(id -u) = 0 ]; then chown 1234:4321 big.bin; chown -h 1234:4321 current; fi",
    );
    stack.run(&["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    let look = "getfattr -d -m - config.toml empty big.bin; stat -c '%n %u:%g' *";
    let (live, back) = (stack.sh("repo/.codex-api", look), stack.sh("back/.codex-api", look));
    assert!(live.contains("one thing") && live.contains("user.other"), "{live}");
    assert_eq!(live, back);
}
