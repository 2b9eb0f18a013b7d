//! Beyond the paper: a neighbour that takes nine tenths of one node's share, and five times as many
//! requests as the cluster can do for ten seconds.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::setting::{Finding, Setting, Split, plan};
use super::timeline::{BIN, Timeline, capacity_of};
use crate::report::{Aim, Table, aim};
use crate::timetable::{Deed, Timetable, gateways};
use crate::{Cluster, Pace, Plan};

const NODES: usize = 4;
const DISTURBED: &str = "n4";
/// With the node itself they are ten: it gets a tenth of its share.
const NEIGHBOURS: usize = 9;
const LOAD: f64 = 0.8;
const MEASURED_S: f64 = 15.0;
const SETTLED_S: f64 = 3.0;
const BURST: f64 = 5.0;
const BURST_S: f64 = 10.0;
const CALM_LOAD: f64 = 0.5;
const CONNECTIONS: usize = 300;
/// A refused request is back at once, but one that is taken waits for up to a second.
const BURST_CONNECTIONS: usize = 1600;

/// Measure.
pub fn run(setting: &Setting) -> Result<Finding> {
    let mut cluster = setting.cluster(NODES)?;
    let one = capacity_of(setting, &cluster, NODES)? / NODES as f64;
    let burst = burst(setting, &mut cluster, one)?;
    let noisy = noisy(setting, &mut cluster, one)?;
    cluster.node_mut(DISTURBED)?.kill()?;
    drop(cluster);
    // The same capacity without a disturbance: three nodes and no fourth.
    let mut quiet = setting.cluster(NODES - 1)?;
    let rate = one * (NODES - 1) as f64 * LOAD;
    let mut load = steady(&quiet, rate);
    load.gateways = gateways(&quiet, &[]);
    let end = setting.seconds(SETTLED_S + MEASURED_S);
    let quiet = Timeline::record(&mut quiet, load, Timetable::new([(end, Deed::Nothing)]))?;

    let mut aims = Vec::new();
    let neighbour = neighbour_table(setting, &quiet, &noisy, &mut aims)?;
    let bursts = burst_table(setting, &burst, one * NODES as f64, &mut aims)?;
    Ok(Finding {
        name: "disturbed",
        tables: vec![
            ("Open loop at 0.8 of what is left.".into(), neighbour),
            ("A burst of five times the peak.".into(), bursts),
        ],
        figures: vec![("-neighbour", noisy.figure(&["disturb"])), ("-burst", burst.figure(&[]))],
        aims,
        data: json!({
            "one_per_second": one,
            "noisy": noisy.json(setting),
            "quiet": quiet.json(setting),
            "burst": burst.json(setting),
        }),
    })
}

fn neighbour_table(
    setting: &Setting,
    quiet: &Timeline,
    noisy: &Timeline,
    aims: &mut Vec<String>,
) -> Result<Table> {
    let mut columns = vec!["cluster", "requests/s", "p50 ms", "p99 ms", "failed"];
    columns.extend(Split::COLUMNS);
    let mut table = Table::new(&columns);
    let (from, to) = (setting.seconds(SETTLED_S), setting.seconds(SETTLED_S + MEASURED_S));
    let mut row = |name: &str, line: &Timeline| -> Result<f64> {
        let (all, rate) = (line.report.between(from, to)?, line.report.rate_between(from, to)?);
        let (p50, p99) = (all.quantile_ms(0.5), all.quantile_ms(0.99));
        let failed = line.report.failed();
        let mut values = vec![json!(name), json!(rate), json!(p50), json!(p99), json!(failed)];
        values.extend(line.used.split.means_ms());
        table.row(values);
        Ok(p99)
    };
    let quiet_ms = row("undisturbed", quiet)?;
    let noisy_ms = row("one node at a tenth", noisy)?;
    let what = "p99 beside a noisy neighbour";
    aims.push(aim(what, noisy_ms / quiet_ms, "times the undisturbed", Aim::AtMost(1.5)));
    Ok(table)
}

fn burst_table(
    setting: &Setting,
    burst: &Timeline,
    peak: f64,
    aims: &mut Vec<String>,
) -> Result<Table> {
    let mut columns = vec![
        "peak requests/s",
        "asked in the burst",
        "handled",
        "refused",
        "failed in all",
        "p99 ms before",
        "in the burst",
        "normal within s",
    ];
    columns.extend(Split::COLUMNS);
    let mut table = Table::new(&columns);
    let (from, to) = burst_times(setting);
    let goodput = burst.report.rate_between(from + BIN, to)?;
    aims.push(aim("goodput in the burst", goodput / peak, "of peak", Aim::AtLeast(0.95)));
    let before = burst.report.between(BIN * 2, from)?.quantile_ms(0.99);
    let calm_s = burst.calm(to, (before * 1.5).max(before + 20.0)).map(|calm| calm.as_secs_f64());
    let what = "back to normal after the burst";
    aims.push(aim(what, calm_s.unwrap_or(f64::INFINITY), "s", Aim::AtMost(1.0)));
    let during = burst.report.between(from + BIN, to)?;
    let seconds = (to - from - BIN).as_secs_f64();
    let mut values = vec![
        json!(peak),
        json!(peak * BURST),
        json!(goodput),
        json!(during.refused as f64 / seconds),
        json!(burst.report.failed() - burst.report.refused()),
        json!(before),
        json!(during.quantile_ms(0.99)),
        json!(calm_s),
    ];
    values.extend(burst.used.split.means_ms());
    table.row(values);
    Ok(table)
}

fn steady(cluster: &Cluster, rate: f64) -> Plan {
    Plan {
        gateways: gateways(cluster, &[DISTURBED]),
        pace: Pace::Random { rates: vec![(Duration::ZERO, rate)], seed: 3 },
        ..plan(cluster, CONNECTIONS)
    }
}

fn noisy(setting: &Setting, cluster: &mut Cluster, one: f64) -> Result<Timeline> {
    let left = (NODES - 1) as f64 + 1.0 / (NEIGHBOURS + 1) as f64;
    let mut load = steady(cluster, one * left * LOAD);
    load.requests = crate::Requests::Numbered(super::formulas::different, 200_000);
    let disturb = Deed::Disturb(DISTURBED.into(), NEIGHBOURS);
    let end = setting.seconds(SETTLED_S + MEASURED_S);
    let calm = Deed::Calm(DISTURBED.into());
    let table = Timetable::new([(BIN, disturb), (end, Deed::Nothing), (end, calm)]);
    Timeline::record(cluster, load, table)
}

fn burst_times(setting: &Setting) -> (Duration, Duration) {
    let from = setting.seconds(8.0).max(Duration::from_secs(3));
    (from, from + setting.seconds(BURST_S))
}

fn burst(setting: &Setting, cluster: &mut Cluster, one: f64) -> Result<Timeline> {
    let peak = one * NODES as f64;
    let (from, to) = burst_times(setting);
    let calm = peak * CALM_LOAD;
    let rates = vec![(Duration::ZERO, calm), (from, peak * BURST), (to, calm)];
    let mut load = plan(cluster, BURST_CONNECTIONS);
    load.pace = Pace::Random { rates, seed: 4 };
    let end = to + setting.seconds(8.0).max(Duration::from_secs(4));
    Timeline::record(cluster, load, Timetable::new([(end, Deed::Nothing)]))
}
