//! Whom retention, memory and clocks trust: what is damaged, partial, foreign, lost or from the future evicts nothing.
use super::support::{Outcome, Stack, flip, outcome, unprivileged};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn at(day: &str) -> String {
    format!("2026-03-{day}T12:00:00Z")
}

/// A backup on each of these days.
fn backups(stack: &Stack, days: &[&str]) {
    for day in days {
        stack.run_at(&at(day), &["backup"]).ok();
    }
}

fn three(destination: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    backups(&stack, &["01", "02", "03"]);
    stack
}

fn archive(day: &str) -> String {
    format!("drive/2026/03-{day}/codex-api-2026-03-{day}T120000Z.tar.gz")
}

/// The days of which the drive still holds an archive.
fn days(stack: &Stack) -> Vec<String> {
    let names = stack.files("drive").into_iter().filter(|name| name.ends_with(".tar.gz"));
    names.map(|name| name.split("-2026-03-").nth(1).expect("a day")[..2].to_owned()).collect()
}

/// What a plan says of the artifact with this in its path.
fn reasons(plan: &Value, part: &str) -> String {
    let items = plan["items"].as_array().expect("items").iter();
    let mut found = items.filter(|item| item["path"].as_str().is_some_and(|path| path.contains(part)));
    let item = found.next().unwrap_or_else(|| panic!("no {part:?} in {plan}"));
    format!("{}: {}", item["decision"], item["reasons"])
}

