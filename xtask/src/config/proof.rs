//! The keys of `[data.NAME]` with which its drills prove more, or less at a time: a canary, and a sample of a big set.
use super::DataSet;
use crate::source::patterns;
use std::path::{Component, Path};

/// The most parts that a set is drilled in: a thousandth at a time.
const MOST_PARTS: u32 = 1000;

/// How a set is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The file that each backup writes into the source and each drill demands back, relative to the source.
    pub canary: Option<String>,
    /// In how many parts its artifacts are drilled: 1 for all at once.
    pub parts: u32,
}

impl Default for Proof {
    fn default() -> Self {
        Self { canary: None, parts: 1 }
    }
}

impl Proof {
    /// Of the keys as they are written; `key` names one.
    pub(super) fn of(
        canary: Option<String>,
        sample: Option<&String>,
        key: &dyn Fn(&str) -> String,
    ) -> Result<Self, (String, String)> {
        let parts = sample.map_or(Ok(1), |text| parts(&key("sample"), text))?;
        Ok(Self { canary, parts })
    }
}

/// Of "5%" the 20 parts that make up the whole.
fn parts(key: &str, text: &str) -> Result<u32, (String, String)> {
    let wrong =
        || (format!("{key} is {text:?}, not a share"), "write it like \"5%\", at least \"0.1%\"".to_owned());
    let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(wrong());
    }
    let percent: f64 = number.parse().map_err(|_| wrong())?;
    // Each part is at most the share that was asked for.
    let parts = (100.0 / percent).ceil();
    let fits = percent > 0.0 && percent <= 100.0 && parts <= f64::from(MOST_PARTS);
    if fits { Ok(parts as u32) } else { Err(wrong()) }
}

impl DataSet {
    /// Whether its canary can be in its backups.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(super) fn check_canary(&self) -> Result<(), (String, String)> {
        let Some(canary) = &self.proof.canary else { return Ok(()) };
        let key = format!("data.{}.canary", self.name);
        let path = Path::new(canary);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if canary.is_empty() || !plain || canary.ends_with('/') || canary.contains(char::is_control) {
            let what = format!("{key} is {canary:?}, not a path inside of the source");
            return Err((
                what,
                "write the name of a file that nobody else writes, such as \".recovery-canary\"".into(),
            ));
        }
        // What does not parse is told when the set is read.
        let Ok(patterns) = patterns(&self.exclude) else { return Ok(()) };
        if patterns.matched_path_or_any_parents(path, false).is_ignore() {
            let what = format!(
                "{key} is {canary:?}, which the set's own `exclude` leaves out: no backup would hold it"
            );
            return Err((what, "give the canary another name, or mend the patterns".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_so_many_parts_and_never_more_than_was_asked_for() {
        for (text, expected) in
            [("5%", 20), ("100%", 1), ("50 %", 2), ("2.5%", 40), ("30%", 4), ("0.1%", 1000)]
        {
            assert_eq!(parts("k", text), Ok(expected), "{text}");
        }
        for text in ["5", "", "%", "0%", "-5%", "101%", "0.01%", "1e1%", "nan%", "five%", "."] {
            let (what, _) = parts("k", text).expect_err(text);
            assert!(what.contains("not a share"), "{what}");
        }
    }
}
