//! Which passphrase or public keys belong to an archive: the destination's word, else the variable that the runbook
//! names. The environment is handed in, and a value never leaves its [`Secret`].
use super::{Config, Encryption};
use crate::destination::catalog::is_of_shell;
use crate::error::Result;
use crate::tools::gpg::{Key, Secret};
use crate::tools::openpgp::Lock;
use std::path::Path;

/// Where the passphrase is when the configuration does not say.
pub const DEFAULT_VARIABLE: &str = "CODEX_BACKUP_GPG_KEY";

/// Reads an environment variable. What is not UTF-8 in it comes as U+FFFD.
pub type Env = fn(&str) -> Option<String>;

/// What decrypts an artifact: nothing for a plain one; the destination's passphrase; else the user's key ring.
///
/// # Errors
/// When the variable is unset, empty, more than one line, or not UTF-8.
pub fn opening(encrypted: bool, encryption: Option<&Encryption>, env: Env) -> Result<Option<Secret>> {
    match encryption {
        _ if !encrypted => Ok(None),
        // For what was made with a passphrase before.
        Some(Encryption::Recipients(_)) => Ok(Secret::new(DEFAULT_VARIABLE, env(DEFAULT_VARIABLE)).ok()),
        Some(Encryption::Passphrase { variable }) => Secret::new(variable, env(variable)).map(Some),
        None => match env(DEFAULT_VARIABLE) {
            Some(value) => Secret::new(DEFAULT_VARIABLE, Some(value)).map(Some),
            None => Ok(None),
        },
    }
}

/// How a destination's archive may be opened: what the shell tool has made has the passphrase of its own variable, where that
/// is set; and so has what was made with a passphrase that no configuration names.
pub fn encryption_of(archive: &Path, encryption: Option<&Encryption>, env: Env) -> Option<Encryption> {
    let own = is_of_shell(archive) && env(DEFAULT_VARIABLE).is_some();
    let default = || Encryption::Passphrase { variable: DEFAULT_VARIABLE.to_owned() };
    match encryption.filter(|_| !own) {
        None if !own && Lock::of(archive) == Lock::Passphrase => Some(default()),
        encryption => encryption.cloned(),
    }
}

/// What an archive is encrypted to.
///
/// # Errors
/// As [`opening`].
pub fn sealing(encryption: Option<&Encryption>, env: Env) -> Result<Key> {
    match encryption {
        Some(Encryption::Recipients(names)) => Ok(Key::Recipients(names.clone())),
        Some(Encryption::Passphrase { variable }) => {
            Secret::new(variable, env(variable)).map(Key::Passphrase)
        }
        None => Secret::new(DEFAULT_VARIABLE, env(DEFAULT_VARIABLE)).map(Key::Passphrase),
    }
}

/// Every variable that may hold a passphrase.
pub fn variables(config: &Config) -> Vec<&str> {
    let configured = config.destinations.iter().filter_map(|destination| match &destination.encryption {
        Some(Encryption::Passphrase { variable }) => Some(variable.as_str()),
        Some(Encryption::Recipients(_)) | None => None,
    });
    configured.chain([DEFAULT_VARIABLE]).collect()
}
