//! The reference's table of `--json` documents, held against real ones.
use super::markdown::{Field, fields, page, section, spans, table};
use crate::docker::engine::Engine;
use crate::publish;
use crate::support::Stack;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The bundle that the first call of the table has made.
const LOCK: &str = "releases/acme-api-v1.4.2-2026-03-01T083000Z.lock.json";

/// What every document has.
const COMMON: [&str; 3] = ["schema_version", "command", "status"];

/// One row: how the tool is called, and what its document holds.
struct Row {
    call: String,
    statuses: Vec<String>,
    fields: Vec<Field>,
    /// Of a field that is a list: what each item holds.
    items: BTreeMap<String, Vec<Field>>,
}

/// The rows; "the same without …" is the row above.
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for cells in table(section(&page("docs/reference.md"), "--json"), "verb") {
        let mut row = Row {
            call: spans(&cells[0])[0].clone(),
            statuses: spans(&cells[1]),
            fields: Vec::new(),
            items: BTreeMap::new(),
        };
        for part in cells[2].split("; ") {
            row.add(part, rows.last());
        }
        rows.push(row);
    }
    rows
}

impl Row {
    fn add(&mut self, part: &str, above: Option<&Self>) {
        if let Some(less) = part.strip_prefix("the same") {
            let less = spans(less);
            let same = above.expect("a row above").fields.iter().filter(|field| !less.contains(&field.name));
            self.fields.extend(same.cloned());
        } else if let Some((list, each)) = part.split_once(": each ") {
            self.fields.extend(fields(list));
            let list = self.fields.last().expect("a list").name.clone();
            self.items.insert(list, fields(each));
        } else {
            self.fields.extend(fields(part));
        }
    }

    /// Its arguments, with what the verb cannot do without.
    fn args(&self) -> Vec<&str> {
        let mut args: Vec<&str> = self.call.split(' ').collect();
        match args[0] {
            "restore" => args.extend(["codex-api", "--to", "../back"]),
            "init" => args.push("--force"),
            // A bundle that is published has an address already.
            "publish" if self.call.contains("--url") => args.push("--replace-url"),
            "rollback" => args.extend(["--env", "prod", "--image-id", "acme-api:latest"]),
            "verify" if self.call.ends_with("--rebuild") => args.push(LOCK),
            _ => {}
        }
        args.push("--json");
        args
    }
}

/// The object holds these fields and no others; null and values as they are documented.
#[track_caller]
fn holds(call: &str, object: &Map<String, Value>, documented: &[Field], common: &[&str]) {
    let real: BTreeSet<&str> =
        object.keys().map(String::as_str).filter(|key| !common.contains(key)).collect();
    let shown: BTreeSet<&str> = documented.iter().map(|field| &field.name[..]).collect();
    assert_eq!(shown, real, "`{call}`: documented, and real");
    for field in documented {
        let value = &object[&field.name];
        assert!(!field.null || value.is_null(), "`{call}`: {} is {value}, not null", field.name);
        let known = value
            .as_str()
            .is_none_or(|text| field.values.is_empty() || field.values.iter().any(|one| one == text));
        assert!(known, "`{call}`: {} is {value}, not one of {:?}", field.name, field.values);
    }
}

/// One stack, each call of the table in its order.
#[test]
fn documents_hold_what_the_reference_says() {
    let stack = Stack::new();
    stack.configure("keep = 3\n[drill]\nspot-every = \"31d\"\n");
    publish::forge(&stack);
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    stack.file("drive/2025-11-01/codex-api-2025-11-01T030000Z.tar.gz.sha256", "");
    stack.file("drive/2025-11-01/codex-api-2025-11-01T030000Z.tar.gz", "");
    for row in rows() {
        // An old backup is listed, and so far it is none that could be verified.
        let old = stack.path("drive/2025-11-01");
        if row.call == "verify" || row.call == "prune" {
            let _ = fs::rename(&old, stack.path("old"));
        } else if stack.path("old").exists() {
            fs::rename(stack.path("old"), old).expect("moves");
        }
        let said = engine.run_with(&[("GH_TOKEN", "x")], &row.args()).ok();
        let document = said.json();
        let status = document["status"].as_str().unwrap_or_default();
        assert!(row.statuses.iter().any(|one| one == status), "`{}`: status {status:?}", row.call);
        holds(&row.call, document.as_object().expect("an object"), &row.fields, &COMMON);
        for (list, each) in &row.items {
            let items = document[list].as_array().expect("a list");
            assert!(!items.is_empty(), "`{}`: nothing in {list}: {}", row.call, said.shown());
            for item in items {
                holds(&format!("{} {list}", row.call), item.as_object().expect("an object"), each, &[]);
            }
        }
    }
}

/// The fields of `error`, and of a finding, are named in the text in front of the table.
#[test]
fn errors_and_findings_hold_what_the_reference_says() {
    let reference = page("docs/reference.md");
    let text = section(&reference, "--json").split("\n|").next().unwrap_or_default().replace('\n', " ");
    let listed = |behind: &str| {
        let list = text.split(behind).nth(1).unwrap_or_else(|| panic!("no {behind:?} in {text}"));
        fields(list.split([';', '.']).next().unwrap_or_default())
    };
    let stack = Stack::configured();
    let error = stack.run(&["restore", "nothing", "--to", "../back", "--json"]).exits(3).json();
    holds("error", error["error"].as_object().expect("an object"), &listed("`error`: "), &[]);
    let status = stack.run(&["status", "--json"]).exits(1).json();
    let finding = status["findings"][0].as_object().expect("a finding");
    holds("finding", finding, &listed("A finding is "), &[]);
}
