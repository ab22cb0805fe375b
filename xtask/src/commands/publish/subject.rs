//! The bundle that is published: which one, whether it is whole, which tag it has, and the files that a release of it holds.
//! Only reads.
use super::plan::{Asset, Content};
use crate::archive::sha256_hex;
use crate::commands::{Context, memory};
use crate::config::Config;
use crate::destination::marker::Sums;
use crate::destination::memory::Memory;
use crate::destination::releases::{self, Bundle};
use crate::destination::retention::AHEAD;
use crate::destination::{named, read, release_url};
use crate::drill::demands::Published;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::restore::{self, Source};
use crate::shown::show;
use crate::tools::git::Repository;
use std::path::{Path, PathBuf};

/// The list of digests that stands in a release, and in the folder of the bundles.
pub(super) const SUMS: &str = "SHA256SUMS";

/// A bundle, and its lock as it lies there.
#[derive(Debug)]
pub(super) struct Subject {
    pub bundle: Bundle,
    pub text: String,
    /// What `SHA256SUMS` says of the lock.
    listed: Option<String>,
    /// The addresses that it has had.
    former: Vec<String>,
}

/// The bundle that `named` is the lock or the tarball of; without it the newest of this release.
///
/// # Errors
/// When there is none, or its lock cannot be read.
pub(super) fn choose(named: Option<&Path>, config: &Config, ctx: &Context) -> Result<Subject> {
    let path = named.map(|path| ctx.path(path));
    let bundle = match &path {
        Some(path) => of_path(path, config)?,
        None => newest(config, ctx)?,
    };
    let text = String::from_utf8_lossy(&read::small(&bundle.lock_path)?).into_owned();
    let listed = releases::listed(&bundle.lock_path)?;
    let former = memory(config).map_or_else(Vec::new, |memory| former(&memory, &bundle.lock_path));
    Ok(Subject { bundle, text, listed, former })
}

/// The addresses that the history knows of a lock: a run that was killed while it replaced one has left the list of digests
/// with the former.
fn former(memory: &Memory, lock: &Path) -> Vec<String> {
    let lock = show(lock);
    let lines = memory.read().unwrap_or_default().records;
    let of_it = lines.iter().filter(|line| line["kind"] == "published" && line["lock"] == *lock);
    of_it.filter_map(|line| line["url"].as_str().map(str::to_owned)).collect()
}

/// What is published has the names that its lock lists.
fn of_path(path: &Path, config: &Config) -> Result<Bundle> {
    let bundle = named::of_file(path, &[&config.release.output_dir])?;
    let listed = bundle.lock.tarball.as_ref().map(|name| bundle.lock_path.with_file_name(name));
    match (&bundle.tarball, listed) {
        (Some(tarball), Some(listed)) if *tarball != listed => {
            let what = format!("the lock of {} calls it {}", show(tarball), show(&listed));
            Err(Error::refused(what, "give it that name, in the folder of its lock"))
        }
        _ => Ok(bundle),
    }
}

fn newest(config: &Config, ctx: &Context) -> Result<Bundle> {
    let (folder, name) = (&config.release.output_dir, &config.release.name);
    let (mut bundles, _) = releases::scan(folder)?;
    named::all_readable(folder, name, &bundles)?;
    bundles.retain(|bundle| bundle.release().is_none_or(|release| release == name));
    let newest = bundles.pop().ok_or_else(|| {
        let what = format!("there is no bundle of {name} in {}", show(folder));
        Error::refused(what, "`cargo xtask snapshot` makes one; or name its lock")
    })?;
    if newest.lock.time().is_some_and(|time| time.duration_since(ctx.now) > AHEAD) {
        let what = format!(
            "the newest bundle, {}, is of a commit that is dated in the future",
            show(&newest.lock_path)
        );
        return Err(Error::refused(what, "name the lock of the bundle that you mean"));
    }
    Ok(newest)
}

pub(super) fn file_name(path: &Path) -> String {
    show(path.file_name().unwrap_or_default().as_ref())
}

impl Subject {
    /// The lock with this address.
    ///
    /// # Errors
    /// When it is not laid out as any lock is.
    pub fn with_url(&self, url: &str) -> Result<String> {
        release_url::set(&self.text, Some(url)).ok_or_else(|| {
            let what = format!("{} has no `release_url` on a line of its own", show(&self.bundle.lock_path));
            Error::refused(what, "set `release_url` in it by hand (`jq '.release_url = \"…\"'`)")
        })
    }

