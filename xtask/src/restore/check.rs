//! `verify` of one artifact: every digest, every entry against the manifest, without writing anything.
//!
//! Goes on after a damaged block, so that the findings say what is lost and what is not. What could not be
//! checked, because the manifest or the marker is gone, is itself a finding.
use super::layout::{Layout, leads_out};
use super::tree::unvouched;
use super::{Listed, Source, Trouble, differs, digest_file};
use crate::archive::entry::{Entry, Kind, read_tar};
use crate::archive::manifest::{Group, Record};
use crate::archive::reader::{Blocks, Skip, decode};
use crate::archive::{FormatError, digest_stream};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::shown::{show, show_bytes};
use crate::tools::gpg::Secret;
use std::io::Read;

/// What a check came to.
#[derive(Debug, Default)]
pub struct Checked {
    /// Entries that were read.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// What is wrong or could not be checked.
    pub findings: Vec<Finding>,
    /// Whether there was a manifest to compare with.
    pub manifest: bool,
}

/// So many findings of one archive are listed: a hostile one could have several for each entry, and fill the memory.
const MOST: usize = 1000;

impl Checked {
    /// Lists an error; one too many says only that there are more.
    fn error(&mut self, source: &Source, finding: Finding) {
        match self.findings.len() {
            0..MOST => self.findings.push(finding),
            MOST => {
                let what = format!("has more errors than the {MOST} that are listed");
                self.findings.push(Finding::error(source.name(), what, REPAIR));
            }
            _ => {}
        }
    }
}

const REPAIR: &str = "restore from another copy; keep this one until you have";

/// Checks an artifact: the digests of its marker, each block, each entry, and the container's ends.
///
/// # Errors
/// When it cannot be read at all: no such file, no key, a wrong passphrase, a newer format. Damage is not an
/// error but a finding.
pub fn check(source: &Source, secret: Option<&Secret>) -> Result<Checked> {
    let mut checked = Checked::default();
    check_digests(source, &mut checked.findings)?;
    let with_manifest = source.with_manifest(secret, |listed| {
        checked.manifest = true;
        check_groups(source, secret, listed, &mut checked)
    });
    let damage = match with_manifest {
        Ok(Some(())) => return Ok(checked),
        Ok(None) => Finding::warning(
            source.name(),
            "has no manifest: single entries could not be compared with what was backed up",
            "it still restores, as any tar file does",
        ),
        Err(error) => match error.damaged_file() {
            None => return Err(error),
            Some(file) => Finding { repair: REPAIR.into(), ..Finding::of(show(file), &error) },
        },
    };
    let in_archive = damage.path == show(&source.archive);
    checked.findings.push(damage);
    if !in_archive {
        // A manifest that is gone or damaged says nothing of the archive.
        (checked.manifest, checked.entries, checked.bytes) = (false, 0, 0);
        check_plain(source, secret, &mut checked).or_else(|error| match error.damaged_file() {
            None => Err(error),
            Some(_) => {
                checked.findings.push(Finding::error(source.name(), error.chain(), REPAIR));
                Ok(())
            }
        })?;
    }
    Ok(checked)
}

/// Archive and manifest have the digests that the marker holds.
fn check_digests(source: &Source, findings: &mut Vec<Finding>) -> Result<()> {
    let Some((sums, oddities)) = source.read_marker()? else {
        let what = "has no .sha256 beside it: its digest could not be compared";
        findings.push(Finding::warning(source.name(), what, "a backup without one never was completed"));
        return Ok(());
    };
    let marker = show(source.marker.as_deref().unwrap_or(&source.archive));
    for oddity in oddities {
        findings.push(Finding::warning(&marker, oddity, "`sha256sum --check` may not read it"));
    }
    for path in std::iter::once(&source.archive).chain(&source.manifest) {
        let name = show(path.file_name().unwrap_or_default().as_ref());
        let (digest, _) = digest_file(path)?;
        match sums.lines.iter().find(|(_, listed)| *listed == name) {
            Some((expected, _)) if *expected == digest => {}
            Some((expected, _)) => findings.push(Finding::error(
                &name,
                format!("has SHA-256 {digest}, but {marker} says {expected}"),
                REPAIR,
            )),
            // A list of many may be older than this one.
            None if marker.ends_with("SHA256SUMS") => {
                let what = "is not listed in SHA256SUMS: its digest could not be compared";
                findings.push(Finding::warning(&name, what, "`cargo xtask snapshot` lists it anew"));
            }
            None => findings.push(Finding::error(&name, format!("is not listed in {marker}"), REPAIR)),
        }
    }
    Ok(())
}

