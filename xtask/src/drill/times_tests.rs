//! Tests of the times of a drill; beside `times.rs` to keep that file short.
use super::*;
use crate::drill::demands::{Demands, Share};
use crate::drill::steps::Kind;

fn planned(role: Role, file: &str, created_at: Timestamp) -> Planned {
    Planned {
        kind: Kind { role, set: file.into() },
        file: file.into(),
        bytes: 1,
        created_at,
        pick: Pick::Latest,
        encrypted: false,
        has_manifest: true,
        key_files: vec![],
        demands: Demands::default(),
    }
}

fn plan(artifacts: Vec<Planned>) -> Plan {
    let check_timeout = std::time::Duration::ZERO;
    Plan { required: vec![], artifacts, tools: vec![], release_checks: vec![], check_timeout }
}

#[test]
fn a_confirmed_backup_is_as_new_as_its_confirmation() {
    let at = |hour: i8| -> Timestamp { format!("2026-03-01T{hour:02}:00:00Z").parse().expect("a time") };
    let planned = |file: &str, hour| planned(Role::Data, file, at(hour));
    let plan = plan(vec![planned("a", 1), planned("b", 6)]);
    let hours = |seconds: Option<f64>| seconds.map(|seconds| seconds / 3600.0);
    assert_eq!(hours(rpo_seconds(&plan, &BTreeMap::new(), at(10))), Some(9.0));
    let confirmed = [("a".to_owned(), at(9))].into();
    assert_eq!(hours(rpo_seconds(&plan, &confirmed, at(10))), Some(4.0), "the other set is older now");
    assert_eq!(hours(ahead_seconds(&plan, &confirmed, at(9))), None, "dated as the drill begins");
    assert_eq!(hours(rpo_seconds(&plan, &confirmed, at(2))), None, "a clock is wrong");
    assert_eq!(hours(ahead_seconds(&plan, &confirmed, at(2))), Some(7.0));
}

#[test]
fn what_would_be_lost_now_is_that_of_the_worst_set() {
    let at = |hour: i8| -> Timestamp { format!("2026-03-01T{hour:02}:00:00Z").parse().expect("a time") };
    let newest: BTreeMap<String, Timestamp> = [("a".to_owned(), at(1)), ("b".to_owned(), at(8))].into();
    assert_eq!(loss_seconds(["a", "b"], &newest, at(10)), Some(9.0 * 3600.0));
    assert_eq!(loss_seconds(["b"], &newest, at(10)), Some(2.0 * 3600.0));
    assert_eq!(loss_seconds(["b", "c"], &newest, at(10)), None, "of one without a backup all would be lost");
    assert_eq!(loss_seconds([], &newest, at(10)), None);
    assert_eq!(loss_seconds(["a", "b"], &newest, at(7)), None, "a clock is wrong");
}

/// Every step of a plan, each of a second, and passed.
fn all_pass(plan: &Plan) -> Vec<StepRun> {
    let run = |step| StepRun {
        step,
        outcome: Outcome::Pass,
        seconds: 1.0,
        detail: String::new(),
        checked: None,
        bytes: None,
    };
    plan.steps().into_iter().map(run).collect()
}

/// A bundle, a backup, and an older one of the same set.
pub(crate) fn three() -> Plan {
    let at = Timestamp::UNIX_EPOCH;
    let older = Planned { pick: Pick::Older, ..planned(Role::Data, "b", at) };
    let mut plan = plan(vec![planned(Role::Release, "a", at), planned(Role::Data, "b", at), older]);
    plan.required = plan.artifacts[..2].iter().map(|artifact| artifact.kind.clone()).collect();
    plan
}

#[test]
fn the_recovery_time_is_that_of_the_latest_when_all_of_them_came_back() {
    let plan = three();
    let runs = all_pass(&plan);
    assert_eq!(latest_data(&plan).count(), 1, "neither the bundle nor the older one");
    // Preflight, pick, and four of each.
    assert_eq!(rto_seconds(&plan, &runs), Some(10.0));
    let failed = |step: Step| {
        let mut runs = runs.clone();
        runs.iter_mut().find(|run| run.step == step).expect("a step of the plan").outcome = Outcome::Fail;
        rto_seconds(&plan, &runs)
    };
    assert_eq!((failed(Step::Compare(1)), failed(Step::Compare(2))), (None, Some(10.0)));
    assert_eq!(rto_seconds(&plan, &[]), None);
    let mut lacking = three();
    lacking.required.push(Kind { role: Role::Data, set: "c".into() });
    assert_eq!(rto_seconds(&lacking, &runs), None, "nothing of one set came back");
    for (index, expected) in [(1, None), (2, Some(10.0))] {
        let mut sampled = three();
        sampled.artifacts[index].demands.sample = Some(Share { number: 1, of: 2 });
        assert_eq!(rto_seconds(&sampled, &runs), expected, "a sample of {index}");
    }
}

#[test]
fn all_is_restored_when_the_latest_of_each_set_is() {
    let mut plan = three();
    let runs = all_pass(&plan);
    assert!(all_restored(&plan, &runs));
    let without = |index: usize| {
        let mut runs = runs.clone();
        runs.iter_mut()
            .filter(|run| run.step == Step::Restore(index))
            .for_each(|run| run.outcome = Outcome::Fail);
        all_restored(&plan, &runs)
    };
    assert_eq!([0, 1, 2].map(without), [true, false, true]);
    plan.required.push(Kind { role: Role::Release, set: "c".into() });
    assert!(all_restored(&plan, &runs), "a bundle is no data");
    plan.required.push(Kind { role: Role::Data, set: "c".into() });
    assert!(!all_restored(&plan, &runs));
}
