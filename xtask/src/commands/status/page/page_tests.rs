//! The page by what it is given: nothing, hostile names, what is away, a clock that is wrong.
use super::*;
use crate::commands::status::past::{MadeThen, SetPast};
use serde_json::json;

const NOW: &str = "2026-03-20T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The document of a stack in which nothing was done.
fn empty() -> Value {
    json!({"schema_version": 1, "command": "status", "status": "ok", "recovery": {"possible": false, "to": null,
        "age_seconds": null, "rpo_target_seconds": null, "rto_seconds": null, "rto_of": null, "rto_target_seconds": null,
        "proven_at": null, "proven_age_seconds": null, "proven_by": null, "reasons": ["no data set is configured"]},
        "releases": [], "data": [], "drills": [], "destinations": [], "asides": [], "shell_backups": [],
        "findings": []})
}

fn rendered(document: &Value, past: &Past, away: &[Away]) -> String {
    render(&Page { document, past, away, now: at(NOW), name: "api", tool: "xtask 1.2.3" })
}

fn page(document: &Value) -> String {
    rendered(document, &Past { sets: vec![], drills: vec![] }, &[])
}

#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
}

#[test]
fn a_stack_in_which_nothing_was_done_has_a_page_too() {
    let page = page(&empty());
    has(&page, &["<!DOCTYPE html>", ">No</span>, we could not recover", "no data set is configured"]);
    has(&page, &["No drill is on record", "No bundle is here", "No backup and no drill is on record yet"]);
    has(
        &page,
        &["Made ", "2026-03-20 12:00 UTC", "by xtask 1.2.3", "name=\"viewport\"", "default-src 'none'"],
    );
}

#[test]
fn nothing_that_anybody_has_named_is_markup_or_invisible() {
    let evil = "<script>alert(\"x\")</script>'&\u{1b}[2J\n\u{202e}\u{200b}";
    let mut document = empty();
    document["recovery"]["reasons"] = json!([evil]);
    document["recovery"]["rto_of"] = evil.into();
    document["recovery"]["proven_at"] = evil.into();
    document["recovery"]["proven_by"] = evil.into();
    document["data"] =
        json!([{"set": evil, "destination": evil, "latest": evil, "created_at": evil, "count": 1}]);
    document["drills"] = json!([{"id": evil, "kind": "spot", "result": evil, "started_at": evil}]);
    document["destinations"] = json!([{"name": evil, "path": evil, "available": false},
        {"name": evil, "path": evil, "available": true, "used_bytes": 1, "free_bytes": 2}]);
    document["releases"] =
        json!([{"version": evil, "created_at": evil, "git_sha": evil, "release_url": evil}]);
    document["findings"] = json!([{"severity": "error", "path": evil, "what": evil, "repair": evil},
        {"severity": "warning", "path": evil, "what": evil, "repair": evil}]);
    let set = SetPast {
        set: evil.into(),
        made: vec![MadeThen { at: at(NOW), bytes: Some(5), seconds: Some(1.0) }],
        good: vec![at(NOW)],
    };
    let away = [Away { set: evil.into(), destination: evil.into(), last: None }];
    let past = Past { sets: vec![set], drills: vec![] };
    let page =
        render(&Page { document: &document, past: &past, away: &away, now: at(NOW), name: evil, tool: "x" });
    assert!(!page.contains("<script") && !page.contains("alert(\"x\")"), "{page}");
    has(&page, &["&lt;script&gt;alert(&quot;x&quot;)", "\\u{1b}[2J\\n\\u{202e}\\u{200b}"]);
    let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}' || c == '\u{200b}';
    assert!(!page.contains(hidden));
}

#[test]
fn numbers_stand_beside_their_places_in_the_document_and_targets_beside_numbers() {
    let mut document = empty();
    document["recovery"] = json!({"possible": true, "to": "2026-03-20T10:00:00Z", "age_seconds": 7200,
        "rpo_target_seconds": 3600.0, "rto_seconds": 75.5, "rto_of": "full", "rto_target_seconds": 900.0,
        "proven_at": "2026-03-19T12:00:00Z", "proven_age_seconds": 86400, "proven_by": "full", "reasons": []});
    document["data"] = json!([{"set": "a", "destination": "usb", "latest": "/x", "created_at": "2026-03-20T10:00:00Z",
        "age_seconds": 7200, "verified": true, "pending": false, "count": 3, "bytes": 1234567}]);
    document["destinations"] = json!([{"name": "usb", "path": "/usb", "available": true, "used_bytes": 950,
        "free_bytes": 5000, "quota_bytes": 1000}]);
    let page = page(&document);
    has(&page, &[">Yes</span>, we could recover now.", "over 1 h", "within 15 min", "1 min 16 s"]);
    has(
        &page,
        &[
            "data-key=\"/recovery/rto_seconds\" value=\"75.5\"",
            "data-key=\"/data/0/bytes\" value=\"1234567\">1.2 MB",
        ],
    );
    has(&page, &["datetime=\"2026-03-20T10:00:00Z\">2026-03-20 10:00", "95 % of the quota", "used full"]);
}

#[test]
fn free_room_that_nobody_knows_is_called_so() {
    let mut document = empty();
    document["destinations"] = json!([{"name": "ram", "path": "/ram", "available": true, "used_bytes": 950,
        "free_bytes": null, "quota_bytes": null}]);
    has(&page(&document), &["unknown", "no quota"]);
}

#[test]
fn what_a_wrong_clock_has_dated_in_the_future_is_called_so() {
    let mut document = empty();
    document["data"] = json!([{"set": "a", "destination": "usb", "latest": "/x", "created_at": "2026-04-20T10:00:00Z",
        "age_seconds": -9000, "verified": false, "pending": false, "count": 1, "bytes": 5}]);
    has(&page(&document), &["dated in the future", "not yet"]);
}

#[test]
fn a_destination_that_is_away_is_shown_with_what_is_remembered() {
    let away = [
        Away { set: "a".into(), destination: "usb".into(), last: Some(at("2026-03-19T12:00:00Z")) },
        Away { set: "b".into(), destination: "usb".into(), last: None },
    ];
    let page = rendered(&empty(), &Past { sets: vec![], drills: vec![] }, &away);
    has(&page, &["not there", "2026-03-19 12:00 UTC", "1 d ago", "none that is known of"]);
}

#[test]
fn commands_stand_apart_and_a_lone_backtick_is_text() {
    assert_eq!(commands("run `a <b>` now").into_string(), "run <code>a &lt;b&gt;</code> now");
    assert_eq!(commands("it`s").into_string(), "it`s");
}

#[test]
fn releases_beyond_the_newest_are_counted() {
    let mut document = empty();
    let release = |number: u32| json!({"version": format!("v{number}."), "created_at": NOW, "git_sha": "ab", "bytes": 1});
    document["releases"] = (1..=12).map(release).collect();
    let page = page(&document);
    has(&page, &["v12.", "v3.", "And 2 older ones."]);
    assert!(!page.contains("v2."));
}
