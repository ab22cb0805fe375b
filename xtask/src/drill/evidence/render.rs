//! The evidence for people: a Markdown page a drill, which reads well to somebody who has never seen this tool.
//!
//! Pure. It opens with what happened and what that means, and says what was *not* tested as plainly as what was. Texts
//! that come from commands and paths are made harmless for a table cell: no line break, no bar, no markup.
use super::{Evidence, Outcome, Verdict};
use crate::drill::steps::Pick;
use crate::finding::{Finding, Severity};
use std::fmt::Write as _;

/// The page of `evidence`.
pub fn markdown(evidence: &Evidence) -> String {
    let mut page = String::new();
    opening(&mut page, evidence);
    measured(&mut page, evidence);
    artifacts(&mut page, evidence);
    steps(&mut page, evidence);
    findings(&mut page, &evidence.findings);
    let coverage: Vec<String> = evidence.coverage.iter().map(ToString::to_string).collect();
    if !coverage.is_empty() {
        list(&mut page, "Covered so far", &coverage);
    }
    list(&mut page, "Not tested", &evidence.not_tested);
    record(&mut page, evidence);
    page
}

/// What it has shown, what that means, and why it is no better.
fn opening(page: &mut String, evidence: &Evidence) {
    let (verdict, meaning) = match evidence.result {
        _ if !evidence.lost.is_empty() => (
            "**records are lost**",
            "**Records of drills are lost, and that was accepted.** This is no drill: it says which records are missing \
             in the chain, who has accepted that, and why.",
        ),
        Verdict::Verified => (
            "verified",
            "**Recovery is proven.** What this drill restored came back as it was stored, and every check passed.",
        ),
        Verdict::NotVerified => (
            "**not verified**",
            "**Recovery is not proven.** Something did not come back as it was stored, or was not looked at. Do not \
             count on recovery until what stands under [Findings](#findings) is mended and a drill is verified.",
        ),
        Verdict::CouldNotRun => (
            "**could not run**",
            "**The drill could not be carried out.** It shows neither that recovery works nor that it does not, and \
             counts as overdue until one has run.",
        ),
    };
    let meaning = format!("{meaning} {}", purpose(&evidence.kind));
    let _ = write!(page, "# {}\n\n{}\n", cell(&evidence.id), meaning.trim_end());
    if !evidence.lost.is_empty() {
        page.push_str("\nLost:\n\n");
    }
    for lost in &evidence.lost {
        let digest = lost.sha256.as_ref().map_or("unknown".into(), |digest| format!("`{digest}`"));
        let _ = writeln!(page, "- {}, SHA-256 {digest}", cell(&lost.id));
    }
    if !evidence.reasons.is_empty() {
        page.push_str("\nWhy:\n\n");
        evidence.reasons.iter().for_each(|reason| {
            let _ = writeln!(page, "- {}", cell(reason));
        });
    }
    let rows = [
        ("result", format!("{verdict}{}", cell(&evidence.sampled()))),
        ("ran by", ran_by(evidence)),
        ("host", cell(&evidence.host)),
        ("started", evidence.started_at.to_string()),
        ("finished", evidence.finished_at.to_string()),
    ];
    page.push_str("\n| | |\n|---|---|\n");
    rows.iter().for_each(|(name, value)| {
        let _ = writeln!(page, "| {name} | {value} |");
    });
}

/// What a drill of this kind does.
fn purpose(kind: &str) -> &'static str {
    match kind {
        "spot" => {
            "A spot drill restores stored artifacts into an empty folder beside the live system, compares every entry \
             with what was recorded when it was stored, and changes a byte of a copy to see that damage would be \
             noticed. Nothing live is touched."
        }
        "full" => {
            "A full drill stops the service, moves its live data aside, restores what is stored in its place, starts \
             the service on it and checks it. Whatever fails, the live data goes back; and where nothing fails, it goes \
             back too, unless the restored data is the same, or was to stay."
        }
        _ => "",
    }
}

