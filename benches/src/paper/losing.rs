//! Nodes that are killed one by one, and one that freezes for ten seconds. The clients' gateways are
//! nodes that stay.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::setting::{CONNECTIONS_PER_NODE, Finding, Setting, plan};
use super::timeline::{BIN, Timeline, capacity_of};
use crate::report::{Aim, Table, aim};
use crate::timetable::{Deed, Timetable, gateways};
use crate::{Cluster, Pace, Plan};

const NODES: usize = 6;
const LOST: [&str; 3] = ["n6", "n5", "n4"];
const EVERY_S: f64 = 6.0;
const FROZEN_S: f64 = 10.0;
/// Of what is expected after a loss, what counts as recovered.
const RECOVERED: f64 = 0.85;
/// Of what the nodes that stay can do.
const LOAD: f64 = 0.7;
const CONNECTIONS: usize = 300;

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut aims = Vec::new();
    let mut cluster = setting.cluster(NODES)?;
    let one = capacity_of(setting, &cluster, NODES)? / NODES as f64;
    let every = setting.seconds(EVERY_S).max(Duration::from_secs(3));
    let saturated = saturated(&mut cluster, every)?;
    let dips = dips(&saturated, every, &mut aims)?;
    unharmed(&saturated, "killed under overload", &mut aims);

    for name in LOST {
        let node = cluster.node_mut(name)?;
        node.restart()?;
        node.wait_ready()?;
    }
    cluster.wait_linked()?;
    cluster.wait_held()?;
    let rate = one * (NODES - LOST.len()) as f64 * LOAD;
    let paced = paced(setting, &mut cluster, rate, every)?;
    let delays = delays(&paced, &mut aims)?;
    unharmed(&paced, "frozen and killed at 0.7", &mut aims);
    let (dipped, delayed) = (
        "Closed loop, twelve connections for each node: what a kill takes away.",
        "Open loop at 0.7 of what the three nodes that stay can do.",
    );
    Ok(Finding {
        name: "losing",
        tables: vec![(dipped.into(), dips), (delayed.into(), delays)],
        figures: vec![
            ("", saturated.figure(&["kill"])),
            ("-latency", paced.figure(&["kill", "freeze", "thaw"])),
        ],
        aims,
        data: json!({
            "one_per_second": one,
            "saturated": saturated.json(setting),
            "paced": paced.json(setting),
        }),
    })
}

/// What each kill took away, and for how long more than its share.
fn dips(line: &Timeline, every: Duration, aims: &mut Vec<String>) -> Result<Table> {
    let mut table =
        Table::new(&["nodes", "requests/s before", "after", "kept of N-1/N", "back within s"]);
    for (index, done) in line.done.iter().enumerate().filter(|(_, done)| done.is("kill")) {
        let next = line.done.get(index + 1).map_or(done.until + every, |next| next.at);
        let nodes = NODES - index;
        let before = line.report.rate_between(done.at.saturating_sub(BIN * 5), done.at)?;
        let after = line.report.rate_between(done.at + BIN * 3, next)?;
        let expected = before * (nodes - 1) as f64 / nodes as f64;
        let back_s = line.recovered(done.at, expected * RECOVERED).map(|back| back.as_secs_f64());
        let left = format!("{nodes} to {}", nodes - 1);
        let kept = after / expected;
        table.row(vec![json!(left), json!(before), json!(after), json!(kept), json!(back_s)]);
        let what = format!("dip when a node of {nodes} is killed");
        aims.push(aim(&what, back_s.unwrap_or(f64::INFINITY), "s", Aim::AtMost(1.0)));
    }
    Ok(table)
}

/// How long latency was not as before each deed.
fn delays(line: &Timeline, aims: &mut Vec<String>) -> Result<Table> {
    let mut table = Table::new(&[
        "at s",
        "what",
        "p99 ms in the 3 s before",
        "worst bin after",
        "normal within s",
    ]);
    for done in line.done.iter().filter(|done| done.deed != Deed::Nothing) {
        let before = line.report.between(done.at.saturating_sub(BIN * 6), done.at)?;
        let before = before.quantile_ms(0.99);
        let first = crate::tally::bin(done.at, BIN);
        let bins = line.report.bins.iter().skip(first).take(4);
        let worst = bins.map(|bin| bin.quantile_ms(0.99)).fold(0.0, f64::max);
        // Half as much more, or twenty milliseconds, is noise: a bin holds some forty requests.
        let calm_s = line.calm(done.at, (before * 1.5).max(before + 20.0));
        let calm_s = calm_s.map(|calm| calm.as_secs_f64());
        let what = done.deed.to_string();
        let at_s = done.at.as_secs_f64();
        table.row(vec![json!(at_s), json!(what), json!(before), json!(worst), json!(calm_s)]);
        let what = format!("latency normal after {what}");
        aims.push(aim(&what, calm_s.unwrap_or(f64::INFINITY), "s", Aim::AtMost(2.0)));
    }
    Ok(table)
}

fn stay(cluster: &Cluster, connections: usize) -> Plan {
    Plan { gateways: gateways(cluster, &LOST), ..plan(cluster, connections) }
}

fn saturated(cluster: &mut Cluster, every: Duration) -> Result<Timeline> {
    let load = stay(cluster, CONNECTIONS_PER_NODE * NODES);
    let deeds = (1u32..).zip(LOST).map(|(number, name)| (every * number, Deed::Kill(name.into())));
    let last = (every * u32::try_from(LOST.len() + 1)?, Deed::Nothing);
    Timeline::record(cluster, load, Timetable::new(deeds.chain([last])))
}

fn paced(setting: &Setting, cluster: &mut Cluster, rate: f64, every: Duration) -> Result<Timeline> {
    let mut load = stay(cluster, CONNECTIONS);
    load.requests = crate::Requests::Numbered(super::formulas::different, 300_000);
    load.pace = Pace::Random { rates: vec![(Duration::ZERO, rate)], seed: 2 };
    let frozen = setting.seconds(FROZEN_S).max(Duration::from_secs(4));
    let [freeze, thaw] = [every, every + frozen];
    let kill = thaw + every;
    Timeline::record(
        cluster,
        load,
        Timetable::new([
            (freeze, Deed::Freeze(LOST[0].into())),
            (thaw, Deed::Thaw(LOST[0].into())),
            (kill, Deed::Kill(LOST[1].into())),
            (kill + every, Deed::Kill(LOST[2].into())),
            (kill + every * 2, Deed::Nothing),
        ]),
    )
}

fn unharmed(line: &Timeline, when: &str, aims: &mut Vec<String>) {
    let failed = line.report.failed() - line.report.refused();
    aims.push(aim(&format!("requests failed, {when}"), failed as f64, "", Aim::AtMost(0.0)));
    let refused = line.report.refused() as f64;
    aims.push(aim(&format!("requests refused, {when}"), refused, "", Aim::AtMost(0.0)));
    let repeated = line.report.repeated as f64;
    aims.push(aim(&format!("replies repeated, {when}"), repeated, "", Aim::AtMost(0.0)));
}
