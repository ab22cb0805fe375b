//! `doctor`: everything that the other verbs need, each with its state, and what mends it. Writes nothing, but for the private
//! folder in which a bundle with `include` is staged.
//!
//! It asks the rooms that will do the work, so that it cannot be of another opinion: the configuration loads as it will for
//! them, a drive is looked at as a backup looks at it, and a key is good when it opens the newest backup.
mod destinations;
mod needs;
mod repository;

use super::environment::values;
use super::restore_drill::full;
use super::{Context, backup, memory, notify};
use crate::config::{Config, DataSet, Deploy, keys};
use crate::destination::known::Known;
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::destination::mount;
use crate::destination::releases;
use crate::drill::full::journal;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding, Severity};
use crate::shown::show;
use crate::source::folder::{Folder, Survey};
use crate::tools::git::Repository;
use crate::tools::{Tool, shell, signature};
use crate::ui::{bytes, table};
use needs::{forge_of, needs, needs_of};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it has to be.
    Ok,
    /// It works, and may not for long.
    Warning,
    /// Something else cannot work before this is mended.
    Failed,
    /// Nothing that is configured asks for it.
    Unneeded,
}

/// One row of the table.
#[derive(Debug, Serialize)]
struct Check {
    /// What kind of thing: `repository`, `tool`, `data`, …
    part: &'static str,
    /// Which of them.
    name: String,
    state: State,
    /// How it was seen.
    seen: String,
    /// What mends it.
    next: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// None that a check does not turn into a row.
pub fn run(ctx: &Context) -> Result<Exit> {
    let mut doctor = Doctor { ctx, checks: Vec::new() };
    let repository = doctor.repository();
    match super::configuration(ctx) {
        Ok(config) => doctor.configured(&config, repository.as_ref()),
        Err(error) => {
            doctor.error("configuration", "recovery.toml", &error);
            doctor.tools(&[(Tool::Git, "every bundle")]);
        }
    }
    Ok(doctor.report())
}

struct Doctor<'a> {
    ctx: &'a Context,
    checks: Vec<Check>,
}

