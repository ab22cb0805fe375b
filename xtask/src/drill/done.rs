//! How a step went, before it is written down.
use super::evidence::Outcome;
use super::redact::Redaction;
use super::steps::Step;
use crate::finding::{Finding, any_error};
use crate::tools::shell::{self, ShellRun};
use std::time::Duration;

/// How one step went.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    pub(super) checked: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) findings: Vec<Finding>,
}

impl Done {
    pub(super) fn pass(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Pass, detail: detail.into(), checked: None, bytes: None, findings: vec![] }
    }

    pub(super) fn fail(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, ..Self::pass(detail) }
    }

    /// Passed, if something was looked at and no error was found.
    pub(super) fn looked(checked: u64, detail: impl Into<String>, findings: Vec<Finding>) -> Self {
        let mut done = Self { checked: Some(checked), findings, ..Self::pass(detail) };
        if any_error(&done.findings) {
            done.outcome = Outcome::Fail;
        } else if checked == 0 {
            done.outcome = Outcome::Fail;
            done.detail = "nothing was checked".into();
        }
        done
    }

    /// The same, having gone through so many bytes.
    pub(super) fn through(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }
}

/// A step that was taken, before it becomes a [`super::evidence::StepRecord`].
#[derive(Debug, Clone)]
pub struct StepRun {
    /// Which step of the plan.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen.
    pub detail: String,
    /// How many things were looked at, for steps that look at things.
    pub checked: Option<u64>,
    /// Bytes that it went through, for steps that go through bytes.
    pub bytes: Option<u64>,
}

/// How one of the user's commands went, and what is told of it.
pub(super) fn told(ran: &ShellRun, deadline: Duration, redaction: &Redaction) -> (Outcome, String) {
    let (outcome, how) = match &ran.outcome {
        shell::Outcome::Pass => return (Outcome::Pass, "exit status 0".into()),
        shell::Outcome::Fail(status) => (Outcome::Fail, status.clone()),
        shell::Outcome::Timeout => {
            (Outcome::Timeout, format!("had not ended after {} s", deadline.as_secs()))
        }
    };
    match redaction.output(&ran.tail) {
        silent if silent.is_empty() => (outcome, how),
        output => (outcome, format!("{how}: {output}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_command_ends_where_there_is_no_more_to_tell() {
        let ran = |outcome, tail: &str| {
            let ran = ShellRun { outcome, seconds: 1.0, tail: tail.into() };
            told(&ran, Duration::from_secs(2), &Redaction::default()).1
        };
        assert_eq!(ran(shell::Outcome::Timeout, "\n"), "had not ended after 2 s");
        assert_eq!(ran(shell::Outcome::Timeout, "busy\n"), "had not ended after 2 s: busy");
        assert_eq!(ran(shell::Outcome::Fail("exit status: 3".into()), ""), "exit status: 3");
        assert_eq!(ran(shell::Outcome::Pass, "noise"), "exit status 0");
    }
}
