//! What a run found while it went on: one value for backup, verify, drill, prune and status.
//!
//! The exit code follows the worst finding: any [`Severity::Error`] makes it 1, nothing else does.
use crate::error::{Error, Exit};
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Info,
    /// Should be looked at; nothing is lost.
    Warning,
    /// Data is missing, damaged or not restorable.
    Error,
}

/// What became of a file or of the work around it, for who reads findings by program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Was written to while it was read.
    Changed,
    /// Only grew while it was read.
    Grew,
    /// Became shorter while it was read.
    Shrank,
    /// Was there when the folder was listed, and went.
    Vanished,
    /// Another file took its place.
    Replaced,
    /// It is a file, or a folder, no more.
    Turned,
    /// Could not be read.
    Unreadable,
    /// Is a SQLite database that could not be copied as one.
    Database,
    /// Is larger than the set's `max-size`.
    Size,
    /// The source did not hold still while it was staged.
    Staging,
    /// A command before or after the backup.
    Hook,
}

/// One problem, where it is, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, entry or artifact it is about; bytes that are not UTF-8 are escaped.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do; empty when there is nothing to do.
    pub repair: String,
    /// Of a finding about live data: what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Of a finding of a drill that calls for action: who sees to it, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The same: until when, as `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
}

impl Finding {
    /// A finding of any severity.
    pub fn new(
        severity: Severity,
        path: impl Into<String>,
        what: impl Into<String>,
        repair: impl Into<String>,
    ) -> Self {
        let (path, what, repair) = (path.into(), what.into(), repair.into());
        Self { severity, path, what, repair, kind: None, owner: None, due: None }
    }

    /// Whether somebody has to see to it.
    pub fn calls_for_action(&self) -> bool {
        self.severity > Severity::Info
    }

    /// The same, of this kind.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// An error.
    pub fn error(path: impl Into<String>, what: impl Into<String>, repair: impl Into<String>) -> Self {
        Self::new(Severity::Error, path, what, repair)
    }

    /// A warning.
    pub fn warning(path: impl Into<String>, what: impl Into<String>, repair: impl Into<String>) -> Self {
        Self::new(Severity::Warning, path, what, repair)
    }

    /// The same, as an error.
    #[must_use]
    pub fn worse(self) -> Self {
        Self { severity: Severity::Error, ..self }
    }

    /// An error that ended the work on `path`, but not the run.
    pub fn of(path: impl Into<String>, error: &Error) -> Self {
        let (path, chain) = (path.into(), error.chain());
        let what = chain.strip_prefix(&format!("{path}: ")).unwrap_or(&chain).to_owned();
        Self::error(path, what, error.next_step().unwrap_or_default())
    }

    /// Path and problem, for a line of talk. A problem that has a subject of its own stands behind a colon.
    pub fn line(&self) -> String {
        const SUBJECTS: [&str; 6] = ["no", "nothing", "records", "the", "there", "this"];
        let first = self.what.split(' ').next().unwrap_or_default();
        let apart = first.starts_with('/') || SUBJECTS.contains(&first);
        let mark = if apart && !self.path.ends_with(':') { ":" } else { "" };
        format!("{}{mark} {}", self.path, self.what)
    }

    /// Something worth knowing.
    pub fn info(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Info, path, what, "")
    }
}

/// Whether any of them is an error.
pub fn any_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// The exit code that these findings call for.
pub fn exit(findings: &[Finding]) -> Exit {
    if any_error(findings) { Exit::Found } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_stands_where_the_problem_does_not_go_on_from_the_path() {
        let line = |what: &str| Finding::error("a", what, "").line();
        assert_eq!(line("is gone"), "a is gone");
        assert_eq!(Finding::error("a:", "the rest", "").line(), "a: the rest");
        assert_eq!(line("could not be read"), "a could not be read");
        assert_eq!(line("there is nothing to verify"), "a: there is nothing to verify");
        assert_eq!(line("/mnt/drive: nothing is mounted there"), "a: /mnt/drive: nothing is mounted there");
    }

    #[test]
    fn only_an_error_changes_the_exit_code() {
        let mut found = vec![Finding::info("a", "grew"), Finding::warning("b", "left alone", "")];
        assert_eq!(exit(&found), Exit::Done);
        found.push(Finding::error("c", "is gone", "restore it"));
        assert_eq!(exit(&found), Exit::Found);
    }

    #[test]
    fn what_is_only_worth_knowing_calls_for_no_action() {
        let called = [Finding::info("a", ""), Finding::warning("a", "", ""), Finding::error("a", "", "")];
        assert_eq!(called.map(|finding| finding.calls_for_action()), [false, true, true]);
    }

    #[test]
    fn what_is_worse_is_an_error_of_the_same_words() {
        let found = Finding::warning("a", "grew", "look").worse();
        assert_eq!(found, Finding::error("a", "grew", "look"));
    }

    #[test]
    fn a_finding_has_the_kind_that_it_is_given() {
        assert_eq!(Finding::info("a", "").kind, None);
        assert_eq!(Finding::info("a", "").of_kind(Kind::Grew).kind, Some(Kind::Grew));
    }
}
