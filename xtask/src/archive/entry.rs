//! One entry of an archive, and its tar headers in both directions.
//!
//! Headers are GNU tar's (`././@LongLink` members of type `L` and `K` for names over 99 bytes, base-256
//! numbers where octal is too short), because every tar in use reads them, busybox included, which
//! ignores pax names. A pax header (POSIX.1-2001, type `x`) is written only for extended attributes, in the
//! `SCHILY.xattr.` records that GNU tar and libarchive read. Times in the tar are whole seconds; the
//! manifest keeps the nanoseconds.
use super::{FormatError, read_full};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::io::{BufRead, Read};

/// Tar counts in records of this many bytes.
pub const RECORD: u64 = 512;
/// No extension header (long name, pax) that is larger than this is written or read.
pub const MAX_EXTENSION: u64 = 1 << 20;
/// The end-of-archive marker: two records of zeros.
pub const END: [u8; 1024] = [0; 1024];

/// The order in which entries stand: that of their paths' bytes, with `/` in front of all others. So what is in a folder
/// stands right behind it, and a plain tar, which gives a folder its mode when something else comes, is done with it then.
pub fn order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    match one.iter().zip(other).position(|(a, b)| a != b) {
        Some(at) => rank(&one[at]).cmp(&rank(&other[at])),
        None => one.len().cmp(&other.len()),
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// Another name of the entry at [`Entry::link`], which stands earlier in the archive.
    Hardlink,
}

/// A point in time as file systems have it: seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mtime {
    /// Whole seconds, may be negative.
    pub seconds: i64,
    /// 0 to 999 999 999, counted forward from `seconds`.
    pub nanos: u32,
}

/// Everything about an entry but its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/` between parts, no `/` at the end; any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content; 0 for everything but files.
    pub size: u64,
    /// Permission bits, with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Last modification.
    pub mtime: Mtime,
    /// Target of a link; empty for others.
    pub link: Vec<u8>,
    /// Extended attributes, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// A regular file with neutral metadata.
    pub fn file(path: &[u8], size: u64, mode: u32, mtime: Mtime) -> Self {
        Self {
            path: path.to_vec(),
            kind: Kind::File,
            size,
            mode,
            uid: 0,
            gid: 0,
            mtime,
            link: Vec::new(),
            xattrs: Vec::new(),
        }
    }

    /// A symbolic link with neutral metadata.
    pub fn symlink(path: &[u8], target: &[u8], mtime: Mtime) -> Self {
        Self { kind: Kind::Symlink, link: target.to_vec(), ..Self::file(path, 0, 0o777, mtime) }
    }

    /// Tar bytes of headers, content and padding.
    pub fn encoded_len(&self) -> u64 {
        self.headers().len() as u64 + self.size.next_multiple_of(RECORD)
    }

    /// The headers in front of the content.
    pub fn headers(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        if !self.xattrs.is_empty() {
            extension(&mut bytes, b'x', b"././@PaxHeader", &pax_records(&self.xattrs));
        }
        let mut name = self.path.clone();
        if self.kind == Kind::Folder {
            name.push(b'/');
        }
        for (kind, text) in [(b'K', &self.link), (b'L', &name)] {
            if text.len() > 99 {
                let mut data = text.clone();
                data.push(0);
                extension(&mut bytes, kind, b"././@LongLink", &data);
            }
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(match self.kind {
            Kind::File => tar::EntryType::Regular,
            Kind::Folder => tar::EntryType::Directory,
            Kind::Symlink => tar::EntryType::Symlink,
            Kind::Hardlink => tar::EntryType::Link,
        });
        header.set_size(self.size);
        header.set_mode(self.mode);
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        let old = header.as_old_mut();
        fill(&mut old.name, &name);
        fill(&mut old.linkname, &self.link);
        set_mtime(&mut old.mtime, self.mtime.seconds);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes
    }
}

/// As many bytes of `text` as a field holds without losing its NUL; longer texts stand in full in front.
fn fill(field: &mut [u8; 100], text: &[u8]) {
    let len = text.len().min(99);
    field[..len].copy_from_slice(&text[..len]);
}

/// Octal where it fits, else GNU's base-256: the top bit, then two's complement, big endian.
fn set_mtime(field: &mut [u8; 12], seconds: i64) {
    if (0..=0o77_777_777_777).contains(&seconds) {
        field.copy_from_slice(format!("{seconds:011o}\0").as_bytes());
    } else {
        field.copy_from_slice(&i128::from(seconds).to_be_bytes()[4..]);
        field[0] = if seconds < 0 { 0xff } else { 0x80 };
    }
}

fn extension(bytes: &mut Vec<u8>, kind: u8, name: &[u8], data: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    fill(&mut header.as_old_mut().name, name);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    header.set_cksum();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(RECORD as usize), 0);
}

