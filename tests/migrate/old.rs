//! Backups and bundles that the shell tool before this one has made, by its own lines: listed, verified, restored, and by no
//! rule removed beside ours.
use crate::support::{Stack, flip};
use serde_json::Value;
use std::fs;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "a strong passphrase");

/// What the backup script did on this day, from `repo/.codex-api` into `drive`; `ending` is `.gpg` for encrypted.
pub(crate) fn shell_backup(stack: &Stack, stamp: &str, ending: &str) -> String {
    let name = format!("codex-api-{stamp}.tar.gz");
    let drive = stack.path("drive").display().to_string();
    let day = &stamp[..10];
    stack.sh(
        "repo",
        &format!(
            r#"export CODEX_BACKUP_GPG_KEY='{}'; d='{drive}/{day}'; mkdir -p "$d"
            tar -C "$PWD" -czf ../made.tar.gz .codex-api
            if [ '{ending}' ]; then
                printf '%s' "$CODEX_BACKUP_GPG_KEY" | gpg --batch --yes --pinentry-mode loopback --passphrase-fd 0 \
                    --symmetric --cipher-algo AES256 --output ../made.gpg ../made.tar.gz
                mv ../made.gpg "$d/{name}.gpg"
            else mv ../made.tar.gz "$d/{name}"; fi
            sha256sum "$d/{name}{ending}" > "$d/{name}{ending}.sha256""#,
            KEY.1
        ),
    );
    format!("{drive}/{day}/{name}{ending}")
}

/// What the snapshot script did at this time: the working tree, and a lock. (It also took what git ignores.)
pub(crate) fn shell_bundle(stack: &Stack, version: &str, stamp: &str) -> String {
    shell_bundle_of(stack, "acme-api", version, stamp)
}

/// The same of a release of this name.
pub(crate) fn shell_bundle_of(stack: &Stack, release: &str, version: &str, stamp: &str) -> String {
    let stem = format!("{release}-v{version}-{stamp}");
    stack.sh(
        "repo",
        &format!(
            r#"mkdir -p releases ../staged; rsync -a --delete --exclude=.git --exclude=releases ./ ../staged/
            tar -C ../staged -czf releases/{stem}.tar.gz .
            cat > releases/{stem}.lock.json <<END
{{
  "version": "v{version}",
  "env": "prod",
  "git_sha": "$(git rev-parse --short=12 HEAD)",
  "created_at": "{stamp}",
  "tarball": "{stem}.tar.gz",
  "tarball_sha256": "$(sha256sum < releases/{stem}.tar.gz | cut -d' ' -f1)",
  "docker_tag": null,
  "release_url": null,
  "keep": 3,
  "notes": {{"output_dir": "releases", "dry_run": false, "prune": true}}
}}
END"#
        ),
    );
    format!("releases/{stem}.lock.json")
}

/// A set with one backup of ours and three of the shell tool's, one of them encrypted.
fn mixed() -> (Stack, [String; 3]) {
    let stack = Stack::configured();
    let old = [
        shell_backup(&stack, "2025-11-01T030000Z", ""),
        shell_backup(&stack, "2025-11-02T030000Z", ".gpg"),
        shell_backup(&stack, "2025-11-03T030000Z", ""),
    ];
    (stack, old)
}

fn found(document: &Value, word: &str) -> bool {
    document["findings"].to_string().contains(word)
}

#[test]
fn old_backups_are_listed_with_what_they_take() {
    let (stack, old) = mixed();
    stack.run(&["backup"]).ok();
    let status = stack.run(&["status", "--json"]).ok().json();
    let listed: Vec<&str> = status["shell_backups"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["archive"].as_str().expect("a path"))
        .collect();
    assert_eq!(listed, old);
    let ours = status["data"][0]["bytes"].as_u64().expect("a number");
    assert!(status["destinations"][0]["used_bytes"].as_u64().expect("a number") > ours);
    assert_eq!(status["data"][0]["count"], 1);
    stack.run(&["status"]).ok().says(&["shell", "3 kept", "of the shell tool"]);
    // One that was stopped before its end has no checksum.
    fs::remove_file(format!("{}.sha256", old[0])).expect("removes");
    let status = stack.run(&["status", "--json"]).ok().json();
    assert!(found(&status, "may have been stopped before its end"), "{status}");
}

