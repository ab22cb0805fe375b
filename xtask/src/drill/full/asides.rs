//! What full drills have left aside, and until when: read from the history of runs.
//!
//! Looks whether the folders are there, and removes none but those that hold nothing. `status` lists them, `prune` removes
//! what has had its time.
use super::swap::{OWN, PREFIX};
use crate::config::{Config, Deploy};
use crate::destination::durable;
use crate::destination::mount::resolved;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::shown::show;
use crate::tools::private::whose;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A private folder of a drill that holds live data, or what was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The folder.
    pub folder: PathBuf,
    /// The drill.
    pub id: String,
    /// The live folder that it belongs to.
    pub live: String,
    /// Until when it is kept; `None`: until somebody removes it.
    pub until: Option<Timestamp>,
}

/// Those that a history knows and nobody has removed, by the history.
pub fn known(history: &[Value]) -> Vec<Aside> {
    let mut asides: Vec<Aside> = Vec::new();
    for record in history {
        let Some(folder) = record["folder"].as_str().map(PathBuf::from) else { continue };
        match record["kind"].as_str() {
            Some("aside") => {
                let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
                let until = text("until").parse().ok();
                asides.retain(|known| known.folder != folder);
                asides.push(Aside { folder, id: text("id"), live: text("live"), until });
            }
            Some("aside-removed") => asides.retain(|known| known.folder != folder),
            _ => {}
        }
    }
    asides
}

/// The same, of those that are still there.
pub fn there(history: &[Value]) -> Vec<Aside> {
    known(history).into_iter().filter(|aside| aside.folder.is_dir()).collect()
}

/// Private folders of drills that hold something and that no record names: with the memory of the repository, its word on
/// them was lost.
pub fn strange(config: &Config, history: &[Value]) -> Vec<PathBuf> {
    let known = known(history);
    let strange = |path: &PathBuf| !is_hollow(path) && !known.iter().any(|aside| aside.folder == *path);
    private(config).into_iter().filter(strange).collect()
}

/// What is said of a strange one.
pub fn told(folder: &Path, severity: Severity) -> Finding {
    let what =
        "was left by a full drill that nothing here remembers: live data may lie in it, and no backup has it";
    let repair =
        "look into it, and see that the live folder beside it is the right one; then remove it by hand";
    Finding::new(severity, show(folder), what, repair)
}

/// Removes those that hold nothing: a drill was killed before it had begun. Never more than that is removed: one in which
/// another drill has begun meanwhile stays.
///
/// # Errors
/// When a file in one cannot be removed.
pub fn sweep_hollow(config: &Config) -> Result<()> {
    for folder in private(config).into_iter().filter(|path| is_hollow(path)) {
        // What says whose it is goes last.
        for own in OWN.iter().rev().map(|name| folder.join(name)).filter(|path| path.exists()) {
            durable::remove(&own)?;
        }
        let _ = fs::remove_dir(&folder);
    }
    Ok(())
}

/// Private folders of our drills beside the folders that a full drill replaces, in the sources, and in `aside-dir`.
fn private(config: &Config) -> Vec<PathBuf> {
    let deployed = match &config.drill.deploy {
        Some(Deploy::Folder(folder)) => Some(resolved(folder)),
        _ => None,
    };
    let sources: Vec<PathBuf> = config.data.iter().map(|set| resolved(&set.source)).collect();
    let live: Vec<PathBuf> = sources.iter().cloned().chain(deployed).collect();
    let beside = live.iter().filter_map(|folder| Some(folder.parent()?.to_owned()));
    // In a source lies what was beside a folder that is a part of it now.
    let places: BTreeSet<PathBuf> = beside.chain(sources).chain(config.drill.aside_dir.clone()).collect();
    let root = resolved(&config.root);
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) && path.is_dir()
    };
    let entries = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let ours = |path: &PathBuf| named(path) && !is_anothers(path, &live, &root);
    entries.map(|entry| entry.path()).filter(ours).collect()
}

/// Whether a folder says that it is of another repository and of none of our live folders. A doubt speaks for ours: one that
/// says nothing may be, and so may one of which live folder and repository are gone, since ours may have been moved.
fn is_anothers(folder: &Path, live: &[PathBuf], root: &Path) -> bool {
    let text = whose(folder).unwrap_or_default();
    let mut lines = text.lines();
    let (Some(of), Some(repository)) = (lines.next(), lines.next()) else { return false };
    let ours = repository == show(root) || live.iter().any(|folder| of == show(folder));
    !ours && [of, repository].into_iter().any(|path| Path::new(path).exists())
}

/// What cannot be looked into is not hollow.
fn is_hollow(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| OWN.contains(&&*entry.file_name().to_string_lossy())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_aside_is_known_until_it_is_removed() {
        let line = |kind: &str, folder: &str| json!({"kind": kind, "folder": folder, "id": "drill-1", "live": "/srv/db", "until": "2026-03-01T00:00:00Z"});
        let mut history = vec![line("aside", "/a"), line("aside", "/b"), json!({"kind": "backup"})];
        assert_eq!(known(&history).len(), 2);
        history.push(line("aside-removed", "/a"));
        let left = known(&history);
        assert!(left.len() == 1 && left[0].folder.ends_with("b") && left[0].live == "/srv/db", "{left:?}");
        history.push(json!({"kind": "aside", "folder": "/c", "until": null}));
        assert_eq!(known(&history).last().and_then(|aside| aside.until), None, "it stays");
    }

    #[test]
    fn a_folder_is_anothers_where_it_says_so_and_that_other_is_there() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        for name in ["one", "one-live", "two", "two-live", "x"] {
            fs::create_dir(at(name)).expect("makes");
        }
        let is_anothers = || is_anothers(&at("x"), &[at("one-live")], &at("one"));
        assert!(!is_anothers(), "it says nothing");
        for (of, repository, expected) in [
            ("two-live", "two", true),
            ("two-live", "gone", true),
            ("gone", "two", true),
            ("gone", "gone", false),
            ("gone", "one", false),
            ("one-live", "one", false),
            ("one-live", "two", false),
        ] {
            let text = format!("{}\n{}\n", show(&at(of)), show(&at(repository)));
            fs::write(at("x/.held"), &text).expect("writes");
            assert_eq!(is_anothers(), expected, "{text}");
            fs::write(at("x/.held"), show(&at(of))).expect("writes");
            assert!(!is_anothers(), "it is torn");
        }
        assert!(is_hollow(&at("x")));
    }
}
