//! `status`: could we recover now, to when, and when was that last proven? Reads, and writes nothing.
use super::Context;
use super::backup::stage::left_behind;
use super::prune::{not_on_record, quota};
use crate::config::{Config, DataSet};
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::memory::{Known, Memory};
use crate::destination::releases;
use crate::destination::retention::AHEAD;
use crate::drill::evidence::{Verdict, check_chain, newest};
use crate::drill::full::asides;
use crate::drill::full::journal::{self, Journal};
use crate::drill::record;
use crate::error::{Exit, Result};
use crate::finding::{self, Finding};
use crate::restore::scratch::{self, Owner};
use crate::shown::show;
use crate::ui::{bytes, span, table};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What each part of the answer came to.
#[derive(Default)]
struct Answer {
    releases: Vec<Value>,
    data: Vec<Value>,
    drills: Vec<Value>,
    destinations: Vec<Value>,
    asides: Vec<Value>,
    rows: Vec<Vec<String>>,
    findings: Vec<Finding>,
}

/// Runs the verb.
///
/// # Errors
/// When the configuration or a folder cannot be read.
pub fn run(ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let mut answer = Answer::default();
    answer.releases(&config, ctx)?;
    answer.backups(&config, ctx)?;
    answer.drills(&config, ctx)?;
    let status = if finding::any_error(&answer.findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "status", "status": status, "releases": answer.releases,
        "data": answer.data, "drills": answer.drills, "destinations": answer.destinations,
        "asides": answer.asides, "findings": answer.findings}),
    );
    table(&answer.rows).iter().for_each(|line| ctx.ui.result(line));
    ctx.ui.findings(&answer.findings);
    Ok(finding::exit(&answer.findings))
}

fn age(ctx: &Context, time: jiff::Timestamp) -> SignedDuration {
    ctx.now.duration_since(time)
}

impl Answer {
    fn row(&mut self, cells: [String; 4]) {
        self.rows.push(cells.to_vec());
    }

    fn releases(&mut self, config: &Config, ctx: &Context) -> Result<()> {
        let (bundles, findings) = releases::scan(&config.release.output_dir)?;
        self.findings.extend(findings);
        for bundle in &bundles {
            self.releases.push(json!({"lock": show(&bundle.lock_path), "version": bundle.lock.version,
                "created_at": bundle.lock.created_at, "git_sha": bundle.lock.git_sha, "bytes": bundle.bytes,
                "release_url": bundle.lock.release_url}));
        }
        let newest = bundles.iter().rfind(|bundle| !bundle.lock.dirty).or(bundles.last());
        let latest = newest.map_or("none".to_owned(), |bundle| bundle.lock.version.clone());
        let since = newest.and_then(|bundle| bundle.lock.time());
        let since = since.map_or(String::new(), |time| format!("of a commit {} old", span(age(ctx, time))));
        self.row(["release".into(), latest, since, format!("{} kept", bundles.len())]);
        Ok(())
    }

    fn backups(&mut self, config: &Config, ctx: &Context) -> Result<()> {
        let memory = super::memory(config);
        let known = memory.as_ref().map(Memory::known).transpose()?.unwrap_or_default();
        self.findings.extend(memory.as_ref().map(Memory::damage).transpose()?.unwrap_or_default());
        for place in &config.destinations {
            let (state, catalog) = match place.place.look(false) {
                Ok(seen) => seen,
                Err(error) => {
                    self.findings.push(Finding::of(show(&place.place.path), &error));
                    self.destinations.push(
                        json!({"name": place.name, "path": show(&place.place.path), "available": false}),
                    );
                    continue;
                }
            };
            let used: u64 = catalog.complete.iter().map(|artifact| artifact.bytes).sum();
            self.destinations.push(
                json!({"name": place.name, "path": show(&place.place.path), "available": true,
                "used_bytes": used, "free_bytes": state.free_bytes, "quota_bytes": place.quota,
                "durability": state.durability}),
            );
            let limit = place.quota.map_or(String::new(), |quota| format!("of {}", bytes(quota)));
            self.row([
                "drive".into(),
                place.name.clone(),
                format!("{} {limit}", bytes(used)),
                format!("{} free", bytes(state.free_bytes)),
            ]);
            self.findings.extend(catalog.findings.iter().cloned());
            self.findings.extend(quota(place, &catalog, 0));
            for path in &catalog.incomplete {
                let what = "has no .sha256: a run is writing it, or was killed before its end";
                self.findings.push(Finding::warning(
                    show(path),
                    what,
                    "`cargo xtask prune` sweeps it after a day",
                ));
            }
            if let Some(memory) = &memory {
                self.findings.extend(memory.lost(&place.place.path, &catalog)?);
                self.findings.extend(not_on_record(config, place, &known, &catalog));
            }
            let mine = |set: &&DataSet| {
                let homes = config.destinations_of(set).unwrap_or_default();
                homes.iter().any(|home| home.name == place.name)
            };
            for set in config.data.iter().filter(mine) {
                self.set(config, ctx, set, &catalog, &known);
            }
        }
        Ok(())
    }

