//! Whether the last backup still holds what the source holds, so that it need not be made again.
//!
//! Decided from what the system says of the files ([`crate::source::folder::Survey::state`]) against what the last manifest
//! remembers of it. Any doubt makes a new backup: another container or key, a marker that does not fit, an archive of
//! another length or written to since, a backup that is known to be partial or damaged, one without the canary that it should
//! have, a source with anything to report.
use super::super::Context;
use super::Ready;
use crate::config::{DataSet, Encryption, keys};
use crate::destination::catalog::Artifact;
use crate::destination::known::Known;
use crate::destination::marker::Sums;
use crate::destination::names::ArtifactName;
use crate::error::Error;
use crate::finding::{Finding, Severity};
use crate::restore::{Source, digest_file};
use crate::shown::show;
use crate::source::folder::Survey;
use crate::tools::openpgp::Lock;

/// The backup that is still the source's.
pub(super) struct Same {
    pub artifact: Artifact,
    /// Its marker.
    pub sums: Sums,
    /// Of the archive.
    pub bytes: u64,
}

/// The last backup of a series at a destination, if nothing was changed since; `name` is that of a new one.
pub(super) fn unchanged(
    ctx: &Context,
    set: &DataSet,
    survey: &Survey,
    name: &ArtifactName,
    ready: &Ready,
    known: &Known,
    findings: &mut Vec<Finding>,
) -> Option<Same> {
    let state = survey.state.as_ref()?;
    let quiet = survey.findings.iter().all(|finding| finding.severity == Severity::Info);
    let last = ready.catalog.latest(&name.series, None)?;
    let alike = (last.name.codec, last.name.encrypted) == (name.codec, name.encrypted);
    if !quiet || !alike || last.name.time > name.time || known.wrong_with(last).is_some() {
        return None;
    }
    // One that another repository has made is of another folder, whatever it looks like.
    let made = known.made.get(&show(&last.archive))?;
    // Taken for the source's, it would hide that no canary can be written: each run is to say so.
    if set.proof.canary.is_some() && made.canary.is_none() {
        return None;
    }
    if let Some(Encryption::Recipients(names)) = &ready.destination.encryption
        && made.recipients.as_ref() != Some(names)
    {
        return None;
    }
    if let Some(remote) = &ready.destination.place.remote {
        let same = made.state.as_ref() == Some(state) && made.bytes == Some(last.archive_bytes);
        let (sums, _) = same.then(|| remote.digests(last)).and_then(Result::ok)?;
        return Some(Same { artifact: last.clone(), sums, bytes: last.archive_bytes });
    }
    let source = Source::from(last);
    let (sums, _) = source.read_marker().ok()??;
    sums.digest(&last.name.file())?;
    if digest_file(&last.manifest).ok()?.0 != sums.digest(&last.name.manifest())? {
        return None;
    }
    let encryption = ready.destination.encryption.as_ref();
    // Nor is one of another kind the backup that is asked for, though something here may open it.
    let lock = match encryption {
        Some(Encryption::Recipients(_)) => Lock::PublicKey,
        Some(Encryption::Passphrase { .. }) | None => Lock::Passphrase,
    };
    if last.name.encrypted && lock != Lock::of(&last.archive) {
        return None;
    }
    let (known_state, length) = if last.name.encrypted && lock == Lock::PublicKey {
        // The secret key may be elsewhere, as it should: what the history remembers has to do.
        (made.state.clone(), made.bytes?)
    } else {
        // With a passphrase that is another now the manifest does not open, and the backup is made anew.
        let secret = keys::opening(last.name.encrypted, encryption, ctx.env).ok()?;
        let closing = source.closing(secret.as_ref()).map_err(|error| findings.extend(another(last, &error)));
        let closing = closing.ok()??;
        (closing.state, if last.name.encrypted { made.bytes? } else { closing.packed_bytes })
    };
    let (packed, marker) = (std::fs::metadata(&last.archive).ok()?, std::fs::metadata(&last.marker).ok()?);
    let bytes = packed.len();
    // The marker was written last: it does not speak of what was written since.
    let touched = packed.modified().ok()? > marker.modified().ok()?;
    let same = known_state.as_ref() == Some(state) && bytes == length && !touched;
    same.then(|| Same { artifact: last.clone(), sums, bytes })
}

/// The passphrase of this run does not open the last backup: it was changed, or mistyped, and then nothing opens this one.
fn another(last: &Artifact, error: &Error) -> Option<Finding> {
    let Error::Refused { .. } = error else { return None };
    let what =
        format!("is the last backup, and does not open with the passphrase of this one: {}", error.chain());
    let repair = "if the passphrase was changed, keep the former one as long as its backups; else set the right one, and \
                  back up again";
    Some(Finding::error(show(&last.archive), what, repair))
}
