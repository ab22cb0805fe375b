//! Progress of a long run: a bar on a terminal, one calm line a minute elsewhere, nothing when quiet.
//!
//! What is short shows nothing at all. Whatever else is printed meanwhile goes through [`beside`], so that it lands on lines
//! of its own. The numbers are [`crate::progress`]'s; here they are only drawn.
use super::{Ui, bytes, put_talk, span};
use crate::progress::{self, Done};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::SignedDuration;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// When a bar appears, and how often it is drawn anew.
const DRAWN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(100));
/// How often a line is said where there is no terminal.
const SAID: Duration = Duration::from_secs(60);
/// The steps of a bar.
const STEPS: u64 = 1000;

/// The bar that is on the terminal.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints without a bar in the way.
pub(super) fn beside(print: impl FnOnce()) {
    match &*bar() {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// What there is to do; parts of it may not be known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total {
    /// Bytes, in the sense of [`Done::bytes`].
    pub bytes: Option<u64>,
    /// Entries.
    pub entries: Option<u64>,
}

impl Total {
    /// Of which only the bytes are known, if anything is.
    pub fn of(bytes: Option<u64>) -> Self {
        Self { bytes, entries: None }
    }
}

/// Work that is shown until this is dropped.
#[derive(Debug)]
pub struct Progress {
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Whether some work is shown already: what is a part of it is not shown by itself.
static SHOWN: AtomicBool = AtomicBool::new(false);

impl Drop for Progress {
    fn drop(&mut self) {
        let Some((end, thread)) = self.shown.take() else { return };
        drop(end);
        let _ = thread.join();
        SHOWN.store(false, Ordering::Relaxed);
    }
}

impl Ui {
    /// Shows how far `what` is, from here until the answer is dropped.
    pub fn progress(&self, what: &str, total: Total) -> Progress {
        if self.quiet || SHOWN.swap(true, Ordering::Relaxed) {
            return Progress { shown: None };
        }
        progress::begin();
        let (end, ended) = channel();
        let what = what.to_owned();
        let begun = std::thread::Builder::new().name("progress".into()).spawn(move || {
            if std::io::stderr().is_terminal() {
                draw(&what, total, &ended);
            } else {
                tell(total, &ended, SAID, &mut |line| put_talk("", &format!("{what}: {line}")));
            }
        });
        Progress { shown: begun.ok().map(|thread| (end, thread)) }
    }
}

/// Whether a span of time has passed without the work having ended.
fn passed(ended: &Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

fn draw(what: &str, total: Total, ended: &Receiver<()>) {
    if !passed(ended, DRAWN.0) {
        return;
    }
    // Before the first byte gpg may ask for a passphrase on this terminal.
    while progress::done() == Done::default() {
        if !passed(ended, DRAWN.1) {
            return;
        }
    }
    let drawn = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
    let template = match total.bytes {
        // What is too long for the terminal is cut at its end, which is the name.
        Some(_) => "[{bar:12}] {wide_msg}",
        None => "{wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        drawn.set_style(style.progress_chars("=> "));
    }
    *bar() = Some(drawn.clone());
    let mut time = DRAWN.0;
    loop {
        let done = progress::done();
        drawn.set_position(share(done, total));
        drawn.set_message(format!("{}  {what}", line(done, total, time)));
        if !passed(ended, DRAWN.1) {
            break;
        }
        time += DRAWN.1;
    }
    // In this order: what is printed from now on waits until the bar is gone.
    let mut bar = bar();
    drawn.finish_and_clear();
    *bar = None;
}

fn tell(total: Total, ended: &Receiver<()>, every: Duration, say: &mut dyn FnMut(&str)) {
    let mut time = Duration::ZERO;
    while passed(ended, every) {
        time += every;
        say(&line(progress::done(), total, time));
    }
}

/// Of [`STEPS`].
fn share(done: Done, total: Total) -> u64 {
    let Some(all) = total.bytes.filter(|all| *all > 0) else { return 0 };
    u64::try_from(u128::from(done.bytes.min(all)) * u128::from(STEPS) / u128::from(all)).unwrap_or(STEPS)
}

/// In words: bytes, entries, bytes a second, and how long it will take at that rate.
fn line(done: Done, total: Total, time: Duration) -> String {
    let of = |all: Option<String>| all.map_or(String::new(), |all| format!(" of {all}"));
    let mut parts = vec![format!("{}{}", bytes(done.bytes), of(total.bytes.map(bytes)))];
    if done.entries > 0 {
        let entries = if total.entries.unwrap_or(done.entries) == 1 { "entry" } else { "entries" };
        parts.push(format!("{}{} {entries}", done.entries, of(total.entries.map(|all| all.to_string()))));
    }
    let rate = done.bytes as f64 / time.as_secs_f64();
    if rate >= 1.0 {
        parts.push(format!("{}/s", bytes(rate as u64)));
        match total.bytes.map(|all| all.saturating_sub(done.bytes)) {
            // Written out, read back and compared: that takes as long as it takes.
            Some(0) => parts.push("finishing".into()),
            Some(left) => {
                let left = SignedDuration::from_secs_f64((left as f64 / rate).ceil());
                parts.push(format!("{} left", span(left)));
            }
            None => {}
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Total = Total { bytes: Some(810_000_000), entries: Some(24_938) };

    #[test]
    fn a_line_has_bytes_entries_rate_and_time_left() {
        let done = Done { bytes: 312_000_000, entries: 9_120 };
        assert_eq!(
            line(done, TOTAL, Duration::from_secs(3)),
            "312 MB of 810 MB, 9120 of 24938 entries, 104 MB/s, 5 s left"
        );
        let one = Done { bytes: 0, entries: 1 };
        assert_eq!(line(one, Total::default(), Duration::from_secs(3)), "0 B, 1 entry");
        assert_eq!(line(done, Total::default(), Duration::from_secs(3)), "312 MB, 9120 entries, 104 MB/s");
        assert_eq!(line(Done::default(), TOTAL, Duration::from_secs(1)), "0 B of 810 MB");
        let all = Done { bytes: 810_000_001, entries: 24_938 };
        assert!(line(all, TOTAL, Duration::from_secs(2)).ends_with("405 MB/s, finishing"));
    }

    #[test]
    fn the_share_never_exceeds_the_whole() {
        let share = |bytes, all| share(Done { bytes, entries: 0 }, Total { bytes: all, entries: None });
        assert_eq!(
            [share(0, Some(8)), share(2, Some(8)), share(8, Some(8)), share(9, Some(8))],
            [0, 250, 1000, 1000]
        );
        assert_eq!([share(9, Some(0)), share(9, None), share(u64::MAX, Some(u64::MAX))], [0, 0, 1000]);
    }

    #[test]
    fn what_has_ended_is_told_no_more() {
        let (end, ended) = channel();
        drop(end);
        draw("work", TOTAL, &ended);
        tell(TOTAL, &ended, Duration::from_secs(3600), &mut |line| panic!("{line}"));
        assert!(bar().is_none());
    }

    #[test]
    fn where_there_is_no_terminal_a_line_is_said_now_and_then() {
        let (end, ended) = channel();
        let (mut end, mut said) = (Some(end), Vec::new());
        tell(TOTAL, &ended, Duration::from_millis(1), &mut |line| {
            said.push(line.to_owned());
            if said.len() == 2 {
                drop(end.take());
            }
        });
        assert!(said.len() == 2 && said.iter().all(|line| line.contains(" of 810 MB")), "{said:?}");
    }
}
