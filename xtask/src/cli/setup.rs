//! The verbs that bring the tool into a repository and onto a machine: what runs on time, completions, man pages.
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What calls the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scheduler {
    /// Lines for a crontab.
    Cron,
    /// A service and its timer.
    Systemd,
}

/// `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// What calls the tool.
    #[arg(value_enum)]
    pub scheduler: Scheduler,
    /// When, each day, by the machine's own clock.
    #[arg(long, value_name = "HH:MM", default_value = "03:23", value_parser = time_of_day)]
    pub at: (u8, u8),
    /// A file of NAME=value lines for the environment of these runs, such as a passphrase.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

/// Hours and minutes of `HH:MM`.
fn time_of_day(text: &str) -> Result<(u8, u8), String> {
    let parts = text.split_once(':').and_then(|(hours, minutes)| {
        let number = |text: &str| (text.len() <= 2).then(|| text.parse::<u8>().ok()).flatten();
        Some((number(hours)?, number(minutes)?))
    });
    parts.filter(|(hours, minutes)| *hours < 24 && *minutes < 60).ok_or_else(|| "write it like 03:23".into())
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Print the file, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder that the pages go to; it is made, and pages of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}
