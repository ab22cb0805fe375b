//! A spot drill: gather → plan → (print | run → record) → document.
//!
//! Restores the latest artifact of each kind and one older into a private folder, and writes down what was
//! proven. Reads destinations and the releases folder; writes only the evidence and a line of history. The
//! live data is never touched by a spot drill.
use super::frame::frame;
use super::report::{Shown, What, remember, report};
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::{Seen, seen};
use crate::commands::overdue::reason;
use crate::commands::snapshot::of_commit;
use crate::config::Config;
use crate::destination::known::Against;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::releases;
use crate::drill::door::RealRooms;
use crate::drill::due::{self, Due, SPOT};
use crate::drill::evidence::coverage::{Coverage, Part};
use crate::drill::evidence::frame::Frame;
use crate::drill::evidence::record::{self, Recorded};
use crate::drill::evidence::{ArtifactRecord, Verdict};
use crate::drill::full::journal;
use crate::drill::gather::{self, Prepared};
use crate::drill::measured::{self, Measured};
use crate::drill::redact::Redaction;
use crate::drill::rotation::Took;
use crate::drill::run::{Drilled, Spot};
use crate::drill::steps::{Kind, Pick, Role};
use crate::drill::times;
use crate::drill::verdict::{damaged, from_the_future, judge, proven, stale};
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use crate::restore;
use crate::shown::show;
use crate::stopwatch::Monotonic;
use crate::tools::gh;
use crate::ui::Total;
use serde_json::json;
use std::collections::BTreeMap;

/// Runs it. What was found `besides` is told with what came of it, and is none of its evidence.
///
/// # Errors
/// When the drill cannot even be planned: configuration, evidence of a newer schema, another run.
pub(super) fn run(config: Config, args: &Args, besides: &[Finding], ctx: &Context) -> Result<Exit> {
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
    journal::refuse_beside(memory.root(), args.dry_run)?;
    let (records, mut record_findings) = record::load(&config.drill.evidence_dir)?;
    record_findings.extend(record::gone(&config.drill.evidence_dir, &memory.read()?.records, &records));
    if args.if_due {
        match due::drill(&records, SPOT, config.drill.spot_every, ctx.now) {
            Due::At(next) => match super::undrilled(&config, &records)? {
                None => return Ok(super::not_due(SPOT, Some(next), ctx)),
                Some(set) => {
                    ctx.ui.say(&format!("a spot drill is due: {set} has a backup, and was in none yet"))
                }
            },
            Due::Now(why) => ctx.ui.say(&format!("a spot drill is due: {}", reason(why, ctx.now))),
        }
    }
    let prepared = gather::prepare(config, records, record_findings, ctx.env, ctx.now)?;
    if args.dry_run {
        return Ok(dry_run(&prepared, &hidden(&prepared, ctx).redaction, ctx));
    }
    let frame = frame(SPOT, &prepared.config.drill, args, ctx);
    let (recorded, shown) = drill(&prepared, &frame, &memory, ctx)?;
    remember(&memory, &recorded, &shown, ctx)?;
    Ok(report(&recorded, besides, prepared.try_later, ctx))
}

/// What its commands see, and what is told of none of them.
fn hidden(prepared: &Prepared, ctx: &Context) -> Seen {
    let Seen { environment, redaction } =
        seen(&prepared.config, &prepared.config.drill.environment, ctx.env, ctx.variables);
    Seen { environment, redaction: redaction.and(&tokens(ctx)) }
}

/// Command lines as the evidence would have them.
fn dry_run(prepared: &Prepared, redaction: &Redaction, ctx: &Context) -> Exit {
    let (plan, coverage) = (&prepared.plan, coverage(prepared, None, ctx));
    let name = |step| json!({ "name": redaction.text(&plan.name(step)) });
    let steps: Vec<_> = plan.steps().into_iter().map(name).collect();
    let blockers = redaction.texts(&prepared.blockers);
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": "ok", "dry_run": true,
        "kind": "spot", "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
        "steps": steps, "coverage": coverage, "blockers": blockers,
        "not_tested": redaction.texts(&prepared.not_tested),
    }));
    ctx.ui.result(&redaction.text(&plan.to_string()));
    if !ctx.ui.json {
        coverage.iter().for_each(|one| ctx.ui.say(&format!("so far: {one}")));
    }
    for blocker in &blockers {
        ctx.ui.say(&format!("in the way: {blocker}"));
    }
    Exit::Done
}

