//! Name and version of a release, from the package files of a Cargo or npm repository.
use super::Files;
use super::release::VersionFrom;
use crate::error::Result;
use serde_json::Value;
use std::path::Path;
use toml::Table;

/// The Cargo or npm package's name, else the folder's (a bare repository's without `.git`). `release` is the folder of the
/// repository at `root` that is released.
///
/// # Errors
/// Those of `files`.
pub(super) fn name(root: &Path, release: &str, files: Files<'_>) -> Result<String> {
    let cargo = cargo(&below(release, "Cargo.toml"), "name", files)?;
    let npm = npm(&below(release, "package.json"), "name", files)?;
    let folder = || {
        let name = root.join(release).file_name()?.to_string_lossy().into_owned();
        Some(name.strip_suffix(".git").unwrap_or(&name).to_owned())
    };
    let name = cargo.or(npm).or_else(folder).unwrap_or_default();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let plain = plain.trim_start_matches(['-', '.']);
    Ok(if plain.is_empty() { "release".into() } else { plain.into() })
}

/// A path below a folder of the repository; the empty folder is its root.
fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A value of `[package]`; where that, or its workspace, leaves it to `[workspace.package]`, the value there. Cargo looks
/// for the workspace in `package.workspace`, else in the folders above.
fn cargo(path: &str, key: &str, files: Files<'_>) -> Result<Option<String>> {
    let mut read = |path: &str| Ok(files(path)?.and_then(|text| text.parse::<Table>().ok()));
    let Some(file) = read(path)? else { return Ok(None) };
    let package = file.get("package");
    let value = package.and_then(|package| package.get(key));
    if let Some(text) = value.and_then(toml::Value::as_str) {
        return Ok(Some(text.to_owned()));
    }
    if package.is_some() && value.and_then(|value| value.get("workspace")).is_none() {
        return Ok(None);
    }
    if file.contains_key("workspace") {
        return Ok(inherited(&file, key));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let named = package.and_then(|package| package.get("workspace")).and_then(toml::Value::as_str);
    let above = match named {
        Some(named) => vec![joined(folder, named)],
        None => ancestors(folder),
    };
    for folder in above {
        if let Some(file) = read(&below(&folder, "Cargo.toml"))?.filter(|file| file.contains_key("workspace"))
        {
            return Ok(inherited(&file, key));
        }
    }
    Ok(None)
}

fn inherited(file: &Table, key: &str) -> Option<String> {
    file.get("workspace")?.get("package")?.get(key)?.as_str().map(str::to_owned)
}

/// The folders above one of the repository, nearest first; the last is its root.
fn ancestors(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = folder;
    while !rest.is_empty() {
        rest = rest.rsplit_once('/').map_or("", |(above, _)| above);
        found.push(rest.to_owned());
    }
    found
}

/// `..` and `.` taken out; what leads out of the repository ends at its root.
fn joined(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn npm(path: &str, key: &str, files: Files<'_>) -> Result<Option<String>> {
    let Some(file) = files(path)?.and_then(|text| serde_json::from_str::<Value>(&text).ok()) else {
        return Ok(None);
    };
    Ok(file[key].as_str().map(|value| match key {
        // `@scope/name` is one name.
        "name" => value.trim_start_matches('@').replace('/', "-"),
        _ => value.to_owned(),
    }))
}

impl super::Release {
    /// The version that a commit's own files say; `files` gives those of the commit, from the repository's root.
    ///
    /// # Errors
    /// Those of `files`.
    pub fn version(&self, files: Files<'_>) -> Result<Option<String>> {
        let usual = [VersionFrom::Cargo("Cargo.toml".into()), VersionFrom::Npm("package.json".into())];
        let sources = self.version_from.as_ref().map_or(&usual[..], std::slice::from_ref);
        for source in sources {
            let found = match source {
                VersionFrom::Cargo(path) => cargo(&below(&self.root, path), "version", files)?,
                VersionFrom::Npm(path) => npm(&below(&self.root, path), "version", files)?,
                VersionFrom::Git => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(files: &[(&str, &str)], path: &str, key: &str) -> Option<String> {
        let mut read = |wanted: &str| {
            Ok(files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned()))
        };
        cargo(path, key, &mut read).expect("reads")
    }

    #[test]
    fn a_member_inherits_from_the_nearest_workspace_and_nothing_is_made_up() {
        let member = "[package]\nname = \"cli\"\nversion.workspace = true\n";
        let workspace = "[workspace]\n[workspace.package]\nversion = \"2.0.0\"\n";
        let files = [("crates/cli/Cargo.toml", member), ("Cargo.toml", workspace)];
        assert_eq!(value(&files, "crates/cli/Cargo.toml", "version").as_deref(), Some("2.0.0"));
        assert_eq!(value(&files, "crates/cli/Cargo.toml", "name").as_deref(), Some("cli"));
        assert_eq!(value(&files, "Cargo.toml", "version").as_deref(), Some("2.0.0"), "a virtual one");
        assert_eq!(value(&files, "Cargo.toml", "name"), None);
        let named = "[package]\nname = \"cli\"\nworkspace = \"../../ws\"\nversion = { workspace = true }\n";
        let files = [("crates/cli/Cargo.toml", named), ("ws/Cargo.toml", workspace)];
        assert_eq!(value(&files, "crates/cli/Cargo.toml", "version").as_deref(), Some("2.0.0"));
        let alone = [("Cargo.toml", member)];
        assert_eq!(value(&alone, "Cargo.toml", "version"), None);
        let without = "[package]\nname = \"x\"\n[workspace.package]\nversion = \"2.0.0\"\n";
        assert_eq!(value(&[("Cargo.toml", without)], "Cargo.toml", "version"), None, "it did not ask for it");
    }
}
