//! The rule that turns what was done and found into `verified`, `not_verified` or `could_not_run`.
//!
//! Pure. The rule starts from "not verified" and asks for proof: everything that must come back was
//! restored from at least one artifact, every check looked at something, nothing mandatory was left out,
//! no error was found, and a damaged copy *was* found to be damaged.
use super::done::StepRun;
use super::evidence::render::duration;
use super::evidence::{Outcome, Verdict};
use super::steps::{Pick, Plan, Planned, Role, Step};
use super::times::as_of;
use crate::destination::retention::AHEAD;
use crate::finding::{Finding, any_error};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What the drill has shown, and why it is not `verified` (empty when it is).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The result.
    pub result: Verdict,
    /// Why it is no better, in words.
    pub reasons: Vec<String>,
}

/// Judges a drill. `findings` are those of all steps.
pub fn judge(plan: &Plan, runs: &[StepRun], findings: &[Finding], interrupted: Interrupted) -> Judgement {
    let could_not = could_not_run(plan, runs, interrupted);
    if !could_not.is_empty() {
        return Judgement { result: Verdict::CouldNotRun, reasons: could_not };
    }
    let mut reasons: Vec<String> =
        plan.missing().iter().map(|kind| format!("there is no artifact of {kind} to restore")).collect();
    reasons.extend(plan.steps().into_iter().filter_map(|step| shortcoming(plan, runs, step)));
    if !controlled(runs) {
        reasons.push("no negative control has shown that damage would be found".into());
    }
    if any_error(findings) {
        reasons.push("errors were found".into());
    }
    let result = if reasons.is_empty() { Verdict::Verified } else { Verdict::NotVerified };
    Judgement { result, reasons }
}

/// Whether the run was told to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// By a signal.
    Yes,
    /// Not at all.
    No,
}

fn could_not_run(plan: &Plan, runs: &[StepRun], interrupted: Interrupted) -> Vec<String> {
    let mut reasons = Vec::new();
    if plan.required.is_empty() {
        reasons.push("nothing is configured that could be restored".into());
    }
    if interrupted == Interrupted::Yes {
        reasons.push("it was interrupted".into());
    }
    if outcome(runs, Step::Preflight) != Some(Outcome::Pass) {
        reasons.push("the preflight did not pass".into());
    }
    reasons
}

/// Why this step of the plan stands in the way of `verified`.
fn shortcoming(plan: &Plan, runs: &[StepRun], step: Step) -> Option<String> {
    let name = plan.name(step);
    let Some(run) = runs.iter().find(|run| run.step == step) else {
        return Some(format!("{name}: was not done"));
    };
    match run.outcome {
        Outcome::Pass if step.must_count() && run.checked.unwrap_or(0) == 0 => {
            Some(format!("{name}: nothing was checked"))
        }
        Outcome::Pass => None,
        Outcome::Skip if !plan.is_mandatory(step) => None,
        other => Some(format!("{name}: {other}")),
    }
}

fn controlled(runs: &[StepRun]) -> bool {
    runs.iter().any(|run| matches!(run.step, Step::NegativeControl(_)) && run.outcome == Outcome::Pass)
}

fn outcome(runs: &[StepRun], step: Step) -> Option<Outcome> {
    runs.iter().find(|run| run.step == step).map(|run| run.outcome)
}

