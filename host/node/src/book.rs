//! Where nodes are: the addresses of their links, and whom to send beacons to by unicast.
//!
//! A node takes links (TCP) and beacons (UDP) at one address. It is learned from beacons, whose
//! source address nobody vouches for: it only ever leads to a dial, whose other side must prove its
//! name.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use izna_proto::{Beacon, NodeId, PeerAddress};

/// Nodes and told addresses that are remembered; further ones are not taken.
const ADDRESSES_MAX: usize = 4096;
/// A node that was heard by multicast is not sent unicast beacons for this long.
const MULTICAST_FOR: Duration = Duration::from_secs(3);
/// A node that was not heard for this long is not told to others any more.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Beacons are sent to a silent node for this long.
const TRIED_FOR: Duration = Duration::from_secs(600);

/// How a beacon came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Multicast,
    Unicast,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    heard: HashMap<NodeId, Heard>,
    /// Addresses that other nodes told, of nodes not heard since.
    told: HashMap<NodeId, (SocketAddr, Instant)>,
    seeds: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Heard {
    /// Incarnation and sequence of the newest beacon: an older one says nothing about where the
    /// node is.
    stamp: (u64, u64),
    address: SocketAddr,
    at: Instant,
    multicast_at: Option<Instant>,
}

impl Book {
    /// Take in where a beacon came from; whether others should be told.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        beacon: &Beacon,
        source: IpAddr,
        way: Way,
    ) -> bool {
        let address = SocketAddr::new(source, beacon.peer_port);
        let stamp = (beacon.incarnation, beacon.sequence);
        let multicast_at = (way == Way::Multicast).then_some(now);
        let Some(heard) = self.heard.get_mut(&beacon.node) else {
            let has_room = self.heard.len() < ADDRESSES_MAX;
            if has_room {
                let heard = Heard { stamp, address, at: now, multicast_at };
                self.heard.insert(beacon.node, heard);
                self.told.remove(&beacon.node);
            }
            return has_room;
        };
        // The same beacon by another way still shows that the way is open.
        if stamp >= heard.stamp && multicast_at.is_some() {
            heard.multicast_at = multicast_at;
        }
        if stamp <= heard.stamp {
            return false;
        }
        let is_news = heard.address != address || now.duration_since(heard.at) > TOLD_FOR;
        (heard.stamp, heard.address, heard.at) = (stamp, address, now);
        is_news
    }

    /// Take in what another node told.
    pub(crate) fn told(&mut self, now: Instant, own: NodeId, peers: &[PeerAddress]) {
        for PeerAddress { node, address } in peers {
            let is_new = *node != own && !self.heard.contains_key(node);
            let has_room = self.told.len() < ADDRESSES_MAX || self.told.contains_key(node);
            if is_new && has_room && address.port() != 0 {
                self.told.insert(*node, (*address, now));
            }
        }
    }

    /// The addresses that the configured seeds have now.
    pub(crate) fn set_seeds(&mut self, seeds: Vec<SocketAddr>) {
        self.seeds = seeds;
    }

    /// Where the links of a node are taken.
    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.heard.get(&node).map(|heard| heard.address)
    }

    /// The newest incarnation of a node that a beacon told; 0 if none did.
    pub(crate) fn incarnation(&self, node: NodeId) -> u64 {
        self.heard.get(&node).map_or(0, |heard| heard.stamp.0)
    }

    /// Whether any other node has ever been heard.
    pub(crate) fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Where to send a beacon by unicast now. Forgets whom nobody can reach any more.
    pub(crate) fn targets(&mut self, now: Instant, targets: &mut Vec<SocketAddr>) {
        self.told.retain(|_, (_, at)| now.duration_since(*at) < TRIED_FOR);
        self.heard.retain(|_, heard| now.duration_since(heard.at) < TRIED_FOR);
        targets.clear();
        targets.extend(self.told.values().map(|(address, _)| *address));
        let by_unicast = |heard: &&Heard| !heard.by_multicast(now);
        targets.extend(self.heard.values().filter(by_unicast).map(|heard| heard.address));
        let known = |seed: &SocketAddr| self.heard.values().any(|heard| heard.address == *seed);
        targets.extend(self.seeds.iter().filter(|seed| !known(seed)));
        targets.sort_unstable();
        targets.dedup();
    }

    /// What to tell `peer`: to a node reached by unicast all others, to one reached by multicast
    /// those that it may not hear.
    pub(crate) fn list(&self, now: Instant, peer: NodeId) -> Vec<PeerAddress> {
        let by_multicast = self.heard.get(&peer).is_some_and(|heard| heard.by_multicast(now));
        let to_loopback = self.address(peer).is_none_or(|address| address.ip().is_loopback());
        let mut list: Vec<_> = self
            .heard
            .iter()
            .filter(|(node, heard)| {
                **node != peer
                    && now.duration_since(heard.at) < TOLD_FOR
                    && !(by_multicast && heard.by_multicast(now))
                    // An address of this machine means another one elsewhere.
                    && (to_loopback || !heard.address.ip().is_loopback())
            })
            .map(|(node, heard)| PeerAddress { node: *node, address: heard.address })
            .collect();
        list.sort_by_key(|peer| peer.node);
        list
    }
}

