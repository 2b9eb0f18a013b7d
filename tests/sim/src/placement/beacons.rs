//! Beacons as the receivers get them: each for itself loses some and gets others late. Nothing is
//! sent: what a receiver knows at a moment is worked out from hashes when it is asked for, which is
//! what makes ten thousand nodes possible.

use izna_proto::Load;

use super::{
    cluster::{moment, seconds},
    event::Moment,
    random::{mix, named, unit},
    scenario::Scenario,
};

/// Beacons of a node that are kept: at usual losses the eighth last is never needed.
const KEPT: usize = 8;
/// A node whose beacons are missing for so many intervals is silent.
const SILENT_INTERVALS: f64 = 3.5;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beacon {
    pub(super) at: Moment,
    pub(super) queued: f64,
    pub(super) work_s: f64,
    /// What the paper's rule tells: a mean of shares of use.
    pub(super) use_share: f64,
    pub(super) load: Load,
}

#[derive(Debug)]
pub(super) struct Board {
    seed: u64,
    loss: f64,
    jitter_s: f64,
    silent: Moment,
    kept: Vec<[Beacon; KEPT]>,
    sent: Vec<u32>,
    /// What a node says before its first beacon; none of one that has not come yet.
    first: Vec<Option<Beacon>>,
}

impl Board {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            seed: seed ^ 0xBEAC0,
            loss: scenario.beacon_loss,
            jitter_s: scenario.beacon_jitter_us * 1e-6,
            silent: moment(SILENT_INTERVALS * scenario.beacon_ms * 1e-3),
            kept: vec![[Beacon::default(); KEPT]; scenario.nodes],
            sent: vec![0; scenario.nodes],
            first: vec![None; scenario.nodes],
        }
    }

    /// All know a node from the beginning.
    pub(super) fn introduce(&mut self, node: usize, beacon: Beacon) {
        self.first[node] = Some(beacon);
    }

    pub(super) fn send(&mut self, node: usize, beacon: Beacon) {
        let sent = self.sent[node];
        self.kept[node][sent as usize % KEPT] = beacon;
        self.sent[node] = sent + 1;
    }

    pub(super) fn sent(&self, node: usize) -> u32 {
        self.sent[node]
    }

    /// The newest that a node has sent, whoever got it.
    pub(super) fn newest(&self, node: usize) -> Option<&Beacon> {
        match self.sent[node] {
            0 => self.first[node].as_ref(),
            sent => self.kept[node].get((sent as usize - 1) % KEPT),
        }
    }

    /// The newest beacon of `node` that has reached `receiver` by `now`, and whether a newer one is
    /// on its way.
    pub(super) fn heard(
        &self,
        receiver: usize,
        node: usize,
        now: Moment,
        hop_s: f64,
    ) -> (Option<&Beacon>, bool) {
        let sent = self.sent[node];
        let mut coming = false;
        for number in (sent.saturating_sub(KEPT as u32)..sent).rev() {
            let beacon = &self.kept[node][number as usize % KEPT];
            let pair = (receiver as u64) << 32 | node as u64;
            let hash = named(self.seed, pair, u64::from(number) + 1);
            if unit(hash) < self.loss {
                continue;
            }
            let delay_s = hop_s + self.jitter_s * unit(mix(hash));
            if seconds(beacon.at) + delay_s <= seconds(now) {
                return (Some(beacon), coming);
            }
            coming = true;
        }
        (self.first[node].as_ref(), coming)
    }

    pub(super) fn is_silent(&self, heard: Moment, now: Moment) -> bool {
        now.saturating_sub(heard) > self.silent
    }
}
