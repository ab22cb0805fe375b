//! `recovery.toml` as it is written: keys, types, ranges. An unknown key names the nearest known one and the line.
use super::live::{self, Consistency, Live};
use super::proof::Proof;
use super::{DataSet, Deploy, Destination, Drill, Encryption, Notify};
use crate::archive::codec::Codec;
use crate::destination::place::Place;
use crate::destination::remote::Remote;
use crate::destination::retention::Policy;
use crate::error::{Error, Result};
use crate::source::policy::{Lfs, Submodules};
use crate::source::rules::Databases;
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The newest schema that is read.
const SCHEMA: u32 = 1;
/// A mistake, and what to write instead.
pub(super) type Mistake = (String, String);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    schema: Option<u32>,
    #[serde(default)]
    pub release: RawRelease,
    #[serde(default)]
    pub data: BTreeMap<String, RawSet>,
    #[serde(default)]
    pub destination: BTreeMap<String, RawDestination>,
    #[serde(default)]
    pub drill: RawDrill,
    #[serde(default)]
    pub notify: RawNotify,
    #[serde(default)]
    pub docker: RawDocker,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRelease {
    pub name: Option<String>,
    pub version_from: Option<String>,
    pub output_dir: Option<String>,
    #[serde(default)]
    pub exclude: Vec<String>,
    #[serde(default)]
    pub include: Vec<String>,
    pub keep: Option<i64>,
    pub env: Option<String>,
    pub root: Option<String>,
    #[serde(default)]
    pub submodules: Submodules,
    #[serde(default)]
    pub lfs: Lfs,
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    pub max_file_size: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSet {
    pub source: String,
    #[serde(default)]
    exclude: Vec<String>,
    destination: Option<OneOrMore>,
    #[serde(default)]
    key_files: Vec<String>,
    backup_every: Option<String>,
    #[serde(default)]
    sqlite: Databases,
    #[serde(default)]
    consistency: Consistency,
    pub stage_dir: Option<String>,
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
    hook_timeout: Option<String>,
    hook_environment: Option<Vec<String>>,
    #[serde(default)]
    exclude_caches: bool,
    #[serde(default)]
    one_file_system: bool,
    max_size: Option<String>,
    canary: Option<String>,
    sample: Option<String>,
}

/// `"a"` or `["a", "b"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDestination {
    pub path: String,
    pub mount: Option<String>,
    ssh: Option<String>,
    retry_for: Option<String>,
    confirm: Option<String>,
    confirm_timeout: Option<String>,
    quota: Option<String>,
    alert_at_percent: Option<i64>,
    keep: Option<i64>,
    keep_daily: Option<i64>,
    keep_weekly: Option<i64>,
    keep_monthly: Option<i64>,
    keep_yearly: Option<i64>,
    keep_within: Option<String>,
    min_age: Option<String>,
    compression: Option<Codec>,
    passphrase_env: Option<String>,
    recipients: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDrill {
    pub evidence_dir: Option<String>,
    spot_every: Option<String>,
    full_every: Option<String>,
    verify_every: Option<String>,
    #[serde(default)]
    release_checks: Vec<String>,
    check_timeout: Option<String>,
    stop: Option<String>,
    start: Option<String>,
    #[serde(default)]
    smoke: Vec<String>,
    rto_target: Option<String>,
    rpo_target: Option<String>,
    environment: Option<Vec<String>>,
    pub deploy_dir: Option<String>,
    deploy: Option<String>,
    pub aside_dir: Option<String>,
    keep_aside: Option<String>,
    sign_with: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNotify {
    #[serde(default)]
    on_success: Vec<String>,
    #[serde(default)]
    on_failure: Vec<String>,
    pub ping_url_file: Option<String>,
    timeout: Option<String>,
    environment: Option<Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDocker {
    pub image: Option<String>,
    pub backup_dir: Option<String>,
    #[serde(default)]
    pub prod: RawDeployment,
    #[serde(default)]
    pub dev: RawDeployment,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDeployment {
    pub tag: Option<String>,
    pub service: Option<String>,
    pub compose_files: Option<Vec<String>>,
    pub project: Option<String>,
    pub env_file: Option<String>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Raw> {
    let raw: Raw = toml::from_str(text).map_err(|error| mistake(path, text, &error))?;
    match raw.schema {
        Some(schema) if schema > SCHEMA => Err(Error::Config {
            path: path.to_owned(),
            what: format!("it has schema {schema}, newer than {SCHEMA}, the newest this version reads"),
            next: "use a newer version of this tool".into(),
        }),
        _ => Ok(raw),
    }
}

/// Characters of a wrong line that are shown.
const SHOWN: usize = 80;

fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place =
        line.map_or_else(|| path.to_owned(), |line| PathBuf::from(format!("{}:{line}", path.display())));
    let (what, next) = unknown_key(error.message()).unwrap_or_else(|| {
        let at = line.and_then(|line| text.lines().nth(line - 1)).map_or("", str::trim);
        let at: String = at.chars().take(SHOWN).collect();
        (
            format!("{} in `{at}`", said(error.message())),
            "see the commented file that `cargo xtask init --dry-run` prints".into(),
        )
    });
    Error::Config { path: place, what, next }
}

/// What the parser says, in one line and without the names that Rust has for numbers.
fn said(message: &str) -> String {
    let number = |message: String, kind| message.replace(kind, "expected a whole number");
    ["expected i64", "expected u64", "expected u32", "expected u8"]
        .into_iter()
        .fold(message.replace('\n', "; "), number)
}

/// Of "unknown field `kep`, expected one of `name`, `keep`" the nearest key.
fn unknown_key(message: &str) -> Option<Mistake> {
    let quoted: Vec<&str> = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))?;
    Some((
        format!("unknown key `{unknown}`: did you mean `{nearest}`?"),
        format!("known here: {}", known.join(", ")),
    ))
}

/// A number of artifacts to keep: at least one.
pub(super) fn count(key: &str, value: i64) -> Result<u32, Mistake> {
    u32::try_from(value)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| (format!("{key} is {value}"), "give 1 or more, or leave that rule out".into()))
}

pub(super) fn bytes(key: &str, text: &str) -> Result<u64, Mistake> {
    let wrong =
        || (format!("{key} is {text:?}, not a size"), "write it like \"15 GB\" or \"500 MiB\"".to_owned());
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..at].parse().map_err(|_| wrong())?;
    let unit = match text[at..].trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        _ => return Err(wrong()),
    };
    Ok((number * unit) as u64)
}

