//! `doctor`: a stack in order has nothing wrong, and each thing that is wrong is named with what mends it.
mod foretold;

use super::docker::engine::Engine;
use super::support::{Outcome, Stack, outcome, unprivileged};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const KEY: (&str, &str) = ("BACKUP_KEY", "correct horse");
const ENCRYPTED: &str = "passphrase-env = \"BACKUP_KEY\"\n";

/// The one check of this part that is not in order.
#[track_caller]
fn wrong(said: &Outcome, part: &str, parts: &[&str]) {
    let document = said.json();
    let checks = document["checks"].as_array().expect("a list");
    let broken: Vec<_> = checks.iter().filter(|check| check["state"] == "failed").collect();
    assert!(broken.iter().any(|check| check["part"] == part), "nothing wrong with {part}: {}", said.shown());
    for check in &broken {
        assert!(check["next"].as_str().is_some_and(|next| !next.is_empty()), "nothing to do: {check}");
    }
    let text = document.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(document["status"], "findings");
}

/// A stack in which something was done, and how doctor is to find it.
#[track_caller]
fn finds(more: &str, happens: impl FnOnce(&Stack), part: &str, parts: &[&str]) {
    let stack = Stack::new();
    stack.configure(more);
    happens(&stack);
    wrong(&stack.run(&["doctor", "--json"]).exits(1), part, parts);
}

/// A PATH with these tools and no others.
fn few(stack: &Stack, tools: &[&str]) -> String {
    fs::create_dir(stack.path("few")).expect("makes");
    for tool in tools {
        let found = stack.sh(".", &format!("command -v {tool}"));
        symlink(found.trim(), stack.path("few").join(tool)).expect("links");
    }
    stack.path("few").display().to_string()
}

