//! What one step, one call and one decision cost within one node, with no socket and no other
//! thread, and how that stands to the aims.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench says what is wrong by panicking"
)]
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::fs;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use izna_bench::report::{self, Aim};
use izna_bench::shipped;
use izna_core::placement::{self, Belief, Candidates, Costs};
use izna_core::{Change, Core, Input, Output, Submission, Time};
use izna_proto::{
    App, Beacon, ComponentSpec, Digest, Finish, Limits, Link, Load, MemoryAnswer, MemoryOperation,
    Message, NodeId, Process, ProcessId, Run, SlotId, Spread, StepEnd, Trail, Wire, ZoneId,
};
use izna_runtime::{BoxFuture, Component, Config, Host, Runtime, StepLimits, Stepped, Stream};
use serde_json::{Value, json};

const PAYLOAD_BYTES: usize = 1 << 10;
const DECISIONS_AMONG: [u64; 3] = [8, 64, 512];
const LIMITS: StepLimits =
    StepLimits { memory_bytes_max: 64 << 20, cpu_ms_max: 1000, payload_bytes_max: 4 << 20 };

/// Steps that ask for nothing.
struct Nothing;

impl Host for Nothing {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        Box::pin(async { Ok(None) })
    }

    fn log(&self, _: Stream, _: &str) {}
}

fn runtime_and_echo() -> (Runtime, Component) {
    let runtime = Runtime::new(Config { steps_max: 100, ..Config::default() }).unwrap();
    let bytes = fs::read(shipped::guest("echo").unwrap()).unwrap();
    let admitted = runtime.admit(&bytes).unwrap();
    let component = runtime.load(admitted.digest, &admitted.component).unwrap();
    (runtime, component)
}

fn runtime_and_two(caller: &str, callee: &str) -> (Runtime, Component, Component) {
    let config = Config { steps_max: 300, warm_ms_max: 60_000, ..Config::default() };
    let runtime = Runtime::new(config).unwrap();
    let load = |name: &str| {
        let admitted = runtime.admit(&fs::read(shipped::guest(name).unwrap()).unwrap()).unwrap();
        runtime.load(admitted.digest, &admitted.component).unwrap()
    };
    let (caller, callee) = (load(caller), load(callee));
    (runtime, caller, callee)
}

/// One component that calls another.
struct Pair {
    import: &'static str,
    caller: Called,
    callee: Called,
}

/// A component, and the bench of a process that calls it.
struct Called {
    guest: &'static str,
    function: &'static str,
    input: Bytes,
    bench: &'static str,
}

/// The album calls the painter with a kilobyte, and gets it back. In Rust, as it is if nothing is
/// said: both grow their memory at their first allocation.
fn in_rust() -> Pair {
    Pair {
        import: "demo:paint/painter@0.2.0",
        caller: Called {
            guest: "album",
            function: "album.echo",
            input: arguments(),
            bench: "typed_process",
        },
        callee: Called {
            guest: "painter",
            function: "painter.echo",
            input: arguments(),
            bench: "typed_process_of_one_step",
        },
    }
}

/// A kilobyte of text is drawn, and comes back as a picture. In C, whose allocator takes what the
/// linker left of the first memory.
fn in_c() -> Pair {
    Pair {
        import: "demo:pages/renderer@0.1.0",
        caller: Called {
            guest: "c-cache",
            function: "cache.show",
            input: kilobyte(&[0x81, 0x81, 0x79]),
            bench: "typed_process_in_c",
        },
        callee: Called {
            guest: "c-renderer",
            function: "renderer.render",
            input: kilobyte(&[0x81, 0x79]),
            bench: "typed_process_of_one_step_in_c",
        },
    }
}

/// An array of one byte string.
fn arguments() -> Bytes {
    kilobyte(&[0x81, 0x59])
}

/// A string behind the beginning of its encoding.
fn kilobyte(head: &[u8]) -> Bytes {
    [head, &(PAYLOAD_BYTES as u16).to_be_bytes(), &[b'x'; PAYLOAD_BYTES]].concat().into()
}

fn to_end(component: &Component, function: Arc<str>, run: Run, host: &Arc<dyn Host>) -> Stepped {
    finish(component.step(function, run, LIMITS, host.clone()))
}

