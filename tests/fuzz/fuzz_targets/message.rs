//! Any bytes into the oracle of `message`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    izna_conformance::oracle::message(bytes);
});
