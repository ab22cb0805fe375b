//! The way back: stop, the live folders return, start. For a drill that failed, for one that was killed, and for one that
//! succeeded and whose restored data is not the live data byte for byte.
//!
//! Needs the journal and nothing else. It may be cut off and begun again at every instant, and goes on when this run is
//! told to stop: whoever asks for the end of a drill wants the service back.
use super::journal::{Journal, Phase, Service};
use crate::drill::done::told;
use crate::drill::evidence::{Outcome, StepRecord, why as reason};
use crate::drill::redact::Redaction;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::shown::show;
use crate::stopwatch::{Stopwatch, rounded};
use crate::tools::OnInterrupt;
use crate::tools::shell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs the user's own commands.
pub struct Commands<'a> {
    /// Their whole environment.
    pub environment: &'a [(String, String)],
    /// What is not shown of their output.
    pub redaction: &'a Redaction,
    /// Where what the service prints as it starts goes.
    pub log: PathBuf,
    /// Says what is being done.
    pub tell: &'a dyn Fn(&str),
}

impl Commands<'_> {
    /// Runs a line to its end; whether it passed, and what is told of it.
    ///
    /// # Errors
    /// When the shell does not start, or this run is interrupted and that is to end it.
    pub fn run(&self, line: &str, service: &Service, on_interrupt: OnInterrupt) -> Result<(Outcome, String)> {
        self.run_in(line, &service.folder, service, on_interrupt)
    }

    /// The same in another folder.
    ///
    /// # Errors
    /// As [`Commands::run`].
    pub fn run_in(
        &self,
        line: &str,
        folder: &Path,
        service: &Service,
        on_interrupt: OnInterrupt,
    ) -> Result<(Outcome, String)> {
        let deadline = Duration::from_secs(service.deadline_seconds);
        let ran = match on_interrupt {
            OnInterrupt::End => shell::run(line, folder, self.environment, deadline),
            OnInterrupt::GoOn => shell::run_in_any_case(line, folder, self.environment, deadline),
        }?;
        Ok(told(&ran, deadline, self.redaction))
    }

    /// Starts the service: what the line leaves running lives on.
    ///
    /// # Errors
    /// As [`Commands::run`].
    pub fn start(&self, service: &Service, on_interrupt: OnInterrupt) -> Result<(Outcome, String)> {
        let deadline = Duration::from_secs(service.deadline_seconds);
        let (line, folder) = (&service.start, &service.folder);
        let ran = shell::start(line, folder, self.environment, deadline, &self.log, on_interrupt)?;
        Ok(told(&ran, deadline, self.redaction))
    }

    /// Says what is being done: a command line may hold a secret.
    pub fn say(&self, text: &str) {
        (self.tell)(&self.redaction.text(text));
    }
}

/// Why the live data goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The drill failed, or was killed. Nobody knows whether the service runs.
    Failed,
    /// It succeeded, and the live data holds what the restored does not.
    Newer,
}

