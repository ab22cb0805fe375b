//! An object in a file of its own: its kind, its size and its bytes, packed as one (gitformat-loose(5)).
use super::Reader;
use super::pack::bound;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes in front of a blob of that many bytes.
fn head(size: usize) -> String {
    format!("blob {size}\0")
}

/// The blob of `size` bytes in this file, in `reader.object`; `None` when the file holds another.
pub(super) fn read(file: &Path, size: usize, reader: &mut Reader) -> Option<()> {
    let head = head(size);
    let whole = head.len() + size;
    reader.packed.clear();
    let most = bound(whole) as u64;
    File::open(file).and_then(|file| file.take(most).read_to_end(&mut reader.packed)).ok()?;
    reader.delta.resize(whole, 0);
    let made = reader.inflater.zlib_decompress(&reader.packed, &mut reader.delta);
    let content = reader.delta.strip_prefix(head.as_bytes()).filter(|_| made == Ok(whole))?;
    reader.object.clear();
    reader.object.extend_from_slice(content);
    Some(())
}
