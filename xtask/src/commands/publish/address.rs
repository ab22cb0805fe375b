//! An address that somebody gives for a release: whether it may stand in a lock, which others read. Pure.
use std::fmt;

/// Why an address is none. What was given is not repeated where it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Blanks, control characters, what is not ASCII, or what RFC 3986 has in no address.
    Characters,
    /// Neither http nor https.
    Scheme,
    /// `user:password@` in front of the host.
    User,
    /// No host, or none that could be one.
    Host,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "it has characters that stand in none: write blanks and others as %20",
            Self::Scheme => "it begins with neither https:// nor http://",
            Self::User => "it names a user or a password in front of its host, which would stand in the lock",
            Self::Host => "it has no host",
        })
    }
}

/// That an address may be recorded: http or https, a host, nobody's password (RFC 3986, section 3).
pub(super) fn check(url: &str) -> Result<(), Wrong> {
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    if !url.chars().all(plain) {
        return Err(Wrong::Characters);
    }
    let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or(Wrong::Scheme)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority {
        with_user if with_user.contains('@') => Err(Wrong::User),
        authority if is_host(authority) => Ok(()),
        _ => Err(Wrong::Host),
    }
}

/// A name or a number, with or without a port behind it.
fn is_host(authority: &str) -> bool {
    let number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((inside, port)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_inside = |c: char| c.is_ascii_hexdigit() || ":.".contains(c);
        return inside.contains(':')
            && inside.chars().all(is_inside)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(number));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let named = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
    host.contains(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(named) && number(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_the_web_without_a_password_is_one() {
        for url in [
            "https://github.com/acme/api/releases/tag/v1.4.2",
            "http://10.0.0.7:8080/x?y=a@b#z",
            "https://[2001:db8::1]:443/x",
            "https://host",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for (url, wrong) in [
            ("", Wrong::Scheme),
            ("example.org/x", Wrong::Scheme),
            ("ftp://example.org/x", Wrong::Scheme),
            ("javascript:alert(1)", Wrong::Scheme),
            ("https://", Wrong::Host),
            ("https:///x", Wrong::Host),
            ("https://:443/x", Wrong::Host),
            ("https://...", Wrong::Host),
            ("https://h:port/x", Wrong::Host),
            ("https://[nothing]/x", Wrong::Host),
            ("https://user:pass@example.org/x", Wrong::User),
            ("https://token@example.org", Wrong::User),
            ("https://h/a b", Wrong::Characters),
            ("https://h/\n", Wrong::Characters),
            ("https://h/\u{1b}[2J", Wrong::Characters),
            ("https://h/ä", Wrong::Characters),
            ("https://h\\@evil/x", Wrong::Characters),
        ] {
            assert_eq!(check(url), Err(wrong), "{url:?}");
        }
    }
}
