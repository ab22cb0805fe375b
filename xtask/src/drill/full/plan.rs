//! The steps of a full drill, as a value. Pure: `--dry-run` prints the same [`Plan`] that the run carries out.
//!
//! What comes behind the last check depends on what was found: unless everything that was restored is the same as what
//! lies aside, the live data goes back. The plan says so in words.
use crate::drill::steps::{Kind, Role};
use std::fmt;
use std::path::PathBuf;

/// Something that is brought back, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The release, or a data set.
    pub kind: Kind,
    /// The folder that is replaced; none for a release that `deploy` puts in place.
    pub live: Option<PathBuf>,
    /// Files that must come back and hold something, relative to the folder.
    pub key_files: Vec<String>,
}

/// What a full drill will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is brought back, the release first.
    pub targets: Vec<Target>,
    /// Whether a backup is made once the service has stopped.
    pub fresh: bool,
    /// Whether what was restored stays, whatever it is.
    pub keep_restored: bool,
    /// Shell lines: what stops the service, what puts the release in place, what starts it, what checks it.
    pub stop: String,
    /// See [`Plan::stop`].
    pub deploy: Option<String>,
    /// See [`Plan::stop`].
    pub start: String,
    /// See [`Plan::stop`].
    pub smoke: Vec<String>,
}

/// One step; the numbers are indices into [`Plan::targets`] and [`Plan::smoke`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Tools, keys, drives, room, and folders that can be moved.
    Preflight,
    /// The service stops.
    Stop,
    /// A backup of all sets is made.
    FreshBackup,
    /// Every target has an artifact; the newest is taken.
    Pick,
    /// The stored files have the digests on record.
    Checksums(usize),
    /// The archive decrypts and decodes from the first to the last byte.
    Verify(usize),
    /// The live folder is moved aside.
    Aside(usize),
    /// The archive is restored beside the live folder's place.
    Restore(usize),
    /// Every restored entry is compared with the manifest.
    Compare(usize),
    /// The key files are there and hold something.
    KeyFiles(usize),
    /// What was restored is compared with what lies aside.
    Same(usize),
    /// What was restored is moved to where the live folder was.
    Place(usize),
    /// The user's own command puts the release in place.
    Deploy(usize),
    /// The service starts.
    Start,
    /// A check of the running service.
    Smoke(usize),
    /// One byte of a copy is changed; verification must find it.
    NegativeControl(usize),
}

impl Plan {
    /// The steps up to the last check, in the order in which they are taken.
    pub fn steps(&self) -> Vec<Step> {
        let all = || 0..self.targets.len();
        let placed = || all().filter(|index| self.targets[*index].live.is_some());
        let mut steps = vec![Step::Preflight, Step::Stop];
        steps.extend(self.fresh.then_some(Step::FreshBackup));
        steps.push(Step::Pick);
        steps.extend(all().flat_map(|index| [Step::Checksums(index), Step::Verify(index)]));
        // Everything is aside before anything is restored: what is restored cannot lean on what is live.
        steps.extend(placed().map(Step::Aside));
        for index in all() {
            steps.extend([Step::Restore(index), Step::Compare(index)]);
            steps.extend((!self.targets[index].key_files.is_empty()).then_some(Step::KeyFiles(index)));
        }
        steps.extend(placed().flat_map(|index| [Step::Same(index), Step::Place(index)]));
        steps.extend(all().filter(|index| self.targets[*index].live.is_none()).map(Step::Deploy));
        steps.push(Step::Start);
        steps.extend((0..self.smoke.len()).map(Step::Smoke));
        steps.extend(all().map(Step::NegativeControl));
        steps
    }

    /// The step's name in the evidence; no two steps of a plan share one.
    pub fn name(&self, step: Step) -> String {
        let of = |what: &str, index: usize| match self.targets.get(index) {
            Some(target) => format!("{what}: {}", target.kind),
            None => what.to_owned(),
        };
        match step {
            Step::Preflight => "preflight".into(),
            Step::Stop => "stop the service".into(),
            Step::FreshBackup => "fresh backup".into(),
            Step::Pick => "pick".into(),
            Step::Checksums(index) => of("checksums", index),
            Step::Verify(index) => of("verify", index),
            Step::Aside(index) => of("move the live folder aside", index),
            Step::Restore(index) => of("restore", index),
            Step::Compare(index) => of("compare with manifest", index),
            Step::KeyFiles(index) => of("key files", index),
            Step::Same(index) => of("compare with what lies aside", index),
            Step::Place(index) => of("put in place", index),
            Step::Deploy(index) => of("deploy", index),
            Step::Start => "start the service".into(),
            Step::Smoke(index) => {
                format!("smoke {}: {}", index + 1, self.smoke.get(index).map_or("?", String::as_str))
            }
            Step::NegativeControl(index) => of("negative control", index),
        }
    }

