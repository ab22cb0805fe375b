//! `publish`: a bundle becomes a release, through a `gh` that keeps a forge in a folder, logs how it is called, and knows no
//! flag that the real one does not have.
mod by_hand;
mod faults;
mod locks;

use super::support::{Outcome, Stack, flip, outcome};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

pub(crate) const TAG: &str = "v1.4.2";
pub(crate) const URL: &str = "https://github.com/acme/api/releases/tag/v1.4.2";
const BUNDLE: &str = "acme-api-v1.4.2-2026-03-01T083000Z";
const TOKEN: &str = "tok-31337-tok";

/// A `gh` on the stack's own path, and a forge to which the commit's tag was pushed.
pub(crate) fn forge(stack: &Stack) {
    stack.file("bin/gh", include_str!("publish/gh"));
    fs::set_permissions(stack.path("bin/gh"), fs::Permissions::from_mode(0o755)).expect("sets");
    stack.sh("repo", &format!("git remote add origin https://github.com/acme/api.git; git tag {TAG}"));
    push(stack, TAG);
}

/// The tag, as it is here, on the forge.
pub(crate) fn push(stack: &Stack, tag: &str) {
    stack
        .sh("repo", &format!("mkdir -p ~/forge/tags; git rev-parse '{tag}^{{commit}}' > ~/forge/tags/{tag}"));
}

/// A bundle, and a forge that has its tag.
fn bundled() -> Stack {
    let stack = Stack::configured();
    forge(&stack);
    stack.run(&["snapshot"]).ok();
    stack
}

/// The path on which `gh` is found.
pub(crate) fn path(stack: &Stack) -> String {
    format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"))
}

fn command(stack: &Stack, args: &[&str]) -> Command {
    let mut command = stack.command(&[&["publish"], args].concat());
    command.env("PATH", path(stack)).env("GH_TOKEN", TOKEN);
    command
}

/// Runs the verb.
pub(crate) fn publish(stack: &Stack, args: &[&str]) -> Outcome {
    outcome(&mut command(stack, args))
}

