//! Whether what was written has arrived for good: the `confirm` line of a destination, such as one that asks rclone
//! whether its mount has uploads queued. Until it succeeds, copies made there are pending: told by `status`, not counted
//! by retention, and asked about again by the next run.
use super::{Copied, Done, Prunable};
use crate::commands::Context;
use crate::commands::environment::seen;
use crate::config::{Config, Destination};
use crate::destination::memory::Memory;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use crate::tools::shell::{self, Outcome};
use std::collections::BTreeSet;
use std::path::Path;

/// Asks each destination that has copies pending, once; returns what failed, each a finding of its set as well.
pub(super) fn confirm(
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    done: &mut [Done],
    prunable: &[(usize, Prunable)],
) -> Vec<Error> {
    let (mut asked, mut failed) = (BTreeSet::new(), Vec::new());
    for (index, one) in prunable {
        let path = &one.destination.place.path;
        if !asked.insert(path) {
            continue;
        }
        let repair = "the next run asks again; until then these copies are pending";
        match one_destination(ctx, config, memory, done, &one.destination) {
            Ok(None) => {}
            Ok(Some(what)) => {
                let what = format!("is not known to have what was written there: {what}");
                done[*index].findings.push(Finding::warning(show(path), what, repair));
            }
            Err(Error::Interrupted) => {
                let what = "was not asked whether it has what was written there: the run was interrupted";
                done[*index].findings.push(Finding::warning(show(path), what, repair));
                break;
            }
            Err(error) => {
                done[*index].findings.push(Finding::of(show(path), &error));
                failed.push(error);
            }
        }
    }
    failed
}

/// Asks one destination, if there is something to ask about; returns why it is not confirmed, if it is not.
fn one_destination(
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    done: &mut [Done],
    destination: &Destination,
) -> Result<Option<String>> {
    let known = memory.map(Memory::known).transpose()?.unwrap_or_default();
    let here = |pending: &&String| Path::new(pending).starts_with(&destination.place.path);
    let pending: Vec<&String> = known.pending.iter().filter(here).collect();
    let wrong = match &destination.confirm {
        Some(line) if !pending.is_empty() || copies(done, destination).any(|copy| copy.pending) => {
            ask(ctx, config, destination, line)?
        }
        // Nobody is asked any more, or nothing is open.
        _ => None,
    };
    if wrong.is_none() {
        if let Some(memory) = memory {
            pending
                .iter()
                .try_for_each(|path| memory.event("uploaded", &ctx.now.to_string(), Path::new(path)))?;
        }
        copies(done, destination).for_each(|copy| copy.pending = false);
    }
    Ok(wrong)
}

/// The copies that this run made, or found, at a destination.
fn copies<'a>(done: &'a mut [Done], destination: &'a Destination) -> impl Iterator<Item = &'a mut Copied> {
    let copies = done.iter_mut().flat_map(|done| &mut done.copies);
    copies.filter(|copy| copy.destination == destination.name)
}

/// Why it is not confirmed, if it is not.
fn ask(ctx: &Context, config: &Config, destination: &Destination, line: &str) -> Result<Option<String>> {
    let seen = seen(config, &config.drill.environment, ctx.env, ctx.variables);
    let run = shell::run(line, &config.root, &seen.environment, destination.confirm_timeout)?;
    let (line, output) = (seen.redaction.text(line), seen.redaction.output(&run.tail));
    let last = output.lines().map(str::trim).rfind(|line| !line.is_empty()).map(|line| format!(": {line}"));
    Ok(match run.outcome {
        Outcome::Pass => None,
        Outcome::Fail(status) => Some(format!("`{line}` failed ({status}){}", last.unwrap_or_default())),
        Outcome::Timeout => {
            Some(format!("`{line}` did not end within {} s", destination.confirm_timeout.as_secs()))
        }
    })
}
