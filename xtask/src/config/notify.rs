//! Who is told how a run went.
use std::path::PathBuf;
use std::time::Duration;

/// The deadline of a command that only tells somebody.
pub(super) const ONE_MINUTE: Duration = Duration::from_secs(60);

/// `[notify]`.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Shell lines that run when a verb has done its work and found nothing wrong.
    pub on_success: Vec<String>,
    /// Shell lines that run when it has not, or has found something.
    pub on_failure: Vec<String>,
    /// The file that holds the URL of a check, as healthchecks has it.
    pub ping_url_file: Option<PathBuf>,
    /// Deadline of each line; default one minute.
    pub timeout: Duration,
    /// Variables that they may see; default PATH, HOME, LANG.
    pub environment: Vec<String>,
}