/// Bundles of commits of these days, by the versions 1, 2, …
fn bundles(stack: &Stack, count: u32) {
    for version in 1..=count {
        stack.commit(&version.to_string(), &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", &version.to_string()]).ok();
    }
}

fn tarballs(stack: &Stack) -> Vec<String> {
    stack.files("repo/releases").into_iter().filter(|name| name.ends_with(".tar.gz")).collect()
}

#[test]
fn what_a_later_verification_finds_damaged_evicts_nothing_until_it_is_mended() {
    let stack = three("keep = 1\n");
    stack.run(&["verify"]).ok();
    let newest = stack.path(&archive("03"));
    flip(&newest, 300);
    stack.run(&["verify"]).exits(1);
    stack.run(&["status"]).exits(1).says(&["2026-03-03T120000Z", "is damaged"]);
    let plan = stack.run(&["prune", "--dry-run", "--json"]).json();
    assert!(
        reasons(&plan, "03-03T12").starts_with("\"keep\"") && reasons(&plan, "03-03T12").contains("damaged")
    );
    stack.run(&["prune"]);
    assert_eq!(days(&stack), ["02", "03"], "the damaged one, and the newest that is sound");
    flip(&newest, 300);
    stack.run(&["verify"]).ok();
    stack.run(&["status"]).ok();
    stack.run(&["prune"]).ok();
    assert_eq!(days(&stack), ["03"], "it counts again");
}

#[test]
fn an_archive_without_a_byte_evicts_nothing_although_nobody_verified_it() {
    let stack = three("keep = 1\n");
    stack.file(&archive("03"), "");
    stack.run(&["status"]).exits(1).says(&["2026-03-03T120000Z", "is damaged"]);
    stack.run(&["prune"]);
    let left = days(&stack);
    assert!(left.contains(&"02".to_owned()) && left.contains(&"03".to_owned()), "{left:?}");
    stack.run_at(&at("04"), &["backup", "--keep", "1", "--prune"]);
    assert!(days(&stack).contains(&"04".to_owned()));
}

#[test]
fn a_bundle_that_was_found_damaged_evicts_no_sound_one() {
    let stack = Stack::new();
    stack.run(&["init"]).ok();
    stack.commit("settings", "2026-02-28T09:00:00Z");
    bundles(&stack, 3);
    let newest = stack.one("repo/releases", "v3-2026-03-03T090000Z.tar.gz");
    flip(&newest, 40);
    // Alone: that another is verified would be a reason of its own to keep that one.
    stack.run(&["verify", &newest.display().to_string()]).exits(1);
    let plan = stack.run(&["prune", "--keep", "1", "--json"]).json();
    assert!(reasons(&plan, "-v3-").contains("damaged"), "{plan}");
    let left = tarballs(&stack);
    assert!(left.iter().any(|name| name.contains("-v2-")), "the newest sound one is gone: {left:?}");
    assert!(left.iter().any(|name| name.contains("-v3-")), "nobody has looked at it yet: {left:?}");
}

#[test]
fn a_backup_that_holds_only_a_part_is_told_everywhere_and_evicts_no_whole_one() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    let as_other = |now: &str, args: &[&str]| -> Outcome {
        outcome(unprivileged(&stack, args).env("RECOVERY_NOW", now))
    };
    as_other(&at("01"), &["snapshot"]).ok();
    as_other(&at("01"), &["backup"]).ok();
    stack.file("repo/.codex-api/private", "secret\n");
    stack.sh("repo/.codex-api", "chmod 000 private");
    as_other(&at("02"), &["backup"]).exits(1).says(&["private"]);
    as_other(&at("02"), &["status"]).exits(1).says(&["only a part"]);
    let drill = as_other(&at("02"), &["restore-drill", "--json"]).exits(1).json();
    assert_eq!(drill["result"], "not_verified", "{drill}");
    let told_once = |said: Outcome| {
        assert_eq!(said.stderr.matches("only a part").count(), 1, "{}", said.shown());
        said.says(&["`--at 2026-03-01T12:00:00Z` takes it"]);
    };
    told_once(as_other(&at("02"), &["restore", "codex-api", "--to", "../home/back"]).ok());
    as_other(&at("02"), &["prune"]);
    assert_eq!(days(&stack), ["01", "02"]);
    // What remembers it may be lost; the backup says so itself.
    stack.sh("repo", "rm -r .recovery; rm -r ../home/back");
    as_other(&at("03"), &["verify"]).ok().says(&["was made with errors (1)", "may hold only a part"]);
    told_once(as_other(&at("03"), &["restore", "codex-api", "--to", "../home/back"]).ok());
    as_other(&at("03"), &["status"]).says(&["yes, to 2026-03-02", "if the backup of codex-api is whole"]);
    let drill = as_other(&at("03"), &["restore-drill", "--json"]).exits(1).json();
    assert_eq!(drill["result"], "not_verified", "{drill}");
    let found = drill["findings"].to_string();
    assert!(found.contains("may hold only a part") && found.contains("is not on record here"), "{drill}");
    // Who has read it once remembers that.
    as_other(&at("03"), &["status"]).exits(1).says(&["yes, to 2026-03-01", "only a part"]);
    stack.sh("repo", "rm -r .recovery docs/drills; mkdir .recovery");
    as_other(&at("03"), &["verify"]).ok();
    as_other(&at("03"), &["status"]).exits(1).says(&["yes, to 2026-03-01", "only a part"]);
    // While there is a newer one that is whole, nobody would recover to it.
    stack.sh("repo", "rm -r docs; chmod 600 .codex-api/private");
    as_other(&at("04"), &["prune", "--adopt"]);
    as_other(&at("04"), &["backup"]).ok();
    let older = ["restore-drill", "--json"];
    as_other(&at("04"), &older).ok();
    let drill = as_other(&at("04"), &older).ok().json();
    assert!(drill["findings"].to_string().contains("may hold only a part"), "{drill}");
    as_other(&at("05"), &["prune"]).ok();
    assert_eq!(days(&stack), ["04"]);
    stack.sh("repo", "chmod 000 .codex-api/private; rm -r docs ../drive/2026");
    as_other(&at("05"), &["backup"]).exits(1);
    // Part by part, nothing else is said.
    stack.sh("repo", "rm -r .recovery; sed -i '/^source/a sample = \"50%\"' recovery.toml");
    let drill = as_other(&at("04"), &["restore-drill", "--json"]).exits(1).json();
    assert!(drill["findings"].to_string().contains("may hold only a part"), "{drill}");
}