fn log(stack: &Stack) -> Vec<String> {
    let log = fs::read_to_string(stack.path("home/forge/log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Calls that change something.
fn changes(stack: &Stack) -> Vec<String> {
    let changing =
        |line: &String| ["create", "edit", "upload", "delete"].iter().any(|verb| line.contains(verb));
    log(stack).into_iter().filter(changing).collect()
}

fn assets(stack: &Stack) -> Vec<String> {
    stack.files(&format!("home/forge/releases/{TAG}/assets"))
}

fn lock(stack: &Stack) -> Value {
    serde_json::from_slice(&fs::read(stack.one("repo/releases", ".lock.json")).expect("reads")).expect("JSON")
}

/// It is published once, whole, under a tag that nobody made up; what is there and what is here check with `sha256sum`, and
/// the lock is the same in both places and knows the address.
#[track_caller]
fn published(stack: &Stack) {
    let release = format!("home/forge/releases/{TAG}");
    assert!(!stack.path(&release).join("draft").exists(), "still a draft");
    let tags = stack.sh("home/forge", "cat published; cat tags/*");
    assert_eq!(tags.lines().next(), Some(TAG), "{tags}");
    assert!(!tags.contains("made-up") && tags.matches(TAG).count() == 1, "{tags}");
    let ends = [".lock.json", ".manifest.jsonl.gz", ".tar.gz"].map(|end| format!("{BUNDLE}{end}"));
    assert_eq!(assets(stack), [&["SHA256SUMS".to_owned()][..], &ends].concat());
    stack.sh(
        &format!("{release}/assets"),
        "sha256sum --check --strict --quiet SHA256SUMS; test $(wc -l < SHA256SUMS) = 3",
    );
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
    stack.sh(
        ".",
        &format!("for f in repo/releases/{BUNDLE}.*; do cmp $f {release}/assets/$(basename $f); done"),
    );
    assert_eq!(lock(stack)["release_url"], URL);
    stack.run(&["verify"]).ok();
    let left = stack.files(".").into_iter().find(|name| name.contains("recovery-publish-"));
    assert!(left.is_none(), "left behind: {left:?}");
}

#[test]
fn a_bundle_is_published_through_a_draft_and_a_second_run_changes_nothing() {
    let stack = bundled();
    let document = publish(&stack, &["--json"]).ok().json();
    published(&stack);
    assert_eq!((&document["status"], &document["url"]), (&"published".into(), &URL.into()));
    assert_eq!((&document["tag"], &document["repository"]), (&TAG.into(), &"github.com/acme/api".into()));
    assert_eq!(document["assets"].as_array().map(Vec::len), Some(4));
    let commit = stack.sh("repo", "git rev-parse HEAD");
    assert_eq!(document["git_commit"], commit.trim());
    let repo = "--repo github.com/acme/api";
    let look = [
        format!("release view {repo} --json apiUrl -- {TAG}"),
        "api --hostname github.com repos/acme/api/releases/4".to_owned(),
    ];
    // Each file goes up behind a look, and over none that is there.
    let names = [".tar.gz", ".manifest.jsonl.gz", ".lock.json"].map(|end| format!("{BUNDLE}{end}"));
    let uploads = names
        .iter()
        .map(String::as_str)
        .chain(["SHA256SUMS"])
        .flat_map(|name| look.iter().cloned().chain([format!("release upload {repo} -- {TAG} {name}")]));
    let before = [
        "repo view --json url".to_owned(),
        format!("api --hostname github.com repos/acme/api/commits/tags/{TAG}"),
        format!("release view {repo} --json apiUrl -- {TAG}"),
        format!("release create {repo} --draft --verify-tag --title {TAG} --generate-notes -- {TAG}"),
    ];
    let publishes = [format!("release edit {repo} --draft=false --verify-tag -- {TAG}")];
    let behind = look.iter().chain(&publishes).chain(&look).cloned();
    assert_eq!(log(&stack), before.into_iter().chain(uploads).chain(behind).collect::<Vec<_>>());
    let env = fs::read_to_string(stack.path("home/forge/env")).expect("reads");
    assert!(env.contains("GH_PROMPT_DISABLED=1") && !env.contains("RECOVERY_NOW"), "{env}");
    let world = stack.world("repo/releases");
    let again = publish(&stack, &["--json"]).ok().json();
    assert_eq!(again["status"], "unchanged", "{again}");
    assert_eq!(stack.world("repo/releases"), world);
    assert_eq!(changes(&stack).len(), 6, "nothing was changed again: {:?}", log(&stack));
    // A snapshot of the same commit keeps the address.
    assert_eq!(stack.run(&["snapshot", "--json"]).ok().json()["status"], "unchanged");
    published(&stack);
}

#[test]
fn a_dry_run_prints_the_steps_that_a_run_takes_and_changes_nothing() {
    let stack = bundled();
    let world = stack.world("repo");
    let planned = publish(&stack, &["--dry-run", "--json"]).ok().json();
    assert_eq!((&planned["status"], &planned["dry_run"]), (&"planned".into(), &true.into()));
    let text = publish(&stack, &["--dry-run"]).ok().stdout;
    let steps: Vec<String> = text.lines().map(|line| line.trim_start_matches("would ").to_owned()).collect();
    assert_eq!(planned["steps"], serde_json::json!(steps));
    assert_eq!(steps.len(), 8, "{text}");
    assert_eq!((stack.world("repo"), changes(&stack)), (world, Vec::new()));
    let done = publish(&stack, &["--json"]).ok().json();
    assert_eq!(done["steps"], planned["steps"], "the very same");
    // Nobody may write, and a draft of somebody else is not seen: the plan is that from the beginning.
    let reader = bundled();
    outcome(command(&reader, &["--dry-run"]).env("GH_TOKEN", "reader"))
        .ok()
        .says(&["would create the release"]);
}

#[test]
fn a_draft_is_left_as_one_until_it_is_to_be_published() {
    let stack = bundled();
    stack.file("notes.md", "the first\n");
    let document = publish(&stack, &["--draft", "--notes-file", "../notes.md", "--json"]).ok().json();
    assert_eq!(document["status"], "draft");
    assert!(lock(&stack)["release_url"].is_null(), "it has no page yet");
    let release = format!("home/forge/releases/{TAG}");
    assert_eq!(stack.sh(&release, "cat notes; ls"), "the first\nassets\ndraft\nid\nnotes\ntitle\n");
    stack.file("notes.md", "the second\n");
    publish(&stack, &["--notes-file", "../notes.md"]).ok().says(&["published", URL]);
    published(&stack);
    assert_eq!(stack.sh(&release, "cat notes"), "the second\n");
    assert_eq!(log(&stack).iter().filter(|line| line.contains("upload")).count(), 4, "nothing is sent twice");
}

#[test]
fn a_version_before_its_release_is_marked_as_one() {
    let stack = Stack::configured();
    forge(&stack);
    stack.sh("repo", "git tag v1.5.0-rc.1");
    stack.run(&["snapshot", "--version", "1.5.0-rc.1"]).ok();
    push(&stack, "v1.5.0-rc.1");
    publish(&stack, &[]).ok();
    assert!(stack.path("home/forge/releases/v1.5.0-rc.1/prerelease").exists());
}

/// Where the forge tells no digest, what it holds is downloaded and compared.
#[test]
fn without_digests_what_was_uploaded_is_downloaded_and_compared() {
    let stack = bundled();
    stack.file("home/forge/no-digests", "");
    publish(&stack, &[]).ok();
    published(&stack);
    assert_eq!(log(&stack).iter().filter(|line| line.contains("download")).count(), 4);
    let unchanged = publish(&stack, &["--json"]).ok().json();
    assert_eq!(unchanged["status"], "unchanged");
    // The same length, and other bytes.
    let tarball = stack.path(&format!("home/forge/releases/{TAG}/assets/{BUNDLE}.tar.gz"));
    flip(&tarball, 100);
    publish(&stack, &[]).exits(1).says(&["tar.gz", "has SHA-256"]);
}

#[test]
fn what_the_forge_holds_otherwise_is_never_published() {
    for digests in [true, false] {
        let stack = bundled();
        stack.file("home/forge/short", "");
        if !digests {
            stack.file("home/forge/no-digests", "");
        }
        publish(&stack, &[]).exits(1).says(&["tar.gz", "run it again"]);
        assert!(stack.path(&format!("home/forge/releases/{TAG}/draft")).exists());
        assert!(lock(&stack)["release_url"].is_null());
        stack.sh("home/forge", "rm short");
        publish(&stack, &[]).ok();
        published(&stack);
    }
}

#[test]
fn a_published_release_is_never_overwritten() {
    type Change = fn(&Stack);
    let rows: [(Change, &[&str], &str); 3] = [
        (
            |stack| flip(&stack.one(&format!("home/forge/releases/{TAG}/assets"), ".tar.gz"), 9),
            &[".tar.gz"],
            "a version and a tag of its own",
        ),
        (
            |stack| drop(stack.sh(&format!("home/forge/releases/{TAG}/assets"), "rm *.manifest*")),
            &[".manifest.jsonl.gz"],
            "--url",
        ),
        (
            |stack| drop(stack.sh("home/forge", "for f in releases/*/assets/*; do printf x >> $f; done")),
            &[".tar.gz", ".manifest.jsonl.gz", ".lock.json", "SHA256SUMS"],
            "a version and a tag of its own",
        ),
    ];
    for (change, ends, repair) in rows {
        let stack = bundled();
        publish(&stack, &[]).ok();
        change(&stack);
        let (world, sent) = (stack.world("home/forge/releases"), changes(&stack));
        for (args, status) in [
            (&["--json"][..], "different"),
            (&["--draft", "--json"], "different"),
            (&["--dry-run", "--json"], "planned"),
        ] {
            let document = publish(&stack, args).exits(1).json();
            assert_eq!((&document["status"], &document["steps"]), (&status.into(), &Value::Array(vec![])));
            let found = document["findings"].as_array().expect("a list");
            let text = |name: &str| {
                found.iter().filter_map(|one| one[name].as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            assert_eq!(found.len(), ends.len(), "{document}");
            assert!(text("path").iter().zip(ends).all(|(path, end)| path.ends_with(end)), "{document}");
            assert!(text("what").iter().all(|what| what.contains("never changed")), "{document}");
            assert!(text("repair").iter().all(|text| text.contains(repair)), "{document}");
            assert_eq!(text("repair").concat().contains("--url"), repair == "--url", "{document}");
        }
        publish(&stack, &[]).exits(1).says(&["different ", URL]);
        publish(&stack, &["--dry-run"]).exits(1).says(&["would change nothing"]);
        assert_eq!((stack.world("home/forge/releases"), changes(&stack)), (world, sent));
    }
    // Files that somebody has added are theirs.
    let stack = bundled();
    publish(&stack, &[]).ok();
    stack.file(&format!("home/forge/releases/{TAG}/assets/manual.pdf"), "x");
    assert_eq!(publish(&stack, &["--json"]).ok().json()["status"], "unchanged");
}

#[test]
fn what_may_not_be_published_is_refused_with_what_to_do() {
    type Change = fn(&Stack);
    let rows: [(Change, &[&str], i32, &[&str]); 14] = [
        (|stack| drop(stack.sh("repo", "rm -r releases")), &[], 3, &["no bundle", "cargo xtask snapshot"]),
        (
            |stack| {
                stack.file("repo/server.js", "edited\n");
                stack.run(&["snapshot", "--allow-dirty"]).ok();
            },
            &[],
            3,
            &["working tree", "commit"],
        ),
        (|stack| flip(&stack.one("repo/releases", ".tar.gz"), 100), &[], 1, &[".tar.gz", "next: "]),
        (
            |stack| flip(&stack.one("repo/releases", ".manifest.jsonl.gz"), 30),
            &[],
            1,
            &["manifest", "next: "],
        ),
        (
            |stack| drop(stack.sh("repo/releases", "sed -i 's/\"keep\": 3/\"keep\": 4/' *.lock.json")),
            &[],
            1,
            &["lock.json", "another SHA-256"],
        ),
        (
            |stack| drop(stack.sh("repo/releases", "rm *.tar.gz")),
            &[],
            1,
            &["is gone", "cargo xtask snapshot"],
        ),
        (
            |stack| {
                stack.commit("second", "2026-03-02T08:30:00Z");
                stack.sh("repo", &format!("git tag -f {TAG}"));
            },
            &[],
            3,
            &["this clone", "--rev v1.4.2"],
        ),
        (
            |stack| {
                stack.commit("second", "2026-03-02T08:30:00Z");
                stack.sh("repo", "git rev-parse HEAD > ~/forge/tags/v1.4.2");
            },
            &[],
            3,
            &["github.com/acme/api", "--rev v1.4.2"],
        ),
        (
            |stack| drop(stack.sh("home/forge", "rm tags/*")),
            &[],
            3,
            &["has no tag v1.4.2", "git push origin v1.4.2"],
        ),
        (
            |stack| drop(stack.run(&["snapshot", "--version", "9"]).ok()),
            &[],
            3,
            &["no tag of its commit", "--tag"],
        ),
        (|_| {}, &["--tag", "v1.4.2\nx"], 2, &["no name of a tag"]),
        (|_| {}, &["--notes-file", "no-such"], 3, &["no-such"]),
        (|_| {}, &["package.json"], 1, &["no lock of a bundle", "`created_at`"]),
        (
            |stack| stack.file(&format!("home/forge/releases/{TAG}/assets/acme-api-v1.4.2-2025.tar.gz"), "x"),
            &[],
            3,
            &["of another bundle", "delete-asset"],
        ),
    ];
    for (change, args, code, words) in rows {
        let stack = bundled();
        stack.sh(
            "home/forge",
            &format!("mkdir -p releases/{TAG}/assets; echo 77 > releases/{TAG}/id; : > releases/{TAG}/draft"),
        );
        change(&stack);
        let world = stack.world("home/forge/releases");
        publish(&stack, args).exits(code).says(words);
        assert_eq!((stack.world("home/forge/releases"), changes(&stack)), (world, Vec::new()), "{words:?}");
    }
}

/// With no tag on the forge yet a dry run says what is missing, so that it can be run before the tag is pushed.
#[test]
fn a_dry_run_before_the_tag_is_pushed_says_so() {
    let stack = bundled();
    stack.sh("home/forge", "rm tags/*");
    let document = publish(&stack, &["--dry-run", "--json"]).ok().json();
    assert_eq!(document["findings"][0]["severity"], "warning", "{document}");
    assert!(
        document["findings"][0]["repair"]
            .as_str()
            .is_some_and(|text| text.contains("git push origin v1.4.2"))
    );
}

#[test]
fn gh_must_be_there_and_logged_in() {
    let stack = bundled();
    outcome(command(&stack, &[]).env_remove("GH_TOKEN"))
        .exits(3)
        .says(&["nobody is logged in", "gh auth login"]);
    stack.sh(".", "mkdir few; for tool in git sh; do ln -s $(command -v $tool) few/$tool; done");
    let few = stack.path("few");
    outcome(command(&stack, &[]).env("PATH", few)).exits(3).says(&["not installed: gh", "install"]);
}

#[test]
fn another_bundle_and_another_repository_can_be_named() {
    let stack = bundled();
    stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "2.0.0"}"#);
    stack.commit("second", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    stack.sh("repo", "git remote remove origin");
    for name in [".lock.json", ".tar.gz"] {
        let file = format!("releases/{BUNDLE}{name}");
        let said = outcome(command(&stack, &[&file, "--json"]).env("GH_REPO", "acme/api")).ok().json();
        assert_eq!(said["tag"], TAG, "{said}");
    }
    assert!(log(&stack)[0].ends_with("repo view --json url acme/api"));
    // Both bundles are in the folder; the release lists its own alone.
    let release = format!("home/forge/releases/{TAG}/assets");
    stack.sh(&release, "sha256sum --check --strict --quiet SHA256SUMS; test $(wc -l < SHA256SUMS) = 3");
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
}
