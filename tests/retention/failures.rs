//! What stops pruning, and is told; and what does not stop it elsewhere.
use super::super::support::{Outcome, Stack, flip, outcome, unprivileged};
use super::{archives, at, removed};
use serde_json::Value;
use std::fs;

/// A set with two destinations that keep one backup each, and a backup on each of these days, made by somebody who
/// cannot read or remove everything.
fn two(days: &[&str]) -> Stack {
    let stack = Stack::new();
    let folder = |name: &str| stack.path(&format!("drive/{name}")).display().to_string();
    stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"one\", \"two\"]\n\
             [destination.one]\npath = \"{}\"\nkeep = 1\n[destination.two]\npath = \"{}\"\nkeep = 1\n",
            folder("one"),
            folder("two")
        ),
    );
    for day in days {
        as_other(&stack, &at(day), &["backup"]).ok();
    }
    stack
}

fn as_other(stack: &Stack, now: &str, args: &[&str]) -> Outcome {
    outcome(unprivileged(stack, args).env("RECOVERY_NOW", now))
}

/// The backups at a destination, by their days.
fn days(stack: &Stack, folder: &str) -> Vec<String> {
    let names = stack.files(&format!("drive/{folder}")).into_iter();
    let markers = names.filter(|name| name.ends_with(".sha256"));
    markers.map(|name| name.split("-2026-03-").nth(1).expect("a day")[..2].to_owned()).collect()
}

fn reasons<'a>(document: &'a Value, part: &str) -> &'a Value {
    let mut items = document["items"].as_array().expect("items").iter();
    items.find(|item| item["path"].as_str().is_some_and(|path| path.contains(part))).expect(part)
}

#[test]
fn a_bundle_whose_tarball_or_manifest_is_gone_evicts_no_whole_one() {
    for end in [".tar.gz", ".manifest.jsonl.gz"] {
        let stack = Stack::new();
        for version in ["1", "2", "3"] {
            stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
            stack.run(&["snapshot", "--version", version]).ok();
        }
        let gone = stack.one("repo/releases", &format!("v3-2026-03-03T090000Z{end}"));
        fs::remove_file(&gone).expect("removes");
        let plan = stack.run(&["prune", "--keep", "1", "--json"]).exits(1).json();
        assert!(removed(&plan).is_empty(), "{plan}");
        assert!(reasons(&plan, "-v3-")["reasons"].to_string().contains("damaged"), "{plan}");
        assert!(reasons(&plan, "-v2-")["reasons"].to_string().contains("newest"), "{plan}");
        stack.run(&["status"]).exits(1).says(&["which is gone"]);
        stack.commit("4", "2026-03-04T09:00:00Z");
        stack
            .run(&["snapshot", "--version", "4", "--keep", "1", "--prune"])
            .exits(1)
            .says(&["created", "which is gone"]);
        let locks = stack.files("repo/releases").into_iter().filter(|name| name.ends_with(".lock.json"));
        assert_eq!(locks.count(), 4, "nothing goes while one is damaged");
        // What is said to mend it does.
        stack.sh("repo/releases", "rm *-v3-*");
        stack.run(&["snapshot", "--version", "3", "--rev", "HEAD~1"]).ok();
        assert!(gone.exists());
        stack.run(&["prune", "--keep", "1"]).ok();
        assert_eq!(stack.files("repo/releases").len(), 4, "{:?}", stack.files("repo/releases"));
    }
}

#[test]
fn a_backup_run_says_why_it_prunes_no_more() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for day in ["01", "02", "03"] {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    let history = stack.path("repo/.recovery/history.jsonl");
    let whole = fs::read(&history).expect("reads");
    let cron = ["backup", "--prune", "-q"];
    stack.sh(".", "mv drive/2026/03-02 aside");
    let said = stack.run_at(&at("04"), &cron).exits(1).says(&["is gone", "is not pruned"]);
    assert!(said.stderr.contains("--forget-lost"), "{}", said.shown());
    stack.sh(".", "mv aside drive/2026/03-02; rm -r drive/2026/03-04");
    fs::write(&history, [b"no record\n", &whole[..]].concat()).expect("writes");
    let said = stack.run_at(&at("04"), &[&cron[..], &["--json"]].concat()).exits(1).json();
    let told = said["sets"][0]["findings"].to_string();
    assert!(told.contains("damaged in line 1") && told.contains("is not pruned"), "{said}");
    assert_eq!(said["sets"][0]["status"], "ok", "the backup itself is whole: {said}");
    assert_eq!(archives(&stack).len(), 4);
    stack.sh("drive", "rm -r 2026/03-04");
    fs::write(&history, &whole).expect("writes");
    stack.run_at(&at("04"), &cron).ok();
    assert_eq!(archives(&stack).len(), 1);
}

