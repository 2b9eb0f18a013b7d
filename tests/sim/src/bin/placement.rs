//! `placement`: how good placement is. Plays a scenario file, or the grid of `make placement`.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};
use izna_sim::placement::{
    Results, Scenario,
    grid::{Extent, goals, run_grid, traffic, write},
    play_all,
};

/// How good placement is, in virtual time.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play one scenario file: each policy on each seed.
    Play {
        /// The file; tests/sim/README.md has what may be in it.
        scenario: PathBuf,
    },
    /// Print what beacons and bulletins cost at each size.
    Traffic,
    /// Run the grid, check the goals, and write the page and its pictures.
    Grid {
        /// Everything, not the reduced grid.
        #[arg(long)]
        full: bool,
        /// Where the page goes.
        #[arg(long, default_value = "docs")]
        folder: PathBuf,
        /// How many runs at a time; all cores if not given.
        #[arg(long)]
        threads: Option<usize>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Play { scenario } => play(&scenario),
        Command::Traffic => {
            println!("{}", traffic::table());
            Ok(())
        }
        Command::Grid { full, folder, threads } => grid(full, &folder, threads),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

fn play(path: &std::path::Path) -> anyhow::Result<()> {
    let scenario = Scenario::read(path)?;
    let titles = ["seed", "policy", "mean", "p50", "p99", "p999", "throughput", "moves"];
    let more = ["repairs", "again", "crossing", "messages", "lost", "adopted"];
    println!(
        "{}",
        titles.iter().chain(&more).map(|title| format!("{title:>13}")).collect::<String>()
    );
    for seed in &scenario.seeds {
        let results = play_all(&scenario, *seed, &scenario.policies);
        for (policy, results) in scenario.policies.iter().zip(&results) {
            println!("{seed:>13}{policy:>13}{}", line(results));
        }
    }
    Ok(())
}

fn line(r: &Results) -> String {
    let figures = [
        r.mean_ms,
        r.p50_ms,
        r.p99_ms,
        r.p999_ms,
        r.throughput,
        r.moves,
        r.queue_moves,
        r.again,
        r.crossings,
        r.messages,
    ];
    let figures: String = figures.iter().map(|figure| format!("{figure:>13.3}")).collect();
    format!("{figures}{:>13}{:>13}", r.lost, r.adopted)
}

fn grid(full: bool, folder: &std::path::Path, threads: Option<usize>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let extent = if full { Extent::Full } else { Extent::Reduced };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes = run_grid(extent, threads.unwrap_or(cores), |line| println!("{line}"));
    write(folder, extent, &outcomes)?;
    for goal in goals(&outcomes) {
        println!("{}", goal.told());
    }
    println!("{} s; {}", begun.elapsed().as_secs(), folder.join("placement.md").display());
    Ok(())
}
