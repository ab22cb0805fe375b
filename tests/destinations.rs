//! Several destinations: one archive, the same bytes at each, and each succeeds or fails for itself. Other machines are
//! a real sshd on this one's loopback.
mod drilled;
mod far;
mod told;
mod way;

use super::support::{Outcome, Stack, outcome};
use serde_json::Value;
use std::fs;

/// A stack whose set goes to two folders, `a` and `b`.
fn two(more_a: &str, more_b: &str) -> Stack {
    let stack = Stack::new();
    configure(&stack, more_a, more_b);
    stack
}

fn configure(stack: &Stack, more_a: &str, more_b: &str) {
    for name in ["a", "b"] {
        fs::create_dir_all(stack.path(name)).expect("makes a folder");
    }
    let (a, b) = (stack.path("a"), stack.path("b"));
    stack.file(
        "repo/recovery.toml",
        &format!(
            "[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"a\", \"b\"]\n\
             [destination.a]\npath = \"{}\"\n{more_a}\n[destination.b]\npath = \"{}\"\n{more_b}\n",
            a.display(),
            b.display()
        ),
    );
}

/// A run that makes no new archive where nothing was changed.
fn plain(stack: &Stack, args: &[&str]) -> Outcome {
    outcome(&mut stack.plain(args))
}

/// The copies of the only set.
fn copies(document: &Value) -> Vec<(String, String)> {
    let copies = document["sets"][0]["copies"].as_array().expect("copies");
    let text = |copy: &Value, key: &str| copy[key].as_str().expect("a text").to_owned();
    copies.iter().map(|copy| (text(copy, "destination"), text(copy, "status"))).collect()
}

fn pairs(expected: [(&str, &str); 2]) -> Vec<(String, String)> {
    expected.map(|(name, status)| (name.to_owned(), status.to_owned())).to_vec()
}

/// Makes a folder unusable: a file lies in its place.
fn block(stack: &Stack, name: &str) {
    fs::rename(stack.path(name), stack.path(&format!("{name}.away"))).expect("moves");
    fs::write(stack.path(name), "in the way").expect("writes");
}

fn unblock(stack: &Stack, name: &str) {
    fs::remove_file(stack.path(name)).expect("removes");
    fs::rename(stack.path(&format!("{name}.away")), stack.path(name)).expect("moves");
}

#[test]
fn one_archive_lies_at_both_byte_for_byte() {
    let stack = two("", "");
    let document = stack.run(&["backup", "--json"]).exits(0).json();
    assert_eq!(copies(&document), pairs([("a", "ok"), ("b", "ok")]));
    assert_eq!(document["sets"][0]["status"], "ok");
    stack.sh(
        ".",
        "diff -r a b && test $(find a -type f | wc -l) = 3 && test $(find b -perm 600 -type f | wc -l) = 3",
    );
    stack.sh("b", "cd 2026/03-10 && sha256sum --check --quiet *.sha256");
    let verified = stack.run(&["verify", "--json"]).exits(0).json();
    assert_eq!(verified["checked"], 2);
    let status = stack.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["data"].as_array().expect("sets").len(), 2, "{status}");
    // One that is lost from one destination is noticed there, and the other still restores.
    stack.sh("b", "rm -r 2026");
    let status = stack.run(&["status"]).exits(1);
    assert!(status.stderr.contains("is gone, though nothing pruned it"), "{}", status.stderr);
    stack.run(&["restore", "codex-api", "--to", &stack.path("back").display().to_string()]).ok();
    stack.sh(".", "diff -r repo/.codex-api back/.codex-api");
}

