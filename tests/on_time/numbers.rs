//! The file of `status --prometheus`, read by a strict parser of the text format.
use super::super::docs::{section_of, spans_of};
use super::super::support::{NOW, Stack, outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Samples by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `{a="b",c="d"}` from the start of a text; the labels, and what stands behind them.
fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (found, text) };
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        assert!(is_name(name) && !name.starts_with("__"), "{name:?} is no name of a label");
        let (mut content, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in value.char_indices() {
            match (escaped, c) {
                (true, 'n') => content.push('\n'),
                (true, '\\' | '"') => content.push(c),
                (true, c) => panic!("\\{c} is no escape: {text}"),
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, '\\') => {}
                (false, c) => content.push(c),
            }
            escaped = !escaped && c == '\\';
        }
        assert!(found.insert(name.to_owned(), content).is_none(), "{name} is there twice: {text}");
        let behind = &value[end.unwrap_or_else(|| panic!("an open quote: {text}")) + 1..];
        match (behind.strip_prefix(','), behind.strip_prefix('}')) {
            (Some(more), _) => rest = more,
            (_, Some(done)) => return (found, done),
            _ => panic!("neither , nor }} in {text}"),
        }
    }
}

/// The text format, version 0.0.4, as far as it has gauges without times. Panics at anything else.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
    let (mut samples, mut seen, mut open) = (Samples::new(), BTreeSet::new(), (String::new(), 0));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            open = (name.to_owned(), 1);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!((rest, open.1), (&*format!("{} gauge", open.0), 1), "{line}");
            open.1 = 2;
        } else {
            let end = line.find(['{', ' ']).expect("a value");
            assert_eq!((&line[..end], open.1), (&*open.0, 2), "not below its own TYPE: {line}");
            let (labels, value) = labels(&line[end..]);
            let value: f64 = value.strip_prefix(' ').and_then(|value| value.parse().ok()).expect(line);
            assert!(value.is_finite(), "{line}");
            assert!(samples.insert((open.0.clone(), labels), value).is_none(), "twice: {line}");
        }
    }
    samples
}

/// The one number of that name whose labels hold these.
#[track_caller]
fn number(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut found = samples.iter().filter(|((family, have), _)| {
        family == name && labels.iter().all(|(key, value)| have.get(*key).is_some_and(|have| have == value))
    });
    let Some((_, value)) = found.next() else { panic!("no {name} {labels:?} in {samples:?}") };
    assert!(found.next().is_none(), "several {name} {labels:?}");
    *value
}

fn written(stack: &Stack, now: &str, code: i32) -> Samples {
    stack.run_at(now, &["status", "--prometheus", "../metrics/recovery.prom"]).exits(code);
    assert_eq!(stack.files("metrics"), ["recovery.prom"], "and nothing else");
    let path = stack.path("metrics/recovery.prom");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
    parse(&fs::read_to_string(path).expect("text"))
}

fn stack() -> Stack {
    let stack = super::daily("quota = \"1 GB\"\n[drill]\nspot-every = \"31d\"\nfull-every = \"92d\"\n");
    fs::create_dir(stack.path("metrics")).expect("makes a folder");
    stack
}

const SECONDS: f64 = 1_773_144_000.0; // of 2026-03-10T12:00:00Z

