//! How a data set is read while it is in use: what it is staged for, which commands stand around its backup, and what of
//! it is left out by rule.
use super::{DataSet, Destination};
use crate::destination::mount::resolved;
pub use crate::source::rules::ASIDES;
use crate::source::rules::Rules;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Whether a data set is mirrored until it holds still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// Each file by itself.
    #[default]
    File,
    /// The whole set as it was at one time: mirrored by rsync until a pass changes nothing, and archived from there.
    Staged,
}

/// The keys of `[data.NAME]` that are about data in use.
#[derive(Debug, Clone)]
pub struct Live {
    /// Default: each file by itself.
    pub consistency: Consistency,
    /// Where stages and copies of databases may lie, in the clear.
    pub stage_dir: Option<PathBuf>,
    /// Shell lines that run before the set is looked at.
    pub before: Vec<String>,
    /// Shell lines that run when the set is done, whatever came of it.
    pub after: Vec<String>,
    /// Deadline of each; default 10 minutes.
    pub hook_timeout: Duration,
    /// Variables that they may see; default PATH, HOME, LANG.
    pub hook_environment: Vec<String>,
    /// Whether folders with a `CACHEDIR.TAG` are left out.
    pub exclude_caches: bool,
    /// Whether folders on other file systems are left out.
    pub one_file_system: bool,
    /// Bytes of the largest file that is not left out.
    pub max_size: Option<u64>,
}

/// What commands of the user see of the environment where nothing else is configured.
pub(super) fn environment() -> Vec<String> {
    ["PATH", "HOME", "LANG"].map(String::from).to_vec()
}

impl Default for Live {
    fn default() -> Self {
        Self {
            consistency: Consistency::default(),
            stage_dir: None,
            before: Vec::new(),
            after: Vec::new(),
            hook_timeout: super::TEN_MINUTES,
            hook_environment: environment(),
            exclude_caches: false,
            one_file_system: false,
            max_size: None,
        }
    }
}

impl DataSet {
    /// How its folder is read.
    pub fn rules(&self) -> Rules {
        Rules {
            exclude: self.exclude.clone(),
            databases: self.sqlite,
            exclude_caches: self.live.exclude_caches,
            one_file_system: self.live.one_file_system,
            max_size: self.live.max_size,
        }
    }

    /// A stage is plaintext: with encryption it lies only where the user has said that it may.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn may_be_staged(&self, encrypted: bool) -> Result<(), (String, String)> {
        let staged = self.live.consistency == Consistency::Staged;
        if !(staged && encrypted && self.live.stage_dir.is_none()) {
            return Ok(());
        }
        let what = format!(
            "the data set {} is staged in the clear, and its backup is encrypted: no place is named where its plaintext may lie",
            self.name
        );
        Err((what, format!("add `stage-dir = \"…\"` to [data.{}], a folder that may hold it", self.name)))
    }

    /// What is staged is plaintext, and no backup: it has no place on a drive.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn stages_elsewhere(&self, place: &Destination) -> Result<(), (String, String)> {
        let within = |folder: &PathBuf| resolved(folder).starts_with(resolved(&place.place.path));
        match self.live.stage_dir.as_ref().filter(|_| place.place.remote.is_none()) {
            Some(folder) if within(folder) => Err((
                format!(
                    "the stage-dir of data.{} lies inside of the destination {:?}",
                    self.name, place.name
                ),
                "name a folder of this machine, outside of every destination".into(),
            )),
            _ => Ok(()),
        }
    }
}
