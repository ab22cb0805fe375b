//! Recovery you can prove: the map of the house.
//!
//! | room | owns | may use |
//! |---|---|---|
//! | [`archive`] | the format: blocks, containers, manifest; over `Read`/`Write` only | nothing else |
pub mod archive;
