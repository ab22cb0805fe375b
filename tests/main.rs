//! The binary, from the outside.
#![allow(clippy::disallowed_methods, reason = "tests make, break and time files and processes of their own")]

#[test]
fn no_verb_is_a_usage_error() {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).status().expect("starts");
    assert_eq!(status.code(), Some(2));
}
