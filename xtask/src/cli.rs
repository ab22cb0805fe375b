//! The command line, declared. No logic but how it is read.
mod setup;

use crate::archive::codec::Codec;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub use setup::{CompletionsArgs, InitArgs, ManArgs, ScheduleArgs, Scheduler, Shell};

/// The program, as it is called where cargo does not call it.
pub const PROGRAM: &str = "xtask";

/// Where to begin, and the exit codes, shown by `--help`.
const AFTER_HELP: &str = "\
Examples:
  cargo xtask init            # writes recovery.toml, for you to edit
  cargo xtask doctor          # what is missing here, and what mends it
  cargo xtask snapshot
  cargo xtask backup
  cargo xtask restore-drill   # proves that both come back
  cargo xtask status

Exit codes:
   0  done and sound
   1  ran, and found a problem (damage, unreadable files, a drill not verified, overdue)
   2  the command line is wrong
   3  could not run (configuration, missing tool, I/O)
  75  try again later (another run holds the lock, the destination is not mounted)";

/// Recovery you can prove: release bundles, backups, restore drills.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Run for the repository in DIR, as if started there: other paths are relative to it.
    #[arg(short = 'C', long = "repo", value_name = "DIR", global = true)]
    pub repo: Option<PathBuf>,
    /// Configuration [default: recovery.toml at the repository's root].
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Wait so long for another run that holds the lock, such as 10m [default: end with 75 at once].
    #[arg(long, value_name = "DURATION", global = true, value_parser = duration, default_value = "0s", hide_default_value = true)]
    pub retry_lock: Duration,
    /// Print exactly one JSON document on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Only results and problems.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Details too.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to colour.
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    pub color: Color,
}

