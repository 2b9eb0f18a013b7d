//! Every rule that a reader enforces is reached here, by name: what is refused, where, and why.
#![expect(clippy::expect_used, reason = "a test may panic where it fails")]

use bytes::Bytes;
use izna_proto::{
    Bulletin, Callee, Digest, ENTRIES_MAX, Entries, Error, Grants, Home, LEFT_MAX, Load,
    MemoryAnswer, MemoryError, Message, NodeId, Outcome, Payload, Process, ProcessId, Reader, Rest,
    SlotId, Spread, State, TRAIL_MAX, TableEntry, Trail, Wire, Writer,
};

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

fn read<T: Wire>(bytes: &[u8]) -> Result<T, Error> {
    T::from_bytes(Bytes::copy_from_slice(bytes))
}

/// The bytes that `write` writes.
fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.finish().to_vec()
}

fn callee() -> Callee {
    Callee {
        component: "greeter".into(),
        digest: Digest([1; 32]),
        function: "greet".into(),
        input: (&[0x80]).into(),
    }
}

fn process() -> Process {
    Process {
        id: ProcessId(1),
        app: "hello".into(),
        revision: 1,
        attempt: 0,
        hops: 0,
        steps: 0,
        age_us: 0,
        budget_us: 1,
        home: Home { node: NodeId(1), incarnation: 1, slot: SlotId(1) },
        traceparent: None,
        trail: Trail::default(),
        entries: Entries::new(callee()),
        left: Vec::new(),
        rest: Rest::default(),
    }
}

fn refused(process: &Process) -> Error {
    Process::from_bytes(process.to_bytes()).expect_err("to be refused")
}

/// If this fails, one value has two encodings, and equal processes differ in their bytes.
#[test]
fn a_head_longer_than_needed_is_refused() {
    let heads: [&[u8]; 9] = [
        &[0x18, 23],
        &[0x19, 0, 0xff],
        &[0x1a, 0, 0, 0xff, 0xff],
        &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0x58, 1, 0],
        &[0x78, 1, b'a'],
        &[0x98, 1, 0],
        &[0xb8, 1, 0, 0],
        &[0xd8, 1, 0],
    ];
    for head in heads {
        let why = "a head longer than needed";
        assert_eq!(reader(head).unsigned(), Err(Error::Form { at: 0, why }), "{head:02x?}");
    }
    assert_eq!(reader(&[0x18, 24]).unsigned(), Ok(24));
    assert_eq!(reader(&[0x19, 1, 0]).unsigned(), Ok(256));
    assert_eq!(reader(&[0x1a, 0, 1, 0, 0]).unsigned(), Ok(65_536));
    assert_eq!(reader(&[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]).unsigned(), Ok(1 << 32));
}

/// If this fails, a false simple value in two bytes passes for true, false or null.
#[test]
fn a_two_byte_simple_value_is_not_a_boolean() {
    assert!(matches!(reader(&[0xf8, 21]).boolean(), Err(Error::Form { at: 0, .. })));
    assert_eq!(reader(&[0xf5]).boolean(), Ok(true));
    assert_eq!(reader(&[0xf4]).boolean(), Ok(false));
    let expected = "true or false";
    assert_eq!(reader(&[0xf6]).boolean(), Err(Error::Shape { at: 0, expected }));
    assert_eq!(reader(&[0xf7]).boolean(), Err(Error::Shape { at: 0, expected }));
}

/// If this fails, a value of unknown length is taken.
#[test]
fn indefinite_lengths_and_breaks_are_refused() {
    for head in [0x5f, 0x7f, 0x9f, 0xbf, 0xff] {
        let why = "an indefinite length";
        assert_eq!(reader(&[head]).unsigned(), Err(Error::Form { at: 0, why }), "{head:02x}");
    }
    assert!(read::<Message>(&[0x9f, 0x06, 0xff]).is_err());
}

/// If this fails, floats come into a protocol that compares bytes.
#[test]
fn floats_are_refused() {
    let floats: [&[u8]; 3] =
        [&[0xf9, 0x3c, 0], &[0xfa, 0x47, 0xc3, 0x50, 0], &[0xfb, 0x3f, 0xf1, 0, 0, 0, 0, 0, 1]];
    for float in floats {
        let why = "the protocol has no floats";
        assert_eq!(reader(float).unsigned(), Err(Error::Form { at: 0, why }), "{float:02x?}");
    }
}

