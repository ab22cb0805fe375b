//! `status` says whether recovery is possible now, and changes nothing; nor does any dry run. `init` writes a file that works.
mod told;

use super::support::{NOW, Outcome, Stack};
use serde_json::Value;
use std::fs;

const DRILL: &str = "[drill]\nspot-every = \"31d\"\n";

/// A release, a backup, and a drill that proved them.
fn sound(more: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(&format!("{more}{DRILL}"));
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.run(&["restore-drill"]).ok();
    stack
}

fn status_at(stack: &Stack, now: &str, code: i32) -> Value {
    let document = stack.run_at(now, &["status", "--json"]).exits(code).json();
    assert_eq!(document["status"], if code == 0 { "ok" } else { "findings" });
    stack.run_at(now, &["status"]).exits(code);
    document
}

/// The only error is about this.
#[track_caller]
fn one_error(document: &Value, part: &str) {
    let findings = document["findings"].as_array().expect("findings").iter();
    let errors: Vec<String> =
        findings.filter(|finding| finding["severity"] == "error").map(Value::to_string).collect();
    assert_eq!(errors.len(), 1, "{document}");
    assert!(errors[0].contains(part), "no {part:?} in {}", errors[0]);
}

#[test]
fn all_is_fine_when_release_data_and_drill_are() {
    let stack = sound("");
    let document = status_at(&stack, NOW, 0);
    assert_eq!(document["findings"].as_array().map(Vec::len), Some(0), "{document}");
    let release = &document["releases"][0];
    assert_eq!(
        (&release["version"], &release["created_at"]),
        (&"v1.4.2".into(), &"2026-03-01T08:30:00Z".into())
    );
    let data = &document["data"][0];
    assert_eq!(
        (&data["set"], &data["count"], &data["verified"]),
        (&"codex-api".into(), &1.into(), &true.into())
    );
    assert_eq!(data["latest"].as_str(), stack.one("drive", ".tar.gz").to_str());
    assert_eq!(document["drills"][0]["result"], "verified");
    let drive = &document["destinations"][0];
    assert_eq!((&drive["name"], &drive["available"]), (&"drive".into(), &true.into()));
    let sizes = stack.files("drive").into_iter();
    let used: u64 =
        sizes.map(|name| fs::metadata(stack.path("drive").join(name)).expect("there").len()).sum();
    assert_eq!(drive["used_bytes"].as_u64(), Some(used));
    let shown = stack.run(&["status"]).ok().stdout;
    for part in ["v1.4.2", "codex-api", "verified", "drive"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
}

#[test]
fn a_repository_without_a_configuration_has_a_status_too() {
    let document = status_at(&Stack::new(), NOW, 0);
    for key in ["releases", "data", "drills", "destinations", "findings"] {
        assert_eq!(document[key].as_array().map(Vec::len), Some(0), "{key}");
    }
}

#[test]
fn each_thing_that_stands_in_the_way_of_recovery_is_an_error() {
    let stack = Stack::configured();
    one_error(&status_at(&stack, NOW, 1), "has no backup");
    let stack = sound("");
    status_at(&stack, "2026-04-10T12:00:00Z", 0);
    one_error(&status_at(&stack, "2026-04-10T12:00:01Z", 1), "due every");
    let stack = Stack::new();
    stack.configure(DRILL);
    stack.run(&["backup"]).ok();
    one_error(&status_at(&stack, NOW, 1), "no drill has proven");
    let stack = Stack::new();
    stack.configure("[drill]\nrpo-target = \"2d\"\n");
    stack.run(&["backup"]).ok();
    status_at(&stack, "2026-03-12T12:00:00Z", 0);
    one_error(&status_at(&stack, "2026-03-12T12:00:01Z", 1), "RPO");
    let stack = sound("");
    stack.configure(&format!("quota = \"100 B\"\n{DRILL}"));
    one_error(&status_at(&stack, NOW, 1), "quota");
}

#[test]
fn a_backup_that_is_gone_or_lost_its_marker_is_an_error() {
    let stack = sound("");
    stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
    let folder = stack.path("drive/2026/03-10");
    let marker = folder.join("codex-api-2026-03-10T120000Z.tar.gz.sha256");
    let text = fs::read(&marker).expect("reads");
    fs::remove_file(&marker).expect("removes");
    one_error(&status_at(&stack, "2026-03-11T12:00:00Z", 1), "2026-03-10T120000Z");
    fs::write(&marker, text).expect("writes");
    status_at(&stack, "2026-03-11T12:00:00Z", 0);
    fs::remove_file(folder.join("codex-api-2026-03-10T120000Z.tar.gz")).expect("removes");
    let document = status_at(&stack, "2026-03-11T12:00:00Z", 1);
    assert!(document["findings"].to_string().contains("2026-03-10T120000Z"), "{document}");
}

#[test]
fn what_never_completed_is_a_warning() {
    let stack = sound("");
    stack.file("drive/2026/03-09/codex-api-2026-03-09T120000Z.tar.gz", "begun");
    let document = status_at(&stack, NOW, 0);
    let finding = &document["findings"][0];
    assert_eq!(finding["severity"], "warning", "{document}");
    assert!(finding["path"].as_str().is_some_and(|path| path.contains("2026-03-09")), "{document}");
    assert_eq!(document["data"][0]["count"], 1, "and no backup");
}

#[test]
fn a_drive_that_is_away_is_told_and_the_rest_is_shown() {
    let stack = sound("");
    stack.configure(&format!("mount = \"{}\"\n", stack.path("drive").display()));
    let document = status_at(&stack, NOW, 1);
    one_error(&document, "mount");
    assert_eq!(document["destinations"][0]["available"], false);
    assert_eq!(document["releases"].as_array().map(Vec::len), Some(1));
}

/// Every verb that promises to write nothing, in a stack that has never been used and in one that has.
#[test]
fn status_and_every_dry_run_write_nothing() {
    let verbs: [&[&str]; 13] = [
        &["doctor"],
        &["completions", "bash"],
        &["schedule", "cron"],
        &["schedule", "systemd"],
        &["status"],
        &["status", "--json"],
        &["snapshot", "--dry-run", "--prune", "--keep", "1"],
        &["snapshot", "--dry-run", "--allow-dirty"],
        &["backup", "--dry-run", "--prune", "--keep", "1", "--suffix", "x"],
        &["prune", "--dry-run", "--keep", "1"],
        &["restore-drill", "--dry-run"],
        &["restore-drill", "history"],
        &["init", "--dry-run"],
    ];
    for stack in [Stack::configured(), sound("")] {
        // A file that only looks changed: git would note in its index that it is not.
        stack.sh("repo", "touch -d '2026-03-09T00:00:00Z' server.js");
        // The folder of temporary files lies apart: git gets one of its own there, which leaves nothing behind.
        fs::create_dir(stack.path("tmp")).expect("makes a folder");
        let tmp = stack.path("tmp").display().to_string();
        let listing = || {
            stack
                .listing(".")
                .lines()
                .filter(|line| !line.starts_with("tmp d "))
                .collect::<Vec<_>>()
                .join("\n")
        };
        for args in verbs {
            let before = listing();
            let said = stack.run_with(&[("TMPDIR", &tmp)], args);
            assert!(listing() == before, "{args:?}: {}", said.shown());
            assert_eq!(stack.files("tmp"), [""; 0], "{args:?}");
            assert!(said.code < 2, "{}", said.shown());
        }
    }
    let stack = sound("");
    let before = stack.listing(".");
    stack.run(&["restore", "codex-api", "--explain"]).ok();
    assert_eq!(stack.listing("."), before);
}

/// What `prune` may remove is the user's word.
#[test]
fn init_sets_no_rule_by_which_anything_is_removed() {
    let text = Stack::new().run(&["init", "--dry-run"]).ok().stdout;
    assert!(text.contains("# keep = 3") && !text.lines().any(|line| line.starts_with("keep")), "{text}");
}

#[test]
fn init_writes_nothing_that_a_bare_repository_would_not_read() {
    let stack = Stack::new();
    stack.sh(".", "git clone -q --bare repo bare.git");
    let before = stack.world("bare.git");
    stack.run(&["-C", "../bare.git", "init"]).exits(3).says(&["is a bare repository", "in a clone"]);
    assert_eq!(stack.world("bare.git"), before);
}

#[test]
fn init_detects_name_version_and_data_and_writes_a_file_that_loads() {
    let stack = Stack::new();
    let planned = stack.run(&["init", "--dry-run", "--json"]).ok().json();
    assert_eq!((&planned["name"], &planned["version_from"]), (&"acme-api".into(), &"package.json".into()));
    assert_eq!(
        (&planned["data"], &planned["status"]),
        (&serde_json::json!([".codex-api"]), &"planned".into())
    );
    assert!(!stack.path("repo/recovery.toml").exists());
    stack.run(&["init"]).ok().says(&["recovery.toml", "next"]);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("written");
    assert_eq!(planned["text"], text);
    assert!(text.contains(".codex-api") && text.lines().any(|line| line.starts_with('#')), "{text}");
    stack.run(&["snapshot", "--dry-run"]).ok().says(&["acme-api-v1.4.2"]);
    let crab = Stack::bare();
    crab.file("repo/Cargo.toml", "[package]\nname = \"crab\"\nversion = \"0.3.0\"\nedition = \"2024\"\n");
    crab.file("repo/src/lib.rs", "");
    let planned = crab.run(&["init", "--dry-run", "--json"]).ok().json();
    assert_eq!((&planned["name"], &planned["version_from"]), (&"crab".into(), &"Cargo.toml".into()));
    let plain = Stack::bare();
    let planned = plain.run(&["init", "--json"]).ok().json();
    assert_eq!((&planned["name"], &planned["version_from"]), (&"repo".into(), &"git".into()));
    assert_eq!(planned["data"], serde_json::json!([]));
}

#[test]
fn init_never_replaces_a_file_that_it_was_not_told_to() {
    let stack = Stack::new();
    stack.file("repo/recovery.toml", "# mine\n");
    let before = stack.listing("repo");
    stack.run(&["init"]).exits(3).says(&["recovery.toml", "there already", "--force"]);
    assert_eq!(stack.run(&["init", "--json"]).exits(3).json()["status"], "error");
    stack.run(&["init", "--dry-run"]).ok();
    stack.run(&["init", "--force", "--dry-run"]).ok();
    assert_eq!(stack.listing("repo"), before);
    stack.run(&["init", "--force"]).ok();
    assert!(!fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads").contains("# mine"));
    stack.run(&["init", "--config", "other.toml"]).ok();
    assert!(stack.path("repo/other.toml").exists());
}

/// Makes the file of `init` as someone would who has a drive: the comments taken off the sets and the destination.
fn adopt(stack: &Stack) -> Outcome {
    let said = stack.run(&["init"]);
    if said.code != 0 {
        return said;
    }
    let drive = stack.path("drive").display().to_string();
    let script = format!(
        "sed -E -i 's/^# (\\[data|\\[destination|source|destination =|path|keep =)/\\1/; /^(# )?mount =/d; \
         s|^path = .*|path = \"{drive}\"|' recovery.toml"
    );
    stack.sh("repo", &script);
    stack.run(&["backup", "--json"])
}

#[test]
fn the_file_of_init_backs_up_once_its_drive_is_named() {
    let stack = Stack::new();
    let document = adopt(&stack).ok().json();
    assert_eq!(document["sets"][0]["set"], "codex-api");
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("repo", "diff -r .codex-api ../back/.codex-api");
}

/// Whatever the folders are called, the file that `init` writes loads, and each folder has a set of its own.
#[test]
fn the_file_of_init_loads_whatever_the_folders_are_called() {
    let mut faults = Vec::new();
    let rows: [&[&str]; 6] =
        [&[".my data"], &[".data", "data"], &[".codex", ".codex-api"], &[".a+b"], &[".ünï"], &[".#x"]];
    for folders in rows {
        let stack = Stack::bare();
        stack.file("repo/package.json", r#"{"name": "x", "version": "1.0.0"}"#);
        for folder in folders {
            stack.file(&format!("repo/{folder}/file"), "x");
        }
        let said = adopt(&stack);
        if said.code != 0 || said.json()["sets"].as_array().map(Vec::len) != Some(folders.len()) {
            faults.push(format!("{folders:?}: exit {}: {}{}", said.code, said.stdout, said.stderr));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Two services may keep their bundles in one folder: what cannot be read there may be anybody's.
#[test]
fn bundles_of_another_release_are_not_counted() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    stack.file("repo/server.js", "later\n");
    stack.commit("later", "2026-03-05T08:30:00Z");
    stack.file("other.toml", "[release]\nname = \"other\"\n");
    stack.run(&["--config", "../other.toml", "snapshot"]).ok();
    stack.one("repo/releases", "other-v1.4.2-2026-03-05T083000Z.lock.json");
    let document = status_at(&stack, NOW, 0);
    let releases = document["releases"].as_array().expect("releases");
    assert_eq!(releases.len(), 1, "{document}");
    assert_eq!(releases[0]["created_at"], "2026-03-01T08:30:00Z");
    stack.run(&["status"]).ok().says(&["1 kept"]);
    stack.file("repo/releases/other-v2.0.0-2026-03-06T083000Z.lock.json", "{");
    one_error(&status_at(&stack, NOW, 1), "other-v2.0.0");
}

#[test]
fn what_was_made_with_a_suffix_is_listed_beside_its_set() {
    let stack = sound("");
    stack.run(&["backup", "--suffix", "nightly"]).ok();
    let document = stack.run(&["status", "--json"]).json();
    let sets: Vec<&str> =
        document["data"].as_array().expect("sets").iter().filter_map(|set| set["set"].as_str()).collect();
    assert_eq!(sets, ["codex-api", "codex-api-nightly"]);
}

/// Two clones with one name for a set and one drive: the other's backup is the newest, and that is told.
#[test]
fn a_backup_of_somebody_else_under_our_name_is_told() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let quiet = stack.run(&["status"]);
    assert!(!quiet.stderr.contains("not made by this repository"), "{}", quiet.stderr);
    stack.sh(".", "mv repo/.recovery memory");
    stack.run_at("2026-03-10T13:00:00Z", &["backup"]).ok();
    stack.sh(".", "rm -r repo/.recovery; mv memory repo/.recovery");
    stack.run_at("2026-03-10T13:00:00Z", &["status"]).says(&[
        "T130000Z.tar.gz",
        "was not made by this repository",
        "prune --adopt",
    ]);
}

/// The drive's path was changed, or the repository moved: the history goes by whole paths.
#[test]
fn backups_that_no_record_names_are_one_warning_until_they_are_taken_over() {
    let stack = Stack::configured();
    for day in ["01", "02", "03"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    stack.sh(".", "mv drive other");
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("/drive\"", "/other\"")).expect("writes");
    let document = stack.run(&["status", "--json"]).ok().json();
    let told = document["findings"].as_array().expect("findings");
    let what = "holds 3 backups of codex-api that are not on record, and are never pruned";
    assert!(told.len() == 1 && told[0]["what"] == what && told[0]["severity"] == "warning", "{document}");
    let said = stack.run(&["backup", "-q", "--prune"]).ok();
    assert!(
        said.stderr.matches("not on record").count() == 1 && said.stderr.contains(what),
        "{}",
        said.shown()
    );
    stack.run(&["prune", "--adopt", "--keep", "2"]).ok();
    stack.run(&["prune", "--keep", "2"]).ok();
    assert_eq!(stack.files("other").iter().filter(|name| name.ends_with(".tar.gz")).count(), 2);
    let said = stack.run(&["status"]).ok();
    assert!(!said.stderr.contains("not on record"), "{}", said.shown());
}

/// Until it was done again, and by the order of the records: a clock may have been set back.
#[test]
fn a_drill_that_was_not_verified_is_an_error_and_due_until_one_is() {
    let stack = Stack::new();
    stack.configure(DRILL);
    stack.run_at("2026-03-10T10:00:00Z", &["backup"]).ok();
    stack.run(&["restore-drill"]).ok();
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("\"config.toml\"", "\"no.toml\"")).expect("writes");
    let earlier = "2026-03-10T11:00:00Z";
    stack.run_at(earlier, &["restore-drill"]).exits(1);
    one_error(&status_at(&stack, NOW, 1), "drill-2026-03-10T110000Z-spot, is not_verified");
    stack.run(&["restore-drill", "--if-due"]).exits(1);
    fs::write(&path, &text).expect("writes");
    let said = stack.run_at(earlier, &["restore-drill", "--if-due", "--json"]).ok().json();
    assert_eq!(said["result"], "verified", "{said}");
    status_at(&stack, NOW, 0);
    let said = stack.run(&["restore-drill", "--if-due", "--json"]).ok().json();
    assert_eq!(said["result"], "not_due", "{said}");
    // The list of all drills is as it was written.
    stack.run(&["verify"]).ok();
    stack.sh("repo/docs/drills", "sed -i 's/| not_verified |/| verified |/' restore-checklist.md");
    stack.run(&["verify"]).exits(1).says(&["restore-checklist.md", "110000Z", "put in its place the line"]);
}

#[test]
fn a_bundle_that_is_known_to_be_damaged_is_an_error_until_it_is_whole() {
    let stack = sound("");
    let tarball = stack.one("repo/releases", ".tar.gz");
    let whole = fs::read(&tarball).expect("reads");
    let mut broken = whole.clone();
    broken[200] ^= 1;
    fs::write(&tarball, broken).expect("writes");
    stack.run(&["verify"]).exits(1);
    one_error(&status_at(&stack, NOW, 1), "is damaged");
    fs::write(&tarball, whole).expect("writes");
    stack.run(&["verify"]).ok();
    status_at(&stack, NOW, 0);
}

#[test]
fn init_writes_of_images_where_there_is_a_compose_file() {
    let stack = Stack::new();
    let text = || stack.run(&["init", "--dry-run"]).ok().stdout;
    assert!(!text().contains("[docker]"));
    stack.file("repo/compose.yaml", "services: {}\n");
    let with = text();
    let part = with.split("\n# [docker]").nth(1).expect("it is there");
    assert!(part.contains("compose-files = [\"compose.yaml\"]"), "{part}");
    assert!(
        with.lines().skip_while(|line| !line.starts_with("# [docker]")).all(|line| line.starts_with('#'))
    );
    // Without its marks it is a configuration.
    let lines = with.lines().skip_while(|line| !line.starts_with("# [docker]"));
    let bare: Vec<&str> = lines.filter_map(|line| line.strip_prefix("# ")).collect();
    stack.file("repo/recovery.toml", &format!("schema = 1\n{}\n", bare.join("\n")));
    stack.run(&["snapshot"]).ok();
}

/// Nobody is told that all is well where nothing is looked at.
#[test]
fn a_wrong_place_and_a_configuration_that_is_gone_are_errors() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.sh("repo", "mv recovery.toml ../gone.toml; mkdir ../elsewhere");
    stack.run(&["status"]).exits(1).says(&["has no data set any more, and backups on record"]);
    stack.run(&["-C", "../elsewhere", "status"]).exits(1).says(&["is in no git repository"]);
    let said = stack.run(&["status", "--config", "../gone.toml"]);
    assert!(said.shown().contains("recover now? yes"), "{}", said.shown());
    // What was never configured is missed by nobody.
    let stack = Stack::new();
    stack.run(&["backup", "--source", ".codex-api", "--dest", "../drive"]).ok();
    stack.run(&["status"]).ok();
    let restore = ["restore", "codex-api", "--to", "../back"];
    stack.run(&restore).exits(3).says(&["one is on record", "name its file, ", ".tar.gz"]);
}
