//! `init`: what it takes for certain, what it leaves alone, and that the file it writes and the commands it prints work.
use super::support::Stack;
use std::fs;

fn planned(stack: &Stack) -> serde_json::Value {
    stack.run(&["init", "--dry-run", "--json"]).ok().json()
}

/// Takes the marks off the sets and the destination, as someone would who has a drive.
fn with_a_drive(stack: &Stack) {
    let drive = stack.path("drive").display().to_string();
    stack.sh(
        "repo",
        &format!(
            "sed -E -i 's/^# (\\[data|\\[destination|source|destination =|path)/\\1/; s|^path = .*|path = \"{drive}\"|; \
             /^(# )?mount =/d' recovery.toml"
        ),
    );
}

/// The commands that a run prints as the next.
fn next(shown: &str) -> Vec<String> {
    let from = shown.find("next: ").expect("something is next");
    let lines = shown[from..].lines().map(|line| line.trim_start_matches("next: ").trim());
    lines.filter(|line| line.contains(" -C ") || line.starts_with("cargo ")).map(str::to_owned).collect()
}

#[test]
fn the_commands_that_are_printed_run_as_they_stand() {
    let stack = Stack::new();
    // In the way that the program was started in.
    let outside = format!("unset CARGO; '{}' -C ../repo init 2>&1", env!("CARGO_BIN_EXE_xtask"));
    let said = stack.sh("home", &outside);
    assert!(said.contains("name your data"), "{said}");
    let lines = next(&said);
    assert_eq!(lines.len(), 3, "{lines:?}");
    with_a_drive(&stack);
    let said: Vec<String> = lines.iter().map(|line| stack.sh("home", line)).collect();
    assert!(said[0].contains("created ") && said[1].contains("codex-api: "), "{said:?}");
    assert!(said[2].contains("result: verified"), "{said:?}");
    let said = stack.run(&["init", "--force"]).ok();
    let cargo = next(&said.stderr);
    assert_eq!(cargo, ["cargo xtask snapshot", "cargo xtask backup", "cargo xtask restore-drill"]);
}

