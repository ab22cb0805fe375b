//! A destination on another machine: a folder there, reached by ssh, filled by rsync, checked by its own `sha256sum`.
//!
//! The order is that of a local one. Data first, made durable and its digests compared as the other machine reads them;
//! the marker last, under another name until it is whole. The folder itself is never made: one that is missing is a drive
//! that is not mounted over there. Needs `rsync`, `sha256sum`, `df` and a POSIX shell on the other side.
use super::catalog::{Artifact, Catalog, listing};
use super::marker::{self, Sums};
use super::mount::{self, Mounted};
use crate::error::{Error, Result};
use crate::tools::rsync;
use crate::tools::ssh::{Host, quoted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The machine.
    pub host: Host,
    /// The folder there, absolute.
    pub folder: String,
}

/// Makes the files that are named behind it durable, or everything where the other side's `sync` takes no names.
const SYNC: &str = "{ sync -- \"$@\" 2>/dev/null || sync; }";

impl Remote {
    /// `[user@]machine:/folder`; none for a path of this machine. A colon behind a `/` belongs to a name.
    pub fn parse(text: &str, ssh: &[String]) -> Option<Self> {
        let (name, folder) = text.split_once(':').filter(|(name, _)| !name.contains('/'))?;
        let host = Host { name: name.to_owned(), ssh: ssh.to_owned() };
        Some(Self { host, folder: folder.trim_end_matches('/').to_owned() })
    }

