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
//! | [`tools`] | the only room that starts a process | nothing |
pub mod archive;
pub mod destination;
pub mod error;
pub mod finding;
pub mod restore;
pub mod source;
pub mod tools;
