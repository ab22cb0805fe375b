//! The drills: what they have shown, which are overdue, what they have left aside.
use super::recovery::proven;
use super::{Answer, age};
use crate::commands::backup::stage::left_behind;
use crate::commands::{Context, memory, overdue};
use crate::config::Config;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::drill::due::{self, FULL, SPOT};
use crate::drill::evidence::chain::{Accepted, Stored, check_chain, drills};
use crate::drill::evidence::record;
use crate::drill::evidence::{Evidence, Verdict};
use crate::drill::full::asides;
use crate::drill::full::journal::{self, Journal};
use crate::drill::steps::Role;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::restore::scratch::{self, Owner};
use crate::shown::show;
use crate::ui::span;
use jiff::SignedDuration;
use serde_json::{Value, json};

impl Answer {
    /// Lists the drills; their records.
    pub(super) fn drills(&mut self, config: &Config, ctx: &Context) -> Result<Vec<Stored>> {
        let (records, findings) = record::load(&config.drill.evidence_dir)?;
        self.findings.extend(findings);
        self.findings.extend(check_chain(&records));
        if let Some(memory) = memory(config) {
            let history = memory.read()?.records;
            self.findings.extend(record::compare(
                &config.drill.evidence_dir,
                &history,
                &Accepted::of(&records),
            ));
            self.full(config, &memory, &history, ctx);
        }
        for record in &records {
            let evidence = &record.evidence;
            self.drills.push(
                json!({"id": evidence.id, "kind": evidence.kind, "result": evidence.result.word(),
                "started_at": evidence.started_at.to_string(),
                "rto_seconds": evidence.rto_seconds, "rto_target_seconds": evidence.rto_target_seconds,
                "rpo_seconds": evidence.rpo_seconds, "rpo_target_seconds": evidence.rpo_target_seconds}),
            );
        }
        for folder in scratch::left_behind(Owner::Drill, &ctx.temporary(), ctx.now) {
            let what = format!(
                "was left by a drill of {} that was killed: it holds restored data in the clear",
                scratch::whose(&folder)
            );
            self.findings.push(Finding::warning(
                show(&folder),
                what,
                "`cargo xtask restore-drill` removes it",
            ));
        }
        for folder in left_behind(ctx, config, memory(config).as_ref()) {
            let what = "was left by a backup that was killed: it may hold data in the clear";
            self.findings.push(Finding::warning(show(&folder), what, "the next backup removes it"));
        }
        let all: Vec<&Evidence> = drills(&records).collect();
        let since = proven(&all, None, ctx.now).map(|drill| age(ctx, drill.started_at));
        for (kind, every) in [(SPOT, config.drill.spot_every), (FULL, config.drill.full_every)] {
            let late = overdue::drill(&records, kind, every, &config.drill.evidence_dir, ctx.now);
            let labels = [("what", "drill"), ("kind", kind)];
            self.metrics.add("recovery_overdue", &labels, f64::from(u8::from(!late.is_empty())));
            self.findings.extend(late);
            self.drill_numbers(&records, kind, every, config, ctx);
        }
        let last = all.last();
        let text = since.map_or("never verified".to_owned(), |since| format!("verified {} ago", span(since)));
        let last = last.map_or(String::new(), |last| format!("last: {}", last.result.word()));
        self.row(["drill".into(), format!("{} on record", all.len()), text, last]);
        Ok(records)
    }

    /// A full drill that is open, and what earlier ones have left aside.
    fn full(&mut self, config: &Config, memory: &Memory, history: &[Value], ctx: &Context) {
        let strange = asides::strange(config, history);
        for folder in strange.into_iter().filter(|_| !journal::path(memory.root()).exists()) {
            self.findings.push(asides::told(&folder, Severity::Error));
        }
        match Journal::load(memory.root()) {
            Ok(None) => {}
            Ok(Some(journal)) => self.findings.push(match lock::holder_of(memory.root()) {
                Some(holder) => Finding::info("drill", format!("is at work: {holder}")),
                None => Finding::error("drill", journal::open(&journal), journal::NEXT),
            }),
            Err(error) => self.findings.push(Finding::of("drill", &error)),
        }
        for aside in asides::there(history) {
            self.asides.push(json!({"folder": show(&aside.folder), "live": aside.live, "id": aside.id,
                "until": aside.until.map(|until| until.to_string())}));
            let left = aside.until.map(|until| until.duration_since(ctx.now));
            let until = match left {
                None => "kept until you remove it: no backup may have it".to_owned(),
                Some(left) if left.is_negative() => "may go: `cargo xtask prune` removes it".to_owned(),
                Some(left) => format!("kept for {}", span(left)),
            };
            self.row(["aside".into(), aside.live, until, show(&aside.folder)]);
        }
    }

    /// The numbers of one kind of drill.
    fn drill_numbers(
        &mut self,
        records: &[Stored],
        kind: &'static str,
        every: Option<SignedDuration>,
        config: &Config,
        ctx: &Context,
    ) {
        let metrics = &mut self.metrics;
        let labels = [("kind", kind)];
        if let Some(every) = every {
            metrics.add("recovery_drill_interval_seconds", &labels, every.as_secs_f64());
        }
        let verified = due::verified(records, kind, ctx.now);
        metrics.time("recovery_drill_last_success_timestamp_seconds", &labels, verified);
        let Some(last) = due::last(records, kind) else { return };
        metrics.time("recovery_drill_last_run_timestamp_seconds", &labels, Some(last.started_at));
        let took = last.finished_at.duration_since(last.started_at).as_secs_f64();
        metrics.add("recovery_drill_duration_seconds", &labels, took);
        for verdict in [Verdict::Verified, Verdict::NotVerified, Verdict::CouldNotRun] {
            let labels = [("kind", kind), ("result", verdict.word())];
            metrics.add("recovery_drill_result", &labels, f64::from(u8::from(last.result == verdict)));
        }
        let measured = [
            ("recovery_drill_rto_seconds", last.rto_seconds),
            ("recovery_drill_rpo_seconds", last.rpo_seconds),
        ];
        for (family, seconds) in measured {
            if let Some(seconds) = seconds {
                metrics.add(family, &labels, seconds);
            }
        }
        for set in &config.data {
            let of_set = records.iter().map(|record| &record.evidence).filter(|drill| drill.kind == kind);
            let restored = |drill: &&Evidence| {
                drill.artifacts.iter().any(|it| it.role == Role::Data && it.set == set.name)
            };
            if let Some(last) = of_set.filter(restored).max_by_key(|drill| drill.started_at) {
                let labels = [("set", &*set.name), ("kind", kind)];
                let verified = last.result == Verdict::Verified;
                metrics.add("recovery_drill_set_verified", &labels, f64::from(u8::from(verified)));
            }
        }
    }
}
