//! Carries out the steps of a spot drill, and says how each went.
//!
//! Reads artifacts, writes only into a private folder of its own, and touches neither the live data nor the
//! destination. A step that does not pass blocks those that need it, and nothing else: one broken backup does
//! not hide what can be said about the others. "Clean up" is always taken, and the folder goes away even if
//! it is not reached.
use super::control;
use super::done::{Done, StepRun, told};
use super::door::Rooms;
use super::evidence::coverage::Part;
use super::evidence::{ArtifactRecord, Outcome};
use super::key_files::looked;
use super::redact::Redaction;
use super::steps::{Plan, Step};
use super::subject::{Digests, Subject, on_record};
use super::verdict::{Interrupted, proven};
use crate::destination::release_lock::Scope;
use crate::error::{Error, Result};
use crate::finding::{Finding, any_error};
use crate::restore::scratch::{Owner, Scratch};
use crate::restore::{Located, Source, digest_file};
use crate::shown::show;
use crate::stopwatch::{Stopwatch, rounded};
use crate::tools::Tool;
use crate::tools::shell;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Gives the manifest, packed, of the bundle that a commit makes, as far as it is in the scope.
pub type Rebuild<'a> = dyn Fn(&str, &Scope) -> Result<Vec<u8>> + 'a;

/// A spot drill that is ready to run.
pub struct Spot<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The artifacts of the plan, in its order.
    pub subjects: &'a [Subject],
    /// What already stands in the way: a drive that is not mounted, a passphrase that is not set.
    pub blockers: &'a [String],
    /// Tools that the plan needs.
    pub tools: &'a [Tool],
    /// The other rooms.
    pub rooms: &'a dyn Rooms,
    /// Where the private folder is made.
    pub workspace: &'a Path,
    /// The repository, which its folder names.
    pub repository: &'a Path,
    /// The whole environment of the release checks.
    pub environment: &'a [(String, String)],
    /// What must not get into the evidence.
    pub redaction: &'a Redaction,
    /// See [`Rebuild`].
    pub rebuild: &'a Rebuild<'a>,
}

/// How a drill went.
#[derive(Debug)]
pub struct Drilled {
    /// Every step of the plan.
    pub runs: Vec<StepRun>,
    /// What was restored.
    pub artifacts: Vec<ArtifactRecord>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it was told to stop.
    pub interrupted: Interrupted,
    /// How many errors each artifact was made with, as far as its manifest was read: above 0 it may hold only a part.
    pub errors: BTreeMap<usize, u64>,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// What later steps need of earlier ones.
#[derive(Default)]
pub(super) struct State {
    pub(super) scratch: Option<Scratch>,
    /// Digest and bytes of each archive, as read.
    pub(super) read: BTreeMap<usize, (String, u64)>,
    /// Entries of each archive, as verified.
    pub(super) entries: BTreeMap<usize, u64>,
    /// What was fetched from other machines.
    pub(super) fetched: BTreeMap<usize, Source>,
    /// The parts that are restored of those that are not restored whole.
    pub(super) parts: BTreeMap<usize, Located>,
    pub(super) restored: BTreeMap<usize, PathBuf>,
    /// How many errors each archive was made with.
    pub(super) errors: BTreeMap<usize, u64>,
}

impl State {
    pub(super) fn scratch(&self) -> Result<&Scratch> {
        self.scratch.as_ref().ok_or_else(|| Error::refused("the drill has no private folder", ""))
    }

    pub(super) fn restored(&self, index: usize) -> Result<&Path> {
        let folder = self.restored.get(&index).map(PathBuf::as_path);
        folder.ok_or_else(|| Error::refused("the artifact was not restored", ""))
    }
}

impl Spot<'_> {
    /// Takes every step.
    pub fn run(&self, watch: &dyn Stopwatch) -> Drilled {
        let mut state = State::default();
        let mut runs: Vec<StepRun> = Vec::new();
        let mut findings = Vec::new();
        let mut interrupted = Interrupted::No;
        for step in self.plan.steps() {
            let hidden = state.scratch.as_ref().map(|scratch| scratch.path().display().to_string());
            let began = watch.elapsed();
            if self.rooms.interrupted() {
                interrupted = Interrupted::Yes;
            }
            let done = self.take(step, &runs, interrupted, &mut state);
            let seconds = rounded(watch.elapsed().saturating_sub(began).as_secs_f64());
            let (run, found) = self.settle(step, done, seconds, hidden.as_deref());
            runs.push(run);
            findings.extend(found);
        }
        if interrupted == Interrupted::Yes {
            findings.push(Finding::error("drill", "was interrupted", "run it again"));
        }
        let artifacts = self.artifacts(&state, &runs);
        let errors = state.errors;
        Drilled { runs, artifacts, findings, interrupted, errors, elapsed: watch.elapsed() }
    }

