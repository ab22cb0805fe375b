//! A spot drill: gather → plan → (print | run → record) → document.
//!
//! Restores the latest artifact of each kind and one older into a private folder, and writes down what was
//! proven. Reads destinations and the releases folder; writes only the evidence and a line of history. The
//! live data is never touched by a spot drill.
use super::frame::frame;
use super::report::{Shown, remember, report};
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::{Seen, seen};
use crate::config::Config;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::releases;
use crate::drill::evidence::{self, Stored, Verdict, newest};
use crate::drill::full::journal;
use crate::drill::gather::{self, Prepared};
use crate::drill::measured::{self, Frame, Measured};
use crate::drill::record::{self, Recorded};
use crate::drill::rooms::{Monotonic, RealRooms};
use crate::drill::run::{Drilled, Spot};
use crate::drill::steps::Role;
use crate::drill::verdict::{damaged, from_the_future, judge, proven};
use crate::error::{Error, Exit, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Runs it.
///
/// # Errors
/// When the drill cannot even be planned: configuration, evidence of a newer schema, another run.
pub(super) fn run(config: Config, args: &Args, ctx: &Context) -> Result<Exit> {
    let memory = Memory::at(&config.root);
    if gather::required(&config, &releases::scan(&config.release.output_dir)?.0).is_empty() {
        let what = "nothing is there that could be restored: no data set is configured, no bundle made";
        let next = "`cargo xtask init` writes a recovery.toml; `cargo xtask snapshot` makes a bundle";
        return Err(Error::refused(what, next));
    }
    // A dry run writes nothing at all, not even the lock's folder.
    let _lock = if args.dry_run {
        None
    } else {
        memory.open()?;
        Some(lock::repository(memory.root(), "restore-drill", ctx.now)?)
    };
    journal::refuse_open(memory.root())?;
    let (records, record_findings) = record::load(&config.drill.evidence_dir)?;
    if args.if_due && !is_due("spot", &records, config.drill.spot_every, ctx.now) {
        return Ok(not_due("spot", ctx));
    }
    let prepared = gather::prepare(config, records, record_findings, ctx.env)?;
    if args.dry_run {
        return Ok(dry_run(&prepared, ctx));
    }
    let frame = frame("spot", &prepared.config.drill, args, ctx);
    let (recorded, shown) = drill(&prepared, &frame, ctx)?;
    remember(&memory, &recorded, &shown, ctx)?;
    Ok(report(&recorded, prepared.try_later, ctx))
}

/// Due when the last verified spot drill lies at least `every` back, when there is none, and when no interval
/// is configured. One that was not verified does not count; while it is the newest, it is due again at once.
pub(super) fn is_due(kind: &str, records: &[Stored], every: Option<SignedDuration>, now: Timestamp) -> bool {
    if newest(records).is_some_and(|record| record.evidence.result != Verdict::Verified) {
        return true;
    }
    let verified = |r: &&Stored| r.evidence.kind == kind && r.evidence.result == Verdict::Verified;
    // One that is dated in the future says nothing about when the next is due.
    let times = records.iter().filter(verified).map(|r| r.evidence.started_at);
    let last = times.filter(|time| *time <= now).max();
    match (last, every) {
        (Some(last), Some(every)) => now.duration_since(last) >= every,
        _ => true,
    }
}

/// Says that there is nothing to do.
pub(super) fn not_due(kind: &str, ctx: &Context) -> Exit {
    ctx.ui.say(&format!("no {kind} drill is due"));
    if ctx.ui.json {
        ctx.ui.document(&json!({
            "schema_version": 1, "command": "restore-drill", "status": "ok", "kind": kind,
            "result": "not_due", "evidence": null, "rto_seconds": null, "rpo_seconds": null,
            "steps": [], "not_tested": [],
        }));
    }
    Exit::Done
}

fn dry_run(prepared: &Prepared, ctx: &Context) -> Exit {
    let plan = &prepared.plan;
    if ctx.ui.json {
        let steps: Vec<_> = plan.steps().into_iter().map(|step| json!({ "name": plan.name(step) })).collect();
        ctx.ui.document(&json!({
            "schema_version": 1, "command": "restore-drill", "status": "ok", "dry_run": true,
            "kind": "spot", "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
            "steps": steps, "blockers": prepared.blockers, "not_tested": prepared.not_tested,
        }));
    } else {
        ctx.ui.result(&plan.to_string());
    }
    for blocker in &prepared.blockers {
        ctx.ui.say(&format!("in the way: {blocker}"));
    }
    Exit::Done
}

/// Runs the drill and stores its evidence; also returns what it has shown of artifacts: those that are restorable, and
/// those whose bytes are not those on record.
fn drill<'a>(prepared: &'a Prepared, frame: &Frame, ctx: &Context) -> Result<(Recorded, Vec<Shown<'a>>)> {
    let Seen { environment, redaction } = seen(&prepared.config, &prepared.config.drill.environment, ctx.env);
    let workspace = ctx.temporary();
    let drilled = Spot {
        plan: &prepared.plan,
        subjects: &prepared.subjects,
        blockers: &prepared.blockers,
        tools: &prepared.tools,
        rooms: &RealRooms,
        workspace: &workspace,
        environment: &environment,
        redaction: &redaction,
    }
    .run(&Monotonic::start());
    let mut shown = Vec::new();
    for (kind, indices) in [
        ("verified", proven(&prepared.plan, &drilled.runs)),
        ("damaged", damaged(&prepared.plan, &drilled.runs)),
    ] {
        let archive = |index: usize| &*prepared.subjects[index].source.archive;
        shown.extend(indices.into_iter().map(|index| Shown { kind, index, archive: archive(index) }));
    }
    let evidence = measured::evidence(frame, measure(prepared, drilled, ctx)).redacted(&redaction);
    let drill = &prepared.config.drill;
    let recorded =
        record::write(&drill.evidence_dir, drill.sign_with.as_deref(), frame, &prepared.records, evidence)?;
    Ok((recorded, shown))
}

