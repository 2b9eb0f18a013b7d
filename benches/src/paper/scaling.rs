//! Throughput of clusters of one to eight nodes of equal share, under more work than they can do.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::formulas;
use super::setting::{CONNECTIONS_PER_NODE, Finding, Setting, Use, plan};
use crate::plot::{Figure, Line, Look, Panel};
use crate::report::{Aim, Table, aim};
use crate::{Cluster, Load, Requests};

const NODES: [usize; 6] = [1, 2, 3, 4, 6, 8];
const WARM_UP_S: f64 = 2.0;
const MEASURED_S: f64 = 10.0;
const AIM: f64 = 0.95;

/// A series of the paper.
struct Series {
    name: &'static str,
    make: fn(u64) -> Vec<u8>,
}

const SERIES: [Series; 2] = [
    Series { name: "all formulas different", make: formulas::different },
    Series { name: "50 formulas at random", make: formulas::known },
];

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut table = Table::new(&[
        "series",
        "nodes",
        "requests/s",
        "of N times one",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "quota used",
        "migrations/request",
        "bounced",
        "failed",
    ]);
    let mut lines = Vec::new();
    let mut aims = Vec::new();
    let mut points = vec![Vec::new(); SERIES.len()];
    for nodes in NODES {
        let cluster = setting.cluster(nodes)?;
        for (series, points) in SERIES.iter().zip(&mut points) {
            let row = measure(setting, &cluster, series)?;
            let one = points.first().map_or(row.per_second, |(_, one): &(f64, f64)| *one);
            let ideal = nodes as f64 * one;
            if series.name == SERIES[0].name && nodes > 1 {
                let what = format!("{nodes} nodes, {}", series.name);
                aims.push(aim(&what, row.per_second / ideal, "of ideal", Aim::AtLeast(AIM)));
            }
            table.row(row.values(series.name, nodes, row.per_second / ideal));
            points.push((nodes as f64, row.per_second));
            eprintln!("{nodes} nodes, {}: {:.0} requests/s", series.name, row.per_second);
        }
    }
    for (series, points) in SERIES.iter().zip(points) {
        let one = points.first().context("no points")?.1;
        let last = NODES.last().copied().unwrap_or(1) as f64;
        let name = format!("{}: linear", series.name);
        lines.push(Line { name: series.name.into(), look: Look::Dotted, points });
        lines.push(Line { name, look: Look::Ideal, points: vec![(0.0, 0.0), (last, last * one)] });
    }
    let range = 0.0..8.5;
    let panels = lines
        .chunks(2)
        .map(|lines| Panel { up: "requests/s".into(), lines: lines.to_vec() })
        .collect();
    let figure = Figure { across: "nodes".into(), range, marks: Vec::new(), panels };
    Ok(Finding {
        name: "scaling",
        data: table.json(),
        tables: vec![("Closed loop, twelve connections for each node.".into(), table)],
        figures: vec![("", figure)],
        aims,
    })
}

struct Row {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
    quota: f64,
    migrations: f64,
    bounced: f64,
    failed: u64,
}

impl Row {
    fn values(&self, series: &str, nodes: usize, of_ideal: f64) -> Vec<Value> {
        vec![
            json!(series),
            json!(nodes),
            json!(self.per_second),
            json!(of_ideal),
            json!(self.p50_ms),
            json!(self.p99_ms),
            json!(self.cpu_us),
            json!(self.quota),
            json!(self.migrations),
            json!(self.bounced),
            json!(self.failed),
        ]
    }
}

fn measure(setting: &Setting, cluster: &Cluster, series: &Series) -> Result<Row> {
    let nodes = cluster.nodes().len();
    let mut asked = plan(cluster, nodes * CONNECTIONS_PER_NODE);
    asked.requests = Requests::Numbered(series.make, 0);
    let load = Load::start(asked)?;
    std::thread::sleep(setting.seconds(WARM_UP_S));
    let (before, from) = (Use::of(cluster.nodes())?, load.elapsed());
    std::thread::sleep(setting.seconds(MEASURED_S));
    let (after, to) = (Use::of(cluster.nodes())?, load.elapsed());
    let report = load.end()?;
    let all = report.between(from, to)?;
    if all.done == 0 {
        bail!("{nodes} nodes served nothing: {:?}", report.first_failure);
    }
    if let Some(failure) = &report.first_failure {
        eprintln!("{:?}; the first: {failure}", report.failures);
    }
    let used = after.since(&before);
    let per_second = report.rate_between(from, to)?;
    let seconds = (to - from).as_secs_f64();
    let requests = per_second * seconds;
    Ok(Row {
        per_second,
        p50_ms: all.quantile_ms(0.5),
        p99_ms: all.quantile_ms(0.99),
        cpu_us: used.cpu_s * 1e6 / requests,
        quota: used.cpu_s / (seconds * setting.share() * nodes as f64),
        migrations: used.migrations as f64 / requests,
        bounced: used.bounced as f64 / requests,
        failed: report.failed(),
    })
}
