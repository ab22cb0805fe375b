//! `doctor`: everything that the other verbs need, each with its state, and what mends it. Writes nothing.
//!
//! It asks the rooms that will do the work, so that it cannot be of another opinion: the configuration loads as it will for
//! them, a drive is looked at as a backup looks at it, and a key is good when it opens the newest backup.
mod repository;

use super::environment::values;
use super::restore_drill::full;
use super::{Context, lost_key_files, memory, notify, overdue};
use crate::config::live::Consistency;
use crate::config::{Config, DataSet, Deploy, Destination, Encryption, keys};
use crate::destination::catalog::Catalog;
use crate::destination::lock;
use crate::destination::memory::{Known, Memory};
use crate::destination::mount::Mounted;
use crate::destination::releases::{self, Bundle};
use crate::destination::retention::AHEAD;
use crate::drill::demands::Published;
use crate::drill::full::journal;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::restore::Source;
use crate::shown::show;
use crate::source::folder::Folder;
use crate::tools::git::Repository;
use crate::tools::{self, Tool, gpg, shell, signature};
use crate::ui::{bytes, table};
use rustix::fs::Access;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
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
        let databases = config.data.iter().map(|set| self.data(set)).fold(false, |any, has| any | has);
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
        let mut needs = needs(config, databases);
        match releases::scan(&config.release.output_dir) {
            Ok((bundles, _)) => needs.extend(bundles.iter().flat_map(needs_of)),
            Err(error) => self.error("folder", "releases", &error),
        }
        self.tools(&needs);
        let known = memory(config).and_then(|memory| memory.known().ok()).unwrap_or_default();
        for place in &config.destinations {
            self.destination(config, place, &known);
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

    /// The source of a set; whether it holds a database that SQLite copies.
    fn data(&mut self, set: &DataSet) -> bool {
        match Folder::open(&set.source, &set.rules()).and_then(|folder| folder.glance()) {
            Ok(survey) => {
                let seen = format!("{}: {} files, {}", show(&set.source), survey.files, bytes(survey.bytes));
                self.add("data", &set.name, State::Ok, seen);
                for lost in lost_key_files(set) {
                    let name = format!("{}: key file", set.name);
                    self.wrong(
                        "data",
                        &name,
                        State::Failed,
                        &format!("{} {}", lost.path, lost.what),
                        &lost.repair,
                    );
                }
                survey.databases
            }
            Err(error) => {
                self.error("data", &set.name, &error);
                false
            }
        }
    }

    fn tools(&mut self, needs: &[(Tool, &str)]) {
        for tool in Tool::ALL {
            let what: BTreeSet<&str> =
                needs.iter().filter(|(one, _)| *one == tool).map(|(_, what)| *what).collect();
            let (name, what) = (tool.command(), what.into_iter().collect::<Vec<_>>().join(", "));
            match (tools::version(tool), what.is_empty()) {
                (Ok(version), true) => self.add("tool", name, State::Unneeded, short(&version)),
                (Ok(version), false) => {
                    self.add("tool", name, State::Ok, format!("{}, for {what}", short(&version)));
                }
                (Err(Error::MissingTools { .. }), true) => {
                    self.add("tool", name, State::Unneeded, "not installed");
                }
                (Err(error), true) => self.add("tool", name, State::Unneeded, error.chain()),
                (Err(error), false) => {
                    let seen = format!("{}; it is needed for {what}", error.chain());
                    self.wrong("tool", name, State::Failed, &seen, &error.next_step().unwrap_or_default());
                }
            }
        }
    }

    /// A drive as a backup looks at it, and the keys of what lies there.
    fn destination(&mut self, config: &Config, place: &Destination, known: &Known) {
        let (mounted, catalog) = match place.place.look(false) {
            Ok(seen) => seen,
            Err(error) => {
                self.error("destination", &place.name, &error);
                return self.sealing(place);
            }
        };
        if let Err(error) = mounted.writable() {
            self.error("destination", &place.name, &error);
        } else {
            let (path, used) = (show(&place.place.path), catalog.used());
            let free = super::free(&mounted);
            let quota = place.quota.map_or(String::new(), |quota| format!(" of {}", bytes(quota)));
            let seen = format!("{path}: {}{quota} used, {free}", bytes(used));
            match place.quota.is_some_and(|quota| used > quota) {
                true => self.wrong(
                    "destination",
                    &place.name,
                    State::Failed,
                    &seen,
                    "`cargo xtask prune`, or raise `quota`",
                ),
                false => self.add("destination", &place.name, State::Ok, seen),
            }
        }
        self.sealing(place);
        for set in super::status::sets_at(config, place) {
            self.newest(set, place, &catalog, known);
            self.room(set, place, &mounted, &catalog);
        }
    }

    /// Whether another backup like the newest one would find room.
    fn room(&mut self, set: &DataSet, place: &Destination, mounted: &Mounted, catalog: &Catalog) {
        let newest = catalog.latest(&set.name, None).map(|latest| latest.bytes);
        let Some((free, needed)) = mounted.free_bytes.zip(newest).filter(|(free, needed)| free < needed)
        else {
            return;
        };
        let seen = format!(
            "the newest backup of {} takes {}, and {} is free: the next may not fit",
            set.name,
            bytes(needed),
            bytes(free)
        );
        let next = "`cargo xtask prune --dry-run` lists what may go; or take a larger drive";
        self.wrong("destination", &place.name, State::Warning, &seen, next);
    }

    /// What the next backup is encrypted to.
    fn sealing(&mut self, place: &Destination) {
        let Some(encryption) = &place.encryption else { return };
        let checked = keys::sealing(Some(encryption), self.ctx.env).and_then(|key| {
            // To nowhere: gpg itself says whether it can.
            gpg::encrypt(&key, &place.place.path, &mut std::io::sink(), |_| Ok(()))
        });
        let seen = match encryption {
            Encryption::Passphrase { variable } => format!("the passphrase in {variable}"),
            Encryption::Recipients(names) => format!("the public keys of {}", names.join(", ")),
        };
        match checked {
            Ok(()) => self.add("key", format!("{}: to encrypt", place.name), State::Ok, seen),
            Err(error) => self.error("key", &format!("{}: to encrypt", place.name), &error),
        }
    }

    /// Whether the newest backup of a set opens, and whether its time is one that can be.
    fn newest(&mut self, set: &DataSet, place: &Destination, catalog: &Catalog, known: &Known) {
        let counted = overdue::ours(known, catalog, &set.name);
        let Some(latest) = counted.max_by_key(|artifact| artifact.name.time) else {
            let seen = format!("none at {}", place.name);
            return self.wrong("backup", &set.name, State::Warning, &seen, "`cargo xtask backup`");
        };
        let name = show(latest.archive.file_name().unwrap_or_default().as_ref());
        if let Some(wrong) = known.wrong_with(latest) {
            let seen = format!("{name} {}", wrong.what);
            return self.wrong("backup", &set.name, State::Failed, &seen, &wrong.repair);
        }
        let name = match known.is_on_record(latest) {
            true => name,
            false => format!("{name}, which is not on record here (another may have made it),"),
        };
        if self.ctx.now.duration_since(latest.name.time) < -AHEAD {
            let seen = format!("{name} is dated in the future: this machine's clock is wrong, or was");
            return self.wrong(
                "backup",
                &set.name,
                State::Failed,
                &seen,
                "set the clock; see docs/runbook.md",
            );
        }
        if place.place.remote.is_some() {
            let seen = format!("{name}, not opened: it lies on another machine");
            return self.add("backup", &set.name, State::Ok, seen);
        }
        let encryption = keys::encryption_of(&latest.archive, place.encryption.as_ref(), self.ctx.env);
        let opened = keys::opening(latest.name.encrypted, encryption.as_ref(), self.ctx.env)
            .and_then(|secret| Ok((Source::of_file(&latest.archive)?, secret)))
            .and_then(|(source, secret)| source.closing(secret.as_ref()));
        match opened {
            Ok(Some(_)) => self.add("backup", &set.name, State::Ok, format!("{name} opens")),
            Ok(None) => self.add("backup", &set.name, State::Ok, format!("{name}, which has no manifest")),
            Err(error) => self.error("backup", &set.name, &error),
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
        if drill.full_every.is_some() {
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

    /// What the full drill itself would miss.
    fn full(&mut self, config: &Config) {
        match full::incomplete(config) {
            Ok(None) => self.add("drill", "full", State::Ok, "everything that it needs is set"),
            Ok(Some(error)) | Err(error) => self.error("drill", "full", &error),
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
        match rustix::fs::access(there, Access::WRITE_OK) {
            Ok(()) if !there.is_dir() => {
                let seen = format!("{} is no folder, so {} cannot be made", show(there), show(folder));
                self.wrong(part, name, State::Failed, &seen, "move it away, or name another folder");
            }
            Ok(()) => self.add(part, name, State::Ok, format!("{} {word}", show(folder))),
            Err(errno) => self.error(part, name, &Error::io("write to", there)(errno.into())),
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

/// The tools that what is configured asks for, each with what for.
fn needs(config: &Config, databases: bool) -> Vec<(Tool, &'static str)> {
    let places = || config.destinations.iter();
    let remotes = || places().filter_map(|place| place.place.remote.as_ref());
    let staged = config.data.iter().any(|set| set.live.consistency == Consistency::Staged);
    let all = [
        (Tool::Git, "every bundle", true),
        (Tool::Mountpoint, "`mount`", places().any(|place| place.place.mount.is_some())),
        (Tool::Gpg, "encryption", places().any(|place| place.encryption.is_some())),
        (Tool::Gpg, "signed evidence", config.drill.sign_with.is_some()),
        (Tool::Sqlite3, "databases", databases),
        (Tool::Rsync, "other machines", remotes().any(|far| far.tools().contains(&Tool::Rsync))),
        (Tool::Rsync, "`consistency`", staged),
        (Tool::Rsync, "`include`", !config.release.include.is_empty()),
        (Tool::Rsync, "`aside-dir`", config.drill.aside_dir.is_some()),
        (Tool::Ssh, "other machines", remotes().any(|far| far.tools().contains(&Tool::Ssh))),
        (Tool::Curl, "`ping-url-file`", config.notify.ping_url_file.is_some()),
        (Tool::Docker, "`rollback`", config.docker.configured),
    ];
    all.into_iter().filter(|(_, _, needed)| *needed).map(|(tool, what, _)| (tool, what)).collect()
}

/// Those that a bundle asks for: it was published, or names an image.
fn needs_of(bundle: &Bundle) -> Vec<(Tool, &'static str)> {
    let lock = &bundle.lock;
    let published = lock.release_url.as_deref().is_some_and(|url| Published::at(url).is_some());
    let all = [
        (Tool::Gh, "what is published", published),
        (Tool::Docker, "images of bundles", lock.docker_tag.is_some()),
    ];
    all.into_iter().filter(|(_, _, needed)| *needed).map(|(tool, what, _)| (tool, what)).collect()
}

/// Of a line of versions of all kinds of things, what stands before the first parenthesis, or where that says no version
/// (`gpg (GnuPG) 2.2.40`) behind it as well; 60 characters at the most.
fn short(version: &str) -> String {
    let (first, rest) = version.split_once(" (").unwrap_or((version, ""));
    let behind = rest.split_once(')').map_or("", |(_, behind)| behind);
    let first = if first.contains(char::is_numeric) { first.to_owned() } else { format!("{first}{behind}") };
    first.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}
