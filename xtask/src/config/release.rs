//! `[release]` as one resolved value: where in the repository the release lies, what it is called, and what its bundles
//! may hold. Sees no world but the files that it is given.
use super::raw::{self, Mistake, RawRelease};
use crate::source::policy::{Policy, Submodules};
use std::path::{Component, Path, PathBuf};

/// `[release]`.
#[derive(Debug, Clone)]
pub struct Release {
    /// Default: the package's name, else the folder's.
    pub name: String,
    /// Where the version comes from; found out when it is not set.
    pub version_from: Option<VersionFrom>,
    /// The folder of the repository that is released, with `/` between its parts; empty for all of it.
    pub root: String,
    /// Default `releases`.
    pub output_dir: PathBuf,
    /// gitignore patterns, relative to the release's root.
    pub exclude: Vec<String>,
    /// Untracked output to stage beside the tracked files, relative to the release's root.
    pub include: Vec<String>,
    /// Whether the content of submodules is bundled.
    pub submodules: Submodules,
    /// What a bundle may hold.
    pub policy: Policy,
    /// How many bundles `--prune` leaves.
    pub keep: Option<u32>,
    /// Default `prod`.
    pub env: String,
    /// Whether the file says anything of it.
    pub configured: bool,
}

/// Which file says the version; its path is relative to the release's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionFrom {
    /// A `Cargo.toml`.
    Cargo(String),
    /// A `package.json`.
    Npm(String),
    /// The commit's short name.
    Git,
}

impl VersionFrom {
    fn parse(text: &str) -> Result<Self, Mistake> {
        let last = text.rsplit('/').next();
        match last {
            Some("Cargo.toml") if is_plain(text) => Ok(Self::Cargo(text.to_owned())),
            Some("package.json") if is_plain(text) => Ok(Self::Npm(text.to_owned())),
            _ if text == "git" => Ok(Self::Git),
            _ => {
                let next = "write \"Cargo.toml\", \"package.json\" or \"git\"; or the path of such a file in the release, \
                            like \"crates/cli/Cargo.toml\"";
                Err((format!("release.version-from is {text:?}"), next.to_owned()))
            }
        }
    }
}

impl Release {
    pub(super) fn resolve(
        raw: RawRelease,
        root: String,
        name: String,
        at: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Self, Mistake> {
        let configured = raw != RawRelease::default();
        let most =
            raw.max_file_size.as_ref().map(|text| raw::bytes("release.max-file-size", text)).transpose()?;
        if most == Some(0) {
            let next = "give more than that, or leave it out".to_owned();
            return Err(("release.max-file-size is 0".to_owned(), next));
        }
        for (key, paths) in [("include", &raw.include), ("allow-secrets", &raw.allow_secrets)] {
            paths.iter().try_for_each(|path| stays(key, path))?;
        }
        raw.exclude.iter().try_for_each(|pattern| matches_something(pattern))?;
        Ok(Self {
            configured,
            name,
            version_from: raw.version_from.as_deref().map(VersionFrom::parse).transpose()?,
            root,
            output_dir: at(raw.output_dir.as_deref().unwrap_or("releases")),
            exclude: raw.exclude,
            include: raw.include,
            submodules: raw.submodules,
            policy: Policy { lfs: raw.lfs, allow_secrets: raw.allow_secrets, max_file_size: most },
            keep: raw.keep.map(|keep| raw::count("release.keep", keep)).transpose()?,
            env: raw.env.unwrap_or_else(|| "prod".into()),
        })
    }
}

/// `release.root` as it is compared with paths of a commit: without `./` in front and `/` behind; empty for all of it.
pub(super) fn root(text: Option<&str>) -> Result<String, Mistake> {
    let Some(text) = text else { return Ok(String::new()) };
    let plain = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    if matches!(text, "." | "./") {
        return Ok(String::new());
    }
    match is_plain(plain) && !text.starts_with('/') {
        true => Ok(plain.to_owned()),
        false => {
            let next = "name a folder below the repository's root, like \"services/api\"; leave it out for all of it";
            Err((format!("release.root is {text:?}"), next.to_owned()))
        }
    }
}

/// Refuses what leads out of the release.
fn stays(key: &str, path: &str) -> Result<(), Mistake> {
    let part = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.is_empty() && Path::new(path).components().all(part) {
        return Ok(());
    }
    let next = match key {
        "include" => {
            "name what lies in the release, from its root, like \"dist/\"; what lies elsewhere cannot be bundled: let the \
             build copy it there"
        }
        _ => "name a file of the release by its path from the release's root, like \"test/server.key\"",
    };
    Err((format!("release.{key} holds {path:?}, which is not in the release"), next.to_owned()))
}

/// Refuses a pattern with `..`, which matches nothing: what it was to leave out would be bundled.
fn matches_something(pattern: &str) -> Result<(), Mistake> {
    if !pattern.trim_start_matches(['!', '/']).split('/').any(|part| part == "..") {
        return Ok(());
    }
    let next = "write patterns as in a .gitignore at the release's root; they match nothing outside of it";
    Err((format!("release.exclude holds {pattern:?}, which matches nothing"), next.to_owned()))
}

/// A relative path that stays where it begins, written in one way only.
fn is_plain(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | ".." | ".git");
    path.split('/').all(part) && !path.contains(char::is_control) && !path.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_stays_in_the_repository_and_has_one_spelling() {
        for (text, plain) in [("a/b", "a/b"), ("./a/", "a"), (".", ""), ("./", ""), ("a b/ü", "a b/ü")] {
            assert_eq!(root(Some(text)), Ok(plain.to_owned()), "{text}");
        }
        for odd in
            ["", "/", "/etc", "..", "a/../..", "../a", "a//b", "./..", "a/./b", ".git", "a\0", "a\nb", "a\\b"]
        {
            assert!(root(Some(odd)).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn what_is_named_from_the_root_lies_below_it() {
        for key in ["include", "allow-secrets"] {
            for good in ["dist", "dist/", "./dist", "a b/ü", "dist/**/*.js", "..a/b..", "."] {
                assert_eq!(stays(key, good), Ok(()), "{good}");
            }
            for odd in ["../x", "..", "a/../../x", "a/../b", "/etc/passwd", "/", ""] {
                let (what, _) = stays(key, odd).expect_err(odd);
                assert!(what.contains(key) && what.contains("not in the release"), "{what}");
            }
        }
        for good in ["/dist", "*.psd", "!a", "a..b/", "", "**/x"] {
            assert_eq!(matches_something(good), Ok(()), "{good}");
        }
        for odd in ["../x", "!../x", "/../x", "a/../b", ".."] {
            assert!(matches_something(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_version_comes_from_a_package_file_below_the_root_or_from_git() {
        assert_eq!(VersionFrom::parse("git"), Ok(VersionFrom::Git));
        assert_eq!(VersionFrom::parse("a/Cargo.toml"), Ok(VersionFrom::Cargo("a/Cargo.toml".into())));
        assert_eq!(VersionFrom::parse("package.json"), Ok(VersionFrom::Npm("package.json".into())));
        for odd in ["../Cargo.toml", "/Cargo.toml", "a/git", "cargo.toml", "", "a//package.json"] {
            assert!(VersionFrom::parse(odd).is_err(), "{odd:?}");
        }
    }
}