#[test]
fn old_backups_are_verified_wherever_they_lie_by_now() {
    let (stack, old) = mixed();
    let sound = |document: &Value| {
        let artifacts = document["artifacts"].as_array().expect("a list").clone();
        artifacts
            .iter()
            .map(|one| (one["sound"] == true, one["entries"].as_u64().expect("a number")))
            .collect::<Vec<_>>()
    };
    let all = stack.run_with(&[KEY], &["verify", "--json"]).ok().json();
    assert_eq!(sound(&all), [(true, 9), (true, 9), (true, 9)], "{all}");
    // Without the key the encrypted one is compared with its digest, and that is said.
    let all = stack.run(&["verify", "--json"]).ok().json();
    assert_eq!(sound(&all), [(true, 9), (true, 0), (true, 9)], "{all}");
    assert!(found(&all, "compared with its digest, and not read through"), "{all}");
    // The drive is mounted elsewhere: the path in the checksum leads nowhere, and is not followed.
    stack.sh(".", "mv drive other; sed -i 's|/drive\"|/other\"|' repo/recovery.toml");
    assert_eq!(sound(&stack.run_with(&[KEY], &["verify", "--json"]).ok().json()).len(), 3);
    let moved = |path: &String| path.replace("/drive/", "/other/");
    for (path, at) in [(&old[0], 200), (&old[1], 300)] {
        flip(moved(path).as_ref(), at);
        stack.run(&["verify", &moved(path)]).exits(1).says(&["SHA-256"]);
        flip(moved(path).as_ref(), at);
    }
    stack.run_with(&[KEY], &["verify", &moved(&old[1])]).ok();
    stack.run_with(&[(KEY.0, "wrong")], &["verify", &moved(&old[1])]).fails();
    // What is there under the old path, and is something else, is not looked at either.
    stack.sh(
        ".",
        "mkdir -p drive/2025-11-01; echo other > drive/2025-11-01/codex-api-2025-11-01T030000Z.tar.gz",
    );
    stack.run(&["verify", &moved(&old[0])]).ok();
    let latest = stack.run(&["verify", "--latest", "--json"]).ok().json();
    assert!(latest["artifacts"].to_string().contains("2025-11-03") && latest["checked"] == 1, "{latest}");
}

#[test]
fn old_backups_are_restored_by_file_and_by_set_where_nothing_newer_is_there() {
    let (stack, old) = mixed();
    let same = |folder: &str| stack.sh(".", &format!("diff -r repo/.codex-api {folder}/.codex-api"));
    stack.run(&["restore", &old[0], "--to", "../by-file"]).ok();
    same("by-file");
    stack.run_with(&[KEY], &["restore", &old[1], "--to", "../by-key"]).ok();
    same("by-key");
    stack
        .run(&["restore", "codex-api", "--to", "../by-set"])
        .ok()
        .says(&["2025-11-03", "made by the shell tool"]);
    same("by-set");
    let at = ["restore", "codex-api", "--at", "2025-11-02T04:00:00Z", "--to", "../by-time"];
    stack.run_with(&[KEY], &at).ok().says(&["2025-11-02"]);
    // The recipe checks the file beside the checksum, and not the one whose path is in it.
    stack.sh(".", "mv drive other; sed -i 's|/drive\"|/other\"|' repo/recovery.toml");
    let recipe = stack.run(&["restore", "codex-api", "--explain", "--to", "../by-hand"]).ok();
    stack.sh("repo", &recipe.stdout);
    same("by-hand");
    // A backup of ours is newer, and on record.
    stack.run(&["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../ours"]).ok().says(&["2026-03-10"]);
    // A destination with a passphrase of its own: the old ones keep theirs.
    stack.sh("repo", "echo 'passphrase-env = \"MY_KEY\"' >> recovery.toml");
    let at = ["restore", "codex-api", "--at", "2025-11-02T04:00:00Z", "--to", "../again"];
    stack.run_with(&[KEY, ("MY_KEY", "another")], &at).ok();
    same("again");
}

/// Nothing says that it is whole: `restore` takes an older one, and says so.
#[test]
fn an_old_backup_without_a_checksum_is_passed_over_with_a_word() {
    let (stack, old) = mixed();
    fs::remove_file(format!("{}.sha256", old[2])).expect("removes");
    let said = stack.run_with(&[KEY], &["restore", "codex-api", "--to", "../older"]).ok();
    let said = said.says(&["2025-11-02", &format!("{} is newer, and is passed over", old[2])]);
    assert!(!said.shown().contains("nothing newer"), "{}", said.shown());
    let at =
        |time: &str, to: &str| stack.run_with(&[KEY], &["restore", "codex-api", "--at", time, "--to", to]);
    at("2025-11-04", "../at").ok().says(&[&format!("{} is newer, and is passed over", old[2])]);
    let said = at("2025-11-02", "../before").ok();
    assert!(!said.shown().contains("passed over"), "{}", said.shown());
    for path in &old[..2] {
        fs::remove_file(format!("{path}.sha256")).expect("removes");
    }
    stack.run(&["restore", "codex-api", "--to", "../none"]).exits(3).says(&[&old[2], "by its file"]);
    stack.run(&["restore", &old[2], "--to", "../by-file"]).ok();
}

