//! The integration tests: the built binary, as its users call it.
#[test]
fn the_binary_runs() {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).status().expect("starts");
    assert!(status.success());
}