    /// Takes a step, unless something that it needs has not passed.
    fn take(&self, step: Step, runs: &[StepRun], interrupted: Interrupted, state: &mut State) -> Done {
        let passed = |need: &Step| runs.iter().any(|run| run.step == *need && run.outcome == Outcome::Pass);
        let unmet = self.plan.needs(step).into_iter().find(|need| !passed(need));
        if let Some(need) = unmet {
            let detail = format!("needs \"{}\", which did not pass", self.plan.name(need));
            return Done { outcome: Outcome::Blocked, ..Done::pass(detail) };
        }
        if interrupted == Interrupted::Yes && step != Step::CleanUp {
            return Done { outcome: Outcome::Blocked, ..Done::pass("the drill was interrupted") };
        }
        self.perform(step, state).unwrap_or_else(|error| {
            let mut done = Done::fail(error.chain());
            let repair = error.next_step().unwrap_or_default();
            done.findings.push(Finding::error(self.plan.name(step), error.chain(), repair));
            done
        })
    }

    /// Makes the record of a step. A failure always leaves an error finding, and no text a secret.
    fn settle(&self, step: Step, done: Done, seconds: f64, hidden: Option<&str>) -> (StepRun, Vec<Finding>) {
        let clean = |text: &str| {
            let text = hidden.map_or_else(|| text.to_owned(), |path| text.replace(path, "(drill folder)"));
            self.redaction.text(&text)
        };
        let detail = clean(&done.detail);
        let mut findings: Vec<_> = done
            .findings
            .iter()
            .map(|f| Finding::new(f.severity, clean(&f.path), clean(&f.what), clean(&f.repair)))
            .collect();
        let failed = matches!(done.outcome, Outcome::Fail | Outcome::Timeout);
        if failed && !any_error(&findings) {
            findings.push(Finding::error(clean(&self.plan.name(step)), detail.clone(), ""));
        }
        let Done { outcome, checked, bytes, .. } = done;
        let run = StepRun { step, outcome, seconds, detail, checked, bytes };
        (run, findings)
    }

    fn perform(&self, step: Step, state: &mut State) -> Result<Done> {
        match step {
            Step::Preflight => self.preflight(state),
            Step::Pick => Ok(self.pick()),
            Step::Fetch(index) => self.fetch(index, state),
            Step::Checksums(index) => self.checksums(index, state),
            Step::Verify(index) => self.verify(index, state),
            Step::Restore(index) => self.restore(index, state),
            Step::Compare(index) => self.compare(index, state),
            Step::KeyFiles(index) => self.key_files(index, state),
            Step::Canary(index) => self.canary(index, state),
            Step::Commit(index) => self.commit(index, state),
            Step::Published(index) => self.published(index, state),
            Step::ReleaseCheck(index) => self.release_check(index, state),
            Step::NegativeControl(index) => {
                let folder = state.scratch()?.folder(&format!("control-{index}"))?;
                let what = (self.source(index, state)?, self.subject(index)?.secret.as_ref());
                match state.parts.get(&index).filter(|_| self.plan.verified_in_part(index)) {
                    Some(located) => control::negative_in_part(self.rooms, what, located, &folder),
                    None => control::negative(self.rooms, what, &folder),
                }
            }
            Step::CleanUp => match state.scratch.take() {
                Some(scratch) => scratch.remove().map(|()| Done::pass("the drill's folder is removed")),
                None => Ok(Done::pass("there was nothing to remove")),
            },
        }
    }

    pub(super) fn subject(&self, index: usize) -> Result<&Subject> {
        self.subjects.get(index).ok_or_else(|| Error::refused("the plan names an unknown artifact", ""))
    }

    /// Where it is read from.
    fn source<'a>(&'a self, index: usize, state: &'a State) -> Result<&'a Source> {
        let subject = self.subject(index)?;
        match (&subject.far, state.fetched.get(&index)) {
            (None, _) => Ok(&subject.source),
            (Some(_), Some(fetched)) => Ok(fetched),
            (Some(_), None) => Err(Error::refused("the artifact was not fetched", "")),
        }
    }

