//! `docs/adopt.md`: the crate of three lines is the whole tool.
use super::super::support::Stack;
use super::markdown::{blocks, page, root, section};
use std::process::Command;

/// The files of the page as it shows them, with this checkout in the place of a repository somewhere else.
fn files() -> Vec<(&'static str, String)> {
    let page = page("docs/adopt.md");
    let shown = blocks(section(&page, "As a dependency"));
    let names = ["repo/xtask/Cargo.toml", "repo/xtask/src/main.rs", "repo/.cargo/config.toml"];
    assert_eq!(shown.iter().map(|(language, _)| *language).collect::<Vec<_>>(), ["toml", "rust", "toml"]);
    let here = format!("path = \"{}\"", root().join("xtask").display());
    let from = "git = \"https://github.com/OWNER/REPOSITORY\"";
    names.into_iter().zip(shown.into_iter().map(|(_, text)| text.replace(from, &here))).collect()
}

#[test]
fn the_files_of_a_dependency_are_short() {
    let files = files();
    assert!(files[0].1.contains("path = "), "{}", files[0].1);
    assert_eq!(files[1].1.lines().count(), 3);
}

#[test]
#[ignore = "long: scripts/test --long"]
fn a_crate_of_three_lines_is_the_whole_tool() {
    let stack = Stack::configured();
    for (name, text) in files() {
        stack.file(name, &text);
    }
    let call = |args: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg("xtask").args(args).current_dir(stack.path("repo"));
        let built = root().join("target/adopt");
        let output = cargo.env("CARGO_TARGET_DIR", built).output().expect("starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(call(&["--version"]).starts_with("cargo xtask "));
    assert!(call(&["snapshot"]).contains("acme-api-v1.4.2-"));
    assert!(call(&["backup"]).contains("codex-api: "));
    assert!(call(&["restore-drill"]).contains("result: verified"));
}
