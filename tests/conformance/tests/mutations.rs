//! A little fuzzing in every test run: each oracle over pseudo-random changes to the vectors, with
//! a fixed seed. `tests/fuzz` does the same for as long as one likes.
#![expect(clippy::indexing_slicing, reason = "a test may panic where it fails")]

use izna_conformance::{
    Sample, beacon,
    mutation::{Random, mutate},
    oracle, samples,
};

const ROUNDS: usize = 80_000;

/// Run `oracle` over changes to the samples of `rule`; return how many were taken.
fn run(seed: u64, rule: &str, oracle: fn(&[u8]) -> bool) -> usize {
    let samples: Vec<Sample> =
        samples().into_iter().filter(|sample| rule.is_empty() || sample.rule == rule).collect();
    let mut random = Random::new(seed);
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let base = &samples[random.below(samples.len())];
        let other = &samples[random.below(samples.len())];
        let mut bytes = base.bytes.to_vec();
        mutate(&mut bytes, &other.bytes, &mut random);
        taken += usize::from(oracle(&bytes));
    }
    // Some of the changes must get past the decoder, or nothing behind it was tried.
    assert!(taken > ROUNDS / 200, "only {taken} of {ROUNDS} were taken");
    taken
}

/// If this fails, a link's bytes can stop a node or mean two things.
#[test]
fn mutated_messages() {
    run(1, "message", oracle::message);
}

/// If this fails, a datagram can stop a node or mean two things.
#[test]
fn mutated_bulletins() {
    run(2, "bulletin", oracle::bulletin);
}

/// The same for beacons, which are no CBOR.
#[test]
fn mutated_beacons() {
    let (mut random, good) = (Random::new(7), beacon().encode());
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let mut bytes = good.clone();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap_or(0);
        }
        bytes.truncate(bytes.len() - random.below(50) / 49);
        taken += usize::from(oracle::beacon(&bytes));
    }
    assert!((ROUNDS / 2..ROUNDS).contains(&taken), "{taken} of {ROUNDS} were taken");
}

/// If this fails, a process can stop the node that it comes to.
#[test]
fn mutated_processes() {
    run(3, "process", oracle::process);
}

/// If this fails, an outcome can stop the gateway that it comes to.
#[test]
fn mutated_outcomes() {
    run(4, "outcome", oracle::outcome);
}

/// If this fails, a value of a guest can stop a node, or passes though it is malformed.
#[test]
fn mutated_values() {
    run(5, "", oracle::cbor_check);
}
