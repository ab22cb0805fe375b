//! One backup onto its destination: archive, manifest, marker.
//!
//! The marker is what makes it a backup, and it is written last, after the drive was looked at once more. Until then
//! everything is removed again when the run ends in any way but a kill; what a kill leaves has no marker.
use super::super::{TOOL, at};
use super::Plan;
use super::stage::Staged;
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Options, Sinks, Summary};
use crate::commands::lost_key_files;
use crate::destination::durable::{Run, Written};
use crate::destination::marker::Sums;
use crate::destination::names::whole_seconds;
use crate::error::{Error, Result};
use crate::finding::{Finding, Kind, Severity};
use crate::interrupt::interrupted;
use crate::shown::show_bytes;
use crate::source::folder::told;
use crate::source::live::{Reading, TRIES};
use crate::source::rules::Excluded;
use crate::source::walk::Met;
use crate::source::{Pour, PourError};
use crate::threads::workers;
use crate::tools::gpg;
use std::collections::HashSet;

/// A complete backup.
pub(super) struct Stored {
    pub archive: Written,
    /// Its marker.
    pub sums: Sums,
    pub summary: Summary,
    pub findings: Vec<Finding>,
    /// What was left out, where that is known better than from the survey.
    pub excluded: Option<Excluded>,
}

/// Stores the backup of a plan.
///
/// An archive is begun again when a large file changed while it was read, [`TRIES`] times in all, however many such files
/// there are. When one ended early, it is begun again as often for each, and then made without it.
///
/// # Errors
/// When the archive cannot be written, read back or completed; nothing is left of it then.
pub(super) fn store(plan: &Plan, what: &Staged<'_>) -> Result<Stored> {
    let mut left_out: HashSet<Vec<u8>> = HashSet::new();
    let (mut tries, mut changed, mut findings) = (0, 0, what.findings.clone());
    loop {
        let mut run = Run::private().on(&plan.mounted);
        let reading = Reading { begin_again: changed + 1 < TRIES, ..what.reading.clone() };
        match write(plan, what, &reading, &mut run, &left_out)? {
            Attempt::Whole { archive, manifest, summary, findings: found } => {
                let sums = commit(plan, &mut run, &archive, &manifest)?;
                run.commit();
                findings.extend(found);
                return Ok(Stored { archive, sums, summary, findings, excluded: what.excluded });
            }
            Attempt::Ended(Early::Changed) => changed += 1,
            Attempt::Ended(Early::Short(name, why)) => {
                tries += 1;
                if tries == TRIES {
                    let what = format!("{why} while it was read, {TRIES} times, and is NOT in the backup");
                    let repair = "back it up while nothing writes to it";
                    findings.push(Finding::error(show_bytes(&name), what, repair).of_kind(Kind::Shrank));
                    left_out.insert(name);
                    tries = 0;
                }
            }
        }
    }
}

/// What writing an archive came to.
enum Attempt {
    Whole { archive: Written, manifest: Written, summary: Summary, findings: Vec<Finding> },
    Ended(Early),
}

/// Why an archive was not written to its end.
enum Early {
    /// This large file ended early, and why: its header in the stream no longer tells the truth.
    Short(Vec<u8>, String),
    /// A large file was written to while it was read.
    Changed,
}

/// Findings and numbers.
type Packed = std::result::Result<(Vec<Finding>, Summary), Early>;

/// Writes archive and manifest, once.
fn write(
    plan: &Plan,
    what: &Staged<'_>,
    reading: &Reading,
    run: &mut Run,
    left_out: &HashSet<Vec<u8>>,
) -> Result<Attempt> {
    let pack = |sinks: Sinks<'_>| pack(plan, what, reading, left_out, sinks);
    let (path, index) = (plan.archive(), plan.day().join(plan.name.manifest()));
    let (mut archive, mut manifest) = (run.create(&path)?, run.create(&index)?);
    let packed = match what.archiving.key {
        None => pack(Sinks { archive: &mut archive, manifest: &mut manifest })?,
        Some(key) => gpg::encrypt(key, &index, &mut manifest, |manifest| {
            gpg::encrypt(key, &path, &mut archive, |archive| pack(Sinks { archive, manifest }))
        })?,
    };
    Ok(match packed {
        Ok((findings, summary)) => {
            Attempt::Whole { archive: archive.finish()?, manifest: manifest.finish()?, summary, findings }
        }
        Err(early) => Attempt::Ended(early),
    })
}

fn pack(
    plan: &Plan,
    what: &Staged<'_>,
    reading: &Reading,
    left_out: &HashSet<Vec<u8>>,
    sinks: Sinks<'_>,
) -> Result<Packed> {
    let codec = plan.name.codec;
    let header = Header {
        schema: SCHEMA,
        archive: plan.name.file(),
        created_at: whole_seconds(plan.name.time).to_string(),
        codec,
        encoder: codec.encoder().into(),
        level: codec.level(),
        tool: TOOL.into(),
    };
    let packed =
        writer::write(sinks, &header, Options { workers: workers(), tar_sha256: false }, |builder| {
            let mut pour = Pour::from_live(builder, reading.clone());
            what.folder().walk(&mut |met| {
                match met {
                    Met::Item(item, _) if left_out.contains(&item.entry.path) => {}
                    Met::Item(item, file) => pour.add(item, file)?,
                    Met::Finding(finding) => pour.findings.push(finding),
                    Met::Excluded(path, why) => pour.findings.extend(told(&path, why)),
                }
                Ok::<_, PourError>(())
            })?;
            let findings = pour.finish();
            let quiet = |found: &Finding| found.severity == Severity::Info;
            let whole = left_out.is_empty() && findings.iter().chain(&what.findings).all(quiet);
            let errors =
                findings.iter().chain(&what.findings).filter(|found| found.severity == Severity::Error);
            // Without a key file no drill of it would pass.
            builder.source_errors((errors.count() + lost_key_files(what.archiving.set).len()) as u64);
            if let (true, Some(state)) = (whole, &what.archiving.survey.state) {
                builder.source_state(state.clone());
            }
            Ok(findings)
        });
    match packed {
        Ok(packed) => Ok(Ok(packed)),
        Err(PourError::Short(name, why)) => Ok(Err(Early::Short(name, why))),
        Err(PourError::Changed(_)) => Ok(Err(Early::Changed)),
        Err(error) => Err(at(&plan.archive(), error)),
    }
}

/// The drive once more, then the marker: with it the backup is one.
fn commit(plan: &Plan, run: &mut Run, archive: &Written, manifest: &Written) -> Result<Sums> {
    if interrupted() {
        return Err(Error::Interrupted);
    }
    plan.place.recheck(&plan.mounted)?;
    let lines =
        vec![(archive.sha256.clone(), plan.name.file()), (manifest.sha256.clone(), plan.name.manifest())];
    let sums = Sums { lines };
    run.publish(&plan.day().join(plan.name.marker()), sums.render().as_bytes())?;
    Ok(sums)
}
