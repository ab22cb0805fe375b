//! What a bundle may hold, by names, sizes and the first bytes of small files: each doubt is a finding that says what to
//! do. An `error` refuses the bundle before anything is written.
//!
//! It errs on the side of asking: what is named like a secret is refused until somebody has allowed it by name. Secrets
//! that are named like anything else are not found. Pure: sees no world.
use crate::finding::Finding;
use crate::shown::show_bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization as _;

/// Whether the content of submodules is bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Submodules {
    /// No: the lock says their commits.
    #[default]
    Record,
    /// Yes, as their commits have it.
    Include,
}

/// What becomes of Git LFS pointers, whose content is not in the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lfs {
    /// The bundle is refused.
    #[default]
    Refuse,
    /// They are bundled as they are.
    Pointer,
}

/// What a bundle may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// What becomes of Git LFS pointers.
    pub lfs: Lfs,
    /// Paths of the bundle that look like secrets, and may be in it.
    pub allow_secrets: Vec<String>,
    /// Bytes of the largest file that is not refused; `None`: above [`LARGE`] there is a warning.
    pub max_file_size: Option<u64>,
}

/// Bytes above which a file is told: no forge takes it in a repository.
pub const LARGE: u64 = 100_000_000;
/// An LFS pointer is smaller than this (git-lfs, `docs/spec.md`).
const LFS_MAX: u64 = 1024;
const LFS_MAGIC: &[u8] = b"version https://git-lfs.github.com/spec/";
/// No key and no settings of npm are larger.
const KEY_MAX: u64 = 1 << 18;
/// Names that Windows reserves, whatever stands behind a dot ("Naming Files, Paths, and Namespaces").
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A file as it goes into a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// In the bundle.
    pub path: &'a [u8],
    /// Bytes.
    pub size: u64,
    /// Its content where [`wanted`] says so, else empty.
    pub content: &'a [u8],
    /// Whether `git archive` would fill in what is `$Format:…$` in it.
    pub export_subst: bool,
}

/// Whether the content of a file has to be looked at.
pub fn wanted(path: &[u8], size: u64, export_subst: bool) -> bool {
    size > 0 && (size < LFS_MAX || export_subst || size <= KEY_MAX && by_content(&lower(path)).is_some())
}

impl Policy {
    /// What there is to say of one file.
    pub fn of_file(&self, file: Candidate<'_>, findings: &mut Vec<Finding>) {
        let name = show_bytes(file.path);
        if file.content.starts_with(LFS_MAGIC) && file.size < LFS_MAX {
            let what = "is a Git LFS pointer; the file that it points to is not in the bundle";
            findings.push(match self.lfs {
                Lfs::Pointer => Finding::warning(&name, what, "keep the LFS store with the bundle"),
                Lfs::Refuse => {
                    let repair = "leave it out with `exclude`, or set `lfs = \"pointer\"` in [release] to bundle the \
                                  pointer and keep the LFS store with the bundle; and commit recovery.toml";
                    Finding::error(&name, what, repair)
                }
            });
        }
        if file.export_subst && has_placeholder(file.content) {
            let what =
                "has `$Format:…$` in it, which `git archive` fills in (export-subst) and a bundle does not";
            let repair = "have the build write what is filled in there, and take the attribute away: what it becomes \
                          depends on the clone";
            findings.push(Finding::warning(&name, what, repair));
        }
        if let Some(why) = secret(file) {
            if self.allow_secrets.contains(&name) {
                findings.push(Finding::info(&name, format!("{why}; `allow-secrets` lets it in")));
            } else {
                let repair = format!(
                    "take it out of the repository and change the secret; or leave it out with `exclude`; if it is none, \
                     set `allow-secrets = [{name:?}]` in [release]; and commit recovery.toml"
                );
                findings.push(Finding::error(&name, why, repair));
            }
        }
        let most = self.max_file_size.unwrap_or(LARGE);
        if file.size > most {
            let what = format!("has {} bytes, more than {most}", file.size);
            findings.push(match self.max_file_size {
                Some(_) => {
                    let repair = "leave it out with `exclude`, or raise `max-file-size` in [release]; and commit recovery.toml";
                    Finding::error(&name, what, repair)
                }
                None => {
                    let repair = "leave it out with `exclude`, or set `max-file-size` in [release] to what it may have; and commit recovery.toml";
                    Finding::warning(&name, what, repair)
                }
            });
        }
    }

    /// What there is to say of all names together, sorted as they stand in a bundle.
    pub fn of_names<'a>(&self, paths: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<Finding> {
        let mut findings = collisions(paths.clone());
        let odd: Vec<&[u8]> = paths.clone().filter(|path| !fits_windows(path)).collect();
        if let Some(first) = odd.first() {
            let more = match odd.len() {
                1 => String::new(),
                count => format!(", nor can those of {} more", count - 1),
            };
            findings
                .push(Finding::info(show_bytes(first), format!("has a name that Windows cannot hold{more}")));
        }
        let there: BTreeSet<String> = match self.allow_secrets.is_empty() {
            true => BTreeSet::new(),
            false => paths.map(show_bytes).collect(),
        };
        for name in self.allow_secrets.iter().filter(|name| !there.contains(*name)) {
            findings.push(Finding::info(name, "is in `allow-secrets`, and not in the bundle"));
        }
        findings
    }
}

