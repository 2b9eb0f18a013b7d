//! The golden vectors: the bytes of every shape on the wire do not change by accident. Each version of
//! the protocol has its folder, for as long as it is spoken.
//!
//! After a change on purpose: `BLESS=1 cargo test -p izna-conformance --test golden`, and review
//! the difference.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use izna_conformance::{diagnostic, oracle, samples};
use izna_proto::{PROTOCOL, PROTOCOL_OLDEST};

/// The vectors of a version.
fn vectors(protocol: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/v{protocol}"))
}

/// If this fails, nodes of this build and of an older one misread each other.
#[test]
fn samples_equal_their_vectors() {
    let bless = env::var_os("BLESS").is_some();
    let mut expected = BTreeSet::new();
    if bless {
        fs::create_dir_all(vectors(PROTOCOL)).expect("a folder for the vectors");
    }
    for sample in samples() {
        let shown = diagnostic::pretty(&sample.bytes).expect("samples to be CBOR") + "\n";
        for (kind, bytes) in [("cbor", &sample.bytes[..]), ("diag", shown.as_bytes())] {
            let name = format!("{}.{kind}", sample.name);
            let path = vectors(PROTOCOL).join(&name);
            if bless && fs::read(&path).ok().as_deref() != Some(bytes) {
                fs::write(&path, bytes).expect("to write a vector");
            }
            let golden = fs::read(&path).unwrap_or_default();
            assert!(golden == bytes, "{name} is not what is written now:\n{shown}");
            assert!(expected.insert(name), "two samples have the name {}", sample.name);
        }
    }
    for file in fs::read_dir(vectors(PROTOCOL)).expect("the vectors") {
        let file = file.expect("a vector");
        let name = file.file_name().into_string().expect("a name of ASCII");
        if bless && !expected.contains(&name) {
            fs::remove_file(file.path()).expect("to remove a vector");
        } else {
            assert!(expected.contains(&name), "{name} is the vector of no sample");
        }
    }
}

/// If this fails, a vector of a version that is spoken does not decode, or another value has its bytes.
#[test]
fn vectors_of_spoken_versions_pass_their_oracles() {
    for protocol in PROTOCOL_OLDEST..=PROTOCOL {
        let mut count = 0;
        for file in fs::read_dir(vectors(protocol)).expect("the vectors of a spoken version") {
            let path = file.expect("a vector").path();
            if path.extension().is_none_or(|kind| kind != "cbor") {
                continue;
            }
            let bytes = fs::read(&path).expect("a vector");
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let taken = match name.split('-').next().unwrap_or_default() {
                "message" => oracle::message(&bytes),
                "bulletin" => oracle::bulletin(&bytes),
                "process" => oracle::process(&bytes),
                "outcome" => oracle::outcome(&bytes),
                other => panic!("no oracle for {other}"),
            };
            assert!(taken && oracle::cbor_check(&bytes), "{name} of version {protocol}");
            count += 1;
        }
        assert!(count >= 60, "{count} vectors of version {protocol}");
    }
}

/// If this fails, a sort of message has no vector.
#[test]
fn every_sort_of_message_has_a_vector() {
    let messages = samples().into_iter().filter(|sample| sample.rule == "message");
    let sorts: BTreeSet<u8> = messages.map(|sample| sample.bytes[1]).collect();
    let all: BTreeSet<u8> = (0..=21).collect();
    assert_eq!(sorts, all, "the second byte of a message is its sort");
}
