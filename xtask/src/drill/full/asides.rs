//! What full drills have left aside, and until when: read from the history of runs.
//!
//! Pure but for one look whether a folder is still there. `status` lists them, `prune` removes what has had its time.
use jiff::Timestamp;
use serde_json::Value;
use std::path::PathBuf;

/// A private folder of a drill that holds live data, or what was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The folder.
    pub folder: PathBuf,
    /// The drill.
    pub id: String,
    /// The live folder that it belongs to.
    pub live: String,
    /// Until when it is kept.
    pub until: Timestamp,
}

/// Those that a history knows and nobody has removed, by the history.
pub fn known(history: &[Value]) -> Vec<Aside> {
    let mut asides: Vec<Aside> = Vec::new();
    for record in history {
        let Some(folder) = record["folder"].as_str().map(PathBuf::from) else { continue };
        match record["kind"].as_str() {
            Some("aside") => {
                let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
                let Ok(until) = text("until").parse() else { continue };
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
        history.push(json!({"kind": "aside", "folder": "/c", "until": "never"}));
        assert_eq!(known(&history), left, "what cannot be dated is never removed");
    }
}
