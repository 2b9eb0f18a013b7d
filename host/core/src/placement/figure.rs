//! The load figure: how long a step that arrives now is expected to wait, in microseconds. It is
//! the sum of three waits, for a core, for memory and for the network.

/// Shares of memory from which a node looks loaded, and at which it takes nothing new, in
/// thousandths. Between them the wait rises without bound, so that a node fills ever more slowly.
const MEMORY_TIGHT: u16 = 800;
pub(crate) const MEMORY_FULL: u16 = 950;
/// The share of the link from which what is sent waits behind what others send, in thousandths:
/// below it queues are short whatever the arrivals (M/M/1: at 0.8 four are ahead).
const NETWORK_TIGHT: u16 = 800;
/// How much time on cores the measured speed looks back, in microseconds. One step that is kept from
/// its core for a quarter of a second halves it; the interruptions of short ones average out.
const SPEED_WINDOW_US: f64 = 250_000.0;
/// How long until a node that was found slow, and then had nothing to run, is half forgiven, in
/// seconds. Shorter, the others would try it out too often: each trial is a slow process.
const SPEED_FORGIVEN_S: f64 = 5.0;

/// A step that takes longer on average, in microseconds, is never brief.
const BRIEF_US_MAX: f64 = 100.0;

/// Whether a step is so short that to wake another thread for it takes longer than to run it.
pub fn is_brief(demand_us: f64) -> bool {
    demand_us <= BRIEF_US_MAX
}

/// What runs or waits for a core on a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Waiting {
    /// Steps that run or are runnable.
    pub queued: usize,
    /// Their expected processor time at speed one, in microseconds.
    pub work_us: f64,
}

impl Waiting {
    /// The expected processor time of one of them; nothing if there is none.
    pub fn mean_us(&self) -> f64 {
        if self.queued == 0 { 0.0 } else { (self.work_us / self.queued as f64).max(0.0) }
    }

    /// The expected wait for a core: none while one is idle, else until enough of those ahead have
    /// ended. `capacity` is cores times speed.
    pub fn wait_us(&self, cores: usize, capacity: f64) -> f64 {
        let Some(ahead) = (self.queued + 1).checked_sub(cores.max(1)) else { return 0.0 };
        ahead as f64 * self.mean_us() / capacity.max(0.001)
    }
}

/// What a tight memory adds to the wait of a step that takes `mean_us`: judgement, not measured. A
/// step of pages that must be fetched again costs a multiple of itself.
pub fn memory_wait_us(memory_permille: u16, mean_us: f64) -> f64 {
    let Some(over) = memory_permille.checked_sub(MEMORY_TIGHT) else { return 0.0 };
    let left = MEMORY_FULL.saturating_sub(memory_permille).max(1);
    mean_us * f64::from(over) / f64::from(left)
}

/// What the network adds to the wait of a step that takes `mean_us`: what is sent goes behind what
/// waits to be sent, and a busy link lets it wait longer. The second is judgement, not measured.
pub fn network_wait_us(network_permille: u16, unsent_us: u32, mean_us: f64) -> f64 {
    let over = network_permille.saturating_sub(NETWORK_TIGHT);
    let left = 1000u16.saturating_sub(network_permille).max(1);
    f64::from(unsent_us) + mean_us * f64::from(over) / f64::from(left)
}

/// How fast what a whole process takes follows the latest step: some twenty processes back.
const JOURNEY_SMOOTHING: f64 = 0.02;
/// A node that hardly begins processes knows little of how many steps they have; no process is taken
/// to have more than so many.
const JOURNEY_STEPS_MAX: f64 = 32.0;

/// What a process takes altogether, as far as the steps of this node tell: the time of one step, and
/// how many of them were the first of their process. A queue of processes that have not begun looks
/// short by the first steps alone, when the long ones come after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Journey {
    step_us: f64,
    first_share: f64,
}

impl Default for Journey {
    fn default() -> Self {
        Self { step_us: 0.0, first_share: 1.0 }
    }
}

impl Journey {
    /// A step has taken `used_us` of processor time.
    pub fn stepped(&mut self, used_us: f64, was_first: bool) {
        self.step_us += JOURNEY_SMOOTHING * (used_us - self.step_us);
        let first = if was_first { 1.0 } else { 0.0 };
        self.first_share += JOURNEY_SMOOTHING * (first - self.first_share);
    }

    /// The processor time of one process, in microseconds.
    pub fn process_us(&self) -> f64 {
        self.step_us / self.first_share.max(1.0 / JOURNEY_STEPS_MAX)
    }
}

/// How fast the measured overhead follows the last measurement: some five of them back.
const OVERHEAD_SMOOTHING: f64 = 0.2;
/// The share of what is given that is left to steps at least: else a node whose work is all
/// overhead would seem to have no end of wait.
const STEPS_SHARE_MIN: f64 = 0.2;

/// What a node uses beside steps, in cores: requests, messages, encryption. A queue is worked off by
/// what is left, and that is little where processes are short or most requests are refused.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overhead {
    steps_us: f64,
    cores: f64,
}

impl Overhead {
    /// A step has used so much.
    pub fn stepped(&mut self, used_us: f64) {
        self.steps_us += used_us;
    }

    /// The node has used so much, steps included, in the microseconds since the last time.
    pub fn measured(&mut self, own_us: u64, passed_us: f64) {
        // A step counts when it ends, so it can be more than was used in this time.
        let cores = (own_us as f64 - self.steps_us) / passed_us.max(1.0);
        self.steps_us = 0.0;
        self.cores += OVERHEAD_SMOOTHING * (cores - self.cores);
    }

