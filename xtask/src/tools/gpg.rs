//! gpg as a stream: plaintext in, ciphertext out, and back. No plaintext and no passphrase touches a disk.
//!
//! The passphrase is the first line of gpg's standard input (`--passphrase-fd 0`), and the data stands behind it.
//! For symmetric work gpg gets an empty home folder of its own, so that no agent, key ring or setting of the user takes
//! part; recipients are looked up in the user's own.
use super::idle::Idle;
use super::openpgp::{Lock, locked_with};
use super::private::{self, Private};
use super::process::{environment, signal};
use super::{failed, not_started};
use crate::error::{Error, Result};
use crate::interrupt::interrupted;
use rustix::process::Signal;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

/// How long gpg may neither take nor give anything while we wait for it: somebody may have to type a passphrase.
const PATIENCE: Duration = Duration::from_secs(600);

/// How its home folders are named.
const HOME: &str = "recovery-gnupg-";

/// Whether this run has removed what killed ones left.
static SWEPT: Once = Once::new();

/// A passphrase that never shows itself.
#[derive(Clone)]
pub struct Secret {
    variable: String,
    value: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.variable)
    }
}

impl Secret {
    /// The passphrase in the environment variable `variable`, whose value is `value`.
    ///
    /// # Errors
    /// When it is unset, empty, more than one line, or not UTF-8.
    pub fn new(variable: &str, value: Option<String>) -> Result<Self> {
        let refuse = |what: &str| {
            let next = format!("export {variable} with the passphrase that the backups have");
            Err(Error::refused(format!("the passphrase variable {variable} {what}"), next))
        };
        match value {
            None => refuse("is not set"),
            Some(value) if value.is_empty() => refuse("is empty"),
            Some(value) if value.contains(['\n', '\r', '\0']) => refuse("holds more than one line"),
            Some(value) if value.contains(char::REPLACEMENT_CHARACTER) => refuse("is not UTF-8"),
            Some(value) => Ok(Self { variable: variable.into(), value }),
        }
    }

