//! Bad input: one clear error that names the thing and the next step; nothing is written.
use super::support::{Outcome, Stack, outcome, unprivileged};
use std::fs;

/// Runs, expects this code and these words, and no file anywhere that was not there before.
#[track_caller]
fn refused(stack: &Stack, args: &[&str], code: i32, parts: &[&str]) -> Outcome {
    let before = (stack.files("repo"), stack.files("drive"));
    let said = stack.run(args).exits(code).says(parts);
    let strip = |files: Vec<String>| {
        files.into_iter().filter(|name| !name.starts_with(".recovery/")).collect::<Vec<_>>()
    };
    assert_eq!((strip(before.0), before.1), (strip(stack.files("repo")), stack.files("drive")));
    assert!(!said.stderr.contains("panicked"));
    let errors = said.stderr.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(errors, 1, "one clear error: {}", said.stderr);
    let mut json = args.to_vec();
    json.push("--json");
    let document = stack.run(&json).exits(code).json();
    assert!(document["status"] != "ok", "{document}");
    said
}

#[test]
fn a_wrong_file_is_refused_with_line_and_remedy() {
    let rows: &[(&str, &[&str])] = &[
        ("[release]\nname = \"a\"\nkep = 3\n", &["kep", "keep", "recovery.toml:3"]),
        ("[data.a]\nsourc = \"x\"\n", &["sourc", "source", ":2"]),
        ("[retention]\n", &["retention", ":1"]),
        ("[release]\nkeep = 0\n", &["keep is 0", "1 or more"]),
        ("[release]\ninclude = [\"../x\"]\n", &["release.include holds \"../x\"", "not in the release"]),
        ("[release]\ninclude = [\"dist/\", \"/etc/passwd\"]\n", &["release.include holds \"/etc/passwd\""]),
        ("[release]\nallow-secrets = [\"../x\"]\n", &["release.allow-secrets holds \"../x\""]),
        ("[release]\nexclude = [\"../x\"]\n", &["release.exclude holds \"../x\"", "matches nothing"]),
        ("[release]\nkeep = -3\n", &["keep is -3"]),
        ("[destination.d]\npath = \"/x\"\nkeep = 0\n", &["keep is 0"]),
        ("[destination.d]\npath = \"/x\"\nquota = \"much\"\n", &["quota", "much"]),
        ("[destination.d]\npath = \"/x\"\nkeep-within = \"soon\"\n", &["keep-within", "soon"]),
        ("[data.a]\nsource = \"x\"\n[data.a]\nsource = \"y\"\n", &["duplicate", ":3"]),
        ("[data.a]\nsource = \".codex-api\"\ndestination = \"gone\"\n", &["gone", "defined are: none"]),
        ("[data.\"a/b\"]\nsource = \"x\"\n", &["a/b"]),
        ("[data.a]\nsource = \"~/x\"\n", &["data.a.source is \"~/x\"", "no shell reads"]),
        ("[destination.d]\npath = \"$HOME/x\"\n", &["destination.d.path is \"$HOME/x\"", "whole path"]),
        ("[release]\noutput-dir = \"~\"\n", &["release.output-dir is \"~\"", "whole path"]),
        ("[drill]\nevidence-dir = \"~/e\"\n", &["drill.evidence-dir is \"~/e\"", "whole path"]),
        ("schema = 2\n", &["schema 2", "newer"]),
        ("schema = \"one\"\n", &["schema", ":1"]),
        ("[release\n", &[":1"]),
    ];
    for (text, parts) in rows {
        let stack = Stack::new();
        stack.file("repo/recovery.toml", text);
        for verb in ["snapshot", "backup"] {
            refused(&stack, &[verb], 3, parts).says(&["recovery.toml"]);
        }
    }
}

#[test]
fn sources_and_destinations_that_cannot_be_are_refused() {
    let stack = Stack::new();
    refused(&stack, &["backup"], 3, &["nothing to back up", "recovery.toml", "`cargo xtask init`"]);
    stack.file("repo/recovery.toml", "schema = 1\n");
    let said =
        refused(&stack, &["backup"], 3, &["nothing to back up", "in ", "repo/recovery.toml", "comments"]);
    assert!(!said.stderr.contains("xtask init"), "{}", said.shown());
    stack.sh("repo", "rm recovery.toml");
    refused(&stack, &["backup", "--source", "nowhere", "--dest", "../drive"], 1, &["nowhere", "not there"]);
    refused(&stack, &["backup", "--source", ".codex-api", "--dest", ".codex-api/in"], 3, &["inside"]);
    refused(&stack, &["backup", "--source", ".codex-api", "--dest", "."], 3, &["inside"]);
    refused(
        &stack,
        &["backup", "--source", ".codex-api", "--dest", "../drive/../repo/.codex-api/in"],
        3,
        &["inside"],
    );
    std::os::unix::fs::symlink("../repo/.codex-api", stack.path("drive/in")).expect("links");
    refused(&stack, &["backup", "--source", ".codex-api", "--dest", "../drive/in/deep"], 3, &["inside"]);
    fs::remove_file(stack.path("drive/in")).expect("removes");
    stack.configure("");
    refused(&stack, &["backup", "codex-api", "codex-api"], 2, &["twice"]);
    refused(&stack, &["backup", "other"], 2, &["other", "codex-api"]);
    refused(&stack, &["backup", "--suffix", "a/b"], 2, &["a/b"]);
    for keep in ["0", "-1", "many"] {
        stack.run(&["backup", "--keep", keep]).exits(2).says(&["--keep"]);
    }
    stack.sh("repo", "mv .codex-api gone");
    refused(&stack, &["backup"], 1, &["not there"]);
}

