//! `docs/schemas/`: real documents of real runs are as their schema says, and broken ones are not.
//!
//! No schema lets a field through that it does not name: whoever adds one to a document describes it, or fails here.
use super::docker::engine::Engine;
use super::publish;
use super::support::{Stack, outcome};
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LATER: &str = "2026-03-12T12:00:00Z";
const SCHEMAS: [&str; 6] =
    ["document", "drill-journal", "drill-record", "history-line", "lock", "manifest-line"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas")
}

fn schema(name: &str) -> Value {
    let path = folder().join(format!("{name}.schema.json"));
    serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")
}

/// A schema, ready to hold documents against it.
struct Ready {
    schemas: Schemas,
    index: SchemaIndex,
}

/// What is no schema of the draft is refused.
fn compiled(schema: Value) -> Result<Ready, String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource("file:///schema.json", schema).map_err(|error| error.to_string())?;
    let index =
        compiler.compile("file:///schema.json", &mut schemas).map_err(|error| format!("{error:#}"))?;
    Ok(Ready { schemas, index })
}

fn ready(name: &str) -> Ready {
    compiled(schema(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl Ready {
    /// What is wrong with a document, if anything is.
    fn fault(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }
}

#[track_caller]
fn sound(name: &str, documents: &[Value]) {
    let schema = ready(name);
    assert!(!documents.is_empty(), "nothing to hold against {name}");
    for document in documents {
        if let Some(fault) = schema.fault(document) {
            panic!("{name}: {fault}\n{document:#}");
        }
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Everything that is stored by runs of every kind: by schema.
fn stored() -> BTreeMap<&'static str, Vec<Value>> {
    let stack = Stack::new();
    stack.configure("confirm = 'true'\n[drill]\nrpo-target = \"1h\"\nrto-target = \"15m\"\n");
    stack.sh(
        "repo/.codex-api",
        "truncate -s 9000000 holes; : > $'not \\xff utf-8'; ln -s $'to \\xff' odd; ln -s config.toml even
         if [ \"$(id -u)\" = 0 ]; then chown 1234:1234 big.bin; fi",
    );
    for args in [
        &["snapshot"][..],
        &["publish", "--url", "https://example.org/v1"],
        &["backup"],
        &["verify"],
        &["snapshot", "--no-tarball", "--version", "9"],
    ] {
        stack.run(args).ok();
    }
    for args in [&["restore-drill", "--owner", "Ada", "--due", "2026-04-30"][..], &["backup"], &["verify"]] {
        stack.run_at(LATER, args).ok();
    }
    outcome(stack.plain(&["backup"]).env("RECOVERY_NOW", LATER)).ok();
    // A drill that is not verified, and what it says of what is damaged; one that could not run.
    let newest = stack.files("drive").into_iter().rfind(|name| name.ends_with(".tar.gz")).expect("a backup");
    super::support::flip(&stack.path("drive").join(newest), 200);
    stack.run_at(LATER, &["restore-drill"]).exits(1);
    stack.run_at(LATER, &["verify"]).exits(1);
    stack.run_at(LATER, &["prune", "--keep", "1"]);
    let mount = stack.path("drive").display().to_string();
    stack.configure(&format!("mount = \"{mount}\"\n"));
    stack.run_at(LATER, &["restore-drill"]).exits(75);
    let of = |folder: &str, ending: &str| -> Vec<Value> {
        let names = stack.files(folder).into_iter().filter(|name| name.ends_with(ending));
        let read = |name: String| fs::read(stack.path(folder).join(name)).expect("reads");
        names.map(|name| serde_json::from_slice(&read(name)).expect("JSON")).collect()
    };
    // Images: recorded, rolled back to (which fails once), and with a stale name.
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    engine.set(&format!("images/{}", "a".repeat(64)), "ghcr.io/acme/api@sha256:00\n");
    for version in ["6", "7"] {
        stack.commit(version, &format!("2026-03-0{version}T08:30:00Z"));
        engine.run(&["snapshot", "--docker-image", "acme-api:latest", "--version", version]).ok();
    }
    engine.run(&["snapshot", "--version", "7", "--keep", "1", "--prune", "--prune-docker"]).ok();
    engine.run(&["rollback", "--env", "prod"]).ok();
    stack.file("repo/docker-compose.yml", "services:\n");
    engine.run(&["rollback", "--env", "prod"]).exits(3);
    // A full drill, whose start keeps a copy of its journal; and what it has left, removed.
    let full = Stack::new();
    full.configure(
        "[drill]\nstop = \"true\"\nstart = \"cp .recovery/drill.json journal.json\"\nsmoke = [\"true\"]\n",
    );
    full.run(&["backup"]).ok();
    full.run_at(LATER, &["restore-drill", "full", "--yes"]).ok();
    full.run_at("2026-03-20T12:00:00Z", &["prune"]).ok();
    let file = |name: &str| fs::read_to_string(full.path(name)).expect("reads");
    let of_full: Vec<Value> = full
        .files("repo/docs/drills")
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .map(|name| serde_json::from_str(&file(&format!("repo/docs/drills/{name}"))).expect("JSON"))
        .collect();
    let journal: Value = serde_json::from_str(&file("repo/journal.json")).expect("JSON");
    // Shares of two copies with a canary; then the first record is lost, which is accepted.
    let shared = Stack::new();
    fs::create_dir(shared.path("usb")).expect("makes");
    shared.configure(&format!("[destination.usb]\npath = \"{}\"\n", shared.path("usb").display()));
    let text = fs::read_to_string(shared.path("repo/recovery.toml")).expect("reads");
    let more = "sample = \"25%\"\ncanary = \".recovery-canary\"\ndestination = [\"drive\", \"usb\"]\n[destination.drive]";
    shared.file("repo/recovery.toml", &text.replacen("[destination.drive]", more, 1));
    shared.sh("repo/.codex-api", "for n in a b c d e f g; do head -c 1500000 /dev/urandom > $n.bin; done");
    shared.run(&["backup"]).ok();
    for _ in 0..2 {
        shared.run_at(LATER, &["restore-drill"]).ok();
    }
    let of_shared = |name: &str| fs::read_to_string(shared.path(name)).expect("reads");
    let records = || -> Vec<Value> {
        let names = shared.files("repo/docs/drills").into_iter().filter(|name| name.ends_with(".json"));
        let read = |name: String| of_shared(&format!("repo/docs/drills/{name}"));
        names.map(|name| serde_json::from_str(&read(name)).expect("JSON")).collect()
    };
    let drilled = records();
    shared.sh("repo/docs/drills", "rm drill-*.json");
    shared.run_at(LATER, &["verify", "--evidence", "--accept-lost", "by a test"]).ok();
    let manifests = "find drive repo/releases -name '*.manifest.jsonl.gz' -print0 | xargs -0 zcat";
    BTreeMap::from([
        ("lock", of("repo/releases", ".lock.json")),
        ("manifest-line", json_lines(&stack.sh(".", manifests))),
        ("drill-record", [of("repo/docs/drills", ".json"), of_full, drilled, records()].concat()),
        ("drill-journal", vec![journal]),
        (
            "history-line",
            [
                json_lines(&stack.sh("repo/.recovery", "cat history.jsonl")),
                json_lines(&file("repo/.recovery/history.jsonl")),
                json_lines(&of_shared("repo/.recovery/history.jsonl")),
            ]
            .concat(),
        ),
    ])
}

/// One document of every shape that `--json` has.
fn printed() -> Vec<Value> {
    let stack = Stack::new();
    stack.configure("keep = 3\n[drill]\nspot-every = \"31d\"\nrpo-target = \"1h\"\n");
    let lock = "releases/acme-api-v1.4.2-2026-03-01T083000Z.lock.json";
    let calls: [&[&str]; 28] = [
        &["doctor"],
        &["completions", "fish"],
        &["man", "--to", "../man1"],
        &["snapshot", "--dry-run"],
        &["snapshot"],
        &["snapshot"],
        &["publish", "--url", "https://example.org/v1", "--dry-run"],
        &["publish", "--url", "https://example.org/v1"],
        &["status"],
        &["backup", "--dry-run"],
        &["backup"],
        &["backup", "--if-due"],
        &["verify"],
        &["restore-drill", "--dry-run"],
        &["restore-drill", "--owner", "Ada"],
        &["restore-drill", "--if-due"],
        &["restore-drill", "recover"],
        &["restore-drill", "history"],
        &["verify", "--evidence"],
        &["verify", "--rebuild", lock],
        &["restore", "codex-api", "--explain"],
        &["restore", "codex-api", "--to", "../back"],
        &["restore", "codex-api", "--to", "../back"],
        &["prune"],
        &["status"],
        &["schedule", "cron"],
        &["schedule", "systemd"],
        &["init", "--dry-run"],
    ];
    let mut found: Vec<Value> =
        calls.iter().map(|args| stack.run_at(LATER, &[args, &["--json"][..]].concat()).json()).collect();
    found.push(stack.run(&["no-such-verb", "--json"]).exits(2).json());
    publish::forge(&stack);
    found.extend(
        [&["--replace-url", "--dry-run", "--json"][..], &["--replace-url", "--json"]]
            .map(|args| publish::publish(&stack, args).ok().json()),
    );
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    stack.file("drive/2025-11-01/codex-api-2025-11-01T030000Z.tar.gz", "");
    stack.file("drive/2025-11-01/codex-api-2025-11-01T030000Z.tar.gz.sha256", "");
    for args in [
        &["snapshot", "--docker-image", "acme-api:latest", "--json"][..],
        &["rollback", "--env", "prod", "--json"],
        &["rollback", "--env", "prod", "--dry-run", "--json"],
        &["prune", "--prune-docker", "--json"],
        &["status", "--json"],
    ] {
        found.push(engine.run(args).json());
    }
    stack.file("repo/docker-compose.yml", "services:\n");
    found.push(engine.run(&["rollback", "--env", "prod", "--json"]).exits(3).json());
    found
}

#[test]
fn every_stored_document_is_as_its_schema_says() {
    let stored = stored();
    for (name, documents) in &stored {
        sound(name, documents);
    }
    // Nothing of what the schemas speak of was left out.
    let results: BTreeSet<&str> =
        stored["drill-record"].iter().filter_map(|record| record["result"].as_str()).collect();
    assert_eq!(results, BTreeSet::from(["could_not_run", "not_verified", "verified"]));
    let kinds: BTreeSet<&str> =
        stored["history-line"].iter().filter_map(|line| line["kind"].as_str()).collect();
    let known = [
        "snapshot",
        "published",
        "backup",
        "uploaded",
        "confirmed",
        "verified",
        "damaged",
        "sampled",
        "drill",
        "aside",
        "aside-removed",
        "untagging",
        "untagged",
        "rollback",
    ];
    for kind in known {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    for kind in ["spot", "full", "lost"] {
        assert!(stored["drill-record"].iter().any(|record| record["kind"] == kind), "{kind}");
    }
    assert!(stored["history-line"].iter().any(|line| line["canary"]["sha256"].is_string()), "no canary");
    let artifacts =
        || stored["drill-record"].iter().filter_map(|record| record["artifacts"].as_array()).flatten();
    assert!(artifacts().any(|it| it["part"]["of"] == 4 && it["copy"] == "usb"), "no part of a copy");
    let lines: BTreeSet<&str> =
        stored["manifest-line"].iter().filter_map(|line| line["line"].as_str()).collect();
    assert_eq!(lines, BTreeSet::from(["block", "end", "entry", "header"]));
    assert!(stored["drill-record"].iter().any(|record| record["findings"][0]["owner"] == "Ada"));
}

#[test]
fn every_document_of_json_is_as_its_schema_says() {
    sound("document", &printed());
}

#[test]
fn golden_evidence_is_as_its_schema_says() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/evidence");
    let entries = fs::read_dir(data).expect("lists").map(|entry| entry.expect("an entry").path());
    let records = entries.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let records: Vec<Value> =
        records.map(|path| serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")).collect();
    assert_eq!(records.len(), 8);
    sound("drill-record", &records);
}

/// Every way to break a document that a schema must notice: each field of its own taken away, one of no schema added,
/// and each value replaced by one of a kind that nothing has.
#[test]
fn broken_documents_are_refused() {
    let mut all = stored();
    all.insert("document", printed());
    for (name, documents) in all {
        let schema = ready(name);
        let optional = optional_fields(name);
        for document in sample(&documents) {
            let fields: Vec<String> = document.as_object().expect("an object").keys().cloned().collect();
            let broken = |change: &dyn Fn(&mut Value)| {
                let mut broken = document.clone();
                change(&mut broken);
                schema.fault(&broken)
            };
            assert!(broken(&|d| d["weather"] = "fine".into()).is_some(), "{name}: a field too many");
            for field in fields {
                let refused = |fault: Option<String>, what: &str| {
                    assert!(fault.is_some(), "{name}: {field} {what}: {document:#}");
                };
                if !optional.contains(&&*field) {
                    refused(
                        broken(&|d| drop(d.as_object_mut().expect("an object").remove(&field))),
                        "is gone",
                    );
                }
                refused(broken(&|d| d[&field] = json!({"no": ["such", "value"]})), "is something else");
            }
        }
    }
}

/// What need not be there.
fn optional_fields(name: &str) -> &'static [&'static str] {
    match name {
        "manifest-line" => &["size", "uid", "gid", "mtime_nanos", "blocks", "state"],
        "drill-record" => &[
            "operator",
            "loss_now_seconds",
            "coverage",
            "not_tested",
            "findings",
            "reasons",
            "signature",
            "lost",
        ],
        "document" => &["recipe"],
        "drill-journal" => &["sign_with", "operator", "rto_target_seconds", "rpo_target_seconds"],
        _ => &[],
    }
}

/// One document of each shape: by its fields, and by its kind.
fn sample(documents: &[Value]) -> Vec<&Value> {
    let mut shapes = BTreeMap::new();
    for document in documents {
        let fields: Vec<&String> = document.as_object().expect("an object").keys().collect();
        shapes.entry((document["kind"].to_string(), fields)).or_insert(document);
    }
    shapes.into_values().collect()
}

/// Deeper than the first level: what stands in lists and objects is described as well.
#[test]
fn what_stands_within_is_described_too() {
    let stored = stored();
    let mut records = stored["drill-record"].iter();
    let record = records.find(|record| record["findings"][0]["owner"] == "Ada").expect("a record");
    let schema = ready("drill-record");
    for path in ["/steps/0", "/artifacts/0", "/operator", "/tool", "/findings/0"] {
        let mut broken = record.clone();
        broken.pointer_mut(path).unwrap_or_else(|| panic!("no {path} in {record:#}"))["weather"] =
            "fine".into();
        assert!(schema.fault(&broken).is_some(), "{path}");
    }
    for (path, value) in [
        ("/result", json!("passed")),
        ("/steps/0/outcome", json!("passed")),
        ("/steps/0/seconds", json!(-1)),
        ("/started_at", json!("yesterday")),
        ("/id", json!("drill-x")),
        ("/operator/uid", json!("0")),
        ("/findings/0/due", json!("soon")),
        ("/artifacts/0/sha256", json!("abc")),
    ] {
        let mut broken = record.clone();
        *broken.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        assert!(schema.fault(&broken).is_some(), "{path}");
    }
}

#[test]
fn each_schema_is_one_of_the_draft_and_refuses_what_it_does_not_name() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, SCHEMAS.map(|name| format!("{name}.schema.json")));
    for name in SCHEMAS {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        closed(name, &schema);
        ready(name);
        let mut broken = schema.clone();
        broken["type"] = "no type".into();
        assert!(compiled(broken).is_err(), "{name}: what is no schema is refused");
    }
}

/// Every object with fields says that it has no others.
fn closed(name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("type") == Some(&json!("object")) {
                assert!(fields.contains_key("additionalProperties"), "{name}: {value:#}");
            }
            fields.values().for_each(|value| closed(name, value));
        }
        Value::Array(items) => items.iter().for_each(|value| closed(name, value)),
        _ => {}
    }
}
