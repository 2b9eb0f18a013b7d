//! Steps of real guests: each way to end, each limit, and that nothing of a step outlives it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests run this")]

mod common;

use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use izna_proto::{
    Call, Failure, FailureKind, MemoryAnswer, MemoryError, MemoryOperation, Run, StepEnd,
};
use izna_runtime::{BoxFuture, Config, Host, Runtime, StepLimits, Stream};

/// If this failed, no request would ever be answered.
#[test]
fn a_function_ends_with_its_result() {
    let echo = guest(&runtime(), "echo");
    let stepped = run(&echo, "value", start(numbers(&[7])), LIMITS);
    assert_eq!(stepped.end, StepEnd::Done(number(7).into()));
    assert!(stepped.used > Duration::ZERO && stepped.used < Duration::from_secs(5));
}

/// If this failed, a component could not call another one, or not go on after it.
#[test]
fn a_call_suspends_and_its_outcome_resumes() {
    let echo = guest(&runtime(), "echo");
    let StepEnd::Suspend { call, continuation } = end(&echo, "call", &[7]) else {
        panic!("not suspended");
    };
    let wanted =
        Call { component: "echo".into(), function: "value".into(), input: numbers(&[7]).into() };
    assert_eq!(call, wanted);
    let resume = |outcome| {
        let resumed = Run::Resume { continuation: continuation.inline().clone(), outcome };
        run(&echo, "call", resumed, LIMITS).end
    };
    assert_eq!(resume(Ok(number(9))), StepEnd::Done(number(9).into()));
    let failed = Failure::new(FailureKind::Limit, "too much");
    assert_eq!(resume(Err(failed.clone())), StepEnd::Failed(failed));
}

/// If this failed, a guest would not learn why its call failed.
#[test]
fn every_failure_reaches_the_guest_and_comes_back() {
    let echo = guest(&runtime(), "echo");
    let StepEnd::Suspend { continuation, .. } = end(&echo, "call", &[7]) else {
        panic!("not suspended");
    };
    for (sent, back) in [
        (FailureKind::Failed, FailureKind::Failed),
        (FailureKind::Trapped, FailureKind::Trapped),
        (FailureKind::Limit, FailureKind::Limit),
        (FailureKind::NotFound, FailureKind::NotFound),
        (FailureKind::Deadline, FailureKind::Deadline),
        (FailureKind::Unavailable, FailureKind::Unavailable),
        (FailureKind::Busy, FailureKind::Unavailable),
        (FailureKind::Other, FailureKind::Other),
    ] {
        let outcome = Err(Failure::new(sent, "why"));
        let resumed = Run::Resume { continuation: continuation.inline().clone(), outcome };
        assert_eq!(failure(run(&echo, "call", resumed, LIMITS)).kind, back, "{sent}");
    }
}

/// If this failed, tail calls would keep entries that nobody needs.
#[test]
fn a_tail_call_forwards() {
    let echo = guest(&runtime(), "echo");
    let wanted =
        Call { component: "echo".into(), function: "value".into(), input: numbers(&[7]).into() };
    assert_eq!(end(&echo, "forward", &[7]), StepEnd::Forward(wanted));
}

/// If this failed, what a component says about a failure would be lost.
#[test]
fn a_component_may_fail() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "fail", start(numbers(&[])), LIMITS));
    assert_eq!(failed, Failure::new(FailureKind::Failed, "as asked"));
    let unknown = failure(run(&misbehave, "nothing", start(numbers(&[])), LIMITS));
    assert_eq!(unknown.kind, FailureKind::NotFound);
}

/// If this failed, one request could read what another one left.
#[test]
fn every_step_has_a_fresh_instance() {
    let count = "
        (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
        (global.set $result (i32.add (global.get $result) (i32.load (i32.const 1024))))";
    let component = load(&runtime(), &simple("", "", count));
    for _ in 0..20 {
        assert_eq!(end(&component, "any", &[]), StepEnd::Done(number(1).into()));
    }
}

/// If this failed, a guest could take all memory of a node, or nobody would know why it was
/// stopped.
#[test]
fn memory_is_limited() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "hog", start(numbers(&[])), LIMITS));
    assert_eq!(failed.kind, FailureKind::Limit);
    assert!(
        failed.message.starts_with("memory limit of 64 MiB reached: the component wanted"),
        "{failed}"
    );
    let small = StepLimits { memory_bytes_max: 1 << 20, ..LIMITS };
    let failed = failure(run(&misbehave, "fail", start(numbers(&[])), small));
    assert!(failed.message.starts_with("memory limit of 1 MiB reached"), "{failed}");
    assert!(matches!(end(&misbehave, "spin_ms", &[0]), StepEnd::Done(_)));
}

