//! What a run counts.

use super::event::Moment;

/// Counts while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) responses_s: Vec<f32>,
    pub(super) arrived: u64,
    pub(super) lost: u64,
    pub(super) live: u64,
    /// Ends within the window in which the throughput is measured.
    pub(super) ended: u64,
    pub(super) messages: u64,
    pub(super) failed: u64,
    pub(super) adopted: u64,
    moves: u64,
    mandatory: u64,
    queue_moves: u64,
    returns: u64,
    again: u64,
    crossings: u64,
}

impl Tally {
    pub(super) fn moved(
        &mut self,
        held: bool,
        repair: bool,
        back: bool,
        again: bool,
        crosses: bool,
    ) {
        self.moves += 1;
        self.mandatory += u64::from(!held && !repair);
        self.queue_moves += u64::from(repair);
        self.returns += u64::from(back);
        self.again += u64::from(again);
        self.crossings += u64::from(crosses);
    }

    /// Sum up. `window` is how long the throughput was measured, in seconds.
    pub(super) fn results(mut self, window_s: f64, rate_max: f64) -> Results {
        self.responses_s.sort_unstable_by(f32::total_cmp);
        let count = self.responses_s.len();
        let sum: f64 = self.responses_s.iter().map(|response| f64::from(*response)).sum();
        let at = |share: f64| {
            let place = (count.saturating_sub(1) as f64 * share) as usize;
            self.responses_s.get(place).map_or(0.0, |response| f64::from(*response) * 1e3)
        };
        let each = |what: u64| what as f64 / count.max(1) as f64;
        Results {
            processes: count,
            lost: self.lost,
            mean_ms: sum / count.max(1) as f64 * 1e3,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            throughput: self.ended as f64 / window_s / rate_max,
            moves: each(self.moves),
            mandatory_moves: each(self.mandatory),
            queue_moves: each(self.queue_moves),
            again: each(self.again),
            returns: each(self.returns),
            crossings: each(self.crossings),
            messages: self.messages as f64 / self.arrived.max(1) as f64,
            adopted: self.adopted,
        }
    }
}

/// What came of one run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Results {
    /// Processes that were measured and ended.
    pub processes: usize,
    /// Measured ones that were lost with a node.
    pub lost: u64,
    /// Times from birth to end.
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    /// Ends, as a share of what any rule could do.
    pub throughput: f64,
    /// Moves of one process, and of them: to a holder; repairs; second repairs of one step; repairs
    /// back to a node left in that step; into another zone.
    pub moves: f64,
    pub mandatory_moves: f64,
    pub queue_moves: f64,
    pub again: f64,
    pub returns: f64,
    pub crossings: f64,
    /// Messages of one process beside processes and their acknowledgements, beacons included.
    pub messages: f64,
    /// Components taken in.
    pub adopted: u64,
}

/// When the throughput is measured: the last three fifths of the time.
pub(super) fn window(duration: Moment) -> std::ops::Range<Moment> {
    duration * 2 / 5..duration
}
