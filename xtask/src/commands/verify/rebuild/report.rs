//! What a comparison comes to, in words: the verdict on a bundle, and a finding for each entry that differs. Pure.
use super::differences::{Difference, WHOLE};
use super::subject::Subject;
use super::{Rebuilt, ReleaseLock, TOOL};
use crate::archive::codec::Codec;
use crate::archive::hex;
use crate::archive::raw::Stream;
use crate::finding::{Finding, any_error};
use crate::shown::show;
use crate::words::word;
use std::path::Path;

/// Entries beyond this many are counted, not listed.
const LISTED: usize = 100;
const NOT_ITS: &str =
    "do not deploy it, and find out who made it; `cargo xtask snapshot --rev COMMIT` makes the one that is";
const LOCK_REPAIR: &str = "bring the lock back from another copy, or make the bundle anew";

/// What a bundle has turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same bytes.
    Same,
    /// The same tar stream, packed by another encoder, as the lock says.
    Encoder,
    /// Anything else.
    Different,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Encoder => "encoder",
            Self::Different => "different",
        }
    }

    /// In front of a line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Same => "same   ",
            Self::Encoder => "encoder",
            Self::Different => "DIFFERS",
        }
    }
}

/// What came of one bundle.
pub(super) struct Outcome {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    pub differences: Vec<Difference>,
    /// Of what was rebuilt.
    pub entries: u64,
    pub sha256: String,
    pub tar_sha256: String,
}

/// A bundle that is here: the digest of its bytes; and where they differ, its tar stream, and how that differs.
pub(super) type Compared = (String, Option<(Stream, Vec<Difference>)>);

/// Judges a bundle by what was rebuilt, and by its own bytes where they are here; its lock speaks for one that is not.
pub(super) fn judge(subject: &Subject, rebuilt: Rebuilt, compared: Option<Compared>) -> Outcome {
    let lock = &subject.lock;
    let (lock_name, name) = (show(&subject.lock_path), show(subject.shown()));
    let (mut findings, mut differences) = (Vec::new(), Vec::new());
    let is_here = compared.is_some();
    let file = compared.as_ref().map(|(sha256, _)| sha256.clone());
    // What the lock records is what the commit makes: nobody has to be asked where the bundle came from.
    let damaged = file.and_then(|sha256| damaged_since(subject, &rebuilt, &sha256));
    let is_damaged = damaged.is_some();
    findings.extend(damaged);
    let (sha256, is_same_tar) = match compared {
        None => (lock.tarball_sha256.clone(), says(&lock.tar_sha256, &rebuilt.tar_sha256)),
        Some((sha256, None)) => (Some(sha256), true),
        Some((sha256, Some((stream, found)))) => {
            let is_same_tar = is(&stream, &rebuilt.tar_sha256);
            if !is_same_tar {
                let what = match found.is_empty() && stream.broken.is_none() {
                    true => no_entry(subject, &rebuilt),
                    false => "is not what its commit makes".to_owned(),
                };
                if !is_damaged {
                    findings.push(Finding::error(&name, what, NOT_ITS));
                }
                findings.extend(of_stream(&name, &stream, &found));
                differences = found;
            }
            (Some(sha256), is_same_tar)
        }
    };
    let is_same = is_same_tar && says(&sha256, &rebuilt.sha256);
    if is_same_tar && !is_same {
        findings.push(packed_otherwise(&name, lock, sha256 == lock.tarball_sha256));
    } else if !is_same_tar && !is_here {
        findings.push(Finding::error(&name, no_entry(subject, &rebuilt), NOT_ITS));
    }
    if is_here {
        findings.extend(of_lock(&lock_name, lock, &rebuilt, is_same));
    } else if lock.tarball.is_some() {
        findings
            .push(Finding::info(&lock_name, "lists a tarball that is not here: the lock alone was compared"));
    }
    for (field, is_wrong) in [
        ("git_tree", is_another(&lock.git_tree, &rebuilt.tree)),
        ("entries", lock.entries != rebuilt.entries),
    ] {
        if is_same_tar && is_wrong {
            let what = format!("has another `{field}` than its commit");
            findings.push(Finding::error(&lock_name, what, LOCK_REPAIR));
        }
    }
    if is_same && lock.tool_version == TOOL && is_another(&lock.manifest_sha256, &rebuilt.manifest_sha256) {
        let what = "has another `manifest_sha256` than the manifest that its commit makes";
        findings.push(Finding::error(&lock_name, what, LOCK_REPAIR));
    }
    findings.extend(rebuilt.unknown.iter().map(|path| {
        let what = format!("says that {path} was left out, and the commit does not have it");
        let repair = "see who has changed the lock: `cargo xtask verify` compares it with SHA256SUMS";
        Finding::warning(&lock_name, what, repair)
    }));
    let verdict = match (any_error(&findings), is_same) {
        (true, _) => Verdict::Different,
        (false, true) => Verdict::Same,
        (false, false) => Verdict::Encoder,
    };
    let Rebuilt { entries, sha256, tar_sha256, .. } = rebuilt;
    Outcome { verdict, findings, differences, entries, sha256, tar_sha256 }
}