/// If this failed, recursion in a guest could overflow the host's stack.
#[test]
fn the_call_stack_is_limited() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "deep", start(numbers(&[])), LIMITS));
    // The guest's own stack in memory may end first, which is a trap.
    assert!(matches!(failed.kind, FailureKind::Limit | FailureKind::Trapped), "{failed}");
    assert!(failed.message.contains("stack"), "{failed}");
    let recursion = r#"(func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))"#;
    let component = load(&runtime(), &simple("", recursion, "(global.set $result (call $deeper))"));
    let failed = failure(run(&component, "any", start(numbers(&[])), LIMITS));
    assert_eq!(
        (failed.kind, failed.message.as_str()),
        (
            FailureKind::Limit,
            "call stack limit of 512 KiB reached in `any` of component `tested` (frames: deeper)"
        )
    );
}

/// If this failed, a guest could keep a core for ever.
#[test]
fn cpu_time_is_limited() {
    let misbehave = guest(&runtime(), "misbehave");
    let limits = StepLimits { cpu_ms_max: 200, ..LIMITS };
    let stepped = run(&misbehave, "spin", start(numbers(&[])), limits);
    assert!(stepped.used >= Duration::from_millis(200), "{stepped:?}");
    let failed = failure(stepped);
    assert_eq!(failed.kind, FailureKind::Limit);
    assert!(failed.message.starts_with("cpu limit of 200 ms reached in `spin`"), "{failed}");
}

/// If this failed, payloads of any size would travel between nodes.
#[test]
fn payloads_are_limited() {
    let misbehave = guest(&runtime(), "misbehave");
    let limits = StepLimits { payload_bytes_max: 100 << 10, ..LIMITS };
    let message = |function: &str, bytes: u64| {
        let failed = failure(run(&misbehave, function, start(numbers(&[bytes])), limits));
        assert_eq!(failed.kind, FailureKind::Limit, "{failed}");
        failed.message
    };
    assert_eq!(
        message("huge", 200 << 10),
        "payload limit of 100 KiB reached: the result has 204805 bytes"
    );
    assert_eq!(
        message("call_huge", 200 << 10),
        "payload limit of 100 KiB reached: the call's input has 204806 bytes"
    );
    let continuation = message("keep_huge", 200 << 10);
    assert!(
        continuation.starts_with("payload limit of 100 KiB reached: the continuation has 2048"),
        "{continuation}"
    );
    // Far over the limit: the host does not even copy it.
    let hostile = message("huge", 20 << 20);
    assert!(
        hostile
            .starts_with("payload limit of 100 KiB reached: `huge` of component `tested` passed"),
        "{hostile}"
    );
    let just = run(&misbehave, "huge", start(numbers(&[(100 << 10) - 5])), limits);
    assert!(matches!(just.end, StepEnd::Done(_)), "{just:?}");
}

/// If this failed, a trap would be told in words that help nobody.
#[test]
fn a_trap_says_where() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "trap", start(numbers(&[])), LIMITS));
    assert_eq!(failed.kind, FailureKind::Trapped);
    assert!(
        failed.message.starts_with(
            "trapped in `trap` of component `tested`: wasm `unreachable` instruction executed"
        ),
        "{failed}"
    );
    assert!(!failed.message.contains('\n'), "{failed}");
    let trap = r#"(func $inner (unreachable)) (func $outer (call $inner))"#;
    let component = load(&runtime(), &simple("", trap, "(call $outer)"));
    let failed = failure(run(&component, "any", start(numbers(&[])), LIMITS));
    assert!(failed.message.contains("(frames: inner < outer"), "{failed}");
    assert!(matches!(end(&misbehave, "spin_ms", &[0]), StepEnd::Done(_)));
}

/// If this failed, a panic in Rust guests would not be told apart from others.
#[test]
fn a_panic_of_the_guest_ends_the_step() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "panic", start(numbers(&[])), LIMITS));
    assert!(matches!(failed.kind, FailureKind::Trapped | FailureKind::Failed), "{failed}");
}