fn finish(step: izna_runtime::Step) -> Stepped {
    let mut step = pin!(step);
    let mut ctx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(stepped) = step.as_mut().poll(&mut ctx) {
            return stepped;
        }
    }
}

fn step(criterion: &mut Criterion) {
    let (_runtime, echo) = runtime_and_echo();
    let (host, function): (Arc<dyn Host>, Arc<str>) = (Arc::new(Nothing), "value".into());
    let input = arguments();
    let run = || {
        let run = Run::Start { input: input.clone() };
        let stepped = to_end(&echo, function.clone(), run, &host);
        assert!(matches!(stepped.end, StepEnd::Done(_)), "{:?}", stepped.end);
    };
    criterion.bench_function("step", |bench| bench.iter(run));
}

/// The caller's step, the callee's, and the caller's again, with core deciding between them.
fn local_call(criterion: &mut Criterion) {
    let (_runtime, echo) = runtime_and_echo();
    let host: Arc<dyn Host> = Arc::new(Nothing);
    let mut node = Alone::new(echo.digest());
    let step = |step: izna_core::Step| {
        let stepped = to_end(&echo, step.function, step.run, &host);
        (stepped.end, stepped.used)
    };
    for (name, function) in [("process_of_one_step", "value"), ("process_of_one_call", "call")] {
        let input = arguments();
        criterion.bench_function(name, |bench| {
            bench.iter(|| node.process(function, input.clone(), step));
        });
    }
}

/// A component calls another: both are ordinary ones.
fn typed_calls(criterion: &mut Criterion) {
    typed_call(criterion, &in_rust());
    if has_c() {
        typed_call(criterion, &in_c());
    }
}

/// `make guests` builds the components in C, `make guests-rust` does not.
fn has_c() -> bool {
    ["c-cache", "c-renderer"].iter().all(|guest| shipped::guest(guest).is_ok())
}

fn typed_call(criterion: &mut Criterion, pair: &Pair) {
    let (_runtime, caller, callee) = runtime_and_two(pair.caller.guest, pair.callee.guest);
    let host: Arc<dyn Host> = Arc::new(Nothing);
    let mut node = Alone(Driven::of(1, typed_app(&caller, &callee, pair.import)));
    for component in [&caller, &callee] {
        node.0.handle(Input::Ready { digest: component.digest(), cost: None });
    }
    let step = |step: izna_core::Step| {
        let component = if step.digest == caller.digest() { &caller } else { &callee };
        let future = component.step(step.function, step.run, LIMITS, host.clone());
        let stepped = finish(future.of(step.process));
        (stepped.end, stepped.used)
    };
    for (component, called) in [("caller", &pair.caller), ("callee", &pair.callee)] {
        let (function, input) = (called.function, &called.input);
        criterion.bench_function(called.bench, |bench| {
            bench.iter(|| node.process_of("pair", component, function, input.clone(), step));
        });
    }
}

/// A function that has made ten calls of a kilobyte goes on where it was not before.
fn replay(criterion: &mut Criterion) {
    const CALLS: u32 = 10;
    let (_runtime, album, _painter) = runtime_and_two("album", "painter");
    let host: Arc<dyn Host> = Arc::new(Nothing);
    let function: Arc<str> = "demo:album/album@0.1.0.echoes".into();
    let mut input = vec![0x82];
    input.extend_from_slice(&arguments().slice(1..));
    input.push(CALLS as u8);
    let result = arguments().slice(1..);
    let mut run = Run::Start { input: input.into() };
    for _ in 0..CALLS {
        let stepped = to_end(&album, function.clone(), run, &host);
        let StepEnd::Suspend { continuation, .. } = stepped.end else { unreachable!("it calls") };
        run = Run::Resume { continuation: continuation.into_inline(), outcome: Ok(result.clone()) };
    }
    criterion.bench_function("replay_of_10_calls", |bench| {
        bench.iter(|| {
            let stepped = to_end(&album, function.clone(), run.clone(), &host);
            assert_eq!(stepped.end, StepEnd::Done(vec![CALLS as u8].into()));
        });
    });
}

