//! As much of Markdown as our own pages use: fenced blocks, sections, tables, code spans.
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the tree.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(super) fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The lines, each with the language of the fenced block that it lies in, if any. Fences themselves are left out.
fn fenced(text: &str) -> Vec<(Option<&str>, &str)> {
    let (mut inside, mut found) = (None, Vec::new());
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside.is_some() => inside = None,
            Some(language) => inside = Some(language),
            None => found.push((inside, line)),
        }
    }
    found
}

/// The fenced blocks in order: language and content.
pub(super) fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for part in text.split("\n```").skip(1).step_by(2) {
        let (language, content) = part.split_once('\n').unwrap_or((part, ""));
        found.push((language, format!("{content}\n")));
    }
    found
}

/// Everything that is not in a fenced block.
pub(super) fn prose(text: &str) -> String {
    fenced(text)
        .into_iter()
        .filter(|(inside, _)| inside.is_none())
        .map(|(_, line)| format!("{line}\n"))
        .collect()
}

/// What stands under a heading, up to the next one that is not below it.
#[track_caller]
pub(super) fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let (mut begin, mut at, mut inside) = (None, 0, false);
    for line in text.split_inclusive('\n') {
        inside ^= line.starts_with("```");
        match begin {
            _ if inside || level(line) == 0 => {}
            Some((from, depth)) if level(line) <= depth => return &text[from..at],
            None if line.trim_matches(['#', ' ', '\n', '`']) == title => {
                begin = Some((at + line.len(), level(line)));
            }
            _ => {}
        }
        at += line.len();
    }
    &text[begin.unwrap_or_else(|| panic!("no heading {title:?}")).0..]
}

/// The headings in order, each with what stands under it, up to the next heading of any kind.
pub(super) fn chapters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut inside) = (Vec::<(String, String)>::new(), false);
    for line in text.split_inclusive('\n') {
        inside ^= line.starts_with("```");
        match found.last_mut() {
            _ if !inside && line.starts_with('#') => {
                found.push((line.trim_matches(['#', ' ', '\n', '`']).to_owned(), "\n".to_owned()));
            }
            Some((_, text)) => text.push_str(line),
            None => {}
        }
    }
    found
}

/// The tables in order: rows of cells, the head first.
pub(super) fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut found: Vec<Vec<Vec<String>>> = Vec::new();
    let mut open = false;
    for line in prose(text).lines() {
        if !line.starts_with('|') {
            open = false;
            continue;
        }
        if !open {
            found.push(Vec::new());
        }
        open = true;
        if !line.starts_with("|--") {
            found.last_mut().expect("a table").push(cells(line));
        }
    }
    found
}

fn cells(row: &str) -> Vec<String> {
    let bar = row.replace("\\|", "\0");
    bar.trim_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The rows of the first table whose first column has this head.
#[track_caller]
pub(super) fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let found = tables(text).into_iter().find(|table| table[0][0] == head);
    found.unwrap_or_else(|| panic!("no table of {head:?}")).split_off(1)
}

/// The code spans of a text.
pub(super) fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A name that a page documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// The values that stand in parentheses behind it.
    pub(super) values: Vec<String>,
    /// The page says that it is null.
    pub(super) null: bool,
}

/// The names in a list, each with what stands in parentheses behind it.
pub(super) fn fields(list: &str) -> Vec<Field> {
    let (mut depth, mut found) = (0i64, Vec::<Field>::new());
    for (number, part) in list.split('`').enumerate() {
        let count = |c| i64::try_from(part.matches(c).count()).unwrap_or(0);
        match (number % 2, found.last_mut()) {
            (1, Some(last)) if depth > 0 => last.values.push(part.to_owned()),
            (1, _) => found.push(Field { name: part.to_owned(), values: Vec::new(), null: false }),
            (_, last) => {
                depth += count('(') - count(')');
                if let Some(last) = last.filter(|_| part.starts_with(" (null)")) {
                    last.null = true;
                }
            }
        }
    }
    found
}

/// A small page with everything in it.
#[test]
fn pages_are_read_as_they_are_meant() {
    let page = "# T\n\n## A `b`\n\nx `c` y\n\n```toml\n# no heading\n| no | table |\n```\n\n\
                | head | more |\n|---|---|\n| `a\\|b` | `x` (`1`, `2`), `y` (null) |\n\n### Deeper\n\nend\n\n## Next\n";
    assert_eq!(blocks(page), [("toml", "# no heading\n| no | table |\n".to_owned())]);
    let text = section(page, "A `b");
    assert!(text.contains("### Deeper") && text.contains("end") && !text.contains("Next"), "{text}");
    let titles: Vec<String> = chapters(page).into_iter().map(|(title, _)| title).collect();
    assert_eq!(titles, ["T", "A `b", "Deeper", "Next"]);
    let rows = table(text, "head");
    assert_eq!((rows.len(), spans(&rows[0][0])), (1, vec!["a|b".to_owned()]));
    let [x, y] = &fields(&rows[0][1])[..] else { panic!("{rows:?}") };
    assert_eq!((&x.name[..], &x.values[..], x.null), ("x", &["1".to_owned(), "2".to_owned()][..], false));
    assert_eq!((&y.name[..], y.null), ("y", true));
}
