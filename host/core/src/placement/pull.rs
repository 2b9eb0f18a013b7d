//! Pull: a node with an idle core asks another for a process that waits there. Who has none to give
//! keeps the asking as a token for a moment, and hands over the next that would wait. At low load
//! senders find idle nodes; at high load the few idle nodes find senders.

use alloc::vec::Vec;

use super::{Belief, Costs, Waiting, transfer::MOVES_PAID};
use crate::time::{Duration, Time};

/// Nodes looked at to choose whom to ask.
pub const SAMPLE_MAX: usize = 16;
/// What is believed of a node is worth less with age: this share of its age is taken off its wait,
/// for as much of it will have been worked off...
const AGE_SHARE: f64 = 0.2;
/// ...up to this age, in microseconds: after it nothing is known anyway.
const AGE_US_MAX: f64 = 50_000.0;
/// Processes given to one asking.
const GIFT_MAX: usize = 4;
/// How long an asking stays as a token.
const TOKEN_KEPT: Duration = Duration::from_millis(5);
/// Tokens kept; the oldest lapse soon, so more are not needed.
const TOKENS_MAX: usize = 8;
/// Askings in a row that got nothing before the node waits with the next...
const MISSES_FREE: u32 = 2;
/// ...this long, and twice as long after each more...
const BACK_OFF: Duration = Duration::from_micros(500);
/// ...up to 64 times that, 32 ms. After that it asks no more until a step has ended here: a node
/// that is idle for that long is found by those who send.
const DOUBLINGS_MAX: u32 = 6;

/// The asking side: whether and when an idle node asks. One asking at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Puller {
    asking: bool,
    misses: u32,
    not_before: Time,
}

impl Puller {
    /// Whether it may ask now.
    pub fn may_ask(&self, now: Time) -> bool {
        !self.asking && now >= self.not_before
    }

    /// It asks.
    pub fn ask(&mut self) {
        self.asking = true;
    }

    /// An answer, or the news that there will be none: how many processes it gave. Gives when to
    /// look again whether to ask, if nothing happens before; none if it is not to.
    pub fn answered(&mut self, now: Time, given: usize) -> Option<Time> {
        self.asking = false;
        if given > 0 {
            self.misses = 0;
            return None;
        }
        self.misses = (self.misses + 1).min(MISSES_FREE + DOUBLINGS_MAX);
        let doublings = self.misses.checked_sub(MISSES_FREE).filter(|doublings| *doublings > 0);
        let Some(doublings) = doublings else { return Some(now) };
        self.not_before = now + BACK_OFF * (1 << doublings);
        (doublings < DOUBLINGS_MAX).then_some(self.not_before)
    }
}

/// How much a node is worth asking: the wait believed to be there, less for old beliefs; none if it
/// would not pay the way there and back.
pub fn appeal_us(belief: &Belief, now: Time, hop_us: f64) -> Option<f64> {
    let age_us = now.since(belief.learned()).as_micros() as f64;
    let wait_us = f64::from(belief.load().wait_us) - AGE_SHARE * age_us.min(AGE_US_MAX);
    (wait_us > 2.0 * hop_us).then_some(wait_us)
}

/// How many processes one asking of a node with so many idle cores gets from so many queued: at
/// most half, so that a wrong belief cannot empty the queue.
pub fn gift_max(idle: usize, queued: usize) -> usize {
    idle.min(GIFT_MAX).min(queued.div_ceil(2)).max(1)
}

/// Selection: whether a queued process with this before it is worth giving away: it must wait here
/// for longer than the way and the move cost. `ahead` counts what is queued before it and itself.
pub fn is_worth_giving(ahead: &Waiting, capacity: f64, costs: &Costs) -> bool {
    ahead.work_us / capacity.max(0.001) > costs.hop_us + MOVES_PAID * costs.move_us
}

