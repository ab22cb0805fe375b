//! What full drills have left aside, and until when: read from the history of runs.
//!
//! Looks whether the folders are there, and changes nothing. `status` lists them, `prune` removes what has had its time.
use super::swap::PREFIX;
use crate::config::{Config, Deploy};
use crate::destination::mount::resolved;
use crate::finding::{Finding, Severity};
use crate::shown::show;
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

/// Those that hold nothing: a drill was killed before it had begun.
pub fn hollow(config: &Config) -> Vec<PathBuf> {
    private(config).into_iter().filter(|path| is_hollow(path)).collect()
}

/// Private folders of drills beside the folders that a full drill replaces, in the sources, and in `aside-dir`.
fn private(config: &Config) -> Vec<PathBuf> {
    let deployed = match &config.drill.deploy {
        Some(Deploy::Folder(folder)) => Some(folder),
        _ => None,
    };
    let sources = || config.data.iter().map(|set| &set.source);
    let beside = sources().chain(deployed).filter_map(|folder| Some(resolved(folder).parent()?.to_owned()));
    // In a source lies what was beside a folder that is a part of it now.
    let inside = sources().map(|folder| resolved(folder));
    let places: BTreeSet<PathBuf> = beside.chain(inside).chain(config.drill.aside_dir.clone()).collect();
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) && path.is_dir()
    };
    let entries = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    entries.map(|entry| entry.path()).filter(named).collect()
}

/// What cannot be looked into is not hollow.
fn is_hollow(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| IGNORE.contains(&&*entry.file_name().to_string_lossy())))
    })
}

/// What is in a private folder before anything of value is: its `.gitignore`, whole or not.
const IGNORE: [&str; 2] = [".gitignore", ".recovery-new"];

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
}
