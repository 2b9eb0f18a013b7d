//! A limit on log lines that outsiders can cause: one every ten seconds, with how many were left
//! out.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one line through every ten seconds.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<(Option<Instant>, u64)>);

impl LogLimit {
    /// Whether the line may be written; if so, also how many were not since the last one.
    pub(crate) fn take(&self) -> Option<u64> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, anyone on the network can fill the disk with log lines.
    #[test]
    fn a_flood_is_one_line() {
        let (limit, now) = (LogLimit::default(), Instant::now());
        assert_eq!(limit.take_at(now), Some(0));
        (0..1000).for_each(|_| assert_eq!(limit.take_at(now), None));
        assert_eq!(limit.take_at(now + INTERVAL), Some(1000));
    }
}