    /// The name of the variable.
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

/// What an archive is encrypted to.
#[derive(Debug, Clone)]
pub enum Key {
    /// A passphrase.
    Passphrase(Secret),
    /// Public keys in the user's key ring.
    Recipients(Vec<String>),
}

/// A running gpg, and the home folder that must outlive it.
struct Gpg {
    child: Child,
    talk: Option<std::thread::JoinHandle<String>>,
    _home: Option<Private>,
}

impl Gpg {
    #[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
    fn start(args: &[&str], secret: Option<&Secret>) -> Result<Self> {
        let mut command = Command::new("gpg");
        // No key is looked for in the network.
        command.args(["--no-auto-key-locate", "--no-auto-key-retrieve", "--disable-dirmngr"]);
        // Keys are told in lines for programs, among the others.
        command.args(["--batch", "--no-tty", "--quiet", "--yes", "--status-fd", "2"]);
        command.env_clear().envs(environment()).env("LC_ALL", "C");
        let home = match secret {
            None => None,
            Some(_) => {
                let home = Private::new(HOME, &private::temporary())?;
                // Once a run is enough.
                SWEPT.call_once(|| home.sweep_beside(HOME));
                command.env("GNUPGHOME", home.path());
                command.args(["--no-options", "--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
                Some(home)
            }
        };
        // A terminal's Ctrl-C is ours to handle: gpg ends when its standard input does.
        command.args(args).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started("gpg", &error))?;
        let stderr = child.stderr.take();
        let talk = std::thread::spawn(move || stderr.map(listen).unwrap_or_default());
        Ok(Self { child, talk: Some(talk), _home: home })
    }

    /// Waits, and returns how gpg ended and what it said.
    fn end(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait().map_err(|error| failed("gpg", "was lost", &error.to_string()))?;
        let said = self.talk.take().and_then(|talk| talk.join().ok()).unwrap_or_default();
        Ok((status, said))
    }
}

impl Drop for Gpg {
    /// Whoever gave up on it does not leave it running: it would write into a home folder that is being removed.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&[self.child.id()], Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn listen(mut stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    let _ = stderr.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether gpg itself would encrypt a file for `place`: to nowhere.
///
/// # Errors
/// As [`encrypt`].
pub fn may_encrypt(key: &Key, place: &Path) -> Result<()> {
    encrypt(key, place, &mut std::io::sink(), |_| Ok(()))
}

/// Runs `body` on a writer whose bytes come out of `sink`, which is the file `path`, encrypted.
///
/// # Errors
/// Those of `body`, of gpg, and of the sink.
pub fn encrypt<R>(
    key: &Key,
    path: &Path,
    sink: &mut (dyn Write + Send),
    body: impl FnOnce(&mut (dyn Write + Send)) -> Result<R>,
) -> Result<R> {
    let mut args = vec!["--compress-algo", "none", "--output", "-"];
    let secret = match key {
        Key::Passphrase(secret) => {
            args.extend(["--symmetric", "--cipher-algo", "AES256", "--s2k-digest-algo", "SHA512"]);
            // Said in full, because gpg asks its agent for a count that is missing, and there is no agent.
            args.extend(["--s2k-mode", "3", "--s2k-count", "65011712"]);
            Some(secret)
        }
        Key::Recipients(names) => {
            args.extend(["--encrypt", "--trust-model", "always"]);
            names.iter().for_each(|name| args.extend(["--recipient", name]));
            None
        }
    };
    let mut gpg = Gpg::start(&args, secret)?;
    let (Some(plain), Some(cipher)) = (gpg.child.stdin.take(), gpg.child.stdout.take()) else {
        return Err(failed("gpg", "has no pipes", ""));
    };
    let (pid, idle) = (gpg.child.id(), Idle::default());
    let (mut plain, mut cipher) = (idle.feeds(plain), idle.takes(cipher));
    let (written, copied) = std::thread::scope(|scope| {
        scope.spawn(|| idle.attend(pid, PATIENCE));
        let copy = scope.spawn(move || std::io::copy(&mut cipher, sink));
        let prefaced = secret.map_or(Ok(()), |secret| writeln!(plain, "{}", secret.value));
        let written = match prefaced {
            Ok(()) => body(&mut plain),
            Err(error) => Err(failed("gpg", "did not take the passphrase", &error.to_string())),
        };
        drop(plain);
        (written, copy.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if interrupted() {
        return Err(Error::Interrupted);
    }
    if let Some(error) = idle.hung("gpg --encrypt", PATIENCE) {
        return Err(error);
    }
    // The sink's failure is what stops gpg, and gpg's what stops the body: the first cause is told.
    copied.map_err(Error::io("write", path))?;
    let (status, said) = gpg.end()?;
    let said = Said::of(&said);
    if !status.success() {
        return Err(unsealed(key, &status.to_string(), &said));
    }
    let written = written?;
    if !said.encrypted {
        return Err(failed("gpg --encrypt", "does not say that it has encrypted", ""));
    }
    Ok(written)
}

/// Runs `body` on the decrypted bytes of the file `source`. `body` may stop early; what it read then is not yet
/// authenticated, and must have been checked otherwise.
///
/// # Errors
/// Those of `body`; a wrong or missing key; damaged ciphertext. gpg's verdict goes before `body`'s.
pub fn decrypt<R>(
    secret: Option<&Secret>,
    source: &Path,
    body: impl FnOnce(&mut dyn Read) -> Result<R>,
) -> Result<R> {
    let mut file = std::fs::File::open(source).map_err(Error::io("open", source))?;
    let secret = match locked_with(&mut file).map_err(Error::io("read", source))? {
        Lock::PublicKey => None,
        Lock::Passphrase if secret.is_none() => {
            return Err(Error::refused(
                format!("{} is encrypted with a passphrase, and there is none", source.display()),
                "export CODEX_BACKUP_GPG_KEY with it, or name its variable with `passphrase-env` (in place of `recipients`)",
            ));
        }
        Lock::Passphrase | Lock::Unknown => secret,
    };
    let mut gpg = Gpg::start(&["--decrypt", "--output", "-"], secret)?;
    let (Some(cipher), Some(plain)) = (gpg.child.stdin.take(), gpg.child.stdout.take()) else {
        return Err(failed("gpg", "has no pipes", ""));
    };
    let (pid, idle) = (gpg.child.id(), Idle::default());
    let mut cipher = idle.feeds(cipher);
    let preface = secret.map(|secret| format!("{}\n", secret.value));
    let feed = std::thread::spawn(move || {
        // A closed pipe is gpg's or the body's decision; gpg's own verdict tells.
        if preface.is_none_or(|line| cipher.write_all(line.as_bytes()).is_ok()) {
            let _ = std::io::copy(&mut file, &mut cipher);
        }
    });
    let mut plain = UntilEnd { inner: idle.takes(plain), ended: false };
    let attended = idle.clone();
    let watch = std::thread::spawn(move || attended.attend(pid, PATIENCE));
    let value = body(&mut plain);
    if value.is_ok() && !plain.ended {
        // One more byte tells an early stop from the end.
        let mut rest = [0; 1];
        plain.ended = matches!(plain.inner.read(&mut rest), Ok(0));
    }
    let early = !plain.ended;
    drop(plain);
    if early {
        let _ = gpg.child.kill();
    }
    let _ = (feed.join(), watch.join());
    let (status, said) = gpg.end()?;
    if let Some(error) = idle.hung("gpg --decrypt", PATIENCE) {
        return Err(error);
    }
    match value {
        Err(_) if interrupted() => Err(Error::Interrupted),
        _ if !early && !status.success() => Err(refusal(secret, source, &status.to_string(), &said)),
        value => value,
    }
}

/// A stream of which it is known whether it was read to its end.
struct UntilEnd<R> {
    inner: R,
    ended: bool,
}

impl<R: Read> Read for UntilEnd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// What gpg said: its lines for people, and of those for programs (`doc/DETAILS` of gpg) what we ask for.
struct Said<'a> {
    lines: Vec<&'a str>,
    /// Key numbers that a file is encrypted to.
    keys: Vec<&'a str>,
    /// Public keys that cannot be used.
    unusable: Vec<&'a str>,
    /// All that came was encrypted.
    encrypted: bool,
    /// A public key was passed over because its time is over.
    expired: bool,
    /// A passphrase was to be asked for at a terminal.
    asked: bool,
}

impl<'a> Said<'a> {
    fn of(said: &'a str) -> Self {
        let (status, lines): (Vec<_>, Vec<_>) =
            said.lines().map(str::trim).partition(|line| line.starts_with("[GNUPG:]"));
        let status: Vec<Vec<&str>> = status.iter().map(|line| line.split(' ').skip(1).collect()).collect();
        let values = |word: &str, at: usize| {
            let with = status.iter().filter(|words| words.first() == Some(&word));
            with.filter_map(|words| words.get(at).copied()).collect::<Vec<&str>>()
        };
        Self {
            lines,
            keys: values("ENC_TO", 1),
            unusable: values("INV_RECP", 2),
            encrypted: !values("END_ENCRYPTION", 0).is_empty(),
            expired: !values("KEYEXPIRED", 0).is_empty(),
            asked: !values("PINENTRY_LAUNCHED", 0).is_empty(),
        }
    }

    fn any(&self, needles: &[&str]) -> bool {
        self.lines.iter().any(|line| needles.iter().any(|needle| line.contains(needle)))
    }
}

/// What a failure to encrypt means.
fn unsealed(key: &Key, status: &str, said: &Said<'_>) -> Error {
    if let (Key::Recipients(_), false) = (key, said.unusable.is_empty()) {
        let names = said.unusable.join(", ");
        let why = if said.expired {
            "it has expired"
        } else {
            "it is missing, has expired, was revoked, or is one that can only sign"
        };
        return Error::refused(
            format!("gpg encrypts nothing to the public key {names}: {why}"),
            "`gpg --list-keys` lists the keys that there are; `gpg --import` adds or renews one; or change `recipients`",
        );
    }
    failed("gpg --encrypt", status, &said.lines.join("\n"))
}

/// What a failure to decrypt means.
fn refusal(secret: Option<&Secret>, source: &Path, status: &str, said: &str) -> Error {
    let said = Said::of(said);
    if let (Some(secret), true) = (secret, said.any(&["Bad session key", "bad passphrase", "Bad passphrase"]))
    {
        return Error::refused(
            format!("the passphrase in {} does not decrypt {}", secret.variable(), source.display()),
            "set it to the passphrase that was in use when this backup was made",
        );
    }
    if said.any(&["No secret key", "no secret key"]) {
        let keys = said.keys.join(", ");
        let (what, next) = match said.asked {
            true => (
                "the secret key is locked, and there is no terminal to ask for its passphrase",
                "unlock it for gpg-agent (decrypt something with gpg at a terminal), and run again",
            ),
            false => (
                "no key of this machine decrypts it",
                "import one of these secret keys (`gpg --import`), or restore where it is",
            ),
        };
        return Error::refused(format!("{what}: {} is encrypted to the keys {keys}", source.display()), next);
    }
    Error::Damaged {
        path: source.to_owned(),
        what: format!("gpg does not decrypt it ({status}): {}", said.lines.join("; ")),
        next: "restore from another backup".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        Secret::new("TEST_KEY", Some(value.into())).expect("a secret")
    }

    fn sealed(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
        let plain: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let mut cipher = Vec::new();
        encrypt(&Key::Passphrase(secret("right horse")), Path::new("a"), &mut cipher, |sink| {
            sink.write_all(&plain).map_err(Error::io("write", Path::new("pipe")))
        })
        .expect("encrypts");
        let path = folder.join("a.gpg");
        std::fs::write(&path, cipher).expect("writes");
        (path, plain)
    }

    fn open(value: &str, path: &Path) -> Result<Vec<u8>> {
        decrypt(Some(&secret(value)), path, |stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
            Ok(bytes)
        })
    }

    #[test]
    fn what_goes_in_comes_out_and_only_with_the_passphrase() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plain) = sealed(folder.path());
        assert!(open("right horse", &path).expect("decrypts") == plain);
        let wrong = open("wrong horse", &path).expect_err("refused");
        assert!(wrong.to_string().contains("TEST_KEY"), "{wrong}");
        assert!(!format!("{wrong:?}").contains("wrong horse"), "no passphrase in an error");
        let first = decrypt(Some(&secret("right horse")), &path, |stream| {
            let mut byte = [1; 1];
            stream.read_exact(&mut byte).map_err(Error::io("read", &path))?;
            Ok(byte[0])
        });
        assert_eq!(first.expect("an early stop is no failure"), plain[0]);
    }

    #[test]
    fn damaged_ciphertext_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = sealed(folder.path());
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &whole[..whole.len() - 100]).expect("writes");
        assert!(open("right horse", &path).is_err(), "cut short");
        let mut bent = whole.clone();
        bent[whole.len() / 2] ^= 1;
        std::fs::write(&path, bent).expect("writes");
        assert!(matches!(open("right horse", &path), Err(Error::Damaged { .. })), "a flipped bit");
    }

    #[test]
    fn a_variable_that_cannot_be_a_passphrase_is_refused() {
        for value in [None, Some(String::new()), Some("two\nlines".to_owned()), Some("\u{fffd}".to_owned())] {
            assert!(Secret::new("KEY", value).is_err());
        }
    }
}
