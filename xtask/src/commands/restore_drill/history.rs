//! `restore-drill history`: the drills on record, and how recovery has fared over them. Reads, and writes nothing.
use crate::commands::Context;
use crate::config::Config;
use crate::drill::evidence::chain::{check_chain, losses};
use crate::drill::evidence::record;
use crate::drill::evidence::render::duration;
use crate::drill::evidence::trend::{rows, trends};
use crate::drill::evidence::{Evidence, Verdict};
use crate::error::{Exit, Result};
use crate::finding;
use crate::ui::table;
use serde_json::json;

/// Lists the records with a trend for each kind, and checks that none was changed or taken away.
pub(super) fn run(config: &Config, ctx: &Context) -> Result<Exit> {
    let (records, mut findings) = record::load(&config.drill.evidence_dir)?;
    findings.extend(check_chain(&records));
    findings.extend(losses(&records));
    let exit = finding::exit(&findings);
    let drills: Vec<&Evidence> = records.iter().map(|record| &record.evidence).collect();
    let trends = trends(&drills);
    let status = if exit == Exit::Done { "ok" } else { "findings" };
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": status, "kind": "history",
        "drills": drills, "trend": trends, "findings": findings,
    }));
    if drills.is_empty() {
        ctx.ui.result("no drill is on record");
    } else {
        let head = ["drill", "result", "RTO", "RPO", "open", "ran by"].map(str::to_owned).to_vec();
        let listed: Vec<_> = std::iter::once(head).chain(drills.iter().map(|drill| row(drill))).collect();
        table(&listed).iter().for_each(|line| ctx.ui.result(line));
        let trends: Vec<_> = trends.iter().flat_map(rows).collect();
        table(&trends).iter().for_each(|line| ctx.ui.result(line));
    }
    ctx.ui.findings(&findings);
    Ok(exit)
}

fn row(drill: &Evidence) -> Vec<String> {
    let ran = drill.result != Verdict::CouldNotRun;
    let open = drill.findings.iter().filter(|finding| finding.calls_for_action()).count();
    vec![
        drill.id.clone(),
        drill.result.word().to_owned(),
        duration(drill.rto_seconds.filter(|_| ran)),
        duration(drill.rpo_seconds.filter(|_| ran)),
        open.to_string(),
        drill.ran_by().unwrap_or_else(|| "-".to_owned()),
    ]
}
