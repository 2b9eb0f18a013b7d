//! *View*: in the end each node believes of each other what is so.

use izna_core::PeerState;

use crate::{World, world::index};

impl World {
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
            let (zones, known) = (self.options.zones.max(1) - 1, core.zones().count());
            let far = (known != zones)
                .then(|| format!("knows {known} of {zones} other zones in the end"));
            let first = (0..n).find(|other| self.zone(*other) == self.zone(n));
            let speaks = (core.speaks() != first.is_none())
                .then(|| format!("speaks for its zone: {}", core.speaks()));
            if let Some(wrong) = wrong.or(few).or(far).or(speaks) {
                self.fail("view", None, n, wrong);
            }
        }
    }
}
