//! Recovery you can prove: the map of the house.
//!
//! Data goes one way: `cli → commands → source → archive → destination`; the way back is
//! `destination → restore → files`, and `drill` walks both. The rooms stand here from the ground up, and each may use only
//! those above it in this table. `tests/tidy.rs` holds the code to it.
//!
//! | room | owns | may use |
//! |---|---|---|
//! | [`shown`] | names made harmless to show | nothing |
//! | [`words`] | words quoted for a POSIX shell | nothing |
//! | [`archive`] | the format: blocks, containers, manifest; over `Read`/`Write` only | `shown` |
//! | [`error`] | what ends a run, its next step and exit code | `archive` (for the `FormatError` that caused it) |
//! | [`finding`] | what a run finds | `error` |
//! | [`interrupt`] | whether a signal asked the run to end | `error` |
//! | [`progress`] | how far the work at hand has come | nothing |
//! | [`stopwatch`] | how long something takes | nothing |
//! | [`threads`] | how many threads pack and unpack | nothing |
//! | [`tools`] | the only room that starts a process | `words`, `error`, `interrupt` |
//! | [`destination`] | where artifacts live: names, catalogue, durable writes, mounts, locks, retention | `shown`, `words`, `archive`, `error`, `finding`, `tools` |
//! | [`source`] | where entries come from: commit, staged work tree, data folder, SQLite | `shown`, `archive`, `error`, `finding`, `interrupt`, `progress`, `tools` |
//! | [`restore`] | from an artifact back to files: check, extract, the recipe | `shown`, `words`, `archive`, `error`, `finding`, `interrupt`, `progress`, `threads`, `tools`, `destination` |
//! | [`config`] | `recovery.toml` as one resolved value | `archive`, `error`, `tools`, `destination`, `source` (for their types) |
//! | [`drill`] | the proof: steps, run, evidence | `shown`, `archive`, `error`, `finding`, `interrupt`, `stopwatch`, `tools`, `destination`, `restore`, `config` |
//! | [`cli`] | the command line as it is declared | `archive` (for the containers' names) |
//! | [`ui`] | printing, and what a CI job is told | `archive`, `finding`, `progress` |
//! | [`commands`] | a file a verb | every room |
//! | [`start`] | parse, dispatch, exit code; the one look at clock and environment | `shown`, `words`, `error`, `interrupt`, `stopwatch`, `cli`, `ui`, `commands` |
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "unit tests make and break files of their own"))]

pub mod archive;
pub mod cli;
pub mod commands;
pub mod config;
pub mod destination;
pub mod drill;
pub mod error;
pub mod finding;
pub mod interrupt;
pub mod progress;
pub mod restore;
pub mod shown;
pub mod source;
pub mod start;
pub mod stopwatch;
pub mod threads;
pub mod tools;
pub mod ui;
pub mod words;

pub use start::main;
