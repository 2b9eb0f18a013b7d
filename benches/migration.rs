//! A migration of a 1 KiB process between two nodes, over their real link with mutual TLS, beside a
//! ping-pong of as many bytes over plain TCP between two processes, in interleaved rounds.
//!
//! A process goes there and back once for each call of a component that only the other node holds.
//! Its source measures each migration, from handing the process over to knowing that it was
//! accepted: like the ping-pong that is one message there and one back. Beside it stands what such
//! a call takes altogether, less what it takes without leaving: two migrations, in which nobody
//! waits for the acceptance, and the waking of a thread at either end.
//!
//! And what a call of a kilobyte between two ordinary components takes that are on two nodes: a
//! process that makes one, less a process of the callee's step alone; the median of a round.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and panics when it cannot"
)]

use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use izna_bench::report::{self, Aim};
use izna_bench::spinner::Spinner;
use izna_bench::{Cluster, Options, http, wait};
use serde_json::{Value, json};

/// Calls of a process, each there and back.
const CALLS: u64 = 100;
/// Processes of a round, one after another.
const PROCESSES: u32 = 5;
const ROUND_TRIPS: u32 = 500;
const ROUNDS: usize = 15;
/// The same beside processes of idle priority, which keep the cores awake: then to wake a thread of
/// another process costs no more than on a machine that is never quite idle.
const ROUNDS_AWAKE: usize = 5;
/// What the process carries so that it has about 1 KiB on the wire.
const CARRIED_BYTES: usize = 750;
const WIRE_BYTES: usize = 1 << 10;
const SERVE: &str = "IZNA_BENCH_PONG";

const MANIFEST: &str = r#"
[app]
name = "hops"

[component.near]
source = "near.wasm"
links = { echo = "far" }
nodes = ["a"]

[component.far]
source = "far.wasm"
nodes = ["b"]

[component.here]
source = "here.wasm"
links = { echo = "here" }
nodes = ["a"]

[component.album]
source = "album.wasm"
links = { painter = "painter" }
nodes = ["a"]

[component.painter]
source = "painter.wasm"
nodes = ["b"]

[component.brush]
source = "brush.wasm"
nodes = ["a"]
"#;
/// Processes of a round that make one typed call each.
const TYPED: u32 = 200;
const TYPED_BYTES: usize = 1 << 10;

fn main() {
    if env::var_os(SERVE).is_some() {
        return pong();
    }
    let cluster = Cluster::start(Options::nodes(&["a", "b"]).alone()).unwrap();
    let app = cluster.app("hops", MANIFEST).unwrap();
    // Where a process may go is decided by code: three copies are needed.
    for variant in ["near", "far", "here"] {
        cluster.variant(&app, "echo", variant).unwrap();
    }
    for (guest, variant) in [("album", "album"), ("painter", "painter"), ("painter", "brush")] {
        cluster.variant(&app, guest, variant).unwrap();
    }
    cluster.deploy(&app, &[]).unwrap();
    let manage = cluster.node("a").unwrap().addresses().unwrap().manage;
    let mut raw = Ping::start();
    hops(manage, "near");
    let mut rounds = |count: usize| -> Vec<Round> {
        let round = |_| {
            let before = migrations(&cluster);
            let there = hops(manage, "near");
            let after = migrations(&cluster);
            let migration = (after.0 - before.0) / (after.1 - before.1);
            let call = there - hops(manage, "here");
            let typed = echo(manage, "album") - echo(manage, "brush");
            Round { migration, call, typed, raw: raw.round_trip() }
        };
        (0..count).map(round).collect()
    };
    let awake = {
        let _spinners = Spinner::on_all_cores();
        rounds(ROUNDS_AWAKE)
    };
    let rounds = rounds(ROUNDS);
    // Of what a busy machine does to a round the best has least.
    let least = |rounds: &[Round], pick: fn(&Round) -> f64| {
        rounds.iter().map(pick).fold(f64::INFINITY, f64::min)
    };
    let best = |pick: fn(&Round) -> f64| least(&rounds, pick);
    let best_awake = |pick: fn(&Round) -> f64| least(&awake, pick);
    let (migration, call, raw) = (best(|r| r.migration), best(|r| r.call), best(|r| r.raw));
    let ratio = migration / raw;
    let median = median(rounds.iter().map(|round| round.migration / round.raw).collect());
    println!("raw TCP ping-pong of {WIRE_BYTES} bytes each way: {raw:.1} us");
    println!("a migration, from delivery to acceptance: {migration:.1} us");
    println!(
        "a call there and back: {call:.1} us more than one that stays, {:.1} times",
        call / raw
    );
    let typed = best(|r| r.typed);
    let typed_median = self::median(rounds.iter().map(|round| round.typed).collect());
    let what = "a call of 1 KiB between ordinary components on two nodes";
    println!("{}", report::aim(what, typed, "us", Aim::AtMost(120.0)));
    println!("        median of {ROUNDS} rounds: {typed_median:.1} us");
    println!(
        "{}",
        report::aim("migration over raw TCP, best rounds", ratio, "times", Aim::AtMost(2.5))
    );
    println!("        median of {ROUNDS} rounds: {median:.2}");
    let awake = [best_awake(|r| r.typed), best_awake(|r| r.migration), best_awake(|r| r.raw)];
    println!(
        "with no core asleep: a typed call {:.1} us, a migration {:.1}, the ping-pong {:.1}",
        awake[0], awake[1], awake[2]
    );
    let parts = [
        ("raw_us", json!(raw)),
        ("migration_us", json!(migration)),
        ("remote_call_us", json!(call)),
        ("typed_call_us", json!(typed)),
        ("typed_call_median_us", json!(typed_median)),
        ("ratio_best", json!(ratio)),
        ("ratio_median", json!(median)),
        ("typed_migration_raw_awake_us", json!(awake)),
    ];
    report::save("migration", &parts).unwrap();
}

