//! Nodes that join one by one while there is more work than all of them can do.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::setting::{Finding, Setting, plan};
use super::timeline::{BIN, Timeline, capacity_of};
use crate::Pace;
use crate::report::{Aim, Table, aim};
use crate::timetable::{Deed, Timetable, gateways};

const NODES: usize = 6;
const FIRST: usize = 2;
const EVERY_S: f64 = 6.0;
/// Of the steps that a node runs later on, how many count as its share.
const TAKEN_UP: f64 = 0.8;
/// Of what was handled before, what is no dip: a bin holds some sixty requests, give or take eight.
const NO_DIP: f64 = 0.85;
/// More than all nodes together can do.
const OVERLOAD: f64 = 1.3;
const CONNECTIONS: usize = 400;

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut cluster = setting.cluster(NODES)?;
    let one = capacity_of(setting, &cluster, NODES)? / NODES as f64;
    // They have compiled components and know the app, as any node that comes back does.
    let names: Vec<String> = (FIRST + 1..=NODES).map(|number| format!("n{number}")).collect();
    for name in &names {
        let node = cluster.node_mut(name)?;
        node.terminate()?;
        node.wait_exit()?;
    }
    let mut load = plan(&cluster, CONNECTIONS);
    load.gateways = gateways(&cluster, &[]);
    load.pace =
        Pace::Random { rates: vec![(Duration::ZERO, one * NODES as f64 * OVERLOAD)], seed: 1 };
    let every = setting.seconds(EVERY_S).max(Duration::from_secs(3));
    let times = (1u32..).map(|number| every * number);
    let deeds = times.clone().zip(names.iter().cloned().map(Deed::Add));
    let last = (every * u32::try_from(names.len() + 1)?, Deed::Nothing);
    let line = Timeline::record(&mut cluster, load, Timetable::new(deeds.chain([last])))?;

    let mut table = Table::new(&[
        "nodes",
        "ready after s",
        "requests/s before",
        "after",
        "gain of one node",
        "works within s",
        "least bin of before",
    ]);
    let mut aims = Vec::new();
    for (index, done) in line.done.iter().enumerate().filter(|(_, done)| done.is("add")) {
        let next = line.done.get(index + 1).map_or(done.until + every, |next| next.at);
        let before = line.report.rate_between(done.at.saturating_sub(BIN * 4), done.at)?;
        let after = line.report.rate_between(done.until + BIN * 2, next)?;
        let nodes = FIRST + index;
        let Deed::Add(name) = &done.deed else { continue };
        let took_s = line.works(name, done.until, next, TAKEN_UP).map(|took| took.as_secs_f64());
        let least = line.least(done.at, done.until + BIN * 4);
        table.row(vec![
            json!(format!("{nodes} to {}", nodes + 1)),
            json!((done.until - done.at).as_secs_f64()),
            json!(before),
            json!(after),
            json!((after - before) / one),
            json!(took_s),
            json!(least / before),
        ]);
        let what = format!("no dip when node {} joins, of before", nodes + 1);
        aims.push(aim(&what, least / before, "", Aim::AtLeast(NO_DIP)));
        let what = format!("node {} does its share after it was ready", nodes + 1);
        aims.push(aim(&what, took_s.unwrap_or(f64::INFINITY), "s", Aim::AtMost(1.0)));
    }
    let failed = line.report.failed() - line.report.refused();
    aims.push(aim("requests that failed, but for 503", failed as f64, "", Aim::AtMost(0.0)));
    Ok(Finding {
        name: "joining",
        tables: vec![("Open loop at 1.3 times what six nodes can do.".into(), table)],
        figures: vec![("", line.figure(&["add"]))],
        aims,
        data: json!({ "one_per_second": one, "line": line.json(setting) }),
    })
}
