//! Recordings: what a core decided can be played again.

use izna_core::{Config, Input, Time, record::Recorder};
use izna_proto::{NodeId, ZoneId};
use izna_sim::{Options, Played, Recording, Watch, play, record};

/// A short world of few nodes in which much goes wrong, so that all sorts of inputs are told.
fn recorded() -> Vec<Recording> {
    let zones = Options { nodes: 9, zones: 3, gateways: 3, memory: 0.3, ..Options::draw(3) };
    let faults = Options { crashes_per_second: 5.0, beacon_duplicates: 0.2, ..zones };
    let report = record(&faults, 3, Watch::Nothing);
    assert_eq!(report.violation, None);
    report.recordings
}

/// If this fails, what a node decided cannot be looked into after the fact.
#[test]
fn a_recorded_run_plays_to_the_same() {
    let recordings = recorded();
    assert!(recordings.len() > 9, "no node crashed");
    let mut outputs = 0;
    for Recording { node, incarnation, bytes } in recordings {
        let played = play(bytes.into(), |_| ()).unwrap();
        assert_eq!(played.difference, None, "node {node}, life {incarnation}");
        assert!(!played.is_cut);
        outputs += played.outputs;
    }
    assert!(outputs > 3_000, "{outputs} outputs are too few to show anything");
}

/// If this fails, a core that decides otherwise than the recorded one is taken for the same.
#[test]
fn another_core_is_told_with_its_place() {
    let bytes = recorded().swap_remove(0).bytes;
    let change = |config: &mut Config| config.beacon_interval *= 2;
    let difference = play(bytes.clone().into(), change).unwrap().difference.unwrap();
    assert!(difference.recorded != difference.now, "{difference}");
    let again = play(bytes.into(), change).unwrap().difference.unwrap();
    assert_eq!(difference, again);
}

/// If this fails, a defect of core is not seen in a recording made without it.
#[cfg(feature = "sabotage")]
#[test]
fn a_sabotaged_core_is_told_with_its_place() {
    let defect = |config: &mut Config| config.sabotage = Some(izna_core::Sabotage::ReplyTwice);
    let recordings = recorded();
    let played = recordings.into_iter().map(|r| play(r.bytes.into(), defect).unwrap());
    let difference = played.filter_map(|played| played.difference).next().unwrap();
    assert!(difference.number > 1, "{difference}");
}

fn at(millis: i64) -> Time {
    Time::from_micros(millis * 1000 - 7_000_000)
}

/// A core that is told of a node, and ticks.
fn small(peer: NodeId) -> Vec<u8> {
    let mut config = Config::new(NodeId(1), 1, 2);
    config.zone = ZoneId(5);
    let mut core = izna_core::Core::new(config.clone(), at(0));
    let mut recorder = Recorder::new(&config, at(0));
    let called = Input::Called { peer: NodeId(2), zone: ZoneId(6), incarnation: 1 };
    // What is written down is another node than the core was told of, if `peer` is.
    let written = Input::Called { peer, zone: ZoneId(6), incarnation: 1 };
    recorder.input(at(1), &written);
    core.handle(at(1), called);
    std::iter::from_fn(|| core.poll()).for_each(|output| recorder.output(&output));
    recorder.tick(at(300));
    core.tick(at(300));
    std::iter::from_fn(|| core.poll()).for_each(|output| recorder.output(&output));
    recorder.finish();
    recorder.take()
}

/// If this fails, an input that is not the one that was told goes unseen.
#[test]
fn a_changed_input_is_told_with_its_place() {
    let same = play(small(NodeId(2)).into(), |_| ()).unwrap();
    assert_eq!((same.inputs, same.difference), (2, None));
    let difference = play(small(NodeId(3)).into(), |_| ()).unwrap().difference.unwrap();
    assert_eq!((difference.number, difference.at_us), (1, 1000));
    let text = difference.to_string();
    assert!(text.contains("Called") && text.contains("Connect(n-0000000000000002)"), "{text}");
    assert!(text.contains("Connect(n-0000000000000003)"), "{text}");
}

/// If this fails, the recording of a node that was killed, or bytes of something else, are played
/// for what they are not.
#[test]
fn what_is_cut_off_ends_there_and_other_bytes_are_refused() {
    let bytes = small(NodeId(2));
    let cut = bytes[..bytes.len() - 3].to_vec();
    let Played { inputs, is_cut, difference, .. } = play(cut.into(), |_| ()).unwrap();
    assert_eq!((inputs, is_cut, difference), (2, true, None));
    assert!(play(b"\x83\x60".to_vec().into(), |_| ()).is_err());
    let mut other = bytes;
    let end = other.len();
    other.extend_from_slice(b"\x82\x09\x00");
    let error = play(other.into(), |_| ()).unwrap_err().to_string();
    assert!(error.contains(&format!("at byte {end}")), "{error}");
}
