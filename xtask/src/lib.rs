//! Recovery you can prove: the map of the house.
//!
//! Data goes one way: `cli → commands → source → archive → destination`; the way back is
//! `destination → restore → files`, and `drill` walks both.
//!
//! | room | owns | may use |
//! |---|---|---|
//! | [`error`], [`finding`] | what ends a run, and what a run finds | nothing |
//! | [`archive`] | the format: blocks, containers, manifest; over `Read`/`Write` only | nothing else |
pub mod archive;
pub mod error;
pub mod finding;
