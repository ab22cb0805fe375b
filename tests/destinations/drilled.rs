//! A drill of what lies on another machine alone: it is fetched into the drill's private folder.
use super::super::support::Stack;
use super::far::{Sshd, stack};
use serde_json::Value;

fn drill(stack: &Stack, now: &str) -> Value {
    let document = stack.run_at(now, &["restore-drill", "--json"]).json();
    let left = stack.sh(".", "ls -A | grep recovery-drill || true");
    assert_eq!(left, "", "{document}");
    document
}

fn outcomes(document: &Value, name: &str) -> Vec<String> {
    let steps = document["steps"].as_array().expect("steps").iter();
    let named = steps.filter(|step| step["name"].as_str().is_some_and(|step| step.starts_with(name)));
    named.map(|step| step["outcome"].as_str().expect("an outcome").to_owned()).collect()
}

#[test]
fn what_lies_on_another_machine_alone_is_fetched_and_drilled() {
    let stack = stack("", "");
    let sshd = Sshd::start(&stack);
    stack.run(&["snapshot"]).ok();
    for day in ["10", "11"] {
        stack.run_at(&format!("2026-03-{day}T12:00:00Z"), &["backup"]).ok();
    }
    let planned = stack.run(&["restore-drill", "--dry-run"]).ok().stdout;
    assert!(planned.contains("fetch: codex-api-2026-03-11T120000Z.tar.gz (from 127.0.0.1)"), "{planned}");
    let document = drill(&stack, "2026-03-12T12:00:00Z");
    assert_eq!(document["result"], "verified", "{document}");
    assert_eq!(outcomes(&document, "fetch: "), ["pass", "pass"], "the latest and one older: {document}");
    let status = stack.run_at("2026-03-12T13:00:00Z", &["status"]).ok().stdout;
    assert!(status.contains("ago, verified"), "{status}");
    // A byte that is wrong over there is found here.
    stack.sh("far it's/2026/03-11", "printf x | dd of=$(ls *.tar.gz) bs=1 seek=200 conv=notrunc status=none");
    let document = drill(&stack, "2026-03-13T12:00:00Z");
    assert_eq!(document["result"], "not_verified", "{document}");
    assert!(document["findings"].to_string().contains("digest on record"), "{document}");
    // Out of reach is neither pass nor fail, and may be tried again.
    drop(sshd);
    let document = stack.run_at("2026-03-14T12:00:00Z", &["restore-drill", "--json"]).exits(75).json();
    assert_eq!(document["result"], "could_not_run", "{document}");
}

#[test]
fn what_is_nearer_is_drilled_and_the_rest_is_told() {
    let stack = stack("\"drive\", ", "");
    let _sshd = Sshd::start(&stack);
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let document = drill(&stack, "2026-03-11T12:00:00Z");
    assert_eq!((&document["result"], outcomes(&document, "fetch: ").len()), (&"verified".into(), 0));
    assert!(document["not_tested"].to_string().contains("the copies at far"), "{document}");
    // The drive is lost: then the other machine's is drilled.
    stack.sh(".", "rm -r drive");
    let document = drill(&stack, "2026-03-12T12:00:00Z");
    assert_eq!(
        (&document["result"], outcomes(&document, "fetch: ").len()),
        (&"verified".into(), 1),
        "{document}"
    );
}
