//! `status`: could we recover now, to when, and when was that last proven? Reads, and writes nothing but the file of
//! `--prometheus`.
use super::backup::stage::left_behind;
use super::metrics::Metrics;
use super::overdue::{self, Checked};
use super::prune::{not_on_record, quota};
use super::{Context, memory};
use crate::cli::StatusArgs as Args;
use crate::config::{Config, DataSet, Destination};
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::memory::{Known, Memory};
use crate::destination::names::ArtifactName;
use crate::destination::releases;
use crate::destination::retention::AHEAD;
use crate::destination::{durable, lock};
use crate::drill::chain::{Accepted, Stored, check_chain, drills};
use crate::drill::due::{self, FULL, SPOT};
use crate::drill::evidence::{Evidence, Verdict};
use crate::drill::full::asides;
use crate::drill::full::journal::{self, Journal};
use crate::drill::record;
use crate::drill::steps::Role;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::restore::scratch::{self, Owner};
use crate::shown::show;
use crate::ui::{bytes, span, table};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What each part of the answer came to.
#[derive(Default)]
struct Answer {
    releases: Vec<Value>,
    data: Vec<Value>,
    drills: Vec<Value>,
    destinations: Vec<Value>,
    asides: Vec<Value>,
    shell: Vec<Value>,
    rows: Vec<Vec<String>>,
    findings: Vec<Finding>,
    metrics: Metrics,
}

/// Runs the verb.
///
/// # Errors
/// When the configuration or a folder cannot be read.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let mut answer = Answer::default();
    answer.releases(&config, ctx)?;
    answer.backups(&config, ctx)?;
    answer.drills(&config, ctx)?;
    if let Some(file) = &args.prometheus {
        answer.totals(ctx);
        let (file, text) = (ctx.path(file), answer.metrics.render());
        let written = write(&file, &text);
        answer.findings.extend(written.err().map(|error| Finding::of(show(&file), &error)));
    }
    let status = if finding::any_error(&answer.findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "status", "status": status, "releases": answer.releases,
        "data": answer.data, "drills": answer.drills, "destinations": answer.destinations,
        "asides": answer.asides, "shell_backups": answer.shell, "findings": answer.findings}),
    );
    table(&answer.rows).iter().for_each(|line| ctx.ui.result(line));
    ctx.ui.findings(&answer.findings);
    Ok(finding::exit(&answer.findings))
}

