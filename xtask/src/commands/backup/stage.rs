//! From where a set is archived: the folder itself, or a stage of it; and the private folder that stages and copies of
//! databases lie in.
//!
//! The folder goes away with the run, and what a run that was killed has left, the next backup removes. What goes into an
//! encrypted archive lies in the clear in memory alone, unless the user has named a folder for it.
use super::super::Context;
use crate::archive::entry::Mtime;
use crate::config::live::Consistency;
use crate::config::{Config, DataSet};
use crate::destination::memory::Memory;
use crate::destination::mount::{self, resolved};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::restore::scratch::{self, Owner, Scratch};
use crate::shown::show;
use crate::source::folder::{Folder, Survey};
use crate::source::live::Reading;
use crate::source::mirror::mirror;
use crate::source::rules::{Excluded, Rules};
use crate::tools::gpg::Key;
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// What is archived, and how it is locked.
#[derive(Clone, Copy)]
pub(super) struct Archiving<'a> {
    pub set: &'a DataSet,
    pub folder: &'a Folder,
    pub survey: &'a Survey,
    pub key: Option<&'a Key>,
}

/// A set that is ready to be read.
pub(super) struct Staged<'a> {
    pub archiving: Archiving<'a>,
    /// Its stage, if it has one.
    stage: Option<Folder>,
    /// How it is read.
    pub reading: Reading,
    /// What was found while it was staged.
    pub findings: Vec<Finding>,
    /// What its stage leaves out, if it has one.
    pub excluded: Option<Excluded>,
    /// Removed when this is dropped.
    _room: Option<Scratch>,
}

impl Staged<'_> {
    /// The folder to archive.
    pub fn folder(&self) -> &Folder {
        self.stage.as_ref().unwrap_or(self.archiving.folder)
    }
}

/// Stages a set, if it is one to be staged.
///
/// # Errors
/// When the stage has no place, or cannot be filled.
pub(super) fn stage<'a>(ctx: &Context, memory: Option<&Memory>, what: Archiving<'a>) -> Result<Staged<'a>> {
    let staged = is_staged(what.set);
    if what.survey.state.is_some() {
        what.folder.settle();
    }
    let room = if needs_room(what.set, what.survey) { Some(room(ctx, memory, what)?) } else { None };
    let mut ready = Staged {
        archiving: what,
        stage: None,
        reading: Reading {
            since: Mtime { seconds: ctx.now.as_second(), nanos: 0 },
            databases: what.set.sqlite,
            room: room.as_ref().map(|room| room.path().to_owned()),
            begin_again: true,
        },
        findings: Vec::new(),
        excluded: None,
        _room: None,
    };
    if let Some(room) = room.as_ref().filter(|_| staged) {
        let to = room.folder("stage")?.join(what.folder.file_name());
        DirBuilder::new().mode(0o700).create(&to).map_err(Error::io("create", &to))?;
        ready.findings = mirror(what.folder, &to)?;
        let copied = std::fs::read_dir(&to).map_err(Error::io("read", &to))?.next().is_some();
        // The folder itself is an entry.
        if !copied && what.survey.entries > 1 && ready.findings.is_empty() {
            let what =
                format!("rsync copied nothing of {}, and said that all is well", show(&what.set.source));
            return Err(Error::refused(what, "see what `command -v rsync` is, and run again"));
        }
        // What only the source shows: pipes and sockets, what was left out and is told.
        let last = what.folder.glance()?;
        ready.findings.extend(last.findings);
        ready.excluded = Some(last.excluded);
        let rules = Rules { one_file_system: false, ..what.set.rules() };
        ready.stage = Some(Folder::open(&to, &rules)?);
    }
    ready._room = room;
    Ok(ready)
}

/// Whether a set could be staged, as far as that can be told before; nothing is made.
///
/// # Errors
/// When the stage has no place, or one that this user cannot write to.
pub(in crate::commands) fn may_stage(
    ctx: &Context,
    memory: Option<&Memory>,
    set: &DataSet,
    survey: &Survey,
    key: Option<&Key>,
) -> Result<()> {
    match needs_room(set, survey) {
        true => mount::check(&parent(ctx, memory, set, key)?, None, false)?.writable(),
        false => Ok(()),
    }
}

fn is_staged(set: &DataSet) -> bool {
    set.live.consistency == Consistency::Staged
}

/// Whether something of a set lies in a private folder while it is backed up.
pub(in crate::commands) fn needs_room(set: &DataSet, survey: &Survey) -> bool {
    is_staged(set) || survey.databases
}

fn room(ctx: &Context, memory: Option<&Memory>, what: Archiving<'_>) -> Result<Scratch> {
    let parent = parent(ctx, memory, what.set, what.key)?;
    // That of the system is there, or not ours to make.
    if what.set.live.stage_dir.is_some() || parent != ctx.temporary() {
        made(&parent)?;
    }
    Scratch::new(Owner::Backup, &parent)
}

/// The folder that it is made in.
fn parent(ctx: &Context, memory: Option<&Memory>, set: &DataSet, key: Option<&Key>) -> Result<PathBuf> {
    let staged = is_staged(set);
    let parent = match (&set.live.stage_dir, memory) {
        (Some(folder), _) => folder.clone(),
        (None, Some(memory)) if staged => stages(memory),
        (None, _) if key.is_some() => in_memory(ctx).ok_or_else(|| {
            let what = format!(
                "the data set {} has SQLite databases, its backup is encrypted, and this machine has no folder in memory \
                 for their copies: no place is named where its plaintext may lie",
                set.name
            );
            Error::refused(what, "name a folder that may hold it: `stage-dir` of the data set")
        })?,
        _ => ctx.temporary(),
    };
    if staged && resolved(&parent).starts_with(resolved(&set.source)) {
        let what = format!("the stage {} lies inside of the source {}", show(&parent), show(&set.source));
        return Err(Error::refused(what, "name a folder outside of it: `stage-dir` of the data set"));
    }
    Ok(parent)
}

fn stages(memory: &Memory) -> PathBuf {
    memory.root().join("stage")
}

/// What killed backups have left, wherever stages, copies and archives for other machines may lie.
pub(crate) fn left_behind(ctx: &Context, config: &Config, memory: Option<&Memory>) -> BTreeSet<PathBuf> {
    let own = memory.into_iter().flat_map(|memory| [memory.root().to_owned(), stages(memory)]);
    let named = config.data.iter().filter_map(|set| set.live.stage_dir.clone());
    let parents = own.chain(named).chain([ctx.temporary()]).chain(in_memory(ctx));
    parents.flat_map(|parent| scratch::left_behind(Owner::Backup, &parent, ctx.now)).collect()
}

fn made(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::io("create", folder))
}

/// A folder whose files lie in memory alone: the one for temporary files if it is one, or the system's.
fn in_memory(ctx: &Context) -> Option<PathBuf> {
    [ctx.temporary(), "/dev/shm".into()].into_iter().find(|folder| scratch::is_in_memory(folder))
}
