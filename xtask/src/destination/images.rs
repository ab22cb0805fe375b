//! The images that locks name, in every generation of them: our locks, those of the shell tool before, and the oldest,
//! which stand for images alone (`{"images": […]}`). It reads; what docker has of them it does not know.
use super::names::{parse_time, stamp};
use super::release_lock::{self, LOCK, ReleaseLock, not_a_lock};
use crate::archive::FormatError;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An image as a lock names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The lock.
    pub lock: PathBuf,
    /// Such as `prod`; empty where the lock does not say.
    pub env: String,
    /// `sha256:…`.
    pub image_id: Option<String>,
    /// `NAME:TAG`.
    pub docker_tag: Option<String>,
    /// `NAME@sha256:…`.
    pub repo_digests: Vec<String>,
    /// When it was snapshotted.
    pub time: Option<Timestamp>,
    /// That time in each way that the name of a saved image may have it.
    pub stamps: Vec<String>,
}

/// An oldest lock.
#[derive(Debug, Deserialize)]
struct Images {
    created_at: Option<String>,
    images: Vec<Line>,
}

/// One image of it. There were two words for its tag.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    env: String,
    image_id: Option<String>,
    docker_tag: Option<String>,
    archival_tag: Option<String>,
    snap_ts_utc: Option<String>,
    #[serde(default)]
    repo_digests: Vec<String>,
}

/// Whether this is an oldest lock.
fn is_of_images(lock: &Value) -> bool {
    lock["images"].is_array() && lock["version"].is_null()
}

/// Of a lock of the generation before bundles, `{"images": [...]}`, the environments whose images it names.
pub fn environments(path: &Path) -> Option<String> {
    let parsed = super::read::small(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let lock = parsed.filter(is_of_images)?;
    let environments = lock["images"].as_array()?.iter().filter_map(|image| image["env"].as_str());
    Some(environments.map(|name| show(Path::new(name))).collect::<Vec<_>>().join(", "))
}

/// The images that a lock names, whichever generation it is of; none where it names no image.
///
/// # Errors
/// When it cannot be read, is no lock, or is newer than this tool.
pub fn read(path: &Path) -> Result<Vec<Recorded>> {
    let text = super::read::small(path)?;
    let wrong = |error| Error::format(path)(FormatError::Malformed(not_a_lock(&error)));
    let value: Value = serde_json::from_slice(&text).map_err(wrong)?;
    if !is_of_images(&value) {
        return Ok(of_bundle(path, &release_lock::read(path)?).into_iter().collect());
    }
    let lock: Images = serde_json::from_value(value).map_err(wrong)?;
    Ok(lock.images.into_iter().map(|line| of_line(path, line, lock.created_at.as_deref())).collect())
}

/// The image of a bundle's lock.
pub fn of_bundle(path: &Path, lock: &ReleaseLock) -> Option<Recorded> {
    let named = lock.docker_tag.is_some() || lock.image_id.is_some();
    named.then(|| Recorded {
        lock: path.to_owned(),
        env: lock.env.clone(),
        image_id: lock.image_id.clone(),
        docker_tag: lock.docker_tag.clone(),
        repo_digests: lock.repo_digests.clone(),
        time: lock.time(),
        stamps: stamps(&lock.created_at),
    })
}

fn of_line(path: &Path, line: Line, created_at: Option<&str>) -> Recorded {
    let written = line.snap_ts_utc.as_deref().or(created_at).unwrap_or_default();
    Recorded {
        lock: path.to_owned(),
        env: line.env,
        image_id: line.image_id.filter(|id| !id.is_empty()),
        docker_tag: line.docker_tag.or(line.archival_tag).filter(|tag| !tag.is_empty()),
        repo_digests: line.repo_digests,
        time: parse_time(written),
        stamps: stamps(written),
    }
}

/// As it is written, and as a stamp. What could lead elsewhere is no part of a name.
fn stamps(written: &str) -> Vec<String> {
    let mut stamps: Vec<String> = parse_time(written).map(stamp).into_iter().collect();
    if !written.is_empty() && !written.contains('/') && !stamps.iter().any(|stamp| stamp == written) {
        stamps.push(written.to_owned());
    }
    stamps
}

/// Every image that the locks in a folder name, and the locks that cannot be read.
///
/// # Errors
/// When the folder cannot be read; a folder that is not there holds none.
pub fn all(folder: &Path) -> Result<(Vec<Recorded>, Vec<Finding>)> {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for name in super::catalog::names(folder)?.into_iter().filter(|name| name.ends_with(LOCK)) {
        let path = folder.join(name);
        match read(&path) {
            Ok(images) => found.extend(images),
            Err(error) => {
                findings.push(Finding::error(show(&path), error.chain(), "mend it, or move it away"))
            }
        }
    }
    Ok((found, findings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str) -> Vec<Recorded> {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a.lock.json");
        std::fs::write(&path, text).expect("writes");
        read(&path).expect("reads")
    }

    #[test]
    fn each_generation_of_locks_names_its_images() {
        let images = lock(
            r#"{"_note": "x", "created_at": "2025-09-12T23-57-31Z", "images": [
            {"env": "prod", "image_id": "sha256:00", "archival_tag": "a:b", "snap_ts_utc": "2025-09-12T23-57-31Z"},
            {"env": "dev", "image_id": "sha256:01", "docker_tag": "a:c", "snap_ts_utc": "2025-09-13T01-00-00Z"},
            {"env": "none", "image_id": "", "rebuilt_at_utc": "x"}]}"#,
        );
        assert_eq!(images.len(), 3);
        assert_eq!((images[0].env.as_str(), images[0].docker_tag.as_deref()), ("prod", Some("a:b")));
        assert_eq!(images[0].stamps, ["2025-09-12T235731Z", "2025-09-12T23-57-31Z"]);
        assert_eq!(
            (images[1].image_id.as_deref(), images[1].docker_tag.as_deref()),
            (Some("sha256:01"), Some("a:c"))
        );
        assert_eq!((&images[2].image_id, images[2].stamps.len()), (&None, 2));
        let before = r#"{"version": "v1", "env": "prod", "created_at": "2025-11-01T101500Z", "docker_tag": "a:b", "notes": {}}"#;
        let before = lock(before);
        assert_eq!((before.len(), &before[0].image_id, before[0].stamps.len()), (1, &None, 1));
        assert_eq!(lock(r#"{"version": "v1", "created_at": "2025-11-01T101500Z", "docker_tag": null}"#), []);
        let wrong = lock(r#"{"images": [{"env": "prod", "snap_ts_utc": "../../x"}]}"#);
        assert!(wrong[0].stamps.is_empty() && wrong[0].time.is_none());
    }
}