/// If this fails, heads that no CBOR has are taken.
#[test]
fn reserved_heads_are_refused() {
    for head in [0x1c, 0x1d, 0x1e, 0x3c, 0x5c, 0x7d, 0x9e, 0xbc, 0xdc, 0xfc, 0x1f, 0x3f, 0xdf] {
        let why = "no such head";
        assert_eq!(reader(&[head]).unsigned(), Err(Error::Form { at: 0, why }), "{head:02x}");
    }
}

/// If this fails, tags, maps and negative numbers pass for something that they are not.
#[test]
fn other_kinds_are_refused_by_every_reader() {
    for bytes in [&[0xc1, 0x00][..], &[0xa0], &[0x20], &[0xf7]] {
        assert!(matches!(reader(bytes).unsigned(), Err(Error::Shape { at: 0, .. })));
        assert!(matches!(reader(bytes).bytes(9), Err(Error::Shape { at: 0, .. })));
        assert!(matches!(reader(bytes).text(9), Err(Error::Shape { at: 0, .. })));
        assert!(matches!(reader(bytes).enter(9), Err(Error::Shape { at: 0, .. })));
        assert!(matches!(reader(bytes).boolean(), Err(Error::Shape { at: 0, .. })));
        assert!(!reader(bytes).is_array());
        assert!(read::<Message>(bytes).is_err());
    }
}

/// If this fails, a number is cut to its lower bits.
#[test]
fn an_integer_over_its_type_is_refused() {
    let limit = |size, max| Error::Limit { at: 0, what: "an integer", size, max };
    assert_eq!(reader(&[0x19, 1, 0]).narrow::<u8>(), Err(limit(256, 255)));
    assert_eq!(reader(&[0x1a, 0, 1, 0, 0]).narrow::<u16>(), Err(limit(65_536, 65_535)));
    let five_bytes = [0x1b, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(reader(&five_bytes).narrow::<u32>(), Err(limit(1 << 32, (1 << 32) - 1)));
    assert_eq!(reader(&[0x18, 255]).narrow::<u8>(), Ok(255));
}

/// If this fails, a value that ends too early is taken or stops the reader.
#[test]
fn truncated_values_are_refused() {
    assert_eq!(reader(&[]).unsigned(), Err(Error::Truncated { at: 0 }));
    assert_eq!(reader(&[0x19, 1]).unsigned(), Err(Error::Truncated { at: 0 }));
    assert_eq!(reader(&[0x42, 1]).bytes(9), Err(Error::Truncated { at: 0 }));
    assert_eq!(reader(&[0x62, b'a']).text(9), Err(Error::Truncated { at: 0 }));
    let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(reader(&huge).bytes(usize::MAX), Err(Error::Truncated { at: 0 }));
    assert_eq!(read::<Outcome>(&[0x82, 0x60]), Err(Error::Truncated { at: 2 }));
}

/// If this fails, something rides along behind a message.
#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(read::<Message>(&[0x81, 0x06]), Ok(Message::AskInventory));
    let trailing = Error::Trailing { at: 2, count: 3 };
    assert_eq!(read::<Message>(&[0x81, 0x06, 0, 0, 0]), Err(trailing));
}

/// If this fails, text that is not text reaches logs and pages.
#[test]
fn text_that_is_not_utf8_is_refused() {
    let why = "text that is not UTF-8";
    for text in [&[0x61, 0xff][..], &[0x62, 0xc3, 0x28], &[0x63, 0xed, 0xa0, 0x80]] {
        assert_eq!(reader(text).text(9), Err(Error::Form { at: 0, why }));
    }
}

/// If this fails, a string over its limit is taken, or one at its limit refused.
#[test]
fn a_string_over_its_limit_is_refused() {
    let limit = Error::Limit { at: 0, what: "a string", size: 3, max: 2 };
    assert_eq!(reader(&[0x43, 1, 2, 3]).bytes(2), Err(limit.clone()));
    assert_eq!(reader(&[0x63, 97, 98, 99]).text(2), Err(limit.clone()));
    assert_eq!(reader(&[0x43, 1, 2, 3]).fixed::<2>(), Err(limit));
    assert_eq!(reader(&[0x43, 1, 2, 3]).bytes(3).map(|bytes| bytes.len()), Ok(3));
    let expected = "a longer byte string";
    assert_eq!(reader(&[0x43, 1, 2, 3]).fixed::<4>(), Err(Error::Shape { at: 0, expected }));
}

