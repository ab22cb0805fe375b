//! Which artifacts a drill takes: the latest of each kind, and one older by rotation.
//!
//! Pure: catalogs, bundles and former records in, choices out.
use super::steps::{Kind, Pick, Planned, Role, next_in_rotation};
use crate::destination::catalog::Artifact;
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

/// The choices, and how many older artifacts were left for later drills.
#[derive(Debug)]
pub struct Choice {
    /// What is drilled, the latest of each kind before the older one.
    pub picked: Vec<(Planned, Taken)>,
    /// Older artifacts that are not drilled this time.
    pub left: usize,
}

/// What a pick has to know of a configured data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// See [`Planned::key_files`].
    pub key_files: Vec<String>,
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

/// Chooses among `bundles` and `backups`; `drilled` is when each was drilled last.
pub fn choose(
    release: &str,
    bundles: &[Bundle],
    sets: &[Set],
    backups: &[Artifact],
    drilled: &BTreeMap<String, Timestamp>,
) -> Choice {
    let mut kinds: BTreeMap<Kind, Vec<(Planned, Taken)>> = BTreeMap::new();
    for (index, bundle) in bundles.iter().enumerate() {
        let Some(planned) = of_bundle(bundle, release) else { continue };
        kinds.entry(planned.kind.clone()).or_default().push((planned, Taken::Bundle(index)));
    }
    for (index, backup) in backups.iter().enumerate() {
        if let Some(set) = owner(&backup.name.series, sets) {
            let planned = of_backup(backup, set);
            kinds.entry(planned.kind.clone()).or_default().push((planned, Taken::Backup(index)));
        }
    }
    let (mut picked, mut older) = (Vec::new(), Vec::new());
    for (_, mut of_kind) in kinds {
        of_kind.sort_by(|(a, _), (b, _)| (a.created_at, &a.file).cmp(&(b.created_at, &b.file)));
        picked.extend(of_kind.pop());
        older.extend(of_kind);
    }
    let candidates: Vec<_> = older.iter().map(|(a, _)| (a.file.clone(), a.created_at)).collect();
    if let Some(turn) = next_in_rotation(&candidates, drilled) {
        let (mut planned, taken) = older.swap_remove(turn);
        planned.pick = Pick::Older;
        picked.push((planned, taken));
    }
    Choice { picked, left: older.len() }
}

/// None for a lock without a tarball, which has nothing to bring back; for another release; and for a bundle of a working
/// tree, which is none.
fn of_bundle(bundle: &Bundle, release: &str) -> Option<Planned> {
    bundle.tarball.as_ref()?;
    // Two releases may share a folder; a lock of the shell tool has no name.
    if bundle.lock.dirty || !(bundle.lock.name.is_empty() || bundle.lock.name == release) {
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
    })
}

fn of_backup(backup: &Artifact, set: &Set) -> Planned {
    Planned {
        kind: Kind { role: Role::Data, set: set.name.clone() },
        file: backup.name.file(),
        bytes: backup.bytes,
        created_at: backup.name.time,
        pick: Pick::Latest,
        encrypted: backup.name.encrypted,
        has_manifest: backup.has_manifest,
        key_files: set.key_files.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::codec::Codec;
    use crate::destination::names::ArtifactName;

    fn set(name: &str) -> Set {
        Set { name: name.into(), key_files: vec!["k".into()] }
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

    #[test]
    fn the_latest_of_each_set_and_one_older() {
        let sets = [set("db"), set("db-logs")];
        let backups = [
            backup("db", 1),
            backup("db", 3),
            backup("db-logs", 2),
            backup("db-logs-nightly", 4),
            backup("stranger", 9),
        ];
        let choice = choose("app", &[], &sets, &backups, &BTreeMap::new());
        let files: Vec<_> =
            choice.picked.iter().map(|(p, taken)| (p.kind.set.as_str(), p.pick, *taken)).collect();
        assert_eq!(
            files,
            [
                ("db", Pick::Latest, Taken::Backup(1)),
                ("db-logs", Pick::Latest, Taken::Backup(3)),
                ("db", Pick::Older, Taken::Backup(0)),
            ]
        );
        assert_eq!(choice.left, 1);
        let drilled = [(backups[0].name.file(), Timestamp::UNIX_EPOCH)].into();
        let choice = choose("app", &[], &sets, &backups, &drilled);
        assert_eq!(choice.picked[2].1, Taken::Backup(2), "the other one has its turn");
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
}
