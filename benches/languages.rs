//! What the same two services cost in each language: the table of `docs/languages.md`, by
//! `make bench-languages`. In one process, on one thread, with the runtime of a node; no network.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program that measures and prints"
)]

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ciborium::{Value, cbor};
use izna_bench::shipped;
use izna_proto::{MemoryAnswer, MemoryOperation, ProcessId, Run, StepEnd};
use izna_runtime::{BoxFuture, Component, Config, Host, Runtime, StepLimits, Stream};

const LIMITS: StepLimits =
    StepLimits { memory_bytes_max: 64 << 20, cpu_ms_max: 10_000, payload_bytes_max: 4 << 20 };
/// How long each figure is measured, at least.
const ROUND: Duration = Duration::from_millis(400);
/// How many functions wait at once while their memory is measured.
const LIVE: u128 = 32;
/// How many calls a function makes while the price of one is measured.
const CALLS: usize = 10;
const LINE: &str = "a line of text < 32 bytes & more";

struct Silent;

impl Host for Silent {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        Box::pin(async { Ok(None) })
    }

    fn log(&self, _: Stream, _: &str) {}
}

struct Loaded {
    runtime: Runtime,
    component: Component,
    bytes: usize,
    compiled: Duration,
    opened: Duration,
}

fn main() {
    println!("| language | component | compile | from cache | a step | a call | moved | live |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for language in ["rust", "c", "js", "python", "go"] {
        let renderer = loaded(&format!("{language}-renderer"));
        let step = quickest(|| render(&renderer.component));
        let Loaded { bytes, compiled, opened, .. } = renderer;
        drop(renderer.component);
        let cache = loaded(&format!("{language}-cache"));
        let (one, many) = (lines(1), lines(1 + CALLS));
        let call = |process| {
            let (one, many) = (
                quickest(|| show(&cache.component, &one, process)),
                quickest(|| show(&cache.component, &many, process)),
            );
            many.saturating_sub(one)
        };
        // What is not kept warm begins anew at each call, from what is recorded of those before.
        let (warm, replayed) = (call(Some(ProcessId(7))), call(None));
        println!(
            "| {language} | {} KiB | {} | {} | {} | {} | {} | {} KiB |",
            bytes >> 10,
            shown(compiled),
            shown(opened),
            shown(step),
            shown(warm / CALLS as u32),
            shown(replayed / CALLS as u32),
            live(&cache) >> 10,
        );
    }
}

/// A component as a node loads it, first compiled and then from its cache.
fn loaded(name: &str) -> Loaded {
    let bytes = fs::read(shipped::guest(name).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        steps_max: 256,
        cache: Some(folder.path().to_owned()),
        warm_ms_max: 600_000,
        warm_bytes_max: 4 << 30,
        ..Config::default()
    };
    let runtime = Runtime::new(config).unwrap();
    let admitted = runtime.admit(&bytes).unwrap();
    let load = || runtime.load(admitted.digest, &admitted.component).unwrap();
    let began = Instant::now();
    drop(load());
    let compiled = began.elapsed();
    let began = Instant::now();
    let component = load();
    let opened = began.elapsed();
    Loaded { runtime, component, bytes: admitted.component.len(), compiled, opened }
}

/// One step in a fresh instance: a short text in, a picture out.
fn render(component: &Component) {
    let run = Run::Start { input: encoded(&cbor!([LINE]).unwrap()) };
    match step(component, "renderer.render", run, None) {
        StepEnd::Done(_) => {}
        other => panic!("{other:?}"),
    }
}

/// A function that calls once for each line.
fn show(component: &Component, lines: &Value, process: Option<ProcessId>) {
    let mut run = Run::Start { input: encoded(lines) };
    let picture = encoded(&Value::Bytes(vec![b'x'; 128]));
    loop {
        match step(component, "cache.show", run, process) {
            StepEnd::Done(_) => return,
            StepEnd::Suspend { continuation, .. } => {
                let outcome = Ok(picture.clone());
                run = Run::Resume { continuation: continuation.into_inline(), outcome };
            }
            other => panic!("{other:?}"),
        }
    }
}

fn lines(count: usize) -> Value {
    let lines = (0..count).map(|line| Value::Text(format!("{LINE} {line}")));
    Value::Array(vec![Value::Array(lines.collect())])
}

/// The memory of one function that waits for its call, in bytes.
fn live(cache: &Loaded) -> usize {
    let wait = |process| {
        let run = Run::Start { input: encoded(&lines(1)) };
        let end = step(&cache.component, "cache.show", run, Some(ProcessId(process)));
        assert!(matches!(end, StepEnd::Suspend { .. }), "{end:?}");
    };
    cache.runtime.clear();
    let before = resident();
    (1000..1000 + LIVE).for_each(wait);
    assert_eq!(cache.runtime.warm_counts().kept as u128, LIVE, "they were not all kept");
    let each = resident().saturating_sub(before) / LIVE as usize;
    cache.runtime.clear();
    each
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn step(component: &Component, function: &str, run: Run, process: Option<ProcessId>) -> StepEnd {
    let step = component.step(function.into(), run, LIMITS, Arc::new(Silent));
    let mut step = pin!(match process {
        Some(process) => step.of(process),
        None => step,
    });
    loop {
        let polled = step.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(stepped) = polled {
            return stepped.end;
        }
    }
}

fn encoded(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes.into()
}

/// The time of the quickest: what others on the machine do only makes it longer.
fn quickest(mut work: impl FnMut()) -> Duration {
    let began = Instant::now();
    let mut quickest = Duration::MAX;
    while began.elapsed() < ROUND {
        let one = Instant::now();
        work();
        quickest = quickest.min(one.elapsed());
    }
    quickest
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() * 1e6 {
        us if us < 100.0 => format!("{us:.1} us"),
        us if us < 10_000.0 => format!("{us:.0} us"),
        us => format!("{:.0} ms", us / 1e3),
    }
}
