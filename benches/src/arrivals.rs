//! When requests begin: as soon as the last one ended, or by an intended time that no server can
//! move.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// When what has no time begins: no load lasts as long.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// When the next request of a connection begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// As soon as the last one has ended.
    Closed,
    /// So many a second over all connections, evenly, whether or not the last ones have ended.
    Even {
        /// How many.
        per_second: f64,
    },
    /// So many a second on average, at random as independent clients are, whether or not the last
    /// ones have ended.
    Random {
        /// From when on, and how many a second; in the order of time.
        rates: Vec<(Duration, f64)>,
        /// Equal seeds give equal times.
        seed: u64,
    },
    /// At these times, counted from the start and in their order, and none after the last.
    At {
        /// When each begins.
        times: Vec<Duration>,
    },
}

/// The intended times of an open loop, one after another.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pace: Pace,
    count: u64,
    at_s: f64,
    random: Xoshiro256PlusPlus,
}

impl Arrivals {
    pub(crate) fn new(pace: Pace) -> Self {
        let seed = match &pace {
            Pace::Random { seed, .. } => *seed,
            Pace::Closed | Pace::Even { .. } | Pace::At { .. } => 0,
        };
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { pace, count: 0, at_s: 0.0, random }
    }

    /// The number of the next request, and when it is to begin, counted from the start of the load;
    /// none: at once.
    pub(crate) fn next(&mut self) -> (u64, Option<Duration>) {
        let number = self.count;
        self.count += 1;
        let at_s = match &self.pace {
            Pace::Closed => return (number, None),
            Pace::At { times } => {
                let at = usize::try_from(number).ok().and_then(|number| times.get(number));
                return (number, Some(at.copied().unwrap_or(NEVER)));
            }
            Pace::Even { per_second } => number as f64 / per_second,
            Pace::Random { rates, .. } => {
                let unit: f64 = self.random.random();
                self.at_s = after(rates, self.at_s, -(1.0 - unit).ln());
                self.at_s
            }
        };
        (number, Some(Duration::try_from_secs_f64(at_s).unwrap_or(NEVER).min(NEVER)))
    }
}

/// When `amount` requests are expected after `at_s`: the integral of the rate.
fn after(rates: &[(Duration, f64)], mut at_s: f64, mut amount: f64) -> f64 {
    let starts = rates.iter().map(|(start, _)| start.as_secs_f64());
    let ends = starts.skip(1).chain([f64::INFINITY]);
    for ((_, rate), end_s) in rates.iter().zip(ends) {
        if at_s >= end_s {
            continue;
        }
        let room = (end_s - at_s) * rate;
        if amount <= room {
            return at_s + amount / rate;
        }
        amount -= room;
        at_s = end_s;
    }
    at_s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pace: Pace, count: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(pace);
        (0..count).map(|_| arrivals.next().1.unwrap().as_secs_f64()).collect()
    }

    /// If this fails, the open loop asks for more or less than it says.
    #[test]
    fn a_rate_is_kept() {
        assert_eq!(times(Pace::Even { per_second: 4.0 }, 4), [0.0, 0.25, 0.5, 0.75]);
        let rates = vec![(Duration::ZERO, 100.0)];
        let times = times(Pace::Random { rates, seed: 1 }, 10_000);
        let last = times.last().unwrap();
        assert!((97.0..103.0).contains(last), "{last}");
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        let variance = times.windows(2).map(|pair| (pair[1] - pair[0] - 0.01).powi(2)).sum::<f64>();
        let deviation = (variance / 9_999.0).sqrt();
        assert!((0.0095..0.0105).contains(&deviation), "not as independent clients: {deviation}");
    }

    /// If this fails, a burst comes at another time or of another height.
    #[test]
    fn a_burst_comes_when_it_should() {
        let second = Duration::from_secs(1);
        let rates = vec![(Duration::ZERO, 100.0), (second * 10, 500.0), (second * 20, 100.0)];
        let times = times(Pace::Random { rates, seed: 2 }, 7_500);
        let within = |from: f64, to: f64| times.iter().filter(|t| (from..to).contains(t)).count();
        assert!((900..1100).contains(&within(0.0, 10.0)), "{}", within(0.0, 10.0));
        assert!((4800..5200).contains(&within(10.0, 20.0)), "{}", within(10.0, 20.0));
        assert!((900..1100).contains(&within(20.0, 30.0)), "{}", within(20.0, 30.0));
    }

    /// If this fails, requests do not begin when a list says, or some are made up after its end.
    #[test]
    fn a_list_of_times_is_kept() {
        let listed = [1, 5, 5].map(Duration::from_millis);
        let mut arrivals = Arrivals::new(Pace::At { times: listed.to_vec() });
        for (number, at) in (0..).zip(listed.into_iter().chain([NEVER])) {
            assert_eq!(arrivals.next(), (number, Some(at)));
        }
    }

    /// If this fails, a stretch without requests stops all that come after it.
    #[test]
    fn a_pause_ends() {
        let second = Duration::from_secs(1);
        let rates = [(Duration::ZERO, 1.0), (second, 0.0), (second * 2, 1.0)];
        assert_eq!(after(&rates, 0.0, 0.5), 0.5);
        assert_eq!(after(&rates, 0.5, 1.0), 2.5);
    }
}
