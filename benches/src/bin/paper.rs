//! The experiments of the paper, and some beyond it, with the shipped binary: what `make paper`
//! runs. Figures, tables and all data go to a folder.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use izna_bench::paper::{Finding, Setting, disturbed, idle, joining, losing, scaling};
use izna_bench::shipped;

/// Run the experiments of the paper's evaluation.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these experiments; may be repeated or separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<Experiment>,
    /// The cores that each node may use; eight nodes and the clients must fit into the machine
    #[arg(long, default_value_t = 0.2)]
    cores: f64,
    /// A third of all times: for development, with rougher figures
    #[arg(long)]
    short: bool,
    /// Where figures, tables and data go [default: target/paper]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Experiment {
    /// One to eight nodes of equal share
    Scaling,
    /// Nodes added one by one under overload
    Joining,
    /// Nodes killed one by one, and one frozen
    Losing,
    /// A noisy neighbour, and a burst
    Disturbed,
    /// What an idle node costs, and how soon a new one replies
    Idle,
}

const SHORT: f64 = 1.0 / 3.0;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let out = arguments.out.unwrap_or_else(|| shipped::target().join("paper"));
    let scale = if arguments.short { SHORT } else { 1.0 };
    let setting = Setting::new(arguments.cores, scale, out)?;
    let mut text = String::new();
    for experiment in Experiment::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(experiment) {
            let part = setting.keep(&experiment.run(&setting)?)?;
            println!("{part}");
            text += &part;
        }
    }
    let path = setting.out.join("results.md");
    fs::write(&path, text)?;
    println!("kept in {}", setting.out.display());
    Ok(())
}

impl Experiment {
    fn run(self, setting: &Setting) -> Result<Finding> {
        match self {
            Self::Scaling => scaling::run(setting),
            Self::Joining => joining::run(setting),
            Self::Losing => losing::run(setting),
            Self::Disturbed => disturbed::run(setting),
            Self::Idle => idle::run(setting),
        }
    }
}
