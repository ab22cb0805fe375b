//! The lock of a release bundle: what it says, how it is read, and why a text is none.
//!
//! The lock keeps the names of the shell tool that this one replaces, so its readers go on working. A bundle's age is
//! its lock's `created_at`, never a file's time. What lies beside a lock is for [`super::releases`].
use super::names::parse_time;
use crate::archive::FormatError;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::tools::git::Submodule;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The lock version this tool writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// How the names of locks end.
pub const LOCK: &str = ".lock.json";

/// What compressed the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoder {
    /// Name and version.
    pub name: String,
    /// Its level.
    pub level: i32,
}

/// The lock document. Fields from `name` on are missing in the locks of the shell tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLock {
    /// [`SCHEMA`]; 0 for a lock of the shell tool.
    #[serde(default)]
    pub schema_version: u32,
    /// With its `v`.
    pub version: String,
    /// Such as `prod`.
    #[serde(default)]
    pub env: String,
    /// 12 digits.
    #[serde(default)]
    pub git_sha: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Bare name; none when only the lock was wanted.
    #[serde(default)]
    pub tarball: Option<String>,
    /// Of the tarball's bytes.
    #[serde(default)]
    pub tarball_sha256: Option<String>,
    /// The tag that an image was given, if one belongs to it.
    #[serde(default)]
    pub docker_tag: Option<String>,
    /// That image's id: `sha256:…`.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Its digests in registries, `NAME@sha256:…`, sorted.
    #[serde(default)]
    pub repo_digests: Vec<String>,
    /// Where it was published.
    #[serde(default)]
    pub release_url: Option<String>,
    /// How many bundles were to be kept.
    #[serde(default)]
    pub keep: Option<u32>,
    /// The release's name.
    #[serde(default)]
    pub name: String,
    /// The full commit.
    #[serde(default)]
    pub git_commit: Option<String>,
    /// Its tree.
    #[serde(default)]
    pub git_tree: Option<String>,
    /// Tags that pointed at it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Of the tar stream: the same whatever the encoder.
    #[serde(default)]
    pub tar_sha256: Option<String>,
    /// What compressed it.
    #[serde(default)]
    pub encoder: Option<Encoder>,
    /// Bare name of the manifest.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Its digest.
    #[serde(default)]
    pub manifest_sha256: Option<String>,
    /// Number of entries.
    #[serde(default)]
    pub entries: u64,
    /// Staged from a working tree, not from a commit alone.
    #[serde(default)]
    pub dirty: bool,
    /// The folder of the repository that it holds, and that its paths are relative to; `None` for all of it.
    #[serde(default)]
    pub root: Option<String>,
    /// The submodules in it.
    #[serde(default)]
    pub submodules: Vec<Submodule>,
    /// Paths left out by `exclude` and `export-ignore`, relative to `root`.
    #[serde(default)]
    pub excluded: Vec<String>,
    /// What was found, and did not refuse it.
    #[serde(default)]
    pub reported: Vec<Finding>,
    /// Name and version of the tool.
    #[serde(default)]
    pub tool_version: String,
}

/// What of its commit a bundle holds, by its lock's word: all that a second making of it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The folder of the commit; empty for all of it.
    pub root: String,
    /// Paths that are left out.
    pub left_out: Vec<String>,
    /// Whether submodules are in it.
    pub submodules: bool,
}

impl ReleaseLock {
    /// What of its commit the bundle holds.
    pub fn scope(&self) -> Scope {
        Scope {
            root: self.root.clone().unwrap_or_default(),
            left_out: self.excluded.clone(),
            submodules: self.submodules.iter().any(|module| module.included),
        }
    }

    /// The file: indented JSON and a line end.
    pub fn render(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        text + "\n"
    }

    /// When it was made.
    pub fn time(&self) -> Option<Timestamp> {
        parse_time(&self.created_at)
    }
}

/// Reads a lock.
///
/// # Errors
/// When it cannot be read, does not parse, or is newer than this tool.
pub fn read(path: &Path) -> Result<ReleaseLock> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default)]
        schema_version: u32,
    }
    let text = super::read::small(path)?;
    let wrong = |error| Error::format(path)(FormatError::Malformed(not_a_lock(&error)));
    let Version { schema_version } = serde_json::from_slice(&text).map_err(wrong)?;
    if schema_version > SCHEMA {
        let newer = FormatError::Newer { what: "the lock", found: schema_version, supported: SCHEMA };
        return Err(Error::format(path)(newer));
    }
    serde_json::from_slice(&text).map_err(wrong)
}

/// Why a text is no lock, in words and with the place.
pub(super) fn not_a_lock(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let text = error.to_string();
    let field = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let why = match (error.classify(), field) {
        (_, Some(field)) => format!("it has no `{field}`"),
        (Category::Eof, _) => "its JSON ends in the middle".to_owned(),
        (Category::Data, _) => "it has a value that no lock has there".to_owned(),
        (Category::Syntax | Category::Io, _) => "it is no JSON".to_owned(),
    };
    // What was read before has no lines any more.
    let place = match error.line() {
        0 => String::new(),
        line => format!(" (line {line}, column {})", error.column()),
    };
    format!("no lock of a bundle: {why}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_lock_is_told_in_words_and_with_its_place() {
        for (text, expected) in [
            ("", "its JSON ends in the middle (line 1, column 0)"),
            ("{\"version\": \"v1\",\n \"created", "its JSON ends in the middle (line 2, column 9)"),
            ("{\n  x", "it is no JSON (line 2, column 3)"),
            ("{\"version\": \"v1\"}", "it has no `created_at` (line 1, column 17)"),
            ("{\n\"version\": 7}", "it has a value that no lock has there (line 2, column 12)"),
        ] {
            let error = serde_json::from_str::<ReleaseLock>(text).expect_err("no lock");
            let said = not_a_lock(&error);
            assert_eq!(said, format!("no lock of a bundle: {expected}"), "{text}");
            for word in ["expected", "invalid", "struct", "EOF", "missing field"] {
                assert!(!said.contains(word), "{said}");
            }
        }
        let error =
            serde_json::from_value::<ReleaseLock>(serde_json::json!({"version": 1})).expect_err("no lock");
        assert_eq!(not_a_lock(&error), "no lock of a bundle: it has a value that no lock has there");
    }
}
