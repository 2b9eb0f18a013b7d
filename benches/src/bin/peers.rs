//! Izna beside what a user would take instead: plain hyper without isolation, and `wasmtime serve`
//! with a fresh instance for each request, in its default settings and with pool slots kept
//! resident. Izna serves the same wasi:http component as `wasmtime serve`, and `echo`, which speaks
//! its own interface. Rounds are interleaved; compare ratios, for nobody has these two cores to
//! himself.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use izna_bench::report::{self, Aim, Table};
use izna_bench::{Cluster, Load, Options, Plan, Report, Requests, http, shipped, usage, wait};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(500);
/// What all of them answer with.
const BODY: &[u8] = b"Hello, world";
const OURS: &str = "izna, wasi:http";
const EXPLICIT: &str = "izna, explicit component";
const DEFAULT: &str = "wasmtime serve";
const RESIDENT: &str = "wasmtime serve, slots kept resident";
const PLAIN: &str = "hyper, no Wasm";
/// What `wasmtime serve` is told so that a freed slot keeps its pages, as Izna's do.
const RESIDENT_FLAGS: [&str; 3] = [
    "-Opooling-memory-keep-resident=2097152",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
];

/// A server to be measured.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    request: Vec<u8>,
    /// Ended when dropped; none where the cluster ends it.
    _server: Option<Server>,
}

/// A child that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The wasi:http component as an app of one route.
const HELLO: &str = r#"
[app]
name = "hello"

[component.hello]
source = "GUESTS/hello-http.wasm"

[[route]]
path = "/hello"
component = "hello"
"#;
/// What a user of the default settings of `wasmtime serve` should gain, and one of its resident
/// pool.
const TIMES_DEFAULT: f64 = 1.4;
const TIMES_RESIDENT: f64 = 1.0;

/// Measure components of Izna beside `wasmtime serve` and a service without Wasm.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many connections ask at once, one after the other of these
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
}

/// What one subject did at one number of connections in all rounds.
#[derive(Default)]
struct Results {
    rounds: Vec<Report>,
    cpu_us: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::TempDir::with_prefix("izna-peers-")?;
    let cluster = Cluster::start(Options::nodes(&["a"]).alone())?;
    cluster.deploy(&shipped::root().join("components/echo"), &[])?;
    let hello = shipped::guest("hello-http");
    if hello.is_ok() {
        cluster.deploy(&cluster.app("hello", HELLO)?, &[])?;
    }
    let subjects = subjects(&cluster, hello, folder.path())?;
    let mut results: BTreeMap<(usize, usize), Results> = BTreeMap::new();
    for subject in &subjects {
        measure(subject, 16, WARM_UP)?;
    }
    for _ in 0..ROUNDS {
        for connections in arguments.connections.iter().copied() {
            for (index, subject) in subjects.iter().enumerate() {
                let (report, cpu_us) = measure(subject, connections, ROUND)?;
                let results = results.entry((connections, index)).or_default();
                results.rounds.push(report);
                results.cpu_us.push(cpu_us);
            }
        }
    }
    show(&subjects, &results)
}

fn subjects(cluster: &Cluster, hello: Result<PathBuf>, folder: &Path) -> Result<Vec<Subject>> {
    let node = cluster.nodes().first().context("no node")?;
    let (address, pid) = (node.addresses()?.gateway, node.pid()?);
    let ours = |name, path| {
        let request = http::request("POST", path, &[], BODY);
        Subject { name, address, pid, request, _server: None }
    };
    let mut subjects = Vec::new();
    if hello.is_ok() {
        subjects.push(ours(OURS, "/hello"));
    }
    subjects.push(ours(EXPLICIT, "/echo"));
    let mut plain = Command::new(env::current_exe()?.with_file_name("bench-hello"));
    plain.arg(BODY.len().to_string());
    subjects.push(spawned(PLAIN, plain, folder, None)?);
    match (wasmtime(), hello) {
        (Some(wasmtime), Ok(guest)) => {
            for (name, flags) in [(DEFAULT, &[][..]), (RESIDENT, &RESIDENT_FLAGS[..])] {
                let address = free_address()?;
                let mut serve = Command::new(&wasmtime);
                serve.args(["serve", "-Scli", "--addr", &address.to_string()]).args(flags);
                serve.arg(&guest);
                subjects.push(spawned(name, serve, folder, Some(address))?);
            }
        }
        (None, _) => println!("without wasmtime serve: run benches/peers.sh first"),
        (_, Err(error)) => println!("without wasmtime serve: {error:#}"),
    }
    Ok(subjects)
}

