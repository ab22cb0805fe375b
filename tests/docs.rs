//! What the pages promise: their commands run, their examples load, their tables are those of the tool; and every file
//! that a page names is there. `docs/format.md` is held against real artifacts in [`format`].
mod adopt;
mod format;
mod json;
mod markdown;
mod migrate;
mod runbook;
mod safety;
mod wrong;

use super::docker::engine::Engine;
use super::support::Stack;
use markdown::{blocks, page, prose, root, section, spans, table, tables};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use xtask::error::Exit;

/// Where drills put their evidence, in the user's repository and not in this one.
const THEIRS: [&str; 1] = ["docs/drills"];

/// The pages for users, in the order in which one reads them.
const MANUAL: [&str; 8] = [
    "README.md",
    "docs/configuration.md",
    "docs/backups.md",
    "docs/drills.md",
    "docs/schedule.md",
    "docs/releases.md",
    "docs/runbook.md",
    "docs/reference.md",
];

/// A section of a page, for tests elsewhere.
pub(crate) fn section_of(name: &str, title: &str) -> String {
    section(&page(name), title).to_owned()
}

/// The code spans of a text, likewise.
pub(crate) fn spans_of(text: &str) -> Vec<String> {
    spans(text)
}

/// A stack in which `cargo xtask` runs the tool, and nothing else of `cargo` is there; with a docker that has an image.
fn stack() -> Stack {
    let stack = Stack::new();
    Engine::of(&stack).image('a', &["acme-api:latest"]);
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = xtask ] || exit 101\nshift\nexec '{}' \"$@\"\n",
        env!("CARGO_BIN_EXE_xtask")
    );
    stack.file("bin/cargo", &script);
    fs::set_permissions(stack.path("bin/cargo"), fs::Permissions::from_mode(0o755)).expect("sets");
    stack
}

/// Runs a block as a page shows it, at the root of the repository.
fn runs(stack: &Stack, block: &str) -> String {
    stack.file("block.sh", block);
    stack.sh("repo", "PATH=\"$(dirname \"$PWD\")/bin:$PATH\" sh -eu ../block.sh")
}

#[test]
fn the_commands_of_the_manual_work_in_their_order() {
    // Those of the runbook are run where it comes to that: see `runbook`.
    let manual: Vec<String> =
        MANUAL.iter().filter(|name| **name != runbook::PAGE).map(|name| page(name)).collect();
    let (stack, mut ran) = (stack(), BTreeSet::new());
    for (_, block) in manual.iter().flat_map(|page| blocks(page)).filter(|(language, _)| *language == "sh") {
        runs(&stack, &block);
        let verbs = block.lines().filter_map(|line| line.strip_prefix("cargo xtask ")?.split(' ').next());
        ran.extend(verbs.map(str::to_owned));
    }
    assert_eq!(ran, verbs(), "every verb is shown");
    assert!(stack.path("codex-api-restored/.codex-api/config.toml").is_file());
}

/// Numbers, digests, times and places differ from run to run; everything else is as the README shows it.
#[test]
fn the_readme_shows_what_its_commands_print() {
    let (readme, stack) = (page("README.md"), stack());
    let mut printed = String::new();
    for (language, block) in blocks(section(&readme, "Five minutes")) {
        match language {
            "sh" if block.contains("init --dry-run") => drop(runs(&stack, &block)),
            "sh" => printed.push_str(&runs(&stack, &block)),
            "text" => {
                let home = stack.path("").display().to_string();
                let real =
                    printed.replace(home.trim_end_matches('/'), "/srv").replace("/srv/repo", "/srv/api");
                assert_eq!(shape(&block), shape(&real), "README:\n{block}\nreal:\n{real}");
                printed.clear();
            }
            other => panic!("a block of {other:?} in the tour"),
        }
    }
}

/// Each line with `#` for numbers, digests, and spans of time or size.
fn shape(text: &str) -> Vec<String> {
    let units = ["B", "kB", "MB", "GB", "TB", "s", "min", "h", "d"];
    let mut shapes = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace().map(masked) {
            let bare = word.trim_matches(['(', ')', ',']);
            match words.last_mut() {
                Some(last) if last.ends_with('#') && units.contains(&bare) => {
                    last.push_str(word.trim_start_matches(bare));
                }
                Some(last) if last == "#" && word == "#" => {}
                _ => words.push(word),
            }
        }
        shapes.push(words.join(" "));
    }
    shapes
}

/// A word with `#` for each number in it.
fn masked(word: &str) -> String {
    if word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit()) {
        return "#".into();
    }
    let mut masked = String::new();
    for (at, c) in word.char_indices() {
        let between = c == '.' && word[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        match c.is_ascii_digit() || between && masked.ends_with('#') {
            true if masked.ends_with('#') => {}
            true => masked.push('#'),
            false => masked.push(c),
        }
    }
    masked
}

