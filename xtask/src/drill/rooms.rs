//! What a drill asks of the other rooms, as one trait: the real thing, and in tests a checker that is blind
//! or a tool that hangs.
use super::compare::{Compared, compare};
use crate::error::Result;
use crate::interrupt;
use crate::restore::{self, Checked, Extracted, Source};
use crate::tools::gpg::Secret;
use crate::tools::shell::{self, ShellRun};
use crate::tools::{self, Tool};
use std::path::Path;
use std::time::{Duration, Instant};

/// The other rooms.
pub trait Rooms {
    /// All tools are installed.
    ///
    /// # Errors
    /// `MissingTools`, naming all that are not.
    fn preflight(&self, needs: &[Tool]) -> Result<()>;
    /// Reads an artifact from end to end and checks it against its records.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    fn check(&self, source: &Source, secret: Option<&Secret>) -> Result<Checked>;
    /// Restores an artifact into an empty folder.
    ///
    /// # Errors
    /// When it is damaged or cannot be read or written.
    fn extract(&self, source: &Source, secret: Option<&Secret>, to: &Path) -> Result<Extracted>;
    /// Compares what was restored under `root` with the artifact's manifest; `None` when it has none.
    ///
    /// # Errors
    /// When either cannot be read.
    fn compare(&self, source: &Source, secret: Option<&Secret>, root: &Path) -> Result<Option<Compared>>;
    /// Runs one of the user's shell lines with exactly this environment.
    ///
    /// # Errors
    /// When the shell cannot be started; a line that fails is no error.
    fn shell(&self, line: &str, cwd: &Path, env: &[(String, String)], deadline: Duration)
    -> Result<ShellRun>;
    /// Whether a signal asked the run to end.
    fn interrupted(&self) -> bool;
}

/// The rooms of this program.
#[derive(Debug, Clone, Copy)]
pub struct RealRooms;

impl Rooms for RealRooms {
    fn preflight(&self, needs: &[Tool]) -> Result<()> {
        tools::preflight(needs)
    }

    fn check(&self, source: &Source, secret: Option<&Secret>) -> Result<Checked> {
        restore::check(source, secret)
    }

    fn extract(&self, source: &Source, secret: Option<&Secret>, to: &Path) -> Result<Extracted> {
        restore::extract(source, secret, to, None)
    }

    fn compare(&self, source: &Source, secret: Option<&Secret>, root: &Path) -> Result<Option<Compared>> {
        source.with_manifest(secret, |listed| compare(&mut || listed.next_record(), root))
    }

    fn shell(
        &self,
        line: &str,
        cwd: &Path,
        env: &[(String, String)],
        deadline: Duration,
    ) -> Result<ShellRun> {
        shell::run(line, cwd, env, deadline)
    }

    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }
}

/// Measures how long steps take; not a clock: it knows no date and cannot be set.
pub trait Stopwatch {
    /// Time since it was started; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's monotonic stopwatch.
#[derive(Debug)]
pub struct Monotonic {
    began: Instant,
}

impl Monotonic {
    /// Starts it.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "measures durations; not a date")]
        Self { began: Instant::now() }
    }
}

impl Stopwatch for Monotonic {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