#[test]
fn a_stack_in_order_has_nothing_wrong_and_is_not_written_to() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let before = [stack.listing("repo"), stack.listing("drive")];
    let said = stack.run(&["doctor"]).ok();
    assert!([stack.listing("repo"), stack.listing("drive")] == before, "{}", said.shown());
    for part in ["ok  repository", "ok  tool", "ok  data", "ok  destination", "opens", "-   tool"] {
        assert!(said.stdout.contains(part), "no {part:?}: {}", said.shown());
    }
    let document = stack.run(&["doctor", "--json"]).ok().json();
    let states: Vec<&str> = document["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|check| check["state"].as_str())
        .collect();
    assert!(states.iter().all(|state| ["ok", "unneeded"].contains(state)), "{document}");
    assert_eq!(document["findings"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_was_not_begun_yet_is_a_warning() {
    let stack = Stack::new();
    stack.run(&["doctor"]).ok().says(&["recovery.toml", "cargo xtask init"]);
    stack.configure("");
    stack.run(&["doctor"]).ok().says(&["none at drive", "cargo xtask backup"]);
    stack.run(&["init", "--force"]).ok();
    stack.sh("repo", "sed -i '/^\\[data/,$d' recovery.toml");
    stack.run(&["doctor"]).ok().says(&["nothing is backed up"]);
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_and_the_rest_looked_at() {
    finds("[drill]\nspot-evry = \"31d\"\n", |_| {}, "configuration", &["spot-every", "\"git\""]);
    let bare = Stack::bare();
    wrong(&bare.run(&["doctor", "--json"]).exits(1), "repository", &["git init"]);
    fs::remove_dir_all(bare.path("repo")).expect("removes");
    fs::create_dir(bare.path("repo")).expect("makes");
    bare.sh("repo", "git init -q .");
    wrong(&bare.run(&["doctor", "--json"]).exits(1), "repository", &[]);
}

#[test]
fn data_that_is_not_there_is_told() {
    finds("", |stack| stack.sh("repo", "mv .codex-api elsewhere").clear(), "data", &[".codex-api"]);
    let lost = |stack: &Stack| stack.sh("repo", "rm .codex-api/config.toml").clear();
    finds("", lost, "data", &["has no config.toml"]);
    // What has yet to be made may be.
    let stack = Stack::new();
    stack.configure("");
    stack.sh("repo", "sed -i '/^source/a before = [\"touch .codex-api/config.toml\"]' recovery.toml");
    lost(&stack);
    stack.run(&["doctor"]).ok().says(&["has no config.toml", "`before` may mend that"]);
    stack.run(&["backup", "--dry-run"]).ok().says(&["`before` may mend that"]);
    stack.run(&["backup"]).ok();
}

/// Not as long as there is nothing in them that git would take.
#[test]
fn data_and_bundles_that_git_does_not_ignore_are_told() {
    let stack = Stack::configured();
    stack.sh("repo", "sed -i '/codex-api/d; /releases/d' .gitignore; mkdir releases; git add .gitignore");
    let said = stack.run(&["doctor"]).ok();
    let warned = |said: &Outcome| said.stdout.matches("the next `git add` takes it into a commit").count();
    assert_eq!(warned(&said), 1, "{}", said.shown());
    stack.run(&["snapshot"]).ok();
    let said = stack.run(&["doctor"]).ok().says(&["add /.codex-api/ to ", "add /releases/ to "]);
    assert_eq!(warned(&said), 2, "{}", said.shown());
    stack.sh("repo", "printf '.codex-api/*\n*.gz\n*.json\nSHA256SUMS\n' > .gitignore");
    let said = stack.run(&["doctor"]).ok();
    assert_eq!(warned(&said), 0, "what is in them is ignored: {}", said.shown());
    // What it says mends it, whatever the folder is called.
    stack.configure("[data.odd]\nsource = \"odd *[1]\"\n");
    stack.file("repo/odd *[1]/data", "x");
    let said = stack.run(&["doctor"]).ok();
    let next = said.stderr.split("add ").nth(1).and_then(|next| next.split(" to /").next());
    stack.file("repo/.gitignore", &format!(".codex-api/\nreleases/\n{}\n", next.expect("what mends it")));
    assert_eq!((warned(&said), warned(&stack.run(&["doctor"]).ok())), (1, 0), "{}", said.shown());
}

#[test]
fn a_drive_that_is_away_or_over_its_quota_is_told() {
    let stack = Stack::new();
    stack.configure(&format!("mount = \"{}\"\n", stack.path("drive").display()));
    wrong(&stack.run(&["doctor", "--json"]).exits(1), "destination", &["nothing is mounted there"]);
    let over = |stack: &Stack| drop(stack.run(&["backup"]).exits(1));
    finds("quota = \"1 kB\"\n", over, "destination", &["of 1.0 kB used", "raise `quota`"]);
}

#[test]
fn keys_that_do_not_encrypt_or_open_are_told() {
    finds(ENCRYPTED, |_| {}, "key", &["BACKUP_KEY is not set"]);
    let recipient = "recipients = [\"nobody@example.org\"]\n";
    finds(recipient, |_| {}, "key", &["nobody@example.org", "gpg --import"]);
    finds("[drill]\nsign-with = \"nobody@example.org\"\n", |_| {}, "key", &["no secret key"]);
    let stack = Stack::new();
    stack.configure(ENCRYPTED);
    stack.run_with(&[KEY], &["backup"]).ok();
    stack.run_with(&[KEY], &["doctor"]).ok().says(&["opens"]);
    let other = stack.run_with(&[(KEY.0, "battery staple")], &["doctor", "--json"]).exits(1);
    wrong(&other, "backup", &["does not decrypt"]);
}

#[test]
fn a_tool_that_is_needed_and_missing_is_told_and_one_that_is_not_needed_is_not() {
    let stack = Stack::new();
    stack.configure(ENCRYPTED);
    let path = few(&stack, &["git", "sh"]);
    let said = stack.run_with(&[("PATH", &path), KEY], &["doctor", "--json"]).exits(1);
    wrong(&said, "tool", &["gnupg"]);
    let document = said.json();
    let rsync = document["checks"].as_array().expect("a list").iter().find(|check| check["name"] == "rsync");
    assert_eq!(rsync.expect("a row")["state"], "unneeded");
}

#[test]
fn what_a_bundle_asks_for_is_needed_too() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.run(&["publish", "--url", "https://github.com/acme/api/releases/tag/v1.4.2"]).ok();
    let path = few(&stack, &["git", "sh"]);
    wrong(
        &stack.run_with(&[("PATH", &path)], &["doctor", "--json"]).exits(1),
        "tool",
        &["what is published", "apt-get install gh"],
    );
}

#[test]
fn a_clock_that_was_wrong_is_told() {
    let early = |stack: &Stack| drop(stack.run_at("2027-01-01T00:00:00Z", &["backup"]).ok());
    finds("", early, "backup", &["dated in the future", "set the clock"]);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    finds("[drill]\nevidence-dir = \"server.js/drills\"\n", |_| {}, "folder", &["server.js"]);
}

#[test]
fn a_full_drill_that_is_not_configured_or_open_is_told() {
    let half = "[drill]\nfull-every = \"92d\"\nstop = \"true\"\n";
    finds(half, |_| {}, "drill", &["start", "cargo xtask init --dry-run"]);
    let nowhere = "[drill]\nfull-every = \"92d\"\nstop = \"true\"\nstart = \"true\"\nsmoke = [\"true\"]\n";
    finds(nowhere, |stack| drop(stack.run(&["snapshot"]).ok()), "drill", &["deploy"]);
    let stack = Stack::new();
    stack.configure(
        "[drill]\nstop = \"true\"\nstart = \"cp .recovery/drill.json kept.json\"\nsmoke = [\"true\"]\n",
    );
    stack.run(&["restore-drill", "full", "--yes"]).ok();
    stack.sh("repo", "mv kept.json .recovery/drill.json");
    wrong(&stack.run(&["doctor", "--json"]).exits(1), "drill", &["restore-drill recover"]);
}

#[test]
fn what_a_drill_would_miss_is_told() {
    let gone = |stack: &Stack| drop(stack.sh("repo", "rm .codex-api/config.toml"));
    finds("", gone, "data", &["has no config.toml", "key-files"]);
    for key in [
        "stop = \"no-such-a x\"",
        "smoke = [\"no-such-a x\"]",
        "release-checks = [\"true\", \"no-such-a x\"]",
    ] {
        finds(&format!("[drill]\n{key}\n"), |_| {}, "command", &["no-such-a", "not on PATH"]);
    }
    finds("confirm = \"./no-such-a\"\n", |_| {}, "command", &["\"confirm\"", "./no-such-a"]);
    // Those of a bundle may come with it.
    let stack = Stack::new();
    stack.configure("[drill]\nrelease-checks = [\"./bin/none\"]\nstart = \"cd / && none\"\n");
    stack.run(&["doctor"]).ok();
}

#[test]
fn nobody_who_could_be_told_is_told() {
    finds("[notify]\nping-url-file = \"nowhere\"\n", |_| {}, "notify", &["nowhere", "check the path"]);
    let text = |stack: &Stack| stack.file("repo/ping", "not one\n");
    finds("[notify]\nping-url-file = \"ping\"\n", text, "notify", &["is no URL"]);
    finds("[notify]\non-failure = [\"no-such-mail\"]\n", |_| {}, "command", &["on-failure", "no-such-mail"]);
}

#[test]
fn docker_is_needed_where_images_are_configured() {
    let stack = Stack::new();
    stack.configure("[docker]\nimage = \"acme-api\"\n");
    let path = few(&stack, &["git", "sh"]);
    let said = stack.run_with(&[("PATH", &path)], &["doctor", "--json"]).exits(1);
    wrong(&said, "tool", &["rollback", "apt-get install docker.io", "brew install docker`"]);
}

#[test]
fn a_file_that_is_no_toml_is_told_in_a_line() {
    let stack = Stack::new();
    stack.file("repo/recovery.toml", &format!("x = {}", "[".repeat(100_000)));
    let said = stack.run(&["doctor"]).exits(1);
    assert!(said.stdout.len() < 10_000, "{} bytes", said.stdout.len());
    for bytes in [&b"# \xff\n"[..], b"\xff\xfes\0c\0"] {
        fs::write(stack.path("repo/recovery.toml"), bytes).expect("writes");
        wrong(&stack.run(&["doctor", "--json"]).exits(1), "configuration", &["is not UTF-8 text"]);
        stack.run(&["status"]).exits(3).says(&["is not UTF-8 text", "next: save it as UTF-8"]);
        stack.run(&["--config", "recovery.toml", "status"]).exits(3).says(&["is not UTF-8 text"]);
    }
}

/// What a bundle of now would be called is known before one is made.
#[test]
fn a_version_that_no_bundle_can_have_is_told() {
    let odd = |stack: &Stack| {
        stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "1.0.0 beta-2"}"#);
        stack.commit("odd", "2026-03-02T08:30:00Z");
    };
    finds("", odd, "release", &["1.0.0 beta-2", "mend it in the package file"]);
    let said = Stack::configured().run(&["doctor"]).ok();
    let line = said.stdout.lines().find(|line| line.starts_with("ok") && line.contains(" release "));
    assert!(line.is_some_and(|line| line.ends_with("acme-api         v1.4.2")), "{}", said.shown());
}

#[test]
fn data_that_is_in_commits_already_is_told() {
    let stack = Stack::configured();
    let words = "git tracks all of";
    assert!(!stack.run(&["doctor"]).ok().shown().contains(words));
    stack.sh("repo", "git add -f .codex-api");
    stack.run(&["doctor"]).ok().says(&[words, "git rm -r --cached"]);
    stack.file("repo/.codex-api/new", "1");
    assert!(!stack.run(&["doctor"]).ok().shown().contains(words), "only some of it is");
}

#[test]
fn bundles_and_backups_that_are_in_commits_already_are_told() {
    let stack = Stack::configured();
    stack.sh("repo", "sed -i 's|^path = .*|path = \"drive\"|' recovery.toml");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let told = |said: &Outcome| said.stdout.matches("git tracks files of").count();
    assert_eq!(told(&stack.run(&["doctor"]).ok()), 0);
    stack.sh("repo", "git add -f releases drive");
    let said = stack.run(&["doctor"]).ok().says(&["repo/releases` takes it out", "repo/drive` takes it out"]);
    assert_eq!(told(&said), 2, "{}", said.shown());
}

/// Doctor and a verb are of one opinion, and say the same: neither goes on.
#[track_caller]
fn both_refuse(stack: &Stack, part: &str, verb: &[&str], code: i32, words: &str) {
    wrong(&stack.run(&["doctor", "--json"]).exits(1), part, &[words]);
    stack.run(verb).exits(code).says(&[words]);
}

/// The same: both go on, and say these words.
#[track_caller]
fn neither_refuses(stack: &Stack, verb: &[&str], words: &[&str]) {
    stack.run(&["doctor"]).ok().says(words);
    stack.run(verb).ok().says(words);
}

/// Gives the first data set of a configured stack more keys.
fn set_keys(stack: &Stack, keys: &str) {
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(path, text.replacen("key-files", &format!("{keys}\nkey-files"), 1)).expect("writes");
}

const FULL: &str = "[drill]\nfull-every = \"92d\"\nstop = \"true\"\nstart = \"true\"\nsmoke = [\"true\"]\n";

#[test]
fn what_a_full_drill_would_refuse_doctor_refuses() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let full = ["restore-drill", "full", "--dry-run"];
    let in_memory = stack.sh("repo", "stat -f -c %T .").trim() == "tmpfs";
    for (folders, words) in [
        ("deploy-dir = '../deployed'\naside-dir = '../nowhere'", "nowhere"),
        ("deploy-dir = '../deployed'\naside-dir = '/dev/shm'", "would not outlive a loss of power"),
        ("deploy-dir = '../no/such/app'", "no/such"),
        ("deploy-dir = '.'", "lie in one another"),
        ("deploy-dir = '/proc'", "mount point"),
    ] {
        stack.configure(&format!("{FULL}{folders}\n"));
        match in_memory && folders.contains("/dev/shm") {
            true => neither_refuses(&stack, &full, &[]),
            false => both_refuse(&stack, "drill", &full, 3, words),
        }
    }
    stack.configure(&format!("{FULL}deploy-dir = '../deployed'\n"));
    neither_refuses(&stack, &full, &[]);
    stack.sh("repo", "mv .codex-api elsewhere");
    both_refuse(&stack, "drill", &full, 3, "the live data ");
}

#[test]
fn a_destination_that_this_user_cannot_write_to_is_refused_and_still_gives_back() {
    let stack = Stack::configured();
    let run = |args: &[&str]| outcome(&mut unprivileged(&stack, args));
    run(&["backup"]).ok();
    stack.sh(".", "chmod 555 drive");
    for path in ["../drive", "../drive/not/yet"] {
        stack.sh("repo", &format!("sed -i 's|^path = .*|path = \"{path}\"|' recovery.toml"));
        let words = ["could not write to", "/drive: Permission denied", "check who owns it"];
        wrong(&run(&["doctor", "--json"]).exits(1), "destination", &words);
        for verb in [&["backup", "--dry-run"][..], &["backup"]] {
            run(verb).exits(3).says(&words);
        }
        assert!(!stack.path("drive/not").exists());
    }
    stack.sh("repo", "sed -i 's|^path = .*|path = \"../drive\"|' recovery.toml");
    run(&["verify"]).ok();
    run(&["restore", "codex-api", "--to", "../home/back"]).ok();
    stack.sh(".", "chmod 755 drive");
    run(&["doctor"]).ok();
    run(&["backup", "--dry-run"]).ok();
}

#[test]
fn a_folder_that_only_root_may_write_to_is_no_destination_of_others() {
    let stack = Stack::configured();
    if stack.sh(".", "id -u").trim() != "0" {
        return;
    }
    stack.sh(".", "mkdir -m 755 roots");
    for path in ["../roots", "../roots/new"] {
        stack.sh("repo", &format!("sed -i 's|^path = .*|path = \"{path}\"|' recovery.toml"));
        neither_refuses(&stack, &["backup", "--dry-run"], &[]);
    }
    let run = |args: &[&str]| outcome(&mut unprivileged(&stack, args)).says(&["Permission denied"]);
    run(&["backup", "--dry-run"]).exits(3);
    run(&["doctor"]).exits(1);
}

#[test]
fn a_source_that_was_emptied_is_told_in_the_words_of_a_backup() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    set_keys(&stack, "exclude = ['*']");
    let words = "is the source, and all that it holds is excluded, though it was backed up before";
    both_refuse(&stack, "data", &["backup"], 1, words);
    stack.configure("");
    stack.sh("repo/.codex-api", "find . -mindepth 1 -delete");
    let words = "is the source, and holds no files, though it was backed up before";
    both_refuse(&stack, "data", &["backup"], 1, words);
}

