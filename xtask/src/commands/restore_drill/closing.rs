//! How every full drill is closed, by itself or by `recover`: evidence, what is kept aside, and last the journal.
//!
//! What came of it is known by then; here it is only written down and told.
use super::report::{Shown, What, remember, report};
use crate::commands::Context;
use crate::destination::memory::Memory;
use crate::drill::evidence::chain::Stored;
use crate::drill::evidence::frame::Frame;
use crate::drill::evidence::record;
use crate::drill::full::journal::Journal;
use crate::drill::full::run::Drilled;
use crate::drill::measured::{self, Measured};
use crate::drill::redact::Redaction;
use crate::drill::verdict::Judgement;
use crate::error::{Exit, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::json;

/// A full drill at its end.
pub(super) struct Ended {
    pub drilled: Drilled,
    pub rpo_seconds: Option<f64>,
    pub rpo_ahead_seconds: Option<f64>,
    pub loss_now_seconds: Option<f64>,
    pub not_tested: Vec<String>,
    pub finished_at: Timestamp,
}

/// What is written down at the end of a full drill.
pub(super) struct Closing<'a> {
    pub memory: &'a Memory,
    pub redaction: &'a Redaction,
    pub frame: &'a Frame,
}

impl Closing<'_> {
    /// Evidence first, then what is kept, then the journal goes: a kill in between leaves a drill that `recover` closes.
    /// Evidence that cannot be written keeps the journal, in which everything that was done stands.
    pub(super) fn close(
        &self,
        journal: &Journal,
        records: Result<(Vec<Stored>, Vec<Finding>)>,
        ended: Ended,
        ctx: &Context,
    ) -> Result<Exit> {
        let Ended { mut drilled, rpo_seconds, rpo_ahead_seconds, loss_now_seconds, not_tested, finished_at } =
            ended;
        let (opened, closed, shown) = (drilled.opened, drilled.closed, std::mem::take(&mut drilled.shown));
        let findings: Vec<Finding> =
            drilled.findings.iter().map(|finding| self.redaction.finding(finding)).collect();
        let record = || {
            let (records, found) = records?;
            let measured = Measured {
                artifacts: drilled.artifacts,
                steps: drilled.steps,
                rto_seconds: drilled.rto_seconds,
                rpo_seconds,
                rpo_ahead_seconds,
                loss_now_seconds,
                coverage: vec![],
                not_tested,
                findings: drilled.findings.into_iter().chain(found).collect(),
                judgement: Judgement { result: drilled.result, reasons: drilled.reasons },
                finished_at,
            };
            let evidence = measured::evidence(self.frame, measured).redacted(self.redaction);
            let (folder, sign_with) = (&journal.evidence_dir, journal.sign_with.as_deref());
            let history = self.memory.read()?.records;
            let recorded = record::write(folder, sign_with, self.frame, (&records, &history), evidence)?;
            let shown = shown.iter().map(|one| Shown {
                what: if one.whole { What::Verified } else { What::Damaged },
                index: one.index,
                archive: &one.archive,
                errors: 0,
            });
            remember(self.memory, &recorded, &shown.collect::<Vec<_>>(), ctx)?;
            Ok(recorded)
        };
        let recorded = record();
        if recorded.is_err() {
            // They stand nowhere else.
            ctx.ui.findings(&findings);
        }
        if opened && closed {
            let on = if journal.differs { "what was restored" } else { "its data" };
            ctx.ui.say(&format!("the service was started on {on}"));
        }
        let recorded = recorded.inspect_err(|_| {
            if opened && closed {
                ctx.ui.say(
                    "only the evidence is missing: mend that, and run `cargo xtask restore-drill recover`",
                );
            }
        })?;
        if opened && closed {
            self.put_away(journal, ctx)?;
        }
        Ok(report(&recorded, &[], false, ctx))
    }

    /// Removes what is needed no more, remembers what is kept, and closes the journal.
    pub(super) fn put_away(&self, journal: &Journal, ctx: &Context) -> Result<()> {
        let keep = SignedDuration::from_secs(journal.keep_aside_seconds);
        let until = ctx.now.saturating_add(keep).unwrap_or(ctx.now).round(Unit::Second).unwrap_or(ctx.now);
        let until = (!journal.differs).then(|| until.to_string());
        for swap in &journal.swaps {
            for folder in swap.tidy()? {
                self.memory.record(&json!({
                    "kind": "aside", "time": ctx.now.to_string(), "id": journal.id, "folder": show(&folder),
                    "live": show(&swap.live), "until": until,
                }))?;
                let until = until.as_deref().unwrap_or("you remove it");
                ctx.ui.say(&format!("kept until {until}: {}, of {}", show(&folder), show(&swap.live)));
            }
        }
        Journal::close(self.memory.root())
    }
}