/// What a suspended function keeps of the machine's memory, in KiB.
fn warm_kib() -> f64 {
    const COUNT: u128 = 200;
    let (runtime, album, _painter) = runtime_and_two("album", "painter");
    let host: Arc<dyn Host> = Arc::new(Nothing);
    let suspend = |process: u128| {
        let run = Run::Start { input: arguments() };
        let step = album.step("album.echo".into(), run, LIMITS, host.clone());
        let stepped = finish(step.of(ProcessId(process)));
        assert!(matches!(stepped.end, StepEnd::Suspend { .. }), "{:?}", stepped.end);
    };
    let resident_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    suspend(0);
    let before = resident_kib();
    (1..=COUNT).for_each(suspend);
    let each = (resident_kib() - before) / COUNT as f64;
    assert_eq!(runtime.warm_counts().kept as u128, COUNT + 1);
    runtime.clear();
    each
}

/// The same with steps that cost nothing: what core itself takes.
fn decisions(criterion: &mut Criterion) {
    let digest = Digest([7; 32]);
    let mut node = Alone::new(digest);
    let input = arguments();
    let step = |step: izna_core::Step| {
        let Run::Start { input } = step.run else { unreachable!("nothing is called") };
        (StepEnd::Done(input.into()), Duration::from_micros(5))
    };
    criterion.bench_function("core_process_of_one_step", |bench| {
        bench.iter(|| node.process("value", input.clone(), step));
    });

    for nodes in DECISIONS_AMONG {
        decision(criterion, nodes);
    }
    let mut cluster = Placing::new(digest, 8);
    criterion.bench_function("core_placement_among_8_nodes", |bench| {
        bench.iter(|| cluster.process(input.clone()));
    });
}

/// One decision: an estimate for each of so many other nodes, and the draw.
fn decision(criterion: &mut Criterion, nodes: u64) {
    let now = Time::from_micros(0);
    let load = |node: u64| Load { wait_us: 900 * (node % 7) as u32, ..load() };
    let beliefs: Vec<(NodeId, Belief)> =
        (0..nodes).map(|node| (NodeId(node), Belief::new(load(node), now))).collect();
    let costs = Costs { hop_us: 150.0, move_us: 30.0, demand_us: 5000.0 };
    let mut candidates = Candidates::default();
    let mut unit = 0.0_f64;
    criterion.bench_function(&decision_among(nodes), |bench| {
        bench.iter(|| {
            candidates.clear();
            for (node, belief) in &beliefs {
                candidates.push(*node, placement::there(belief, &costs));
            }
            // The golden ratio's multiples are spread evenly.
            unit = (unit + 0.618_034).fract();
            candidates.draw(&costs, unit)
        });
    });
}

fn decision_among(nodes: u64) -> String {
    format!("decision_among_{nodes}_nodes")
}

fn wire(criterion: &mut Criterion) {
    let mut cluster = Placing::new(Digest([7; 32]), 1);
    let process = cluster.process(arguments());
    let bytes = process.to_bytes();
    println!("a process with a payload of {PAYLOAD_BYTES} bytes has {} on the wire", bytes.len());
    criterion.bench_function("encode_process_of_1_kib", |bench| {
        bench.iter(|| black_box(&process).to_bytes());
    });
    criterion.bench_function("decode_process_of_1_kib", |bench| {
        bench.iter(|| Process::from_bytes(black_box(bytes.clone())).unwrap());
    });
}

/// A core, its clock, and the ids that its shell gives out.
struct Driven {
    core: Core,
    began: Instant,
    next: u64,
}

impl Driven {
    fn new(node: u64, spread: Spread, digest: Digest) -> Self {
        Self::of(node, app(digest, spread))
    }

    fn of(node: u64, app: App) -> Self {
        let core = Core::new(izna_core::Config::new(NodeId(node), 1, 2), Time::default());
        let mut driven = Self { core, began: Instant::now(), next: 0 };
        driven.handle(Input::Change { request: 0, change: Change::Deploy(app) });
        driven
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let micros = self.began.elapsed().as_micros() as i64;
        self.core.handle(Time::from_micros(micros), input);
        std::iter::from_fn(|| self.core.poll()).collect()
    }

    fn submission(&mut self, app: &str, component: &str, function: &str, input: Bytes) -> Input {
        self.next += 1;
        Input::Submit(Submission {
            slot: SlotId(self.next),
            id: ProcessId(self.next.into()),
            app: app.into(),
            component: component.into(),
            function: function.into(),
            input: input.into(),
            idempotent: true,
            deadline: Duration::from_secs(10),
            traceparent: None,
        })
    }
}

