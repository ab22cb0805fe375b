//! The bodies of the fuzz targets: each takes any bytes, and panics when the reader breaks a promise.
//!
//! `tests/fuzzed.rs` compiles this same file, and runs every input in `tests/data/fuzzed` through it each day: what the
//! fuzzer tries and what the tests try cannot come apart. The first byte of most inputs chooses how the rest is taken:
//! as it is, or as the plan of something that is well formed down to its checksums, so that mutations reach behind them.
#![allow(clippy::disallowed_methods, reason = "the targets make and break files of their own")]
#![allow(missing_docs)]

pub mod config;
pub mod container;
pub mod extractor;
pub mod input;
pub mod lock;
pub mod manifest;
pub mod room;
pub mod sealed;
pub mod tars;

/// A name, as in `scripts/fuzz NAME`, and the body that goes with it.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 5] = [
    ("config", config::run),
    ("container", container::run),
    ("extractor", extractor::run),
    ("lock", lock::run),
    ("manifest", manifest::run),
];