/// The `wasmtime` program: named by `WASMTIME`, or the one that `benches/peers.sh` has installed.
fn wasmtime() -> Option<PathBuf> {
    let installed = || shipped::root().join("target/tools/bin/wasmtime");
    let path = env::var_os("WASMTIME").map_or_else(installed, PathBuf::from);
    path.is_file().then_some(path)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Start a server and wait until it answers. It is at `address`, or says where it is.
fn spawned(
    name: &'static str,
    mut command: Command,
    folder: &Path,
    address: Option<SocketAddr>,
) -> Result<Subject> {
    let log = folder.join(name.replace([' ', ','], "-"));
    let output = File::create(&log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let pid = child.id();
    let server = Server(child);
    let request = http::request("POST", "/", &[], BODY);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let found = wait::until(&format!("{name} to answer"), || {
        let address = address.or_else(|| said().split_whitespace().last()?.parse().ok())?;
        let response = http::exchange(address, &request).ok()?;
        (response.status == 200).then_some((address, response.body.len()))
    });
    let (address, bytes) = found.with_context(said)?;
    if bytes != BODY.len() {
        bail!("{name} answers with {bytes} bytes in place of {}", BODY.len());
    }
    Ok(Subject { name, address, pid, request, _server: Some(server) })
}

/// A load, and the processor time of the server for each request in microseconds.
fn measure(subject: &Subject, connections: usize, time: Duration) -> Result<(Report, f64)> {
    let mut plan = Plan::get(subject.address, "/", connections);
    plan.requests = Requests::InTurn(vec![subject.request.clone()]);
    let before = usage::cpu(subject.pid)?;
    let report = Load::run(plan, time)?;
    let used = usage::cpu(subject.pid)?.saturating_sub(before);
    if let Some(failure) = report.first_failure {
        bail!("{}: {failure}", subject.name);
    }
    let cpu_us = used.as_secs_f64() * 1e6 / report.done().max(1) as f64;
    Ok((report, cpu_us))
}

fn show(subjects: &[Subject], results: &BTreeMap<(usize, usize), Results>) -> Result<()> {
    let mut table = Table::new(&[
        "server",
        "connections",
        "requests/s, median",
        "best",
        "p50 us",
        "p99 us",
        "CPU us/request",
        "MB",
    ]);
    for ((connections, index), results) in results {
        let Some(subject) = subjects.get(*index) else { continue };
        let of = |figure: fn(&Report) -> f64| results.rounds.iter().map(figure).collect();
        table.row(vec![
            json!(subject.name),
            json!(connections),
            json!(median(of(Report::per_second))),
            json!(of(Report::per_second).into_iter().fold(0.0, f64::max)),
            json!(median(of(|report| report.quantile_us(0.5) as f64))),
            json!(median(of(|report| report.quantile_us(0.99) as f64))),
            json!(median(results.cpu_us.clone())),
            json!(usage::resident(subject.pid)? as f64 / 1e6),
        ]);
    }
    println!("{}", table.markdown());
    let ratios = ratios(subjects, results);
    let path = report::save("peers", &[("rows", table.json()), ("ratios", ratios)])?;
    println!("kept in {}", path.display());
    Ok(())
}

/// The first of ours over each other, round by round; the median of the rounds.
fn ratios(subjects: &[Subject], results: &BTreeMap<(usize, usize), Results>) -> Value {
    let ours_name = subjects.first().map_or("", |subject| subject.name);
    let mut rows = Vec::new();
    let connections: BTreeSet<usize> =
        results.keys().map(|(connections, _)| *connections).collect();
    for connections in connections {
        let Some(ours) = results.get(&(connections, 0)) else { continue };
        for (index, subject) in subjects.iter().enumerate().skip(1) {
            let Some(theirs) = results.get(&(connections, index)) else { continue };
            let pairs = ours.rounds.iter().zip(&theirs.rounds);
            let ratio =
                median(pairs.clone().map(|(a, b)| a.per_second() / b.per_second()).collect());
            let p99 = |report: &Report| report.quantile_us(0.99) as f64;
            let slower = median(pairs.map(|(a, b)| p99(a) / p99(b)).collect());
            let what = format!("{ours_name} over {} at {connections}", subject.name);
            let aim = match subject.name {
                DEFAULT => Some(TIMES_DEFAULT),
                RESIDENT => Some(TIMES_RESIDENT),
                _ => None,
            };
            match aim.filter(|_| ours_name == OURS) {
                Some(aim) => {
                    println!("{}", report::aim(&what, ratio, "times", Aim::AtLeast(aim)));
                    let what = format!("the p99 of {what}");
                    println!("{}", report::aim(&what, slower, "times", Aim::AtMost(1.0)));
                }
                None => println!("        {what}: {ratio:.2} times, its p99 {slower:.2} times"),
            }
            rows.push(json!({
                "over": subject.name, "connections": connections, "ratio": ratio, "p99": slower,
            }));
        }
    }
    Value::Array(rows)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
