//! What a job of GitHub Actions is told of a run: its facts as outputs of the step, and a page for people. Pure: a document
//! of `--json` goes in, text to append to the files of `GITHUB_OUTPUT` and `GITHUB_STEP_SUMMARY` comes out.
//!
//! A value may hold anything, such as a file name from a repository. In the outputs nothing of it can become another output;
//! on the page nothing of it is markup.
use serde_json::Value;

/// The verbs that tell of themselves: those that make, publish or prove something.
const VERBS: [&str; 4] = ["snapshot", "publish", "verify", "restore-drill"];
/// Lists that are shown as tables, with the columns that are shown where they are there.
const TABLES: [(&str, &[&str]); 5] = [
    ("assets", &["name", "bytes", "sha256"]),
    ("artifacts", &["set", "path", "sound", "result", "proven", "entries", "bytes"]),
    ("records", &["id", "result", "sound", "signed_by"]),
    ("steps", &["outcome", "name", "seconds", "detail"]),
    ("findings", &["severity", "path", "what", "repair"]),
];
/// Lists that are shown as lists.
const LISTS: [&str; 4] = ["steps", "reasons", "not_tested", "pruned"];
/// So much of a list is shown: a page has at most 1 MiB.
const SHOWN: usize = 100;
/// Characters of one cell that are shown.
const CELL: usize = 1000;

/// What is appended to each of the two files; nothing of other verbs.
pub fn told(document: &Value) -> Option<(String, String)> {
    let verb = document["command"].as_str().filter(|verb| VERBS.contains(verb))?;
    let facts = facts(document);
    let outputs = facts.iter().map(|(name, value)| output(name, value)).collect();
    Some((outputs, page(verb, &facts, document)))
}

/// All that is one value, in the order of names; how many errors and warnings were found; what ended the run.
fn facts(document: &Value) -> Vec<(String, String)> {
    let mut facts: Vec<(String, String)> = Vec::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        if !["schema_version", "command"].contains(&&**name)
            && let Some(text) = plain(value)
        {
            facts.push((name.clone(), text));
        }
    }
    if let Some(findings) = document["findings"].as_array() {
        for (name, severity) in [("errors", "error"), ("warnings", "warning")] {
            let count = findings.iter().filter(|finding| finding["severity"] == severity).count();
            facts.push((name.to_owned(), count.to_string()));
        }
    }
    if let Some(message) = document["error"]["message"].as_str() {
        facts.push(("error".to_owned(), message.to_owned()));
    }
    facts
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `name=value`; a value of several lines between two lines that do not occur in it.
fn output(name: &str, value: &str) -> String {
    if !value.contains(['\n', '\r']) {
        return format!("{name}={value}\n");
    }
    // Nobody can write a value that holds the digest of itself.
    let end = format!("end-{}", crate::archive::sha256_hex(value.as_bytes()));
    format!("{name}<<{end}\n{value}\n{end}\n")
}

fn page(verb: &str, facts: &[(String, String)], document: &Value) -> String {
    let status = document["status"].as_str().unwrap_or_default();
    let mut page = format!("### {verb}: {}\n\n| | |\n|---|---|\n", cell(status));
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        page.push_str(&format!("| {} | {} |\n", cell(&name.replace('_', " ")), cell(value)));
    }
    if let Some(hint) = document["error"]["hint"].as_str() {
        page.push_str(&format!("| next | {} |\n", cell(hint)));
    }
    for (name, columns) in TABLES {
        table(&mut page, name, columns, document);
    }
    for name in LISTS {
        let texts: Vec<&str> =
            document[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !texts.is_empty() {
            page.push_str(&format!("\n{}:\n\n", title(name)));
            texts.iter().take(SHOWN).for_each(|text| page.push_str(&format!("- {}\n", cell(text))));
            more(&mut page, texts.len());
        }
    }
    page + "\n"
}