/// A span of time such as `10m`, `31d`, `2w`.
fn span(key: &str, text: &str) -> Result<SignedDuration, Mistake> {
    let wrong = || {
        (
            format!("{key} is {text:?}, not a span of time"),
            "write it like \"10m\", \"31d\" or \"2w\"".to_owned(),
        )
    };
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: i64 = text[..at].parse().map_err(|_| wrong())?;
    let unit = match text[at..].trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(SignedDuration::from_secs).ok_or_else(wrong)
}

fn some_span(key: &str, text: Option<&String>) -> Result<Option<SignedDuration>, Mistake> {
    text.map(|text| span(key, text)).transpose()
}

/// How often something is to be done.
fn cadence(key: &str, text: Option<&String>) -> Result<Option<SignedDuration>, Mistake> {
    match some_span(key, text)? {
        Some(every) if every.is_zero() => {
            Err((format!("{key} is 0"), "give more than that, or leave it out".into()))
        }
        every => Ok(every),
    }
}

impl RawSet {
    pub(super) fn resolve(self, name: String, at: &dyn Fn(&str) -> PathBuf) -> Result<DataSet, Mistake> {
        if self.source.is_empty() {
            return Err((format!("data.{name}.source is empty"), "name a folder".into()));
        }
        let key = |key: &str| format!("data.{name}.{key}");
        let timeout = some_span(&key("hook-timeout"), self.hook_timeout.as_ref())?;
        let live = Live {
            consistency: self.consistency,
            stage_dir: self.stage_dir.as_deref().map(at),
            before: self.before,
            after: self.after,
            hook_timeout: timeout.map_or(super::TEN_MINUTES, SignedDuration::unsigned_abs),
            hook_environment: self.hook_environment.unwrap_or_else(live::environment),
            exclude_caches: self.exclude_caches,
            one_file_system: self.one_file_system,
            max_size: self.max_size.as_ref().map(|text| bytes(&key("max-size"), text)).transpose()?,
        };
        Ok(DataSet {
            live,
            proof: Proof::of(self.canary, self.sample.as_ref(), &key)?,
            source: at(&self.source),
            exclude: self.exclude,
            destinations: match self.destination {
                None => Vec::new(),
                Some(OneOrMore::One(name)) => vec![name],
                Some(OneOrMore::More(names)) if names.is_empty() => {
                    return Err((
                        format!("data.{name}.destination is empty"),
                        "name one, or leave it out".into(),
                    ));
                }
                Some(OneOrMore::More(names)) => names,
            },
            key_files: self.key_files,
            backup_every: cadence(&format!("data.{name}.backup-every"), self.backup_every.as_ref())?,
            sqlite: self.sqlite,
            name,
        })
    }
}

