//! Whose turn it is: the order in which older artifacts are drilled, which share of a sampled one, and how much of what is
//! retained the drills on record have covered.
//!
//! Pure: former records and what is retained in, turns and numbers out. A queue without replacement: whatever is drilled
//! goes to its end, and so does what is new. With so many older artifacts each that stays has its turn within as many
//! drills, whatever is pruned or made meanwhile. Drills are counted in the order of their chain, not by the clock.
use super::demands::Share;
use super::evidence::Verdict;
use super::evidence::chain::{Stored, chained};
use super::evidence::coverage::{CopyCoverage, Coverage, Part};
use super::steps::{Kind, Pick};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An artifact that is retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Bare file name.
    pub file: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// In how many parts it is drilled: 1 for all of it at once.
    pub parts: u32,
    /// The destinations that have a copy, where these are several.
    pub copies: Vec<String>,
}

/// What is retained of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// The release, or a data set.
    pub kind: Kind,
    /// The newest.
    pub latest: Retained,
    /// All others.
    pub older: Vec<Retained>,
}

/// An artifact that a drill has taken.
#[derive(Debug, Clone)]
pub struct Took {
    /// Of which kind.
    pub kind: Kind,
    /// Bare file name.
    pub file: String,
    /// Newest or older, as it was then.
    pub pick: Pick,
    /// The destination whose copy it was, where several had one.
    pub copy: Option<String>,
    /// What of it; `None` for all.
    pub part: Option<Part>,
    /// Whether that came back.
    pub proven: bool,
}

/// The drills that ran, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Past {
    drills: Vec<(Timestamp, Vec<Took>)>,
}

impl Past {
    /// Of the records of all drills, in the order of their chain.
    pub fn of(records: &[Stored]) -> Self {
        let mut past = Self::default();
        for record in chained(records.iter().collect()) {
            let evidence = &record.evidence;
            if evidence.result == Verdict::CouldNotRun {
                continue;
            }
            let took = evidence.artifacts.iter().map(|artifact| Took {
                kind: Kind { role: artifact.role, set: artifact.set.clone() },
                file: artifact.path.clone(),
                pick: artifact.pick,
                copy: artifact.copy.clone(),
                part: artifact.part.clone(),
                // Older records say it of the drill as a whole.
                proven: artifact.proven.unwrap_or(evidence.result == Verdict::Verified),
            });
            past.add(evidence.started_at, took.collect());
        }
        past
    }

    /// One more.
    pub fn add(&mut self, at: Timestamp, took: Vec<Took>) {
        self.drills.push((at, took));
    }

    /// The older artifacts by their turn: indices, the next one first.
    pub fn queue(&self, older: &[Retained], now: Timestamp) -> Vec<usize> {
        let mut queue: Vec<usize> = (0..older.len()).collect();
        queue.sort_by_cached_key(|index| {
            let Retained { file, created_at, .. } = &older[*index];
            (self.turn(file, *created_at, now), *created_at, file.clone())
        });
        queue
    }

    /// Behind the drill that took it last; else in front of the first drill that began after it was made. What is dated
    /// in the future would never have its turn, and so has it at once.
    fn turn(&self, file: &str, created_at: Timestamp, now: Timestamp) -> (usize, bool) {
        let took = |(_, took): &(Timestamp, Vec<Took>)| took.iter().any(|took| took.file == file);
        if let Some(last) = self.drills.iter().rposition(took) {
            return (last, true);
        }
        if created_at > now {
            return (0, false);
        }
        let first = self.drills.iter().position(|(at, _)| *at >= created_at);
        (first.unwrap_or(self.drills.len()), false)
    }

