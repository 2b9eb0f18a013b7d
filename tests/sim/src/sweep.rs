//! Many seeds, on all cores of this machine.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{Options, Report, Seen, Watch, explain, run};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many clients came.
    pub requests: usize,
    /// How much happened.
    pub events: u64,
    /// What was seen to happen in any of them.
    pub seen: Seen,
    /// The first seed that found something, and all that is to be known of it.
    pub failure: Option<(u64, String)>,
}

impl Sweep {
    fn add(&mut self, report: &Report) {
        self.requests += report.requests;
        self.events += report.events;
        self.seen.merge(&report.seen);
    }
}

/// Let `seeds` seeds from `first` on play out, each under the options that `options` gives for it.
/// `flags` are those that a replay needs for the same options.
pub fn sweep(
    first: u64,
    seeds: u64,
    options: impl Fn(u64) -> Options + Sync,
    flags: &str,
) -> Sweep {
    let (next, sweep) = (AtomicU64::new(first), Mutex::new(Sweep::default()));
    let take = || next.fetch_add(1, Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                for seed in std::iter::repeat_with(take).take_while(|seed| *seed < first + seeds) {
                    let options = options(seed);
                    let report = run(&options, seed, Watch::Nothing);
                    let text =
                        report.violation.is_some().then(|| explain(&options, seed, &report, flags));
                    let mut sweep = sweep.lock().unwrap_or_else(PoisonError::into_inner);
                    sweep.add(&report);
                    if let Some(text) = text {
                        // The others end with the seed that they are at.
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        if sweep.failure.as_ref().is_none_or(|(other, _)| seed < *other) {
                            sweep.failure = Some((seed, text));
                        }
                    }
                }
            });
        }
    });
    sweep.into_inner().unwrap_or_else(PoisonError::into_inner)
}
