//! What a job is told: outputs and a page, appended to the files that GitHub names, by four verbs and by no other.
use crate::docs::{section_of, spans_of};
use crate::publish;
use crate::support::{Outcome, Stack};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What is null where no image is bundled, and no target configured.
const NULL: [&str; 4] = ["docker_tag", "rto_target_seconds", "rpo_target_seconds", "rpo_ahead_seconds"];
const LATER: &str = "2026-03-11T12:00:00Z";

/// A run in a step whose files hold something already.
fn step(stack: &Stack, args: &[&str]) -> Outcome {
    stack.file("output", "before=1\n");
    stack.file("summary", "# Before\n");
    let (output, summary) = (stack.path("output"), stack.path("summary"));
    let path = publish::path(stack);
    let env = [
        ("GITHUB_OUTPUT", output.to_str().expect("UTF-8")),
        ("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8")),
        ("RECOVERY_NOW", LATER),
        ("GH_TOKEN", "x"),
        ("PATH", &path),
    ];
    stack.run_with(&env, args)
}

fn written(stack: &Stack) -> (BTreeMap<String, String>, String) {
    let read = |name: &str| fs::read_to_string(stack.path(name)).expect("reads");
    let output = read("output");
    let lines = output.strip_prefix("before=1\n").expect("what others wrote stays").lines();
    let facts = lines
        .map(|line| line.split_once('=').expect("an output"))
        .map(|(name, value)| (name.into(), value.into()));
    (facts.collect(), read("summary").strip_prefix("# Before\n").expect("what others wrote stays").to_owned())
}

/// The table of `docs/releases.md`: verb → names.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let section = section_of("docs/releases.md", "In GitHub Actions");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut spans = spans_of(line).into_iter();
        (spans.next().expect("a verb"), spans.collect())
    };
    rows.map(row).collect()
}

#[test]
fn each_of_the_verbs_tells_what_the_page_says() {
    let stack = Stack::configured();
    publish::forge(&stack);
    let mut seen = BTreeSet::new();
    for (verb, names) in
        ["snapshot", "publish", "verify", "restore-drill"].map(|verb| (verb, documented()[verb].clone()))
    {
        // Nothing to back up in a first drill would be an error.
        if verb == "verify" {
            stack.run(&["backup"]).ok();
        }
        let said = step(&stack, &[verb]).ok();
        let (facts, page) = written(&stack);
        let told: BTreeSet<String> = facts.keys().cloned().collect();
        let null: Vec<&String> = names.difference(&told).filter(|name| !NULL.contains(&&***name)).collect();
        assert!(null.is_empty() && told.is_subset(&names), "{verb}: {null:?} are not told: {}", said.shown());
        assert!(page.starts_with(&format!("### {verb}: {}\n", facts["status"])), "{page}");
        assert_eq!((&*facts["errors"], facts["status"].is_empty()), ("0", false));
        seen.insert(verb.to_owned());
    }
    assert_eq!(documented().into_keys().collect::<BTreeSet<_>>(), seen);
    // With the document on standard output it is the same.
    let document = step(&stack, &["verify", "--json"]).ok().json();
    assert_eq!(written(&stack).0["checked"], document["checked"].to_string());
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    step(&stack, &["snapshot"]).ok();
    let (facts, _) = written(&stack);
    assert_eq!((&*facts["tarball"], &*facts["status"]), (&*tarball, "unchanged"));
}

#[test]
fn a_dry_run_and_the_history_of_drills_are_told_as_the_page_says() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    step(&stack, &["restore-drill"]).ok();
    let expected = [
        (&["restore-drill", "--dry-run"][..], &[("dry_run", "true"), ("kind", "spot"), ("status", "ok")][..]),
        (
            &["restore-drill", "history"],
            &[("errors", "0"), ("kind", "history"), ("status", "ok"), ("warnings", "0")],
        ),
    ];
    let section = section_of("docs/releases.md", "In GitHub Actions");
    for (args, facts) in expected {
        let facts: BTreeMap<String, String> =
            facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        for json in [&[][..], &["--json"]] {
            step(&stack, &[args, json].concat()).ok();
            let (told, page) = written(&stack);
            assert_eq!(told, facts, "{args:?}");
            assert!(page.starts_with("### restore-drill: ok\n"), "{page}");
        }
        let names: Vec<String> = facts.keys().map(|name| format!("`{name}`")).collect();
        let line = format!("`{}` tells {}", args.join(" "), names.join(", "));
        assert!(section.contains(&line), "no {line} in docs/releases.md");
    }
}

#[test]
fn what_fails_is_told_too_and_other_verbs_tell_nothing() {
    let stack = Stack::configured();
    step(&stack, &["verify"]).exits(1);
    assert_eq!(written(&stack).0["errors"], "1");
    step(&stack, &["publish"]).exits(3);
    let (facts, page) = written(&stack);
    assert_eq!(facts["status"], "error");
    assert!(!facts["error"].is_empty() && page.contains("| next | "), "{page}");
    for args in [&["backup"][..], &["status"], &["prune"], &["restore", "codex-api", "--to", "../back"]] {
        step(&stack, args).ok();
        let (facts, page) = written(&stack);
        assert!(facts.is_empty() && page.is_empty(), "{args:?}: {page}");
    }
}

#[test]
fn where_it_cannot_be_told_it_is_a_warning_and_changes_nothing() {
    let stack = Stack::configured();
    let nowhere = stack.path("no/such/file").display().to_string();
    let env = [("GITHUB_OUTPUT", &*nowhere), ("GITHUB_STEP_SUMMARY", "/dev/full")];
    let said = stack.run_with(&env, &["snapshot"]).ok().says(&["warning: ", "no/such/file", "/dev/full"]);
    assert!(said.stdout.contains("created"), "{}", said.shown());
    // Not set, or set to nothing: nobody is told.
    let said = stack.run_with(&[("GITHUB_OUTPUT", ""), ("GITHUB_STEP_SUMMARY", "")], &["snapshot"]).ok();
    assert!(!said.stderr.contains("warning"), "{}", said.shown());
}

/// A pipe that nobody reads, a device, a folder: nothing is written, nobody waits, and the run is as good as it was.
#[test]
fn what_is_no_file_is_a_warning_and_nobody_waits() {
    let stack = Stack::configured();
    stack.sh(".", "mkfifo pipe; mkdir folder; ln -s pipe link");
    for place in ["pipe", "folder", "link", "/dev/null"] {
        let place = stack.path(place).display().to_string();
        let env = [("GITHUB_OUTPUT", &*place), ("GITHUB_STEP_SUMMARY", &*place)];
        let said = stack.run_with(&env, &["snapshot"]).ok();
        assert_eq!(said.stderr.matches("could not tell the job").count(), 2, "{}", said.shown());
        said.says(&["not a regular file"]);
    }
}
