//! The binary from the outside: what it makes, what it says, what it survives.
#![allow(clippy::disallowed_methods, reason = "tests make, break and time files and processes of their own")]
#![allow(missing_docs)]

mod backup;
mod completions;
mod config;
mod copies;
mod damage;
mod destinations;
mod docker;
mod docs;
mod doctor;
mod drill;
mod encryption;
mod evidence;
mod faults;
mod full;
mod fuzzed;
mod golden;
mod handmade;
mod hostile;
mod interrupt;
mod json;
mod live;
mod lying;
mod migrate;
mod mounts;
mod odd;
mod on_time;
mod packs;
mod policy;
mod progress;
mod publish;
mod readers;
mod rebuild;
mod retention;
mod schemas;
mod snapshot;
mod spot;
mod stability;
mod status;
mod status_page;
mod support;
mod tidy;
mod trust;
mod unchanged;
mod workflows;
