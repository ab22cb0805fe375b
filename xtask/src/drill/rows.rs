//! The file `restore-checklist.md` beside the records: whether each record has its row, and how rows get there.
//!
//! What a row says is for [`super::checklist`]. A row comes behind its record, and the history behind that: a drill that is
//! killed in between leaves a record without a row, which the next drill adds, and that is no damage.
use super::chain::{Accepted, Stored};
use super::checklist::{CHECKLIST_HEAD, CHECKLIST_TABLE, linked, listed_ids, written_row};
use super::mended::{is_sound, known};
use crate::destination::{durable, read};
use crate::error::Result;
use crate::finding::Finding;
use crate::shown::show;
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The list of all drills.
pub const CHECKLIST: &str = "restore-checklist.md";

/// The row of a record in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// As it was written.
    Whole,
    /// Another.
    Other,
    /// None, or the beginning of one: its drill was killed.
    Missing,
}

fn row_of(record: &Stored, list: &str) -> Row {
    let written = written_row(&record.evidence);
    let mut row = Row::Missing;
    for line in list.lines() {
        if line == written {
            return Row::Whole;
        }
        if linked(line) == Some(&*record.evidence.id) && !written.starts_with(line) {
            row = Row::Other;
        }
    }
    row
}

/// Whether a record has no row in this list.
pub(super) fn is_missing(record: &Stored, list: &str) -> bool {
    row_of(record, list) == Row::Missing
}

/// Whether the list of all drills has the row of each record as it was written, and no drill without a record. It may
/// hold more, added by hand.
pub(super) fn check(
    folder: &Path,
    history: &[Value],
    records: &[Stored],
    accepted: &Accepted,
) -> Vec<Finding> {
    let (path, text) = (show(&folder.join(CHECKLIST)), list(folder));
    let sound = |record: &Stored| is_sound(record, history, records, accepted);
    // A drill that was killed has not come to its line of history either.
    let late = records
        .iter()
        .rev()
        .take_while(|one| is_missing(one, &text) && known(one, history).is_none() && sound(one));
    let whole = records.len() - late.count();
    let mut findings = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let (id, row) = (&record.evidence.id, row_of(record, &text));
        let line = written_row(&record.evidence);
        if number >= whole {
            let what = format!("does not list {id} yet: that drill was killed before it had written its row");
            findings.push(Finding::warning(&path, what, "the next drill adds it"));
        } else if row != Row::Whole {
            let what = format!("does not list {id} as it was written");
            let next = if row == Row::Missing && sound(record) { "; the next drill adds it" } else { "" };
            let repair = format!("bring it back from version control, or add the line {line}{next}");
            findings.push(Finding::error(&path, what, repair));
        }
    }
    let gone = listed_ids(&text).into_iter().filter(|id| !folder.join(format!("{id}.json")).exists());
    findings.extend(gone.filter(|id| !accepted.has_id(id)).map(|id| {
        let what = format!("lists {id}, whose record is gone");
        let repair = "bring the record back from version control; where it is lost for good, \
                      `cargo xtask verify --evidence --accept-lost REASON` writes that down";
        Finding::error(&path, what, repair)
    }));
    findings
}

/// The list of all drills; empty where it is not there.
pub(super) fn list(folder: &Path) -> String {
    let text = read::small(&folder.join(CHECKLIST)).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether there is no list at all.
pub(super) fn is_gone(folder: &Path) -> bool {
    let found = fs::symlink_metadata(folder.join(CHECKLIST));
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Adds a row at the end; a checklist that someone keeps by hand gets our table behind what is in it.
pub(super) fn add(folder: &Path, row: &str) -> Result<()> {
    let path = folder.join(CHECKLIST);
    if is_gone(folder) {
        durable::replace(&path, format!("{CHECKLIST_HEAD}{CHECKLIST_TABLE}\n").as_bytes(), 0o644)?;
    } else {
        let text = String::from_utf8_lossy(&read::small(&path)?).into_owned();
        if !text.contains(CHECKLIST_TABLE) {
            let text = format!("{}\n\n{CHECKLIST_TABLE}\n", text.trim_end());
            durable::replace(&path, text.trim_start_matches('\n').as_bytes(), 0o644)?;
        }
    }
    durable::append_line(&path, row, "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::chain;

    #[test]
    fn a_checklist_kept_by_hand_keeps_its_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CHECKLIST);
        fs::write(&path, "# Mine\n\n- restored by hand").expect("written");
        add(folder.path(), "| a |").expect("added");
        add(folder.path(), "| b |").expect("added");
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text, format!("# Mine\n\n- restored by hand\n\n{CHECKLIST_TABLE}\n| a |\n| b |\n"));
    }

    /// Only at the end of the chain, and where no history says that the drill has come to its end.
    #[test]
    fn a_row_that_a_killed_drill_has_not_written_is_no_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = chain();
        for record in &records {
            fs::write(folder.path().join(&record.file), "").expect("written");
        }
        let rows: Vec<String> = records.iter().map(|record| written_row(&record.evidence)).collect();
        let errors = |lines: &[&str], history: &[Value]| {
            let list = format!("{CHECKLIST_HEAD}{CHECKLIST_TABLE}\n{}", lines.join("\n"));
            fs::write(folder.path().join(CHECKLIST), list).expect("written");
            let found = check(folder.path(), history, &records, &Accepted::default());
            assert!(
                found.iter().all(|finding| finding.repair.contains("the next drill adds it")),
                "{found:?}"
            );
            let errors = found.iter().filter(|found| crate::finding::any_error(&[(*found).clone()]));
            (found.len(), errors.count())
        };
        assert_eq!(errors(&[&rows[0], &rows[1], &rows[2]], &[]), (0, 0));
        assert_eq!(errors(&[&rows[0], &rows[1]], &[]), (1, 0));
        assert_eq!(errors(&[&rows[0], &rows[1], &rows[2][..150]], &[]), (1, 0), "a torn one");
        assert_eq!(errors(&[&rows[0]], &[]), (2, 0), "two in a row");
        assert_eq!(errors(&[&rows[0], &rows[2]], &[]), (1, 1), "one in the middle");
        let newest = &records[2];
        let line = serde_json::json!({"kind": "drill", "id": newest.evidence.id, "sha256": newest.sha256});
        assert_eq!(errors(&[&rows[0], &rows[1]], &[line]), (1, 1), "one that was there");
    }
}
