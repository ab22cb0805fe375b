//! The user's own commands around the backup of a set: `before` makes what is to be backed up, such as the dump of a
//! database; `after` puts things back.
//!
//! destination checked → `before`, until one fails → the set is surveyed, and archived if `before` went well → `after`,
//! all of them, whatever came of the rest: also of a set that failed, and of a run that is interrupted. A `before` that
//! fails stops its own set only. Once the run is interrupted, none is begun.
use super::super::Context;
use super::super::environment::{Seen, seen};
use super::set::Outcome as Worked;
use super::{Args, Gathered, demanded, gather};
use crate::config::{Config, Destination};
use crate::error::{Error, Result};
use crate::finding::{Finding, Kind};
use crate::interrupt::interrupted;
use crate::tools::shell::{self, Outcome, ShellRun};
use crate::tools::{Tool, preflight};
use std::path::Path;
use std::time::Duration;

/// How a line is run: [`shell::run`] or [`shell::run_in_any_case`].
type Runs = fn(&str, &Path, &[(String, String)], Duration) -> Result<ShellRun>;

/// Does `work` between the commands of its set.
///
/// # Errors
/// Those of `work`, of the check of the destination, and of an interruption.
pub(super) fn around(
    args: &Args,
    ctx: &Context,
    config: &Config,
    gathered: Gathered,
    work: impl FnOnce(Gathered) -> Result<Worked>,
) -> Result<Worked> {
    let live = gathered.set.live.clone();
    if args.dry_run || live.before.is_empty() && live.after.is_empty() {
        return work(gathered);
    }
    there(args, &gathered.destinations)?;
    if interrupted() {
        return Err(Error::Interrupted);
    }
    let name = gathered.set.name.clone();
    let hooks = Hooks {
        set: &name,
        root: &config.root,
        seen: seen(config, &live.hook_environment, ctx.env, ctx.variables),
        timeout: live.hook_timeout,
    };
    let worked = match hooks.before(&live.before) {
        Ok(None) => again(gathered, ctx).and_then(work),
        Ok(Some(finding)) => Ok(Worked::failed(&name, finding)),
        Err(error) => Err(error),
    };
    let found = hooks.after(&live.after);
    match worked {
        Ok(mut worked) => {
            worked.done.findings.extend(found);
            Ok(worked)
        }
        Err(error) if found.is_empty() => Err(error),
        // What `after` left undone is as much to be told as what stopped the set.
        Err(error) => {
            let mut worked = Worked::failed(&name, Finding::of(&name, &error));
            worked.done.findings.extend(found);
            Ok(Worked { stopped: Some(error), ..worked })
        }
    }
}

/// One destination is there at least, or will be waited for.
fn there(args: &Args, destinations: &[Destination]) -> Result<()> {
    let mut away = None;
    for destination in destinations {
        match destination.place.check(demanded(args, destination)) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_away() && !destination.retry_for.is_zero() => return Ok(()),
            Err(error) => away = Some(away.unwrap_or(error)),
        }
    }
    away.map_or(Ok(()), Err)
}

/// The set as it is now, with what `before` has made.
fn again(gathered: Gathered, ctx: &Context) -> Result<Gathered> {
    let gathered = gather((gathered.set, gathered.destinations), ctx);
    if gathered.source.as_ref().is_ok_and(|(_, survey)| survey.databases) {
        preflight(&[Tool::Sqlite3])?;
    }
    Ok(gathered)
}

struct Hooks<'a> {
    set: &'a str,
    root: &'a Path,
    seen: Seen,
    timeout: Duration,
}

impl Hooks<'_> {
    /// What failed, if something did.
    fn before(&self, lines: &[String]) -> Result<Option<Finding>> {
        let repair = "mend it; nothing of this set was backed up";
        for line in lines {
            if interrupted() {
                return Err(Error::Interrupted);
            }
            if let Some(finding) = self.run(shell::run, "before", line, repair)? {
                return Ok(Some(finding));
            }
        }
        Ok(None)
    }

    fn after(&self, lines: &[String]) -> Vec<Finding> {
        let repair = "mend it, and do by hand what it should have done";
        let run = |line: &String| match self.run(shell::run_in_any_case, "after", line, repair) {
            Ok(finding) => finding,
            Err(error) => Some(Finding::of(self.set, &error).of_kind(Kind::Hook)),
        };
        lines.iter().filter_map(run).collect()
    }

    fn run(&self, run: Runs, when: &str, line: &str, repair: &str) -> Result<Option<Finding>> {
        let ran = match run(line, self.root, &self.seen.environment, self.timeout) {
            Ok(ran) => ran,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => return Ok(Some(Finding::of(self.set, &error).of_kind(Kind::Hook))),
        };
        let how = match ran.outcome {
            Outcome::Pass => return Ok(None),
            Outcome::Fail(status) => status,
            Outcome::Timeout => format!("it had not ended after {} s", self.timeout.as_secs()),
        };
        let (line, output) = (self.seen.redaction.text(line), self.seen.redaction.output(&ran.tail));
        let said = if output.is_empty() { "and it printed nothing".to_owned() } else { output };
        let what = format!("`{when}` command failed, `{line}`: {how}: {said}");
        Ok(Some(Finding::error(self.set, what, repair).of_kind(Kind::Hook)))
    }
}