impl RawDestination {
    pub(super) fn resolve(self, name: String, at: &dyn Fn(&str) -> PathBuf) -> Result<Destination, Mistake> {
        let key = |key: &str| format!("destination.{name}.{key}");
        let number = |what: &str, value: Option<i64>| value.map(|value| count(&key(what), value)).transpose();
        let keep = Policy {
            keep: number("keep", self.keep)?,
            daily: number("keep-daily", self.keep_daily)?,
            weekly: number("keep-weekly", self.keep_weekly)?,
            monthly: number("keep-monthly", self.keep_monthly)?,
            yearly: number("keep-yearly", self.keep_yearly)?,
            within: some_span(&key("keep-within"), self.keep_within.as_ref())?,
            min_age: some_span(&key("min-age"), self.min_age.as_ref())?.unwrap_or_default(),
        };
        let alert = self.alert_at_percent.unwrap_or(80);
        let alert_at_percent = u8::try_from(alert).ok().filter(|percent| (1..=100).contains(percent));
        let encryption = match (self.passphrase_env, self.recipients) {
            (Some(_), Some(_)) => {
                let what = format!("{} and recipients are both set", key("passphrase-env"));
                return Err((what, "keep one of the two".into()));
            }
            // Not shown: it may be the passphrase itself.
            (Some(variable), None) if !is_variable(&variable) => {
                return Err((
                    format!("{} is not the name of a variable", key("passphrase-env")),
                    "write the name of the environment variable that holds the passphrase, such as \"BACKUP_KEY\"".into(),
                ));
            }
            (Some(variable), None) => Some(Encryption::Passphrase { variable }),
            (None, Some(names)) if names.iter().all(|name| name.trim().is_empty()) => {
                return Err((
                    format!("{} is empty", key("recipients")),
                    "name a key, or leave it out".into(),
                ));
            }
            (None, Some(names)) => Some(Encryption::Recipients(names)),
            (None, None) => None,
        };
        let ssh =
            self.ssh.as_deref().unwrap_or("ssh").split_whitespace().map(String::from).collect::<Vec<_>>();
        let remote = Remote::parse(&self.path, &ssh);
        let mistake = match &remote {
            Some(far) if !far.folder.starts_with('/') || far.host.name.starts_with('-') => {
                Some((key("path"), format!("{:?}, not USER@HOST:/FOLDER", self.path)))
            }
            Some(_) if self.mount.is_some() => {
                Some((key("mount"), "set, though the path is on another machine".to_owned()))
            }
            None if self.ssh.is_some() => {
                Some((key("ssh"), "set, though the path is on this machine".to_owned()))
            }
            _ => None,
        };
        if let Some((key, what)) = mistake {
            return Err((format!("{key} is {what}"), "see `destination` in docs/configuration.md".into()));
        }
        let place = match remote {
            Some(remote) => Place { path: remote.path(), mount: None, remote: Some(remote) },
            None => Place { path: at(&self.path), mount: self.mount.as_deref().map(at), remote: None },
        };
        let quota = self.quota.as_ref().map(|text| bytes(&key("quota"), text)).transpose()?;
        if quota == Some(0) {
            return Err((format!("{} is 0", key("quota")), "give more than that, or leave it out".into()));
        }
        let time = |what: &str, text: Option<&String>| {
            Ok::<_, Mistake>(some_span(&key(what), text)?.map(SignedDuration::unsigned_abs))
        };
        Ok(Destination {
            place,
            retry_for: time("retry-for", self.retry_for.as_ref())?.unwrap_or_default(),
            confirm: self.confirm,
            confirm_timeout: time("confirm-timeout", self.confirm_timeout.as_ref())?
                .unwrap_or(super::TEN_MINUTES),
            quota,
            alert_at_percent: alert_at_percent.ok_or_else(|| {
                (format!("{} is {alert}", key("alert-at-percent")), "give 1 to 100".to_owned())
            })?,
            keep,
            compression: self.compression.unwrap_or_default(),
            encryption,
            name,
        })
    }
}

