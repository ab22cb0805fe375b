//! How two tar streams differ, entry by entry and in what no entry shows: a small diffoscope. Pure.
use crate::archive::entry::{Entry, Kind, RECORD};
use crate::archive::hex;
use crate::archive::raw::{End, Seen, Stream};
use crate::shown::show_bytes;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The entry; `.` for the stream as a whole.
    pub path: String,
    /// In which respect.
    pub field: &'static str,
    /// What the bundle has; `None` where it has nothing of the kind.
    pub bundle: Option<String>,
    /// What was rebuilt has.
    pub rebuilt: Option<String>,
}

/// The stream as a whole.
pub const WHOLE: &str = ".";

/// The fields of a tar header (GNU tar manual, "Basic Tar Format"), where each begins and ends, and the respect of an
/// entry that it says.
const FIELDS: [(&str, usize, usize, &str); 15] = [
    ("name", 0, 100, ""),
    ("mode", 100, 108, "mode"),
    ("uid", 108, 116, "owner"),
    ("gid", 116, 124, "owner"),
    ("size", 124, 136, "size"),
    ("mtime", 136, 148, "mtime"),
    ("type", 156, 157, "kind"),
    ("link name", 157, 257, "link"),
    ("magic", 257, 265, ""),
    ("user name", 265, 297, ""),
    ("group name", 297, 329, ""),
    ("device major", 329, 337, ""),
    ("device minor", 337, 345, ""),
    ("prefix", 345, 500, ""),
    ("rest", 500, 512, ""),
];

/// All differences between a bundle and what was rebuilt, in the order of the bundle; then what it lacks.
pub fn differences(bundle: &Stream, rebuilt: &Stream) -> Vec<Difference> {
    let mut others: HashMap<&[u8], VecDeque<usize>> = HashMap::new();
    for (at, seen) in rebuilt.entries.iter().enumerate() {
        others.entry(&seen.entry.path).or_default().push_back(at);
    }
    let (mut found, mut pairs) = (Vec::new(), Vec::new());
    for (at, seen) in bundle.entries.iter().enumerate() {
        match others.get_mut(&seen.entry.path[..]).and_then(VecDeque::pop_front) {
            Some(other) => {
                of_entry(seen, &rebuilt.entries[other], &mut found);
                pairs.push((at, other));
            }
            None => found.push(only(seen, true)),
        }
    }
    let mut left: Vec<usize> = others.into_values().flatten().collect();
    left.sort_unstable();
    found.extend(left.into_iter().map(|at| only(&rebuilt.entries[at], false)));
    found.extend(moved(&pairs, bundle, rebuilt));
    if bundle.end != rebuilt.end && bundle.broken.is_none() {
        found.push(difference(WHOLE, "end", Some(end(&bundle.end)), Some(end(&rebuilt.end))));
    }
    found
}

fn difference(
    path: &str,
    field: &'static str,
    bundle: Option<String>,
    rebuilt: Option<String>,
) -> Difference {
    Difference { path: path.to_owned(), field, bundle, rebuilt }
}

/// An entry that the other does not have.
fn only(seen: &Seen, is_bundles: bool) -> Difference {
    let what = format!("{}, {} bytes", kind(seen.entry.kind), seen.entry.size);
    let path = show_bytes(&seen.entry.path);
    match is_bundles {
        true => difference(&path, "entry", Some(what), None),
        false => difference(&path, "entry", None, Some(what)),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "folder",
        Kind::Symlink => "symbolic link",
        Kind::Hardlink => "hard link",
    }
}

fn end(end: &End) -> String {
    let what = if end.is_zero { "zero bytes" } else { "bytes, not all of them zero" };
    format!("{} {what}", end.bytes)
}

