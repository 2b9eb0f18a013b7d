//! The form of records, and what they are given out again for.

use super::*;
use izna_proto::{Failure, FailureKind};
use proptest::prelude::*;

fn call(input: &'static [u8]) -> Call {
    Call { component: "a:b/c".into(), function: "a:b/c.f".into(), input: input.into() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// If this failed, a function could not go on at a node of another version.
#[test]
fn the_form_of_a_record_stays() {
    let recorder = Recorder::start(&Bytes::from_static(b"\x80"));
    assert_eq!(recorder.call(call(b"\x81\x01"), 0), Ok(None));
    assert!(recorder.take_wanted().is_some() && recorder.take_wanted().is_none());
    recorder.answer(Ok(Bytes::from_static(b"\x02")));
    recorder.remember([7; 16], &Err(MemoryError::TooLarge { max: 9 }));
    recorder.seed(|| [1; 32]);
    let form = concat!(
        "82014180",
        "840065613a622f6367613a622f632e6650",
        "ARGUMENTS",
        "82014102",
        "840550",
        "07070707070707070707070707070707",
        "0109",
        "82045820",
        "0101010101010101010101010101010101010101010101010101010101010101",
    );
    let digest = hex(&xxh3_128(b"\x81\x01").to_be_bytes());
    assert_eq!(hex(&recorder.continuation()), form.replace("ARGUMENTS", &digest));
}

/// If this failed, a function that waits on a clock would record each look at it.
#[test]
fn looks_at_one_tick_are_one_event() {
    let recorder = Recorder::start(&Bytes::new());
    let times: Vec<(u64, u64)> = (0..10_000).map(|_| recorder.time()).collect();
    assert_eq!(recorder.call(call(b""), 0), Ok(None));
    let continuation = recorder.continuation();
    assert!(continuation.len() < 1000, "{} bytes", continuation.len());
    let (again, _) = Recorder::resume(&continuation, Ok(Bytes::new())).unwrap();
    assert_eq!((0..10_000).map(|_| again.time()).collect::<Vec<_>>(), times);
    assert!(again.is_replaying());
    assert_eq!(again.call(call(b""), 0), Ok(Some(Ok(Bytes::new()))));
    assert!(!again.is_replaying());
    assert!(again.time() >= *times.last().unwrap());
    assert_eq!(again.check_end(), Ok(()));
}

/// If this failed, a function that ends before its calls would give a result all the same.
#[test]
fn an_early_end_is_told() {
    let recorder = Recorder::start(&Bytes::new());
    assert_eq!(recorder.call(call(b""), 0), Ok(None));
    let failure = Failure::new(FailureKind::Limit, "no");
    let (again, _) = Recorder::resume(&recorder.continuation(), Err(failure)).unwrap();
    let told = again.check_end().unwrap_err().to_string();
    let words = "after 0 calls it came to its end, where its record has a call of `a:b/c.f`";
    assert!(told.contains(words), "{told}");
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = || any::<Vec<u8>>().prop_map(Bytes::from);
    let answer = prop_oneof![
        prop::option::of(bytes()).prop_map(Ok),
        any::<u64>().prop_map(|max| Err(MemoryError::TooLarge { max })),
        Just(Err(MemoryError::Unavailable)),
    ];
    let error = |(number, message)| FetchError {
        kind: FetchErrorKind::of_number(number).unwrap(),
        message,
    };
    let fetched = prop_oneof![
        bytes().prop_map(Ok),
        (0..16u64, any::<String>()).prop_map(error).prop_map(Err),
    ];
    prop_oneof![
        ("[a-z:/]{0,20}", "[a-z.]{0,20}", any::<[u8; 16]>()).prop_map(|(c, f, digest)| {
            Event::Call { component: c.into(), function: f.into(), digest }
        }),
        bytes().prop_map(|result| Event::Outcome(Ok(result))),
        any::<String>()
            .prop_map(|why| Event::Outcome(Err(Failure::new(FailureKind::Trapped, why)))),
        any::<u64>().prop_map(Event::Base),
        (any::<u64>(), 1..u64::MAX).prop_map(|(ticks, reads)| Event::Time { ticks, reads }),
        any::<[u8; 32]>().prop_map(Event::Seed),
        (any::<[u8; 16]>(), answer).prop_map(|(digest, answer)| Event::Memory { digest, answer }),
        (any::<[u8; 16]>(), fetched).prop_map(|(digest, answer)| Event::Fetched { digest, answer }),
    ]
}

proptest! {
    /// If this failed, a record would be read as another than was written, or bad bytes from
    /// another node could end this one.
    #[test]
    fn records_are_read_as_written(
        input in any::<Vec<u8>>(),
        events in prop::collection::vec(event(), 0..8),
        (at, byte, cut) in (any::<u16>(), any::<u8>(), any::<bool>()),
    ) {
        let input = Bytes::from(input);
        let mut bytes = Recorder::start(&input).continuation().to_vec();
        events.iter().for_each(|event| bytes.extend_from_slice(&event.to_bytes()));
        let (found, read_events) = read(&Bytes::from(bytes.clone())).unwrap();
        prop_assert_eq!(found, input);
        prop_assert_eq!(Vec::from(read_events), events);
        let at = usize::from(at) % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let _ = read(&bytes.into());
    }
}
