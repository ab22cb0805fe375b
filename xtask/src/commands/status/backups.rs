//! The backups: of each destination what it holds, of each set whether it is backed up there, and since when.
use super::past::Away;
use super::recovery::{Sound, sound};
use super::{Answer, age, sets_at};
use crate::commands::overdue;
use crate::commands::prune::{not_on_record, quota};
use crate::commands::{Context, free, memory};
use crate::config::{Config, DataSet, Destination, Encryption, keys};
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::known::{Against, Known, lies_at};
use crate::destination::names::ArtifactName;
use crate::destination::retention::AHEAD;
use crate::drill::due;
use crate::error::Result;
use crate::finding::Finding;
use crate::restore::Source;
use crate::shown::show;
use crate::tools::openpgp::Lock;
use crate::ui::{bytes, span};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

impl Answer {
    /// Looks at each destination.
    pub(super) fn backups(&mut self, config: &Config, known: &Known, ctx: &Context) -> Result<()> {
        let memory = memory(config);
        for place in &config.destinations {
            let (state, catalog) = match place.place.look(false) {
                Ok(seen) => seen,
                Err(error) => {
                    self.findings.push(Finding::of(show(&place.place.path), &error));
                    self.destinations.push(
                        json!({"name": place.name, "path": show(&place.place.path), "available": false}),
                    );
                    self.away(config, ctx, place, known);
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
            if let Some(free) = state.free_bytes {
                self.metrics.add("recovery_destination_free_bytes", &labels, free as f64);
            }
            if let Some(quota) = quota_bytes {
                self.metrics.add("recovery_destination_quota_bytes", &labels, quota);
            }
            let checked = catalog
                .complete
                .iter()
                .map(|artifact| (overdue::backup_read_back(known, artifact), show(&artifact.archive)));
            self.verification(&show(&place.place.path), &checked.collect::<Vec<_>>(), config, ctx);
            let limit = place.quota.map_or(String::new(), |quota| format!("of {}", bytes(quota)));
            self.row(["drive".into(), place.name.clone(), format!("{} {limit}", bytes(used)), free(&state)]);
            self.findings.extend(catalog.findings.iter().cloned());
            self.findings.extend(quota(place, &catalog, 0));
            // One that was complete is told below, as what it is.
            let leftovers = catalog.incomplete.iter().filter(|path| !known.has_lost_marker(path, &catalog));
            for path in leftovers {
                let what = "has no .sha256: a run is writing it, or was killed before its end";
                self.findings.push(Finding::warning(
                    show(path),
                    what,
                    "`cargo xtask prune` sweeps it after a day",
                ));
            }
            if let Some(memory) = &memory {
                // After the catalogue: others may be at work, and what they do is on record before, or right behind.
                let known = memory.known()?;
                self.findings.extend(known.lost(&place.place.path, &catalog));
                self.findings.extend(not_on_record(config, place, &known, &catalog));
            }
            for set in sets_at(config, place) {
                self.set(config, ctx, set, place, &catalog, known);
            }
            self.locked(config, ctx, place, &catalog, known);
            self.of_shell(ctx, &catalog);
        }
        Ok(())
    }

    /// Whether the passphrase of what lies there is at hand, and opens our newest.
    fn locked(
        &mut self,
        config: &Config,
        ctx: &Context,
        place: &Destination,
        catalog: &Catalog,
        known: &Known,
    ) {
        let ours = sets_at(config, place).into_iter();
        let ours = ours.flat_map(|set| overdue::ours(known, catalog, &set.name));
        let encrypted = ours.filter(|artifact| artifact.name.encrypted);
        let Some(newest) = encrypted.max_by_key(|artifact| artifact.name.time) else { return };
        let opened = keys::opening(true, place.encryption.as_ref(), ctx.env).and_then(|secret| {
            // Another machine's is not fetched for this, and a secret key may ask for somebody.
            match place.place.remote.is_none() && Lock::of(&newest.archive) == Lock::Passphrase {
                true => Source::from(newest).closing(secret.as_ref()).map(drop),
                false => Ok(()),
            }
        });
        let Err(error) = opened else { return };
        let what = format!("holds encrypted backups, and {}", error.chain());
        self.findings.push(Finding::warning(&place.name, what, error.next_step().unwrap_or_default()));
        if let (Some(Encryption::Passphrase { variable }), None) = (&place.encryption, error.damaged_file()) {
            self.passphrases.insert(variable.clone());
        }
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
        let here = known.made.keys().filter(|path| lies_at(path, &place.place.path));
        let made = |path: &String| ArtifactName::parse(Path::new(path).file_name()?.to_str()?);
        let checked =
            here.filter_map(|path| Some((due::read_back(known, path, made(path)?.time), path.clone())));
        self.verification(&show(&place.place.path), &checked.collect::<Vec<_>>(), config, ctx);
        for set in sets_at(config, place) {
            let last = due::backed_up(known, &set.name, &place.place.path, ctx.now);
            self.away.push(Away { set: set.name.clone(), destination: place.name.clone(), last });
            self.backed_up(ctx, set, place, last);
        }
    }

    /// As of when a set is backed up somewhere, and whether that is long enough ago to be told.
    fn backed_up(&mut self, ctx: &Context, set: &DataSet, place: &Destination, last: Option<Timestamp>) {
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
        self.comes_back(set, sound(known, catalog, &set.name, ctx.now));
        for series in series.into_iter().filter(|series| series.starts_with(&suffixed)) {
            self.series(ctx, series, place, catalog, known);
            self.success(ctx, series, place, overdue::backed_up(known, catalog, series, ctx.now));
        }
        match age {
            None => {
                let what = format!("has no backup at {}", place.name);
                self.findings.push(Finding::error(&set.name, what, "run `cargo xtask backup`"));
                self.data
                    .push(json!({"set": set.name, "destination": place.name, "latest": null, "count": 0}));
                self.row(["data".into(), set.name.clone(), "no backup".into(), String::new()]);
                let labels = [("what", "backup"), ("set", &*set.name), ("destination", &*place.name)];
                self.metrics.add("recovery_overdue", &labels, 1.0);
                return;
            }
            Some(age) if config.drill.rpo_target.is_some_and(|target| age > target) => {
                let what = format!(
                    "has a newest backup at {} that is {} old, over its RPO target",
                    place.name,
                    span(age)
                );
                self.findings.push(Finding::error(&set.name, what, "run `cargo xtask backup`"));
            }
            Some(_) => {}
        }
        self.backed_up(ctx, set, place, overdue::backed_up(known, catalog, &set.name, ctx.now));
    }

    /// A set comes back as of the newest sound backup that any of its destinations has.
    fn comes_back(&mut self, set: &DataSet, sound: Option<Sound>) {
        let Some(sound) = sound else { return };
        let newest = self.sound.entry(set.name.clone()).or_insert(sound);
        *newest = sound.max(*newest);
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
        // What a backup of now would hold, it holds: but not what one of the future would.
        let counted = confirmed.filter(|time| age(ctx, *time) >= -AHEAD);
        let as_of = counted.map_or(latest.name.time, |time| time.max(latest.name.time));
        let (count, age) = (catalog.series(series).count(), age(ctx, as_of));
        // Without its manifest not all that a verification looks at is there any more.
        let proven = latest.has_manifest && known.verified.contains(&show(&latest.archive));
        self.findings.extend(known.wrong_with(latest));
        // An older one may be all that is left some day. What is only partial was told when it was the newest.
        let older =
            catalog.series(series).filter(|one| one.archive != latest.archive && known.is_damaged(one));
        self.findings.extend(older.filter_map(|one| known.wrong_with(one)));
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
        self.findings.extend(known.overtaken(latest).map(|last| overtaken(last, &latest.name, ctx.now)));
        if counted != confirmed {
            let what = "was confirmed at a time in the future: a clock is or was wrong";
            let repair = "set the clock; then see `docs/runbook.md`, The clock was wrong";
            self.findings.push(Finding::error(show(&latest.archive), what, repair));
        }
        if age < -AHEAD {
            let what = "is dated in the future: its clock or this machine's is wrong";
            self.findings.push(Finding::error(
                show(&latest.archive),
                what,
                "set the clock; `restore --at` names others",
            ));
        }
        self.data.push(json!({"set": series, "destination": place.name, "latest": show(&latest.archive),
            "created_at": latest.name.time.to_string(), "confirmed_at": confirmed.map(|time| time.to_string()), "age_seconds": age.as_secs(), "verified": proven, "pending": pending,
            "count": count, "bytes": latest.bytes}));
        let labels = [("set", series), ("destination", &*place.name)];
        self.metrics.add("recovery_backup_bytes", &labels, latest.bytes as f64);
        self.metrics.add("recovery_backup_verified", &labels, f64::from(u8::from(proven)));
        self.metrics.add("recovery_backups", &labels, count as f64);
        if let Some(seconds) = known.made.get(&show(&latest.archive)).and_then(|made| made.seconds) {
            self.metrics.add("recovery_backup_duration_seconds", &labels, seconds);
        }
        let against = known.against(&show(&latest.archive), Some(latest.archive_bytes));
        let proof = match (pending, proven, known.sampled.get(&show(&latest.archive))) {
            (true, _, _) => "pending".to_owned(),
            _ if against == Some(Against::Part) => "made with errors".to_owned(),
            _ if against.is_some() => "damaged".to_owned(),
            _ if !latest.has_manifest => "no manifest".to_owned(),
            (false, true, _) => "verified".to_owned(),
            (false, false, Some((parts, of))) => format!("{parts} of {of} parts verified"),
            (false, false, None) => "not verified yet".to_owned(),
        };
        let when = match age < -AHEAD {
            true => format!("dated {} ahead", span(-age)),
            false => format!("{} ago", span(age)),
        };
        self.row([
            "data".into(),
            series.to_owned(),
            format!("{when}, {proof}"),
            format!("{count} kept, the newest {}", bytes(latest.bytes)),
        ]);
        Some(age)
    }
}

/// What is told of a backup that was made last, and is not the newest by its name.
fn overtaken(last: &str, newest: &ArtifactName, now: Timestamp) -> Finding {
    let file = newest.file();
    let what = format!("was made after {file}, and is dated before it: a clock was wrong");
    // No backup of now is newer than one that is dated ahead.
    let repair = match newest.time.duration_since(now) > AHEAD {
        true => format!("set the clock; then move the files of {file} away: `docs/runbook.md`, The clock was wrong"),
        false => "`restore` takes the one with the later name: name this one by its file. A new backup, `cargo xtask backup \
                  --force`, mends it"
            .into(),
    };
    Finding::error(last, what, repair)
}
