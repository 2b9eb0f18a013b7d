//! Each deliberate defect is found.
#![cfg(feature = "sabotage")]

use izna_core::Sabotage;

/// If this fails, a checker has gone blind, and its silence about the shipped core means nothing.
#[test]
fn every_defect_is_found() {
    for sabotage in Sabotage::ALL {
        let found = izna_sim::find(sabotage, izna_sim::SABOTAGE_SEEDS);
        assert!(found.is_some(), "{sabotage:?} is not found");
    }
}
