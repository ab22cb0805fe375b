//! A backup of what was backed up already: confirmed where nothing was changed, and made anew at the least doubt.
use super::support::{Outcome, Stack, flip, outcome};
use std::fs;

/// A stack with one backup.
fn scene() -> Stack {
    let stack = Stack::configured();
    stack.sh(
        "repo",
        "sed -i '/^key-files/d' recovery.toml; setfattr -n user.note -v one .codex-api/config.toml",
    );
    backup(&stack, &[]).ok();
    assert_eq!(archives(&stack), 1);
    stack
}

fn backup(stack: &Stack, more: &[&str]) -> Outcome {
    outcome(&mut stack.plain(&[&["backup", "--json"], more].concat()))
}

fn archives(stack: &Stack) -> usize {
    stack.files("drive").iter().filter(|file| file.ends_with(".tar.gz") || file.ends_with(".tar.zst")).count()
}

fn status(outcome: &Outcome) -> String {
    outcome.json()["sets"][0]["status"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn nothing_changed_writes_nothing_and_is_remembered() {
    let stack = scene();
    let before = stack.world("drive");
    let said = backup(&stack, &[]).ok();
    let set = &said.json()["sets"][0];
    assert_eq!((status(&said).as_str(), archives(&stack)), ("unchanged", 1), "{set}");
    assert!(
        set["sha256"].as_str().is_some_and(|digest| digest.len() == 64) && set["bytes"].as_u64() > Some(0),
        "{set}"
    );
    assert_eq!(stack.world("drive"), before, "a byte of the drive was changed");
    let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
    let last = history.lines().last().unwrap_or_default();
    assert!(last.contains("confirmed") && last.contains(".tar.gz"), "{last}");
    assert_eq!(status(&backup(&stack, &["--dry-run"]).ok()), "unchanged");
    // The age that counts is that of the last look.
    outcome(stack.plain(&["backup"]).env("RECOVERY_NOW", "2026-03-20T12:00:00Z")).ok();
    let mut asked = stack.plain(&["status", "--json"]);
    let data = outcome(asked.env("RECOVERY_NOW", "2026-03-20T12:00:30Z")).json()["data"][0].clone();
    assert_eq!(
        (&data["age_seconds"], &data["confirmed_at"]),
        (&30.into(), &"2026-03-20T12:00:00Z".into()),
        "{data}"
    );
    assert_eq!(status(&backup(&stack, &["--force"]).ok()), "ok");
    assert_eq!(archives(&stack), 2);
}

/// Each change by itself, also those that leave size and `mtime` as they were.
#[test]
fn every_change_makes_a_new_backup() {
    for change in [
        "printf 'model = \"y\"\\n' > config.toml",
        "touch -r config.toml ../t; tr a-y b-z < config.toml > ../new; cat ../new > config.toml; touch -r ../t config.toml",
        "touch -r config.toml ../t; cp -p config.toml ../new; tr a-y b-z < ../new > config.toml; touch -r ../t config.toml",
        "chmod 640 config.toml",
        "touch -d 2020-02-02T02:02:02Z config.toml",
        "setfattr -n user.note -v two config.toml",
        "mv config.toml config.json",
        "rm config.toml",
        "touch -r . ../t; : > new; touch -r ../t .",
        "rmdir empty",
        "ln -s config.toml link",
        "ln config.toml third",
    ] {
        let stack = scene();
        stack.sh("repo/.codex-api", change);
        assert_eq!((status(&backup(&stack, &[]).ok()).as_str(), archives(&stack)), ("ok", 2), "{change}");
        assert_eq!(status(&backup(&stack, &[]).ok()), "unchanged", "after: {change}");
    }
}

/// What is not certain to be the same, is not.
#[test]
fn any_doubt_makes_a_new_backup() {
    for doubt in [
        "echo x >> drive/*/*/*.tar.gz",
        "truncate -s -1 drive/*/*/*.tar.gz",
        "printf x | dd of=\"$(echo drive/*/*/*.tar.gz)\" bs=1 seek=99 conv=notrunc status=none",
        "rm drive/*/*/*.manifest.jsonl.gz",
        "echo x >> drive/*/*/*.manifest.jsonl.gz",
        "sed -i \"s/^[0-9a-f]*/$(printf %064d 0)/\" drive/*/*/*.sha256",
        "printf '[destination.drive]\npath = \"%s\"\ncompression = \"zstd\"\n' \"$PWD/drive\" > t; \
         sed -i '/destination.drive/,$d' repo/recovery.toml; cat t >> repo/recovery.toml",
    ] {
        let stack = scene();
        stack.sh(".", doubt);
        let said = backup(&stack, &[]);
        assert_eq!(status(&said), "ok", "{doubt}: {}", said.shown());
    }
}

/// All is as it was made, but for what the memory has of it.
#[test]
fn what_is_known_to_be_damaged_or_partial_is_made_anew() {
    let stack = scene();
    let archive = stack.one("drive", ".tar.gz");
    let middle = fs::metadata(&archive).expect("is there").len() / 2;
    let written = fs::metadata(&archive).and_then(|meta| meta.modified()).expect("a time");
    flip(&archive, middle as usize);
    // As rot leaves it: no time tells.
    fs::File::options().write(true).open(&archive).and_then(|file| file.set_modified(written)).expect("sets");
    assert_eq!(status(&backup(&stack, &["--dry-run"]).ok()), "unchanged", "nobody has looked yet");
    stack.run(&["verify"]).exits(1);
    let said = backup(&stack, &[]);
    assert_eq!((status(&said).as_str(), archives(&stack)), ("ok", 2), "damaged: {}", said.shown());
    let stack = scene();
    stack.sh(
        "repo/.recovery",
        "grep -q '\"errors\":0' history.jsonl; sed -i 's/\"errors\":0/\"errors\":1/' history.jsonl",
    );
    let said = backup(&stack, &[]);
    assert_eq!((status(&said).as_str(), archives(&stack)), ("ok", 2), "partial: {}", said.shown());
}

#[test]
fn a_backup_with_a_warning_is_never_confirmed() {
    let stack = Stack::configured();
    stack.sh("repo", "mkfifo .codex-api/pipe");
    backup(&stack, &[]).ok();
    assert_eq!(status(&backup(&stack, &[]).ok()), "unchanged", "a pipe is no reason");
    let stack = Stack::configured();
    stack.sh("repo", "chmod 000 .codex-api/config.toml");
    for _ in 0..2 {
        let said = outcome(&mut super::support::unprivileged_plain(&stack, &["backup", "--json"])).exits(1);
        assert_eq!(status(&said), "findings");
    }
    assert_eq!(archives(&stack), 2);
}

#[test]
fn an_encrypted_one_is_confirmed_with_its_key_alone() {
    let stack = scene();
    let run = |key: &str, code: i32| {
        let mut command = stack.plain(&["backup", "--json", "--encrypt", "--suffix", "sealed"]);
        status(&outcome(command.env("CODEX_BACKUP_GPG_KEY", key)).exits(code))
    };
    assert_eq!(run("one horse", 0), "ok");
    assert_eq!(run("one horse", 0), "unchanged");
    assert_eq!(
        run("another horse", 1),
        "findings",
        "with the new key there is no backup yet, and the last does not open"
    );
    assert_eq!(run("another horse", 0), "unchanged");
}

/// Two clones with one drive, and files made at one time: what the other has backed up is not what is here.
#[test]
fn what_another_repository_has_backed_up_is_not_taken_for_ours() {
    let stack = Stack::configured();
    outcome(&mut stack.plain(&["backup"])).ok();
    stack.sh("repo", "rm -r .recovery");
    let said = outcome(stack.plain(&["backup"]).env("RECOVERY_NOW", "2026-03-11T12:00:00Z")).ok();
    assert!(!said.shown().contains("unchanged"), "{}", said.shown());
}

/// Another passphrase makes a backup that the former does not open: an error, once, and nothing is pruned by that run.
#[test]
fn another_passphrase_than_the_last_backup_has_is_an_error() {
    let stack = Stack::new();
    stack.configure("keep = 1\npassphrase-env = \"BACKUP_KEY\"\n");
    let run = |day: u8, key: &str| {
        let now = format!("2026-03-{day}T12:00:00Z");
        outcome(stack.plain(&["backup", "--prune"]).env("RECOVERY_NOW", now).env("BACKUP_KEY", key))
    };
    run(10, "correct horse").ok();
    run(11, "corect horse").exits(1).says(&[
        "2026-03-10",
        "does not open with the passphrase",
        "keep the former",
    ]);
    assert_eq!(stack.files("drive").iter().filter(|name| name.ends_with(".tar.gz.gpg")).count(), 2);
    run(12, "corect horse").ok().says(&["unchanged"]);
}

/// Who backs up may have the public key alone: then the history knows what the last backup holds, and for whom.
#[test]
fn one_for_public_keys_is_confirmed_without_the_secret_key_but_for_the_same_keys_alone() {
    let stack = Stack::new();
    stack.configure("recipients = [\"ops@example.org\"]\n");
    stack.sh(
        "home",
        "mkdir -m 700 .gnupg
         gpg --batch --quiet --passphrase '' --quick-generate-key ops@example.org default default never 2>/dev/null
         gpg --batch --quiet --export ops@example.org > public",
    );
    assert_eq!(status(&backup(&stack, &[]).ok()), "ok");
    assert_eq!(status(&backup(&stack, &[]).ok()), "unchanged");
    stack.sh(
        "home",
        "gpgconf --kill all; rm -r .gnupg; mkdir -m 700 .gnupg; gpg --batch --quiet --import public; gpgconf --kill all",
    );
    assert_eq!(status(&backup(&stack, &[]).ok()), "unchanged");
    // Who cannot open the last one is to have one that he can.
    stack.sh(
        "home",
        "gpg --batch --quiet --passphrase '' --quick-generate-key you@example.org default default never 2>/dev/null",
    );
    let toml = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file(
        "repo/recovery.toml",
        &toml.replace("ops@example.org\"]", "ops@example.org\", \"you@example.org\"]"),
    );
    assert_eq!(status(&backup(&stack, &[]).ok()), "ok");
    assert_eq!(stack.files("drive").iter().filter(|file| file.ends_with(".tar.gz.gpg")).count(), 2);
}
