//! The steps of a spot drill, as a value: what will be done, in which order, and what needs what.
//!
//! Pure. `--dry-run` prints the same [`Plan`] that the run carries out, so nothing happens that it does not
//! show. Artifacts and release checks are named by their index in the plan: a step cannot mean an artifact
//! that was not picked.
use super::demands::{Demands, Share};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What an artifact is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A release bundle.
    Release,
    /// A backup of a data set.
    Data,
}

impl Role {
    /// What to do where there is no artifact.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Release => "make one with `cargo xtask snapshot`",
            Self::Data => "make one with `cargo xtask backup`",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Release => "release",
            Self::Data => "data",
        })
    }
}

/// Why an artifact is in the drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// It is the newest of its set: what a recovery would use.
    #[default]
    Latest,
    /// It is older, and its turn has come.
    Older,
}

/// Something that the configuration names and that must come back: the release, or one data set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Release or data.
    pub role: Role,
    /// Name of the release or of the data set.
    pub set: String,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.set)
    }
}

/// An artifact that the drill restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Release or data, and of which set.
    pub kind: Kind,
    /// Bare file name of the archive.
    pub file: String,
    /// Bytes stored: archive, manifest and marker.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Newest, or older by rotation.
    pub pick: Pick,
    /// Whether it goes through `gpg`.
    pub encrypted: bool,
    /// Whether a manifest lies beside it.
    pub has_manifest: bool,
    /// Files that must be there and hold something, relative to the set's source folder.
    pub key_files: Vec<String>,
    /// What else is asked of this one.
    pub demands: Demands,
}

/// What a spot drill will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What must come back for the drill to count.
    pub required: Vec<Kind>,
    /// What is restored; the latest of a kind stands before older ones.
    pub artifacts: Vec<Planned>,
    /// Commands that the run needs.
    pub tools: Vec<String>,
    /// Shell lines run in the restored release bundle, in this order.
    pub release_checks: Vec<String>,
    /// Longest time one release check may take.
    pub check_timeout: Duration,
}

/// One step; the numbers are indices into [`Plan::artifacts`] and [`Plan::release_checks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Tools, passphrases and mounts are there; a private folder is made.
    Preflight,
    /// Every kind that must come back has an artifact.
    Pick,
    /// It is copied from another machine into the private folder.
    Fetch(usize),
    /// The stored files have the digests on record.
    Checksums(usize),
    /// The archive decrypts and decodes from the first to the last byte, and agrees with its manifest.
    Verify(usize),
    /// It is restored into a fresh folder.
    Restore(usize),
    /// Every restored entry is compared with the manifest.
    Compare(usize),
    /// The key files are there and hold something.
    KeyFiles(usize),
    /// What was written into the source right before the backup has come back.
    Canary(usize),
    /// The bundle holds what its commit holds.
    Commit(usize),
    /// The release that was published is this bundle.
    Published(usize),
    /// A release check, in the restored release bundle.
    ReleaseCheck(usize),
    /// One byte of a copy is changed; verification must find it.
    NegativeControl(usize),
    /// The private folder, with everything restored into it, is removed.
    CleanUp,
}