#[test]
fn a_set_of_the_same_name_in_another_repository_is_pruned_only_after_it_was_adopted() {
    let stack = three("");
    stack.sh(".", "cp -a repo second; rm -rf second/.recovery");
    let second = |now: &str, args: &[&str]| {
        outcome(stack.command(args).current_dir(stack.path("second")).env("RECOVERY_NOW", now))
    };
    let made = second(&at("04"), &["backup", "--keep", "1", "--prune", "--json"]).json();
    assert_eq!(days(&stack), ["01", "02", "03", "04"], "{made}");
    let plan = second(&at("05"), &["prune", "--keep", "1", "--json"]).json();
    assert!(reasons(&plan, "03-03T12").contains("not made by this repository"), "{plan}");
    assert_eq!(days(&stack), ["01", "02", "03", "04"]);
    second(&at("05"), &["prune", "--keep", "1", "--adopt"]).ok();
    assert_eq!(days(&stack), ["01", "02", "03", "04"], "nobody has read them yet");
    second(&at("05"), &["prune", "--keep", "1"]).ok();
    assert_eq!(days(&stack), ["04"]);
}

/// A clock that ran back for a while: what was made last is told, and stays, though its name says that it is old.
#[test]
fn a_backup_that_was_made_last_stays_whatever_a_wrong_clock_has_called_it() {
    let stack = Stack::configured();
    stack.run_at("2026-03-10T12:00:00Z", &["backup"]).ok();
    stack.file("repo/.codex-api/config.toml", "model = 'newest'\n");
    let said = stack.run_at("2026-01-01T00:00:00Z", &["backup"]).ok();
    said.says(&["2026-03-10T12:00:00Z", "this machine's clock is behind"]);
    let now = "2026-03-11T12:00:00Z";
    stack.run_at(now, &["status"]).exits(1).says(&[
        "codex-api-2026-01-01",
        "was made after",
        "a clock was wrong",
    ]);
    stack
        .run_at(now, &["restore", "codex-api", "--to", "../back"])
        .ok()
        .says(&["2026-01-01", "was made after"]);
    let pruned = stack.run_at(now, &["prune", "--keep", "1", "--json"]).ok().json();
    let items = pruned["items"].as_array().expect("a list");
    let it = items.iter().find(|item| item["path"].as_str().is_some_and(|path| path.contains("2026-01-01")));
    assert_eq!(it.expect("an item")["decision"], "keep", "{pruned}");
    // A new one mends it.
    stack.run_at(now, &["backup"]).ok();
    assert!(!stack.run_at(now, &["status"]).shown().contains("was made after"));
}

/// Names that a prune has set free lie before those that stay.
#[test]
fn a_new_backup_has_a_later_name_than_all_of_its_series() {
    let stack = Stack::new();
    stack.configure("keep = 2\n");
    for _ in 0..8 {
        stack.run(&["backup"]).ok();
    }
    stack.run(&["prune"]).ok();
    stack.file("repo/.codex-api/config.toml", "model = 'newest'\n");
    stack.run_at("2026-03-10T12:00:02Z", &["backup"]).ok();
    stack.run_at("2026-03-10T12:00:30Z", &["prune"]).ok();
    stack.run_at("2026-03-10T12:00:30Z", &["restore", "codex-api", "--to", "../back"]).ok();
    let back = fs::read_to_string(stack.path("back/.codex-api/config.toml")).expect("reads");
    assert_eq!(back, "model = 'newest'\n");
}

/// It is made all the same: the drive may be a new one.
#[test]
fn a_drive_that_has_none_of_its_backups_is_asked_about() {
    let stack = Stack::configured();
    stack.run_at("2026-03-01T12:00:00Z", &["backup"]).ok();
    stack.run_at("2026-03-02T12:00:00Z", &["backup"]).ok();
    stack.sh(".", "mv drive right; mkdir drive");
    for args in [&["backup", "--dry-run"][..], &["backup"]] {
        let said = stack.run(args).ok();
        said.says(&["holds none of the 2 backups", "is this the right drive?"]);
    }
    // The one that was made there since is known there.
    let again = stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
    assert!(!again.stderr.contains("right drive"), "{}", again.shown());
    stack.sh(".", "rm -r drive; mv right drive");
    let right = stack.run_at("2026-03-12T12:00:00Z", &["backup"]).ok();
    assert!(!right.stderr.contains("right drive"), "{}", right.shown());
}

