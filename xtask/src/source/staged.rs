//! A bundle's entries from the working tree, for `--allow-dirty` and `include`: copied by rsync into a private
//! folder first, so that what is archived holds still, then dressed like a commit's entries.
use super::policy::{self, Candidate, Policy};
use super::{Content, Item, Listing, patterns};
use crate::archive::entry::{Entry, Kind, Mtime};
use crate::error::{Error, Result};
use crate::shown::show_bytes;
use crate::tools::{private, rsync};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tempfile::TempDir;

/// A staged tree; it lives as long as its folder.
pub struct Staged {
    /// What was staged.
    pub listing: Listing,
    /// Removed when this is dropped.
    pub folder: TempDir,
}

/// Copies `files` (relative to `root`) and lists the copies with `time` for every entry, and what `rules` say of them.
/// `git archive` would fill placeholders in in those that are `substituted`.
///
/// # Errors
/// When rsync or the file system fails.
pub fn stage(
    root: &Path,
    files: &[Vec<u8>],
    exclude: &[String],
    time: Mtime,
    (rules, substituted): (&Policy, &HashSet<Vec<u8>>),
) -> Result<Staged> {
    let temporary = private::temporary();
    #[expect(clippy::disallowed_methods, reason = "holds what is released anyway, and no data set")]
    let folder = tempfile::tempdir_in(&temporary).map_err(Error::io("create", &temporary))?;
    let exclude = patterns(exclude)?;
    let mut listing = Listing::default();
    let mut wanted = Vec::new();
    for path in files {
        let relative = Path::new(OsStr::from_bytes(path));
        if exclude.matched_path_or_any_parents(relative, false).is_ignore() {
            listing.excluded.push(show_bytes(path));
        } else if root.join(relative).symlink_metadata().is_ok_and(|meta| !meta.is_dir())
            && !through_link(root, relative)
        {
            wanted.push(path.clone());
        }
    }
    rsync::stage(root, &wanted, folder.path())?;
    for path in wanted {
        let Some(item) = item(folder.path(), &path, time)? else { continue };
        if let Content::Live(copy) = &item.content {
            let (size, export_subst) = (item.entry.size, substituted.contains(&path));
            let content = match policy::wanted(&path, size, export_subst) {
                true => std::fs::read(copy).map_err(Error::io("read", copy))?,
                false => Vec::new(),
            };
            rules.of_file(
                Candidate { path: &path, size, content: &content, export_subst },
                &mut listing.findings,
            );
        }
        listing.items.push(item);
    }
    listing.sort();
    let names = rules.of_names(listing.items.iter().map(|item| &item.entry.path[..]));
    listing.findings.extend(names);
    Ok(Staged { listing, folder })
}

/// Whether a folder above the file is a link, which may lead out of the repository: git calls such a file deleted.
fn through_link(root: &Path, relative: &Path) -> bool {
    let above = relative.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above.into_iter().any(|above| root.join(above).symlink_metadata().is_ok_and(|meta| meta.is_symlink()))
}

fn item(folder: &Path, path: &[u8], time: Mtime) -> Result<Option<Item>> {
    use std::os::unix::fs::MetadataExt as _;
    let copy = folder.join(OsStr::from_bytes(path));
    let meta = copy.symlink_metadata().map_err(Error::io("read", &copy))?;
    if meta.is_symlink() {
        let target = std::fs::read_link(&copy).map_err(Error::io("read", &copy))?;
        let entry = Entry::symlink(path, target.as_os_str().as_bytes(), time);
        return Ok(Some(Item::new(entry, Content::None)));
    }
    let mode = if meta.mode() & 0o100 == 0 { 0o644 } else { 0o755 };
    let entry = Entry { kind: Kind::File, ..Entry::file(path, meta.len(), mode, time) };
    set_time(&copy, time)?;
    Ok(meta.is_file().then(|| Item::new(entry, Content::Live(copy))))
}

/// Gives a copy the time that its entry has.
pub(super) fn set_time(copy: &Path, time: Mtime) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let stamp = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    rustix::fs::utimensat(CWD, copy, &times, AtFlags::empty())
        .map_err(|error| Error::io("set the time of", copy)(error.into()))
}

/// The files that an `include` line names: a file, everything below a folder, or a glob.
///
/// # Errors
/// When the pattern does not parse or a folder cannot be read.
pub fn expand(root: &Path, pattern: &str) -> Result<Vec<Vec<u8>>> {
    let literal = root.join(pattern);
    let (start, glob) = match literal.symlink_metadata() {
        Ok(_) => (literal, None),
        Err(_) => {
            let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build();
            let glob = glob.map_err(|error| Error::Usage(format!("include {pattern:?}: {error}")))?;
            (root.to_owned(), Some(glob.compile_matcher()))
        }
    };
    let mut found = Vec::new();
    walk(&start, &mut |path| {
        let Ok(relative) = path.strip_prefix(root) else { return };
        if glob.as_ref().is_none_or(|glob| glob.is_match(relative)) {
            found.push(relative.as_os_str().as_bytes().to_vec());
        }
    })?;
    Ok(found)
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    let meta = path.symlink_metadata().map_err(Error::io("read", path))?;
    if !meta.is_dir() {
        visit(path);
        return Ok(());
    }
    if path.file_name().is_some_and(|name| name == ".git" || name == ".recovery") {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(Error::io("read", path))? {
        walk(&entry.map_err(Error::io("read", path))?.path(), visit)?;
    }
    Ok(())
}
