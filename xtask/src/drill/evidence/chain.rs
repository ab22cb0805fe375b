//! The chain through all records of drills.
//!
//! Pure. A record names in `previous_sha256` the digest of the record before it, so that one which was changed or taken away
//! later is noticed by the next. Drills in two clones or branches may follow the same record; nothing is lost by that, and
//! the next drill names both ends: the newest there, the others in `also_follows`. What is really lost breaks the chain for
//! ever; so that it is not an error for ever, a record of its own may name what is [`Lost`]. It excuses what is not there,
//! and nothing else: a record that is there and is not what it was stays an error.
use super::{Evidence, Lost};
use crate::finding::{Finding, any_error};
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

/// The kind of a record that names lost ones.
pub const LOST: &str = "lost";

/// A record as it lies in the evidence folder.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Bare file name.
    pub file: String,
    /// Digest of its bytes.
    pub sha256: String,
    /// What it says.
    pub evidence: Evidence,
}

/// The records of drills among `records`.
pub fn drills(records: &[Stored]) -> impl Iterator<Item = &Evidence> {
    records.iter().map(|record| &record.evidence).filter(|evidence| evidence.kind != LOST)
}

/// The records that no other follows, the newest first. By links rather than by time, because a clock may be set back.
pub fn ends(records: &[Stored]) -> Vec<&Stored> {
    let followed: BTreeSet<&str> = records.iter().flat_map(|record| record.evidence.follows()).collect();
    let mut ends: Vec<&Stored> =
        records.iter().filter(|record| !followed.contains(record.sha256.as_str())).collect();
    ends.sort_by_key(|record| Reverse((record.evidence.started_at, &record.file)));
    ends
}

/// The newest of the ends.
pub fn newest(records: &[Stored]) -> Option<&Stored> {
    ends(records).into_iter().next()
}

/// The records in the order in which they were written: each behind those that it follows, and by time where none of them
/// is there.
pub fn chained(records: Vec<&Stored>) -> Vec<&Stored> {
    let there: BTreeSet<&str> = records.iter().map(|record| record.sha256.as_str()).collect();
    let mut waiting: VecDeque<&Stored> = records.into();
    waiting.make_contiguous().sort_by_key(|record| (record.evidence.started_at, &record.file));
    let (mut done, mut order) = (BTreeSet::new(), Vec::new());
    while !waiting.is_empty() {
        let ready = |record: &&Stored| {
            record.evidence.follows().all(|before| !there.contains(before) || done.contains(before))
        };
        let next = waiting.iter().position(ready).unwrap_or(0);
        let Some(record) = waiting.remove(next) else { break };
        done.insert(record.sha256.as_str());
        order.push(record);
    }
    order
}

/// What was accepted as lost.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    lost: Vec<Lost>,
}

impl Accepted {
    /// By these records.
    pub fn of(records: &[Stored]) -> Self {
        Self { lost: records.iter().flat_map(|record| record.evidence.lost.iter().cloned()).collect() }
    }

    /// And these.
    #[must_use]
    pub fn and(mut self, lost: &[Lost]) -> Self {
        self.lost.extend(lost.iter().cloned());
        self
    }

    /// Whether the record of this id is excused, if it is not there.
    pub fn has_id(&self, id: &str) -> bool {
        self.lost.iter().any(|lost| lost.id == id)
    }

    /// Whether the record with this digest is.
    pub fn has_digest(&self, sha256: &str) -> bool {
        self.lost.iter().any(|lost| lost.sha256.as_deref() == Some(sha256))
    }
}

/// Whether the records make an unbroken chain: a first record, and every other follows such as are there, or were accepted
/// as lost. That it has several ends is worth knowing until a drill has joined them.
pub fn check_chain(records: &[Stored]) -> Vec<Finding> {
    broken(records, &Accepted::of(records))
}

/// The same where this is accepted.
pub fn broken(records: &[Stored], accepted: &Accepted) -> Vec<Finding> {
    const REPAIR: &str = "bring the records back from version control; where they are lost for good, \
                          `cargo xtask verify --evidence --accept-lost REASON` writes that down";
    let there: BTreeSet<_> = records.iter().map(|record| record.sha256.as_str()).collect();
    let (mut findings, mut excused) = (Vec::new(), false);
    for record in records {
        for digest in record.evidence.follows().filter(|digest| !there.contains(digest)) {
            if accepted.has_digest(digest) {
                excused = true;
            } else {
                let what = format!("the record before it ({digest:.12}…) is gone or was changed");
                findings.push(Finding::error(&record.file, what, REPAIR));
            }
        }
        findings.extend(copied(record));
        findings.extend(accepted.lost.iter().filter_map(|lost| returned(record, lost)));
    }
    let first = records.iter().any(|record| record.evidence.previous_sha256.is_none());
    if !records.is_empty() && !first && !excused {
        findings.push(Finding::error(&records[0].file, "the first record of the chain is gone", REPAIR));
    }
    // Where something is wrong, another end may be a record that was changed, which nothing is to follow.
    if let Some((newest, others)) = ends(records).split_first().filter(|_| !any_error(&findings)) {
        findings.extend(others.iter().map(|end| apart(end, newest)));
    }
    findings
}

/// An end beside the newest.
fn apart(end: &Stored, newest: &Stored) -> Finding {
    let what = format!(
        "is an end of the chain beside {}, as drills in two clones or branches leave it: the next drill follows both",
        newest.file
    );
    Finding::info(&end.file, what)
}

