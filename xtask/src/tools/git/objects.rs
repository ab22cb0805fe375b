//! Objects of a repository through one `git cat-file --batch`, which looks packs up once and keeps its caches.
//!
//! It answers in the order in which it was asked, so a thread may ask for the next objects while the last is still being
//! read ([`Blobs::ahead`]). Each answer names its object, and is taken for no other.
use super::super::process::environment;
use super::super::{failed, not_started};
use super::{Commit, Repository};
use crate::error::Result;
use jiff::Timestamp;
use std::io::{BufRead as _, BufReader, BufWriter, Error as IoError, ErrorKind, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// The program, as errors name it.
const TOOL: &str = "git cat-file --batch";
/// No configuration, package file or commit is larger.
const LARGEST: u64 = 16 << 20;
/// Bytes of answers that are taken from the pipe at once: all that a pipe holds on Linux.
const ANSWERS: usize = 1 << 16;

/// Reads objects.
pub struct Blobs {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Repository {
    /// A reader of objects.
    ///
    /// # Errors
    /// When git does not start.
    #[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
    pub fn blobs(&self) -> Result<Blobs> {
        let mut command = Command::new("git");
        command.args(["cat-file", "--batch"]).current_dir(&self.root).env_clear().envs(environment());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|error| not_started(TOOL, &error))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(ask), Some(answer)) => {
                Ok(Blobs { child, ask: Some(ask), answer: BufReader::with_capacity(ANSWERS, answer) })
            }
            _ => Err(failed(TOOL, "has no pipes", "")),
        }
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

    /// Asks for all these objects at once; they are read in this order.
    pub fn ahead(&mut self, ids: Vec<String>) -> Ahead<'_> {
        let (left, ask) = (ids.len(), self.ask.take());
        let feeder = std::thread::spawn(move || {
            let mut ask = BufWriter::new(ask?);
            ids.iter().try_for_each(|id| writeln!(ask, "{id}")).ok()?;
            ask.into_inner().ok()
        });
        Ahead { blobs: self, feeder: Some(feeder), left }
    }

    /// Name and content of one object; `None` when there is none.
    fn exchange(&mut self, name: &str) -> std::io::Result<Option<(String, Vec<u8>)>> {
        if name.contains('\n') {
            return Ok(None);
        }
        let ask = self.ask.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        writeln!(ask, "{name}")?;
        ask.flush()?;
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

/// Objects that are on their way. Who leaves before the last one has ended git, which would wait for its reader.
pub struct Ahead<'a> {
    blobs: &'a mut Blobs,
    feeder: Option<JoinHandle<Option<ChildStdin>>>,
    left: usize,
}

impl Ahead<'_> {
    /// The next object, which must be `id`: its size, and a reader that must be read to its end.
    ///
    /// # Errors
    /// When it is missing, is not the next, or git fails.
    pub fn open(&mut self, id: &str) -> Result<(u64, impl Read + '_)> {
        let lost = |error: IoError| failed(TOOL, &format!("object {id}"), &error.to_string());
        self.left = self.left.saturating_sub(1);
        match self.blobs.head().map_err(lost)? {
            None => Err(lost(ErrorKind::NotFound.into())),
            Some((next, _)) if next != id => Err(lost(IoError::other(format!("git answered with {next}")))),
            Some((_, size)) => Ok((size, Object { answer: &mut self.blobs.answer, left: size })),
        }
    }

    /// The same, whole.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn read(&mut self, id: &str) -> Result<Vec<u8>> {
        let (size, mut object) = self.open(id)?;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let read = object.read_to_end(&mut content);
        read.map_err(|error| failed(TOOL, &format!("object {id}"), &error.to_string()))?;
        Ok(content)
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        if self.left > 0 {
            let _ = self.blobs.child.kill();
        }
        self.blobs.ask = self.feeder.take().and_then(|feeder| feeder.join().ok()?);
    }
}

/// An object on its way; a line end stands behind it.
struct Object<'a> {
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
