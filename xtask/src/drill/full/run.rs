//! Takes the steps of a full drill, one behind the other. The first that does not pass ends them, and everything goes back.
//!
//! Until the journal is on disk nothing is touched. From then on each way out leads through [`bring_back`] or leaves the
//! journal for `recover`. No live data is removed here.
use super::back::{Commands, Returned, Why, bring_back, record};
use super::journal::{Journal, Phase};
use super::plan::{Plan, Step};
use super::same::same;
use super::space;
use super::supply::{Picked, Supply};
use super::swap::Swap;
use super::written::written;
use crate::destination::durable;
use crate::destination::mount::resolved;
use crate::drill::control;
use crate::drill::done::Done;
use crate::drill::door::Rooms;
use crate::drill::evidence::{ArtifactRecord, Outcome, StepRecord, Verdict, why};
use crate::drill::key_files::looked;
use crate::drill::run::checksums;
use crate::drill::steps::{Kind, Pick, Role};
use crate::error::{Error, Result};
use crate::finding::{Finding, any_error};
use crate::restore;
use crate::restore::scratch::{Owner, Scratch};
use crate::shown::show;
use crate::stopwatch::{Stopwatch, rounded};
use crate::tools::{OnInterrupt, Tool};
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// A full drill that is ready to run.
pub struct Full<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// How to get back; on disk from the end of the preflight on.
    pub journal: Journal,
    /// The repository's memory folder.
    pub memory: &'a Path,
    /// What already stands in the way.
    pub blockers: &'a [String],
    /// Tools that the plan needs.
    pub tools: &'a [Tool],
    /// The other rooms.
    pub rooms: &'a dyn Rooms,
    /// Where private copies are made.
    pub workspace: &'a Path,
    /// The user's own commands.
    pub commands: Commands<'a>,
    /// Backups and picks.
    pub supply: &'a mut dyn Supply,
    /// What earlier steps leave to later ones.
    pub state: State,
}

/// See [`Full::state`].
#[derive(Default)]
pub struct State {
    picked: Vec<Option<Picked>>,
    /// Archive digest and bytes, by target.
    read: Vec<(usize, String, u64)>,
    /// Where a target without a live folder was restored.
    scratch: Option<Scratch>,
    /// Whether the live folder of each swap is the same as what was restored.
    same: Vec<bool>,
    opened: bool,
    passed: Vec<Step>,
    /// Targets whose artifact does not have the digests on record.
    damaged: Vec<usize>,
}

/// What was shown of an artifact.
#[derive(Debug)]
pub struct Shown {
    /// Its index among the artifacts.
    pub index: usize,
    /// Where its archive lies.
    pub archive: PathBuf,
    /// Restorable, or not what is on record.
    pub whole: bool,
}

/// How a full drill went.
#[derive(Debug)]
pub struct Drilled {
    /// Every step, those of the way back too.
    pub steps: Vec<StepRecord>,
    /// What was restored.
    pub artifacts: Vec<ArtifactRecord>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What it has shown.
    pub result: Verdict,
    /// Why it is no better.
    pub reasons: Vec<String>,
    /// The recovery time, when all of it passed.
    pub rto_seconds: Option<f64>,
    /// What was shown of artifacts.
    pub shown: Vec<Shown>,
    /// Whether anything was touched.
    pub opened: bool,
    /// Whether nothing is left to be taken back.
    pub closed: bool,
}

