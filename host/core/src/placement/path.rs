//! The way to another node or zone, as measured by what goes there and comes back: how long a round
//! trip takes, and how many bytes it carries in what time. Nobody configures either.

use crate::time::{Duration, Time};

/// How long a measurement counts, at least once and at most twice: the shortest round trip and the
/// highest rate of that time are those of the way itself, all else is waiting.
const WINDOW: Duration = Duration::from_secs(10);
/// So many answers tell the way of a window: one alone may have come from a node that was just
/// starting.
const ANSWERS_MIN: u8 = 4;
/// Smaller deliveries say nothing about the rate.
const RATE_BYTES_MIN: usize = 32 << 10;

/// What is known of one way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Path {
    since: Time,
    /// Of this window, and of the one before.
    now: Figures,
    before: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Figures {
    answers: u8,
    round_trip_us: Option<f64>,
    /// Bytes a microsecond.
    rate: Option<f64>,
}

impl Path {
    /// Something of `bytes` was answered after `took`.
    pub fn answered(&mut self, now: Time, took: Duration, bytes: usize) {
        let passed = now.since(self.since);
        if passed >= WINDOW {
            self.before = if passed < WINDOW * 2 { self.now } else { Figures::default() };
            (self.since, self.now) = (now, Figures::default());
        }
        let took_us = (took.as_secs_f64() * 1e6).max(1.0);
        if bytes < RATE_BYTES_MIN {
            self.now.answers = self.now.answers.saturating_add(1);
            let least = self.now.round_trip_us.unwrap_or(took_us);
            self.now.round_trip_us = Some(least.min(took_us));
        } else {
            let carried_us = (took_us - self.round_trip_us().unwrap_or(0.0)).max(1.0);
            let most = self.now.rate.unwrap_or(0.0);
            self.now.rate = Some(most.max(bytes as f64 / carried_us));
        }
    }

    /// There and back, in microseconds; none if it was never measured.
    pub fn round_trip_us(&self) -> Option<f64> {
        match (self.now.round_trip_us, self.before.round_trip_us) {
            (Some(now), Some(before)) => Some(now.min(before)),
            (now, before) => now.or(before),
        }
    }

    /// One way, in microseconds.
    pub fn hop_us(&self) -> Option<f64> {
        self.round_trip_us().map(|round_trip| round_trip / 2.0)
    }

    /// Bytes a microsecond; none if nothing large enough was sent.
    pub fn rate(&self) -> Option<f64> {
        match (self.now.rate, self.before.rate) {
            (Some(now), Some(before)) => Some(now.max(before)),
            (now, before) => now.or(before),
        }
    }

    /// How long `bytes` take beyond the way itself, in microseconds; nothing while the rate is not
    /// known.
    pub fn carry_us(&self, bytes: usize) -> f64 {
        self.rate().map_or(0.0, |rate| bytes as f64 / rate)
    }

    /// Whether too little was measured lately.
    pub fn is_stale(&self, now: Time) -> bool {
        self.now.answers < ANSWERS_MIN || now.since(self.since) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// If this fails, one slow answer makes a near node look far, or a way that has become longer
    /// looks short for ever.
    #[test]
    fn the_shortest_round_trip_of_late_counts() {
        let mut path = Path::default();
        assert!(path.hop_us().is_none() && path.is_stale(at(0)));
        path.answered(at(1), Duration::from_millis(4), 0);
        path.answered(at(2), Duration::from_millis(2), 0);
        path.answered(at(3), Duration::from_millis(90), 100);
        assert_eq!(path.hop_us(), Some(1000.0));
        assert!(path.is_stale(at(4)));
        path.answered(at(4), Duration::from_millis(9), 100);
        assert!(!path.is_stale(at(4)));
        path.answered(at(11_000), Duration::from_millis(20), 0);
        assert_eq!(path.round_trip_us(), Some(2000.0));
        path.answered(at(22_000), Duration::from_millis(30), 0);
        assert_eq!(path.round_trip_us(), Some(20_000.0));
        path.answered(at(90_000), Duration::from_millis(40), 0);
        assert_eq!(path.round_trip_us(), Some(40_000.0));
    }

    /// If this fails, large processes are sent over thin lines as if these were thick.
    #[test]
    fn the_rate_is_what_large_deliveries_reach() {
        let mut path = Path::default();
        assert_eq!(path.carry_us(1 << 20), 0.0);
        path.answered(at(1), Duration::from_millis(1), 0);
        path.answered(at(2), Duration::from_millis(101), 1_000_000);
        path.answered(at(3), Duration::from_millis(501), 1_000_000);
        assert_eq!((path.rate(), path.carry_us(500_000)), (Some(10.0), 50_000.0));
    }
}
