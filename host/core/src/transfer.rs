//! Deliveries: the one record of each that is under way, its timer, and which ones were taken here
//! lately. A source keeps a process until the target has accepted it; whatever else happens, the
//! record is gone and the process is placed again.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use izna_proto::{DeliveryId, NodeId, Process, ProcessId};

use crate::{
    effects::{Effects, Timer, first_number},
    held_id::HeldId,
    sabotage::Sabotage,
    time::{Duration, Time},
};

/// A delivery that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// To whom.
    pub(crate) peer: NodeId,
    /// What is delivered; none once it has ended here meanwhile.
    pub(crate) held: Option<HeldId>,
    pub(crate) sent: Time,
    /// When its answer is not waited for any more.
    until: Time,
    /// A process adds to its target's load, the end of one does not.
    pub(crate) is_process: bool,
    pub(crate) bytes: usize,
}

/// What is delivered, and how much of it there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    pub(crate) held: HeldId,
    pub(crate) is_process: bool,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Transfer {
    under_way: BTreeMap<u64, Delivered>,
    by_peer: BTreeMap<NodeId, BTreeSet<u64>>,
    next: u64,
    taken: Taken,
}

/// Deliveries that were taken in lately, to tell a repeated one.
#[derive(Debug, Default)]
struct Taken {
    seen: BTreeSet<Key>,
    order: VecDeque<Key>,
}

/// One process in one attempt after so many moves.
type Key = (ProcessId, u32, u32);

fn key(process: &Process) -> Key {
    (process.id, process.attempt, process.hops)
}

impl Transfer {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            under_way: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            next: first_number(incarnation),
            taken: Taken::default(),
        }
    }

    /// A delivery begins; its answer is waited for this much longer than one of the own zone.
    pub(crate) fn begin(
        &mut self,
        fx: &mut Effects,
        peer: NodeId,
        parcel: Parcel,
        patience: Duration,
    ) -> DeliveryId {
        self.next += 1;
        let (id, Parcel { held, is_process, bytes }) = (self.next, parcel);
        let (sent, until) = (fx.now, fx.now + fx.config.acknowledge_timeout + patience);
        let delivered = Delivered { peer, held: Some(held), sent, until, is_process, bytes };
        self.under_way.insert(id, delivered);
        self.by_peer.entry(peer).or_default().insert(id);
        fx.arm(until, Timer::Acknowledge(id));
        DeliveryId(id)
    }

    /// `peer` has answered; none if it answers nothing that it was asked. Gives the number too.
    pub(crate) fn answered(
        &mut self,
        fx: &mut Effects,
        peer: NodeId,
        id: DeliveryId,
    ) -> Option<(u64, Delivered)> {
        let id = match self.under_way.get(&id.0) {
            None if fx.sabotaged(Sabotage::TakeWrongAnswer) => {
                DeliveryId(*self.by_peer.get(&peer)?.first()?)
            }
            _ => id,
        };
        let delivered = self.under_way.get(&id.0).filter(|delivered| delivered.peer == peer)?;
        // Left to themselves these timers would wake the node once for every delivery.
        fx.disarm(delivered.until, Timer::Acknowledge(id.0));
        Some((id.0, self.end(id.0)?))
    }

    /// The timer of a delivery has come.
    pub(crate) fn unanswered(&mut self, id: u64) -> Option<Delivered> {
        self.end(id)
    }

    /// All that was under way to a node, oldest first: nothing will be answered.
    pub(crate) fn lost(&mut self, fx: &mut Effects, peer: NodeId) -> Vec<(u64, Delivered)> {
        let ids = self.by_peer.get(&peer).cloned().unwrap_or_default();
        let mut lost = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(delivered) = self.end(id) {
                fx.disarm(delivered.until, Timer::Acknowledge(id));
                lost.push((id, delivered));
            }
        }
        lost
    }

    /// What was delivered has ended here meanwhile; its answer still tells of the peer.
    pub(crate) fn forget_held(&mut self, id: u64) {
        if let Some(delivered) = self.under_way.get_mut(&id) {
            delivered.held = None;
        }
    }

    fn end(&mut self, id: u64) -> Option<Delivered> {
        let delivered = self.under_way.remove(&id)?;
        if let Some(ids) = self.by_peer.get_mut(&delivered.peer) {
            let was_there = ids.remove(&id);
            assert!(was_there, "delivery {id} was under way to nobody");
            if ids.is_empty() {
                self.by_peer.remove(&delivered.peer);
            }
        }
        Some(delivered)
    }

    /// Since when the oldest delivery to a node waits for its answer.
    pub(crate) fn oldest(&self, peer: NodeId) -> Option<Time> {
        let oldest = self.by_peer.get(&peer)?.first()?;
        self.under_way.get(oldest).map(|delivered| delivered.sent)
    }

    /// Deliveries to a node that it has not answered.
    pub(crate) fn outstanding(&self, peer: NodeId) -> usize {
        self.by_peer.get(&peer).map_or(0, BTreeSet::len)
    }

    /// Whether a process was taken in before, as it is.
    pub(crate) fn was_taken(&self, fx: &Effects, process: &Process) -> bool {
        self.taken.seen.contains(&key(process)) && !fx.sabotaged(Sabotage::TakeTwice)
    }

    /// A process is taken in.
    pub(crate) fn take(&mut self, fx: &Effects, process: &Process) {
        let Taken { seen, order } = &mut self.taken;
        if seen.insert(key(process)) {
            order.push_back(key(process));
        }
        if order.len() > fx.config.recent_max
            && let Some(oldest) = order.pop_front()
        {
            seen.remove(&oldest);
        }
    }

    /// Deliveries remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.taken.order.len()
    }

    /// What a process in a stage that waits for a delivery finds here.
    pub(crate) fn delivered(&self, id: u64) -> Option<&Delivered> {
        self.under_way.get(&id)
    }

    /// The processes for which a delivery is under way, with its number.
    pub(crate) fn held(&self) -> impl Iterator<Item = (HeldId, u64)> {
        self.under_way.iter().filter_map(|(id, delivered)| Some((delivered.held?, *id)))
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        let count: usize = self.by_peer.values().map(BTreeSet::len).sum();
        assert_eq!(count, self.under_way.len(), "deliveries are listed for the wrong nodes");
        for (id, delivered) in &self.under_way {
            let timer = (delivered.until, Timer::Acknowledge(*id));
            assert!(fx.is_armed(timer.0, timer.1), "delivery {id} has lost its timer");
        }
        assert_eq!(self.taken.seen.len(), self.taken.order.len(), "a taken process is listed once");
        assert!(self.taken.order.len() <= fx.config.recent_max, "too many deliveries remembered");
    }
}