#[test]
fn what_include_names_is_looked_for() {
    let stack = Stack::new();
    stack.configure("[release]\ninclude = ['dist/']\n");
    both_refuse(&stack, "release", &["snapshot"], 3, "and nothing is there");
    stack.file("repo/dist/app.js", "built\n");
    neither_refuses(&stack, &["snapshot", "--dry-run"], &[]);
    stack.file("repo/server.js", "edited\n");
    both_refuse(&stack, "release", &["snapshot"], 3, "tracked files have local edits");
    // What was committed counts, whatever the file says by now.
    stack.commit("with include", "2026-03-02T08:30:00Z");
    stack.configure("");
    both_refuse(&stack, "release", &["snapshot"], 3, "tracked files have local edits");
}

#[test]
fn a_docker_whose_daemon_does_not_answer_is_told() {
    let stack = Stack::new();
    stack.configure("[docker]\nimage = 'acme-api'\n");
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    engine.run(&["snapshot", "--docker-image", "acme-api:latest"]).ok();
    let rollback = ["rollback", "--env", "prod", "--dry-run"];
    engine.run(&["doctor"]).ok();
    engine.run(&rollback).ok();
    engine.set("down", "");
    let words = ["Cannot connect to the Docker daemon", "start the daemon (`systemctl start docker`)"];
    wrong(&engine.run(&["doctor", "--json"]).exits(1), "tool", &words);
    engine.run(&rollback).exits(3).says(&words);
}