#[test]
fn a_backup_that_was_removed_by_hand_stops_all_pruning_until_it_is_forgotten() {
    let stack = three("keep = 1\n");
    for path in stack.files("drive/2026/03-02") {
        fs::remove_file(stack.path("drive/2026/03-02").join(path)).expect("removes");
    }
    stack.run(&["status"]).exits(1).says(&["2026-03-02T120000Z", "is gone"]);
    stack.run(&["prune"]).exits(1).says(&["is gone"]);
    assert_eq!(days(&stack), ["01", "03"]);
    stack.run_at(&at("04"), &["backup", "--keep", "1", "--prune"]);
    assert_eq!(days(&stack), ["01", "03", "04"], "nothing goes while one is lost");
    stack.run_at(&at("05"), &["prune", "--forget-lost"]).ok();
    assert_eq!(days(&stack), ["04"]);
    stack.run_at(&at("05"), &["status"]).ok();
}

#[test]
fn a_backup_from_the_future_is_not_restored_unasked() {
    let stack = three("");
    stack.run_at("2027-01-01T12:00:00Z", &["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).exits(3).says(&["in the future", "--at"]);
    assert!(!stack.path("back").exists());
    stack.run(&["status"]).exits(1).says(&["in the future"]);
    let by = |time: &str, to: &str| stack.run(&["restore", "codex-api", "--at", time, "--to", to]).ok();
    by("2026-03-10", "../back").says(&["2026-03-03T12"]);
    by("2027-01-02", "../ahead").says(&["2027-01-01T12"]);
}

#[test]
fn a_drill_from_the_future_does_not_put_off_the_next() {
    let stack = Stack::new();
    stack.configure("[drill]\nspot-every = \"31d\"\n");
    backups(&stack, &["01"]);
    stack.run_at("2027-01-01T12:00:00Z", &["restore-drill"]).ok();
    let said = stack.run(&["restore-drill", "--if-due", "--json"]).json();
    assert_eq!(said["result"], "verified", "{said}");
    let said = stack.run(&["restore-drill", "--if-due", "--json"]).json();
    assert_eq!(said["result"], "not_due", "{said}");
}

#[test]
fn another_folder_does_not_pass_for_a_configured_set() {
    let stack = three("");
    stack.file("other/.codex-api/x", "other\n");
    stack.run(&["backup", "--source", "../other/.codex-api"]).exits(3).says(&["codex-api"]);
    let drive = stack.path("drive").display().to_string();
    stack.run(&["backup", "--source", "../other/.codex-api", "--dest", &drive]).exits(3);
    assert_eq!(days(&stack), ["01", "02", "03"]);
    stack.run(&["backup", "--source", ".codex-api", "--dest", &drive]).ok();
}

#[test]
fn a_damaged_history_is_told_and_nothing_is_pruned_by_it() {
    let stack = three("keep = 1\n");
    let path = stack.path("repo/.recovery/history.jsonl");
    let whole = fs::read(&path).expect("reads");
    let other = [b"\xff\xfe{\"kind\": \xc3\x28\n", &whole[..]].concat();
    let torn_by_no_kill = [&whole[..], b"{\"schema\": 1, \"kind\": \"bac\x80"].concat();
    let text = String::from_utf8(whole.clone()).expect("text");
    let bent = text.replacen("\"errors\":0", "\"errors\":1", 1).into_bytes();
    for (bytes, line) in [(other, 1), (torn_by_no_kill, 4), (bent, 1)] {
        fs::write(&path, &bytes).expect("writes");
        for verb in ["status", "verify", "prune"] {
            stack.run(&[verb]).exits(1).says(&[
                "history.jsonl",
                &format!("in line {line}"),
                "remove these lines",
            ]);
        }
        stack.run_at(&at("04"), &["backup", "--keep", "1", "--prune"]).exits(1).says(&["history.jsonl"]);
        assert_eq!(days(&stack), ["01", "02", "03", "04"], "a line that tells of damage may be gone");
        stack.sh("drive", "rm -r 2026/03-04");
    }
    fs::write(&path, &whole).expect("writes");
    stack.run(&["status"]).ok();
    stack.run(&["prune"]).ok();
    assert_eq!(days(&stack), ["03"]);
}

/// What a kill leaves of a record is in nobody's way.
#[test]
fn a_torn_history_is_no_damage() {
    let stack = three("keep = 1\n");
    let path = stack.path("repo/.recovery/history.jsonl");
    let whole = fs::read(&path).expect("reads");
    for end in [whole.len() - 1, whole.len() - 40] {
        fs::write(&path, &whole[..end]).expect("writes");
        stack.run(&["status"]).ok();
        stack.run(&["verify"]).ok();
        stack.run(&["status"]).ok();
    }
    assert!(fs::read_to_string(&path).expect("reads").contains("\"torn\""));
}

#[test]
fn a_history_that_cannot_be_written_does_not_keep_verify_from_its_verdict() {
    let stack = three("");
    stack.sh("repo/.recovery", "chmod 444 history.jsonl");
    outcome(&mut unprivileged(&stack, &["verify"])).ok().says(&["could not take note", "warning"]);
    flip(&stack.path(&archive("03")), 300);
    outcome(&mut unprivileged(&stack, &["verify"])).exits(1).says(&["DAMAGED", "could not take note"]);
}

/// A second destination beside the drive, and the set in it.
fn two_destinations(stack: &Stack, first: &str, second: &str) {
    let (one, two) = (stack.path(first), stack.path(second));
    stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\ndestination = \"drive\"\n\
             [destination.away]\npath = \"{two}\"\nmount = \"{two}\"\n[destination.drive]\npath = \"{one}\"\n",
            one = one.display(),
            two = two.display()
        ),
    );
}

