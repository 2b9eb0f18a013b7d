//! The grid of `make placement`: which scenarios are run, on all cores, and what is made of them.

mod cells;
mod goals;
mod plot;
mod reference;
mod report;
pub mod traffic;

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::Context;

use super::{Results, Scenario, World, run};
pub use cells::{Cell, Extent, Part};
pub use goals::{Goal, goals};
pub use reference::{Reference, largest_difference};

/// A cell and what came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The cell.
    pub cell: Cell,
    /// For each policy of its scenario, for each seed.
    runs: Vec<Vec<Results>>,
}

/// One of the figures of a run.
type Figure = fn(&Results) -> f64;

impl Outcome {
    fn runs(&self, policy: &str) -> Option<&[Results]> {
        let at = self.cell.scenario.policies.iter().position(|name| name == policy)?;
        self.runs.get(at).map(Vec::as_slice)
    }

    /// The mean of a figure over the seeds.
    fn mean(&self, policy: &str, figure: Figure) -> Option<f64> {
        let runs = self.runs(policy)?;
        Some(runs.iter().map(figure).sum::<f64>() / runs.len() as f64)
    }

    /// A figure of one policy over that of another in the same run: the geometric mean over the
    /// seeds.
    fn ratio(&self, policy: &str, over: &str, figure: Figure) -> Option<f64> {
        let pairs = self.runs(policy)?.iter().zip(self.runs(over)?);
        Some(geometric(pairs.map(|(one, other)| figure(one) / figure(other))))
    }
}

/// The geometric mean.
fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value.max(1e-12).ln();
        count += 1.0;
    }
    if count == 0.0 { f64::NAN } else { f64::exp(sum / count) }
}

/// Run the grid. Says how far it is now and then.
pub fn run_grid(extent: Extent, threads: usize, progress: impl Fn(&str) + Sync) -> Vec<Outcome> {
    let cells = cells::cells(extent);
    let jobs: Vec<(usize, usize)> = cells
        .iter()
        .enumerate()
        .flat_map(|(cell, of)| (0..of.scenario.seeds.len()).map(move |seed| (cell, seed)))
        .collect();
    let done: Vec<Mutex<Option<Vec<Results>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let (next, ended, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let Some((cell, seed)) = jobs.get(job) else { return };
                    let results = play(&cells[*cell].scenario, *seed);
                    *done[job].lock().expect("no run panics") = Some(results);
                    let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
                    if ended.is_multiple_of(20) || ended == jobs.len() {
                        let seconds = begun.elapsed().as_secs();
                        progress(&format!("{ended} of {} runs, {seconds} s", jobs.len()));
                    }
                }
            });
        }
    });
    let mut outcomes: Vec<Outcome> = cells
        .into_iter()
        .map(|cell| Outcome { runs: vec![Vec::new(); cell.scenario.policies.len()], cell })
        .collect();
    for ((cell, _), results) in jobs.iter().zip(done) {
        let results = results.into_inner().expect("no run panics").unwrap_or_default();
        for (runs, result) in outcomes[*cell].runs.iter_mut().zip(results) {
            runs.push(result);
        }
    }
    outcomes
}

/// All policies of a scenario in one world.
fn play(scenario: &Scenario, seed: usize) -> Vec<Results> {
    let seed = scenario.seeds[seed];
    let world = World::new(scenario, seed);
    scenario.policies.iter().map(|policy| run::run(scenario, &world, seed, policy)).collect()
}

/// Write `placement.md` and its pictures into a folder.
pub fn write(folder: &Path, extent: Extent, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let pictures = folder.join("placement");
    std::fs::create_dir_all(&pictures)
        .with_context(|| format!("cannot make {}", pictures.display()))?;
    plot::draw(&pictures, outcomes)?;
    let page = folder.join("placement.md");
    let text = report::page(extent, outcomes);
    std::fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}
