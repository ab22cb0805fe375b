//! `restore`: an archive, or some of it, into a new folder.
//!
//! Everything is laid into a hidden folder beside the target and becomes visible by one rename at the end, so
//! a failure or a signal leaves nothing behind. Every entry is compared with the manifest before that; without a
//! manifest the container's own checksums have to do.
//!
//! Damage costs the block that it is in: the files of a block that is not what the manifest says are named and left out,
//! and all others come back. An archive that disagrees with its manifest in other ways is refused as a whole. Where
//! another copy may be whole, [`extract_whole`] takes nothing that is damaged.
use super::check::unmasked;
use super::select::{Select, Selection, Wanted, Window};
use super::tree::{Files, Tree};
use super::{Listed, Source, Trouble, damaged, differs};
use crate::archive::FormatError;
use crate::archive::codec::Codec;
use crate::archive::content::Tar;
use crate::archive::entry::{Entry, Kind, Mtime};
use crate::archive::manifest::{Group, Record};
use crate::archive::reader::{Look, Reading, decode, read_groups};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::interrupt::interrupted;
use crate::progress;
use crate::shown::{show, show_bytes};
use crate::threads::workers;
use crate::tools::gpg::Secret;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// What a restore came to.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Entries that were restored.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// What could not be restored or compared.
    pub findings: Vec<Finding>,
    /// The youngest modification time of a restored file, seconds since 1970.
    pub newest: Option<i64>,
    /// How many errors the archive was made with, as far as a manifest tells: above 0 it may hold only a part of its source.
    pub errors: u64,
}

/// Restores the entries of `source` that `select` matches (all without one) into `to`, which must be new or
/// empty.
///
/// # Errors
/// When `to` holds anything; when the archive is hostile, cannot be decrypted, or is damaged so that no file of it can be
/// had; when `select` matches nothing. Nothing is left behind then.
pub fn extract(
    source: &Source,
    secret: Option<&Secret>,
    to: &Path,
    select: Option<&Select>,
) -> Result<Extracted> {
    extract_to(source, secret, to, Wanted::of(select), OnDamage::Salvage)
}

/// The same of one part of it.
///
/// # Errors
/// As [`extract`].
pub fn extract_part(
    source: &Source,
    secret: Option<&Secret>,
    to: &Path,
    window: &Window,
) -> Result<Extracted> {
    extract_to(source, secret, to, Wanted::Part(window), OnDamage::Salvage)
}

/// The same, of an archive that is whole.
///
/// # Errors
/// As [`extract`], and at the first damage that is found.
pub fn extract_whole(
    source: &Source,
    secret: Option<&Secret>,
    to: &Path,
    select: Option<&Select>,
) -> Result<Extracted> {
    extract_to(source, secret, to, Wanted::of(select), OnDamage::Refuse)
}

/// What becomes of an archive that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDamage {
    /// What is whole in it is restored.
    Salvage,
    /// Nothing of it is restored.
    Refuse,
}

fn extract_to(
    source: &Source,
    secret: Option<&Secret>,
    to: &Path,
    wanted: Wanted<'_>,
    on_damage: OnDamage,
) -> Result<Extracted> {
    let mut tree = Tree::beside(to)?;
    let mut extracted = Extracted::default();
    let mut read = || {
        let selection = Selection::new(source, secret, wanted)?;
        let nothing = |pattern: &str| {
            let what = format!("holds nothing that {pattern} matches; what other patterns match is restored");
            Finding::error(source.name(), what, MATCHED)
        };
        extracted.findings.extend(selection.unmatched().into_iter().map(nothing));
        let listed = source.with_manifest(secret, |listed| {
            let mut restoring = Restoring {
                source,
                listed,
                selection: &selection,
                tree: &mut tree,
                extracted: &mut extracted,
                on_damage,
                lost: None,
            };
            with_manifest(secret, &mut restoring)?;
            restoring.extracted.errors = restoring.listed.errors();
            Ok(())
        })?;
        if listed.is_none() {
            extracted.findings.push(Finding::warning(
                source.name(),
                "has no manifest: what was restored could not be compared with what was backed up",
                "",
            ));
            without_manifest(source, secret, &selection, &mut tree, &mut extracted)?;
        }
        Ok(listed.is_some())
    };
    let listed = read().map_err(|error| unmasked(source, error))?;
    if let (0, Wanted::Paths(select)) = (extracted.entries, wanted) {
        let what = format!("{} holds nothing that {} matches", source.name(), select.patterns.join(" or "));
        return Err(Error::refused(what, MATCHED));
    }
    extracted.findings.extend(tree.finish(listed)?);
    Ok(extracted)
}

