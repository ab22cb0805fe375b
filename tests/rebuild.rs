//! `verify --rebuild`: a bundle is what its commit makes in a fresh clone, elsewhere, under other circumstances; and
//! what is not is told for what it is. How entries differ is looked at in [`differences`].
mod damaged;
mod differences;
mod parts;

use super::support::{Stack, outcome};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The repositories that need no configuration.
const KINDS: [&str; 3] = ["cargo", "npm", "neither"];

/// A repository of a kind, with one commit of all that may go wrong elsewhere: modes, links, line ends, odd names.
fn repository(kind: &str) -> Stack {
    let stack = Stack::bare();
    let member = "[package]\nname = \"crab\"\nversion.workspace = true\nedition = \"2024\"\n";
    match kind {
        "cargo" => {
            let workspace = "[workspace]\nmembers = [\".\"]\n[workspace.package]\nversion = \"0.3.0\"\n";
            stack.file("repo/Cargo.toml", &format!("{member}{workspace}"));
            stack.file("repo/src/lib.rs", "pub fn one() {}\n");
        }
        "npm" => {
            stack.file("repo/package.json", "{\"name\": \"@acme/api\", \"version\": \"1.4.2\"}\n");
            stack.file("repo/.npmrc", "//r.example.org/:_authToken=${NPM_TOKEN}\n");
        }
        _ => stack.file("repo/Makefile", "all:\n\ttrue\n"),
    }
    stack.file("repo/.gitattributes", "*.bat eol=crlf\n*.txt text=auto\nprivate export-ignore\n");
    stack.file("repo/run.bat", "one\ntwo\n");
    stack.file("repo/read.txt", "one\ntwo\n");
    stack.file("repo/private/notes", "not released\n");
    stack.file("repo/bin/run", "#!/bin/sh\n");
    let script = "chmod 755 bin/run; ln -s bin/run link; : > $'odd \\xff name'; : > 'ü é'
        for n in $(seq 20); do head -c 60000 /dev/urandom | base64 > large$n; done
        git init -q -b main .; git config core.autocrlf false";
    stack.sh("repo", script);
    stack.commit("first", "2026-03-01T08:30:00Z");
    stack
}

fn lock_of(stack: &Stack) -> PathBuf {
    stack.one("repo/releases", ".lock.json")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")
}

/// Changes the lock in place.
fn relock(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut lock = read(path);
    change(&mut lock);
    fs::write(path, serde_json::to_string_pretty(&lock).expect("JSON")).expect("writes");
}

/// The document about the one bundle that was made in the repository.
#[track_caller]
fn rebuilt(stack: &Stack, path: &Path, code: i32) -> Value {
    let path = path.display().to_string();
    stack.run(&["verify", "--rebuild", &path, "--json"]).exits(code).json()
}

/// The private folders that are there.
fn scratch(stack: &Stack) -> String {
    stack.sh(".", "find . -maxdepth 1 -name 'recovery-*'").trim().to_owned()
}

/// The same bytes under another umask, time zone, locale, line-end setting, number of threads, attributes and place, where
/// no remote answers; and nothing is left or changed.
#[test]
fn bundles_of_every_kind_of_repository_rebuild_in_a_clone_elsewhere() {
    let xtask = env!("CARGO_BIN_EXE_xtask");
    for kind in KINDS {
        let stack = repository(kind);
        stack.run(&["snapshot"]).ok();
        stack.sh(
            ".",
            "mkdir -p 'else where/a:b' got; cp repo/releases/*.tar.gz repo/releases/*.lock.json got/
             git clone -q --no-local repo 'else where/a:b/other name'
             cd 'else where/a:b/other name'; git remote set-url origin https://nowhere.invalid/x
             git config --global core.autocrlf true; git config --global core.eol crlf
             echo '* export-ignore' > .git/info/attributes; echo edited > read.txt; rm -rf bin",
        );
        let before = (stack.world("else where"), stack.world("got"));
        for surroundings in [
            "umask 077; export TZ=Asia/Tokyo LANG=de_DE.UTF-8 LC_ALL=C.UTF-8",
            "umask 000; export TZ=America/New_York; taskset -cp 0 $$ > /dev/null",
            "export GIT_DIR=/nowhere GIT_ATTR_SOURCE=none SOURCE_DATE_EPOCH=1",
        ] {
            for end in ["tar.gz", "lock.json"] {
                let line = format!("{surroundings}; '{xtask}' verify --rebuild ../../../got/*.{end}");
                let said = stack.sh("else where/a:b/other name", &line);
                assert!(said.starts_with("same "), "{kind}, {surroundings}: {said}");
            }
        }
        assert_eq!((stack.world("else where"), stack.world("got")), before, "{kind}");
        assert_eq!(scratch(&stack), "", "{kind}");
    }
}