#[test]
fn a_destination_that_fails_stops_pruning_nowhere_else_and_what_went_is_told() {
    let stack = two(&["01", "02", "03"]);
    stack.sh("drive/one/2026", "chmod 500 03-01");
    let said = as_other(&stack, &at("03"), &["prune", "--json"]).exits(3).json();
    assert_eq!((days(&stack, "one").len(), days(&stack, "two").len()), (3, 1), "{said}");
    let gone = removed(&said);
    assert!(gone.len() == 2 && gone.iter().all(|path| path.contains("/two/")), "{said}");
    assert!(
        reasons(&said, "/one/2026/03-01")["reasons"].to_string().contains("could not be removed"),
        "{said}"
    );
    assert!(said["findings"].to_string().contains("could not remove"), "{said}");
    assert!(said["freed_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{said}");
    as_other(&stack, &at("04"), &["backup"]).ok();
    let said = as_other(&stack, &at("04"), &["prune"]).exits(3).says(&["could not remove"]);
    let line = |line: &&str| line.starts_with("removed ") && line.contains("/two/2026/03-03");
    assert!(said.stdout.lines().any(|text| line(&text)), "{}", said.shown());
    stack.sh("drive/one/2026", "chmod 700 03-01");
    as_other(&stack, &at("04"), &["prune"]).ok();
    assert_eq!((days(&stack, "one"), days(&stack, "two")), (vec!["04".into()], vec!["04".into()]));
}

#[test]
fn a_backup_whose_pruning_fails_tells_of_its_copies_and_prunes_elsewhere() {
    let stack = two(&["01", "02"]);
    stack.sh("drive/one/2026", "chmod 500 03-01");
    let said = as_other(&stack, &at("03"), &["backup", "--prune", "--json"]).exits(3).json();
    let set = &said["sets"][0];
    assert_eq!((&set["status"], &set["copies"][1]["status"]), (&"ok".into(), &"ok".into()), "{said}");
    assert!(set["findings"].to_string().contains("could not remove"), "{said}");
    assert_eq!(days(&stack, "two"), ["03"], "{said}");
    assert!(days(&stack, "one").contains(&"03".into()), "{said}");
    assert!(set["pruned"].to_string().contains("/two/2026/03-01"), "{said}");
}

/// A `confirm` that cannot even be started is told with the copies that were made.
#[test]
fn a_history_that_cannot_be_read_any_more_hides_no_copy() {
    let stack = Stack::new();
    // The line itself takes the history away.
    stack.configure("confirm = \"chmod 000 .recovery/history.jsonl\"\n");
    let said = as_other(&stack, &at("01"), &["backup", "--prune", "--json"]).exits(3).json();
    assert_eq!(said["sets"][0]["copies"][0]["status"], "ok", "{said}");
    assert!(said["sets"][0]["findings"].to_string().contains("history.jsonl"), "{said}");
}

#[test]
fn a_machine_that_is_out_of_reach_stops_pruning_nowhere_else() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for day in ["01", "02"] {
        stack.run_at(&at(day), &["backup"]).ok();
    }
    stack.file("ssh", "#!/bin/sh\necho no route to host >&2\nexit 255\n");
    stack.sh(".", "chmod 755 ssh");
    let far =
        format!("[destination.far]\npath = \"ops@far:/x\"\nssh = \"{}\"\n", stack.path("ssh").display());
    let path = stack.path("repo/recovery.toml");
    let text =
        fs::read_to_string(&path).expect("reads").replace("source =", "destination = \"drive\"\nsource =");
    fs::write(&path, format!("{text}{far}")).expect("writes");
    let said = stack.run(&["prune", "--json"]).exits(1).json();
    assert_eq!(removed(&said).len(), 1, "{said}");
    assert_eq!(archives(&stack).len(), 1);
    assert!(said["findings"].to_string().contains("could not reach"), "{said}");
}

/// It is gone once the copies are made: its backups are not lost for that.
#[test]
fn a_drive_that_goes_away_before_pruning_has_lost_nothing() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    stack.run_at(&at("01"), &["backup"]).ok();
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, format!("{text}confirm = \"mv ../drive ../gone; : > ../drive\"\n")).expect("writes");
    let said = stack.run_at(&at("02"), &["backup", "--prune", "--json"]).fails().json();
    assert_eq!(said["sets"][0]["copies"][0]["status"], "ok", "{said}");
    assert!(!said.to_string().contains("nothing pruned it"), "{said}");
    assert_eq!(stack.files("gone").iter().filter(|name| name.ends_with(".sha256")).count(), 2);
}

