//! The text of a `.sha256` and of `SHA256SUMS`, as `sha256sum` (GNU coreutils) writes and checks it. Pure.

/// Digests and the bare names of the files that have them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// Lower-case hexadecimal SHA-256, and the name.
    pub lines: Vec<(String, String)>,
}

impl Sums {
    /// The digest of the file of this bare name, if it is listed.
    pub fn digest(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(_, listed)| listed == name).map(|(digest, _)| digest.as_str())
    }

    /// `<digest>  <name>` a line.
    pub fn render(&self) -> String {
        self.lines.iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect()
    }
}

/// What is said of a line that is none.
pub const NO_DIGEST: &str = "has a line that is no digest";

/// Reads what others wrote too: CRLF, upper case, absolute paths (of which the last part counts). Says what was odd.
pub fn parse(text: &str) -> (Sums, Vec<String>) {
    let (mut sums, mut oddities) = (Sums::default(), Vec::new());
    if text.contains('\r') {
        oddities.push("has Windows line ends".to_owned());
    }
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let parsed = line
            .split_once(' ')
            .filter(|(digest, _)| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some((digest, name)) = parsed else {
            oddities.push(format!("{NO_DIGEST}: {:?}", line.chars().take(80).collect::<String>()));
            continue;
        };
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        let bare = name.rsplit('/').next().unwrap_or(name);
        if bare != name {
            let kind = if name.starts_with('/') { "an absolute" } else { "a" };
            oddities.push(format!("names {name} with {kind} path: it cannot be checked from elsewhere"));
        }
        sums.lines.push((digest.to_ascii_lowercase(), bare.to_owned()));
    }
    (sums, oddities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_ones_are_read_and_named() {
        let digest = "a".repeat(64);
        let (sums, oddities) = parse(&format!("{digest}  one\n"));
        assert_eq!((sums.render(), oddities.len()), (format!("{digest}  one\n"), 0));
        let (sums, oddities) =
            parse(&format!("{}  /mnt/x/one\r\n{digest} *two\r\nnonsense\r\n", "A".repeat(64)));
        let names: Vec<&str> = sums.lines.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!((names, oddities.len()), (vec!["one", "two"], 3));
        assert_eq!(sums.lines[0].0, digest);
    }

    #[test]
    fn each_oddity_is_told_as_what_it_is() {
        let digest = "a".repeat(64);
        let told = |text: &str| parse(text).1.join("; ");
        assert_eq!(told(&format!("{digest}  one\n\n{digest} *two\n")), "");
        assert_eq!(told(&format!("{digest}  one\r\n")), "has Windows line ends");
        for (name, kind) in [("/mnt/x/one", "an absolute"), ("x/one", "a")] {
            let what = format!("names {name} with {kind} path: it cannot be checked from elsewhere");
            assert_eq!(told(&format!("{digest}  {name}\n")), what);
        }
        for no in ["a".repeat(63), "a".repeat(65), "g".repeat(64)] {
            let line = format!("{no}  one");
            assert_eq!(told(&line), format!("{NO_DIGEST}: {line:?}"));
        }
    }

    #[test]
    fn a_digest_is_found_by_the_whole_name() {
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let (sums, _) = parse(&format!("{one}  one\n{two}  two\n"));
        assert_eq!((sums.digest("one"), sums.digest("two")), (Some(&*one), Some(&*two)));
        assert_eq!(sums.digest("on"), None);
    }
}
