//! The tables of the page: sets and where they are backed up, drills, destinations with their quota, releases. Pure.
//!
//! On a narrow screen each row becomes a card, with the head of the column in front of each value; the roles keep it a
//! table for screen readers.
use super::{Page, ago, beside, moment, number, state, text, text_at, time};
use crate::drill::evidence::render::duration;
use crate::ui::{bytes, span};
use maud::{Markup, html};
use serde_json::Value;

/// So many of the newest releases are shown.
const RELEASES: usize = 10;

/// Rows of cells below their heads.
pub(super) fn table(name: &str, head: &[&str], rows: Vec<Vec<Markup>>) -> Markup {
    html! {
        table.(name) role="table" {
            thead role="rowgroup" {
                tr role="row" { @for cell in head { th role="columnheader" scope="col" { (cell) } } }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (cell, head) in row.iter().zip(head) {
                            td role="cell" data-head=(head) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// How long something took.
pub(super) fn took(seconds: f64) -> String {
    duration(Some(seconds))
}

fn size(count: f64) -> String {
    bytes(count as u64)
}

fn count(count: f64) -> String {
    format!("{count}")
}

fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Each set at each of its destinations.
pub(super) fn data(page: &Page<'_>) -> Markup {
    let head = ["set", "destination", "newest backup", "age", "RPO target", "verified", "size", "kept"];
    let document = page.document;
    let here = (0..list(document, "data").len()).map(|index| backup(document, index));
    let away = page.away.iter().map(|away| {
        let last = html! { @match away.last {
            Some(at) => { (moment(at)) }
            None => { "none that is known of" }
        } };
        let age = away.last.map(|last| format!("{} ago", span(page.now.duration_since(last))));
        let mut cells = vec![
            html! { strong { (text(&away.set)) } },
            html! { (text(&away.destination)) " " (state(false, "not there")) },
            last,
            html! { (age.unwrap_or_else(|| "-".into())) },
        ];
        cells.resize(head.len(), html! { "-" });
        cells
    });
    let rows: Vec<Vec<Markup>> = here.chain(away).collect();
    html! {
        section #data {
            h2 { "Backups" }
            @if rows.is_empty() { p { "No data set is configured, or none of their destinations is." } }
            @else { (table("data", &head, rows)) }
            @if !list(document, "shell_backups").is_empty() {
                p.quiet { (list(document, "shell_backups").len()) " more of the shell tool lie beside them." }
            }
        }
    }
}

fn backup(document: &Value, index: usize) -> Vec<Markup> {
    let key = |name: &str| format!("/data/{index}/{name}");
    let entry = &document["data"][index];
    let has = entry["latest"].is_string();
    let verified = match (entry["pending"] == true, entry["verified"] == true) {
        _ if !has => html! { "-" },
        (true, _) => html! { span.state.warning { "pending" } },
        (false, true) => state(true, "yes"),
        (false, false) => html! { span.state.warning { "not yet" } },
    };
    vec![
        html! { strong { (text_at(document, &key("set"))) } },
        html! { (text_at(document, &key("destination"))) },
        if has { time(document, &key("created_at")) } else { state(false, "none") },
        number(document, &key("age_seconds"), ago),
        beside(document, &key("age_seconds"), "/recovery/rpo_target_seconds"),
        verified,
        number(document, &key("bytes"), size),
        number(document, &key("count"), count),
    ]
}

/// The last drill of each kind.
pub(super) fn drills(page: &Page<'_>) -> Markup {
    let document = page.document;
    let head = ["drill", "began", "result", "RTO", "RTO target", "RPO", "RPO target"];
    let last = |kind: &str| list(document, "drills").iter().rposition(|drill| drill["kind"] == kind);
    let all: Vec<usize> = ["full", "spot"].into_iter().filter_map(last).collect();
    let row = |index: usize| {
        let key = |name: &str| format!("/drills/{index}/{name}");
        let result = text_at(document, &key("result"));
        let against = |value: &str, target: &str| beside(document, &key(value), &key(target));
        vec![
            html! { strong { (text_at(document, &key("kind"))) } },
            time(document, &key("started_at")),
            state(result == "verified", &result.replace('_', " ")),
            number(document, &key("rto_seconds"), took),
            against("rto_seconds", "rto_target_seconds"),
            number(document, &key("rpo_seconds"), took),
            against("rpo_seconds", "rpo_target_seconds"),
        ]
    };
    html! {
        section #drills {
            h2 { "Last drills" }
            @if all.is_empty() { p { "No drill is on record." } }
            @else { (table("drills", &head, all.into_iter().map(row).collect())) }
        }
    }
}

/// Each destination, and how full it is.
pub(super) fn drives(page: &Page<'_>) -> Markup {
    let document = page.document;
    let head = ["destination", "path", "backups take", "of", "", "free there"];
    let row = |(index, drive): (usize, &Value)| {
        let key = |name: &str| format!("/destinations/{index}/{name}");
        let name = html! { strong { (text_at(document, &key("name"))) } };
        let path = html! { code { (text_at(document, &key("path"))) } };
        if drive["available"] != true {
            let away = state(false, "not there");
            return vec![name, path, away, html! { "-" }, html! { "-" }, html! { "-" }];
        }
        let quota = drive["quota_bytes"].is_number();
        vec![
            name,
            path,
            number(document, &key("used_bytes"), size),
            if quota {
                number(document, &key("quota_bytes"), size)
            } else {
                html! { "no quota" }
            },
            bar(drive),
            if drive["free_bytes"].is_null() {
                html! { "unknown" }
            } else {
                number(document, &key("free_bytes"), size)
            },
        ]
    };
    let rows: Vec<Vec<Markup>> = list(document, "destinations").iter().enumerate().map(row).collect();
    html! {
        section #destinations {
            h2 { "Destinations" }
            @if rows.is_empty() { p { "No destination is configured." } }
            @else { (table("drives", &head, rows)) }
        }
    }
}

/// How much of the quota is used; where none is set, of what was free before the backups.
fn bar(drive: &Value) -> Markup {
    let number = |key: &str| drive[key].as_f64();
    let used = number("used_bytes").unwrap_or_default();
    let (of, what) = match number("quota_bytes") {
        Some(quota) => (quota, "of the quota"),
        None => (used + number("free_bytes").unwrap_or_default(), "of what is free or taken by backups"),
    };
    let percent = if of > 0.0 { used / of * 100.0 } else { 0.0 };
    let words = match percent {
        part if part > 0.0 && part < 1.0 => "less than 1 %".to_owned(),
        part => format!("{part:.0} %"),
    };
    let full = percent > 90.0 && number("quota_bytes").is_some();
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" role="img" {
            title { (words) " " (what) }
            rect.room width="100" height="8" {}
            rect.used.full[full] width=(format!("{:.1}", percent.clamp(0.0, 100.0))) height="8" {}
        }
        span.quiet { (words) " " (what) }
    }
}

/// The newest releases.
pub(super) fn releases(page: &Page<'_>) -> Markup {
    let document = page.document;
    let count = list(document, "releases").len();
    let row = |index: usize| {
        let key = |name: &str| format!("/releases/{index}/{name}");
        let url = text_at(document, &key("release_url"));
        vec![
            html! { strong { (text_at(document, &key("version"))) } },
            time(document, &key("created_at")),
            html! { code { (text_at(document, &key("git_sha")).chars().take(12).collect::<String>()) } },
            number(document, &key("bytes"), size),
            html! { @if url.is_empty() { "-" } @else { code { (url) } } },
        ]
    };
    let head = ["version", "commit of", "commit", "size", "published at"];
    let shown: Vec<Vec<Markup>> = (0..count).rev().take(RELEASES).map(row).collect();
    html! {
        section #releases {
            h2 { "Releases" }
            @if shown.is_empty() { p { "No bundle is here." } } @else { (table("releases", &head, shown)) }
            @if count > RELEASES { p.quiet { "And " (count - RELEASES) " older ones." } }
        }
    }
}