/// Who or what ran it, for a table.
pub(super) fn ran_by(evidence: &Evidence) -> String {
    cell(&evidence.ran_by().unwrap_or_else(|| "not recorded".into()))
}

/// What was measured, beside what was expected.
fn measured(page: &mut String, evidence: &Evidence) {
    page.push_str("\n## Measured\n\n| | expected | actual | |\n|---|---|---|---|\n");
    for (name, target, actual) in [
        ("time to recover (RTO)", evidence.rto_target_seconds, evidence.rto_seconds),
        (
            "age of the restored data when the drill began (RPO)",
            evidence.rpo_target_seconds,
            evidence.rpo_seconds,
        ),
        (
            "a failure right after it would have lost the changes of the last",
            evidence.rpo_target_seconds,
            evidence.loss_now_seconds,
        ),
    ] {
        let judged = match (target, actual) {
            (_, None) if name.ends_with("(RPO)") => format!("not measured{}", ahead(evidence)),
            (_, None) => "not measured".into(),
            (None, Some(_)) => "no target".into(),
            (Some(target), Some(actual)) if actual <= target => "met".into(),
            (Some(_), Some(_)) => "**missed**".into(),
        };
        let expected = target.map_or_else(|| "-".to_owned(), |_| format!("at most {}", duration(target)));
        let _ = writeln!(page, "| {name} | {expected} | {} | {judged} |", duration(actual));
    }
}

/// Why the age of the data was not measured, where a clock is why.
pub(super) fn ahead(evidence: &Evidence) -> String {
    let Some(seconds) = evidence.rpo_ahead_seconds else { return String::new() };
    format!(": dated {} after the drill's start", duration(Some(seconds)))
}

fn artifacts(page: &mut String, evidence: &Evidence) {
    page.push_str("\n## Artifacts\n\n");
    if evidence.artifacts.is_empty() {
        page.push_str("There was none to restore.\n");
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
        let copy = artifact.copy.as_deref().map_or_else(String::new, |copy| format!(", at {}", cell(copy)));
        let _ = writeln!(
            page,
            "| {}{older}{part} | {} | {}{copy} | {} | {} | {digest} |",
            artifact.role,
            cell(&artifact.set),
            cell(&artifact.path),
            artifact.created_at,
            artifact.bytes,
        );
    }
}

fn steps(page: &mut String, evidence: &Evidence) {
    page.push_str(
        "\n## Steps\n\n| step | expected | seen | outcome | seconds | MB/s |\n|---|---|---|---|---:|---:|\n",
    );
    for step in &evidence.steps {
        let outcome = match step.outcome {
            Outcome::Pass => "pass".into(),
            other => format!("**{other}**"),
        };
        let (name, expected, seen) = (cell(&step.name), or_dash(cell(&step.expected)), cell(&step.detail));
        let speed = step.mb_per_second().map_or_else(|| "-".to_owned(), |speed| format!("{speed:.1}"));
        let _ =
            writeln!(page, "| {name} | {expected} | {seen} | {outcome} | {:.3} | {speed} |", step.seconds);
    }
}