/// The asked side: who has an idle core, as was asked lately.
#[derive(Debug, Clone)]
pub struct Tokens<T> {
    tokens: Vec<(T, Time)>,
}

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self { tokens: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Tokens<T> {
    /// A node asked and got nothing.
    pub fn keep(&mut self, now: Time, from: T) {
        let until = now + TOKEN_KEPT;
        if let Some(token) = self.tokens.iter_mut().find(|(node, _)| *node == from) {
            token.1 = until;
            return;
        }
        self.tokens.retain(|(_, until)| *until >= now);
        if self.tokens.len() < TOKENS_MAX {
            self.tokens.push((from, until));
        }
    }

    /// The oldest token that lasts still and that `fits`. It is used up.
    pub fn take(&mut self, now: Time, mut fits: impl FnMut(T) -> bool) -> Option<T> {
        if self.tokens.is_empty() {
            return None;
        }
        self.tokens.retain(|(_, until)| *until >= now);
        let at = self.tokens.iter().position(|(node, _)| fits(*node))?;
        Some(self.tokens.remove(at).0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use izna_proto::Load;

    use super::*;

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    /// If this fails, an idle cluster asks itself to death, or an idle node stops asking at the
    /// first miss.
    #[test]
    fn misses_back_off_and_end() {
        let mut puller = Puller::default();
        let (mut now, mut pauses) = (at(0), vec![]);
        loop {
            assert!(puller.may_ask(now));
            puller.ask();
            assert!(!puller.may_ask(now), "one asking at a time");
            let Some(again) = puller.answered(now, 0) else { break };
            pauses.push(again.since(now).as_micros());
            now = again;
        }
        assert_eq!(pauses, [0, 0, 1000, 2000, 4000, 8000, 16_000]);
        // It is not to wake up by itself any more, but a step that ends may make it ask.
        assert!(!puller.may_ask(now) && puller.may_ask(now + Duration::from_millis(32)));
    }

    /// If this fails, a node that found work goes on to hold back.
    #[test]
    fn a_gift_ends_the_back_off() {
        let mut puller = Puller::default();
        for _ in 0..5 {
            puller.ask();
            puller.answered(at(0), 0);
        }
        puller.ask();
        assert_eq!(puller.answered(at(9000), 2), None);
        puller.ask();
        assert_eq!(puller.answered(at(9000), 0), Some(at(9000)));
    }

    /// If this fails, nodes are asked for work that they no longer have, or that is not worth the
    /// way.
    #[test]
    fn old_beliefs_appeal_less() {
        let load = Load { wait_us: 2000, ..Load::default() };
        let belief = Belief::new(load, at(0));
        assert_eq!(appeal_us(&belief, at(0), 100.0), Some(2000.0));
        assert_eq!(appeal_us(&belief, at(5000), 100.0), Some(1000.0));
        assert_eq!(appeal_us(&belief, at(9000), 100.0), None);
    }

    /// If this fails, one asking empties a queue.
    #[test]
    fn gifts_are_limited() {
        assert_eq!((gift_max(1, 10), gift_max(8, 10), gift_max(8, 100)), (1, 4, 4));
        assert_eq!((gift_max(8, 3), gift_max(8, 1), gift_max(8, 0)), (2, 1, 1));
    }

    /// If this fails, a process that would run here before it arrived elsewhere is sent away.
    #[test]
    fn what_runs_soon_is_not_given() {
        let costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 1000.0 };
        let ahead = |work_us: f64| Waiting { queued: 1, work_us };
        assert!(!is_worth_giving(&ahead(500.0), 2.0, &costs));
        assert!(is_worth_giving(&ahead(600.0), 2.0, &costs));
    }

    /// If this fails, a token is used twice, for ever, or by one who cannot use it.
    #[test]
    fn tokens_last_a_moment_and_are_used_once() {
        let mut tokens = Tokens::default();
        tokens.keep(at(0), 7);
        tokens.keep(at(1000), 8);
        assert_eq!(tokens.take(at(1000), |node| node == 8), Some(8));
        assert_eq!(tokens.take(at(1000), |node| node == 8), None);
        tokens.keep(at(2000), 7);
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens.take(at(7001), |_| true), None);
        (0..20).for_each(|node| tokens.keep(at(0), node));
        assert_eq!(tokens.len(), TOKENS_MAX);
    }
}
