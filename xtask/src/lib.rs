//! Recovery you can prove: the map of the house.
//!
//! Data goes one way: `cli → commands → source → archive → destination`; the way back is
//! `destination → restore → files`, and `drill` walks both.
//!
//! | room | owns | may use |
//! |---|---|---|
//! | [`error`], [`finding`] | what ends a run, and what a run finds | nothing |
//! | [`archive`] | the format: blocks, containers, manifest; over `Read`/`Write` only | `finding` (to show names) |
//! | [`source`] | where entries come from: commit, staged work tree, data folder, SQLite | `archive`, `tools` |
//! | [`destination`] | where artifacts live: names, catalogue, durable writes, mounts, locks, retention | `archive`, `tools` |
//! | [`restore`] | from an artifact back to files: check, extract, the recipe | `archive`, `destination`, `tools` |
//! | [`drill`] | the proof: steps, run, evidence | `restore`, `destination`, `tools` |
//! | [`cli`], [`config`] | the command line and `recovery.toml` as declared and resolved values | |
//! | [`commands`] | a file a verb | every room |
//! | [`ui`] | printing | nothing |
//! | [`tools`] | the only room that starts a process | nothing |
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
pub mod restore;
pub mod source;
pub mod tools;
pub mod ui;
