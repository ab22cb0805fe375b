//! The house in order: invariants of absence, read from the source text. What a room must never see, what stands
//! nowhere, what nothing lacks. A failure lists file and line.
mod rooms;
mod text;

use rooms::room;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use text::{Text, code, everywhere, named, names_tracked, none, root, rust, text, tracked};

/// Files that see nothing of the world: values in, values out.
const PURE: [&str; 47] = [
    "commands/publish/plan.rs",
    "commands/schedule/cron.rs",
    "commands/schedule/quote.rs",
    "commands/schedule/systemd.rs",
    "commands/snapshot/tags.rs",
    "commands/status/metrics.rs",
    "commands/status/page/mod.rs",
    "commands/status/page/plot.rs",
    "commands/status/page/plots.rs",
    "commands/status/page/tables.rs",
    "commands/status/past.rs",
    "commands/status/recovery.rs",
    "commands/verify/rebuild/differences.rs",
    "commands/verify/rebuild/report.rs",
    "destination/marker.rs",
    "destination/names.rs",
    "destination/release_url.rs",
    "destination/retention.rs",
    "drill/demands.rs",
    "drill/done.rs",
    "drill/due.rs",
    "drill/evidence/chain.rs",
    "drill/evidence/checklist.rs",
    "drill/evidence/coverage.rs",
    "drill/evidence/frame.rs",
    "drill/evidence/known.rs",
    "drill/evidence/mod.rs",
    "drill/evidence/render.rs",
    "drill/evidence/trend.rs",
    "drill/expected.rs",
    "drill/full/expected.rs",
    "drill/measured.rs",
    "drill/pick.rs",
    "drill/redact.rs",
    "drill/rotation.rs",
    "drill/secrets.rs",
    "drill/steps.rs",
    "drill/times.rs",
    "drill/verdict.rs",
    "restore/layout.rs",
    "shown.rs",
    "source/eol.rs",
    "source/policy.rs",
    "tools/git/store/bases.rs",
    "tools/git/store/delta.rs",
    "ui/actions.rs",
    "words.rs",
];
/// The ways to the world.
const WORLD: [&str; 17] = [
    "std::{",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "rustix",
    "tempfile",
    "xattr::",
    "duct",
    "xshell",
    "cargo_metadata",
    "which::",
    "signal_hook",
];
/// The methods of `Path` that ask the file system; its other ones only cut text.
const ASKING: [&str; 10] = [
    ".canonicalize(",
    ".exists(",
    ".is_dir()",
    ".is_file()",
    ".is_symlink()",
    ".metadata(",
    ".read_dir(",
    ".read_link(",
    ".symlink_metadata(",
    ".try_exists(",
];
/// Pure files that `scripts/mutants` passes over: they write pages, which the tests of the whole binary read.
const PAGES: [&str; 5] = [
    "commands/status/page/mod.rs",
    "commands/status/page/plot.rs",
    "commands/status/page/plots.rs",
    "commands/status/page/tables.rs",
    "commands/verify/rebuild/report.rs",
];
/// What would break one of these rules and is known, each with the reason. An exception that is not needed is a failure.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("destination/lock.rs", "std::process", "the number of this process, in the note for people"),
    ("tools/private.rs", "env::temp_dir", "where folders lie that need no place of their own"),
    ("tools/process.rs", "env::vars_os", "hands on to children what they may see; no setting is read"),
];

/// As [`named`], without the exceptions.
fn breaches(file: &Text, names: &[&str]) -> Vec<String> {
    let excused = |name: &&str| EXCEPTIONS.iter().any(|(path, what, _)| *path == file.path && what == name);
    let names: Vec<&str> = names.iter().copied().filter(|name| !excused(name)).collect();
    named(file, &names)
}

#[test]
fn every_file_opens_by_saying_what_it_owns() {
    let silent = |file: &Text| !file.lines.first().is_some_and(|line| line.starts_with("//! "));
    none("does not open with `//!`", everywhere().filter(silent).map(|file| format!("{}:1", file.path)));
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = everywhere().filter(|file| file.lines.len() > 500);
    none("over 500 lines", long.map(|file| format!("{}:{}", file.path, file.lines.len())));
}

#[test]
fn files_called_tests_are_compiled_for_tests_alone() {
    let all = rust("xtask/src");
    let mut found = Vec::new();
    for file in all.iter().filter(|file| file.path.ends_with("_tests.rs")) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let line = format!("#[path = \"{name}\"]");
        let guarded = all.iter().any(|file| {
            file.lines.windows(2).any(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim() == line)
        });
        if !guarded {
            found.push(format!("{}:1", file.path));
        }
    }
    none("no `#[cfg(test)]` and `#[path]` in front of its `mod`", found);
}