/// The example that shows every key.
fn complete_example(page: &str) -> String {
    let all = blocks(section(page, "recovery.toml"));
    all.into_iter().find(|(language, _)| *language == "toml").expect("an example").1
}

#[test]
fn the_complete_example_loads() {
    let stack = Stack::new();
    stack.file("repo/recovery.toml", &complete_example(&page("docs/configuration.md")));
    let loaded = stack.run(&["snapshot", "--dry-run", "--json"]).ok().json();
    let tarball = loaded["tarball"].as_str().expect("a path");
    assert!(tarball.contains("/releases/acme-api-v1.4.2-"), "{tarball}");
}

/// The structs of `recovery.toml` as it is written: name → fields with their types.
fn raw_structs() -> BTreeMap<String, Vec<(String, String)>> {
    let (mut found, mut open) = (BTreeMap::<String, Vec<_>>::new(), None);
    for line in page("xtask/src/config/raw.rs").lines() {
        let name = line.split_once("struct ").and_then(|(_, rest)| rest.strip_suffix(" {"));
        match (name, &open) {
            (Some(name), _) => open = Some(name.to_owned()),
            (None, Some(name)) if line.starts_with("    ") && !line.contains("#[") => {
                let (key, kind) = line.trim().trim_start_matches("pub ").split_once(": ").expect("a field");
                let field = (key.replace('_', "-"), kind.trim_end_matches(',').to_owned());
                found.entry(name.clone()).or_default().push(field);
            }
            _ => {}
        }
        if line == "}" {
            open = None;
        }
    }
    found
}

/// Every key that the tool knows, as `section.key`; a named section is `data.*`.
fn known_keys() -> BTreeSet<String> {
    let structs = raw_structs();
    let mut keys = BTreeSet::new();
    for (key, kind) in &structs["Raw"] {
        let name = kind.trim_start_matches("BTreeMap<String, ").trim_end_matches('>');
        let section = if name == kind { key.clone() } else { format!("{key}.*") };
        match structs.get(name) {
            Some(fields) => keys.extend(fields.iter().map(|(field, _)| format!("{section}.{field}"))),
            None => drop(keys.insert(key.clone())),
        }
    }
    keys
}

/// The keys of an example, also those that are commented out.
fn shown_keys(example: &str) -> BTreeSet<String> {
    let (mut prefix, mut keys) = (String::new(), BTreeSet::new());
    for line in example.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let named = header.split_once('.').map(|(section, _)| format!("{section}.*."));
            prefix = named.unwrap_or_else(|| format!("{header}."));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.insert(format!("{prefix}{key}"));
        }
    }
    keys
}

/// What stands in the inline tables of an example.
#[test]
fn the_complete_example_shows_every_key_of_a_deployment() {
    let (example, structs) = (complete_example(&page("docs/configuration.md")), raw_structs());
    let line = example.lines().find(|line| line.starts_with("prod = {")).expect("a deployment");
    assert_eq!(structs["RawDeployment"].len(), 5, "{structs:?}");
    let lost: Vec<&String> = structs["RawDeployment"]
        .iter()
        .map(|(key, _)| key)
        .filter(|key| !line.contains(&format!("{key} = ")))
        .collect();
    assert!(lost.is_empty(), "{lost:?} in {line}");
}

#[test]
fn the_complete_example_shows_every_key() {
    let known = known_keys();
    assert!(known.len() > 30 && known.contains("destination.*.keep-daily"), "{known:?}");
    assert_eq!(shown_keys(&complete_example(&page("docs/configuration.md"))), known);
}

fn help(args: &[&str]) -> String {
    Stack::bare().run(&[args, &["--help"]].concat()).ok().stdout
}

