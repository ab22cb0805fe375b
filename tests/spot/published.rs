//! The release that was published, through a `gh` that answers as the real one does, and says how it was called.
use super::super::support::{Outcome, Stack};
use super::{edit_lock, found, step};
use serde_json::Value;
use std::fs;

const URL: &str = "https://github.com/acme/api/releases/tag/v1.4.2";
const LATER: &str = "2026-03-11T12:00:00Z";

/// `gh release download`, as gh 2.x has it: flags in any order, what is not there told on standard error with status 1, no
/// login with status 4, an asset that lies there already refused. Its forge is the folder `assets`.
const GH: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$HOME/gh.log"
env | sort > "$HOME/gh.env"
test -e "$HOME/hangs" && sleep 600
if [ "$1 $2" != "release download" ]; then echo "unknown command \"$1\" for \"gh\"" >&2; exit 1; fi
shift 2
repo= pattern= dir=. tag=
while [ $# -gt 0 ]; do
    case $1 in
        --repo) repo=$2; shift 2 ;;
        --pattern) pattern=$2; shift 2 ;;
        --dir) dir=$2; shift 2 ;;
        --) shift ;;
        -*) echo "unknown flag: $1" >&2; exit 1 ;;
        *) tag=$1; shift ;;
    esac
done
if [ -z "$GH_TOKEN" ]; then echo "To get started with GitHub CLI, please run:  gh auth login" >&2; exit 4; fi
if [ "$repo" != github.com/acme/api ]; then echo "HTTP 404: Not Found (token $GH_TOKEN)" >&2; exit 1; fi
if [ "$tag" != v1.4.2 ]; then echo "release not found" >&2; exit 1; fi
for asset in "$HOME/assets"/$pattern; do
    if [ ! -e "$asset" ]; then echo "no assets match the file pattern" >&2; exit 1; fi
    name=$dir/$(basename "$asset")
    if [ -e "$name" ]; then echo "$name already exists" >&2; exit 1; fi
    cp "$asset" "$name"
done
"#;

/// A bundle that is published as it is.
fn published() -> Stack {
    let stack = Stack::new();
    stack.configure("[drill]\ncheck-timeout = \"60s\"\n");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.file("bin/gh", GH);
    stack.sh(".", "chmod 755 bin/gh; mkdir home/assets; cp repo/releases/*.tar.gz home/assets");
    edit_lock(&stack, |lock| lock["release_url"] = URL.into());
    stack
}

fn run(stack: &Stack, args: &[&str], token: Option<&str>) -> Outcome {
    let path = format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"));
    let mut env = vec![("PATH", path.as_str()), ("RECOVERY_NOW", LATER)];
    env.extend(token.map(|token| ("GH_TOKEN", token)));
    stack.run_with(&env, args)
}

fn drill(stack: &Stack) -> Outcome {
    run(stack, &["restore-drill", "--json"], Some("tok-31337-tok"))
}

#[test]
fn what_was_published_is_downloaded_and_compared() {
    let stack = published();
    let planned = run(&stack, &["restore-drill", "--dry-run"], None).ok();
    assert!(planned.stdout.contains("published release: acme-api-v1.4.2-"), "{}", planned.stdout);
    assert!(planned.stdout.contains("(gh: v1.4.2 of github.com/acme/api)"), "{}", planned.stdout);
    assert!(!stack.path("home/gh.log").exists(), "a dry run asks nobody");
    let document = drill(&stack).ok().json();
    let step = step(&document, "published release");
    assert_eq!(step["outcome"], "pass", "{step}");
    let tarball = stack.one("repo/releases", ".tar.gz");
    let name = tarball.file_name().expect("a name").to_string_lossy().into_owned();
    let log = fs::read_to_string(stack.path("home/gh.log")).expect("reads");
    let (front, back) = log.trim_end().split_once(" --dir ").expect("a folder");
    assert_eq!(front, format!("release download --repo github.com/acme/api --pattern {name}"));
    assert!(
        back.starts_with(&stack.path("recovery-drill-").display().to_string()),
        "a private folder: {back}"
    );
    assert!(back.ends_with(" -- v1.4.2"), "{back}");
    assert!(!document["not_tested"].to_string().contains("published release"), "{document}");
    // It never asks, and sees no variable that is not for it.
    let env = fs::read_to_string(stack.path("home/gh.env")).expect("reads");
    assert!(env.contains("GH_PROMPT_DISABLED=1") && !env.contains("RECOVERY_NOW"), "{env}");
}

