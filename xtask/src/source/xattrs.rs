//! The extended attributes of a data file, POSIX ACLs among them, as far as a pax record has room for them.
use crate::archive::entry::MAX_EXTENSION;
use crate::shown::show;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Name and value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes of a file, sorted. POSIX ACLs are among them. A file system without any has none.
pub(super) fn xattrs(
    list: impl Fn() -> std::io::Result<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Attribute>, String> {
    let names = match list() {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotFound) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("they could not be listed: {error}")),
    };
    let mut all = Vec::new();
    for name in names {
        match get(&name) {
            Ok(Some(value)) => all.push((name.as_bytes().to_vec(), value)),
            // It was taken away in between.
            Ok(None) => {}
            Err(error) => return Err(format!("{} could not be read: {error}", show(Path::new(&name)))),
        }
    }
    all.sort();
    if all.iter().any(|(name, _)| name.contains(&b'=')) {
        return Err("a name with '=' has no place in a pax record".into());
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len() + RECORD_OVERHEAD).sum();
    match bytes as u64 > MAX_EXTENSION {
        true => Err(format!("they take {bytes} bytes, and {MAX_EXTENSION} is the most")),
        false => Ok(all),
    }
}

/// No more than this stands around name and value in a pax record.
const RECORD_OVERHEAD: usize = 32;