/// If this fails, a message may be nested as deep as its sender likes.
#[test]
fn nesting_over_the_limit_is_refused() {
    let mut reader = reader(&[0x81; 17]);
    for _ in 0..16 {
        assert_eq!(reader.enter(1), Ok(1));
    }
    let limit = Error::Limit { at: 16, what: "nesting", size: 17, max: 16 };
    assert_eq!(reader.enter(1), Err(limit));
}

/// If this fails, leaving an array does not count, and a long message is refused as a deep one.
#[test]
fn arrays_side_by_side_are_not_nested() {
    let mut reader = reader(&[0x80; 100]);
    for _ in 0..100 {
        assert_eq!(reader.enter(0), Ok(0));
        reader.leave();
    }
    assert_eq!(reader.end(), Ok(()));
}

/// If this fails, an array over its limit is taken.
#[test]
fn an_array_over_its_limit_is_refused() {
    let limit = |size, max| Error::Limit { at: 0, what: "an array", size, max };
    assert_eq!(reader(&[0x83, 1, 2, 3]).enter(2), Err(limit(3, 2)));
    assert_eq!(reader(&[0x83, 1, 2, 3]).tuple(2, |_| Ok(())), Err(limit(3, 2)));
    let expected = "an array of the message's length";
    let short = reader(&[0x81, 1]).tuple(2, |_| Ok(()));
    assert_eq!(short, Err(Error::Shape { at: 0, expected }));
    let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(reader(&huge).enter(9), Err(limit(u64::MAX, 9)));
}

/// If this fails, a chain of calls, a trail or a list of left nodes grows without end.
#[test]
fn the_lists_of_a_process_are_bounded() {
    let limit = |error, max| match error {
        Error::Limit { what: "an array", size, max: at_most, .. } => {
            assert_eq!((size, at_most), (max as u64 + 1, max as u64));
        }
        other => panic!("{other}"),
    };
    let mut long = process();
    while long.entries.call(callee(), Payload::default()).is_ok() {}
    assert_eq!(long.entries.iter().len(), ENTRIES_MAX);
    assert_eq!(Process::from_bytes(long.to_bytes()), Ok(long));
    let waiting = |id: u32| entry(id, id.checked_sub(1), 1);
    let mut entries: Vec<_> = (0..64).map(waiting).collect();
    entries.push(entry(64, Some(63), 0));
    limit(read::<Entries>(&written_entries(65, 64, &entries)).expect_err("too many"), ENTRIES_MAX);
    let mut far = process();
    far.trail.nodes.resize(TRAIL_MAX, NodeId(1));
    assert_eq!(Process::from_bytes(far.to_bytes()), Ok(far.clone()));
    far.trail.nodes.push(NodeId(1));
    limit(refused(&far), TRAIL_MAX);
    let mut left = process();
    left.left.resize(LEFT_MAX, NodeId(1));
    assert_eq!(Process::from_bytes(left.to_bytes()), Ok(left.clone()));
    left.left.push(NodeId(1));
    limit(refused(&left), LEFT_MAX);
}

/// An entry in the state of this number.
fn entry(id: u32, caller: Option<u32>, state: u8) -> Vec<u8> {
    written(|w| {
        w.array(7);
        w.unsigned(id);
        w.option(caller.as_ref(), |caller, w| w.unsigned(*caller));
        w.text("greeter");
        Digest([1; 32]).write(w);
        w.text("greet");
        w.array(if state == 2 { 3 } else { 2 });
        w.unsigned(state);
        (0..state.max(1)).for_each(|_| w.bytes(&[]));
        w.option::<()>(None, |(), _| {});
    })
}

fn written_entries(made: u32, active: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = written(|w| {
        w.array(3);
        w.unsigned(made);
        w.unsigned(active);
        w.array(entries.len());
    });
    bytes.extend(entries.concat());
    bytes
}

