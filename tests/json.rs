//! `--json` prints one document and nothing else, whatever becomes of the run; the exit codes are those of `--help`; and
//! bad input that no other room of the tests has is refused with nothing written.
use super::support::{Outcome, Stack};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");
const ENCRYPTED: &str = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n";
/// The verbs, each with what it needs to be called.
const VERBS: [&[&str]; 10] = [
    &["snapshot"],
    &["publish", "--url", "https://example.org/v1.4.2"],
    &["backup"],
    &["verify"],
    &["restore", "codex-api", "--to", "../back"],
    &["restore-drill"],
    &["prune"],
    &["status"],
    &["schedule", "cron"],
    &["init", "--force"],
];
/// Those that no configuration stops.
const OTHERS: [&[&str]; 3] = [&["doctor"], &["completions", "zsh"], &["man", "--to", "../man1"]];

/// Runs with `--json` in front, behind, and with all talk: one document of this shape each time.
#[track_caller]
fn document(stack: &Stack, env: &[(&str, &str)], args: &[&str], code: i32) -> Value {
    let said = stack.run_with(env, &[args, &["--json"]].concat()).exits(code);
    let document = said.json();
    assert!(document["status"].is_string() && document.get("command").is_some(), "{}", said.shown());
    if code != 2 {
        assert_eq!(document["command"], args[0], "{}", said.shown());
    }
    assert_eq!(document["status"] == "error", document["error"].is_object(), "{}", said.shown());
    if let Some(error) = document.get("error") {
        assert_eq!(error["exit_code"], code, "{}", said.shown());
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", said.shown());
    }
    document
}

