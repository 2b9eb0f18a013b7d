//! Pulling: an idle node asks others for what waits there, and gives when it is asked. The rules
//! are in `placement`; this looks at the view and speaks.

use alloc::vec::Vec;

use izna_proto::{ComponentId, Digest, Load, Message, NodeId};
use rand::RngExt;

use crate::{
    Core, HeldId, Time,
    core::{Held, Timer},
    holding::component_of,
    peer::{Peer, PeerState},
    placement::{
        Costs, MOVES_MAX, Puller, QUEUE_MOVES_MAX, Rule, SAMPLE_MAX, Tokens, Waiting, appeal_us,
        gift_max, is_worth_giving, soonest_us, speed,
    },
};

/// Queued processes looked at for one asking.
const LOOKED_AT_MAX: usize = 64;

/// Who was asked, and who asked.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    puller: Puller,
    /// Which asking is not answered yet, who was asked, and until when the answer is awaited.
    asked: Option<Asked>,
    count: u64,
    pub(crate) tokens: Tokens<NodeId>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    peer: NodeId,
    until: Time,
}

impl Core {
    /// Ask another node for work, if a core is idle, nothing waits here, and it is time.
    pub(crate) fn ask_for_work(&mut self) {
        let idle = usize::from(self.config.cores).saturating_sub(self.waiting().queued);
        if idle == 0 || self.draining || !self.pulls.puller.may_ask(self.now) {
            return;
        }
        let Some(peer) = self.whom_to_ask() else { return };
        self.counters.pulls += 1;
        self.pulls.puller.ask();
        self.pulls.count += 1;
        let (number, until) = (self.pulls.count, self.now + self.config.acknowledge_timeout);
        self.pulls.asked = Some(Asked { number, peer, until });
        self.arm(until, Timer::Asked(number));
        let load = self.load();
        self.send(peer, Message::Pull { load });
    }

    /// Of some nodes with a component in common, the one that is believed to have the most waiting;
    /// if none is, any of them, with which the asking then stays as a token.
    fn whom_to_ask(&mut self) -> Option<NodeId> {
        let peers = self.view.peers();
        let (count, offset) = (peers.len(), self.random.random::<u64>());
        let start = usize::try_from(offset % u64::try_from(count.max(1)).ok()?).ok()?;
        let stride = (count / SAMPLE_MAX).max(1);
        let hop_us = self.hop_us;
        let (mut best, mut any) = (None, None);
        for step in 0..count.min(SAMPLE_MAX) {
            let peer = peers.get((start + step * stride) % count)?;
            if peer.state(self.now, &self.config) != PeerState::Live || !self.shares(peer) {
                continue;
            }
            any = any.or(Some(peer.node));
            if let Some(appeal) = appeal_us(&peer.belief, self.now, hop_us)
                && best.is_none_or(|(most, _)| appeal > most)
            {
                best = Some((appeal, peer.node));
            }
        }
        best.map(|(_, node)| node).or(any)
    }

    fn shares(&self, peer: &Peer) -> bool {
        self.holds().any(|component| peer.holds(component))
    }

    /// A node with an idle core asks.
    pub(crate) fn pull(&mut self, peer: NodeId, load: Load) {
        self.view.told_load(self.now, peer, load);
        let live = |peer: &Peer| peer.state(self.now, &self.config) == PeerState::Live;
        if !self.view.peer(peer).is_some_and(live) {
            let load = self.load();
            return self.send(peer, Message::Pulled { load, given: 0 });
        }
        let gifts = self.gifts(peer, &load);
        let given = u16::try_from(gifts.len()).unwrap_or(u16::MAX);
        for id in gifts {
            self.dequeue(id);
            self.counters.given += 1;
            self.give(id, peer, Rule::Pulled);
        }
        if given == 0 {
            self.pulls.tokens.keep(self.now, peer);
        }
        let load = self.load();
        self.send(peer, Message::Pulled { load, given });
    }

    /// Selection: the processes that would run next, but not so soon that moving does not pay.
    fn gifts(&self, peer: NodeId, load: &Load) -> Vec<HeldId> {
        let max = gift_max(usize::from(load.idle), self.queue.len());
        let capacity = self.capacity_for_steps();
        let (mut ahead, mut gifts) = (Waiting::default(), Vec::new());
        for (_, id) in self.queue.iter().take(LOOKED_AT_MAX) {
            let Some(held) = self.held.get(id) else { continue };
            let Some(entry) = held.process.entry() else { continue };
            let (digest, component) = (entry.digest, component_of(&held.process, entry));
            let with =
                Waiting { queued: ahead.queued + 1, work_us: ahead.work_us + held.demand_us };
            let costs = self.costs_of_giving(held, &digest);
            let free = !held.stays
                && held.queue_moves < QUEUE_MOVES_MAX
                && held.process.left.len() < MOVES_MAX
                && held.process.hops < self.hops_max(&held.process)
                && !held.process.left.contains(&peer);
            if free
                && self.takes(peer, &component)
                && self.company(held).iter().all(|other| self.takes(peer, other))
                && is_worth_giving(&with, capacity, &costs)
                && self.ends_sooner(peer, &with, costs)
            {
                gifts.push(*id);
                if gifts.len() >= max {
                    break;
                }
            } else {
                ahead = with;
            }
        }
        gifts
    }

    /// Whether a node with an idle core ends the last of `ahead` sooner than this one: an idle core
    /// that others on its machine use is not worth much.
    fn ends_sooner(&self, peer: NodeId, ahead: &Waiting, costs: Costs) -> bool {
        let own = self.load();
        let here_us = ahead.work_us / self.capacity_for_steps() + costs.demand_us / speed(&own);
        let there_us = |peer: &Peer| soonest_us(&peer.belief, &peer.costs(costs));
        self.view.peer(peer).map(there_us).is_some_and(|there_us| there_us < here_us)
    }

    /// One that waits here as it stands has to start again where it goes.
    fn costs_of_giving(&self, held: &Held, digest: &Digest) -> Costs {
        let costs = self.costs(digest);
        let entry = held.process.entry();
        let warm = entry.and_then(|entry| entry.warm).filter(|warm| warm.node == self.config.node);
        let replay_us = warm.map_or(0.0, |warm| f64::from(warm.replay_us));
        Costs { move_us: costs.move_us + replay_us, ..costs }
    }

    fn takes(&self, peer: NodeId, component: &ComponentId) -> bool {
        self.view.peer(peer).is_some_and(|peer| peer.holds(component))
    }

    /// A node that was asked has answered: so many processes are on their way.
    pub(crate) fn pulled(&mut self, peer: NodeId, load: Load, given: u16) {
        self.view.told_load(self.now, peer, load);
        if self.pulls.asked.is_some_and(|asked| asked.peer == peer) {
            self.counters.pulls_served += u64::from(given > 0);
            self.asking_ended(usize::from(given));
        }
    }

    /// An asking was not answered in time.
    pub(crate) fn not_pulled(&mut self, asking: u64) {
        if self.pulls.asked.is_some_and(|asked| asked.number == asking) {
            self.asking_ended(0);
        }
    }

    /// The link to a node broke.
    pub(crate) fn asked_is_gone(&mut self, peer: NodeId) {
        if self.pulls.asked.is_some_and(|asked| asked.peer == peer) {
            self.asking_ended(0);
        }
    }

    fn asking_ended(&mut self, given: usize) {
        if let Some(Asked { number, until, .. }) = self.pulls.asked.take() {
            self.disarm(until, Timer::Asked(number));
        }
        if let Some(again) = self.pulls.puller.answered(self.now, given) {
            self.arm(again, Timer::Pull);
        }
    }
}