#[test]
fn the_numbers_are_those_of_the_stack() {
    let stack = stack();
    let empty = written(&stack, NOW, 1);
    assert_eq!(number(&empty, "recovery_overdue", &[("what", "backup"), ("set", "codex-api")]), 1.0);
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.run(&["restore-drill"]).ok();
    let set = [("set", "codex-api"), ("destination", "drive")];
    let drive = [("destination", "drive")];
    let spot = [("kind", "spot")];
    let numbers = written(&stack, "2026-03-10T13:00:00Z", 1);
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        assert_eq!(number(&numbers, name, labels), value, "{name} {labels:?}");
    };
    is("recovery_status_timestamp_seconds", &[], SECONDS + 3600.0);
    is("recovery_backup_last_success_timestamp_seconds", &set, SECONDS);
    is("recovery_backup_age_seconds", &set, 3600.0);
    is("recovery_backup_interval_seconds", &set, 86_400.0);
    is("recovery_backups", &set, 1.0);
    is("recovery_backup_verified", &set, 1.0);
    let stored: u64 = stack
        .files("drive")
        .iter()
        .map(|name| fs::metadata(stack.path("drive").join(name)).expect("there").len())
        .sum();
    is("recovery_backup_bytes", &set, stored as f64);
    is("recovery_destination_used_bytes", &drive, stored as f64);
    is("recovery_destination_quota_bytes", &drive, 1e9);
    is("recovery_destination_available", &drive, 1.0);
    assert!(number(&numbers, "recovery_destination_free_bytes", &drive) > 0.0);
    assert!(number(&numbers, "recovery_backup_duration_seconds", &set) > 0.0);
    is("recovery_drill_last_success_timestamp_seconds", &spot, SECONDS);
    is("recovery_drill_last_run_timestamp_seconds", &spot, SECONDS);
    is("recovery_drill_result", &[("kind", "spot"), ("result", "verified")], 1.0);
    is("recovery_drill_result", &[("kind", "spot"), ("result", "could_not_run")], 0.0);
    is("recovery_drill_set_verified", &[("set", "codex-api"), ("kind", "spot")], 1.0);
    is("recovery_drill_rpo_seconds", &spot, 0.0);
    is("recovery_overdue", &[("what", "backup")], 0.0);
    is("recovery_overdue", &[("what", "drill"), ("kind", "spot")], 0.0);
    is("recovery_overdue", &[("what", "drill"), ("kind", "full")], 1.0);
    is("recovery_findings", &[("severity", "error")], 1.0);
    is("recovery_releases", &[], 1.0);
    // A backup that finds nothing changed is a success, too, and the file is replaced.
    outcome(stack.plain(&["backup"]).env("RECOVERY_NOW", "2026-03-11T12:00:00Z")).ok();
    let later = written(&stack, "2026-03-11T12:00:00Z", 1);
    assert_eq!(number(&later, "recovery_backup_last_success_timestamp_seconds", &set), SECONDS + 86_400.0);
    // Of a drive that is away, what is remembered.
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let away = format!("mount = \"{}\"\n[drill]", stack.path("drive").display());
    fs::write(&path, text.replace("[drill]", &away)).expect("writes");
    let away = written(&stack, "2026-03-12T13:00:00Z", 1);
    assert_eq!(number(&away, "recovery_destination_available", &drive), 0.0);
    assert_eq!(number(&away, "recovery_backup_age_seconds", &set), 90_000.0);
    assert_eq!(number(&away, "recovery_overdue", &[("what", "backup")]), 1.0);
}

/// The page has every name that occurs, and no other.
#[test]
fn the_page_lists_the_numbers() {
    let stack = stack();
    for verb in ["snapshot", "backup", "verify", "restore-drill"] {
        stack.run(&[verb]).ok();
    }
    let real: BTreeSet<String> = written(&stack, NOW, 1).into_keys().map(|(name, _)| name).collect();
    let page = section_of("docs/format.md", "The numbers for Prometheus");
    let listed =
        spans_of(&page).into_iter().filter(|span| span.starts_with("recovery_")).collect::<BTreeSet<_>>();
    assert_eq!(listed, real);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_the_rest_is_told() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let document = stack.run(&["status", "--json", "--prometheus", "../none/x.prom"]).exits(1).json();
    assert_eq!(document["data"].as_array().map(Vec::len), Some(1));
    assert!(document["findings"].to_string().contains("x.prom"), "{document}");
    // What is no file is not replaced by one.
    stack.sh(".", "mkfifo pipe; ln -s target link; touch target");
    for name in ["pipe", "link", "home"] {
        stack.run(&["status", "--prometheus", &format!("../{name}")]).exits(1).says(&["no plain file"]);
    }
    assert_eq!(stack.sh(".", "stat -c %F pipe link home").trim(), "fifo\nsymbolic link\ndirectory");
    // Nor is a file of somebody else, or of our own.
    let before = stack.listing("repo");
    for flag in ["--prometheus", "--html"] {
        for name in ["recovery.toml", ".recovery/history.jsonl", ".codex-api/big.bin"] {
            stack.run(&["status", flag, name]).exits(1).says(&["was not written by an earlier run"]);
        }
    }
    assert_eq!(stack.listing("repo"), before);
}

#[test]
fn the_parser_is_strict() {
    let good = "# HELP a b.\n# TYPE a gauge\na{x=\"\\\"\\\\\\n\",y=\"\"} 1\na 2.5\n";
    assert_eq!(parse(good).len(), 2);
    for (from, to) in [
        ("# TYPE a gauge\n", ""),
        ("a 2.5\n", "a 2.5"),
        ("a 2.5\n", "b 2.5\n"),
        ("a 2.5\n", "a many\n"),
        ("a 2.5\n", "a 2.5\na 3\n"),
        ("a 2.5\n", "# HELP a b.\n"),
        (",y=\"\"}", ",y=\"}"),
        (",y=\"\"}", ",x=\"\"}"),
        ("\\n", "\\t"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(std::panic::catch_unwind(|| parse(&bad)).is_err(), "{bad}");
    }
}
