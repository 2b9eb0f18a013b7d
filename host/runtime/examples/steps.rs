//! Steps a second on one thread and on several: `cargo run --release -p izna-runtime --example
//! steps`.
//!
//! The guest is `echo`, its function `value`, 1 KiB in and out, a fresh instance for each step.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "an example")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use izna_proto::{Digest, MemoryAnswer, MemoryOperation, Run, StepEnd};
use izna_runtime::{
    BoxFuture, Component, Config, Executor, Host, Runtime, Spawner, StepLimits, Stepped, Stream,
};

const LIMITS: StepLimits =
    StepLimits { memory_bytes_max: 64 << 20, cpu_ms_max: 2000, payload_bytes_max: 1 << 20 };
const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 5;

struct Nothing;

impl Host for Nothing {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        Box::pin(async { Ok(None) })
    }

    fn log(&self, _: Stream, _: &str) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/guests/echo.wasm");
    let path = std::env::args().nth(1).unwrap_or(path.into());
    let runtime = Runtime::new(Config::default())?;
    let admitted = runtime.admit(&std::fs::read(&path)?)?;
    let hash = ring::digest::digest(&ring::digest::SHA256, &admitted.component);
    let began = Instant::now();
    let component = runtime.load(Digest(hash.as_ref().try_into()?), &admitted.component)?;
    println!("compiled in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    for threads in [1, 2] {
        report("bare", threads, |_| bare(&component, threads));
    }
    for threads in [1, 2] {
        let executor = Executor::new(threads)?;
        report("executor", threads, |_| chains(&component, &executor.spawner(), 8));
    }
    Ok(())
}

fn report(how: &str, threads: usize, round: impl Fn(usize) -> f64) {
    let began = cpu_seconds();
    let mut rates: Vec<f64> = (0..ROUNDS).map(round).collect();
    let steps: f64 = rates.iter().sum::<f64>() * ROUND.as_secs_f64();
    let cpu_us = (cpu_seconds() - began) * 1e6 / steps;
    rates.sort_by(f64::total_cmp);
    let (median, best) = (rates.get(ROUNDS / 2).copied(), rates.last().copied());
    let (median, best) = (median.unwrap_or_default(), best.unwrap_or_default());
    println!(
        "{how}, {threads} threads: {median:.0} steps/s (best {best:.0}), {cpu_us:.2} us of CPU each"
    );
}

/// The CPU time of this process so far: what counts on a machine that others use too.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter();
    let ticks: Vec<f64> = fields.flatten().skip(11).take(2).flat_map(str::parse).collect();
    ticks.iter().sum::<f64>() / 100.0
}

fn input() -> Bytes {
    let mut input = vec![0x81, 0x59, 0x04, 0x00];
    input.extend([7; 1024]);
    Bytes::from(input)
}

/// One loop a thread, without an executor.
fn bare(component: &Component, threads: usize) -> f64 {
    let (began, count) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (host, function): (Arc<dyn Host>, Arc<str>) =
                    (Arc::new(Nothing), "value".into());
                let (input, mut done) = (input(), 0);
                while began.elapsed() < ROUND {
                    let run = Run::Start { input: input.clone() };
                    let step = component.step(function.clone(), run, LIMITS, host.clone());
                    check(&block_on(step));
                    done += 1;
                }
                count.fetch_add(done, Ordering::Relaxed);
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// `chains` tasks, each of which spawns its successor.
fn chains(component: &Component, spawner: &Spawner, chains: usize) -> f64 {
    let (began, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (ended, end) = std::sync::mpsc::channel();
    for _ in 0..chains {
        let link = Link {
            component: component.clone(),
            spawner: spawner.clone(),
            host: Arc::new(Nothing),
            function: "value".into(),
            input: input(),
            until: began + ROUND,
            count: count.clone(),
            ended: ended.clone(),
        };
        link.spawn();
    }
    drop(ended);
    for () in end {}
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

struct Link {
    component: Component,
    spawner: Spawner,
    host: Arc<dyn Host>,
    function: Arc<str>,
    input: Bytes,
    until: Instant,
    count: Arc<AtomicU64>,
    ended: std::sync::mpsc::Sender<()>,
}

impl Link {
    fn spawn(self) {
        let spawner = self.spawner.clone();
        spawner.spawn(async move {
            let run = Run::Start { input: self.input.clone() };
            let (function, host) = (self.function.clone(), self.host.clone());
            check(&self.component.step(function, run, LIMITS, host).await);
            self.count.fetch_add(1, Ordering::Relaxed);
            if Instant::now() < self.until {
                self.spawn();
            } else {
                self.ended.send(()).expect("somebody waits");
            }
        });
    }
}

fn check(stepped: &Stepped) {
    assert!(matches!(&stepped.end, StepEnd::Done(result) if result.len() > 1024), "{stepped:?}");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}
