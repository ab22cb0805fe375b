//! `verify --evidence`: whether the drills on record are as they were written. Reads, and writes nothing.
//!
//! The chain shows what was changed or taken away in front of a record that is there; the history, what this clone has
//! written and is gone or changed; rows and pages, what they speak of and is gone; a signature, who vouches for a record.
use super::Context;
use crate::config::Config;
use crate::drill::evidence::Stored;
use crate::drill::{record, signed};
use crate::error::{Exit, Result};
use crate::finding::{self, Finding};
use crate::shown::show;
use crate::tools::{self, Tool};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;

/// Checks all of it.
///
/// # Errors
/// When the evidence or the history cannot be read, or gpg is missing and a record is signed.
pub(super) fn verify(config: &Config, ctx: &Context) -> Result<Exit> {
    let folder = &config.drill.evidence_dir;
    let memory = super::memory(config);
    let history = memory.as_ref().map(|memory| memory.history()).transpose()?.unwrap_or_default();
    let mut findings = memory.map(|memory| memory.damage()).transpose()?.unwrap_or_default();
    // A record of a newer version ends it: what it says is unknown here.
    let (records, _) = record::load(folder)?;
    if records.iter().any(|record| record.evidence.signature.is_some()) {
        tools::preflight(&[Tool::Gpg])?;
    }
    findings.extend(record::check(folder, &history)?);
    findings.extend(signed::check(folder, &records)?);
    findings.extend(of_others(&records, &history));
    if records.is_empty() && findings.is_empty() {
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
    let what =
        "is not in the history of this clone: another clone has written it, or an older history was lost";
    strange.map(|record| Finding::info(&record.file, what)).collect()
}