    /// Whether the lock has this address, and `SHA256SUMS` knows it.
    pub fn is_recorded(&self, url: &str) -> Result<bool> {
        Ok(self.with_url(url)? == self.text
            && self.listed.as_deref() == Some(&sha256_hex(self.text.as_bytes())))
    }

    /// That the lock is the one that was made, but for its address: a run that recorded one may have been killed before
    /// `SHA256SUMS` was written, or somebody has set it by hand.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn check_lock(&self) -> Result<()> {
        let refuted = |listed: &String| {
            let as_it_was = |url: &String| release_url::set(&self.text, Some(url));
            let known =
                self.former.iter().filter_map(as_it_was).any(|text| sha256_hex(text.as_bytes()) == *listed);
            releases::refutes(listed, self.text.as_bytes()) && !known
        };
        match self.listed.as_ref().is_some_and(refuted) {
            true => Err(self.damaged(
                "has another SHA-256 than SHA256SUMS says, and not for its `release_url` alone",
                "bring it back from another copy; or remove it, and run `cargo xtask snapshot` of that commit again",
            )),
            false => Ok(()),
        }
    }

    /// What is told of an address that names the tag of something else, as far as one can see.
    pub fn of_another(&self, url: &str) -> Option<Finding> {
        let (Published { tag, .. }, version) = (Published::at(url)?, &self.bundle.lock.version);
        // One that is made of the commit's name stands in no tag, and a working tree has none.
        let is_any = version.starts_with("git-") || version.ends_with("-dirty");
        let what = format!("is of {version}, and the address is that of a release {tag}");
        let repair = "`cargo xtask publish --url URL --replace-url` records another";
        (!is_any && !is_of(&tag, version))
            .then(|| Finding::warning(show(&self.bundle.lock_path), what, repair))
    }

    /// What is told where the lock has another address, which this one takes the place of.
    ///
    /// # Errors
    /// When that is not asked for.
    pub fn replaced(&self, url: &str, asked: bool) -> Result<Option<Finding>> {
        let Some(other) = self.bundle.lock.release_url.as_deref().filter(|known| *known != url) else {
            return Ok(None);
        };
        let lock = show(&self.bundle.lock_path);
        if !asked {
            let what =
                format!("{lock} says already that the bundle was published at {other}, and not at {url}");
            let next = "see which of the two is its release: --replace-url records the new one in its place";
            return Err(Error::refused(what, next));
        }
        Ok(Some(Finding::info(lock, format!("has said until now that it was published at {other}"))))
    }

    /// That it is of a commit: nobody else can make, or check, what is of one working tree.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_clean(&self) -> Result<()> {
        if self.bundle.lock.dirty {
            let lock = show(&self.bundle.lock_path);
            let what = format!("{lock} is of a working tree with edits of its own, not of a commit");
            let next = "commit, run `cargo xtask snapshot`, and publish that; or name another lock";
            return Err(Error::refused(what, next));
        }
        Ok(())
    }

    /// That the tarball that its lock lists, if it lists one, is there and is that.
    ///
    /// # Errors
    /// [`Error::Damaged`]; when it cannot be read.
    pub fn check_tarball(&self) -> Result<()> {
        if let Some(name) = self.bundle.missing() {
            return Err(self.damaged(&format!("lists {name}, which is gone"), REMAKE));
        }
        let lock = &self.bundle.lock;
        let (Some(tarball), Some(recorded)) = (&self.bundle.tarball, &lock.tarball_sha256) else {
            return Ok(());
        };
        match read::digest_file(tarball)?.0 == *recorded || lock.tarball.is_none() {
            true => Ok(()),
            false => Err(self.damaged(&format!("says another SHA-256 than {} has", show(tarball)), REMAKE)),
        }
    }

    /// That it may be published: a whole bundle of a commit, every byte of it read and compared. Returns the commit.
    ///
    /// # Errors
    /// When it may not, or is damaged.
    pub fn check(&self, ctx: &Context) -> Result<&str> {
        let (bundle, lock) = (&self.bundle, show(&self.bundle.lock_path));
        self.check_clean()?;
        if bundle.lock.tarball.is_none() {
            let what = format!("{lock} is a lock alone: there is no tarball to publish");
            return Err(Error::refused(what, "run `cargo xtask snapshot` without --no-tarball"));
        }
        if let Some(name) = bundle.missing() {
            return Err(self.damaged(&format!("lists {name}, which is gone"), REMAKE));
        }
        let Some(commit) = &bundle.lock.git_commit else {
            let what = format!("{lock} does not name its commit in full");
            let next = "publish it with `gh release create`, then record where: `cargo xtask publish --url`";
            return Err(Error::refused(what, next));
        };
        self.check_lock()?;
        let Some(source) = Source::of_bundle(bundle)? else {
            return Err(self.damaged("has no tarball", REMAKE));
        };
        let checked = restore::check(&source, None)?;
        ctx.ui.findings(&checked.findings);
        match checked.findings.into_iter().find(|finding| finding.severity == Severity::Error) {
            Some(worst) => {
                Err(Error::Damaged { path: worst.path.into(), what: worst.what, next: REMAKE.into() })
            }
            None => Ok(commit),
        }
    }

    fn damaged(&self, what: &str, next: &str) -> Error {
        Error::Damaged { path: self.bundle.lock_path.clone(), what: what.into(), next: next.into() }
    }

    /// The tag that it is published under: the one that is `named`, else the one that its commit had for this version, else
    /// its version.
    ///
    /// # Errors
    /// When that is not clear, is no name of a tag, or this clone has it at another commit.
    pub fn tag(&self, named: Option<&str>, commit: &str, repository: &Repository) -> Result<String> {
        let lock = &self.bundle.lock;
        let tag =
            named.map(str::to_owned).or_else(|| tag_of(&lock.version, &lock.tags)).ok_or_else(|| {
                let tags = lock.tags.join(", ");
                let what =
                    format!("no tag of its commit is that of {}, or several are: {tags}", lock.version);
                Error::refused(what, "say with --tag which it is published under")
            })?;
        if !is_tag(&tag) {
            return Err(Error::Usage(format!("{tag:?} is no name of a tag")));
        }
        let here = repository.blobs()?.commit(&format!("refs/tags/{tag}"))?;
        match here.filter(|here| here.sha != commit) {
            None => Ok(tag),
            Some(other) => Err(elsewhere(&tag, "this clone", &other.sha, commit)),
        }
    }

    /// The files of its release: the bundle, its lock with the address, and a list of their digests.
    ///
    /// # Errors
    /// When a file cannot be read, or the forge would give it another name.
    pub fn assets(&self, url: &str) -> Result<Vec<Asset>> {
        let (bundle, mut assets) = (&self.bundle, Vec::new());
        let files = [
            (&bundle.tarball, &bundle.lock.tarball_sha256),
            (&bundle.manifest, &bundle.lock.manifest_sha256),
        ];
        for (path, digest) in files {
            if let (Some(path), Some(digest)) = (path, digest) {
                let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
                let content = Content::File(path.clone());
                assets.push(Asset {
                    name: file_name(path),
                    sha256: digest.to_ascii_lowercase(),
                    bytes,
                    content,
                });
            }
        }
        assets.push(text(file_name(&bundle.lock_path), self.with_url(url)?));
        let mut lines: Vec<_> =
            assets.iter().map(|asset| (asset.sha256.clone(), asset.name.clone())).collect();
        lines.sort_by(|a, b| a.1.cmp(&b.1));
        assets.push(text(SUMS.into(), Sums { lines }.render()));
        match assets.iter().find(|asset| !keeps_its_name(&asset.name)) {
            None => Ok(assets),
            Some(asset) => {
                let what = format!(
                    "a forge would give {} another name, and SHA256SUMS would not fit it",
                    asset.name
                );
                Err(Error::refused(what, "set `name` of [release] to letters, digits, `-` and `_`"))
            }
        }
    }
}

