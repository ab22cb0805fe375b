//! What a full drill tells, and what it does not: who ran it, and no secret.
use super::service::{self, is_live};
use std::fs;

/// A smoke test of one command ends with the drill that is killed, where util-linux can see to that; and the record names
/// who began the drill and who has recovered it, with the targets that it had.
#[test]
fn a_killed_drill_ends_its_command_and_its_record_names_both() {
    let stack = service::stack("rto-target = \"10m\"\nrpo-target = \"2d\"\n", false);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let mark = stack.path("smoking").display().to_string();
    let hangs = format!("echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600");
    stack.file("repo/recovery.toml", &text.replacen("smoke = [", &format!("smoke = [\"{hangs}\", "), 1));
    let live = stack.listing("repo/.codex-api");
    let mut command = stack.grouped(&["restore-drill", "full", "--yes"]);
    let mut drill = command.env("SUDO_USER", "ada").env("CI", "true").spawn().expect("starts");
    while !stack.path("smoking").exists() {
        assert!(drill.try_wait().expect("waits").is_none(), "the drill ended before its smoke test");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drill.kill().expect("kills");
    drill.wait().expect("ends");
    let pid = fs::read_to_string(stack.path("smoking")).expect("reads").trim().to_owned();
    let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    stack.sh(".", "command -v setpriv");
    let gone = (0..500).any(|_| {
        !alive() || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            false
        }
    });
    assert!(gone, "the smoke test of a killed drill goes on");
    stack.file("repo/recovery.toml", &text);
    let recovered = stack.run_with(&[("SUDO_USER", "grace")], &["restore-drill", "recover", "--json"]);
    let document = recovered.ok().json();
    is_live(&stack, &live);
    let who = |key: &str| (document[key]["login"].clone(), document[key]["started_by"].clone());
    assert_eq!(who("operator"), ("ada".into(), "ci".into()), "{document:#}");
    assert_eq!(who("recovered_by"), ("grace".into(), "other".into()), "{document:#}");
    assert_eq!(
        (&document["rto_target_seconds"], &document["rpo_target_seconds"]),
        (&600.0.into(), &172_800.0.into())
    );
    let list = fs::read_to_string(stack.path("repo/docs/drills/restore-checklist.md")).expect("a list");
    assert!(list.contains("; recovered by grace as "), "{list}");
    stack.run(&["verify", "--evidence"]).ok();
    stack.run(&["restore-drill", "history"]).ok().says(&["recovered by grace"]);
}

/// Neither in evidence, journal's leavings and history, nor on a terminal.
#[test]
fn no_secret_of_a_full_drill_is_told() {
    let stack = service::stack("", false);
    let github = ["ghp_", &"a1".repeat(18)].concat();
    stack.file("leak", &format!("pw-4711 {github} postgres://app:hunter2@db/app\n"));
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let leak = format!("cat {}; : https://ops:swordfish@host; exit 7", stack.path("leak").display());
    stack.file("repo/recovery.toml", &text.replacen("smoke = [", &format!("smoke = [\"{leak}\", "), 1));
    let said =
        stack.run_with(&[("DEPLOY_PASSWORD", "pw-4711")], &["restore-drill", "full", "--yes"]).exits(1);
    let said =
        said.says(&["$DEPLOY_PASSWORD (secret) postgres://app:(secret)@db/app", "https://ops:(secret)@host"]);
    let mut told = vec![said.stdout.clone(), said.stderr.clone()];
    let files = stack.files("repo/docs/drills").into_iter().map(|name| format!("repo/docs/drills/{name}"));
    for name in files.chain(["repo/.recovery/history.jsonl".to_owned()]) {
        told.push(fs::read_to_string(stack.path(&name)).expect("reads"));
    }
    for text in told {
        for secret in ["pw-4711", &github, "hunter2", "swordfish"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// What a dry run shows of command lines is what the evidence would; and the backup within a drill talks for itself.
#[test]
fn no_secret_is_told_by_a_dry_run_or_by_the_backup_of_a_full_drill() {
    let stack = service::stack("", false);
    let (far, text) =
        (stack.path("pw-4711"), fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads"));
    let far = far.display();
    let text = text
        .replacen(
            "stop = \"",
            "release-checks = [\": ghp_SECRET\"]\nstop = \": https://ops:swordfish@host; ",
            1,
        )
        .replacen("start = \"", "start = \": --password pw-4711; ", 1)
        .replacen("smoke = [", "smoke = [\": https://ops:swordfish@host\", ", 1)
        .replacen("ghp_SECRET", &["ghp_", &"a1".repeat(18)].concat(), 1)
        .replacen("[data.codex-api]", "[data.codex-api]\ndestination = [\"drive\", \"far\"]", 1)
        .replacen(
            "[drill]",
            &format!(
                "[destination.far]\npath = \"{far}/x\"\nmount = \"{far}\"\nretry-for = \"10s\"\n[drill]"
            ),
            1,
        );
    stack.file("repo/recovery.toml", &text);
    let run = |args: &[&str]| stack.run_with(&[("DEPLOY_PASSWORD", "pw-4711")], args);
    let said = [
        run(&["restore-drill", "--dry-run"]).says(&[": (secret)"]),
        run(&["restore-drill", "--dry-run", "--json"]).says(&[": (secret)"]),
        run(&["restore-drill", "full", "--dry-run"])
            .says(&["(: https://ops:(secret)@host; ", "--password $DEPLOY_PASSWORD;"]),
        run(&["restore-drill", "full", "--dry-run", "--json"])
            .says(&["smoke 1: : https://ops:(secret)@host"]),
        run(&["restore-drill", "full", "--yes"]).says(&["trying again in", "$DEPLOY_PASSWORD/x"]),
    ];
    for said in said {
        let (_, told) = said.shown().split_once("--- stdout").expect("output");
        for secret in ["pw-4711", "ghp_", "swordfish"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
}
