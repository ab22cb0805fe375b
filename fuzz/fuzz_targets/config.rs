//! Fuzzes `recovery.toml`, and the package files that give a name. See `fuzz/src/config.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask_fuzz::config::run(data));