const REMAKE: &str = "remove what is left of it, and run `cargo xtask snapshot` of that commit again: the bytes will be the same";

/// Of the tags that a commit had, the one of its version: `v1.0.0`, or the only one that ends so, as `api/v1.0.0` and
/// `api@1.0.0` do. A version that is made of the commit's name has none of its own: the only one will do. Without any tag,
/// the version is the tag that is to be made.
fn tag_of(version: &str, tags: &[String]) -> Option<String> {
    if tags.is_empty() || tags.iter().any(|tag| tag == version) {
        return Some(version.to_owned());
    }
    let mut all = tags.iter().filter(|tag| version.starts_with("git-") || is_of(tag, version));
    all.next().filter(|_| all.next().is_none()).cloned()
}

/// Whether a tag is a version, or ends in it behind a name: that of 1.0.0 is neither `v11.0.0` nor `v1.0.0-rc.1`.
fn is_of(tag: &str, version: &str) -> bool {
    let number = version.strip_prefix('v').unwrap_or(version);
    let label = tag.strip_suffix(number).map(|rest| rest.strip_suffix('v').unwrap_or(rest));
    label.is_some_and(|rest| rest.ends_with(['/', '@', '-', '_']) || rest.is_empty())
}

/// That a tag is on another commit than the bundle's.
pub(super) fn elsewhere(tag: &str, place: &str, found: &str, commit: &str) -> Error {
    let what =
        format!("the tag {tag} of {place} is on commit {found:.12}, and the bundle is of {commit:.12}");
    let next = format!(
        "make the bundle of that tag: `cargo xtask snapshot --rev {tag}`; or give this one a version and a tag of its own"
    );
    Error::refused(what, next)
}

