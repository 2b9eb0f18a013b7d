//! Any bytes into the oracle of `table_entry`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    izna_conformance::oracle::table_entry(bytes);
});
