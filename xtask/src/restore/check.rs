//! `verify` of one artifact: every digest, every entry against the manifest, without writing anything.
//!
//! Goes on after a damaged block, so that the findings say what is lost and what is not. What could not be
//! checked, because the manifest or the marker is gone, is itself a finding.
use super::layout::{Layout, held, leads_out};
use super::select::Window;
use super::tree::unvouched;
use super::{Listed, Source, Trouble, damaged, differs, digest_file};
use crate::archive::content::Tar;
use crate::archive::entry::{Entry, Kind};
use crate::archive::manifest::{Group, Record};
use crate::archive::reader::{Reading, Skip, decode, read_groups};
use crate::archive::sha256::Running;
use crate::archive::{FormatError, digest_stream, hex};
use crate::destination::marker::NO_DIGEST;
use crate::destination::read;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity, any_error};
use crate::interrupt::interrupted;
use crate::progress;
use crate::shown::{show, show_bytes};
use crate::threads::workers;
use crate::tools::gpg::Secret;
use std::collections::HashSet;
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
    /// How many errors it was made with, as far as a manifest tells: above 0 it may hold only a part of its source.
    pub errors: u64,
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
    let (mut checked, mut findings) = (Checked::default(), Vec::new());
    match check_content(source, secret, &mut checked) {
        Ok(digest) => check_digests(source, digest, &mut findings)?,
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        // Damage can look like anything: like a newer format, or like a wrong passphrase. The digests tell.
        Err(error) => match check_digests(source, None, &mut findings) {
            Ok(()) if any_error(&findings) => {
                checked
                    .error(source, Finding { repair: REPAIR.into(), ..Finding::of(source.name(), &error) });
            }
            _ => return Err(error),
        },
    }
    findings.append(&mut checked.findings);
    Ok(Checked { findings, ..checked })
}

/// Compares an artifact's files with the digests of its marker, and looks no further into them: for one that is encrypted,
/// where there is no key.
///
/// # Errors
/// When a file cannot be read.
pub fn check_stored(source: &Source) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    check_digests(source, None, &mut findings)?;
    Ok(findings)
}

/// Checks one part of an artifact with a manifest: the beginning of its container, and the blocks and entries of that part.
/// No digest of the whole file is compared.
///
/// # Errors
/// As [`check`]'s.
pub fn check_part(source: &Source, secret: Option<&Secret>, window: &Window) -> Result<Checked> {
    let mut checked = Checked { manifest: true, ..Checked::default() };
    let read = source.with_manifest(secret, |listed| {
        let codec = listed.codec();
        source.with_stream(&source.archive, secret, |stream| {
            let mut prologue = Vec::new();
            let start = codec.prologue().len() as u64;
            Read::take(&mut *stream, start)
                .read_to_end(&mut prologue)
                .map_err(Error::io("read", &source.archive))?;
            let mut whole = true;
            let (layout, only) = (Layout::default(), Some(window));
            let mut checking =
                Checking { source, listed, layout, checked: &mut checked, whole: &mut whole, only };
            let position = prologue.len() as u64;
            let read = read_groups((stream, position), codec, workers(), &mut checking, &look);
            let ending = read.map_err(|trouble| trouble.into_error(source))?;
            ending.check_beginning(&prologue).map_err(Error::format(&source.archive))
        })
    });
    match read {
        Ok(Some(())) => Ok(checked),
        Ok(None) => Err(Error::refused(format!("{} has no manifest", source.name()), "")),
        Err(error) => match error.damaged_file() {
            None => Err(error),
            Some(file) => {
                let finding = Finding { repair: REPAIR.into(), ..Finding::of(show(file), &error) };
                checked.error(source, finding);
                Ok(checked)
            }
        },
    }
}

/// Damage can look like anything: like a newer format, or like a wrong passphrase. Where the digests of the marker tell, that
/// is what the error says.
pub(super) fn unmasked(source: &Source, error: Error) -> Error {
    if !matches!(
        error,
        Error::Refused { .. } | Error::Tool { .. } | Error::Format { source: FormatError::Newer { .. }, .. }
    ) {
        return error;
    }
    let Ok(Some((sums, _))) = source.read_marker() else { return error };
    for path in std::iter::once(&source.archive).chain(&source.manifest) {
        let expected = sums.digest(&show(path.file_name().unwrap_or_default().as_ref()));
        let other = |expected: &str| digest_file(path).is_ok_and(|(found, _)| found != expected);
        if !expected.is_some_and(other) {
            continue;
        }
        let what = format!("has another SHA-256 than its marker says, and so: {}", error.chain());
        return match *path == source.archive {
            true => damaged(source, what),
            false => Error::manifest(path)(FormatError::Malformed(what)),
        };
    }
    error
}

