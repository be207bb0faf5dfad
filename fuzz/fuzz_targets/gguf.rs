#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| warpdot_fuzz_checks::gguf(bytes));
