//! `consistency = "staged"`: a data folder mirrored until it held still, so that what is archived is the whole of it at
//! one time.
//!
//! A pass copies what is other than in the mirror. When a pass has changed nothing, and the state of the folder is the
//! same before it as before the pass in front of it, then nothing was written between the two: the mirror is what the
//! folder held when the last pass began. A folder that never holds still is archived as the last pass left it, with a
//! finding.
use super::folder::Folder;
use crate::error::Result;
use crate::finding::{Finding, Kind};
use crate::interrupt::interrupted;
use crate::shown::show;
use crate::tools::rsync;
use std::path::Path;

/// Passes before a folder counts as one that does not hold still.
pub const PASSES: u32 = 6;

/// Mirrors `folder` into the empty folder `to`.
///
/// # Errors
/// When the folder cannot be read at all, or rsync fails otherwise than on single files.
pub fn mirror(folder: &Folder, to: &Path) -> Result<Vec<Finding>> {
    let (mut state, mut findings) = (None, Vec::new());
    for pass in 1..=PASSES {
        let (left_out, now) = folder.left_out()?;
        let done = rsync::mirror(folder.root(), &left_out, to)?;
        let still = !done.changed && state.as_ref() == Some(&now);
        if let Some(said) = done.failed.filter(|_| still || pass == PASSES) {
            let what = format!("could not be staged whole, and what is missing is NOT in the backup: {said}");
            let repair = "let the backup's user read everything, or exclude what it cannot";
            findings.push(Finding::error(show(folder.root()), what, repair).of_kind(Kind::Unreadable));
        }
        if still {
            return Ok(findings);
        }
        if interrupted() {
            return Err(crate::error::Error::Interrupted);
        }
        state = Some(now);
    }
    let what =
        format!("did not hold still in {PASSES} passes; the backup holds it as the last of them left it");
    let repair = "back it up while it is quiet, or stop what writes to it with `before` and `after`";
    findings.push(Finding::warning(show(folder.root()), what, repair).of_kind(Kind::Staging));
    Ok(findings)
}