/// The example of `docs/backups.md`.
#[test]
fn a_source_that_before_has_yet_to_make_is_a_warning() {
    let stack = Stack::new();
    let set = |before: &str| {
        stack.configure(&format!("[data.postgres]\nsource = 'dump'\n{before}\n"));
    };
    set("");
    both_refuse(&stack, "data", &["backup", "postgres", "--dry-run"], 1, "dump");
    set("before = ['mkdir -p dump && echo rows > dump/app.pgdump']\nkey-files = ['app.pgdump']");
    let dry = ["backup", "postgres", "--dry-run"];
    neither_refuses(&stack, &dry, &["repo/dump is not there yet: `before` may make it"]);
    stack.run(&dry).ok().says(&["would write "]);
    assert!(!stack.path("repo/dump").exists());
    stack.run(&["backup", "postgres"]).ok();
    // Nor is one an error that it has yet to fill again.
    stack.sh("repo", "rm dump/*");
    set("before = ['echo rows > dump/app.pgdump']");
    neither_refuses(&stack, &dry, &["backed up before; `before` may mend that"]);
    stack.run(&["backup", "postgres"]).ok();
    // A destination that is away is told all the same.
    stack.sh("repo", "rm -r dump");
    stack.sh(".", "rm -r drive; echo > drive");
    stack.run(&dry).exits(3);
}