/// The artifacts, by index, of which every step passed: those that this drill has shown to be restorable.
/// None, when a check overlooked the damage it was shown: then its other answers are worth nothing either.
pub fn proven(plan: &Plan, runs: &[StepRun]) -> Vec<usize> {
    let blind = |run: &StepRun| {
        matches!(run.step, Step::NegativeControl(_))
            && !matches!(run.outcome, Outcome::Pass | Outcome::Blocked)
    };
    if !controlled(runs) || runs.iter().any(blind) {
        return Vec::new();
    }
    // One rule for the verdict and for this: a step that looked at nothing has shown nothing.
    let passed = |step: Step| shortcoming(plan, runs, step).is_none();
    // A published release that is another says nothing of what lies here.
    let about = |step: &Step, index: usize| match *step {
        Step::Fetch(of)
        | Step::Checksums(of)
        | Step::Verify(of)
        | Step::Restore(of)
        | Step::Compare(of)
        | Step::KeyFiles(of)
        | Step::Canary(of)
        | Step::Commit(of) => of == index,
        _ => false,
    };
    let steps = plan.steps();
    let all = |index: &usize| steps.iter().filter(|step| about(step, *index)).all(|step| passed(*step));
    (0..plan.artifacts.len()).filter(all).collect()
}

/// The artifacts, by index, whose bytes are not those on record. Of one that could not be read nothing is known.
pub fn damaged(plan: &Plan, runs: &[StepRun]) -> Vec<usize> {
    let failed = |index: &usize| {
        let run = runs.iter().find(|run| run.step == Step::Checksums(*index));
        run.is_some_and(|run| run.outcome == Outcome::Fail && run.checked.is_some())
    };
    (0..plan.artifacts.len()).filter(failed).collect()
}

/// Missed targets: a recovery that takes too long, data that are too old. `loss_now` has the target of the data's age.
/// They are warnings: what came back did come back.
pub fn missed(
    rto: (Option<f64>, Option<f64>),
    rpo: (Option<f64>, Option<f64>),
    loss_now: Option<f64>,
) -> Vec<Finding> {
    let over = |what: &str, (measured, target): (Option<f64>, Option<f64>), repair: &str| {
        let (measured, target) = (measured?, target?);
        let (is, wanted) = match [measured, target].map(|seconds| duration(Some(seconds))) {
            [is, wanted] if is != wanted => (is, wanted),
            _ => (format!("{measured} s"), format!("{target} s")),
        };
        let text = format!("{what} is {is}, the target is {wanted}");
        (measured > target).then(|| Finding::warning("drill", text, repair))
    };
    let data = over("the age of the data (RPO)", rpo, "back up more often").or_else(|| {
        over("what a failure at the drill's end would have lost", (loss_now, rpo.1), "back up more often")
    });
    let time = over("the recovery time (RTO)", rto, "make the recovery faster, or the target longer");
    time.into_iter().chain(data).collect()
}

/// Artifacts that are newer than the drill: a clock is wrong. That data is by no more than [`AHEAD`], since a second run
/// within a second is dated a second later, is a warning; then it is only not known how old it is.
pub fn from_the_future(
    plan: &Plan,
    confirmed: &BTreeMap<String, Timestamp>,
    started_at: Timestamp,
) -> Vec<Finding> {
    let told = |a: &Planned| {
        let ahead = as_of(a, confirmed).duration_since(started_at);
        let by = duration(Some(ahead.as_secs_f64()));
        let dated = format!("is dated {by} after this drill's start");
        if ahead > AHEAD {
            let what = format!(
                "{dated}: a clock is or was wrong, and it may not be the newest; its age is not measured"
            );
            Some(Finding::error(&a.file, what, "check the clocks"))
        } else if ahead.is_positive() && a.kind.role == Role::Data {
            let what = format!("{dated}, and its age is not measured");
            let next = "each backup has a second of its own, so that several at a time are dated ahead; else check the clocks";
            Some(Finding::warning(&a.file, what, next))
        } else {
            None
        }
    };
    plan.artifacts.iter().filter(|a| a.pick == Pick::Latest).filter_map(told).collect()
}