/// As [`document`], and nothing is there afterwards that was not there before.
#[track_caller]
fn refused(stack: &Stack, env: &[(&str, &str)], args: &[&str], code: i32, parts: &[&str]) {
    let before = written(stack);
    let document = document(stack, env, args, code);
    assert_eq!(written(stack), before, "{args:?} wrote something");
    let text = document.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// All but the tool's own notes.
fn written(stack: &Stack) -> String {
    let world = stack.world(".");
    world.lines().filter(|line| !line.contains("repo/.recovery")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_verb_prints_one_document_when_all_is_well() {
    let stack = Stack::configured();
    for args in VERBS.iter().chain(&OTHERS).copied() {
        let document = document(&stack, &[], args, 0);
        assert_ne!(document["status"], "error", "{document}");
    }
    stack.configure("");
    for args in [
        &["--json", "-v", "status"][..],
        &["-q", "status", "--json"],
        &["status", "--color=always", "--json"],
    ] {
        stack.run(args).ok().json();
    }
    for args in [&["snapshot"][..], &["backup"], &["prune"], &["restore-drill"], &["init"]] {
        let document = document(&stack, &[], &[args, &["--dry-run"]].concat(), 0);
        assert_ne!(document["status"], "error", "{document}");
    }
    document(&stack, &[], &["restore", "codex-api", "--explain"], 0);
    document(&stack, &[], &["restore-drill", "history"], 0);
    document(&stack, &[], &["restore-drill", "--if-due"], 0);
}

#[test]
fn every_verb_prints_one_document_for_a_wrong_command_line() {
    let stack = Stack::configured();
    for args in VERBS.iter().chain(&OTHERS).copied() {
        refused(&stack, &[], &[args, &["--no-such-flag"]].concat(), 2, &["--no-such-flag"]);
        refused(&stack, &[], &[args, &["-C", "nowhere"]].concat(), 2, &["nowhere"]);
    }
    for args in [&["no-such-verb"][..], &["--json"], &["restore"], &["snapshot", "--keep"]] {
        refused(&stack, &[], args, 2, &[]);
    }
    stack.run(&["backup"]).ok();
    refused(&stack, &[], &["restore", "codex-api"], 2, &["--to"]);
    for keep in ["0", "-1", "4294967296", "two"] {
        for verb in ["snapshot", "backup", "prune"] {
            refused(&stack, &[], &[verb, "--keep", keep], 2, &["--keep"]);
        }
    }
    refused(&stack, &[], &["snapshot", "--version", "1/2"], 2, &["1/2"]);
    refused(&stack, &[], &["backup", "codex-api", "codex-api"], 2, &["twice"]);
}

#[test]
fn every_verb_prints_one_document_for_a_wrong_configuration() {
    let stack = Stack::new();
    let drive = stack.path("drive").display().to_string();
    let place = format!("[destination.d]\npath = \"{drive}\"\n");
    let rows: [(String, &[&str]); 7] = [
        ("[release]\nname = \"a\"\nkep = 3\n".into(), &["recovery.toml:3", "kep", "`keep`"]),
        (format!("{place}keep = 0\n"), &["keep is 0"]),
        (format!("{place}keep-monthly = -2\n"), &["keep-monthly is -2"]),
        ("[data.a]\nsource = \"x\"\n[data.a]\nsource = \"y\"\n".into(), &["recovery.toml:3", "duplicate"]),
        (
            "[data.a]\nsource = \"docs\"\n[destination.d]\npath = \"docs/backups\"\n".into(),
            &["inside", "docs"],
        ),
        (format!("[data.a]\nsource = \"{drive}/x\"\n{place}"), &["inside"]),
        (format!("[data.a]\nsource = \"{drive}\"\n{place}"), &["inside"]),
    ];
    for (text, parts) in rows {
        stack.file("repo/recovery.toml", &text);
        for args in VERBS.iter().filter(|args| args[0] != "init") {
            refused(&stack, &[], args, 3, parts);
        }
    }
    fs::remove_file(stack.path("repo/recovery.toml")).expect("removes");
    for args in VERBS.iter().filter(|args| args[0] != "init") {
        refused(&stack, &[], &[args, &["--config", "none.toml"][..]].concat(), 3, &["none.toml"]);
    }
}

#[test]
fn a_folder_that_is_no_repository_has_documents_too() {
    let stack = Stack::bare();
    stack.file("repo/a", "a");
    refused(&stack, &[], &["snapshot"], 3, &["git repository"]);
    refused(&stack, &[], &["backup"], 3, &["nothing to back up"]);
    refused(&stack, &[], &["verify"], 1, &["nothing to verify"]);
    refused(&stack, &[], &["restore", "a-set", "--to", "../back"], 3, &["a-set"]);
    document(&stack, &[], &["status"], 1);
    document(&stack, &[], &["prune"], 0);
    stack.sh("repo", "git init -q -b main .");
    refused(&stack, &[], &["snapshot"], 3, &["no commit"]);
    stack.commit("first", "2026-03-01T08:30:00Z");
    refused(&stack, &[], &["snapshot", "--rev", "no-such-rev"], 3, &["no-such-rev"]);
}

#[test]
fn a_drive_that_is_not_mounted_is_a_reason_to_try_later() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.configure(&format!("keep = 1\nmount = \"{}\"\n", stack.path("drive").display()));
    let world = stack.world("drive");
    for args in VERBS.iter().filter(|args| ["backup", "verify", "restore", "prune"].contains(&args[0])) {
        refused(&stack, &[], args, 75, &["mounted"]);
    }
    refused(&stack, &[], &["status"], 1, &["mounted"]);
    let drill = stack.run(&["restore-drill", "--json"]).exits(75).json();
    assert_eq!((&drill["status"], &drill["result"]), (&"error".into(), &"could_not_run".into()));
    assert_eq!(stack.world("drive"), world);
}

#[test]
fn a_repository_in_use_is_a_reason_to_try_later() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let lock = stack.path("repo/.recovery/locks/repository");
    let held = fs::OpenOptions::new().read(true).write(true).open(&lock).expect("a lock");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("free");
    for verb in ["snapshot", "backup", "prune", "restore-drill"] {
        refused(&stack, &[], &[verb], 75, &["in use"]);
    }
}

#[test]
fn a_passphrase_that_is_not_there_or_wrong_is_named_and_never_shown() {
    let stack = Stack::new();
    stack.configure(ENCRYPTED);
    refused(&stack, &[], &["backup"], 3, &[KEY.0, "not set"]);
    refused(&stack, &[(KEY.0, "")], &["backup"], 3, &[KEY.0, "empty"]);
    refused(&stack, &[(KEY.0, "two\nlines")], &["backup"], 3, &[KEY.0]);
    stack.run_with(&[KEY], &["backup"]).ok();
    let wrong = (KEY.0, "wrong horse");
    for args in [&["verify"][..], &["restore", "codex-api", "--to", "../back"]] {
        refused(&stack, &[], args, 3, &[KEY.0]);
        refused(&stack, &[(KEY.0, "")], args, 3, &[KEY.0]);
        refused(&stack, &[wrong], args, 3, &[KEY.0, "does not decrypt"]);
        let said = stack.run_with(&[wrong], args);
        assert!(!said.stdout.contains(wrong.1) && !said.stderr.contains(wrong.1), "{}", said.stderr);
    }
}

#[test]
fn sources_and_targets_that_cannot_be_are_refused() {
    let stack = Stack::configured();
    refused(&stack, &[], &["backup", "--source", "server.js", "--dest", "../drive"], 3, &["not a folder"]);
    refused(&stack, &[], &["backup", "--source", "docs", "--dest", "docs"], 3, &["inside"]);
    refused(&stack, &[], &["backup", "--source", "nowhere", "--dest", "../drive"], 1, &["nowhere"]);
    stack.run(&["backup"]).ok();
    stack.sh("repo", "mv .codex-api aside; mkdir .codex-api");
    refused(&stack, &[], &["backup"], 1, &["holds no files"]);
    refused(&stack, &[], &["backup", "--dry-run"], 1, &["holds no files"]);
    stack.sh("repo", "rmdir .codex-api; mv aside .codex-api");
    stack.file("back/mine", "mine");
    refused(&stack, &[], &["restore", "codex-api", "--to", "../back"], 3, &["not empty"]);
    refused(&stack, &[], &["restore", "codex-api", "--to", "../back/mine"], 3, &["mine"]);
    refused(&stack, &[], &["restore", "codex-api", "--to", "/"], 3, &["not empty"]);
    refused(&stack, &[], &["restore", "server.js", "--to", "../new"], 3, &[".tar.gz"]);
    refused(&stack, &[], &["restore", "codex-api", "--path", "[", "--to", "../new"], 2, &["--path"]);
    refused(
        &stack,
        &[],
        &["restore", "codex-api", "--at", "2026-13-01", "--to", "../new"],
        2,
        &["2026-13-01"],
    );
}

/// Names that are no text do not break the document, and come back.
#[test]
fn odd_names_are_told_in_text_and_come_back() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "mkfifo $'pipe\\xff\\n\\e[2J'; : > $'not \\xff utf-8'; ln -s loop-b loop-a; ln -s loop-a loop-b; ln -s . here
         d=$(printf 'd%.0s' $(seq 99)); mkdir -p $d/$d/$d; echo deep > $d/$d/$d/$d",
    );
    let made = document(&stack, &[], &["backup"], 0);
    assert!(made["sets"][0]["findings"].to_string().contains("pipe\\\\xff\\\\n\\\\u{1b}[2J"), "{made}");
    document(&stack, &[], &["verify"], 0);
    let back = document(&stack, &[], &["restore", "codex-api", "--to", "../back"], 0);
    assert_eq!(back["entries"], made["sets"][0]["entries"]);
    assert_eq!(stack.listing("back/.codex-api"), stack.listing("repo/.codex-api"));
    let said = stack.run(&["backup", "-v"]);
    assert!(!said.stderr.contains('\u{1b}'), "a name cannot move the cursor: {:?}", said.stderr);
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let stack = Stack::configured();
    let help = stack.run(&["--help"]).ok().stdout;
    let table = help.split("Exit codes:").nth(1).expect("a table");
    let listed: BTreeSet<i32> =
        table.lines().filter_map(|line| line.trim().split_once("  ")?.0.parse().ok()).collect();
    assert_eq!(listed, BTreeSet::from([0, 1, 2, 3, 75]), "{help}");
    let code = |said: Outcome| said.code;
    let seen = BTreeSet::from([
        code(stack.run(&["snapshot"])),
        code(stack.run(&["status"])),
        code(stack.run(&["status", "now"])),
        code(stack.run(&["restore", "codex-api", "--to", "../back"])),
        code(stack.run(&["backup", "--mount-check"])),
    ]);
    assert_eq!(seen, listed);
    for args in VERBS {
        let help = stack.run(&[args[0], "--help"]).ok().stdout;
        assert!(help.contains("Examples:") && help.contains("Usage:"), "{help}");
    }
}