#[test]
fn a_stage_that_has_no_place_is_refused() {
    for (what, keys) in [("", "consistency = 'staged'\n"), ("sqlite3 live.db 'CREATE TABLE t(n)'", "")] {
        let stack = Stack::configured();
        set_keys(&stack, &format!("{keys}stage-dir = 'server.js/stage'"));
        let dry = ["backup", "--dry-run"];
        if keys.is_empty() {
            // Where nothing is staged, nobody asks for it.
            neither_refuses(&stack, &dry, &[]);
        }
        stack.sh("repo/.codex-api", what);
        both_refuse(&stack, "folder", &dry, 3, "server.js");
        stack.run(&["backup"]).exits(3).says(&["server.js"]);
        stack.sh("repo", "sed -i \"s|^stage-dir.*|stage-dir = '../new/stage'|\" recovery.toml");
        neither_refuses(&stack, &dry, &[]);
        assert!(!stack.path("new").exists(), "a dry run makes nothing");
        stack.run(&["backup"]).ok();
    }
}

/// As gh 2.x says it.
const GH: &str = r#"#!/bin/sh
case $* in
    --version) echo "gh version 2.45.0 (2024-03-04)" ;;
    "auth status --hostname github.com")
        test "$GH_TOKEN" || { echo "You are not logged into any accounts on github.com" >&2; exit 1; } ;;
    *) echo "To get started with GitHub CLI, please run:  gh auth login" >&2; exit 4 ;;
esac
"#;

#[test]
fn a_forge_at_which_nobody_is_logged_in_is_told() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.run(&["publish", "--url", "https://github.com/acme/api/releases/tag/v1.4.2"]).ok();
    stack.file("bin/gh", GH);
    fs::set_permissions(stack.path("bin/gh"), fs::Permissions::from_mode(0o755)).expect("sets");
    let path = format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"));
    let path = ("PATH", path.as_str());
    stack.run_with(&[path, ("GH_TOKEN", "tok")], &["doctor"]).ok();
    let said = stack.run_with(&[path], &["doctor", "--json"]).exits(1);
    wrong(&said, "tool", &["nobody is logged in: You are not logged into any accounts", "gh auth login"]);
    stack.run_with(&[path], &["restore-drill"]).exits(1).says(&["nobody is logged in"]);
}
