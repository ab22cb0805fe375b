//! `docs/safety.md`: each promise has tests, and each test that it names is there and run.
use super::markdown::{page, root, spans, tables};
use std::collections::BTreeSet;
use std::fs;

const PAGE: &str = "docs/safety.md";

/// `module::name` of every test of the crate, as `cargo test` prints it.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for top in ["xtask/src", "tests"] {
        let mut open = vec![root().join(top)];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).expect("lists") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let inside = path.strip_prefix(root().join(top)).expect("inside").with_extension("");
                    let module = inside.to_string_lossy().replace('/', "::").replace("::mod", "");
                    found.extend(tests_of(&fs::read_to_string(&path).expect("reads"), &module));
                }
            }
        }
    }
    found
}

fn tests_of(text: &str, module: &str) -> Vec<String> {
    let (mut found, mut marked, mut inner) = (Vec::new(), false, "");
    for line in text.lines().map(str::trim) {
        if line.starts_with("mod tests {") {
            inner = "::tests";
        }
        if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(format!("{module}{inner}::{name}"));
        }
        let runs = !line.contains("ignore");
        marked = line == "#[test]" || (marked && runs && line.starts_with("#["));
    }
    found
}

#[test]
fn each_promise_has_tests_that_are_there() {
    let tests = tests();
    assert!(tests.contains("docs::safety::each_promise_has_tests_that_are_there"), "{}", tests.len());
    let promises = tables(&page(PAGE)).into_iter().filter(|table| table[0][0] == "promise");
    let rows: Vec<Vec<String>> = promises.flat_map(|table| table.into_iter().skip(1)).collect();
    assert!(rows.len() >= 25, "{}", rows.len());
    for row in rows {
        let named = spans(&row[3]);
        assert!(!named.is_empty(), "no test for: {}", row[0]);
        let lost: Vec<&String> = named.iter().filter(|name| !tests.contains(*name)).collect();
        assert!(lost.is_empty(), "{lost:?}, which {PAGE} names, are no tests");
    }
}