impl Cli {
    /// Reads the command line. Help names the program as it is called, as hints do.
    ///
    /// # Errors
    /// clap's, of which asking for help is one.
    pub fn parse_as(program: &str) -> Result<Self, clap::Error> {
        let command = Self::command();
        let alias = command.get_name().to_owned();
        let named = |command: clap::Command| match command.get_after_help() {
            Some(help) => {
                let help = help.to_string().replace(&alias, program);
                command.after_help(help)
            }
            None => command,
        };
        let command = named(command.bin_name(program)).mut_subcommands(named);
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// A span of time such as `90s`, `10m` or `3h`.
fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    span.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| "write it like 90s, 10m or 3h".into())
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bundle a commit: tarball, manifest, lock, SHA256SUMS.
    #[command(
        args_override_self = true,
        after_help = "Examples:\n  cargo xtask snapshot --dry-run\n  cargo xtask snapshot --keep 3 --prune\n  cargo xtask snapshot --rev v1.0.1"
    )]
    Snapshot(SnapshotArgs),
    /// Publish a bundle on the forge's release page, through gh; or record where it was published.
    #[command(
        after_help = "Examples:\n  cargo xtask publish --dry-run\n  cargo xtask publish\n  cargo xtask publish --tag v1.0.1 --draft --notes-file notes.md\n  cargo xtask publish --url https://github.com/acme/api/releases/tag/v1.0.1"
    )]
    Publish(PublishArgs),
    /// Archive data sets to their destination.
    #[command(
        args_override_self = true,
        after_help = "Examples:\n  cargo xtask backup --dry-run\n  cargo xtask backup --mount-check --keep 3 --prune\n  cargo xtask backup --source .codex-api --dest /mnt/drive/backups"
    )]
    Backup(BackupArgs),
    /// Check artifacts: every digest, every entry against its manifest.
    #[command(
        after_help = "Examples:\n  cargo xtask verify\n  cargo xtask verify --latest\n  cargo xtask verify releases/api-v1.0.1-2026-11-23T174512Z.tar.gz\n  cargo xtask verify --rebuild releases/api-v1.0.1-2026-11-23T174512Z.lock.json\n  cargo xtask verify --evidence"
    )]
    Verify(VerifyArgs),
    /// Restore the latest backup of a set, or any archive file, into a new folder.
    #[command(
        after_help = "Examples:\n  cargo xtask restore codex-api --to /tmp/restored\n  cargo xtask restore codex-api --at 2026-11-01 --path '**/*.toml' --to /tmp/old\n  cargo xtask restore codex-api --explain"
    )]
    Restore(RestoreArgs),
    /// Prove that release and data come back, and write the evidence.
    #[command(
        after_help = "Examples:\n  cargo xtask restore-drill --dry-run\n  cargo xtask restore-drill spot --if-due\n  cargo xtask restore-drill full --dry-run\n  cargo xtask restore-drill recover\n  cargo xtask restore-drill --owner alice --due 2026-12-31\n  cargo xtask restore-drill history"
    )]
    RestoreDrill(RestoreDrillArgs),
    /// Remove what no rule keeps, each decision with its reason.
    #[command(
        after_help = "Examples:\n  cargo xtask prune --dry-run\n  cargo xtask prune --keep 3\n  cargo xtask prune gdrive --keep 1 --dry-run"
    )]
    Prune(PruneArgs),
    /// Releases, backups, drills and quota at a glance.
    #[command(
        after_help = "Examples:\n  cargo xtask status\n  cargo xtask status --json\n  cargo xtask status --prometheus /var/lib/node_exporter/recovery.prom\n  cargo xtask status --html recovery.html"
    )]
    Status(StatusArgs),
    /// Print what runs the rest on time: a cron line, or systemd units. Installs nothing.
    #[command(
        after_help = "Examples:\n  cargo xtask schedule cron\n  (crontab -l; cargo xtask schedule cron) | crontab -\n  cargo xtask schedule systemd --env-file /etc/recovery.env | sudo sh"
    )]
    Schedule(ScheduleArgs),
    /// Start a service on an image that was snapshotted before (Docker).
    #[command(
        args_override_self = true,
        after_help = "Examples:\n  cargo xtask rollback --env prod --dry-run\n  cargo xtask rollback --env prod --from-lock releases/api-v1.0.1-2026-11-23T174512Z.lock.json\n  cargo xtask rollback --env dev --image-id sha256:0123…"
    )]
    Rollback(RollbackArgs),
    /// Write a commented recovery.toml with what was detected.
    #[command(after_help = "Examples:\n  cargo xtask init --dry-run\n  cargo xtask init")]
    Init(InitArgs),
    /// Look at everything that the other verbs need, and say how to mend what is missing.
    #[command(after_help = "Examples:\n  cargo xtask doctor\n  cargo xtask doctor --json")]
    Doctor,
    /// Print completions of this command line for a shell.
    #[command(
        after_help = "Examples:\n  source <(cargo xtask completions bash)\n  mkdir -p ~/.local/share/bash-completion/completions\n  cargo xtask completions bash > ~/.local/share/bash-completion/completions/xtask\n  mkdir -p ~/.zfunc   # and in .zshrc, before compinit: fpath+=~/.zfunc\n  cargo xtask completions zsh > ~/.zfunc/_xtask\n  mkdir -p ~/.config/fish/completions\n  cargo xtask completions fish > ~/.config/fish/completions/xtask.fish"
    )]
    Completions(CompletionsArgs),
    /// Write man pages of this command line, one a verb.
    #[command(after_help = "Examples:\n  cargo xtask man --to ~/.local/share/man/man1")]
    Man(ManArgs),
}

