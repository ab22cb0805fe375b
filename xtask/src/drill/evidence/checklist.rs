//! The list of all drills, `restore-checklist.md`: a row a drill, in the form in which auditors ask for it: who or what ran
//! it and when, what came back, what was expected and what was measured, and what is open, with its owner and due date.
//!
//! Pure. A row depends on its record alone, so that it can be made again to see whether it is as it was written. Records
//! that do not say who ran them have the row of the version that wrote them.
use super::render::{ahead, cell, duration, or_dash, ran_by, severity};
use super::{Evidence, Outcome};
use crate::finding::Finding;

/// The head of `restore-checklist.md`.
pub const CHECKLIST_HEAD: &str = "\
# Restore checklist

One row a drill, the newest last. Each drill's page says what was done, and its record lies beside it.

- **verified**: everything that must come back came back, and every check passed.
- **not\\_verified**: something did not, or was not looked at.
- **could\\_not\\_run**: the drill could not be carried out; it counts as overdue.

RTO is the time to recover, RPO the age of the restored data; what was expected stands in parentheses.

";

/// The two lines above the first row; a checklist that has them takes rows at its end.
pub const CHECKLIST_TABLE: &str = "\
| started (UTC) | ended (UTC) | drill | kind | ran by | artifacts | RTO | RPO | result | failed or left out | open findings (owner, due) |
|---|---|---|---|---|---|---|---|---|---|---|";

/// Open findings beyond this many are counted.
const LISTED: usize = 3;

