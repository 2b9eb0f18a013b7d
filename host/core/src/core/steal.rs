//! Work stealing: an idle node asks others for what waits there, and gives when it is asked. The
//! rules are in `placement::pull`; this looks at the others and speaks.

use alloc::vec::Vec;

use izna_proto::{ComponentId, Digest, Load, Message, NodeId};
use rand::RngExt;

use super::{Core, Drain};
use crate::{
    held_id::HeldId,
    membership::Peer,
    placement::{
        Costs, MOVES_MAX, QUEUE_MOVES_MAX, Rule, SAMPLE_MAX, Waiting, appeal_us, gift_max,
        is_worth_giving, soonest_us, speed,
    },
    processes::{Held, component_of},
};

/// Queued processes looked at for one request for work.
const LOOKED_AT_MAX: usize = 64;

impl Core {
    /// Ask another node for work, if a core is idle, nothing waits here, and it is time.
    pub(super) fn ask_for_work(&mut self) {
        let idle = usize::from(self.fx.config.cores);
        let idle = idle.saturating_sub(self.processes.waiting().queued);
        if idle == 0 || self.drain != Drain::No || !self.stealing.may_ask(&self.fx) {
            return;
        }
        let Some(peer) = self.whom_to_ask() else { return };
        self.stealing.ask(&mut self.fx, peer);
        let load = self.load();
        self.fx.send(peer, Message::Pull { load });
    }

    /// Of some nodes with a component in common, the one that is believed to have the most waiting;
    /// if none is, any of them, with which the asking then stays as a token.
    fn whom_to_ask(&mut self) -> Option<NodeId> {
        let peers = self.membership.peers();
        let (count, offset) = (peers.len(), self.fx.random.random::<u64>());
        let start = usize::try_from(offset % u64::try_from(count.max(1)).ok()?).ok()?;
        let stride = (count / SAMPLE_MAX).max(1);
        let hop_us = self.membership.hop_us();
        let (mut best, mut any) = (None, None);
        for step in 0..count.min(SAMPLE_MAX) {
            let peer = peers.get((start + step * stride) % count)?;
            if !self.membership.is_live(&self.fx, peer.node) || !self.shares(peer) {
                continue;
            }
            any = any.or(Some(peer.node));
            if let Some(appeal) = appeal_us(&peer.belief, self.fx.now, hop_us)
                && best.is_none_or(|(most, _)| appeal > most)
            {
                best = Some((appeal, peer.node));
            }
        }
        best.map(|(_, node)| node).or(any)
    }

    fn shares(&self, peer: &Peer) -> bool {
        self.components.ready().any(|(component, _)| peer.holds(component))
    }

    /// A node with an idle core asks.
    pub(super) fn asked_for_work(&mut self, peer: NodeId, load: Load) {
        self.membership.told_load(&self.fx, peer, load);
        if !self.membership.is_live(&self.fx, peer) {
            let load = self.load();
            return self.fx.send(peer, Message::Pulled { load, given: 0 });
        }
        let gifts = self.gifts(peer, &load);
        let given = u16::try_from(gifts.len()).unwrap_or(u16::MAX);
        for id in gifts {
            self.processes.dequeue(&mut self.fx, id);
            self.fx.counters.given += 1;
            self.give(id, peer, Rule::Pulled);
        }
        if given == 0 {
            self.stealing.keep(&self.fx, peer);
        }
        let load = self.load();
        self.fx.send(peer, Message::Pulled { load, given });
    }

    /// Selection: the processes that would run next, but not so soon that moving does not pay.
    fn gifts(&self, peer: NodeId, load: &Load) -> Vec<HeldId> {
        let max = gift_max(usize::from(load.idle), self.processes.queued());
        let capacity = self.meter.capacity_for_steps(&self.fx.config);
        let (mut ahead, mut gifts) = (Waiting::default(), Vec::new());
        for id in self.processes.queue().take(LOOKED_AT_MAX) {
            let Some(held) = self.processes.get(id) else { continue };
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
                gifts.push(id);
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
        let capacity = self.meter.capacity_for_steps(&self.fx.config);
        let here_us = ahead.work_us / capacity + costs.demand_us / speed(&own);
        let there_us = |peer: &Peer| soonest_us(&peer.belief, &peer.costs(costs));
        self.membership.peer(peer).map(there_us).is_some_and(|there_us| there_us < here_us)
    }

    /// One that waits here as it stands has to start again where it goes.
    fn costs_of_giving(&self, held: &Held, digest: &Digest) -> Costs {
        let costs = self.costs(digest);
        let entry = held.process.entry();
        let warm =
            entry.and_then(|entry| entry.warm).filter(|warm| warm.node == self.fx.config.node);
        let replay_us = warm.map_or(0.0, |warm| f64::from(warm.replay_us));
        Costs { move_us: costs.move_us + replay_us, ..costs }
    }

    fn takes(&self, peer: NodeId, component: &ComponentId) -> bool {
        self.membership.peer(peer).is_some_and(|peer| peer.holds(component))
    }
}