fn table(page: &mut String, name: &str, columns: &[&str], document: &Value) {
    let rows: Vec<&Value> =
        document[name].as_array().into_iter().flatten().filter(|row| row.is_object()).collect();
    let there: Vec<&&str> =
        columns.iter().filter(|column| rows.iter().any(|row| row.get(*column).is_some())).collect();
    if there.is_empty() {
        return;
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    page.push_str(&format!("\n{}:\n\n", title(name)));
    page.push_str(&line(there.iter().map(|column| (**column).to_owned()).collect()));
    page.push_str(&line(there.iter().map(|_| "---".to_owned()).collect()));
    for row in rows.iter().take(SHOWN) {
        page.push_str(&line(
            there.iter().map(|column| cell(&plain(&row[**column]).unwrap_or_default())).collect(),
        ));
    }
    more(page, rows.len());
}

fn more(page: &mut String, count: usize) {
    if count > SHOWN {
        page.push_str(&format!("\nand {} more\n", count - SHOWN));
    }
}

fn title(name: &str) -> String {
    name.replace('_', " ")
}

/// As text of a table or a list: one line, and every character that Markdown or HTML could take for more as a reference
/// (CommonMark 0.31, section 2.5), which is text and nothing else.
fn cell(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().take(CELL) {
        match c {
            c if c.is_control() => shown.push(' '),
            c if c.is_alphanumeric() || " ,;%/".contains(c) => shown.push(c),
            // In the middle of words and numbers they are what they look like.
            '.' | '-' if !shown.is_empty() => shown.push(c),
            c if c.is_ascii() => shown.push_str(&format!("&#{};", u32::from(c))),
            c => shown.push(c),
        }
    }
    if text.chars().nth(CELL).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_outputs_and_lists_are_not() {
        let (outputs, page) = told(&json!({
            "schema_version": 1, "command": "verify", "status": "findings", "checked": 2, "bytes": 10, "none": null,
            "artifacts": [{"path": "a.tar.gz", "sound": true, "other": [1]}],
            "findings": [{"severity": "error", "path": "b", "what": "is gone", "repair": "find it"}],
        }))
        .expect("told");
        assert_eq!(outputs, "bytes=10\nchecked=2\nstatus=findings\nerrors=1\nwarnings=0\n");
        let expected = "### verify: findings\n\n| | |\n|---|---|\n| bytes | 10 |\n| checked | 2 |\n\
                        | status | findings |\n| errors | 1 |\n| warnings | 0 |\n\nartifacts:\n\n| path | sound |\n\
                        | --- | --- |\n| a.tar.gz | true |\n\nfindings:\n\n| severity | path | what | repair |\n\
                        | --- | --- | --- | --- |\n| error | b | is gone | find it |\n\n";
        assert_eq!(page, expected);
        assert_eq!(told(&json!({"command": "status"})), None);
    }

    /// As the runner reads it: `name=value`, or `name<<END`, the value, `END`.
    fn read(text: &str) -> Vec<(String, String)> {
        let (mut lines, mut found) = (text.lines(), Vec::new());
        while let Some(line) = lines.next() {
            match (line.find('='), line.find("<<")) {
                (Some(at), heredoc) if heredoc.is_none_or(|behind| at < behind) => {
                    found.push((line[..at].to_owned(), line[at + 1..].to_owned()));
                }
                (_, Some(at)) => {
                    let (name, end) = (&line[..at], &line[at + 2..]);
                    let value: Vec<&str> = lines.by_ref().take_while(|line| line != &end).collect();
                    found.push((name.to_owned(), value.join("\n")));
                }
                _ => panic!("no output: {line:?}"),
            }
        }
        found
    }

    #[test]
    fn no_value_becomes_another_output() {
        for value in ["a=b", "x<<EOF", "1\nurl=https://evil\n2", "1\nend-\nurl=x", "\n\n", "a<<b\nb\nc=d"] {
            let (outputs, _) = told(&json!({"command": "verify", "path": value, "z": "last"})).expect("told");
            let expected =
                [("path".to_owned(), value.trim_end_matches('\n').to_owned()), ("z".into(), "last".into())];
            let found = read(&outputs);
            assert_eq!(found.len(), 2, "{outputs}");
            assert_eq!(found[0].1.trim_end_matches('\n'), expected[0].1, "{outputs}");
            assert_eq!(found[1], expected[1]);
        }
    }

    #[test]
    fn nothing_on_the_page_is_markup() {
        let hostile =
            "</td><script>|[x](javascript:y) `c` *b* _i_ ![i](u) @team #1 ~~s~~ \\ & https://evil\n# head";
        let (_, page) = told(&json!({"command": "verify", "status": hostile, "findings": [
            {"severity": "error", "path": hostile, "what": hostile, "repair": ""}]}))
        .expect("told");
        assert_eq!(page.matches("\n#").count(), 0, "{page}");
        for line in page.lines().filter(|line| line.contains("script")) {
            let text = line.trim_start_matches("### verify: ").trim_matches(['|', ' ']);
            for mark in ["<", ">", "`", "*", "_", "[", "]", "@", "\\", "!", "~", "://", "(", "# "] {
                assert!(!text.contains(mark), "{mark} in {line}");
            }
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("| error |")).count(), 1);
    }

    #[test]
    fn much_of_anything_is_cut_and_says_so() {
        let findings: Vec<Value> =
            (0..5000).map(|_| json!({"severity": "error", "path": "p".repeat(5000)})).collect();
        let (_, page) = told(&json!({"command": "verify", "findings": findings})).expect("told");
        assert!(page.len() < 1 << 20 && page.contains("and 4900 more"), "{}", page.len());
        assert!(page.contains("errors | 5000"));
    }

    #[test]
    fn what_ended_a_run_is_told() {
        let (outputs, page) = told(&json!({"command": "publish", "status": "error",
            "error": {"message": "no tag", "hint": "push it", "exit_code": 3}}))
        .expect("told");
        assert_eq!(outputs, "status=error\nerror=no tag\n");
        assert!(page.contains("| next | push it |"), "{page}");
    }

    #[test]
    fn as_many_as_are_shown_leave_none_to_count() {
        let reasons = vec!["why"; SHOWN];
        let (_, page) = told(&json!({"command": "verify", "reasons": reasons})).expect("told");
        assert!(!page.contains("more"), "{page}");
    }

    #[test]
    fn a_cell_is_one_line_of_text_in_any_language() {
        assert_eq!(cell("a\nb\tc"), "a b c");
        assert_eq!(cell("-a.b – 1-2½"), "&#45;a.b – 1-2½");
    }
}