impl Doctor<'_> {
    fn add(&mut self, part: &'static str, name: impl Into<String>, state: State, seen: impl Into<String>) {
        self.checks.push(Check { part, name: name.into(), state, seen: seen.into(), next: None });
    }

    fn wrong(&mut self, part: &'static str, name: &str, state: State, seen: &str, next: &str) {
        let (name, seen, next) = (name.to_owned(), seen.to_owned(), Some(next.to_owned()));
        self.checks.push(Check { part, name, state, seen, next });
    }

    fn error(&mut self, part: &'static str, name: &str, error: &Error) {
        let (name, next) = (name.to_owned(), error.next_step());
        self.checks.push(Check { part, name, state: State::Failed, seen: error.chain(), next });
    }

    /// What was said to be well is not, as another look has shown: its row says that instead.
    fn rather(&mut self, part: &str, name: &str, state: State, seen: String, next: Option<String>) {
        let well =
            |check: &&mut Check| check.part == part && check.name == name && check.state != State::Failed;
        if let Some(check) = self.checks.iter_mut().find(well) {
            (check.state, check.seen, check.next) = (state, seen, next);
        }
    }

    fn configured(&mut self, config: &Config, repository: Option<&Repository>) {
        match &config.file {
            Some(file) => self.add("configuration", "recovery.toml", State::Ok, show(file)),
            None => {
                let seen =
                    "there is none: a release can be bundled, and a backup made with --source and --dest";
                self.wrong(
                    "configuration",
                    "recovery.toml",
                    State::Warning,
                    seen,
                    "`cargo xtask init` writes one",
                );
            }
        }
        if config.data.is_empty() || config.destinations.is_empty() {
            let seen = "no data set with a destination is configured: nothing is backed up";
            let next = "name your data and your drive in recovery.toml, where it has comments";
            self.wrong("data", "none", State::Warning, seen, next);
        }
        let sources = config.data.iter().filter_map(|set| Some((&*set.name, self.data(config, set)?)));
        let sources: BTreeMap<&str, Survey> = sources.collect();
        let databases = sources.values().any(|survey| survey.databases);
        if let Some(repository) = repository {
            for set in &config.data {
                self.kept_out_of(repository, "data", &set.name, &set.source);
                self.tracked(repository, "data", &set.name, &set.source);
            }
            let local = config.destinations.iter().filter(|place| place.place.remote.is_none());
            for place in local {
                self.kept_out_of(repository, "destination", &place.name, &place.place.path);
                self.tracked(repository, "destination", &place.name, &place.place.path);
            }
            self.tracked(repository, "folder", "releases", &config.release.output_dir);
            self.release(repository, config);
            self.kept_out_of(repository, "folder", "releases", &config.release.output_dir);
        }
        let (mut needs, mut forges) = (needs(config, databases), BTreeSet::new());
        match releases::scan(&config.release.output_dir) {
            Ok((bundles, _)) => {
                needs.extend(bundles.iter().flat_map(needs_of));
                forges.extend(bundles.iter().filter_map(forge_of));
            }
            Err(error) => self.error("folder", "releases", &error),
        }
        self.tools(&needs);
        self.answers(&needs, &forges);
        let known = memory(config).and_then(|memory| memory.known().ok()).unwrap_or_default();
        for set in &config.data {
            self.moved(config, set, &known);
        }
        for place in &config.destinations {
            self.destination(config, place, &known, &sources);
        }
        self.drill(config);
        self.commands(config);
        if let Some(file) = &config.notify.ping_url_file {
            match notify::url_in(file) {
                Ok(_) => self.add("notify", "ping-url-file", State::Ok, show(file)),
                Err(error) => self.error("notify", "ping-url-file", &error),
            }
        }
        if let Some(memory) = memory(config) {
            self.memory(&memory);
        }
        self.folder("folder", "releases", &config.release.output_dir);
        self.folder("folder", "temporary files", &self.ctx.temporary());
    }

    /// The source of a set, where its stages lie, and whether its canary can be written; what the source holds, where that
    /// can be seen.
    fn data(&mut self, config: &Config, set: &DataSet) -> Option<Survey> {
        let survey = self.source(set);
        self.stage(config, set, survey.as_ref().unwrap_or(&Survey::default()));
        if let Some(found) = backup::canary::foreseen(set) {
            let state = if found.severity == Severity::Error { State::Failed } else { State::Warning };
            self.wrong("data", &format!("{}: canary", set.name), state, &found.line(), &found.repair);
        }
        survey
    }

    /// Where the stage of a set would lie, or the copies of its databases.
    fn stage(&mut self, config: &Config, set: &DataSet, survey: &Survey) {
        if !backup::stage::needs_room(set, survey) {
            return;
        }
        let name = format!("{}: stage-dir", set.name);
        if let Some(folder) = &set.live.stage_dir {
            self.folder("folder", &name, folder);
        }
        let places = config.destinations_of(set).unwrap_or_default();
        // One that does not encrypt is told with the destination.
        let encryption = places.first().and_then(|place| place.encryption.as_ref());
        let key = encryption.and_then(|encryption| keys::sealing(Some(encryption), self.ctx.env).ok());
        let memory = memory(config);
        let placed = backup::stage::may_stage(self.ctx, memory.as_ref(), set, survey, key.as_ref());
        match (placed, &set.live.stage_dir) {
            (Ok(()), _) => {}
            (Err(error), Some(_)) => {
                self.rather("folder", &name, State::Failed, error.chain(), error.next_step());
            }
            (Err(error), None) => self.error("folder", &name, &error),
        }
    }

    /// Whether a backup would refuse the set, since the last one of its name is of another folder.
    fn moved(&mut self, config: &Config, set: &DataSet, known: &Known) {
        let places = config.destinations_of(set).unwrap_or_default();
        let told = backup::not_of_another(set, memory(config).as_ref(), known, &places, &set.name);
        if let Err(error) = told {
            self.error("data", &format!("{}: last backup", set.name), &error);
        }
    }

    fn source(&mut self, set: &DataSet) -> Option<Survey> {
        // Of one without files the state tells whether it ever had any.
        let surveyed = |folder: Folder| match folder.glance()? {
            survey if backup::files(set, &survey) == 0 => folder.survey(backup::moment(self.ctx)),
            survey => Ok(survey),
        };
        match Folder::open(&set.source, &set.rules()).and_then(surveyed) {
            Ok(survey) => {
                let seen = format!("{}: {} files, {}", show(&set.source), survey.files, bytes(survey.bytes));
                match backup::files(set, &survey) {
                    0 => {
                        let next = "check that it is the right folder, and what `exclude` leaves of it";
                        self.wrong("data", &set.name, State::Warning, &seen, next);
                    }
                    _ => self.add("data", &set.name, State::Ok, seen),
                }
                for Finding { severity, path, what, repair, .. } in backup::lost_key_files(set) {
                    let (name, seen) = (format!("{}: key file", set.name), format!("{path} {what}"));
                    let state = if severity == Severity::Error { State::Failed } else { State::Warning };
                    self.wrong("data", &name, state, &seen, &repair);
                }
                Some(survey)
            }
            Err(error) => {
                match backup::awaited(set) {
                    Some(Finding { path, what, repair, .. }) => {
                        self.wrong("data", &set.name, State::Warning, &format!("{path} {what}"), &repair);
                    }
                    None => self.error("data", &set.name, &error),
                }
                None
            }
        }
    }

    fn drill(&mut self, config: &Config) {
        let drill = &config.drill;
        self.folder("folder", "evidence", &drill.evidence_dir);
        if let Some(key) = &drill.sign_with {
            // Signed for nobody: only then it is known that gpg asks for nothing.
            match signature::fingerprint(key).and_then(|key| signature::sign(&key, b"doctor")) {
                Ok(_) => self.add("key", "to sign evidence", State::Ok, key),
                Err(error) => self.error("key", "to sign evidence", &error),
            }
        }
        let commands = [&drill.stop, &drill.start];
        let is_meant = commands.into_iter().any(Option::is_some) || !drill.smoke.is_empty();
        if drill.full_every.is_some() || is_meant || drill.deploy.is_some() {
            self.full(config);
        }
    }

    /// The programs that the user's own lines begin with. No line is run.
    fn commands(&mut self, config: &Config) {
        let path = values(["PATH"].into_iter(), self.ctx.env);
        for (key, line) in lines(config) {
            // The shell of these is in the restored bundle, which may bring the program.
            if matches!(key, "release-checks" | "deploy") && line.contains('/') {
                continue;
            }
            if let Some(word) = shell::missing(line, &config.root, &path) {
                let seen = format!("{word}, with which it begins, is not there, or not on PATH");
                self.wrong("command", key, State::Failed, &seen, "install it, or mend that line");
            }
        }
    }

    /// What the full drill itself would refuse. Of one that is open the memory tells, and before that is over all else may lie
    /// elsewhere.
    fn full(&mut self, config: &Config) {
        if memory(config).is_some_and(|memory| journal::refuse_open(memory.root()).is_err()) {
            return;
        }
        match full::foreseen(config) {
            Ok(()) => self.add("drill", "full", State::Ok, "everything that it needs is set"),
            Err(error) if config.drill.full_every.is_some() => self.error("drill", "full", &error),
            // None is due: what it lacks stops nothing yet.
            Err(error) => {
                let next = error.next_step().unwrap_or_default();
                self.wrong("drill", "full", State::Warning, &error.chain(), &next);
            }
        }
    }

    fn memory(&mut self, memory: &Memory) {
        self.folder("folder", "memory", memory.root());
        match memory.read() {
            Ok(remembered) => {
                if let Some(one) = remembered.damage {
                    self.wrong("memory", &one.path, State::Failed, &one.what, &one.repair);
                }
            }
            Err(error) => self.error("memory", "history", &error),
        }
        match (lock::holder_of(memory.root()), journal::refuse_open(memory.root())) {
            (Some(holder), _) => self.add("lock", "repository", State::Ok, format!("held: {holder}")),
            (None, Err(error)) => self.error("drill", "open", &error),
            (None, Ok(())) => self.add("lock", "repository", State::Ok, "free"),
        }
    }

    /// A folder that is written to: it, or the one that it is to be made in, may be.
    fn folder(&mut self, part: &'static str, name: &str, folder: &Path) {
        let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(folder);
        let word = if there == folder { "may be written to" } else { "will be made" };
        if !there.is_dir() {
            let seen = format!("{} is no folder, so {} cannot be made", show(there), show(folder));
            return self.wrong(part, name, State::Failed, &seen, "move it away, or name another folder");
        }
        match mount::check(there, None, false).and_then(|mounted| mounted.writable()) {
            Ok(()) => self.add(part, name, State::Ok, format!("{} {word}", show(folder))),
            Err(error) => self.error(part, name, &error),
        }
    }

    fn report(self) -> Exit {
        let broken = self.checks.iter().filter(|check| matches!(check.state, State::Failed | State::Warning));
        let findings: Vec<Finding> = broken
            .map(|check| {
                let (path, next) =
                    (format!("{}: {}:", check.part, check.name), check.next.clone().unwrap_or_default());
                match check.state {
                    State::Failed => Finding::error(path, &check.seen, next),
                    _ => Finding::warning(path, &check.seen, next),
                }
            })
            .collect();
        let status = if finding::any_error(&findings) { "findings" } else { "ok" };
        self.ctx.ui.document(
            &json!({"schema_version": 1, "command": "doctor", "status": status, "checks": self.checks,
            "findings": findings}),
        );
        let rows: Vec<Vec<String>> = self
            .checks
            .iter()
            .map(|check| {
                let word = match check.state {
                    State::Ok => "ok",
                    State::Warning => "warning",
                    State::Failed => "FAILED",
                    State::Unneeded => "-",
                };
                vec![word.into(), check.part.into(), check.name.clone(), check.seen.clone()]
            })
            .collect();
        table(&rows).iter().for_each(|line| self.ctx.ui.result(line));
        self.ctx.ui.findings(&findings);
        finding::exit(&findings)
    }
}

