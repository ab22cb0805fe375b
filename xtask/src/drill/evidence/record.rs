//! Stores the evidence: `<id>.json`, `<id>.md`, `<id>.json.asc` where it is signed, and a row in `restore-checklist.md`.
//!
//! The JSON record is the evidence; it appears as a whole, behind its page and signature, and the row comes last. Rows that
//! former drills owe come before it, so that drills that are killed one after the other never owe more than one. Records
//! are never overwritten: a drill with the same second gets a number behind its name, and so does one of another service or
//! another branch, whose record is not here and is in the history. All writes go through [`durable`].
use super::chain::{Accepted, Stored, broken, chained, ends, losses};
use super::checklist::checklist_row;
use super::frame::Frame;
pub use super::known::is_remembered;
use super::known::{is_sound, known};
use super::render::markdown;
use super::{Evidence, mended, rows, signed};
use crate::archive::{FormatError, sha256_hex};
use crate::destination::durable::{self, Run};
use crate::destination::read;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads the records in `folder`, in the order of their chain. What is damaged is a finding: the drill goes on, and
/// the next record says so. A folder that is not there holds none.
///
/// # Errors
/// `Io`; `Format` with `Newer` for a record of a newer schema: chaining to what cannot be read would be a
/// guess.
pub fn load(folder: &Path) -> Result<(Vec<Stored>, Vec<Finding>)> {
    let (mut records, mut findings) = (Vec::new(), Vec::new());
    for file in names(folder)?.into_iter().filter(|name| is_record(name)) {
        let path = folder.join(&file);
        let bytes = match read::small(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                findings.push(Finding::of(file, &error));
                continue;
            }
        };
        match Evidence::parse(&bytes) {
            Ok(evidence) => records.push(Stored { file, sha256: sha256_hex(&bytes), evidence }),
            Err(error @ FormatError::Newer { .. }) => return Err(Error::format(&path)(error)),
            Err(error) => {
                let repair = "bring it back from version control";
                findings.push(Finding::error(file, error.to_string(), repair));
            }
        }
    }
    let records = chained(records.iter().collect()).into_iter().cloned().collect();
    Ok((records, findings))
}

/// What lies in `folder`, sorted; nothing where it is not there.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io("list", folder))?.file_name().to_str().map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Whether the records that a history knows, and their pages, are there as they were written; the newest record has no
/// other behind it that would vouch for it, and no page has. What was `accepted` as lost may be gone.
pub fn compare(folder: &Path, history: &[serde_json::Value], accepted: &Accepted) -> Vec<Finding> {
    let mut findings = Vec::new();
    for known in history.iter().filter(|known| known["kind"] == "drill") {
        let Some(json) = place(folder, history, known) else { continue };
        for (path, name, digest) in
            [(json.clone(), "record", "sha256"), (json.with_extension("md"), "page", "page_sha256")]
        {
            let Some(digest) = known[digest].as_str() else { continue };
            if known["id"].as_str().is_some_and(|id| accepted.has_id(id)) && !path.exists() {
                continue;
            }
            let (what, repair) = match read::small(&path) {
                Ok(bytes) if sha256_hex(&bytes) == digest => continue,
                Ok(_) => (format!("is not the {name} that its drill has written"), BACK),
                Err(_) => (format!("is the {name} of a drill, and cannot be read"), next(name, &path, known)),
            };
            findings.push(Finding::error(show(&path), what, repair));
        }
    }
    findings
}

const BACK: &str = "bring it back from version control";

/// How many records of drills are gone that the history knows, if any: the next drill says so, and goes on.
pub fn gone(folder: &Path, history: &[serde_json::Value], records: &[Stored]) -> Option<Finding> {
    let accepted = Accepted::of(records);
    let is_accepted = |known: &serde_json::Value| known["id"].as_str().is_some_and(|id| accepted.has_id(id));
    let drills = history.iter().filter(|known| known["kind"] == "drill" && !is_accepted(known));
    let places = drills.filter_map(|known| place(folder, history, known));
    let count = places.filter(|json| !json.exists()).count();
    let what = format!("lacks {count} of the records of drills that the history knows");
    let repair = "bring them back from version control; `cargo xtask verify --evidence` names them";
    (count > 0).then(|| Finding::warning(show(folder), what, repair))
}

