//! Line ends as the commit's `.gitattributes` ask for them: `eol=crlf` makes a checkout, and so a bundle, hold `\r\n`
//! where the object holds `\n` (gitattributes(5)). Nothing else is converted: what a user's or a machine's settings
//! would change is left as it is in the object.
//!
//! Pure.

/// What the attributes of a path ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eol {
    /// The object's own bytes.
    #[default]
    Asis,
    /// `eol=crlf`: every line end.
    Crlf,
    /// `text=auto eol=crlf`: every line end, if it is a text that has no carriage return yet.
    AutoCrlf,
}

impl Eol {
    /// Of the values of `text` and `eol`, as `git check-attr` prints them.
    pub fn of(text: &[u8], eol: &[u8]) -> Self {
        match (text, eol) {
            (b"unset", _) => Self::Asis,
            (b"auto", b"crlf") => Self::AutoCrlf,
            (_, b"crlf") => Self::Crlf,
            _ => Self::Asis,
        }
    }

    /// The content as a checkout has it.
    pub fn apply(self, content: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Asis => content,
            Self::AutoCrlf if content.contains(&b'\r') || is_binary(&content) => content,
            Self::Crlf | Self::AutoCrlf => {
                let mut converted = Vec::with_capacity(content.len() + content.len() / 32);
                for (at, byte) in content.iter().enumerate() {
                    if *byte == b'\n' && (at == 0 || content[at - 1] != b'\r') {
                        converted.push(b'\r');
                    }
                    converted.push(*byte);
                }
                converted
            }
        }
    }
}

/// git's own guess (`convert.c`): a NUL, or more than one unprintable byte in 128.
fn is_binary(content: &[u8]) -> bool {
    let printable = |byte: u8| matches!(byte, b'\x08' | b'\t' | b'\x1b' | b'\x0c' | 32..=126 | 128..);
    let counted = content.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let (mut good, mut bad) = (0_usize, 0_usize);
    counted.for_each(|byte| if printable(*byte) { good += 1 } else { bad += 1 });
    // DOS ended texts with this.
    bad -= usize::from(content.last() == Some(&b'\x1a'));
    content.contains(&0) || good >> 7 < bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_converted_where_they_are_asked_for() {
        let crlf = Eol::of(b"unspecified", b"crlf");
        assert_eq!(crlf.apply(b"a\nb\r\nc\n\n".to_vec()), b"a\r\nb\r\nc\r\n\r\n");
        assert_eq!(crlf.apply(b"\n".to_vec()), b"\r\n");
        let auto = Eol::of(b"auto", b"crlf");
        assert_eq!(auto.apply(b"a\nb\n\x1a".to_vec()), b"a\r\nb\r\n\x1a");
        for whole in [&b"a\r\nb\n"[..], b"a\n\0b", b"a\n\x01\x02\x03"] {
            assert_eq!(auto.apply(whole.to_vec()), whole);
        }
        // One unprintable byte in 128 makes no text binary, and one in 127 does.
        for (length, converted) in [(128, true), (127, false)] {
            let text = [&b"\x01"[..], &vec![b'a'; length], b"\n"].concat();
            assert_eq!(auto.apply(text).ends_with(b"\r\n"), converted, "{length}");
        }
        for (text, eol) in [(&b"unset"[..], &b"crlf"[..]), (b"set", b"lf"), (b"set", b"unspecified")] {
            assert_eq!(Eol::of(text, eol), Eol::Asis);
        }
    }
}
