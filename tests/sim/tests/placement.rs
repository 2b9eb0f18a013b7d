//! Placement at scale: that the loop is right, and that the rules are as good as they should be.

use std::path::Path;

use izna_sim::placement::{
    Fault, Scenario, Service, grid::largest_difference, play, play_all, requests,
};

fn policies(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| String::from(*name)).collect()
}

/// If this fails, this loop and the reference model no longer play the same game, and no figure of
/// `docs/placement.md` can be trusted.
#[test]
fn baselines_agree_with_the_reference_model() {
    let (what, difference) = largest_difference(4);
    assert!(difference < 0.03, "{what}: {:.1} %", difference * 100.0);
}

/// If this fails, a real cluster is asked for other work than the simulator plays beside it.
#[test]
fn what_is_asked_for_is_what_is_played() {
    let scenario = Scenario {
        capacities: vec![0.5, 0.25, 2.0],
        steps_ms: vec![1.0, 30.0],
        load: 0.5,
        duration_s: 600.0,
        ..Scenario::default()
    };
    let scenario = scenario.suited();
    let requests = requests(&scenario, 3);
    // Half of 2.75 cores, at 31 ms each.
    let rate = requests.len() as f64 / 600.0;
    assert!((rate / (0.5 * 2.75 / 0.031) - 1.0).abs() < 0.02, "{rate}");
    let mean = |step: usize| {
        let sum: f64 = requests.iter().map(|request| request.steps_ms[step]).sum();
        sum / requests.len() as f64
    };
    assert!((mean(0) - 1.0).abs() < 0.02 && (mean(1) / 30.0 - 1.0).abs() < 0.02);
    assert!(requests.is_sorted_by_key(|request| request.at));
    let played = play(&scenario, 3, "izna");
    assert!((played.throughput / 0.5 - 1.0).abs() < 0.02, "{played:?}");
    // No process is faster than its work on the fastest core, and few wait for long.
    assert!((31.0..100.0).contains(&played.mean_ms), "{played:?}");
}

/// If this fails, a run cannot be repeated, and ratios compare different things.
#[test]
fn equal_seeds_give_equal_results() {
    let scenario = Scenario { duration_s: 1.0, ..Scenario::default() }.suited();
    let names = policies(&["izna", "jsq", "prequal-async"]);
    assert_eq!(play_all(&scenario, 5, &names), play_all(&scenario, 5, &names));
    assert_ne!(play_all(&scenario, 5, &names), play_all(&scenario, 6, &names));
}

/// If this fails, a change of the rules has made placement worse than perfect knowledge by more
/// than a tenth, or worse than probing, or processes go back and forth.
#[test]
fn placement_is_nearly_as_good_as_perfect_knowledge() {
    for service in [Service::Exponential, Service::Bimodal] {
        let scenario = Scenario { service, duration_s: 10.0, ..Scenario::default() }.suited();
        let results = play_all(&scenario, 11, &policies(&["jsq", "izna", "prequal-sync"]));
        let [jsq, izna, sync] = results.as_slice() else { panic!("three policies") };
        let (mean, p99) = (izna.mean_ms / jsq.mean_ms, izna.p99_ms / jsq.p99_ms);
        assert!(mean < 1.12 && p99 < 1.15, "{mean} {p99} times JSQ, {service:?}");
        assert!(izna.mean_ms < 1.03 * sync.mean_ms, "worse than Prequal, {service:?}");
        assert!(izna.messages < 1.5 && izna.queue_moves < 1.0, "{izna:?}");
        assert!(izna.returns == 0.0, "{izna:?}");
    }
}

/// If this fails, zones are not one candidate each any more: a process stays in a full zone while
/// others are idle, or wanders.
#[test]
fn a_hot_zone_overflows_into_others() {
    let scenario = Scenario {
        nodes: 60,
        zone_nodes: 20,
        load: 0.6,
        ingress: izna_sim::placement::Ingress::OneZone,
        duration_s: 2.0,
        ..Scenario::default()
    };
    let results = play_all(&scenario.suited(), 11, &policies(&["jsq", "izna"]));
    let ratio = results[1].mean_ms / results[0].mean_ms;
    assert!(ratio < 1.5, "{ratio} times JSQ");
    assert!(results[1].crossings < 1.0, "{:?}", results[1]);
}

/// If this fails, a component whose holders drown gets no others, or components are taken in for
/// nothing.
#[test]
fn components_are_taken_in_when_holders_drown() {
    let cramped = Scenario {
        load: 0.7,
        replicas: 2.5,
        fault: Fault::HotClass,
        hot_factor: 20.0,
        ..Scenario::default()
    };
    let with = Scenario { adoption_s: 0.3, ..cramped.clone() }.suited();
    let names = policies(&["izna"]);
    let (without, with) = (play_all(&cramped.suited(), 11, &names), play_all(&with, 11, &names));
    assert!(with[0].adopted > 0 && with[0].mean_ms < 0.2 * without[0].mean_ms, "{with:?}");
    let enough = Scenario { adoption_s: 0.3, duration_s: 5.0, ..Scenario::default() }.suited();
    assert_eq!(play_all(&enough, 11, &names)[0].adopted, 0);
}

/// If this fails, a scenario that is shipped, or told of, is refused.
#[test]
fn shipped_scenarios_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        Scenario::read(&file.unwrap().path()).unwrap();
        count += 1;
    }
    assert!(count >= 3);
}
