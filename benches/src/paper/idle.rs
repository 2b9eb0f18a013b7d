//! What a node costs that has nothing to do: processor time, memory, beacons; and how soon one that
//! starts gives its first reply.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::setting::{Finding, Setting};
use crate::report::{Aim, Table, aim};
use crate::{Cluster, Node, usage};

const NODES: usize = 4;
const MEASURED_S: f64 = 10.0;
const STARTS: usize = 5;
const PATH: &str = "/tex?f=x%5E2";

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut table =
        Table::new(&["nodes", "CPU % of a core", "resident MiB", "beacons KiB/s sent", "received"]);
    let mut aims = Vec::new();
    for nodes in [1, NODES] {
        let cluster = setting.cluster(nodes)?;
        let node = cluster.nodes().first().context("no node")?;
        let idle = Idle::of(setting, node)?;
        table.row(vec![
            json!(nodes),
            json!(idle.cpu_percent),
            json!(idle.resident_mib),
            json!(idle.sent_kib),
            json!(idle.received_kib),
        ]);
        aims.push(aim(
            &format!("CPU of an idle node of {nodes}"),
            idle.cpu_percent,
            "% of a core",
            Aim::AtMost(0.5),
        ));
        aims.push(aim(
            &format!("memory of an idle node of {nodes}"),
            idle.resident_mib,
            "MiB",
            Aim::AtMost(40.0),
        ));
    }
    let mut starts =
        Table::new(&["share of a core", "start to first reply, ms: median", "least", "most"]);
    for full in [true, false] {
        let cluster = if full { setting.unbounded(1)? } else { setting.cluster(1)? };
        let mut times = first_replies(cluster)?;
        times.sort_by(f64::total_cmp);
        let [least, median, most] =
            [0, times.len() / 2, times.len() - 1].map(|index| times.get(index).copied());
        let share = if full { "all".into() } else { json!(setting.share()) };
        starts.row(vec![share, json!(median), json!(least), json!(most)]);
        if full {
            aims.push(aim(
                "start to first reply",
                median.unwrap_or(f64::NAN),
                "ms",
                Aim::AtMost(150.0),
            ));
        }
    }
    Ok(Finding {
        name: "idle",
        data: json!({ "idle": table.json(), "starts": starts.json() }),
        tables: vec![
            ("A node that holds the TeX service and has nothing to do.".into(), table),
            (
                "From the start of the process to the whole reply, components compiled before."
                    .into(),
                starts,
            ),
        ],
        figures: Vec::new(),
        aims,
    })
}

struct Idle {
    cpu_percent: f64,
    resident_mib: f64,
    sent_kib: f64,
    received_kib: f64,
}

impl Idle {
    fn of(setting: &Setting, node: &Node) -> Result<Self> {
        let pid = node.pid()?;
        let (cpu, traffic, begun) = (usage::threads(pid)?, usage::traffic(pid)?, Instant::now());
        thread::sleep(setting.seconds(MEASURED_S));
        let seconds = begun.elapsed().as_secs_f64();
        let used = usage::since(&cpu, &usage::threads(pid)?).as_secs_f64();
        let now = usage::traffic(pid)?;
        let kib = |new: u64, old: u64| new.saturating_sub(old) as f64 / 1024.0 / seconds;
        Ok(Self {
            cpu_percent: used / seconds * 100.0,
            resident_mib: usage::resident(pid)? as f64 / (1 << 20) as f64,
            sent_kib: kib(now.1, traffic.1),
            received_kib: kib(now.0, traffic.0),
        })
    }
}

/// Milliseconds from each start to the first reply.
fn first_replies(mut cluster: Cluster) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let node = cluster.node_mut("n1")?;
        node.terminate()?;
        node.wait_exit()?;
        let begun = Instant::now();
        node.restart()?;
        node.wait_ready()?;
        let reply = || node.get(PATH).ok().filter(|reply| reply.status == 200);
        crate::wait::within(Duration::from_secs(20), "the first reply", reply)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
