//! Requests a second and latencies through the gateway, of clusters of one and of three nodes, at
//! 1, 16 and 64 connections. All of them share this machine with the clients: more nodes are not
//! more cores here, so what three nodes show beside one is what distribution costs.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use izna_bench::report::{self, Table};
use izna_bench::{Cluster, Load, Options, Plan, Requests, http, shipped, usage};
use serde_json::{Value, json};

const WARM_UP: Duration = Duration::from_millis(700);
const MEASURED: Duration = Duration::from_secs(3);
const HELLO: &[u8] = b"Hello, world";

/// Measure requests a second of clusters of one and of three nodes.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many connections ask at once, one after the other of these
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
}

/// A service: its app's folder, and the requests that are made of it.
struct Service {
    name: &'static str,
    folder: &'static str,
    requests: Vec<Vec<u8>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut table = Table::new(&[
        "service",
        "nodes",
        "connections",
        "requests/s",
        "p50 us",
        "p99 us",
        "max us",
        "CPU us/request",
        "failed",
    ]);
    for names in [&["a"][..], &["a", "b", "c"]] {
        let cluster = Cluster::start(Options::nodes(names).alone())?;
        for service in services() {
            cluster.deploy(&shipped::root().join("components").join(service.folder), &[])?;
            for connections in &arguments.connections {
                table.row(measure(&cluster, &service, *connections)?);
            }
        }
    }
    println!("{}", table.markdown());
    let path = report::save("cluster", &[("rows", table.json())])?;
    println!("kept in {}", path.display());
    Ok(())
}

fn services() -> Vec<Service> {
    let get = |path: &str| http::request("GET", path, &[], &[]);
    // Formulas that nobody asked for before are drawn; those of a hundred are remembered.
    let new = (0..20_000).map(|n| get(&format!("/tex?f=%5Cfrac%7Ba_%7B{n}%7D%7D%7Bb%7D")));
    let known = (0..100).map(|n| get(&format!("/tex?f=%5Csqrt%7Bx_%7B{n}%7D%7D")));
    vec![
        Service {
            name: "echo",
            folder: "echo",
            requests: vec![http::request("POST", "/echo", &[], HELLO)],
        },
        Service { name: "tex, new formulas", folder: "tex", requests: new.collect() },
        Service { name: "tex, known formulas", folder: "tex", requests: known.collect() },
    ]
}

fn measure(cluster: &Cluster, service: &Service, connections: usize) -> Result<Vec<Value>> {
    let node = cluster.nodes().first().context("no node")?;
    let address = node.addresses()?.gateway;
    let mut plan = Plan::get(address, "/", connections);
    let mut requests = service.requests.clone();
    plan.requests = Requests::InTurn(requests.clone());
    Load::run(plan.clone(), WARM_UP)?;
    // A second turn of the same formulas would find them drawn.
    requests.rotate_left(service.requests.len() / 3 * 2);
    plan.requests = Requests::InTurn(requests);
    let before = cpu(cluster)?;
    let report = Load::run(plan, MEASURED)?;
    let used = cpu(cluster)?.saturating_sub(before);
    if report.done() == 0 {
        bail!("nothing was served: {:?}", report.first_failure);
    }
    if let Some(failure) = &report.first_failure {
        println!("{}: {:?}; the first: {failure}", service.name, report.failures);
    }
    Ok(vec![
        json!(service.name),
        json!(cluster.nodes().len()),
        json!(connections),
        json!(report.per_second()),
        json!(report.quantile_us(0.5)),
        json!(report.quantile_us(0.99)),
        json!(report.latency_us.max()),
        json!(used.as_secs_f64() * 1e6 / report.done() as f64),
        json!(report.failed()),
    ])
}

/// Processor time of all nodes.
fn cpu(cluster: &Cluster) -> Result<Duration> {
    cluster.nodes().iter().map(|node| usage::cpu(node.pid()?)).sum()
}
