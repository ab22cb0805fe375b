//! What a verb would refuse, or do only in part, `doctor` says before it, and so does a dry run.
use super::super::support::{Stack, outcome};
use super::{both_refuse, neither_refuses, set_keys, wrong};
use serde_json::Value;

/// Doctor finds nothing that fails, and warns of something with these words.
#[track_caller]
fn warns(stack: &Stack, part: &str, words: &str) {
    let document = stack.run(&["doctor", "--json"]).ok().json();
    let checks = document["checks"].as_array().expect("a list");
    let says = |check: &&Value| check["part"] == part && check["seen"].to_string().contains(words);
    let found = checks.iter().find(says);
    assert_eq!(found.map(|check| &check["state"]), Some(&Value::from("warning")), "{document}");
}

/// What is committed, and what was built, are in that bundle alike.
#[test]
fn what_would_refuse_a_bundle_with_include_is_told() {
    let lib = "git init -q -b main ../lib; cd ../lib; \
               git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m lib; cd ../repo; \
               git -c protocol.file.allow=always submodule --quiet add ../lib vendor/lib";
    let without = "git submodule --quiet deinit --all --force; rm -rf .git/modules";
    for (keys, happens, then, words) in [
        ("", "echo A=1 > .env", "", "is named like"),
        ("", "", "echo A=1 > dist/.env", "is named like"),
        (
            "max-file-size = '1 kB'\n",
            "head -c 2000 /dev/zero > docs/big",
            "",
            "has 2000 bytes, more than 1000",
        ),
        ("submodules = 'include'\n", lib, without, "which is not on this machine"),
    ] {
        let stack = Stack::new();
        stack.configure(&format!("[release]\ninclude = ['dist/']\n{keys}"));
        stack.sh("repo", "echo dist/ >> .gitignore");
        stack.commit("with include", "2026-03-02T08:30:00Z");
        stack.file("repo/dist/app.js", "built\n");
        let dry = ["snapshot", "--dry-run"];
        neither_refuses(&stack, &dry, &[]);
        stack.sh("repo", happens);
        stack.commit("more", "2026-03-03T08:30:00Z");
        stack.sh("repo", then);
        both_refuse(&stack, "release", &dry, 1, words);
        let left = stack.sh(".", "ls -A");
        stack.run(&["doctor"]).exits(1);
        assert_eq!(stack.sh(".", "ls -A"), left, "what was staged is gone again");
        assert!(!stack.path("repo/releases").exists());
    }
}

#[test]
fn a_source_that_has_moved_since_its_last_backup_is_told() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["doctor"]).ok();
    stack.sh(
        "repo",
        "cp -a .codex-api ../moved; sed -i \"s|^source = .*|source = '../moved'|\" recovery.toml",
    );
    let words = "the last backup of that name at drive is of .codex-api";
    wrong(&stack.run(&["doctor", "--json"]).exits(1), "data", &[words, "cargo xtask backup --force"]);
    for backup in [&["backup"][..], &["backup", "--dry-run"]] {
        outcome(&mut stack.plain(backup)).exits(3).says(&[words]);
    }
    stack.run(&["backup"]).ok();
    stack.run(&["doctor"]).ok();
    outcome(&mut stack.plain(&["backup"])).ok();
}

#[test]
fn a_stage_inside_of_its_source_is_told() {
    let dry = ["backup", "--dry-run"];
    let stack = Stack::configured();
    set_keys(&stack, "consistency = 'staged'\nstage-dir = '.codex-api/stage'");
    both_refuse(&stack, "folder", &dry, 3, "lies inside of the source");
    stack.sh("repo", "sed -i \"s|^stage-dir.*|stage-dir = '../stage'|\" recovery.toml");
    neither_refuses(&stack, &dry, &[]);
    // Where none is named, it is the repository's own.
    stack.sh("repo", "sed -i \"/^stage-dir/d; s|^source = .*|source = '.'|\" recovery.toml");
    both_refuse(&stack, "folder", &dry, 3, "lies inside of the source");
}

/// It may be begun all the same: what would refuse it is told, and fails nothing.
#[test]
fn a_full_drill_that_is_never_due_is_looked_at_where_its_commands_are_set() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let whole = "stop = 'true'\nstart = 'true'\nsmoke = ['true']\n";
    let full = ["restore-drill", "full", "--dry-run"];
    for (keys, words) in [
        ("stop = 'true'\n".to_owned(), "a full drill needs start, smoke in [drill]"),
        ("smoke = ['true']\n".to_owned(), "a full drill needs stop, start in [drill]"),
        ("deploy = 'true'\n".to_owned(), "a full drill needs stop, start, smoke in [drill]"),
        (format!("{whole}deploy-dir = '.'\n"), "lie in one another"),
    ] {
        stack.configure(&format!("[drill]\n{keys}"));
        warns(&stack, "drill", words);
        stack.run(&full).exits(3).says(&[words]);
        stack.configure(&format!("[drill]\nfull-every = '92d'\n{keys}"));
        both_refuse(&stack, "drill", &full, 3, words);
    }
    stack.configure(&format!("[drill]\n{whole}deploy-dir = '../deployed'\n"));
    neither_refuses(&stack, &full, &[]);
    stack.run(&["doctor"]).ok().says(&["everything that it needs is set"]);
    stack.configure("");
    assert!(!stack.run(&["doctor"]).ok().stdout.contains("everything that it needs is set"));
}

#[test]
fn a_canary_that_cannot_be_written_is_told() {
    let dry = ["backup", "--dry-run"];
    for (canary, words) in [
        ("config.toml", "is no canary: it is not written over"),
        ("sub/c", "could not resolve"),
        ("config.toml/c", "the canary cannot be written"),
    ] {
        let stack = Stack::configured();
        set_keys(&stack, &format!("canary = '{canary}'"));
        both_refuse(&stack, "data", &dry, 1, words);
        stack.run(&["backup"]).exits(1).says(&["the canary was not written"]);
        both_refuse(&stack, "data", &dry, 1, words);
        // A line of `before` may make its folder.
        set_keys(&stack, "before = ['true']");
        neither_refuses(&stack, &dry, &["the canary cannot be written", "`before` may mend that"]);
    }
    let stack = Stack::configured();
    set_keys(&stack, "canary = '.recovery-canary'");
    neither_refuses(&stack, &dry, &[]);
    assert!(!stack.path("repo/.codex-api/.recovery-canary").exists(), "neither writes one");
}
