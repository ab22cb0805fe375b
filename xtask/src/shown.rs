//! Names made harmless to show: bytes of a path as text that cannot move a cursor or break a line. Pure.
use std::path::Path;

/// A path for people and JSON: UTF-8 as it is, control characters and other bytes as `\xNN`.
pub fn show_bytes(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// [`show_bytes`] of a path.
pub fn show(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    show_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_are_shown_and_cannot_move_the_cursor() {
        assert_eq!(show_bytes(b"caf\xc3\xa9 \xff\x1b[2J\n"), "café \\xff\\u{1b}[2J\\n");
    }
}