/// How patterns are meant.
const MATCHED: &str = "a pattern is matched against the whole path, which begins with the set's folder: \
                       'data/conf/*.toml', or '**/*.toml'; an earlier backup may have what is gone (--at)";

fn with_manifest(secret: Option<&Secret>, restoring: &mut Restoring<'_, '_>) -> Result<()> {
    let (source, codec, files) = (restoring.source, restoring.listed.codec(), restoring.tree.files());
    let mut ended = false;
    let read = source.with_stream(&source.archive, secret, |stream| {
        let mut prologue = Vec::new();
        let start = codec.prologue().len() as u64;
        let begun = Read::take(&mut *stream, start).read_to_end(&mut prologue);
        let look: Look<'_, Paths, Vec<Placed>, Trouble> =
            &|group, paths, tar| place_group(source, files, group, paths, tar);
        let read = read_groups((stream, prologue.len() as u64), codec, workers(), restoring, look);
        let ending = read.map_err(|trouble| trouble.into_error(source))?;
        ended = true;
        begun.map_err(Error::io("read", &source.archive))?;
        if restoring.lost.is_some() {
            return Ok(());
        }
        match restoring.selection.all() {
            true => ending.check(&prologue, stream),
            false => ending.check_beginning(&prologue),
        }
        .map_err(Error::format(&source.archive))
    });
    let error = match (read, restoring.lost.take()) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(why)) => damaged(source, why),
        (Err(error), _) => error,
    };
    let extracted = &mut restoring.extracted;
    // What came back was compared with the manifest, whatever is wrong with the rest of the archive.
    if !ended || extracted.newest.is_none() || restoring.on_damage == OnDamage::Refuse || interrupted() {
        return Err(error);
    }
    let what = format!("is damaged: {}", error.chain());
    extracted.findings.push(Finding::error(show(&source.archive), what, ANOTHER));
    Ok(())
}

/// What mends a file that is lost.
const ANOTHER: &str = "take it from another backup: `restore --at` names an older one";

/// Where the entries of a group go; `None` for one that is not wanted.
type Paths = Vec<Option<PathBuf>>;

/// What was placed: where, and for files what of their metadata could not be set.
type Placed = (PathBuf, Entry, Vec<Finding>);

/// A restore under way.
struct Restoring<'a, 'b> {
    source: &'a Source,
    listed: &'a mut Listed<'b>,
    selection: &'a Selection<'a>,
    tree: &'a mut Tree,
    extracted: &'a mut Extracted,
    on_damage: OnDamage,
    /// Why the first group that is lost is lost.
    lost: Option<String>,
}

impl Restoring<'_, '_> {
    /// What is in a group that cannot be read is named and left out, but for what the manifest says all of.
    fn lose(&mut self, group: &Group, paths: &Paths, why: String) -> Result<()> {
        for (record, path) in group.records.iter().zip(paths) {
            let Some(path) = path else { continue };
            let name = show_bytes(&record.entry.path);
            if record.entry.kind == Kind::File {
                self.tree.forget(path)?;
                let what = format!("lies in a damaged part of the archive, and is NOT restored: {why}");
                self.extracted.findings.push(Finding::error(name, what, ANOTHER));
                continue;
            }
            let entry = record.entry.clone();
            count(self.extracted, entry.kind, entry.size, entry.mtime);
            self.tree.keep(self.source, path.clone(), entry)?;
            let what = "lies in a damaged part of the archive: it is made by the manifest's word, without extended attributes";
            self.extracted.findings.push(Finding::warning(name, what, ""));
        }
        self.lost.get_or_insert(why);
        Ok(())
    }
}

impl Reading<Paths, Vec<Placed>, Trouble> for Restoring<'_, '_> {
    /// By the manifest's word: an entry of the archive that is another is never placed.
    fn next(&mut self) -> Result<Option<(Group, Paths)>, Trouble> {
        loop {
            let Some(group) = self.listed.next_group()? else { return Ok(None) };
            let mut paths = Vec::with_capacity(group.records.len());
            for Record { entry, block, .. } in &group.records {
                let wanted = self.selection.wants(&entry.path, Some(*block)) && self.tree.takes(entry);
                paths.push(wanted.then(|| self.tree.lay(self.source, entry)).transpose()?);
            }
            // With a selection the last group, which holds no entry, is not read: the end is not its business.
            if self.selection.all() || paths.iter().any(Option::is_some) {
                return Ok(Some((group, paths)));
            }
        }
    }

