//! The pictures: ratios over load, and over the age of beacons.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use super::{Figure, Outcome, Part, geometric};

const SIZE: (u32, u32) = (760, 440);
/// Ratios beyond these are off the picture.
const RATIO: std::ops::Range<f64> = 0.8..32.0;

/// A line of a picture: its name and its points.
type Line = (String, Vec<(f64, f64)>);

pub(super) fn draw(folder: &Path, outcomes: &[Outcome]) -> anyhow::Result<()> {
    for nodes in [4, 16, 100] {
        for (name, figure) in [("mean", (|r| r.mean_ms) as Figure), ("p99", |r| r.p99_ms)] {
            let lines = over_load(outcomes, nodes, figure);
            let title = format!("{name} / JSQ's, {nodes} nodes");
            let path = folder.join(format!("{name}-{nodes}.svg"));
            picture(&path, &title, "load", lines, false)?;
        }
    }
    let lines = over_beacons(outcomes, 16);
    let title = "mean / JSQ's over the beacon interval, 16 nodes, load 0.9";
    picture(&folder.join("beacons-16.svg"), title, "beacon interval, ms", lines, true)
}

fn over_load(outcomes: &[Outcome], nodes: usize, figure: Figure) -> Vec<Line> {
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

fn over_beacons(outcomes: &[Outcome], nodes: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
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
    lines: Vec<Line>,
    logarithmic: bool,
) -> anyhow::Result<()> {
    let xs = || lines.iter().flat_map(|(_, points)| points.iter().map(|(x, _)| *x));
    let (Some(low), Some(high)) = (xs().reduce(f64::min), xs().reduce(f64::max)) else {
        return Ok(());
    };
    let failed = |error: String| anyhow!("cannot draw {}: {error}", path.display());
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
    // The ends of the axis, and where a point lies on it.
    let place = |x: f64| if logarithmic { x.ln() } else { x };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(place(low)..place(high), RATIO.log_scale())
        .map_err(|error| failed(error.to_string()))?;
    let label = |x: &f64| {
        let x = if logarithmic { x.exp() } else { *x };
        if logarithmic { format!("{x:.0}") } else { format!("{x:.2}") }
    };
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc("times JSQ")
        .x_label_formatter(&label)
        .light_line_style(WHITE)
        .draw()
        .map_err(|error| failed(error.to_string()))?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let within = points.iter().map(|(x, y)| (place(*x), y.clamp(RATIO.start, RATIO.end)));
        let width = if name == "izna" { 3 } else { 1 };
        chart
            .draw_series(LineSeries::new(within, color.stroke_width(width)))
            .map_err(|error| failed(error.to_string()))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(|error| failed(error.to_string()))?;
    area.present().map_err(|error| failed(error.to_string()))
}
