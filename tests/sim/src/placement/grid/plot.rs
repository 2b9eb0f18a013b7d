//! The pictures: ratios over load, and over the age of beacons.

use std::path::Path;

use super::{Figure as Measure, Outcome, Part, geometric};
use crate::plot::{Figure, Line, Look, Panel, Scale};

/// Ratios beyond these are off the picture.
const RATIO: std::ops::Range<f64> = 0.8..32.0;

/// A line of a picture: its name and its points.
type Points = (String, Vec<(f64, f64)>);

pub(super) fn draw(folder: &Path, outcomes: &[Outcome]) -> anyhow::Result<()> {
    for nodes in [4, 16, 100] {
        for (name, figure) in [("mean", (|r| r.mean_ms) as Measure), ("p99", |r| r.p99_ms)] {
            let lines = over_load(outcomes, nodes, figure);
            let title = format!("{name} / JSQ's, {nodes} nodes");
            let path = folder.join(format!("{name}-{nodes}.svg"));
            picture(&path, &title, "load", lines, Scale::Even)?;
        }
    }
    let lines = over_beacons(outcomes, 16);
    let title = "mean / JSQ's over the beacon interval, 16 nodes, load 0.9";
    picture(&folder.join("beacons-16.svg"), title, "beacon interval, ms", lines, Scale::Doubling)
}

fn over_load(outcomes: &[Outcome], nodes: usize, figure: Measure) -> Vec<Points> {
    let cells: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.cell.part == Part::Load)
        .filter(|outcome| outcome.cell.scenario.nodes == nodes)
        .collect();
    let Some(first) = cells.first() else { return Vec::new() };
    let mut loads: Vec<f64> = cells.iter().map(|cell| cell.cell.scenario.load).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    let policies = first.cell.scenario.policies.iter().filter(|policy| *policy != "jsq");
    let point = |policy: &str, load: f64| {
        let at = cells.iter().filter(|cell| cell.cell.scenario.load == load);
        (load, geometric(at.filter_map(|cell| cell.ratio(policy, "jsq", figure))))
    };
    policies
        .map(|policy| (policy.clone(), loads.iter().map(|load| point(policy, *load)).collect()))
        .collect()
}

fn over_beacons(outcomes: &[Outcome], nodes: usize) -> Vec<Points> {
    let mut lines: Vec<Points> = Vec::new();
    for policy in ["izna", "paper", "p2c"] {
        let points = outcomes.iter().filter_map(|outcome| match outcome.cell.part {
            Part::Beacons { interval_ms, loss_percent: 1 }
                if outcome.cell.scenario.nodes == nodes =>
            {
                let ratio = outcome.ratio(policy, "jsq", |results| results.mean_ms)?;
                Some((f64::from(interval_ms), ratio))
            }
            _ => None,
        });
        lines.push((policy.to_string(), points.collect()));
    }
    lines
}

fn picture(
    path: &Path,
    title: &str,
    across: &str,
    lines: Vec<Points>,
    scale: Scale,
) -> anyhow::Result<()> {
    let xs = || lines.iter().flat_map(|(_, points)| points.iter().map(|(x, _)| *x));
    let (Some(low), Some(high)) = (xs().reduce(f64::min), xs().reduce(f64::max)) else {
        return Ok(());
    };
    let look = |name: &str| if name == "izna" { Look::Strong } else { Look::Solid };
    let lines = lines.into_iter().map(|(name, points)| Line { look: look(&name), name, points });
    let panel = Panel { up: "times JSQ".into(), doubling: Some(RATIO), lines: lines.collect() };
    let figure = Figure::even(across, low..high, vec![panel]);
    Figure { title: title.to_owned(), scale, ..figure }.draw(path)
}
