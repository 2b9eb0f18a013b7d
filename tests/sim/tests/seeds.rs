//! The fixed seeds of every change.

use std::process::Command;

use izna_sim::{Options, Watch, run, sweep};

/// How many seeds every change must pass.
const SEEDS: u64 = 200;

/// If this fails, the cluster loses, doubles or strands processes when things go wrong, or a fault
/// or a rare branch is not reached by any seed any more.
#[test]
fn the_fixed_seeds_find_nothing() {
    let sweep = sweep(0, SEEDS, Options::draw, "");
    if let Some((_, text)) = sweep.failure {
        panic!("{text}");
    }
    let missing = sweep.seen.missing();
    assert!(missing.is_empty(), "never seen to happen in {SEEDS} seeds: {missing:?}");
}

/// If this fails, processes, apps or components get lost between zones when things go wrong.
#[test]
fn the_fixed_seeds_find_nothing_in_zones() {
    let options = |seed| Options { zones: 3, ..Options::draw(seed) };
    let sweep = sweep(0, SEEDS, options, "");
    if let Some((_, text)) = sweep.failure {
        panic!("{text}");
    }
}

/// If this fails, a failed seed cannot be replayed: somewhere the order of a hash map, an address
/// or a clock decides.
#[test]
fn equal_seeds_give_equal_runs() {
    for seed in 1000..1004 {
        let options = Options::draw(seed);
        let once = run(&options, seed, Watch::Nothing).hash;
        assert_eq!(once, run(&options, seed, Watch::Everything).hash, "seed {seed}, watched");
        let binary = env!("CARGO_BIN_EXE_izna-sim");
        let output = Command::new(binary).args(["replay", "--seed", &seed.to_string()]).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(&format!("{once:016x}")), "seed {seed}, another process: {text}");
    }
}

/// If this fails, something is lost or refused though nothing goes wrong.
#[test]
fn a_calm_cluster_answers_everything() {
    let report = run(&Options::default(), 1, Watch::Nothing);
    assert_eq!(report.violation, None);
    let seen: Vec<&str> = report.seen.iter().map(|(what, _)| what).collect();
    for never in ["delivery unclear", "message lost", "reply: unavailable", "reply: busy"] {
        assert!(!seen.contains(&never), "{never}");
    }
}

/// If this fails, a process, an app or a component does not get from one zone to another: half of the
/// components are held by few nodes, which are mostly in other zones than the gateways.
#[test]
fn a_calm_cluster_of_zones_answers_everything() {
    // While the nodes start, a component may have to be got from another zone first.
    let (deadline_ms, arrivals_per_second) = ([1500, 3000], 200.0);
    let calm = Options { deadline_ms, arrivals_per_second, heal_ms: 4000, ..Options::default() };
    let options = Options { zones: 3, nodes: 60, holders: 2, ..calm };
    let report = run(&options, 1, Watch::Nothing);
    assert_eq!(report.violation, None);
    let seen: Vec<&str> = report.seen.iter().map(|(what, _)| what).collect();
    assert!(seen.contains(&"bulletin") && seen.contains(&"link between zones"), "{seen:?}");
}

/// If this fails, the options that are printed with a failure cannot be run as a scenario.
#[test]
fn options_are_a_scenario() {
    let options = Options::draw(7);
    let text = toml::to_string(&options).unwrap();
    assert_eq!(toml::from_str::<Options>(&text).unwrap(), options);
}
