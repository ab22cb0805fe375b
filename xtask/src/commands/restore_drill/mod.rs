//! `restore-drill`: a file a kind of drill, and what all of them do alike: `frame` before, `report` behind.
mod frame;
mod history;
mod report;
mod spot;

use super::Context;
use crate::cli::{DrillKind, RestoreDrillArgs as Args};
use crate::error::{Exit, Result};

/// Runs the verb.
///
/// # Errors
/// Those of the drill.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    match args.kind {
        DrillKind::Spot => spot::run(config, args, ctx),
        DrillKind::History => history::run(&config, ctx),
    }
}