/// The lock says what a bundle is of, whatever is configured by now.
#[test]
fn a_bundle_with_other_settings_than_those_of_today_rebuilds() {
    let stack = repository("npm");
    stack.file("other.toml", "[release]\nname = \"shop\"\nexclude = [\"/large1*\", \"bin/\"]\n");
    let args = ["--config", "../other.toml", "snapshot", "--version", "v9-test", "--env", "stage"];
    stack.run_with(&[("SOURCE_DATE_EPOCH", "1700000000")], &args).ok();
    let lock = lock_of(&stack);
    let document = rebuilt(&stack, &lock, 0);
    assert_eq!((&document["status"], &document["checked"]), (&"ok".into(), &1.into()));
    let artifact = &document["artifacts"][0];
    let known = read(&lock);
    assert_eq!(artifact["result"], "same");
    for (field, of_lock) in
        [("sha256", "tarball_sha256"), ("tar_sha256", "tar_sha256"), ("entries", "entries")]
    {
        assert_eq!(artifact[field], known[of_lock], "{field}");
    }
    // A shallow clone will do, and a commit that is in no branch any more.
    stack.sh(".", "git clone -q --depth 1 \"file://$PWD/repo\" shallow");
    outcome(stack.plain(&["-C", "../shallow", "verify", "--rebuild"]).arg(&lock)).ok().says(&["same "]);
    stack.sh(
        "repo",
        "git -c user.name=a -c user.email=a@example.org commit -q --amend --allow-empty -m later",
    );
    assert_eq!(rebuilt(&stack, &lock, 0)["artifacts"][0]["result"], "same");
}

#[test]
fn a_lock_without_its_tarball_is_compared_by_its_digests() {
    let stack = repository("neither");
    stack.run(&["snapshot", "--no-tarball"]).ok();
    let lock = lock_of(&stack);
    assert_eq!(rebuilt(&stack, &lock, 0)["artifacts"][0]["result"], "same");
    for field in ["tar_sha256", "tarball_sha256"] {
        let whole = fs::read(&lock).expect("reads");
        relock(&lock, |lock| lock[field] = "0".repeat(64).into());
        let document = rebuilt(&stack, &lock, 1);
        assert_eq!(document["artifacts"][0]["result"], "different", "{field}");
        assert!(document["findings"][0]["severity"] == "error", "{document}");
        fs::write(&lock, whole).expect("writes");
    }
    // One whose tarball lies elsewhere says so, and is compared all the same.
    fs::remove_file(&lock).expect("removes");
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    fs::rename(&tarball, stack.path("renamed.tar.gz")).expect("renames");
    let document = rebuilt(&stack, &lock, 0);
    assert!(document["findings"].to_string().contains("is not here"), "{document}");
    // Under another name it is known by its digest, by the locks of the repository.
    let document = rebuilt(&stack, &stack.path("renamed.tar.gz"), 0);
    assert_eq!(document["artifacts"][0]["result"], "same");
    fs::remove_file(&lock).expect("removes");
    let renamed = stack.path("renamed.tar.gz").display().to_string();
    stack.run(&["verify", "--rebuild", &renamed]).exits(3).says(&[
        "no lock speaks of",
        "next:",
        ".lock.json",
    ]);
}

#[test]
fn a_lock_that_disagrees_with_its_bundle_is_told() {
    let stack = repository("neither");
    stack.run(&["snapshot"]).ok();
    let (lock, whole) = (lock_of(&stack), fs::read(lock_of(&stack)).expect("reads"));
    for field in ["tar_sha256", "tarball_sha256", "manifest_sha256", "git_tree", "entries"] {
        let other = if field == "entries" { 1.into() } else { "0".repeat(64).into() };
        relock(&lock, |lock| lock[field] = other);
        let document = rebuilt(&stack, &lock, 1);
        assert_eq!(document["artifacts"][0]["result"], "different", "{field}");
        assert!(document["findings"][0]["path"].as_str().is_some_and(|path| path.ends_with(".lock.json")));
        fs::write(&lock, &whole).expect("writes");
    }
    relock(&lock, |lock| lock["excluded"] = json!(["never/was", "private/notes"]));
    let said = rebuilt(&stack, &lock, 0)["findings"].to_string();
    assert!(said.contains("never/was") && said.contains("warning"), "{said}");
    relock(&lock, |lock| lock["excluded"] = json!([]));
    let found = rebuilt(&stack, &lock, 1);
    assert_eq!(found["artifacts"][0]["differences"][0]["path"], "private/notes");
}

