//! The file `restore-checklist.md` beside the records: whether each record has its row, and how rows get there.
//!
//! What a row says is for [`super::checklist`]. A row comes behind its record, and the history behind that: a drill that is
//! killed in between leaves a record without a row, which the next drill adds before it has a record itself. So of the newest
//! record alone a row that is missing is no damage, and of that only where no history knows it.
use super::chain::{Accepted, Stored};
use super::checklist::{CHECKLIST_HEAD, CHECKLIST_TABLE, links, listed_ids, written_row};
use super::known::{is_sound, known};
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
    /// As it was written, and another.
    Twice,
    /// Another.
    Other,
    /// None, or the beginning of one: its drill was killed.
    Missing,
}

fn row_of(record: &Stored, list: &str) -> Row {
    let written = written_row(&record.evidence);
    let whole = list.lines().any(|line| line == written);
    let other = list.lines().any(|line| links(line, &record.evidence.id) && !written.starts_with(line));
    match (whole, other) {
        (true, false) => Row::Whole,
        (true, true) => Row::Twice,
        (false, true) => Row::Other,
        (false, false) => Row::Missing,
    }
}

/// Whether a record has no row in this list.
pub(super) fn is_missing(record: &Stored, list: &str) -> bool {
    row_of(record, list) == Row::Missing
}

/// The newest record, where its row alone is missing and its drill was killed before it had written it, as far as anything
/// here can tell: such a drill has not come to its line of history either.
pub(super) fn late<'a>(
    folder: &Path,
    history: &[Value],
    records: &'a [Stored],
    accepted: &Accepted,
    list: &str,
) -> Option<&'a Stored> {
    let (newest, rest) = records.split_last()?;
    let alone = is_missing(newest, list) && !rest.last().is_some_and(|before| is_missing(before, list));
    let killed = known(folder, &newest.evidence.id, history).is_none()
        && is_sound(folder, newest, history, records, accepted);
    (alone && killed).then_some(newest)
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
    let late = late(folder, history, records, accepted, &text).map(|record| &record.file);
    let mut findings = Vec::new();
    for record in records {
        let (id, line) = (&record.evidence.id, written_row(&record.evidence));
        let not_so = format!("does not list {id} as it was written");
        let back = "bring it back from version control, or";
        findings.push(match row_of(record, &text) {
            Row::Whole => continue,
            Row::Missing if late == Some(&record.file) => {
                let what =
                    format!("does not list {id} yet: that drill was killed before it had written its row");
                Finding::warning(&path, what, "the next drill adds it")
            }
            Row::Missing => {
                let sound = is_sound(folder, record, history, records, accepted);
                let next = if sound { "; the next drill adds it" } else { "" };
                Finding::error(&path, not_so, format!("{back} add the line {line}{next}"))
            }
            Row::Other => Finding::error(&path, not_so, format!("{back} put in its place the line {line}")),
            Row::Twice => {
                let what = format!("lists {id} as it was written, and once more in another way");
                Finding::error(&path, what, format!("{back} leave of it only the line {line}"))
            }
        });
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

/// Adds rows at the end; a checklist that someone keeps by hand gets our table behind what is in it. It is replaced as a
/// whole: a row that a full disk has torn, of a drill that is none then, would be in the way of the next of that name.
pub(super) fn add(folder: &Path, rows: &[String]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let path = folder.join(CHECKLIST);
    let mut text = match is_gone(folder) {
        true => format!("{CHECKLIST_HEAD}{CHECKLIST_TABLE}\n").into_bytes(),
        false => read::small(&path)?,
    };
    if !String::from_utf8_lossy(&text).contains(CHECKLIST_TABLE) {
        text.truncate(text.trim_ascii_end().len());
        let gap = if text.is_empty() { "" } else { "\n\n" };
        text.extend(format!("{gap}{CHECKLIST_TABLE}\n").bytes());
    }
    // An editor, or a version that appended, may have left a last line without its end.
    text.extend(if text.ends_with(b"\n") { "" } else { "\n" }.bytes());
    rows.iter().for_each(|row| text.extend(format!("{row}\n").bytes()));
    durable::replace(&path, &text, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::chain;

    #[test]
    fn a_checklist_kept_by_hand_keeps_its_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CHECKLIST);
        // Not even UTF-8.
        fs::write(&path, b"# Mine\n\n- restored \xff by hand").expect("written");
        add(folder.path(), &["| a |".into()]).expect("added");
        add(folder.path(), &["| b |".into(), "| c |".into()]).expect("added");
        let text = fs::read(&path).expect("there");
        let rest = text.strip_prefix(b"# Mine\n\n- restored \xff by hand\n\n").expect("its text");
        assert_eq!(String::from_utf8_lossy(rest), format!("{CHECKLIST_TABLE}\n| a |\n| b |\n| c |\n"));
    }

    /// Only of the newest record, and where no history says that the drill has come to its end.
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
        assert_eq!(errors(&[&rows[0]], &[]), (2, 2), "two in a row");
        assert_eq!(errors(&[], &[]), (3, 3), "all of them");
        assert_eq!(errors(&[&rows[0], &rows[2]], &[]), (1, 1), "one in the middle");
        let newest = &records[2];
        let line = serde_json::json!({"kind": "drill", "id": newest.evidence.id, "sha256": newest.sha256});
        assert_eq!(errors(&[&rows[0], &rows[1]], &[line]), (1, 1), "one that was there");
    }
}
