//! Which artifacts a drill takes: of each kind the latest, and one older by rotation.
//!
//! Pure: catalogs, bundles and former records in, choices out.
use super::demands::{Demands, Published};
use super::rotation::{Past, Retained, Stock};
use super::steps::{Kind, Pick, Planned, Role};
use crate::destination::catalog::Artifact;
use crate::destination::known::Canary;
use crate::destination::release_lock::ReleaseLock;
use crate::destination::releases::Bundle;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What was taken: the index in the list it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Into the bundles.
    Bundle(usize),
    /// Into the backups.
    Backup(usize),
}

/// The choices, and what they were chosen from.
#[derive(Debug)]
pub struct Choice {
    /// What is drilled, the latest of all kinds before the older ones.
    pub picked: Vec<(Planned, Taken)>,
    /// Older artifacts that are not drilled this time.
    pub left: usize,
    /// All that is retained, by kind.
    pub stock: Vec<Stock>,
}

/// What a pick has to know of a configured data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// See [`Planned::key_files`].
    pub key_files: Vec<String>,
    /// In how many parts its artifacts are drilled: 1 for all at once.
    pub parts: u32,
    /// Whether its latest backup has a canary to show.
    pub canary: bool,
}

/// What else is known, beside what is retained.
pub struct Known<'a> {
    /// Former drills.
    pub past: &'a Past,
    /// When the run began.
    pub now: Timestamp,
    /// The canary of a backup, by the path of its archive.
    pub canary: &'a dyn Fn(&Artifact) -> Option<Canary>,
    /// The destinations that have a copy of a backup, as they are configured.
    pub copies: &'a dyn Fn(&Artifact) -> Vec<String>,
    /// The machine that a backup is fetched from, if it is another.
    pub far: &'a dyn Fn(&Artifact) -> Option<String>,
    /// Whether bundles hold more than their commits (`include`): then that makes none of them another's.
    pub staged: bool,
    /// Whether the repository has what a bundle was made of: its commit, and those of the submodules in it.
    pub has_commit: &'a dyn Fn(&ReleaseLock) -> bool,
}

/// The data set that a series belongs to: a series is named after its set, with an optional suffix. Where
/// one set's name begins with another's, the longer one has it.
pub fn owner<'a>(series: &str, sets: &'a [Set]) -> Option<&'a Set> {
    sets.iter()
        .filter(|set| {
            let rest = series.strip_prefix(set.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
        .max_by_key(|set| set.name.len())
}

/// Chooses among `bundles` and `backups`.
pub fn choose(
    release: &str,
    bundles: &[Bundle],
    sets: &[Set],
    backups: &[Artifact],
    known: &Known<'_>,
) -> Choice {
    let mut kinds: BTreeMap<Kind, Vec<Candidate<'_>>> = BTreeMap::new();
    for (index, bundle) in bundles.iter().enumerate() {
        let Some(planned) = of_bundle(bundle, release, known) else { continue };
        let kind = planned.kind.clone();
        let taken = Taken::Bundle(index);
        kinds.entry(kind).or_default().push(Candidate { planned, taken, set: None, copies: vec![] });
    }
    for (index, backup) in backups.iter().enumerate() {
        if let Some(set) = owner(&backup.name.series, sets) {
            let planned = of_backup(backup, set, known);
            let kind = planned.kind.clone();
            let taken = Taken::Backup(index);
            let copies = Some((known.copies)(backup)).filter(|copies| copies.len() > 1).unwrap_or_default();
            kinds.entry(kind).or_default().push(Candidate { planned, taken, set: Some(set), copies });
        }
    }
    let (mut latest, mut older, mut stock, mut left) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (kind, mut of_kind) in kinds {
        of_kind.sort_by(|a, b| a.age().cmp(&b.age()));
        let Some(newest) = of_kind.pop() else { continue };
        let kept: Vec<Retained> = of_kind.iter().map(Candidate::retained).collect();
        let turn = known.past.queue(&kept, known.now).into_iter().next();
        stock.push(Stock { kind, latest: newest.retained(), older: kept });
        left += of_kind.len() - usize::from(turn.is_some());
        let demanded = newest.set.is_some_and(|set| set.canary);
        let mut newest = newest.picked(Pick::Latest, known);
        // Of an older one there may be nothing left to compare it with.
        newest.0.demands.canary = newest.0.demands.canary.filter(|_| demanded);
        latest.push(newest);
        older.extend(turn.map(|index| {
            let mut one = of_kind.swap_remove(index).picked(Pick::Older, known);
            one.0.demands.canary = None;
            one
        }));
    }
    latest.extend(older);
    Choice { picked: latest, left, stock }
}

/// An artifact that may be drilled.
struct Candidate<'a> {
    planned: Planned,
    taken: Taken,
    set: Option<&'a Set>,
    /// Destinations, where several have it.
    copies: Vec<String>,
}

impl Candidate<'_> {
    fn age(&self) -> (Timestamp, &str) {
        (self.planned.created_at, &self.planned.file)
    }

    /// Without a manifest nobody can tell which part of it is where.
    fn parts(&self) -> u32 {
        self.set.filter(|_| self.planned.has_manifest).map_or(1, |set| set.parts.max(1))
    }

    fn retained(&self) -> Retained {
        let Planned { file, created_at, .. } = &self.planned;
        let copies = self.copies.clone();
        Retained { file: file.clone(), created_at: *created_at, parts: self.parts(), copies }
    }

    fn picked(self, pick: Pick, known: &Known<'_>) -> (Planned, Taken) {
        let parts = self.parts();
        let mut planned = self.planned;
        planned.pick = pick;
        planned.demands.sample =
            (parts > 1).then(|| known.past.share(&planned.kind, &planned.file, pick, parts));
        let artifact = (&planned.kind, &*planned.file);
        planned.demands.copy = known.past.copy(artifact, pick, planned.demands.sample, &self.copies);
        (planned, self.taken)
    }
}