/// The row of `evidence`, without line break.
pub fn checklist_row(evidence: &Evidence) -> String {
    let beside = |actual, target: Option<f64>| match target {
        Some(_) => format!("{} (at most {})", duration(actual), duration(target)),
        None => format!("{} (no target)", duration(actual)),
    };
    let rpo = match ahead(evidence) {
        clock if clock.is_empty() => beside(evidence.rpo_seconds, evidence.rpo_target_seconds),
        clock => format!("not measured{clock}"),
    };
    let lost = !evidence.lost.is_empty();
    let cells = [
        evidence.started_at.to_string(),
        evidence.finished_at.to_string(),
        format!("[{0}]({0}.md)", evidence.id),
        cell(&evidence.kind),
        format!("{}, on {}", ran_by(evidence), cell(&evidence.host)),
        artifacts(evidence),
        beside(evidence.rto_seconds, evidence.rto_target_seconds),
        rpo,
        if lost { "records lost, which was accepted".into() } else { evidence.result.word().into() },
        if lost { cell(&evidence.reasons.join("; ")) } else { left_out(evidence) },
        open(&evidence.findings),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The row as earlier versions wrote it.
fn former_row(evidence: &Evidence) -> String {
    let cells = [
        evidence.started_at.to_string(),
        format!("[{0}]({0}.md)", evidence.id),
        evidence.kind.clone(),
        evidence.result.word().into(),
        duration(evidence.rto_seconds),
        duration(evidence.rpo_seconds),
        artifacts(evidence),
        cell(&or_dash(steps(evidence, |_| true).join("; "))),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The row that a drill has written.
pub fn written_row(evidence: &Evidence) -> String {
    if evidence.operator.is_some() { checklist_row(evidence) } else { former_row(evidence) }
}

/// The ids of the drills that rows of our tables link to.
pub fn listed_ids(list: &str) -> Vec<&str> {
    list.lines().filter(|line| line.starts_with("| ")).filter_map(linked).collect()
}

/// Whether a line may be a row that links to this drill. What is in the cells of our rows is no link.
pub(super) fn links(line: &str, id: &str) -> bool {
    line.contains('|') && [format!("[{id}]("), format!("]({id}.md")].iter().any(|link| line.contains(link))
}

/// The id of the drill that a row links to.
fn linked(row: &str) -> Option<&str> {
    // A full disk or a loss of power may leave the beginning of one.
    let whole = row.strip_suffix(" |")?;
    let (id, _) = whole.split_once("| [")?.1.split_once("](")?;
    id.starts_with("drill-").then_some(id)
}

fn artifacts(evidence: &Evidence) -> String {
    let names = evidence.artifacts.iter().map(|artifact| artifact.path.as_str());
    let names: Vec<_> = names.chain(evidence.lost.iter().map(|lost| lost.id.as_str())).collect();
    cell(&or_dash(names.join(", ")))
}

/// What was blocked is counted: what blocked it stands beside that.
fn left_out(evidence: &Evidence) -> String {
    let mut listed = steps(evidence, |outcome| outcome != Outcome::Blocked);
    match evidence.steps.iter().filter(|step| step.outcome == Outcome::Blocked).count() {
        0 => {}
        count => listed.push(format!("{count} blocked")),
    }
    cell(&or_dash(listed.join("; ")))
}

/// Steps that did not pass.
fn steps(evidence: &Evidence, listed: impl Fn(Outcome) -> bool) -> Vec<String> {
    let steps = evidence.steps.iter().filter(|step| step.outcome != Outcome::Pass && listed(step.outcome));
    steps.map(|step| format!("{}: {}", step.name, step.outcome)).collect()
}

fn open(findings: &[Finding]) -> String {
    let open: Vec<&Finding> = findings.iter().filter(|finding| finding.calls_for_action()).collect();
    let mut lines: Vec<String> = open.iter().take(LISTED).map(|finding| line(finding)).collect();
    if open.len() > LISTED {
        lines.push(format!("and {} more", open.len() - LISTED));
    }
    cell(&or_dash(lines.join("; ")))
}

fn line(finding: &Finding) -> String {
    let owner = finding.owner.as_deref().unwrap_or("no owner");
    let due = finding.due.as_deref().map_or_else(|| "no due date".into(), |due| format!("due {due}"));
    format!("{}: {} {} ({owner}, {due})", severity(finding.severity), finding.path, finding.what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::sample;

    #[test]
    fn the_row_of_a_drill() {
        assert_eq!(
            checklist_row(&sample(1, None)),
            "| 2026-03-01T10:00:00Z | 2026-03-01T10:00:00Z \
             | [drill-2026-03-01T100000Z-spot](drill-2026-03-01T100000Z-spot.md) | spot | alice, by cron, on box \
             | db-1.tar.gz | 1 min 2 s (at most 1 h 0 min) | 1 d 0 h (no target) | verified | - | - |"
        );
    }

    #[test]
    fn a_record_that_does_not_say_who_ran_it_has_the_row_that_was_written_then() {
        let old = Evidence { operator: None, ..sample(1, None) };
        assert_eq!(
            written_row(&old),
            "| 2026-03-01T10:00:00Z | [drill-2026-03-01T100000Z-spot](drill-2026-03-01T100000Z-spot.md) \
             | spot | verified | 1 min 2 s | 1 d 0 h | db-1.tar.gz | - |"
        );
        assert_eq!(written_row(&sample(1, None)), checklist_row(&sample(1, None)));
    }

    #[test]
    fn row_and_table_have_the_same_columns() {
        let mut evidence = sample(1, None);
        evidence.findings.push(Finding::error("a|b", "c", "d"));
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        for line in CHECKLIST_TABLE.lines() {
            assert_eq!(bars(line), bars(&checklist_row(&evidence)), "{line}");
        }
    }

    #[test]
    fn what_is_open_has_an_owner_and_a_date() {
        let mut evidence = sample(1, None);
        evidence.steps[0].outcome = Outcome::Fail;
        evidence.findings.push(Finding::info("a", "grew"));
        assert!(checklist_row(&evidence).ends_with("| preflight: fail | - |"), "worth knowing is not open");
        for name in ["a", "b", "c", "d", "e"] {
            let mut finding = Finding::warning(name, "is late", "");
            if name == "a" {
                (finding.owner, finding.due) = (Some("bob".into()), Some("2026-04-01".into()));
            }
            evidence.findings.push(finding);
        }
        let row = checklist_row(&evidence);
        assert!(row.contains(
            "| warning: a is late (bob, due 2026-04-01); warning: b is late (no owner, no due date)"
        ));
        assert!(row.ends_with("; and 2 more |"), "{row}");
    }

    #[test]
    fn the_drills_of_a_list_are_found_in_rows_of_both_forms() {
        let old = Evidence { operator: None, ..sample(2, None) };
        let list = format!(
            "# Mine\n\n- [drill-x](drill-x.md)\n| other | [a](b) |\n{}\n{}\n| no | [drill- |\n",
            checklist_row(&sample(1, None)),
            written_row(&old)
        );
        assert_eq!(listed_ids(&list), ["drill-2026-03-01T100000Z-spot", "drill-2026-03-02T100000Z-spot"]);
    }

    #[test]
    fn as_many_findings_as_are_listed_leave_none_to_count() {
        let mut evidence = sample(1, None);
        evidence.findings = ["a", "b", "c"].map(|name| Finding::warning(name, "is late", "")).to_vec();
        assert!(checklist_row(&evidence).ends_with("; warning: c is late (no owner, no due date) |"));
    }

    #[test]
    fn data_that_is_dated_ahead_has_no_age() {
        let ahead = Evidence { rpo_seconds: None, rpo_ahead_seconds: Some(5.0), ..sample(1, None) };
        let row = checklist_row(&ahead);
        assert!(row.contains("| not measured: dated 5.0 s after the drill's start |"), "{row}");
    }

    #[test]
    fn a_line_links_to_a_drill_by_its_whole_id() {
        for line in ["| [drill-1](elsewhere.md) |", "- | [it](drill-1.md)"] {
            assert!(links(line, "drill-1"), "{line}");
        }
        for line in ["| drill-1 |", "| [drill-12](drill-12.md) |", "- [drill-1](drill-1.md)"] {
            assert!(!links(line, "drill-1"), "{line}");
        }
    }
}
