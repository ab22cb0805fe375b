//! What the shell tool before this one has left, and who still calls its scripts.
mod old;
mod scripts;
