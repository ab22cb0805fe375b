//! `restore-drill recover`: what a full drill that was killed has moved aside goes back, and the service starts. And how
//! every full drill is closed: evidence, what is kept aside, and last the journal.
//!
//! The journal is all that the way back needs: a `recovery.toml` that cannot be read is no obstacle.
use super::frame::bare;
use super::report::{remember, report};
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::values;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::drill::evidence::{Stored, Verdict};
use crate::drill::full::back::{Commands, Why, bring_back, tidy};
use crate::drill::full::journal::{Journal, Phase};
use crate::drill::full::run::Drilled;
use crate::drill::measured::{self, Frame, Measured};
use crate::drill::record;
use crate::drill::redact::Redaction;
use crate::drill::rooms::{Monotonic, Stopwatch as _};
use crate::drill::verdict::Judgement;
use crate::error::{Exit, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::path::Path;

/// Runs it for the repository at `root`.
///
/// # Errors
/// When another run is going on, or the journal cannot be read.
pub(super) fn run(root: &Path, args: &Args, ctx: &Context) -> Result<Exit> {
    let memory = Memory::at(root);
    if !memory.root().is_dir() {
        return Ok(nothing(ctx));
    }
    let _lock = lock::repository(memory.root(), "restore-drill", ctx.now)?;
    let Some(mut journal) = Journal::load(memory.root())? else { return Ok(nothing(ctx)) };
    let environment = values(journal.service.environment.iter().map(String::as_str), ctx.env);
    let secrets = values(journal.service.secrets.iter().map(String::as_str), ctx.env);
    let redaction = Redaction::new(&secrets, &environment);
    let commands =
        Commands { environment: &environment, redaction: &redaction, log: memory.root().join("start.log") };
    let watch = Monotonic::start();
    let returned = bring_back(&mut journal, memory.root(), &commands, Why::Failed, &watch);
    let closed = journal.phase == Phase::Kept;
    let mut findings = returned.findings;
    let what = "was killed, or could not bring everything back: what it had shown counts for nothing";
    findings.push(Finding::error(journal.id.clone(), what, "run the drill again"));
    journal.steps.extend(returned.steps);
    let (records, found) = record::load(&journal.evidence_dir)?;
    findings.extend(found);
    let drilled = Drilled {
        steps: journal.steps.clone(),
        artifacts: journal.artifacts.clone(),
        findings,
        result: Verdict::NotVerified,
        reasons: vec!["the drill did not come to its end".into()],
        rto_seconds: None,
        opened: true,
        closed,
    };
    let ended = Ended {
        drilled,
        rpo_seconds: None,
        loss_now_seconds: None,
        not_tested: vec!["everything behind the step at which the drill was killed".into()],
        finished_at: measured::end(ctx.now, watch.elapsed()),
    };
    let (id, trigger, started_at) = (journal.id.clone(), journal.trigger.clone(), journal.started_at);
    let frame = Frame { id, trigger, started_at, ..bare("full", args, ctx) };
    let (memory, records, redaction) = (&memory, &records[..], &redaction);
    let closing = Closing { memory, records, redaction, keep_aside: KEPT, frame: &frame };
    let exit = closing.close(&journal, ended, ctx)?;
    // What was asked for was to bring everything back.
    Ok(if closed && exit == Exit::Found { Exit::Done } else { exit })
}

/// How long what a killed drill had put in place is kept: the configuration may not be there to say.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

fn nothing(ctx: &Context) -> Exit {
    ctx.ui.result("no full drill is open: there is nothing to bring back");
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": "ok", "kind": "recover",
        "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
        "steps": [], "not_tested": [],
    }));
    Exit::Done
}

/// A full drill at its end.
pub(super) struct Ended {
    pub drilled: Drilled,
    pub rpo_seconds: Option<f64>,
    pub loss_now_seconds: Option<f64>,
    pub not_tested: Vec<String>,
    pub finished_at: Timestamp,
}

/// What is written down at the end of a full drill.
pub(super) struct Closing<'a> {
    pub memory: &'a Memory,
    pub records: &'a [Stored],
    pub redaction: &'a Redaction,
    pub keep_aside: SignedDuration,
    pub frame: &'a Frame,
}

impl Closing<'_> {
    /// Evidence first, then what is kept, then the journal goes: a kill in between leaves a drill that `recover` closes.
    pub(super) fn close(&self, journal: &Journal, ended: Ended, ctx: &Context) -> Result<Exit> {
        let Ended { drilled, rpo_seconds, loss_now_seconds, not_tested, finished_at } = ended;
        let measured = Measured {
            artifacts: drilled.artifacts,
            steps: drilled.steps,
            rto_seconds: drilled.rto_seconds,
            rpo_seconds,
            loss_now_seconds,
            coverage: vec![],
            not_tested,
            findings: drilled.findings,
            judgement: Judgement { result: drilled.result, reasons: drilled.reasons },
            finished_at,
        };
        let evidence = measured::evidence(self.frame, measured).redacted(self.redaction);
        let (folder, sign_with) = (&journal.evidence_dir, journal.sign_with.as_deref());
        let recorded = record::write(folder, sign_with, self.frame, self.records, evidence)?;
        remember(self.memory, &recorded, &[], ctx)?;
        let time = ctx.now.to_string();
        if drilled.opened && drilled.closed {
            let until = ctx.now.saturating_add(self.keep_aside).unwrap_or(ctx.now).to_string();
            for (folder, live) in tidy(journal)? {
                self.memory.record(&json!({
                    "kind": "aside", "time": time, "id": journal.id, "folder": show(&folder), "live": show(&live),
                    "until": until,
                }))?;
                ctx.ui.say(&format!("{} is kept until {until}: {}", show(&live), show(&folder)));
            }
            Journal::close(self.memory.root())?;
        }
        Ok(report(&recorded, false, ctx))
    }
}