    /// A set that has no backup, or too old a one, is an error; what was made of it with a suffix is listed beside it.
    fn set(&mut self, config: &Config, ctx: &Context, set: &DataSet, catalog: &Catalog, known: &Known) {
        let suffixed = format!("{}-", set.name);
        let series: BTreeSet<&str> = catalog.complete.iter().map(|artifact| &*artifact.name.series).collect();
        let age = self.series(ctx, &set.name, catalog, known);
        for series in series.into_iter().filter(|series| series.starts_with(&suffixed)) {
            self.series(ctx, series, catalog, known);
        }
        match age {
            None => {
                self.findings.push(Finding::error(&set.name, "has no backup", "run `cargo xtask backup`"));
                self.data.push(json!({"set": set.name, "latest": null, "count": 0}));
                self.row(["data".into(), set.name.clone(), "no backup".into(), String::new()]);
            }
            Some(age) if config.drill.rpo_target.is_some_and(|target| age > target) => {
                let what = format!("has a newest backup that is {} old, over its RPO target", span(age));
                self.findings.push(Finding::error(&set.name, what, "run `cargo xtask backup`"));
            }
            Some(_) => {}
        }
    }

    /// Lists a series; the age of its newest backup, if it has one.
    fn series(
        &mut self,
        ctx: &Context,
        series: &str,
        catalog: &Catalog,
        known: &Known,
    ) -> Option<SignedDuration> {
        let latest = catalog.latest(series, None)?;
        let confirmed = known.confirmed.get(&show(&latest.archive)).copied();
        // What a backup of now would hold, it holds.
        let as_of = confirmed.map_or(latest.name.time, |time| time.max(latest.name.time));
        let (count, age) = (catalog.series(series).count(), age(ctx, as_of));
        let proven = known.verified.contains(&show(&latest.archive));
        self.findings.extend(known.wrong_with(latest));
        let pending = known.pending.contains(&show(&latest.archive));
        if pending {
            let what = "is not known to have arrived: the `confirm` of its destination has not succeeded yet";
            let repair = "the next `cargo xtask backup` asks again";
            self.findings.push(Finding::warning(show(&latest.archive), what, repair));
        }
        let ours = |artifact: &Artifact| known.made.contains_key(&show(&artifact.archive));
        if !ours(latest) && catalog.series(series).any(ours) {
            let what =
                "is the newest of its series, and was not made by this repository, as far as it remembers";
            let repair =
                "see who else writes there under this name; `cargo xtask prune --adopt` takes it over";
            self.findings.push(Finding::warning(show(&latest.archive), what, repair));
        }
        if age < -AHEAD {
            let what = "is dated in the future: its clock or this machine's is wrong";
            self.findings.push(Finding::error(
                show(&latest.archive),
                what,
                "set the clock; `restore --at` names others",
            ));
        }
        self.data.push(json!({"set": series, "latest": show(&latest.archive),
            "created_at": latest.name.time.to_string(), "confirmed_at": confirmed.map(|time| time.to_string()), "age_seconds": age.as_secs(), "verified": proven, "pending": pending,
            "count": count, "bytes": latest.bytes}));
        let proof = match (pending, proven, known.sampled.get(&show(&latest.archive))) {
            (true, _, _) => "pending".to_owned(),
            (false, true, _) => "verified".to_owned(),
            (false, false, Some((parts, of))) => format!("{parts} of {of} parts verified"),
            (false, false, None) => "not verified yet".to_owned(),
        };
        self.row([
            "data".into(),
            series.to_owned(),
            format!("{} ago, {proof}", span(age)),
            format!("{count} kept, the newest {}", bytes(latest.bytes)),
        ]);
        Some(age)
    }

