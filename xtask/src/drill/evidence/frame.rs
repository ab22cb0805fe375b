//! What is known of a drill before its first step, as its record has it; and whom what is found is assigned to.
//!
//! Pure. What it is filled with is for those who begin a drill.
use super::Operator;
use crate::finding::Finding;
use jiff::{SignedDuration, Timestamp};

/// What is known of a drill before its first step.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `spot` or `full`.
    pub kind: &'static str,
    /// `<id>` of the record, without the number of a second one in the same second.
    pub id: String,
    /// `manual` or `if-due`.
    pub trigger: String,
    /// The machine's name.
    pub host: String,
    /// Who or what runs it.
    pub operator: Operator,
    /// Who or what has ended it, where it was killed.
    pub recovered_by: Option<Operator>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long a recovery may take.
    pub rto_target: Option<SignedDuration>,
    /// How old the data may be.
    pub rpo_target: Option<SignedDuration>,
    /// Who sees to what is found.
    pub owner: Option<String>,
    /// Until when, as `YYYY-MM-DD`.
    pub due: Option<String>,
}

impl Frame {
    /// The finding with owner and date, where it calls for action.
    pub fn assigned(&self, mut finding: Finding) -> Finding {
        if finding.calls_for_action() {
            (finding.owner, finding.due) = (self.owner.clone(), self.due.clone());
        }
        finding
    }
}
