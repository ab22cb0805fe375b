//! `restore-drill recover`: what a full drill that was killed has moved aside goes back, and the service starts.
//!
//! The journal is all that the way back needs: a `recovery.toml` that cannot be read is no obstacle.
use super::closing::{Closing, Ended};
use super::frame::bare;
use super::full::{folders, service};
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::{all, values};
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::mount::resolved;
use crate::drill::evidence::Verdict;
use crate::drill::evidence::frame::Frame;
use crate::drill::evidence::record;
use crate::drill::full::asides;
use crate::drill::full::back::{Commands, Why, bring_back};
use crate::drill::full::journal::{Journal, NEXT, Phase, not_at_work};
use crate::drill::full::run::Drilled;
use crate::drill::full::written::written;
use crate::drill::measured;
use crate::drill::redact::Redaction;
use crate::error::{Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::shown::show;
use crate::stopwatch::{Monotonic, Stopwatch as _};
use jiff::SignedDuration;
use serde_json::json;
use std::path::Path;

/// Runs it for the repository at `root`.
///
/// # Errors
/// When another run is going on, or the journal cannot be read.
pub(super) fn run(root: &Path, args: &Args, ctx: &Context) -> Result<Exit> {
    let memory = Memory::at(root);
    if !memory.root().is_dir() {
        return Ok(nothing(&memory, root, ctx));
    }
    let _lock = match args.dry_run {
        true => {
            not_at_work(memory.root())?;
            None
        }
        false => Some(lock::repository(memory.root(), "restore-drill", ctx.now)?),
    };
    let Some(mut journal) = Journal::load(memory.root())? else {
        return Ok(nothing(&memory, root, ctx));
    };
    if args.dry_run {
        return Ok(dry_run(&journal, ctx));
    }
    let _folders = folders(&journal, ctx)?;
    // What was mended since counts; where nothing can be read, or by the file of another service, what the drill began with.
    if let Ok(config) = crate::commands::configuration(ctx) {
        let [began, now] = [&journal.configuration, &config.file].map(|file| file.as_deref().map(resolved));
        match (began.is_none() || began == now, service(&config)) {
            (true, Ok(service)) => journal.service = service,
            (true, Err(_)) => {}
            (false, _) => {
                let began = began.map(|file| show(&file)).unwrap_or_default();
                ctx.ui.say(&format!(
                    "the drill was begun with {began}: its service is stopped and started as it said then"
                ));
            }
        }
    }
    let environment = values(journal.service.environment.iter().map(String::as_str), ctx.env);
    let secrets = values(journal.service.secrets.iter().map(String::as_str), ctx.env);
    let redaction = Redaction::new(&secrets, &environment).guessed(&all(ctx.env, ctx.variables));
    let tell = |text: &str| ctx.ui.say(text);
    let log = memory.root().join("start.log");
    let commands = Commands { environment: &environment, redaction: &redaction, log, tell: &tell };
    let watch = Monotonic::start();
    // A page alone is of a drill that was killed before it had written its record.
    let record = journal.evidence_dir.join(format!("{}.json", journal.id));
    let done = journal.phase == Phase::Kept && record.exists();
    if !done {
        // On disk before there is a record of that name: a kill behind the record is then seen to be that.
        journal.id = record::free_id(&journal.evidence_dir, &journal.id);
    }
    let returned = bring_back(&mut journal, memory.root(), &commands, Why::Failed, &watch);
    let frame = frame(&journal, bare("full", args, ctx));
    let closed = journal.phase == Phase::Kept;
    let closing = Closing { memory: &memory, redaction: &redaction, frame: &frame };
    if done {
        // It came to its end, and was killed before it could say so.
        closing.put_away(&journal, ctx)?;
        ctx.ui.say(&format!("{} had come to its end: it is closed", journal.id));
        return Ok(nothing(&memory, root, ctx));
    }
    let mut findings = returned.findings;
    findings.extend(written(&journal));
    let what = "was killed, or could not bring everything back: what it had shown counts for nothing";
    let next = if closed { "run the drill again" } else { NEXT };
    findings.push(Finding::error(journal.id.clone(), what, next));
    journal.steps.extend(returned.steps);
    let drilled = Drilled {
        steps: journal.steps.clone(),
        artifacts: journal.artifacts.clone(),
        findings,
        result: Verdict::NotVerified,
        reasons: vec!["the drill did not come to its end".into()],
        rto_seconds: None,
        shown: vec![],
        opened: true,
        closed,
    };
    let ended = Ended {
        drilled,
        rpo_seconds: None,
        rpo_ahead_seconds: None,
        loss_now_seconds: None,
        not_tested: vec!["everything behind the step at which the drill was killed".into()],
        finished_at: measured::end(ctx.now, watch.elapsed()),
    };
    let noted = journal.save(memory.root());
    let exit =
        closing.close(&journal, noted.and_then(|()| record::load(&journal.evidence_dir)), ended, ctx)?;
    if closed {
        ctx.ui.findings(&strange(&memory, ctx));
    }
    // What was asked for was to bring everything back.
    Ok(if closed && exit == Exit::Found { Exit::Done } else { exit })
}

/// What it would do, without a command line: that may hold a secret.
fn dry_run(journal: &Journal, ctx: &Context) -> Exit {
    let back = journal.swaps.iter().map(|swap| format!("bring back {}: {}", swap.what, show(&swap.live)));
    let steps: Vec<String> = match journal.phase {
        Phase::Open => {
            let stop = std::iter::once("stop the service".to_owned());
            stop.chain(back)
                .chain(["start the service".to_owned(), "write the evidence".to_owned()])
                .collect()
        }
        Phase::Back => vec!["start the service".into(), "write the evidence".into()],
        Phase::Kept => vec!["write the evidence".into()],
    };
    let named: Vec<_> = steps.iter().map(|name| json!({ "name": name })).collect();
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": "ok", "dry_run": true,
        "kind": "recover", "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
        "steps": named, "coverage": [], "blockers": [], "not_tested": [],
    }));
    ctx.ui.result(&format!("{} is open", journal.id));
    steps.iter().for_each(|step| ctx.ui.result(&format!("would {step}")));
    Exit::Done
}