    /// A full drill that is open, and what earlier ones have left aside.
    fn full(&mut self, memory: &Memory, history: &[Value], ctx: &Context) {
        match Journal::load(memory.root()) {
            Ok(None) => {}
            Ok(Some(journal)) => {
                self.findings.push(Finding::error("drill", journal::open(&journal), journal::NEXT));
            }
            Err(error) => self.findings.push(Finding::of("drill", &error)),
        }
        for aside in asides::there(history) {
            self.asides.push(json!({"folder": show(&aside.folder), "live": aside.live, "id": aside.id,
                "until": aside.until.to_string()}));
            let left = aside.until.duration_since(ctx.now);
            let until = match left.is_negative() {
                true => "may go: `cargo xtask prune` removes it".to_owned(),
                false => format!("kept for {}", span(left)),
            };
            self.row(["aside".into(), aside.live, until, show(&aside.folder)]);
        }
    }

    fn drills(&mut self, config: &Config, ctx: &Context) -> Result<()> {
        let (records, findings) = record::load(&config.drill.evidence_dir)?;
        self.findings.extend(findings);
        self.findings.extend(check_chain(&records));
        if let Some(memory) = super::memory(config) {
            let history = memory.history()?;
            self.findings.extend(record::compare(&history));
            self.full(&memory, &history, ctx);
        }
        for record in &records {
            let evidence = &record.evidence;
            self.drills
                .push(json!({"id": evidence.id, "kind": evidence.kind, "result": evidence.result.word(),
                "rto_seconds": evidence.rto_seconds, "rpo_seconds": evidence.rpo_seconds}));
        }
        for folder in scratch::left_behind(Owner::Drill, &ctx.temporary(), ctx.now) {
            let what = "was left by a drill that was killed: it holds restored data in the clear";
            self.findings.push(Finding::warning(show(&folder), what, "the next drill removes it"));
        }
        for folder in left_behind(ctx, config, super::memory(config).as_ref()) {
            let what = "was left by a backup that was killed: it may hold data in the clear";
            self.findings.push(Finding::warning(show(&folder), what, "the next backup removes it"));
        }
        let past = records.iter().filter(|record| record.evidence.started_at <= ctx.now);
        let proven = past.rev().find(|record| record.evidence.result == Verdict::Verified);
        let since = proven.map(|record| age(ctx, record.evidence.started_at));
        if let Some(every) = config.drill.spot_every
            && since.is_none_or(|since| since > every)
        {
            let what = match since {
                None => "no drill has proven recovery yet".to_owned(),
                Some(since) => format!(
                    "the last verified drill is {} old; one is due every {}",
                    span(since),
                    span(every)
                ),
            };
            self.findings.push(Finding::error("drill", what, "run `cargo xtask restore-drill`"));
        }
        let last = newest(&records).map(|record| &record.evidence);
        if let Some(last) = last.filter(|last| last.result != Verdict::Verified) {
            let what = format!("the last drill on record, {}, is {}", last.id, last.result.word());
            let page = show(&config.drill.evidence_dir.join(format!("{}.md", last.id)));
            let repair = format!("see {page}, mend what it names, and run `cargo xtask restore-drill`");
            self.findings.push(Finding::error("drill", what, repair));
        }
        let text = since.map_or("never verified".to_owned(), |since| format!("verified {} ago", span(since)));
        let last = last.map_or(String::new(), |last| format!("last: {}", last.result.word()));
        self.row(["drill".into(), format!("{} on record", records.len()), text, last]);
        Ok(())
    }
}