#[test]
fn what_stands_in_comments_loads_when_the_marks_are_taken_off() {
    let stack = Stack::new();
    stack.file("repo/compose.yaml", "services: {}\n");
    stack.file("repo/services/api/package.json", r#"{"name": "@acme/part", "version": "2.0.0"}"#);
    stack.run(&["-C", "services/api", "init"]).ok();
    with_a_drive(&stack);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let lines: Vec<&str> = text.lines().collect();
    let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let is_mark =
        |line: &&str| line.strip_prefix("# ").is_some_and(|rest| rest.starts_with('[') || is_key(rest));
    let marks: Vec<usize> = (0..lines.len()).filter(|at| is_mark(&lines[*at])).collect();
    assert!(marks.len() > 20, "{text}");
    let mut faults = Vec::new();
    for mark in marks.iter().map(|mark| vec![*mark]).chain([marks.clone()]) {
        let mut changed: Vec<&str> = lines.clone();
        for at in &mark {
            changed[*at] = lines[*at].trim_start_matches("# ");
            // With a key its table, where that is a comment as well.
            let table = (0..*at)
                .rev()
                .take_while(|above| !lines[*above].is_empty())
                .find(|above| lines[*above].contains('['));
            if let Some(table) = table.filter(|_| is_key(changed[*at])) {
                changed[table] =
                    if lines[table].starts_with("# [") { &lines[table][2..] } else { lines[table] };
            }
        }
        stack.file("repo/recovery.toml", &changed.join("\n"));
        let said = stack.run(&["status"]);
        if ![0, 1].contains(&said.code) {
            let taken: Vec<&str> = mark.iter().map(|at| lines[*at]).collect();
            faults.push(format!("{taken:?}: exit {}: {}", said.code, said.stderr));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Of several members none is the one; a file that says no version is not asked for it.
#[test]
fn a_workspace_of_several_is_named_after_its_folder() {
    let stack = Stack::bare();
    stack.sh("repo", "git init -q -b main .");
    stack.file("repo/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"xtask\", \"app\"]\n");
    for name in ["xtask", "app"] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.3.0\"\nedition = \"2024\"\n");
        stack.file(&format!("repo/{name}/Cargo.toml"), &manifest);
        stack.file(&format!("repo/{name}/src/lib.rs"), "");
    }
    let said = planned(&stack);
    assert_eq!((&said["name"], &said["version_from"]), (&"repo".into(), &"git".into()));
    stack.file("repo/package.json", r#"{"name": "front", "version": "3.2.1"}"#);
    let said = planned(&stack);
    assert_eq!((&said["name"], &said["version_from"]), (&"front".into(), &"package.json".into()));
}

#[test]
fn what_git_tracks_and_what_tools_make_is_no_data() {
    let stack = Stack::new();
    stack.sh(
        "repo",
        "mkdir .config data var .pytest_cache .store .x\\\"y; echo 1 > .config/tool.toml; echo 1 > data/seed.csv; \
         echo 1 > var/state; echo 1 > .pytest_cache/v; echo 1 > .store/o; echo 1 > .x\\\"y/z; \
         echo 'Signature: 8a477f597d28d172789f06886806bc55' > .store/CACHEDIR.TAG; ln -s /etc .etc; \
         git add -f .config data .etc; git -c user.name=a -c user.email=a@example.org commit -qm more",
    );
    assert_eq!(planned(&stack)["data"], serde_json::json!([".codex-api", ".x\"y", "var"]));
    stack.file("repo/data/upload.bin", "1");
    assert_eq!(planned(&stack)["data"], serde_json::json!([".codex-api", ".x\"y", "data", "var"]));
}

#[test]
fn a_manifest_that_tells_no_version_is_told() {
    let stack = Stack::new();
    let words = "package.json tells no version";
    assert!(!stack.run(&["init"]).ok().shown().contains(words));
    stack.file("repo/package.json", "no JSON");
    stack.run(&["init", "--force"]).ok().says(&[words]);
}

#[test]
fn outside_of_git_no_bundle_is_among_what_is_next() {
    let stack = Stack::new();
    stack.sh("repo", "rm -rf .git");
    let said = stack.run(&["init"]).ok().says(&["`git init`, if there is anything to bundle"]);
    assert!(next(&said.stderr).iter().all(|line| !line.ends_with(" snapshot")), "{}", said.shown());
}

#[test]
fn what_is_neither_in_git_nor_in_a_set_is_asked_about() {
    let stack = Stack::new();
    for file in ["uploads/one.png", "prod.sqlite3", "node_modules/a/index.js", "cache/x", "docs/new.md"] {
        stack.file(&format!("repo/{file}"), "x");
    }
    stack.file("repo/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    let asked = "neither in git nor in a set: uploads/, docs/new.md, prod.sqlite3; is that data?";
    stack.run(&["init"]).ok().says(&[asked]);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    assert!(
        text.contains("\n# neither in git nor in a set above: uploads/, docs/new.md, prod.sqlite3\n"),
        "{text}"
    );
    stack.sh("repo", "rm -r uploads docs/new.md prod.sqlite3");
    let said = stack.run(&["init", "--force"]).ok();
    assert!(!said.shown().contains("neither in git"), "{}", said.shown());
}

/// An upload folder often lies below one that git has files of.
#[test]
fn what_lies_deeper_is_asked_about_but_for_what_this_tool_and_others_make() {
    let stack = Stack::new();
    for file in [
        "public/index.html",
        "public/uploads/one.png",
        "public/.cache/x",
        "public/node_modules/a/index.js",
        "public/thumbs/x",
        "docs/drills/drill-1.md",
    ] {
        stack.file(&format!("repo/{file}"), "x");
    }
    stack.file("repo/public/thumbs/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    stack.sh(
        "repo",
        "git add public/index.html; git -c user.name=a -c user.email=a@example.org commit -qm page",
    );
    stack.sh("repo", "mkdir -p $'public/b\\xffd'; echo 1 > $'public/b\\xffd/x'");
    let asked = "neither in git nor in a set: public/b\\xffd/, public/uploads/; is that data?";
    stack.run(&["init"]).ok().says(&[asked]);
    // Output of a tool that nobody has heard of is not told to its end.
    stack.sh("repo", "for n in $(seq 30); do echo 1 > public/$n.o; done");
    stack
        .run(&["init", "--force"])
        .ok()
        .says(&[": public/b\\xffd/, public/uploads/, ", ", and 12 more; is that"]);
}

#[test]
fn a_service_in_a_folder_is_found_from_there() {
    let stack = Stack::new();
    stack.file("repo/services/api/package.json", r#"{"name": "@acme/part", "version": "2.0.0"}"#);
    stack.file("repo/services/api/.part/file", "1");
    let said = stack.run(&["-C", "services/api", "init", "--json"]).ok().json();
    assert_eq!(said["data"], serde_json::json!([".codex-api", "services/api/.part"]));
    let text = said["text"].as_str().expect("text");
    assert!(text.contains("# root = \"services/api\"") && text.contains("acme-part"), "{text}");
    for part in
        ["[data.api-codex-api]", "[data.api-part]", "/acme-api-api-backups\"", "= \"docs/drills/api\"\n"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(stack.path("repo/recovery.toml").exists());
    let said = stack.run(&["-C", "services/api", "init"]).exits(3);
    said.says(&["there already", "--force", "`--config recovery.toml`", "in services/api"]);
    let said = stack.run(&["-C", "services/api", "init", "--config", "recovery.toml"]).ok();
    assert!(stack.path("repo/services/api/recovery.toml").exists());
    let lines = next(&said.stderr);
    assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("--config")), "{lines:?}");
    let call = lines[0].replace("cargo xtask", concat!("'", env!("CARGO_BIN_EXE_xtask"), "'"));
    stack.sh("repo", &call);
}

/// Their folders have the same names, and would be one series of backups on one drive.
#[test]
fn two_services_have_sets_and_destinations_of_their_own() {
    let stack = Stack::new();
    for service in ["api", "web"] {
        stack.file(&format!("repo/services/{service}/data/file"), service);
    }
    stack.sh("repo", "rm -r .codex-api");
    let made = |service: &str| {
        let folder = format!("services/{service}");
        let call = ["-C", &folder, "init", "--config", "recovery.toml", "--json"];
        let said = stack.run(&call).ok().json();
        let text = said["text"].as_str().expect("text");
        let keys = ["name = ", "[data.", "path = ", "evidence-dir = "];
        let lines = text.lines().map(|line| line.trim_start_matches("# "));
        let own = lines.filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned);
        own.collect::<Vec<_>>()
    };
    let (api, web) = (made("api"), made("web"));
    assert_eq!((&*api[1], &*web[1]), ("[data.api-data]", "[data.web-data]"));
    assert_eq!((api.len(), web.len()), (4, 4), "{api:?} {web:?}");
    assert!(api.iter().all(|line| !web.contains(line)), "{api:?} {web:?}");
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let stack = Stack::new();
    stack.sh("repo", "ln -s ../nowhere recovery.toml; mkdir folder; mkfifo pipe");
    let before = stack.listing("repo");
    stack.run(&["init"]).exits(3).says(&["there already", "--force"]);
    for name in ["folder", "pipe"] {
        stack.run(&["init", "--force", "--config", name]).exits(3).says(&["is not a file", "move it away"]);
    }
    assert_eq!(stack.listing("repo"), before);
    stack.run(&["init", "--force"]).ok();
    assert!(!stack.path("nowhere").exists(), "a link was followed");
}

/// What is told to be done next can be typed as it stands, whichever way the program was called.
#[test]
fn hints_name_the_program_as_it_was_called() {
    let stack = Stack::new();
    stack.run(&["doctor"]).says(&["`cargo xtask init`"]);
    let program = env!("CARGO_BIN_EXE_xtask");
    stack.sh(".", &format!("mkdir bin 'my repo'; ln -s '{program}' bin/xtask; git init -q 'my repo'"));
    let said = stack.sh(".", "unset CARGO; PATH=$PWD/bin:$PATH; xtask -C 'my repo' status 2>&1");
    assert!(said.contains("`xtask -C 'my repo' init`"), "{said}");
    let said = stack.sh("repo", "unset CARGO; ../bin/xtask --config other.toml status 2>&1 || true");
    assert!(!said.contains("cargo xtask"), "{said}");
    for verb in ["", "backup"] {
        let said = stack.sh("repo", &format!("unset CARGO; ../bin/xtask {verb} --help"));
        assert!(!said.contains("cargo xtask") && said.contains("  ../bin/xtask backup"), "{said}");
        assert!(said.contains("Usage: ../bin/xtask"), "{said}");
        stack
            .run(&[verb, "--help"].map(|word| if word.is_empty() { "-q" } else { word }))
            .says(&["  cargo xtask backup"]);
    }
    // Documents are for programs, and the same everywhere.
    let said = stack.sh("repo", "unset CARGO; ../bin/xtask doctor --json || true");
    assert!(said.contains("`cargo xtask init`"), "{said}");
}