fn app(digest: Digest, spread: Spread) -> App {
    let echo = ComponentSpec {
        name: "echo".into(),
        digest,
        links: vec![link("echo", "echo")],
        limits: Limits::default(),
        grants: Arc::default(),
        spread,
    };
    App { name: "echo".into(), components: vec![echo], routes: Vec::new() }
}

fn link(name: &str, target: &str) -> Link {
    Link { name: name.into(), target: target.into(), local: false }
}

fn typed_app(caller: &Component, callee: &Component, import: &str) -> App {
    let spec = |name: &str, component: &Component, links| ComponentSpec {
        name: name.into(),
        digest: component.digest(),
        links,
        limits: Limits::default(),
        grants: Arc::default(),
        spread: Spread::all(),
    };
    let links = vec![link(import, "callee")];
    let components = vec![spec("caller", caller, links), spec("callee", callee, Vec::new())];
    App { name: "pair".into(), components, routes: Vec::new() }
}

/// A node without others.
struct Alone(Driven);

impl Alone {
    fn new(digest: Digest) -> Self {
        let mut driven = Driven::new(1, Spread::all(), digest);
        driven.handle(Input::Ready { digest, cost: None });
        Self(driven)
    }

    /// One process from its submission to its reply.
    fn process(
        &mut self,
        function: &str,
        input: Bytes,
        step: impl Fn(izna_core::Step) -> (StepEnd, Duration),
    ) {
        self.process_of("echo", "echo", function, input, step);
    }

    fn process_of(
        &mut self,
        app: &str,
        component: &str,
        function: &str,
        input: Bytes,
        step: impl Fn(izna_core::Step) -> (StepEnd, Duration),
    ) {
        let submission = self.0.submission(app, component, function, input);
        let mut outputs = self.0.handle(submission);
        loop {
            let mut next = None;
            for output in outputs {
                match output {
                    Output::Run(run) => next = Some(run),
                    Output::Reply(reply) => {
                        assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
                        return;
                    }
                    _ => {}
                }
            }
            let run = next.expect("a step or a reply");
            let held = run.held;
            let (end, used) = step(run);
            let took = used;
            outputs = self.0.handle(Input::Stepped { held, end, used, took, warm: false });
        }
    }
}

/// A gateway whose component only others hold.
struct Placing {
    driven: Driven,
    others: Vec<NodeId>,
    sequence: u64,
    beacon: Instant,
}

impl Placing {
    fn new(digest: Digest, others: u64) -> Self {
        let others: Vec<NodeId> = (2..2 + others).map(NodeId).collect();
        let driven = Driven::new(1, Spread::nodes(others.clone()), digest);
        let mut placing = Self { driven, others, sequence: 0, beacon: Instant::now() };
        placing.beacons();
        for peer in placing.others.clone() {
            placing.driven.handle(Input::LinkUp {
                peer,
                incarnation: 1,
                name: "peer".into(),
                traits: izna_proto::Traits::default(),
                zone: ZoneId::default(),
            });
            let component = izna_proto::ComponentId::of("echo", "echo", &digest);
            let copies = vec![izna_proto::ComponentCopy { component, adopted: None }];
            let message = Message::Inventory { epoch: 1, table: 0, copies };
            placing.driven.handle(Input::Received { peer, message });
        }
        placing
    }

    /// The others are heard, as often as they are in a cluster.
    fn beacons(&mut self) {
        self.sequence += 1;
        self.beacon = Instant::now();
        for node in self.others.clone() {
            let (incarnation, sequence, epoch) = (1, self.sequence, 1);
            let beacon = Beacon {
                zone: ZoneId::default(),
                node,
                incarnation,
                sequence,
                peer_port: 1,
                load: load(),
                epoch,
            };
            self.driven.handle(Input::Heard(beacon));
        }
    }