#[test]
fn old_backups_are_pruned_by_no_rule_and_take_no_place() {
    let (stack, old) = mixed();
    for day in ["08", "09", "10"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    let planned = stack.run(&["prune", "--keep", "2", "--adopt", "--dry-run", "--json"]).ok().json();
    let kept = |document: &Value| {
        let items = document["items"].as_array().expect("items").clone();
        let shell =
            items.iter().filter(|item| item["path"].as_str().is_some_and(|path| path.contains("/2025-11-")));
        shell
            .filter(|item| item["decision"] == "keep" && item["reasons"].to_string().contains("never pruned"))
            .count()
    };
    assert_eq!(kept(&planned), 3, "{planned}");
    assert_eq!(
        stack.run(&["prune", "--keep", "2", "--adopt", "--json"]).ok().json()["items"],
        planned["items"]
    );
    stack.run_at("2026-03-11T12:00:00Z", &["backup", "--keep", "1", "--prune"]).ok();
    assert!(
        old.iter().all(|path| fs::metadata(path).is_ok() && fs::metadata(format!("{path}.sha256")).is_ok())
    );
    let ours = stack.files("drive/2026").into_iter().filter(|name| name.ends_with(".tar.gz")).count();
    assert_eq!(ours, 1);
}

/// The bundles of the shell tool: listed, verified, never rewritten; by count among themselves, where they have a date.
#[test]
fn old_bundles_are_listed_verified_and_counted_among_themselves() {
    let stack = Stack::new();
    let locks: Vec<String> = ["2025-11-01T101500Z", "2025-11-02T101500Z", "2025-11-03T101500Z"]
        .iter()
        .enumerate()
        .map(|(number, stamp)| shell_bundle(&stack, &format!("1.0.{number}"), stamp))
        .collect();
    let undated = "releases/acme-api-v0.9.0-last-spring.lock.json";
    stack.file(
        &format!("repo/{undated}"),
        r#"{"version": "v0.9.0", "created_at": "last-spring", "tarball": null}"#,
    );
    let images = "releases/stack-images-2025-09-12.lock.json";
    let text = r#"{"_note": "x", "created_at": "2025-09-12T23-57-31Z", "images": [{"env": "prod", "image_id": "sha256:00"}, {"env": "dev"}]}"#;
    stack.file(&format!("repo/{images}"), text);
    let read = |lock: &str| fs::read_to_string(stack.path("repo").join(lock)).ok();
    let before: Vec<Option<String>> = locks.iter().map(|lock| read(lock)).collect();
    let status = stack.run(&["status", "--json"]).json();
    for words in ["v1.0.0", "v1.0.1", "v1.0.2", "v0.9.0"] {
        assert!(status["releases"].to_string().contains(words), "no {words} in {status}");
    }
    assert!(found(&status, "a lock of image snapshots (prod, dev)"), "{status}");
    let verified = stack.run(&["verify", "--json"]).ok().json();
    assert_eq!(verified["checked"], 3, "{verified}");
    stack.run(&["restore", &locks[0].replace(".lock.json", ".tar.gz"), "--to", "../old"]).ok();
    assert!(stack.path("old/server.js").is_file());
    // Two of ours beside them: one goes of each kind, and none for the other.
    for version in ["2", "3"] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        stack.run(&["snapshot", "--version", version]).ok();
    }
    stack.run(&["snapshot", "--version", "3", "--keep", "2", "--prune"]).ok();
    let there: Vec<bool> = locks.iter().map(|lock| read(lock).is_some()).collect();
    assert_eq!(there, [false, true, true]);
    assert_eq!(locks.iter().map(|lock| read(lock)).collect::<Vec<_>>()[1..], before[1..], "never rewritten");
    assert_eq!(stack.files("repo/releases").iter().filter(|name| name.starts_with("acme-api-v2")).count(), 3);
    assert!(read(undated).is_some() && read(images).as_deref() == Some(text));
    flip(&stack.path("repo").join(locks[1].replace(".lock.json", ".tar.gz")), 100);
    stack.run(&["verify"]).exits(1).says(&["v1.0.1"]);
}
