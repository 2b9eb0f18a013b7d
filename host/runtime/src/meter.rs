//! How long a step has been on a core, and how long it took to be.
//!
//! A short step is measured by the wall clock, which costs next to nothing. One that has lived to
//! see a tick, other than one right after it began, is measured by its thread's own CPU time from
//! then on: what other processes on the machine take from it does not count against its limit. Both
//! together tell how much of a core the node gets when it wants one.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The processor time that a step has before others begin beside it. Steps that take less run one
/// after the other, which is better for all of them: taking turns, two equal ones both end late,
/// and neither can be moved meanwhile. Behind one that takes more, nobody is to wait to its end.
const TURN: Duration = Duration::from_millis(10);

/// The time of one step. It is locked by whoever runs the step, and by nobody else at the same
/// time.
#[derive(Debug)]
pub(crate) struct Meter {
    tick: Duration,
    time: Mutex<Time>,
}

/// What a step used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spent {
    /// Processor time.
    pub(crate) used: Duration,
    /// The time from the beginnings of its slices to their ends: longer where others had the core
    /// meanwhile, or a quota was used up.
    pub(crate) took: Duration,
}

#[derive(Debug)]
struct Time {
    spent: Spent,
    slice: Slice,
    /// The slice ended with a tick and not because the step waits for something.
    ticked: bool,
}

/// What is running now, since when.
#[derive(Debug)]
enum Slice {
    None { long: bool },
    Short(Instant),
    Long { cpu: Duration, wall: Instant },
}

impl Meter {
    /// One that can count on being told of ticks of this length.
    pub(crate) fn new(tick: Duration) -> Self {
        Self { tick, time: Mutex::new(Time::default()) }
    }

    /// The step begins to run on this thread.
    pub(crate) fn slice_begins(&self) {
        self.with(|time| {
            time.ticked = false;
            time.slice = match time.slice {
                Slice::None { long: false } | Slice::Short(_) => Slice::Short(Instant::now()),
                Slice::None { long: true } | Slice::Long { .. } => Slice::long(),
            }
        });
    }

    /// What was suspended goes on, as a step of its own.
    pub(crate) fn restart(&self) {
        self.with(|time| *time = Time::default());
    }

    /// The step has stopped running; what it used so far.
    pub(crate) fn slice_ends(&self) -> Spent {
        self.with(|time| {
            time.add(self.tick);
            time.slice = Slice::None { long: matches!(time.slice, Slice::Long { .. }) };
            time.spent
        })
    }

    /// Whether the clock has ticked so soon after the step began that it is let go on until the next
    /// tick: steps of some microseconds are not to be cut in two by a tick that happens to come.
    /// In its first slice only: one that waits again and again is counted, however short its slices.
    pub(crate) fn has_just_begun(&self) -> bool {
        self.with(|time| {
            let is_first = time.spent.took.is_zero();
            is_first && matches!(time.slice, Slice::Short(began) if began.elapsed() < self.tick / 2)
        })
    }

    /// The clock has ticked while the step runs; what it used so far.
    pub(crate) fn ticks(&self) -> Spent {
        self.with(|time| {
            time.add(self.tick);
            time.slice = Slice::long();
            time.ticked = true;
            time.spent
        })
    }

    /// Whether the step, which has just stopped running, waits for the host, or has had so much of
    /// a core that others are to begin beside it.
    pub(crate) fn gives_way(&self) -> bool {
        self.with(|time| !time.ticked || time.spent.used >= TURN)
    }

    /// Whether the step, which has just stopped running, did so for a tick: then it waits for
    /// nothing.
    pub(crate) fn has_ticked(&self) -> bool {
        self.with(|time| time.ticked)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Time) -> T) -> T {
        change(&mut self.time.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self { spent: Spent::default(), slice: Slice::None { long: false }, ticked: false }
    }
}