/// None for a lock without a tarball, which has nothing to bring back; for another release; and for a bundle of a working
/// tree, which is none, unless all are.
fn of_bundle(bundle: &Bundle, release: &str, known: &Known<'_>) -> Option<Planned> {
    bundle.tarball.as_ref()?;
    // Two releases may share a folder; a lock of the shell tool may have no name.
    if bundle.lock.dirty && !known.staged || bundle.release().is_some_and(|other| other != release) {
        return None;
    }
    Some(Planned {
        kind: Kind { role: Role::Release, set: release.into() },
        file: bundle.lock.tarball.clone()?,
        bytes: bundle.bytes,
        created_at: bundle.lock.time()?,
        pick: Pick::Latest,
        encrypted: false,
        has_manifest: bundle.manifest.is_some(),
        key_files: vec![],
        demands: Demands {
            commit: bundle
                .lock
                .git_commit
                .clone()
                .filter(|_| !bundle.lock.dirty && (known.has_commit)(&bundle.lock)),
            staged: bundle.lock.dirty,
            published: bundle.lock.release_url.as_deref().and_then(Published::at),
            ..Demands::default()
        },
    })
}

fn of_backup(backup: &Artifact, set: &Set, known: &Known<'_>) -> Planned {
    Planned {
        kind: Kind { role: Role::Data, set: set.name.clone() },
        file: backup.name.file(),
        bytes: backup.bytes,
        created_at: backup.name.time,
        pick: Pick::Latest,
        encrypted: backup.name.encrypted,
        has_manifest: backup.has_manifest,
        key_files: set.key_files.clone(),
        demands: Demands { far: (known.far)(backup), canary: (known.canary)(backup), ..Demands::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::codec::Codec;
    use crate::destination::names::ArtifactName;

    fn set(name: &str) -> Set {
        Set { name: name.into(), key_files: vec!["k".into()], parts: 1, canary: false }
    }

    fn backup(series: &str, day: u8) -> Artifact {
        let time = format!("2026-03-{day:02}T00:00:00Z").parse().expect("a time");
        let name = ArtifactName { series: series.into(), time, codec: Codec::Gzip, encrypted: false };
        Artifact {
            archive: name.file().into(),
            manifest: "m".into(),
            marker: "s".into(),
            bytes: 1,
            archive_bytes: 1,
            has_manifest: true,
            pinned: false,
            name,
        }
    }

    fn known<'a>(past: &'a Past) -> Known<'a> {
        let canary = &|backup: &Artifact| {
            let sha256 = backup.name.file();
            Some(Canary { path: "c".into(), sha256 })
        };
        let now = "2026-04-01T00:00:00Z".parse().expect("a time");
        Known {
            past,
            now,
            canary,
            copies: &|_| vec![],
            far: &|_| None,
            staged: false,
            has_commit: &|_| false,
        }
    }

    #[test]
    fn the_latest_of_each_set_and_one_older_of_each() {
        let sets = [set("db"), set("db-logs")];
        let backups = [
            backup("db", 1),
            backup("db", 3),
            backup("db", 2),
            backup("db-logs", 2),
            backup("db-logs-nightly", 4),
            backup("stranger", 9),
        ];
        let mut past = Past::default();
        let choice = choose("app", &[], &sets, &backups, &known(&past));
        let taken = |choice: &Choice| -> Vec<(String, Pick, Taken)> {
            choice.picked.iter().map(|(p, taken)| (p.kind.set.clone(), p.pick, *taken)).collect()
        };
        let one = |set: &str, pick, index| (set.to_owned(), pick, Taken::Backup(index));
        assert_eq!(
            taken(&choice),
            [
                one("db", Pick::Latest, 1),
                one("db-logs", Pick::Latest, 4),
                one("db", Pick::Older, 0),
                one("db-logs", Pick::Older, 3),
            ]
        );
        assert_eq!((choice.left, choice.stock.len()), (1, 2));
        let took = |(planned, _): &(Planned, Taken)| super::super::rotation::Took {
            kind: planned.kind.clone(),
            file: planned.file.clone(),
            pick: planned.pick,
            copy: planned.demands.copy.clone(),
            part: None,
            proven: true,
        };
        past.add("2026-03-20T00:00:00Z".parse().expect("a time"), choice.picked.iter().map(took).collect());
        let choice = choose("app", &[], &sets, &backups, &known(&past));
        assert_eq!(choice.picked[2].1, Taken::Backup(2), "the other one has its turn");
    }

    /// Two drives hold all that there is: in two drills the latest comes from each, in four each older one.
    #[test]
    fn every_copy_has_its_turn() {
        let sets = [set("db")];
        let backups = [backup("db", 1), backup("db", 2), backup("db", 3)];
        let mut past = Past::default();
        let mut taken = Vec::new();
        for day in 10..14 {
            let known = Known { copies: &|_| vec!["a".into(), "b".into()], ..known(&past) };
            let choice = choose("app", &[], &sets, &backups, &known);
            let took = |(planned, _): &(Planned, Taken)| super::super::rotation::Took {
                kind: planned.kind.clone(),
                file: planned.file.clone(),
                pick: planned.pick,
                copy: planned.demands.copy.clone(),
                part: None,
                proven: true,
            };
            let took: Vec<_> = choice.picked.iter().map(took).collect();
            taken.extend(took.iter().map(|took| (took.file.clone(), took.copy.clone().expect("a copy"))));
            let last = past.coverage(&choice.stock[0], known_now());
            assert_eq!(last.copies.len(), 2, "{last:?}");
            past.add(format!("2026-03-{day}T00:00:00Z").parse().expect("a time"), took);
        }
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 6, "{taken:?}");
        let choice = choose(
            "app",
            &[],
            &sets,
            &backups,
            &Known { copies: &|_| vec!["a".into(), "b".into()], ..known(&past) },
        );
        let covered = past.coverage(&choice.stock[0], known_now()).to_string();
        assert!(covered.ends_with("; of the copies 3 of 3 at a, 3 of 3 at b covered"), "{covered}");
    }

    fn known_now() -> Timestamp {
        "2026-04-01T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_set_in_parts_is_drilled_in_shares_where_a_manifest_tells_them() {
        let (mut sets, mut backups) = ([set("db")], [backup("db", 1), backup("db", 2)]);
        sets[0].parts = 20;
        backups[0].has_manifest = false;
        let past = Past::default();
        let choice = choose("app", &[], &sets, &backups, &known(&past));
        let share = choice.picked[0].0.demands.sample.expect("a share");
        assert_eq!((share.number, share.of), (1, 20));
        assert_eq!(choice.picked[1].0.demands.sample, None);
        assert_eq!((choice.stock[0].latest.parts, choice.stock[0].older[0].parts), (20, 1));
    }

    #[test]
    fn the_latest_alone_shows_its_canary_and_only_where_one_is_configured() {
        let (mut sets, backups) = ([set("db")], [backup("db", 1), backup("db", 2)]);
        let past = Past::default();
        for configured in [true, false] {
            sets[0].canary = configured;
            let choice = choose("app", &[], &sets, &backups, &known(&past));
            assert_eq!(choice.picked[0].0.demands.canary.is_some(), configured);
            assert_eq!(choice.picked[1].0.demands.canary, None);
        }
    }

    #[test]
    fn the_longest_set_name_owns_a_series() {
        let sets = [set("db"), set("db-logs")];
        let name = |series| owner(series, &sets).map(|set| set.name.as_str());
        assert_eq!(name("db"), Some("db"));
        assert_eq!(name("db-pre"), Some("db"));
        assert_eq!(name("db-logs-pre"), Some("db-logs"));
        assert_eq!(name("dbx"), None);
    }

    fn bundle(lock: &str) -> Bundle {
        let lock = format!("{{\"created_at\": \"2026-03-01T00:00:00Z\", \"version\": \"v1\", {lock}}}");
        let lock = serde_json::from_str(&lock).expect("a lock");
        Bundle {
            lock,
            lock_path: "l".into(),
            tarball: Some("t".into()),
            manifest: Some("m".into()),
            bytes: 7,
        }
    }

    #[test]
    fn a_bundle_of_this_release_is_taken_with_what_its_lock_says() {
        let past = Past::default();
        let known = Known { has_commit: &|lock| lock.git_commit.as_deref() == Some("1a2b"), ..known(&past) };
        let url = "https://github.com/acme/app/releases/tag/v1";
        let lock = format!("\"tarball\": \"a.tar.gz\", \"release_url\": \"{url}\"");
        let taken = |more: &str| of_bundle(&bundle(&format!("{lock}{more}")), "app", &known);
        for name in ["", ", \"name\": \"\"", ", \"name\": \"app\""] {
            let planned = taken(name).expect(name);
            assert_eq!((&*planned.file, planned.bytes, planned.has_manifest), ("a.tar.gz", 7, true));
            assert_eq!(planned.demands.published, Published::at(url));
        }
        for other in [", \"name\": \"web\"", ", \"name\": \"app\", \"dirty\": true", ", \"dirty\": true"] {
            assert_eq!(taken(other), None, "{other}");
        }
        let staged = Known { staged: true, has_commit: &|_| true, ..known };
        let dirty = bundle(&format!("{lock}, \"git_commit\": \"1a2b\", \"dirty\": true"));
        let planned = of_bundle(&dirty, "app", &staged).expect("all are");
        assert_eq!(planned.demands.commit, None, "it holds more than that");
        let commit =
            |commit: &str| taken(&format!(", \"git_commit\": \"{commit}\"")).expect("taken").demands.commit;
        assert_eq!((commit("1a2b").as_deref(), commit("3c4d")), (Some("1a2b"), None));
        let gone = Bundle { tarball: None, ..bundle(&lock) };
        assert_eq!(of_bundle(&gone, "app", &known), None);
    }

    #[test]
    fn one_copy_is_no_choice_and_a_far_one_is_fetched() {
        let (sets, backups) = ([set("db")], [backup("db", 1)]);
        let past = Past::default();
        let known = Known { copies: &|_| vec!["a".into()], far: &|_| Some("box".into()), ..known(&past) };
        let choice = choose("app", &[], &sets, &backups, &known);
        assert!(choice.stock[0].latest.copies.is_empty());
        assert_eq!(choice.picked[0].0.demands.far.as_deref(), Some("box"));
    }
}
