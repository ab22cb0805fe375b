//! `verify --evidence`: whether the drills on record are as they were written. Reads, and writes nothing, but for the record
//! by which `--accept-lost` says that others are lost.
//!
//! The chain shows what was changed or taken away in front of a record that is there; the history, what this clone has
//! written and is gone or changed; rows and pages, what they speak of and is gone; a signature, who vouches for a record.
use crate::cli::{RestoreDrillArgs, VerifyArgs as Args};
use crate::commands::Context;
use crate::commands::restore_drill::frame::bare;
use crate::commands::restore_drill::report::remember;
use crate::config::Config;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::drill::evidence::chain::{LOST, Stored};
use crate::drill::evidence::{Lost, Outcome, StepRecord, Verdict, lost, record, signed};
use crate::drill::measured::{self, Measured};
use crate::drill::verdict::Judgement;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::shown::show;
use crate::tools::{self, Tool};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;

/// Accepts what is lost, where that is asked for, and checks all of it.
///
/// # Errors
/// When the evidence or the history cannot be read, or gpg is missing and a record is signed; when a loss cannot be accepted.
pub(super) fn run(config: &Config, args: &Args, ctx: &Context) -> Result<Exit> {
    if let Some(reason) = &args.accept_lost {
        accept(config, reason, args.owner.as_deref(), ctx)?;
    }
    verify(config, ctx)
}

/// Writes a record that says what is lost, who has accepted that, and why. It is none of a drill.
fn accept(config: &Config, reason: &str, owner: Option<&str>, ctx: &Context) -> Result<()> {
    let memory = Memory::at(&config.root);
    memory.open()?;
    let _lock = lock::repository(memory.root(), "verify", ctx.now)?;
    let folder = &config.drill.evidence_dir;
    let remembered = memory.read()?;
    if let Some(damage) = remembered.damage {
        return Err(Error::refused(damage.line(), damage.repair));
    }
    let (records, damaged) = record::load(folder)?;
    if let Some(damage) = damaged.into_iter().next() {
        return Err(Error::refused(damage.line(), damage.repair));
    }
    let history = remembered.records;
    let lost = lost::missing(folder, &history, &records)?;
    let frame = bare(LOST, &RestoreDrillArgs::default(), ctx);
    let answers = owner.map(|owner| format!("{owner} answers for it"));
    let measured = Measured {
        artifacts: vec![],
        steps: vec![step(&lost)],
        rto_seconds: None,
        rpo_seconds: None,
        rpo_ahead_seconds: None,
        loss_now_seconds: None,
        coverage: vec![],
        not_tested: vec![],
        findings: vec![],
        judgement: Judgement {
            result: Verdict::CouldNotRun,
            reasons: std::iter::once(reason.to_owned()).chain(answers).collect(),
        },
        finished_at: ctx.now,
    };
    let mut evidence = measured::evidence(&frame, measured);
    evidence.lost = lost;
    let (sign_with, known) = (config.drill.sign_with.as_deref(), (&records[..], &history[..]));
    let recorded = record::write(folder, sign_with, &frame, known, evidence)?;
    remember(&memory, &recorded, &[], ctx)?;
    ctx.ui.say(&format!("the loss is on record: {}", show(&recorded.json)));
    ctx.ui.findings(&recorded.evidence.findings);
    Ok(())
}

/// What was looked at before a loss is accepted.
fn step(lost: &[Lost]) -> StepRecord {
    let ids: Vec<&str> = lost.iter().map(|lost| &*lost.id).collect();
    StepRecord {
        name: "accept the loss of records".into(),
        expected: "records are missing, it is known which, and nothing else is wrong".into(),
        outcome: Outcome::Pass,
        seconds: 0.0,
        bytes: None,
        detail: ids.join(", "),
    }
}

/// Records that the history has no word of: then less is noticed. A clone that has run nothing has none.
fn unremembered(memory: &Memory, records: &[Stored], history: &[Value]) -> Option<Finding> {
    if records.is_empty() || history.iter().any(|line| line["kind"] == "drill") {
        return None;
    }
    let path = show(&memory.root().join("history.jsonl"));
    let what = "knows of none of these drills: a newest record that was changed, or is gone with its page and row, and a \
                page that was changed, would not be noticed";
    Some(match memory.root().exists() {
        true => {
            Finding::warning(path, what, "bring it back from a copy, or verify in the clone that has drilled")
        }
        false => Finding::info(path, what),
    })
}

fn verify(config: &Config, ctx: &Context) -> Result<Exit> {
    let folder = &config.drill.evidence_dir;
    let memory = crate::commands::memory(config);
    let remembered = memory.as_ref().map(Memory::read).transpose()?.unwrap_or_default();
    let (history, mut findings) = (remembered.records, Vec::from_iter(remembered.damage));
    // A record of a newer version ends it: what it says is unknown here.
    let (records, _) = record::load(folder)?;
    if records.iter().any(|record| record.evidence.signature.is_some()) {
        tools::preflight(&[Tool::Gpg])?;
    }
    findings.extend(record::check(folder, &history)?);
    findings.extend(signed::check(folder, &records)?);
    findings.extend(of_others(&records, &history));
    findings.extend(memory.as_ref().and_then(|memory| unremembered(memory, &records, &history)));
    if records.is_empty() && !finding::any_error(&findings) {
        let next = "`cargo xtask restore-drill` makes the first";
        findings.push(Finding::error(
            show(folder),
            "holds no record of a drill: there is nothing to verify",
            next,
        ));
    }
    let mut listed = Vec::new();
    for record in &records {
        let (evidence, sound) = (&record.evidence, !findings.iter().any(|finding| is_about(finding, record)));
        let signed_by = evidence.signature.as_ref().map(|signature| &signature.key);
        let signature = signed_by.map_or_else(String::new, |key| format!(", signed by {key}"));
        let word = if sound { "ok     " } else { "DAMAGED" };
        ctx.ui.result(&format!("{word} {} ({}{signature})", evidence.id, evidence.result.word()));
        listed.push(json!({"id": evidence.id, "kind": evidence.kind, "result": evidence.result.word(),
            "sha256": record.sha256, "sound": sound, "signed_by": signed_by}));
    }
    let status = if finding::any_error(&findings) { "findings" } else { "ok" };
    ctx.ui.document(&json!({"schema_version": 1, "command": "verify", "status": status,
        "checked": listed.len(), "records": listed, "findings": findings}));
    ctx.ui.findings(&findings);
    ctx.told.of(&format!("{} records of drills checked", records.len()), &findings);
    Ok(finding::exit(&findings))
}

/// Whether an error names this record, its page, its signature or its row.
fn is_about(finding: &Finding, record: &Stored) -> bool {
    let id = &record.evidence.id;
    let file = Path::new(&finding.path).file_name().unwrap_or_default().to_string_lossy();
    let own = ["json", "md", "json.asc"].iter().any(|end| file == format!("{id}.{end}"));
    finding::any_error(std::slice::from_ref(finding))
        && (own || finding.what.split(' ').any(|word| word == id))
}

/// Records that this clone's history does not know, while it knows others: another clone has written them, or nobody has.
fn of_others(records: &[Stored], history: &[Value]) -> Vec<Finding> {
    let drills = history.iter().filter(|line| line["kind"] == "drill");
    let known: HashSet<&str> = drills.filter_map(|line| line["id"].as_str()).collect();
    let strange = records.iter().filter(|record| !known.is_empty() && !known.contains(&*record.evidence.id));
    let what = "is not in the history of this clone: another clone has written it, its drill was killed at its end, or an older \
         history was lost";
    strange.map(|record| Finding::info(&record.file, what)).collect()
}
