//! `release_url` in the text of a lock: set, and nothing else changed. Pure.
//!
//! A lock is not written anew for it: fields that another version of this tool, or the shell tool, has put there stay as they
//! are, byte for byte.
use serde_json::Value;

const KEY: &str = "release_url";

/// The lock with this address, or with none; nothing where it does not have the field on a line of its own, as this tool, the
/// shell tool and `jq` write it.
pub fn set(text: &str, url: Option<&str>) -> Option<String> {
    let mut wanted: Value = serde_json::from_str(text).ok()?;
    *wanted.get_mut(KEY)? = url.into();
    let field = format!("\"{KEY}\":");
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let Some(old) = line.trim_start().strip_prefix(&field) else { continue };
        let comma = if old.trim_end().ends_with(',') { "," } else { "" };
        let (indent, end) = (&line[..line.len() - line.trim_start().len()], &line[line.trim_end().len()..]);
        let new =
            format!("{}{indent}{field} {}{comma}{end}{}", &text[..begin], Value::from(url), &text[at..]);
        // A field of this name deeper down is another.
        if serde_json::from_str::<Value>(&new).is_ok_and(|value| value == wanted) {
            return Some(new);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_set_and_every_other_byte_stays() {
        let text =
            "{\n  \"x\": {\n    \"release_url\": null\n  },\n  \"release_url\": null,\n  \"é\": [ ]\n}";
        let url = "https://h/\"q\"";
        let with = set(text, Some(url)).expect("a field");
        assert_eq!(
            with,
            text.replace("},\n  \"release_url\": null,", "},\n  \"release_url\": \"https://h/\\\"q\\\"\",")
        );
        assert_eq!(set(&with, None).as_deref(), Some(text), "and taken away again");
        assert_eq!(set(&with, Some(url)).as_deref(), Some(&*with), "twice is once");
        let last = "{\r\n\t\"release_url\": \"a\"\r\n}\r\n";
        assert_eq!(set(last, Some("b")).as_deref(), Some("{\r\n\t\"release_url\": \"b\"\r\n}\r\n"));
    }

    #[test]
    fn a_lock_without_the_field_on_a_line_of_its_own_is_left_alone() {
        for text in ["{}", "[]", "no JSON", "{\"release_url\": null}", "{\n \"a\": {\n\"release_url\": 1\n}}"]
        {
            assert_eq!(set(text, Some("u")), None, "{text}");
        }
    }
}
