//! Adoption on real nodes: a component on one of six nodes, asked for three times what that can do.
//! What `make adoption` runs; the figures go into `docs/placement/adoption.md`.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use izna_bench::quota::Quotas;
use izna_bench::report::Table;
use izna_bench::timetable::gateways;
use izna_bench::{Cluster, Load, Network, Node, Options, Pace, Plan, Report, shipped, wait};
use serde_json::{Value, json};

const NAMES: [&str; 6] = ["n1", "n2", "n3", "n4", "n5", "n6"];
const MANIFEST: &str = r#"[app]
name = "spin"
[component.painter]
source = "GUESTS/painter.wasm"
nodes = ["n1"]
adopt = ADOPT
[[route]]
path = "/spin"
component = "painter"
function = "spin"
"#;
const PATH: &str = "/spin?seed=1&millions=3";
const LOAD_FACTOR: f64 = 3.0;
const LOAD_FOR: Duration = Duration::from_secs(40);
const UNNEEDED_MS: &str = "3000";

/// Measure how a component spreads by itself.
#[derive(Debug, Parser)]
struct Arguments {
    /// The cores that each node may use; six of them must fit into the machine
    #[arg(long, default_value_t = 0.2)]
    cores: f64,
    /// Where the figures go [default: docs/placement/adoption.md]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// When something was seen, counted from the start of the load.
#[derive(Debug, Default)]
struct Seen {
    /// Every decision that others are to adopt it.
    decided: Vec<Duration>,
    begun: Vec<Option<Duration>>,
    ready: Vec<Option<Duration>>,
    replied: Vec<Option<Duration>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    Quotas::new().context("without quotas six nodes are not more than one")?;
    let (cores, network) = (Some(arguments.cores), Network::best());
    let options = Options { cores, network, ..Options::nodes(&NAMES).alone() };
    let options = options.arguments(&["--unneeded-ms", UNNEEDED_MS]);
    let cluster = Cluster::start(options)?;
    let capacity = capacity(&cluster)?;
    cluster.deploy(&cluster.app("spin", &MANIFEST.replace("ADOPT", "true"))?, &[])?;

    let mut plan = plan(&cluster, 300);
    plan.pace = Pace::Random { rates: vec![(Duration::ZERO, capacity * LOAD_FACTOR)], seed: 1 };
    let load = Load::start(plan)?;
    let seen = watch(&cluster, &load);
    let holders = reasons(cluster.node("n1")?)?;
    let report = load.end()?;
    let idle = wait::within(Duration::from_secs(120), "the copies to be given up", || {
        (reasons(cluster.node("n1").ok()?).ok()?.len() == 1).then_some(())
    });
    let text = page(&arguments, capacity, &seen, &holders, &report, idle.is_ok())?;
    println!("{text}");
    let out = arguments.out.unwrap_or_else(|| shipped::root().join("docs/placement/adoption.md"));
    fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()))
}

fn plan(cluster: &Cluster, connections: usize) -> Plan {
    let gateways = gateways(cluster, &[]);
    let first = gateways.first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 1).into());
    Plan { gateways, place: cluster.clients(), ..Plan::get(first, PATH, connections) }
}

/// What the one holder can do, in requests a second.
fn capacity(cluster: &Cluster) -> Result<f64> {
    cluster.deploy(&cluster.app("spin", &MANIFEST.replace("ADOPT", "false"))?, &[])?;
    let report = Load::run(plan(cluster, 8), Duration::from_secs(8))?;
    report.rate_between(Duration::from_secs(2), Duration::from_secs(8))
}

/// Look at logs and replies until the load has lasted long enough. Times are right to 10 ms.
fn watch(cluster: &Cluster, load: &Load) -> Seen {
    let mut seen = Seen::default();
    let none = || vec![None; NAMES.len()];
    (seen.begun, seen.ready, seen.replied) = (none(), none(), none());
    while load.elapsed() < LOAD_FOR {
        let (report, now) = (load.report(), load.elapsed());
        for (index, node) in cluster.nodes().iter().enumerate() {
            let log = node.log();
            let note = |slot: Option<&mut Option<Duration>>, there: bool| {
                if let Some(slot) = slot.filter(|slot| slot.is_none() && there) {
                    *slot = Some(now);
                }
            };
            note(seen.begun.get_mut(index), log.contains("adopts a component"));
            note(seen.ready.get_mut(index), log.contains("has adopted a component"));
            note(seen.replied.get_mut(index), report.steps_of(node.name(), 0) > 0);
        }
        // After them: what was decided since would be another's. Each holder may be who decides.
        let of = |node: &Node| node.log().matches("asked nodes to adopt a component").count();
        let decisions: usize = cluster.nodes().iter().map(of).sum();
        seen.decided.resize(decisions, now);
        thread::sleep(Duration::from_millis(5));
    }
    seen
}

/// Who holds the component, and why.
fn reasons(node: &Node) -> Result<Vec<Value>> {
    let components = node.manage("/v1/components")?;
    let reasons = components.pointer("/0/reasons").and_then(Value::as_array);
    reasons.cloned().context("no holders")
}

fn page(
    arguments: &Arguments,
    capacity: f64,
    seen: &Seen,
    holders: &[Value],
    report: &Report,
    given_up: bool,
) -> Result<String> {
    let first = seen.decided.first().context("nobody decided that others adopt the component")?;
    let millis = |time: Duration| json!(time.as_secs_f64() * 1e3);
    let mut table = Table::new(&[
        "adopter",
        "decided after ms",
        "fetched and compiled in ms",
        "first reply after the decision, ms",
        "of that not compiling, ms",
    ]);
    for (index, name) in NAMES.iter().enumerate().skip(1) {
        let at = |times: &[Option<Duration>]| times.get(index).copied().flatten();
        let (Some(begun), Some(ready)) = (at(&seen.begun), at(&seen.ready)) else { continue };
        // A node of a later decision is there for what the earlier ones left to do.
        let decided = seen.decided.iter().rfind(|decided| **decided <= begun).unwrap_or(first);
        let (compiling, reply) = (ready.saturating_sub(begun), at(&seen.replied));
        let reply = reply.map(|reply| reply.saturating_sub(*decided));
        table.row(vec![
            json!(name),
            millis(*decided),
            millis(compiling),
            reply.map_or(Value::Null, millis),
            reply.map_or(Value::Null, |reply| millis(reply.saturating_sub(compiling))),
        ]);
    }
    let last = seen.ready.iter().flatten().max().copied().unwrap_or(*first);
    let after = report.rate_between(last + Duration::from_secs(3), LOAD_FOR)?;
    let why = holders.iter().find_map(|holder| holder.get("why").and_then(Value::as_str));
    let failed = report.failed().saturating_sub(report.refused());
    Ok(format!(
        "# Adoption on real nodes\n\nWritten by `make adoption`: six nodes of {} cores each, a \
         component on one of them, asked for {LOAD_FACTOR} times what that one can do.\n\n{}\n\
         - the one holder can do {capacity:.0} requests a second; asked for were {:.0}\n\
         - decided {:.1} s after the load began, by these figures: {}\n\
         - with its adopters it did {after:.0} a second; {} holders in the end\n\
         - requests that failed, but for 503: {failed}; refused with 503: {}\n\
         - given up when the load had gone (after {UNNEEDED_MS} ms here): {}\n",
        arguments.cores,
        table.markdown(),
        capacity * LOAD_FACTOR,
        first.as_secs_f64(),
        why.unwrap_or("-"),
        holders.len(),
        report.refused(),
        if given_up { "yes" } else { "no" },
    ))
}