    /// The part that is restored; `None` for all of it. What is looked at by name comes with each.
    fn part(&self, index: usize, state: &mut State) -> Result<Option<Located>> {
        let Some(share) = self.plan.artifacts[index].demands.sample else { return Ok(None) };
        if let Some(located) = state.parts.get(&index) {
            return Ok(Some(located.clone()));
        }
        let subject = self.subject(index)?;
        let mut located = self.rooms.locate(self.source(index, state)?, subject.secret.as_ref(), share)?;
        let planned = &self.plan.artifacts[index];
        let canary = planned.demands.canary.iter().map(|canary| &canary.path);
        let named = planned.key_files.iter().chain(canary);
        located.window.always =
            named.map(|name| subject.folder.join(name).as_os_str().as_bytes().to_vec()).collect();
        state.parts.insert(index, located.clone());
        Ok(Some(located))
    }

    fn preflight(&self, state: &mut State) -> Result<Done> {
        if !self.blockers.is_empty() {
            return Ok(Done::fail(self.blockers.join("; ")));
        }
        self.rooms.preflight(self.tools)?;
        let own = state.scratch.insert(Scratch::of(Owner::Drill, self.workspace, self.repository)?);
        let swept = match &own.sweep_others()?[..] {
            [] => String::new(),
            told => format!("; removed, as left by drills that were killed: {}", told.join(", ")),
        };
        Ok(Done::pass(format!("everything that the drill needs is there{swept}")))
    }

    fn pick(&self) -> Done {
        let missing: Vec<_> = self.plan.missing();
        let findings: Vec<_> = missing
            .iter()
            .map(|kind| {
                let what = "there is no artifact of it to restore";
                Finding::error(kind.to_string(), what, kind.role.remedy())
            })
            .collect();
        let detail = format!("{} artifacts", self.plan.artifacts.len());
        Done::looked(self.plan.artifacts.len() as u64, detail, findings)
    }

    fn checksums(&self, index: usize, state: &mut State) -> Result<Done> {
        let source = self.source(index, state)?.clone();
        let digests = match (&self.subject(index)?.far, &source.marker) {
            (Some(_), Some(marker)) => Digests::Marker(marker.clone()),
            _ => self.subject(index)?.digests.clone(),
        };
        let (done, read) = checksums_of(&source, &digests)?;
        state.read.extend(read.map(|read| (index, read)));
        Ok(done)
    }

    fn verify(&self, index: usize, state: &mut State) -> Result<Done> {
        let secret = self.subject(index)?.secret.as_ref();
        let part = match self.plan.verified_in_part(index) {
            true => self.part(index, state)?,
            false => None,
        };
        let source = self.source(index, state)?;
        let checked = match &part {
            Some(located) => self.rooms.check_part(source, secret, &located.window)?,
            None => self.rooms.check(source, secret)?,
        };
        state.entries.insert(index, checked.entries);
        state.errors.insert(index, part.as_ref().map_or(checked.errors, |located| located.errors));
        let manifest = if checked.manifest { "as the manifest says" } else { "without a manifest" };
        let which = part.as_ref().map_or_else(String::new, which);
        let detail = format!("{which}{} entries, {} bytes, {manifest}", checked.entries, checked.bytes);
        Ok(Done::looked(checked.entries, detail, checked.findings).through(checked.bytes))
    }

    fn restore(&self, index: usize, state: &mut State) -> Result<Done> {
        let secret = self.subject(index)?.secret.as_ref();
        let to = state.scratch()?.folder(&format!("restored-{index}"))?;
        let part = self.part(index, state)?;
        let source = self.source(index, state)?;
        let extracted = match &part {
            Some(located) => self.rooms.extract_part(source, secret, &to, &located.window)?,
            None => self.rooms.extract(source, secret, &to)?,
        };
        state.restored.insert(index, to);
        let mut findings = extracted.findings;
        let verified = state.entries.get(&index).copied().unwrap_or(0);
        // With a part come the folders above it, and what is looked at by name.
        let sound = match &part {
            Some(located) => (located.entries..).contains(&extracted.entries) && verified >= located.entries,
            None => extracted.entries == verified,
        };
        if !sound {
            let verified = part.as_ref().map_or(verified, |located| located.entries);
            let what = format!("{} entries were restored, {verified} were verified", extracted.entries);
            findings.push(Finding::error(&self.plan.artifacts[index].file, what, DAMAGED));
        }
        let newest = extracted.newest.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let newest = newest.map_or_else(String::new, |time| format!(", newest change {time}"));
        let which = part.as_ref().map_or_else(String::new, which);
        let detail = format!("{which}{} entries, {} bytes{newest}", extracted.entries, extracted.bytes);
        Ok(Done::looked(extracted.entries, detail, findings).through(extracted.bytes))
    }

