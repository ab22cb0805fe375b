//! One destination gets its backup: the archive is made there, or copied from where it was made before.
//!
//! An archive is made in a folder. Where other machines are all there is, it is made in a private folder of this one, the
//! outbox, and copied from there.
use super::canary;
use super::copy::{self, Master};
use super::set::Work;
use super::stage::{Archiving, may_stage, stage};
use super::store::{Stored, store};
use super::{Copied, Plan, Ready, moment, space};
use crate::commands::lost_key_files;
use crate::destination::catalog::Artifact;
use crate::destination::place::Place;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::interrupt::interrupted;
use crate::restore::scratch::{Owner, Scratch};
use crate::shown::show;
use crate::stopwatch::{Stopwatch as _, rounded};
use crate::tools::gpg::Key;
use crate::ui::Total;
use serde_json::json;
use std::path::PathBuf;

impl Work<'_> {
    /// Brings the backup to one destination.
    pub(super) fn serve(&mut self, ready: &Ready) -> Result<Copied> {
        let copied = match &self.master {
            Some(master) => self.give(master, ready)?,
            None => self.begin(ready)?,
        };
        self.record(&copied);
        Ok(copied)
    }

    /// The first that is served: there is no archive yet.
    fn begin(&mut self, ready: &Ready) -> Result<Copied> {
        let place = &ready.destination.place;
        // As much as the last backup took there, and not more than there is to pack.
        let last = ready.catalog.latest(&self.series, None).map_or(0, |last| last.bytes);
        let estimate = last.min(self.survey.bytes);
        has_room(ready, estimate)?;
        let outbox = place.remote.is_some().then(|| self.outbox_folder());
        if let Some(folder) = &outbox {
            space::enough(&Place::folder(folder.clone()).check(false)?, folder, estimate, OUTBOX_FULL)?;
        }
        let plan = Plan { place: place.clone(), mounted: ready.mounted.clone(), name: self.name() };
        if self.args.dry_run {
            may_stage(self.ctx, self.memory, &self.set, &self.survey, self.key.as_ref())?;
            self.done.findings.extend(may_not_fit(ready, self.survey.bytes));
            // Of the set, and so the same at each destination.
            let canary = canary::foreseen(&self.set).filter(|found| !self.done.findings.contains(found));
            self.done.findings.extend(canary);
            return Ok(Copied { status: "planned", pending: false, ..Copied::at(ready, &plan.artifact()) });
        }
        let Some(folder) = outbox else {
            self.make(&plan).map_err(|error| away(ready, error))?;
            return Ok(Copied::at(ready, &plan.artifact()));
        };
        let outbox = Scratch::new(Owner::Backup, &folder)?;
        let place = Place::folder(outbox.path().to_owned());
        let master = self.make(&Plan { mounted: place.check(false)?, place, name: plan.name })?;
        self.outbox = Some(outbox);
        self.give(&master, ready)
    }

    /// Where an archive is made that no folder can take.
    fn outbox_folder(&self) -> PathBuf {
        self.memory.map_or_else(|| self.ctx.temporary(), |memory| memory.root().to_owned())
    }

    /// Another that is served: it has the backup already, or gets its copy.
    fn give(&self, master: &Master, ready: &Ready) -> Result<Copied> {
        let artifact = master.artifact_at(&ready.destination.place);
        let there = ready.catalog.complete.iter().find(|other| other.name == artifact.name);
        let on_record = |of: &Artifact| self.known.made.contains_key(&show(&of.archive));
        match there {
            // Of an earlier try whose last answer was lost, or somebody else's.
            Some(there) if !on_record(there) => match ready.destination.place.marker(there)? == master.sums {
                true => Ok(Copied::at(ready, &artifact)),
                false => Err(Error::refused(
                    format!("{} is there already, and is no copy of this backup", show(&there.archive)),
                    "see who else writes there; the next backup has another name",
                )),
            },
            Some(there) if !self.known.is_damaged(there) => {
                let pending = self.known.pending.contains(&show(&artifact.archive));
                Ok(Copied { status: "unchanged", pending, ..Copied::at(ready, &artifact) })
            }
            Some(there) => Err(Error::Damaged {
                path: there.archive.clone(),
                what: "is damaged, and in the place of the copy".into(),
                next: "move it away, or run `cargo xtask backup --force`".into(),
            }),
            None => {
                has_room(ready, master.bytes)?;
                if self.args.dry_run {
                    return Ok(Copied { status: "planned", pending: false, ..Copied::at(ready, &artifact) });
                }
                let what = format!("{} to {}", self.set.name, ready.destination.name);
                let _shown = self.ctx.ui.progress(&what, Total::of(Some(master.bytes)));
                copy::copy(master, ready).map_err(|error| away(ready, error))?;
                Ok(Copied::at(ready, &artifact))
            }
        }
    }

    /// Makes the archive; the others are copied from it.
    fn make(&mut self, plan: &Plan) -> Result<Master> {
        self.write_canary(plan)?;
        let (set, folder, survey, key) = (&self.set, &self.folder, &self.survey, self.key.as_ref());
        let staged = stage(self.ctx, self.memory, Archiving { set, folder, survey, key })?;
        let total = Total { bytes: Some(survey.bytes), entries: Some(survey.entries) };
        let shown = self.ctx.ui.progress(&set.name, total);
        let stored = store(plan, &staged)?;
        drop(shown);
        drop(staged);
        Ok(self.stored(plan, stored))
    }

    /// Writes the canary, and looks at the folder as it is with it. Without one the backup is as good as ever: only its
    /// drill has less to go by.
    fn write_canary(&mut self, plan: &Plan) -> Result<()> {
        self.canary = match canary::write(&self.set, &plan.name, self.ctx.now) {
            Ok(Some(canary)) => Some(canary),
            Ok(None) => return Ok(()),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                let path = canary::path(&self.set).unwrap_or_default();
                self.done.findings.push(canary::unwritten(&path, "was not written", &error));
                return Ok(());
            }
        };
        self.survey = self.folder.survey(moment(self.ctx))?;
        Ok(())
    }

    /// A new backup is whole: the others are copied from it.
    fn stored(&mut self, plan: &Plan, stored: Stored) -> Master {
        let Stored { archive, sums, summary, findings, excluded } = stored;
        self.done.excluded = excluded.unwrap_or(self.done.excluded);
        self.done.entries = summary.entries;
        self.done.source_bytes = summary.content_bytes;
        if findings.iter().any(|finding| finding.severity != Severity::Info) {
            self.survey.state = None;
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        self.errors = Some(errors + lost_key_files(&self.set).len());
        self.done.findings.splice(0..0, findings);
        let master = Master { artifact: plan.artifact(), sums, bytes: archive.bytes, far: false };
        self.master = Some(master.clone());
        master
    }

    /// Takes note of a complete copy, or that one is still what the source is.
    fn record(&mut self, copied: &Copied) {
        let (Some(memory), Some(master), false) = (self.memory, &self.master, self.args.dry_run) else {
            return;
        };
        let now = self.ctx.now.to_string();
        let recorded = if copied.status == "unchanged" {
            memory.event("confirmed", &now, &copied.archive)
        } else {
            let recipients = match &self.key {
                Some(Key::Recipients(names)) => Some(names),
                Some(Key::Passphrase(_)) | None => None,
            };
            // A copy that is made later has the canary of what it is a copy of.
            let made = self.known.made.get(&show(&master.artifact.archive));
            let canary = self.canary.as_ref().or_else(|| made.and_then(|made| made.canary.as_ref()));
            let record = json!({
                "kind": "backup", "time": now, "set": self.set.name,
                "artifact": show(&copied.archive), "sha256": master.digest(), "bytes": master.bytes,
                "errors": self.errors.unwrap_or(0), "durability": copied.durability, "pending": copied.pending,
                "recipients": recipients, "state": self.survey.state, "canary": canary,
                "seconds": rounded(self.stopwatch.elapsed().as_secs_f64()), "source": self.source,
            });
            memory.record(&record)
        };
        // The backup is complete; only this repository will not remember it.
        self.done.findings.extend(recorded.err().map(|error| Finding::of(show(memory.root()), &error)));
    }
}

/// What mends a want of room for the outbox.
const OUTBOX_FULL: &str =
    "free some room there: what goes to another machine alone is made on this one first; nothing was written";

/// Room at the destination for what is known to be needed, looked at before the first byte.
fn has_room(ready: &Ready, needed: u64) -> Result<()> {
    ready.mounted.writable()?;
    let next = "free some room there: `cargo xtask prune --dry-run` lists what may go; nothing was written";
    space::enough(&ready.mounted, &ready.destination.place.path, needed, next)
}

/// How far content can be packed is not known before.
fn may_not_fit(ready: &Ready, bytes: u64) -> Option<Finding> {
    let free = ready.mounted.free_bytes.filter(|free| *free < bytes)?;
    let what = format!(
        "has {} free for {} before they are packed: that may not be enough",
        crate::ui::bytes(free),
        crate::ui::bytes(bytes)
    );
    Some(Finding::info(show(&ready.destination.place.path), what))
}

/// A drive that went away makes any error; it is told as what it is.
fn away(ready: &Ready, error: Error) -> Error {
    if matches!(error, Error::Interrupted) || interrupted() {
        return error;
    }
    ready.destination.place.recheck(&ready.mounted).err().unwrap_or(error)
}
