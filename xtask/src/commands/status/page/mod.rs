//! The page of `status --html`: the document of `--json` and what was before it, for people. Pure: values in, text out.
//!
//! One file that needs no other, no network and no script, and says so to the browser (its policy forbids all three).
//! Numbers stand in `data` and times in `time` elements, each with the place that it has in the document (`data-key`, a
//! JSON pointer) beside its value. Text goes through `maud`, which escapes it, and first through [`text`], which shows
//! what would be invisible.
mod plot;
mod plots;
mod tables;

use super::past::{Away, Past};
use crate::shown::show_bytes;
use crate::ui::span;
use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

/// What the page shows.
pub(super) struct Page<'a> {
    /// The document of `--json`.
    pub document: &'a Value,
    pub past: &'a Past,
    pub away: &'a [Away],
    pub now: Timestamp,
    /// The release's name.
    pub name: &'a str,
    /// Name and version of the program.
    pub tool: &'a str,
}

/// Nothing is fetched and nothing is run; styles stand in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// By which a file is known to be such a page.
pub(super) const GENERATOR: &str = "recovery: status --html";

/// The page as the text of a file.
pub(super) fn render(page: &Page<'_>) -> String {
    let title = format!("Recovery of {}", text(page.name));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(GENERATOR);
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header { (answer(page, &title)) }
                main {
                    (findings(page.document))
                    (tables::data(page))
                    (tables::drills(page))
                    (tables::drives(page))
                    (plots::all(page))
                    (tables::releases(page))
                }
                footer {
                    p {
                        "Made " (moment(page.now)) " by " (page.tool)
                        " (status --html). Ages are as of then; the times are UTC."
                    }
                }
            }
        }
    };
    markup.into_string() + "\n"
}