impl Heard {
    fn by_multicast(&self, now: Instant) -> bool {
        self.multicast_at.is_some_and(|at| now.duration_since(at) < MULTICAST_FOR)
    }
}

#[cfg(test)]
mod tests {
    use izna_proto::Load;

    use super::*;

    fn beacon(node: u64, sequence: u64) -> Beacon {
        let (node, incarnation, load) = (NodeId(node), 1, Load::default());
        Beacon { node, incarnation, sequence, peer_port: 7000, load, inventory: 0, table: 0 }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn at(last: u8) -> SocketAddr {
        (ip(last), 7000).into()
    }

    fn targets(book: &mut Book, now: Instant) -> Vec<SocketAddr> {
        let mut targets = vec![at(99)];
        book.targets(now, &mut targets);
        targets
    }

    /// If this fails, a captured beacon sent from elsewhere leads dials astray.
    #[test]
    fn an_old_beacon_says_nothing() {
        let (mut book, now) = (Book::default(), Instant::now());
        assert!(book.heard(now, &beacon(1, 5), ip(1), Way::Unicast));
        assert!(!book.heard(now, &beacon(1, 5), ip(2), Way::Unicast));
        assert!(!book.heard(now, &beacon(1, 4), ip(2), Way::Unicast));
        assert_eq!(book.address(NodeId(1)), Some(at(1)));
        assert!(!book.heard(now, &beacon(1, 6), ip(1), Way::Unicast));
        assert!(book.heard(now, &beacon(1, 7), ip(2), Way::Unicast));
        assert_eq!(book.address(NodeId(1)), Some(at(2)));
    }

    /// If this fails, nodes without multicast do not find each other.
    #[test]
    fn seeds_lead_to_all() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.set_seeds(vec![at(1)]);
        assert_eq!(targets(&mut book, now), [at(1)]);
        book.heard(now, &beacon(1, 1), ip(1), Way::Unicast);
        let told = [(1, 1), (2, 2), (9, 9)];
        let told = told.map(|(node, n)| PeerAddress { node: NodeId(node), address: at(n) });
        book.told(now, NodeId(9), &told);
        assert_eq!(targets(&mut book, now), [at(1), at(2)]);
        book.heard(now, &beacon(2, 1), ip(2), Way::Unicast);
        assert_eq!(targets(&mut book, now), [at(1), at(2)]);
        let two = PeerAddress { node: NodeId(2), address: at(2) };
        assert_eq!(book.list(now, NodeId(1)), [two]);
        assert_eq!(targets(&mut book, now + TRIED_FOR), [at(1)]);
    }

    /// If this fails, a network with multicast gets every beacon many times.
    #[test]
    fn multicast_makes_unicast_needless() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.set_seeds(vec![at(1)]);
        for node in [1, 2] {
            book.heard(now, &beacon(node, 1), ip(node as u8), Way::Multicast);
        }
        assert_eq!(targets(&mut book, now), []);
        assert_eq!(book.list(now, NodeId(1)), []);
        book.heard(now, &beacon(3, 1), ip(3), Way::Unicast);
        assert_eq!(targets(&mut book, now), [at(3)]);
        let peer = |node, n| PeerAddress { node: NodeId(node), address: at(n) };
        assert_eq!(book.list(now, NodeId(1)), [peer(3, 3)]);
        assert_eq!(book.list(now, NodeId(3)), [peer(1, 1), peer(2, 2)]);
        // Multicast stops to work: unicast takes over.
        let later = now + MULTICAST_FOR;
        assert_eq!(targets(&mut book, later), [at(1), at(2), at(3)]);
    }

    /// If this fails, a node that lies about addresses fills the memory or makes a node its tool.
    #[test]
    fn what_is_told_is_bounded() {
        let (mut book, now) = (Book::default(), Instant::now());
        let all: Vec<_> = (0..10_000u64)
            .map(|node| PeerAddress { node: NodeId(node), address: at((node % 200) as u8) })
            .collect();
        book.told(now, NodeId(0), &all);
        assert!(book.told.len() <= ADDRESSES_MAX);
        assert!(targets(&mut book, now).len() <= 200);
    }
}
