//! What a drill of any kind leaves behind its record: lines of history, what is printed, the exit code.
use crate::commands::Context;
use crate::destination::memory::Memory;
use crate::drill::evidence::record::Recorded;
use crate::drill::evidence::{Evidence, StepRecord, Verdict};
use crate::error::{Exit, Result};
use crate::finding::{self, Finding};
use crate::shown::show;
use serde_json::{Value, json};
use std::path::Path;

/// What a drill has shown of an artifact.
pub(in crate::commands) enum What {
    /// All of it came back.
    Verified,
    /// What was restored of it came back; with earlier drills these are so many parts of all.
    Sampled { parts: u32, of: u32 },
    /// Its bytes are not those on record.
    Damaged,
}

/// An artifact of the record, by its index, where its archive lies, and what the drill has shown of it.
pub(in crate::commands) struct Shown<'a> {
    pub what: What,
    pub index: usize,
    pub archive: &'a Path,
    /// How many errors it was made with, as far as its manifest was read.
    pub errors: u64,
}

/// One line of history for the drill, and one for each artifact that it has shown something of.
///
/// # Errors
/// When the history cannot be written.
pub(in crate::commands) fn remember(
    memory: &Memory,
    recorded: &Recorded,
    shown: &[Shown],
    ctx: &Context,
) -> Result<()> {
    let (time, evidence) = (ctx.now.to_string(), &recorded.evidence);
    memory.record(&json!({
        "kind": "drill", "time": time, "id": evidence.id, "result": evidence.result.word(), "artifact": show(&recorded.json),
        "sha256": recorded.sha256, "page_sha256": recorded.page_sha256,
    }))?;
    for Shown { what, index, archive, errors } in shown {
        let artifact = &evidence.artifacts[*index];
        let mut record = json!({
            "kind": "verified", "time": time, "set": artifact.set, "sha256": artifact.sha256,
            "artifact": show(archive), "by": evidence.id,
        });
        if *errors > 0 {
            record["errors"] = (*errors).into();
        }
        match what {
            What::Verified => {}
            What::Damaged => record["kind"] = "damaged".into(),
            What::Sampled { parts, of } => {
                record["kind"] = "sampled".into();
                (record["parts"], record["of"]) = ((*parts).into(), (*of).into());
            }
        }
        memory.record(&record)?;
    }
    Ok(())
}

/// Prints the outcome. `besides`: what was told before, and stands in no record; `try_later`: what was in the way goes away
/// by itself. The exit code is that of the drill alone.
pub(super) fn report(recorded: &Recorded, besides: &[Finding], try_later: bool, ctx: &Context) -> Exit {
    let evidence = &recorded.evidence;
    let findings = [&evidence.findings, besides].concat();
    let exit = match evidence.result {
        // What is left to find then is that the record could not be signed.
        Verdict::Verified => finding::exit(&evidence.findings),
        Verdict::NotVerified => Exit::Found,
        Verdict::CouldNotRun if try_later => Exit::TryLater,
        Verdict::CouldNotRun => Exit::CouldNotRun,
    };
    for reason in &evidence.reasons {
        ctx.ui.error(&format!("{}: {reason}", evidence.result.word().replace('_', " ")), None);
    }
    ctx.ui.document(&document(recorded, &findings));
    if !ctx.ui.json {
        let path = show(&recorded.json);
        let coverage: String = evidence.coverage.iter().map(|one| format!("covered: {one}\n")).collect();
        let result = format!("result: {}{}", evidence.result.word(), evidence.sampled());
        // Whoever wants no talk wants to know what came of it.
        let told = match ctx.ui.quiet {
            true => result,
            false => format!("{}{result}\n{coverage}", steps(evidence)),
        };
        ctx.ui.result(&format!("{}\nevidence: {path}\n", told.trim_end()));
        evidence.steps.iter().for_each(|step| ctx.ui.detail(&format!("{}: {}", step.name, step.detail)));
    }
    ctx.ui.say(&format!("to read: {}", show(&recorded.json.with_extension("md"))));
    ctx.ui.findings(&evidence.findings);
    let what = format!("{} drill {}: {}", evidence.kind, evidence.id, evidence.result.word());
    ctx.told.of(&what, &findings);
    exit
}

/// A line for each step.
fn steps(evidence: &Evidence) -> String {
    let line = |step: &StepRecord| format!("{:<8} {:>9.3} s  {}\n", step.outcome, step.seconds, step.name);
    evidence.steps.iter().map(line).collect()
}

/// A step as the record has it, and its speed.
fn step(step: &StepRecord) -> Value {
    let mut value = json!(step);
    value["mb_per_second"] = json!(step.mb_per_second());
    value
}

fn document(recorded: &Recorded, findings: &[Finding]) -> Value {
    let evidence = &recorded.evidence;
    let status = match evidence.result {
        Verdict::Verified if finding::any_error(findings) => "findings",
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
        "operator": evidence.operator,
        "recovered_by": evidence.recovered_by,
        "started_at": evidence.started_at.to_string(),
        "finished_at": evidence.finished_at.to_string(),
        "result": evidence.result.word(),
        "reasons": evidence.reasons,
        "evidence": show(&recorded.json),
        "signature": evidence.signature,
        "rto_seconds": evidence.rto_seconds,
        "rto_target_seconds": evidence.rto_target_seconds,
        "rpo_seconds": evidence.rpo_seconds,
        "rpo_target_seconds": evidence.rpo_target_seconds,
        "rpo_ahead_seconds": evidence.rpo_ahead_seconds,
        "loss_now_seconds": evidence.loss_now_seconds,
        "steps": evidence.steps.iter().map(step).collect::<Vec<_>>(),
        "artifacts": evidence.artifacts,
        "coverage": evidence.coverage,
        "not_tested": evidence.not_tested,
        "findings": findings,
    })
}