impl Plan {
    /// The steps, in the order in which they are taken.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Preflight, Step::Pick];
        let with = |has: &dyn Fn(&Demands) -> bool| -> Vec<usize> {
            (0..self.artifacts.len()).filter(|index| has(&self.artifacts[*index].demands)).collect()
        };
        steps.extend(with(&|demands| demands.far.is_some()).into_iter().map(Step::Fetch));
        steps.extend((0..self.artifacts.len()).map(Step::Checksums));
        steps.extend((0..self.artifacts.len()).map(Step::Verify));
        for (index, artifact) in self.artifacts.iter().enumerate() {
            steps.extend([Step::Restore(index), Step::Compare(index)]);
            if !artifact.key_files.is_empty() {
                steps.push(Step::KeyFiles(index));
            }
            steps.extend(artifact.demands.canary.is_some().then_some(Step::Canary(index)));
            steps.extend(artifact.demands.commit.is_some().then_some(Step::Commit(index)));
        }
        steps.extend(with(&|demands| demands.published.is_some()).into_iter().map(Step::Published));
        if self.release().is_some() {
            steps.extend((0..self.release_checks.len()).map(Step::ReleaseCheck));
        }
        steps.extend(self.controls().into_iter().map(Step::NegativeControl));
        steps.push(Step::CleanUp);
        steps
    }

    /// The latest release bundle, in which the release checks run.
    pub fn release(&self) -> Option<usize> {
        self.artifacts.iter().position(|a| a.kind.role == Role::Release && a.pick == Pick::Latest)
    }

    /// Kinds without an artifact.
    pub fn missing(&self) -> Vec<&Kind> {
        self.required
            .iter()
            .filter(|kind| !self.artifacts.iter().any(|a| a.kind == **kind && a.pick == Pick::Latest))
            .collect()
    }

    /// On which artifacts the negative control is done: the smallest for each way of checking (release or
    /// data, encrypted or not, all of it or a share), because each way could be blind on its own.
    fn controls(&self) -> Vec<usize> {
        let mut smallest = BTreeMap::new();
        for (index, artifact) in self.artifacts.iter().enumerate() {
            let way = (artifact.kind.role, artifact.encrypted, self.verified_in_part(index));
            let best = smallest.entry(way).or_insert(index);
            if artifact.bytes < self.artifacts[*best].bytes {
                *best = index;
            }
        }
        smallest.into_values().collect()
    }

    /// Whether only a share of it is decoded and compared with its manifest. What is encrypted is read from its first to
    /// its last byte whatever is wanted of it.
    pub fn verified_in_part(&self, index: usize) -> bool {
        self.artifacts.get(index).is_some_and(|a| a.demands.sample.is_some() && !a.encrypted)
    }

    /// The step's name in the evidence; no two steps of a plan share one.
    pub fn name(&self, step: Step) -> String {
        let file = |index: usize| self.artifacts.get(index).map_or("?", |a| a.file.as_str());
        match step {
            Step::Preflight => "preflight".into(),
            Step::Pick => "pick".into(),
            Step::Fetch(index) => format!("fetch: {}", file(index)),
            Step::Checksums(index) => format!("checksums: {}", file(index)),
            Step::Verify(index) => match self.artifacts.get(index) {
                Some(artifact) if artifact.encrypted => format!("decrypt and verify: {}", artifact.file),
                _ => format!("verify: {}", file(index)),
            },
            Step::Restore(index) => format!("restore: {}", file(index)),
            Step::Compare(index) => format!("compare with manifest: {}", file(index)),
            Step::KeyFiles(index) => format!("key files: {}", file(index)),
            Step::Canary(index) => format!("canary: {}", file(index)),
            Step::Commit(index) => format!("compare with commit: {}", file(index)),
            Step::Published(index) => format!("published release: {}", file(index)),
            Step::ReleaseCheck(index) => {
                let line = self.release_checks.get(index).map_or("?", String::as_str);
                format!("release check {}: {line}", index + 1)
            }
            Step::NegativeControl(index) => format!("negative control: {}", file(index)),
            Step::CleanUp => "clean up".into(),
        }
    }

    /// The steps that must have passed before this one makes sense.
    pub fn needs(&self, step: Step) -> Vec<Step> {
        match step {
            Step::Preflight | Step::CleanUp => vec![],
            Step::Checksums(index) if self.demands(index).far.is_some() => vec![Step::Fetch(index)],
            Step::Pick | Step::Fetch(_) | Step::Checksums(_) => vec![Step::Preflight],
            Step::Verify(index) => vec![Step::Checksums(index)],
            Step::Restore(index) => vec![Step::Verify(index)],
            Step::Compare(index) => vec![Step::Restore(index)],
            Step::KeyFiles(index) | Step::Canary(index) if self.is_mandatory(Step::Compare(index)) => {
                vec![Step::Compare(index)]
            }
            Step::KeyFiles(index) | Step::Canary(index) => vec![Step::Restore(index)],
            Step::Commit(index) => vec![Step::Restore(index)],
            Step::Published(index) => vec![Step::Checksums(index)],
            // `npm start` proves nothing when `npm install` before it failed.
            Step::ReleaseCheck(index) if index > 0 => vec![Step::ReleaseCheck(index - 1)],
            Step::ReleaseCheck(_) => self.release().map(Step::Compare).into_iter().collect(),
            // A control on an artifact that fails anyway would prove nothing.
            Step::NegativeControl(index) => vec![Step::Verify(index)],
        }
    }

    fn demands(&self, index: usize) -> Demands {
        self.artifacts.get(index).map(|artifact| artifact.demands.clone()).unwrap_or_default()
    }

    /// Whether the drill cannot count when this step is skipped. Only an older artifact from the time
    /// before manifests may go uncompared.
    pub fn is_mandatory(&self, step: Step) -> bool {
        match step {
            Step::Compare(index) => {
                self.artifacts.get(index).is_none_or(|a| a.has_manifest || a.pick == Pick::Latest)
            }
            _ => true,
        }
    }

    /// Whether the time of this step is part of the recovery time: all that is done from the first step to the
    /// last check, but for what nobody would wait for when the latest artifacts had to be brought back in earnest.
    pub fn is_recovery(&self, step: Step) -> bool {
        match step {
            Step::Fetch(index)
            | Step::Checksums(index)
            | Step::Verify(index)
            | Step::Restore(index)
            | Step::Compare(index)
            | Step::KeyFiles(index)
            | Step::Canary(index) => self.artifacts.get(index).is_some_and(|a| a.pick == Pick::Latest),
            Step::Preflight | Step::Pick | Step::ReleaseCheck(_) => true,
            Step::Commit(_) | Step::Published(_) | Step::NegativeControl(_) | Step::CleanUp => false,
        }
    }

    /// What this drill leaves unproven, in words.
    pub fn not_tested(&self) -> Vec<String> {
        let mut gaps =
            vec!["replacing the live data in place, stop and start of the service (full drill)".into()];
        if self.release().is_none() {
            gaps.push("the release bundle: there is none to restore".into());
        }
        if !self.required.iter().any(|kind| kind.role == Role::Data) {
            gaps.push("runtime data: no data set is configured".into());
        }
        if self.release_checks.is_empty() {
            gaps.push("whether the restored release runs: no release-checks are configured".into());
        }
        let latest_data =
            self.artifacts.iter().filter(|a| a.kind.role == Role::Data && a.pick == Pick::Latest);
        gaps.extend(self.of_samples());
        let bundle = self.release().map(|index| &self.artifacts[index]);
        if let Some(bundle) = bundle.filter(|bundle| bundle.demands.commit.is_none()) {
            let why = match bundle.demands.staged {
                true => "it holds more than that",
                false => "its lock names no commit that is in this repository",
            };
            gaps.push(format!("whether {} holds what its commit holds: {why}", bundle.file));
        }
        if let Some(bundle) = bundle.filter(|bundle| bundle.demands.published.is_none()) {
            let why = "its lock has no `release_url` of a release on a forge";
            gaps.push(format!("published release of {}: {why}", bundle.file));
        }
        gaps.extend(
            latest_data
                .filter(|a| a.key_files.is_empty())
                .map(|a| format!("key files of {}: none are configured", a.kind.set)),
        );
        gaps
    }

    /// What is not restored, where only a share is.
    fn of_samples(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for artifact in &self.artifacts {
            let Some(share) = artifact.demands.sample else { continue };
            let Share { number, of } = share;
            let what = if artifact.encrypted { "was read to its end, and" } else { "has its digest, and" };
            gaps.push(format!(
                "all of {} but a sample: it {what} only part {number} of {of} is restored and compared",
                artifact.file
            ));
        }
        if self.artifacts.iter().any(|a| a.pick == Pick::Latest && a.demands.sample.is_some()) {
            gaps.push("the recovery time: only samples of the latest artifacts are restored".into());
        }
        gaps
    }
}

