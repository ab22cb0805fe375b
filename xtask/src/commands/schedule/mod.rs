//! `schedule`: the lines that run the rest on time, for cron or systemd. Prints them, and installs nothing.
//!
//! gather (this program, the repository, the tools' folders) → the text. Each day: what is due of backup, verification and
//! drills; and, apart from that, `status`. A run that has to be tried again later (75) is no trouble: it is quiet, and
//! `status` tells when something was put off for too long.
mod cron;
mod quote;
mod systemd;

use super::Context;
use crate::cli::{ScheduleArgs as Args, Scheduler};
use crate::config::{Config, Encryption};
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use crate::shown::show;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What the lines say.
struct Plan {
    /// This program and what goes before a verb, for a shell.
    call: Vec<String>,
    /// Where tools are found.
    path: String,
    /// NAME=value lines.
    env_file: Option<String>,
    /// Hours and minutes.
    at: (u8, u8),
    /// Of the release, for the names of units.
    name: String,
    /// Who the runs are.
    user: String,
    /// The verbs of the daily run, with their flags.
    steps: Vec<&'static str>,
}

/// How long a run waits for another that holds the lock: less than until `status` looks.
const PATIENCE: &str = "3h";

impl Plan {
    /// When `status` looks: some hours behind the daily run.
    fn status_at(&self) -> (u8, u8) {
        ((self.at.0 + 5) % 24, self.at.1)
    }
}

/// Runs the verb.
///
/// # Errors
/// When this program or the repository has a name that no line can hold.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let plan = gather(args, ctx, &config)?;
    match args.scheduler {
        Scheduler::Cron => {
            let lines = cron::lines(&plan)?;
            ctx.ui.document(&json!({"schema_version": 1, "command": "schedule", "status": "ok",
                "scheduler": "cron", "lines": lines, "install": [cron::INSTALL]}));
            ctx.ui.result(&cron::text(&lines));
        }
        Scheduler::Systemd => {
            let units = systemd::units(&plan);
            let listed: Vec<_> =
                units.iter().map(|unit| json!({"file": unit.file, "text": unit.text})).collect();
            let install = systemd::install(&plan);
            ctx.ui.document(&json!({"schema_version": 1, "command": "schedule", "status": "ok",
                "scheduler": "systemd", "units": listed, "install": install}));
            ctx.ui.result(&systemd::text(&units, &install));
        }
    }
    advise(args, ctx, &config);
    Ok(Exit::Done)
}

fn gather(args: &Args, ctx: &Context, config: &Config) -> Result<Plan> {
    let exe = ctx.exe.as_ref().filter(|exe| exe.is_file()).ok_or_else(|| {
        let what = "the file of this program is not there any more, so that no line can call it";
        Error::refused(what, "build it again, and call it from where it is to stay")
    })?;
    let mut call = vec![
        on_a_line(exe)?,
        "-C".into(),
        on_a_line(&std::path::absolute(&config.root).map_err(Error::io("find", &config.root))?)?,
    ];
    if let Some(file) = &ctx.config_file {
        call.extend(["--config".into(), on_a_line(file)?]);
    }
    // Others of this repository, or at the same drive, may be called at the same time.
    call.extend(["--retry-lock".into(), PATIENCE.into()]);
    let mut steps = Vec::new();
    if !config.data.is_empty() {
        steps.push("backup --if-due");
    }
    if config.drill.verify_every.is_some() {
        steps.push("verify --if-due");
    }
    steps.push("restore-drill --if-due --yes");
    let uid = rustix::process::geteuid();
    Ok(Plan {
        call,
        path: search_path((ctx.env)("PATH").as_deref().unwrap_or_default()),
        env_file: args.env_file.as_ref().map(|file| on_a_line(&ctx.path(file))).transpose()?,
        at: args.at,
        name: config.release.name.clone(),
        user: if uid.is_root() { "root".into() } else { uid.as_raw().to_string() },
        steps,
    })
}

/// A path that a line of text can hold, as text.
fn on_a_line(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control) && !text.ends_with('\\'));
    text.map(str::to_owned).ok_or_else(|| {
        let what = format!("{path:?} has a name that no line of a schedule can hold");
        Error::refused(what, "make a link to it under another name, and call it by that")
    })
}

/// The folders of this run's PATH that are there, and behind them those of every system: what a release check needs, such
/// as a node that the user has installed, is found as it is found now.
fn search_path(path: &str) -> String {
    const SYSTEM: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let plain = |folder: &&str| folder.starts_with('/') && !folder.chars().any(char::is_control);
    let there = path.split(':').filter(plain).filter(|folder| PathBuf::from(folder).is_dir());
    let mut folders: Vec<&str> = Vec::new();
    for folder in there.chain(SYSTEM) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

/// What the lines alone do not bring about.
fn advise(args: &Args, ctx: &Context, config: &Config) {
    for set in config.data.iter().filter(|set| set.backup_every.is_none()) {
        let name = &set.name;
        ctx.ui.say(&format!(
            "[data.{name}] has no `backup-every`: each run backs it up, and `status` cannot tell when it is overdue"
        ));
    }
    if config.drill.spot_every.is_none() {
        ctx.ui.say("[drill] has no `spot-every`: each run does a drill");
    }
    let variable = config.destinations.iter().find_map(|place| match &place.encryption {
        Some(Encryption::Passphrase { variable }) => Some(variable),
        _ => None,
    });
    if let Some(file) = args.env_file.as_ref().map(|file| ctx.path(file)).filter(|file| !file.exists()) {
        let what =
            "is the file of `--env-file`, and is not there: the runs would not see what is to stand in it";
        let repair = "write it before you install these lines; mode 0600";
        ctx.ui.findings(&[Finding::warning(show(&file), what, repair)]);
    }
    if let (Some(variable), None) = (variable, &args.env_file) {
        ctx.ui.say(&format!(
            "these runs do not see ${variable}: write it into a file that only you can read, and give it with --env-file"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn plan(exe: &str, root: &str) -> Plan {
        Plan {
            call: [exe, "-C", root].map(String::from).to_vec(),
            path: "/usr/bin:/bin".into(),
            env_file: None,
            at: (3, 23),
            name: "api".into(),
            user: "root".into(),
            steps: vec!["backup --if-due", "restore-drill --if-due --yes"],
        }
    }

    #[test]
    fn a_path_has_the_folders_that_are_there_and_those_of_every_system() {
        let path = search_path("/bin:relative::/nowhere/at/all:/bin");
        assert_eq!(path, "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin");
    }

    #[test]
    fn a_name_that_breaks_lines_is_refused() {
        for name in ["/a\nb", "/a\u{7f}", "/a\\"] {
            assert!(on_a_line(Path::new(name)).is_err(), "{name:?}");
        }
        assert_eq!(on_a_line(Path::new("/a b'%\"$")).expect("is fine"), "/a b'%\"$");
    }
}
