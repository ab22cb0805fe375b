//! The lines of `.recovery/history.jsonl`: what is written, and which of those that are read are damaged. Pure.
//!
//! Each record carries a CRC-32 of the rest of it, so that a changed bit is noticed even where the line still parses. A
//! kill can only leave the beginning of a record at the end of the file; the next record says in front of it that the
//! line above was torn. So a torn line is told from a damaged one, wherever it stands.
use serde_json::{Map, Value};

/// The version that is written. Records of version 1 have no checksum.
const SCHEMA: u64 = 2;

/// What stands in front of a record when the line above it has no end.
pub(super) const TORN: &str = "\n{\"kind\":\"torn\",\"schema\":1}\n";

/// A record as a line, without its end.
pub(super) fn line(record: &Value) -> String {
    let mut fields = record.as_object().cloned().unwrap_or_default();
    fields.insert("schema".into(), SCHEMA.into());
    let sum = sum(&fields);
    fields.insert("sum".into(), sum.into());
    Value::Object(fields).to_string()
}

/// The keys of a map are sorted, so a record has one text.
fn sum(fields: &Map<String, Value>) -> String {
    let text = serde_json::to_string(fields).unwrap_or_default();
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Every record that can be read, and the numbers of the lines (from 1) that are not what was written.
pub(super) fn read(bytes: &[u8]) -> (Vec<Value>, Vec<usize>) {
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(fields)) => {
                if !is_whole(&fields) {
                    damaged.push(at + 1);
                }
                records.push(Value::Object(fields));
            }
            _ => {
                let ended = lines.get(at + 1).is_some_and(|next| **next != *TORN.trim().as_bytes());
                if ended || !is_torn(line) {
                    damaged.push(at + 1);
                }
            }
        }
    }
    (records, damaged)
}

fn is_whole(fields: &Map<String, Value>) -> bool {
    let mut rest = fields.clone();
    match rest.remove("sum") {
        Some(written) => written == sum(&rest).as_str(),
        None => fields.get("schema").is_none_or(|schema| schema.as_u64() == Some(1)),
    }
}

/// Whether a line is the beginning of a record. A kill may cut through a letter, and leaves nothing else that is odd.
fn is_torn(line: &[u8]) -> bool {
    let text = match std::str::from_utf8(line) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    // A record that is whole, with something behind it, was not cut off.
    let mut values = serde_json::Deserializer::from_slice(line).into_iter::<Value>();
    let open = !matches!(values.next(), Some(Ok(_)));
    open && text && (line == b"{" || line.starts_with(b"{\"")) && !line.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(count: u64) -> String {
        (0..count)
            .map(|number| line(&json!({"kind": "backup", "artifact": "/ä", "bytes": number})) + "\n")
            .collect()
    }

    #[test]
    fn every_flipped_bit_is_noticed_in_its_line() {
        let text = lines(3);
        assert_eq!((read(text.as_bytes()).0.len(), read(text.as_bytes()).1), (3, vec![]));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let (_, damaged) = read(&bytes);
                assert!(!damaged.is_empty(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn what_a_kill_tears_is_no_damage_at_the_end_or_once_the_next_record_says_so() {
        let (whole, next) = (lines(2), lines(1));
        for end in 1..next.len() - 1 {
            let torn = [whole.as_bytes(), &next.as_bytes()[..end]].concat();
            assert_eq!((read(&torn).0.len(), read(&torn).1), (2, vec![]), "{end}");
            let told = [&torn, TORN.as_bytes(), next.as_bytes()].concat();
            assert_eq!((read(&told).0.len(), read(&told).1), (4, vec![]), "{end}");
            let untold = [&torn[..], b"\n", next.as_bytes()].concat();
            assert_eq!((read(&untold).0.len(), read(&untold).1), (3, vec![3]), "{end}");
        }
        for odd in [&b"{\"a\0"[..], b"\0\0\0", b"text", b"{\"\xff\""] {
            assert_eq!(read(odd).1, [1], "{odd:?}");
        }
    }

    #[test]
    fn records_of_the_first_version_have_no_checksum() {
        let (records, damaged) = read(b"{\"schema\": 1, \"kind\": \"backup\"}\n{\"kind\": \"x\"}\n[]\n");
        assert_eq!((records.len(), damaged), (2, vec![3]));
    }
}