impl Full<'_> {
    /// Takes every step, and brings everything back where that is called for.
    /// `known` was found before; an error among it keeps the drill from being verified.
    pub fn run(&mut self, watch: &dyn Stopwatch, known: &[Finding]) -> Drilled {
        let (mut findings, mut reasons, mut recovery) = (Vec::new(), Vec::new(), Some(0.0));
        let mut interrupted = false;
        for step in self.plan.steps() {
            let name = self.plan.name(step);
            interrupted |= self.rooms.interrupted();
            if interrupted || !reasons.is_empty() {
                let detail =
                    if interrupted { "the drill was interrupted" } else { "a step before it did not pass" };
                let blocked = record(name, Outcome::Blocked, 0.0, detail);
                self.journal.steps.push(StepRecord { expected: self.plan.expected(step), ..blocked });
                continue;
            }
            self.commands.say(&name);
            let began = watch.elapsed();
            let done = self.take(step);
            let seconds = rounded(watch.elapsed().saturating_sub(began).as_secs_f64());
            let (outcome, detail) = (done.outcome, self.commands.redaction.text(&done.detail));
            if outcome != Outcome::Pass {
                reasons.push(format!("{name}: {outcome}: {detail}"));
            } else if Plan::must_count(step) && done.checked.unwrap_or(0) == 0 {
                reasons.push(format!("{name}: nothing was checked"));
            } else {
                self.state.passed.push(step);
            }
            recovery = recovery.map(|sum: f64| if Plan::is_recovery(step) { sum + seconds } else { sum });
            if outcome != Outcome::Pass && !any_error(&done.findings) {
                findings.push(Finding::error(name.clone(), detail.clone(), ""));
            }
            findings.extend(done.findings.iter().map(|finding| self.commands.redaction.finding(finding)));
            let (expected, bytes) = (self.plan.expected(step), done.bytes);
            let taken = StepRecord { expected, bytes, ..record(name, outcome, seconds, detail) };
            self.journal.steps.push(taken);
            if self.state.opened {
                // What was done is told even if the run is killed; the way back does not depend on it.
                let _ = self.journal.save(self.memory);
            }
        }
        interrupted |= self.rooms.interrupted();
        if interrupted {
            reasons.push("it was interrupted".into());
            findings.push(Finding::error("drill", "was interrupted", "run it again"));
        }
        // The restored release of `deploy` may be in use until here.
        let scratch = self.state.scratch.take();
        // What was found keeps nothing in place of live data that comes back whole.
        let sound = !any_error(&findings) && !any_error(known);
        let closed = self.end(reasons.is_empty(), sound, &mut findings, watch);
        drop(scratch);
        if (any_error(&findings) || any_error(known)) && reasons.is_empty() {
            reasons.push("errors were found".into());
        }
        let result = match (self.state.opened, interrupted, reasons.is_empty()) {
            (false, _, _) | (_, true, _) => Verdict::CouldNotRun,
            (true, false, true) => Verdict::Verified,
            (true, false, false) => Verdict::NotVerified,
        };
        let all = self.plan.steps().into_iter().filter(|step| Plan::is_recovery(*step));
        let whole = all.into_iter().all(|step| self.state.passed.contains(&step));
        Drilled {
            steps: self.journal.steps.clone(),
            artifacts: self.artifacts(),
            findings,
            result,
            reasons,
            rto_seconds: recovery.filter(|_| whole).map(rounded),
            shown: self.shown(),
            opened: self.state.opened,
            closed,
        }
    }

    /// Decides what stays, and brings back what does not. Whether nothing is left to be taken back.
    fn end(&mut self, passed: bool, sound: bool, findings: &mut Vec<Finding>, watch: &dyn Stopwatch) -> bool {
        if !self.state.opened {
            return true;
        }
        let equal = self.state.same.iter().all(|same| *same);
        if passed && (equal || self.plan.keep_restored && sound) {
            self.journal.differs = !equal;
            self.journal.phase = Phase::Kept;
            match self.journal.save(self.memory) {
                Ok(()) => return true,
                Err(error) => findings.push(Finding::of("drill", &error)),
            }
            self.journal.phase = Phase::Open;
        }
        let why = if passed { Why::Newer } else { Why::Failed };
        let Returned { steps, findings: found } =
            bring_back(&mut self.journal, self.memory, &self.commands, why, watch);
        self.journal.steps.extend(steps);
        findings.extend(found);
        let closed = self.journal.phase == Phase::Kept;
        findings.extend(written(&self.journal));
        if closed && passed {
            self.check_again(findings, watch);
        }
        closed
    }

    /// The service runs on its live data again: that is checked like the drill.
    fn check_again(&mut self, findings: &mut Vec<Finding>, watch: &dyn Stopwatch) {
        for (number, line) in self.plan.smoke.iter().enumerate() {
            let (name, began) = (format!("put back: smoke {}: {line}", number + 1), watch.elapsed());
            self.commands.say(&name);
            let ran = self.commands.run(line, &self.journal.service, OnInterrupt::GoOn);
            let (outcome, detail) = ran.unwrap_or_else(|error| (Outcome::Fail, why(&error)));
            let seconds = rounded(watch.elapsed().saturating_sub(began).as_secs_f64());
            if outcome != Outcome::Pass {
                let repair = "the live data is back in its place: see to the service";
                findings.push(Finding::error(name.clone(), detail.clone(), repair));
            }
            let expected = self.plan.expected(Step::Smoke(number));
            self.journal.steps.push(StepRecord { expected, ..record(name, outcome, seconds, detail) });
        }
    }

    fn take(&mut self, step: Step) -> Done {
        let name = self.plan.name(step);
        self.perform(step).unwrap_or_else(|error| {
            let mut done = Done::fail(why(&error));
            done.findings.push(Finding::error(name, why(&error), error.next_step().unwrap_or_default()));
            done
        })
    }

    fn perform(&mut self, step: Step) -> Result<Done> {
        let service = self.journal.service.clone();
        match step {
            Step::Preflight => self.preflight(),
            Step::Stop => self.commands.run(&service.stop, &service, OnInterrupt::End).map(ran),
            Step::FreshBackup => {
                let fresh = self.supply.back_up()?;
                Ok(Done { checked: None, ..Done::looked(1, fresh.detail, fresh.findings) })
            }
            Step::Pick => self.pick(),
            Step::Checksums(index) => {
                let (done, read) = checksums(&self.picked(index)?.subject)?;
                self.state.damaged.extend((done.outcome == Outcome::Fail).then_some(index));
                self.state.read.extend(read.map(|(digest, bytes)| (index, digest, bytes)));
                self.journal.artifacts = self.artifacts();
                Ok(done)
            }
            Step::Verify(index) => {
                let subject = &self.picked(index)?.subject;
                let checked = self.rooms.check(&subject.source, subject.secret.as_ref())?;
                let detail = format!("{} entries, {} bytes", checked.entries, checked.bytes);
                // What holds only a part is not put in the place of live data.
                let partial = restore::partial(&subject.source, checked.errors).map(Finding::worse);
                let findings = checked.findings.into_iter().chain(partial).collect();
                Ok(Done::looked(checked.entries, detail, findings).through(checked.bytes))
            }
            Step::Aside(index) => self.move_aside(index),
            Step::Restore(index) => self.restore(index),
            Step::Compare(index) => {
                let (root, picked) = (self.restored(index)?, self.picked(index)?);
                let source = &picked.subject.source;
                match self.rooms.compare(source, picked.subject.secret.as_ref(), &root)? {
                    None => Ok(Done::fail("the artifact has no manifest to compare with")),
                    Some(compared) => {
                        let detail =
                            format!("{} entries, {} bytes on disk", compared.entries, compared.bytes);
                        Ok(Done::looked(compared.entries, detail, compared.findings).through(compared.bytes))
                    }
                }
            }
            Step::KeyFiles(index) => {
                let folder = &self.picked(index)?.subject.folder;
                looked(&self.restored(index)?, folder, &self.plan.targets[index].key_files)
            }
            Step::Same(index) => self.compare_with_aside(index),
            Step::Place(index) => self.place(index),
            Step::Deploy(index) => {
                let (folder, line) = (self.folder(index)?, self.plan.deploy.clone().unwrap_or_default());
                self.commands.run_in(&line, &folder, &service, OnInterrupt::End).map(ran)
            }
            Step::Start => self.commands.start(&service, OnInterrupt::End).map(ran),
            Step::Smoke(index) => {
                self.commands.run(&self.plan.smoke[index], &service, OnInterrupt::End).map(ran)
            }
            Step::NegativeControl(index) => {
                let scratch = self.scratch()?.folder(&format!("control-{index}"))?;
                let subject = &self.picked(index)?.subject;
                control::negative(self.rooms, (&subject.source, subject.secret.as_ref()), &scratch)
            }
        }
    }

    /// At its end the journal is on disk, and the way back is known whatever comes.
    fn preflight(&mut self) -> Result<Done> {
        if !self.blockers.is_empty() {
            return Ok(Done::fail(self.blockers.join("; ")));
        }
        self.rooms.preflight(self.tools)?;
        space::enough(&self.journal.swaps)?;
        space::writable(&self.journal.evidence_dir)?;
        let (repository, mut made) = (resolved(&self.journal.service.folder), 0);
        let open = |swap: &Swap| swap.open(&repository).map(|()| made += 1);
        let opened = self.journal.swaps.iter().try_for_each(open);
        if let Err(error) = opened.and_then(|()| self.journal.save(self.memory)) {
            for swap in &self.journal.swaps[..made] {
                swap.tidy()?;
            }
            return Err(error);
        }
        self.state.opened = true;
        self.commands.say(
            "from here on, if this is cut off: `cargo xtask restore-drill recover` brings everything back",
        );
        Ok(Done::pass("everything that the drill needs is there, and its journal is on disk"))
    }

    fn pick(&mut self) -> Result<Done> {
        let (picked, mut findings) = self.supply.pick()?;
        self.state.picked = picked;
        let missing = self.plan.targets.iter().zip(&self.state.picked).filter(|(_, picked)| picked.is_none());
        let gone = "there is no artifact of it to restore";
        let told = |kind: &Kind| Finding::error(kind.to_string(), gone, kind.role.remedy());
        findings.extend(missing.map(|(target, _)| told(&target.kind)));
        let files: Vec<&str> =
            self.state.picked.iter().flatten().map(|picked| picked.planned.file.as_str()).collect();
        Ok(Done::looked(files.len() as u64, files.join(", "), findings))
    }

    fn move_aside(&mut self, index: usize) -> Result<Done> {
        let number = self.number(index)?;
        let mut swap = self.journal.swaps[number].clone();
        let (journal, memory) = (&mut self.journal, self.memory);
        let moved = swap.move_aside(&mut |swap| {
            journal.swaps[number] = swap.clone();
            journal.save(memory)
        });
        self.journal.swaps[number] = swap;
        let swap = &self.journal.swaps[number];
        Ok(Done::pass(match (moved?, &swap.identity) {
            (_, None) => format!("{} was not there", show(&swap.live)),
            (0, _) => format!("{} lies in {}", show(&swap.live), show(&swap.aside)),
            (bytes, _) => {
                format!(
                    "{} lies in {}: {bytes} bytes copied and compared",
                    show(&swap.live),
                    show(&swap.aside)
                )
            }
        }))
    }

    fn place(&mut self, index: usize) -> Result<Done> {
        let (number, folder) = (self.number(index)?, self.folder(index)?);
        let mut swap = self.journal.swaps[number].clone();
        let (journal, memory) = (&mut self.journal, self.memory);
        let placed = swap.place(&folder, &mut |swap| {
            journal.swaps[number] = swap.clone();
            journal.save(memory)
        });
        let live = show(&swap.live);
        self.journal.swaps[number] = swap;
        placed.map(|()| Done::pass(format!("{live} is the restored folder")))
    }

    fn restore(&mut self, index: usize) -> Result<Done> {
        let target = &self.plan.targets[index];
        let to = match target.live {
            Some(_) => self.swap(index)?.staging(),
            None => self.scratch()?.path().join(format!("restored-{index}")),
        };
        let subject = &self.picked(index)?.subject;
        let extracted = self.rooms.extract(&subject.source, subject.secret.as_ref(), &to)?;
        if target.live.is_some() && target.kind.role == Role::Release {
            self.swap(index)?.dress(&self.folder(index)?)?;
        }
        durable::sync_tree(&to)?;
        let newest = extracted.newest.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let newest = newest.map_or_else(String::new, |time| format!(", newest change {time}"));
        let detail = format!("{} entries, {} bytes{newest}", extracted.entries, extracted.bytes);
        Ok(Done::looked(extracted.entries, detail, extracted.findings).through(extracted.bytes))
    }

    /// A difference is no failure: files that were written since the backup, or left out of it, are live data. It decides
    /// what becomes of the two.
    fn compare_with_aside(&mut self, index: usize) -> Result<Done> {
        let (swap, folder) = (self.swap(index)?.clone(), self.folder(index)?);
        if swap.identity.is_none() {
            self.state.same.push(true);
            return Ok(Done { checked: Some(1), ..Done::pass("there is nothing aside") });
        }
        let compared = same(&swap.aside, &folder, OnInterrupt::End)?;
        self.state.same.push(compared.first.is_none());
        let detail = match &compared.first {
            None => format!("{} entries, {} bytes: all the same", compared.entries, compared.bytes),
            Some(first) => format!(
                "differences: {}, the first {first}: the live folder is to go back",
                compared.differences
            ),
        };
        if compared.first.is_some() {
            self.commands.say(&detail);
        }
        Ok(Done { checked: Some(compared.entries), ..Done::pass(detail).through(compared.bytes) })
    }

    fn picked(&self, index: usize) -> Result<&Picked> {
        let picked = self.state.picked.get(index).and_then(Option::as_ref);
        picked.ok_or_else(|| Error::refused("there is no artifact of it", ""))
    }

    /// Which of the journal's swaps is a target's.
    fn number(&self, index: usize) -> Result<usize> {
        let before = self.plan.targets[..index].iter().filter(|target| target.live.is_some()).count();
        let number = self.plan.targets[index].live.as_ref().map(|_| before);
        number.ok_or_else(|| Error::refused("it has no live folder", ""))
    }

    fn swap(&self, index: usize) -> Result<&Swap> {
        Ok(&self.journal.swaps[self.number(index)?])
    }

    /// Where the archive was restored to.
    fn restored(&self, index: usize) -> Result<PathBuf> {
        match (&self.plan.targets[index].live, &self.state.scratch) {
            (Some(_), _) => Ok(self.swap(index)?.staging()),
            (None, Some(scratch)) => Ok(scratch.path().join(format!("restored-{index}"))),
            (None, None) => Err(Error::refused("it was not restored", "")),
        }
    }

    /// The folder in it that takes the live one's place.
    fn folder(&self, index: usize) -> Result<PathBuf> {
        Ok(self.restored(index)?.join(&self.picked(index)?.subject.folder))
    }

    fn scratch(&mut self) -> Result<&Scratch> {
        if self.state.scratch.is_none() {
            let own = Scratch::of(Owner::Drill, self.workspace, &self.journal.service.folder)?;
            self.state.scratch.insert(own).sweep_others()?;
        }
        self.state.scratch.as_ref().ok_or_else(|| Error::refused("the drill has no private folder", ""))
    }

    fn shown(&self) -> Vec<Shown> {
        let picked = self
            .state
            .picked
            .iter()
            .enumerate()
            .filter_map(|(target, picked)| Some((target, picked.as_ref()?)));
        let shown = |(index, (target, picked)): (usize, (usize, &Picked))| {
            let (whole, damaged) = (self.is_proven(target), self.state.damaged.contains(&target));
            let archive = picked.subject.source.archive.clone();
            (whole || damaged).then_some(Shown { index, archive, whole })
        };
        picked.enumerate().filter_map(shown).collect()
    }

    /// Whether every step about the artifact of a target has passed.
    fn is_proven(&self, index: usize) -> bool {
        let about = |step: &Step| match *step {
            Step::Checksums(of)
            | Step::Verify(of)
            | Step::NegativeControl(of)
            | Step::Restore(of)
            | Step::Compare(of)
            | Step::KeyFiles(of) => of == index,
            _ => false,
        };
        self.plan.steps().iter().filter(|step| about(step)).all(|step| self.state.passed.contains(step))
    }

    fn artifacts(&self) -> Vec<ArtifactRecord> {
        let record = |(index, picked): (usize, &Option<Picked>)| {
            let planned = &picked.as_ref()?.planned;
            let read = self.state.read.iter().find(|(at, _, _)| *at == index);
            Some(ArtifactRecord {
                role: planned.kind.role,
                set: planned.kind.set.clone(),
                path: planned.file.clone(),
                sha256: read.map(|(_, digest, _)| digest.clone()).unwrap_or_default(),
                bytes: read.map_or(planned.bytes, |(_, _, bytes)| *bytes),
                created_at: planned.created_at,
                pick: Pick::Latest,
                copy: planned.demands.copy.clone(),
                part: None,
                proven: Some(self.is_proven(index)),
            })
        };
        self.state.picked.iter().enumerate().filter_map(record).collect()
    }
}

fn ran((outcome, detail): (Outcome, String)) -> Done {
    Done { outcome, ..Done::pass(detail) }
}