/// The shell lines that the configuration has, each with its key.
fn lines(config: &Config) -> Vec<(&'static str, &str)> {
    let (drill, notify) = (&config.drill, &config.notify);
    let deploy = match &drill.deploy {
        Some(Deploy::Command(line)) => Some(line),
        Some(Deploy::Folder(_)) | None => None,
    };
    let sets = config.data.iter().flat_map(|set| {
        let (before, after) = (set.live.before.iter(), set.live.after.iter());
        before.map(|line| ("before", line)).chain(after.map(|line| ("after", line)))
    });
    sets.chain(config.destinations.iter().filter_map(|place| Some(("confirm", place.confirm.as_ref()?))))
        .chain(drill.release_checks.iter().map(|line| ("release-checks", line)))
        .chain(
            [("stop", &drill.stop), ("start", &drill.start)]
                .into_iter()
                .filter_map(|(key, line)| Some((key, line.as_ref()?))),
        )
        .chain(drill.smoke.iter().map(|line| ("smoke", line)))
        .chain(deploy.map(|line| ("deploy", line)))
        .chain(notify.on_success.iter().map(|line| ("on-success", line)))
        .chain(notify.on_failure.iter().map(|line| ("on-failure", line)))
        .map(|(key, line)| (key, line.as_str()))
        .collect()
}