/// If this failed, a result that is no value would be found by its reader only, on another node,
/// where nobody knows whose it was.
#[test]
fn a_result_that_is_no_value_ends_its_own_step() {
    let misbehave = guest(&runtime(), "misbehave");
    let failed = failure(run(&misbehave, "bad_cbor", start(numbers(&[])), LIMITS));
    assert_eq!(failed.kind, FailureKind::Failed);
    let begins = "the result of `bad_cbor` of component `tested` is not a CBOR value: ";
    assert!(failed.message.starts_with(begins), "{failed}");
}

/// If this failed, a step that is cut off (a deadline, a node that stops) would keep its place for
/// ever.
#[test]
fn a_dropped_step_frees_its_instance() {
    let runtime = Runtime::new(Config { steps_max: 2, ..Config::default() }).unwrap();
    let misbehave = guest(&runtime, "misbehave");
    let spin = || {
        let host: Arc<dyn Host> = Arc::new(Notes::default());
        misbehave.step("spin".into(), start(numbers(&[])), LIMITS, host)
    };
    for polls in 0..40 {
        let mut step = Box::pin(spin());
        for _ in 0..polls % 4 {
            assert!(step.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    }
    assert!(matches!(end(&misbehave, "spin_ms", &[0]), StepEnd::Done(_)));
}

/// If this failed, one step too many would end a node, or wait where nobody expects it.
#[test]
fn a_full_pool_is_a_failure_of_the_step() {
    let runtime = Runtime::new(Config { steps_max: 1, ..Config::default() }).unwrap();
    let misbehave = guest(&runtime, "misbehave");
    let host: Arc<dyn Host> = Arc::new(Notes::default());
    let mut first = Box::pin(misbehave.step("spin".into(), start(numbers(&[])), LIMITS, host));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let refused = failure(run(&misbehave, "fail", start(numbers(&[])), LIMITS));
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (FailureKind::Unavailable, "no free instance: the node's limit is 1 live steps")
    );
    drop(first);
    assert!(matches!(end(&misbehave, "spin_ms", &[0]), StepEnd::Done(_)));
}

/// Answers after a while, from another thread.
struct Slow(MemoryAnswer);

impl Host for Slow {
    fn memory(&self, key: String, operation: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        assert_eq!((key.as_str(), operation), ("key", MemoryOperation::Get));
        let answer = self.0.clone();
        let thread = thread::spawn(|| thread::sleep(Duration::from_millis(150)));
        let mut thread = Some(thread);
        Box::pin(std::future::poll_fn(move |ctx| {
            if thread.as_ref().is_some_and(thread::JoinHandle::is_finished) {
                return std::task::Poll::Ready(answer.clone());
            }
            let waker = ctx.waker().clone();
            if let Some(slow) = thread.take() {
                thread = Some(thread::spawn(move || {
                    slow.join().unwrap();
                    waker.wake();
                }));
            }
            std::task::Poll::Pending
        }))
    }

    fn log(&self, _: Stream, _: &str) {}
}

/// A guest that gets `key` and ends with 0 for none, 1 for a value of one byte, else 10 and the
/// error's case.
fn asker() -> Vec<u8> {
    simple(
        "import izna:memory/store@0.1.0;",
        r#"(import "izna:memory/store@0.1.0" "get" (func $get (param i32 i32 i32)))
           (data (i32.const 1024) "key")"#,
        "(call $get (i32.const 1024) (i32.const 3) (i32.const 1040))
         (if (i32.load8_u (i32.const 1040))
            (then (global.set $result
                (i32.add (i32.const 10) (i32.load8_u (i32.const 1048)))))
            (else (if (i32.load8_u (i32.const 1048))
                (then (global.set $result (i32.load (i32.const 1056)))))))",
    )
}

/// If this failed, guests could not use cluster memory, or would keep a core while they wait for
/// it.
#[test]
fn cluster_memory_is_waited_for_off_the_core() {
    let asker = load(&runtime(), &asker());
    for (answer, wanted) in [
        (Ok(None), 0),
        (Ok(Some(Bytes::from_static(b"x"))), 1),
        (Err(MemoryError::TooLarge { max: 5 }), 10),
        (Err(MemoryError::Unavailable), 11),
    ] {
        let began = Instant::now();
        let host: Arc<dyn Host> = Arc::new(Slow(answer));
        let stepped = block_on(asker.step("any".into(), start(numbers(&[])), LIMITS, host));
        assert_eq!(stepped.end, StepEnd::Done(number(wanted).into()));
        assert!(began.elapsed() >= Duration::from_millis(150));
        assert!(stepped.used < Duration::from_millis(100), "{:?}", stepped.used);
    }
}

struct Panics;

impl Host for Panics {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        panic!("a defect of the host")
    }

    fn log(&self, _: Stream, _: &str) {}
}

