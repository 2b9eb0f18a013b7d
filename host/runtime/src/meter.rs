//! How long a step has been on a core.
//!
//! A short step is measured by the wall clock, which costs next to nothing. One that has lived to
//! see a tick is measured by its thread's own CPU time from then on: what other processes on the
//! machine take from it does not count against its limit.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time of one step. It is locked by whoever runs the step, and by nobody else at the same
/// time.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Time>);

#[derive(Debug)]
struct Time {
    used: Duration,
    slice: Slice,
}

/// What is running now, since when.
#[derive(Debug)]
enum Slice {
    None { long: bool },
    Short(Instant),
    Long(Duration),
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Time { used: Duration::ZERO, slice: Slice::None { long: false } }))
    }

    /// The step begins to run on this thread.
    pub(crate) fn slice_begins(&self) {
        self.with(|time| {
            time.slice = match time.slice {
                Slice::None { long: false } | Slice::Short(_) => Slice::Short(Instant::now()),
                Slice::None { long: true } | Slice::Long(_) => Slice::Long(thread_time()),
            }
        });
    }

    /// What was suspended goes on, as a step of its own.
    pub(crate) fn restart(&self) {
        self.with(|time| {
            *time = Time { used: Duration::ZERO, slice: Slice::None { long: false } };
        });
    }

    /// The step has stopped running; the time that it used so far.
    pub(crate) fn slice_ends(&self) -> Duration {
        self.with(|time| {
            time.used += time.slice.length();
            time.slice = Slice::None { long: matches!(time.slice, Slice::Long(_)) };
            time.used
        })
    }

    /// The clock has ticked while the step runs; the time that it used so far.
    pub(crate) fn ticks(&self, tick: Duration) -> Duration {
        self.with(|time| {
            time.used += match time.slice {
                // It cannot have run for longer, only have been kept from running.
                Slice::Short(_) => time.slice.length().min(tick),
                _ => time.slice.length(),
            };
            time.slice = Slice::Long(thread_time());
            time.used
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Time) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slice {
    fn length(&self) -> Duration {
        match self {
            Self::None { .. } => Duration::ZERO,
            Self::Short(began) => began.elapsed(),
            Self::Long(began) => thread_time().saturating_sub(*began),
        }
    }
}

fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// If this failed, a step would be stopped for the time that other processes took.
    #[test]
    fn a_long_step_pays_for_its_own_time_only() {
        let (meter, tick) = (Meter::new(), Duration::from_millis(1));
        meter.slice_begins();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(meter.ticks(tick), tick);
        thread::sleep(Duration::from_millis(50));
        assert!(meter.slice_ends() < Duration::from_millis(30));
        meter.slice_begins();
        let began = thread_time();
        while thread_time() < began + Duration::from_millis(20) {}
        let used = meter.ticks(tick);
        assert!(used >= Duration::from_millis(21), "{used:?}");
        assert!(used < Duration::from_millis(60), "{used:?}");
    }

    /// If this failed, time between two slices would count.
    #[test]
    fn waiting_does_not_count() {
        let meter = Meter::new();
        meter.slice_begins();
        let first = meter.slice_ends();
        thread::sleep(Duration::from_millis(50));
        meter.slice_begins();
        assert!(meter.slice_ends() - first < Duration::from_millis(30));
    }
}
