//! When a program that is fed and read by us hangs: both sides wait for it, and for a long time no byte has moved.
//!
//! A slow source or a slow drive does not count: then one side waits for something else. Whoever has to type a passphrase
//! for a key has that time. How long a whole stream may take is nobody's to say.
use super::failed;
use super::process::{OnInterrupt, has_ended, signal, wait};
use crate::error::Error;
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks no more than this counts.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the two sides of a program.
#[derive(Debug, Default)]
struct Seen {
    /// Whether each of them waits for the program.
    waits: [AtomicBool; 2],
    /// Calls that began or ended.
    moves: AtomicU64,
    hung: AtomicBool,
}

/// Both sides of a program.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle(Arc<Seen>);

/// One of its pipes. When it is dropped, all that is left for its side is to wait for the program.
#[derive(Debug)]
pub(super) struct Side<T> {
    pipe: T,
    side: usize,
    idle: Idle,
}

impl Idle {
    /// The pipe that feeds the program.
    pub(super) fn feeds<T: Write>(&self, pipe: T) -> Side<T> {
        Side { pipe, side: 0, idle: self.clone() }
    }

    /// The pipe that its output comes out of.
    pub(super) fn takes<T: Read>(&self, pipe: T) -> Side<T> {
        Side { pipe, side: 1, idle: self.clone() }
    }

    /// Waits until a child has ended, which is reaped later. Ends it when this run is interrupted, or when both sides have
    /// waited for it longer than `patience`. Whoever it left running in its group would hold its streams open, and outlive
    /// the run.
    #[expect(clippy::disallowed_methods, reason = "keeps a deadline; not a date")]
    pub(super) fn attend(&self, pid: u32, patience: Duration) {
        let (mut moves, mut looked, mut stood) = (0, Instant::now(), Duration::ZERO);
        let ended = || {
            let now = self.0.moves.load(Ordering::Relaxed);
            let both = self.0.waits.iter().all(|waits| waits.load(Ordering::Relaxed));
            // A run that was stopped itself, such as by Ctrl-Z, has not waited meanwhile.
            stood += looked.elapsed().min(PAUSE);
            looked = Instant::now();
            if now != moves || !both {
                (moves, stood) = (now, Duration::ZERO);
            }
            let hangs = stood > patience;
            self.0.hung.fetch_or(hangs, Ordering::Relaxed);
            Ok(hangs || has_ended(pid))
        };
        let lost = |error: io::Error| failed("a tool", "was lost", &error.to_string());
        let _ = wait(&[pid], Duration::MAX, OnInterrupt::End, ended, lost);
        signal(&[pid], Signal::KILL);
    }

    /// Why a program was ended that hung.
    pub(super) fn hung(&self, tool: &str, patience: Duration) -> Option<Error> {
        let what = || format!("took nothing and gave nothing for {} s, and was ended", patience.as_secs());
        self.0.hung.load(Ordering::Relaxed).then(|| failed(tool, &what(), ""))
    }

    fn during<R>(&self, side: usize, call: impl FnOnce() -> R) -> R {
        self.0.moves.fetch_add(1, Ordering::Relaxed);
        self.0.waits[side].store(true, Ordering::Relaxed);
        let result = call();
        self.0.waits[side].store(false, Ordering::Relaxed);
        self.0.moves.fetch_add(1, Ordering::Relaxed);
        result
    }
}

impl<T: Write> Write for Side<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { pipe, side, idle } = self;
        idle.during(*side, || pipe.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

impl<T: Read> Read for Side<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { pipe, side, idle } = self;
        idle.during(*side, || pipe.read(buffer))
    }
}

impl<T> Drop for Side<T> {
    fn drop(&mut self) {
        self.idle.0.waits[self.side].store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Feeds 200,000 bytes to a script and takes what comes out, both with a pause in each call; returns what came, and
    /// whether it hung.
    #[expect(clippy::disallowed_methods, reason = "this is `tools/`")]
    fn meet(script: &str, pause: u64) -> (usize, bool) {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let idle = Idle::default();
        let (patience, pause) = (Duration::from_millis(300), Duration::from_millis(pause));
        let mut feed = idle.feeds(child.stdin.take().expect("a pipe"));
        let mut take = idle.takes(child.stdout.take().expect("a pipe"));
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| idle.attend(child.id(), patience));
            scope.spawn(move || {
                std::thread::sleep(pause);
                let _ = feed.write_all(&[7; 200_000]);
            });
            let mut taken = 0;
            let mut bytes = [0; 100_000];
            while let Ok(count @ 1..) = take.read(&mut bytes) {
                taken += count;
                std::thread::sleep(pause / 4);
            }
            taken
        });
        child.wait().expect("ends");
        let hung =
            idle.hung("sh", patience).inspect(|error| assert!(error.to_string().contains("was ended")));
        (taken, hung.is_some())
    }

    #[test]
    fn one_that_hangs_is_ended_whether_it_was_fed_or_not() {
        assert_eq!(meet("sleep 600", 0), (0, true));
        assert_eq!(meet("sleep 600 & cat > /dev/null; wait", 0), (0, true));
        assert_eq!(meet("head -c 1000; sleep 600", 0), (1000, true));
    }

    #[test]
    fn one_that_waits_for_us_is_left_alone() {
        assert_eq!(meet("cat", 0), (200_000, false));
        assert_eq!(meet("cat", 1200), (200_000, false));
        assert_eq!(meet("sleep 0.1; cat; exit 3", 0), (200_000, false));
    }
}
