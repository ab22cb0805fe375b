//! A destination on another machine: a folder there, reached by ssh, filled by rsync, checked by its own `sha256sum`.
//!
//! The order is that of a local one. Data first, made durable and its digests compared as the other machine reads them;
//! the marker last, under another name until it is whole. Every name is taken, empty, before anything is sent, and none
//! that was there already: so no file of anybody else is written over. The folder itself is never made: one that is
//! missing is a drive that is not mounted over there. Needs `rsync`, `sha256sum`, `df` and a POSIX shell on the other side.
use super::catalog::{Artifact, Catalog, listing};
use super::marker::{self, Sums};
use super::mount::{self, Mounted};
use crate::error::{Error, Result};
use crate::tools::ssh::{Host, rsh};
use crate::tools::{Tool, rsync};
use crate::words::quoted;
use rustix::io::Errno;
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

    /// The tools of this machine that reach it.
    pub fn tools(&self) -> Vec<Tool> {
        self.host.tool().into_iter().chain([Tool::Rsync]).collect()
    }

    /// Looks whether it is there, can be written to, and how much room it has.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; [`Error::NotMounted`] when the folder is not there; [`Error::MissingTools`] of this or of
    /// that machine; [`Error::Refused`] when it is no folder, or its login shell disturbs rsync.
    pub fn check(&self) -> Result<Mounted> {
        let (folder, probe) = (quoted(&self.folder), quoted(&format!("{}/.recovery-probe", self.folder)));
        // The name is made only where the shell says that none can be: for the system's words why.
        let script = format!(
            "for tool in rsync sha256sum; do command -v $tool > /dev/null || echo lacks $tool; done; \
             if [ -d {folder} ]; then if [ -w {folder} ]; then echo open; \
             else case $( {{ LC_ALL=C mkdir {probe} && rmdir {probe}; }} 2>&1 ) in *ead-only*) echo read-only;; *) echo closed;; esac; fi; \
             df -Pk {folder} | tail -n 1; \
             elif [ -e {folder} ]; then echo file; else echo none; fi"
        );
        let answer = self.host.ask(&script)?;
        if !answer.before.is_empty() {
            return Err(self.talks(&answer.before));
        }
        let said = String::from_utf8_lossy(&answer.said).into_owned();
        let lacks = |line: &str| Some(format!("{} (on {})", line.strip_prefix("lacks ")?, self.host.name));
        let tools: Vec<String> = said.lines().filter_map(lacks).collect();
        if !tools.is_empty() {
            let next = "install over there what is missing, where `ssh` finds it".to_owned();
            return Err(Error::MissingTools { tools, next });
        }
        let mut lines = said.lines();
        let unwritable = match lines.next() {
            Some("open") => None,
            Some("read-only") => Some(Errno::ROFS),
            Some("closed") => Some(Errno::ACCESS),
            Some("file") => {
                let what = format!("{} is no folder", self.path().display());
                return Err(Error::refused(
                    what,
                    "move away what lies there, or name another folder in `path`",
                ));
            }
            _ => {
                let what = "the folder is not there: mount its drive, or make it once by hand";
                return Err(mount::away(&self.path(), what));
            }
        };
        Ok(Mounted::remote(self.path(), lines.next().and_then(free), unwritable))
    }

    fn talks(&self, said: &str) -> Error {
        let line: String = said.lines().next().unwrap_or_default().chars().take(80).collect();
        Error::refused(
            format!("the login shell of {} prints {line:?}, which rsync cannot work with", self.host.name),
            format!("let it print only where a terminal is: `{}` has to print nothing", self.host.attempt()),
        )
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

    /// What the marker of an artifact says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn marker(&self, artifact: &Artifact) -> Result<Sums> {
        let script = format!("cat {}", quoted(&self.there(&artifact.marker)));
        let answer = self.host.ask(&script)?;
        Ok(marker::parse(&String::from_utf8_lossy(&answer.said)).0)
    }

    /// Whether the marker of an artifact is there; asked even when this run is interrupted.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub fn has_marker(&self, artifact: &Artifact) -> Result<bool> {
        let script = format!("if [ -e {} ]; then echo yes; fi", quoted(&self.there(&artifact.marker)));
        Ok(self.host.settle(&script)?.starts_with(b"yes"))
    }

    /// Copies archive and manifest into `day`, compares their digests over there with `sums`, and writes the marker.
    /// What was copied is removed when that fails.
    ///
    /// # Errors
    /// When the machine goes away or has no room; [`Error::Refused`] when one of the names is taken;
    /// [`Error::Damaged`] when what arrived is something else.
    pub fn put(&self, day: &Path, files: &[&Path], sums: &Sums, marker: &str) -> Result<()> {
        let folder = self.there(day);
        let there = quoted(&folder);
        let names: Vec<String> = sums.lines.iter().map(|(_, name)| quoted(name)).collect();
        let names = names.join(" ");
        let part = quoted(&format!("{marker}.part"));
        let taken = |name: &str| {
            let what = format!("{} is there already, and nothing is written over", day.join(name).display());
            Err(Error::refused(what, "see who else writes there, and move it away if nobody needs it"))
        };
        let claimed = String::from_utf8_lossy(&self.host.settle(&claim(&there, sums, marker))?).into_owned();
        if let Some(name) = claimed.strip_prefix("taken ") {
            return taken(name.trim_end());
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
            let name = quoted(marker);
            // `mv -n` says nothing of what it leaves undone.
            let script = format!(
                "cd {there} && cat > {part} && set -- {part} && {SYNC} && {{ mv -n -- {part} {name}; \
                 if [ ! -e {part} ]; then set -- {name} . && {SYNC}; elif [ -e {name} ] || [ -L {name} ]; then echo taken; else exit 1; fi; }}"
            );
            match self.host.run(&script, sums.render().as_bytes())?.starts_with(b"taken") {
                true => taken(marker),
                false => Ok(()),
            }
        };
        arrive().inspect_err(|_| {
            let _ = self.host.settle(&take_back(&there, sums, marker));
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
        let rsh = match &self.host.ssh[..] {
            [ssh] if ssh == "ssh" => String::new(),
            other => format!(" --rsh={}", quoted(&rsh(other))),
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

/// A script that makes an empty file under each name of a copy, none of which may be there, nor `marker`; says which is.
/// The marker's other name comes first, and says whose the others are: what an earlier try could not take back is removed.
fn claim(there: &str, sums: &Sums, marker: &str) -> String {
    let ours = quoted(sums.render().trim_end());
    let (files, part) = (files(sums), quoted(&format!("{marker}.part")));
    let names = sums.lines.iter().map(|(_, name)| quoted(name)).collect::<Vec<_>>().join(" ");
    let marker = quoted(marker);
    format!(
        "umask 077; mkdir -p -- {there} && cd {there} || exit; \
         if [ \"$(cat {part} 2>/dev/null)\" = {ours} ]; then rm -f -- {files} {part}; fi; \
         if [ -e {marker} ] || [ -L {marker} ]; then printf 'taken %s\\n' {marker}; exit; fi; \
         n=0; set -- {part} {names}; \
         for file; do if (set -C; true > \"$file\"); then n=$((n + 1)); else break; fi; done; \
         if [ $n -eq $# ]; then printf '%s\\n' {ours} > {part}; exit; fi; \
         for mine; do if [ $n -gt 0 ]; then rm -f -- \"$mine\"; n=$((n - 1)); fi; done; \
         if [ -e \"$file\" ] || [ -L \"$file\" ]; then printf 'taken %s\\n' \"$file\"; else exit 1; fi"
    )
}

/// A script that removes what a copy has made, and nothing of anybody else. The marker in front, if it is ours: its data
/// must not be gone before it.
fn take_back(there: &str, sums: &Sums, marker: &str) -> String {
    let (files, part) = (files(sums), quoted(&format!("{marker}.part")));
    let (marker, ours) = (quoted(marker), quoted(sums.render().trim_end()));
    format!(
        "cd {there} && if [ \"$(cat {marker} 2>/dev/null)\" = {ours} ]; then rm -f -- {marker}; fi && rm -f -- {files} {part}"
    )
}

/// The data of a copy, and what rsync had not brought to an end of it, as words of a shell.
fn files(sums: &Sums) -> String {
    let words =
        |(_, name): &(String, String)| format!("{} {}.??????", quoted(name), quoted(&format!(".{name}")));
    sums.lines.iter().map(words).collect::<Vec<_>>().join(" ")
}

/// The bytes that are free by a line of `df -Pk` (POSIX): file system, blocks of 1,024 bytes, used, available, per cent,
/// mount point. The first and the last may have blanks. None where it does not say, or counts no blocks.
fn free(line: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let read = |four: &[&str]| {
        let percent = four[3] == "-" || four[3].strip_suffix('%')?.parse::<u64>().is_ok();
        let blocks: Vec<i64> = four[..3].iter().map(|word| word.parse()).collect::<Result<_, _>>().ok()?;
        percent.then_some((blocks[0], blocks[2]))
    };
    match words.windows(4).find_map(read) {
        Some((blocks, available)) if blocks > 0 => {
            Some(u64::try_from(available).unwrap_or(0).saturating_mul(1024))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_whatever_the_drive_is_called() {
        assert_eq!(free("/dev/sda1 1000 400 600 40% /mnt/far"), Some(600 * 1024));
        assert_eq!(free("//nas/my share 7 1000 400 600 40% /mnt/a 50% b"), Some(600 * 1024));
        assert_eq!(free("/dev/sda1 1000 1000 0 100% /mnt/far"), Some(0));
        assert_eq!(free("/dev/sda1 1000 1010 -10 101% /mnt/far"), Some(0));
        for unknown in ["none 0 0 0 - /mnt/far", "none 0 0 0 0% /mnt/far", "df: no such thing", ""] {
            assert_eq!(free(unknown), None, "{unknown}");
        }
    }

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
