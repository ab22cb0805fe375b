//! `restore-drill recover`: what a full drill that was killed has moved aside goes back, and the service starts. And how
//! every full drill is closed: evidence, what is kept aside, and last the journal.
//!
//! The journal is all that the way back needs: a `recovery.toml` that cannot be read is no obstacle.
use crate::commands::Context;
use crate::commands::environment::values;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::drill::evidence::{Evidence, SCHEMA_VERSION, Stored, ToolVersion, Verdict};
use crate::drill::full::back::{Commands, Why, bring_back, tidy};
use crate::drill::full::journal::{Journal, Phase};
use crate::drill::full::run::Drilled;
use crate::drill::record;
use crate::drill::redact::Redaction;
use crate::drill::rooms::{Monotonic, Stopwatch as _};
use crate::error::{Exit, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::SignedDuration;
use serde_json::json;
use std::path::Path;

/// Runs it for the repository at `root`.
///
/// # Errors
/// When another run is going on, or the journal cannot be read.
pub(super) fn run(root: &Path, ctx: &Context) -> Result<Exit> {
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
        rpo: (None, None),
        rto_target: None,
        not_tested: vec!["everything behind the step at which the drill was killed".into()],
        elapsed: watch,
    };
    let closing = Closing { memory: &memory, records: &records, redaction: &redaction, keep_aside: KEPT };
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
    /// Measured and wanted, in seconds.
    pub rpo: (Option<f64>, Option<f64>),
    pub rto_target: Option<f64>,
    pub not_tested: Vec<String>,
    pub elapsed: Monotonic,
}

/// What is written down at the end of a full drill.
pub(super) struct Closing<'a> {
    pub memory: &'a Memory,
    pub records: &'a [Stored],
    pub redaction: &'a Redaction,
    pub keep_aside: SignedDuration,
}

impl Closing<'_> {
    /// Evidence first, then what is kept, then the journal goes: a kill in between leaves a drill that `recover` closes.
    pub(super) fn close(&self, journal: &Journal, ended: Ended, ctx: &Context) -> Result<Exit> {
        let Ended { drilled, rpo, rto_target, not_tested, elapsed } = ended;
        let elapsed = SignedDuration::try_from(elapsed.elapsed()).unwrap_or_default();
        for reason in &drilled.reasons {
            ctx.ui.error(&format!("not verified: {reason}"), None);
        }
        let evidence = Evidence {
            schema_version: SCHEMA_VERSION,
            id: journal.id.clone(),
            kind: "full".into(),
            trigger: journal.trigger.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            tool: ToolVersion {
                name: env!("CARGO_PKG_NAME").into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            started_at: journal.started_at,
            finished_at: ctx.now.saturating_add(elapsed).unwrap_or(ctx.now),
            artifacts: drilled.artifacts,
            steps: drilled.steps,
            rto_seconds: drilled.rto_seconds,
            rto_target_seconds: rto_target,
            rpo_seconds: rpo.0,
            rpo_target_seconds: rpo.1,
            not_tested,
            findings: drilled.findings,
            result: drilled.result,
            previous_sha256: None,
        }
        .redacted(self.redaction);
        let recorded = record::write(&journal.evidence_dir, self.records, evidence)?;
        let time = ctx.now.to_string();
        self.memory.record(&json!({
            "kind": "drill", "time": time, "id": recorded.evidence.id, "result": recorded.evidence.result.word(),
            "artifact": show(&recorded.json), "sha256": recorded.sha256, "page_sha256": recorded.page_sha256,
        }))?;
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
        Ok(super::spot::report(&recorded, false, ctx))
    }
}