    fn take(
        &mut self,
        group: &Group,
        paths: &Paths,
        placed: Result<Vec<Placed>, Trouble>,
    ) -> Result<(), Trouble> {
        let placed = match placed {
            Ok(placed) => placed,
            Err(Trouble::Format(error @ (FormatError::Malformed(_) | FormatError::Io(_)))) => {
                if self.on_damage == OnDamage::Refuse {
                    return Err(damaged(self.source, error.to_string()).into());
                }
                return Ok(self.lose(group, paths, error.to_string())?);
            }
            Err(trouble) => return Err(trouble),
        };
        for (path, entry, findings) in placed {
            count(self.extracted, entry.kind, entry.size, entry.mtime);
            self.tree.found(findings);
            self.tree.keep(self.source, path, entry)?;
        }
        Ok(())
    }
}

/// Content that is hashed as it is taken.
struct Hashing<'a> {
    content: &'a mut dyn BufRead,
    hash: Sha256,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Hashing<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.content.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What was looked at is still there: this reads nothing.
        if let Ok(part) = self.content.fill_buf() {
            self.hash.update(&part[..count]);
        }
        self.content.consume(count);
    }
}

/// Writes the files of a group. Name, kind, size and the rest are compared with the manifest before, the content behind:
/// a manifest may have digests of blocks that are right, and others of the files in them.
fn place_group(
    source: &Source,
    files: Files,
    group: &Group,
    paths: &Paths,
    tar: Tar<'_>,
) -> Result<Vec<Placed>, Trouble> {
    let mut expected = group.records.iter().zip(paths);
    let mut placed = Vec::new();
    tar.read(&mut |mut entry, content| {
        if interrupted() {
            return Err(Error::Interrupted.into());
        }
        let wrong = |what: &str| damaged(source, format!("{}{what}", show_bytes(&entry.path)));
        let (record, path) = expected.next().ok_or_else(|| wrong(" is not in the manifest"))?;
        let Some(path) = path else { return Ok(()) };
        entry.mtime.nanos = record.entry.mtime.nanos;
        if let Some(what) = differs(record, &entry, record.sha256) {
            return Err(wrong(&format!(": {what}")).into());
        }
        let (mut sha256, mut findings) = (None, Vec::new());
        if entry.kind == Kind::File {
            let mut content = Hashing { content, hash: Sha256::new() };
            findings = files.write(&entry, path, &mut content)?;
            sha256 = Some(content.hash.finalize().into());
        }
        if record.sha256 != sha256 {
            return Err(wrong(": content is not what the manifest says").into());
        }
        placed.push((path.clone(), entry, findings));
        progress::finished(1);
        Ok::<_, Trouble>(())
    })?;
    match expected.next() {
        Some((missing, _)) => {
            Err(damaged(source, format!("{} is missing", show_bytes(&missing.entry.path))).into())
        }
        None => Ok(placed),
    }
}

fn count(extracted: &mut Extracted, kind: Kind, size: u64, mtime: Mtime) {
    extracted.entries += 1;
    extracted.bytes += size;
    if kind == Kind::File {
        extracted.newest = extracted.newest.max(Some(mtime.seconds));
    }
}

fn without_manifest(
    source: &Source,
    secret: Option<&Secret>,
    selection: &Selection<'_>,
    tree: &mut Tree,
    extracted: &mut Extracted,
) -> Result<()> {
    let codec: Codec = source.codec;
    source.with_stream(&source.archive, secret, |mut stream| {
        decode(&mut stream, codec, &mut |entry, content| {
            if interrupted() {
                return Err(Error::Interrupted.into());
            }
            if selection.wants(&entry.path, None) && tree.takes(&entry) {
                let (kind, size, mtime) = (entry.kind, entry.size, entry.mtime);
                tree.place(source, entry, content)?;
                count(extracted, kind, size, mtime);
                progress::finished(1);
            }
            Ok::<_, Trouble>(())
        })
        .map_err(|trouble| trouble.into_error(source))
    })
}