impl Verb {
    /// Its name, as JSON documents have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Publish(_) => "publish",
            Self::Backup(_) => "backup",
            Self::Verify(_) => "verify",
            Self::Restore(_) => "restore",
            Self::RestoreDrill(_) => "restore-drill",
            Self::Prune(_) => "prune",
            Self::Status(_) => "status",
            Self::Schedule(_) => "schedule",
            Self::Rollback(_) => "rollback",
            Self::Init(_) => "init",
            Self::Doctor => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

/// `snapshot`.
#[derive(Debug, Default, Args)]
pub struct SnapshotArgs {
    /// Commit, tag or branch to bundle [default: HEAD].
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Environment that the lock records [default: prod].
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Version label [default: what the commit's package file says, else git-SHA].
    #[arg(long, value_name = "LABEL")]
    pub version: Option<String>,
    /// How many bundles --prune leaves [default: 3].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Remove older bundles afterwards.
    #[arg(long)]
    pub prune: bool,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where bundles go [default: releases].
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Write the lock alone.
    #[arg(long)]
    pub no_tarball: bool,
    /// Name this docker image after the bundle too, and record it in the lock.
    #[arg(long, value_name = "REF", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub docker_image: Option<String>,
    /// What stands before `:ENV-TIME` in that name [default: `image` of `[docker]`, else the release's name].
    #[arg(long, value_name = "P", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub docker_tag_prefix: Option<String>,
    /// With --prune: the docker tags that the locks of removed bundles have recorded go too.
    #[arg(long, requires = "prune")]
    pub prune_docker: bool,
    /// Bundle tracked files as they lie in the working tree, local edits and all.
    #[arg(long, conflicts_with = "rev")]
    pub allow_dirty: bool,
}

/// `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// A bundle's lock or tarball [default: the newest bundle].
    #[arg(value_name = "LOCK")]
    pub lock: Option<PathBuf>,
    /// The tag to publish under; it must be on the bundle's commit [default: that of its version].
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Leave the release as a draft.
    #[arg(long)]
    pub draft: bool,
    /// A file with the text of the release [default: GitHub's generated notes].
    #[arg(long, value_name = "FILE")]
    pub notes_file: Option<PathBuf>,
    /// Only record that the bundle was published at URL.
    #[arg(long, value_name = "URL", conflicts_with_all = ["tag", "draft", "notes_file"])]
    pub url: Option<String>,
    /// Take the place of another address that the lock has.
    #[arg(long)]
    pub replace_url: bool,
    /// Print what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `backup`.
#[derive(Debug, Default, Args)]
pub struct BackupArgs {
    /// Data sets [default: all].
    #[arg(value_name = "SET")]
    pub sets: Vec<String>,
    /// Folder to back up, with or without a configured set.
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Destination folder.
    #[arg(long, value_name = "DIR")]
    pub dest: Option<PathBuf>,
    /// How many backups of the set --prune leaves.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Remove older backups of the set afterwards.
    #[arg(long)]
    pub prune: bool,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only sets whose `backup-every` is over since their last backup.
    #[arg(long)]
    pub if_due: bool,
    /// Make a new archive even if nothing was changed since the last, or that one is of another folder.
    #[arg(long)]
    pub force: bool,
    /// Demand that the destination or its parent is a mount point.
    #[arg(long)]
    pub mount_check: bool,
    /// Encrypt with the passphrase in CODEX_BACKUP_GPG_KEY, or what the destination says.
    #[arg(long)]
    pub encrypt: bool,
    /// A label behind the set's name; retention counts it apart.
    #[arg(long, value_name = "LABEL")]
    pub suffix: Option<String>,
    /// Container [default: gzip].
    #[arg(long, value_enum)]
    pub compression: Option<Codec>,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Archive files [default: everything].
    #[arg(value_name = "ARTIFACT")]
    pub artifacts: Vec<PathBuf>,
    /// The newest bundle and the newest backup of each set.
    #[arg(long, conflicts_with = "artifacts")]
    pub latest: bool,
    /// Every bundle and every backup.
    #[arg(long, conflicts_with_all = ["artifacts", "latest"])]
    pub all: bool,
    /// The evidence of drills alone: its chain, its pages and rows, its signatures.
    #[arg(long, conflicts_with_all = ["artifacts", "latest", "all", "if_due"])]
    pub evidence: bool,
    /// Make release bundles once more from their commits, in a fresh clone, and compare: tar stream, bytes, entries.
    #[arg(long, value_name = "LOCK|TARBALL", num_args = 1.., conflicts_with_all = ["artifacts", "latest", "all", "evidence", "if_due"])]
    pub rebuild: Vec<PathBuf>,
    /// Accept that records of drills are lost for good, and write down why; what was changed is never accepted.
    #[arg(long, value_name = "REASON", requires = "evidence", value_parser = one_line)]
    pub accept_lost: Option<String>,
    /// Who answers for that [default: who runs it].
    #[arg(long, value_name = "NAME", requires = "accept_lost", value_parser = one_line)]
    pub owner: Option<String>,
    /// Only what was not read and compared for `verify-every`.
    #[arg(long, conflicts_with_all = ["artifacts", "latest"])]
    pub if_due: bool,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A data set, or an archive file.
    #[arg(value_name = "SET|ARTIFACT")]
    pub what: String,
    /// New or empty folder to restore into.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// The newest backup that is not younger than TIME (RFC 3339, or YYYY-MM-DD for the end of that day, UTC).
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Only entries whose path matches; may be given more than once.
    #[arg(long, value_name = "GLOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub path: Vec<String>,
    /// Print how to do it with plain tools, and do nothing.
    #[arg(long, conflicts_with = "path")]
    pub explain: bool,
}

/// Which drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DrillKind {
    /// Restore the latest artifact of each set and one older, in turn, into a private folder, and compare (monthly).
    #[default]
    Spot,
    /// Stop the service, restore release and data in place, start and check it; then the live data goes back (quarterly).
    Full,
    /// Bring back what a full drill that was killed has moved aside, and start the service.
    Recover,
    /// List the drills on record and check their chain.
    History,
}

/// `restore-drill`.
#[derive(Debug, Clone, Default, Args)]
pub struct RestoreDrillArgs {
    /// Which drill [default: spot; with --if-due whichever is due].
    #[arg(value_enum)]
    pub kind: Option<DrillKind>,
    /// Print the steps and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only when `spot-every` (`full-every`) has passed since the last drill of that kind that was verified.
    #[arg(long)]
    pub if_due: bool,
    /// Do not ask: a full drill stops the service and replaces its live data for a while.
    #[arg(long)]
    pub yes: bool,
    /// Full drill: restore the newest backup that is there, and make none before.
    #[arg(long)]
    pub no_fresh_backup: bool,
    /// Full drill: leave what was restored in place, where no error was found; the live data stays aside.
    #[arg(long)]
    pub keep_restored: bool,
    /// Who sees to what the drill finds: it is written beside each error and warning.
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    pub owner: Option<String>,
    /// Until when that is to be done; not a day that is over.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    pub due: Option<String>,
}

/// Text that stands in a table and in a line of a terminal.
fn one_line(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".into()),
        text if text.chars().any(char::is_control) => {
            Err("it has a line break or another control character in it".into())
        }
        text => Ok(text.to_owned()),
    }
}

