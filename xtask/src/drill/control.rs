//! The negative control: a copy with one byte changed must be found to be damaged.
//!
//! A check that accepts everything passes every drill. This step is the only one that would notice, so it
//! is not satisfied by just any failure: the checker must *say* that the copy is damaged. Done twice: with
//! the record of digests beside the copy, as `verify` works, and on the content alone, as a recovery works
//! when that record is lost. The original is only read.
use super::done::Done;
use super::door::Rooms;
use crate::error::{Error, Exit, Result};
use crate::finding::{Finding, any_error};
use crate::restore::{Located, Source};
use crate::tools::gpg::Secret;
use crate::tools::openpgp;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Copies the artifact into `folder`, changes the byte in its middle, and has it checked.
///
/// # Errors
/// When it cannot be copied, or the check fails for another reason than damage.
pub(super) fn negative(
    rooms: &dyn Rooms,
    (source, secret): (&Source, Option<&Secret>),
    folder: &Path,
) -> Result<Done> {
    let whole = copy(source, folder)?;
    // What a key of somebody else opens tells nothing of the content.
    let begin = if source.encrypted { openpgp::content_begins(&whole.archive)? } else { 0 };
    let at = flip_middle(&whole.archive, begin)?;
    let alone = Source { marker: None, locked: None, ..whole.clone() };
    let mut ways = vec![("on its content alone", &alone)];
    if whole.marker.is_some() {
        ways.insert(0, ("with its record of digests", &whole));
    }
    let mut findings = Vec::new();
    for (how, source) in &ways {
        let noticed = match rooms.check(source, secret) {
            Ok(checked) => any_error(&checked.findings),
            Err(error) if error.exit() == Exit::Found => true,
            Err(error) => return Err(error),
        };
        if !noticed {
            let name = crate::shown::show(Path::new(whole.archive.file_name().unwrap_or_default()));
            let what = format!("byte {at} of a copy was changed, and the check {how} did not notice");
            findings.push(Finding::error(name, what, "trust no verification of this version; report it"));
        }
    }
    let detail = format!("byte {at} of a copy was changed, and the check found it");
    let missed = findings.first().map(|finding| finding.what.clone());
    Ok(Done::looked(ways.len() as u64, missed.unwrap_or(detail), findings))
}

/// The same for a check of one part. Only that part is copied, to where it lies in a file that is otherwise a hole: the copy
/// is found sound first, or finding it damaged would show nothing.
///
/// # Errors
/// As [`negative`].
pub(super) fn negative_in_part(
    rooms: &dyn Rooms,
    (source, secret): (&Source, Option<&Secret>),
    located: &Located,
    folder: &Path,
) -> Result<Done> {
    let part = copy_part(source, located, folder)?;
    let name = source.name();
    let check = || match rooms.check_part(&part, secret, &located.window) {
        Ok(checked) => Ok(any_error(&checked.findings)),
        Err(error) if error.exit() == Exit::Found => Ok(true),
        Err(error) => Err(error),
    };
    if check()? {
        let what =
            "a copy of a part that was not changed is found damaged: that another would be shows nothing";
        return Ok(Done::looked(0, what, vec![Finding::error(name, what, "run the drill again")]));
    }
    let at = located.packed.start + (located.packed.end - located.packed.start) / 2;
    flip(&part.archive, at)?;
    let detail = format!("byte {at} of a copy of the part was changed, and the check found it");
    if check()? {
        return Ok(Done::looked(1, detail, vec![]));
    }
    let what = format!("byte {at} of a copy of the part was changed, and the check did not notice");
    let finding = Finding::error(name, what.clone(), "trust no verification of this version; report it");
    Ok(Done::looked(1, what, vec![finding]))
}

fn copy_part(source: &Source, located: &Located, folder: &Path) -> Result<Source> {
    use std::io::{Seek as _, SeekFrom};
    let to = |path: &Path| folder.join(path.file_name().unwrap_or_default());
    if let Some(path) = &source.manifest {
        fs::copy(path, to(path)).map_err(Error::io("copy", path))?;
    }
    let archive = to(&source.archive);
    let copy = || {
        let mut from = File::open(&source.archive)?;
        let mut to = File::options().write(true).create_new(true).mode(0o600).open(&archive)?;
        to.set_len(from.metadata()?.len())?;
        let start = source.codec.prologue().len() as u64;
        for range in [0..start, located.packed.clone()] {
            from.seek(SeekFrom::Start(range.start))?;
            to.seek(SeekFrom::Start(range.start))?;
            std::io::copy(&mut (&from).take(range.end - range.start), &mut to)?;
        }
        Ok(())
    };
    copy().map_err(Error::io("copy a part of", &source.archive))?;
    let manifest = source.manifest.as_deref().map(to);
    Ok(Source { archive, manifest, marker: None, locked: None, ..source.clone() })
}

/// The same artifact in another folder, under the same names.
fn copy(source: &Source, folder: &Path) -> Result<Source> {
    let copied = |path: &Path| -> Result<PathBuf> {
        let to = folder.join(path.file_name().unwrap_or_default());
        fs::copy(path, &to).map_err(Error::io("copy", path))?;
        // The stored file may be read-only; its copy must not be.
        fs::set_permissions(&to, Permissions::from_mode(0o600)).map_err(Error::io("open up", &to))?;
        Ok(to)
    };
    Ok(Source {
        archive: copied(&source.archive)?,
        manifest: source.manifest.as_deref().map(copied).transpose()?,
        marker: source.marker.as_deref().map(copied).transpose()?,
        locked: source.locked.clone(),
        codec: source.codec,
        encrypted: source.encrypted,
    })
}

/// Changes the byte in the middle of what begins at `begin`, and says which that is.
fn flip_middle(path: &Path, begin: u64) -> Result<u64> {
    let length = fs::metadata(path).map_err(Error::io("look at", path))?.len();
    flip(path, begin + length.saturating_sub(begin) / 2)
}

fn flip(path: &Path, at: u64) -> Result<u64> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::options().read(true).write(true).open(path).map_err(Error::io("open", path))?;
    let mut byte = [0];
    let mut flip = || {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut byte)?;
        byte[0] ^= 0xff;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&byte)?;
        file.sync_all()
    };
    flip().map_err(Error::io("change a byte of", path))?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_in_the_middle_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, [1, 2, 3, 4, 5]).expect("written");
        assert_eq!(flip_middle(&path, 0).expect("flipped"), 2);
        assert_eq!(fs::read(&path).expect("read"), [1, 2, 0xfc, 4, 5]);
        assert_eq!(flip_middle(&path, 3).expect("flipped"), 4);
    }

    #[test]
    fn an_empty_archive_has_no_byte_to_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, []).expect("written");
        flip_middle(&path, 0).expect_err("nothing to flip");
    }
}