#[test]
fn the_format_sees_no_file_process_clock_or_environment() {
    let names = [&WORLD[..], &["std::path"]].concat();
    let room = code().into_iter().filter(|file| room(&file.path) == "archive");
    none("`archive` names the world", room.flat_map(|file| breaches(&file, &names)));
}

#[test]
fn pure_files_see_no_file_system_process_clock_or_environment() {
    let all = code();
    let names = [&WORLD[..], &ASKING[..]].concat();
    none(
        "a pure file names the world",
        PURE.iter().flat_map(|pure| {
            let file = all.iter().find(|file| file.path == *pure);
            file.map_or_else(|| vec![format!("{pure}: no such file")], |file| breaches(file, &names))
        }),
    );
}

/// A file that is moved or new is not left out.
#[test]
fn every_pure_file_is_one_that_mutants_are_made_of() {
    let settings = fs::read_to_string(root().join(".cargo/mutants.toml")).expect("reads");
    let settings: toml::Table = settings.parse().expect("TOML");
    let globs: Vec<&str> = settings["examine_globs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let is_of = |glob: &str, path: &str| {
        let glob = globset::GlobBuilder::new(glob).literal_separator(true).build().expect("a pattern");
        glob.compile_matcher().is_match(format!("xtask/src/{path}"))
    };
    let is_examined = |path: &str| globs.iter().any(|glob| is_of(glob, path));
    let wrong = PURE.iter().filter(|path| is_examined(path) == PAGES.contains(path));
    none("changed by no mutant, or a page that is", wrong.map(|path| (*path).to_owned()));
    let all = code();
    let idle = globs.iter().filter(|glob| !all.iter().any(|file| is_of(glob, &file.path)));
    none("matches no file", idle.map(|glob| (*glob).to_owned()));
}

#[test]
fn processes_start_in_tools_alone() {
    let others = code().into_iter().filter(|file| !["tools", "start", "main"].contains(&room(&file.path)));
    let names = ["std::process", "Command::new", "MetadataCommand", "duct", "xshell", "cargo_metadata"];
    none("a process outside of `tools`", others.flat_map(|file| breaches(&file, &names)));
    let doors = code().into_iter().filter(|file| ["start.rs", "main.rs"].contains(&&*file.path));
    none(
        "a process in `start` or `main`",
        doors.flat_map(|file| breaches(&file, &["Command", "duct", "xshell", "process::exit"])),
    );
}

#[test]
fn the_clock_and_the_environment_are_read_in_start_alone() {
    let names = [
        "Timestamp::now",
        "Zoned::now",
        "SystemTime::now",
        "env::var",
        "env::vars",
        "env::var_os",
        "env::vars_os",
        "env::args",
        "env::args_os",
        "env::current_dir",
        "env::home_dir",
        "env::temp_dir",
    ];
    let others = code().into_iter().filter(|file| file.path != "start.rs");
    none("read outside of `start`", others.flat_map(|file| breaches(&file, &names)));
}

/// How long something takes is measured by those who wait for processes, and with the one stopwatch.
#[test]
fn time_is_measured_in_tools_and_by_the_stopwatch() {
    let others = code().into_iter().filter(|file| !["tools", "stopwatch"].contains(&room(&file.path)));
    none("a stopwatch elsewhere", others.flat_map(|file| breaches(&file, &["Instant", "SystemTime"])));
}

#[test]
fn every_exception_is_still_needed() {
    let all = code();
    let idle = EXCEPTIONS.iter().filter(|(path, name, _)| {
        !all.iter().any(|file| file.path == *path && !named(file, &[name]).is_empty())
    });
    none("excused, and not there", idle.map(|(path, name, _)| format!("{path}: {name}")));
}

/// The dependencies of a section: line number, name, and the line above.
fn dependencies(manifest: &Text, section: &str) -> Vec<(usize, String, String)> {
    let (mut inside, mut found) = (false, Vec::new());
    for (number, line) in manifest.lines.iter().enumerate() {
        if line.starts_with('[') {
            inside = line == section;
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            found.push((number + 1, name.to_owned(), manifest.lines[number - 1].clone()));
        }
    }
    assert!(!found.is_empty(), "nothing in {section}");
    found
}

fn manifest() -> Text {
    text("xtask/Cargo.toml".into(), &fs::read_to_string(root().join("xtask/Cargo.toml")).expect("reads"))
}

