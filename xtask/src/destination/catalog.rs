//! What backups a destination holds, by name and marker alone: no content is read.
use super::names::ArtifactName;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use jiff::civil::Date;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A complete backup: it has its marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Series, time, container.
    pub name: ArtifactName,
    /// The archive.
    pub archive: PathBuf,
    /// Where its manifest is, or would be.
    pub manifest: PathBuf,
    /// The marker.
    pub marker: PathBuf,
    /// Bytes of the three together.
    pub bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Whether the manifest is there.
    pub has_manifest: bool,
    /// Whether a file named like the archive with `.keep` behind it lies there: it is never pruned.
    pub pinned: bool,
}

impl Artifact {
    /// What a backup of this name will be at a destination; no bytes yet.
    pub fn planned(destination: &Path, name: ArtifactName) -> Self {
        let day = destination.join(name.folder());
        Self {
            archive: day.join(name.file()),
            manifest: day.join(name.manifest()),
            marker: day.join(name.marker()),
            bytes: 0,
            archive_bytes: 0,
            has_manifest: true,
            pinned: false,
            name,
        }
    }
}

/// Everything at a destination.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By series, then time.
    pub complete: Vec<Artifact>,
    /// Archives and manifests that never got a marker, and what a copy to another machine left of them.
    pub incomplete: Vec<PathBuf>,
    /// Bytes of these, as far as they can be told.
    pub incomplete_bytes: u64,
    /// Markers whose archive is gone, and the manifests of these.
    pub orphans: Vec<PathBuf>,
    /// What the shell tool before this one has made, in folders `YYYY-MM-DD`, by series, then time: listed, verified and
    /// restored, and never counted or pruned.
    pub shell: Vec<Artifact>,
    /// Archives of the shell tool without a `.sha256` that can be read: no backups, as far as anything can tell.
    pub undigested: Vec<PathBuf>,
    /// Markers whose archive is gone, backups without their manifest.
    pub findings: Vec<Finding>,
}

impl Catalog {
    /// Backups of one series, oldest first.
    pub fn series<'a>(&'a self, series: &'a str) -> impl DoubleEndedIterator<Item = &'a Artifact> {
        self.complete.iter().filter(move |artifact| artifact.name.series == series)
    }

    /// Bytes of all backups, the shell tool's too, and of what never became one.
    pub fn used(&self) -> u64 {
        let backups = self.complete.iter().chain(&self.shell).map(|artifact| artifact.bytes);
        backups.sum::<u64>() + self.incomplete_bytes
    }

    /// Lists a file of a `day` that belongs to no complete backup.
    fn leave(&mut self, day: &Path, file: &str, files: &BTreeMap<String, Option<u64>>) {
        self.incomplete.push(day.join(file));
        self.incomplete_bytes += files.get(file).copied().flatten().unwrap_or(0);
    }

    /// The archives, as they are shown.
    pub fn archives(&self) -> HashSet<String> {
        self.complete.iter().map(|artifact| show(&artifact.archive)).collect()
    }

    /// The newest of a series that is not younger than `at`; the newest of all without.
    pub fn latest<'a>(&'a self, series: &'a str, at: Option<Timestamp>) -> Option<&'a Artifact> {
        self.series(series).rev().find(|artifact| at.is_none_or(|at| artifact.name.time <= at))
    }
}

/// Lists the `YYYY/MM-DD` folders of a destination. A destination that does not exist yet holds nothing.
///
/// # Errors
/// When a folder cannot be read.
pub fn scan(destination: &Path) -> Result<Catalog> {
    let mut days = BTreeMap::new();
    for year in folders(destination, 4)? {
        for day in folders(&year, 5)? {
            days.insert(day.clone(), files(&day)?);
        }
    }
    let mut catalog = listing(days);
    for day in folders(destination, 10)?.into_iter().filter(|day| is_day(day)) {
        list_shell_day(&day, &files(&day)?, &mut catalog);
    }
    catalog.shell.sort_by(by_series_and_time);
    Ok(catalog)
}

/// The files of a folder and their lengths. A folder is no backup, whatever its name; what cannot be looked at may be one.
fn files(day: &Path) -> Result<BTreeMap<String, Option<u64>>> {
    let length = |name: String| match fs::metadata(day.join(&name)) {
        Ok(meta) => (!meta.is_dir()).then_some((name, Some(meta.len()))),
        Err(_) => Some((name, None)),
    };
    Ok(names(day)?.into_iter().filter_map(length).collect())
}

fn by_series_and_time(a: &Artifact, b: &Artifact) -> std::cmp::Ordering {
    (&a.name.series, a.name.time).cmp(&(&b.name.series, b.name.time))
}

