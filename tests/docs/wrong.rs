//! The runbook, "When something is wrong": each row's commands do what it says, in a scene where that has happened.
use super::super::support::{Stack, flip};
use super::markdown::{page, section, spans, tables};
use super::{runs, stack};
use std::fs;

/// What a row begins with, how it comes to that, and what its commands lead to.
type Row = (&'static str, fn(&Stack), fn(&Stack));

const ROWS: [Row; 7] = [
    ("the drive is full", |stack| three(stack), |stack| assert_eq!(archives(stack), 1)),
    (
        "a backup is damaged",
        |stack| {
            backup(stack, "2026-03-01");
            flip(&stack.one("drive", ".tar.gz"), 300);
            stack.run(&["verify"]).exits(1);
            stack.run(&["status"]).exits(1);
        },
        |stack| {
            // The new one is whole, and the damaged one is told until it is out of the way.
            stack.run(&["status"]).exits(1).says(&["2026-03-01T120000Z", "is damaged"]);
            stack.sh("drive", "rm -r 2026/03-01");
            stack.run(&["prune", "--forget-lost"]).ok();
            stack.run(&["status"]).ok();
        },
    ),
    (
        "a backup is lost",
        |stack| {
            three(stack);
            stack.sh("drive", "rm -r 2026/03-01");
            stack.run(&["prune"]).exits(1);
        },
        |stack| {
            assert_eq!(archives(stack), 1);
            stack.run(&["status"]).ok();
        },
    ),
    (
        "the history",
        |stack| {
            three(stack);
            stack.sh("repo", "rm .recovery/history.jsonl");
            stack.run(&["prune"]).ok();
            assert_eq!(archives(stack), 3);
        },
        |stack| assert_eq!(archives(stack), 1),
    ),
    (
        "the drive or the repository moved",
        |stack| {
            three(stack);
            stack.sh(".", "mv drive other");
            let path = stack.path("repo/recovery.toml");
            let text = fs::read_to_string(&path).expect("reads");
            fs::write(&path, text.replace("/drive\"", "/other\"")).expect("writes");
            stack.run(&["prune"]).ok();
            assert_eq!(archives(stack), 3);
        },
        |stack| assert_eq!(archives(stack), 1),
    ),
    (
        "a backup is dated in the future",
        |stack| {
            backup(stack, "2026-03-10");
            backup(stack, "2027-03-01");
            stack.run(&["status"]).exits(1).says(&["in the future"]);
            stack.sh("drive", "rm -r 2027");
        },
        |stack| drop(stack.run(&["status"]).ok()),
    ),
    (
        "a run was killed",
        |stack| {
            backup(stack, "2026-03-10");
            stack.file("drive/2026/03-09/codex-api-2026-03-09T110000Z.tar.gz", "begun");
            stack.run(&["status"]).ok().says(&["03-09T110000Z", "was killed"]);
        },
        |stack| assert_eq!(archives(stack), 1),
    ),
];

fn backup(stack: &Stack, day: &str) {
    stack.run_at(&format!("{day}T12:00:00Z"), &["backup"]).ok();
}

fn three(stack: &Stack) {
    ["2026-03-01", "2026-03-02", "2026-03-10"].into_iter().for_each(|day| backup(stack, day));
}

fn archives(stack: &Stack) -> usize {
    let files = [stack.files("drive"), stack.files("other")].concat();
    files.iter().filter(|name| name.ends_with(".tar.gz")).count()
}

#[test]
fn each_thing_that_goes_wrong_is_mended_by_its_commands() {
    let runbook = page("docs/runbook.md");
    let rows = tables(section(&runbook, "When something is wrong")).remove(0);
    assert_eq!(rows.len(), ROWS.len() + 1, "{rows:?}");
    for (cells, (begins, happens, is_mended)) in rows.iter().skip(1).zip(ROWS) {
        assert!(cells[0].starts_with(begins), "{cells:?}");
        let commands: Vec<String> =
            spans(&cells[1]).into_iter().filter(|span| span.starts_with("cargo xtask ")).collect();
        assert!(!commands.is_empty(), "{cells:?}");
        let stack = stack();
        stack.configure("keep = 1\n");
        happens(&stack);
        commands.iter().for_each(|command| drop(runs(&stack, command)));
        is_mended(&stack);
    }
}
