//! How a step went, before it is written down.
use super::evidence::Outcome;
use crate::finding::{Finding, any_error};

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
