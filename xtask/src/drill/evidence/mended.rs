//! What is missing beside records that are whole, and is made again from them by the next drill: rows of the list, and pages.
//!
//! Only of a record that the history knows with its digest, or, where it knows nothing of it, that has its place in the
//! chain: nothing is written for one that was changed. A page counts only when it is the one that the history knows. Reads
//! only.
use super::Evidence;
use super::chain::{Accepted, Stored};
use super::checklist::written_row;
use super::known::{is_sound, known};
use super::render::markdown;
use super::rows::{self, CHECKLIST};
use crate::archive::sha256_hex;
use crate::destination::read;
use crate::finding::Finding;
use crate::shown::show;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is to be written again.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Rows, the oldest first.
    pub rows: Vec<String>,
    /// Pages, and where they belong.
    pub pages: Vec<(PathBuf, String)>,
    /// What is told of it.
    pub findings: Vec<Finding>,
}

/// What is missing of `records` in `folder`.
pub(super) fn missing(folder: &Path, history: &[Value], records: &[Stored]) -> Missing {
    let accepted = Accepted::of(records);
    let (list, path) = (rows::list(folder), show(&folder.join(CHECKLIST)));
    let mut missing = Missing::default();
    let late = rows::late(folder, history, records, &accepted, &list);
    // There is none yet where the first drill was killed before its row.
    let gone = rows::is_gone(folder) && !records.is_empty() && late.is_none();
    for record in records.iter().filter(|one| rows::is_missing(one, &list)) {
        if is_sound(folder, record, history, records, &accepted) {
            missing.rows.push(written_row(&record.evidence));
            let removed = late.is_none_or(|late| late.file != record.file);
            missing.findings.extend((!gone).then(|| added(&path, record, removed)));
        }
    }
    if gone {
        let what = "was gone, and is begun anew with a row for each record that is whole";
        let repair = "where it held more, bring it back from version control, and add the newest row";
        missing.findings.push(Finding::warning(&path, what, repair));
    }
    for record in records {
        let json = folder.join(&record.file);
        let text = known(folder, &record.evidence.id, history).and_then(|line| page(&json, line));
        if let Some(text) = text {
            let path = json.with_extension("md");
            let what = "was gone, and is written again from its record";
            missing.findings.push(Finding::warning(show(&path), what, "look who has removed it"));
            missing.pages.push((path, text));
        }
    }
    missing
}

fn added(list: &str, record: &Stored, removed: bool) -> Finding {
    let id = &record.evidence.id;
    match removed {
        true => {
            let what = format!("had lost the row of {id}, which is added again");
            Finding::warning(list, what, "look who has removed it")
        }
        false => {
            let what =
                format!("had no row of {id}, whose drill was killed before it had written it: it is added");
            Finding::info(list, what)
        }
    }
}

/// The page that belongs beside the record `json` and is gone, where it is the one that this line of history knows.
pub(super) fn page(json: &Path, known: &Value) -> Option<String> {
    if json.with_extension("md").symlink_metadata().is_ok() {
        return None;
    }
    let bytes = read::small(json).ok().filter(|bytes| known["sha256"] == sha256_hex(bytes))?;
    let text = markdown(&Evidence::parse(&bytes).ok()?);
    (known["page_sha256"] == sha256_hex(text.as_bytes())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::{sample, stored};
    use serde_json::json;
    use std::fs;

    #[test]
    fn a_page_is_written_again_where_it_comes_out_as_it_was_and_the_record_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = stored(sample(1, None));
        let (json, text) = (folder.path().join(&record.file), markdown(&record.evidence));
        fs::write(&json, record.evidence.to_json().expect("writes")).expect("written");
        let line = |sha256: &str, page: &str| json!({"sha256": sha256, "page_sha256": page});
        let whole = sha256_hex(text.as_bytes());
        assert_eq!(page(&json, &line("ab", &whole)), None, "the record was changed");
        assert_eq!(page(&json, &line(&record.sha256, "ab")), None, "another version has written it");
        assert_eq!(page(&json, &line(&record.sha256, &whole)), Some(text));
        fs::write(json.with_extension("md"), "other").expect("written");
        assert_eq!(page(&json, &line(&record.sha256, &whole)), None, "it is there");
    }
}
