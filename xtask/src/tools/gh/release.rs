//! A release on a forge's page: looked at, made as a draft, filled, published. Nothing here deletes a release, or changes one
//! that is published.
//!
//! Each function is one call, or one question. A call that fails says so; what it has changed all the same (a draft that was
//! made before the connection was lost) shows when the release is looked at again.
use super::super::failed;
use super::{NO_LOGIN, NOT_THERE, ended, nobody, said, shell};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use xshell::{Cmd, Shell, cmd};

/// No question takes longer.
const ANSWER: Duration = Duration::from_secs(120);
/// No upload takes longer.
pub const TRANSFER: Duration = Duration::from_secs(3600);
/// What to do when a call has failed: all that was done before is found.
const AGAIN: &str = "run it again: it goes on where this one has stopped";

/// A repository on a forge, and the folder of a clone, in which gh runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    /// `HOST/OWNER/NAME`, as `gh --repo` takes it.
    pub repository: String,
    folder: PathBuf,
}

/// A release that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Whether only those may see it who may change it.
    pub draft: bool,
    /// Its page.
    pub url: String,
    /// Its files.
    pub assets: Vec<Asset>,
}

/// A file of a release, as the forge has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256, where the forge tells it.
    pub sha256: Option<String>,
    /// Whether all of it has arrived.
    pub whole: bool,
}

/// Where the text of a release comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notes {
    /// This file.
    File(PathBuf),
    /// The forge, from what was merged since the release before.
    Generated,
}

/// What becomes of a file of the same name that the release has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// It stays, and the upload fails.
    Stay,
    /// It is deleted, and the new one takes its place.
    Replace,
}

/// What the forge's interface (REST, "Get a release") says of one.
#[derive(Deserialize)]
struct Told {
    draft: bool,
    html_url: String,
    assets: Vec<ToldAsset>,
}

#[derive(Deserialize)]
struct ToldAsset {
    name: String,
    size: u64,
    state: String,
    // Since June 2025, and not of what was uploaded before.
    #[serde(default)]
    digest: Option<String>,
}

impl From<ToldAsset> for Asset {
    fn from(told: ToldAsset) -> Self {
        let sha256 = told.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
        let sha256 = sha256.map(str::to_ascii_lowercase);
        Self { name: told.name, bytes: told.size, sha256, whole: told.state == "uploaded" }
    }
}

impl Forge {
    /// The repository that gh finds by the remotes of the clone in `folder`, or the one that is `named` (`[HOST/]OWNER/NAME`).
    ///
    /// # Errors
    /// Without gh, without a login, or where gh finds none.
    pub fn of(folder: &Path, named: Option<&str>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Found {
            url: String,
        }
        let shell = shell(folder)?;
        let text = "gh repo view";
        let found: Found =
            parsed(text, &must(cmd!(shell, "gh repo view --json url {named...}"), text, ANSWER)?)?;
        let repository =
            found.url.strip_prefix("https://").map(|place| place.trim_end_matches('/').to_owned());
        let repository =
            repository.filter(|place| place.split('/').filter(|part| !part.is_empty()).count() == 3);
        let repository = repository.ok_or_else(|| failed(text, "unexpected answer", &found.url))?;
        Ok(Self { repository, folder: folder.to_owned() })
    }

    /// The page that a published release with this tag has.
    pub fn page(&self, tag: &str) -> String {
        format!("https://{}/releases/tag/{}", self.repository, escaped(tag))
    }

    /// The commit that a tag is on there; `None` when there is no such tag.
    ///
    /// # Errors
    /// When gh fails.
    pub fn tag_commit(&self, tag: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Found {
            sha: String,
        }
        let segments: Vec<String> = tag.split('/').map(escaped).collect();
        let answer = self.asked(&format!("commits/tags/{}", segments.join("/")))?;
        answer.map(|bytes| parsed::<Found>("gh api", &bytes).map(|found| found.sha)).transpose()
    }

