//! Each deliberate defect is found, and by the checker that is there for it.
#![cfg(feature = "sabotage")]

use izna_core::Sabotage;
use izna_sim::CHECKERS;

/// If this fails, a checker has gone blind, and its silence about the shipped core means nothing.
#[test]
fn every_defect_is_found_by_its_checker() {
    let missed: Vec<String> = std::thread::scope(|scope| {
        let find = |sabotage| move || izna_sim::find(sabotage, izna_sim::SABOTAGE_SEEDS).err();
        let found = Sabotage::ALL.map(|sabotage| scope.spawn(find(sabotage)));
        found.into_iter().filter_map(|found| found.join().unwrap()).collect()
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// If this fails, a checker was added that nothing shows to see anything.
#[test]
fn every_checker_has_a_defect() {
    for checker in CHECKERS {
        let has = Sabotage::ALL.iter().any(|sabotage| sabotage.checker() == checker);
        assert!(has, "no defect is for {checker} to find");
    }
    for sabotage in Sabotage::ALL {
        assert!(CHECKERS.contains(&sabotage.checker()), "{sabotage:?}: no such checker");
    }
}
