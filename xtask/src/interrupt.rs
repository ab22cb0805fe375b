//! Whether a signal asked this run to end. INT, TERM and HUP set a flag that every loop looks at, so that what a run
//! has made is removed before it ends; a second one ends the process at once.
use crate::error::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to listen.
///
/// # Errors
/// When the system refuses the handlers.
pub fn on_signals() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored(*signal)) {
        let wire = || -> io::Result<()> {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))?;
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            Ok(())
        };
        wire().map_err(Error::io("watch for signals in", Path::new(".")))?;
    }
    Ok(())
}

/// Whether whoever started us, such as `nohup`, has said that a signal is to be ignored; on Linux, which tells it.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Sleeps, but not beyond the end of this run.
pub fn pause(time: Duration) {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = time;
    while !left.is_zero() && !interrupted() {
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
}

/// Whether a signal has come.
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