/// Where the record lies that a line of history tells of. The line has its path as it is shown, which a path with bytes of
/// no text is not.
pub(super) fn place(
    folder: &Path,
    history: &[serde_json::Value],
    line: &serde_json::Value,
) -> Option<PathBuf> {
    let told = line["artifact"].as_str()?;
    let here = line["id"].as_str().map(|id| (id, folder.join(format!("{id}.json"))));
    let is_its = |(id, here): &(&str, PathBuf)| {
        show(here) == told || (here.exists() && known(folder, id, history) == Some(line))
    };
    Some(here.filter(is_its).map_or_else(|| PathBuf::from(told), |(_, here)| here))
}

/// What to do where a record or its page cannot be read.
fn next(name: &str, path: &Path, known: &serde_json::Value) -> &'static str {
    match name {
        _ if path.exists() => BACK,
        "record" => {
            "bring it back from version control; where it is lost for good, \
             `cargo xtask verify --evidence --accept-lost REASON` writes that down"
        }
        _ if mended::page(&path.with_extension("json"), known).is_some() => {
            "bring it back from version control, or run a drill: the next one writes it again from its record"
        }
        _ => {
            "bring it back from version control; this version cannot write it again from its record, in which all of it \
             stands"
        }
    }
}

/// What is wrong with the drills on record: what does not parse, a broken chain, what is not as it was written.
///
/// # Errors
/// When the folder cannot be listed.
pub fn check(folder: &Path, history: &[serde_json::Value]) -> Result<Vec<Finding>> {
    match load(folder) {
        Ok((records, findings)) => {
            let wrong = wrong(folder, history, &records, &Accepted::of(&records))?;
            Ok([findings, wrong, losses(&records)].concat())
        }
        Err(error @ Error::Format { .. }) => {
            let repair = "use the version of this tool that wrote it, or a newer one";
            let newer = Finding::error(show(folder), error.chain(), repair);
            let accepted = Accepted::default();
            Ok([vec![newer], left_alone(folder, &accepted)?, compare(folder, history, &accepted)].concat())
        }
        Err(error) => Err(error),
    }
}

/// The same of records that were read, where this is accepted as lost.
pub(super) fn wrong(
    folder: &Path,
    history: &[serde_json::Value],
    records: &[Stored],
    accepted: &Accepted,
) -> Result<Vec<Finding>> {
    let (chain, rows) = (broken(records, accepted), rows::check(folder, history, records, accepted));
    Ok([chain, rows, left_alone(folder, accepted)?, compare(folder, history, accepted)].concat())
}

/// Pages and signatures of drills without a record.
fn left_alone(folder: &Path, accepted: &Accepted) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in names(folder)? {
        let Some(id) = [".md", ".json.asc"].iter().find_map(|end| name.strip_suffix(end)) else { continue };
        if id.starts_with("drill-") && !accepted.has_id(id) && !folder.join(format!("{id}.json")).exists() {
            let what = "belongs to a drill without a record: a drill was killed while it was written down, or its \
                        record was removed";
            let repair = "bring the record back from version control; remove this file where there was none";
            findings.push(Finding::warning(show(&folder.join(&name)), what, repair));
        }
    }
    Ok(findings)
}

fn is_record(name: &str) -> bool {
    name.starts_with("drill-") && name.ends_with(".json")
}

/// What [`write()`] has stored.
#[derive(Debug)]
pub struct Recorded {
    /// The record with its final id and link.
    pub evidence: Evidence,
    /// Where it lies.
    pub json: PathBuf,
    /// Digest of its bytes.
    pub sha256: String,
    /// Digest of its page.
    pub page_sha256: String,
}

