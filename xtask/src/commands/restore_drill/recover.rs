//! `restore-drill recover`: what a full drill that was killed has moved aside goes back, and the service starts. And how
//! every full drill is closed: evidence, what is kept aside, and last the journal.
//!
//! The journal is all that the way back needs: a `recovery.toml` that cannot be read is no obstacle.
use super::frame::bare;
use super::report::{Shown, What, remember, report};
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::commands::environment::{all, values};
use crate::destination::lock::{self, Lock};
use crate::destination::memory::Memory;
use crate::drill::chain::Stored;
use crate::drill::evidence::Verdict;
use crate::drill::full::asides;
use crate::drill::full::back::{Commands, Why, bring_back};
use crate::drill::full::journal::{Journal, NEXT, Phase};
use crate::drill::full::run::Drilled;
use crate::drill::full::swap::Swap;
use crate::drill::full::written::written;
use crate::drill::measured::{self, Frame, Measured};
use crate::drill::record;
use crate::drill::redact::Redaction;
use crate::drill::rooms::{Monotonic, Stopwatch as _};
use crate::drill::verdict::Judgement;
use crate::error::{Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::shown::show;
use jiff::{SignedDuration, Timestamp, Unit};
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
    let _lock = lock::repository(memory.root(), "restore-drill", ctx.now)?;
    let Some(mut journal) = Journal::load(memory.root())? else {
        return Ok(nothing(&memory, root, ctx));
    };
    let _folders = folders(&journal, ctx)?;
    // What was mended since counts; where nothing can be read, what the drill began with.
    if let Ok(service) = crate::commands::configuration(ctx).and_then(|config| super::full::service(&config))
    {
        journal.service = service;
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

/// Holds the live folders against drills of other clones and work trees.
///
/// # Errors
/// `Busy` when another drill holds one.
pub(super) fn folders(journal: &Journal, ctx: &Context) -> Result<Vec<Lock>> {
    let lock = |swap: &Swap| lock::destination(&swap.live, "restore-drill", ctx.now);
    journal.swaps.iter().map(lock).collect()
}

/// Folders of drills that no record names, where the configuration can be read, which says where to look.
fn strange(memory: &Memory, ctx: &Context) -> Vec<Finding> {
    let Ok(config) = crate::commands::configuration(ctx) else { return Vec::new() };
    let strange = asides::strange(&config, &memory.history().unwrap_or_default()).into_iter();
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

/// A full drill at its end.
pub(super) struct Ended {
    pub drilled: Drilled,
    pub rpo_seconds: Option<f64>,
    pub rpo_ahead_seconds: Option<f64>,
    pub loss_now_seconds: Option<f64>,
    pub not_tested: Vec<String>,
    pub finished_at: Timestamp,
}

/// What is written down at the end of a full drill.
pub(super) struct Closing<'a> {
    pub memory: &'a Memory,
    pub redaction: &'a Redaction,
    pub frame: &'a Frame,
}

impl Closing<'_> {
    /// Evidence first, then what is kept, then the journal goes: a kill in between leaves a drill that `recover` closes.
    /// Evidence that cannot be written keeps the journal, in which everything that was done stands.
    pub(super) fn close(
        &self,
        journal: &Journal,
        records: Result<(Vec<Stored>, Vec<Finding>)>,
        ended: Ended,
        ctx: &Context,
    ) -> Result<Exit> {
        let Ended { mut drilled, rpo_seconds, rpo_ahead_seconds, loss_now_seconds, not_tested, finished_at } =
            ended;
        let (opened, closed, shown) = (drilled.opened, drilled.closed, std::mem::take(&mut drilled.shown));
        let findings: Vec<Finding> =
            drilled.findings.iter().map(|finding| self.redaction.finding(finding)).collect();
        let record = || {
            let (records, found) = records?;
            let measured = Measured {
                artifacts: drilled.artifacts,
                steps: drilled.steps,
                rto_seconds: drilled.rto_seconds,
                rpo_seconds,
                rpo_ahead_seconds,
                loss_now_seconds,
                coverage: vec![],
                not_tested,
                findings: drilled.findings.into_iter().chain(found).collect(),
                judgement: Judgement { result: drilled.result, reasons: drilled.reasons },
                finished_at,
            };
            let evidence = measured::evidence(self.frame, measured).redacted(self.redaction);
            let (folder, sign_with) = (&journal.evidence_dir, journal.sign_with.as_deref());
            let history = self.memory.history()?;
            let recorded = record::write(folder, sign_with, self.frame, (&records, &history), evidence)?;
            let shown = shown.iter().map(|one| Shown {
                what: if one.whole { What::Verified } else { What::Damaged },
                index: one.index,
                archive: &one.archive,
            });
            remember(self.memory, &recorded, &shown.collect::<Vec<_>>(), ctx)?;
            Ok(recorded)
        };
        let recorded = record();
        if recorded.is_err() {
            // They stand nowhere else.
            ctx.ui.findings(&findings);
        }
        if opened && closed {
            let on = if journal.differs { "what was restored" } else { "its data" };
            ctx.ui.say(&format!("the service was started on {on}"));
        }
        let recorded = recorded.inspect_err(|_| {
            if opened && closed {
                ctx.ui.say(
                    "only the evidence is missing: mend that, and run `cargo xtask restore-drill recover`",
                );
            }
        })?;
        if opened && closed {
            self.put_away(journal, ctx)?;
        }
        Ok(report(&recorded, &[], false, ctx))
    }

    /// Removes what is needed no more, remembers what is kept, and closes the journal.
    fn put_away(&self, journal: &Journal, ctx: &Context) -> Result<()> {
        let keep = SignedDuration::from_secs(journal.keep_aside_seconds);
        let until = ctx.now.saturating_add(keep).unwrap_or(ctx.now).round(Unit::Second).unwrap_or(ctx.now);
        let until = (!journal.differs).then(|| until.to_string());
        for swap in &journal.swaps {
            for folder in swap.tidy()? {
                self.memory.record(&json!({
                    "kind": "aside", "time": ctx.now.to_string(), "id": journal.id, "folder": show(&folder),
                    "live": show(&swap.live), "until": until,
                }))?;
                let until = until.as_deref().unwrap_or("you remove it");
                ctx.ui.say(&format!("kept until {until}: {}, of {}", show(&folder), show(&swap.live)));
            }
        }
        Journal::close(self.memory.root())
    }
}
