//! How much work comes in, smoothed.

use crate::time::Time;

/// How fast the inflow follows the latest interval.
const SMOOTHING: f64 = 0.3;

/// The work that comes in: how much, smoothed over some intervals.
#[derive(Debug)]
pub(crate) struct Inflow {
    since: Time,
    work_us: f64,
    rate: f64,
}

impl Inflow {
    pub(crate) fn new(since: Time) -> Self {
        Self { since, work_us: 0.0, rate: 0.0 }
    }

    pub(crate) fn add(&mut self, work_us: f64) {
        self.work_us += work_us;
    }

    /// An interval ends now.
    pub(crate) fn measure(&mut self, now: Time) {
        let elapsed_us = now.since(self.since).as_micros() as f64;
        if elapsed_us > 0.0 {
            self.rate += SMOOTHING * (self.work_us / elapsed_us - self.rate);
            (self.since, self.work_us) = (now, 0.0);
        }
    }

    /// Processor seconds at speed one per second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }
}
