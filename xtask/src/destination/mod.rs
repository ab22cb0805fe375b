//! Where artifacts live: names and catalogue, durable writes, mounts, locks, retention, and the memory of runs.
//!
//! A second kind of destination (object storage) joins here, behind the same catalogue and writes.
pub mod catalog;
pub mod durable;
mod history;
pub mod lock;
pub mod marker;
pub mod memory;
pub mod mount;
pub mod names;
pub mod read;
pub mod releases;
pub mod retention;