/// A finding for each set whose latest backup, or its last confirmation, is older than the target for the age of the data.
pub fn stale(
    plan: &Plan,
    confirmed: &BTreeMap<String, Timestamp>,
    started_at: Timestamp,
    target: Option<SignedDuration>,
) -> Vec<Finding> {
    let Some(target) = target else { return Vec::new() };
    let latest = plan.artifacts.iter().filter(|a| a.pick == Pick::Latest && a.kind.role == Role::Data);
    let age = |a: &Planned| started_at.duration_since(as_of(a, confirmed));
    let stale = latest.filter(|a| age(a) > target);
    stale
        .map(|a| {
            let what = format!(
                "its latest backup, {}, is {} old: it is stale",
                a.file,
                duration(Some(age(a).as_secs_f64()))
            );
            Finding::warning(a.kind.to_string(), what, "see why it is not backed up")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::demands::Demands;
    use crate::drill::steps::Kind;
    use crate::finding::Severity;
    use std::time::Duration;

    fn planned(role: Role, set: &str) -> Planned {
        Planned {
            kind: Kind { role, set: set.into() },
            file: format!("{set}.tar.gz"),
            bytes: 1,
            created_at: Timestamp::UNIX_EPOCH,
            pick: Pick::Latest,
            encrypted: false,
            has_manifest: true,
            key_files: vec!["key".into()],
            demands: Demands::default(),
        }
    }

    fn plan() -> Plan {
        let artifacts = vec![planned(Role::Release, "app"), planned(Role::Data, "db")];
        Plan {
            required: artifacts.iter().map(|a| a.kind.clone()).collect(),
            artifacts,
            tools: vec![],
            release_checks: vec!["true".into()],
            check_timeout: Duration::from_secs(1),
        }
    }

    fn all_pass(plan: &Plan) -> Vec<StepRun> {
        let run = |step: Step| StepRun {
            step,
            outcome: Outcome::Pass,
            seconds: 1.0,
            detail: String::new(),
            checked: step.must_count().then_some(3),
            bytes: None,
        };
        plan.steps().into_iter().map(run).collect()
    }

    /// Judges a sound drill after `change`.
    fn after(change: impl FnOnce(&mut Plan, &mut Vec<StepRun>, &mut Vec<Finding>)) -> Judgement {
        let (mut plan, mut findings) = (plan(), vec![]);
        let mut runs = all_pass(&plan);
        change(&mut plan, &mut runs, &mut findings);
        judge(&plan, &runs, &findings, Interrupted::No)
    }

    fn set(runs: &mut [StepRun], step: Step, outcome: Outcome) {
        runs.iter_mut().find(|run| run.step == step).expect("a step of the plan").outcome = outcome;
    }

    #[test]
    fn a_sound_drill_is_verified() {
        let judgement = after(|_, _, findings| {
            findings.push(Finding::warning("a", "b", "c"));
            findings.push(Finding::info("a", "b"));
        });
        assert_eq!(judgement, Judgement { result: Verdict::Verified, reasons: vec![] });
    }

    #[test]
    fn an_artifact_of_each_kind_is_needed() {
        let judgement = after(|plan, _, _| plan.required.push(Kind { role: Role::Data, set: "logs".into() }));
        assert_eq!(judgement.result, Verdict::NotVerified);
        assert_eq!(judgement.reasons, ["there is no artifact of data logs to restore"]);
    }

    #[test]
    fn no_artifact_at_all_is_not_verified() {
        let mut plan = plan();
        plan.artifacts.clear();
        let runs = all_pass(&plan);
        assert_eq!(judge(&plan, &runs, &[], Interrupted::No).result, Verdict::NotVerified);
    }

    #[test]
    fn any_step_but_preflight_that_does_not_pass_is_not_verified() {
        for step in plan().steps().into_iter().filter(|step| *step != Step::Preflight) {
            for outcome in [Outcome::Fail, Outcome::Skip, Outcome::Blocked, Outcome::Timeout] {
                let judgement = after(|_, runs, _| set(runs, step, outcome));
                assert_eq!(judgement.result, Verdict::NotVerified, "{step:?} {outcome}");
            }
        }
    }

    #[test]
    fn a_step_that_is_not_there_was_not_done() {
        for step in plan().steps().into_iter().filter(|step| *step != Step::Preflight) {
            let judgement = after(|_, runs, _| runs.retain(|run| run.step != step));
            assert_eq!(judgement.result, Verdict::NotVerified, "{step:?}");
        }
    }

    #[test]
    fn nothing_checked_is_not_verified() {
        for step in plan().steps().into_iter().filter(|step| step.must_count()) {
            for checked in [None, Some(0)] {
                let judgement = after(|_, runs, _| {
                    runs.iter_mut().find(|run| run.step == step).expect("a step").checked = checked;
                });
                assert_eq!(judgement.result, Verdict::NotVerified, "{step:?} {checked:?}");
            }
        }
    }

    #[test]
    fn an_error_finding_is_not_verified() {
        let judgement = after(|_, _, findings| findings.push(Finding::error("a", "b", "c")));
        assert_eq!(judgement.result, Verdict::NotVerified);
        assert_eq!(judgement.reasons, ["errors were found"]);
    }

    #[test]
    fn only_the_optional_skip_may_be_skipped() {
        let judgement = after(|plan, runs, _| {
            let mut older = planned(Role::Data, "db");
            (older.pick, older.has_manifest, older.file) = (Pick::Older, false, "db-old.tar.gz".into());
            plan.artifacts.push(older);
            *runs = all_pass(plan);
            set(runs, Step::Compare(2), Outcome::Skip);
        });
        assert_eq!(judgement.result, Verdict::Verified, "{judgement:?}");
    }

    #[test]
    fn without_preflight_it_could_not_run() {
        for outcome in [Outcome::Fail, Outcome::Skip, Outcome::Blocked, Outcome::Timeout] {
            let judgement = after(|_, runs, _| set(runs, Step::Preflight, outcome));
            assert_eq!(judgement.result, Verdict::CouldNotRun, "{outcome}");
        }
    }

    #[test]
    fn nothing_configured_or_interrupted_could_not_run() {
        assert_eq!(after(|plan, _, _| plan.required.clear()).result, Verdict::CouldNotRun);
        let plan = plan();
        let judgement = judge(&plan, &all_pass(&plan), &[], Interrupted::Yes);
        assert_eq!(judgement.result, Verdict::CouldNotRun);
    }

    #[test]
    fn only_what_passed_every_step_is_proven() {
        let plan = plan();
        let mut runs = all_pass(&plan);
        assert_eq!(proven(&plan, &runs), [0, 1]);
        set(&mut runs, Step::KeyFiles(0), Outcome::Fail);
        assert_eq!(proven(&plan, &runs), [1]);
        set(&mut runs, Step::Compare(1), Outcome::Skip);
        assert_eq!(proven(&plan, &runs), Vec::<usize>::new());
    }

    #[test]
    fn a_blind_check_proves_nothing() {
        let plan = plan();
        let mut runs = all_pass(&plan);
        set(&mut runs, Step::NegativeControl(0), Outcome::Blocked);
        assert_eq!(proven(&plan, &runs), [0, 1], "the other control passed");
        set(&mut runs, Step::NegativeControl(0), Outcome::Fail);
        assert_eq!(proven(&plan, &runs), Vec::<usize>::new());
        set(&mut runs, Step::NegativeControl(0), Outcome::Blocked);
        set(&mut runs, Step::NegativeControl(1), Outcome::Blocked);
        assert_eq!(proven(&plan, &runs), Vec::<usize>::new(), "no control passed");
    }

    #[test]
    fn what_looked_at_nothing_is_not_proven() {
        let plan = plan();
        for checked in [None, Some(0)] {
            let mut runs = all_pass(&plan);
            runs.iter_mut().find(|run| run.step == Step::Compare(1)).expect("a step").checked = checked;
            assert_eq!(proven(&plan, &runs), [0], "{checked:?}");
        }
    }

    #[test]
    fn a_target_is_missed_only_above_it() {
        let rto = |measured| missed((Some(measured), Some(60.0)), (None, Some(1.0)), None);
        assert_eq!(rto(60.0), []);
        assert_eq!(rto(60.1)[0].what, "the recovery time (RTO) is 60.1 s, the target is 60 s");
        assert!(rto(3600.0)[0].what.ends_with("is 1 h 0 min, the target is 1 min 0 s"));
        let data = |rpo, loss_now| missed((None, None), (Some(rpo), Some(60.0)), Some(loss_now));
        assert_eq!(data(60.0, 60.0), []);
        assert!(data(60.0, 61.0)[0].what.contains("would have lost"));
        assert_eq!(data(61.0, 62.0).len(), 1, "one thing is told once");
        assert!(missed((Some(9e9), None), (Some(9e9), None), Some(9e9)).is_empty(), "no target, none missed");
    }

    #[test]
    fn an_artifact_from_the_future_is_an_error() {
        let mut plan = plan();
        let at = Timestamp::UNIX_EPOCH;
        let none = BTreeMap::new();
        assert_eq!(from_the_future(&plan, &none, at), []);
        plan.artifacts[1].created_at = at + SignedDuration::from_mins(2);
        let found = &from_the_future(&plan, &none, at)[0];
        assert_eq!((&*found.path, found.severity), ("db.tar.gz", Severity::Error));
        assert!(found.what.starts_with("is dated 2 min 0 s after this drill's start"), "{found:?}");
        // By little it may be a name, and its age is not known all the same.
        plan.artifacts[1].created_at = at;
        let confirmed = [("db.tar.gz".to_owned(), at + SignedDuration::from_secs(12))].into();
        let found = &from_the_future(&plan, &confirmed, at);
        assert!(found.len() == 1 && found[0].severity == Severity::Warning, "{found:?}");
        assert!(found[0].what.contains("is dated 12.0 s after"), "{found:?}");
        for (by, severity) in
            [(AHEAD, Severity::Warning), (AHEAD + SignedDuration::from_secs(1), Severity::Error)]
        {
            let confirmed = [("db.tar.gz".to_owned(), at + by)].into();
            assert_eq!(from_the_future(&plan, &confirmed, at)[0].severity, severity, "{by}");
        }
        plan.artifacts[0].created_at = at + SignedDuration::from_secs(1);
        assert_eq!(from_the_future(&plan, &none, at), [], "a bundle has no age that is measured");
    }

    #[test]
    fn the_latest_backup_of_a_set_is_stale_above_the_target() {
        let mut plan = plan();
        let (made, hours) = (Timestamp::UNIX_EPOCH, SignedDuration::from_hours);
        let stale = |plan: &Plan, age| stale(plan, &BTreeMap::new(), made + age, Some(hours(5)));
        assert_eq!(stale(&plan, hours(5)), []);
        let found = stale(&plan, hours(6));
        assert_eq!((found.len(), &*found[0].path, found[0].severity), (1, "data db", Severity::Warning));
        assert_eq!(found[0].what, "its latest backup, db.tar.gz, is 6 h 0 min old: it is stale");
        assert_eq!(super::stale(&plan, &BTreeMap::new(), made + hours(6), None), []);
        let confirmed = [("db.tar.gz".to_owned(), made + hours(1))].into();
        assert_eq!(super::stale(&plan, &confirmed, made + hours(6), Some(hours(5))), []);
        plan.artifacts[1].pick = Pick::Older;
        assert_eq!(stale(&plan, hours(6)), [], "nobody would restore that one");
    }

    #[test]
    fn what_failed_its_checksums_is_damaged() {
        let plan = plan();
        let mut runs = all_pass(&plan);
        assert_eq!(damaged(&plan, &runs), Vec::<usize>::new());
        set(&mut runs, Step::Verify(0), Outcome::Fail);
        set(&mut runs, Step::Checksums(0), Outcome::Blocked);
        set(&mut runs, Step::Checksums(1), Outcome::Fail);
        assert_eq!(damaged(&plan, &runs), [1]);
    }
}
