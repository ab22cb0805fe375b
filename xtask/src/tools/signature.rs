//! Detached gpg signatures of a few bytes: made with a key of the user, and checked.
//!
//! Nobody is asked for a passphrase (`--pinentry-mode error`): a key that the user's agent does not hold open is an error
//! at once, and so is a gpg that has not ended after a minute. Keys are those of the user's own key ring; none is looked
//! for in the network.
use super::{failed, finish, process::expression, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use xshell::cmd;

/// A signature takes milliseconds; with a smart card seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// The fingerprint of the one secret key that goes by `name`.
///
/// # Errors
/// When there is none, or more than one; when gpg fails.
pub fn fingerprint(name: &str) -> Result<String> {
    let listed = gpg(&["--with-colons", "--list-secret-keys", "--", name], &[])?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut keys = primary_fingerprints(&text).into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(Error::refused(
            format!("{name} names several secret keys of this key ring"),
            "give the fingerprint of one: `gpg --list-secret-keys` shows it",
        )),
        (None, _) => {
            let stderr = String::from_utf8_lossy(&listed.stderr);
            if listed.status.success() || stderr.contains("No secret key") {
                let what = format!("this key ring has no secret key {name}");
                Err(Error::refused(what, "`gpg --list-secret-keys` shows those that it has"))
            } else {
                Err(failed("gpg --list-secret-keys", &listed.status.to_string(), &stderr))
            }
        }
    }
}

/// Of a listing with colons (`doc/DETAILS` of gpg) the fingerprints of primary keys.
fn primary_fingerprints(listing: &str) -> Vec<String> {
    let (mut primary, mut found) = (false, Vec::new());
    for line in listing.lines() {
        let mut fields = line.split(':');
        match fields.next() {
            Some("sec" | "pub") => primary = true,
            Some("fpr") if std::mem::take(&mut primary) => found.extend(fields.nth(8).map(str::to_owned)),
            _ => {}
        }
    }
    found
}

/// The signature of `bytes` by the key with this fingerprint, in armour.
///
/// # Errors
/// When the key is locked, expired or revoked, or gpg fails.
pub fn sign(key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let args = ["--pinentry-mode", "error", "--local-user", key, "--armor", "--output", "-", "--detach-sign"];
    let signed = gpg(&args, bytes)?;
    if signed.status.success() && !signed.stdout.is_empty() {
        return Ok(signed.stdout);
    }
    let stderr = String::from_utf8_lossy(&signed.stderr);
    let mut error = failed("gpg --detach-sign", &signed.status.to_string(), &stderr);
    if let Error::Tool { next, .. } = &mut error {
        *next = format!(
            "`echo | gpg --local-user {key} --detach-sign > /dev/null` must work without asking anything"
        );
    }
    Err(error)
}

/// What gpg says of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is that of these bytes, by the key with this fingerprint.
    Good(String),
    /// It is not that of these bytes.
    Bad,
    /// It is by a key that is not in the key ring.
    UnknownKey(String),
    /// It is that of these bytes, by a key that was revoked.
    Revoked(String),
    /// It is none that gpg can read, and why.
    Unreadable(String),
}

/// Checks the detached signature in the file `signature`.
///
/// # Errors
/// When gpg does not start, or does not end.
pub fn check(signature: &Path, bytes: &[u8]) -> Result<Checked> {
    let path = signature.display().to_string();
    let said = gpg(&["--status-fd", "1", "--verify", "--", &path, "-"], bytes)?;
    Ok(told(&String::from_utf8_lossy(&said.stdout), &String::from_utf8_lossy(&said.stderr)))
}

/// One bad signature in a file spoils those beside it.
fn told(status: &str, stderr: &str) -> Checked {
    let words = |word: &str| {
        let mut lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
        lines.find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(word)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        })
    };
    if words("BADSIG").is_some() {
        return Checked::Bad;
    }
    if let Some(key) = words("NO_PUBKEY") {
        return Checked::UnknownKey(key.join(" "));
    }
    // The tenth word is the primary key, where a subkey has signed.
    let valid = words("VALIDSIG").and_then(|words| words.get(9).or(words.first()).cloned());
    match valid {
        Some(key) if words("REVKEYSIG").is_some() => Checked::Revoked(key),
        Some(key) if words("ERRSIG").is_none() => Checked::Good(key),
        _ => Checked::Unreadable(stderr.lines().last().unwrap_or_default().trim().to_owned()),
    }
}

fn gpg(args: &[&str], input: &[u8]) -> Result<Output> {
    let shell = shell_in(Path::new("/"))?;
    // No key is looked for in the network.
    let quiet =
        ["--no-auto-key-locate", "--no-auto-key-retrieve", "--disable-dirmngr", "--batch", "--no-tty"];
    let call = expression(cmd!(shell, "gpg {quiet...} {args...}")).stdin_bytes(input);
    finish(call, "gpg", DEADLINE)?
        .ok_or_else(|| failed("gpg", &format!("no answer in {} s", DEADLINE.as_secs()), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gpg_says_of_a_signature_is_understood() {
        let valid = "[GNUPG:] VALIDSIG SUB 2026-03-01 1772359200 0 4 0 22 10 00 PRIMARY\n";
        let good = format!("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1234 a b\n{valid}");
        assert_eq!(told(&good, ""), Checked::Good("PRIMARY".into()));
        assert_eq!(told(&format!("{good}[GNUPG:] BADSIG 1234 a b\n"), ""), Checked::Bad);
        assert_eq!(told(&format!("[GNUPG:] REVKEYSIG 1 a\n{valid}"), ""), Checked::Revoked("PRIMARY".into()));
        let unknown = "[GNUPG:] ERRSIG AB 22 10 00 1 9 CD\n[GNUPG:] NO_PUBKEY AB\n";
        assert_eq!(told(unknown, ""), Checked::UnknownKey("AB".into()));
        let broken = told("[GNUPG:] NODATA 4\n", "gpg: no signature\ngpg: not found\n");
        assert_eq!(broken, Checked::Unreadable("gpg: not found".into()));
        assert_eq!(told("VALIDSIG A 0 0 0 0 0 0 0 0 A", ""), Checked::Unreadable(String::new()), "a name");
    }

    #[test]
    fn the_fingerprints_of_primary_keys_are_found() {
        let listing = "tru::1:\nsec:u:255:22:K1:1::\nfpr:::::::::AAAA:\nuid:u\nssb:u:\nfpr:::::::::BBBB:\n\
                       sec:u:255:22:K2:1::\nfpr:::::::::CCCC:\n";
        assert_eq!(primary_fingerprints(listing), ["AAAA", "CCCC"]);
        assert!(primary_fingerprints("").is_empty());
    }
}
