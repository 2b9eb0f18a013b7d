//! The placement simulator beside a real cluster: four nodes with CPU quotas and the shipped binary
//! get the very requests, at the very times, that the simulator plays. What `make agreement` runs;
//! the figures go into `docs/placement/agreement.md`.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use izna_bench::quota::Quotas;
use izna_bench::report::{self, Aim, Table};
use izna_bench::spinner::Spinner;
use izna_bench::timetable::gateways;
use izna_bench::{
    Cluster, Load, Network, Options, Pace, Plan, Requests, http, shipped, usage, wait,
};
use izna_sim::placement::{Order, Request, Results, Scenario, Service, play, requests};
use serde_json::{Value, json};

const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const MANIFEST: &str = r#"[app]
name = "spin"
[component.painter]
source = "GUESTS/painter.wasm"
[component.album]
source = "GUESTS/album.wasm"
[[route]]
path = "/spin"
component = "painter"
function = "spin"
[[route]]
path = "/slow"
component = "album"
function = "album.slow"
"#;
/// The processor time of one call of `spin`, in milliseconds: against it neither the way nor the
/// period of a quota (20 ms) counts for much.
const SPIN_MS: f64 = 30.0;
/// That of a step that only calls the next one.
const CALL_MS: f64 = 0.1;
const CONNECTIONS: usize = 256;
const SEED: u64 = 11;
const WARM_UP: Duration = Duration::from_secs(5);
/// Requests that the cluster may refuse, because they would wait for more than half a second: the
/// simulator takes them all.
const REFUSED_MAX: f64 = 0.02;

/// Compare the simulator with a real cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long each comparison lasts, in seconds
    #[arg(long, default_value_t = 65.0)]
    seconds: f64,
    /// Where the figures go [default: docs/placement/agreement.md]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A workload.
struct Cell {
    what: &'static str,
    capacities: [f64; 4],
    /// One call of exponential length, or two of the same length by a function of another component.
    service: Service,
    load: f64,
}

const EQUAL: [f64; 4] = [0.35; 4];
const UNEQUAL: [f64; 4] = [0.55, 0.4, 0.3, 0.15];

const fn cell(what: &'static str, capacities: [f64; 4], service: Service, load: f64) -> Cell {
    Cell { what, capacities, service, load }
}

const CELLS: [Cell; 6] = [
    cell("one step, exponential", EQUAL, Service::Exponential, 0.5),
    cell("one step, exponential", EQUAL, Service::Exponential, 0.75),
    cell("five steps, two of them long", EQUAL, Service::Fixed, 0.5),
    cell("five steps, two of them long", EQUAL, Service::Fixed, 0.75),
    cell("one step, exponential", UNEQUAL, Service::Exponential, 0.5),
    cell("one step, exponential", UNEQUAL, Service::Exponential, 0.75),
];

impl Cell {
    fn scenario(&self, seconds: f64) -> Scenario {
        let steps_ms = match self.service {
            Service::Fixed => vec![CALL_MS, SPIN_MS, CALL_MS, SPIN_MS, CALL_MS],
            _ => vec![SPIN_MS],
        };
        let scenario = Scenario {
            capacities: self.capacities.to_vec(),
            steps_ms,
            service: self.service,
            load: self.load,
            duration_s: seconds,
            warm_up_s: WARM_UP.as_secs_f64(),
            order: Order::Birth,
            beacon_ms: 250.0,
            ..Scenario::default()
        };
        scenario.suited()
    }

    /// The requests as the cluster is asked.
    fn asked(&self, requests: &[Request], millions_per_ms: f64) -> Vec<Vec<u8>> {
        let asked = |(number, request): (usize, &Request)| {
            let spin_ms = request.steps_ms.iter().copied().fold(0.0, f64::max);
            let millions = (spin_ms * millions_per_ms).round().max(1.0);
            match self.service {
                Service::Fixed => {
                    let body = json!({ "seed": number, "millions": millions as u32 }).to_string();
                    let kind = ("content-type", "application/json");
                    http::request("POST", "/slow", &[kind], body.as_bytes())
                }
                _ => {
                    let path = format!("/spin?seed={number}&millions={millions}");
                    http::request("GET", &path, &[], &[])
                }
            }
        };
        requests.iter().enumerate().map(asked).collect()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.seconds > 2.0 * WARM_UP.as_secs_f64(), "--seconds must be over 10");
    Quotas::new().context("without quotas four nodes are not what the simulator plays")?;
    let _spinners = Spinner::on_all_cores();
    let millions_per_ms = calibrate()?;
    let cluster = begin()?;
    let mut table = Table::new(&[
        "processes",
        "capacity of the nodes, cores",
        "load",
        "mean ms, simulated",
        "mean ms, real",
        "ratio",
        "p99 ms, simulated",
        "p99 ms, real",
        "refused, %",
        "ms a request beside its steps",
    ]);
    let mut worst = 0.0f64;
    for cell in &CELLS {
        limit(&cluster, cell.capacities)?;
        let scenario = cell.scenario(arguments.seconds);
        let real = measure(&cluster, cell, &scenario, millions_per_ms)?;
        let simulated = play(&with_overhead(scenario, real.beside_ms), SEED, "izna");
        worst = worst.max((real.mean_ms / simulated.mean_ms - 1.0).abs());
        println!("{:.0} ms, simulated {:.0} ms", real.mean_ms, simulated.mean_ms);
        table.row(row(cell, &simulated, &real));
    }
    let aim = report::aim("largest difference of the means", worst * 100.0, "%", Aim::AtMost(15.0));
    let text = format!(
        "# The simulator beside a real cluster\n\nWritten by `make agreement`: four nodes with CPU \
         quotas and the shipped binary, by HTTP over TCP on a bridge, get the requests that the \
         simulator plays, at the same times and of the same processor times ({SPIN_MS} ms the long \
         steps), for {} s each. The simulator's nodes are one core as slow as the quota. It knows \
         nothing of requests, sockets or encryption, so it is told what they took in that run, in \
         the last column: a request's first step takes so much longer.\n\n{}\n    {aim}\n",
        arguments.seconds,
        table.markdown(),
    );
    println!("{text}");
    let out = arguments.out.unwrap_or_else(|| shipped::root().join("docs/placement/agreement.md"));
    fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()))
}