fn text(name: String, content: String) -> Asset {
    let (sha256, bytes) = (sha256_hex(content.as_bytes()), content.len() as u64);
    Asset { name, sha256, bytes, content: Content::Text(content) }
}

/// As much of git-check-ref-format(1) as keeps a name from being anything else.
fn is_tag(tag: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let segment = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !tag.starts_with('-')
        && !tag.contains(odd)
        && !tag.contains("..")
        && !tag.contains("@{")
        && tag.split('/').all(segment)
}

/// Whether GitHub leaves the name of an uploaded file as it is.
fn keeps_its_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+@.".contains(c);
    name.chars().all(plain) && !name.contains("..") && !name.starts_with('.') && !name.ends_with('.')
}

/// Where the uploaded files of an asset's text are written.
pub(super) fn path_of(asset: &Asset, folder: &Path) -> PathBuf {
    match &asset.content {
        Content::File(path) => path.clone(),
        Content::Text(_) => folder.join(&asset.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_tags_that_of_the_version_is_taken() {
        let tag = |version, tags: &[&str]| {
            tag_of(version, &tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
        };
        for (version, tags, expected) in [
            ("v1.0.0", &[][..], Some("v1.0.0")),
            ("v1.0.0", &["latest", "v1.0.0"], Some("v1.0.0")),
            ("v1.0.0", &["api/v1.0.0", "latest"], Some("api/v1.0.0")),
            ("v1.0.0", &["@acme/api@1.0.0"], Some("@acme/api@1.0.0")),
            ("v1.0.0", &["1.0.0"], Some("1.0.0")),
            ("v1.0.0", &["v1.4.2"], None),
            ("v1.0.0", &["v11.0.0"], None),
            ("v1.0.0", &["v1.0.0-rc.1"], None),
            ("v1.0.0", &["a/v1.0.0", "b/v1.0.0"], None),
            ("git-1a2b3c4d5e6f", &["v3"], Some("v3")),
            ("git-1a2b3c4d5e6f", &["v3", "v4"], None),
        ] {
            assert_eq!(tag(version, tags).as_deref(), expected, "{version} {tags:?}");
        }
    }

    #[test]
    fn names_of_tags_and_of_files() {
        for tag in ["v1.4.2", "api/v1.0.0-rc.1", "@acme/api@1.2.3", "v1+b"] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in
            ["", "-f", "a b", "a\nb", "a..b", "a//b", "/a", "a/", "x^{}", "a:b", ".a", "a.lock", "a@{1}"]
        {
            assert!(!is_tag(tag), "{tag}");
        }
        for (name, stays) in [
            ("a-v1.0.0+b.tar.gz", true),
            ("ä.tar.gz", false),
            ("a~b", false),
            ("a..gz", false),
            (".a", false),
        ] {
            assert_eq!(keeps_its_name(name), stays, "{name}");
        }
    }
}