#[test]
fn one_that_fails_stops_neither_the_other_nor_the_next_run() {
    for (blocked, order) in [("a", [("b", "ok"), ("a", "failed")]), ("b", [("a", "ok"), ("b", "failed")])] {
        let stack = two("", "");
        block(&stack, blocked);
        let document = plain(&stack, &["backup", "--json"]).exits(1).json();
        assert_eq!(copies(&document), pairs(order), "{document}");
        assert!(document["sets"][0]["archive"].is_string(), "{document}");
        unblock(&stack, blocked);
        // Nothing was changed since: the other gets the same archive, and no new one is made.
        let document = plain(&stack, &["backup", "--json"]).exits(0).json();
        let other = if blocked == "a" { "b" } else { "a" };
        let mut found = copies(&document);
        found.sort();
        let mut expected = pairs([(other, "unchanged"), (blocked, "ok")]);
        expected.sort();
        assert_eq!(found, expected, "{document}");
        stack.sh(".", "diff -r a b && test $(find a -name '*.tar.gz' | wc -l) = 1");
        let document = plain(&stack, &["backup", "--json"]).exits(0).json();
        assert_eq!(document["sets"][0]["status"], "unchanged", "{document}");
    }
}

#[test]
fn when_none_gets_it_the_exit_code_says_whether_waiting_helps() {
    let stack = Stack::new();
    for (more, code) in [("mount", 75), ("", 3)] {
        let mount = |name: &str| match more {
            "" => String::new(),
            _ => format!("mount = \"{}\"", stack.path(name).display()),
        };
        configure(&stack, &mount("a"), &mount("b"));
        if more.is_empty() {
            block(&stack, "a");
        }
        // In the second round one is not a folder, which no waiting mends, and the other is no mount point.
        if more.is_empty() {
            configure_b(&stack);
        }
        let outcome = stack.run(&["backup", "--json"]);
        assert_eq!(outcome.code, code, "{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(stack.files("b"), [""; 0]);
    }
}

/// `b` must be a mount point, and is none; `a` is a file.
fn configure_b(stack: &Stack) {
    let (a, b) = (stack.path("a"), stack.path("b"));
    let text = format!(
        "[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"b\", \"a\"]\n\
         [destination.a]\npath = \"{}\"\n[destination.b]\npath = \"{1}\"\nmount = \"{1}\"\n",
        a.display(),
        b.display()
    );
    stack.file("repo/recovery.toml", &text);
}

#[test]
fn a_copy_that_is_damaged_on_the_way_is_not_completed() {
    let stack = two("", "");
    block(&stack, "b");
    plain(&stack, &["backup"]).exits(1);
    unblock(&stack, "b");
    // The archive at `a` rots without a change of its times or its length.
    stack.sh(
        "a",
        "f=$(find . -name '*.tar.gz'); t=$(stat -c %y $f); printf X | dd of=$f bs=1 seek=500 conv=notrunc status=none; touch -d \"$t\" $f",
    );
    let outcome = plain(&stack, &["backup"]).exits(1);
    assert!(outcome.stderr.contains("is not what its marker says"), "{}", outcome.stderr);
    assert_eq!(stack.files("b"), [""; 0], "nothing is left of the copy");
}

#[test]
fn what_a_killed_copy_left_is_in_nobodys_way() {
    let stack = two("", "");
    block(&stack, "b");
    plain(&stack, &["backup"]).exits(1);
    unblock(&stack, "b");
    stack.sh(".", "mkdir -p b/2026/03-10 && f=$(cd a && find . -name '*.tar.gz') && head -c 100 a/$f > b/$f");
    plain(&stack, &["backup"]).ok();
    stack.sh(".", "diff -r a b");
}

#[test]
fn each_prunes_by_its_own_rules() {
    let stack = two("keep = 1", "keep = 2");
    for day in ["2026-03-07", "2026-03-08", "2026-03-09"] {
        stack.run_with(&[("RECOVERY_NOW", &format!("{day}T12:00:00Z"))], &["backup", "--prune"]).ok();
    }
    let count = |name: &str| stack.files(name).iter().filter(|file| file.ends_with(".sha256")).count();
    assert_eq!((count("a"), count("b")), (1, 2));
    // A dry run says what the real one does, for both.
    let run = |args: &[&str]| {
        let document = stack.run(&[&["backup", "--json", "--prune"], args].concat()).exits(0).json();
        document["sets"][0]["pruned"].clone()
    };
    let planned = run(&["--dry-run"]);
    assert_eq!(planned.as_array().expect("paths").len(), 2);
    assert_eq!(planned, run(&[]));
}

#[test]
fn destinations_of_one_set_are_alike() {
    let stack = two("", "compression = \"zstd\"");
    let outcome = stack.run(&["backup"]).exits(3);
    assert!(outcome.stderr.contains("differ in compression or encryption"), "{}", outcome.stderr);
    for (text, what) in [("[\"a\", \"a\"]", "twice"), ("[]", "is empty"), ("[\"a\", \"c\"]", "not defined")] {
        let toml = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
        stack.file("repo/recovery.toml", &toml.replace("[\"a\", \"b\"]", text));
        let outcome = stack.run(&["backup"]).exits(3);
        assert!(outcome.stderr.contains(what), "{text}: {}", outcome.stderr);
        stack.file("repo/recovery.toml", &toml);
    }
}

#[test]
fn what_is_encrypted_is_copied_as_it_is() {
    let key = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"";
    let (stack, secret) = (two(key, key), [("CODEX_BACKUP_GPG_KEY", "correct horse")]);
    let document = stack.run_with(&secret, &["backup", "--json"]).ok().json();
    assert_eq!(copies(&document), pairs([("a", "ok"), ("b", "ok")]));
    stack.sh(".", "diff -r a b && test $(find b -name '*.gpg' | wc -l) = 2");
    // The second destination alone brings it back.
    block(&stack, "a");
    let to = stack.path("back").display().to_string();
    stack.run_with(&secret, &["restore", "codex-api", "--to", &to]).ok();
    stack.sh(".", "diff -r repo/.codex-api back/.codex-api");
    assert_eq!(stack.run(&["backup", "--dest", "u@far:/x"]).exits(2).stdout, "");
}

/// A mount that comes back while the run waits: the drive is a folder that is a mount point from then on.
#[test]
fn one_that_drops_out_for_a_moment_is_waited_for() {
    let stack = two("", "");
    let mount = |time: &str| format!("retry-for = \"{time}\"\nmount = \"{}\"", stack.path("b").display());
    configure(&stack, "", &mount("0s"));
    let document = stack.run(&["backup", "--json"]).exits(1).json();
    assert_eq!(copies(&document), pairs([("a", "ok"), ("b", "failed")]));
    configure(&stack, "", &mount("60s"));
    // `mountpoint` by another name says no until the third time it is asked.
    stack.file(
        "bin/mountpoint",
        "#!/bin/sh\necho >> \"$(dirname \"$0\")/asked\"\ntest $(wc -l < \"$(dirname \"$0\")/asked\") -ge 3\n",
    );
    stack.sh("bin", "chmod 755 mountpoint");
    let path = format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"));
    let outcome = stack.run_with(&[("PATH", &path)], &["backup", "--json"]);
    assert_eq!(copies(&outcome.json()), pairs([("a", "ok"), ("b", "ok")]), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("trying again in 1 s"), "{}", outcome.stderr);
    stack.run_with(&[("PATH", &path)], &["verify"]).ok();
}

#[test]
fn a_copy_is_pending_until_it_is_confirmed() {
    let stack = two("", "keep = 1\nconfirm = \"test -e uploaded || { echo 3 files queued; false; }\"");
    let at = |day: u8| format!("2026-03-{day:02}T12:00:00Z");
    let backup = |day: u8| {
        stack.run_with(&[("RECOVERY_NOW", &at(day))], &["backup", "--json", "--prune"]).exits(0).json()
    };
    let pending = |document: &Value| -> Vec<bool> {
        let copies = document["sets"][0]["copies"].as_array().expect("copies");
        copies.iter().map(|copy| copy["pending"].as_bool().expect("a word")).collect()
    };
    stack.file("repo/uploaded", "");
    assert_eq!(pending(&backup(1)), [false, false]);
    fs::remove_file(stack.path("repo/uploaded")).expect("removes");
    // Those of the 2nd and 3rd are not counted: the one of the 1st stays, though one is to be kept.
    assert_eq!(pending(&backup(2)), [false, true]);
    let document = backup(3);
    assert_eq!(pending(&document), [false, true]);
    assert!(document["sets"][0]["findings"].to_string().contains("3 files queued"), "{document}");
    let kept = || stack.files("b").iter().filter(|file| file.ends_with(".sha256")).count();
    assert_eq!(kept(), 3);
    let status = stack.run_with(&[("RECOVERY_NOW", &at(3))], &["status"]).ok();
    assert!(
        status.stdout.contains("pending") && status.stderr.contains("not known to have arrived"),
        "{}",
        status.stdout
    );
    // The next run asks again; then they count.
    stack.file("repo/uploaded", "");
    let document =
        outcome(stack.plain(&["backup", "--json", "--prune"]).env("RECOVERY_NOW", at(4))).exits(0).json();
    assert_eq!(
        (document["sets"][0]["status"].as_str(), pending(&document)),
        (Some("unchanged"), vec![false, false])
    );
    assert_eq!(kept(), 1);
    let status = stack.run_with(&[("RECOVERY_NOW", &at(4))], &["status"]).ok();
    assert!(!status.stdout.contains("pending"), "{}", status.stdout);
}

#[test]
fn a_confirmation_that_hangs_has_a_deadline() {
    let stack = two("", "confirm = \"sleep 600\"\nconfirm-timeout = \"1s\"");
    let outcome = stack.run(&["backup"]).ok();
    assert!(outcome.stderr.contains("did not end within 1 s"), "{}", outcome.stderr);
}

/// Each copy has its turn, and a record says which have been proven.
#[test]
fn a_drill_takes_each_copy_in_turn_and_says_which_it_leaves_out() {
    let stack = two("", "");
    stack.run(&["backup"]).ok();
    for (at, other, covered) in [("a", "b", [1, 0]), ("b", "a", [1, 1]), ("a", "b", [1, 1])] {
        let planned = stack.run(&["restore-drill", "--dry-run"]).ok().stdout;
        assert!(planned.contains(&format!("(the copy at {at})")), "{planned}");
        let document = stack.run(&["restore-drill", "--json"]).exits(0).json();
        let data =
            document["artifacts"].as_array().expect("artifacts").iter().find(|it| it["role"] == "data");
        assert_eq!(data.expect("a backup")["copy"], at, "{document}");
        let left = document["not_tested"].to_string();
        assert!(
            left.contains("the copy of codex-api-") && left.contains(&format!(" at {other}\"")),
            "{left}"
        );
        let copies = &document["coverage"].as_array().expect("coverage").last().expect("one")["copies"];
        let told = [0, 1].map(|at| copies[at]["covered"].as_u64().expect("a number"));
        assert_eq!(told, covered, "{document}");
    }
    // The other drive's copy is the one that is damaged: the drill that has its turn finds it.
    let archive = stack.one("b", ".tar.gz");
    super::support::flip(&archive, fs::metadata(&archive).expect("there").len() as usize / 2);
    let document = stack.run(&["restore-drill", "--json"]).exits(1).json();
    assert!(document["findings"].to_string().contains("digest on record"), "{document}");
    stack.sh(".", "rm -r b repo/.recovery; mkdir b");
    stack.run(&["backup"]).ok();
    block(&stack, "a");
    let document = stack.run(&["restore-drill", "--json"]).exits(0).json();
    assert!(document["not_tested"].to_string().contains("the copies at a: "), "{document}");
    block(&stack, "b");
    let document = stack.run(&["restore-drill", "--json"]).exits(3).json();
    assert_eq!(document["result"], "could_not_run", "{document}");
}

/// Without a history the copies that are there are as good as they were, and nobody's are taken over.
#[test]
fn copies_without_a_history_are_made_anew_and_not_taken_over() {
    let stack = two("", "");
    plain(&stack, &["backup"]).exits(0);
    stack.sh("repo", "rm -rf .recovery");
    // Another repository may have made them.
    let document = plain(&stack, &["backup", "--json"]).exits(0).json();
    assert_eq!(copies(&document), pairs([("a", "ok"), ("b", "ok")]), "{document}");
    let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
    assert_eq!(history.matches("\"kind\":\"backup\"").count(), 2, "{history}");
}
