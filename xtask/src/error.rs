//! Every way a run can fail, with operation, path and next step; and the exit codes.
//!
//! An [`Error`] ends the run. What a run *finds* while it goes on (a damaged entry, a file that changed)
//! is a [`crate::finding::Finding`], not an error. Messages are lower-case fragments that do not repeat
//! their source: `start` walks the chain once and prints [`Error::next_step`] behind it.
use crate::archive::FormatError;
use std::path::{Path, PathBuf};

/// How the process ends; the numbers are part of the interface (`--help` lists them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done and sound.
    Done,
    /// Ran, and found a problem.
    Found,
    /// The command line is wrong.
    Usage,
    /// Could not run: configuration, missing tool, I/O.
    CouldNotRun,
    /// Try again later: another run holds the lock, or the destination is not mounted.
    TryLater,
}

impl Exit {
    /// The number given to the operating system; 75 is `EX_TEMPFAIL` of sysexits.h.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::CouldNotRun => 3,
            Self::TryLater => 75,
        }
    }
}

/// What ended a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file system call failed.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "create".
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A value on the command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// `recovery.toml` is wrong.
    #[error("{}: {what}", path.display())]
    Config {
        /// The file, with `:line` behind it where the line is known.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to change.
        next: String,
    },
    /// Doing it would be unsafe or meaningless.
    #[error("{what}")]
    Refused {
        /// What is in the way.
        what: String,
        /// What to do instead.
        next: String,
    },
    /// Tools that the plan needs are not installed; all of them at once.
    #[error("not installed: {}", tools.join(", "))]
    MissingTools {
        /// Their commands.
        tools: Vec<String>,
        /// How to install them.
        next: String,
    },
    /// A tool ran and failed.
    #[error("{tool} failed ({status}): {stderr}")]
    Tool {
        /// The command line, without secrets.
        tool: String,
        /// "exit status: 2", "killed by signal 9", "no answer in 60 s".
        status: String,
        /// The last lines of its standard error.
        stderr: String,
        /// What to do, where that is known; may be empty.
        next: String,
    },
    /// Another run holds the lock.
    #[error("{what} is in use by {holder}")]
    Busy {
        /// The repository or destination.
        what: String,
        /// Who holds it: command, process number, start.
        holder: String,
    },
    /// The destination's drive is not there.
    #[error("{}: {what}", path.display())]
    NotMounted {
        /// The mount point or destination.
        path: PathBuf,
        /// What was seen.
        what: String,
        /// What to do.
        next: String,
    },
    /// Another machine does not answer.
    #[error("could not reach {}: {what}", path.display())]
    Unreachable {
        /// The machine, as ssh takes it.
        path: PathBuf,
        /// What ssh or rsync said.
        what: String,
        /// The command line that must work first, such as `ssh -p 2222 far true`.
        attempt: String,
    },
    /// Stored bytes are not what they were.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        next: String,
    },
    /// An archive, manifest, lock or record does not have the format it should have.
    #[error("{}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Ctrl-C or TERM; what this run made has been removed.
    #[error("interrupted; what this run had written is removed")]
    Interrupted,
}

/// A result with our error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// How the process ends after this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Damaged { .. } => Exit::Found,
            Self::Format { source, .. } => match source {
                FormatError::Malformed(_) => Exit::Found,
                FormatError::Newer { .. } | FormatError::Io(_) => Exit::CouldNotRun,
            },
            Self::Busy { .. } | Self::NotMounted { .. } | Self::Unreachable { .. } => Exit::TryLater,
            Self::Io { .. }
            | Self::Config { .. }
            | Self::Refused { .. }
            | Self::MissingTools { .. }
            | Self::Tool { .. }
            | Self::Interrupted => Exit::CouldNotRun,
        }
    }

    /// What the user can do next; `None` where the message says all there is.
    pub fn next_step(&self) -> Option<String> {
        match self {
            Self::Config { next, .. }
            | Self::Refused { next, .. }
            | Self::MissingTools { next, .. }
            | Self::Tool { next, .. }
            | Self::NotMounted { next, .. }
            | Self::Damaged { next, .. } => (!next.is_empty()).then(|| next.clone()),
            Self::Usage(_) => Some("see `cargo xtask <verb> --help`".into()),
            Self::Busy { .. } => {
                let next = "run again when it has ended (`--retry-lock 10m` waits for it); the lock falls with its process";
                Some(next.into())
            }
            Self::Unreachable { attempt, .. } => {
                Some(format!("run again when `{attempt}` works without asking anything"))
            }
            Self::Io { source, .. } => io_next_step(source.kind()),
            Self::Format { source: FormatError::Newer { .. }, .. } => {
                Some("use the version of this tool that wrote it, or a newer one".into())
            }
            Self::Format { .. } => {
                Some("run `cargo xtask verify` on it, and restore from another copy".into())
            }
            Self::Interrupted => None,
        }
    }

    /// An [`Error::Io`]; made for `map_err`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// An [`Error::Format`]; made for `map_err`.
    pub fn format(path: &Path) -> impl FnOnce(FormatError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            FormatError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                Self::Io { operation: "read", path, source }
            }
            source => Self::Format { path, source },
        }
    }

    /// An error of reading the manifest at `path`; made for `map_err`. Damage there does not touch the archive.
    pub fn manifest(path: &Path) -> impl FnOnce(FormatError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            FormatError::Malformed(what) => Self::Damaged {
                path,
                what,
                next: "the archive restores without its manifest: move this file away, and run again".into(),
            },
            source => Self::format(&path)(source),
        }
    }

    /// Whether a destination is out of reach at the moment, and may be back in the next.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::NotMounted { .. } | Self::Unreachable { .. })
    }

    /// The file whose stored bytes are not what they should be, if that is what this error says.
    pub fn damaged_file(&self) -> Option<&Path> {
        match self {
            Self::Damaged { path, .. } | Self::Format { path, source: FormatError::Malformed(_) } => {
                Some(path)
            }
            _ => None,
        }
    }

    /// An [`Error::Refused`].
    pub fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), next: next.into() }
    }

    /// The whole chain as one line: the message, then each cause.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        for cause in self.causes() {
            text.push_str(": ");
            text.push_str(&cause);
        }
        text
    }

    /// The messages of the causes, nearest first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes
    }
}

fn io_next_step(kind: std::io::ErrorKind) -> Option<String> {
    use std::io::ErrorKind as K;
    let text = match kind {
        K::PermissionDenied => "check who owns it and who runs this command",
        K::NotFound => "check the path",
        K::StorageFull | K::QuotaExceeded => {
            "free some room there, then run again: `cargo xtask prune --dry-run` lists what may go of a destination, and \
             TMPDIR names another folder for temporary files"
        }
        K::NotADirectory => "a file is where a folder should be: give another path",
        K::ReadOnlyFilesystem => "mount it writable and run again",
        K::NotConnected => "the mount has died: unmount it, mount it again, run again",
        _ => return None,
    };
    Some(text.into())
}
