//! Every value of every type on the wire comes back from its bytes, and has only those bytes.

mod any;

use izna_proto::{
    Wire,
    cbor::{Form, Limits, check},
};
use proptest::prelude::*;

fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = value.to_bytes();
    prop_assert_eq!(check(&bytes, Form::Deterministic, &Limits::default()), Ok(()));
    let read = T::from_bytes(bytes.clone());
    prop_assert_eq!(read.as_ref(), Ok(value));
    prop_assert_eq!(read.map(|value| value.to_bytes()), Ok(bytes));
    Ok(())
}

macro_rules! roundtrips {
    ($($(#[$doc:meta])* $test:ident: $value:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
            $($(#[$doc])* #[test] fn $test(value in any::$value()) { comes_back(&value)?; })*
        }
    };
}

roundtrips! {
    /// If this fails, two nodes understand a message differently.
    message_comes_back: message;
    /// If this fails, a process changes by migrating.
    process_comes_back: process;
    /// If this fails, the calls of a process change by migrating.
    entries_come_back: entries;
    /// If this fails, how far an entry is changes by migrating.
    state_comes_back: state;
    /// If this fails, a client is told another end than its request had.
    outcome_comes_back: outcome;
    /// If this fails, an outcome goes to another client.
    home_comes_back: home;
    /// If this fails, nodes place by figures that nobody sent.
    load_comes_back: load;
    /// If this fails, nodes do not find each other.
    bulletin_comes_back: bulletin;
    /// If this fails, app tables do not converge.
    table_entry_comes_back: table_entry;
    /// If this fails, a deployed component runs with other links or limits.
    component_comes_back: component;
    /// If this fails, a path leads elsewhere.
    route_comes_back: route;
    /// If this fails, no link opens.
    hello_comes_back: hello;
    /// If this fails, a gateway hears of an end wrongly.
    finish_comes_back: finish;
    /// If this fails, a gateway gives up a process that is still held.
    held_comes_back: held;
    /// If this fails, nodes look for a node where it is not.
    peer_address_comes_back: peer_address;
    /// If this fails, a digest names other bytes.
    digest_comes_back: digest;
}
