//! `restore-drill history`: the drills on record. Reads, and writes nothing.
use crate::commands::Context;
use crate::config::Config;
use crate::drill::evidence::check_chain;
use crate::drill::record;
use crate::error::{Exit, Result};
use crate::finding;
use serde_json::json;

/// Lists the records, and checks that none was changed or taken away.
pub(super) fn run(config: &Config, ctx: &Context) -> Result<Exit> {
    let (records, mut findings) = record::load(&config.drill.evidence_dir)?;
    findings.extend(check_chain(&records));
    let exit = finding::exit(&findings);
    if ctx.ui.json {
        let drills: Vec<_> = records.iter().map(|record| &record.evidence).collect();
        let status = if exit == Exit::Done { "ok" } else { "findings" };
        ctx.ui.document(&json!({
            "schema_version": 1, "command": "restore-drill", "status": status, "kind": "history",
            "drills": drills, "findings": findings,
        }));
    } else {
        for record in &records {
            let evidence = &record.evidence;
            ctx.ui.result(&format!("{}  {}\n", evidence.id, evidence.result.word()));
        }
    }
    ctx.ui.findings(&findings);
    Ok(exit)
}
