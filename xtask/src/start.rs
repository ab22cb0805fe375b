//! Parse → dispatch → print → exit code. No logic. The clock and the environment are read here, and nowhere else but
//! for what `tools` hands on to programs, and the folder for temporary files.
use crate::cli::{Cli, Color, PROGRAM};
use crate::commands::{self, Context, Told};
use crate::error::{Error, Exit, Result};
use crate::interrupt;
use crate::shown::show;
use crate::stopwatch::{Monotonic, Stopwatch as _};
use crate::ui::{CARGO_XTASK, Job, Ui, Veil, lost_output};
use crate::words::word;
use clap::error::ErrorKind;
use serde_json::json;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The whole program: a crate of yours that is called `xtask` needs no other line. Exit codes are those of
/// [`Exit`].
pub fn main() -> ExitCode {
    let program = program();
    let cli = match Cli::parse_as(&program) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let color = match cli.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stderr().is_terminal() && env("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let file = |name| env(name).filter(|path| !path.is_empty()).map(Into::into);
    let job = Job { output: file("GITHUB_OUTPUT"), summary: file("GITHUB_STEP_SUMMARY") };
    let (quiet, verbose) = (cli.quiet, cli.verbose);
    let ui =
        Ui { json: cli.json, quiet, verbose, color, job, veil: Veil::default(), call: call(&program, &cli) };
    let ended = interrupt::on_signals().and_then(|()| run(&cli, &ui));
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            fail(&ui, cli.verb.name(), &error);
            error.exit()
        }
    };
    let exit = match exit {
        Exit::Done | Exit::Found if lost_output() => {
            ui.error("the result could not be printed", Some("see what standard output is redirected to"));
            Exit::CouldNotRun
        }
        exit => exit,
    };
    ExitCode::from(exit.code())
}

/// How this program is called: by its alias where cargo has started it, else as it was.
fn program() -> String {
    let shown = |program: OsString| word(&show(program.as_ref()));
    match env("CARGO") {
        Some(_) => CARGO_XTASK.to_owned(),
        None => std::env::args_os().next().map_or_else(|| PROGRAM.to_owned(), shown),
    }
}

/// How this program is called again, with what it was told of the repository.
fn call(program: &str, cli: &Cli) -> String {
    let shown = |path: &Path| word(&show(path));
    let option = |name: &str, value: &Option<PathBuf>| {
        value.as_ref().map_or_else(String::new, |value| format!(" {name} {}", shown(value)))
    };
    format!("{program}{}{}", option("-C", &cli.repo), option("--config", &cli.config))
}

/// Runs the verb, and while another run holds the lock again, for as long as `--retry-lock` says: each time as of then. The
/// last time it has no time left, and does what can be done.
fn run(cli: &Cli, ui: &Ui) -> Result<Exit> {
    const PAUSE: Duration = Duration::from_secs(2);
    let waiting = Monotonic::start();
    loop {
        let left = cli.retry_lock.saturating_sub(waiting.elapsed());
        let ended = context(cli, ui.clone(), left).and_then(|ctx| commands::run(&cli.verb, &ctx));
        match ended {
            Err(Error::Busy { .. }) if !left.is_zero() && !interrupt::interrupted() => {
                interrupt::pause(left.min(PAUSE));
            }
            ended => return ended,
        }
    }
}

fn context(cli: &Cli, ui: Ui, retry_lock: Duration) -> Result<Context> {
    let here = std::env::current_dir().map_err(Error::io("find", Path::new(".")))?;
    let start = cli.repo.as_ref().map_or_else(|| here.clone(), |repo| here.join(repo));
    if !start.is_dir() {
        let what = if start.exists() { "that is no folder" } else { "there is no such folder" };
        return Err(Error::Usage(format!("-C {}: {what}", start.display())));
    }
    let now = match env("RECOVERY_NOW") {
        // For tests: a run at another time.
        Some(text) => text.parse().map_err(|_| Error::Usage(format!("RECOVERY_NOW {text:?} is no time")))?,
        None => clock(),
    };
    let config_file = cli.config.as_ref().map(|file| start.join(file));
    let exe = std::env::current_exe().ok();
    Ok(Context { ui, now, start, config_file, env, variables, exe, retry_lock, told: Told::default() })
}

#[expect(clippy::disallowed_methods, reason = "the environment's door")]
fn env(name: &str) -> Option<String> {
    // Not as if it were unset: a passphrase of other bytes is refused as what it is.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn fail(ui: &Ui, command: &str, error: &Error) {
    let next = error.next_step().map(|next| next.replace("<verb>", command));
    ui.document(&json!({"schema_version": 1, "command": command, "status": "error", "error": {
        "message": error.to_string(), "causes": error.causes(), "hint": next, "exit_code": error.exit().code()}}));
    ui.error(&error.chain(), next.as_deref());
}

/// clap's own message; with `--json` the same as a document.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            // A closed pipe has had enough of it.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::CouldNotRun.code().into(),
            _ => ExitCode::SUCCESS,
        };
    }
    let json = std::env::args_os().any(|arg| arg == "--json");
    let (job, veil, call) = (Job::default(), Veil::default(), CARGO_XTASK.into());
    let ui = Ui { json, quiet: false, verbose: false, color: false, job, veil, call };
    ui.document(&json!({"schema_version": 1, "command": null, "status": "error", "error": {
        "message": error.render().to_string().trim(), "causes": [], "hint": "see --help",
        "exit_code": Exit::Usage.code()}}));
    let _ = error.print();
    ExitCode::from(Exit::Usage.code())
}

/// To the millisecond, and never later than it is: people read these times, and nothing is measured with them.
#[expect(clippy::disallowed_methods, reason = "the one look at the clock")]
fn clock() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The names of all variables that are set.
#[expect(clippy::disallowed_methods, reason = "the one look at the environment")]
fn variables() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}
