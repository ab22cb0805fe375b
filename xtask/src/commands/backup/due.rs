//! Which sets `backup --if-due` leaves alone: those whose last whole backup is recent enough at every destination.
//!
//! Decided by the history in `.recovery/` alone: no drive is woken up to hear that there is nothing to do. A set without
//! `backup-every` is always due, and so is one that this repository remembers nothing of.
use super::set::series;
use super::{Args, Done};
use crate::commands::Context;
use crate::commands::overdue::reason;
use crate::config::{DataSet, Destination};
use crate::destination::known::Known;
use crate::destination::memory::Memory;
use crate::drill::due::{Due, Why, backed_up, due};
use crate::error::Result;

/// A set with its destinations.
type Selected = (DataSet, Vec<Destination>);

/// The sets that are backed up now, and what is told of the others.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn sort(
    args: &Args,
    ctx: &Context,
    memory: Option<&Memory>,
    selected: Vec<Selected>,
) -> Result<(Vec<Selected>, Vec<Done>)> {
    if !args.if_due {
        return Ok((selected, Vec::new()));
    }
    let known = memory.map(Memory::known).transpose()?.unwrap_or_default();
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for one in selected {
        match is_due(args, ctx, &known, &one)? {
            Some(why) => {
                ctx.ui.say(&format!("{}: a backup is due: {}", one.0.name, reason(why, ctx.now)));
                now.push(one);
            }
            None => later.push(Done { set: one.0.name, status: "not_due", ..Done::default() }),
        }
    }
    Ok((now, later))
}

/// Why a set is due, if it is.
fn is_due(args: &Args, ctx: &Context, known: &Known, (set, destinations): &Selected) -> Result<Option<Why>> {
    let series = series(args, set)?;
    let last = |place: &Destination| backed_up(known, &series, &place.place.path, ctx.now);
    Ok(destinations.iter().find_map(|place| match due(last(place), set.backup_every, ctx.now) {
        Due::Now(why) => Some(why),
        Due::At(_) => None,
    }))
}
