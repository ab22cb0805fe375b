//! What is said of a source where no `before` line is run, in a dry run and by `doctor`: it may be another when its backup
//! begins. Nothing is read of it but whether it is there.
use crate::commands;
use crate::config::DataSet;
use crate::finding::{Finding, Severity};
use crate::shown::show;

/// What is said of a source that is not there where no line is run, in a dry run and by `doctor`: `before` may make it.
pub(in crate::commands) fn awaited(set: &DataSet) -> Option<Finding> {
    let repair = "if it does not, mend `source` of the set";
    let told = || Finding::warning(show(&set.source), "is not there yet: `before` may make it", repair);
    (!set.live.before.is_empty() && !set.source.exists()).then(told)
}

/// What is said there of a source as it lies: an error that `before` may mend is none yet.
pub(in crate::commands) fn unless_mended(set: &DataSet, found: Finding) -> Finding {
    if set.live.before.is_empty() {
        return found;
    }
    let what = format!("{}; `before` may mend that", found.what);
    Finding { severity: Severity::Warning, what, ..found }
}

/// Its key files that are not there.
pub(in crate::commands) fn lost_key_files(set: &DataSet) -> Vec<Finding> {
    commands::lost_key_files(set).into_iter().map(|lost| unless_mended(set, lost)).collect()
}