/// Text of anybody's: what moves a cursor, turns the direction of writing, or cannot be seen is shown as an escape.
fn text(text: &str) -> String {
    let unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let mut shown = String::new();
    for c in show_bytes(text.as_bytes()).chars() {
        if unseen(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// The text at a place of the document; empty where there is none.
fn text_at(document: &Value, key: &str) -> String {
    document.pointer(key).and_then(Value::as_str).map(text).unwrap_or_default()
}

/// The number at a place of the document, with what people read; `-` where there is none.
fn number(document: &Value, key: &str, shown: impl Fn(f64) -> String) -> Markup {
    let Some(value) = document.pointer(key).filter(|value| value.is_number()) else {
        return html! { "-" };
    };
    html! { data data-key=(key) value=(value) { (shown(value.as_f64().unwrap_or_default())) } }
}

/// The time at a place of the document.
fn time(document: &Value, key: &str) -> Markup {
    let written = document.pointer(key).and_then(Value::as_str).unwrap_or_default();
    match written.parse::<Timestamp>() {
        Ok(at) => html! { time data-key=(key) datetime=(written) { (minute(at)) } },
        Err(_) => html! { (text(written)) },
    }
}

fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (minute(at)) " UTC" } }
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Seconds of an age or a cadence, in words.
fn seconds(seconds: f64) -> String {
    span(SignedDuration::from_secs(seconds as i64))
}

/// Seconds of an age, which is below nothing where a clock was wrong.
fn ago(age: f64) -> String {
    if age < -60.0 { "dated in the future".into() } else { format!("{} ago", seconds(age)) }
}

/// A word that says how good something is, in a colour that says the same.
fn state(good: bool, word: &str) -> Markup {
    html! { span.state.good[good].bad[!good] { (word) } }
}

/// What a value is held against: within or over its target.
fn beside(document: &Value, key: &str, target: &str) -> Markup {
    let number = |key: &str| document.pointer(key).and_then(Value::as_f64);
    match (number(key), number(target)) {
        (_, None) => html! { span.quiet { "no target" } },
        (None, Some(aim)) => html! { span.quiet { "target " (seconds(aim)) } },
        (Some(value), Some(aim)) if value <= aim => state(true, &format!("within {}", seconds(aim))),
        (Some(_), Some(aim)) => state(false, &format!("over {}", seconds(aim))),
    }
}

/// The answer, on top.
fn answer(page: &Page<'_>, title: &str) -> Markup {
    let document = page.document;
    let possible = document["recovery"]["possible"] == true;
    let reasons = document["recovery"]["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        p.subject { (title) }
        h1 data-key="/recovery/possible" data-value=(possible) {
            (state(possible, if possible { "Yes" } else { "No" }))
            @if possible { ", we could recover now." } @else { ", we could not recover all of it now." }
        }
        @if !reasons.is_empty() {
            ul.reasons { @for reason in reasons.iter().filter_map(Value::as_str) { li { (text(reason)) } } }
        }
        dl.facts {
            div { dt { "To which time" } dd { (to_when(document)) } }
            div { dt { "How fast" } dd { (how_fast(document)) } }
            div { dt { "Last proven" } dd { (proven(document)) } }
            div { dt { "What is wrong" } dd { (counted(document)) } }
        }
    }
}

fn to_when(document: &Value) -> Markup {
    html! {
        @if document["recovery"]["to"].is_string() {
            strong { (time(document, "/recovery/to")) }
            p { (number(document, "/recovery/age_seconds", ago)) }
            p { (beside(document, "/recovery/age_seconds", "/recovery/rpo_target_seconds")) }
        } @else {
            strong { "-" } p { "Not each set has a sound backup." }
        }
    }
}

fn how_fast(document: &Value) -> Markup {
    let key = "/recovery/rto_seconds";
    html! {
        @match document["recovery"]["rto_of"].as_str() {
            Some(kind) => {
                strong { (number(document, key, tables::took)) }
                p { "in the last " @if kind == "full" { "verified " } (text(kind)) " drill"
                    @if kind != "full" { " that measured it" } }
                p { (beside(document, key, "/recovery/rto_target_seconds")) }
            }
            None => { strong { "-" } p { "No drill has measured it." } }
        }
    }
}

fn proven(document: &Value) -> Markup {
    html! {
        @if document["recovery"]["proven_at"].is_string() {
            strong { (time(document, "/recovery/proven_at")) }
            p { (number(document, "/recovery/proven_age_seconds", ago)) }
            p { "by a " (text_at(document, "/recovery/proven_by")) " drill" }
        } @else {
            strong { (state(false, "Never")) } p { "No drill was verified yet." }
        }
    }
}

fn of_severity<'a>(document: &'a Value, severity: &str) -> Vec<&'a Value> {
    let all = document["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|finding| finding["severity"] == severity).collect()
}

fn counted(document: &Value) -> Markup {
    let [errors, warnings] = ["error", "warning"].map(|severity| of_severity(document, severity).len());
    let of = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    html! {
        @if errors + warnings == 0 { strong { (state(true, "Nothing")) } }
        @else {
            strong { (state(errors == 0, &of(errors, "error"))) }
            p { (of(warnings, "warning")) }
            p { a href="#wrong" { "What to do next" } }
        }
    }
}

/// Text with commands between backticks.
fn commands(shown: &str) -> Markup {
    let parts: Vec<&str> = shown.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return html! { (text(shown)) };
    }
    html! {
        @for (index, part) in parts.into_iter().enumerate() {
            @if index % 2 == 1 { code { (text(part)) } } @else { (text(part)) }
        }
    }
}

/// What is wrong, the worst first, and what to do next.
fn findings(document: &Value) -> Markup {
    let all = ["error", "warning", "info"].map(|severity| of_severity(document, severity)).concat();
    let head = ["", "where", "what is wrong", "what to do next"];
    html! {
        section #wrong {
            h2 { "What is wrong" }
            @if all.is_empty() { p { "Nothing." } } @else {
                (tables::table("findings", &head, all.into_iter().map(|finding| {
                    let part = |key: &str| html! { (text(finding[key].as_str().unwrap_or_default())) };
                    let severity = finding["severity"].as_str().unwrap_or_default();
                    vec![
                        html! { span.state.(severity) { (severity) } },
                        html! { code { (part("path")) } },
                        part("what"),
                        commands(finding["repair"].as_str().unwrap_or_default()),
                    ]
                }).collect()))
            }
        }
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
