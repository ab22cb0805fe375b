//! `consistency = "staged"`: what is archived is the whole folder as it was at one time, or there is a finding; and the
//! stage never outlives the run.
use super::super::support::{Stack, outcome};
use super::{of_kind, with};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const STAGED: &str = "consistency = 'staged'";

/// Gives everything in the data folder a time that is long gone.
fn age(stack: &Stack) {
    stack.sh("repo/.codex-api", "find . -exec touch -h -d '2020-01-01 00:00:00.5' {} +");
}

/// Everything in the stack that looks like a stage.
fn stages(stack: &Stack) -> Vec<String> {
    let places = ["repo/.recovery/stage", "stage"].map(|place| {
        let names = fs::read_dir(stack.path(place)).into_iter().flatten().flatten();
        names.map(|name| name.path().display().to_string()).collect::<Vec<_>>()
    });
    places.concat()
}

#[test]
fn a_staged_set_comes_back_whole_and_its_stage_goes() {
    let stack = with(&format!("{STAGED}\nexclude = ['*.tmp', '/a\\*b']\nmax-size = '1 MiB'"), "");
    stack.sh(
        "repo/.codex-api",
        "echo x > one.tmp; mkdir 'a*b' 'a?b'; echo x > 'a*b/in'; echo x > 'a?b/in'; head -c 2M /dev/zero > over
         setfattr -n user.note -v 'one thing' config.toml; truncate -s 100k sparse; mkfifo pipe
         sqlite3 live.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n); INSERT INTO t VALUES (7)'",
    );
    age(&stack);
    let made = stack.run(&["backup", "--json"]).ok().json();
    assert_eq!(stages(&stack), [""; 0]);
    let counts = serde_json::json!({"pattern": 2, "cache": 0, "file-system": 0, "size": 1, "aside": 0});
    assert_eq!(made["sets"][0]["excluded_by"], counts, "{made}");
    assert_eq!(of_kind(&made, "size").len(), 1, "{made}");
    assert!(made["sets"][0]["findings"].to_string().contains("is a pipe"), "{made}");
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(
        stack.sh("back/.codex-api", "sqlite3 -readonly live.db 'SELECT n FROM t'; rm -f live.db-*"),
        "7\n"
    );
    stack.sh(".", "rm -r repo/.codex-api/{one.tmp,a\\*b,over,pipe,live.db} back/.codex-api/live.db; touch -r repo/.codex-api back/.codex-api");
    assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
    let look = "getfattr -d -m - config.toml";
    assert_eq!(stack.sh("repo/.codex-api", look), stack.sh("back/.codex-api", look));
}

#[test]
fn a_staged_set_is_unchanged_the_second_time() {
    let stack = with(STAGED, "");
    let status = || outcome(&mut stack.plain(&["backup", "--json"])).ok().json()["sets"][0]["status"].clone();
    assert_eq!(status(), "ok");
    assert_eq!(status(), "unchanged");
    stack.file("repo/.codex-api/new", "x\n");
    assert_eq!(status(), "ok");
    assert_eq!(stages(&stack), [""; 0]);
}