/// If this fails, a process arrives whose calls make no sense, and the core runs it.
#[test]
fn entries_that_do_not_fit_together_are_refused() {
    let (start, waiting, resumed) = (0, 1, 2);
    let read =
        |made, active, entries: &[_]| read::<Entries>(&written_entries(made, active, entries));
    let first = entry(3, None, waiting);
    assert!(read(9, 8, &[first.clone(), entry(8, Some(3), start)]).is_ok());
    assert!(read(9, 8, &[first.clone(), entry(8, Some(3), resumed)]).is_ok());
    let refused: [(&str, u32, u32, &[Vec<u8>]); 12] = [
        ("the active entry", 9, 0, &[]),
        ("the active entry", 9, 3, &[entry(3, None, waiting)]),
        ("the active entry", 9, 4, &[entry(3, None, start)]),
        ("the active entry", 9, 3, &[first.clone(), entry(8, Some(3), start)]),
        ("a caller is not", 9, 3, &[entry(3, Some(3), start)]),
        ("a caller is not", 9, 3, &[entry(3, Some(2), start)]),
        ("a caller is not", 9, 8, &[first.clone(), entry(8, None, start)]),
        ("a caller is not", 9, 8, &[first.clone(), entry(8, Some(8), start)]),
        ("an id is not", 9, 3, &[first.clone(), entry(3, Some(3), start)]),
        ("an id is not", 9, 2, &[first.clone(), entry(2, Some(3), start)]),
        ("an id is not", 8, 8, &[first, entry(8, Some(3), start)]),
        ("a caller does not", 9, 8, &[entry(3, None, start), entry(8, Some(3), start)]),
    ];
    for (why, made, active, entries) in refused {
        match read(made, active, entries) {
            Err(Error::Misfit { why: found, .. }) => assert!(found.starts_with(why), "{found}"),
            other => panic!("{why}: {other:?}"),
        }
    }
}

/// If this fails, an entry is in no state or in two.
#[test]
fn states_of_no_sense_are_refused() {
    let expected = "the state of an entry";
    assert_eq!(read::<State>(&[0x82, 3, 0x40]), Err(Error::Shape { at: 0, expected }));
    let expected = "one more field";
    for state in [&[0x80][..], &[0x81, 0], &[0x82, 2, 0x40]] {
        let at = state.len();
        assert_eq!(read::<State>(state), Err(Error::Shape { at, expected }));
    }
}

/// If this fails, an empty array takes its sort from the bytes behind it.
#[test]
fn a_message_without_a_sort_is_refused() {
    let expected = "one more field";
    assert_eq!(read::<Message>(&[0x80, 0x06]), Err(Error::Shape { at: 1, expected }));
    assert_eq!(read::<Message>(&[0x80]), Err(Error::Shape { at: 1, expected }));
}

/// If this fails, a message of a newer protocol is taken for another, or has fields without end.
#[test]
fn unknown_sorts_and_endless_fields_are_refused() {
    let expected = "a message of this protocol";
    assert_eq!(read::<Message>(&[0x81, 23]), Err(Error::Shape { at: 0, expected }));
    let fields = |count: usize| {
        let mut bytes = written(|w| w.array(count));
        bytes.resize(bytes.len() + count, 0x06);
        read::<Message>(&bytes)
    };
    assert_eq!(fields(64), Ok(Message::AskInventory));
    let limit = Error::Limit { at: 0, what: "an array", size: 65, max: 64 };
    assert_eq!(fields(65), Err(limit));
}

/// If this fails, an answer of cluster memory has two encodings, or one of no sense is taken.
#[test]
fn answers_of_cluster_memory_are_strict() {
    let answer = |kind: u8, value: &[u8]| {
        let mut bytes = written(|w| {
            w.array(3);
            w.unsigned(13u8);
            w.unsigned(1u8);
            w.array(2);
            w.unsigned(kind);
        });
        bytes.extend_from_slice(value);
        read::<Message>(&bytes)
    };
    let good = |answer: MemoryAnswer| Ok(Message::MemoryAnswer { request: 1, answer });
    assert_eq!(answer(0, &[0xf6]), good(Ok(None)));
    assert_eq!(answer(1, &[0x82, 0, 9]), good(Err(MemoryError::TooLarge { max: 9 })));
    assert_eq!(answer(1, &[0x81, 1]), good(Err(MemoryError::Unavailable)));
    for (kind, value) in [(0, &[9][..]), (1, &[0x40]), (1, &[0x81, 0]), (1, &[0x81, 2]), (2, &[0])]
    {
        assert!(matches!(answer(kind, value), Err(Error::Shape { .. })), "{kind} {value:?}");
    }
}

/// If this fails, an operation on cluster memory lacks its value or has one too many.
#[test]
fn operations_on_cluster_memory_are_strict() {
    let operation = |bytes: &[u8]| read::<Message>(&[&[0x84, 12, 1, 0x41, 7], bytes].concat());
    let expected = "an operation of cluster memory";
    assert!(operation(&[0x81, 0]).is_ok() && operation(&[0x82, 1, 0x40]).is_ok());
    assert_eq!(operation(&[0x81, 3]), Err(Error::Shape { at: 5, expected }));
    let expected = "one more field";
    assert_eq!(operation(&[0x81, 1]), Err(Error::Shape { at: 7, expected }));
}