fn measure(prepared: &Prepared, drilled: Drilled, ctx: &Context) -> Measured {
    let plan = &prepared.plan;
    let mut findings = prepared.findings.clone();
    findings.extend(drilled.findings);
    findings.extend(from_the_future(plan, ctx.now));
    let judgement = judge(plan, &drilled.runs, &findings, drilled.interrupted);
    let sets = plan.required.iter().filter(|kind| kind.role == Role::Data).map(|kind| &*kind.set);
    let end = measured::end(ctx.now, drilled.elapsed);
    Measured {
        artifacts: drilled.artifacts,
        rto_seconds: evidence::rto_seconds(plan, &drilled.runs),
        rpo_seconds: evidence::rpo_seconds(plan, &prepared.confirmed, ctx.now)
            .filter(|_| evidence::all_restored(plan, &drilled.runs)),
        loss_now_seconds: evidence::loss_seconds(sets, &prepared.newest, end),
        steps: drilled.runs.into_iter().map(|run| measured::step(plan, run)).collect(),
        not_tested: prepared.not_tested.clone(),
        findings,
        judgement,
        finished_at: end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::chain;

    #[test]
    fn due_counts_from_the_last_verified_drill() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let every = Some(SignedDuration::from_hours(24));
        let mut records = chain();
        assert!(is_due("spot", &[], every, at("2026-03-01T00:00:00Z")));
        assert!(!is_due("spot", &records, every, at("2026-03-04T09:59:59Z")));
        assert!(is_due("spot", &records, every, at("2026-03-04T10:00:00Z")));
        assert!(is_due("spot", &records, None, at("2026-03-03T10:00:00Z")));
        records[2].evidence.result = Verdict::NotVerified;
        assert!(is_due("spot", &records, every, at("2026-03-03T10:00:01Z")), "a failed drill does not count");
        let weekly = Some(SignedDuration::from_hours(24 * 7));
        for result in [Verdict::NotVerified, Verdict::CouldNotRun] {
            records[2].evidence.result = result;
            assert!(
                is_due("spot", &records, weekly, at("2026-03-03T10:00:01Z")),
                "the newest was not verified"
            );
        }
        records[2].evidence.result = Verdict::Verified;
        records[1].evidence.result = Verdict::NotVerified;
        assert!(
            !is_due("spot", &records, weekly, at("2026-03-03T10:00:01Z")),
            "one that was done again since"
        );
    }
}