#[test]
fn a_destination_that_is_away_does_not_hide_what_another_holds() {
    let stack = Stack::new();
    fs::create_dir(stack.path("away")).expect("makes a folder");
    two_destinations(&stack, "drive", "away");
    backups(&stack, &["01"]);
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok().says(&["passed over"]);
    assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
}

#[test]
fn two_destinations_that_are_one_folder_are_refused() {
    let stack = Stack::new();
    two_destinations(&stack, "drive", "drive");
    stack.run(&["status"]).exits(3).says(&["one folder"]);
    stack.sh(".", "ln -s drive alias");
    two_destinations(&stack, "drive", "alias");
    stack.run(&["backup"]).exits(3).says(&["one folder"]);
    assert_eq!(stack.files("drive"), [""; 0]);
}

#[test]
fn a_backup_that_goes_over_the_quota_is_complete_and_an_error() {
    let stack = Stack::new();
    stack.configure("quota = \"10 B\"\n");
    stack.run_at(&at("01"), &["backup"]).exits(1).says(&["quota"]);
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(stack.listing("repo/.codex-api"), stack.listing("back/.codex-api"));
}

#[test]
fn a_bundle_of_local_edits_evicts_none_of_a_commit() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.commit("settings", "2026-03-01T09:00:00Z");
    stack.run(&["snapshot"]).ok();
    stack.file("repo/server.js", "console.log('edited')\n");
    for second in ["01", "02", "03"] {
        let now = format!("2026-03-10T13:00:{second}Z");
        stack.run_at(&now, &["snapshot", "--allow-dirty", "--prune", "--keep", "1"]).ok();
    }
    let left = tarballs(&stack);
    let (dirty, clean): (Vec<_>, Vec<_>) = left.iter().partition(|name| name.contains("-dirty"));
    assert_eq!((dirty.len(), clean.len()), (1, 1), "{left:?}");
    let later = "2026-03-10T14:00:00Z";
    let status = stack.run_at(later, &["status", "--json"]).json();
    assert_eq!(status["releases"].as_array().map(Vec::len), Some(2), "{status}");
    let shown = stack.run_at(later, &["status"]);
    let line = shown.stdout.lines().find(|line| line.starts_with("release")).expect("a line");
    assert!(!line.contains("dirty"), "{line}");
    let drill = stack.run_at(later, &["restore-drill", "--json"]).ok().json();
    assert!(drill["artifacts"].to_string().contains(clean[0].as_str()), "{drill}");
    assert!(!drill["artifacts"].to_string().contains("dirty"), "{drill}");
    stack.run(&["snapshot", "--allow-dirty", "--rev", "HEAD"]).exits(2);
}