/// A second file with the record of a drill, which would be an end of its own.
fn copied(record: &Stored) -> Option<Finding> {
    let id = &record.evidence.id;
    let what = format!("holds the record of {id} under another name");
    let repair = "a drill writes one file, and calls it by its id: remove the other";
    (record.file != format!("{id}.json")).then(|| Finding::error(&record.file, what, repair))
}

/// A record that is there, under the id of one that was accepted as lost.
fn returned(record: &Stored, lost: &Lost) -> Option<Finding> {
    if record.evidence.id != lost.id {
        return None;
    }
    let repair = "look where it comes from: only the record that was written may lie here";
    match &lost.sha256 {
        Some(digest) if *digest == record.sha256 => None,
        Some(_) => Some(Finding::error(&record.file, "is not the record that was accepted as lost", repair)),
        None => {
            let what =
                "was accepted as lost, and is there: nothing says that it is the record that was written";
            Some(Finding::warning(&record.file, what, repair))
        }
    }
}

/// What was accepted as lost, by whom and why: worth knowing for as long as the records lie here.
pub fn losses(records: &[Stored]) -> Vec<Finding> {
    let told = |record: &Stored| {
        let evidence = &record.evidence;
        let ids: Vec<&str> = evidence.lost.iter().map(|lost| &*lost.id).collect();
        let what = format!(
            "accepts that these records are lost: {} ({}, {}): {}",
            ids.join(", "),
            evidence.ran_by().unwrap_or_else(|| "nobody knows who".into()),
            evidence.started_at,
            evidence.reasons.join("; ")
        );
        (!ids.is_empty()).then(|| Finding::info(&record.file, what))
    };
    records.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::{chain, next, sample, stored};

    /// A chain of three, without one, and with a record that accepts that.
    fn without(gone: usize) -> (Vec<Stored>, Stored) {
        let mut records = chain();
        let lost = records.remove(gone);
        let accepting = Evidence {
            kind: LOST.into(),
            lost: vec![Lost { id: lost.evidence.id.clone(), sha256: Some(lost.sha256.clone()) }],
            ..next(4, &records)
        };
        records.push(stored(accepting));
        (records, lost)
    }

    #[test]
    fn what_was_accepted_as_lost_breaks_no_chain_and_is_told() {
        for gone in 0..3 {
            let (mut records, lost) = without(gone);
            assert_eq!(check_chain(&records), [], "{gone}");
            let told = losses(&records);
            assert!(told.len() == 1 && told[0].what.contains(&lost.evidence.id), "{told:?}");
            // It may come back, as it was and in no other form.
            records.push(lost.clone());
            assert_eq!(
                check_chain(&records).iter().filter(|found| found.what.contains("accepted")).count(),
                0
            );
            let mut other = lost.evidence.clone();
            other.host = "elsewhere".into();
            *records.last_mut().expect("one") = stored(other);
            assert!(
                check_chain(&records).iter().any(|found| found.what.contains("is not the record that was"))
            );
        }
    }

    #[test]
    fn a_record_that_was_changed_is_not_excused_by_another_that_is_lost() {
        let (mut records, _) = without(0);
        let mut changed = records[0].evidence.clone();
        changed.host = "elsewhere".into();
        records[0] = stored(changed);
        assert!(check_chain(&records).iter().any(|found| found.what.contains("is gone or was changed")));
    }

    #[test]
    fn records_stand_in_the_order_of_their_chain() {
        let mut records = chain();
        let mut second = sample(3, Some(&records[2].sha256.clone()));
        second.id += "-2";
        records.push(stored(second));
        let mut tenth = sample(3, Some(&records[3].sha256.clone()));
        tenth.id += "-10";
        records.push(stored(tenth));
        let order: Vec<&str> =
            chained(records.iter().rev().collect()).iter().map(|record| &*record.evidence.id).collect();
        let expected: Vec<&str> = records.iter().map(|record| &*record.evidence.id).collect();
        assert_eq!(order, expected);
    }

    /// By links, where the clock of the one that joins them was set back.
    #[test]
    fn a_record_stands_behind_all_that_it_follows() {
        let mut records = chain();
        records.push(stored(sample(4, Some(&records[1].sha256.clone()))));
        let mut joining = next(1, &records);
        joining.id += "-2";
        records.push(stored(joining));
        let order: Vec<&str> = chained(records.iter().rev().collect()).iter().map(|one| &*one.file).collect();
        let expected: Vec<&str> = records.iter().map(|record| &*record.file).collect();
        assert_eq!(order, expected);
        assert_eq!(newest(&records).map(|record| &*record.file), expected.last().copied());
    }

    #[test]
    fn a_record_of_what_is_lost_is_no_drill() {
        let (records, lost) = without(1);
        assert_eq!(
            drills(&records).map(|drill| &*drill.id).collect::<Vec<_>>(),
            [0, 1].map(|at| &*records[at].evidence.id)
        );
        let accepted = Accepted::of(&records);
        assert!(accepted.has_id(&lost.evidence.id) && !accepted.has_id("another"));
        assert!(accepted.has_digest(&lost.sha256) && !accepted.has_digest("another"));
        let more = accepted.and(&[Lost { id: "another".into(), sha256: Some("digest".into()) }]);
        assert!(more.has_id("another") && more.has_digest("digest") && more.has_id(&lost.evidence.id));
    }

    #[test]
    fn without_its_first_record_a_chain_is_broken_for_both_reasons() {
        let told = check_chain(&chain()[1..]);
        assert!(told[0].what.ends_with("is gone or was changed"), "{told:?}");
        assert_eq!(told[1].what, "the first record of the chain is gone");
    }
}
