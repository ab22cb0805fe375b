//! How long something takes. Not a clock: it knows no date and cannot be set.
use std::time::{Duration, Instant};

/// Measures how long steps take; in tests one that ticks as it is told.
pub trait Stopwatch {
    /// Time since it was started; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's monotonic stopwatch.
#[derive(Debug)]
pub struct Monotonic {
    began: Instant,
}

impl Monotonic {
    /// Starts it.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "measures durations; not a date")]
        Self { began: Instant::now() }
    }
}

impl Stopwatch for Monotonic {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A measure to a thousandth: more digits say nothing and make records hard to read.
pub fn rounded(measure: f64) -> f64 {
    (measure * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let watch = Monotonic::start();
        let before = watch.elapsed();
        std::thread::sleep(Duration::from_millis(2));
        assert!(watch.elapsed() >= before + Duration::from_millis(2));
    }

    #[test]
    fn seconds_have_three_digits() {
        assert_eq!([0.0, 1.2344, 1.2346, 0.0004].map(rounded), [0.0, 1.234, 1.235, 0.0]);
    }
}
