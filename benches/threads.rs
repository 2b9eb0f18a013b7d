//! Steps on two threads beside steps on one, and beside two processes of one thread each: whether a
//! second core is worth having, and what sharing an address space costs. Two processes share nothing,
//! so they show what the machine's two cores have to give just then: on many virtual machines that
//! is far from twice. Rounds are interleaved, because the machine is not the same from one second to
//! the next.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and panics when it cannot"
)]

use std::env;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use izna_bench::report::{self, Aim};
use izna_bench::shipped;
use izna_proto::{MemoryAnswer, MemoryOperation, Run, StepEnd};
use izna_runtime::{
    BoxFuture, Component, Config, Executor, Host, Runtime, Spawner, StepLimits, Stream,
};
use serde_json::json;

/// Set in a process that runs one round and says what it reached.
const PROCESS: &str = "IZNA_BENCH_ROUND";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(700);
const LIMITS: StepLimits =
    StepLimits { memory_bytes_max: 64 << 20, cpu_ms_max: 1000, payload_bytes_max: 4 << 20 };

struct Nothing;

impl Host for Nothing {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        Box::pin(async { Ok(None) })
    }

    fn log(&self, _: Stream, _: &str) {}
}

/// What the tasks of a round share.
struct Round {
    component: Component,
    function: Arc<str>,
    input: Bytes,
    host: Arc<dyn Host>,
    steps: AtomicU64,
    over: AtomicBool,
}

fn main() {
    let runtime = Runtime::new(Config { steps_max: 100, ..Config::default() }).unwrap();
    let bytes = fs::read(shipped::guest("echo").unwrap()).unwrap();
    let admitted = runtime.admit(&bytes).unwrap();
    let component = runtime.load(admitted.digest, &admitted.component).unwrap();
    if env::var_os(PROCESS).is_some() {
        println!("{}", round(&component, 1));
        return;
    }
    let (mut one, mut two, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(round(&component, 1));
        two.push(round(&component, 2));
        apart.push(processes());
    }
    println!("steps a second on one thread    {one:.0?}");
    println!("steps a second on two threads   {two:.0?}");
    println!("steps a second in two processes {apart:.0?}");
    let (best, median) = ratios(&two, &one);
    let what = "two threads over one, best round";
    println!("{}", report::aim(what, best, "times", Aim::AtLeast(1.8)));
    println!("        median of {ROUNDS} rounds: {median:.2}");
    let (machine, machine_median) = ratios(&apart, &one);
    println!("        two processes over one thread: {machine:.2}, median {machine_median:.2}");
    let parts = [
        ("one", json!(one)),
        ("two", json!(two)),
        ("two_processes", json!(apart)),
        ("ratio_best", json!(best)),
        ("ratio_median", json!(median)),
        ("machine_median", json!(machine_median)),
    ];
    report::save("threads", &parts).unwrap();
}

/// The best and the median of the rounds.
fn ratios(many: &[f64], one: &[f64]) -> (f64, f64) {
    let mut ratios: Vec<f64> = many.iter().zip(one).map(|(many, one)| many / one).collect();
    ratios.sort_by(f64::total_cmp);
    (ratios[ratios.len() - 1], ratios[ratios.len() / 2])
}

/// Steps a second in two processes of one thread each.
fn processes() -> f64 {
    let start = |_| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(PROCESS, "1").stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..2).map(start).collect();
    let per_second = |child: Child| {
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap()
    };
    children.into_iter().map(per_second).sum()
}

/// Steps a second.
fn round(component: &Component, threads: usize) -> f64 {
    let mut input = vec![0x81, 0x59, 4, 0];
    input.extend([7; 1 << 10]);
    let round = Arc::new(Round {
        component: component.clone(),
        function: "value".into(),
        input: input.into(),
        host: Arc::new(Nothing),
        steps: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let executor = Executor::new(threads).unwrap();
    for _ in 0..threads * 2 {
        next(executor.spawner(), round.clone());
    }
    let begun = Instant::now();
    thread::sleep(ROUND);
    let per_second = round.steps.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    round.over.store(true, Ordering::Relaxed);
    per_second
}

/// One step, and then the next one as a task of its own, as a node does.
fn next(spawner: Spawner, round: Arc<Round>) {
    let again = spawner.clone();
    drop(spawner.spawn(async move {
        let run = Run::Start { input: round.input.clone() };
        let step = round.component.step(round.function.clone(), run, LIMITS, round.host.clone());
        let stepped = step.await;
        assert!(matches!(stepped.end, StepEnd::Done(_)), "{:?}", stepped.end);
        round.steps.fetch_add(1, Ordering::Relaxed);
        if !round.over.load(Ordering::Relaxed) {
            next(again, round);
        }
    }));
}