    /// As it is written and shown; the paths of its artifacts begin with it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("{}:{}", self.host.name, self.folder))
    }

    /// The path over there of a file or folder that we show with [`Remote::path`] in front.
    fn there(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.path()).unwrap_or(path);
        format!("{}/{}", self.folder, inside.display())
    }

    /// Looks whether it is there, and how much room it has.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; [`Error::NotMounted`] when the folder is not there or cannot be written to.
    pub fn check(&self) -> Result<Mounted> {
        let folder = quoted(&self.folder);
        let script = format!(
            "if [ ! -d {folder} ]; then echo none; elif [ ! -w {folder} ]; then echo closed; else echo open; \
             df -Pk {folder} | tail -n 1; fi"
        );
        let answer = String::from_utf8_lossy(&self.host.run(&script, &[])?).into_owned();
        let away = |what: &str| Err(mount::away(&self.path(), what));
        let mut lines = answer.lines();
        match lines.next() {
            Some("open") => {}
            Some("closed") => return away("the folder is there, and cannot be written to"),
            _ => return away("the folder is not there: mount its drive, or make it once by hand"),
        }
        // File system, blocks of 1,024 bytes, used, available (POSIX df).
        let free = lines.next().and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
        let free_bytes = free.map_or(u64::MAX, |blocks| blocks.saturating_mul(1024));
        Ok(Mounted::remote(self.path(), free_bytes))
    }

    /// What it holds.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn scan(&self) -> Result<Catalog> {
        let mut days: BTreeMap<PathBuf, BTreeMap<String, Option<u64>>> = BTreeMap::new();
        for (path, bytes) in rsync::list(&self.host, &self.folder)? {
            if let Some((day, name)) = path.rsplit_once('/') {
                days.entry(self.path().join(day)).or_default().insert(name.to_owned(), Some(bytes));
            }
        }
        Ok(listing(days))
    }

    /// The marker of an artifact, and the digests of archive and manifest as the other machine reads them now.
    ///
    /// # Errors
    /// When they cannot be read; a file that is gone has no digest.
    pub fn digests(&self, artifact: &Artifact) -> Result<(Sums, Sums)> {
        let (name, day) = (&artifact.name, artifact.marker.parent().unwrap_or(Path::new("")));
        let script = format!(
            "cd {} && cat {} && echo -- && for file in {} {}; do if [ -e \"$file\" ]; then sha256sum -- \"$file\" || exit 1; fi; done",
            quoted(&self.there(day)),
            quoted(&name.marker()),
            quoted(&name.file()),
            quoted(&name.manifest())
        );
        let answer = String::from_utf8_lossy(&self.host.run(&script, &[])?).into_owned();
        let (marker, found) = answer.split_once("--\n").unwrap_or((&answer, ""));
        Ok((marker::parse(marker).0, marker::parse(found).0))
    }

    /// Copies archive and manifest into `day`, compares their digests over there with `sums`, and writes the marker.
    /// What was copied is removed when that fails.
    ///
    /// # Errors
    /// When the machine goes away or has no room; [`Error::Damaged`] when what arrived is something else.
    pub fn put(&self, day: &Path, files: &[&Path], sums: &Sums, marker: &str) -> Result<()> {
        let folder = self.there(day);
        let there = quoted(&folder);
        let names: Vec<String> = sums.lines.iter().map(|(_, name)| quoted(name)).collect();
        let names = names.join(" ");
        let exists = format!(
            "umask 077; mkdir -p -- {there} && if [ -e {there}/{} ]; then echo taken; fi",
            quoted(marker)
        );
        if self.host.run(&exists, &[])?.starts_with(b"taken") {
            let what = format!("{} is there already", day.join(marker).display());
            return Err(Error::refused(what, "see who else writes there"));
        }
        let arrive = || {
            rsync::send(&self.host, files, &folder)?;
            let script = format!("cd {there} && set -- {names} && {SYNC} && sha256sum -- \"$@\"");
            let found = marker::parse(&String::from_utf8_lossy(&self.host.run(&script, &[])?)).0;
            if found != *sums {
                return Err(Error::Damaged {
                    path: day.to_owned(),
                    what: "what arrived has another SHA-256 than what was sent".into(),
                    next: "check that machine's drive; nothing of this copy is kept".into(),
                });
            }
            let (marker, part) = (quoted(marker), quoted(&format!("{marker}.part")));
            let script = format!(
                "umask 077; cd {there} && cat > {part} && set -- {part} && {SYNC} && mv -- {part} {marker} && set -- {marker} . && {SYNC}"
            );
            self.host.run(&script, sums.render().as_bytes()).map(|_| ())
        };
        arrive().inspect_err(|_| {
            // The marker in front: its data must not be gone before it. What cannot be removed has none, or is whole.
            let (marker, part) = (quoted(marker), quoted(&format!("{marker}.part")));
            let script = format!("cd {there} && rm -f -- {marker} {part} && rm -f -- {names}");
            let _ = self.host.run(&script, &[]);
        })
    }

    /// Removes a backup, marker first, or a file that never became one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, first: &Path, then: &[&Path]) -> Result<()> {
        let quote = |path: &Path| quoted(&self.there(path));
        let day = quote(first.parent().unwrap_or(first));
        let rest: Vec<String> = then.iter().map(|path| quote(path)).collect();
        let rest = if rest.is_empty() { ":".into() } else { format!("rm -f -- {}", rest.join(" ")) };
        let script = format!("rm -- {} && set -- {day} && {SYNC} && {rest}", quote(first));
        self.host.run(&script, &[]).map(|_| ())
    }

    /// The line with which a user copies an artifact's files into the folder that he is in.
    pub fn recipe(&self, artifact: &Artifact) -> String {
        let name = &artifact.name;
        let path = |file: String| quoted(&artifact.archive.with_file_name(file).to_string_lossy());
        let mut files = vec![path(name.file()), path(name.marker())];
        files.extend(artifact.has_manifest.then(|| path(name.manifest())));
        let rsh = match self.host.ssh.join(" ") {
            plain if plain == "ssh" => String::new(),
            other => format!(" --rsh={}", quoted(&other)),
        };
        format!("rsync --times --protect-args{rsh} {} .", files.join(" "))
    }

    /// Copies an artifact's files, its marker among them, into a local folder.
    ///
    /// # Errors
    /// When the machine does not answer, or a file is gone.
    pub fn fetch(&self, artifact: &Artifact, to: &Path) -> Result<()> {
        let name = &artifact.name;
        let mut names = vec![name.file(), name.marker()];
        names.extend(artifact.has_manifest.then(|| name.manifest()));
        let day = artifact.archive.parent().unwrap_or(Path::new(""));
        rsync::fetch(&self.host, &self.there(day), &names, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_told_from_a_path() {
        let parse =
            |text| Remote::parse(text, &["ssh".into()]).map(|far| (far.host.name.clone(), far.folder));
        assert_eq!(parse("u@far:/srv/backups/"), Some(("u@far".into(), "/srv/backups".into())));
        assert_eq!(parse("/mnt/a:b/c"), None);
        assert_eq!(parse("drive"), None);
        let far = Remote::parse("far:/srv", &[]).expect("parses");
        assert_eq!(far.there(Path::new("far:/srv/2026/11-23/a")), "/srv/2026/11-23/a");
    }
}
