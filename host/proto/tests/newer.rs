//! Versions: what an imagined version 6 says that this one does not know, and what this one makes of
//! it.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may panic where it fails")]

#[allow(dead_code, reason = "each test uses some of it")]
mod any;

use bytes::Bytes;
use izna_proto::{
    Error, FailureKind, Heard, Hello, Load, Message, Outcome, PROTOCOL, Process, Reader, Refusal,
    Wire, Writer, is_spoken,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

fn one<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(&mut TestRunner::deterministic()).expect("a value").current()
}

/// The same record with more fields at its end, as version 6 may write it.
fn with_more(record: &[u8], more: &[&[u8]]) -> Bytes {
    let [head, rest @ ..] = record else { panic!("no record") };
    assert!((0x80..0x98).contains(head), "a record of fewer than 24 fields");
    let head = head + u8::try_from(more.len()).expect("few fields");
    Bytes::from([&[head], rest, &more.concat()].concat())
}

/// Values of every shape that the protocol has.
const MORE: [&[u8]; 5] =
    [&[0x18, 0x63], &[0xf6], &[0x63, b's', b'i', b'x'], &[0x82, 0x80, 0xf5], &[0x41, 0]];

fn read<T: Wire>(bytes: Bytes) -> (Result<T, Error>, usize) {
    let mut reader = Reader::new(bytes);
    let value = T::read(&mut reader);
    (value.and_then(|value| reader.end().map(|()| value)), reader.skipped())
}

/// If this fails, a node does not understand one that is a version newer and says more.
#[test]
fn more_fields_are_skipped() {
    let load: Load = one(any::load());
    assert_eq!(read(with_more(&load.to_bytes(), &MORE)), (Ok(load), 5));
    let hello: Hello = one(any::hello());
    assert_eq!(read(with_more(&hello.to_bytes(), &MORE)), (Ok(hello), 5));
    let probe = Message::Probe { load };
    assert_eq!(read(with_more(&probe.to_bytes(), &MORE)), (Ok(probe), 5));
    // Inside of another value.
    let mut nested = Writer::new();
    nested.array(2);
    nested.unsigned(14u8);
    let nested = [&nested.finish()[..], &with_more(&load.to_bytes(), &MORE)].concat();
    assert_eq!(read(Bytes::from(nested)), (Ok(Message::Probe { load }), 5));
}

/// If this fails, what is skipped is not looked at, and is a place for bytes of no form.
#[test]
fn what_is_skipped_is_of_the_protocol() {
    let load: Load = one(any::load());
    let bad: [&[u8]; 7] =
        [&[0x20], &[0xa0], &[0xc1, 0], &[0xf9, 0, 0], &[0x18, 1], &[0x61, 0xff], &[0x9f, 0xff]];
    for bytes in bad {
        let (found, _) = read::<Load>(with_more(&load.to_bytes(), &[bytes]));
        assert!(found.is_err(), "{bytes:02x?}");
    }
    let (deep, _) = read::<Load>(with_more(&load.to_bytes(), &[&[0x81; 40]]));
    assert!(matches!(deep, Err(Error::Limit { what: "nesting", .. })), "{deep:?}");
    let endless = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let (endless, _) = read::<Load>(with_more(&load.to_bytes(), &[&endless]));
    assert!(matches!(endless, Err(Error::Truncated { .. })), "{endless:?}");
}

/// If this fails, a process that went through an older node is another one at the next newer one.
#[test]
fn a_process_keeps_what_a_newer_version_says_of_it() {
    let process: Process = one(any::process());
    let newer = with_more(&process.to_bytes(), &MORE);
    let (read, skipped) = read::<Process>(newer.clone());
    let mut read = read.expect("a process");
    assert_eq!((read.to_bytes(), skipped), (newer.clone(), 5));
    assert_eq!(read.measure(), Ok(newer.len()));
    read.hops += 1;
    assert!(read.to_bytes().ends_with(&MORE.concat()), "it is still there after a move");
    let long = [&[0x5a, 0, 1, 0, 0][..], &[0; 1 << 16]].concat();
    let (long, _) = self::read::<Process>(with_more(&process.to_bytes(), &[&long]));
    assert!(matches!(long, Err(Error::Limit { max: 65_536, .. })), "it is bounded");
}

