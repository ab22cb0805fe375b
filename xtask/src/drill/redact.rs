//! Keeps secrets and environment values out of evidence, and out of what is told of the user's own commands.
//!
//! Pure: it is given the values, it does not look for them. Evidence is meant to be committed; what a
//! failed command printed may hold what it was given. What gives a secret away by itself is for `secrets`.
use super::secrets::{is_secret_name, without_tokens};
use crate::error::Error;
use crate::finding::Finding;
use crate::tools::shell::TAIL;

/// Environment values shorter than this are left alone: replacing every `1` would destroy the text and
/// hide nothing.
const SHORTEST_VALUE: usize = 4;
/// The same for variables that nobody has named, and whose own names look like those of secrets.
const SHORTEST_GUESSED: usize = 6;
/// A secret's lines are replaced on their own when they are at least this long (a key over many lines).
const SHORTEST_LINE: usize = 8;

/// Characters of a command's output that are told, from its end.
const OUTPUT_KEPT: usize = 1000;

/// What must not appear.
#[derive(Clone, Default)]
pub struct Redaction {
    /// (value, what stands in its place), the longest value first.
    pairs: Vec<(String, String)>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction({} values)", self.pairs.len())
    }
}

impl Redaction {
    /// `secrets` and `environment` are pairs of variable and value. Secrets are replaced whatever their
    /// length.
    pub fn new(secrets: &[(String, String)], environment: &[(String, String)]) -> Self {
        let mut pairs = Vec::new();
        for (name, value) in secrets {
            add(&mut pairs, name, value, 1);
        }
        for (name, value) in environment {
            add(&mut pairs, name, value, SHORTEST_VALUE);
        }
        pairs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        pairs.dedup();
        Self { pairs }
    }

    /// More secrets, beside those that it has; a token of less than six bytes is none.
    #[must_use]
    pub fn and(self, secrets: &[(String, String)]) -> Self {
        self.with(secrets, SHORTEST_GUESSED)
    }

    /// More, of all `variables` that are set: those whose name says that they hold a secret.
    #[must_use]
    pub fn guessed(self, variables: &[(String, String)]) -> Self {
        let guessed = variables.iter().filter(|(name, _)| is_secret_name(name)).cloned();
        self.with(&guessed.collect::<Vec<_>>(), SHORTEST_GUESSED)
    }

    fn with(mut self, secrets: &[(String, String)], shortest: usize) -> Self {
        for (name, value) in secrets {
            add(&mut self.pairs, name, value, shortest);
        }
        self.pairs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        self.pairs.dedup();
        self
    }

    /// `text` with every value replaced by the name of its variable, and without tokens of a well-known form.
    pub fn text(&self, text: &str) -> String {
        let text = self.pairs.iter().fold(text.to_owned(), |text, (value, name)| text.replace(value, name));
        without_tokens(&text)
    }

    /// [`Redaction::text`] of each.
    pub fn texts(&self, texts: &[String]) -> Vec<String> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    /// The same for output of which only the end was kept: a value that was cut in two at the front is
    /// dropped as well.
    pub fn tail(&self, tail: &str) -> String {
        let cut = self.pairs.iter().map(|(value, _)| cut_value(value, tail)).max().unwrap_or(0);
        self.text(&tail[cut..])
    }

    /// What is told of the output of a command, of which only the end was kept.
    pub fn output(&self, tail: &str) -> String {
        let text = self.tail(tail);
        let mut text = text.trim_end();
        // Of a word that was cut in two nobody can tell what it was.
        if tail.len() >= TAIL {
            text = text.find(char::is_whitespace).map_or("", |end| &text[end..]);
        }
        text.chars().skip(text.chars().count().saturating_sub(OUTPUT_KEPT)).collect()
    }

    /// What ended a run, without what a tool, or the configuration, has said too much.
    pub fn error(&self, error: Error) -> Error {
        match error {
            Error::Tool { tool, status, stderr, next } => {
                let [tool, stderr, next] = [tool, stderr, next].map(|text| self.text(&text));
                Error::Tool { tool, status, stderr, next }
            }
            Error::Refused { what, next } => {
                Error::Refused { what: self.text(&what), next: self.text(&next) }
            }
            other => other,
        }
    }

    /// All texts of a finding.
    pub fn finding(&self, finding: &Finding) -> Finding {
        Finding {
            path: self.text(&finding.path),
            what: self.text(&finding.what),
            repair: self.text(&finding.repair),
            ..finding.clone()
        }
    }
}

