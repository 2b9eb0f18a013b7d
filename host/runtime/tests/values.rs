//! The vectors of `docs/values.md`, through guests that know nothing of CBOR. (Random types and
//! values are in `src/value/tests.rs`.)
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what is wrong by panicking"
)]

mod common;

use bytes::Bytes;
use common::{LIMITS, guest, run, runtime};
use izna_proto::{Run, StepEnd};
use izna_runtime::Component;

const PAGE: &str = include_str!("../../../docs/values.md");

/// The rows of the page whose first cell is a function, with so many cells.
fn rows(cells: usize) -> Vec<Vec<&'static str>> {
    let split = |line: &'static str| -> Vec<&'static str> {
        let inner = line.trim_start_matches("| ").trim_end_matches(" |");
        inner.split(" | ").map(|cell| cell.trim_matches('`')).collect()
    };
    let (_, vectors) = PAGE.split_once("## Vectors").unwrap();
    let lines = vectors.lines().filter(|line| line.starts_with("| `"));
    lines.map(split).filter(|row| row.len() == cells).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a function of the mirror gives back for this one argument.
fn mirrored(mirror: &Component, function: &str, value: &[u8]) -> Bytes {
    let input = Bytes::from([&[0x81], value].concat());
    match run(mirror, function, Run::Start { input }, LIMITS).end {
        StepEnd::Done(result) => result.into_inline(),
        other => panic!("{function} {}: {other:?}", hex(value)),
    }
}

/// What comes back through a component that calls the mirror.
fn relayed(relay: &Component, mirror: &Component, function: &str, value: &[u8]) -> Bytes {
    let input = Bytes::from([&[0x81], value].concat());
    let StepEnd::Suspend { call, continuation } =
        run(relay, function, Run::Start { input }, LIMITS).end
    else {
        panic!("{function} did not call");
    };
    let outcome =
        match run(mirror, &call.function, Run::Start { input: call.input.into_inline() }, LIMITS)
            .end
        {
            StepEnd::Done(result) => Ok(result.into_inline()),
            other => panic!("{function}: {other:?}"),
        };
    match run(
        relay,
        function,
        Run::Resume { continuation: continuation.into_inline(), outcome },
        LIMITS,
    )
    .end
    {
        StepEnd::Done(result) => result.into_inline(),
        other => panic!("{function}: {other:?}"),
    }
}

/// If this failed, components of two versions, or of two languages, would not understand one
/// another, and the page would lie.
#[test]
fn the_vectors_of_the_page_hold() {
    let runtime = runtime();
    let (mirror, relay) = (guest(&runtime, "mirror"), guest(&runtime, "relay"));
    let rows = rows(3);
    assert!(rows.len() > 35, "the page has {} vectors", rows.len());
    for row in rows {
        let (function, value) = (row[0], bytes(row[2]));
        assert_eq!(hex(&mirrored(&mirror, function, &value)), row[2], "{row:?}");
        assert_eq!(hex(&relayed(&relay, &mirror, function, &value)), row[2], "{row:?}");
    }
}

/// If this failed, what people and other encoders write would be refused though it is plain.
#[test]
fn other_encodings_are_taken() {
    let runtime = runtime();
    let mirror = guest(&runtime, "mirror");
    let rows = rows(4);
    assert!(rows.len() >= 10, "the page has {} of them", rows.len());
    for row in rows {
        assert_eq!(hex(&mirrored(&mirror, row[0], &bytes(row[2]))), row[3], "{row:?}");
    }
}

/// If this failed, functions with more parameters than fit into core values could not be called.
#[test]
fn many_parameters_are_passed() {
    let runtime = runtime();
    let (mirror, relay) = (guest(&runtime, "mirror"), guest(&runtime, "relay"));
    let form = rows(3).into_iter().find(|row| row[0] == "a-form").unwrap()[2];
    let input = bytes(&format!("85{}{form}07{}191000", "6161", "6164"));
    let expected = format!("85191000616407{form}6161");
    for component in [&mirror, &relay] {
        let mut step = Run::Start { input: Bytes::from(input.clone()) };
        let result = loop {
            match run(component, "spilled", step, LIMITS).end {
                StepEnd::Done(result) => break result.into_inline(),
                StepEnd::Suspend { call, continuation } => {
                    let callee = Run::Start { input: call.input.into_inline() };
                    let StepEnd::Done(result) = run(&mirror, &call.function, callee, LIMITS).end
                    else {
                        panic!("the mirror failed");
                    };
                    step = Run::Resume {
                        continuation: continuation.into_inline(),
                        outcome: Ok(result.into_inline()),
                    };
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(hex(&result), expected);
    }
    let nothing =
        run(&mirror, "nothing", Run::Start { input: Bytes::from_static(&[0x80]) }, LIMITS);
    assert_eq!(nothing.end, StepEnd::Done((&[0xf6]).into()));
}
