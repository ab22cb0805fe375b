//! The names in a file of saved images, which `docker image load` moves to what it holds. Reads the file, and asks docker
//! what has these names now; it loads nothing.
use crate::destination::read;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use crate::tools::docker::{self, is_reference};
use serde::Deserialize;
use std::io::Read as _;
use std::path::Path;

/// What lists the images in such a file (Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset
/// Format").
const LIST: &str = "manifest.json";
/// No such list is longer, in bytes.
const LONGEST: u64 = 16 << 20;

/// A name that loading gives to an image of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub name: String,
    /// The image that has the name now.
    pub from: Option<String>,
}

/// One image of the list.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
}

/// The names that loading the file moves, or gives for the first time. Where that cannot be told, a warning says so.
///
/// # Errors
/// When docker fails.
pub(super) fn moves(file: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Move>> {
    let images = match images(file) {
        Ok(images) => images,
        Err(error) => {
            let what =
                format!("does not tell which names it holds, and loading it moves them: {}", error.chain());
            let repair =
                "see that `docker image save -o` has written it; docker itself may read it all the same";
            findings.push(Finding::warning(show(file), what, repair));
            return Ok(Vec::new());
        }
    };
    let mut moves: Vec<Move> = Vec::new();
    for (saved, name) in
        images.iter().flat_map(|saved| saved.tags.iter().flatten().map(move |name| (saved, name)))
    {
        let from = match is_reference(name) {
            true => docker::inspect(name)?.map(|image| image.id),
            false => None,
        };
        let stays = from.is_some() && from == saved.id();
        if !stays && moves.iter().all(|other| other.name != *name) {
            moves.push(Move { name: name.clone(), from });
        }
    }
    Ok(moves)
}

impl Saved {
    /// The image's id, as its configuration is named by it: `HEX.json`, or `blobs/sha256/HEX`.
    fn id(&self) -> Option<String> {
        let name = self.config.rsplit('/').next()?;
        let hex = name.strip_suffix(".json").unwrap_or(name);
        let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| format!("sha256:{hex}"))
    }
}

/// The list in the file.
fn images(file: &Path) -> Result<Vec<Saved>> {
    let wrong = |what: &str| Error::refused(what, "");
    let mut tar = tar::Archive::new(read::open(file)?);
    for entry in tar.entries_with_seek().map_err(Error::io("read", file))? {
        let entry = entry.map_err(Error::io("read", file))?;
        if entry.path_bytes().strip_prefix(b"./").unwrap_or(&entry.path_bytes()) != LIST.as_bytes() {
            continue;
        }
        let mut text = Vec::new();
        entry.take(LONGEST).read_to_end(&mut text).map_err(Error::io("read", file))?;
        return serde_json::from_slice(&text).map_err(|error| {
            wrong(&format!("its {LIST} is not what docker writes, in line {}", error.line()))
        });
    }
    Err(wrong(&format!("it holds no {LIST}")))
}
