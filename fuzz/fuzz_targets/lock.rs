//! Fuzzes the lock of a bundle, and the list of digests. See `fuzz/src/lock.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask_fuzz::lock::run(data));
