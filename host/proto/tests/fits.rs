//! A sender sends only what a reader takes: both have one set of limits.
#![expect(clippy::expect_used, reason = "a test may panic where it fails")]

#[allow(dead_code, reason = "each test uses some of it")]
mod any;

use std::sync::Arc;

use bytes::Bytes;
use izna_proto::{
    Callee, Digest, Entries, Failure, FailureKind, Finish, Hello, Load, MemoryOperation, Message,
    NodeId, Outcome, Payload, Spread, Unfit, Wire, check_name, limits,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

fn one<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(&mut TestRunner::deterministic()).expect("a value").current()
}

fn name(length: usize) -> Arc<str> {
    "n".repeat(length).into()
}

fn finish(outcome: Outcome) -> Message {
    Message::Finish(Finish { outcome, ..one(any::finish()) })
}

fn deliver(change: impl FnOnce(&mut izna_proto::Process)) -> Message {
    let mut delivery = one(any::delivery());
    delivery.process.entries = Entries::new(callee(1));
    change(&mut delivery.process);
    Message::Deliver(delivery)
}

fn callee(function: usize) -> Callee {
    Callee {
        component: "c".into(),
        digest: Digest([0; 32]),
        function: name(function),
        input: Payload::default(),
    }
}

fn memory(key: usize, value: usize) -> Message {
    let operation = MemoryOperation::Put(Bytes::from(vec![0; value]));
    Message::Memory { request: 1, key: Bytes::from(vec![0; key]), operation }
}

fn deployed(change: impl FnOnce(&mut izna_proto::ComponentSpec)) -> Message {
    let mut component = one(any::component());
    change(&mut component);
    let app = izna_proto::App { name: "a".into(), components: vec![component], routes: vec![] };
    let entry = izna_proto::TableEntry { name: "a".into(), revision: 1, app: Some(app) };
    Message::TableEntries(vec![entry])
}

/// A field, its limit, and a message in which it has a size.
type Case = (&'static str, usize, Box<dyn Fn(usize) -> Message>);

fn cases() -> Vec<Case> {
    let case = |field, max, of: fn(usize) -> Message| -> Case { (field, max, Box::new(of)) };
    let failed = |length| Failure { kind: FailureKind::Failed, message: "m".repeat(length) };
    vec![
        case("app", limits::NAME_BYTES_MAX, |n| deliver(|process| process.app = name(n))),
        case("function", limits::NAME_BYTES_MAX, |n| {
            deliver(|process| process.entries = Entries::new(callee(n)))
        }),
        case("traceparent", limits::NAME_BYTES_MAX, |n| {
            deliver(|process| process.traceparent = Some(name(n)))
        }),
        case("nodes", limits::TRAIL_MAX, |n| {
            deliver(|process| process.trail.nodes = vec![NodeId(1); n])
        }),
        case("left", limits::LEFT_MAX, |n| deliver(|process| process.left = vec![NodeId(1); n])),
        case("payload", limits::PAYLOAD_BYTES_MAX, |n| finish(Ok(vec![0; n].into()))),
        ("message", limits::MESSAGE_BYTES_MAX, Box::new(move |n| finish(Err(failed(n))))),
        case("key", limits::KEY_BYTES_MAX, |n| memory(n, 1)),
        case("value", limits::PAYLOAD_BYTES_MAX, |n| memory(1, n)),
        case("links", limits::PARTS_MAX, |n| {
            let link = izna_proto::Link { name: name(1), target: name(1), local: false };
            deployed(|component| component.links = vec![link; n])
        }),
        case("env", limits::VALUE_BYTES_MAX, |n| {
            deployed(|component| {
                let env = vec![("e".into(), "v".repeat(n))];
                component.grants = Arc::new(izna_proto::Grants { env, ..Default::default() });
            })
        }),
        case("labels", limits::LABEL_BYTES_MAX, |n| {
            deployed(|component| {
                let mut spread = Spread::all();
                spread.needs.labels = vec![name(n)];
                component.spread = spread;
            })
        }),
        case("features", limits::FEATURES_MAX, |n| {
            Message::Hello(Hello { features: vec![name(1); n], ..one(any::hello()) })
        }),
        case("demands", limits::DEMANDS_MAX, |n| {
            let demand = izna_proto::ComponentDemand {
                component: izna_proto::ComponentId(1),
                inflow_milli: 0,
                refused_milli: 0,
                demand_us: 0,
                load_ms: 0,
            };
            Message::Demands { load: Load::default(), demands: vec![demand; n] }
        }),
        case("lines", limits::LIST_MAX, |n| Message::TableSummary(vec![(name(1), 1); n])),
    ]
}

/// If this fails, what a guest, a client or an operator makes too long tears the links of a node.
#[test]
fn writer_and_reader_have_one_set_of_limits() {
    for (field, max, message) in cases() {
        let most = message(max);
        let frame = most.to_frame().unwrap_or_else(|unfit| panic!("{field} of {max}: {unfit}"));
        assert_eq!(Message::from_bytes(frame), Ok(most), "{field} of {max}");
        let over = message(max + 1);
        let size = max as u64 + 1;
        assert_eq!(over.fits(), Err(Unfit::Over { field, size, max: max as u64 }), "{field}");
        assert!(Message::from_bytes(over.to_bytes()).is_err(), "{field} of {size}");
    }
}

/// If this fails, a message whose fields are all small enough is too long for a link.
#[test]
fn a_frame_is_bounded() {
    let kept = || Payload::from(vec![0; 7 << 20]);
    let message = |calls: usize| {
        deliver(|process| {
            (0..calls).for_each(|_| assert_eq!(process.entries.call(callee(1), kept()), Ok(())));
        })
    };
    assert!(message(2).to_frame().is_ok());
    let unfit = message(3).to_frame();
    assert!(matches!(unfit, Err(Unfit::Over { field: "message", max: 20_971_520, .. })));
    let labels = (0..32).map(|_| name(64)).collect();
    let traits = izna_proto::Traits { zone: Some(name(64)), labels };
    let features = vec![name(32); 32];
    let most = Hello { name: "n".repeat(64), traits, features, ..one(any::hello()) };
    assert!(Message::Hello(most).fits().is_ok(), "the longest greeting has room");
}

/// If this fails, a name is refused only by the node that it is sent to.
#[test]
fn names_are_checked_before_they_are_sent() {
    assert_eq!(check_name(&name(256)), Ok(()));
    let unfit = check_name(&name(257)).map_err(|unfit| unfit.to_string());
    assert_eq!(unfit, Err("name has a size of 257, over the limit of 256".to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// If this fails, a message that was found to fit is refused, or takes other room than was said.
    #[test]
    fn what_fits_is_taken(message in any::message()) {
        let bytes = message.fits();
        let frame = message.to_frame();
        prop_assert_eq!(frame.as_ref().map(Bytes::len), bytes.as_ref().copied());
        let frame = frame.expect("any message of these is within its limits");
        prop_assert_eq!(&frame, &message.to_bytes());
        prop_assert_eq!(Message::from_bytes(frame), Ok(message));
    }
}