fn check_groups(
    source: &Source,
    secret: Option<&Secret>,
    listed: &mut Listed<'_>,
    checked: &mut Checked,
) -> Result<()> {
    source.with_stream(&source.archive, secret, |stream| {
        let mut prologue = vec![0; listed.codec().prologue().len()];
        let mut whole = stream.read_exact(&mut prologue).is_ok();
        let mut stream = After { stream, passed: prologue.len() as u64 };
        let mut layout = Layout::default();
        let mut blocks = Blocks::new(&mut stream, listed.codec());
        while let Some(group) = listed.next_group()? {
            match check_group(source, &mut blocks, &group, &mut layout, checked) {
                Ok(()) => {}
                Err(Trouble::Ours(error)) => return Err(error),
                Err(Trouble::Format(error)) => {
                    whole = false;
                    let what = lost(&error.to_string(), &group.records);
                    checked.error(source, Finding::error(source.name(), what, REPAIR));
                }
            }
        }
        if whole {
            blocks.finish(&prologue).map_err(Error::format(&source.archive))?;
        }
        Ok(())
    })
}

/// A stream whose first bytes have been read already: passing over them is nothing.
struct After<'a> {
    stream: &'a mut dyn Skip,
    passed: u64,
}

impl Read for After<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Skip for After<'_> {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        let already = bytes.min(self.passed);
        self.passed = 0;
        self.stream.skip(bytes - already)
    }
}

/// What was damaged, and the first entries that are lost with it.
fn lost(error: &str, records: &[Record]) -> String {
    let names: Vec<String> = records.iter().take(3).map(|record| show_bytes(&record.entry.path)).collect();
    match records.len() {
        0 => error.to_owned(),
        count @ 1..=3 => format!("{error}; {count} damaged: {}", names.join(", ")),
        count => format!("{error}; {count} entries damaged: {}, …", names.join(", ")),
    }
}

fn check_group(
    source: &Source,
    blocks: &mut Blocks<'_>,
    group: &Group,
    layout: &mut Layout,
    checked: &mut Checked,
) -> Result<(), Trouble> {
    let mut expected = group.records.iter();
    read_tar(&mut blocks.group(group), &mut |entry, content| {
        let sha256 = digest(&entry, content, checked)?;
        let name = show_bytes(&entry.path);
        lay(source, &entry, layout, checked);
        let wrong = match expected.next() {
            Some(record) => differs(record, &entry, sha256),
            None => Some("is not in the manifest".to_owned()),
        };
        if let Some(what) = wrong {
            checked.error(source, Finding::error(name, what, REPAIR));
        }
        Ok::<_, Trouble>(())
    })?;
    for record in expected {
        let (name, what) = (show_bytes(&record.entry.path), "is in the manifest but not in the archive");
        checked.error(source, Finding::error(name, what, REPAIR));
    }
    Ok(())
}

/// What a restore would refuse is not sound.
fn lay(source: &Source, entry: &Entry, layout: &mut Layout, checked: &mut Checked) {
    if let Err(what) = layout.add(entry) {
        checked.error(source, Finding::error(source.name(), what, REPAIR));
    }
}

fn digest(entry: &Entry, content: &mut dyn Read, checked: &mut Checked) -> Result<Option<[u8; 32]>, Trouble> {
    if interrupted() {
        return Err(Error::Interrupted.into());
    }
    let (sha256, bytes) = digest_stream(content).map_err(FormatError::from)?;
    checked.entries += 1;
    checked.bytes += bytes;
    Ok((entry.kind == Kind::File).then_some(sha256))
}

fn check_plain(source: &Source, secret: Option<&Secret>, checked: &mut Checked) -> Result<()> {
    let mut layout = Layout::default();
    source.with_stream(&source.archive, secret, |mut stream| {
        decode(&mut stream, source.codec, &mut |entry, content| {
            digest(&entry, content, checked)?;
            lay(source, &entry, &mut layout, checked);
            if entry.kind == Kind::Symlink && leads_out(&entry) {
                let what = format!("is a link to {}, outside of the folder", show_bytes(&entry.link));
                checked.error(source, unvouched(show_bytes(&entry.path), &what));
            }
            Ok::<_, Trouble>(())
        })
        .map_err(|trouble| trouble.into_error(source))
    })
}