    /// Whether the time of this step is part of the recovery time: what a person would have to wait for in earnest, when
    /// there is nothing left to back up, and nothing to compare with.
    pub fn is_recovery(step: Step) -> bool {
        match step {
            Step::Stop
            | Step::Checksums(_)
            | Step::Aside(_)
            | Step::Restore(_)
            | Step::Compare(_)
            | Step::KeyFiles(_)
            | Step::Place(_)
            | Step::Deploy(_)
            | Step::Start
            | Step::Smoke(_) => true,
            Step::Preflight
            | Step::FreshBackup
            | Step::Pick
            | Step::Verify(_)
            | Step::Same(_)
            | Step::NegativeControl(_) => false,
        }
    }

    /// Whether a step must have looked at something: with nothing checked it has not passed.
    pub fn must_count(step: Step) -> bool {
        match step {
            Step::Checksums(_)
            | Step::Verify(_)
            | Step::Restore(_)
            | Step::Compare(_)
            | Step::KeyFiles(_)
            | Step::Same(_)
            | Step::NegativeControl(_) => true,
            Step::Preflight
            | Step::Stop
            | Step::FreshBackup
            | Step::Pick
            | Step::Aside(_)
            | Step::Place(_)
            | Step::Deploy(_)
            | Step::Start
            | Step::Smoke(_) => false,
        }
    }

    /// What this drill leaves unproven, in words.
    pub fn not_tested(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if !self.targets.iter().any(|target| target.kind.role == Role::Release) {
            gaps.push("redeploying the release: there is no bundle".to_owned());
        }
        if self.targets.iter().any(|target| target.live.is_none()) {
            gaps.push("taking back what `deploy` has done: it is the user's own command".to_owned());
        }
        let unkeyed = self.targets.iter().filter(|t| t.kind.role == Role::Data && t.key_files.is_empty());
        gaps.extend(unkeyed.map(|target| format!("key files of {}: none are configured", target.kind.set)));
        gaps.push("older artifacts, and what a spot drill checks in the restored release".to_owned());
        gaps
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps();
        for (number, step) in steps.iter().enumerate() {
            write!(f, "{:>3}. {}", number + 1, self.name(*step))?;
            let folder = |index: usize| self.targets[index].live.as_ref();
            match *step {
                Step::Stop => write!(f, " ({})", self.stop)?,
                Step::Start => write!(f, " ({})", self.start)?,
                Step::Deploy(_) => write!(f, " ({})", self.deploy.as_deref().unwrap_or("?"))?,
                Step::Aside(index) | Step::Place(index) => {
                    write!(
                        f,
                        " ({})",
                        folder(index).map_or_else(String::new, |path| crate::shown::show(path))
                    )?;
                }
                _ => {}
            }
            writeln!(f)?;
        }
        let last = steps.len() + 1;
        match self.keep_restored {
            true => writeln!(f, "{last:>3}. what was restored stays in place; what lies aside is kept"),
            false => writeln!(
                f,
                "{last:>3}. unless what was restored is the same byte for byte: stop, put the live folders back, start, \
                 smoke"
            ),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeSet;

    pub(in crate::drill::full) fn sample() -> Plan {
        let target = |role, set: &str, live: Option<&str>, keys: &[&str]| Target {
            kind: Kind { role, set: set.into() },
            live: live.map(PathBuf::from),
            key_files: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        Plan {
            targets: vec![
                target(Role::Release, "app", None, &[]),
                target(Role::Data, "db", Some("/srv/db"), &["key"]),
            ],
            fresh: true,
            keep_restored: false,
            stop: "stop it".into(),
            deploy: Some("put it".into()),
            start: "start it".into(),
            smoke: vec!["one".into(), "two".into()],
        }
    }

    #[test]
    fn names_are_told_apart_and_everything_is_aside_before_anything_is_restored() {
        let plan = sample();
        let steps = plan.steps();
        let names: BTreeSet<String> = steps.iter().map(|step| plan.name(*step)).collect();
        assert_eq!(names.len(), steps.len(), "{names:?}");
        let at = |step| steps.iter().position(|one| *one == step).expect("a step of the plan");
        assert!(at(Step::Stop) < at(Step::FreshBackup) && at(Step::FreshBackup) < at(Step::Aside(1)));
        assert!(at(Step::Verify(1)) < at(Step::Aside(1)) && at(Step::Aside(1)) < at(Step::Restore(0)));
        assert!(at(Step::Same(1)) < at(Step::Place(1)) && at(Step::Place(1)) < at(Step::Start));
        assert!(at(Step::Deploy(0)) < at(Step::Start) && at(Step::Start) < at(Step::Smoke(0)));
        assert!(!steps.contains(&Step::Aside(0)) && !steps.contains(&Step::Deploy(1)));
    }

    #[test]
    fn a_dry_run_names_the_commands_and_the_folders() {
        let text = sample().to_string();
        for part in
            ["(stop it)", "(start it)", "(put it)", "(/srv/db)", "smoke 2: two", "put the live folders back"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