#[test]
fn a_source_that_lost_its_files_is_not_backed_up() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.sh("repo", "mv .codex-api gone; mkdir .codex-api");
    refused(&stack, &["backup"], 1, &["holds no files", "backed up before"]);
}

#[test]
fn repositories_that_cannot_be_bundled_are_refused() {
    let stack = Stack::bare();
    stack.file("repo/a", "a");
    refused(&stack, &["snapshot"], 3, &["git", "repository"]);
    stack.sh("repo", "git init -q -b main .");
    refused(&stack, &["snapshot"], 3, &["no commit"]);
    stack.commit("first", "2026-03-01T08:30:00Z");
    refused(&stack, &["snapshot", "--rev", "nope"], 3, &["nope"]);
    refused(&stack, &["snapshot", "--rev=--help"], 3, &["--help"]);
    refused(&stack, &["snapshot", "--version", "1/2"], 2, &["1/2"]);
    refused(&stack, &["snapshot", "--version", ".."], 2, &[".."]);
    refused(&stack, &["snapshot", "--version", ""], 2, &[]);
    stack.run(&["snapshot", "--keep", "0"]).exits(2).says(&["--keep"]);
    stack.run(&["-C", "nowhere", "snapshot"]).exits(2).says(&["nowhere"]);
    refused(&stack, &["--config", "none.toml", "snapshot"], 3, &["none.toml"]);
    refused(&stack, &["verify", "none.tar.gz"], 3, &["none.tar.gz"]);
    refused(&stack, &["verify", "a"], 3, &["a", ".tar.gz"]);
    refused(&stack, &["restore", "none", "--to", "x"], 3, &["none"]);
    refused(&stack, &["restore", "none"], 3, &["none"]);
}

#[test]
fn a_version_that_cannot_be_is_told_as_it_stands() {
    let stack = Stack::new();
    stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "1.0.0 beta/2"}"#);
    stack.commit("odd", "2026-03-02T08:30:00Z");
    refused(&stack, &["snapshot"], 3, &["\"1.0.0 beta/2\"", "mend it in the package file"]);
}

#[test]
fn an_unreadable_file_is_told_and_the_rest_is_saved() {
    let stack = Stack::configured();
    stack.sh("repo", "chmod 000 .codex-api/config.toml; rm .codex-api/twin.toml");
    let said = outcome(&mut unprivileged(&stack, &["backup", "--json"]));
    let document = said.exits(1).json();
    let set = &document["sets"][0];
    assert!(set["findings"].to_string().contains("config.toml"), "{set}");
    let archive = set["archive"].as_str().expect("the rest is saved").to_owned();
    let names = stack.sh("repo", &format!("tar -tzf '{archive}'"));
    assert!(names.contains("one.jsonl") && !names.contains("config.toml"), "{names}");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_never_spoils_the_archive() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "rm -rf *; for n in $(seq 60); do head -c 3M /dev/urandom > f$n; done");
    let mut child =
        stack.command(&["backup", "--json"]).stdout(std::process::Stdio::piped()).spawn().expect("starts");
    while child.try_wait().expect("waits").is_none() {
        for n in 1..=60 {
            let path = stack.path(&format!("repo/.codex-api/f{n}"));
            let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
            let length = file.metadata().expect("there").len();
            file.set_len(length.saturating_sub(4096)).expect("cuts");
        }
    }
    let output = child.wait_with_output().expect("ends");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    let set = &document["sets"][0];
    if let Some(archive) = set["archive"].as_str() {
        stack.sh("repo", &format!("tar -tzf '{archive}' >/dev/null"));
        stack.run(&["verify", archive]).ok();
    }
    assert_eq!(set["archive"].is_null(), set["status"] == "failed", "{document}");
}

/// What a newcomer gets wrong before there is anything, with what to do about it.
#[test]
fn the_first_mistakes_are_answered_with_a_next_step() {
    let stack = Stack::bare();
    stack.file("file", "");
    refused(&stack, &["-C", "../file", "status"], 2, &["that is no folder", "status --help`"]);
    refused(&stack, &["-C", "../gone", "status"], 2, &["there is no such folder"]);
    stack.run(&["status"]).exits(1).says(&["is in no git repository", "next: `cargo xtask init`"]);
    stack.run(&["prune"]).ok().says(&["there is nothing to prune", "freed 0 B"]);
    stack.run(&["verify"]).exits(1).says(&[": there is nothing to verify"]);

    let stack = Stack::configured();
    let next = "data sets here: codex-api";
    refused(&stack, &["restore", "codx-api", "--to", "../back"], 3, &["\"codx-api\"", next]);
    refused(
        &stack,
        &["restore", "../gone.tar.gz", "--to", "../back"],
        3,
        &["neither a file nor", "check the path"],
    );
    let old = ["restore", "codex-api", "--at", "2020-01-01", "--to", "../back"];
    refused(&stack, &old, 3, &["as old as 2020-01-01T23:59:59Z", "prune --dry-run"]);
    stack.run(&["backup"]).ok();
    let file = ["restore", "codex-api", "--to", "recovery.toml"];
    refused(&stack, &file, 3, &["recovery.toml", "a file is where a folder should be"]);
}
