//! The copies of backups at several destinations on this machine: which there are, and which of them a drill takes.
use super::pick::Choice;
use super::steps::Planned;
use crate::destination::catalog::Artifact;
use crate::destination::known::Known;
use std::collections::{BTreeMap, BTreeSet};

/// By bare file name, each destination that has it, as they are configured.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<String, Vec<(String, Artifact)>>);

impl Copies {
    pub(super) fn add(&mut self, destination: &str, artifact: &Artifact) {
        self.0.entry(artifact.name.file()).or_default().push((destination.to_owned(), artifact.clone()));
    }

    fn of(&self, file: &str) -> impl Iterator<Item = &(String, Artifact)> {
        self.0.get(file).into_iter().flatten()
    }

    /// Every copy of a backup; itself, where it lies on another machine.
    pub(super) fn all<'a>(&'a self, backup: &'a Artifact) -> impl Iterator<Item = &'a Artifact> {
        let file = backup.name.file();
        let alone = (!self.0.contains_key(&file)).then_some(backup);
        self.0.get(&file).into_iter().flatten().map(|(_, copy)| copy).chain(alone)
    }

    /// Leaves of these those that count for this repository: where it remembers making any of a series, another's do not, as
    /// in `restore`.
    pub(super) fn keep_ours(&self, known: &Known, backups: &mut Vec<Artifact>) {
        let own = |backup: &Artifact| self.all(backup).any(|copy| known.is_on_record(copy));
        let of_own = backups.iter().filter(|backup| own(backup)).map(|backup| backup.name.series.clone());
        let series: BTreeSet<String> = of_own.collect();
        backups.retain(|backup| !series.contains(&backup.name.series) || own(backup));
    }

    /// The destinations that have it.
    pub(super) fn destinations(&self, backup: &Artifact) -> Vec<String> {
        self.of(&backup.name.file()).map(|(destination, _)| destination.clone()).collect()
    }

    /// The copy that a drill takes; `first`, where there is no choice.
    pub(super) fn taken<'a>(&'a self, planned: &Planned, first: &'a Artifact) -> &'a Artifact {
        let chosen = self.of(&planned.file).find(|(name, _)| Some(name) == planned.demands.copy.as_ref());
        chosen.map_or(first, |(_, copy)| copy)
    }

    /// Which copies of what is drilled are not, in words.
    pub(super) fn passed_over(&self, choice: &Choice) -> Vec<String> {
        let mut passed = Vec::new();
        for (planned, _) in &choice.picked {
            let Some(taken) = &planned.demands.copy else { continue };
            let others = self.of(&planned.file).filter(|(other, _)| other != taken);
            passed.extend(others.map(|(other, _)| format!("the copy of {} at {other}", planned.file)));
        }
        passed
    }
}
