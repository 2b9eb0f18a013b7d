//! Direct components: called with CBOR, suspended at their calls, resumed warm or from their
//! record.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what is wrong by panicking"
)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use ciborium::{Value, cbor};
use common::{LIMITS, Notes, block_on, guest, runtime};
use izna_proto::{Call, Failure, FailureKind, Outcome, Payload, ProcessId, Run, StepEnd, typed};
use izna_runtime::{Component, Runtime, StepLimits};

fn encoded(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes.into()
}

fn decoded(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}

fn step(
    component: &Component,
    function: &str,
    run: Run,
    process: Option<u128>,
    limits: StepLimits,
) -> StepEnd {
    let step = component.step(function.into(), run, limits, Arc::new(Notes::default()));
    let step = match process {
        Some(process) => step.of(ProcessId(process)),
        None => step,
    };
    block_on(step).end
}

fn start(component: &Component, function: &str, arguments: &Value) -> StepEnd {
    let run = Run::Start { input: encoded(arguments) };
    step(component, function, run, None, LIMITS)
}

/// An album and the painter that it calls, played by hand: what the cluster does with them.
struct Pair {
    runtime: Runtime,
    album: Component,
    painter: Component,
}

impl Pair {
    fn new() -> Self {
        let runtime = runtime();
        let (album, painter) = (guest(&runtime, "album"), guest(&runtime, "painter"));
        Self { runtime, album, painter }
    }