/// Names that a file system which tells neither case nor Unicode forms apart takes for one: of each pair the second. A
/// folder counts with what is in it.
fn collisions<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<Finding> {
    let mut seen: BTreeMap<String, &[u8]> = BTreeMap::new();
    let mut found = Vec::new();
    let mut last: &[u8] = b"";
    for path in paths {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for prefix in ends.chain([path.len()]).map(|end| &path[..end]) {
            // What the path in front had too was looked at then.
            if last.starts_with(prefix) && last.get(prefix.len()) == Some(&b'/') {
                continue;
            }
            let other = *seen.entry(folded(prefix)).or_insert(prefix);
            if other != prefix {
                let what = format!(
                    "is one name with {} where case or Unicode forms do not count",
                    show_bytes(other)
                );
                let repair = "rename one of them: on macOS and Windows one takes the place of the other";
                found.push(Finding::warning(show_bytes(prefix), what, repair));
            }
        }
        last = path;
    }
    found
}

/// A name as such a file system compares it; bytes that are no text stay apart.
fn folded(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if text.is_ascii() => text.to_ascii_lowercase(),
        Ok(text) => text.nfd().flat_map(char::to_lowercase).nfc().collect(),
        Err(_) => show_bytes(path),
    }
}

fn fits_windows(path: &[u8]) -> bool {
    let good = |part: &[u8]| {
        let odd = |byte: &u8| matches!(byte, 0..=31 | b'<' | b'>' | b':' | b'"' | b'|' | b'?' | b'*' | b'\\');
        let stem = lower(part.split(|byte| *byte == b'.').next().unwrap_or_default());
        let port = stem.strip_prefix("com").or(stem.strip_prefix("lpt"));
        let reserved =
            RESERVED.contains(&&*stem) || port.is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']));
        !part.iter().any(odd) && !part.ends_with(b".") && !part.ends_with(b" ") && !reserved
    };
    path.split(|byte| *byte == b'/').all(good)
}

fn has_placeholder(content: &[u8]) -> bool {
    const BEGIN: &[u8] = b"$Format:";
    let begin = content.windows(BEGIN.len()).position(|window| window == BEGIN);
    begin.is_some_and(|at| content[at + BEGIN.len()..].contains(&b'$'))
}

/// Why a file looks like a secret, if it does.
fn secret(file: Candidate<'_>) -> Option<String> {
    let name = lower(file.path);
    let name = name.rsplit('/').next().unwrap_or_default();
    if file.size == 0 {
        return None;
    }
    let by_name = by_name(name).map(|what| format!("is named like {what}"));
    by_name
        .or_else(|| by_content(name).filter(|mark| mark(file.content)).map(|_| "holds a secret".to_owned()))
        .or_else(|| is_private_key(file.content).then(|| "holds a private key".to_owned()))
}

/// What a file with such a name holds.
fn by_name(name: &str) -> Option<&'static str> {
    const EXAMPLES: [&str; 6] = ["example", "sample", "template", "dist", "defaults", "schema"];
    let environment = name == ".env" || name.starts_with(".env.") || name.ends_with(".env");
    if environment && !EXAMPLES.contains(&name.rsplit('.').next().unwrap_or_default()) {
        // `example.env` is as common as `.env.example`.
        let stem = name.strip_suffix(".env").unwrap_or_default();
        return (!EXAMPLES.contains(&stem.rsplit('.').next().unwrap_or_default()))
            .then_some("an environment with secrets");
    }
    match name {
        "auth.json" | "credentials" | "credentials.json" | ".git-credentials" | ".netrc" | "_netrc"
        | ".pgpass" | ".pypirc" | ".htpasswd" => Some("credentials"),
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ecdsa_sk" | "id_ed25519" | "id_ed25519_sk" => {
            Some("a private key")
        }
        _ if [".p12", ".pfx", ".jks", ".keystore"].iter().any(|end| name.ends_with(end)) => {
            Some("a store of private keys")
        }
        _ if name.ends_with(".ppk") => Some("a private key"),
        _ => None,
    }
}

/// How the content of a file with such a path shows that it is a secret.
fn by_content(path: &str) -> Option<fn(&[u8]) -> bool> {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        ".npmrc" => Some(has_token),
        _ if [".pem", ".key", ".p8", ".asc"].iter().any(|end| name.ends_with(end)) => Some(has_private_key),
        _ => None,
    }
}

/// That of RFC 7468 and its like, or of OpenPGP (RFC 9580).
fn has_private_key(content: &[u8]) -> bool {
    let has = |mark: &[u8]| content.windows(mark.len()).any(|window| window == mark);
    has(b"PRIVATE KEY-----") || has(b"PRIVATE KEY BLOCK-----")
}

/// Whether a file is a private key and nothing else, whatever it is called; known of those whose content was looked at.
fn is_private_key(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(b"-----BEGIN ") && has_private_key(content)
}

/// A token that is written out, and not taken from the environment (`${NPM_TOKEN}`).
fn has_token(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.lines().filter_map(|line| line.split_once('=')).any(|(key, value)| {
        let key = key.trim();
        let secret = ["_authToken", "_auth", "_password"].iter().any(|name| {
            key.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with(':'))
        });
        let value = value.trim().trim_matches(['"', '\'']);
        secret && !value.is_empty() && !value.starts_with("${")
    })
}

fn lower(path: &[u8]) -> String {
    String::from_utf8_lossy(path).to_lowercase()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
