//! *View*: a node does not go back to what it believed of an earlier life of another; in the end each
//! believes of each other what is so.

use izna_core::PeerState;
use izna_proto::Beacon;

use super::Checker;
use crate::{World, world::index};

/// What nodes believe of each other.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// A node is told something of an earlier life of this one, of which it knew this incarnation.
    old: Option<(usize, u64)>,
}

impl Checker for Views {
    const NAME: &'static str = "view";
}

impl Views {
    /// Whether something is to be looked at though nothing came of it.
    pub(crate) fn looks(&self) -> bool {
        self.old.is_some()
    }
}

impl World {
    fn known_incarnation(&self, n: usize, other: usize) -> Option<u64> {
        let core = self.nodes[n].core.as_ref()?;
        let mut peers = core.peers();
        peers.find(|peer| index(peer.node) == other).map(|peer| peer.incarnation)
    }

    pub(crate) fn before_beacon(&mut self, n: usize, beacon: &Beacon) {
        let other = index(beacon.node);
        if beacon.incarnation < self.nodes[other].incarnation {
            let known = self.known_incarnation(n, other);
            self.checkers.view.old = known.map(|known| (other, known));
        }
    }

    pub(crate) fn check_view(&mut self, n: usize) {
        let Some((other, known)) = self.checkers.view.old.take() else { return };
        if let Some(now) = self.known_incarnation(n, other).filter(|now| *now < known) {
            let message = format!("goes back from incarnation {known} of node {other} to {now}");
            self.fail::<Views>(None, n, message);
        }
    }

    pub(crate) fn check_views(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else { continue };
            let peers: Vec<_> = core.peers().filter(|peer| peer.zone.is_none()).collect();
            let near = (0..self.nodes.len()).filter(|other| self.zone(*other) == self.zone(n));
            let others = near.count() - 1;
            let wrong = peers.iter().find_map(|peer| {
                let node = &self.nodes[index(peer.node)];
                let holds = node.core.as_ref().map_or(0, |core| core.holds().count());
                let right = peer.state == PeerState::Live
                    && peer.incarnation == node.incarnation
                    && peer.holds == holds;
                (!right).then(|| format!("believes in the end, of {} components: {peer:?}", holds))
            });
            let few = (peers.len() != others)
                .then(|| format!("knows {} of {others} nodes in the end", peers.len()));
            if let Some(wrong) = wrong.or(few) {
                self.fail::<Views>(None, n, wrong);
            }
        }
    }
}
