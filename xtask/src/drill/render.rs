//! The evidence for people: a Markdown page a drill, and its row in `restore-checklist.md`.
//!
//! Pure. Says what was *not* tested as plainly as what was. Texts that come from commands and paths are
//! made harmless for a table cell: no line break, no bar, no markup.
use super::evidence::{Evidence, Outcome, Verdict};
use super::steps::Pick;
use crate::finding::Severity;
use std::fmt::Write as _;

/// The head of `restore-checklist.md`.
pub const CHECKLIST_HEAD: &str = "\
# Restore checklist

One row a drill, the newest last. Each record lies beside this file under the drill's name.

";

/// The two lines above the first row; a checklist that has them takes rows at its end.
pub const CHECKLIST_TABLE: &str = "\
| started (UTC) | drill | kind | result | RTO | RPO | restored | failed or left out |
|---|---|---|---|---|---|---|---|";

/// The row of `evidence`, without line break.
pub fn checklist_row(evidence: &Evidence) -> String {
    let restored: Vec<_> = evidence.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    let open: Vec<_> = evidence
        .steps
        .iter()
        .filter(|step| step.outcome != Outcome::Pass)
        .map(|step| format!("{}: {}", step.name, step.outcome))
        .collect();
    let cells = [
        evidence.started_at.to_string(),
        format!("[{0}]({0}.md)", evidence.id),
        evidence.kind.clone(),
        evidence.result.word().into(),
        duration(evidence.rto_seconds),
        duration(evidence.rpo_seconds),
        cell(&or_dash(restored.join(", "))),
        cell(&or_dash(open.join("; "))),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The page of `evidence`.
pub fn markdown(evidence: &Evidence) -> String {
    let mut page = String::new();
    head(&mut page, evidence);
    artifacts(&mut page, evidence);
    steps(&mut page, evidence);
    findings(&mut page, evidence);
    let coverage: Vec<String> = evidence.coverage.iter().map(ToString::to_string).collect();
    list(&mut page, "Covered so far", &coverage);
    list(&mut page, "Not tested", &evidence.not_tested);
    page
}

fn head(page: &mut String, evidence: &Evidence) {
    let verdict = match evidence.result {
        Verdict::Verified => "verified",
        Verdict::NotVerified => "**not verified**",
        Verdict::CouldNotRun => "**could not run**",
    };
    let target = |seconds: Option<f64>| match seconds {
        Some(_) => format!(" (target {})", duration(seconds)),
        None => " (no target)".into(),
    };
    let tool = format!("{} {}", evidence.tool.name, evidence.tool.version);
    let previous = evidence.previous_sha256.as_deref().map_or("none".into(), |digest| format!("`{digest}`"));
    let rto = duration(evidence.rto_seconds) + &target(evidence.rto_target_seconds);
    let rpo = duration(evidence.rpo_seconds) + &target(evidence.rpo_target_seconds);
    let rows = [
        ("result", format!("{verdict}{}", cell(&evidence.sampled()))),
        ("kind", cell(&evidence.kind)),
        ("trigger", cell(&evidence.trigger)),
        ("host", cell(&evidence.host)),
        ("tool", cell(&tool)),
        ("started", evidence.started_at.to_string()),
        ("finished", evidence.finished_at.to_string()),
        ("recovery time (RTO)", rto),
        ("age of the data (RPO)", rpo),
        ("record before this one", previous),
    ];
    let _ = write!(page, "# {}\n\n| | |\n|---|---|\n", cell(&evidence.id));
    for (name, value) in rows {
        let _ = writeln!(page, "| {name} | {value} |");
    }
}

fn artifacts(page: &mut String, evidence: &Evidence) {
    page.push_str("\n## Restored\n\n");
    if evidence.artifacts.is_empty() {
        page.push_str("Nothing.\n");
        return;
    }
    page.push_str("| role | set | artifact | made | bytes | SHA-256 |\n|---|---|---|---|---:|---|\n");
    for artifact in &evidence.artifacts {
        let older = if artifact.pick == Pick::Older { " (older)" } else { "" };
        let digest = if artifact.sha256.is_empty() { "not read" } else { &artifact.sha256 };
        let part = artifact.part.as_ref().map_or_else(String::new, |part| {
            let numbers: Vec<String> = part.numbers.iter().map(u32::to_string).collect();
            format!(" (only part {} of {})", numbers.join(", "), part.of)
        });
        let _ = writeln!(
            page,
            "| {}{older}{part} | {} | {} | {} | {} | {digest} |",
            artifact.role,
            cell(&artifact.set),
            cell(&artifact.path),
            artifact.created_at,
            artifact.bytes,
        );
    }
}

fn steps(page: &mut String, evidence: &Evidence) {
    page.push_str("\n## Steps\n\n| step | outcome | seconds | detail |\n|---|---|---:|---|\n");
    for step in &evidence.steps {
        let outcome = match step.outcome {
            Outcome::Pass => "pass".into(),
            other => format!("**{other}**"),
        };
        let (name, detail) = (cell(&step.name), cell(&step.detail));
        let _ = writeln!(page, "| {name} | {outcome} | {:.3} | {detail} |", step.seconds);
    }
}

fn findings(page: &mut String, evidence: &Evidence) {
    let lines: Vec<_> = evidence
        .findings
        .iter()
        .map(|finding| {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            let repair = if finding.repair.is_empty() { "" } else { "; " };
            format!("{severity}: {}: {}{repair}{}", finding.path, finding.what, finding.repair)
        })
        .collect();
    list(page, "Findings", &lines);
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    let _ = write!(page, "\n## {title}\n\n");
    if lines.is_empty() {
        page.push_str("None.\n");
    }
    for line in lines {
        let _ = writeln!(page, "- {}", cell(line));
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// Seconds for people: `1 d 2 h`, `3 min 4 s`, `0.5 s`; `-` when not measured.
pub fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".into() };
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", whole % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `text` as the inside of a Markdown table cell or list line.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '|' | '<' | '`' | '*' | '_' | '[' | ']' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::sample;
    use crate::finding::Finding;

    #[test]
    fn the_row_of_a_drill() {
        assert_eq!(
            checklist_row(&sample(1, None)),
            "| 2026-03-01T10:00:00Z | [drill-2026-03-01T100000Z-spot](drill-2026-03-01T100000Z-spot.md) \
             | spot | verified | 1 min 2 s | 1 d 0 h | db-1.tar.gz | - |"
        );
    }

    #[test]
    fn row_and_table_have_the_same_columns() {
        let bars = |line: &str| line.matches('|').count();
        for line in CHECKLIST_TABLE.lines() {
            assert_eq!(bars(line), bars(&checklist_row(&sample(1, None))), "{line}");
        }
    }

    #[test]
    fn what_did_not_pass_and_was_not_tested_is_said() {
        let mut evidence = sample(1, None);
        evidence.steps[0].outcome = Outcome::Blocked;
        evidence.findings.push(Finding::error("db", "is gone", "restore it"));
        evidence.result = Verdict::NotVerified;
        let page = markdown(&evidence);
        for part in [
            "| result | **not verified** |",
            "| preflight | **blocked** | 0.250 | all there |",
            "- error: db: is gone; restore it",
            "- the full drill",
            "| recovery time (RTO) | 1 min 2 s (target 1 h 0 min) |",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        assert!(checklist_row(&evidence).ends_with("| preflight: blocked |"));
    }

    #[test]
    fn output_of_a_command_cannot_break_the_table() {
        let mut evidence = sample(1, None);
        evidence.steps[0].detail = "a | b\n## c <script> \u{1b}[2J".into();
        let page = markdown(&evidence);
        assert!(page.contains("a \\| b ## c \\<script> \\u{1b}\\[2J |"), "{page}");
    }

    #[test]
    fn durations_for_people() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.0, "59.0 s"),
            (61.0, "1 min 1 s"),
            (7_260.0, "2 h 1 min"),
            (180_000.0, "2 d 2 h"),
        ] {
            assert_eq!(duration(Some(seconds)), text);
        }
        assert_eq!(duration(None), "-");
    }
}
