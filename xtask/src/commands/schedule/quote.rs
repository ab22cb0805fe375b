//! Words and commands as a crontab and a unit of systemd want them. Pure.

/// A command for a crontab (crontab(5)): a bare `%` would end it. cron takes away the backslash in front of one, and does
/// not count backslashes: of a pair in front of it, it takes none. So nothing but our own may stand there; a backslash of
/// the text stands in single quotes, which are closed and opened again behind it.
pub(super) fn crontab(command: &str) -> String {
    let mut text = String::with_capacity(command.len());
    for c in command.chars() {
        if c == '%' {
            if text.ends_with('\\') {
                text.push_str("''");
            }
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Whether something is a word of a command, where `$` names a variable, or a setting, where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum In {
    /// `ExecStart=` and the like.
    Command,
    /// `Environment=`.
    Setting,
}

/// A word for a unit (systemd.service(5), systemd.syntax(7)), in quotes where it is not plain.
pub(super) fn unit(text: &str, place: In) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@,+-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = text.replace('\\', "\\\\").replace('%', "%%");
    if place == In::Command {
        quoted = quoted.replace('$', "$$");
    }
    // What reads better.
    match text.contains('\'') {
        true => format!("\"{}\"", quoted.replace('"', "\\\"")),
        false => format!("'{quoted}'"),
    }
}

/// A path that stands alone, where quotes are not known (`EnvironmentFile=`).
pub(super) fn unit_path(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_words_are_quoted_and_plain_ones_are_not() {
        for (text, quoted) in [
            ("/a/b", "/a/b"),
            ("a b", "'a b'"),
            ("5%", "'5%%'"),
            ("$x\\", "'$$x\\\\'"),
            ("it's \"x\"", "\"it's \\\"x\\\"\""),
        ] {
            assert_eq!(unit(text, In::Command), quoted);
        }
        assert_eq!(unit("$x y", In::Setting), "'$x y'");
    }

    #[test]
    fn a_percent_sign_gets_a_backslash_of_its_own() {
        assert_eq!(crontab("'5%'"), "'5\\%'");
        assert_eq!(crontab("'a\\%'"), "'a\\''\\%'");
    }

    #[test]
    fn a_path_that_stands_alone_has_no_quotes() {
        assert_eq!(unit_path("/etc/5% of it"), "/etc/5%% of it");
    }
}