/// If this fails, a message of a newer version tears the link to a node of an older one.
#[test]
fn unknown_messages_are_left_out() {
    let unknown = Bytes::from_static(&[0x83, 0x18, 40, 0x81, 0x01, 0xf6]);
    assert_eq!(Message::hear(&unknown), Ok(Heard::Unknown { sort: 40 }));
    let probe = Message::Probe { load: Load::default() };
    assert_eq!(Message::hear(&probe.to_bytes()), Ok(Heard::Message(probe)));
}

/// If this fails, one field over its limit costs a link with all that it carries.
#[test]
fn a_refused_field_costs_its_message() {
    let delivery = one(any::delivery());
    let (id, mut process) = (delivery.id, delivery.process.clone());
    process.app = "a".repeat(300).into();
    let long = Message::Deliver(izna_proto::Delivery { process, ..delivery });
    assert!(long.to_frame().is_err());
    match Message::hear(&long.to_bytes()) {
        Ok(Heard::Refused { sort: 1, delivery, error: Error::Limit { size: 300, .. } }) => {
            assert_eq!(delivery, Some(id), "its source can be told");
        }
        other => panic!("{other:?}"),
    }
    // A new variant of a closed list.
    let memory = Bytes::from_static(&[0x84, 12, 1, 0x41, 7, 0x82, 9, 0]);
    assert!(matches!(Message::hear(&memory), Ok(Heard::Refused { sort: 12, delivery: None, .. })));
}

/// If this fails, a node goes on with a link whose other side sends what is no CBOR.
#[test]
fn malformed_frames_are_not_heard() {
    for frame in [&[][..], &[0x81], &[0x81, 0x06, 0x00], &[0x81, 0x18, 0x06], &[0xff]] {
        assert!(Message::hear(&Bytes::from_static(frame)).is_err(), "{frame:02x?}");
    }
    assert!(Message::hear(&Bytes::from_static(&[0x80])).is_err(), "no sort");
    assert!(Message::hear(&Bytes::from_static(&[0x06])).is_err(), "no message");
}

/// If this fails, a new word for a failure or a refusal cannot be said to older nodes.
#[test]
fn open_lists_have_a_nearest() {
    let (outcome, _) =
        read::<Outcome>(Bytes::from_static(&[0x83, 0x63, b'n', b'e', b'w', 0x60, 7]));
    assert_eq!(outcome.map(|o| o.map_err(|f| f.kind)), Ok(Err(FailureKind::Other)));
    let refused = Message::Refused {
        delivery: izna_proto::DeliveryId(1),
        load: Load::default(),
        refusal: Refusal::Revision,
    };
    let mut newer = refused.to_bytes().to_vec();
    newer.pop();
    newer.extend([0x19, 0x01, 0xf4]);
    let (read, _) = read::<Message>(Bytes::from(newer));
    assert!(matches!(read, Ok(Message::Refused { refusal: Refusal::Full, .. })), "{read:?}");
}

/// If this fails, nodes of neighbouring versions do not talk, or those of distant ones do.
#[test]
fn neighbours_are_spoken_to() {
    let spoken: Vec<u16> = (0..20).filter(|protocol| is_spoken(*protocol)).collect();
    assert_eq!(spoken, [5, 6]);
    let hello = Hello { protocol: PROTOCOL + 1, ..one(any::hello()) };
    let said = with_more(&Message::Hello(hello).to_bytes(), &MORE);
    assert_eq!(Hello::protocol_of(&said), Some(6));
}
