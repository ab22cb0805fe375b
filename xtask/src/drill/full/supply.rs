//! What a full drill asks of the verb that carries it, whose room it may not use: backups, and the newest artifacts.
use crate::drill::steps::Planned;
use crate::drill::subject::Subject;
use crate::error::Result;
use crate::finding::Finding;

/// What a fresh backup came to.
#[derive(Debug)]
pub struct Fresh {
    /// What was done.
    pub detail: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// The newest artifact of a target.
#[derive(Debug)]
pub struct Picked {
    /// What it is.
    pub planned: Planned,
    /// Where it is.
    pub subject: Subject,
}

/// What the drill asks of the verb that carries it: it may not use its room.
pub trait Supply {
    /// Backs up every set.
    ///
    /// # Errors
    /// When that cannot even be begun.
    fn back_up(&mut self) -> Result<Fresh>;
    /// The newest artifact of each target that has one, in the plan's order, and what is known against them.
    ///
    /// # Errors
    /// When a destination or a key is out of reach, or the newest is not the backup that was just made.
    fn pick(&mut self) -> Result<(Vec<Option<Picked>>, Vec<Finding>)>;
}