/// The verbs in `--help`.
fn verbs() -> BTreeSet<String> {
    let help = help(&[]);
    let commands = help.split("Commands:\n").nth(1).expect("commands");
    let names = commands.lines().take_while(|line| !line.is_empty());
    names
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The first word of the first code span of each row.
fn first_words(rows: &[Vec<String>]) -> BTreeSet<String> {
    let word = |row: &Vec<String>| spans(&row[0])[0].split(' ').next().map(str::to_owned);
    rows.iter().filter_map(word).collect()
}

#[test]
fn the_pages_have_the_verbs_of_the_help() {
    let readme = page("README.md");
    assert_eq!(first_words(&table(section(&readme, "What it is"), "verb")), verbs());
    assert_eq!(first_words(&table(section(&page("docs/reference.md"), "--json"), "verb")), verbs());
}

#[test]
fn the_reference_has_the_exit_codes_of_the_help_and_of_the_code() {
    let number = |text: &str| text.trim().parse::<u8>().ok();
    let reference: BTreeSet<u8> = table(section(&page("docs/reference.md"), "Exit codes"), "code")
        .iter()
        .filter_map(|row| number(&row[0]))
        .collect();
    let help = help(&[]);
    let listed = help.split("Exit codes:").nth(1).expect("a list").lines();
    let listed: BTreeSet<u8> = listed.filter_map(|line| number(line.trim().split_once("  ")?.0)).collect();
    let code = [Exit::Done, Exit::Found, Exit::Usage, Exit::CouldNotRun, Exit::TryLater].map(Exit::code);
    assert_eq!(reference, BTreeSet::from(code));
    assert_eq!(listed, reference);
}

#[test]
fn every_flag_that_the_manual_names_is_in_the_help() {
    let manual = MANUAL.map(page).concat();
    let verbs = verbs();
    let help: String = verbs.iter().map(|verb| help(&[verb])).collect();
    let known = |flag: &str| help.lines().any(|line| line.split([' ', ',']).any(|word| word == flag));
    let mut lost = Vec::new();
    for span in spans(&prose(&manual)) {
        let verb = span.split(' ').next().is_some_and(|word| verbs.contains(word) || word.starts_with("--"));
        lost.extend(
            span.split(' ').filter(|word| verb && word.starts_with("--") && !known(word)).map(str::to_owned),
        );
    }
    assert!(lost.is_empty(), "flags that no verb has: {lost:?}");
}

/// The pages: the README, and what lies in `docs/`.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).expect("lists");
    let names = docs.map(|entry| format!("docs/{}", entry.expect("an entry").file_name().display()));
    let pages = names.filter(|name| name.ends_with(".md")).chain(["README.md".to_owned()]);
    pages.map(|name| (name.clone(), page(&name))).collect()
}

/// The sources, by their paths from the root.
fn sources() -> Vec<String> {
    let (mut open, mut found) = (vec!["xtask/src".to_owned(), "tests".to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("lists") {
            let name = format!("{folder}/{}", entry.expect("an entry").file_name().display());
            match root().join(&name).is_dir() {
                true => open.push(name),
                false => found.push(name),
            }
        }
    }
    found
}

/// Whether a code span is the name of something in this repository that is not there.
fn dangles(span: &str, sources: &[String]) -> bool {
    let path = span.split("::").next().unwrap_or_default().trim_end_matches('/');
    let ours = ["xtask/", "scripts/", "docs/", "tests/", ".ci/", ".github/"];
    if span.contains([' ', '<', '*']) || THEIRS.contains(&path) {
        false
    } else if ours.iter().any(|folder| span.starts_with(folder)) {
        !root().join(path).exists() || unknown_item(span, &format!("/{path}"), sources)
    } else {
        let behind = format!("/{path}");
        path.ends_with(".rs")
            && (!sources.iter().any(|source| source.ends_with(&behind))
                || unknown_item(span, &behind, sources))
    }
}

/// Of `file.rs::item`: no such file declares the item.
fn unknown_item(span: &str, file: &str, sources: &[String]) -> bool {
    let Some((_, item)) = span.rsplit_once("::") else { return false };
    let item = item.trim_end_matches("()");
    let kinds = ["fn", "struct", "enum", "trait", "mod", "const", "static", "type"];
    !sources.iter().filter(|source| format!("/{source}").ends_with(file)).any(|source| {
        let text = page(source);
        kinds.iter().any(|kind| {
            let declared = format!("{kind} {item}");
            text.match_indices(&declared).any(|(at, _)| {
                !text[at + declared.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
    })
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let sources = sources();
    let mut lost = Vec::new();
    for (name, text) in pages() {
        for (number, line) in text.lines().enumerate() {
            let spans = spans(line).into_iter().filter(|span| dangles(span, &sources));
            lost.extend(spans.map(|span| format!("{name}:{}: {span}", number + 1)));
        }
    }
    assert!(lost.is_empty(), "named, and not there:\n  {}", lost.join("\n  "));
}

/// The names by which headings are linked, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let prose = prose(text);
    let titles = prose.lines().filter(|line| line.starts_with('#'));
    titles
        .map(|line| {
            line.trim_matches(['#', ' '])
                .to_lowercase()
                .replace(' ', "-")
                .chars()
                .filter(|c| kept(*c))
                .collect()
        })
        .collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut lost = Vec::new();
    for (name, text) in pages() {
        let folder = root().join(&name).parent().expect("a folder").to_owned();
        for target in prose(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let other =
                if file.is_empty() { Some(text.clone()) } else { fs::read_to_string(folder.join(file)).ok() };
            let there = other.is_some_and(|other| anchor.is_empty() || anchors(&other).contains(anchor));
            if !target.contains("://") && !there {
                lost.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(lost.is_empty(), "links to nowhere:\n  {}", lost.join("\n  "));
}

/// A table with a cell too many or too few is drawn wrong.
#[test]
fn the_rows_of_a_table_have_as_many_cells_as_its_head() {
    for (name, text) in pages() {
        for table in tables(&text) {
            for row in &table {
                assert_eq!(row.len(), table[0].len(), "{name}: {row:?}");
            }
        }
    }
}
