//! Fuzzes verify and restore of an archive, into a folder that nothing may leave. See `fuzz/src/extractor.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask_fuzz::extractor::run(data));
