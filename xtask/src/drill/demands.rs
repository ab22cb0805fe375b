//! What not every artifact of a drill has to show: that it can be fetched, a share of it, its canary, its commit, its
//! published release.
//!
//! Pure: values that [`super::pick`] fills in and the steps are made of.
use crate::destination::known::Canary;

/// What not every artifact has to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demands {
    /// The machine that it is fetched from first.
    pub far: Option<String>,
    /// The destination whose copy it is, where several have one.
    pub copy: Option<String>,
    /// The share that is restored; all of it without one.
    pub sample: Option<Share>,
    /// What was written into the source right before the backup, and must come back as it was.
    pub canary: Option<Canary>,
    /// The commit that a bundle must hold.
    pub commit: Option<String>,
    /// Whether a bundle holds more than its commit.
    pub staged: bool,
    /// Where a bundle was published.
    pub published: Option<Published>,
}

/// A share of an artifact: the entries that begin in one of so many equal parts of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

/// A release on a forge's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// `HOST/OWNER/NAME`, as `gh --repo` takes it.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

impl Published {
    /// The release behind an address such as `https://github.com/OWNER/NAME/releases/tag/TAG`; none behind any other.
    pub fn at(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("https://")?;
        let (place, tag) = rest.split_once("/releases/tag/")?;
        let parts: Vec<&str> = place.split('/').collect();
        let plain = |part: &&str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !part.is_empty() && !part.starts_with('-') && part.chars().all(good)
        };
        let tag = unescaped(tag.trim_end_matches('/'))?;
        let good = parts.len() == 3 && parts.iter().all(plain);
        (good && !tag.is_empty() && !tag.contains(|c: char| c.is_control() || "?#".contains(c)))
            .then(|| Self { repository: place.to_owned(), tag })
    }
}

/// `%2F` and the like, as addresses have them (RFC 3986, section 2.1).
fn unescaped(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_a_release_names_one() {
        let release = |url| Published::at(url).map(|release| (release.repository, release.tag));
        let at = |tag: &str| Some(("github.com/acme/api".to_owned(), tag.to_owned()));
        assert_eq!(release("https://github.com/acme/api/releases/tag/v1.4.2"), at("v1.4.2"));
        assert_eq!(release("https://github.com/acme/api/releases/tag/app%2Fv1"), at("app/v1"));
        assert_eq!(release("https://github.com/acme/api/releases/tag/app/v1/"), at("app/v1"));
        for url in [
            "http://github.com/acme/api/releases/tag/v1",
            "https://github.com/acme/api/releases/latest",
            "https://github.com/acme/api/releases/tag/",
            "https://github.com/acme/releases/tag/v1",
            "https://github.com/-acme/api/releases/tag/v1",
            "https://github.com/ac me/api/releases/tag/v1",
            "https://github.com/acme/api/releases/tag/v1%0a",
            "https://github.com/acme/api/releases/tag/%zz",
            "registry.example.org/acme/api",
        ] {
            assert_eq!(release(url), None, "{url}");
        }
    }
}
