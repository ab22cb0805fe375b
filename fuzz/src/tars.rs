//! Tar streams out of an input: as it is but with checksums that add up, or built entry by entry.
use super::input::Input;

const RECORD: usize = 512;
/// Names that are in each other's way, lead out, or are odd.
const NAMES: [&str; 16] = [
    "a",
    "a/b",
    "a/b/c",
    "b",
    "b/c",
    "c",
    "./a",
    "a/",
    "a/../b",
    "../victim/canary",
    "../made",
    "",
    ".",
    "a//b",
    "d/e/f/g",
    "z",
];
/// Kinds of members: files above all, then the rest, and what is refused.
const KINDS: &[u8] = b"0000000555512211LKxg\x0073S6";

/// A tar stream without its end, and where in it entries begin.
#[derive(Default)]
pub struct Built {
    pub tar: Vec<u8>,
    pub starts: Vec<usize>,
}

/// Members as the input plans them. `outside` is a folder that absolute names lead to.
pub fn build(input: &mut Input<'_>, outside: &str) -> Built {
    let mut built = Built::default();
    let mut between = true;
    for _ in 0..48 {
        if input.is_empty() {
            break;
        }
        if between {
            built.starts.push(built.tar.len());
        }
        let kind = input.pick(KINDS);
        between = !b"LKxg".contains(&kind);
        member(input, kind, outside, &mut built.tar);
    }
    built
}

fn member(input: &mut Input<'_>, kind: u8, outside: &str, tar: &mut Vec<u8>) {
    let (named, link) = (name(input, outside), name(input, outside));
    let content: Vec<u8> = match kind {
        b'0' | b'7' | 0 => input.bytes(200).to_vec(),
        b'L' | b'K' => name(input, outside),
        b'x' | b'g' => pax(input, outside),
        _ => Vec::new(),
    };
    let mut header = if input.rarely() { tar::Header::new_ustar() } else { tar::Header::new_gnu() };
    header.set_size(content.len() as u64);
    header.set_mode(if input.rarely() { u32::from(input.byte()) << 4 } else { 0o755 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(input.number());
    let fields = header.as_old_mut();
    fields.linkflag = [kind];
    fill(&mut fields.name, &named);
    fill(&mut fields.linkname, &link);
    if input.rarely() {
        let field: &mut [u8] = match input.byte() % 5 {
            0 => &mut fields.size,
            1 => &mut fields.mode,
            2 => &mut fields.mtime,
            3 => &mut fields.uid,
            _ => &mut fields.gid,
        };
        fill(field, input.bytes(12));
    }
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(RECORD), 0);
}

fn fill(field: &mut [u8], text: &[u8]) {
    let count = text.len().min(field.len());
    field[..count].copy_from_slice(&text[..count]);
}

fn name(input: &mut Input<'_>, outside: &str) -> Vec<u8> {
    match input.byte() {
        0xff => input.bytes(200).to_vec(),
        0xfe => [outside.as_bytes(), b"/", input.bytes(8)].concat(),
        0xfd => b"deep/".repeat(usize::from(input.byte())),
        0xfc => vec![b'n'; usize::from(input.byte())],
        0xfb => [b"e", input.bytes(3)].concat(),
        other => NAMES[usize::from(other) % NAMES.len()].as_bytes().to_vec(),
    }
}

/// Pax records whose lengths add up, but for those that the input spells itself.
fn pax(input: &mut Input<'_>, outside: &str) -> Vec<u8> {
    const KEYS: [&str; 8] =
        ["path", "linkpath", "SCHILY.xattr.user.a", "SCHILY.xattr.", "size", "mtime", "GNU.sparse.map", ""];
    let mut records = Vec::new();
    for _ in 0..=input.byte() % 3 {
        if input.rarely() {
            records.extend(input.bytes(60));
            continue;
        }
        let key = input.pick(&KEYS);
        let value = name(input, outside);
        let rest = key.len() + value.len() + 3;
        let length =
            (rest + 1..).find(|length| length - length.to_string().len() == rest).unwrap_or_default();
        records.extend([format!("{length} {key}=").as_bytes(), &value, b"\n"].concat());
    }
    records
}

/// Makes every checksum right that a reader comes to, as far as sizes lead from one header to the next.
pub fn mend(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(bytes) = tar.get_mut(at..at + RECORD) {
        at += RECORD;
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(bytes);
        header.set_cksum();
        bytes.copy_from_slice(header.as_bytes());
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
        match size.checked_next_multiple_of(RECORD).and_then(|size| at.checked_add(size)) {
            Some(next) => at = next,
            None => return,
        }
    }
}
