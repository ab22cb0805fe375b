//! One backup onto its destination: archive, manifest, marker.
//!
//! The marker is what makes it a backup, and it is written last, after the drive was looked at once more. Until then
//! everything is removed again when the run ends in any way but a kill; what a kill leaves has no marker.
use super::super::{TOOL, at, workers};
use super::Plan;
use crate::archive::manifest::{Header, SCHEMA};
use crate::archive::writer::{self, Summary};
use crate::destination::durable::{Run, Written};
use crate::destination::marker::Sums;
use crate::destination::mount;
use crate::destination::names::whole_seconds;
use crate::error::{Error, Result};
use crate::finding::{Finding, show_bytes};
use crate::source::folder::Met;
use crate::source::{Pour, PourError};
use crate::tools::gpg;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

/// How often an archive is begun again because a large file shrank, before that file is left out.
const TRIES: u32 = 3;

/// A complete backup.
pub(super) struct Stored {
    pub archive: Written,
    pub summary: Summary,
    pub findings: Vec<Finding>,
}

/// Stores the backup of a plan.
///
/// # Errors
/// When the archive cannot be written, read back or completed; nothing is left of it then.
pub(super) fn store(plan: &Plan) -> Result<Stored> {
    let mut left_out: HashSet<Vec<u8>> = HashSet::new();
    let (mut tries, mut findings) = (0, Vec::new());
    loop {
        let mut run = Run::private();
        let (archive, packed) = write(plan, &mut run, &left_out)?;
        match packed {
            Ok((found, summary)) => {
                commit(plan, &mut run, &archive, &summary)?;
                run.commit();
                findings.extend(found);
                return Ok(Stored { archive, summary, findings });
            }
            Err(name) => {
                tries += 1;
                if tries == TRIES {
                    let what = format!("shrank while it was read, {TRIES} times, and is NOT in the backup");
                    let repair = "back it up while nothing writes to it";
                    findings.push(Finding::error(show_bytes(&name), what, repair));
                    left_out.insert(name);
                    tries = 0;
                }
            }
        }
    }
}

/// Findings and numbers; or the name of a large file that shrank under the reader, so that its header in the stream
/// no longer tells the truth.
type Packed = std::result::Result<(Vec<Finding>, Summary), Vec<u8>>;

/// Writes the archive, once.
fn write(plan: &Plan, run: &mut Run, left_out: &HashSet<Vec<u8>>) -> Result<(Written, Packed)> {
    let path = plan.archive();
    let mut file = run.create(&path)?;
    let packed = match &plan.key {
        None => pack(plan, left_out, &mut file, &path)?,
        Some(key) => gpg::encrypt(key, &mut file, |sink| pack(plan, left_out, sink, &path))?,
    };
    match packed {
        Ok(_) => Ok((file.finish()?, packed)),
        Err(_) => Ok((Written { sha256: String::new(), bytes: 0 }, packed)),
    }
}

fn pack(
    plan: &Plan,
    left_out: &HashSet<Vec<u8>>,
    sink: &mut (dyn Write + Send),
    path: &Path,
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
    let packed = writer::write(sink, &header, workers(), |builder| {
        let mut pour = Pour::new(builder, None);
        plan.folder.walk(&mut |met| {
            match met {
                Met::Item(item) if left_out.contains(&item.entry.path) => {}
                Met::Item(item) => pour.add(item)?,
                Met::Finding(finding) => pour.findings.push(finding),
                Met::Excluded(_) => {}
            }
            Ok::<_, PourError>(())
        })?;
        Ok(pour.findings)
    });
    match packed {
        Ok(packed) => Ok(Ok(packed)),
        Err(PourError::Shrunk(name)) => Ok(Err(name)),
        Err(error) => Err(at(path, error)),
    }
}

/// Manifest, then the drive once more, then the marker: with it the backup is one.
fn commit(plan: &Plan, run: &mut Run, archive: &Written, summary: &Summary) -> Result<()> {
    let path = plan.day().join(plan.name.manifest());
    let manifest = match &plan.key {
        None => run.write(&path, &summary.manifest)?,
        Some(key) => {
            let mut file = run.create(&path)?;
            gpg::encrypt(key, &mut file, |sink| {
                sink.write_all(&summary.manifest).map_err(Error::io("write", &path))
            })?;
            file.finish()?
        }
    };
    mount::recheck(&plan.mounted, &plan.destination.path)?;
    let lines = vec![(archive.sha256.clone(), plan.name.file()), (manifest.sha256, plan.name.manifest())];
    run.write(&plan.day().join(plan.name.marker()), Sums { lines }.render().as_bytes())?;
    Ok(())
}
