//! What gives a secret away: the name of a variable, and the form of a well-known token.
//!
//! Pure. A guess in both directions: it takes some words for secrets that are none, and a secret without a known name and
//! form for a word. The tests say which words must stay readable.

/// A token begins with this, and has at least so many letters, digits, `_` and `-` behind it.
const PREFIXES: [(&str, usize); 12] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("npm_", 30),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 16),
    ("ASIA", 16),
];
/// Stands in the place of a token.
const HIDDEN: &str = "(secret)";

/// Whether the name of a variable says that its value is a secret. One that names a place is none.
pub(super) fn is_secret_name(name: &str) -> bool {
    const ANYWHERE: [&str; 7] =
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "APIKEY"];
    const WORDS: [&str; 5] = ["AUTH", "KEY", "KEYS", "PASS", "PAT"];
    const PLACES: [&str; 5] = ["DIR", "FILE", "HOME", "PATH", "SOCK"];
    let name = name.to_uppercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    let place = words.clone().next_back().is_some_and(|last| PLACES.contains(&last));
    !place && (ANYWHERE.iter().any(|part| name.contains(part)) || words.any(|word| WORDS.contains(&word)))
}

/// `text` without tokens of a well-known form, passwords in URLs and private keys.
pub(super) fn without_tokens(text: &str) -> String {
    let text = without_keys(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        // A token begins a word.
        let begins = !out.ends_with(is_word);
        let hidden = if begins { token(rest).or_else(|| bearer(rest)) } else { None };
        match hidden.or_else(|| password(rest)) {
            Some((kept, end)) => {
                out.push_str(&rest[..kept]);
                out.push_str(HIDDEN);
                rest = &rest[end..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// How many bytes at the beginning of `text` consist of such characters.
fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

/// Where a token that begins `text` begins and ends.
fn token(text: &str) -> Option<(usize, usize)> {
    let found = |(prefix, least): &(&str, usize)| {
        let rest = text.strip_prefix(prefix)?;
        // The keys of AWS are of one length, and of capitals and digits.
        let length = match *prefix {
            "AKIA" | "ASIA" => {
                let length = run(rest, |c| c.is_ascii_uppercase() || c.is_ascii_digit());
                Some(length).filter(|length| length == least && !rest[*length..].starts_with(is_word))?
            }
            _ => run(rest, |c| is_word(c) || c == '-'),
        };
        (length >= *least).then_some((0, prefix.len() + length))
    };
    PREFIXES.iter().find_map(found)
}

/// What stands behind `Bearer ` (RFC 6750) and is no word of a sentence.
fn bearer(text: &str) -> Option<(usize, usize)> {
    const SCHEME: usize = "bearer ".len();
    let scheme = text.get(..SCHEME).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))?;
    let rest = &text[SCHEME..];
    let length = run(rest, |c| c.is_ascii_alphanumeric() || "-._~+/=".contains(c));
    let odd = rest[..length].contains(|c: char| c.is_ascii_digit()) || length >= 24;
    (length >= 8 && odd).then_some((scheme.len(), SCHEME + length))
}

/// The password of `://user:password@host` (RFC 3986, section 3.2.1), with a slash in it too, which is wrong and seen.
fn password(text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix("://")?;
    let whole = &rest[..run(rest, |c| !c.is_whitespace() && !"\"'`<>".contains(c))];
    let authority = &whole[..run(whole, |c| !"/?#".contains(c))];
    let colon = authority.find(':')?;
    let end = match authority.rfind('@') {
        Some(at) => at,
        // A port is no password, nor is a part of an address in brackets.
        None if authority.starts_with('[') || authority[colon + 1..].bytes().all(|b| b.is_ascii_digit()) => {
            return None;
        }
        None => whole.rfind('@')?,
    };
    (colon + 1 < end).then_some((3 + colon + 1, 3 + end))
}

/// `text` without the blocks of private keys (RFC 7468, and those of OpenSSH and PGP). Of one that was cut off in front or
/// behind what is left of it goes too.
fn without_keys(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, mark, begins)) = next_mark(rest) {
        if begins {
            out.push_str(&rest[..at]);
        } else {
            // Its beginning was cut off with what stood in front of it.
            out.clear();
        }
        out.push_str(HIDDEN);
        rest = &rest[at + mark..];
        if begins {
            rest = match next_mark(rest) {
                Some((end, length, false)) => &rest[end + length..],
                Some((next, _, true)) => &rest[next..],
                None => "",
            };
        }
    }
    out.push_str(rest);
    out
}

/// Where the next line that begins or ends a private key stands, how long it is, and whether it begins one.
fn next_mark(text: &str) -> Option<(usize, usize, bool)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("-----").map(|at| from + at) {
        let rest = &text[at + 5..];
        let begins = rest.starts_with("BEGIN ");
        if let Some(label) = rest.strip_prefix("BEGIN ").or_else(|| rest.strip_prefix("END "))
            && let Some(end) = label.find("-----").filter(|end| label[..*end].contains("PRIVATE KEY"))
            && !label[..end].contains('\n')
        {
            return Some((at, text.len() - at - label.len() + end + 5, begins));
        }
        from = at + 5;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in [
            "GITHUB_TOKEN",
            "npm_token",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PASSWD",
            "API_KEY",
            "OPENAI_APIKEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_CREDENTIALS",
            "BASIC_AUTH",
            "GH_PAT",
            "CODEX_BACKUP_GPG_KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["PATH", "HOME", "PWD", "KEYBOARD", "MONKEY", "AUTHOR", "XAUTHORITY", "LANG", "PASSAGE"] {
            assert!(!is_secret_name(name), "{name}");
        }
        for place in ["SSH_AUTH_SOCK", "AWS_SHARED_CREDENTIALS_FILE", "TOKEN_PATH"] {
            assert!(!is_secret_name(place), "{place}");
        }
    }

    /// Made of pieces, so that no scanner takes this file for a leak.
    fn made(prefix: &str, length: usize) -> String {
        prefix.to_owned() + &"Ab1".repeat(length)[..length]
    }

    #[test]
    fn tokens_of_a_known_form_go() {
        let aws = "AKIA".to_owned() + &"ABCD1234".repeat(2);
        for token in [
            made("ghp_", 36),
            made("ghs_", 36),
            made("github_pat_", 60),
            made("glpat-", 20),
            made("npm_", 36),
            made("xoxb-", 40),
            aws,
        ] {
            for (before, behind) in [("", ""), ("token=", " is wrong"), ("{\"a\":\"", "\"}"), ("x-", ",")] {
                let text = format!("{before}{token}{behind}");
                assert_eq!(without_tokens(&text), format!("{before}(secret){behind}"));
            }
        }
        for scheme in ["Bearer ", "bearer "] {
            let text = format!("authorization: {scheme}{}'", made("eyJ.", 30));
            assert_eq!(without_tokens(&text), format!("authorization: {scheme}(secret)'"));
        }
    }

    #[test]
    fn passwords_in_urls_go_and_the_rest_of_them_stays() {
        for (url, shown) in [
            ("postgres://app:hunter2@db:5432/app?x=1", "postgres://app:(secret)@db:5432/app?x=1"),
            ("at https://a:b@c@host/ now", "at https://a:(secret)@host/ now"),
            ("redis://:hunter2@cache", "redis://:(secret)@cache"),
            ("amqp://u:pa/ss@host/v", "amqp://u:(secret)@host/v"),
        ] {
            assert_eq!(without_tokens(url), shown);
        }
    }

    #[test]
    fn private_keys_go_whole_and_cut_off() {
        let (begin, end) = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----");
        let key = format!("{begin}\nAAAA\nBBBB\n{end}");
        assert_eq!(without_tokens(&format!("a\n{key}\nb\n{key}\nc")), "a\n(secret)\nb\n(secret)\nc");
        assert_eq!(without_tokens(&format!("a\n{begin}\nAAAA")), "a\n(secret)");
        assert_eq!(without_tokens(&format!("AAAA\nBBBB\n{end}\nb")), "(secret)\nb");
        let two = format!("{begin}\nAAAA\n{begin}\nBBBB\n{end}\nb");
        assert_eq!(without_tokens(&two), "(secret)(secret)\nb");
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for text in [
            "ghp_short",
            "the prefix ghp_ is missing",
            "xghp_0123456789012345678901234567890",
            "AKIAN",
            "AKIAABCD1234ABCD12345",
            "SLOVAKIA12345678901234",
            "Bearer token is missing",
            "WWW-Authenticate: Bearer realm=\"x\"",
            "the bearer authentication failed",
            "http://localhost:8080/a@b",
            "http://[::1]:8080/a@b",
            "https://user@host/path",
            "https://user:@host/path",
            "http://host:x and a@b",
            "'http://host:x' a@b",
            "\"http://host:x\"a@b",
            "ssh://git@github.com:22/a",
            "a: b@c",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "----- what is a PRIVATE KEY -----",
            "/srv/drive/backups/2026/11-25/codex-api-2026-11-25T014009Z.tar.gz",
            "33f422bd754ba212358256c55a79ed4802ad601141f798d4c9f0f62eaea758d9",
            "ä – ö",
        ] {
            assert_eq!(without_tokens(text), text);
        }
    }

    /// A word of a sentence is short, and has no digit.
    #[test]
    fn what_stands_behind_bearer_is_a_token_by_its_length_and_digits() {
        let long = "abcdefgh".repeat(3);
        for token in ["abc12345", &long] {
            assert_eq!(without_tokens(&format!("Bearer {token}")), "Bearer (secret)");
        }
        for word in ["abc1234", "abcdefgh", &long[1..]] {
            assert_eq!(without_tokens(&format!("Bearer {word}")), format!("Bearer {word}"));
        }
    }
}
