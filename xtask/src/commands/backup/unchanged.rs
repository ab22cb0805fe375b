//! Whether the last backup still holds what the source holds, so that it need not be made again.
//!
//! Decided from what the system says of the files ([`crate::source::folder::Survey::state`]) against what the last manifest
//! remembers of it. Any doubt makes a new backup: another container or key, a marker that does not fit, an archive of
//! another length or written to since, a backup that is known to be partial or damaged, a source with anything to report.
use super::super::Context;
use super::{Plan, keys};
use crate::destination::catalog::{Artifact, Catalog};
use crate::destination::memory::Known;
use crate::finding::Severity;
use crate::restore::{Source, digest_file};
use crate::shown::show;

/// The backup that is still the source's.
pub(super) struct Same {
    pub artifact: Artifact,
    pub sha256: String,
    /// Of the archive.
    pub bytes: u64,
}

/// The last backup of the plan's series, if nothing was changed since.
pub(super) fn unchanged(ctx: &Context, plan: &Plan, catalog: &Catalog, known: &Known) -> Option<Same> {
    let state = plan.survey.state.as_ref()?;
    let quiet = plan.survey.findings.iter().all(|finding| finding.severity == Severity::Info);
    let last = catalog.latest(&plan.name.series, None)?;
    let alike = (last.name.codec, last.name.encrypted) == (plan.name.codec, plan.name.encrypted);
    if !quiet || !alike || last.name.time > plan.name.time || known.wrong_with(last).is_some() {
        return None;
    }
    let source = Source::from(last);
    let (sums, _) = source.read_marker().ok()??;
    let digest =
        |name: String| sums.lines.iter().find(|(_, listed)| *listed == name).map(|(digest, _)| digest);
    let (archive, manifest) = (digest(last.name.file())?, digest(last.name.manifest())?);
    if digest_file(&last.manifest).ok()?.0 != *manifest {
        return None;
    }
    // With a passphrase that is another now the manifest does not open, and the backup is made anew.
    let secret = keys::opening(last.name.encrypted, plan.destination.encryption.as_ref(), ctx.env).ok()?;
    let closing = source.closing(secret.as_ref()).ok()??;
    let length =
        if last.name.encrypted { known.made.get(&show(&last.archive))?.bytes? } else { closing.packed_bytes };
    let (packed, marker) = (std::fs::metadata(&last.archive).ok()?, std::fs::metadata(&last.marker).ok()?);
    let bytes = packed.len();
    // The marker was written last: it does not speak of what was written since.
    let touched = packed.modified().ok()? > marker.modified().ok()?;
    let same = closing.state.as_ref() == Some(state) && bytes == length && !touched;
    same.then(|| Same { artifact: last.clone(), sha256: archive.clone(), bytes })
}