/// What came of the way back.
#[derive(Debug, Default)]
pub struct Returned {
    /// Its steps.
    pub steps: Vec<StepRecord>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Brings everything back, and starts the service. What could not be done stays in the journal.
pub fn bring_back(
    journal: &mut Journal,
    memory: &Path,
    commands: &Commands<'_>,
    why: Why,
    watch: &dyn Stopwatch,
) -> Returned {
    let mut returned = Returned::default();
    let service = journal.service.clone();
    let what = match why {
        Why::Failed => "roll back",
        Why::Newer => "put back",
    };
    if journal.phase == Phase::Kept {
        return returned;
    }
    commands.say(
        "bringing the live data back; if this is cut off, `cargo xtask restore-drill recover` goes on with it",
    );
    // The disk may say that what was restored stays.
    if let Err(error) = journal.save(memory) {
        returned.findings.push(Finding { severity: Severity::Warning, ..Finding::of("drill", &error) });
    }
    // A service that runs while its data is changed beneath it would write into nowhere. One that does not run may say that
    // it cannot be stopped, and that is no harm.
    let severity = if why == Why::Failed { Severity::Warning } else { Severity::Error };
    let stop = || commands.run(&service.stop, &service, OnInterrupt::GoOn);
    let stopped = returned.step(
        commands,
        watch,
        format!("{what}: stop the service"),
        "the service does not run",
        severity,
        stop,
    );
    let mut all_back = why == Why::Failed || stopped;
    // Once they are on record as back, what lies there is nobody's but the service's.
    let swaps = if journal.phase == Phase::Open { journal.swaps.len() } else { 0 };
    for index in 0..swaps {
        let name = format!("{what}: {}", journal.swaps[index].what);
        if why == Why::Newer && !stopped {
            returned.blocked(name, BACK, "the service runs still");
            continue;
        }
        let live = show(&journal.swaps[index].live);
        let back =
            || put_back(journal, memory, index).map(|()| (Outcome::Pass, format!("{live} is the live data")));
        all_back &= returned.step(commands, watch, name, BACK, Severity::Error, back);
    }
    let name = format!("{what}: start the service");
    if !all_back {
        let repair = "see to what is named here, and run `cargo xtask restore-drill recover`";
        returned.findings.push(Finding::error("drill", "the live data is not back in its place", repair));
        returned.blocked(name, RUNS, "the live data is not back");
        return returned;
    }
    journal.phase = Phase::Back;
    let note = |journal: &Journal, returned: &mut Returned| {
        // Without that `recover` does again what is done already, and no harm.
        if let Err(error) = journal.save(memory) {
            returned.findings.push(Finding { severity: Severity::Warning, ..Finding::of("drill", &error) });
        }
    };
    note(journal, &mut returned);
    let start = || commands.start(&service, OnInterrupt::GoOn);
    if returned.step(commands, watch, name, RUNS, Severity::Error, start) {
        journal.phase = Phase::Kept;
        note(journal, &mut returned);
    } else {
        let what = "the live data is back, the service is not started, and the drill is open";
        let repair = "mend `start` in recovery.toml, and run `cargo xtask restore-drill recover`";
        returned.findings.push(Finding::error("drill", what, repair));
    }
    returned
}

const BACK: &str = "the live folder is back in its place";
const RUNS: &str = "the service runs on its live data";

fn put_back(journal: &mut Journal, memory: &Path, index: usize) -> Result<()> {
    let mut swap = journal.swaps[index].clone();
    let back = swap.back(&mut |swap| {
        journal.swaps[index] = swap.clone();
        journal.save(memory)
    });
    journal.swaps[index] = swap;
    back
}

impl Returned {
    /// Takes a step; whether it passed.
    fn step(
        &mut self,
        commands: &Commands<'_>,
        watch: &dyn Stopwatch,
        name: String,
        expected: &str,
        severity: Severity,
        take: impl FnOnce() -> Result<(Outcome, String)>,
    ) -> bool {
        commands.say(&name);
        let began = watch.elapsed();
        let (outcome, detail, repair) = match take() {
            Ok((outcome, detail)) => (outcome, detail, String::new()),
            Err(error) => (Outcome::Fail, reason(&error), error.next_step().unwrap_or_default()),
        };
        let [name, detail] = [name, detail].map(|text| commands.redaction.text(&text));
        let seconds = rounded(watch.elapsed().saturating_sub(began).as_secs_f64());
        if outcome != Outcome::Pass {
            self.findings.push(Finding::new(severity, name.clone(), detail.clone(), repair));
        }
        self.steps.push(StepRecord { expected: expected.into(), ..record(name, outcome, seconds, detail) });
        outcome == Outcome::Pass
    }

    fn blocked(&mut self, name: String, expected: &str, why: &str) {
        self.steps.push(StepRecord { expected: expected.into(), ..record(name, Outcome::Blocked, 0.0, why) });
    }
}

/// A step as it is written down.
pub fn record(
    name: impl Into<String>,
    outcome: Outcome,
    seconds: f64,
    detail: impl Into<String>,
) -> StepRecord {
    let (name, detail) = (name.into(), detail.into());
    StepRecord { name, expected: String::new(), outcome, seconds, bytes: None, detail }
}