    /// The release with this tag, a draft or not; `None` when there is none.
    ///
    /// # Errors
    /// When gh fails.
    pub fn release(&self, tag: &str) -> Result<Option<Release>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Found {
            api_url: String,
        }
        let (shell, repository, text) = (self.shell()?, &self.repository, "gh release view");
        let call = cmd!(shell, "gh release view --repo {repository} --json apiUrl -- {tag}");
        let output = in_time(call, text, ANSWER)?;
        if says(text, &output, &NOT_THERE) {
            return Ok(None);
        }
        let found: Found = parsed(text, &good(text, output)?)?;
        // gh does not hand on all that the forge says, so it is asked itself.
        let number =
            found.api_url.rsplit('/').next().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.ok_or_else(|| failed(text, "unexpected answer", &found.api_url))?;
        let Some(answer) = self.asked(&format!("releases/{number}"))? else { return Ok(None) };
        let Told { draft, html_url: url, assets } = parsed("gh api", &answer)?;
        Ok(Some(Release { draft, url, assets: assets.into_iter().map(Asset::from).collect() }))
    }

    /// Makes the release, as a draft without files. The tag has to be there: nobody makes it up.
    ///
    /// # Errors
    /// When gh fails.
    pub fn create_draft(&self, tag: &str, notes: &Notes) -> Result<()> {
        let (shell, repository) = (self.shell()?, &self.repository);
        let notes = match notes {
            Notes::File(file) => vec!["--notes-file".into(), file.clone()],
            Notes::Generated => vec![PathBuf::from("--generate-notes")],
        };
        let early = is_prerelease(tag).then_some("--prerelease");
        let call = cmd!(
            shell,
            "gh release create --repo {repository} --draft --verify-tag --title {tag} {notes...} {early...} -- {tag}"
        );
        must(call, "gh release create", ANSWER).map(drop)
    }

    /// Gives a draft other notes.
    ///
    /// # Errors
    /// When gh fails.
    pub fn set_notes(&self, tag: &str, file: &Path) -> Result<()> {
        let (shell, repository) = (self.shell()?, &self.repository);
        let call = cmd!(shell, "gh release edit --repo {repository} --notes-file {file} -- {tag}");
        must(call, "gh release edit", ANSWER).map(drop)
    }

    /// Uploads a file to a draft; one of its name is in the way, or gives way.
    ///
    /// # Errors
    /// When gh fails, or a file of that name is in the way.
    pub fn upload(&self, tag: &str, file: &Path, former: Former) -> Result<()> {
        // In its folder: what stands behind a `#` of a path would be taken for a label.
        let shell = shell(file.parent().unwrap_or(&self.folder))?;
        let (repository, name) = (&self.repository, file.file_name().unwrap_or_default());
        let clobber = (former == Former::Replace).then_some("--clobber");
        let call = cmd!(shell, "gh release upload --repo {repository} {clobber...} -- {tag} {name}");
        must(call, "gh release upload", TRANSFER).map(drop)
    }

    /// Publishes a draft.
    ///
    /// # Errors
    /// When gh fails.
    pub fn publish(&self, tag: &str) -> Result<()> {
        let (shell, repository) = (self.shell()?, &self.repository);
        let call = cmd!(shell, "gh release edit --repo {repository} --draft=false --verify-tag -- {tag}");
        must(call, "gh release edit", ANSWER).map(drop)
    }

    fn shell(&self) -> Result<Shell> {
        shell(&self.folder)
    }

    /// Asks the forge's interface about this repository; `None` when it knows no such thing.
    fn asked(&self, what: &str) -> Result<Option<Vec<u8>>> {
        let shell = self.shell()?;
        let (host, place) = self.repository.split_once('/').unwrap_or_default();
        let path = format!("repos/{place}/{what}");
        let output = in_time(cmd!(shell, "gh api --hostname {host} {path}"), "gh api", ANSWER)?;
        // 422: no commit is named so.
        if says("gh api", &output, &["(HTTP 404)", "(HTTP 422)"]) {
            return Ok(None);
        }
        good("gh api", output).map(Some)
    }
}

/// Whether a call has ended by itself and says one of these: it has looked, and what was asked for is not there.
fn says(text: &str, output: &Output, words: &[&str]) -> bool {
    let said = said(text, output);
    output.status.code() == Some(1) && words.iter().any(|words| said.contains(words))
}

