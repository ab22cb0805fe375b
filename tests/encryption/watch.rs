//! Looks while a run goes on: at every byte that it and its tools write, and at every process of it.
use super::super::support::Stack;
use super::{KEY, SYMMETRIC};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Stands in names and contents of the data, and nowhere else.
const MARKER: &str = "zebra-marker-93617";

/// A stack whose data is full of the marker, amid bytes that zstd stores as they are: it shows where nothing is sealed.
fn marked(more: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(more);
    stack.sh(
        "repo/.codex-api",
        &format!(
            "mkdir {MARKER}-folder; printf '{MARKER}' > {MARKER}-folder/{MARKER}-name
             for n in 1 2 3; do (head -c 100000 /dev/urandom; printf '{MARKER}'; head -c 100000 /dev/urandom) > part-$n; done
             for mode in wal delete; do
                 sqlite3 $mode.db \"PRAGMA journal_mode=$mode; CREATE TABLE t (x); INSERT INTO t VALUES ('{MARKER}');\" > /dev/null
             done"
        ),
    );
    stack
}

/// Runs a verb under strace, with every write of it and of all that it starts, and returns those of the marker: the file
/// that was written to, of each. Names count that a file is made under.
fn written(stack: &Stack, args: &[&str]) -> BTreeSet<String> {
    let log = stack.path("trace");
    let mut command = Command::new("strace");
    // With the paths of the descriptors, and so much of each write that nothing is cut off.
    command.args(["-f", "-y", "-s", "8000000", "-e", "trace=openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,write,pwrite64,writev,pwritev,sendfile,copy_file_range,splice", "-o"]);
    command.arg(&log).arg(env!("CARGO_BIN_EXE_xtask")).args(args);
    let plain = stack.command(args);
    command.current_dir(stack.path("repo")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    super::outcome(command.env(KEY.0, KEY.1)).ok();
    let trace = fs::read(&log).expect("a trace");
    fs::remove_file(&log).expect("removes");
    let trace = String::from_utf8_lossy(&trace).into_owned();
    assert!(trace.contains("write(") && trace.contains("openat("), "strace saw nothing");
    assert!(!trace.contains("sendfile(") && !trace.contains("splice("), "bytes that strace does not show");
    let copies = trace.lines().filter(|line| line.contains("copy_file_range("));
    assert_eq!(copies.count(), 0, "bytes that strace does not show");
    trace.lines().filter(|line| line.contains(MARKER)).filter_map(place).collect()
}

/// The file or folder that a line of the trace writes to; `None` for pipes and for what is only read.
fn place(line: &str) -> Option<String> {
    let (call, rest) = line.split_once('(')?;
    let call = call.rsplit(' ').next()?;
    if call.starts_with("open") && !rest.contains("O_CREAT") {
        return None;
    }
    if call.contains("write") {
        let target = rest.split_once('<')?.1.split_once(">,")?.0;
        return (!target.starts_with("pipe:")).then(|| target.to_owned());
    }
    let folder = rest.split_once('<').map_or("", |(_, rest)| rest.split('>').next().unwrap_or_default());
    let name = rest.split('"').nth(1)?;
    Some(if name.starts_with('/') { name.to_owned() } else { format!("{folder}/{name}") })
}

#[test]
fn no_plaintext_touches_the_destination_or_a_temporary_folder() {
    for (sealed, more) in [(true, SYMMETRIC), (true, "zstd"), (false, "compression = \"zstd\"\n")] {
        let stack = marked(&if more == "zstd" {
            format!("{SYMMETRIC}compression = \"zstd\"\n")
        } else {
            more.to_owned()
        });
        let target = stack.path("back").display().to_string();
        let mut places = written(&stack, &["backup"]);
        places.extend(written(&stack, &["backup", "--dry-run"]));
        places.extend(written(&stack, &["verify"]));
        let root = stack.path(".").display().to_string();
        let root = root.trim_end_matches("/.");
        // A backup and its check write it nowhere.
        let out: Vec<&String> = places.iter().filter(|place| place.starts_with(root)).collect();
        assert_eq!(out.is_empty(), sealed, "{out:?}");
        // SQLite's copies lie in memory.
        let copies: Vec<&String> = places.iter().filter(|place| !place.starts_with(root)).collect();
        assert_eq!(copies.is_empty(), !sealed, "{copies:?}");
        assert!(copies.iter().all(|place| place.starts_with("/dev/shm/recovery-backup-")), "{copies:?}");
        assert!(copies.iter().all(|place| !Path::new(place).exists()), "{copies:?}");
        // A restore writes it into its target, hidden until its end, and nowhere else.
        let places = written(&stack, &["restore", "codex-api", "--to", "../back"]);
        let (inside, outside): (Vec<_>, Vec<_>) =
            places.into_iter().filter(|place| place.starts_with(root)).partition(|place| {
                place.starts_with(&target) || place.starts_with(&format!("{root}/.recovery-restore-"))
            });
        assert!(!inside.is_empty(), "a restore is seen");
        assert!(outside.is_empty(), "{outside:?}");
        let held = stack.sh(".", &format!("grep -rlaF {MARKER} drive repo/.recovery home || true; find drive repo/.recovery home -name '*{MARKER}*'"));
        assert_eq!(held.is_empty(), sealed, "{held}");
        let rows = "for db in wal delete; do sqlite3 $db.db 'SELECT x FROM t;'; done";
        assert_eq!(stack.sh("back/.codex-api", rows), format!("{MARKER}\n{MARKER}\n"));
        stack.sh(".", "for at in repo back; do rm $at/.codex-api/*.db*; touch -d @1 $at/.codex-api; done");
        assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
    }
}

/// A gpg that stands still until `go` is there, whichever way it is called.
fn waiting(stack: &Stack) -> String {
    let folder = stack.path("slow");
    fs::create_dir(&folder).expect("makes a folder");
    let real = stack.sh(".", "command -v gpg");
    stack.file(
        "slow/gpg",
        &format!(
            "#!/bin/sh\n: > '{0}/here'\nwhile [ ! -e '{0}/go' ]; do sleep 0.02; done\nexec '{1}' \"$@\"\n",
            folder.display(),
            real.trim()
        ),
    );
    stack.sh("slow", "chmod 755 gpg");
    format!("{}:{}", folder.display(), std::env::var("PATH").expect("a path"))
}

/// Every process that a process has started, it itself first.
fn family(first: u32) -> Vec<u32> {
    let mut all = vec![first];
    for task in fs::read_dir(format!("/proc/{first}/task")).into_iter().flatten().flatten() {
        let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in listed.split_whitespace().filter_map(|number| number.parse().ok()) {
            all.extend(family(child));
        }
    }
    all
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(KEY.1.len()).any(|part| part == KEY.1.as_bytes())
}

/// While gpg stands still: nobody but the run itself, which was given it, has the passphrase in its environment, and nobody
/// in its command line. And whatever the run says or writes, that is not in it.
#[test]
fn the_passphrase_is_nowhere_while_gpg_runs_nor_in_anything_that_is_said() {
    let stack = marked(SYMMETRIC);
    let path = waiting(&stack);
    let wrong = ("BACKUP_KEY", "another horse than the right one");
    let verbs: [(&[&str], bool); 9] = [
        (&["backup", "-v"], true),
        (&["backup", "--json"], true),
        (&["verify", "-v"], true),
        (&["restore", "codex-api", "--to", "../one", "-v"], true),
        (&["restore", "codex-api", "--to", "../two", "--json"], true),
        (&["restore-drill", "-v"], true),
        (&["status", "-v"], true),
        (&["verify", "-v"], false),
        (&["restore-drill", "--json"], false),
    ];
    for (args, right) in verbs {
        let _ = fs::remove_file(stack.path("slow/here"));
        let _ = fs::remove_file(stack.path("slow/go"));
        let value = if right { KEY } else { wrong };
        let mut command = stack.command(args);
        command.env(value.0, value.1).env("PATH", &path).env("RUST_BACKTRACE", "full");
        let mut run = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut waits = false;
        while !waits && run.try_wait().expect("waits").is_none() {
            waits = stack.path("slow/here").exists();
            sleep(Duration::from_millis(2));
        }
        assert!(waits, "{args:?}");
        if waits {
            let all = family(run.id());
            assert!(all.len() > 1, "{args:?}: gpg is seen");
            for process in all {
                for file in ["cmdline", "environ"] {
                    let there = || {
                        let text = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
                        text.windows(value.1.len()).any(|part| part == value.1.as_bytes())
                    };
                    let own = process == run.id() && file == "environ";
                    // A child that was just forked is the run itself until it becomes a tool.
                    let mut looks = 0;
                    while there() && !own && looks < 50 {
                        looks += 1;
                        sleep(Duration::from_millis(20));
                    }
                    assert_eq!(there(), own, "{args:?}: {file} of {process}");
                }
            }
        }
        fs::write(stack.path("slow/go"), "").expect("writes");
        let output = run.wait_with_output().expect("ends");
        assert_eq!(output.status.success(), right, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        for said in [&output.stdout, &output.stderr] {
            assert!(!said.windows(value.1.len()).any(|part| part == value.1.as_bytes()), "{args:?}");
        }
    }
    let files = ["repo", "drive", "home", "one", "two"].map(|folder| (folder, stack.files(folder)));
    let mut looked = 0;
    for path in files.iter().flat_map(|(folder, names)| names.iter().map(|name| Path::new(folder).join(name)))
    {
        let bytes = fs::read(stack.path(&path.display().to_string())).expect("reads");
        assert!(!holds(&bytes), "{}", path.display());
        looked += 1;
    }
    let evidence = stack.files("repo/docs/drills").len();
    assert!(looked > 20 && evidence >= 3, "{looked} files, {evidence} of evidence");
    assert!(stack.path("repo/.recovery/history.jsonl").exists());
}
