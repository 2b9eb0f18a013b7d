//! The page: tables of ratios, goals, agreement with the reference.

use std::fmt::Write;

use super::{Extent, Figure, Outcome, Part, Reference, geometric, goals, traffic};
use crate::placement::Order;

const TEMPLATE: &str = include_str!("../../../templates/placement.md");

/// `docs/placement.md`.
pub(super) fn page(extent: Extent, outcomes: &[Outcome]) -> String {
    let extent = match extent {
        Extent::Reduced => "the reduced grid",
        Extent::Full => "the full grid",
    };
    TEMPLATE
        .replace("{{extent}}", extent)
        .replace("{{loads}}", &loads(outcomes))
        .replace("{{goals}}", &goal_table(outcomes))
        .replace("{{scenarios}}", &scenarios(outcomes))
        .replace("{{parts}}", &parts(outcomes))
        .replace("{{overload}}", &overload(outcomes))
        .replace("{{agreement}}", &agreement(outcomes))
        .replace("{{traffic}}", &traffic::table())
}

const FIGURES: [Figure; 4] = [|r| r.mean_ms, |r| r.p50_ms, |r| r.p99_ms, |r| r.p999_ms];

/// For each number of nodes, a line for each policy and a column for each load.
fn loads(outcomes: &[Outcome]) -> String {
    let loads: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| outcome.cell.part == Part::Load).collect();
    let mut text = String::new();
    for nodes in [4, 16, 100] {
        let cells: Vec<&&Outcome> =
            loads.iter().filter(|outcome| outcome.cell.scenario.nodes == nodes).collect();
        let Some(first) = cells.first() else { continue };
        let mut columns: Vec<f64> = cells.iter().map(|cell| cell.cell.scenario.load).collect();
        columns.sort_by(f64::total_cmp);
        columns.dedup();
        let heads: Vec<String> = columns.iter().map(|load| format!("load {load}")).collect();
        let _ = writeln!(text, "\n### {nodes} nodes\n");
        let _ = writeln!(text, "| policy | {} | moves | repairs | messages |", heads.join(" | "));
        let _ = writeln!(text, "|---|{}---|---|---|", "---|".repeat(columns.len()));
        for policy in &first.cell.scenario.policies {
            let ratio = |load: f64| {
                let at: Vec<_> = cells.iter().filter(|c| c.cell.scenario.load == load).collect();
                let words = FIGURES.map(|figure| {
                    let ratios = at.iter().filter_map(|cell| cell.ratio(policy, "jsq", figure));
                    format!("{:.2}", geometric(ratios))
                });
                words.join(" / ")
            };
            let ratios: Vec<String> = columns.iter().map(|load| ratio(*load)).collect();
            let mean = |figure: Figure| {
                let at = cells.iter().filter(|cell| cell.cell.scenario.load == 0.9);
                let means: Vec<f64> = at.filter_map(|cell| cell.mean(policy, figure)).collect();
                means.iter().sum::<f64>() / means.len().max(1) as f64
            };
            let (moves, repairs, messages) =
                (mean(|r| r.moves), mean(|r| r.queue_moves), mean(|r| r.messages));
            let _ = writeln!(
                text,
                "| {policy} | {} | {moves:.2} | {repairs:.2} | {messages:.1} |",
                ratios.join(" | ")
            );
        }
    }
    text
}

fn goal_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| goal | what | measured | bound | |\n|---|---|---|---|---|\n");
    for goal in goals(outcomes) {
        let (measured, word) = match (goal.measured, goal.holds()) {
            (Some(measured), Some(true)) => (format!("{measured:.3}"), "holds"),
            (Some(measured), _) => (format!("{measured:.3}"), "**fails**"),
            (None, _) => (String::from("-"), "not run"),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {measured} | {} | {word} |",
            goal.name, goal.what, goal.bound
        );
    }
    text
}

