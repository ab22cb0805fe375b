//! The signature of a record: a file `<id>.json.asc` beside it, made with the user's gpg key.
//!
//! It says who vouches for a record, also where its chain was made anew as a whole. A record that could not be signed is
//! stored all the same, and says why among its findings: a drill without evidence would be worse.
use super::chain::Stored;
use super::frame::Frame;
use super::{Evidence, Signature, why};
use crate::destination::read;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use crate::tools::signature::{self, Checked};
use std::path::Path;

/// The signature of the record by `key`, which says so from then on. `None` where there is no key, or where it could not
/// be signed: then an error among its findings says why.
///
/// # Errors
/// Never for values that a drill makes: see [`Evidence::to_json`].
pub(super) fn sign(key: Option<&str>, frame: &Frame, evidence: &mut Evidence) -> Result<Option<Vec<u8>>> {
    let Some(key) = key else { return Ok(None) };
    let attempt = signature::fingerprint(key).and_then(|key| {
        evidence.signature = Some(Signature { key: key.clone(), file: format!("{}.json.asc", evidence.id) });
        let text = evidence.to_json().map_err(Error::format(Path::new(&evidence.id)))?;
        signature::sign(&key, text.as_bytes())
    });
    match attempt {
        Ok(armour) => Ok(Some(armour)),
        Err(error) => {
            evidence.signature = None;
            let why = why(&error);
            let repair = error.next_step().unwrap_or_default();
            let finding = Finding::error("drill", format!("this record could not be signed: {why}"), repair);
            evidence.findings.push(frame.assigned(finding));
            Ok(None)
        }
    }
}

/// What is wrong with the signatures of `records`, which lie in `folder`.
///
/// # Errors
/// When gpg is not installed, or does not answer.
pub fn check(folder: &Path, records: &[Stored]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for record in records {
        if let Some(signature) = &record.evidence.signature
            && let Some(finding) = wrong(folder, record, signature)?
        {
            findings.push(finding);
        }
    }
    Ok(findings)
}

fn wrong(folder: &Path, record: &Stored, claimed: &Signature) -> Result<Option<Finding>> {
    const RESTORE: &str = "bring record and signature back from version control";
    let error = |what: String, repair: &str| Ok(Some(Finding::error(&record.file, what, repair)));
    let path = folder.join(format!("{}.asc", record.file));
    let key = &claimed.key;
    if folder.join(&claimed.file) != path {
        return error("names a signature that is not its own".into(), RESTORE);
    }
    if let Err(why) = read::small(&path) {
        return error(
            format!("says that {key} has signed it, and the signature is gone: {}", why.chain()),
            RESTORE,
        );
    }
    let bytes = read::small(&folder.join(&record.file))?;
    match signature::check(&path, &bytes)? {
        Checked::Good(by) if by == *key => Ok(None),
        Checked::Good(by) => {
            error(format!("says that {key} has signed it, and {} is by {by}", show(&path)), RESTORE)
        }
        Checked::Bad => {
            error(format!("is not what {key} has signed: the signature is of other bytes"), RESTORE)
        }
        Checked::UnknownKey(_) => error(
            format!("is signed by {key}, which this key ring does not have"),
            "import its public key (`gpg --import`) from somebody whom you trust, and run again",
        ),
        Checked::Revoked(by) => {
            error(format!("is signed by {by}, which was revoked"), "ask its owner why, and since when")
        }
        Checked::Unreadable(why) => {
            let what = format!("is signed, and gpg cannot read the signature {}: {why}", show(&path));
            let repair = format!("bring {} back from version control", show(&path));
            error(what, &repair)
        }
    }
}
