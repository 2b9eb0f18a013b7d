//! Throughput of clusters of one to eight nodes of equal share, under more work than they can do.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::formulas;
use super::setting::{CONNECTIONS_PER_NODE, Finding, Setting, Split, Use, plan};
use crate::report::{Aim, Table, aim};
use crate::{Cluster, Load, Requests};
use izna_sim::plot::{Figure, Line, Look, Panel};

const NODES: [usize; 6] = [1, 2, 3, 4, 6, 8];
const WARM_UP_S: f64 = 1.5;
const MEASURED_S: f64 = 6.0;
const AIM: f64 = 0.95;

/// A series of the paper.
#[derive(Clone, Copy)]
struct Series {
    name: &'static str,
    has_aim: bool,
    make: fn(u64) -> Vec<u8>,
}

const SERIES: [Series; 2] = [
    Series { name: "all formulas different", has_aim: true, make: formulas::different },
    Series { name: "50 formulas at random", has_aim: false, make: formulas::known },
];

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut columns = vec![
        "series",
        "nodes",
        "requests/s",
        "of N times one",
        "of N apart",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "of steps",
        "quota used",
        "migrations/request",
        "bounced",
        "failed",
    ];
    columns.extend(Split::COLUMNS);
    let mut table = Table::new(&columns);
    let mut aims = Vec::new();
    let mut curves = SERIES.map(|series| Curve { series, cluster: vec![], apart: vec![] });
    for nodes in NODES {
        let cluster = setting.cluster(nodes)?;
        let rows = SERIES.map(|series| measure(setting, &cluster, &series));
        drop(cluster);
        let apart = apart(setting, nodes)?;
        for ((curve, row), apart) in curves.iter_mut().zip(rows).zip(apart) {
            let row = row?;
            curve.cluster.push((nodes as f64, row.per_second));
            curve.apart.push((nodes as f64, apart));
            let shares = [row.per_second / (nodes as f64 * curve.one()), row.per_second / apart];
            if curve.series.has_aim && nodes > 1 {
                for (share, of) in shares.into_iter().zip(["of N times one", "of N apart"]) {
                    let what = format!("{nodes} nodes, {}", curve.series.name);
                    aims.push(aim(&what, share, of, Aim::AtLeast(AIM)));
                }
            }
            eprintln!("{nodes} nodes, {}: {:.0} requests/s", curve.series.name, row.per_second);
            table.row(row.values(curve.series.name, nodes, shares));
        }
    }
    let panels = curves.into_iter().map(Curve::panel).collect();
    let about = "Closed loop, twelve connections for each node. Apart: N clusters of one node.";
    Ok(Finding {
        name: "scaling",
        data: table.json(),
        tables: vec![(about.into(), table)],
        figures: vec![("", Figure::even("nodes", 0.0..8.5, panels))],
        aims,
    })
}

/// Requests a second by nodes: of one cluster, and of as many clusters of one node.
struct Curve {
    series: Series,
    cluster: Vec<(f64, f64)>,
    apart: Vec<(f64, f64)>,
}

impl Curve {
    fn one(&self) -> f64 {
        self.cluster.first().map_or(f64::NAN, |(_, one)| *one)
    }

    fn panel(self) -> Panel {
        let last = NODES.last().copied().unwrap_or(1) as f64;
        let ideal = vec![(0.0, 0.0), (last, last * self.one())];
        let line = |name: &str, look, points| Line { name: name.into(), look, points };
        let lines = vec![
            line("one cluster", Look::Dotted, self.cluster),
            line("as many nodes apart", Look::Dotted, self.apart),
            line("N times one", Look::Ideal, ideal),
        ];
        Panel::even(&format!("requests/s: {}", self.series.name), lines)
    }
}

/// What so many clusters of one node each handle together, for each series: what the machine gives
/// when nothing is shared, so that what is missing to it is the price of being one cluster.
fn apart(setting: &Setting, nodes: usize) -> Result<Vec<f64>> {
    let clusters: Vec<Cluster> = (0..nodes).map(|_| setting.cluster(1)).collect::<Result<_>>()?;
    let handled = |series: &Series| -> Result<f64> {
        let load = |cluster: &Cluster| {
            let mut asked = plan(cluster, CONNECTIONS_PER_NODE);
            asked.requests = Requests::Numbered(series.make, 0);
            Load::start(asked)
        };
        let loads: Vec<Load> = clusters.iter().map(load).collect::<Result<_>>()?;
        std::thread::sleep(setting.seconds(WARM_UP_S));
        let from: Vec<_> = loads.iter().map(Load::elapsed).collect();
        std::thread::sleep(setting.seconds(MEASURED_S));
        let ended = loads.into_iter().zip(from).map(|(load, from)| {
            let to = load.elapsed();
            load.end()?.rate_between(from, to)
        });
        ended.sum()
    };
    SERIES.iter().map(handled).collect()
}

struct Row {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
    step_cpu_us: f64,
    split: Split,
    quota: f64,
    migrations: f64,
    bounced: f64,
    failed: u64,
}

impl Row {
    fn values(&self, series: &str, nodes: usize, [of_ideal, of_apart]: [f64; 2]) -> Vec<Value> {
        let mut values = vec![
            json!(series),
            json!(nodes),
            json!(self.per_second),
            json!(of_ideal),
            json!(of_apart),
            json!(self.p50_ms),
            json!(self.p99_ms),
            json!(self.cpu_us),
            json!(self.step_cpu_us),
            json!(self.quota),
            json!(self.migrations),
            json!(self.bounced),
            json!(self.failed),
        ];
        values.extend(self.split.means_ms());
        values
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
        step_cpu_us: used.step_cpu_s * 1e6 / requests,
        split: used.split,
        quota: used.cpu_s / (seconds * setting.share() * nodes as f64),
        migrations: used.migrations as f64 / requests,
        bounced: used.bounced as f64 / requests,
        failed: report.failed(),
    })
}
