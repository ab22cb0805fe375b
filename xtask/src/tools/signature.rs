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
    sign_with("gpg", key, bytes, DEADLINE)
}

fn sign_with(program: &str, key: &str, bytes: &[u8], deadline: Duration) -> Result<Vec<u8>> {
    let args = ["--pinentry-mode", "error", "--local-user", key, "--armor", "--output", "-", "--detach-sign"];
    let signed = run(program, &args, bytes, deadline)?;
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
        _ => Checked::Unreadable(said(stderr)),
    }
}

/// What gpg itself says, without its advice on how to call it.
fn said(stderr: &str) -> String {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("gpg: ")).map(str::trim);
    let own = lines.filter(|line| !line.starts_with("the signature could not be verified"));
    let said = own.collect::<Vec<_>>().join("; ");
    if said.is_empty() { "it says nothing of it".into() } else { said }
}

fn gpg(args: &[&str], input: &[u8]) -> Result<Output> {
    run("gpg", args, input, DEADLINE)
}

fn run(program: &str, args: &[&str], input: &[u8], deadline: Duration) -> Result<Output> {
    let shell = shell_in(Path::new("/"))?;
    // No key is looked for in the network.
    let quiet =
        ["--no-auto-key-locate", "--no-auto-key-retrieve", "--disable-dirmngr", "--batch", "--no-tty"];
    let call = expression(cmd!(shell, "{program} {quiet...} {args...}")).stdin_bytes(input);
    let hung = || {
        let mut error = failed("gpg", &format!("no answer in {} s", deadline.as_secs()), "");
        if let Error::Tool { next, .. } = &mut error {
            *next = "see what it waits for: `gpgconf --kill gpg-agent` often helps".into();
        }
        error
    };
    finish(call, "gpg", deadline)?.ok_or_else(hung)
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
        let said =
            "gpg: no valid OpenPGP data found.\ngpg: the signature could not be verified.\nPlease remember\n";
        let broken = told("[GNUPG:] NODATA 4\n", said);
        assert_eq!(broken, Checked::Unreadable("no valid OpenPGP data found.".into()));
        let name = told("VALIDSIG A 0 0 0 0 0 0 0 0 A", "");
        assert!(matches!(name, Checked::Unreadable(_)), "a name is no status: {name:?}");
    }

    /// As one that waits for an agent which does not answer; a child of it holds its streams, too.
    #[test]
    fn one_that_hangs_while_it_signs_is_ended_and_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().expect("a folder");
        let (script, mark) = (home.path().join("gpg"), home.path().join("hangs"));
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *--detach-sign*) echo $$ > '{0}'; sleep 600 & wait;; esac\n",
            mark.display()
        );
        std::fs::write(&script, text).expect("writes");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("sets");
        let program = script.display().to_string();
        let error = sign_with(&program, "ABCD", b"record", Duration::from_millis(500)).expect_err("hangs");
        assert!(error.to_string().contains("gpg failed (no answer in 0 s)"), "{error}");
        assert!(error.next_step().is_some_and(|next| next.contains("gpg-agent")), "{error:?}");
        let pid = std::fs::read_to_string(&mark).expect("it was asked to sign");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z")), "it still runs");
        run(&program, &["--list-keys"], b"", Duration::from_secs(60)).expect("other calls are answered");
    }

    #[test]
    fn the_fingerprints_of_primary_keys_are_found() {
        let listing = "tru::1:\nsec:u:255:22:K1:1::\nfpr:::::::::AAAA:\nuid:u\nssb:u:\nfpr:::::::::BBBB:\n\
                       sec:u:255:22:K2:1::\nfpr:::::::::CCCC:\n";
        assert_eq!(primary_fingerprints(listing), ["AAAA", "CCCC"]);
        assert!(primary_fingerprints("").is_empty());
    }
}