/// If this failed, a defect of the host that one guest finds would end all steps of a node.
#[test]
fn a_panic_of_the_host_ends_the_step() {
    let asker = load(&runtime(), &asker());
    let panics: Arc<dyn Host> = Arc::new(Panics);
    let stepped = block_on(asker.step("any".into(), start(numbers(&[])), LIMITS, panics));
    let wanted = Failure::new(FailureKind::Other, "the node failed in `any`: a defect of the host");
    assert_eq!(failure(stepped), wanted);
    let host: Arc<dyn Host> = Arc::new(Notes::default());
    let stepped = block_on(asker.step("any".into(), start(numbers(&[])), LIMITS, host));
    assert_eq!(stepped.end, StepEnd::Done(number(0).into()));
}

/// If this failed, nobody would see what a guest prints.
#[test]
fn what_a_guest_prints_is_logged() {
    let printer = simple(
        "import wasi:cli/stdout@0.2.0;",
        r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $out (result i32)))
           (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
             (func $write (param i32 i32 i32 i32)))
           (data (i32.const 1024) "hello\n\1b[2Jworld")"#,
        "(call $write (call $out) (i32.const 1024) (i32.const 15) (i32.const 1100))",
    );
    let printer = load(&runtime(), &printer);
    let notes = Arc::new(Notes::default());
    let stepped = block_on(printer.step("any".into(), start(numbers(&[])), LIMITS, notes.clone()));
    assert_eq!(stepped.end, StepEnd::Done(number(0).into()));
    assert_eq!(*notes.lines.lock().unwrap(), ["stdout: hello", "stdout: \\u{1b}[2Jworld"]);
}

/// If this failed, a guest that sleeps would need a runtime that these threads do not have, or keep
/// a core.
#[test]
fn a_guest_may_sleep() {
    let sleeper = simple(
        "import wasi:clocks/monotonic-clock@0.2.0;",
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
             (func $after (param i64) (result i32)))
           (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
        "(call $block (call $after (i64.const 150000000)))",
    );
    let sleeper = load(&runtime(), &sleeper);
    let began = Instant::now();
    let stepped = run(&sleeper, "any", start(numbers(&[])), LIMITS);
    assert_eq!(stepped.end, StepEnd::Done(number(0).into()));
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert!(stepped.used < Duration::from_millis(100), "{:?}", stepped.used);
}

/// If this failed, a guest that exits would look like one that is broken.
#[test]
fn an_exit_is_told() {
    let exits = simple(
        "import wasi:cli/exit@0.2.0;",
        r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#,
        "(call $exit (i32.const 1))",
    );
    let failed = failure(run(&load(&runtime(), &exits), "any", start(numbers(&[])), LIMITS));
    assert_eq!(
        failed,
        Failure::new(FailureKind::Trapped, "exited with code 1 in `any` of component `tested`")
    );
}

/// If this failed, a guest with a broken interface could read the host's memory or stop the node.
#[test]
fn a_guest_that_breaks_the_abi_ends_its_step() {
    let wild = r#"(module
        (memory (export "memory") 1)
        (func (export "izna:process/handler@0.1.0#start") (param i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 68) (i32.const 0x7fffff00))
            (i32.store (i32.const 72) (i32.const 0x7fffff00))
            (i32.const 64))
        (func (export "izna:process/handler@0.1.0#resume")
            (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const -4))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048)))"#;
    let component = load(&runtime(), &module("", wild));
    let failed = failure(run(&component, "any", start(numbers(&[])), LIMITS));
    assert!(matches!(failed.kind, FailureKind::Trapped | FailureKind::Limit), "{failed}");
    let resume = Run::Resume { continuation: Bytes::new(), outcome: Ok(number(1)) };
    let failed = failure(run(&component, "any", resume, LIMITS));
    assert_eq!(failed.kind, FailureKind::Trapped, "{failed}");
    assert!(failed.message.starts_with("component model violation"), "{failed}");
}