    /// One process from its submission over its delivery to its reply; as it was delivered.
    fn process(&mut self, input: Bytes) -> Process {
        if self.beacon.elapsed() > Duration::from_millis(250) {
            self.beacons();
        }
        let submission = self.driven.submission("echo", "echo", "value", input);
        let outputs = self.driven.handle(submission);
        let sent = outputs.into_iter().find_map(|output| match output {
            Output::Send { peer, message: Message::Deliver(delivery) } => Some((peer, delivery)),
            _ => None,
        });
        let (peer, delivery) = sent.expect("a delivery");
        let message = Message::Accepted { delivery: delivery.id, load: load(), level_us: None };
        self.driven.handle(Input::Received { peer, message });
        let process = delivery.process;
        let message = Message::Finish(Finish {
            id: delivery.id,
            load: load(),
            process: process.id,
            home: process.home,
            outcome: Ok((&[0xf6]).into()),
            trail: Trail { nodes: vec![peer], ..Trail::default() },
        });
        let outputs = self.driven.handle(Input::Received { peer, message });
        assert!(outputs.iter().any(|output| matches!(output, Output::Reply(_))), "{outputs:?}");
        process
    }
}

fn load() -> Load {
    Load { idle: 2, capacity_milli: 2000, accepting: true, ..Load::default() }
}

/// The best and the median of criterion's samples of a benchmark, in microseconds. Of what a busy
/// machine does to a sample the best has least.
fn samples_us(name: &str) -> Option<(f64, f64)> {
    let path = shipped::target().join("criterion").join(name).join("new/sample.json");
    let sample: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let numbers = |key: &str| {
        let list = sample.get(key)?.as_array()?;
        list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()
    };
    let pairs = numbers("times")?.into_iter().zip(numbers("iters")?);
    let mut each: Vec<f64> = pairs.map(|(nanos, count)| nanos / count / 1000.0).collect();
    each.sort_by(f64::total_cmp);
    Some((*each.first()?, *each.get(each.len() / 2)?))
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(40)
        .configure_from_args();
    [step, local_call, typed_calls, replay, decisions, wire]
        .iter()
        .for_each(|bench| bench(&mut criterion));
    criterion.final_summary();
    let figures = [
        "step",
        "process_of_one_step",
        "process_of_one_call",
        "typed_process_of_one_step",
        "typed_process",
        "replay_of_10_calls",
    ];
    // None of a selection by name, or of a run that only tests.
    let [Some(step), Some(one), Some(call), Some(typed_one), Some(typed), Some(replay)] =
        figures.map(samples_us)
    else {
        return;
    };
    let local_call = (call.0 - one.0, call.1 - one.1);
    let typed_call = (typed.0 - typed_one.0, typed.1 - typed_one.1);
    for (what, (best, median), aim) in [
        ("a step: instantiate, run, drop", step, 12.0),
        ("a local call: two steps and what core does", local_call, 15.0),
        ("a local call of 1 KiB between ordinary components in Rust", typed_call, 15.0),
        ("going on elsewhere after 10 calls of 1 KiB", replay, 30.0),
    ] {
        println!("{}", report::aim(what, best, "us", Aim::AtMost(aim)));
        println!("        median: {median:.2} us");
    }
    let Pair { caller, callee, .. } = in_c();
    let in_c = [caller, callee].map(|called| samples_us(called.bench));
    if let [Some(in_c), Some(one_in_c)] = in_c
        && has_c()
    {
        let (best, median) = (in_c.0 - one_in_c.0, in_c.1 - one_in_c.1);
        let what = "a local call of 1 KiB between ordinary components in C";
        println!("{}", report::aim(what, best, "us", Aim::AtMost(15.0)));
        println!("        median: {median:.2} us");
    }
    let decisions = DECISIONS_AMONG.map(|nodes| (nodes, samples_us(&decision_among(nodes))));
    for (nodes, (best, _)) in decisions.iter().filter_map(|(n, us)| us.map(|us| (n, us))) {
        let what = format!("a decision among {nodes} nodes");
        match nodes {
            64 => println!("{}", report::aim(&what, best, "us", Aim::AtMost(1.0))),
            _ => println!("        {what}: {best:.2} us"),
        }
    }
    let warm_kib = warm_kib();
    println!("a suspended function that is kept: {warm_kib:.0} KiB of memory");
    let parts = [
        ("step_us", step),
        ("local_call_us", local_call),
        ("typed_call_us", typed_call),
        ("replay_us", replay),
    ];
    let parts = parts.map(|(key, (best, median))| (key, json!({ "best": best, "median": median })));
    report::save("micro", &[&parts[..], &[("warm_kib", json!(warm_kib))]].concat()).unwrap();
}