/// As the drill began; who recovers it stands beside who began it.
fn frame(journal: &Journal, now: Frame) -> Frame {
    let target = |seconds: Option<i64>| seconds.map(SignedDuration::from_secs);
    Frame {
        id: journal.id.clone(),
        trigger: journal.trigger.clone(),
        started_at: journal.started_at,
        operator: journal.operator.clone().unwrap_or_else(|| now.operator.clone()),
        recovered_by: Some(now.operator.clone()),
        rto_target: target(journal.rto_target_seconds),
        rpo_target: target(journal.rpo_target_seconds),
        ..now
    }
}

/// Folders of drills that no record names, where the configuration can be read, which says where to look.
fn strange(memory: &Memory, ctx: &Context) -> Vec<Finding> {
    let Ok(config) = crate::commands::configuration(ctx) else { return Vec::new() };
    let strange = asides::strange(&config, &memory.read().unwrap_or_default().records).into_iter();
    strange.map(|folder| asides::told(&folder, Severity::Error)).collect()
}

fn nothing(memory: &Memory, root: &Path, ctx: &Context) -> Exit {
    let findings = strange(memory, ctx);
    let (status, rest) = match findings.is_empty() {
        true => ("ok", "there is nothing to bring back"),
        false => ("findings", "what is named below is for you to look at"),
    };
    ctx.ui.result(&format!("no full drill is open in {}: {rest}", show(root)));
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": status, "kind": "recover",
        "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
        "steps": [], "not_tested": [], "findings": findings,
    }));
    ctx.ui.findings(&findings);
    finding::exit(&findings)
}
