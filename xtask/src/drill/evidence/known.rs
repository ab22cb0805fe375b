//! What is known of a record besides itself: the line of history of its drill, and whether it is what was written.
//!
//! Pure. The history knows the digest of what this clone has written; of other records only their chain tells.
use super::chain::{Accepted, Stored, broken, newest};
use serde_json::Value;

/// The line of history of the drill that has written a record.
pub(super) fn known<'a>(record: &Stored, history: &'a [Value]) -> Option<&'a Value> {
    history.iter().rfind(|line| line["kind"] == "drill" && line["id"] == *record.evidence.id)
}

/// Whether a record is what was written, as far as anything here can tell.
pub(super) fn is_sound(record: &Stored, history: &[Value], records: &[Stored], accepted: &Accepted) -> bool {
    if let Some(digest) = known(record, history).and_then(|line| line["sha256"].as_str()) {
        return digest == record.sha256;
    }
    let named = |other: &Stored| other.evidence.previous_sha256.as_deref() == Some(&record.sha256);
    let is_newest = newest(records).is_some_and(|newest| newest.file == record.file);
    let chained = is_newest || records.iter().any(named);
    chained && !broken(records, accepted).iter().any(|finding| finding.path == record.file)
}
