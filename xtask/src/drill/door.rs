//! The door through which a drill reaches the other rooms, as one trait: behind it is the real thing, and in tests a checker
//! that is blind or a tool that hangs.
use super::compare::{Compared, compare};
use super::demands::{Published, Share};
use crate::destination::catalog::Artifact;
use crate::destination::mount;
use crate::destination::remote::Remote;
use crate::error::Result;
use crate::interrupt;
use crate::restore::{self, Checked, Extracted, Located, Source, Window};
use crate::tools::gh::{self, Download};
use crate::tools::gpg::Secret;
use crate::tools::shell::{self, ShellRun};
use crate::tools::{self, Tool};
use std::path::Path;
use std::time::Duration;

/// The other rooms.
pub trait Rooms {
    /// All tools are installed.
    ///
    /// # Errors
    /// `MissingTools`, naming all that are not.
    fn preflight(&self, needs: &[Tool]) -> Result<()>;
    /// Reads an artifact from end to end and checks it against its records.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    fn check(&self, source: &Source, secret: Option<&Secret>) -> Result<Checked>;
    /// Restores an artifact into an empty folder.
    ///
    /// # Errors
    /// When it is damaged or cannot be read or written.
    fn extract(&self, source: &Source, secret: Option<&Secret>, to: &Path) -> Result<Extracted>;
    /// Compares what was restored under `root` with the artifact's manifest; `None` when it has none.
    ///
    /// # Errors
    /// When either cannot be read.
    fn compare(&self, source: &Source, secret: Option<&Secret>, root: &Path) -> Result<Option<Compared>>;
    /// Where a share of an artifact lies.
    ///
    /// # Errors
    /// When its manifest cannot be read.
    fn locate(&self, source: &Source, secret: Option<&Secret>, share: Share) -> Result<Located>;
    /// As [`Rooms::check`], of a part alone.
    ///
    /// # Errors
    /// When it cannot be read.
    fn check_part(&self, source: &Source, secret: Option<&Secret>, window: &Window) -> Result<Checked>;
    /// As [`Rooms::extract`], of a part alone.
    ///
    /// # Errors
    /// When it is damaged or cannot be read or written.
    fn extract_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        to: &Path,
        window: &Window,
    ) -> Result<Extracted>;
    /// As [`Rooms::compare`], of a part alone.
    ///
    /// # Errors
    /// When either cannot be read.
    fn compare_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        root: &Path,
        window: &Window,
    ) -> Result<Option<Compared>>;
    /// Bytes that are free where a folder lies.
    ///
    /// # Errors
    /// When nobody can tell.
    fn free(&self, folder: &Path) -> Result<u64>;
    /// Copies an artifact from another machine into a folder.
    ///
    /// # Errors
    /// When that machine does not answer, or a file is gone.
    fn fetch(&self, remote: &Remote, artifact: &Artifact, to: &Path) -> Result<()>;
    /// Downloads a file of a published release into a folder.
    ///
    /// # Errors
    /// When the tool for it is missing.
    fn download(&self, release: &Published, name: &str, to: &Path, deadline: Duration) -> Result<Download>;
    /// Runs one of the user's shell lines with exactly this environment.
    ///
    /// # Errors
    /// When the shell cannot be started; a line that fails is no error.
    fn shell(&self, line: &str, cwd: &Path, env: &[(String, String)], deadline: Duration)
    -> Result<ShellRun>;
    /// Whether a signal asked the run to end.
    fn interrupted(&self) -> bool;
}

/// The rooms of this program.
#[derive(Debug, Clone, Copy)]
pub struct RealRooms;

impl Rooms for RealRooms {
    fn preflight(&self, needs: &[Tool]) -> Result<()> {
        tools::preflight(needs)
    }

    fn check(&self, source: &Source, secret: Option<&Secret>) -> Result<Checked> {
        restore::check(source, secret)
    }

    fn extract(&self, source: &Source, secret: Option<&Secret>, to: &Path) -> Result<Extracted> {
        restore::extract(source, secret, to, None)
    }

    fn compare(&self, source: &Source, secret: Option<&Secret>, root: &Path) -> Result<Option<Compared>> {
        source.with_manifest(secret, |listed| compare(&mut || listed.next_record(), root))
    }

    fn locate(&self, source: &Source, secret: Option<&Secret>, share: Share) -> Result<Located> {
        restore::locate(source, secret, share.number, share.of)
    }

    fn check_part(&self, source: &Source, secret: Option<&Secret>, window: &Window) -> Result<Checked> {
        restore::check_part(source, secret, window)
    }

    fn extract_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        to: &Path,
        window: &Window,
    ) -> Result<Extracted> {
        restore::extract_part(source, secret, to, window)
    }

    fn compare_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        root: &Path,
        window: &Window,
    ) -> Result<Option<Compared>> {
        restore::with_part(source, secret, window, |next| compare(next, root))
    }

    fn free(&self, folder: &Path) -> Result<u64> {
        Ok(mount::check(folder, None, false)?.free_bytes.unwrap_or(u64::MAX))
    }

    fn fetch(&self, remote: &Remote, artifact: &Artifact, to: &Path) -> Result<()> {
        remote.fetch(artifact, to)
    }

    fn download(&self, release: &Published, name: &str, to: &Path, deadline: Duration) -> Result<Download> {
        gh::download(&release.repository, &release.tag, name, to, deadline)
    }

    fn shell(
        &self,
        line: &str,
        cwd: &Path,
        env: &[(String, String)],
        deadline: Duration,
    ) -> Result<ShellRun> {
        shell::run(line, cwd, env, deadline)
    }

    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }
}
