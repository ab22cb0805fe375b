//! Which room may use which: the arrows, the code that follows them, and the map in `lib.rs` that shows them.
use super::text::{Text, code, none, places, root, text};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The rooms from the ground up, each with the rooms that its code may use; `lib.rs` says the same.
const ARROWS: [(&str, &[&str]); 20] = [
    ("shown", &[]),
    ("words", &[]),
    ("archive", &["shown"]),
    ("error", &["archive"]),
    ("finding", &["error"]),
    ("interrupt", &["error"]),
    ("progress", &[]),
    ("stopwatch", &[]),
    ("threads", &[]),
    ("tools", &["words", "error", "interrupt"]),
    ("destination", &["shown", "words", "archive", "error", "finding", "tools"]),
    ("source", &["shown", "archive", "error", "finding", "interrupt", "progress", "tools"]),
    (
        "restore",
        &[
            "shown",
            "words",
            "archive",
            "error",
            "finding",
            "interrupt",
            "progress",
            "threads",
            "tools",
            "destination",
        ],
    ),
    ("config", &["archive", "error", "tools", "destination", "source"]),
    (
        "drill",
        &[
            "shown",
            "archive",
            "error",
            "finding",
            "interrupt",
            "stopwatch",
            "tools",
            "destination",
            "restore",
            "config",
        ],
    ),
    ("cli", &["archive"]),
    ("ui", &["archive", "finding", "progress"]),
    ("commands", ROOMS),
    ("start", &["error", "interrupt", "shown", "words", "stopwatch", "cli", "ui", "commands"]),
    ("main", &[]),
];
/// All that `commands` may use.
const ROOMS: &[&str] = &[
    "shown",
    "words",
    "error",
    "finding",
    "interrupt",
    "progress",
    "stopwatch",
    "threads",
    "archive",
    "tools",
    "destination",
    "source",
    "restore",
    "config",
    "drill",
    "cli",
    "ui",
];
/// The room that a source belongs to.
pub(super) fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// `(from, to)` → the places where code of one room names another.
fn arrows() -> BTreeMap<(String, String), Vec<String>> {
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for file in code().iter().filter(|file| file.path != "lib.rs") {
        for (number, line) in file.lines.iter().enumerate() {
            for to in targets(file, line).into_iter().filter(|to| to != room(&file.path)) {
                let place = format!("{}:{}: {} → {to}", file.path, number + 1, room(&file.path));
                found.entry((room(&file.path).to_owned(), to)).or_default().push(place);
            }
        }
    }
    found
}

/// What a line names of the crate's root: the word behind `crate::`, or behind more `super::` than lead to it.
fn targets(file: &Text, line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let top = if file.path == "main.rs" { "xtask::" } else { "crate::" };
    let mut found: Vec<String> =
        places(line, top).into_iter().map(|at| word(&line[at + top.len()..])).collect();
    let out = "super::".repeat(depth(&file.path));
    found.extend(places(line, &out).into_iter().map(|at| word(&line[at + out.len()..])));
    found
}

/// How many `super::` lead from a file to the crate's root.
fn depth(path: &str) -> usize {
    path.matches('/').count() + usize::from(!path.ends_with("mod.rs"))
}

fn allowed() -> BTreeSet<(String, String)> {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    ARROWS.iter().flat_map(|(from, all)| all.iter().map(move |to| pair(from, to))).collect()
}

#[test]
fn a_room_uses_the_rooms_that_it_may() {
    let (allowed, arrows) = (allowed(), arrows());
    let wrong = arrows.iter().filter(|(arrow, _)| !allowed.contains(arrow));
    none("an arrow that the map does not have", wrong.flat_map(|(_, places)| places.clone()));
    let idle = allowed.iter().filter(|arrow| !arrows.contains_key(arrow));
    none("an arrow that no code needs", idle.map(|(from, to)| format!("tests/tidy.rs: {from} → {to}")));
}

#[test]
fn the_arrows_between_rooms_go_down() {
    let height = |name: &str| ARROWS.iter().position(|(room, _)| *room == name).expect("a room");
    let up: BTreeSet<(String, String)> =
        allowed().into_iter().filter(|(from, to)| height(from) <= height(to)).collect();
    assert_eq!(up, BTreeSet::new(), "arrows that go up");
}

/// The rows of the map in `lib.rs`: rooms in the first cell, what they may use in the third.
fn map() -> BTreeSet<(String, String)> {
    let lib = fs::read_to_string(root().join("xtask/src/lib.rs")).expect("reads");
    let mut found = BTreeSet::new();
    for row in lib.lines().filter(|line| line.starts_with("//! | [`")) {
        let cells: Vec<&str> = row.split('|').collect();
        let uses = match cells[3].trim() {
            "every room" => ROOMS.iter().map(|room| (*room).to_owned()).collect(),
            cell => quoted(cell.split('(').next().unwrap_or_default()),
        };
        for from in quoted(cells[1]) {
            found.extend(uses.iter().map(|to| (from.clone(), to.clone())));
        }
    }
    found
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_map_in_lib_shows_the_arrows() {
    let (map, allowed) = (map(), allowed());
    let show = |(from, to): &(String, String)| format!("xtask/src/lib.rs: {from} → {to}");
    none(
        "not in the map",
        allowed.iter().filter(|arrow| arrow.0 != "main" && !map.contains(arrow)).map(show),
    );
    none("in the map alone", map.difference(&allowed).map(show));
}

#[test]
fn the_map_in_lib_has_every_room() {
    let lib = text("lib.rs".into(), &fs::read_to_string(root().join("xtask/src/lib.rs")).expect("reads"));
    let declared = lib.lines.iter().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let shown = |name: &&str| lib.lines.iter().any(|line| line.contains(&format!("[`{name}`]")));
    let known = |name: &&str| ARROWS.iter().any(|(room, _)| room == name);
    let lost = declared.filter(|name| !shown(name) || !known(name));
    none("a room without a row", lost.map(|name| format!("xtask/src/lib.rs: {name}")));
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let file = |path: &str| text(path.into(), "");
    let line = "use crate::ui::bytes; use super::super::tools; use super::c;";
    assert_eq!(targets(&file("a/b.rs"), line), ["ui", "tools"]);
    assert_eq!(targets(&file("a/mod.rs"), "super::error::Error"), ["error"]);
    assert_eq!(targets(&file("main.rs"), "use xtask::cli::Cli;"), ["cli"]);
    assert_eq!(
        targets(&file("a/b.rs"), "use crate::{ui, tools};"),
        [""],
        "no room's name, so no arrow allows it"
    );
}