/// Stores `evidence` in `folder`, behind the ends of `records`, signed where a key is given. Of a signature that cannot
/// be made a finding is added, and so is one of what was missing beside records that are whole, by `history` and by their
/// chain, and is written again: rows, and pages.
///
/// # Errors
/// `Io` and whatever [`durable`] reports; then neither record nor page is left.
pub fn write(
    folder: &Path,
    sign_with: Option<&str>,
    frame: &Frame,
    (records, history): (&[Stored], &[serde_json::Value]),
    mut evidence: Evidence,
) -> Result<Recorded> {
    let accepted = Accepted::of(records).and(&evidence.lost);
    let mut ends = ends(records).into_iter();
    evidence.previous_sha256 = ends.next().map(|end| end.sha256.clone());
    // What was changed may come back, and must not be missing then.
    let sound = ends.filter(|end| is_sound(folder, end, history, records, &accepted));
    evidence.also_follows = sound.map(|end| end.sha256.clone()).collect();
    evidence.id = free(&evidence.id, |id| is_taken(folder, id) || is_remembered(history, id));
    let missing = mended::missing(folder, history, records);
    evidence.findings.extend(missing.findings.iter().cloned().map(|finding| frame.assigned(finding)));
    let signature = signed::sign(sign_with, frame, &mut evidence)?;
    let json = folder.join(format!("{}.json", evidence.id));
    let text = evidence.to_json().map_err(Error::format(&json))?;
    let mut run = Run::public();
    let page = run.write(&folder.join(format!("{}.md", evidence.id)), markdown(&evidence).as_bytes())?;
    for (path, text) in &missing.pages {
        run.write(path, text.as_bytes())?;
    }
    if let Some(signature) = signature {
        run.write(&json.with_extension("json.asc"), &signature)?;
    }
    rows::add(folder, &missing.rows)?;
    // The record itself is there as a whole or not at all: a torn one would be in the way of every drill to come.
    durable::replace(&json, text.as_bytes(), 0o644)?;
    // A run that fails has made no drill: its page goes with the record.
    rows::add(folder, &[checklist_row(&evidence)]).inspect_err(|_| drop(durable::remove(&json)))?;
    run.commit();
    Ok(Recorded { evidence, json, sha256: sha256_hex(text.as_bytes()), page_sha256: page.sha256 })
}

/// Whether a drill of that id has left evidence in `folder`.
pub fn is_taken(folder: &Path, id: &str) -> bool {
    ["json", "md", "json.asc"].iter().any(|end| folder.join(format!("{id}.{end}")).exists())
}

/// `id`, `id-2`, `id-3`, …: several drills may begin in one second.
pub fn ids(id: &str) -> impl Iterator<Item = String> {
    let numbered = (2..).map(move |number| format!("{id}-{number}"));
    std::iter::once(id.to_owned()).chain(numbered)
}

/// The id itself, or the next number behind it that no drill has left evidence under.
pub fn free_id(folder: &Path, id: &str) -> String {
    free(id, |id| is_taken(folder, id))
}