/// Whether an archive lies where the shell tool before this one has put its backups: in a folder `YYYY-MM-DD`.
pub fn is_of_shell(archive: &Path) -> bool {
    archive.parent().is_some_and(is_day)
}

fn is_day(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 10 && name.parse::<Date>().is_ok()
}

/// The catalogue of these files: by day, by name, with their lengths in bytes where they can be read.
pub fn listing(days: BTreeMap<PathBuf, BTreeMap<String, Option<u64>>>) -> Catalog {
    let mut catalog = Catalog::default();
    for (day, files) in &days {
        list_day(day, files, &mut catalog);
    }
    catalog.complete.sort_by(by_series_and_time);
    catalog
}

/// Which backup a file without a marker would have become.
pub fn unfinished(path: &Path) -> Option<ArtifactName> {
    let file = path.file_name()?.to_str()?;
    let named = |file: &str| ArtifactName::parse(&file.replace(".manifest.jsonl.", ".tar."));
    named(file).or_else(|| named(arriving(file)?))
}

/// Of a name that a file has while it is copied to another machine, the archive or manifest it is about: a marker that is
/// not complete yet, or what rsync calls `.NAME.` and six letters.
fn arriving(file: &str) -> Option<&str> {
    let temporary = || {
        let (name, letters) = file.strip_prefix('.')?.rsplit_once('.')?;
        (letters.len() == 6 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
    };
    file.strip_suffix(".sha256.part").or_else(temporary)
}

/// Sub-folders whose names are this long and made of digits and dashes.
fn folders(path: &Path, len: usize) -> Result<Vec<PathBuf>> {
    let named = |name: &str| name.len() == len && name.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    Ok(names(path)?
        .into_iter()
        .filter(|name| named(name))
        .map(|name| path.join(name))
        .filter(|p| p.is_dir())
        .collect())
}

/// The names of what a folder holds that are UTF-8, sorted; a folder that is not there holds nothing.
///
/// # Errors
/// When it cannot be read.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", path))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn list_day(day: &Path, files: &BTreeMap<String, Option<u64>>, catalog: &mut Catalog) {
    let mut known: HashSet<String> = HashSet::new();
    for file in files.keys() {
        let Some(name) = ArtifactName::parse(file) else { continue };
        let (manifest, marker) = (name.manifest(), name.marker());
        known.extend([file.clone(), manifest.clone(), marker.clone()]);
        let has_manifest = files.contains_key(&manifest);
        if !files.contains_key(&marker) {
            catalog.leave(day, file, files);
            if has_manifest {
                catalog.leave(day, &manifest, files);
            }
            continue;
        }
        let parts = [file, &marker, &manifest];
        let lengths = parts.into_iter().filter_map(|part| files.get(part).copied());
        let (Some(bytes), Some(Some(archive_bytes))) = (lengths.sum::<Option<u64>>(), files.get(file)) else {
            let what = "cannot be read, or its manifest or marker cannot";
            catalog.findings.push(Finding::error(show(&day.join(file)), what, "see what lies there"));
            continue;
        };
        if !has_manifest {
            let repair = "it restores if it is whole; single entries cannot be compared";
            catalog.findings.push(Finding::warning(show(&day.join(file)), "has lost its manifest", repair));
        }
        catalog.complete.push(Artifact {
            archive: day.join(file),
            manifest: day.join(&manifest),
            marker: day.join(&marker),
            bytes,
            archive_bytes: *archive_bytes,
            has_manifest,
            pinned: files.contains_key(&format!("{file}.keep")),
            name,
        });
    }
    let orphans: Vec<(&String, &str, ArtifactName)> = files
        .keys()
        .filter(|file| !known.contains(*file))
        .filter_map(|file| {
            let archive = file.strip_suffix(".sha256")?;
            Some((file, archive, ArtifactName::parse(archive)?))
        })
        .collect();
    for (file, archive, name) in orphans {
        let what = format!("is the marker of {archive}, which is gone");
        let repair = "bring that file back from another copy; where it is lost for good, `cargo xtask prune --forget-lost` \
                      removes what is left of it";
        catalog.findings.push(Finding::error(show(&day.join(file)), what, repair));
        let manifest = name.manifest();
        catalog.orphans.push(day.join(file));
        catalog.orphans.extend(files.contains_key(&manifest).then(|| day.join(&manifest)));
        known.extend([file.clone(), manifest]);
    }
    for file in files.keys().filter(|file| !known.contains(*file)) {
        if file.contains(".manifest.jsonl.") || unfinished(Path::new(file)).is_some() {
            catalog.leave(day, file, files);
        }
    }
}

