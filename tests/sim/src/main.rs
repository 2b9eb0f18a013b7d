//! `izna-sim`: runs seeds, replays one, and checks that deliberate defects are found.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use izna_proto::ProcessId;
use izna_sim::{Options, Watch, explain, run, sweep};

/// A deterministic simulator of an Izna cluster.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds; stop at the first that finds something.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Do not ask that each fault and each rare branch was seen.
        #[arg(long)]
        few: bool,
        #[command(flatten)]
        changes: Changes,
    },
    /// Run one seed again.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Print everything that happens but beacons.
        #[arg(long)]
        trace: bool,
        /// Print what happens to one process.
        #[arg(long)]
        process: Option<u128>,
        /// Print what happens at one node.
        #[arg(long)]
        node: Option<usize>,
        #[command(flatten)]
        changes: Changes,
    },
    /// Turn on each deliberate defect and see that a checker finds it.
    #[cfg(feature = "sabotage")]
    Sabotage {
        /// How many seeds each may take.
        #[arg(long, default_value_t = izna_sim::SABOTAGE_SEEDS)]
        seeds: u64,
    },
}

/// What is to be other than the seed draws it.
#[derive(Debug, Args)]
struct Changes {
    /// Take all options from this scenario file, not from the seed.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// How many nodes.
    #[arg(long)]
    nodes: Option<usize>,
}

impl Changes {
    fn options(&self, seed: u64) -> anyhow::Result<Options> {
        let mut options = match &self.scenario {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("bad scenario {}", path.display()))?
            }
            None => Options::draw(seed),
        };
        if let Some(nodes) = self.nodes {
            options.nodes = nodes;
        }
        Ok(options)
    }

    /// The same as flags.
    fn flags(&self) -> String {
        let scenario = self.scenario.as_ref();
        let scenario = scenario.map(|path| format!(" --scenario {}", path.display()));
        let nodes = self.nodes.map(|nodes| format!(" --nodes {nodes}"));
        scenario.unwrap_or_default() + &nodes.unwrap_or_default()
    }
}

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

fn command() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run { first, seeds, few, changes } => run_seeds(first, seeds, few, &changes),
        Command::Replay { seed, trace, process, node, changes } => {
            let watch = match (trace, process, node) {
                (true, _, _) => Watch::Everything,
                (_, Some(process), _) => Watch::Process(ProcessId(process)),
                (_, _, Some(node)) => Watch::Node(node),
                _ => Watch::Nothing,
            };
            replay(seed, watch, &changes)
        }
        #[cfg(feature = "sabotage")]
        Command::Sabotage { seeds } => sabotage(seeds),
    }
}

fn run_seeds(first: u64, seeds: u64, few: bool, changes: &Changes) -> anyhow::Result<()> {
    let begun = Instant::now();
    // The scenario is read once, so that a bad one is told of before anything runs.
    changes.options(first)?;
    let options = |seed| changes.options(seed).unwrap_or_default();
    let sweep = sweep(first, seeds, options, &changes.flags());
    if let Some((_, text)) = sweep.failure {
        bail!("{text}");
    }
    for (what, times) in sweep.seen.iter() {
        println!("{times:>12} {what}");
    }
    let (requests, events) = (sweep.requests, sweep.events);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seeds} seeds, {requests} requests, {events} events, {seconds:.1} s: all is well");
    let missing = sweep.seen.missing();
    if !few && !missing.is_empty() {
        bail!("never seen to happen: {}", missing.join(", "));
    }
    Ok(())
}

fn replay(seed: u64, watch: Watch, changes: &Changes) -> anyhow::Result<()> {
    let options = changes.options(seed)?;
    let report = run(&options, seed, watch);
    for line in &report.lines {
        println!("{line}");
    }
    if report.violation.is_some() {
        bail!("{}", explain(&options, seed, &report, &changes.flags()));
    }
    println!(
        "seed {seed}: {} requests, {} events, hash {:016x}: all is well",
        report.requests, report.events, report.hash
    );
    Ok(())
}

#[cfg(feature = "sabotage")]
fn sabotage(seeds: u64) -> anyhow::Result<()> {
    for sabotage in izna_core::Sabotage::ALL {
        let (seed, violation) = izna_sim::find(sabotage, seeds)
            .with_context(|| format!("{sabotage:?} was not found in {seeds} seeds"))?;
        println!("{sabotage:?}: found by seed {seed}: {violation}");
    }
    Ok(())
}