fn free(id: &str, is_taken: impl Fn(&str) -> bool) -> String {
    // It may have a number already, which is the last of its parts; a kind is none.
    let bare =
        id.rsplit_once('-').filter(|(_, number)| number.parse::<u32>().is_ok()).map_or(id, |(bare, _)| bare);
    let mut ids = std::iter::once(id.to_owned()).chain(ids(bare));
    ids.find(|id| !is_taken(id)).unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::chain::check_chain;
    use crate::drill::evidence::checklist::{CHECKLIST_TABLE, written_row};
    use crate::drill::evidence::rows::CHECKLIST;
    use crate::drill::evidence::tests::{frame, sample};
    use crate::finding::Severity;
    use serde_json::json;

    fn write_day(folder: &Path, day: u8) -> Recorded {
        let (records, findings) = load(folder).expect("loaded");
        assert_eq!(findings, []);
        write(folder, None, &frame(), (&records, &[]), sample(day, None)).expect("written")
    }

    #[test]
    fn records_are_chained_and_listed() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("drills");
        let ids: Vec<_> = [1, 2, 2].iter().map(|day| write_day(&folder, *day).evidence.id).collect();
        assert_eq!(ids[2], format!("{}-2", ids[1]));
        let (records, _) = load(&folder).expect("loaded");
        assert_eq!(records.len(), 3);
        assert_eq!(check_chain(&records), []);
        let list = fs::read_to_string(folder.join(CHECKLIST)).expect("there");
        let rows: Vec<_> = list.lines().filter(|line| line.starts_with("| 2026")).collect();
        assert_eq!(rows.len(), 3, "{list}");
        assert!(list.starts_with("# Restore checklist\n"), "{list}");
        for id in ids {
            let page = fs::read_to_string(folder.join(format!("{id}.md"))).expect("there");
            assert!(page.starts_with("# drill-2026"), "{page}");
        }
    }

    /// Written in another branch, or by another service.
    #[test]
    fn an_id_that_the_history_knows_is_not_given_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = sample(1, None).id;
        for (kind, end) in [("drill", "-2"), ("aside", "")] {
            let history = [json!({"kind": kind, "id": id, "artifact": format!("/elsewhere/{id}.json")})];
            let done = write(folder.path(), None, &frame(), (&[], &history), sample(1, None));
            assert_eq!(done.expect("written").evidence.id, format!("{id}{end}"));
        }
    }

    #[test]
    fn records_of_two_services_with_one_id_are_told_apart_and_in_a_folder_that_has_moved() {
        let parent = tempfile::tempdir().expect("a folder");
        let [one, two, moved] = ["one", "two", "moved"].map(|name| parent.path().join(name));
        let line = |folder: &Path| {
            let evidence = Evidence { host: show(folder), ..sample(1, None) };
            let done = write(folder, None, &frame(), (&[], &[]), evidence).expect("written");
            json!({"kind": "drill", "id": done.evidence.id, "artifact": show(&done.json),
                "sha256": done.sha256, "page_sha256": done.page_sha256})
        };
        let history = [line(&one), line(&two)];
        for folder in [&one, &two] {
            assert_eq!(check(folder, &history).expect("checked"), []);
        }
        fs::rename(&one, &moved).expect("moved");
        let (json, history) = (moved.join(format!("{}.json", sample(1, None).id)), &history[..1]);
        assert_eq!(check(&moved, history).expect("checked"), []);
        fs::write(&json, [&fs::read(&json).expect("there")[..], b"\n"].concat()).expect("written");
        let found = check(&moved, history).expect("checked");
        assert!(found.len() == 1 && found[0].what.starts_with("is not the record"), "{found:?}");
    }

    #[test]
    fn a_drill_follows_all_ends_but_one_that_was_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = write_day(folder.path(), 1);
        let write = |day: u8, count: usize, history: &[serde_json::Value]| {
            let (records, _) = load(folder.path()).expect("loaded");
            let records = &records[..count.min(records.len())];
            write(folder.path(), None, &frame(), (records, history), sample(day, None)).expect("written")
        };
        let (second, third) = (write(2, 1, &[]), write(3, 1, &[]));
        let history = [json!({"kind": "drill", "id": second.evidence.id, "artifact": show(&second.json),
            "sha256": second.sha256})];
        let text = fs::read_to_string(&second.json).expect("there");
        let change = |path: &Path| {
            let text = fs::read_to_string(path).expect("there");
            fs::write(path, text.replace("\"box\"", "\"bix\"")).expect("written");
        };
        // By the history, or, where another follows it, by the chain.
        change(&second.json);
        assert_eq!(write(4, 9, &history).evidence.follows().collect::<Vec<_>>(), [&*third.sha256]);
        fs::write(&second.json, text).expect("written");
        let fifth = write(5, 9, &history);
        assert_eq!(fifth.evidence.also_follows, [&*second.sha256]);
        change(&first.json);
        assert_eq!(write(6, 9, &[]).evidence.follows().collect::<Vec<_>>(), [&*fifth.sha256]);
    }

    #[test]
    fn a_row_that_is_gone_or_changed_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        (1..3).for_each(|day| drop(write_day(folder.path(), day)));
        assert_eq!(check(folder.path(), &[]).expect("checked"), []);
        let path = folder.path().join(CHECKLIST);
        let text = fs::read_to_string(&path).expect("there");
        let errors = || {
            let found = check(folder.path(), &[]).expect("checked");
            assert!(found.iter().all(|found| found.severity == Severity::Error), "{found:?}");
            found
        };
        for (from, to) in [("| 1 min 2 s (", "| 0 min 2 s ("), ("| 2026-03-02T10", "| 2026-03-02T11")] {
            fs::write(&path, text.replacen(from, to, 1)).expect("written");
            let found = errors();
            assert!(found.len() == 1 && found[0].repair.contains("| spot | alice, by cron"), "{found:?}");
        }
        // No drill that was killed leaves more than one without its row.
        let (head, _) = text.split_once("| 2026").expect("rows");
        fs::write(&path, head).expect("written");
        assert_eq!(errors().len(), 2);
        fs::remove_file(&path).expect("removed");
        assert_eq!(errors().len(), 2);
    }

    /// Beside the one that was written, in front of it or behind it; and in its place, without its end.
    #[test]
    fn a_second_row_of_a_drill_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        (1..3).for_each(|day| drop(write_day(folder.path(), day)));
        let path = folder.path().join(CHECKLIST);
        let text = fs::read_to_string(&path).expect("there");
        for true_row in text.lines().filter(|line| line.starts_with("| 2026")) {
            let forged = true_row.replacen("| 1 min 2 s (", "| 0 min 2 s (", 1);
            for forged in [&*forged, forged.strip_suffix(" |").expect("an end"), &format!("{true_row} |")] {
                for now in [format!("{forged}\n{true_row}"), format!("{true_row}\n{forged}"), forged.into()] {
                    fs::write(&path, text.replacen(true_row, &now, 1)).expect("written");
                    let found = check(folder.path(), &[]).expect("checked");
                    assert!(found.len() == 1 && found[0].severity == Severity::Error, "{now}: {found:?}");
                    assert!(!found[0].repair.contains("the next drill adds it"), "{found:?}");
                }
            }
            // A torn write is none.
            fs::write(&path, text.replacen(true_row, &format!("{}\n{true_row}", &true_row[..150]), 1))
                .expect("written");
            assert_eq!(check(folder.path(), &[]).expect("checked"), []);
        }
        // No true row beside one that somebody has cut.
        let cut = text.replacen("| 1 min 2 s (", "| 0 min 2 s (", 2);
        let cut = cut.trim_end().strip_suffix(" |").expect("an end");
        fs::write(&path, cut).expect("written");
        assert_eq!(write_day(folder.path(), 3).evidence.findings, []);
        assert_eq!(check(folder.path(), &[]).expect("checked").len(), 2);
    }

    #[test]
    fn a_list_of_the_former_form_keeps_its_rows_and_gets_the_new_table_behind_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = Evidence { operator: None, ..sample(1, None) };
        let (head, row) = ("| started (UTC) | drill | kind |\n|---|---|---|", written_row(&old));
        let list = format!("# Restore checklist\n\n{head}\n{row}\n");
        fs::write(folder.path().join(CHECKLIST), &list).expect("written");
        let text = old.to_json().expect("writes");
        fs::write(folder.path().join(format!("{}.json", old.id)), text).expect("written");
        assert_eq!(check(folder.path(), &[]).expect("checked"), []);
        write_day(folder.path(), 2);
        let now = fs::read_to_string(folder.path().join(CHECKLIST)).expect("there");
        let rest = now.strip_prefix(&list).expect("what was there stays");
        assert!(rest.starts_with(&format!("\n{CHECKLIST_TABLE}\n| 2026-03-02T10")), "{rest}");
        assert_eq!(check(folder.path(), &[]).expect("checked"), []);
    }

    #[test]
    fn a_record_that_is_gone_shows_in_its_row_and_its_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let [.., last] = [1, 2, 3].map(|day| write_day(folder.path(), day));
        fs::remove_file(&last.json).expect("removed");
        let found = check(folder.path(), &[]).expect("checked");
        assert_eq!(found.len(), 2, "the chain does not show that its newest record is gone: {found:?}");
        assert!(found[0].what == format!("lists {}, whose record is gone", last.evidence.id), "{found:?}");
        assert!(found[1].path.ends_with("03-03T100000Z-spot.md"), "{found:?}");
    }

    #[test]
    fn a_list_that_is_gone_is_told_and_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CHECKLIST);
        assert_eq!(write_day(folder.path(), 1).evidence.findings, [], "the first has none to miss");
        // As where it was killed before it had begun the list.
        fs::remove_file(&path).expect("removed");
        let found = check(folder.path(), &[]).expect("checked");
        assert!(found.len() == 1 && found[0].severity == Severity::Warning, "{found:?}");
        let found = write_day(folder.path(), 2).evidence.findings;
        assert!(found.len() == 1 && found[0].severity == Severity::Info, "{found:?}");
        let whole = fs::read_to_string(&path).expect("there");
        fs::remove_file(&path).expect("removed");
        let found = write_day(folder.path(), 3).evidence.findings;
        assert!(found.len() == 1 && found[0].what.contains("begun anew"), "{found:?}");
        assert_eq!(found[0].owner.as_deref(), Some("alice"));
        assert!(fs::read_to_string(&path).expect("there").starts_with(&whole), "the rows of the others");
        assert_eq!(check(folder.path(), &[]).expect("checked"), []);
    }

    #[test]
    fn damage_is_a_finding_and_a_newer_schema_ends_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        write_day(folder.path(), 1);
        fs::write(folder.path().join("drill-x.json"), "{").expect("written");
        fs::write(folder.path().join("other.json"), "{").expect("written");
        let (records, findings) = load(folder.path()).expect("loaded");
        assert_eq!((records.len(), findings.len()), (1, 1));
        fs::write(folder.path().join("drill-y.json"), r#"{"schema_version": 9}"#).expect("written");
        let error = load(folder.path()).expect_err("newer");
        assert!(matches!(error, Error::Format { source: FormatError::Newer { .. }, .. }), "{error}");
    }
}