impl Time {
    /// Count the slice up to now.
    fn add(&mut self, tick: Duration) {
        let Spent { used, took } = match self.slice {
            Slice::None { .. } => Spent::default(),
            Slice::Short(began) => {
                // It has not seen a tick, so it cannot have run for longer than one, only have been
                // kept from running. In its first slice it may have been let go on over one.
                let took = began.elapsed();
                let most = if self.spent.took.is_zero() { tick * 3 / 2 } else { tick };
                Spent { used: took.min(most), took }
            }
            Slice::Long { cpu, wall } => {
                Spent { used: thread_time().saturating_sub(cpu), took: wall.elapsed() }
            }
        };
        self.spent.used += used;
        self.spent.took += took;
    }
}

impl Slice {
    fn long() -> Self {
        Self::Long { cpu: thread_time(), wall: Instant::now() }
    }
}

fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const TICK: Duration = Duration::from_millis(1);
    const SHORT_MAX: Duration = Duration::from_micros(1500);

    /// If this failed, a step would be stopped for the time that other processes took, or nobody
    /// would see that they took it.
    #[test]
    fn a_long_step_pays_for_its_own_time_only() {
        let meter = Meter::new(TICK);
        meter.slice_begins();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(meter.ticks().used, SHORT_MAX);
        thread::sleep(Duration::from_millis(50));
        let spent = meter.slice_ends();
        assert!(spent.used < Duration::from_millis(30), "{spent:?}");
        assert!(spent.took >= Duration::from_millis(100), "{spent:?}");
        meter.slice_begins();
        let began = thread_time();
        while thread_time() < began + Duration::from_millis(20) {}
        let used = meter.ticks().used;
        assert!(used >= Duration::from_millis(21), "{used:?}");
        assert!(used < Duration::from_millis(60), "{used:?}");
    }

    /// If this failed, a short step that was kept from running would look like a long one, and all
    /// like it would be expected to be.
    #[test]
    fn a_short_step_has_used_little_more_than_a_tick_at_most() {
        let meter = Meter::new(TICK);
        meter.slice_begins();
        thread::sleep(Duration::from_millis(50));
        let spent = meter.slice_ends();
        assert_eq!(spent.used, SHORT_MAX);
        assert!(spent.took >= Duration::from_millis(50), "{spent:?}");
    }

    /// If this failed, one in fifty steps of twenty microseconds would be stopped half-way and wait
    /// behind others, or a long one would never be stopped.
    #[test]
    fn a_tick_does_not_count_for_what_has_just_begun() {
        let meter = Meter::new(Duration::from_secs(60));
        meter.slice_begins();
        assert!(meter.has_just_begun());
        meter.ticks();
        assert!(!meter.has_just_begun());
        let meter = Meter::new(Duration::from_secs(60));
        meter.slice_begins();
        thread::sleep(TICK);
        meter.slice_ends();
        meter.slice_begins();
        assert!(!meter.has_just_begun());
        let meter = Meter::new(TICK);
        meter.slice_begins();
        thread::sleep(TICK);
        assert!(!meter.has_just_begun());
    }

    /// If this failed, steps of some milliseconds would run in turns, or short ones would wait for
    /// the end of a long one or for what the host does.
    #[test]
    fn a_step_gives_way_when_it_waits_or_was_long() {
        let meter = Meter::new(TICK);
        meter.slice_begins();
        meter.slice_ends();
        assert!(meter.gives_way());
        let began = thread_time();
        for (until, gives_way) in [(2, false), (15, true)] {
            meter.slice_begins();
            meter.ticks();
            while thread_time() < began + Duration::from_millis(until) {}
            meter.slice_ends();
            assert_eq!(meter.gives_way(), gives_way, "after {until} ms");
        }
    }

    /// If this failed, time between two slices would count.
    #[test]
    fn waiting_does_not_count() {
        let meter = Meter::new(TICK);
        meter.slice_begins();
        let first = meter.slice_ends();
        thread::sleep(Duration::from_millis(50));
        meter.slice_begins();
        assert!(meter.slice_ends().took - first.took < Duration::from_millis(30));
    }
}
