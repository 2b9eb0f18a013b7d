//! `izna-sim`: runs seeds, replays one, and checks that deliberate defects are found.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use izna_proto::ProcessId;
use izna_sim::{Options, Played, Watch, explain, keep, play, record, run, sweep};

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
        /// Write what each core is told into files in this folder.
        #[arg(long, value_name = "FOLDER")]
        record: Option<PathBuf>,
        #[command(flatten)]
        changes: Changes,
    },
    /// Play recordings of cores, of real nodes or of simulated ones: see that they put out the same.
    Play {
        /// The recordings.
        #[arg(required = true)]
        files: Vec<PathBuf>,
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
        Command::Replay { seed, trace, process, node, record, changes } => {
            let watch = match (trace, process, node) {
                (true, _, _) => Watch::Everything,
                (_, Some(process), _) => Watch::Process(ProcessId(process)),
                (_, _, Some(node)) => Watch::Node(node),
                _ => Watch::Nothing,
            };
            replay(seed, watch, record.as_deref(), &changes)
        }
        Command::Play { files } => files.iter().try_for_each(|file| play_file(file)),
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

fn replay(seed: u64, watch: Watch, folder: Option<&Path>, changes: &Changes) -> anyhow::Result<()> {
    let options = changes.options(seed)?;
    let report = match folder {
        None => run(&options, seed, watch),
        Some(folder) => {
            let report = record(&options, seed, watch);
            keep(folder, &report.recordings)
                .with_context(|| format!("cannot write recordings to {}", folder.display()))?;
            report
        }
    };
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

fn play_file(file: &Path) -> anyhow::Result<()> {
    let name = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let played = play(bytes.into(), |_| ()).with_context(|| format!("cannot play {name}"))?;
    if let Some(difference) = played.difference {
        bail!("{name}: other outputs than recorded for {difference}");
    }
    let Played { inputs, outputs, .. } = played;
    let cut = if played.is_cut { ", then it is cut off" } else { "" };
    println!("{name}: {inputs} inputs, {outputs} outputs, all as recorded{cut}");
    Ok(())
}

#[cfg(feature = "sabotage")]
fn sabotage(seeds: u64) -> anyhow::Result<()> {
    let mut missed = Vec::new();
    for sabotage in izna_core::Sabotage::ALL {
        match izna_sim::find(sabotage, seeds) {
            Ok(found) => {
                println!("{sabotage:?}: found by seed {}: {}", found.seed, found.violation);
            }
            Err(text) => missed.push(text),
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("\n")) }
}