/// Standard output of a call that must succeed.
fn must(call: Cmd<'_>, text: &str, deadline: Duration) -> Result<Vec<u8>> {
    good(text, in_time(call, text, deadline)?)
}

fn in_time(call: Cmd<'_>, text: &str, deadline: Duration) -> Result<Output> {
    let late = || wrong(text, &format!("no answer in {} s", deadline.as_secs()), "");
    ended(call, text, deadline)?.ok_or_else(late)
}

fn good(text: &str, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = said(text, &output);
    if output.status.code() == Some(NO_LOGIN) {
        return Err(nobody(&said));
    }
    Err(wrong(text, &output.status.to_string(), &said))
}

fn wrong(text: &str, status: &str, said: &str) -> Error {
    Error::Tool { tool: text.into(), status: status.into(), stderr: said.into(), next: next(said).into() }
}

/// What helps. Another try alone does, unless the forge has said that it would not.
fn next(said: &str) -> &'static str {
    let has = |words: &str| said.contains(words);
    if has("HTTP 401") {
        "the login is not good any more: `gh auth login`; in a job, see where GH_TOKEN comes from"
    } else if has("HTTP 403") && !has("rate limit") {
        "this login may not do that: it must be allowed to write to the repository (in a job: `permissions: contents: write`); \
         what was done before is found then"
    } else if has("unknown flag") || has("unknown command") || has("Unknown JSON field") {
        "gh is too old: install a newer one"
    } else {
        AGAIN
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(text: &str, answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).map_err(|error| wrong(text, "unexpected answer", &error.to_string()))
}

/// As a segment of an address (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Whether a tag is that of a version before its release (Semantic Versioning 2.0.0, item 9): `v1.0.0-rc.1`.
fn is_prerelease(tag: &str) -> bool {
    let version = tag.rsplit('/').next().unwrap_or(tag);
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split('+').next().unwrap_or(version);
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |core: &str| core.split('.').count() == 3 && core.split('.').all(number);
    version.split_once('-').is_some_and(|(core, label)| plain(core) && !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_address_that_the_forge_gives_it() {
        let forge = Forge { repository: "github.com/acme/api".into(), folder: "/".into() };
        assert_eq!(forge.page("v1.4.2"), "https://github.com/acme/api/releases/tag/v1.4.2");
        assert_eq!(forge.page("app@1+b"), "https://github.com/acme/api/releases/tag/app%401%2Bb");
    }

    #[test]
    fn another_try_is_advised_only_where_it_can_help() {
        for (said, again) in [
            ("HTTP 502: Bad Gateway", true),
            ("error connecting to api.github.com", true),
            ("HTTP 403: API rate limit exceeded", true),
            ("HTTP 403: Resource not accessible by integration", false),
            ("HTTP 401: Bad credentials", false),
            ("unknown flag: --verify-tag", false),
        ] {
            assert_eq!(next(said) == AGAIN, again, "{said}");
        }
    }

    #[test]
    fn only_a_version_with_a_label_comes_before_its_release() {
        for (tag, early) in [
            ("v1.0.0-rc.1", true),
            ("api/v1.0.0-beta+b-2", true),
            ("v1.0.0", false),
            ("v1.0.0+a-b", false),
            ("git-1a2b3c4d5e6f", false),
            ("v2026-03-01", false),
        ] {
            assert_eq!(is_prerelease(tag), early, "{tag}");
        }
    }

    #[test]
    fn a_digest_counts_only_where_it_is_of_the_kind_that_is_compared() {
        let asset = |text: &str| Asset::from(serde_json::from_str::<ToldAsset>(text).expect("JSON"));
        let told = r#"{"name":"a","size":1,"state":"uploaded","digest":"sha256:AB"}"#;
        assert_eq!(asset(told).sha256.as_deref(), Some("ab"));
        assert_eq!(asset(r#"{"name":"a","size":1,"state":"starter","digest":null}"#).sha256, None);
        assert_eq!(asset(r#"{"name":"a","size":1,"state":"starter","digest":"md5:ab"}"#).sha256, None);
        assert!(!asset(r#"{"name":"a","size":1,"state":"starter"}"#).whole);
    }
}
