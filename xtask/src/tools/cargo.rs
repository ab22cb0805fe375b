//! cargo: name and version of a working tree's package, with workspace inheritance resolved by Cargo itself.
use crate::error::Result;
use std::path::Path;

/// Name and version of the root package in `folder`, else of the first member; `None` where there is no
/// `Cargo.toml` or Cargo does not understand it.
///
/// # Errors
/// None at present; a failing Cargo is the same as none.
pub fn package(folder: &Path) -> Result<Option<(String, String)>> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.exists() {
        return Ok(None);
    }
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(vec!["--offline".into()])
        .exec();
    let Ok(metadata) = metadata else { return Ok(None) };
    let package = metadata.root_package().or_else(|| metadata.workspace_packages().first().copied());
    Ok(package.map(|package| (package.name.to_string(), package.version.to_string())))
}