/// In which respects one entry differs, and then its headers where that does not explain it.
fn of_entry(one: &Seen, other: &Seen, found: &mut Vec<Difference>) {
    let path = show_bytes(&one.entry.path);
    let (a, b) = (&one.entry, &other.entry);
    let xattrs = |entry: &Entry| {
        let names: Vec<String> = entry.xattrs.iter().map(|(name, _)| show_bytes(name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let digest = |seen: &Seen| format!("sha256 {}", hex(&seen.sha256));
    let respects = [
        ("kind", a.kind == b.kind, [kind(a.kind).to_owned(), kind(b.kind).to_owned()]),
        ("size", a.size == b.size, [a.size, b.size].map(|size| size.to_string())),
        ("content", one.sha256 == other.sha256, [digest(one), digest(other)]),
        ("mode", a.mode == b.mode, [a.mode, b.mode].map(|mode| format!("{mode:04o}"))),
        (
            "owner",
            (a.uid, a.gid) == (b.uid, b.gid),
            [a, b].map(|entry| format!("{}:{}", entry.uid, entry.gid)),
        ),
        ("mtime", a.mtime == b.mtime, [a, b].map(|entry| entry.mtime.seconds.to_string())),
        ("link", a.link == b.link, [a, b].map(|entry| show_bytes(&entry.link))),
        ("xattrs", a.xattrs == b.xattrs, [xattrs(a), xattrs(b)]),
    ];
    let mut told = Vec::new();
    for (field, is_same, [bundle, rebuilt]) in respects {
        if !is_same {
            told.push(field);
            found.push(difference(&path, field, Some(bundle), Some(rebuilt)));
        }
    }
    if one.odd_headers.is_some() || other.odd_headers.is_some() {
        let raw = |seen: &Seen| seen.odd_headers.clone().unwrap_or_else(|| seen.entry.headers());
        headers(&path, &raw(one), &raw(other), &told, found);
    }
    if one.odd_padding != other.odd_padding {
        let what = |odd| Some(if odd { "not all zero" } else { "zero" }.to_owned());
        found.push(difference(&path, "padding", what(one.odd_padding), what(other.odd_padding)));
    }
}

/// What differs in headers, but for what `told` has said already.
fn headers(path: &str, one: &[u8], other: &[u8], told: &[&str], found: &mut Vec<Difference>) {
    let header = RECORD as usize;
    let (Some(at), Some(behind)) = (one.len().checked_sub(header), other.len().checked_sub(header)) else {
        return;
    };
    if one[..at] != other[..behind] && !told.contains(&"xattrs") {
        found.push(difference(
            path,
            "header",
            Some(extensions(&one[..at])),
            Some(extensions(&other[..behind])),
        ));
    }
    let (one, other) = (&one[at..], &other[behind..]);
    let before = found.len();
    for (name, from, to, says) in FIELDS {
        if one[from..to] != other[from..to] && !told.contains(&says) {
            let value = |field: &[u8]| Some(format!("{name} {:?}", show_bytes(trimmed(field))));
            found.push(difference(path, "header", value(&one[from..to]), value(&other[from..to])));
        }
    }
    let sum = 148..156;
    if found.len() == before && told.is_empty() && one[sum.clone()] != other[sum.clone()] {
        let value = |field: &[u8]| Some(format!("checksum {:?}", show_bytes(trimmed(field))));
        found.push(difference(path, "header", value(&one[sum.clone()]), value(&other[sum])));
    }
}

/// Without the zeros at its end.
fn trimmed(field: &[u8]) -> &[u8] {
    let end = field.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    &field[..end]
}

/// The types of the headers in front of an entry's own, and their bytes.
fn extensions(mut raw: &[u8]) -> String {
    let mut names = Vec::new();
    while let Some((header, rest)) = raw.split_at_checked(RECORD as usize) {
        let header = tar::Header::from_byte_slice(header);
        let size = header.entry_size().unwrap_or(0);
        names.push(format!("'{}' of {size} bytes", (header.as_bytes()[156] as char).escape_default()));
        let skipped = usize::try_from(size.next_multiple_of(RECORD)).unwrap_or(usize::MAX);
        raw = rest.get(skipped..).unwrap_or_default();
    }
    if names.is_empty() {
        "no header in front".to_owned()
    } else {
        format!("header {} in front", names.join(", "))
    }
}

/// The entries that stand elsewhere: as few as explain the order. `pairs` are in the order of the bundle.
fn moved(pairs: &[(usize, usize)], bundle: &Stream, rebuilt: &Stream) -> Vec<Difference> {
    let stays = longest_rising(pairs.iter().map(|(_, other)| *other));
    let behind = |stream: &Stream, at: usize| match at.checked_sub(1) {
        Some(before) => format!("behind {}", show_bytes(&stream.entries[before].entry.path)),
        None => "first".to_owned(),
    };
    let elsewhere = pairs.iter().zip(stays).filter(|(_, stays)| !stays).map(|(pair, _)| *pair);
    elsewhere
        .map(|(at, other)| {
            let path = show_bytes(&bundle.entries[at].entry.path);
            difference(&path, "order", Some(behind(bundle, at)), Some(behind(rebuilt, other)))
        })
        .collect()
}

/// Which numbers belong to the longest run of rising ones (patience sorting).
fn longest_rising(numbers: impl Iterator<Item = usize>) -> Vec<bool> {
    let numbers: Vec<usize> = numbers.collect();
    // The place of the smallest number that ends a run of each length, and what stands before it in that run.
    let (mut ends, mut before): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for (at, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut chosen = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        chosen[at] = true;
        next = before[at];
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::entry::Mtime;

    fn seen(path: &str, size: u64) -> Seen {
        let entry = Entry::file(path.as_bytes(), size, 0o644, Mtime::default());
        Seen { entry, sha256: [0; 32], odd_headers: None, odd_padding: false }
    }

    fn stream(entries: Vec<Seen>) -> Stream {
        Stream { entries, ..Stream::default() }
    }

    fn told(bundle: Vec<Seen>, rebuilt: Vec<Seen>) -> Vec<(String, &'static str)> {
        let found = differences(&stream(bundle), &stream(rebuilt));
        found.into_iter().map(|difference| (difference.path, difference.field)).collect()
    }

    #[test]
    fn the_fewest_entries_are_said_to_stand_elsewhere() {
        let names = |names: &str| names.chars().map(|name| seen(&name.to_string(), 0)).collect::<Vec<_>>();
        assert_eq!(told(names("abcd"), names("abcd")), []);
        assert_eq!(told(names("bcda"), names("abcd")), [("a".to_owned(), "order")]);
        assert_eq!(told(names("dabc"), names("abcd")), [("d".to_owned(), "order")]);
        assert_eq!(longest_rising([2, 0, 1, 3].into_iter()), [false, true, true, true]);
    }

    #[test]
    fn entries_of_one_alone_and_those_that_are_there_twice_are_told() {
        let one = vec![seen("a", 0), seen("a", 0), seen("b", 0)];
        let other = vec![seen("a", 0), seen("c", 0)];
        let expected =
            [("a", "entry"), ("b", "entry"), ("c", "entry")].map(|(path, field)| (path.to_owned(), field));
        assert_eq!(told(one, other), expected);
    }

    #[test]
    fn a_header_is_told_only_where_its_entry_does_not_say_it() {
        let (mut one, other) = (seen("a", 1), seen("a", 1));
        one.entry.mode = 0o755;
        assert_eq!(told(vec![one.clone()], vec![other.clone()]), [("a".to_owned(), "mode")]);
        let mut raw = one.entry.headers();
        raw[265..269].copy_from_slice(b"root");
        one.odd_headers = Some(raw);
        let found = differences(&stream(vec![one]), &stream(vec![other]));
        assert_eq!(found.iter().map(|difference| difference.field).collect::<Vec<_>>(), ["mode", "header"]);
        assert_eq!(found[1].bundle.as_deref(), Some("user name \"root\""));
        assert_eq!(found[1].rebuilt.as_deref(), Some("user name \"\""));
    }

    #[test]
    fn an_entry_of_one_alone_is_told_with_its_kind_and_size() {
        for (kind, what) in [
            (Kind::File, "file, 3 bytes"),
            (Kind::Folder, "folder, 3 bytes"),
            (Kind::Symlink, "symbolic link, 3 bytes"),
            (Kind::Hardlink, "hard link, 3 bytes"),
        ] {
            let mut one = seen("a", 3);
            one.entry.kind = kind;
            let [bundles, others] = [(vec![one.clone()], vec![]), (vec![], vec![one])]
                .map(|(bundle, rebuilt)| differences(&stream(bundle), &stream(rebuilt)).remove(0));
            assert_eq!((bundles.bundle.as_deref(), bundles.rebuilt), (Some(what), None));
            assert_eq!((others.bundle, others.rebuilt.as_deref()), (None, Some(what)));
        }
    }

    #[test]
    fn what_lies_behind_the_last_entry_is_told() {
        let behind = |bytes, is_zero| Stream { end: End { bytes, is_zero }, ..Stream::default() };
        let found = differences(&behind(512, true), &behind(1024, false)).remove(0);
        assert_eq!((&*found.path, found.field), (WHOLE, "end"));
        assert_eq!(found.bundle.as_deref(), Some("512 zero bytes"));
        assert_eq!(found.rebuilt.as_deref(), Some("1024 bytes, not all of them zero"));
    }

    /// What differs, of two entries that are the same but for this in the headers of the first.
    fn of_headers(change: impl FnOnce(&mut Vec<u8>), xattrs: &[(&str, &str)]) -> Vec<(String, String)> {
        let (mut one, other) = (seen("a", 1), seen("a", 1));
        one.entry.xattrs =
            xattrs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect();
        let mut raw = other.entry.headers();
        change(&mut raw);
        one.odd_headers = Some(raw);
        let found = differences(&stream(vec![one]), &stream(vec![other]));
        let text = |value: Option<String>| value.unwrap_or_default();
        found.into_iter().map(|found| (text(found.bundle), text(found.rebuilt))).collect()
    }

    #[test]
    fn headers_in_front_are_told_by_type_where_no_attribute_explains_them() {
        let mut long = tar::Header::new_gnu();
        long.set_entry_type(tar::EntryType::GNULongName);
        long.set_size(5);
        long.set_cksum();
        let front = [&long.as_bytes()[..], b"a", &[0; 511]].concat();
        let put = |raw: &mut Vec<u8>| drop(raw.splice(..0, front.iter().copied()));
        let told = ("header 'L' of 5 bytes in front".to_owned(), "no header in front".to_owned());
        assert_eq!(of_headers(put, &[]), [told]);
        assert_eq!(of_headers(put, &[("user.a", "b")]), [("user.a".to_owned(), "none".to_owned())]);
    }

    #[test]
    fn a_checksum_is_told_where_nothing_else_differs() {
        let mut right = String::new();
        let wrong = |raw: &mut Vec<u8>| {
            right = format!("checksum {:?}", show_bytes(trimmed(&raw[148..156])));
            raw[148..156].copy_from_slice(b"000000\0 ");
        };
        let told = of_headers(wrong, &[]);
        assert_eq!(told, [(format!("checksum {:?}", show_bytes(b"000000\0 ")), right)]);
        assert_eq!(of_headers(|_| {}, &[]), []);
        let named = of_headers(
            |raw| {
                raw[265..269].copy_from_slice(b"root");
                raw[148..156].copy_from_slice(b"000000\0 ");
            },
            &[],
        );
        assert_eq!(named.len(), 1, "{named:?}");
    }
}