    /// Every taking of an artifact, the oldest first.
    fn takings<'a>(&'a self, file: &'a str) -> impl Iterator<Item = (Timestamp, &'a Took)> {
        let of_drill = move |(at, took): &'a (Timestamp, Vec<Took>)| {
            took.iter().filter(move |took| took.file == file).map(move |took| (*at, took))
        };
        self.drills.iter().flat_map(of_drill)
    }

    /// When each part of an artifact was covered last, of so many parts; of its copy at one destination, if one is named. A
    /// later drill that did not prove it takes that back.
    fn parts(&self, file: &str, of: u32, copy: Option<&str>) -> BTreeMap<u32, Timestamp> {
        let mut covered = BTreeMap::new();
        let here = |took: &Took| copy.is_none() || took.copy.as_deref() == copy;
        for (at, took) in self.takings(file).filter(|(_, took)| here(took)) {
            let numbers: Vec<u32> = match &took.part {
                None => (1..=of).collect(),
                Some(part) if part.of == of => part.numbers.clone(),
                Some(_) => continue,
            };
            match took.proven {
                true => covered.extend(numbers.into_iter().map(|number| (number, at))),
                false => covered.retain(|number, _| !numbers.contains(number)),
            }
        }
        covered
    }

    /// How many of so many parts of an artifact are covered; of its copy at one destination, if one is named.
    pub fn parts_covered(&self, file: &str, of: u32, copy: Option<&str>) -> u32 {
        self.parts(file, of, copy).len() as u32
    }

    /// Since when every byte of an artifact is covered; `None` where it is not. Of its copy at one destination, if one is
    /// named.
    pub fn covered_since(&self, file: &str, copy: Option<&str>) -> Option<Timestamp> {
        let kinds: BTreeSet<u32> =
            self.takings(file).map(|(_, took)| took.part.as_ref().map_or(1, |part| part.of)).collect();
        let whole = |of: u32| {
            let parts = self.parts(file, of, copy);
            (parts.len() as u32 >= of).then(|| parts.into_values().min()).flatten()
        };
        kinds.into_iter().filter_map(whole).max()
    }

    /// Which share of an artifact has its turn: the next that was not covered yet. The shares of the latest go on from
    /// those of the latest before it, so that each has its turn though no latest stays for long.
    pub fn share(&self, kind: &Kind, file: &str, pick: Pick, of: u32) -> Share {
        let covered = self.parts(file, of, None);
        let same = |took: &&Took| match pick {
            Pick::Latest => took.kind == *kind && took.pick == Pick::Latest,
            Pick::Older => took.file == file,
        };
        let all = self.drills.iter().rev().flat_map(|(_, took)| took.iter().filter(same));
        let mut parts = all.filter_map(|took| took.part.as_ref()).filter(|part| part.of == of);
        let last = parts.find_map(|part| part.numbers.last().copied()).unwrap_or(0);
        let mut turns = (0..of).map(|step| (last + step) % of + 1);
        let next = turns.find(|number| !covered.contains_key(number)).unwrap_or(last % of + 1);
        Share { number: next, of }
    }

    /// Which of its copies has its turn: the one that was taken longest ago, of this artifact (and this share of it) first,
    /// then of whatever was the latest, or the older one, of its kind. `None` where it has no several copies.
    pub fn copy(
        &self,
        (kind, file): (&Kind, &str),
        pick: Pick,
        share: Option<Share>,
        copies: &[String],
    ) -> Option<String> {
        let last =
            |here: &dyn Fn(&Took) -> bool| self.drills.iter().rposition(|(_, took)| took.iter().any(here));
        let turn = |copy: &&String| {
            let of_copy = |took: &Took| took.copy.as_ref() == Some(*copy);
            let shared = |took: &Took| match (&took.part, share) {
                (Some(part), Some(share)) => part.of == share.of && part.numbers.contains(&share.number),
                _ => true,
            };
            let of_file = |took: &Took| of_copy(took) && took.file == file;
            let of_kind = |took: &Took| of_copy(took) && took.kind == *kind && took.pick == pick;
            [
                last(&|took| of_file(took) && shared(took)),
                last(&|took| of_kind(took) && shared(took)),
                last(&of_file),
                last(&of_kind),
            ]
        };
        // Of equal ones the first that is configured.
        copies.iter().filter(|_| copies.len() > 1).min_by_key(turn).cloned()
    }

    /// What is covered of the copies at each destination.
    fn copies_covered(&self, stock: &Stock) -> Vec<CopyCoverage> {
        let mut found: Vec<CopyCoverage> = Vec::new();
        for one in std::iter::once(&stock.latest).chain(&stock.older) {
            for destination in &one.copies {
                let covered = u32::from(self.covered_since(&one.file, Some(destination)).is_some());
                match found.iter_mut().find(|copy| copy.destination == *destination) {
                    Some(copy) => {
                        copy.retained += 1;
                        copy.covered += covered;
                    }
                    None => {
                        found.push(CopyCoverage { destination: destination.clone(), retained: 1, covered })
                    }
                }
            }
        }
        found
    }

    /// What is covered of a kind.
    pub fn coverage(&self, stock: &Stock, now: Timestamp) -> Coverage {
        let all = || std::iter::once(&stock.latest).chain(&stock.older);
        let since: Vec<Option<Timestamp>> = all().map(|one| self.covered_since(&one.file, None)).collect();
        let turns = (stock.older.len() as u32).max(1);
        let parts = all().map(|one| one.parts.max(1)).max().unwrap_or(1);
        Coverage {
            role: stock.kind.role,
            set: stock.kind.set.clone(),
            retained: since.len() as u32,
            covered: since.iter().flatten().count() as u32,
            covered_since: since
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .and_then(|all| all.into_iter().min().map(|time| time.to_string())),
            every_artifact_in: turns,
            every_byte_in: turns * parts,
            drills_needed: self.needed(stock, now),
            copies: self.copies_covered(stock),
        }
    }

    /// Drills until every byte is covered, one older artifact and the latest each.
    fn needed(&self, stock: &Stock, now: Timestamp) -> u32 {
        let missing = |one: &Retained| match self.covered_since(&one.file, None) {
            Some(_) => 0,
            None => one.parts.max(1).saturating_sub(self.parts_covered(&one.file, one.parts.max(1), None)),
        };
        let queue = self.queue(&stock.older, now);
        let mut queue: VecDeque<u32> = queue.into_iter().map(|index| missing(&stock.older[index])).collect();
        let (mut drills, mut open) = (0, queue.iter().filter(|parts| **parts > 0).count());
        while open > 0 {
            let Some(parts) = queue.pop_front() else { break };
            open -= usize::from(parts == 1);
            queue.push_back(parts.saturating_sub(1));
            drills += 1;
        }
        drills.max(missing(&stock.latest))
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
