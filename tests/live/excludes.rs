//! What is left out by rule: caches, files that are too large, other file systems; and how it is counted and told.
use super::super::support::{Stack, outcome};
use super::{of_kind, unshared, with};
use serde_json::Value;

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// A backup of what was changed, as `--json` tells it.
fn backup(stack: &Stack) -> Value {
    outcome(&mut stack.plain(&["backup", "--json"])).ok().json()["sets"][0].clone()
}

/// What the last backup holds, restored anew.
fn restored(stack: &Stack) -> Vec<String> {
    stack.sh(".", "rm -rf back");
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.files("back/.codex-api")
}

/// A tag counts with its signature at its very beginning, in a file.
#[test]
fn folders_that_are_tagged_as_caches_are_left_out() {
    let make = |stack: &Stack| {
        for (folder, tag) in [
            ("cache", format!("{TAG}\n# made by nobody\n")),
            ("deep/down/cache", TAG.to_owned()),
            ("wrong", TAG.replace('8', "9")),
            ("late", format!("\n{TAG}")),
            ("short", TAG[..42].to_owned()),
        ] {
            stack.file(&format!("repo/.codex-api/{folder}/CACHEDIR.TAG"), &tag);
            stack.file(&format!("repo/.codex-api/{folder}/inside/file"), "x\n");
        }
        stack.sh(
            "repo/.codex-api",
            "mkdir -p folder/CACHEDIR.TAG linked; echo x > folder/file; echo x > linked/file; ln -s ../cache/CACHEDIR.TAG linked/CACHEDIR.TAG",
        );
    };
    let stack = with("exclude-caches = true", "");
    make(&stack);
    let made = backup(&stack);
    assert_eq!((&made["excluded"], &made["excluded_by"]["cache"]), (&2.into(), &2.into()), "{made}");
    let names = restored(&stack);
    assert!(
        !names.iter().any(|name| name.starts_with("cache/") || name.starts_with("deep/down/cache")),
        "{names:?}"
    );
    for kept in ["wrong/inside/file", "late/inside/file", "short/inside/file", "folder/file", "linked/file"] {
        assert!(names.iter().any(|name| name == kept), "no {kept} in {names:?}");
    }
    // What a cache holds is nobody's change; that it is one no more, is.
    stack.file("repo/.codex-api/cache/inside/other", "y\n");
    assert_eq!(backup(&stack)["status"], "unchanged");
    stack.file("repo/.codex-api/cache/CACHEDIR.TAG", "no more\n");
    assert_eq!(backup(&stack)["status"], "ok");
    assert!(restored(&stack).contains(&"cache/inside/other".to_owned()));
    let all = Stack::configured();
    make(&all);
    assert_eq!(backup(&all)["excluded"], 0, "caches are left out only where that is asked for");
}

#[test]
fn a_file_over_the_size_is_named_and_one_that_grows_over_it_is_a_change() {
    let stack = with("max-size = '1 KiB'\nexclude = ['big.bin']", "");
    stack.sh("repo/.codex-api", "head -c 1024 /dev/zero > just; head -c 1025 /dev/zero > over");
    let made = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
    let found = of_kind(&made, "size");
    assert_eq!(found.len(), 1, "{made}");
    assert_eq!(found[0]["severity"], "info");
    assert!(
        found[0]["path"].to_string().contains("over") && found[0]["what"].to_string().contains("1025 bytes")
    );
    assert_eq!(made["sets"][0]["excluded_by"]["size"], 1, "{made}");
    assert_eq!(made["sets"][0]["excluded_by"]["pattern"], 1, "{made}");
    let names = restored(&stack);
    assert!(names.contains(&"just".to_owned()) && !names.contains(&"over".to_owned()), "{names:?}");
    stack.sh("repo/.codex-api", "echo more >> over");
    let same = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
    assert_eq!(same["sets"][0]["status"], "unchanged", "{same}");
    assert_eq!(of_kind(&same, "size").len(), 1, "it is named each time: {same}");
    stack.sh("repo/.codex-api", "echo more >> just");
    let made = outcome(&mut stack.plain(&["backup", "--json"])).ok().json();
    assert_eq!(made["sets"][0]["status"], "ok", "{made}");
    assert_eq!(of_kind(&made, "size").len(), 2, "{made}");
    assert!(!restored(&stack).contains(&"just".to_owned()));
    outcome(&mut stack.plain(&["backup"])).ok().says(&["over has 1030 bytes", "2 over `max-size`"]);
}