/// What a variation is called.
fn name(part: Part) -> Option<String> {
    let name = match part {
        Part::Beacons { interval_ms, loss_percent: 1 } => format!("beacons every {interval_ms} ms"),
        Part::Beacons { loss_percent, .. } => format!("{loss_percent} % of beacons lost"),
        Part::DearMoves => String::from("a move costs 200 us, load 0.9"),
        Part::Fault(fault) => {
            format!("{fault:?}").to_lowercase().replace("hotclass", "a hot class")
        }
        Part::Bursts => String::from("bursts"),
        Part::HotIngress => String::from("60 % of clients come to two nodes"),
        Part::Zones { hot: false } => String::from("zones of 100, load 0.9"),
        Part::Zones { hot: true } => String::from("half of all clients come to one zone"),
        Part::Load | Part::Overload(_) | Part::Adoption { .. } | Part::Parts => return None,
    };
    Some(name)
}

/// Mean and p99 of each policy in each variation.
fn scenarios(outcomes: &[Outcome]) -> String {
    let columns = ["izna", "prequal-sync", "prequal-async", "p2c", "paper"];
    let mut text = format!("| scenario | nodes | {} |\n|---|---|", columns.join(" | "));
    text += &("---|".repeat(columns.len()) + "\n");
    for outcome in outcomes {
        let Some(name) = name(outcome.cell.part) else { continue };
        let cells = columns.map(|policy| {
            let [mean, _, p99, _] = FIGURES.map(|figure| outcome.ratio(policy, "jsq", figure));
            mean.zip(p99).map_or(String::new(), |(mean, p99)| format!("{mean:.2} / {p99:.2}"))
        });
        let nodes = outcome.cell.scenario.nodes;
        let _ = writeln!(text, "| {name} | {nodes} | {} |", cells.join(" | "));
    }
    text
}

fn parts(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| nodes | whole | without repair | without loads on messages |\n");
    text += "|---|---|---|---|\n";
    for outcome in outcomes.iter().filter(|outcome| outcome.cell.part == Part::Parts) {
        let cells = ["izna", "izna-without-repair", "izna-without-acks"].map(|policy| {
            let [mean, _, p99, _] =
                FIGURES.map(|figure| outcome.ratio(policy, "jsq", figure).unwrap_or(f64::NAN));
            format!("{mean:.2} / {p99:.2}")
        });
        let _ = writeln!(text, "| {} | {} |", outcome.cell.scenario.nodes, cells.join(" | "));
    }
    text
}

fn overload(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| nodes | order | throughput: izna | JSQ | moves: izna | JSQ |\n");
    text += "|---|---|---|---|---|---|\n";
    for outcome in outcomes {
        let Part::Overload(order) = outcome.cell.part else { continue };
        let order = match order {
            Order::Fifo => "by arrival",
            Order::Birth => "oldest birth first",
            Order::FewestLeft => "fewest steps left first",
        };
        let mean = |policy, figure| outcome.mean(policy, figure).unwrap_or(f64::NAN);
        let (throughput, moves): (Figure, Figure) = (|r| r.throughput, |r| r.moves);
        let _ = writeln!(
            text,
            "| {} | {order} | {:.2} | {:.2} | {:.2} | {:.2} |",
            outcome.cell.scenario.nodes,
            mean("izna", throughput),
            mean("jsq", throughput),
            mean("izna", moves),
            mean("jsq", moves)
        );
    }
    text
}

/// Means of the reference model and ours on the same seeds.
fn agreement(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| policy | nodes | service | load | lbsim, ms | here, ms | difference |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for line in Reference::all().into_iter().filter(|line| line.seeds == 3) {
        let same = |outcome: &&Outcome| {
            let scenario = &outcome.cell.scenario;
            outcome.cell.part == Part::Load
                && scenario.nodes == line.nodes
                && scenario.service == line.service
                && scenario.load == line.load
        };
        let own = outcomes.iter().find(same);
        let Some(mean) = own.and_then(|own| own.mean(&line.policy, |r| r.mean_ms)) else {
            continue;
        };
        let difference = (mean / line.mean_ms - 1.0) * 100.0;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.2} | {mean:.2} | {difference:+.1} % |",
            line.policy,
            line.nodes,
            line.service.as_str(),
            line.load,
            line.mean_ms
        );
    }
    text
}
