//! Name and version of a release, from the package files of a Cargo or npm repository.
use super::Files;
use crate::error::Result;
use serde_json::Value;
use std::path::Path;

/// Which file says the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionFrom {
    /// `Cargo.toml`.
    Cargo,
    /// `package.json`.
    Npm,
    /// The commit's short name.
    Git,
}

pub(super) fn version_from(text: &str) -> Result<VersionFrom, (String, String)> {
    match text {
        "Cargo.toml" => Ok(VersionFrom::Cargo),
        "package.json" => Ok(VersionFrom::Npm),
        "git" => Ok(VersionFrom::Git),
        other => {
            let next = "write \"Cargo.toml\", \"package.json\" or \"git\"".to_owned();
            Err((format!("release.version-from is {other:?}"), next))
        }
    }
}

/// The Cargo or npm package's name, else the folder's (a bare repository's without `.git`).
///
/// # Errors
/// Those of `files`.
pub(super) fn name(root: &Path, files: Files<'_>) -> Result<String> {
    let cargo = files("Cargo.toml")?.and_then(|text| cargo_value(&text, "name"));
    let npm = files("package.json")?.and_then(|text| npm_value(&text, "name"));
    let folder = || {
        let name = root.file_name()?.to_string_lossy().into_owned();
        Some(name.strip_suffix(".git").unwrap_or(&name).to_owned())
    };
    let name = cargo.or(npm).or_else(folder).unwrap_or_default();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let plain = plain.trim_start_matches(['-', '.']);
    Ok(if plain.is_empty() { "release".into() } else { plain.into() })
}

fn cargo_value(text: &str, key: &str) -> Option<String> {
    let file: toml::Table = text.parse().ok()?;
    let package = file.get("package").and_then(|package| package.get(key)).and_then(toml::Value::as_str);
    let inherited = || file.get("workspace")?.get("package")?.get(key)?.as_str();
    package.or_else(inherited).map(str::to_owned)
}

fn npm_value(text: &str, key: &str) -> Option<String> {
    let file: Value = serde_json::from_str(text).ok()?;
    let value = file[key].as_str()?;
    // `@scope/name` is one name.
    Some(value.trim_start_matches('@').replace('/', "-"))
}

impl super::Release {
    /// The version that a commit's own files say; `files` gives those of the commit.
    ///
    /// # Errors
    /// Those of `files`.
    pub fn version(&self, files: Files<'_>) -> Result<Option<String>> {
        let sources: &[VersionFrom] = match &self.version_from {
            Some(one) => std::slice::from_ref(one),
            None => &[VersionFrom::Cargo, VersionFrom::Npm],
        };
        for source in sources {
            let found = match source {
                VersionFrom::Cargo => files("Cargo.toml")?.and_then(|text| cargo_value(&text, "version")),
                VersionFrom::Npm => files("package.json")?.and_then(|text| npm_value(&text, "version")),
                VersionFrom::Git => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
