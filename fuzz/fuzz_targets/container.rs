//! Fuzzes the container reader: blocks, frames, tar headers. See `fuzz/src/container.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask_fuzz::container::run(data));