    /// What steps have of `given` cores.
    pub fn left_of(&self, given: f64) -> f64 {
        (given - self.cores.max(0.0)).max(STEPS_SHARE_MIN * given)
    }
}

/// The measured speed of a node: what its steps were expected to take over what they took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    first: f64,
    value: f64,
}

impl Speed {
    /// Begin with a speed that was told or measured otherwise.
    pub fn new(speed: f64) -> Self {
        Self { first: speed, value: speed }
    }

    /// A step that was expected to take `expected_us` at speed one has taken `taken_us`.
    pub fn ran(&mut self, expected_us: f64, taken_us: f64) {
        let known = self.value * SPEED_WINDOW_US;
        self.value = (known + expected_us) / (SPEED_WINDOW_US + taken_us);
    }

    /// Time has passed. Without steps that prove something else it goes back to the first speed: a
    /// node that gets nothing because it was slow could never show that it is not any more.
    pub fn pass(&mut self, seconds: f64) {
        let kept = libm::exp2(-seconds / SPEED_FORGIVEN_S);
        self.value = self.first + (self.value - self.first) * kept;
    }

    /// The speed now.
    pub fn value(&self) -> f64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a burst of processes whose later steps are long is admitted by their first.
    #[test]
    fn a_journey_counts_the_steps_to_come() {
        let mut journey = Journey::default();
        for _ in 0..200 {
            journey.stepped(30.0, true);
            journey.stepped(4000.0, false);
            journey.stepped(30.0, false);
        }
        assert!((3800.0..4300.0).contains(&journey.process_us()), "{journey:?}");
        (0..10_000).for_each(|_| journey.stepped(100.0, false));
        assert!((3000.0..3300.0).contains(&journey.process_us()), "{journey:?}");
    }

    /// If this fails, long steps keep a node from its sockets, or short ones wait for a thread to
    /// wake.
    #[test]
    fn brief_steps_are_short() {
        assert!(is_brief(0.0) && is_brief(100.0) && !is_brief(101.0));
    }

    /// If this fails, a node with an idle core looks busy, or one that has none does not.
    #[test]
    fn the_wait_begins_with_the_last_core() {
        let waiting = |queued: usize| Waiting { queued, work_us: 1000.0 * queued as f64 };
        assert_eq!(waiting(0).wait_us(2, 2.0), 0.0);
        assert_eq!(waiting(1).wait_us(2, 2.0), 0.0);
        assert_eq!(waiting(2).wait_us(2, 2.0), 500.0);
        assert_eq!(waiting(5).wait_us(2, 2.0), 2000.0);
        assert_eq!(waiting(5).wait_us(2, 1.0), 4000.0);
    }

    /// If this fails, a node whose memory or link is nearly full looks as good as any.
    #[test]
    fn tight_memory_and_a_busy_link_add_waits() {
        assert_eq!(memory_wait_us(800, 1000.0), 0.0);
        assert_eq!(memory_wait_us(900, 1000.0), 2000.0);
        assert!(memory_wait_us(1000, 1000.0) > 100_000.0);
        assert_eq!(network_wait_us(800, 0, 1000.0), 0.0);
        assert_eq!(network_wait_us(900, 0, 1000.0), 1000.0);
        assert_eq!(network_wait_us(900, 70, 1000.0), 1070.0);
        assert_eq!(network_wait_us(10, 70, 1000.0), 70.0);
    }

    /// If this fails, a node that is busy with requests promises its cores to steps.
    #[test]
    fn steps_have_what_the_node_leaves() {
        let mut overhead = Overhead::default();
        assert_eq!(overhead.left_of(0.2), 0.2);
        for _ in 0..100 {
            overhead.stepped(10_000.0);
            overhead.stepped(20_000.0);
            overhead.measured(50_000, 250_000.0);
        }
        assert!((overhead.left_of(0.2) - 0.12).abs() < 0.001, "{overhead:?}");
        assert!((overhead.left_of(0.09) - 0.018).abs() < 0.001, "{overhead:?}");
        (0..100).for_each(|_| overhead.measured(0, 250_000.0));
        assert!(overhead.left_of(0.2) > 0.199, "{overhead:?}");
    }

    /// If this fails, a node that has become slow goes on to promise its old speed, or one that was
    /// slow once is never tried again.
    #[test]
    fn the_speed_follows_the_steps() {
        let mut speed = Speed::new(1.0);
        for _ in 0..100 {
            speed.ran(1000.0, 1000.0);
        }
        assert!((speed.value() - 1.0).abs() < 1e-9);
        for _ in 0..200 {
            speed.ran(1000.0, 4000.0);
        }
        assert!((0.25..0.35).contains(&speed.value()), "{}", speed.value());
        speed.pass(1.0);
        assert!(speed.value() < 0.4, "{}", speed.value());
        speed.pass(30.0);
        assert!(speed.value() > 0.95, "{}", speed.value());
    }

    /// If this fails, a single long wait for a core goes unseen, or a single short one does not.
    #[test]
    fn the_speed_looks_back_a_quarter_of_a_second() {
        let mut speed = Speed::new(1.0);
        speed.ran(10.0, 1000.0);
        assert!(speed.value() > 0.99, "{}", speed.value());
        speed.ran(5000.0, 250_000.0);
        assert!((0.49..0.52).contains(&speed.value()), "{}", speed.value());
    }
}