/// If this fails, an address has two spellings, or a name is taken for one.
#[test]
fn addresses_are_in_their_one_spelling() {
    let peers = |address: &str| {
        read::<Message>(&written(|w| {
            w.array(2);
            w.unsigned(16u8);
            w.array(1);
            w.array(3);
            w.unsigned(1u8);
            w.unsigned(1u8);
            w.text(address);
        }))
    };
    assert!(peers("10.0.0.1:80").is_ok());
    assert!(peers("[::1]:80").is_ok());
    for address in ["", "localhost:80", "10.0.0.1", "10.0.0.1:080", "[0::1]:80", "[::A]:80"] {
        assert!(matches!(peers(address), Err(Error::Shape { .. })), "{address}");
    }
}

/// If this fails, a failure or refusal of a newer node of this protocol closes the link.
#[test]
fn words_of_newer_nodes_are_taken_as_the_nearest() {
    let outcome = read::<Outcome>(&[0x82, 0x63, b'n', b'e', b'w', 0x60]);
    assert!(matches!(outcome, Ok(Err(failure)) if failure.kind.as_str() == "other"));
    let refused = written(|w| {
        w.array(4);
        w.unsigned(4u8);
        w.unsigned(1u8);
        Load::default().write(w);
        w.unsigned(500u16);
    });
    let refused = read::<Message>(&refused);
    let full = izna_proto::Refusal::Full;
    assert!(matches!(refused, Ok(Message::Refused { refusal, .. }) if refusal == full));
}

/// If this fails, links of a component lack their target, or there are more than anyone needs.
#[test]
fn links_are_whole_and_bounded() {
    let table = |links: usize, parts: usize| {
        read::<TableEntry>(&written(|w| {
            w.array(3);
            w.text("app");
            w.unsigned(1u8);
            w.array(2);
            w.array(1);
            w.array(6);
            w.text("component");
            Digest([0; 32]).write(w);
            w.array(links);
            for _ in 0..links {
                w.array(parts);
                w.text("own");
                w.text("target");
                w.boolean(true);
            }
            w.array(2);
            w.unsigned(1u8);
            w.unsigned(1u8);
            Grants::default().write(w);
            Spread::all().write(w);
            w.array(0);
        }))
    };
    assert!(table(1, 3).is_ok());
    assert!(table(1, 2).is_err());
    assert!(matches!(table(257, 3), Err(Error::Limit { size: 257, max: 256, .. })));
}

/// If this fails, a node takes settings that it cannot pass on, or without end.
#[test]
fn grants_are_bounded() {
    let grants = |env: &[(&str, &str)], hosts: usize| {
        read::<Grants>(&written(|w| {
            w.array(3);
            w.array(env.len());
            for (name, value) in env {
                w.array(2);
                w.text(name);
                w.text(value);
            }
            w.array(0);
            w.array(hosts);
            (0..hosts).for_each(|_| w.text("h"));
        }))
    };
    let found = grants(&[("a", "b")], 256).unwrap();
    assert_eq!((found.env.len(), found.hosts.len(), found.bytes()), (1, 256, 258));
    let over = |size: u64, found: Result<Grants, Error>| {
        assert!(matches!(found, Err(Error::Limit { size: s, .. }) if s == size), "{found:?}");
    };
    over(257, grants(&[("a", "b"); 257], 0));
    over(257, grants(&[], 257));
    over(513, grants(&[(&"n".repeat(513), "")], 0));
    over(65_537, grants(&[("a", &"v".repeat(65_537))], 0));
}

