//! What is known of a record besides itself: the line of history of its drill, and whether it is what was written.
//!
//! Pure. The history knows the digest of what this clone has written; of other records only their chain tells.
use super::chain::{Accepted, Stored, broken, ends};
use crate::finding::{Severity, any_error};
use crate::shown::show;
use serde_json::Value;
use std::path::Path;

/// The line of history of the drill that has written the record of this id in `folder`: the one with its path, since other
/// services of the repository have the same history; and where the folder was moved since, the only one with its id.
pub(super) fn known<'a>(folder: &Path, id: &str, history: &'a [Value]) -> Option<&'a Value> {
    let path = show(&folder.join(format!("{id}.json")));
    let mut lines = drills(history, id).rev();
    lines.clone().find(|line| line["artifact"] == path).or_else(|| {
        let last = lines.next();
        last.filter(|_| lines.next().is_none())
    })
}

/// Whether a drill of that id is on record: of this folder, of another service, or of another branch.
pub fn is_remembered(history: &[Value], id: &str) -> bool {
    drills(history, id).next().is_some()
}

fn drills<'a>(history: &'a [Value], id: &str) -> impl DoubleEndedIterator<Item = &'a Value> + Clone {
    history.iter().filter(move |line| line["kind"] == "drill" && line["id"] == *id)
}

/// Whether a record is what was written, as far as anything here can tell.
pub(super) fn is_sound(
    folder: &Path,
    record: &Stored,
    history: &[Value],
    records: &[Stored],
    accepted: &Accepted,
) -> bool {
    let line = known(folder, &record.evidence.id, history);
    if let Some(digest) = line.and_then(|line| line["sha256"].as_str()) {
        return digest == record.sha256;
    }
    let broken = broken(records, accepted);
    // An end beside the newest may be a record that was changed, and is followed by that digest no more.
    let end = ends(records).iter().position(|end| end.file == record.file);
    let in_place = end.is_none_or(|at| at == 0 || !any_error(&broken));
    in_place && !broken.iter().any(|found| found.path == record.file && found.severity > Severity::Info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::{chain, sample, stored};
    use serde_json::json;

    #[test]
    fn a_record_is_known_by_its_path_and_where_none_has_that_by_its_id_alone() {
        let line = |kind: &str, id: &str, folder: &str| {
            let artifact = format!("{folder}/{id}.json");
            json!({"kind": kind, "id": id, "artifact": artifact})
        };
        let history = [
            line("drill", "drill-1", "/one"),
            line("drill", "drill-1", "/two"),
            line("drill", "drill-2", "/one"),
            line("aside", "drill-3", "/one"),
        ];
        let known = |folder: &str, id: &str| {
            known(Path::new(folder), id, &history).map(|line| line["artifact"].as_str().unwrap_or_default())
        };
        assert_eq!(known("/one", "drill-1"), Some("/one/drill-1.json"));
        assert_eq!(known("/two", "drill-1"), Some("/two/drill-1.json"));
        assert_eq!(known("/moved", "drill-1"), None, "nobody knows which of them");
        assert_eq!(known("/moved", "drill-2"), Some("/one/drill-2.json"));
        assert_eq!(known("/one", "drill-3"), None);
        let remembered = ["drill-1", "drill-2", "drill-3"].map(|id| is_remembered(&history, id));
        assert_eq!(remembered, [true, true, false]);
    }

    #[test]
    fn an_end_beside_the_newest_is_sound_unless_something_is_wrong() {
        let mut records = chain();
        records.push(stored(sample(4, Some(&records[1].sha256.clone()))));
        let sound = |records: &[Stored]| -> Vec<bool> {
            let is_sound = |record| is_sound(Path::new("/one"), record, &[], records, &Accepted::default());
            records.iter().map(is_sound).collect()
        };
        assert_eq!(sound(&records), [true; 4]);
        // What was changed is followed no more, and so is an end as well.
        let mut changed = records[0].evidence.clone();
        changed.host = "elsewhere".into();
        records[0] = stored(changed);
        assert_eq!(sound(&records), [false, false, false, true]);
    }
}
