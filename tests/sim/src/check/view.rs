//! *View*: in the end each node believes of each other what is so.

use izna_core::PeerState;

use crate::{World, world::index};

impl World {
    pub(crate) fn check_views(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else { continue };
            let peers: Vec<_> = core.peers().collect();
            let others = self.nodes.len() - 1;
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
                self.fail("view", None, n, wrong);
            }
        }
    }
}