struct Round {
    migration: f64,
    call: f64,
    typed: f64,
    raw: f64,
}

/// What a process of one step takes that gives back a kilobyte, or of one that calls it, in
/// microseconds.
fn echo(manage: SocketAddr, component: &str) -> f64 {
    let bytes = json!({ "$bytes": "A".repeat(TYPED_BYTES / 3 * 4) });
    let call = json!({
        "app": "hops",
        "component": component,
        "function": "echo",
        "args": [bytes],
    });
    let body = call.to_string();
    let process = |_| {
        let response = http::post(manage, "/v1/call", "application/json", body.as_bytes());
        let returned = response.unwrap().json().unwrap();
        returned.get("elapsed_us").and_then(Value::as_f64).unwrap()
    };
    median((0..TYPED).map(process).collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The microseconds and the count of all migrations so far.
fn migrations(cluster: &Cluster) -> (f64, f64) {
    let sum = |name| {
        let of_node = |node: &izna_bench::Node| node.metric(name).unwrap() as f64;
        cluster.nodes().iter().map(of_node).sum()
    };
    (sum("izna_migration_us_total"), sum("izna_migrations_total"))
}

/// What one call takes, in microseconds.
fn hops(manage: SocketAddr, component: &str) -> f64 {
    let call = json!({
        "app": "hops",
        "component": component,
        "function": "hops",
        "args": [CALLS, CARRIED_BYTES],
    });
    let body = call.to_string();
    let process = |_| {
        let response = http::post(manage, "/v1/call", "application/json", body.as_bytes());
        let returned = response.unwrap().json().unwrap();
        assert_eq!(returned.get("result"), Some(&json!(CALLS)), "{returned}");
        returned.get("elapsed_us").and_then(Value::as_f64).unwrap()
    };
    (0..PROCESSES).map(process).sum::<f64>() / f64::from(PROCESSES) / CALLS as f64
}

/// The other side of the ping-pong, until its input ends.
fn pong() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = [0; WIRE_BYTES];
    while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
}

/// This side of it.
struct Ping {
    child: Child,
    stream: TcpStream,
}

impl Ping {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.env(SERVE, "1").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = Vec::new();
        let out = child.stdout.as_mut().unwrap();
        wait::until("the other side", || {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
            (byte == *b"\n").then_some(())
        })
        .unwrap();
        let address = String::from_utf8(line).unwrap();
        let stream = TcpStream::connect(address.trim()).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { child, stream }
    }

    /// What one takes, in microseconds.
    fn round_trip(&mut self) -> f64 {
        let mut bytes = [7; WIRE_BYTES];
        let begun = Instant::now();
        for _ in 0..ROUND_TRIPS {
            self.stream.write_all(&bytes).unwrap();
            self.stream.read_exact(&mut bytes).unwrap();
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS)
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
