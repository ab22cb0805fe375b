//! Objects of a repository through one `git cat-file --batch`, which looks packs up once and keeps its caches.
//!
//! It answers in the order in which it was asked. Each answer names its object, and is taken for no other. Where its
//! objects lie is found out beside it, for [`super::ahead`].
use super::super::process::environment;
use super::super::{failed, not_started};
use super::store::Store;
use super::{Commit, NO_LAZY_FETCH, Repository};
use crate::error::Result;
use jiff::Timestamp;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Error as IoError, ErrorKind, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The program, as errors name it.
pub(super) const TOOL: &str = "git cat-file --batch";
/// git holds an object whole that is smaller than its threshold, and maps a gigabyte of a pack at a time, unless it is told
/// otherwise: what it streams should not cost memory by its size.
const BOUNDED: [&str; 6] =
    ["-c", "core.bigFileThreshold=4m", "-c", "core.packedGitWindowSize=16m", "-c", "core.packedGitLimit=96m"];
/// No configuration, package file or commit is larger.
const LARGEST: u64 = 16 << 20;
/// Bytes of answers that are taken from the pipe at once: all that a pipe holds on Linux.
const ANSWERS: usize = 1 << 16;

/// Reads objects.
pub struct Blobs {
    child: Child,
    pub(super) ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
    opening: Option<JoinHandle<Option<Store>>>,
    store: Option<Arc<Store>>,
}

impl Repository {
    /// A reader of objects.
    ///
    /// # Errors
    /// When git does not start.
    pub fn blobs(&self) -> Result<Blobs> {
        self.reader(&[])
    }

    /// The same of what is on this machine: for a partial clone nothing is fetched, as git does else.
    ///
    /// # Errors
    /// As there.
    pub fn local_blobs(&self) -> Result<Blobs> {
        self.reader(&[(NO_LAZY_FETCH, "1")])
    }

    #[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
    fn reader(&self, more: &[(&str, &str)]) -> Result<Blobs> {
        let mut command = Command::new("git");
        command
            .args(BOUNDED)
            .args(["cat-file", "--batch"])
            .current_dir(&self.root)
            .env_clear()
            .envs(environment())
            .envs(more.iter().copied())
            .envs(self.alternates().map(|folders| (super::ALTERNATES, folders)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|error| not_started(TOOL, &error))?;
        let (Some(ask), Some(answer)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(TOOL, "has no pipes", ""));
        };
        let repository = self.clone();
        let opening = Some(std::thread::spawn(move || repository.store()));
        let answer = BufReader::with_capacity(ANSWERS, answer);
        Ok(Blobs { child, ask: Some(ask), answer, opening, store: None })
    }

    /// Where its objects lie; `None` where git alone knows what is read for a name: where objects are replaced
    /// (git-replace(1)), or it does not say.
    fn store(&self) -> Option<Store> {
        let answer = self.git(&["rev-parse", "--git-path", "objects", "--glob=refs/replace/"]).ok()?;
        let objects = answer.strip_suffix(b"\n").filter(|folder| !folder.contains(&b'\n'))?;
        let own = self.root().join(OsStr::from_bytes(objects));
        Some(Store::open(&[&[own], &self.borrowed[..]].concat()))
    }
}

impl Blobs {
    /// The text of a file such as `HEAD:package.json`; `None` when there is none.
    ///
    /// # Errors
    /// When git fails.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        let found = self.exchange(name).map_err(|error| failed(TOOL, name, &error.to_string()))?;
        Ok(found.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The commit that `rev` names, without its tags; `None` when there is none.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&mut self, rev: &str) -> Result<Option<Commit>> {
        let name = format!("{rev}^{{commit}}");
        let found = self.exchange(&name).map_err(|error| failed(TOOL, &name, &error.to_string()))?;
        let Some((sha, bytes)) = found else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let header = |key: &str| {
            let mut lines = text.lines().take_while(|line| !line.is_empty());
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        // `committer NAME <ADDRESS> SECONDS ZONE`
        let seconds = || header("committer")?.rsplit(' ').nth(1)?.parse().ok();
        let time = seconds().and_then(|seconds| Timestamp::from_second(seconds).ok());
        match (header("tree"), time) {
            (Some(tree), Some(time)) => {
                Ok(Some(Commit { sha, tree: tree.to_owned(), time, tags: Vec::new() }))
            }
            _ => Err(failed(TOOL, "unexpected commit", &text)),
        }
    }

    /// Where the objects lie, if they are for us to read.
    pub(super) fn store(&mut self) -> Option<Arc<Store>> {
        if let Some(opening) = self.opening.take() {
            self.store = opening.join().ok().flatten().map(Arc::new);
        }
        self.store.clone()
    }

    /// Asks for the next object that is opened.
    pub(super) fn ask(&mut self, name: &str) -> std::io::Result<()> {
        let ask = self.ask.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        ask.write_all(format!("{name}\n").as_bytes())
    }

    /// The object that was asked for first, which must be `id`: its size, and a reader that must be read to its end.
    pub(super) fn answered(&mut self, id: &str) -> std::io::Result<(u64, Object<'_>)> {
        match self.head()? {
            None => Err(ErrorKind::NotFound.into()),
            Some((next, _)) if next != id => Err(IoError::other(format!("git answered with {next}"))),
            Some((_, size)) => Ok((size, Object { answer: &mut self.answer, left: size })),
        }
    }

    /// Ends git, which may be writing what nobody will read.
    pub(super) fn give_up(&mut self) {
        let _ = self.child.kill();
    }

    /// Name and content of one object; `None` when there is none.
    fn exchange(&mut self, name: &str) -> std::io::Result<Option<(String, Vec<u8>)>> {
        if name.contains('\n') {
            return Ok(None);
        }
        self.ask(name)?;
        let Some((id, size)) = self.head()? else { return Ok(None) };
        if size > LARGEST {
            return Err(IoError::other(format!("{size} bytes, and {LARGEST} is the most")));
        }
        let mut content = Vec::new();
        Object { answer: &mut self.answer, left: size }.read_to_end(&mut content)?;
        Ok(Some((id, content)))
    }

    /// The first line of an answer, `ID KIND SIZE`: name and size; `None` when the object is missing.
    fn head(&mut self) -> std::io::Result<Option<(String, u64)>> {
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        let line = line.trim_end();
        if line.ends_with(" missing") || line.ends_with(" ambiguous") {
            return Ok(None);
        }
        let fields: Vec<&str> = line.split(' ').collect();
        let [id, _kind, size] = fields[..] else { return Err(unexpected(line)) };
        let size = size.parse().map_err(|_| unexpected(line))?;
        if size == 0 {
            self.answer.read_exact(&mut [0])?;
        }
        Ok(Some((id.to_owned(), size)))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // It only reads, and may be waiting for a reader of its last answer.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unexpected(line: &str) -> IoError {
    IoError::other(format!("git answered {line:?}"))
}

/// An object on its way; a line end stands behind it.
pub(super) struct Object<'a> {
    answer: &'a mut BufReader<ChildStdout>,
    left: u64,
}

impl Read for Object<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let count = Read::take(&mut *self.answer, self.left).read(buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if self.left == 0 {
            self.answer.read_exact(&mut [0])?;
        }
        Ok(count)
    }
}
