//! Whether the tags of a commit say the version that its package file says. Pure.
//!
//! A tag counts when a version stands at its end: `v1.2.3`, `1.2.3`, `release/1.2.3`; and in front of it nothing, a word
//! for a release, or the name of this one: `api-v1.2.3`, `@acme/api@1.2.3`. Tags of other names speak of other releases.
//! Where tags have this one's name, those without any do not count.
use crate::finding::{Finding, Severity};

/// Words that stand in front of versions and name no release.
const WORDS: [&str; 6] = ["", "rel", "release", "releases", "ver", "version"];

/// A release, as tags may speak of it.
pub(super) struct Tagged<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its folder in the repository; empty for all of it.
    pub root: &'a str,
    /// With or without a `v`.
    pub version: &'a str,
    /// Whether the version was given for this run.
    pub is_given: bool,
}

/// What there is to say of the tags of its commit: nothing where one agrees, or none says a version.
pub(super) fn disagreement(release: &Tagged<'_>, tags: &[String]) -> Option<Finding> {
    let version = parse(release.version)?;
    let own: Vec<&str> = release.root.rsplit('/').take(1).chain([release.name]).collect();
    let spoken: Vec<(&String, String, Version<'_>)> = tags.iter().filter_map(|tag| split(tag)).collect();
    // A date is no version, unless versions are dates here.
    let spoken = spoken.iter().filter(|(.., said)| said.is_date() == version.is_date());
    let is_own = |name: &str| !name.is_empty() && own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let (named, others): (Vec<_>, Vec<_>) = spoken.partition(|(_, name, _)| is_own(name));
    let of_all = named.is_empty();
    let counted = match of_all {
        true => others.into_iter().filter(|(_, name, _)| WORDS.contains(&&**name)).collect(),
        false => named,
    };
    if counted.iter().any(|(.., said)| said.agrees(&version)) {
        return None;
    }
    let (tag, ..) = counted.first()?;
    // Tags of the whole repository need not be those of one of its folders.
    let severity = match release.is_given || of_all && !release.root.is_empty() {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let what = format!("is a tag of this commit, and the version is {}", release.version);
    let repair = "set the version in the package file to the tag's, or tag the commit that has it; or say which it is with \
                  --version";
    Some(Finding::new(severity, tag.as_str(), what, repair))
}

/// A version's numbers, and what stands behind them in front of a `+`.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: Vec<u64>,
    rest: &'a str,
}

impl Version<'_> {
    /// Whether a tag with this version may stand at a release of the `other`: `v1.2` moves with the newest `1.2.x`.
    fn agrees(&self, other: &Self) -> bool {
        let common = self.numbers.len().min(other.numbers.len());
        self.rest == other.rest
            && self.numbers[..common] == other.numbers[..common]
            && self.numbers[common..].iter().all(|number| *number == 0)
    }

    fn is_date(&self) -> bool {
        (1900..2200).contains(&self.numbers[0])
    }
}

/// `v1.2.3-rc.1+build`: at least two numbers.
fn parse(text: &str) -> Option<Version<'_>> {
    let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let bare = bare.split('+').next().unwrap_or(bare);
    let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
    let (numbers, rest) = bare.split_at(end);
    let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    (numbers.len() > 1).then_some(Version { numbers, rest })
}

/// A tag, the name in front of its version, and that version.
fn split(tag: &String) -> Option<(&String, String, Version<'_>)> {
    let behind = |(at, c): (usize, char)| "-_/@".contains(c).then_some(at + 1);
    let starts = std::iter::once(0).chain(tag.char_indices().filter_map(behind));
    starts.into_iter().find_map(|at| {
        let version = parse(&tag[at..])?;
        let name = tag[..at].trim_matches(['-', '_', '/', '@']).replace('/', "-").to_lowercase();
        Some((tag, name, version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(version: &str, root: &str, is_given: bool, tags: &[&str]) -> Option<Severity> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let release = Tagged { name: "acme-api", root, version, is_given };
        disagreement(&release, &tags).map(|finding| finding.severity)
    }

    #[test]
    fn a_tag_that_says_another_version_is_an_error_and_one_that_agrees_is_enough() {
        for (version, tags) in [
            ("1.2.3", &["v1.2.3"][..]),
            ("v1.2.3", &["1.2.3"]),
            ("1.2.3", &["v1.2.4", "v1.2.3"]),
            ("1.2.3", &["v1.2", "v1"]),
            ("1.2.3", &["v2", "7"]),
            ("1.2.0", &["release/1.2"]),
            ("1.2", &["v1.2.0"]),
            ("1.2.3-rc.1", &["v1.2.3-rc.1"]),
            ("1.2.3+7", &["v1.2.3"]),
            ("1.2.3", &["@acme/api@1.2.3", "v9.9.9"]),
            ("1.2.3", &["web-v4.0.0", "@acme/web@4.0.0"]),
            ("1.2.3", &["nightly", "deployed-2026", "2026.01.15", "release-2026.01.15"]),
            ("2026.1.15", &["2026.01.15"]),
            ("git-1a2b3c4d5e6f", &["v1.2.3"]),
            ("1.2.3", &[]),
        ] {
            assert_eq!(says(version, "", false, tags), None, "{version} {tags:?}");
        }
        for (version, tags) in [
            ("1.2.3", &["v1.2.4"][..]),
            ("1.2.3", &["v1.3"]),
            ("1.2.3", &["v1.2.3-rc.1"]),
            ("1.2.3-rc.1", &["v1.2.3"]),
            ("1.2", &["v1.2.1"]),
            ("1.2.3", &["acme-api-v1.2.4", "v1.2.3"]),
            ("1.2.3", &["release/2.0"]),
        ] {
            assert_eq!(says(version, "", false, tags), Some(Severity::Error), "{version} {tags:?}");
            assert_eq!(says(version, "", true, tags), Some(Severity::Warning), "{version} {tags:?}");
        }
    }

    #[test]
    fn a_folder_has_tags_of_its_own() {
        assert_eq!(says("1.2.3", "services/api", false, &["api-v1.2.3", "v9.0.0"]), None);
        assert_eq!(says("1.2.3", "services/api", false, &["api-v1.2.4", "v1.2.3"]), Some(Severity::Error));
        assert_eq!(says("1.2.3", "services/api", false, &["v9.0.0"]), Some(Severity::Warning));
        assert_eq!(says("1.2.3", "services/api", false, &["web/v9.0.0"]), None);
    }
}
