//! The golden vectors: the bytes of every shape on the wire do not change by accident.
//!
//! After a change on purpose: `BLESS=1 cargo test -p izna-conformance --test golden`, and review
//! the difference.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use izna_conformance::{diagnostic, oracle, samples};

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// If this fails, nodes of this build and of an older one misread each other.
#[test]
fn samples_equal_their_vectors() {
    let bless = env::var_os("BLESS").is_some();
    let mut expected = BTreeSet::from(["appendix_a.json".to_owned(), "datagram.json".to_owned()]);
    for sample in samples() {
        let shown = diagnostic::pretty(&sample.bytes).expect("samples to be CBOR") + "\n";
        for (kind, bytes) in [("cbor", &sample.bytes[..]), ("diag", shown.as_bytes())] {
            let name = format!("{}.{kind}", sample.name);
            let path = vectors().join(&name);
            if bless && fs::read(&path).ok().as_deref() != Some(bytes) {
                fs::write(&path, bytes).expect("to write a vector");
            }
            let golden = fs::read(&path).unwrap_or_default();
            assert!(golden == bytes, "{name} is not what is written now:\n{shown}");
            assert!(expected.insert(name), "two samples have the name {}", sample.name);
        }
    }
    for file in fs::read_dir(vectors()).expect("the vectors") {
        let file = file.expect("a vector");
        let name = file.file_name().into_string().expect("a name of ASCII");
        if bless && !expected.contains(&name) {
            fs::remove_file(file.path()).expect("to remove a vector");
        } else {
            assert!(expected.contains(&name), "{name} is the vector of no sample");
        }
    }
}

/// If this fails, a vector does not decode, or another value has its bytes.
#[test]
fn samples_pass_their_oracles() {
    for sample in samples() {
        let taken = match sample.rule {
            "message" => oracle::message(&sample.bytes),
            "bulletin" => oracle::bulletin(&sample.bytes),
            "process" => oracle::process(&sample.bytes),
            "outcome" => oracle::outcome(&sample.bytes),
            other => panic!("no oracle for {other}"),
        };
        assert!(taken, "{}", sample.name);
        assert!(oracle::cbor_check(&sample.bytes), "{}", sample.name);
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