/// What the cluster has done.
struct Real {
    mean_ms: f64,
    p99_ms: f64,
    refused: f64,
    /// Processor time of a request beside its long steps.
    beside_ms: f64,
}

/// The same requests at the same times, whose first step takes so much longer.
fn with_overhead(mut scenario: Scenario, beside_ms: f64) -> Scenario {
    let work_ms: f64 = scenario.steps_ms.iter().sum();
    if let Some(first) = scenario.steps_ms.first_mut() {
        *first += beside_ms;
    }
    scenario.load *= (work_ms + beside_ms) / work_ms;
    scenario
}

fn row(cell: &Cell, simulated: &Results, real: &Real) -> Vec<Value> {
    let capacities = cell.capacities.map(|capacity| capacity.to_string()).join(", ");
    vec![
        json!(cell.what),
        json!(capacities),
        json!(cell.load),
        json!(simulated.mean_ms),
        json!(real.mean_ms),
        json!(real.mean_ms / simulated.mean_ms),
        json!(simulated.p99_ms),
        json!(real.p99_ms),
        json!(real.refused * 100.0),
        json!(real.beside_ms),
    ]
}

/// How far `spin` counts in a millisecond of a whole core, in millions.
fn calibrate() -> Result<f64> {
    const MILLIONS: u32 = 100;
    let cluster = Cluster::start(Options::nodes(&["calibration"]).alone())?;
    cluster.deploy(&cluster.app("spin", MANIFEST)?, &[])?;
    let path = format!("/spin?seed=1&millions={MILLIONS}");
    let report = Load::run(plan(&cluster, &path, 1), Duration::from_secs(5))?;
    ensure!(report.failed() == 0, "{:?}", report.first_failure);
    Ok(f64::from(MILLIONS) / (report.quantile_us(0.5) as f64 / 1e3))
}

fn plan(cluster: &Cluster, path: &str, connections: usize) -> Plan {
    let gateways = gateways(cluster, &[]);
    let first = gateways.first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 1).into());
    Plan { gateways, place: cluster.clients(), ..Plan::get(first, path, connections) }
}

fn begin() -> Result<Cluster> {
    let (cores, network) = (Some(EQUAL[0]), Network::best());
    let options = Options { cores, network, ..Options::nodes(&NAMES).alone() };
    let cluster = Cluster::start(options)?;
    cluster.deploy(&cluster.app("spin", MANIFEST)?, &[])?;
    Ok(cluster)
}

/// Give the nodes these capacities, and wait until they tell them.
fn limit(cluster: &Cluster, capacities: [f64; 4]) -> Result<()> {
    for (node, cores) in cluster.nodes().iter().zip(capacities) {
        node.group().context("a node without a quota")?.limit(cores)?;
    }
    let asked = capacities.map(|cores| (cores * 1000.0).round() as u64);
    wait::within(Duration::from_secs(60), "nodes to tell their new quotas", || {
        let all = cluster.nodes().iter().zip(asked).all(|(node, asked)| {
            let nodes = node.manage("/v1/nodes").unwrap_or_default();
            let own = nodes.pointer("/0/load/capacity_milli").and_then(Value::as_u64);
            own == Some(asked)
        });
        all.then_some(())
    })?;
    // A beacon later all others know.
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn measure(
    cluster: &Cluster,
    cell: &Cell,
    scenario: &Scenario,
    millions_per_ms: f64,
) -> Result<Real> {
    let requests = requests(scenario, SEED);
    let mut plan = plan(cluster, "/spin", CONNECTIONS);
    plan.requests = Requests::InTurn(cell.asked(&requests, millions_per_ms));
    plan.pace = Pace::At { times: requests.iter().map(|request| request.at).collect() };
    let used =
        || cluster.nodes().iter().map(|node| usage::cpu(node.pid()?)).sum::<Result<Duration>>();
    let before = used()?;
    let load = Load::start(plan)?;
    let until = Duration::from_secs_f64(scenario.duration_s);
    thread::sleep(until);
    let report = load.end()?;
    let (failed, done) = (report.failed(), report.done());
    let refused = report.refused() as f64 / (done + failed).max(1) as f64;
    let fits = failed == report.refused() && refused < REFUSED_MAX;
    ensure!(fits, "{failed} of {} failed: {:?}", done + failed, report.first_failure);
    let work_ms: f64 = requests.iter().flat_map(|request| &request.steps_ms).sum();
    let used_ms = (used()? - before).as_secs_f64() * 1e3;
    let beside_ms = ((used_ms - work_ms) / requests.len() as f64).max(0.0);
    let bin = report.between(WARM_UP, until + Duration::from_secs(30))?;
    Ok(Real {
        mean_ms: bin.latency_us.mean() / 1e3,
        p99_ms: bin.quantile_ms(0.99),
        refused,
        beside_ms,
    })
}
