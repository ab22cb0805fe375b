//! `docs/format.md`, held against the code's constants and against artifacts that the tool has written.
use super::markdown::{blocks, fields, page, section, spans, table};
use crate::docker::engine::Engine;
use crate::support::{Stack, outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use xtask::archive::block::{MAX_BLOCK, Rule};
use xtask::archive::codec::Codec;
use xtask::archive::entry::{END, MAX_EXTENSION, RECORD};

const PAGE: &str = "docs/format.md";
const LATER: &str = "2026-03-12T12:00:00Z";

/// A stack with an artifact of every kind, in which every field occurs.
fn written() -> Stack {
    let stack = Stack::new();
    stack.configure("confirm = 'true'\n");
    stack.sh(
        "repo/.codex-api",
        "truncate -s 9000000 holes; : > $'not \\xff utf-8'; ln -s $'to \\xff' odd; touch -d '2026-01-01 00:00:00.5' big.bin
         if [ \"$(id -u)\" = 0 ]; then chown 1234:1234 big.bin; fi",
    );
    let published = ["publish", "--url", "https://example.org/v1.4.2"];
    for args in [&["snapshot"][..], &published, &["backup"], &["verify"], &["restore-drill"]] {
        stack.run(args).ok();
    }
    for args in [&["backup"][..], &["verify"], &["prune", "--keep", "1"]] {
        stack.run_at(LATER, args).ok();
    }
    // And once more with nothing changed, which is remembered.
    outcome(stack.plain(&["backup"]).env("RECOVERY_NOW", LATER)).ok();
    stack
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The lines of the backup's manifest.
fn manifest(stack: &Stack) -> Vec<Value> {
    let path = stack.one("drive", ".manifest.jsonl.gz");
    json_lines(&stack.sh(".", &format!("zcat '{}'", path.display())))
}

fn json_file(stack: &Stack, folder: &str, ending: &str) -> Value {
    serde_json::from_slice(&fs::read(stack.one(folder, ending)).expect("reads")).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// The names in the first column of the first table.
fn first_column(text: &str) -> BTreeSet<String> {
    table(text, "field").iter().flat_map(|row| spans(&row[0])).collect()
}

/// 1,048,576.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let (head, rest) = digits.split_at(head);
    let groups = rest.as_bytes().chunks(3).map(|three| String::from_utf8_lossy(three).into_owned());
    let head = Some(head.to_owned()).filter(|head| !head.is_empty());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// The numbers of a text that are written in groups of three digits.
fn grouped_numbers(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != ',').map(|word| word.trim_matches(','));
    words.filter(|word| word.contains(',')).map(str::to_owned).collect()
}

#[test]
fn the_numbers_of_the_cut_rule_are_those_of_the_code() {
    let text = page(PAGE);
    let blocks = section(&text, "Blocks");
    let rules = [("gzip", Rule::of(Codec::Gzip)), ("zstd", Rule::of(Codec::Zstd))];
    let numbers = rules.iter().flat_map(|(_, rule)| [rule.min, rule.every]).chain([MAX_BLOCK]);
    assert_eq!(grouped_numbers(blocks), numbers.map(grouped).collect());
    let shown = |bytes: u64| format!("{} ({} MiB)", grouped(bytes), bytes >> 20);
    assert!(blocks.contains(&shown(MAX_BLOCK)), "{blocks}");
    for (name, rule) in rules {
        let row = format!("| {name} | {} | {} |", shown(rule.min), shown(rule.every));
        assert!(blocks.contains(&row), "no {row:?} in: {blocks}");
    }
}

#[test]
fn the_numbers_of_the_tar_stream_are_those_of_the_code() {
    let text = page(PAGE);
    let stream = section(&text, "The tar stream");
    assert!(grouped_numbers(stream).contains(&grouped(END.len() as u64)), "{stream}");
    assert!(section(&text, "Headers").contains(&format!(" {RECORD} bytes")), "{stream}");
    assert!(section(&text, "Reading").contains(&format!(" {} MiB", MAX_EXTENSION >> 20)), "{stream}");
}

#[test]
fn levels_and_frames_of_the_containers_are_those_of_the_code() {
    let text = page(PAGE);
    for (title, codec) in [("gzip", Codec::Gzip), ("zstd", Codec::Zstd)] {
        let section = section(&text, title);
        assert!(section.to_lowercase().contains(&format!("level {}", codec.level())), "{section}");
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let gzip = section(&text, "gzip");
    let (prologue, epilogue) = (Codec::Gzip.prologue(), Codec::Gzip.epilogue(0, 0));
    assert!(gzip.contains(&format!("{} bytes: `{}`", prologue.len(), hex(prologue))), "{gzip}");
    assert!(gzip.contains(&format!("{} bytes", epilogue.len())), "{gzip}");
    assert!(gzip.contains(&format!("(`{}`)", hex(&epilogue[..2]))), "{gzip}");
    assert!(Codec::Zstd.prologue().is_empty() && Codec::Zstd.epilogue(0, 0).is_empty());
    assert!(section(&text, "zstd").contains("Prologue and epilogue are empty"));
}

/// The manifest that the page shows.
fn example() -> Vec<Value> {
    let text = page(PAGE);
    let shown =
        blocks(section(&text, "The manifest")).into_iter().find(|(_, block)| block.starts_with("{\"line\":"));
    json_lines(&shown.expect("an example").1)
}

#[test]
fn the_manifest_shown_names_the_encoder_of_the_code() {
    let header = &example()[0];
    let codec = if header["codec"] == "gzip" { Codec::Gzip } else { Codec::Zstd };
    assert_eq!((&header["encoder"], &header["level"]), (&codec.encoder().into(), &codec.level().into()));
    assert_eq!(header["schema"], xtask::archive::manifest::SCHEMA);
    assert_eq!(header["tool"], xtask::commands::TOOL);
}

/// The lines of the manifest shown stand in the order in which the tool writes them.
#[test]
fn the_manifest_shown_is_in_the_order_of_real_ones() {
    for lines in [example(), manifest(&written())] {
        let (mut block, mut entries) = (None::<u64>, 0u64);
        for line in &lines {
            match line["line"].as_str().expect("a kind") {
                "block" => block = Some(block.map_or(0, |block| block + 1)),
                "entry" => {
                    entries += 1;
                    let last =
                        line["block"].as_u64().expect("a number") + line["blocks"].as_u64().unwrap_or(1) - 1;
                    assert_eq!(Some(last), block, "behind its blocks: {line}");
                }
                _ => {}
            }
        }
        let end = lines.last().expect("lines");
        assert_eq!((&lines[0]["line"], &end["line"]), (&"header".into(), &"end".into()));
        assert_eq!(
            (&end["blocks"], &end["entries"]),
            (&block.map_or(0, |block| block + 1).into(), &entries.into())
        );
    }
}

/// The documented fields of each kind of line: the table under `**kind**`, or the names behind it.
fn documented_lines() -> BTreeMap<String, BTreeSet<String>> {
    let text = page(PAGE);
    let manifest = section(&text, "The manifest");
    let mut found = BTreeMap::new();
    for part in manifest.split("\n**").skip(1) {
        let (kind, rest) = part.split_once("**").expect("a kind");
        let names = match rest.contains("\n| field |") {
            true => first_column(rest),
            false => spans(rest.split('.').next().unwrap_or_default()).into_iter().collect(),
        };
        found.insert(kind.to_owned(), names);
    }
    found
}

#[test]
fn a_manifest_has_the_fields_that_the_page_says_and_no_others() {
    let mut real = BTreeMap::<String, BTreeSet<String>>::new();
    for line in manifest(&written()) {
        let kind = line["line"].as_str().expect("a kind").to_owned();
        real.entry(kind).or_default().extend(keys(&line).into_iter().filter(|key| key != "line"));
    }
    assert_eq!(documented_lines(), real);
}

#[test]
fn a_lock_has_the_fields_that_the_page_says_and_no_others() {
    let (text, stack) = (page(PAGE), written());
    assert_eq!(
        first_column(section(&text, "The lock")),
        keys(&json_file(&stack, "repo/releases", ".lock.json"))
    );
}

#[test]
fn the_evidence_has_the_fields_that_the_page_says_and_no_others() {
    let (text, stack) = (page(PAGE), written());
    let rows = table(section(&text, "The evidence of a drill"), "field");
    let evidence = json_file(&stack, "repo/docs/drills", ".json");
    assert_eq!(rows.iter().flat_map(|row| spans(&row[0])).collect::<BTreeSet<_>>(), keys(&evidence));
    for row in rows {
        let value = &evidence[&spans(&row[0])[0]];
        let shown: BTreeSet<String> = fields(&row[2]).into_iter().map(|field| field.name).collect();
        if let Some(object) =
            value.as_array().map_or(Some(value), |list| list.first()).filter(|one| one.is_object())
        {
            assert_eq!(shown, keys(object), "{row:?}");
        }
    }
}

#[test]
fn the_history_has_the_records_that_the_page_says_and_no_others() {
    let (text, stack) = (page(PAGE), written());
    let service = "stop = \"true\"\nstart = \"true\"\nsmoke = [\"true\"]\ndeploy = \"true\"\n";
    stack.configure(&format!("confirm = 'true'\n[drill]\n{service}"));
    stack.run_at(LATER, &["restore-drill", "full", "--yes"]).ok();
    stack.run_at("2026-03-20T12:00:00Z", &["prune"]).ok();
    images(&stack);
    let common = ["schema", "kind", "time", "sum"].map(str::to_owned);
    let shown: BTreeSet<(String, BTreeSet<String>)> = table(section(&text, "The history"), "kind")
        .iter()
        .map(|row| (spans(&row[0])[0].clone(), fields(&row[1]).into_iter().map(|field| field.name).collect()))
        .collect();
    let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
    let real: BTreeSet<(String, BTreeSet<String>)> = json_lines(&history)
        .iter()
        .map(|line| {
            (line["kind"].as_str().expect("a kind").to_owned(), &keys(line) - &BTreeSet::from(common.clone()))
        })
        .collect();
    assert_eq!(shown, real);
}

/// An image that is recorded, rolled back to, and loses its name with its lock.
fn images(stack: &Stack) {
    let engine = Engine::of(stack);
    engine.image('a', &["acme-api:latest"]);
    let snapshot = ["snapshot", "--keep", "1", "--prune", "--prune-docker"];
    for version in ["8", "9"] {
        stack.commit(version, &format!("2026-03-0{version}T08:30:00Z"));
        engine
            .run(&[&snapshot[..], &["--docker-image", "acme-api:latest", "--version", version]].concat())
            .ok();
    }
    engine.run(&["rollback", "--env", "prod"]).ok();
}

/// The version that a real document of this kind has.
fn version_of(stack: &Stack, document: &str, field: &str) -> Value {
    match document {
        "manifest" => manifest(stack)[0][field].clone(),
        "lock" => json_file(stack, "repo/releases", ".lock.json")[field].clone(),
        "evidence" => json_file(stack, "repo/docs/drills", ".json")[field].clone(),
        "history" => {
            let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
            json_lines(&history)[0][field].clone()
        }
        "`recovery.toml`" => {
            let text = stack.run(&["init", "--dry-run"]).ok().stdout;
            let shown = text.lines().find_map(|line| line.strip_prefix(&format!("{field} = ")));
            shown.and_then(|number| number.parse().ok()).map_or(Value::Null, |number: u64| number.into())
        }
        "`--json`" => stack.run(&["snapshot", "--json"]).ok().json()[field].clone(),
        other => panic!("no sample of {other:?}"),
    }
}

#[test]
fn the_versions_are_those_of_real_documents() {
    let (text, stack) = (page(PAGE), written());
    let rows = table(section(&text, "Versions"), "document");
    assert!(rows.len() >= 6, "{rows:?}");
    for row in rows {
        let number: u64 = row[2].split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        assert_eq!(version_of(&stack, &row[0], &spans(&row[1])[0]), number, "{row:?}");
    }
}
