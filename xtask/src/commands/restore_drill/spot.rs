//! A spot drill: gather → plan → (print | run → record) → document.
//!
//! Restores the latest artifact of each kind and one older into a private folder, and writes down what was
//! proven. Reads destinations and the releases folder; writes only the evidence and a line of history. The
//! live data is never touched by a spot drill.
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::{Seen, seen};
use crate::commands::overdue::reason;
use crate::config::Config;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::names::stamp;
use crate::destination::releases;
use crate::drill::due::{self, Due, SPOT};
use crate::drill::evidence::{self, Evidence, SCHEMA_VERSION, StepRecord, ToolVersion, Verdict};
use crate::drill::full::journal;
use crate::drill::gather::{self, Prepared};
use crate::drill::record::{self, Recorded};
use crate::drill::rooms::{Monotonic, RealRooms};
use crate::drill::run::{Drilled, Spot};
use crate::drill::verdict::{against_targets, damaged, judge, proven};
use crate::error::{Error, Exit, Result};
use crate::shown::show;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Runs it.
///
/// # Errors
/// When the drill cannot even be planned: configuration, evidence of a newer schema, another run.
pub(super) fn run(config: Config, args: &Args, ctx: &Context) -> Result<Exit> {
    let memory = Memory::at(&config.root);
    journal::refuse_open(memory.root())?;
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
    let (records, record_findings) = record::load(&config.drill.evidence_dir)?;
    if args.if_due {
        match due::drill(&records, SPOT, config.drill.spot_every, ctx.now) {
            Due::At(next) => return Ok(super::not_due(SPOT, Some(next), ctx)),
            Due::Now(why) => ctx.ui.say(&format!("a spot drill is due: {}", reason(why, ctx.now))),
        }
    }
    let prepared = gather::prepare(config, records, record_findings, ctx.env)?;
    if args.dry_run {
        return Ok(dry_run(&prepared, ctx));
    }
    let trigger = if args.if_due { "if-due" } else { "manual" };
    let (recorded, shown) = drill(&prepared, trigger, ctx)?;
    remember(&memory, &prepared, &recorded, &shown, ctx)?;
    Ok(report(&recorded, prepared.try_later, ctx))
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

/// Runs the drill and stores its evidence; also returns the artifacts that it has shown to be restorable, and those
/// whose bytes are not those on record.
fn drill(prepared: &Prepared, trigger: &str, ctx: &Context) -> Result<(Recorded, Shown)> {
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
    let shown = Shown {
        proven: proven(&prepared.plan, &drilled.runs),
        damaged: damaged(&prepared.plan, &drilled.runs),
    };
    let evidence = assemble(prepared, drilled, trigger, ctx).redacted(&redaction);
    let recorded = record::write(&prepared.config.drill.evidence_dir, &prepared.records, evidence)?;
    Ok((recorded, shown))
}

fn assemble(prepared: &Prepared, drilled: Drilled, trigger: &str, ctx: &Context) -> Evidence {
    let plan = &prepared.plan;
    let seconds = |target: Option<SignedDuration>| target.map(|target| target.as_secs_f64());
    let rto = (evidence::rto_seconds(plan, &drilled.runs), seconds(prepared.config.drill.rto_target));
    let rpo = (evidence::rpo_seconds(plan, ctx.now), seconds(prepared.config.drill.rpo_target));
    let mut findings = prepared.findings.clone();
    findings.extend(drilled.findings);
    findings.extend(against_targets(plan, ctx.now, rto, rpo));
    let judgement = judge(plan, &drilled.runs, &findings, drilled.interrupted);
    for reason in &judgement.reasons {
        ctx.ui.error(&format!("not verified: {reason}"), None);
    }
    let elapsed = SignedDuration::try_from(drilled.elapsed).unwrap_or_default();
    let steps = drilled.runs.into_iter().map(|run| StepRecord {
        name: plan.name(run.step),
        outcome: run.outcome,
        seconds: run.seconds,
        detail: run.detail,
    });
    Evidence {
        schema_version: SCHEMA_VERSION,
        id: format!("drill-{}-spot", stamp(ctx.now)),
        kind: SPOT.into(),
        trigger: trigger.into(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        tool: ToolVersion { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        started_at: ctx.now,
        finished_at: ctx.now.saturating_add(elapsed).unwrap_or(ctx.now),
        artifacts: drilled.artifacts,
        steps: steps.collect(),
        rto_seconds: rto.0,
        rto_target_seconds: rto.1,
        rpo_seconds: rpo.0,
        rpo_target_seconds: rpo.1,
        not_tested: prepared.not_tested.clone(),
        findings,
        result: judgement.result,
        previous_sha256: None,
    }
}

/// What a drill has shown of the artifacts of its plan, by their index.
struct Shown {
    proven: Vec<usize>,
    damaged: Vec<usize>,
}

/// One line for the drill, and one for each artifact that it has shown to be restorable, or damaged.
fn remember(
    memory: &Memory,
    prepared: &Prepared,
    recorded: &Recorded,
    shown: &Shown,
    ctx: &Context,
) -> Result<()> {
    let (time, evidence) = (ctx.now.to_string(), &recorded.evidence);
    memory.record(&json!({
        "kind": "drill", "time": time, "id": evidence.id, "result": evidence.result.word(), "artifact": show(&recorded.json),
        "sha256": recorded.sha256, "page_sha256": recorded.page_sha256,
    }))?;
    for (kind, indices) in [("verified", &shown.proven), ("damaged", &shown.damaged)] {
        for index in indices {
            let artifact = &evidence.artifacts[*index];
            memory.record(&json!({
                "kind": kind, "time": time, "set": artifact.set, "sha256": artifact.sha256,
                "artifact": show(&prepared.subjects[*index].source.archive), "by": evidence.id,
            }))?;
        }
    }
    Ok(())
}

/// Tells what came of a drill.
pub(super) fn report(recorded: &Recorded, try_later: bool, ctx: &Context) -> Exit {
    let evidence = &recorded.evidence;
    let exit = match evidence.result {
        Verdict::Verified => Exit::Done,
        Verdict::NotVerified => Exit::Found,
        Verdict::CouldNotRun if try_later => Exit::TryLater,
        Verdict::CouldNotRun => Exit::CouldNotRun,
    };
    if ctx.ui.json {
        ctx.ui.document(&document(recorded));
    } else {
        let path = show(&recorded.json);
        ctx.ui.result(&format!("{}\nevidence: {path}\n", summary(evidence)));
        evidence.steps.iter().for_each(|step| ctx.ui.detail(&format!("{}: {}", step.name, step.detail)));
    }
    ctx.ui.findings(&evidence.findings);
    ctx.told.of(
        &format!("{} drill {}: {}", evidence.kind, evidence.id, evidence.result.word()),
        &evidence.findings,
    );
    exit
}

fn summary(evidence: &Evidence) -> String {
    let steps = evidence
        .steps
        .iter()
        .map(|step| format!("{:<8} {:>9.3} s  {}", step.outcome, step.seconds, step.name));
    let mut lines: Vec<_> = steps.collect();
    lines.push(format!("result: {}", evidence.result.word()));
    lines.join("\n")
}

fn document(recorded: &Recorded) -> Value {
    let evidence = &recorded.evidence;
    let status = match evidence.result {
        Verdict::Verified => "ok",
        Verdict::NotVerified => "findings",
        Verdict::CouldNotRun => "error",
    };
    json!({
        "schema_version": 1,
        "command": "restore-drill",
        "status": status,
        "kind": evidence.kind,
        "id": evidence.id,
        "result": evidence.result.word(),
        "evidence": show(&recorded.json),
        "rto_seconds": evidence.rto_seconds,
        "rpo_seconds": evidence.rpo_seconds,
        "steps": evidence.steps,
        "artifacts": evidence.artifacts,
        "not_tested": evidence.not_tested,
        "findings": evidence.findings,
    })
}