/// Replaces the file of numbers. What is there already and is no file, such as a device, is not replaced by one.
fn write(file: &Path, text: &str) -> Result<()> {
    if file.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
        let what = "is there, and is no plain file: it is not replaced by one";
        return Err(Error::refused(what, "name a file"));
    }
    durable::replace(file, text.as_bytes(), 0o644)
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
        let known = memory(config).map(|memory| memory.known()).transpose()?.unwrap_or_default();
        let there = bundles.iter().filter_map(|bundle| bundle.tarball.as_ref());
        for path in there.map(|tarball| show(tarball)).filter(|path| known.damaged.contains(path)) {
            let repair = "bring it back from another copy and run `cargo xtask verify`; or remove it with its lock, and \
                          bundle the commit again";
            self.findings.push(Finding::error(path, "is damaged", repair));
        }
        let tarballs = bundles.iter().filter(|bundle| bundle.tarball.is_some());
        let checked: Vec<Checked> = tarballs
            .filter_map(|bundle| {
                Some((overdue::bundle_read_back(&known, bundle)?, show(bundle.tarball.as_ref()?)))
            })
            .collect();
        self.verification(&show(&config.release.output_dir), &checked, config, ctx);
        let newest = bundles.iter().rfind(|bundle| !bundle.lock.dirty).or(bundles.last());
        let latest = newest.map_or("none".to_owned(), |bundle| bundle.lock.version.clone());
        let since = newest.and_then(|bundle| bundle.lock.time());
        if let Some(bundle) = newest.filter(|_| since.is_some_and(|time| age(ctx, time) < -AHEAD)) {
            let what = "is the newest bundle, and is of a commit that is dated in the future: what was made since is taken for \
                        older";
            let repair = "name others by their locks; or remove it, and bundle a commit with the right date";
            self.findings.push(Finding::error(show(&bundle.lock_path), what, repair));
        }
        self.metrics.time("recovery_release_timestamp_seconds", &[], since);
        self.metrics.add("recovery_releases", &[], bundles.len() as f64);
        let since = since.map_or(String::new(), |time| format!("of a commit {} old", span(age(ctx, time))));
        self.row(["release".into(), latest, since, format!("{} kept", bundles.len())]);
        Ok(())
    }

    fn backups(&mut self, config: &Config, ctx: &Context) -> Result<()> {
        let memory = memory(config);
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
                    self.away(config, ctx, place, &known);
                    continue;
                }
            };
            let used = catalog.used();
            self.destinations.push(
                json!({"name": place.name, "path": show(&place.place.path), "available": true,
                "used_bytes": used, "free_bytes": state.free_bytes, "quota_bytes": place.quota,
                "durability": state.durability}),
            );
            let (labels, quota_bytes) =
                ([("destination", &*place.name)], place.quota.map(|quota| quota as f64));
            self.metrics.add("recovery_destination_available", &labels, 1.0);
            self.metrics.add("recovery_destination_used_bytes", &labels, used as f64);
            self.metrics.add("recovery_destination_free_bytes", &labels, state.free_bytes as f64);
            if let Some(quota) = quota_bytes {
                self.metrics.add("recovery_destination_quota_bytes", &labels, quota);
            }
            let checked = catalog
                .complete
                .iter()
                .map(|artifact| (overdue::backup_read_back(&known, artifact), show(&artifact.archive)));
            self.verification(&show(&place.place.path), &checked.collect::<Vec<_>>(), config, ctx);
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
            for set in sets_at(config, place) {
                self.set(config, ctx, set, place, &catalog, &known);
            }
            self.of_shell(ctx, &catalog);
        }
        Ok(())
    }

    /// What the shell tool before this one has left: it restores, and counts for nothing.
    fn of_shell(&mut self, ctx: &Context, catalog: &Catalog) {
        self.shell.extend(catalog.shell.iter().map(|artifact| {
            json!({"archive": show(&artifact.archive), "set": artifact.name.series,
                "created_at": artifact.name.time.to_string(), "bytes": artifact.bytes})
        }));
        let series: BTreeSet<&str> = catalog.shell.iter().map(|artifact| &*artifact.name.series).collect();
        for name in series {
            let all: Vec<&Artifact> =
                catalog.shell.iter().filter(|artifact| artifact.name.series == name).collect();
            let Some(newest) = all.last() else { continue };
            let old = format!("newest {} old, of the shell tool", span(age(ctx, newest.name.time)));
            let bytes = bytes(all.iter().map(|artifact| artifact.bytes).sum());
            self.row(["shell".into(), name.to_owned(), old, format!("{} kept, {bytes}", all.len())]);
        }
    }

    /// Of a destination that is not there, what this repository remembers.
    fn away(&mut self, config: &Config, ctx: &Context, place: &Destination, known: &Known) {
        self.metrics.add("recovery_destination_available", &[("destination", &place.name)], 0.0);
        let here = known.made.keys().filter(|path| Path::new(path).starts_with(&place.place.path));
        let made = |path: &String| ArtifactName::parse(Path::new(path).file_name()?.to_str()?);
        let checked =
            here.filter_map(|path| Some((due::read_back(known, path, made(path)?.time), path.clone())));
        self.verification(&show(&place.place.path), &checked.collect::<Vec<_>>(), config, ctx);
        for set in sets_at(config, place) {
            let last = due::backed_up(known, &set.name, &place.place.path);
            self.backed_up(ctx, set, place, last);
        }
    }

    /// As of when a set is backed up somewhere, and whether that is long enough ago to be told.
    fn backed_up(
        &mut self,
        ctx: &Context,
        set: &DataSet,
        place: &Destination,
        last: Option<jiff::Timestamp>,
    ) {
        let labels = [("set", &*set.name), ("destination", &*place.name)];
        let late = overdue::backup(&set.name, &place.name, last, set.backup_every, ctx.now);
        if let Some(every) = set.backup_every {
            self.metrics.add("recovery_backup_interval_seconds", &labels, every.as_secs_f64());
        }
        let labels = [("what", "backup"), labels[0], labels[1]];
        self.metrics.add("recovery_overdue", &labels, f64::from(u8::from(late.is_some())));
        self.findings.extend(late);
        self.success(ctx, &set.name, place, last);
    }

    fn success(&mut self, ctx: &Context, series: &str, place: &Destination, last: Option<jiff::Timestamp>) {
        let labels = [("set", series), ("destination", &*place.name)];
        self.metrics.time("recovery_backup_last_success_timestamp_seconds", &labels, last);
        if let Some(last) = last {
            self.metrics.add("recovery_backup_age_seconds", &labels, age(ctx, last).as_secs_f64());
        }
    }

    /// What of a place was not read and compared for too long.
    fn verification(&mut self, place: &str, checked: &[Checked], config: &Config, ctx: &Context) {
        let oldest = checked.iter().map(|(time, _)| *time).min();
        self.metrics.time("recovery_verification_oldest_timestamp_seconds", &[("path", place)], oldest);
        let late = overdue::verification(place, checked, config.drill.verify_every, ctx.now);
        let labels = [("what", "verification"), ("path", place)];
        self.metrics.add("recovery_overdue", &labels, f64::from(u8::from(late.is_some())));
        self.findings.extend(late);
    }

    /// The numbers that are known at the end.
    fn totals(&mut self, ctx: &Context) {
        self.metrics.time("recovery_status_timestamp_seconds", &[], Some(ctx.now));
        for (word, severity) in
            [("error", Severity::Error), ("warning", Severity::Warning), ("info", Severity::Info)]
        {
            let count = self.findings.iter().filter(|finding| finding.severity == severity).count();
            self.metrics.add("recovery_findings", &[("severity", word)], count as f64);
        }
    }

    /// A set that has no backup, or too old a one, is an error; what was made of it with a suffix is listed beside it.
    fn set(
        &mut self,
        config: &Config,
        ctx: &Context,
        set: &DataSet,
        place: &Destination,
        catalog: &Catalog,
        known: &Known,
    ) {
        let suffixed = format!("{}-", set.name);
        let series: BTreeSet<&str> = catalog.complete.iter().map(|artifact| &*artifact.name.series).collect();
        let age = self.series(ctx, &set.name, place, catalog, known);
        for series in series.into_iter().filter(|series| series.starts_with(&suffixed)) {
            self.series(ctx, series, place, catalog, known);
            self.success(ctx, series, place, overdue::backed_up(known, catalog, series));
        }
        match age {
            None => {
                self.findings.push(Finding::error(&set.name, "has no backup", "run `cargo xtask backup`"));
                self.data.push(json!({"set": set.name, "latest": null, "count": 0}));
                self.row(["data".into(), set.name.clone(), "no backup".into(), String::new()]);
                let labels = [("what", "backup"), ("set", &*set.name), ("destination", &*place.name)];
                self.metrics.add("recovery_overdue", &labels, 1.0);
                return;
            }
            Some(age) if config.drill.rpo_target.is_some_and(|target| age > target) => {
                let what = format!("has a newest backup that is {} old, over its RPO target", span(age));
                self.findings.push(Finding::error(&set.name, what, "run `cargo xtask backup`"));
            }
            Some(_) => {}
        }
        self.backed_up(ctx, set, place, overdue::backed_up(known, catalog, &set.name));
    }

    /// Lists a series; the age of its newest backup, if it has one.
    fn series(
        &mut self,
        ctx: &Context,
        series: &str,
        place: &Destination,
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
        if let Some(last) = known.overtaken(latest) {
            self.findings.push(overtaken(last, &latest.name.file()));
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
        let labels = [("set", series), ("destination", &*place.name)];
        self.metrics.add("recovery_backup_bytes", &labels, latest.bytes as f64);
        self.metrics.add("recovery_backup_verified", &labels, f64::from(u8::from(proven)));
        self.metrics.add("recovery_backups", &labels, count as f64);
        if let Some(seconds) = known.made.get(&show(&latest.archive)).and_then(|made| made.seconds) {
            self.metrics.add("recovery_backup_duration_seconds", &labels, seconds);
        }
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

    fn drills(&mut self, config: &Config, ctx: &Context) -> Result<()> {
        let (records, findings) = record::load(&config.drill.evidence_dir)?;
        self.findings.extend(findings);
        self.findings.extend(check_chain(&records));
        if let Some(memory) = memory(config) {
            let history = memory.history()?;
            self.findings.extend(record::compare(
                &config.drill.evidence_dir,
                &history,
                &Accepted::of(&records),
            ));
            self.full(config, &memory, &history, ctx);
        }
        for record in &records {
            let evidence = &record.evidence;
            self.drills
                .push(json!({"id": evidence.id, "kind": evidence.kind, "result": evidence.result.word(),
                "rto_seconds": evidence.rto_seconds, "rpo_seconds": evidence.rpo_seconds}));
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
        let past = records.iter().filter(|record| record.evidence.started_at <= ctx.now);
        let proven = past.rev().find(|record| record.evidence.result == Verdict::Verified);
        let since = proven.map(|record| age(ctx, record.evidence.started_at));
        for (kind, every) in [(SPOT, config.drill.spot_every), (FULL, config.drill.full_every)] {
            let late = overdue::drill(&records, kind, every, &config.drill.evidence_dir, ctx.now);
            let labels = [("what", "drill"), ("kind", kind)];
            self.metrics.add("recovery_overdue", &labels, f64::from(u8::from(!late.is_empty())));
            self.findings.extend(late);
            self.drill_numbers(&records, kind, every, config, ctx);
        }
        let last = drills(&records).last();
        let text = since.map_or("never verified".to_owned(), |since| format!("verified {} ago", span(since)));
        let last = last.map_or(String::new(), |last| format!("last: {}", last.result.word()));
        self.row(["drill".into(), format!("{} on record", drills(&records).count()), text, last]);
        Ok(())
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

/// The sets that go to a destination.
/// What is told of a backup that was made last, and is not the newest by its name.
fn overtaken(last: &str, newest: &str) -> Finding {
    let what = format!("was made after {newest}, and is dated before it: a clock was wrong");
    let repair = "`restore` takes the one with the later name: name this one by its file. A new backup, `cargo xtask backup \
                  --force`, mends it";
    Finding::error(last, what, repair)
}

pub(super) fn sets_at<'a>(config: &'a Config, place: &Destination) -> Vec<&'a DataSet> {
    let mine = |set: &&DataSet| {
        let homes = config.destinations_of(set).unwrap_or_default();
        homes.iter().any(|home| home.name == place.name)
    };
    config.data.iter().filter(mine).collect()
}