fn add(pairs: &mut Vec<(String, String)>, name: &str, value: &str, shortest: usize) {
    let name = format!("${name}");
    if value.len() >= shortest {
        pairs.push((value.to_owned(), name.clone()));
        let trimmed = value.trim();
        if trimmed.len() >= shortest.max(SHORTEST_VALUE) {
            pairs.push((trimmed.to_owned(), name.clone()));
        }
    }
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
    pairs.extend(lines.map(|line| (line.to_owned(), name.clone())));
}

/// Length of the longest true end of `value` with which `tail` begins.
fn cut_value(value: &str, tail: &str) -> usize {
    value
        .char_indices()
        .skip(1)
        .map(|(at, _)| &value[at..])
        // Of any value a few letters stand in front of something by chance.
        .find(|end| end.len() >= SHORTEST_VALUE && tail.starts_with(end))
        .map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(secret: &str, value: &str) -> Redaction {
        Redaction::new(&[("KEY".into(), secret.into())], &[("TOKEN".into(), value.into())])
    }

    #[test]
    fn values_become_the_names_of_their_variables() {
        let redaction = redaction("s3cret", "abc-123");
        assert_eq!(redaction.text("got s3cret and abc-123"), "got $KEY and $TOKEN");
    }

    #[test]
    fn a_short_environment_value_stays_but_a_short_secret_does_not() {
        assert_eq!(redaction("x", "1").text("box 1"), "bo$KEY 1");
    }

    #[test]
    fn the_longer_value_goes_first() {
        assert_eq!(redaction("hunter", "hunter2-long").text("hunter2-long"), "$TOKEN");
    }

    #[test]
    fn a_value_cut_by_the_tail_is_dropped() {
        let redaction = redaction("correct horse battery", "");
        assert_eq!(redaction.tail("horse battery failed"), " failed");
        assert_eq!(redaction.tail("correct horse battery failed"), "$KEY failed");
    }

    #[test]
    fn every_line_of_a_long_value_goes() {
        let redaction = redaction("-----BEGIN-----\nAAAABBBBCCCC\n", "");
        assert!(!redaction.text("line AAAABBBBCCCC seen").contains("AAAABBBB"));
    }

    #[test]
    fn of_all_variables_those_with_the_name_of_a_secret_go() {
        let variables = [
            ("DEPLOY_TOKEN", "tok-12345"),
            ("AUTH", "1"),
            ("USE_KEY", "true"),
            ("EDITOR", "vi-editor"),
            ("SSH_AUTH_SOCK", "/run/agent"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let redaction = Redaction::default().guessed(&variables);
        let text = "1 tok-12345 of vi-editor is true at /run/agent";
        assert_eq!(redaction.text(text), "1 $DEPLOY_TOKEN of vi-editor is true at /run/agent");
    }

    #[test]
    fn tokens_go_from_every_text_and_a_word_that_the_tail_has_cut_goes_whole() {
        let redaction = Redaction::default();
        let url = "postgres://app:hunter2@db/app";
        let finding = redaction.finding(&Finding::error(url, url, url));
        assert_eq!([finding.path, finding.what, finding.repair], ["postgres://app:(secret)@db/app"; 3]);
        let error =
            Error::Tool { tool: "git".into(), status: "1".into(), stderr: url.into(), next: url.into() };
        assert!(!redaction.error(error).chain().contains("hunter2"));
        // The first word of a long output may be the end of a token.
        let cut = "k".repeat(TAIL - 4) + " end";
        assert_eq!(redaction.output(&cut), " end");
        assert_eq!(redaction.output("whole end"), "whole end");
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", redaction("s3cret", "")), "Redaction(1 values)");
    }

    #[test]
    fn more_secrets_go_beside_those_that_are_known() {
        let redaction =
            redaction("s3cret", "").and(&[("MORE".into(), "abc-1".into()), ("LONG".into(), "abc-12".into())]);
        let texts = ["s3cret abc-1".to_owned(), "abc-12".to_owned()];
        assert_eq!(redaction.texts(&texts), ["$KEY abc-1", "$LONG"], "a short one is none");
    }

    #[test]
    fn a_value_goes_without_the_spaces_around_it_too() {
        assert_eq!(redaction(" s3cret\n", "").text("(s3cret)"), "($KEY)");
        assert_eq!(redaction(" abc ", "").text("(abc)"), "(abc)", "three letters are anything");
    }
}
