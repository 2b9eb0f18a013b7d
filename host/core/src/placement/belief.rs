//! What one node believes of another's load: the newest that it was told, by an acknowledgement, a
//! delivery, a beacon or an answer to a pull, and the own deliveries that this cannot cover yet.

use izna_proto::Load;

use crate::time::{Duration, Time};

/// How fast the measured reaction follows the last measurement: some five of them back.
const REACTION_SMOOTHING: f64 = 0.2;
/// A measurement counts for so much at most: a node that slept for long is soon used again.
const REACTION_MAX: Duration = Duration::from_millis(200);

/// A belief. Small, because a node has one for each node of its zone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Belief {
    load: Load,
    learned: Time,
    uncovered: u32,
    owed_since: Time,
    reaction_us: f64,
    reacted: Time,
}

impl Belief {
    /// Nothing was told yet.
    pub fn new(load: Load, now: Time) -> Self {
        Self { load, learned: now, uncovered: 0, owed_since: now, reaction_us: 0.0, reacted: now }
    }

    /// A load that the node told of itself. An older one than is known is dropped: a beacon may
    /// come after the acknowledgement that was sent after it. Says whether it was news.
    pub fn told(&mut self, now: Time, load: Load) -> bool {
        let news = load.at_us >= self.load.at_us;
        if news {
            self.load = load;
            self.learned = now;
        }
        news
    }

    /// Another incarnation of the node speaks: its clock began again, and what the one before owed
    /// it does not.
    pub fn restarted(&mut self, now: Time) {
        *self = Self::new(Load { at_us: 0, ..self.load }, now);
    }

    /// A delivery went to it. Links keep the order, so the load in an acknowledgement covers all
    /// deliveries that were answered with it or before; the others are counted on top.
    pub fn sent(&mut self, now: Time) {
        if self.uncovered == 0 {
            self.owed_since = now;
        }
        self.uncovered = self.uncovered.saturating_add(1);
    }

    /// A delivery to it was answered, or is not waited for any more.
    pub fn answered(&mut self, now: Time) {
        self.uncovered = self.uncovered.saturating_sub(1);
        self.owed_since = now;
    }

    /// It took so long from a message to its answer, the way there and back included.
    pub fn reacts(&mut self, now: Time, took: Duration) {
        let took_us = took.min(REACTION_MAX).as_secs_f64() * 1e6;
        self.reaction_us += REACTION_SMOOTHING * (took_us - self.reaction_us);
        self.reacted = now;
    }

    /// How long it takes from a message to its answer, in microseconds. A node whose processors
    /// others use looks idle by its own load, but all that it does comes late.
    pub fn reaction_us(&self) -> f64 {
        self.reaction_us
    }

    /// When that was measured last.
    pub fn reacted(&self) -> Time {
        self.reacted
    }

    /// The link to it broke: what it owes it will not give.
    pub fn forgiven(&mut self) {
        self.uncovered = 0;
    }

    /// Whether it owes an answer and has given none for `after`.
    pub fn is_late(&self, now: Time, after: Duration) -> bool {
        self.uncovered > 0 && now.since(self.owed_since) > after
    }

    /// The load as told last.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// When that was learned.
    pub fn learned(&self) -> Time {
        self.learned
    }

    /// Deliveries that the load does not cover.
    pub fn uncovered(&self) -> u32 {
        self.uncovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(at_us: u64, wait_us: u32) -> Load {
        Load { at_us, wait_us, accepting: true, ..Load::default() }
    }

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    /// If this fails, a late beacon takes the place of a fresh acknowledgement.
    #[test]
    fn the_newest_load_wins() {
        let mut belief = Belief::new(Load::default(), at(0));
        assert!(belief.told(at(10), load(100, 7)));
        assert!(!belief.told(at(20), load(90, 3)));
        assert_eq!((belief.load().wait_us, belief.learned()), (7, at(10)));
        assert!(belief.told(at(30), load(100, 9)));
        belief.restarted(at(40));
        assert!(belief.told(at(50), load(1, 2)));
    }

    /// If this fails, own deliveries are forgotten before the target has told of them, and everyone
    /// herds on it; or they are counted for ever.
    #[test]
    fn deliveries_count_until_they_are_answered() {
        let mut belief = Belief::new(load(0, 0), at(0));
        belief.sent(at(0));
        belief.sent(at(5));
        belief.told(at(6), load(6, 0));
        assert_eq!(belief.uncovered(), 2);
        belief.answered(at(7));
        assert_eq!(belief.uncovered(), 1);
    }

    /// If this fails, a node that answers late counts as one that is there at once, or goes on
    /// counting as late.
    #[test]
    fn reactions_are_averaged() {
        let mut belief = Belief::new(load(0, 0), at(0));
        for _ in 0..20 {
            belief.reacts(at(1), Duration::from_micros(1000));
        }
        assert!((980.0..1000.0).contains(&belief.reaction_us()), "{belief:?}");
        for _ in 0..20 {
            belief.reacts(at(2), Duration::from_micros(0));
        }
        assert!(belief.reaction_us() < 20.0, "{belief:?}");
    }

    /// If this fails, a node that hangs gets process after process; or one that answers in turn is
    /// taken for one that hangs.
    #[test]
    fn late_is_who_owes_and_gives_nothing() {
        let after = Duration::from_micros(100);
        let mut belief = Belief::new(load(0, 0), at(0));
        assert!(!belief.is_late(at(1000), after));
        belief.sent(at(1000));
        belief.sent(at(1090));
        assert!(!belief.is_late(at(1100), after));
        assert!(belief.is_late(at(1101), after));
        belief.answered(at(1102));
        assert!(!belief.is_late(at(1200), after));
        belief.answered(at(1200));
        assert!(!belief.is_late(at(9000), after));
    }
}
