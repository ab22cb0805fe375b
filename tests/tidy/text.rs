//! The eye: files as lines, and names in them. Comments and what is compiled for unit tests alone are blanked out; lines
//! keep their numbers. No parser: it sees what is written plainly, as rustfmt lays it out.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file, by its path from the root (of `xtask/src` for sources), and its lines.
pub(super) struct Text {
    pub(super) path: String,
    pub(super) lines: Vec<String>,
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every `.rs` file below a folder, sorted.
pub(super) fn rust(folder: &str) -> Vec<Text> {
    let (base, mut open, mut found) = (root().join(folder), vec![root().join(folder)], Vec::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("lists") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&base).expect("below").display().to_string();
                found.push(text(name, &fs::read_to_string(&path).expect("reads")));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no source in {folder}");
    found
}

pub(super) fn text(path: String, content: &str) -> Text {
    Text { path, lines: content.lines().map(str::to_owned).collect() }
}

/// What the program is made of: sources without comments and unit tests. Lines keep their numbers.
pub(super) fn code() -> Vec<Text> {
    let mut all = rust("xtask/src");
    all.retain(|file| !file.path.ends_with("_tests.rs"));
    for file in &mut all {
        file.lines = blanked(&file.lines);
    }
    all
}

fn blanked(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| without_comment(line)).collect();
    for at in 0..lines.len() {
        if lines[at].trim() == "#[cfg(test)]" {
            let end = end_of_item(&lines, at);
            lines[at..=end].iter_mut().for_each(String::clear);
        }
    }
    lines
}

fn without_comment(line: &str) -> String {
    if line.trim_start().starts_with("//") {
        return String::new();
    }
    match line.find(" // ") {
        Some(at) if line[..at].matches('"').count().is_multiple_of(2) => line[..at].to_owned(),
        _ => line.to_owned(),
    }
}

/// The last line of the item whose attribute stands at `at`, as rustfmt lays it out.
fn end_of_item(lines: &[String], at: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let ends = |line: &str| line.trim() == "}" || line.ends_with(';');
    let same = |line: &&String| indent(line) == indent(&lines[at]) && ends(line);
    lines[at..].iter().position(|line| same(&line)).map_or(lines.len() - 1, |behind| at + behind)
}

/// The places of a name in a line, where it is not a part of a longer one.
pub(super) fn places(line: &str, name: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let open = |end: Option<char>, edge: Option<char>| !(end.is_some_and(part) && edge.is_some_and(part));
    line.match_indices(name)
        .map(|(at, _)| at)
        .filter(|&at| {
            let behind = &line[at + name.len()..];
            open(name.chars().next(), line[..at].chars().next_back())
                && open(name.chars().next_back(), behind.chars().next())
        })
        .collect()
}

/// `file:line: name` for each line that has one of these names.
pub(super) fn named(file: &Text, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.lines.iter().enumerate() {
        for name in names.iter().filter(|name| !places(line, name).is_empty()) {
            found.push(format!("{}:{}: {name}", file.path, number + 1));
        }
    }
    found
}

#[track_caller]
pub(super) fn none(rule: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

pub(super) fn everywhere() -> impl Iterator<Item = Text> {
    ["xtask/src", "tests"].into_iter().flat_map(|folder| {
        rust(folder).into_iter().map(move |file| Text { path: format!("{folder}/{}", file.path), ..file })
    })
}

/// Every text file under version control; where the tree has no repository, the sources alone.
pub(super) fn tracked() -> Vec<Text> {
    if !root().join(".git").exists() {
        return everywhere().collect();
    }
    let read = |name: &str| fs::read(root().join(name)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    names_tracked().into_iter().filter_map(|name| Some(text(name.clone(), &read(&name)?))).collect()
}

pub(super) fn names_tracked() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root());
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable);
    }
    let listed = git.output().expect("git starts");
    assert!(listed.status.success(), "git: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("UTF-8");
    names.split_terminator('\0').map(str::to_owned).collect()
}

/// It sees code, not comments and unit tests, and whole names alone.
#[test]
fn the_eye_sees_code_alone() {
    let sample = "use std::fs;\n// std::fs\nlet a = 1; // std::fs\nlet b = \"x // std::fs\";\nmy_std::fs();\n\
                  #[cfg(test)]\nmod tests {\n    use std::fs;\n}\nstd::fs::read();\n\
                  #[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;\nstd::fs_extra();\nstd::fs\n";
    let mut file = text("b.rs".into(), sample);
    file.lines = blanked(&file.lines);
    let lines = [1, 4, 10, 15].map(|line| format!("b.rs:{line}: std::fs"));
    assert_eq!(named(&file, &["std::fs"]), lines);
}
