//! Where artifacts live: names and catalogue, durable writes, mounts, locks, retention, and the memory of runs.
//!
//! A further kind of destination (object storage) joins here, in [`place`], behind the same catalogue.
pub mod catalog;
pub mod durable;
mod history;
pub mod images;
pub mod known;
pub mod lock;
pub mod marker;
pub mod memory;
pub mod mount;
pub mod named;
pub mod names;
pub mod place;
pub mod read;
pub mod release_lock;
pub mod release_url;
pub mod releases;
pub mod remote;
pub mod retention;
#[cfg(test)]
mod retention_properties;
