//! One backup onto its destination: archive, manifest, marker.
//!
//! The marker is what makes it a backup, and it is written last, after the drive was looked at once more. Until then
//! everything is removed again when the run ends in any way but a kill; what a kill leaves has no marker.
use super::super::{TOOL, at};
use super::Plan;
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Options, Sinks, Summary};
use crate::destination::durable::{Run, Written};
use crate::destination::marker::Sums;
use crate::destination::names::whole_seconds;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::interrupt::interrupted;
use crate::restore::workers;
use crate::shown::show_bytes;
use crate::source::folder::{Folder, Met, Survey};
use crate::source::{Pour, PourError};
use crate::tools::gpg::{self, Key};
use std::collections::HashSet;

/// How often an archive is begun again because a large file ended early, before that file is left out.
const TRIES: u32 = 3;

/// A complete backup.
pub(super) struct Stored {
    pub archive: Written,
    /// Its marker.
    pub sums: Sums,
    pub summary: Summary,
    pub findings: Vec<Finding>,
}

/// What is archived, and how it is locked.
#[derive(Clone, Copy)]
pub(super) struct Archiving<'a> {
    pub folder: &'a Folder,
    pub survey: &'a Survey,
    pub key: Option<&'a Key>,
}

/// Stores the backup of a plan.
///
/// # Errors
/// When the archive cannot be written, read back or completed; nothing is left of it then.
pub(super) fn store(plan: &Plan, what: Archiving<'_>) -> Result<Stored> {
    let mut left_out: HashSet<Vec<u8>> = HashSet::new();
    let (mut tries, mut findings) = (0, Vec::new());
    loop {
        let mut run = Run::private().on(&plan.mounted);
        match write(plan, what, &mut run, &left_out)? {
            Attempt::Whole { archive, manifest, summary, findings: found } => {
                let sums = commit(plan, &mut run, &archive, &manifest)?;
                run.commit();
                findings.extend(found);
                return Ok(Stored { archive, sums, summary, findings });
            }
            Attempt::Short(name, why) => {
                tries += 1;
                if tries == TRIES {
                    let what = format!("{why} while it was read, {TRIES} times, and is NOT in the backup");
                    let repair = "back it up while nothing writes to it";
                    findings.push(Finding::error(show_bytes(&name), what, repair));
                    left_out.insert(name);
                    tries = 0;
                }
            }
        }
    }
}

/// What writing an archive came to.
enum Attempt {
    Whole {
        archive: Written,
        manifest: Written,
        summary: Summary,
        findings: Vec<Finding>,
    },
    /// This large file ended early, and why: its header in the stream no longer tells the truth.
    Short(Vec<u8>, String),
}

/// Findings and numbers, or the name of the file that ended early, and why.
type Packed = std::result::Result<(Vec<Finding>, Summary), (Vec<u8>, String)>;

/// Writes archive and manifest, once.
fn write(plan: &Plan, what: Archiving<'_>, run: &mut Run, left_out: &HashSet<Vec<u8>>) -> Result<Attempt> {
    let (path, index) = (plan.archive(), plan.day().join(plan.name.manifest()));
    let (mut archive, mut manifest) = (run.create(&path)?, run.create(&index)?);
    let packed = match what.key {
        None => pack(plan, what, left_out, Sinks { archive: &mut archive, manifest: &mut manifest })?,
        Some(key) => gpg::encrypt(key, &index, &mut manifest, |manifest| {
            gpg::encrypt(key, &path, &mut archive, |archive| {
                pack(plan, what, left_out, Sinks { archive, manifest })
            })
        })?,
    };
    Ok(match packed {
        Ok((findings, summary)) => {
            Attempt::Whole { archive: archive.finish()?, manifest: manifest.finish()?, summary, findings }
        }
        Err((name, why)) => Attempt::Short(name, why),
    })
}

fn pack(plan: &Plan, what: Archiving<'_>, left_out: &HashSet<Vec<u8>>, sinks: Sinks<'_>) -> Result<Packed> {
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
    if what.survey.state.is_some() {
        what.folder.settle();
    }
    let packed =
        writer::write(sinks, &header, Options { workers: workers(), tar_sha256: false }, |builder| {
            let mut pour = Pour::new(builder, None);
            what.folder.walk(&mut |met| {
                match met {
                    Met::Item(item, _) if left_out.contains(&item.entry.path) => {}
                    Met::Item(item, file) => pour.add(item, file)?,
                    Met::Finding(finding) => pour.findings.push(finding),
                    Met::Excluded(_) => {}
                }
                Ok::<_, PourError>(())
            })?;
            let findings = pour.finish();
            let whole = left_out.is_empty() && findings.iter().all(|found| found.severity == Severity::Info);
            if let (true, Some(state)) = (whole, &what.survey.state) {
                builder.source_state(state.clone());
            }
            Ok(findings)
        });
    match packed {
        Ok(packed) => Ok(Ok(packed)),
        Err(PourError::Short(name, why)) => Ok(Err((name, why))),
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
    run.write(&plan.day().join(plan.name.marker()), sums.render().as_bytes())?;
    Ok(sums)
}
