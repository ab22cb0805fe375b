//! `status`: could we recover now, to when, how fast, and when was that last proven? Reads, and writes nothing but the files
//! of `--prometheus` and `--html`.
//!
//! Here is the flow, and what its parts share. They fill in one `Answer`, a file each; all that is shown, as text, as a
//! document or as a page, comes from it.
mod backups;
mod drills;
mod metrics;
mod page;
mod past;
mod recovery;
mod releases;

use super::overdue::{self, Checked};
use super::{Context, TOOL, memory};
use crate::cli::StatusArgs as Args;
use crate::config::{Config, DataSet, Destination};
use crate::destination::durable;
use crate::destination::known::Known;
use crate::drill::evidence::Evidence;
use crate::drill::evidence::chain::drills;
use crate::drill::evidence::trend::trends;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::shown::show;
use crate::tools::git::Repository;
use crate::ui::table;
use jiff::{SignedDuration, Timestamp};
use metrics::Metrics;
use page::Page;
use past::{Away, Past};
use recovery::{Recovery, Sound, Targets};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
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
    /// What each set comes back from: the newest sound backup at a destination that is there.
    sound: BTreeMap<String, Sound>,
    away: Vec<Away>,
    /// The variables of passphrases that a backup needs and that are not set here.
    passphrases: BTreeSet<String>,
}

/// Runs the verb.
///
/// # Errors
/// When the configuration or a folder cannot be read.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let remembered = memory(&config).map(|memory| memory.read()).transpose()?.unwrap_or_default();
    let (mut answer, known) = (Answer::default(), remembered.known());
    answer.releases(&config, &known, ctx)?;
    answer.findings.extend(remembered.damage);
    answer.backups(&config, &known, ctx)?;
    let records = answer.drills(&config, ctx)?;
    let drills: Vec<&Evidence> = drills(&records).collect();
    let unconfigured = unconfigured(&config, &known, !answer.releases.is_empty(), ctx);
    answer.findings.extend(unconfigured);
    let recovery = answer.recovery(&config, &drills, ctx);
    if let Some(file) = &args.prometheus {
        answer.totals(ctx);
        let text = answer.metrics.render();
        answer.write(&ctx.path(file), &text, NUMBERS);
    }
    if let Some(file) = &args.html {
        let places = |set| config.destinations_of(set).unwrap_or_default().into_iter();
        let paths = |set| places(set).map(|place| place.place.path.clone()).collect();
        let sets: Vec<(&str, _)> = config.data.iter().map(|set| (&*set.name, paths(set))).collect();
        let past = Past { sets: past::of(&remembered.records, &known, &sets), drills: trends(&drills) };
        let text = answer.page(&recovery, &past, &config, ctx);
        answer.write(&ctx.path(file), &text, page::GENERATOR);
    }
    ctx.ui.document(&answer.document(&recovery));
    ctx.ui.result(&recovery.sentence());
    table(&answer.rows).iter().for_each(|line| ctx.ui.result(line));
    ctx.ui.findings(&answer.findings);
    if config.data.is_empty() {
        let next = match &config.file {
            Some(file) => format!("name the data and its drive in {}", show(file)),
            None => {
                "`cargo xtask init` writes a recovery.toml, in which the data and its drive are named".into()
            }
        };
        ctx.ui.say(&format!("next: {next}"));
    }
    Ok(finding::exit(&answer.findings))
}

/// Whoever asks how things stand where there are none, or no longer any, asks at the wrong place.
fn unconfigured(config: &Config, known: &Known, bundled: bool, ctx: &Context) -> Option<Finding> {
    let is_place =
        || bundled || config.file.is_some() || matches!(Repository::discover(&ctx.start), Ok(Some(_)));
    // What was backed up with `--source` was never configured.
    let any_set = known.made.values().any(|made| made.source.is_some());
    let what = match (config.data.is_empty(), any_set) {
        (false, _) => return None,
        (true, true) => "has no data set any more, and backups on record: nothing is backed up",
        (true, false) if is_place() => return None,
        (true, false) => "is in no git repository, and has no recovery.toml: there is nothing to recover",
    };
    let repair = "run it in the repository, or name that with -C; `--config` names another recovery.toml";
    Some(Finding::error(show(&config.root), what, repair))
}

fn age(ctx: &Context, time: Timestamp) -> SignedDuration {
    ctx.now.duration_since(time)
}

impl Answer {
    fn recovery(&self, config: &Config, drills: &[&Evidence], ctx: &Context) -> Recovery {
        let as_of = |set: &str| self.sound.get(set).map(|sound| sound.as_of);
        let sets: Vec<_> = config.data.iter().map(|set| (&*set.name, as_of(&set.name))).collect();
        let targets = Targets { rto: config.drill.rto_target, rpo: config.drill.rpo_target };
        let mut recovery = Recovery::of(&sets, drills, targets, ctx.now);
        recovery.passphrases.clone_from(&self.passphrases);
        let unseen = self.sound.iter().filter(|(_, sound)| !sound.seen);
        recovery.unseen = unseen.map(|(set, _)| set.clone()).collect();
        recovery
    }

    fn document(&self, recovery: &Recovery) -> Value {
        let status = if finding::any_error(&self.findings) { "findings" } else { "ok" };
        json!({"schema_version": 1, "command": "status", "status": status, "recovery": recovery,
            "releases": self.releases, "data": self.data, "drills": self.drills,
            "destinations": self.destinations, "asides": self.asides, "shell_backups": self.shell,
            "findings": self.findings})
    }

    /// The text of the page: the document, with what was before it.
    fn page(&self, recovery: &Recovery, past: &Past, config: &Config, ctx: &Context) -> String {
        let (document, name) = (self.document(recovery), &config.release.name);
        page::render(&Page { document: &document, past, away: &self.away, now: ctx.now, name, tool: TOOL })
    }

    /// Replaces a file that was asked for; one that cannot be written is a finding. What is there already and is no file,
    /// such as a device, is not replaced by one; nor is a file that has not this `mark` of an earlier run in its beginning.
    fn write(&mut self, file: &Path, text: &str, mark: &str) {
        let written = match file.symlink_metadata() {
            Ok(meta) if !meta.is_file() => {
                let what = "is there, and is no plain file: it is not replaced by one";
                Err(Error::refused(what, "name a file"))
            }
            Ok(meta) if meta.len() > 0 && !begins_with(file, mark) => {
                let what = "is there, and was not written by an earlier run: it is not replaced";
                Err(Error::refused(what, "name another file, or move this one away"))
            }
            _ => durable::replace(file, text.as_bytes(), 0o644),
        };
        self.findings.extend(written.err().map(|error| Finding::of(show(file), &error)));
    }

    fn row(&mut self, cells: [String; 4]) {
        self.rows.push(cells.to_vec());
    }

    fn success(&mut self, ctx: &Context, series: &str, place: &Destination, last: Option<Timestamp>) {
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
}

/// In the first line of the numbers for Prometheus.
const NUMBERS: &str = "# HELP recovery_";

/// Whether the first kilobyte of a file holds a mark.
fn begins_with(file: &Path, mark: &str) -> bool {
    let mut begin = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(1000).read_to_end(&mut begin));
    read.is_ok() && String::from_utf8_lossy(&begin).contains(mark)
}

/// The sets that go to a destination.
pub(super) fn sets_at<'a>(config: &'a Config, place: &Destination) -> Vec<&'a DataSet> {
    let mine = |set: &&DataSet| {
        let homes = config.destinations_of(set).unwrap_or_default();
        homes.iter().any(|home| home.name == place.name)
    };
    config.data.iter().filter(mine).collect()
}