/// A file that is not the one that its lock records, while the commit makes that one: it was damaged, or changed, since.
fn damaged_since(subject: &Subject, rebuilt: &Rebuilt, sha256: &str) -> Option<Finding> {
    let Subject { lock, lock_path, .. } = subject;
    let recorded = lock.tarball_sha256.as_deref().filter(|recorded| *recorded == rebuilt.sha256)?;
    if sha256 == recorded {
        return None;
    }
    let name = show(subject.shown());
    let what = format!(
        "is not the file that {} records: it has SHA-256 {sha256}, and not {recorded}. Its commit makes the one that is \
         recorded, so this file was damaged or changed since",
        show(lock_path)
    );
    let commit = lock.git_commit.as_deref().unwrap_or_default();
    let repair = format!(
        "do not deploy it, and replace it: `cargo xtask snapshot --rev {commit:.12} --version {} --output-dir DIR` makes the \
         recorded one; copy {} from there over it, and run `cargo xtask verify` on it",
        word(&lock.version),
        show(Path::new(lock.tarball.as_deref().unwrap_or_default()))
    );
    Some(Finding::error(name, what, repair))
}

fn says(said: &Option<String>, digest: &str) -> bool {
    said.as_deref() == Some(digest)
}

/// Whether it says something else.
fn is_another(said: &Option<String>, digest: &str) -> bool {
    said.as_deref().is_some_and(|said| said != digest)
}

fn is(stream: &Stream, tar_sha256: &str) -> bool {
    stream.broken.is_none() && stream.sha256.is_some_and(|digest| hex(&digest) == tar_sha256)
}

/// Of a lock whose bundle was compared byte for byte.
fn of_lock(name: &str, lock: &ReleaseLock, rebuilt: &Rebuilt, is_same: bool) -> Option<Finding> {
    let tar = !says(&lock.tar_sha256, &rebuilt.tar_sha256);
    let bytes = is_same && !says(&lock.tarball_sha256, &rebuilt.sha256);
    let field = match (tar, bytes) {
        (true, _) => "tar_sha256",
        (_, true) => "tarball_sha256",
        _ => return None,
    };
    let what = format!("has another `{field}` than the bundle that its commit makes");
    Some(Finding::error(name, what, LOCK_REPAIR))
}

/// The same tar stream in other bytes, which may be those that the lock lists.
fn packed_otherwise(name: &str, lock: &ReleaseLock, is_listed: bool) -> Finding {
    let (own, level) = (Codec::Gzip.encoder(), Codec::Gzip.level());
    match &lock.encoder {
        Some(encoder) if is_listed && (&*encoder.name, encoder.level) != (own, level) => {
            let what = format!(
                "holds the same tar stream, packed by {} level {}; this tool has {own} level {level}",
                encoder.name, encoder.level
            );
            let repair = format!(
                "its content is sound; to compare the packed bytes as well, use the version that made it ({})",
                lock.tool_version
            );
            Finding::warning(name, what, repair)
        }
        _ => {
            let what =
                "holds the same tar stream in other gzip bytes than the encoder makes that its lock names";
            let repair = "its content is sound, and it was packed anew since: publish the one that `cargo xtask snapshot` \
                          makes";
            Finding::error(name, what, repair)
        }
    }
}

/// A finding for each entry that differs, and for the stream where it could not be read.
fn of_stream(name: &str, stream: &Stream, differences: &[Difference]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut left = 0;
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for difference in differences {
        let path = if difference.path == WHOLE { name } else { &difference.path };
        match groups.iter().rposition(|(last, _)| *last == path) {
            Some(at) => groups[at].1.push(told_of(difference)),
            None if groups.len() < LISTED => groups.push((path, vec![told_of(difference)])),
            None => left += 1,
        }
    }
    findings.extend(groups.into_iter().map(|(path, told)| Finding::error(path, told.join("; "), "")));
    if left > 0 {
        findings.push(Finding::error(
            name,
            format!("and {left} more differences, all of them in --json"),
            "",
        ));
    }
    if let Some(error) = &stream.broken {
        let read = stream.entries.len();
        let what = format!("cannot be read behind {read} entries: {error}");
        findings.push(Finding::error(name, what, ""));
    }
    findings
}

fn told_of(difference: &Difference) -> String {
    let Difference { field, bundle, rebuilt, .. } = difference;
    match (*field, bundle, rebuilt) {
        (_, Some(bundle), None) => format!("is in the bundle alone ({bundle})"),
        (_, None, Some(rebuilt)) => format!("is missing in the bundle ({rebuilt})"),
        ("order", Some(bundle), Some(rebuilt)) => format!("order: stands {bundle}, rebuilt {rebuilt}"),
        (field, bundle, rebuilt) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            format!("{field}: {}, rebuilt {}", text(bundle), text(rebuilt))
        }
    }
}

/// Another tar stream without an entry to name.
fn no_entry(subject: &Subject, rebuilt: &Rebuilt) -> String {
    let lock = &subject.lock;
    let said = lock.tar_sha256.as_deref().unwrap_or_default();
    let what = format!("its commit makes the tar stream {}, and its lock says {said}", rebuilt.tar_sha256);
    match subject.tarball {
        Some(_) => format!("{what}; no entry shows where they differ"),
        None => format!("{what}; put its tarball beside the lock to see which entries differ"),
    }
}