/// A real one, in a mount namespace of its own.
#[test]
fn folders_on_another_file_system_are_left_out_where_that_is_asked_for() {
    for (keys, count) in [("one-file-system = true", 1), ("", 0)] {
        let stack = with(keys, "");
        stack.file("repo/.codex-api/mounted/beneath", "x\n");
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let script = format!(
            "mount -t tmpfs none .codex-api/mounted; mkdir .codex-api/mounted/deep; echo there > .codex-api/mounted/deep/file; '{xtask}' backup --force --json"
        );
        let made = unshared(&stack, &script).ok().json();
        assert_eq!(made["sets"][0]["excluded_by"]["file-system"], count, "{made}");
        let names = restored(&stack);
        assert_eq!(names.contains(&"mounted/deep/file".to_owned()), count == 0, "{names:?}");
        assert!(!names.contains(&"mounted/beneath".to_owned()), "{names:?}");
    }
}

/// A drill's private folder lies in a source when that is the folder above what it was then. Nobody restores it as data.
#[test]
fn what_a_full_drill_has_left_is_no_data() {
    let stack = with("", "");
    for folder in [".recovery-full-x-0", "sub/.recovery-full-y-0"] {
        stack.file(&format!("repo/.codex-api/{folder}/aside/secret.db"), "of another time");
    }
    stack.file("repo/.codex-api/.recovery-full-file", "a file of the user");
    stack.file("repo/.recovery-full-z-0/aside/data", "beside the source");
    let said = stack.run(&["backup"]).ok();
    let said = said.says(&[
        "2 as left by full drills",
        "/.recovery-full-z-0 was left by a full drill",
        "no backup has it",
    ]);
    let said = said
        .says(&["/.codex-api/.recovery-full-x-0 was left by a full drill", "sub/.recovery-full-y-0 is what"]);
    assert_eq!(said.stderr.matches("warning: ").count(), 2, "{}", said.shown());
    let held = stack.sh(".", "tar -tzf \"$(find drive -name '*.tar.gz' | head -1)\"");
    assert!(!held.contains("secret.db") && held.contains(".codex-api/.recovery-full-file"), "{held}");
}

#[test]
fn each_reason_is_counted_in_text_and_in_json() {
    let stack = with("exclude = ['*.tmp', 'sessions/']\nmax-size = '300 kB'\nexclude-caches = true", "");
    stack.file("repo/.codex-api/cache/CACHEDIR.TAG", TAG);
    stack.file("repo/.codex-api/one.tmp", "x");
    stack.file("repo/.codex-api/empty/two.tmp", "x");
    let said = stack.run(&["backup"]).ok();
    said.says(&["5 paths left out: 3 by `exclude`, 1 as caches, 1 over `max-size`"]);
    let made = stack.run(&["backup", "--json"]).ok().json();
    let counts = serde_json::json!({"pattern": 3, "cache": 1, "file-system": 0, "size": 1, "aside": 0});
    assert_eq!(made["sets"][0]["excluded_by"], counts, "{made}");
    assert_eq!(made["sets"][0]["excluded"], 5, "{made}");
}

/// What git makes of a pattern counts, also where a library knows more than git.
#[test]
fn patterns_mean_what_git_makes_of_them() {
    let patterns = [
        "{a,b}",
        "*.{js,ts}",
        "[{]c",
        "[]}]d",
        "\\{e\\}",
        "x{",
        "}y",
        "[^{]f",
        "/z/{",
        "**/{deep}/",
        "\\\\{g",
    ];
    let names = [
        "a",
        "b",
        "{a,b}",
        "one.js",
        "one.{js,ts}",
        "{c",
        "c",
        "}d",
        "]d",
        "{e}",
        "e",
        "x{",
        "x",
        "}y",
        "{f",
        "gf",
        "z/{",
        "{",
        "n/{deep}/in",
        "n/deep/in",
        "\\{g",
        "{g",
    ];
    let list = patterns.map(|pattern| format!("{pattern:?}")).join(", ");
    let stack = with(&format!("exclude = [{list}]"), "");
    for name in names {
        stack.file(&format!("repo/.codex-api/{name}"), "x\n");
    }
    backup(&stack);
    let kept = restored(&stack);
    stack.file("plain/.gitignore", &(patterns.join("\n") + "\n"));
    stack.sh("plain", "git init -q .");
    for name in names {
        let ignored = stack
            .sh("plain", &format!("git check-ignore -q --no-index '{name}' && echo ignored || echo kept"));
        assert_eq!(kept.iter().any(|one| one == name), ignored == "kept\n", "{name}: git says {ignored}");
    }
    with("exclude = ['h[']", "").run(&["backup"]).fails().says(&["without its `]`"]);
}