#[test]
fn a_link_that_took_the_place_of_a_tracked_folder_is_not_followed() {
    let stack = Stack::new();
    stack.file("repo/lib/f", "tracked\n");
    stack.commit("lib", "2026-03-02T09:00:00Z");
    stack.file("outside/f", "secret\n");
    stack.sh("repo", "rm -r lib; ln -s ../outside lib");
    stack.run(&["snapshot", "--allow-dirty"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    let listed = stack.sh(".", &format!("tar -tzf '{}'", tarball.display()));
    assert!(!listed.contains("lib/f"), "{listed}");
    let text = stack.sh(".", &format!("tar -xOzf '{}'", tarball.display()));
    assert!(!text.contains("secret"), "{listed}");
}

#[test]
fn lost_sums_of_the_bundles_are_written_anew() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    let sums: PathBuf = stack.path("repo/releases/SHA256SUMS");
    let before = fs::read_to_string(&sums).expect("reads");
    fs::remove_file(&sums).expect("removes");
    let said = stack.run(&["snapshot", "--json"]).ok().json();
    assert_eq!(said["status"], "unchanged", "{said}");
    assert_eq!(fs::read_to_string(&sums).expect("written anew"), before);
    stack.run(&["verify"]).ok();
}

#[test]
fn the_record_of_a_drill_is_complete_when_the_run_has_ended() {
    let stack = three("");
    stack.run(&["restore-drill"]).ok();
    let record = fs::read(stack.one("repo/docs/drills", ".json")).expect("reads");
    let record: Value = serde_json::from_slice(&record).expect("a whole document");
    assert_eq!(record["result"], "verified");
    let names =
        [stack.files("repo/docs/drills"), stack.files("drive"), stack.files("repo/.recovery")].concat();
    assert!(!names.iter().any(|name| name.contains("-new")), "{names:?}");
}

/// What `--adopt` and `--forget-lost` would lead to is what they lead to, and a dry run takes no note of it.
#[test]
fn a_dry_run_of_taking_over_tells_what_the_real_one_does() {
    let stack = Stack::configured();
    for day in 1..4 {
        stack.run_at(&format!("2026-03-0{day}T10:00:00Z"), &["backup"]).ok();
    }
    stack.sh("repo", "rm .recovery/history.jsonl");
    stack.run(&["backup"]).ok();
    let args = ["prune", "--adopt", "--keep", "1", "--json"];
    let history = stack.sh("repo", "cat .recovery/history.jsonl");
    let dry = stack.run(&[&args[..], &["--dry-run"]].concat()).ok().json();
    assert_eq!(stack.sh("repo", "cat .recovery/history.jsonl"), history);
    let real = stack.run(&args).ok().json();
    assert_eq!((&dry["items"], &dry["freed_bytes"]), (&real["items"], &real["freed_bytes"]));
    assert_eq!(stack.files("drive").len(), 12, "{real}");
    stack.run(&["prune", "--keep", "1"]).ok();
    assert_eq!(stack.files("drive").len(), 3);
    stack.sh("drive", "rm -r 2026");
    stack.run(&["prune", "--forget-lost", "--dry-run"]).ok();
    stack.run(&["prune"]).exits(1);
    stack.run(&["prune", "--forget-lost"]).ok();
    stack.run(&["prune"]).ok();
}

/// What `verify` has found is told again by `restore`, whose blocks may be whole all the same.
#[test]
fn what_is_on_record_against_an_archive_is_told_when_it_is_restored() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let marker = stack.one("drive", ".sha256");
    let text = fs::read_to_string(&marker).expect("reads");
    fs::write(&marker, text.replacen(|c: char| c.is_ascii_hexdigit(), "0", 1).replacen("00", "11", 1))
        .expect("writes");
    stack.run(&["verify"]).exits(1);
    let to = stack.path("back").display().to_string();
    stack.run(&["restore", "codex-api", "--to", &to]).says(&["was found damaged by `verify`", "--at"]);
    assert!(stack.path("back/.codex-api/config.toml").exists());
}