/// Runs the drill and stores its evidence; also returns what it has shown of artifacts: those that are restorable, and
/// those whose bytes are not those on record.
fn drill<'a>(
    prepared: &'a Prepared,
    frame: &Frame,
    memory: &Memory,
    ctx: &Context,
) -> Result<(Recorded, Vec<Shown<'a>>)> {
    let Seen { environment, redaction } = hidden(prepared, ctx);
    let workspace = ctx.temporary();
    let shown = ctx.ui.progress("restore-drill", Total::default());
    let drilled = Spot {
        plan: &prepared.plan,
        subjects: &prepared.subjects,
        blockers: &prepared.blockers,
        tools: &prepared.tools,
        rooms: &RealRooms,
        workspace: &workspace,
        repository: &prepared.config.root,
        environment: &environment,
        redaction: &redaction,
        rebuild: &|commit, scope| of_commit(&prepared.config, commit, scope),
    }
    .run(&Monotonic::start());
    drop(shown);
    let proven = proven(&prepared.plan, &drilled.runs);
    let damaged = damaged(&prepared.plan, &drilled.runs);
    let errors = drilled.errors.clone();
    let evidence = measured::evidence(frame, measure(prepared, drilled, ctx)).redacted(&redaction);
    let drill = &prepared.config.drill;
    let history = memory.read()?.records;
    let (sign_with, known) = (drill.sign_with.as_deref(), (&prepared.records[..], &history[..]));
    let recorded = record::write(&drill.evidence_dir, sign_with, frame, known, evidence)?;
    let shown = |index: usize, what| Shown {
        what,
        index,
        archive: &prepared.subjects[index].source.archive,
        errors: errors.get(&index).copied().unwrap_or(0),
    };
    let mut all = Vec::new();
    for index in proven {
        let artifact = &recorded.evidence.artifacts[index];
        // Of a part it is not said that the whole is verified, until all of them were.
        let parts = artifact.part.as_ref().map(|part| (covered(prepared, artifact, part, ctx), part.of));
        let what = match parts {
            Some((parts, of)) if parts < of => What::Sampled { parts, of },
            _ => What::Verified,
        };
        all.push(shown(index, what));
    }
    all.extend(damaged.into_iter().map(|index| shown(index, What::Damaged)));
    Ok((recorded, all))
}

/// Of the forge: no check sees them, and none of them is to be told.
fn tokens(ctx: &Context) -> Vec<(String, String)> {
    gh::TOKENS.iter().filter_map(|name| Some(((*name).to_owned(), (ctx.env)(name)?))).collect()
}

fn took(artifact: &ArtifactRecord) -> Took {
    Took {
        kind: Kind { role: artifact.role, set: artifact.set.clone() },
        file: artifact.path.clone(),
        pick: artifact.pick,
        copy: artifact.copy.clone(),
        part: artifact.part.clone(),
        proven: artifact.proven == Some(true),
    }
}

/// What the drills up to now have covered, this one among them if it has run.
fn coverage(prepared: &Prepared, drilled: Option<&[ArtifactRecord]>, ctx: &Context) -> Vec<Coverage> {
    let mut past = prepared.past.clone();
    if let Some(artifacts) = drilled {
        past.add(ctx.now, artifacts.iter().map(took).collect());
    }
    prepared.stock.iter().map(|stock| past.coverage(stock, ctx.now)).collect()
}

/// How many parts of an artifact are covered with this drill, which has shown `part`.
fn covered(prepared: &Prepared, artifact: &ArtifactRecord, part: &Part, ctx: &Context) -> u32 {
    let mut past = prepared.past.clone();
    past.add(ctx.now, vec![Took { proven: true, ..took(artifact) }]);
    past.parts_covered(&artifact.path, part.of, artifact.copy.as_deref())
}

/// The backups that hold only a part by their own manifest, where the history has not told it. That they came back as they
/// were made proves no recovery.
fn partial<'a>(
    prepared: &'a Prepared,
    errors: &'a BTreeMap<usize, u64>,
) -> impl Iterator<Item = Finding> + 'a {
    errors.iter().filter_map(|(index, errors)| {
        let source = &prepared.subjects[*index].source;
        let path = show(&source.archive);
        let told = prepared.findings.iter().any(|one| one.path == path && one.what == Against::Part.what());
        let partial = restore::partial(source, *errors).filter(|_| !told)?;
        let latest = prepared.plan.artifacts[*index].pick == Pick::Latest;
        Some(if latest { partial.worse() } else { partial })
    })
}

fn measure(prepared: &Prepared, drilled: Drilled, ctx: &Context) -> Measured {
    let plan = &prepared.plan;
    let mut findings = prepared.findings.clone();
    findings.extend(drilled.findings);
    findings.extend(partial(prepared, &drilled.errors));
    findings.extend(from_the_future(plan, &prepared.confirmed, ctx.now));
    findings.extend(stale(plan, &prepared.confirmed, ctx.now, prepared.config.drill.rpo_target));
    let judgement = judge(plan, &drilled.runs, &findings, drilled.interrupted);
    let ran = judgement.result != Verdict::CouldNotRun;
    let coverage = coverage(prepared, ran.then_some(&drilled.artifacts[..]), ctx);
    let sets = plan.required.iter().filter(|kind| kind.role == Role::Data).map(|kind| &*kind.set);
    let end = measured::end(ctx.now, drilled.elapsed);
    Measured {
        artifacts: drilled.artifacts,
        rto_seconds: times::rto_seconds(plan, &drilled.runs),
        rpo_seconds: times::rpo_seconds(plan, &prepared.confirmed, ctx.now)
            .filter(|_| times::all_restored(plan, &drilled.runs)),
        rpo_ahead_seconds: times::ahead_seconds(plan, &prepared.confirmed, ctx.now),
        loss_now_seconds: times::loss_seconds(sets, &prepared.newest, end),
        steps: drilled.runs.into_iter().map(|run| measured::step(plan, run)).collect(),
        coverage,
        not_tested: prepared.not_tested.clone(),
        findings,
        judgement,
        finished_at: end,
    }
}