impl Step {
    /// Whether it must have looked at something: with nothing checked it has not passed.
    pub fn must_count(self) -> bool {
        match self {
            Self::Fetch(_)
            | Self::Canary(_)
            | Self::Commit(_)
            | Self::Published(_)
            | Self::Checksums(_)
            | Self::Verify(_)
            | Self::Restore(_)
            | Self::Compare(_)
            | Self::KeyFiles(_)
            | Self::NegativeControl(_) => true,
            Self::Preflight | Self::Pick | Self::ReleaseCheck(_) | Self::CleanUp => false,
        }
    }
}

impl Demands {
    /// What a step is about, behind its name in the plan.
    fn shown(&self, step: Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (step, self) {
            (Step::Fetch(_), Self { far: Some(far), .. }) => write!(f, " (from {far})"),
            (Step::Checksums(_), Self { copy: Some(copy), .. }) => write!(f, " (the copy at {copy})"),
            (Step::Restore(_), Self { sample: Some(Share { number, of }), .. }) => {
                write!(f, " (part {number} of {of})")
            }
            (Step::Canary(_), Self { canary: Some(canary), .. }) => write!(f, " ({})", canary.path),
            (Step::Published(_), Self { published: Some(release), .. }) => {
                write!(f, " (gh: {} of {})", release.tag, release.repository)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps().into_iter().enumerate() {
            write!(f, "{:>3}. {}", number + 1, self.name(step))?;
            match step {
                Step::Preflight if !self.tools.is_empty() => write!(f, " ({})", self.tools.join(", "))?,
                Step::Pick => {
                    let missing: Vec<_> = self.missing().iter().map(|kind| format!("no {kind}")).collect();
                    if !missing.is_empty() {
                        write!(f, " ({})", missing.join(", "))?;
                    }
                }
                Step::KeyFiles(index) => {
                    write!(f, " ({})", self.artifacts[index].key_files.join(", "))?;
                }
                Step::Fetch(index)
                | Step::Checksums(index)
                | Step::Restore(index)
                | Step::Canary(index)
                | Step::Published(index) => {
                    self.artifacts[index].demands.shown(step, f)?;
                }
                Step::ReleaseCheck(_) => write!(f, " (at most {} s)", self.check_timeout.as_secs())?,
                _ => {}
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