/// `serde_json` may share the comment of `serde` right above it; nothing else shares one.
#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = manifest();
    let all =
        ["[dependencies]", "[dev-dependencies]"].map(|section| dependencies(&manifest, section)).concat();
    let silent = all.into_iter().filter(|(_, name, above)| {
        let family = above.split(' ').next().unwrap_or_default();
        !(above.starts_with("# ") || !family.is_empty() && name.starts_with(&format!("{family}_")))
    });
    none("no reason above it", silent.map(|(line, name, _)| format!("xtask/Cargo.toml:{line}: {name}")));
}

#[test]
fn every_dependency_is_used() {
    let manifest = manifest();
    let everything: Vec<Text> = everywhere().collect();
    let idle = [("[dependencies]", code()), ("[dev-dependencies]", everything)].map(|(section, sources)| {
        let mut all = dependencies(&manifest, section);
        all.retain(|(_, name, _)| {
            let path = format!("{}::", name.replace('-', "_"));
            // The C code behind a wrapper is named to be pinned.
            !name.ends_with("-sys") && sources.iter().all(|file| named(file, &[&path]).is_empty())
        });
        all
    });
    none(
        "used nowhere",
        idle.concat().into_iter().map(|(line, name, _)| format!("xtask/Cargo.toml:{line}: {name}")),
    );
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("#[ig", "nore"),
        concat!("dbg", "!"),
    ];
    // A long test says how it is run; nothing else is left out.
    let long = concat!("#[ig", "nore = \"long: scripts/test --long\"]");
    let mut all = tracked();
    all.iter_mut()
        .for_each(|file| file.lines.iter_mut().filter(|line| line.trim() == long).for_each(String::clear));
    none("left to do", all.iter().flat_map(|file| named(file, &marks)));
}

#[test]
fn no_file_knows_the_home_of_its_author() {
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut found = Vec::new();
    for file in tracked() {
        for (number, line) in file.lines.iter().enumerate() {
            let absolute =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~})>".contains(c));
            if homes.iter().any(|home| line.match_indices(home).any(|(at, _)| absolute(at))) {
                found.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    none("a home", found);
}

#[test]
fn scripts_are_executable_and_stop_at_the_first_failure() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("scripts")).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue; // modules of a script: see below
        }
        let name = format!("scripts/{}", path.file_name().unwrap_or_default().display());
        let script = fs::read_to_string(&path).expect("reads");
        let python = script.starts_with("#!/usr/bin/env python3\n\"\"\"");
        let first = script.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        for (sound, what) in [
            (mode & 0o111 == 0o111, "not executable"),
            (
                python || script.starts_with("#!/usr/bin/env bash\n# "),
                "no `#!/usr/bin/env bash` (or python3) and what it does",
            ),
            (python || first == Some("set -euo pipefail"), "does not begin with `set -euo pipefail`"),
        ] {
            if !sound {
                found.push(format!("{name}:1: {what}"));
            }
        }
    }
    none("scripts", found);
}

/// Python stops at the first failure by itself; its modules are held to the head comment and the length of a file.
#[test]
fn python_files_open_by_saying_what_they_own_and_are_short() {
    let mut found = Vec::new();
    for file in tracked().iter().filter(|file| file.path.ends_with(".py") || file.path == "scripts/bench") {
        let head = file.lines.iter().find(|line| !line.starts_with("#!"));
        if !head.is_some_and(|line| line.starts_with("\"\"\"") && line.len() > 3) {
            found.push(format!("{}:1: does not open with what it owns", file.path));
        }
        if file.lines.len() > 500 {
            found.push(format!("{}:{}: over 500 lines", file.path, file.lines.len()));
        }
    }
    none("Python", found);
}

#[test]
fn cargo_xtask_runs_the_tool() {
    let settings = fs::read_to_string(root().join(".cargo/config.toml")).expect("reads");
    let settings: toml::Table = settings.parse().expect("TOML");
    let alias = settings["alias"]["xtask"].as_str().expect("an alias");
    let words: Vec<&str> = alias.split(' ').collect();
    assert_eq!(words.first(), Some(&"run"), "{alias}");
    assert!(words.windows(2).any(|pair| pair == ["--package", "xtask"]), "{alias}");
    assert_eq!(words.last(), Some(&"--"), "what is typed behind goes to the tool: {alias}");
}

#[test]
fn the_versions_of_all_crates_are_committed() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("reads");
    assert!(lock.contains("\nname = \"xtask\"\n"), "Cargo.lock is of another workspace");
    if root().join(".git").exists() {
        assert!(
            names_tracked().contains(&"Cargo.lock".to_owned()),
            "Cargo.lock is not under version control"
        );
    }
}
