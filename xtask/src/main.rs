//! Parse, dispatch, print, exit code; no logic.
fn main() {}