#[test]
fn a_folder_named_like_an_archive_is_nobodys_to_prune() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    fs::create_dir_all(stack.path("drive/2026/03-01/codex-api-2026-03-01T120000Z.tar.gz")).expect("creates");
    for args in [&["prune", "--dry-run", "--json"][..], &["prune", "--json"]] {
        let said = stack.run(args).ok().json();
        assert!(removed(&said).is_empty(), "{said}");
    }
}

#[test]
fn several_backups_of_one_second_are_not_from_the_future() {
    let stack = Stack::configured();
    for _ in 0..3 {
        stack.run(&["backup"]).ok();
    }
    let plan = stack.run(&["prune", "--keep", "1", "--json"]).ok().json();
    assert!(!plan.to_string().contains("future"), "{plan}");
    assert_eq!((removed(&plan).len(), archives(&stack).len()), (2, 1), "{plan}");
}

/// What `verify` says of a damaged copy to do: remove it, and have it made again.
#[test]
fn a_damaged_copy_that_was_made_again_is_sound_and_the_only_one_is_never_unchanged() {
    let plain = |stack: &Stack, day: &str| {
        let mut run = stack.plain(&["backup", "--json"]);
        outcome(run.env("RECOVERY_NOW", at(day))).ok().json()["sets"][0]["status"].clone()
    };
    let stack = two(&["01"]);
    let first = stack.one("drive/one", ".tar.gz");
    flip(&first, 300);
    stack.run(&["verify"]).exits(1);
    stack.run(&["status"]).exits(1).says(&["is damaged"]);
    for file in stack.files("drive/one") {
        fs::remove_file(stack.path("drive/one").join(file)).expect("removes");
    }
    assert_eq!(plain(&stack, "02"), "ok");
    assert!(first.exists(), "the copy is made again");
    stack.run(&["status"]).ok();
    assert_eq!(plain(&stack, "03"), "unchanged");
    // With one destination there is nothing to copy from.
    let alone = Stack::configured();
    alone.run_at(&at("01"), &["backup"]).ok();
    flip(&alone.one("drive", ".tar.gz"), 300);
    alone.run(&["verify"]).exits(1);
    assert_eq!(plain(&alone, "02"), "ok");
    assert_eq!(archives(&alone).len(), 2);
    alone.sh("drive", "rm -r 2026");
    assert_eq!(plain(&alone, "03"), "ok");
}

/// Nor does a drill that is not let in call it damaged.
#[test]
fn what_a_drill_could_not_read_is_not_called_damaged() {
    let stack = Stack::new();
    stack.configure("");
    as_other(&stack, &at("01"), &["backup"]).ok();
    stack.sh("drive/2026", "chmod 000 03-01/*.tar.gz");
    as_other(&stack, &at("01"), &["restore-drill"]).exits(1).says(&["Permission denied"]);
    stack.sh("drive/2026", "chmod 600 03-01/*.tar.gz");
    let said = as_other(&stack, &at("01"), &["status"]);
    assert!(!said.shown().contains("damaged"), "{}", said.shown());
    as_other(&stack, &at("02"), &["restore-drill"]).ok();
}

#[test]
fn what_verify_could_not_read_is_damaged_and_what_it_has_no_key_for_is_not() {
    let stack = Stack::new();
    stack.configure("");
    for day in ["01", "02", "03", "04"] {
        as_other(&stack, &at(day), &["backup"]).ok();
    }
    // Who is not let in knows nothing of it.
    stack.sh("drive/2026", "chmod 000 03-04/*.tar.gz");
    as_other(&stack, &at("04"), &["verify"]).exits(3).says(&["UNREAD"]);
    as_other(&stack, &at("04"), &["status"]).ok();
    stack.sh("drive/2026", "chmod 600 03-04/*.tar.gz");
    // A marker of 20 MB is none.
    stack.sh("drive/2026", "cp -a . ../../kept; truncate -s 20M 03-0[234]/*.sha256");
    as_other(&stack, &at("04"), &["verify"]).exits(1).says(&["UNREAD"]);
    as_other(&stack, &at("04"), &["status"]).exits(1).says(&["is damaged"]);
    as_other(&stack, &at("04"), &["prune", "--keep", "3"]);
    assert_eq!(archives(&stack).len(), 4, "the one that can be read stays");
    stack.sh("drive/2026", "cp -a ../../kept/. .");
    as_other(&stack, &at("04"), &["verify"]).ok();
    as_other(&stack, &at("04"), &["status"]).ok();

    let locked = Stack::new();
    locked.configure("passphrase-env = \"KEY\"\n");
    locked.run_with(&[("KEY", "correct horse")], &["backup"]).ok();
    for key in [&[][..], &[("KEY", "wrong horse")]] {
        locked.run_with(key, &["verify"]).fails();
        locked.run(&["status"]).ok();
    }
}
