//! `restore-drill`: a file a kind of drill, which of them has its turn, and what all of them do alike: `frame` before,
//! `report` behind, and of full ones `closing`.
mod closing;
pub(super) mod frame;
pub(super) mod full;
mod history;
mod recover;
pub(super) mod report;
mod spot;

use super::environment::all;
use super::{Context, memory};
use crate::cli::{DrillKind, RestoreDrillArgs as Args};
use crate::config::Config;
use crate::drill::due::{self, Consent, Due, SPOT, Turn, turn};
use crate::drill::evidence::chain::Stored;
use crate::drill::evidence::record;
use crate::drill::redact::Redaction;
use crate::error::{Error, Exit, Result};
use crate::finding::Finding;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Runs the verb.
///
/// # Errors
/// Those of the drill.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = || super::configuration(ctx);
    not_over(args, ctx)?;
    let drill = || match args.kind {
        // The way back asks no configuration.
        Some(DrillKind::Recover) => recover::run(&super::root(ctx), args, ctx),
        None if args.if_due => by_turn(config()?, args, ctx),
        None | Some(DrillKind::Spot) => spot::run(config()?, args, &[], ctx),
        Some(DrillKind::Full) => full::run(config()?, args, ctx),
        Some(DrillKind::History) => history::run(&config()?, ctx),
    };
    // What a tool has said may hold what it was given.
    drill().map_err(|error| Redaction::default().guessed(&all(ctx.env, ctx.variables)).error(error))
}

/// Refuses a date until which nothing can be done any more. Somewhere on earth a day lasts twelve hours longer than in UTC.
fn not_over(args: &Args, ctx: &Context) -> Result<()> {
    let Some(due) = &args.due else { return Ok(()) };
    let west = ctx.now.saturating_sub(SignedDuration::from_hours(12)).unwrap_or(ctx.now);
    // Both are written in full, the day first, and so sort by time.
    if west.to_string().get(..due.len()).is_some_and(|today| **due < *today) {
        return Err(Error::Usage(format!("--due {due}: that day is over")));
    }
    Ok(())
}

/// The drill that is due, if one is.
fn by_turn(config: Config, args: &Args, ctx: &Context) -> Result<Exit> {
    // What is damaged or missing of the records the drill itself tells.
    let (records, _) = record::load(&config.drill.evidence_dir)?;
    let consent = if args.yes { Consent::Given } else { Consent::Missing };
    let cadence = (config.drill.spot_every, config.drill.full_every);
    match turn(&records, cadence, consent, ctx.now) {
        Turn::Full => match full::incomplete(&config)? {
            None => full::run(config, args, ctx),
            Some(missing) => instead(config, &records, missing, args, ctx),
        },
        Turn::Spot => spot::run(config, args, &[], ctx),
        Turn::FullNeedsConsent => {
            ctx.ui
                .say("the full drill is due; with --if-due it replaces live data only where --yes is given");
            match undrilled(&config, &records)? {
                None => Ok(not_due(SPOT, None, ctx)),
                Some(_) => spot::run(config, args, &[], ctx),
            }
        }
        Turn::Nothing(next) if undrilled(&config, &records)?.is_none() => Ok(not_due(SPOT, next, ctx)),
        Turn::Nothing(_) => spot::run(config, args, &[], ctx),
    }
}

/// A set that is due whatever others have proven.
fn undrilled<'a>(config: &'a Config, records: &[Stored]) -> Result<Option<&'a str>> {
    let Some(memory) = memory(config) else { return Ok(None) };
    Ok(due::undrilled(config.data.iter().map(|set| &*set.name), &memory.known()?, records))
}

/// The spot drill where that is due, for a full one that cannot begin: what is `missing` for that is no reason to prove
/// nothing. The exit code stays that of a run that could not do what is due, and whoever is told of the spot drill is told
/// of that too.
fn instead(config: Config, records: &[Stored], missing: Error, args: &Args, ctx: &Context) -> Result<Exit> {
    let due = due::drill(records, SPOT, config.drill.spot_every, ctx.now);
    if matches!(due, Due::At(_)) && undrilled(&config, records)?.is_none() {
        return Err(missing);
    }
    let what = format!("the full drill is due, and cannot begin: {}", missing.chain());
    ctx.ui.error(&what, missing.next_step().as_deref());
    let finding = Finding {
        owner: args.owner.clone(),
        due: args.due.clone(),
        ..Finding::error("drill", what, missing.next_step().unwrap_or_default())
    };
    Ok(match spot::run(config, args, &[finding], ctx)? {
        Exit::Done | Exit::TryLater => missing.exit(),
        exit => exit,
    })
}

/// Tells that there is nothing to do before `next`.
fn not_due(kind: &str, next: Option<Timestamp>, ctx: &Context) -> Exit {
    let when = next.map_or(String::new(), |next| format!(" before {next}"));
    ctx.ui.say(&format!("no drill is due{when}"));
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": "ok", "kind": kind, "result": "not_due",
        "next_due_at": next.map(|next| next.to_string()), "evidence": null, "rto_seconds": null,
        "rpo_seconds": null, "steps": [], "not_tested": [],
    }));
    ctx.told.idle();
    Exit::Done
}