/// A day of the calendar, as it is written in full.
fn date(text: &str) -> Result<String, String> {
    let day: jiff::civil::Date = text.parse().map_err(|_| "not a day such as 2026-12-31".to_owned())?;
    Ok(day.to_string())
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Write the numbers to FILE too, for Prometheus (textfile collector).
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Write the same as a page to FILE too: one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Destinations alone, by their names in recovery.toml [default: everything, bundles too].
    #[arg(value_name = "DESTINATION", conflicts_with = "prune_docker")]
    pub destinations: Vec<String>,
    /// Print what would be done, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Keep the newest N of each series, whatever the configuration says.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// The docker tags that the locks of removed bundles have recorded go too.
    #[arg(long)]
    pub prune_docker: bool,
    /// Take over backups of our sets that this repository does not remember making; this run removes none of them.
    #[arg(long)]
    pub adopt: bool,
    /// Accept that backups are gone, after you have looked where they went.
    #[arg(long)]
    pub forget_lost: bool,
}

/// Which environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Environments {
    /// `prod` of `[docker]`.
    Prod,
    /// `dev` of `[docker]`.
    Dev,
    /// First the one, then the other.
    #[default]
    Both,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which environments.
    #[arg(long, value_enum, value_name = "ENV", default_value_t)]
    pub env: Environments,
    /// The lock that names the image, of any generation [default: the newest lock that names one of this environment].
    #[arg(long, value_name = "PATH")]
    pub from_lock: Option<PathBuf>,
    /// The image, by its id or by any name of it; goes before --from-lock.
    #[arg(long, value_name = "SHA", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub image_id: Option<String>,
    /// What the image is to be called [default: the environment's `tag` of `[docker]`, `latest` or `dev`].
    #[arg(long, value_name = "TAG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tag: Option<String>,
    /// Where saved images lie [default: `backup-dir` of `[docker]`, else ~/.cache/codex-backups].
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// The compose file of prod, in place of its `compose-files`.
    #[arg(long, value_name = "FILE")]
    pub prod_compose: Option<PathBuf>,
    /// The same of dev.
    #[arg(long, value_name = "FILE")]
    pub dev_compose: Option<PathBuf>,
    /// Print what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
