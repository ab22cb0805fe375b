//! Fuzzes a manifest, as a stream of lines. See `fuzz/src/manifest.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask_fuzz::manifest::run(data));