/// If this fails, a name, path or list of an app is longer than every node agreed to.
#[test]
fn the_parts_of_an_app_are_bounded() {
    let table = |name: usize, components: usize, routes: usize, path: usize| {
        read::<TableEntry>(&written(|w| {
            w.array(3);
            w.text(&"n".repeat(name));
            w.unsigned(1u8);
            w.array(2);
            w.array(components);
            for _ in 0..components {
                w.array(6);
                w.text("component");
                Digest([0; 32]).write(w);
                w.array(0);
                w.array(2);
                w.unsigned(1u8);
                w.unsigned(1u8);
                Grants::default().write(w);
                Spread::all().write(w);
            }
            w.array(routes);
            for _ in 0..routes {
                w.array(5);
                w.text(&"p".repeat(path));
                w.text("component");
                w.text("function");
                w.unsigned(1u8);
                w.boolean(false);
            }
        }))
    };
    assert!(table(256, 256, 256, 2048).is_ok());
    assert!(matches!(table(257, 1, 1, 1), Err(Error::Limit { size: 257, max: 256, .. })));
    assert!(matches!(table(1, 257, 1, 1), Err(Error::Limit { size: 257, max: 256, .. })));
    assert!(matches!(table(1, 1, 257, 1), Err(Error::Limit { size: 257, max: 256, .. })));
    assert!(matches!(table(1, 1, 1, 2049), Err(Error::Limit { size: 2049, max: 2048, .. })));
}

/// If this fails, a message lists more than a node is ready to keep.
#[test]
fn the_lists_of_messages_are_bounded() {
    for (sort, before) in [(5u8, 0), (7, 2), (8, 0), (9, 0), (16, 0)] {
        let bytes = written(|w| {
            w.array(2 + before);
            w.unsigned(sort);
            (0..before).for_each(|_| w.unsigned(0u8));
            w.array(65_537);
        });
        let at = 2 + before;
        let limit = Error::Limit { at, what: "an array", size: 65_537, max: 65_536 };
        assert_eq!(read::<Message>(&bytes), Err(limit), "sort {sort}");
    }
}

/// If this fails, a payload, key, failure or name over its limit gets into a node.
#[test]
fn payloads_keys_and_messages_are_bounded() {
    let payload = Bytes::from(vec![0; (16 << 20) + 1]);
    let outcome: Outcome = Ok(payload.slice(1..).into());
    assert_eq!(<Outcome>::from_bytes(outcome.to_bytes()), Ok(outcome));
    let over = <Outcome>::from_bytes(Wire::to_bytes(&<Outcome>::Ok(Payload::from(payload))));
    assert!(matches!(over, Err(Error::Limit { max: 16_777_216, .. })));
    let failure = |word: usize, message: usize| {
        read::<Outcome>(&written(|w| {
            w.array(2);
            w.text(&"w".repeat(word));
            w.text(&"m".repeat(message));
        }))
    };
    assert!(failure(32, 4096).is_ok());
    assert!(matches!(failure(33, 0), Err(Error::Limit { max: 32, .. })));
    assert!(matches!(failure(1, 4097), Err(Error::Limit { max: 4096, .. })));
    let key = |bytes: usize| {
        read::<Message>(&written(|w| {
            w.array(4);
            w.unsigned(12u8);
            w.unsigned(1u8);
            w.bytes(&vec![0; bytes]);
            w.array(1);
            w.unsigned(0u8);
        }))
    };
    assert!(key(2048).is_ok());
    assert!(matches!(key(2049), Err(Error::Limit { max: 2048, .. })));
}

/// If this fails, a bulletin of another shape moves processes, or fills the memory.
#[test]
fn a_bulletin_of_another_shape_is_refused() {
    let expected = "a text string";
    assert_eq!(read::<Bulletin>(&[0x88, 0]), Err(Error::Shape { at: 1, expected }));
    let short = Err(Error::Shape { at: 7, expected: "one more field" });
    assert_eq!(read::<Bulletin>(&[0x86, 0x60, 0, 0, 0, 0, 0x80]), short);
    let doors = [0x88, 0x60, 0, 0, 0, 0, 0x89];
    assert!(matches!(read::<Bulletin>(&doors), Err(Error::Limit { size: 9, max: 8, .. })));
    let lines = [0x88, 0x60, 0, 0, 0, 0, 0x80, 0x97];
    assert!(matches!(read::<Bulletin>(&lines), Err(Error::Limit { size: 23, max: 22, .. })));
    let paths = [0x88, 0x60, 0, 0, 0, 0, 0x80, 0x80, 0x98, 65];
    assert!(matches!(read::<Bulletin>(&paths), Err(Error::Limit { size: 65, max: 64, .. })));
}

/// If this fails, an epoch comes that no beacon can tell.
#[test]
fn an_epoch_has_two_bytes() {
    assert!(read::<Message>(&[0x84, 7, 0x19, 0xff, 0xff, 0, 0x80]).is_ok());
    assert!(read::<Message>(&[0x84, 7, 0x1a, 0, 1, 0, 0, 0, 0x80]).is_err());
}