/// It ends, whatever the writer does, and what it has is archived.
#[test]
fn a_folder_that_never_holds_still_ends_in_a_finding() {
    let stack = with(STAGED, "");
    let writer = "i=0; while read -t 0.005 line || [ $? -gt 128 ]; do i=$((i+1)); echo $i > busy.new; mv busy.new busy; done";
    let mut writer = Command::new("bash")
        .args(["-c", writer])
        .current_dir(stack.path("repo/.codex-api"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("bash starts");
    while !stack.path("repo/.codex-api/busy").exists() {
        assert_eq!(writer.try_wait().expect("waits"), None, "the writer ended");
    }
    let made = stack.run(&["backup", "--json"]).ok().json();
    assert_eq!(writer.try_wait().expect("waits"), None, "the writer ended");
    drop(writer.stdin.take());
    writer.wait().expect("ends");
    let found = of_kind(&made, "staging");
    assert_eq!(found.len(), 1, "{made}");
    assert_eq!(found[0]["severity"], "warning", "{made}");
    assert!(found[0]["what"].to_string().contains("6 passes"), "{made}");
    assert_eq!(stages(&stack), [""; 0]);
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("back/.codex-api", "cmp big.bin ../../repo/.codex-api/big.bin");
}

#[test]
fn with_encryption_the_place_of_the_stage_must_be_named() {
    let key = ("CODEX_BACKUP_GPG_KEY", "correct horse");
    let encrypted = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n";
    let stack = with(STAGED, encrypted);
    stack.run_with(&[key], &["backup"]).fails().says(&["is staged in the clear", "stage-dir"]);
    assert_eq!(stack.files("drive"), [""; 0]);
    assert_eq!(stages(&stack), [""; 0]);
    let stack = with(&format!("{STAGED}\nstage-dir = '../stage'"), encrypted);
    age(&stack);
    stack.run_with(&[key], &["backup"]).ok();
    assert_eq!(stack.sh(".", "stat -c %a stage"), "700\n");
    assert_eq!(stages(&stack), [""; 0]);
    stack.run_with(&[key], &["verify"]).ok();
    stack.run_with(&[key], &["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
}

#[test]
fn a_stage_inside_of_the_source_is_refused() {
    let stack = with(&format!("{STAGED}\nstage-dir = '.codex-api/empty'"), "");
    stack.run(&["backup"]).fails().says(&["lies inside of the source"]);
    assert_eq!(stack.files("repo/.codex-api/empty"), [""; 0]);
    assert_eq!(stack.files("drive"), [""; 0]);
}

/// What a run that was killed has left is told, and removed by the next one, wherever it lies.
#[test]
fn what_a_killed_run_left_is_told_and_removed_by_the_next() {
    let stack = with("stage-dir = '../stage'", "");
    let left = ["stage", "repo/.recovery", "repo/.recovery/stage", "."].map(|parent| {
        stack.file(&format!("{parent}/recovery-backup-1/.held"), "");
        stack.file(&format!("{parent}/recovery-backup-1/plain"), "x\n");
        stack.path(parent).join("recovery-backup-1")
    });
    let told = stack.run(&["status", "--json"]).json();
    let told: Vec<&Value> = told["findings"].as_array().expect("findings").iter().collect();
    for folder in &left {
        let path = fs::canonicalize(folder).expect("is there");
        let names = |finding: &&&Value| {
            Path::new(finding["path"].as_str().unwrap_or_default()).canonicalize().ok().as_ref()
                == Some(&path)
        };
        assert_eq!(told.iter().filter(names).count(), 1, "{told:?}");
    }
    stack.run(&["backup", "--dry-run"]).ok();
    assert!(left.iter().all(|folder| folder.exists()), "a dry run removes nothing");
    stack.run(&["backup"]).ok();
    assert!(!left.iter().any(|folder| folder.exists()), "{left:?}");
}

/// What is left out only from the second pass on is not in the archive as the first one copied it.
#[test]
fn what_comes_to_be_left_out_while_it_is_staged_is_left_out_and_named() {
    let stack = with(&format!("{STAGED}\nmax-size = '1 MiB'\nexclude-caches = true"), "");
    stack.sh(
        "repo/.codex-api",
        "mkdir becomes-a-cache; for f in grows other becomes-a-cache/in; do echo old > $f; done",
    );
    age(&stack);
    // The real one, and behind its first pass the changes.
    let script = "#!/bin/sh
PATH=REST rsync \"$@\"; ended=$?
if [ ! -e ../passed ]; then
    : > ../passed
    cd .codex-api 2>/dev/null || true
    head -c 2M /dev/zero > grows; echo new > other
    echo 'Signature: 8a477f597d28d172789f06886806bc55' > becomes-a-cache/CACHEDIR.TAG
fi
exit $ended
";
    let rest = std::env::var("PATH").expect("a path");
    stack.file(
        "bin/rsync",
        &script.replace("REST", &rest).replace("../passed", &stack.path("passed").display().to_string()),
    );
    stack.sh("bin", "chmod 755 rsync");
    let path = format!("{}:{rest}", stack.path("bin").display());
    let made = stack.run_with(&[("PATH", &path)], &["backup", "--json"]).ok().json();
    assert!(stack.path("passed").exists());
    let counts = serde_json::json!({"pattern": 0, "cache": 1, "file-system": 0, "size": 1, "aside": 0});
    assert_eq!(made["sets"][0]["excluded_by"], counts, "{made}");
    assert_eq!(of_kind(&made, "size").len(), 1, "{made}");
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(
        stack.sh("back/.codex-api", "cat other; ls -d grows becomes-a-cache/in 2> /dev/null || true"),
        "new\n"
    );
}
