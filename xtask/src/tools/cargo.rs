//! cargo: the name of a working tree's package, with workspace inheritance resolved by Cargo itself.
use super::{finish, process::from_command};
use cargo_metadata::MetadataCommand;
use std::path::Path;
use std::time::Duration;

/// It reads a few files; a toolchain that has to be fetched first is none that we wait for.
const DEADLINE: Duration = Duration::from_secs(30);

/// Name of the root package in `folder`, else of its only member; `None` where there is no `Cargo.toml`, where several
/// members might be meant, or where Cargo does not answer.
pub fn package(folder: &Path) -> Option<String> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.exists() {
        return None;
    }
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).no_deps().other_options(vec!["--offline".into()]);
    let call = from_command(&command.cargo_command()).stdin_null();
    let output = finish(call, "cargo metadata", DEADLINE).ok()??;
    let metadata = MetadataCommand::parse(String::from_utf8_lossy(&output.stdout)).ok()?;
    let members = metadata.workspace_packages();
    let only = || if let [only] = members[..] { Some(only) } else { None };
    metadata.root_package().or_else(only).map(|package| package.name.to_string())
}
