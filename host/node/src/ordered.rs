//! An ordered queue: places are taken in the order in which things were decided, each is filled
//! when its content is ready, by any thread, and contents come out in the order of their places.
//! What waits for a condition, such as being on disk, is a place that is filled later: all behind
//! it wait.
//!
//! This is the inner half, [`Turns`], which knows numbers of places. Who hands out a place takes a
//! number from a counter, and sees to it that each number is settled once: by
//! [`Place`](crate::link_writer::Place) for links.

use std::collections::VecDeque;

/// The most places behind one that was not filled yet.
pub(crate) const PLACES_MAX: usize = 1 << 16;

/// Whose turn it is. The first place has the number 0.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// The lowest number that is not settled, or that could not come out yet.
    next: u64,
    /// The place `next` and those behind it, as far as any of them is settled. Empty when places
    /// are filled in their order, so that this costs nothing then.
    behind: VecDeque<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Open,
    Filled(T),
    GivenUp,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { next: 0, behind: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// The place of this number is filled, or given up. `out` is called with each content whose
    /// turn it is now, in order; it may be none, this one, or this one and others behind it.
    pub(crate) fn settle(&mut self, number: u64, content: Option<T>, mut out: impl FnMut(T)) {
        debug_assert!(number >= self.next, "place {number} was settled before");
        if number == self.next && self.behind.is_empty() {
            self.next += 1;
            content.into_iter().for_each(out);
            return;
        }
        let index = usize::try_from(number.saturating_sub(self.next)).unwrap_or(usize::MAX);
        if self.behind.len() <= index {
            self.behind.resize_with(index.saturating_add(1), || State::Open);
        }
        if let Some(place) = self.behind.get_mut(index) {
            *place = content.map_or(State::GivenUp, State::Filled);
        }
        while let Some(place) = self.behind.pop_front() {
            match place {
                State::Open => {
                    self.behind.push_front(State::Open);
                    break;
                }
                State::Filled(content) => out(content),
                State::GivenUp => {}
            }
            self.next += 1;
        }
    }

    /// Whether the place of this number is so far behind the first open one that it must not be
    /// filled.
    pub(crate) fn is_too_far(&self, number: u64) -> bool {
        number.saturating_sub(self.next) >= PLACES_MAX as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn settled(turns: &mut Turns<u64>, number: u64, content: Option<u64>) -> Vec<u64> {
        let mut came = Vec::new();
        turns.settle(number, content, |content| came.push(content));
        came
    }

    /// If this fails, what was decided later is sent first.
    #[test]
    fn contents_come_out_in_the_order_of_their_places() {
        let mut turns = Turns::default();
        assert_eq!(settled(&mut turns, 2, Some(2)), NONE);
        assert_eq!(settled(&mut turns, 1, Some(1)), NONE);
        assert_eq!(settled(&mut turns, 0, Some(0)), [0, 1, 2]);
        assert_eq!(settled(&mut turns, 3, Some(3)), [3]);
    }

    /// If this fails, a message that could not be sent stops all behind it for good.
    #[test]
    fn a_place_that_is_given_up_holds_nobody_up() {
        let mut turns = Turns::default();
        assert_eq!(settled(&mut turns, 0, None), NONE);
        assert_eq!(settled(&mut turns, 2, Some(2)), NONE);
        assert_eq!(settled(&mut turns, 4, None), NONE);
        assert_eq!(settled(&mut turns, 3, Some(3)), NONE);
        assert_eq!(settled(&mut turns, 1, None), [2, 3]);
        assert_eq!(settled(&mut turns, 5, Some(5)), [5]);
        assert!(turns.behind.is_empty());
    }

    /// If this fails, some order of filling loses, repeats or swaps contents.
    #[test]
    fn every_order_of_filling_is_right() {
        // All 720 orders of six places; in each the place 3 is given up.
        let mut order = [0, 1, 2, 3, 4, 5];
        let mut check = |order: &[u64]| {
            let mut turns = Turns::default();
            let mut came = Vec::new();
            for number in order {
                let content = (*number != 3).then_some(*number);
                turns.settle(*number, content, |content| came.push(content));
            }
            assert_eq!(came, [0, 1, 2, 4, 5], "filled as {order:?}");
        };
        fn permute(order: &mut [u64; 6], from: usize, check: &mut impl FnMut(&[u64])) {
            if from == order.len() {
                return check(order);
            }
            for at in from..order.len() {
                order.swap(from, at);
                permute(order, from + 1, check);
                order.swap(from, at);
            }
        }
        permute(&mut order, 0, &mut check);
    }

    /// If this fails, one place that is never filled takes the memory of ever more behind it.
    #[test]
    fn places_max() {
        let mut turns = Turns::default();
        settled(&mut turns, 1, Some(1));
        assert!(!turns.is_too_far(PLACES_MAX as u64 - 1));
        assert!(turns.is_too_far(PLACES_MAX as u64));
        settled(&mut turns, 0, Some(0));
        assert!(!turns.is_too_far(PLACES_MAX as u64));
    }
}
