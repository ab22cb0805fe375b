//! Which records of drills are missing for good, so that somebody may accept it.
//!
//! Only what is named by its id and is not there can be accepted; a record that is there under another digest never can:
//! whatever else is wrong stands in the way. Where the history does not know which record a digest was of, a row of the list
//! must name one that is missing, and that is no newer than the record behind it. Reads only.
use super::chain::{Accepted, Stored};
use super::checklist::listed_ids;
use super::{Lost, record, rows, signed};
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The records that are missing in `folder` and were not accepted yet.
///
/// # Errors
/// `Refused` when nothing is missing, when it is not known what is, or when anything else is wrong; `Io` when something
/// cannot be read.
pub fn missing(folder: &Path, history: &[Value], records: &[Stored]) -> Result<Vec<Lost>> {
    let accepted = Accepted::of(records);
    let gone = |id: &str, path: &Path| !accepted.has_id(id) && !path.exists();
    // By id, with the digest where it is known.
    let mut lost: BTreeMap<String, Option<String>> = BTreeMap::new();
    let list = rows::list(folder);
    // Not pages or signatures: a killed drill leaves one of a record that never was.
    for id in listed_ids(&list).into_iter().filter(|id| gone(id, &folder.join(format!("{id}.json")))) {
        lost.insert(id.to_owned(), None);
    }
    // Those of other services lie elsewhere.
    for line in history.iter().filter(|line| line["kind"] == "drill") {
        let known = line["id"].as_str().zip(record::place(folder, history, line));
        if let Some((id, _)) = known.filter(|(id, path)| gone(id, path)) {
            lost.insert(id.to_owned(), line["sha256"].as_str().map(str::to_owned));
        }
    }
    for record in records {
        for digest in record.evidence.follows() {
            attribute(digest, record, records, &accepted, &mut lost)?;
        }
    }
    if lost.is_empty() {
        return Err(Error::refused("no record is missing that is not accepted already", ""));
    }
    let lost: Vec<Lost> = lost.into_iter().map(|(id, sha256)| Lost { id, sha256 }).collect();
    let mut wrong = record::wrong(folder, history, records, &accepted.and(&lost))?;
    wrong.extend(signed::check(folder, records)?);
    match wrong.into_iter().find(|finding| finding.severity == Severity::Error) {
        None => Ok(lost),
        Some(Finding { path, what, repair, .. }) => {
            let what = format!("more is wrong than that records are missing: {path} {what}");
            Err(Error::refused(what, repair))
        }
    }
}

