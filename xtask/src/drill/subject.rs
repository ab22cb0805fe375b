//! What a drill works on: an artifact, what decrypts it, and where its digests are on record: beside a backup, or in a
//! bundle's lock.
use super::steps::Pick;
use crate::destination::catalog::Artifact;
use crate::destination::known::{Against, Known};
use crate::destination::marker;
use crate::destination::read;
use crate::destination::release_lock::Scope;
use crate::destination::remote::Remote;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::restore::Source;
use crate::shown::show;
use crate::tools::gpg::Secret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What belongs to the artifact of the plan with the same index.
#[derive(Debug)]
pub struct Subject {
    /// Where it lies; on another machine with its name in front.
    pub source: Source,
    /// From where it is fetched, if that is another machine.
    pub far: Option<(Remote, Artifact)>,
    /// What decrypts it; `None` for plain ones and for the user's own keys.
    pub secret: Option<Secret>,
    /// What its files must hash to.
    pub digests: Digests,
    /// The lock of a bundle.
    pub lock: Option<PathBuf>,
    /// What of its commit a bundle holds, by its lock's word.
    pub scope: Scope,
    /// Folder in the archive that the key files are relative to.
    pub folder: PathBuf,
}

impl Subject {
    /// The files that a finding about this artifact may be about, as findings show them.
    pub fn files(&self) -> Vec<String> {
        let list = self.lock.as_ref().map(|lock| lock.with_file_name("SHA256SUMS"));
        [Some(&self.source.archive), self.lock.as_ref(), list.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| show(path))
            .collect()
    }
}

/// Where the digests that an artifact must have are on record.
#[derive(Debug, Clone)]
pub enum Digests {
    /// In the `.sha256` beside it.
    Marker(PathBuf),
    /// In the lock: file and SHA-256.
    Lock(Vec<(PathBuf, String)>),
}

/// The digests on record by bare file name, and what is odd about the record.
pub(super) fn on_record(digests: &Digests) -> Result<(BTreeMap<String, String>, Vec<Finding>)> {
    match digests {
        Digests::Marker(path) => {
            let text = read::small(path)?;
            let (sums, oddities) = marker::parse(&String::from_utf8_lossy(&text));
            let name = path.file_name().map(|name| show(Path::new(name))).unwrap_or_default();
            let odd = |what: String| Finding::warning(&name, what, "");
            let findings = oddities.into_iter().map(odd).collect();
            Ok((sums.lines.into_iter().map(|(digest, name)| (name, digest)).collect(), findings))
        }
        Digests::Lock(files) => {
            let bare = |path: &Path| path.file_name().map(|name| show(Path::new(name))).unwrap_or_default();
            Ok((files.iter().map(|(path, digest)| (bare(path), digest.clone())).collect(), vec![]))
        }
    }
}

/// What is on record against a backup that was picked. Of an older one it is no failure that it holds only a part: nobody
/// would recover to it while there is another.
pub(super) fn against(known: &Known, backup: &Artifact, pick: Pick) -> Vec<Finding> {
    let part = known.against(&show(&backup.archive), Some(backup.archive_bytes)) == Some(Against::Part);
    let wrong = known.wrong_with(backup).map(|wrong| match part && pick == Pick::Older {
        true => Finding { severity: Severity::Warning, ..wrong },
        false => wrong,
    });
    wrong.into_iter().chain(known.strange(backup)).collect()
}
