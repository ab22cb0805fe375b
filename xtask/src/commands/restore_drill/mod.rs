//! `restore-drill`: a file a kind of drill.
mod full;
mod history;
mod recover;
mod spot;

use super::Context;
use crate::cli::{DrillKind, RestoreDrillArgs as Args};
use crate::error::{Exit, Result};

/// Runs the verb.
///
/// # Errors
/// Those of the drill.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    if args.kind == DrillKind::Recover {
        return recover::run(&super::root(ctx), ctx);
    }
    let config = super::configuration(ctx)?;
    match args.kind {
        DrillKind::Recover => recover::run(&config.root, ctx),
        DrillKind::Full => full::run(config, args, ctx),
        DrillKind::Spot => spot::run(config, args, ctx),
        DrillKind::History => history::run(&config, ctx),
    }
}