/// POSIX pax records: `<length> <key>=<value>\n`, where the length counts itself.
fn pax_records(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in xattrs {
        let rest = b" SCHILY.xattr.=\n".len() + name.len() + value.len();
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        bytes.extend(format!("{len} SCHILY.xattr.").into_bytes());
        bytes.extend(name);
        bytes.push(b'=');
        bytes.extend(value);
        bytes.push(b'\n');
    }
    bytes
}

/// Reads a tar stream entry by entry, whoever wrote it, and returns whether it ended with the end-of-archive
/// marker; a part of an archive ends without one, and so does one that was cut short.
///
/// # Errors
/// `Malformed` for a header that does not add up, an entry of a kind that is not restored (devices), an
/// extension header over 1 MiB, and content that ends early; whatever `visit` returns.
pub fn read_tar<E: From<FormatError>>(
    stream: &mut dyn BufRead,
    visit: &mut dyn FnMut(Entry, &mut dyn BufRead) -> Result<(), E>,
) -> Result<bool, E> {
    let mut extended = Extended::default();
    loop {
        let header = match next_header(stream)? {
            Next::Header(header) => header,
            Next::Marker => return Ok(true),
            Next::End => return Ok(false),
        };
        let size = header.entry_size().map_err(|error| malformed(format!("a tar header's size: {error}")))?;
        let kind = header.as_bytes()[156];
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            extended.take(kind, read_extension(stream, size)?)?;
            continue;
        }
        let entry = entry_of(&header, size, std::mem::take(&mut extended))?;
        let mut content = Content { stream: &mut *stream, left: entry.size };
        visit(entry, &mut content)?;
        let (left, padding) = (content.left, (RECORD - size % RECORD) % RECORD);
        let behind = left.checked_add(padding).ok_or_else(|| malformed("a tar header's size".into()))?;
        discard(stream, behind)?;
    }
}

/// What stands at the place of a header.
enum Next {
    Header(Box<tar::Header>),
    Marker,
    End,
}

fn malformed(what: String) -> FormatError {
    FormatError::Malformed(what)
}

/// The long names and attributes that stand in front of an entry's own header.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of all of them together.
    bytes: u64,
}

impl Extended {
    fn take(&mut self, kind: u8, mut data: Vec<u8>) -> Result<(), FormatError> {
        self.bytes += data.len() as u64;
        if self.bytes > 3 * MAX_EXTENSION {
            return Err(malformed(format!("extension headers of {} bytes before one entry", self.bytes)));
        }
        match kind {
            b'L' | b'K' => {
                data.truncate(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
                *(if kind == b'L' { &mut self.name } else { &mut self.link }) = Some(data);
            }
            b'x' => self.take_pax(&data)?,
            _ => {}
        }
        Ok(())
    }

    fn take_pax(&mut self, data: &[u8]) -> Result<(), FormatError> {
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, behind) =
                pax_record(rest).ok_or_else(|| malformed("a pax record does not add up".into()))?;
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => return Err(malformed("a size in a pax record is not supported".into())),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(malformed("a sparse file, which is not supported".into()));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
            rest = behind;
        }
        Ok(())
    }
}

/// Key and value of the first record, and what stands behind it.
fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let record = data.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &data[len..]))
}

fn next_header(stream: &mut dyn BufRead) -> Result<Next, FormatError> {
    let mut bytes = [0; RECORD as usize];
    match read_full(stream, &mut bytes)? {
        0 => return Ok(Next::End),
        count if count < bytes.len() => return Err(malformed("the tar stream ends within a header".into())),
        _ => {}
    }
    if bytes == [0; RECORD as usize] {
        return Ok(Next::Marker);
    }
    let header = tar::Header::from_byte_slice(&bytes).clone();
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
    match header.cksum() {
        Ok(stored) if stored == sum => Ok(Next::Header(Box::new(header))),
        _ => Err(malformed("a tar header has a wrong checksum".into())),
    }
}

fn read_extension(stream: &mut dyn BufRead, size: u64) -> Result<Vec<u8>, FormatError> {
    if size > MAX_EXTENSION {
        return Err(malformed(format!("an extension header of {size} bytes")));
    }
    let mut data = vec![0; size.next_multiple_of(RECORD) as usize];
    stream.read_exact(&mut data)?;
    data.truncate(size as usize);
    Ok(data)
}