    fn compare(&self, index: usize, state: &mut State) -> Result<Done> {
        let secret = self.subject(index)?.secret.as_ref();
        let part = self.part(index, state)?;
        let (source, root) = (self.source(index, state)?, state.restored(index)?);
        let compared = match &part {
            Some(located) => self.rooms.compare_part(source, secret, root, &located.window)?,
            None => self.rooms.compare(source, secret, root)?,
        };
        let Some(compared) = compared else {
            let detail = "it has no manifest to compare with";
            return Ok(Done { outcome: Outcome::Skip, ..Done::pass(detail) });
        };
        let detail = format!("{} entries, {} bytes on disk", compared.entries, compared.bytes);
        Ok(Done::looked(compared.entries, detail, compared.findings).through(compared.bytes))
    }

    fn key_files(&self, index: usize, state: &State) -> Result<Done> {
        looked(state.restored(index)?, &self.subject(index)?.folder, &self.plan.artifacts[index].key_files)
    }

    fn release_check(&self, index: usize, state: &State) -> Result<Done> {
        let release = self.plan.release().ok_or_else(|| Error::refused("no release was restored", ""))?;
        let cwd = state.restored(release)?;
        let limit = self.plan.check_timeout;
        let line = &self.plan.release_checks[index];
        let ran = self.rooms.shell(line, cwd, self.environment, limit)?;
        let (outcome, detail) = told(&ran, limit, self.redaction);
        let mut done = Done { outcome, ..Done::pass(detail) };
        if ran.tail.ends_with(shell::LEFT_RUNNING) {
            let what = "left something running that has left its process group";
            let repair = "stop it in the check itself: what leaves its group is not stopped";
            done.findings.push(Finding::warning(format!("release check {}", index + 1), what, repair));
        }
        Ok(done)
    }

    fn artifacts(&self, state: &State, runs: &[StepRun]) -> Vec<ArtifactRecord> {
        let proven = proven(self.plan, runs);
        let record = |(index, planned): (usize, &super::steps::Planned)| {
            let (sha256, bytes) = state.read.get(&index).cloned().unwrap_or_default();
            ArtifactRecord {
                role: planned.kind.role,
                set: planned.kind.set.clone(),
                path: planned.file.clone(),
                sha256,
                bytes,
                created_at: planned.created_at,
                pick: planned.pick,
                copy: planned.demands.copy.clone(),
                part: state.parts.get(&index).map(|located| Part {
                    numbers: located.numbers.clone(),
                    of: planned.demands.sample.map_or(1, |share| share.of),
                    entries: located.entries,
                    bytes: located.bytes,
                }),
                proven: Some(proven.contains(&index)),
            }
        };
        self.plan.artifacts.iter().enumerate().map(record).collect()
    }
}

/// Which part a step is about.
fn which(located: &Located) -> String {
    let numbers: Vec<String> = located.numbers.iter().map(u32::to_string).collect();
    format!("part {}: ", numbers.join(", "))
}

/// Whether the stored files have the digests on record; with digest and bytes of the archive, as read.
pub(super) fn checksums(subject: &Subject) -> Result<Read> {
    checksums_of(&subject.source, &subject.digests)
}

/// How it went, and digest and bytes of the archive.
type Read = (Done, Option<(String, u64)>);

fn checksums_of(source: &Source, digests: &Digests) -> Result<Read> {
    let (on_record, mut findings) = on_record(digests)?;
    let (mut checked, mut all, mut read) = (0, 0, None);
    for path in std::iter::once(&source.archive).chain(&source.manifest) {
        let name = path.file_name().map(|name| show(Path::new(name))).unwrap_or_default();
        let (digest, bytes) = digest_file(path)?;
        all += bytes;
        match on_record.get(&name) {
            Some(expected) if *expected == digest => checked += 1,
            Some(_) => findings.push(Finding::error(&name, "does not have the digest on record", DAMAGED)),
            None => findings.push(Finding::error(&name, "has no digest on record", DAMAGED)),
        }
        if *path == source.archive {
            read = Some((digest, bytes));
        }
    }
    let detail = format!("{checked} files have the digest on record");
    Ok((Done::looked(checked, detail, findings).through(all), read))
}

const DAMAGED: &str = "do not rely on it; restore an older one, and run `cargo xtask verify --all`";

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