/// Finds out which record had the digest that `record` follows, where that is missing.
fn attribute(
    digest: &str,
    record: &Stored,
    records: &[Stored],
    accepted: &Accepted,
    lost: &mut BTreeMap<String, Option<String>>,
) -> Result<()> {
    let is_there = records.iter().any(|other| other.sha256 == digest);
    let is_known = lost.values().any(|known| known.as_deref() == Some(digest));
    if is_there || is_known || accepted.has_digest(digest) {
        return Ok(());
    }
    // Ids begin with the time, so they sort by it.
    let before = |id: &String| id.as_str() < record.evidence.id.as_str();
    let candidate = lost.iter_mut().rev().find(|(id, sha256)| sha256.is_none() && before(id));
    let Some((_, sha256)) = candidate else {
        let what = format!(
            "the record before {} ({digest:.12}…) is gone or was changed, and nothing says that a record is missing there",
            record.file
        );
        return Err(Error::refused(
            what,
            "look for a record that was changed, and bring it back from version control",
        ));
    };
    *sha256 = Some(digest.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::record::Recorded;
    use crate::drill::evidence::tests::{frame, sample};
    use serde_json::json;
    use std::fs;

    /// A drill on disk, behind these.
    fn write(folder: &Path, records: &[Stored], day: u8) -> Recorded {
        record::write(folder, None, &frame(), (records, &[]), sample(day, None)).expect("writes")
    }

    /// A drill on disk, behind all that are there, and what the history says of it.
    fn drill(folder: &Path, day: u8) -> Value {
        let (records, _) = record::load(folder).expect("loads");
        let done = write(folder, &records, day);
        json!({"kind": "drill", "id": done.evidence.id, "artifact": done.json.display().to_string(),
            "sha256": done.sha256, "page_sha256": done.page_sha256})
    }

    /// Three drills on disk, and what the history says of them.
    fn drilled() -> (tempfile::TempDir, Vec<Value>) {
        let folder = tempfile::tempdir().expect("a folder");
        let history = (1..=3).map(|day| drill(folder.path(), day)).collect();
        (folder, history)
    }

    fn ask(folder: &Path, history: &[Value]) -> Result<Vec<Lost>> {
        let (records, _) = record::load(folder).expect("loads");
        missing(folder, history, &records)
    }

    fn file(folder: &Path, day: u8) -> std::path::PathBuf {
        folder.join(format!("drill-2026-03-0{day}T100000Z-spot.json"))
    }

    #[test]
    fn a_record_that_is_gone_is_named_with_its_digest() {
        for day in 1..=3 {
            for knows in [true, false] {
                let (folder, history) = drilled();
                let digest = history[usize::from(day) - 1]["sha256"].as_str().map(str::to_owned);
                let history = if knows { history } else { vec![] };
                fs::remove_file(file(folder.path(), day)).expect("removes");
                let lost = ask(folder.path(), &history).expect("may be accepted");
                assert_eq!(lost.len(), 1, "{lost:?}");
                assert!(lost[0].id.contains(&format!("03-0{day}T")), "{lost:?}");
                // No record behind it names the newest.
                assert_eq!(lost[0].sha256, digest.filter(|_| knows || day < 3));
            }
        }
    }

    /// One that is followed in `also_follows`, since drills were done in two places.
    #[test]
    fn each_record_that_another_follows_may_be_accepted() {
        for knows in [true, false] {
            let (folder, mut history) = drilled();
            let (records, _) = record::load(folder.path()).expect("loads");
            write(folder.path(), &records[..1], 4);
            let (records, _) = record::load(folder.path()).expect("loads");
            let joining = write(folder.path(), &records, 5).evidence;
            assert_eq!(joining.also_follows, [history[2]["sha256"].as_str().expect("a digest")]);
            ask(folder.path(), &history).expect_err("nothing is missing");
            fs::remove_file(file(folder.path(), 3)).expect("removes");
            history.retain(|_| knows);
            let lost = ask(folder.path(), &history).expect("may be accepted");
            assert!(lost.len() == 1 && lost[0].id.contains("03-03T"), "{lost:?}");
            assert_eq!(lost[0].sha256, Some(joining.also_follows[0].clone()));
        }
    }

    /// They lie in a folder of their own, and are not missing here.
    #[test]
    fn records_of_another_service_are_not_lost() {
        let (folder, mut history) = drilled();
        let other = tempfile::tempdir().expect("a folder");
        history.push(drill(other.path(), 9));
        ask(folder.path(), &history).expect_err("nothing is missing");
        fs::remove_file(file(folder.path(), 2)).expect("removes");
        let lost = ask(folder.path(), &history).expect("may be accepted");
        assert!(lost.len() == 1 && lost[0].id.contains("03-02T"), "{lost:?}");
    }

    #[test]
    fn a_record_that_was_changed_can_never_be_accepted() {
        for day in 1..=3 {
            for also_gone in [None, Some(1), Some(2), Some(3)].into_iter().filter(|gone| *gone != Some(day)) {
                let (folder, history) = drilled();
                let path = file(folder.path(), day);
                let text = fs::read_to_string(&path).expect("reads").replace("\"box\"", "\"bix\"");
                fs::write(&path, text).expect("writes");
                if let Some(gone) = also_gone {
                    fs::remove_file(file(folder.path(), gone)).expect("removes");
                }
                let error = ask(folder.path(), &history).expect_err("refused");
                assert!(matches!(error, Error::Refused { .. }), "{day} {also_gone:?}: {error}");
                // The row says so as well, where there is no history.
                ask(folder.path(), &[]).expect_err("refused");
            }
        }
    }

    #[test]
    fn a_page_of_a_record_that_never_was_is_not_accepted_as_lost() {
        let (folder, history) = drilled();
        fs::write(folder.path().join("drill-2026-03-02T110000Z-spot.md"), "").expect("writes");
        fs::remove_file(file(folder.path(), 2)).expect("removes");
        for history in [history, vec![]] {
            let lost = ask(folder.path(), &history).expect("may be accepted");
            assert!(lost.len() == 1 && lost[0].id.contains("03-02T100000Z"), "{lost:?}");
        }
    }

    #[test]
    fn a_page_of_a_record_that_never_was_excuses_no_change() {
        let (folder, _) = drilled();
        let path = file(folder.path(), 2);
        let text = fs::read_to_string(&path).expect("reads");
        // In a place that stands in no row.
        let changed = text.replace("\"0.1.0\"", "\"0.1.9\"");
        assert_ne!(text, changed);
        fs::write(&path, changed).expect("writes");
        fs::write(folder.path().join("drill-2026-03-02T110000Z-spot.md"), "").expect("writes");
        let error = ask(folder.path(), &[]).expect_err("refused");
        assert!(error.to_string().contains("is gone or was changed"), "{error}");
    }

    #[test]
    fn without_a_loss_there_is_nothing_to_accept() {
        let (folder, history) = drilled();
        // Not even beside the page of a drill that was killed before there was a record.
        fs::write(folder.path().join("drill-2026-03-02T110000Z-spot.md"), "").expect("writes");
        let error = ask(folder.path(), &history).expect_err("nothing");
        assert!(error.to_string().contains("no record is missing"), "{error}");
    }
}