fn entry_of(header: &tar::Header, size: u64, extended: Extended) -> Result<Entry, FormatError> {
    let mut path = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
    let kind = match header.as_bytes()[156] {
        0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Folder,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'5' => Kind::Folder,
        other => {
            let path = crate::shown::show_bytes(&path);
            return Err(malformed(format!(
                "entry {path} is of type '{}' (a device, a pipe or unknown), which is never restored",
                (other as char).escape_default()
            )));
        }
    };
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    let number = |what: &str, value: std::io::Result<u64>| {
        value.map_err(|error| malformed(format!("a tar header's {what}: {error}")))
    };
    Ok(Entry {
        kind,
        size: if kind == Kind::File { size } else { 0 },
        mode: header.mode().map_err(|error| malformed(format!("a tar header's mode: {error}")))? & 0o7777,
        uid: number("owner", header.uid())?,
        gid: number("group", header.gid())?,
        mtime: Mtime { seconds: mtime_of(&header.as_old().mtime)?, nanos: 0 },
        link: match kind {
            Kind::Symlink | Kind::Hardlink => extended
                .link
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            Kind::File | Kind::Folder => Vec::new(),
        },
        xattrs: extended.xattrs,
        path,
    })
}

fn mtime_of(field: &[u8; 12]) -> Result<i64, FormatError> {
    if field[0] & 0x80 != 0 {
        let sign = if field[0] == 0xff { 0xff } else { 0 };
        let mut bytes = [sign; 16];
        bytes[5..].copy_from_slice(&field[1..]);
        return i64::try_from(i128::from_be_bytes(bytes))
            .map_err(|_| malformed("a tar header's time is out of range".into()));
    }
    let text = std::str::from_utf8(field).unwrap_or("?");
    let digits = text.trim_matches(|c: char| c == ' ' || c == '\0');
    i64::from_str_radix(if digits.is_empty() { "0" } else { digits }, 8)
        .map_err(|_| malformed("a tar header's time is not octal".into()))
}

/// An entry's content: ends where the entry does, and fails when the stream ends first.
struct Content<'a> {
    stream: &'a mut dyn BufRead,
    left: u64,
}

impl BufRead for Content<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let part = self.stream.fill_buf()?;
        if part.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&part[..part.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, count: usize) {
        self.left -= count as u64;
        self.stream.consume(count);
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

fn discard(stream: &mut dyn BufRead, bytes: u64) -> Result<(), FormatError> {
    let mut left = bytes;
    while left > 0 {
        let there = stream.fill_buf()?.len();
        if there == 0 {
            return Err(malformed("the tar stream ends within an entry".into()));
        }
        let count = there.min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.consume(count);
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(entry: &Entry, content: &[u8]) -> (Entry, Vec<u8>) {
        let mut tar = entry.headers();
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
        assert_eq!(tar.len() as u64, entry.encoded_len());
        tar.extend(END);
        let mut seen = Vec::new();
        read_tar::<FormatError>(&mut &tar[..], &mut |entry, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            seen.push((entry, bytes));
            Ok(())
        })
        .expect("reads back");
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    #[test]
    fn every_kind_comes_back() {
        let time = Mtime { seconds: 1_700_000_000, nanos: 0 };
        let long = [b"d/".to_vec(), vec![b'n'; 300]].concat();
        let mut odd = Entry::file(b"caf\xe9 \n", 3, 0o4755, Mtime { seconds: -5, nanos: 0 });
        odd.uid = 1 << 40;
        odd.xattrs = vec![(b"user.note".to_vec(), b"a=b\nc".to_vec()), (b"user.z".to_vec(), vec![7; 100])];
        let cases = [
            Entry::file(&long, 3, 0o600, time),
            odd,
            Entry::symlink(b"s", &long, time),
            Entry { kind: Kind::Folder, mode: 0o700, ..Entry::file(&long, 0, 0, time) },
            Entry { kind: Kind::Hardlink, link: long.clone(), ..Entry::file(b"h", 0, 0o644, time) },
            Entry::file(b"far", 0, 0o644, Mtime { seconds: 1 << 40, nanos: 0 }),
        ];
        for entry in cases {
            let content = &b"abc"[..entry.size as usize];
            assert_eq!(round_trip(&entry, content), (entry, content.to_vec()));
        }
    }

    #[test]
    fn a_cut_or_bent_tar_is_malformed() {
        let entry = Entry::file(b"a", 600, 0o644, Mtime::default());
        let mut tar = entry.headers();
        tar.resize(512 + 1024, b'x');
        let read = |bytes: &[u8]| read_tar::<FormatError>(&mut &*bytes, &mut |_, _| Ok(()));
        assert!(read(&tar).is_ok());
        for len in [100, 512, 700, 1535] {
            assert!(read(&tar[..len]).is_err(), "cut at {len}");
        }
        tar[3] ^= 1;
        assert!(read(&tar).is_err(), "a flipped bit in the header");
    }

    #[test]
    fn a_device_is_refused_by_name() {
        let mut bytes = Entry::file(b"dev/sda", 0, 0o644, Mtime::default()).headers();
        bytes[156] = b'4';
        let mut header = tar::Header::from_byte_slice(&bytes).clone();
        header.set_cksum();
        let error = read_tar::<FormatError>(&mut &header.as_bytes()[..], &mut |_, _| Ok(()));
        assert!(error.expect_err("refused").to_string().contains("dev/sda"));
    }
}
