//! The examples of RFC 8949 appendix A, with what each part of Izna makes of them: the check of
//! values from guests, ciborium (with which guests decode) and the printer of the vectors.
#![expect(clippy::expect_used, reason = "a test may panic where it fails")]

use izna_conformance::diagnostic::compact;
use izna_proto::cbor::{Form, Limits, check};
use serde::Deserialize;

/// One example.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    hex: String,
    /// What the bytes say.
    diagnostic: Option<String>,
    /// What ciborium reads from them.
    decoded: Option<String>,
    /// Why ciborium does not read them, although they are good.
    ciborium_refuses: Option<String>,
    /// Whether ciborium writes the same bytes again.
    roundtrip: Option<bool>,
    /// Whether they are the deterministic encoding.
    deterministic: Option<bool>,
    /// A part of the error when not.
    not_deterministic_because: Option<String>,
    /// A part of the error when they are no CBOR at all.
    refused: Option<String>,
    /// Why they are in the list all the same.
    reason: Option<String>,
}

fn examples() -> Vec<Example> {
    serde_json::from_str(include_str!("../vectors/appendix_a.json")).expect("the list to be good")
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

fn verdict(hex: &str, form: Form) -> Result<(), String> {
    check(&bytes(hex), form, &Limits::default()).map_err(|error| error.to_string())
}

/// If this fails, an example was lost from the list.
#[test]
fn the_list_is_whole() {
    assert_eq!(examples().iter().filter(|example| example.refused.is_none()).count(), 81);
}

/// If this fails, good CBOR of a guest is refused, or malformed CBOR is taken.
#[test]
fn well_formed_or_refused_for_the_stated_reason() {
    for Example { hex, refused, reason, .. } in examples() {
        match (verdict(&hex, Form::Any), refused) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => {
                assert!(error.contains(&part) && reason.is_some(), "{hex}: {error}");
            }
            (verdict, refused) => panic!("{hex}: {verdict:?}, but the list says {refused:?}"),
        }
    }
}

/// If this fails, two encodings of a value pass as the one that equal values share.
#[test]
fn deterministic_or_refused_for_the_stated_reason() {
    for example in examples() {
        let hex = example.hex;
        match (verdict(&hex, Form::Deterministic), example.not_deterministic_because) {
            (Ok(()), None) => assert_eq!(example.deterministic, Some(true), "{hex}"),
            (Err(error), Some(part)) => {
                assert!(error.contains(&part), "{hex}: {error}");
                assert_eq!(example.deterministic, Some(false), "{hex}");
            }
            (Err(_), None) if example.refused.is_some() => {}
            (verdict, because) => panic!("{hex}: {verdict:?}, but the list says {because:?}"),
        }
    }
}

/// If this fails, a guest reads another value than was sent, or the list of what it cannot read is
/// wrong.
#[test]
fn ciborium_reads_what_the_list_says() {
    for example in examples().into_iter().filter(|example| example.refused.is_none()) {
        let (hex, input) = (&example.hex, bytes(&example.hex));
        let value: Result<ciborium::Value, _> = ciborium::from_reader(&input[..]);
        let (Ok(value), Some(decoded)) = (&value, &example.decoded) else {
            let refuses = example.ciborium_refuses.is_some() && example.decoded.is_none();
            assert!(value.is_err() && refuses, "{hex}: {value:?}");
            continue;
        };
        let mut written = Vec::new();
        ciborium::into_writer(value, &mut written).expect("to write into memory");
        assert_eq!(compact(&written).as_ref(), Some(decoded), "{hex}");
        assert_eq!(Some(written == input), example.roundtrip, "{hex}");
    }
}

/// If this fails, the readable form of the vectors says something else than the bytes.
#[test]
fn the_printer_prints_what_the_list_says() {
    for example in examples().into_iter().filter(|example| example.refused.is_none()) {
        assert_eq!(compact(&bytes(&example.hex)), example.diagnostic, "{}", example.hex);
    }
}