fn findings(page: &mut String, findings: &[Finding]) {
    page.push_str("\n## Findings\n\n");
    if findings.is_empty() {
        page.push_str("None.\n");
        return;
    }
    page.push_str("| severity | where | what | what to do | owner | due |\n|---|---|---|---|---|---|\n");
    for finding in findings {
        let cells = [&finding.path, &finding.what, &finding.repair].map(|text| or_dash(cell(text)));
        let [owner, due] = [&finding.owner, &finding.due].map(|said| cell(said.as_deref().unwrap_or("-")));
        let severity = severity(finding.severity);
        let _ = writeln!(page, "| {severity} | {} | {owner} | {due} |", cells.join(" | "));
    }
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
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

/// Where the evidence is that this page is made from, and what it hangs on.
fn record(page: &mut String, evidence: &Evidence) {
    let tool = format!("{} {}", evidence.tool.name, evidence.tool.version);
    let before: Vec<String> = evidence.follows().map(|digest| format!("`{digest}`")).collect();
    let which = if before.len() > 1 { "records" } else { "record" };
    let which = format!("SHA-256 of the {which} before it");
    let signature = match &evidence.signature {
        Some(signature) => {
            format!("[{0}]({0}), by the key `{1}`", cell(&signature.file), cell(&signature.key))
        }
        None => "none".into(),
    };
    let rows = [
        ("kind", cell(&evidence.kind)),
        ("trigger", cell(&evidence.trigger)),
        ("made by", cell(&tool)),
        ("record", format!("[{0}.json]({0}.json)", evidence.id)),
        ("signature of the record", signature),
        (&*which, if before.is_empty() { "none".into() } else { before.join(", ") }),
    ];
    page.push_str(
        "\n## Record\n\nThis page is made from the record. `cargo xtask verify --evidence` checks that neither was \
         changed, and that none is missing in between.\n\n| | |\n|---|---|\n",
    );
    rows.iter().for_each(|(name, value)| {
        let _ = writeln!(page, "| {name} | {value} |");
    });
}

pub(super) fn or_dash(text: String) -> String {
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
pub(super) fn cell(text: &str) -> String {
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
    use crate::drill::evidence::coverage::{Coverage, Part};
    use crate::drill::evidence::tests::sample;
    use crate::drill::evidence::{Lost, Signature};
    use crate::drill::steps::Role;

    #[test]
    fn what_did_not_pass_and_was_not_tested_is_said() {
        let mut evidence = sample(1, None);
        evidence.steps[0].outcome = Outcome::Blocked;
        let mut finding = Finding::error("db", "is gone", "restore it");
        finding.owner = Some("alice".into());
        evidence.findings.push(finding);
        evidence.result = Verdict::NotVerified;
        evidence.reasons = vec!["there is no artifact of data db to restore".into()];
        evidence.rto_seconds = Some(3600.1);
        let page = markdown(&evidence);
        for part in [
            "**Recovery is not proven.**",
            "Why:\n\n- there is no artifact of data db to restore\n",
            "| result | **not verified** |",
            "| ran by | alice, by cron |",
            "| preflight | everything is there | all there | **blocked** | 0.250 | 20.0 |",
            "| error | db | is gone | restore it | alice | - |",
            "- the full drill",
            "| time to recover (RTO) | at most 1 h 0 min | 1 h 0 min | **missed** |",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
    }

    #[test]
    fn each_result_opens_with_what_it_means() {
        let mut evidence = sample(1, None);
        for (result, opening) in [
            (Verdict::Verified, "\n\n**Recovery is proven.**"),
            (Verdict::NotVerified, "\n\n**Recovery is not proven.**"),
            (Verdict::CouldNotRun, "\n\n**The drill could not be carried out.**"),
        ] {
            evidence.result = result;
            assert!(markdown(&evidence).contains(opening), "{opening}");
        }
    }

    #[test]
    fn a_record_that_is_signed_names_signature_and_key() {
        let mut evidence = sample(1, None);
        assert!(markdown(&evidence).contains("| signature of the record | none |"));
        evidence.signature = Some(Signature { key: "AB".into(), file: "d.json.asc".into() });
        let part = "| signature of the record | [d.json.asc](d.json.asc), by the key `AB` |";
        assert!(markdown(&evidence).contains(part));
    }

    #[test]
    fn each_record_that_it_follows_is_named() {
        let mut evidence = sample(1, None);
        let row = |evidence: &Evidence, part: &str| assert!(markdown(evidence).contains(part), "{part}");
        row(&evidence, "| SHA-256 of the record before it | none |");
        evidence.previous_sha256 = Some("ab".into());
        row(&evidence, "| SHA-256 of the record before it | `ab` |");
        evidence.also_follows = vec!["cd".into()];
        row(&evidence, "| SHA-256 of the records before it | `ab`, `cd` |");
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
            (60.0, "1 min 0 s"),
            (61.0, "1 min 1 s"),
            (3_599.0, "59 min 59 s"),
            (3_600.0, "1 h 0 min"),
            (7_260.0, "2 h 1 min"),
            (86_399.0, "23 h 59 min"),
            (86_400.0, "1 d 0 h"),
            (180_000.0, "2 d 2 h"),
        ] {
            assert_eq!(duration(Some(seconds)), text);
        }
        assert_eq!(duration(None), "-");
    }

    #[test]
    fn each_kind_of_drill_says_what_it_does() {
        for (kind, what) in [("spot", "A spot drill restores"), ("full", "A full drill stops"), ("lost", "")]
        {
            assert!(purpose(kind).starts_with(what) && purpose(kind).is_empty() == what.is_empty(), "{kind}");
        }
    }

    #[test]
    fn what_was_measured_stands_beside_its_target() {
        let mut evidence = sample(1, None);
        evidence.rto_seconds = evidence.rto_target_seconds;
        let row = |evidence: &Evidence, part: &str| assert!(markdown(evidence).contains(part), "{part}");
        row(&evidence, "| time to recover (RTO) | at most 1 h 0 min | 1 h 0 min | met |");
        row(&evidence, "began (RPO) | - | 1 d 0 h | no target |");
        (evidence.rto_seconds, evidence.rpo_seconds, evidence.rpo_ahead_seconds) = (None, None, Some(5.0));
        row(&evidence, "| time to recover (RTO) | at most 1 h 0 min | - | not measured |");
        row(&evidence, "began (RPO) | - | - | not measured: dated 5.0 s after the drill's start |");
    }

    #[test]
    fn each_artifact_says_what_of_it_was_restored() {
        let mut evidence = sample(1, None);
        let row = |evidence: &Evidence, part: &str| assert!(markdown(evidence).contains(part), "{part}");
        row(&evidence, "| data | db | db-1.tar.gz | 2026-03-01T10:00:00Z | 7 | aa |");
        let artifact = &mut evidence.artifacts[0];
        (artifact.pick, artifact.copy) = (Pick::Older, Some("drive".into()));
        artifact.sha256.clear();
        artifact.part = Some(Part { numbers: vec![2, 3], of: 9, entries: 1, bytes: 1 });
        row(
            &evidence,
            "| data (older) (only part 2, 3 of 9) | db | db-1.tar.gz, at drive | 2026-03-01T10:00:00Z | 7 | not read |",
        );
        evidence.artifacts.clear();
        row(&evidence, "\n## Artifacts\n\nThere was none to restore.\n");
    }

    #[test]
    fn letters_of_any_language_stay_as_they_are() {
        assert_eq!(cell("Größe – ½\r\n\t\u{7f}"), "Größe – ½   \\u{7f}");
    }

    #[test]
    fn a_record_of_what_is_lost_says_so_and_no_other_does() {
        let mut evidence = sample(1, None);
        let page = markdown(&evidence);
        for part in ["are lost", "Lost:", "Covered so far"] {
            assert!(!page.contains(part), "{part} in\n{page}");
        }
        evidence.lost = vec![Lost { id: "drill-1".into(), sha256: Some("ab".into()) }];
        evidence.lost.push(Lost { id: "drill-2".into(), sha256: None });
        let page = markdown(&evidence);
        for part in [
            "**Records of drills are lost, and that was accepted.**",
            "\nLost:\n\n- drill-1, SHA-256 `ab`\n- drill-2, SHA-256 unknown\n",
            "| result | **records are lost** |",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
    }

    #[test]
    fn what_is_covered_so_far_is_listed() {
        let mut evidence = sample(1, None);
        evidence.coverage = vec![Coverage {
            role: Role::Data,
            set: "db".into(),
            retained: 3,
            covered: 2,
            covered_since: None,
            every_artifact_in: 2,
            every_byte_in: 2,
            drills_needed: 1,
            copies: vec![],
        }];
        assert!(
            markdown(&evidence).contains("\n## Covered so far\n\n- data db: 2 of 3 artifacts covered; every")
        );
    }
}
