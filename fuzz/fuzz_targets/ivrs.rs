#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cede_fuzz::ivrs(data));
