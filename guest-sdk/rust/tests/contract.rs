//! The SDK's copy of the WIT files is the repository's, and a component keeps to the calling
//! convention.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use izna_sdk::dispatch::{Component as _, Encoded};
use izna_sdk::{Arguments, Call, Failure, Outcome, Result, Step, Value, call, cbor, done, forward};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The bindings would be of another version than the host's; the published crate has no repository
/// around it.
#[test]
fn wit_files_are_the_repository_s() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = root.join("../../wit");
    if !repository.exists() {
        return;
    }
    let files =
        ["process/handler", "process/types", "process/world", "memory/store", "memory/world"];
    for file in files.map(|file| format!("{file}.wit")) {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(&file)).unwrap();
        let same = read(&repository) == read(&root.join("wit"));
        assert!(same, "wit/{file} has changed: run guest-sdk/rust/bindings.sh");
    }
}

fn double(n: i64) -> Result<i64> {
    Ok(n.checked_mul(2).ok_or("too large")?)
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Order {
    id: u64,
    note: Option<String>,
}

fn invoice(id: u64, note: Option<String>) -> Result<Step<Order>> {
    match id {
        0 => done("nothing to pay"),
        1 => forward("prices", "first", ()),
        _ => call("prices", "total", (id, 1.5)).then(Order { id, note }),
    }
}

fn priced(order: Order, total: Outcome<f64>) -> Result<Step<Order>> {
    let total = total?;
    if total > 100.0 {
        return call("prices", "reduced", (total,)).then(Order { id: 0, ..order });
    }
    done((order.id, total))
}

/// The same as what `component!` writes, with a name to call it by; the macro itself is tested by
/// lib.rs's examples.
struct Component;

impl izna_sdk::dispatch::Component for Component {
    fn start(function: &str, input: &[u8]) -> Encoded {
        match function {
            "double" => izna_sdk::dispatch::start(double, input),
            "invoice" => izna_sdk::dispatch::start_resumable(invoice, priced, input),
            _ => izna_sdk::dispatch::unknown(function),
        }
    }

    fn resume(function: &str, continuation: &[u8], outcome: Outcome<Vec<u8>>) -> Encoded {
        match function {
            "double" => izna_sdk::dispatch::never_suspends(function),
            "invoice" => izna_sdk::dispatch::resume(priced, continuation, outcome),
            _ => izna_sdk::dispatch::unknown(function),
        }
    }
}

fn start(function: &str, arguments: impl Arguments + Serialize) -> Encoded {
    Component::start(function, &arguments.encode().unwrap())
}

fn suspended(encoded: Encoded) -> (Call, Vec<u8>) {
    match encoded {
        Ok(Step::Suspend(call, continuation)) => (call, continuation),
        other => panic!("not suspended: {other:?}"),
    }
}

/// Values and errors would not come out of a plain function.
#[test]
fn plain_functions_finish_or_fail() {
    assert_eq!(start("double", (21,)), Ok(Step::Done(cbor::encode(&42).unwrap())));
    let failed = |text: &str| Err(Failure::Failed(text.into()));
    assert_eq!(start("double", (i64::MAX,)), failed("too large"));
    assert_eq!(start("double", ()), failed("the arguments: argument 1: is missing"));
    let missing = Failure::NotFound("no function `triple`".into());
    assert_eq!(start("triple", (1,)), Err(missing));
}

/// A suspended function would go on with something else than it left, or could not suspend twice.
#[test]
fn a_continuation_comes_back_with_the_outcome() {
    let (first, continuation) = suspended(start("invoice", (7u64, "fast")));
    assert_eq!((first.component(), first.function()), ("prices", "total"));
    assert_eq!(first.arguments::<(u64, f64)>(), Ok((7, 1.5)));
    let order: Order = cbor::decode(&continuation).unwrap();
    assert_eq!(order, Order { id: 7, note: Some("fast".into()) });

    let total = |total: f64| Ok(cbor::encode(&total).unwrap());
    let (second, continuation) =
        suspended(Component::resume("invoice", &continuation, total(500.0)));
    assert_eq!(second.function(), "reduced");
    let last = Component::resume("invoice", &continuation, total(90.0)).unwrap();
    assert_eq!(last.result::<(u64, f64)>(), Some(Ok((0, 90.0))));
}

/// A callee's failure, or a result of another type, would be lost on the way to the caller's
/// caller.
#[test]
fn failures_of_calls_come_through() {
    let (_, continuation) = suspended(start("invoice", (7u64,)));
    let resume = |outcome| Component::resume("invoice", &continuation, outcome).unwrap_err();
    assert_eq!(resume(Err(Failure::Limit("64 MiB".into()))), Failure::Limit("64 MiB".into()));
    let wrong = resume(Ok(cbor::encode("dear").unwrap()));
    assert!(wrong.message().starts_with("the result of the call: "), "{wrong:?}");
}

/// Tail calls and early ends of functions that may suspend would not work.
#[test]
fn resumable_functions_may_finish_or_forward() {
    let text = start("invoice", (0u64,)).unwrap().result::<String>();
    assert_eq!(text, Some(Ok("nothing to pay".into())));
    match start("invoice", (1u64,)) {
        Ok(Step::Forward(call)) => assert_eq!(call.arguments::<()>(), Ok(())),
        other => panic!("not forwarded: {other:?}"),
    }
}

/// Bytes from a broken caller would stop the component with a trap that says nothing.
#[test]
fn bad_bytes_are_failures() {
    for bytes in [&[0xffu8][..], &[0x9f], &[0x81], &[], &[0xa1, 0x01, 0x02], &[0x81; 10_000]] {
        let failure = Component::start("invoice", bytes).unwrap_err();
        assert!(failure.message().starts_with("the arguments: "), "{failure:?}");
        let value = Ok(cbor::encode(&Value::Null).unwrap());
        assert!(Component::resume("invoice", bytes, value).is_err());
    }
}