/// The shell tool wrote an archive and its `.sha256`, and no manifest.
fn list_shell_day(day: &Path, files: &BTreeMap<String, Option<u64>>, catalog: &mut Catalog) {
    for (file, length) in files {
        let Some(name) = ArtifactName::parse(file) else { continue };
        let (marker, archive) = (name.marker(), day.join(file));
        let (Some(Some(of_marker)), Some(archive_bytes)) = (files.get(&marker), *length) else {
            let what = "has no .sha256 that can be read: the shell tool may have been stopped before its end";
            let repair =
                "`cargo xtask verify` on it reads it through; remove it by hand when nobody needs it";
            catalog.findings.push(Finding::warning(show(&archive), what, repair));
            catalog.undigested.push(archive);
            continue;
        };
        catalog.shell.push(Artifact {
            manifest: day.join(name.manifest()),
            marker: day.join(marker),
            bytes: archive_bytes + of_marker,
            archive_bytes,
            has_manifest: false,
            pinned: true,
            archive,
            name,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_tool_has_made_is_listed_apart() {
        let home = tempfile::tempdir().expect("a folder");
        for (day, names) in [
            (
                "2025-11-01",
                &["a-2025-11-01T010000Z.tar.gz", "a-2025-11-01T010000Z.tar.gz.sha256", "notes"][..],
            ),
            ("2025-11-02", &["a-2025-11-02T010000Z.tar.gz.gpg"]),
            ("2025-13-02", &["a-2025-11-03T010000Z.tar.gz", "a-2025-11-03T010000Z.tar.gz.sha256"]),
        ] {
            fs::create_dir(home.path().join(day)).expect("creates");
            names.iter().for_each(|name| fs::write(home.path().join(day).join(name), "xy").expect("writes"));
        }
        let catalog = scan(home.path()).expect("scans");
        assert!(catalog.complete.is_empty() && catalog.incomplete.is_empty());
        assert_eq!(catalog.shell.iter().map(|one| one.bytes).collect::<Vec<_>>(), [4]);
        assert!(is_of_shell(&catalog.shell[0].archive) && !is_of_shell(Path::new("/d/2025/11-01/a.tar.gz")));
        assert_eq!(catalog.findings.len(), 1, "{:?}", catalog.findings);
    }

    #[test]
    fn only_what_has_its_marker_is_a_backup() {
        let home = tempfile::tempdir().expect("a folder");
        let day = home.path().join("2026/11-23");
        fs::create_dir_all(&day).expect("creates");
        for name in [
            "a-2026-11-23T010000Z.tar.gz",
            "a-2026-11-23T010000Z.tar.gz.sha256",
            "a-2026-11-23T010000Z.manifest.jsonl.gz",
            "a-2026-11-23T020000Z.tar.gz",
            "a-b-2026-11-23T030000Z.tar.zst.gpg",
            "a-b-2026-11-23T030000Z.tar.zst.gpg.sha256",
            "a-2026-11-23T040000Z.tar.gz.sha256",
            "a-2026-11-23T040000Z.manifest.jsonl.gz",
            "a-2026-11-23T050000Z.tar.gz.sha256.part",
            ".a-2026-11-23T050000Z.tar.gz.Ab12Cd",
            ".a-2026-11-23T050000Z.tar.gz.swp",
            "notes.txt",
        ] {
            fs::write(day.join(name), "x").expect("writes");
        }
        for name in ["a-2026-11-23T050000Z.tar.gz", "a-2026-11-23T060000Z.manifest.jsonl.gz"] {
            fs::create_dir(day.join(name)).expect("creates");
        }
        let catalog = scan(home.path()).expect("scans");
        assert_eq!(catalog.complete.len(), 2);
        assert_eq!(catalog.latest("a", None).map(|a| (a.bytes, a.has_manifest)), Some((3, true)));
        assert_eq!(catalog.latest("a", Some(Timestamp::UNIX_EPOCH)), None);
        let left = [
            "a-2026-11-23T020000Z.tar.gz",
            ".a-2026-11-23T050000Z.tar.gz.Ab12Cd",
            "a-2026-11-23T050000Z.tar.gz.sha256.part",
        ];
        assert_eq!(catalog.incomplete, left.map(|name| day.join(name)));
        let orphans = ["a-2026-11-23T040000Z.tar.gz.sha256", "a-2026-11-23T040000Z.manifest.jsonl.gz"];
        assert_eq!(catalog.orphans, orphans.map(|name| day.join(name)));
        assert_eq!((catalog.incomplete_bytes, catalog.used()), (3, 3 + 2 + 3), "they take their room");
        assert!(
            catalog.incomplete.iter().all(|path| unfinished(path).is_some_and(|name| name.series == "a"))
        );
        assert_eq!(catalog.findings.len(), 2, "{:?}", catalog.findings);
        assert!(scan(&home.path().join("none")).expect("empty").complete.is_empty());
    }
}