#[test]
fn without_an_address_it_says_what_is_not_tested_and_needs_no_gh() {
    let stack = published();
    for url in [Value::Null, "https://example.org/acme/api".into()] {
        edit_lock(&stack, |lock| lock["release_url"] = url);
        let document = drill(&stack).ok().json();
        assert!(document["not_tested"].to_string().contains("\"published release"), "{document}");
        assert!(!document["steps"].to_string().contains("published release"), "{document}");
        assert!(!stack.path("home/gh.log").exists());
    }
}

#[test]
fn another_tarball_or_none_under_that_release_fails() {
    type Change = fn(&Stack);
    let rows: [(Change, &str); 4] = [
        (|stack| drop(stack.sh("home/assets", "printf x >> *.tar.gz")), "with other bytes"),
        (
            |stack| drop(stack.sh("home/assets", "f=$(ls); head -c -1 $f > y; mv y $f; printf x >> $f")),
            "with other bytes",
        ),
        (|stack| drop(stack.sh("home/assets", "rm *.tar.gz")), "no assets match"),
        (
            |stack| edit_lock(stack, |lock| lock["release_url"] = format!("{URL}-rc1").into()),
            "release not found",
        ),
    ];
    for (change, words) in rows {
        let stack = published();
        change(&stack);
        let document = drill(&stack).exits(1).json();
        assert_eq!(step(&document, "published release")["outcome"], "fail", "{document}");
        assert_eq!(document["result"], "not_verified");
        found(&document, &["acme-api-v1.4.2-", words]);
        // What lies here came back all the same.
        assert!(document["artifacts"].as_array().expect("artifacts").iter().all(|a| a["proven"] == true));
    }
}

#[test]
fn what_could_not_be_looked_at_is_blocked_and_says_why() {
    // Nobody is logged in; a forge that does not let one in: its words hold a token.
    for (token, repository, words) in [
        (None, "acme/api", "nobody is logged in: To get started with GitHub CLI"),
        (Some("tok-31337-tok"), "acme/other", "HTTP 404: Not Found (token $GH_TOKEN)"),
    ] {
        let stack = published();
        edit_lock(&stack, |lock| lock["release_url"] = URL.replace("acme/api", repository).into());
        let said = run(&stack, &["restore-drill", "--json"], token).exits(1);
        let document = said.json();
        let step = step(&document, "published release");
        assert_eq!(step["outcome"], "blocked", "{step}");
        found(&document, &["could not be looked at", words]);
        assert_eq!(document["result"], "not_verified", "skipped is not passed");
        assert!(!said.stdout.contains("31337") && !said.stderr.contains("31337"), "{}", said.shown());
    }
}

#[test]
fn without_gh_it_is_blocked_and_named() {
    let stack = published();
    stack.sh(".", "mkdir few; for tool in git sh; do ln -s $(command -v $tool) few/$tool; done");
    let path = stack.path("few").display().to_string();
    let env = [("PATH", path.as_str()), ("RECOVERY_NOW", LATER)];
    let document = stack.run_with(&env, &["restore-drill", "--json"]).exits(1).json();
    assert_eq!(step(&document, "published release")["outcome"], "blocked", "{document}");
    found(&document, &["gh", "apt-get install gh"]);
}

#[test]
fn a_gh_that_hangs_is_ended_at_the_deadline() {
    let stack = published();
    stack.sh("repo", "sed -i 's/60s/1s/' recovery.toml; touch ../home/hangs");
    let document = drill(&stack).exits(1).json();
    assert_eq!(step(&document, "published release")["outcome"], "timeout", "{document}");
    found(&document, &["published release", "had not ended after 1 s"]);
    assert_eq!(step(&document, "clean up")["outcome"], "pass");
}
