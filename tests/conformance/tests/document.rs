//! What `docs/protocol.md` says is what the code does: its CDDL matches every vector and nothing
//! that the decoders refuse for its shape, and its datagram can be checked with its key.
#![expect(clippy::expect_used, reason = "a test may panic where it fails")]

use bytes::Bytes;
use izna_conformance::{
    beacon, diagnostic,
    mutation::{Random, mutate},
    samples,
};
use izna_proto::{
    BEACON_MAGIC, BEACON_TAG_BYTES, Error, Message, Reader, Wire,
    cbor::{Form, Limits, check},
};
use ring::hmac;
use serde::Deserialize;

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// All CDDL of the document, beginning with `rule`.
fn cddl(rule: &str) -> String {
    let blocks = DOCUMENT.split("```cddl\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("an end of the block"));
    format!("start = {rule}\n{}", blocks.collect::<String>())
}

fn matches(rule: &str, bytes: &[u8]) -> Result<(), String> {
    cddl::validate_cbor_from_slice(&cddl(rule), bytes, None).map_err(|error| error.to_string())
}

/// If this fails, who follows the document cannot read what nodes send.
#[test]
fn every_vector_matches_its_rule() {
    for sample in samples() {
        let shown = diagnostic::compact(&sample.bytes).unwrap_or_default();
        let verdict = matches(sample.rule, &sample.bytes);
        assert_eq!(verdict, Ok(()), "{} is not a {}: {shown}", sample.name, sample.rule);
    }
}

/// If this fails, who follows the document sends what nodes refuse, or the document forbids what
/// they send.
#[test]
fn what_matches_is_what_is_taken() {
    let samples: Vec<_> = samples().into_iter().filter(|sample| sample.rule == "message").collect();
    let (mut random, mut both, mut neither) = (Random::new(6), 0, 0);
    while both + neither < 150 {
        let base = &samples[random.below(samples.len())];
        let mut bytes = base.bytes.to_vec();
        mutate(&mut bytes, &base.bytes, &mut random);
        if check(&bytes, Form::Deterministic, &Limits::default()).is_err() {
            continue;
        }
        // What the document says in words, about bytes, about the order of entries and about what
        // a newer version says, is not for CDDL to know.
        let mut reader = Reader::new(Bytes::from(bytes.clone()));
        let taken = match Message::read(&mut reader).and_then(|_| reader.end()) {
            Ok(()) if reader.skipped() > 0 => continue,
            Ok(()) => true,
            Err(Error::Shape { expected, .. }) if expected.contains("address") => continue,
            Err(Error::Shape { .. } | Error::Limit { .. }) => false,
            Err(_) => continue,
        };
        let shown = diagnostic::compact(&bytes).unwrap_or_default();
        if shown.contains(['(', '{']) {
            // That there are no tags, the document says in words; and no message has a map, which
            // the reader of CDDL takes for a number.
            continue;
        }
        assert_eq!(matches("message", &bytes).is_ok(), taken, "{shown}");
        both += usize::from(taken);
        neither += usize::from(!taken);
    }
    assert!(both > 20 && neither > 20, "{both} taken and {neither} not");
}

/// A datagram and what is needed to check it.
#[derive(Deserialize)]
struct Datagram {
    key: String,
    zone: u32,
    datagram: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

/// If this fails, nodes of another implementation and ours do not hear each other.
#[test]
fn the_datagram_has_its_layout() {
    let text = include_str!("../vectors/datagram.json");
    let vector: Datagram = serde_json::from_str(text).expect("the vector to be good");
    let datagram = bytes(&vector.datagram);
    let (signed, tag) = datagram.split_at(datagram.len() - BEACON_TAG_BYTES);
    assert_eq!((signed.len(), tag.len()), (40, 8));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes(&vector.key));
    assert_eq!(&hmac::sign(&key, signed).as_ref()[..BEACON_TAG_BYTES], tag);
    assert_eq!(signed[..2], BEACON_MAGIC);
    assert_eq!(signed[2..6], vector.zone.to_be_bytes());
    assert_eq!(signed, beacon().encode());
}