impl RawDrill {
    pub(super) fn resolve(self, at: &dyn Fn(&str) -> PathBuf) -> Result<Drill, Mistake> {
        let timeout = some_span("drill.check-timeout", self.check_timeout.as_ref())?;
        let deploy = match (self.deploy_dir, self.deploy) {
            (Some(_), Some(_)) => {
                let what = "drill.deploy-dir and drill.deploy are both set".to_owned();
                return Err((what, "keep one of the two".into()));
            }
            (Some(folder), None) if at(&folder).components().any(|part| part.as_os_str() == ".git") => {
                let what = format!("drill.deploy-dir is {folder:?}, which is in git's own folder");
                return Err((what, "name the folder that the release runs in".into()));
            }
            (Some(folder), None) => Some(Deploy::Folder(at(&folder))),
            (None, line) => line.map(Deploy::Command),
        };
        let keep_aside = some_span("drill.keep-aside", self.keep_aside.as_ref())?;
        Ok(Drill {
            deploy,
            aside_dir: self.aside_dir.as_deref().map(at),
            keep_aside: keep_aside.unwrap_or(super::A_WEEK),
            evidence_dir: at(self.evidence_dir.as_deref().unwrap_or("docs/drills")),
            spot_every: some_span("drill.spot-every", self.spot_every.as_ref())?,
            full_every: some_span("drill.full-every", self.full_every.as_ref())?,
            verify_every: cadence("drill.verify-every", self.verify_every.as_ref())?,
            release_checks: self.release_checks,
            check_timeout: timeout.map_or(super::TEN_MINUTES, SignedDuration::unsigned_abs),
            stop: self.stop,
            start: self.start,
            smoke: self.smoke,
            rto_target: some_span("drill.rto-target", self.rto_target.as_ref())?,
            rpo_target: some_span("drill.rpo-target", self.rpo_target.as_ref())?,
            environment: self.environment.unwrap_or_else(live::environment),
            sign_with: match self.sign_with {
                // gpg would take it for an option, or for any key that it has.
                Some(key) if key.trim().is_empty() || key.starts_with('-') => {
                    let next = "name a key of your key ring: its fingerprint, or its address";
                    return Err((format!("drill.sign-with is {key:?}, not a key"), next.into()));
                }
                key => key,
            },
        })
    }
}

impl RawNotify {
    pub(super) fn resolve(self, at: &dyn Fn(&str) -> PathBuf) -> Result<Notify, Mistake> {
        let timeout = some_span("notify.timeout", self.timeout.as_ref())?;
        Ok(Notify {
            on_success: self.on_success,
            on_failure: self.on_failure,
            ping_url_file: self.ping_url_file.as_deref().map(at),
            timeout: timeout.map_or(super::notify::ONE_MINUTE, SignedDuration::unsigned_abs),
            environment: self.environment.unwrap_or_else(live::environment),
        })
    }
}

/// Whether a text can be the name of an environment variable (POSIX, Base Definitions 8.1).
fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}
