//! Tests of the record and the chain; beside `mod.rs` to keep that file short.
use super::*;
use crate::archive::sha256_hex;
use crate::finding::Severity;
use chain::{Stored, check_chain, ends, newest};
use frame::Frame;

/// What a drill of alice knows of itself.
pub(crate) fn frame() -> Frame {
    Frame {
        kind: "spot",
        id: "drill-2026-03-01T100000Z-spot".into(),
        trigger: "manual".into(),
        host: "box".into(),
        operator: operator(),
        recovered_by: None,
        started_at: "2026-03-01T10:00:00Z".parse().expect("a time"),
        rto_target: None,
        rpo_target: None,
        owner: Some("alice".into()),
        due: Some("2026-04-01".into()),
    }
}

fn operator() -> Operator {
    Operator { user: "alice".into(), uid: 1000, login: None, started_by: Started::Cron }
}

/// A record as a drill of `day` March would write it.
pub(crate) fn sample(day: u8, previous: Option<&str>) -> Evidence {
    let at: Timestamp = format!("2026-03-{day:02}T10:00:00Z").parse().expect("a time");
    Evidence {
        schema_version: SCHEMA_VERSION,
        id: format!("drill-2026-03-{day:02}T100000Z-spot"),
        kind: "spot".into(),
        trigger: "manual".into(),
        operator: Some(operator()),
        recovered_by: None,
        host: "box".into(),
        tool: ToolVersion { name: "xtask".into(), version: "0.1.0".into() },
        started_at: at,
        finished_at: at,
        artifacts: vec![ArtifactRecord {
            role: Role::Data,
            set: "db".into(),
            path: format!("db-{day}.tar.gz"),
            sha256: "aa".into(),
            bytes: 7,
            created_at: at,
            pick: Pick::Latest,
            copy: None,
            part: None,
            proven: None,
        }],
        steps: vec![StepRecord {
            name: "preflight".into(),
            expected: "everything is there".into(),
            outcome: Outcome::Pass,
            seconds: 0.25,
            bytes: Some(5_000_000),
            detail: "all there".into(),
        }],
        rto_seconds: Some(61.5),
        rto_target_seconds: Some(3600.0),
        rpo_seconds: Some(86_400.0),
        rpo_target_seconds: None,
        rpo_ahead_seconds: None,
        loss_now_seconds: Some(86_461.5),
        coverage: vec![],
        not_tested: vec!["the full drill".into()],
        findings: vec![],
        result: Verdict::Verified,
        reasons: vec![],
        signature: None,
        lost: vec![],
        previous_sha256: previous.map(Into::into),
        also_follows: vec![],
    }
}

/// The record that a drill of `day` March writes behind all ends of `records`.
pub(crate) fn next(day: u8, records: &[Stored]) -> Evidence {
    let mut ends = ends(records).into_iter().map(|end| end.sha256.clone());
    Evidence { previous_sha256: ends.next(), also_follows: ends.collect(), ..sample(day, None) }
}

pub(crate) fn stored(evidence: Evidence) -> Stored {
    let text = evidence.to_json().expect("writes");
    Stored { file: format!("{}.json", evidence.id), sha256: sha256_hex(text.as_bytes()), evidence }
}

/// Three records, each naming the one before.
pub(crate) fn chain() -> Vec<Stored> {
    let first = stored(sample(1, None));
    let second = stored(sample(2, Some(&first.sha256)));
    let third = stored(sample(3, Some(&second.sha256)));
    vec![first, second, third]
}

