//! `placement`: runs scenarios, and the grid of `make placement`.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::path::PathBuf;

use clap::Parser;
use izna_sim::placement::{Scenario, play_all};

#[derive(Debug, Parser)]
struct Arguments {
    scenario: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scenario = Scenario::read(&arguments.scenario)?;
    for seed in &scenario.seeds {
        let start = std::time::Instant::now();
        for (policy, r) in
            scenario.policies.iter().zip(play_all(&scenario, *seed, &scenario.policies))
        {
            println!(
                "{policy:20} {seed} n {} mean {:.3} p50 {:.3} p99 {:.3} p999 {:.3} thr {:.3} moves {:.3} q {:.3} again {:.3} back {:.4} cross {:.3} msgs {:.2} lost {} adopted {}",
                r.processes,
                r.mean_ms,
                r.p50_ms,
                r.p99_ms,
                r.p999_ms,
                r.throughput,
                r.moves,
                r.queue_moves,
                r.again,
                r.returns,
                r.crossings,
                r.messages,
                r.lost,
                r.adopted
            );
        }
        println!("{:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