/// Everything but the marker. Returns the digest of the archive, if all of it was read on the way.
fn check_content(source: &Source, secret: Option<&Secret>, checked: &mut Checked) -> Result<Option<String>> {
    let with_manifest = source.with_manifest(secret, |listed| {
        checked.manifest = true;
        let digest = check_groups(source, secret, listed, checked)?;
        checked.errors = listed.errors();
        Ok(digest)
    });
    let damage = match with_manifest {
        Ok(Some(digest)) => return Ok(digest),
        Ok(None) => Finding::warning(
            source.name(),
            "has no manifest: single entries could not be compared with what was backed up",
            "it restores as any tar file does, if nothing else is wrong with it",
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
        check_plain(source, secret, checked).or_else(|error| match error.damaged_file() {
            None => Err(error),
            Some(_) => {
                checked.findings.push(Finding::error(source.name(), error.chain(), REPAIR));
                Ok(())
            }
        })?;
    }
    Ok(None)
}

/// Archive and manifest have the digests that the marker holds; `archive` is that of the archive, if it is known.
fn check_digests(source: &Source, archive: Option<String>, findings: &mut Vec<Finding>) -> Result<()> {
    let Some((sums, oddities)) = source.read_marker()? else {
        let what = "has no .sha256 beside it: its digest could not be compared";
        let repair =
            "it never was completed, or has lost its marker: see `docs/runbook.md`, The marker is lost";
        findings.push(Finding::warning(source.name(), what, repair));
        return Ok(());
    };
    let marker = show(source.marker.as_deref().unwrap_or(&source.archive));
    let list = marker.ends_with("SHA256SUMS");
    let own = source.locked.is_none() && !list;
    if let Some(path) = source.marker.as_ref().filter(|_| own && oddities.is_empty()) {
        // What was written is known to the byte: one line for each file, or as `sha256sum --binary` has it.
        let names: HashSet<&String> = sums.lines.iter().map(|(_, name)| name).collect();
        let text = String::from_utf8_lossy(&read::small(path)?).replace(" *", "  ");
        if text != sums.render() || names.len() != sums.lines.len() {
            let repair = "if its digests are right, write it anew with `sha256sum`";
            findings.push(Finding::error(&marker, "is not as it was written", repair));
        }
    }
    for oddity in oddities {
        let severity = if oddity.starts_with(NO_DIGEST) { Severity::Error } else { Severity::Warning };
        findings.push(Finding::new(severity, &marker, oddity, "`sha256sum --check` may not read it"));
    }
    let manifest = source.manifest.as_ref().map(|path| (path, None));
    for (path, known) in std::iter::once((&source.archive, archive)).chain(manifest) {
        let name = show(path.file_name().unwrap_or_default().as_ref());
        let digest = known.map_or_else(|| digest_file(path).map(|(digest, _)| digest), Ok)?;
        match sums.digest(&name) {
            Some(expected) if expected == digest => {}
            Some(expected) => findings.push(Finding::error(
                &name,
                format!("has SHA-256 {digest}, but {marker} says {expected}"),
                REPAIR,
            )),
            // A list of many may be older than this one.
            None if list => {
                let what = "is not listed in SHA256SUMS: its digest could not be compared";
                findings.push(Finding::warning(&name, what, "`cargo xtask snapshot` lists it anew"));
            }
            None => findings.push(Finding::error(&name, format!("is not listed in {marker}"), REPAIR)),
        }
    }
    let here = |name: &String| source.archive.with_file_name(name).exists();
    for (_, name) in sums.lines.iter().filter(|(_, name)| !list && !here(name)) {
        let repair = "the archive restores without its manifest; make a new one for all that";
        findings.push(Finding::error(name, format!("is listed in {marker}, and is gone"), repair));
    }
    Ok(())
}

/// Every block and entry against the manifest. Returns the digest of the file, unless it is encrypted.
fn check_groups(
    source: &Source,
    secret: Option<&Secret>,
    listed: &mut Listed<'_>,
    checked: &mut Checked,
) -> Result<Option<String>> {
    let codec = listed.codec();
    source.with_stream(&source.archive, secret, |stream| {
        let mut stream = Hashed { stream, hash: Running::default() };
        let mut prologue = Vec::new();
        let start = codec.prologue().len() as u64;
        let mut whole = Read::take(&mut stream, start).read_to_end(&mut prologue).is_ok();
        let layout = Layout::default();
        let mut checking = Checking { source, listed, layout, checked, whole: &mut whole, only: None };
        let position = prologue.len() as u64;
        let read = read_groups((&mut stream, position), codec, workers(), &mut checking, &look);
        let ending = read.map_err(|trouble| trouble.into_error(source))?;
        if whole {
            ending.check(&prologue, &mut stream).map_err(Error::format(&source.archive))?;
        }
        // What stands behind the end belongs to the file, and so to its digest.
        std::io::copy(&mut stream, &mut std::io::sink()).map_err(Error::io("read", &source.archive))?;
        Ok((!source.encrypted).then(|| hex(&stream.hash.digest())))
    })
}

/// A stream of which every byte is hashed, in passing over it, too.
struct Hashed<'a> {
    stream: &'a mut dyn Skip,
    hash: Running,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

impl Skip for Hashed<'_> {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        let skipped = std::io::copy(&mut Read::take(self, bytes), &mut std::io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    fn fill(&mut self, part: &mut [u8]) -> std::io::Result<Option<[u8; 32]>> {
        self.stream.fill(part)?;
        Ok(Some(self.hash.update_and_digest(part)))
    }
}

