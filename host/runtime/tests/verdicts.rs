//! Admission says what loading would say: what a component consists of, what it imports of the
//! platform, and how large its types are.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code, reason = "tests")]

mod common;

use common::runtime;
use izna_runtime::{Config, Error, PartsMax, Runtime};

const EXPORT: &str = r#"
    (core module $m (func (export "f") (result i32) i32.const 1))
    (core instance $m (instantiate $m))
    (func $f (result u32) (canon lift (core func $m "f")))
    (instance $own (export "f" (func $f)))
    (export "a:b/own@1.0.0" (instance $own))"#;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text} {EXPORT})")).unwrap()
}

fn admitted(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    runtime().admit(bytes).map(|admitted| admitted.component)
}

/// Whether a runtime that compiles it agrees.
fn loads(bytes: &[u8]) {
    let (runtime, bytes) = (runtime(), admitted(bytes).unwrap());
    let digest = runtime.admit(&bytes).unwrap().digest;
    runtime.load(digest, &bytes).unwrap();
}

/// If this failed, programs in Go, with native libraries of Python or of several parts could be
/// inspected and not deployed, or not run at all.
#[test]
fn large_components_are_admitted_and_loaded() {
    loads(&component("(core module $t (table 10001 funcref)) (core instance (instantiate $t))"));
    loads(&component(&format!(
        "(core module $e) {}",
        "(core instance (instantiate $e))".repeat(41)
    )));
    let part = "(core module $p (memory 1) (table 1 funcref))
        (core instance (instantiate $p)) (core instance (instantiate $p))";
    let five = "(instance (instantiate $c))".repeat(5);
    loads(&component(&format!("(component $c {part}) {five}")));
}

/// If this failed, a deploy would compile for minutes before it says that a component is too large.
#[test]
fn what_has_too_many_parts_is_refused_with_the_flag() {
    let parts =
        PartsMax { instances_max: 3, memories_max: 2, tables_max: 1, table_elements_max: 9 };
    let runtime = Runtime::for_admission(Config { parts, ..Config::default() }).unwrap();
    let refused = |text: &str| runtime.admit(&component(text)).unwrap_err().to_string();
    let instances = "(core instance (instantiate $e))".repeat(3);
    assert_eq!(
        refused(&format!("(core module $e) {instances}")),
        "the component has 4 core instances; the limit is 3 (izna node --instances-max)"
    );
    let memories =
        "(core module $e (memory 1) (memory 1) (memory 1)) (core instance (instantiate $e))";
    assert_eq!(
        refused(memories),
        "the component has 3 memories; the limit is 2 (izna node --memories-max)"
    );
    let tables =
        "(core module $e (table 1 funcref) (table 1 funcref)) (core instance (instantiate $e))";
    assert_eq!(
        refused(tables),
        "the component has 2 tables; the limit is 1 (izna node --tables-max)"
    );
    assert_eq!(
        refused("(core module $e (table 10 funcref)) (core instance (instantiate $e))"),
        "the component has 10 elements in a table; the limit is 9 (izna node --table-elements-max)"
    );
}

/// If this failed, functions of WASI that are not there, or are others, would be found out by the
/// linker after the deploy had compiled.
#[test]
fn imports_are_checked_against_what_is_linked() {
    let refused = |import: &str| admitted(&component(import)).unwrap_err().to_string();
    let missing = r#"(import "wasi:cli/environment@0.2.0" (instance
        (export "get-weather" (func (result string)))))"#;
    let missing = refused(missing);
    assert!(missing.starts_with("cannot link the component: "), "{missing}");
    assert!(missing.contains("get-weather"), "{missing}");
    let other = r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance
        (export "now" (func (param "zone" string) (result u64)))))"#;
    assert!(refused(other).contains("now"), "{}", refused(other));
    let resource = r#"(import "wasi:io/poll@0.2.0" (instance
        (export "pollster" (type (sub resource)))))"#;
    assert!(refused(resource).contains("pollster"), "{}", refused(resource));
    let right = r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance
        (export "now" (func (result u64)))))"#;
    loads(&component(right));
}

/// If this failed, a server for HTTP with another function would fail at its first request.
#[test]
fn the_function_of_a_server_is_checked() {
    let server = r#"(component
        (core module $m (func (export "f") (result i32) i32.const 1))
        (core instance $m (instantiate $m))
        (func $f (result u32) (canon lift (core func $m "f")))
        (instance $own (export "handle" (func $f)))
        (export "wasi:http/incoming-handler@0.2.0" (instance $own)))"#;
    let refused = admitted(&wat::parse_str(server).unwrap()).unwrap_err().to_string();
    let found = "it is `handle: func() -> u32`; expected `handle: func(request: incoming-request, ";
    assert!(refused.contains(found), "{refused}");
}
