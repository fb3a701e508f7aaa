#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| payonce_fuzz::agent::check(input));
