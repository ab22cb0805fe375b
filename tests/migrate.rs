//! What the shell tool before this one has left, and who still calls its scripts.
pub(crate) mod old;
pub(crate) mod scripts;
