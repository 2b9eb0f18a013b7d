//! Any bytes into the oracle of `cbor_check`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    izna_conformance::oracle::cbor_check(bytes);
});
