//! Words for a POSIX shell, whatever stands in them. Pure.
//!
//! Quotes keep a word one word. That it begins with `-` is for its reader: no quotes keep it from being taken for an option.

/// A word, in quotes.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A word, in quotes only where it needs them.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

/// Words of one command, each as [`word`].
pub fn words(all: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    all.into_iter().map(|text| word(text.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_words_are_quoted_and_plain_ones_are_not() {
        for (text, expected) in [
            ("/a/b-c", "/a/b-c"),
            ("--env=a,b", "--env=a,b"),
            ("u@far:5%+x_", "u@far:5%+x_"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("~/x", "'~/x'"),
            ("é", "'é'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
        assert_eq!(quoted("plain"), "'plain'");
    }

    #[test]
    fn words_of_a_command_are_quoted_one_by_one() {
        assert_eq!(words(["/opt/x", "a b"]), "/opt/x 'a b'");
    }
}