/// A check under way.
struct Checking<'a, 'b> {
    source: &'a Source,
    listed: &'a mut Listed<'b>,
    layout: Layout,
    checked: &'a mut Checked,
    /// Whether every group could be read.
    whole: &'a mut bool,
    /// The part that is looked at, if it is not all.
    only: Option<&'a Window>,
}

impl Reading<Vec<Finding>, Looked, Trouble> for Checking<'_, '_> {
    /// The names are the manifest's: an entry of the archive with another is a finding of its own.
    fn next(&mut self) -> Result<Option<(Group, Vec<Finding>)>, Trouble> {
        let mut group = self.listed.next_group()?;
        if let Some(window) = self.only {
            while group.as_ref().is_some_and(|group| !window.blocks.contains(&group.first)) {
                group = self.listed.next_group()?;
            }
            // What a restore would refuse, the restore of it refuses: links may lead to what is not looked at.
            return Ok(group.map(|group| (group, Vec::new())));
        }
        let Some(group) = group else { return Ok(None) };
        let wrong =
            group.records.iter().filter_map(|record| lay(self.source, &record.entry, &mut self.layout));
        let wrong = wrong.collect();
        Ok(Some((group, wrong)))
    }

    fn take(
        &mut self,
        group: &Group,
        wrong: &Vec<Finding>,
        looked: Result<Looked, Trouble>,
    ) -> Result<(), Trouble> {
        let source = self.source;
        wrong.iter().cloned().for_each(|finding| self.checked.error(source, finding));
        match looked {
            Ok(Looked { entries, bytes, held, findings }) => {
                self.checked.entries += entries;
                self.checked.bytes += bytes;
                findings.into_iter().for_each(|finding| self.checked.error(source, finding));
                if let Err(what) = self.layout.hold(held) {
                    self.checked.error(source, Finding::error(source.name(), what, REPAIR));
                }
            }
            Err(Trouble::Ours(error)) => return Err(error.into()),
            Err(Trouble::Format(error)) => {
                *self.whole = false;
                let what = lost(&error.to_string(), &group.records);
                self.checked.error(source, Finding::error(source.name(), what, REPAIR));
            }
        }
        Ok(())
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

/// What a look at a group came to.
#[derive(Default)]
struct Looked {
    entries: u64,
    bytes: u64,
    /// Bytes of attributes that a restore sets last.
    held: usize,
    findings: Vec<Finding>,
}

fn look(group: &Group, _: &Vec<Finding>, tar: Tar<'_>) -> Result<Looked, Trouble> {
    if interrupted() {
        return Err(Error::Interrupted.into());
    }
    let (mut expected, mut looked) = (group.records.iter(), Looked::default());
    for (entry, sha256) in tar.digests()? {
        looked.entries += 1;
        looked.bytes += entry.size;
        looked.held += held(&entry);
        let wrong = match expected.next() {
            Some(record) => differs(record, &entry, (entry.kind == Kind::File).then_some(sha256)),
            None => Some("is not in the manifest".to_owned()),
        };
        let finding = wrong.map(|what| Finding::error(show_bytes(&entry.path), what, REPAIR));
        looked.findings.extend(finding);
    }
    for record in expected {
        let name = show_bytes(&record.entry.path);
        looked.findings.push(Finding::error(name, "is in the manifest but not in the archive", REPAIR));
    }
    progress::finished(looked.entries);
    Ok(looked)
}

/// What a restore would refuse is not sound.
fn lay(source: &Source, entry: &Entry, layout: &mut Layout) -> Option<Finding> {
    layout
        .add(entry)
        .and_then(|_| layout.hold(held(entry)))
        .err()
        .map(|what| Finding::error(source.name(), what, REPAIR))
}

fn check_plain(source: &Source, secret: Option<&Secret>, checked: &mut Checked) -> Result<()> {
    let mut layout = Layout::default();
    source.with_stream(&source.archive, secret, |mut stream| {
        decode(&mut stream, source.codec, &mut |entry, content| {
            if interrupted() {
                return Err(Error::Interrupted.into());
            }
            checked.entries += 1;
            progress::finished(1);
            checked.bytes += digest_stream(content).map_err(FormatError::from)?.1;
            if let Some(finding) = lay(source, &entry, &mut layout) {
                checked.error(source, finding);
            }
            if entry.kind == Kind::Symlink && leads_out(&entry) {
                let what = format!("is a link to {}, outside of the folder", show_bytes(&entry.link));
                checked.error(source, unvouched(show_bytes(&entry.path), &what));
            }
            Ok::<_, Trouble>(())
        })
        .map_err(|trouble| trouble.into_error(source))
    })
}