#[test]
fn a_record_comes_back() {
    let record = sample(1, Some("ab"));
    let text = record.to_json().expect("writes");
    assert!(text.contains(r#""started_at": "2026-03-01T10:00:00Z""#), "{text}");
    assert!(text.contains(r#""result": "verified""#), "{text}");
    assert_eq!(Evidence::parse(text.as_bytes()).expect("reads"), record);
}

#[test]
fn a_newer_schema_is_refused_whatever_it_holds() {
    let error = Evidence::parse(br#"{"schema_version": 2, "steps": "other"}"#).expect_err("newer");
    assert!(matches!(error, FormatError::Newer { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn a_record_with_unknown_and_missing_optional_fields_is_read() {
    let mut value: serde_json::Value =
        serde_json::from_str(&sample(1, None).to_json().expect("writes")).expect("JSON");
    value["weather"] = "fine".into();
    let optional =
        ["not_tested", "findings", "coverage", "operator", "loss_now_seconds", "reasons", "signature"];
    for optional in optional {
        value.as_object_mut().expect("an object").remove(optional).expect(optional);
    }
    value["artifacts"][0].as_object_mut().expect("an object").remove("pick");
    for optional in ["expected", "bytes"] {
        value["steps"][0].as_object_mut().expect("an object").remove(optional).expect(optional);
    }
    let read = Evidence::parse(value.to_string().as_bytes()).expect("reads");
    assert_eq!(read.artifacts[0].pick, Pick::Latest);
    assert_eq!((read.operator, read.loss_now_seconds, read.steps[0].bytes), (None, None, None));
}

#[test]
fn what_is_no_record_is_malformed() {
    for text in ["", "{}", "[]", "not json", r#"{"schema_version": 0}"#, r#"{"schema_version": 1}"#] {
        let error = Evidence::parse(text.as_bytes()).expect_err("malformed");
        assert!(matches!(error, FormatError::Malformed(_)), "{text}: {error}");
    }
}

#[test]
fn redaction_reaches_every_free_text() {
    let mut record = sample(1, None);
    record.steps[0].name = "release check 1: deploy s3cret".into();
    record.steps[0].detail = "s3cret".into();
    record.steps[0].expected = "s3cret".into();
    record.reasons = vec!["s3cret".into()];
    record.not_tested = vec!["s3cret".into()];
    record.findings = vec![Finding::error("s3cret", "s3cret", "s3cret")];
    let redaction = Redaction::new(&[("KEY".into(), "s3cret".into())], &[]);
    let text = record.redacted(&redaction).to_json().expect("writes");
    assert!(!text.contains("s3cret") && text.contains("deploy $KEY"), "{text}");
}

#[test]
fn an_unbroken_chain_has_no_finding_in_any_order() {
    let mut records = chain();
    assert_eq!(check_chain(&[]), []);
    assert_eq!(check_chain(&records), []);
    records.reverse();
    assert_eq!(check_chain(&records), []);
    assert_eq!(newest(&records).expect("one").evidence.id, "drill-2026-03-03T100000Z-spot");
}

#[test]
fn a_record_taken_away_is_noticed() {
    for gone in [0, 1] {
        let mut records = chain();
        records.remove(gone);
        assert!(!check_chain(&records).is_empty(), "record {gone}");
    }
}

#[test]
fn a_record_changed_later_is_noticed() {
    let mut records = chain();
    let mut changed = records[1].evidence.clone();
    changed.result = Verdict::NotVerified;
    records[1] = stored(changed);
    let findings = check_chain(&records);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].path.contains("2026-03-03"), "{findings:?}");
}

/// Chains with so many ends: behind the second record, behind the first, beside the first, and two of these.
fn forked() -> Vec<(usize, Vec<Stored>)> {
    let with = |forks: &[Option<usize>]| {
        let mut records = chain();
        for (day, before) in (4..).zip(forks) {
            let before = before.map(|before| records[before].sha256.clone());
            records.push(stored(sample(day, before.as_deref())));
        }
        (1 + forks.len(), records)
    };
    vec![with(&[Some(1)]), with(&[Some(0)]), with(&[None]), with(&[Some(1), Some(1)]), with(&[Some(0), None])]
}

#[test]
fn drills_in_several_places_are_told_until_the_next_one_joins_them() {
    for (count, mut records) in forked() {
        let told = check_chain(&records);
        assert_eq!(told.len(), count - 1, "{told:?}");
        for found in &told {
            assert!(found.severity == Severity::Info && found.what.contains("is an end"), "{found:?}");
        }
        let joining = next(9, &records);
        assert_eq!(joining.follows().count(), count);
        records.push(stored(joining));
        assert_eq!(check_chain(&records), []);
        records.push(stored(next(10, &records)));
        assert!(records.last().expect("one").evidence.also_follows.is_empty());
        assert_eq!(check_chain(&records), []);
    }
}

#[test]
fn each_record_of_several_places_that_is_gone_or_changed_is_noticed_once_they_are_joined() {
    for (_, mut records) in forked() {
        records.push(stored(next(9, &records)));
        for at in 0..records.len() - 1 {
            let mut without = records.clone();
            let gone = without.remove(at);
            let mut changed = records.clone();
            changed[at] = stored(Evidence { host: "elsewhere".into(), ..gone.evidence });
            for broken in [without, changed] {
                let told = check_chain(&broken);
                assert!(told[0].severity == Severity::Error, "{at}: {told:?}");
                assert!(told.iter().all(|found| found.severity == Severity::Error), "{at}: {told:?}");
            }
        }
    }
}

#[test]
fn a_record_under_another_name_is_no_drill_of_another_place() {
    for at in 0..3 {
        let mut records = chain();
        records.push(Stored { file: "drill-copy.json".into(), ..records[at].clone() });
        let told = check_chain(&records);
        assert!(told.len() == 1 && told[0].what.ends_with("under another name"), "{told:?}");
        assert!(told[0].severity == Severity::Error && told[0].path == "drill-copy.json", "{told:?}");
    }
}

/// So that records of earlier versions keep their bytes.
#[test]
fn a_record_says_what_it_follows_besides_where_there_is_something_to_say() {
    let one = sample(1, Some("ab"));
    assert!(!one.to_json().expect("writes").contains("also_follows"));
    let both = Evidence { also_follows: vec!["cd".into()], ..one };
    let read = Evidence::parse(both.to_json().expect("writes").as_bytes()).expect("reads");
    assert_eq!(read.follows().collect::<Vec<_>>(), ["ab", "cd"]);
}

#[test]
fn the_newest_is_found_by_links_when_the_clock_was_set_back() {
    let mut records = chain();
    let last = records[2].sha256.clone();
    let mut early = sample(1, Some(&last));
    early.id = "drill-2026-03-01T090000Z-spot".into();
    early.started_at = "2026-03-01T09:00:00Z".parse().expect("a time");
    records.push(stored(early));
    assert_eq!(newest(&records).expect("one").evidence.id, "drill-2026-03-01T090000Z-spot");
    assert_eq!(check_chain(&records), []);
}

#[test]
fn speed_is_told_where_bytes_and_time_are() {
    let step = |bytes, seconds| StepRecord { bytes, seconds, ..sample(1, None).steps[0].clone() };
    assert_eq!(step(Some(5_000_000), 0.25).mb_per_second(), Some(20.0));
    for unknown in [step(None, 1.0), step(Some(0), 1.0), step(Some(5), 0.0)] {
        assert_eq!(unknown.mb_per_second(), None);
    }
}

#[test]
fn what_only_a_sample_was_restored_of_is_named_once() {
    let mut record = sample(1, None);
    assert_eq!(record.sampled(), "");
    let part = Part { numbers: vec![1], of: 2, entries: 1, bytes: 1 };
    let one = |set: &str| ArtifactRecord {
        set: set.into(),
        part: Some(part.clone()),
        ..sample(1, None).artifacts[0].clone()
    };
    record.artifacts.extend([one("logs"), one("logs"), one("files")]);
    assert_eq!(record.sampled(), " (of files, logs only a sample was restored)");
}

#[test]
fn who_ran_it_is_told_in_words() {
    let mut record = sample(1, None);
    for (started_by, words) in [
        (Started::Terminal, "alice, at a terminal"),
        (Started::Cron, "alice, by cron"),
        (Started::Systemd, "alice, by systemd"),
        (Started::Ci, "alice, in a CI job"),
        (Started::Other, "alice, without a terminal"),
    ] {
        record.operator = Some(Operator { started_by, ..operator() });
        assert_eq!(record.ran_by().as_deref(), Some(words));
    }
    record.operator = Some(Operator { user: "root".into(), login: Some("bob".into()), ..operator() });
    record.recovered_by = Some(operator());
    assert_eq!(record.ran_by().as_deref(), Some("bob as root, by cron; recovered by alice, by cron"));
    record.operator = None;
    assert_eq!(record.ran_by(), None);
}

#[test]
fn each_verdict_and_outcome_has_its_word() {
    let words = [Verdict::Verified, Verdict::NotVerified, Verdict::CouldNotRun].map(Verdict::word);
    assert_eq!(words, ["verified", "not_verified", "could_not_run"]);
    let all = [Outcome::Pass, Outcome::Fail, Outcome::Skip, Outcome::Blocked, Outcome::Timeout];
    assert_eq!(all.map(|outcome| outcome.to_string()).join(" "), "pass fail skip blocked timeout");
}