/// Each reason has its own words and a way on.
#[test]
fn what_cannot_be_rebuilt_says_why_and_what_to_do() {
    let stack = repository("npm");
    stack.run(&["snapshot"]).ok();
    let (lock, whole) = (lock_of(&stack), fs::read(lock_of(&stack)).expect("reads"));
    let path = lock.display().to_string();
    let says = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        relock(&lock, |lock| change(lock));
        stack.run(&["verify", "--rebuild", &path]).exits(3).says(parts).says(&["next:"]);
        fs::write(&lock, &whole).expect("writes");
    };
    let gone = "0123456789012345678901234567890123456789";
    says(&|lock| lock["dirty"] = true.into(), &["working tree", "cargo xtask snapshot"]);
    says(&|lock| lock["git_commit"] = Value::Null, &["older tool", "snapshot --rev"]);
    says(&|lock| lock["tar_sha256"] = Value::Null, &["older tool", "sha256sum"]);
    says(&|lock| lock["git_commit"] = gone.into(), &[gone, "no remote"]);
    says(&|lock| lock["git_commit"] = "main".into(), &["commit main is not in"]);
    says(&|lock| lock["git_commit"] = "--help".into(), &["commit --help is not in"]);
    says(&|lock| lock["schema_version"] = 2.into(), &["newer"]);
    says(&|lock| *lock = json!({"images": []}), &["image snapshots"]);
    stack.sh("repo", "git remote add upstream ../far; git remote add origin ../near");
    let url = "https://forge.example.org/x/releases/v1";
    let far = |lock: &mut Value| {
        lock["git_commit"] = gone.into();
        lock["release_url"] = url.into();
    };
    says(&far, &["git -C ", &format!("fetch origin {gone}"), url]);
    stack.run(&["verify", "--rebuild", "nothing.tar.gz"]).exits(3).says(&["nothing.tar.gz"]);
    stack.run(&["-C", "..", "verify", "--rebuild", &path]).exits(3).says(&["not in a git repository", "-C"]);
    stack.run(&["verify", "--rebuild"]).exits(2);
    stack.run(&["verify", "--rebuild", &path, "--latest"]).exits(2);
}

/// What only this clone knows does not get into a fresh one.
#[test]
fn replaced_objects_and_damaged_ones_do_not_pass_for_the_commits_own() {
    let stack = repository("neither");
    stack.run(&["snapshot"]).ok();
    let lock = lock_of(&stack);
    stack.sh("repo", "git replace $(git rev-parse HEAD:run.bat) $(echo other | git hash-object -w --stdin)");
    assert_eq!(rebuilt(&stack, &lock, 0)["artifacts"][0]["result"], "same");
    stack.sh("repo", "rm -r releases .git/refs/replace");
    stack.run(&["snapshot"]).ok();
    // An object that is whole, and not what its name says.
    stack.sh(
        "repo",
        "one=$(git rev-parse HEAD:large1); two=$(git rev-parse HEAD:large2)
         file() { echo .git/objects/${1:0:2}/${1:2}; }; chmod u+w $(file $one); cp $(file $two) $(file $one)",
    );
    let path = lock.display().to_string();
    stack.run(&["verify", "--rebuild", &path]).exits(3).says(&["fetch", "git fsck", "next:"]);
    assert_eq!(scratch(&stack), "");
}

#[test]
fn what_a_killed_rebuild_left_goes_with_the_next() {
    let stack = repository("neither");
    stack.run(&["snapshot", "--no-tarball"]).ok();
    stack.file("recovery-rebuild-killed/.held", "");
    stack.file("recovery-rebuild-killed/clone/HEAD", "");
    stack.file("recovery-rebuild-of-somebody/HEAD", "");
    rebuilt(&stack, &lock_of(&stack), 0);
    assert_eq!(scratch(&stack), "./recovery-rebuild-of-somebody");
    let mut several = stack.plain(&["verify", "--json", "--rebuild"]);
    let document = outcome(several.arg(lock_of(&stack)).arg(lock_of(&stack))).ok().json();
    assert_eq!(document["checked"], 2);
}
