#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kfs_fuzz::claim_json(data));