    fn painted(&self, call: &Call) -> Outcome<Bytes> {
        assert_eq!(&*call.component, "demo:paint/painter@0.2.0");
        match step(
            &self.painter,
            &call.function,
            Run::Start { input: call.input.inline().clone() },
            None,
            LIMITS,
        ) {
            StepEnd::Done(result) => Ok(result.into_inline()),
            StepEnd::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Run a function of the album to its end; `process` is a way to be kept warm.
    fn run(&self, function: &str, arguments: &Value, process: Option<u128>) -> (StepEnd, usize) {
        let mut run = Run::Start { input: encoded(arguments) };
        let mut calls = 0;
        loop {
            match step(&self.album, function, run, process, LIMITS) {
                StepEnd::Suspend { call, continuation } => {
                    calls += 1;
                    run = Run::Resume {
                        continuation: continuation.into_inline(),
                        outcome: self.painted(&call),
                    };
                }
                end => return (end, calls),
            }
        }
    }
}

fn done(end: StepEnd) -> Value {
    match end {
        StepEnd::Done(result) => decoded(result.inline()),
        other => panic!("not done: {other:?}"),
    }
}

fn failed(end: StepEnd) -> Failure {
    match end {
        StepEnd::Failed(failure) => failure,
        other => panic!("did not fail: {other:?}"),
    }
}

fn page() -> Value {
    cbor!(["blue", { "width" => 2, "height" => 3 }, [1, 2, 3]]).unwrap()
}

/// If this failed, an ordinary component could not be called, or not by an ordinary name.
#[test]
fn a_function_is_called_by_its_name() {
    let runtime = runtime();
    let painter = guest(&runtime, "painter");
    let arguments = cbor!(["dot", { "width" => 1, "height" => 2 }, 7]).unwrap();
    let picture = cbor!({ "ok" => {
        "size" => { "width" => 1, "height" => 2 },
        "title" => "dot",
        "pixels" => Value::Bytes(vec![7, 7]),
    } })
    .unwrap();
    for name in
        ["demo:paint/painter@0.2.1.draw", "demo:paint/painter@0.2.0.draw", "painter.draw", "draw"]
    {
        assert_eq!(done(start(&painter, name, &arguments)), picture, "{name}");
    }
    let empty = cbor!(["dot", { "width" => 0, "height" => 2 }, 7]).unwrap();
    assert_eq!(done(start(&painter, "draw", &empty)), cbor!({ "err" => "empty" }).unwrap());
    let huge = cbor!(["dot", { "width" => 65535, "height" => 65535 }, 7]).unwrap();
    assert_eq!(
        done(start(&painter, "draw", &huge)),
        cbor!({ "err" => { "too-large" => 1048576 } }).unwrap()
    );
    let failure = failed(start(&painter, "paint", &arguments));
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.message.contains("`demo:paint/painter@0.2.1.draw`"), "{failure}");
}

/// If this failed, a client could only call functions in the order of their parameters, or a query
/// could not hold a number.
#[test]
fn arguments_may_have_names() {
    let runtime = runtime();
    let painter = guest(&runtime, "painter");
    let named = cbor!({
        "color" => "9",
        "utm" => "ignored",
        "title" => Value::Bytes(b"dot".to_vec()),
        "size" => { "height" => 1, "width" => 1 },
    });
    let picture = done(start(&painter, "draw", &named.unwrap()));
    let text = format!("{picture:?}");
    assert!(text.contains("Bytes([9])") && text.contains("Text(\"dot\")"), "{text}");
    let failure = failed(start(&painter, "draw", &cbor!({ "title" => "x" }).unwrap()));
    assert!(failure.message.ends_with("argument `size` is missing"), "{failure}");
    // What is passed over is bounded all the same.
    let deep = |depth: usize| {
        let mut input = vec![0xa1, 0x61, b'z'];
        input.extend(vec![0x81; depth]);
        input.push(0x00);
        let run = Run::Start { input: input.into() };
        failed(step(&painter, "spin", run, None, LIMITS)).message
    };
    assert!(deep(64).ends_with("argument `seed` is missing"), "{}", deep(64));
    assert!(deep(65).ends_with("nested deeper than 64"), "{}", deep(65));
    let failure = failed(start(&painter, "spin", &cbor!({ "seed" => "x" }).unwrap()));
    assert!(failure.message.contains("argument `millions` is missing"), "{failure}");
}

/// If this failed, a value of the wrong shape would be a riddle, or worse, be taken.
#[test]
fn a_misfit_is_named_with_its_place() {
    let runtime = runtime();
    let painter = guest(&runtime, "painter");
    let size = |width: Value| cbor!(["t", { "width" => width, "height" => 1 }, 7]).unwrap();
    let cases = [
        (size("x".into()), "argument `size`.width: expected u32, found a text"),
        (size((-1).into()), "argument `size`.width: expected u32, found -1, out of range"),
        (size(Value::Null), "argument `size`.width: expected u32, found null"),
        (cbor!(["t", { "width" => 1 }, 7]).unwrap(), "argument `size`: field `height` is missing"),
        (
            cbor!(["t", { "width" => 1, "heigth" => 1 }, 7]).unwrap(),
            "argument `size`: no field `heigth`; expected one of width, height",
        ),
        (cbor!(["t", [1, 2], 7]).unwrap(), "argument `size`: expected a map, found an array"),
        (cbor!(["t"]).unwrap(), "the value: expected 3 values, found 1"),
        (cbor!("t").unwrap(), "the value: expected an array, found a text"),
        (
            cbor!(["t", { "width" => 1, "height" => 1 }, 256]).unwrap(),
            "argument `color`: expected u8, found 256, out of range",
        ),
    ];
    for (arguments, expected) in cases {
        let failure = failed(start(&painter, "draw", &arguments));
        assert_eq!(failure.kind, FailureKind::Invalid);
        let start = "invalid value in `draw` of component `tested`: ";
        assert_eq!(failure.message, format!("{start}{expected}"), "{arguments:?}");
    }
}

/// If this failed, the result of a function would depend on whether its process had moved.
#[test]
fn warm_and_replayed_functions_agree() {
    let pair = Pair::new();
    let (replayed, calls) = pair.run("page", &page(), None);
    assert_eq!(calls, 3);
    assert_eq!(pair.runtime.warm_counts().replayed, 0);
    let (warm, calls) = pair.run("page", &page(), Some(1));
    assert_eq!(calls, 3);
    assert_eq!(done(warm), done(replayed.clone()));
    let counts = pair.runtime.warm_counts();
    assert_eq!((counts.kept, counts.resumed, counts.replayed), (0, 3, 0));
    let pictures = format!("{:?}", done(replayed));
    assert!(pictures.contains("Text(\"blue 3\")"), "{pictures}");
}

/// If this failed, a process that comes back to a node with another past would get the wrong
/// future, or one that comes back with the same could not go on where it stood.
#[test]
fn a_warm_function_is_known_by_its_whole_record() {
    let pair = Pair::new();
    let run = Run::Start { input: encoded(&page()) };
    let StepEnd::Suspend { call, continuation } = step(&pair.album, "page", run, Some(1), LIMITS)
    else {
        panic!("did not call");
    };
    let outcome = pair.painted(&call);
    let resume = |continuation: &Payload, process| {
        let run =
            Run::Resume { continuation: continuation.inline().clone(), outcome: outcome.clone() };
        step(&pair.album, "page", run, Some(process), LIMITS)
    };
    // Another process with the same bytes starts again, and so does the same with other bytes.
    let other = resume(&continuation, 2);
    assert_eq!(pair.runtime.warm_counts().replayed, 1);
    let StepEnd::Suspend { continuation: later, .. } = &other else { panic!("{other:?}") };
    resume(later, 1);
    let counts = pair.runtime.warm_counts();
    assert_eq!((counts.resumed, counts.replayed), (0, 2));
    assert_eq!(resume(&continuation, 1), other);
    assert_eq!(pair.runtime.warm_counts().resumed, 1);
}

/// If this failed, clocks and random numbers would make a function do something else after a move
/// than before.
#[test]
fn clocks_random_numbers_and_memory_are_recorded() {
    let pair = Pair::new();
    let arguments = cbor!([5]).unwrap();
    let (end, calls) = pair.run("diary", &arguments, None);
    assert_eq!(calls, 5);
    let diary = done(end);
    let list = |name: &str| -> Vec<u64> {
        let field = diary.as_map().unwrap().iter().find(|(k, _)| k.as_text() == Some(name));
        let numbers = field.unwrap().1.as_array().unwrap();
        numbers.iter().map(|n| u64::try_from(n.as_integer().unwrap()).unwrap()).collect()
    };
    let times = list("times");
    assert_eq!(times.len(), 18);
    for (one, next) in times.iter().zip(&times[3..]) {
        assert!(one <= next, "a clock went back: {times:?}");
    }
    assert!(times[0] > 1_700_000_000_000_000_000, "{times:?}");
    let mut numbers = list("numbers");
    numbers.dedup();
    assert_eq!(numbers.len(), 6, "{numbers:?}");
    let other = done(pair.run("diary", &arguments, None).0);
    assert_ne!(diary, other, "two runs have the same random numbers");
}

/// If this failed, a function that does something else than before would go on with results of
/// other calls.
#[test]
fn a_replay_that_differs_is_told() {
    let pair = Pair::new();
    // By their names, so that each function finds its own.
    let arguments = cbor!({ "seed" => 1, "millions" => 0, "calls" => 1 }).unwrap();
    let run = Run::Start { input: encoded(&arguments) };
    let StepEnd::Suspend { continuation, .. } = step(&pair.album, "slow", run, None, LIMITS) else {
        panic!("did not call");
    };
    let outcome = Ok(encoded(&cbor!(5).unwrap()));
    let run =
        || Run::Resume { continuation: continuation.inline().clone(), outcome: outcome.clone() };
    for (function, expected) in
        [("trap", "a call of `demo:paint/painter@0.2.0.trap`"), ("diary", "random numbers")]
    {
        let failure = failed(step(&pair.album, function, run(), None, LIMITS));
        assert_eq!(failure.kind, FailureKind::Trapped, "{failure}");
        assert!(failure.message.contains("cannot resume"), "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
        let recorded = "where its record has a call of `demo:paint/painter@0.2.0.spin`";
        assert!(failure.message.contains(recorded), "{failure}");
    }
    let run = Run::Resume { continuation: Bytes::from_static(b"\x82\x02\x40"), outcome };
    let failure = failed(step(&pair.album, "slow", run, None, LIMITS));
    assert_eq!(
        failure.message,
        "invalid record of the function's calls: expected a record of version 1 at \
         byte 1"
    );
}

/// If this failed, a caller whose type has room for a failure would end with its callee, or one
/// whose type has none would go on without a result.
#[test]
fn failures_go_where_the_type_has_room() {
    let pair = Pair::new();
    let run = Run::Start { input: encoded(&page()) };
    let StepEnd::Suspend { continuation, .. } = step(&pair.album, "page", run, None, LIMITS) else {
        panic!("did not call");
    };
    let lost = Failure::new(FailureKind::Unavailable, "no node has it");
    let run = Run::Resume { continuation: continuation.into_inline(), outcome: Err(lost) };
    let told = done(step(&pair.album, "page", run, None, LIMITS));
    let text = format!("{told:?}");
    assert!(text.contains("no node has it"), "{text}");
    let (end, calls) = pair.run("trap", &cbor!([]).unwrap(), None);
    let failure = failed(end);
    assert_eq!((failure.kind, calls), (FailureKind::Trapped, 1));
    assert!(
        failure.message.starts_with(
            "the call of `demo:paint/painter@0.2.0.trap` by `trap` of component `tested` failed: \
             trapped in "
        ),
        "{failure}"
    );
}

/// If this failed, what a function keeps of its calls would have no limit.
#[test]
fn records_are_limited() {
    let pair = Pair::new();
    let limits = StepLimits { payload_bytes_max: 4096, ..LIMITS };
    let input = encoded(&cbor!([Value::Bytes(vec![1; 3000]), 3]).unwrap());
    let mut run = Run::Start { input };
    let mut calls = 0;
    let failure = loop {
        match step(&pair.album, "echoes", run, None, limits) {
            StepEnd::Suspend { call, continuation } => {
                calls += 1;
                run = Run::Resume {
                    continuation: continuation.into_inline(),
                    outcome: pair.painted(&call),
                };
            }
            end => break failed(end),
        }
    };
    assert_eq!((failure.kind, calls), (FailureKind::Limit, 1));
    assert!(
        failure.message.starts_with(
            "payload limit of 4 KiB reached: the record of the function's input and calls has "
        ),
        "{failure}"
    );
}

/// If this failed, suspended functions would fill a node's memory, or keep others from running.
#[test]
fn warm_functions_are_bounded() {
    let config = izna_runtime::Config {
        steps_max: 8,
        warm_max: 3,
        warm_ms_max: 60_000,
        ..izna_runtime::Config::default()
    };
    let runtime = Runtime::new(config.clone()).unwrap();
    let album = guest(&runtime, "album");
    let suspend = |album: &Component, process| {
        let run = Run::Start { input: encoded(&page()) };
        let end = step(album, "page", run, Some(process), LIMITS);
        assert!(matches!(end, StepEnd::Suspend { .. }), "{end:?}");
    };
    (0..10).for_each(|process| suspend(&album, process));
    let counts = runtime.warm_counts();
    assert_eq!((counts.kept, counts.dropped), (3, 7));
    assert!(counts.bytes >= 3 << 16, "{counts:?}");
    runtime.sweep(800);
    assert_eq!(runtime.warm_counts().kept, 3);
    runtime.sweep(801);
    assert_eq!((runtime.warm_counts().kept, runtime.warm_counts().bytes), (0, 0));

    // Memory and age are limits too, and a full pool takes the place of the oldest.
    let tight = izna_runtime::Config { warm_bytes_max: 1, ..config.clone() };
    let runtime = Runtime::new(tight).unwrap();
    suspend(&guest(&runtime, "album"), 1);
    assert_eq!(runtime.warm_counts().kept, 0);
    let brief = izna_runtime::Config { warm_ms_max: 0, ..config.clone() };
    let runtime = Runtime::new(brief).unwrap();
    suspend(&guest(&runtime, "album"), 1);
    runtime.sweep(0);
    assert_eq!(runtime.warm_counts().kept, 0);
    let full = izna_runtime::Config { steps_max: 2, ..config };
    let runtime = Runtime::new(full).unwrap();
    let album = guest(&runtime, "album");
    (0..10).for_each(|process| suspend(&album, process));
    assert!(runtime.warm_counts().kept <= 2);
    runtime.clear();
}

/// Marked as the arguments of a route, or of a call by hand.
fn marked(value: Value) -> Value {
    Value::Tag(typed::TAG, Box::new(value))
}

/// What a function of the mirror makes of this for its one parameter, as a route or a person has it.
fn mirrored(mirror: &Component, function: &str, arguments: Value) -> Result<Value, String> {
    match start(mirror, function, &marked(arguments)) {
        StepEnd::Done(result) => Ok(decoded(result.inline())),
        StepEnd::Failed(failure) => Err(failure.message),
        other => panic!("{other:?}"),
    }
}

/// If this failed, what a query has several times, or once, would not be the list that it means, or
/// an error would leave a route as a success.
#[test]
fn a_route_is_told_what_it_needs_of_types() {
    let runtime = runtime();
    let mirror = guest(&runtime, "mirror");
    let texts = |texts: &[&str]| -> Value {
        let texts: Vec<Value> = texts.iter().map(|text| Value::from(*text)).collect();
        marked(Value::Array(texts))
    };
    let told = |function: &str, value: Value| {
        let named = Value::Map(vec![(Value::from("v"), value)]);
        mirrored(&mirror, function, named).map(|result| match result {
            Value::Tag(typed::TAG, told) => *told,
            other => panic!("{other:?}"),
        })
    };
    let plain = |value: Value| Value::Array(vec![0.into(), false.into(), value]);
    let list = cbor!([1, 300]).unwrap();
    assert_eq!(told("a-list", texts(&["1", "300"])), Ok(plain(list)));
    assert_eq!(told("a-list", Value::from("7")), Ok(plain(cbor!([7]).unwrap())));
    assert_eq!(told("a-u8", texts(&["1", "2"])), Ok(plain(2.into())));
    assert_eq!(told("a-string", texts(&["a", "b"])), Ok(plain("b".into())));
    assert_eq!(told("a-bytes", texts(&["1", "2"])), Ok(plain(Value::Bytes(vec![1, 2]))));
    assert!(told("a-list", texts(&["1", "x"])).unwrap_err().contains("[1]"));
    let case = |case: u8, value: Value| Value::Array(vec![case.into(), false.into(), value]);
    assert_eq!(told("bare-result", Value::from("ok")), Ok(case(1, Value::Null)));
    assert_eq!(told("bare-result", Value::from("err")), Ok(case(2, Value::Null)));
    assert_eq!(told("a-result", cbor!({ "ok" => "x" }).unwrap()), Ok(case(1, "x".into())));
    assert_eq!(told("a-variant", Value::from("empty")), Ok(plain("empty".into())));
}

/// If this failed, a text that looks like a number could not be given by hand.
#[test]
fn words_are_what_their_parameter_is() {
    let runtime = runtime();
    let mirror = guest(&runtime, "mirror");
    let word = |function: &str, text: &str, json: Value| {
        let word = marked(Value::Array(vec![text.into(), json]));
        mirrored(&mirror, function, Value::Array(vec![word]))
    };
    assert_eq!(word("a-string", "123", 123.into()), Ok("123".into()));
    assert_eq!(word("a-string", "null", Value::Null), Ok("null".into()));
    assert_eq!(word("a-string", "1e3", Value::Float(1000.0)), Ok("1e3".into()));
    assert_eq!(word("a-u64", "123", 123.into()), Ok(123.into()));
    assert_eq!(word("a-f64", "-inf", "-inf".into()), Ok(Value::Float(f64::NEG_INFINITY)));
    assert_eq!(word("an-enum", "green", "green".into()), Ok("green".into()));
    assert_eq!(word("an-option", "null", Value::Null), Ok(Value::Null));
    assert_eq!(word("an-option", "5", 5.into()), Ok(5.into()));
    assert!(word("a-u8", "x", "x".into()).unwrap_err().contains("expected u8"));
    assert_eq!(mirrored(&mirror, "a-u8", cbor!([7]).unwrap()), Ok(7.into()));
}
