//! Where nodes are: the addresses of their links, and whom to send beacons to by unicast.
//!
//! A node takes links (TCP) and beacons (UDP) at one address. It is learned from beacons, whose
//! source address nobody vouches for: it only ever leads to a dial, whose other side must prove its
//! name.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use izna_proto::{Beacon, NodeId, PeerAddress, ZoneId};

/// Nodes and told addresses that are remembered; further ones are not taken.
const ADDRESSES_MAX: usize = 4096;
/// A node that was heard by multicast is not sent unicast beacons for this long.
const MULTICAST_FOR: Duration = Duration::from_secs(3);
/// A node that was not heard for this long is not told to others any more.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Beacons are sent to a silent node for this long.
const TRIED_FOR: Duration = Duration::from_secs(600);

/// A seed in another zone is told of again when its zone was silent for this long.
const OTHER_ZONE_FOR: Duration = Duration::from_secs(5);

/// How a beacon came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Multicast,
    Unicast,
}

#[derive(Debug, Default)]
pub(crate) struct Addresses {
    heard: HashMap<NodeId, Heard>,
    /// Addresses that other nodes told, of nodes not heard since.
    told: HashMap<NodeId, (SocketAddr, Instant)>,
    seeds: Vec<SocketAddr>,
    zone: ZoneId,
    /// Nodes of other zones.
    remote: HashMap<NodeId, Remote>,
    /// Where nodes of this zone say that those of others reach them.
    advertised: HashMap<NodeId, SocketAddr>,
    /// Seeds that turned out to be of another zone, and when any other zone was heard last.
    seeds_of_other_zones: HashSet<SocketAddr>,
    other_zone_at: Option<Instant>,
}

/// The addresses of a node, shared by its parts.
#[derive(Debug)]
pub(crate) struct SharedAddresses(Mutex<Addresses>);

impl SharedAddresses {
    /// Those that a node of this zone knows: none yet.
    pub(crate) fn new(zone: ZoneId) -> Self {
        Self(Mutex::new(Addresses::new(zone)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Addresses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node of another zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote {
    pub(crate) zone: ZoneId,
    /// Where its links are taken, if that is known.
    pub(crate) links: Option<SocketAddr>,
    /// Where it takes datagrams, if that is not there.
    pub(crate) datagrams: Option<SocketAddr>,
    pub(crate) incarnation: u64,
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

impl Addresses {
    /// Those that a node of this zone knows: none yet.
    fn new(zone: ZoneId) -> Self {
        Self { zone, ..Self::default() }
    }

    /// Take in where a node of another zone is.
    pub(crate) fn set_remote(&mut self, node: NodeId, news: Remote) {
        let has_room = self.remote.len() < ADDRESSES_MAX || self.remote.contains_key(&node);
        if !has_room || self.heard.contains_key(&node) {
            return;
        }
        let known = self.remote.entry(node).or_insert(news);
        known.zone = news.zone;
        known.links = news.links.or(known.links);
        known.datagrams = news.datagrams.or(known.datagrams);
        known.incarnation = known.incarnation.max(news.incarnation);
    }

    /// A bulletin of another zone was heard; from where, if that is not a node of this zone.
    pub(crate) fn heard_other_zone(&mut self, now: Instant, from: Option<SocketAddr>) {
        self.other_zone_at = Some(now);
        if let Some(from) = from.filter(|from| self.seeds.contains(from)) {
            self.seeds_of_other_zones.insert(from);
        }
    }

    /// Take in where nodes of other zones reach a node of this one.
    pub(crate) fn advertised(&mut self, node: NodeId, address: SocketAddr) {
        if self.advertised.len() < ADDRESSES_MAX || self.advertised.contains_key(&node) {
            self.advertised.insert(node, address);
        }
    }

    /// Where nodes of other zones reach this one, and its zone.
    pub(crate) fn reach(&self, node: NodeId) -> Option<PeerAddress> {
        if let Some(Remote { zone, links: Some(address), .. }) = self.remote.get(&node) {
            return Some(PeerAddress { node, zone: *zone, address: *address });
        }
        let heard = self.heard.get(&node).map(|heard| heard.address);
        let address = self.advertised.get(&node).copied().or(heard)?;
        Some(PeerAddress { node, zone: self.zone, address })
    }

    /// Where a node of another zone takes datagrams.
    pub(crate) fn datagrams(&self, node: NodeId) -> Option<SocketAddr> {
        let remote = self.remote.get(&node)?;
        remote.datagrams.or(remote.links)
    }

    /// Whether a node of this zone sends from this address.
    pub(crate) fn is_near(&self, address: SocketAddr) -> bool {
        self.heard.values().any(|heard| heard.address == address)
    }

    /// The nodes of this zone that multicast does not reach.
    pub(crate) fn members(&self, now: Instant, targets: &mut Vec<SocketAddr>) {
        targets.clear();
        let by_unicast = self.heard.values().filter(|heard| !heard.by_multicast(now));
        targets.extend(by_unicast.map(|heard| heard.address));
        targets.sort_unstable();
        targets.dedup();
    }

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
        for PeerAddress { node, zone, address } in peers {
            if *node != own && *zone != self.zone && address.port() != 0 {
                let (zone, links) = (*zone, Some(*address));
                self.set_remote(*node, Remote { zone, links, datagrams: None, incarnation: 0 });
                continue;
            }
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
        let heard = self.heard.get(&node).map(|heard| heard.address);
        heard.or_else(|| self.remote.get(&node)?.links)
    }

    /// The newest incarnation of a node that a beacon told, or a link from it; 0 if none did.
    pub(crate) fn incarnation(&self, node: NodeId) -> u64 {
        let remote = self.remote.get(&node).map_or(0, |remote| remote.incarnation);
        self.heard.get(&node).map_or(remote, |heard| heard.stamp.0)
    }

    /// Whether any other node has ever been heard.
    pub(crate) fn has_heard(&self) -> bool {
        !self.heard.is_empty() || self.other_zone_at.is_some()
    }

    /// Where to send a beacon by unicast now. Forgets whom nobody can reach any more.
    pub(crate) fn targets(&mut self, now: Instant, targets: &mut Vec<SocketAddr>) {
        self.told.retain(|_, (_, at)| now.duration_since(*at) < TRIED_FOR);
        self.heard.retain(|_, heard| now.duration_since(heard.at) < TRIED_FOR);
        targets.clear();
        targets.extend(self.told.values().map(|(address, _)| *address));
        let by_unicast = |heard: &&Heard| !heard.by_multicast(now);
        targets.extend(self.heard.values().filter(by_unicast).map(|heard| heard.address));
        let zones_are_heard =
            self.other_zone_at.is_some_and(|at| now.duration_since(at) < OTHER_ZONE_FOR);
        let known = |seed: &SocketAddr| {
            self.is_near(*seed) || (zones_are_heard && self.seeds_of_other_zones.contains(seed))
        };
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
            .map(|(node, heard)| PeerAddress {
                node: *node,
                zone: self.zone,
                address: heard.address,
            })
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
        let (zone, node, load) = (ZoneId::default(), NodeId(node), Load::default());
        Beacon { zone, node, incarnation: 1, sequence, peer_port: 7000, load, epoch: 0 }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn at(last: u8) -> SocketAddr {
        (ip(last), 7000).into()
    }

    fn peer_address(node: u64, last: u8) -> PeerAddress {
        PeerAddress { node: NodeId(node), zone: ZoneId::default(), address: at(last) }
    }

    fn targets(known: &mut Addresses, now: Instant) -> Vec<SocketAddr> {
        let mut targets = vec![at(99)];
        known.targets(now, &mut targets);
        targets
    }

    /// If this fails, a captured beacon sent from elsewhere leads dials astray.
    #[test]
    fn an_old_beacon_says_nothing() {
        let (mut known, now) = (Addresses::default(), Instant::now());
        assert!(known.heard(now, &beacon(1, 5), ip(1), Way::Unicast));
        assert!(!known.heard(now, &beacon(1, 5), ip(2), Way::Unicast));
        assert!(!known.heard(now, &beacon(1, 4), ip(2), Way::Unicast));
        assert_eq!(known.address(NodeId(1)), Some(at(1)));
        assert!(!known.heard(now, &beacon(1, 6), ip(1), Way::Unicast));
        assert!(known.heard(now, &beacon(1, 7), ip(2), Way::Unicast));
        assert_eq!(known.address(NodeId(1)), Some(at(2)));
    }

    /// If this fails, nodes without multicast do not find each other.
    #[test]
    fn seeds_lead_to_all() {
        let (mut known, now) = (Addresses::default(), Instant::now());
        known.set_seeds(vec![at(1)]);
        assert_eq!(targets(&mut known, now), [at(1)]);
        known.heard(now, &beacon(1, 1), ip(1), Way::Unicast);
        let told = [(1, 1), (2, 2), (9, 9)];
        let told = told.map(|(node, n)| peer_address(node, n));
        known.told(now, NodeId(9), &told);
        assert_eq!(targets(&mut known, now), [at(1), at(2)]);
        known.heard(now, &beacon(2, 1), ip(2), Way::Unicast);
        assert_eq!(targets(&mut known, now), [at(1), at(2)]);
        let two = peer_address(2, 2);
        assert_eq!(known.list(now, NodeId(1)), [two]);
        assert_eq!(targets(&mut known, now + TRIED_FOR), [at(1)]);
    }

    /// If this fails, a network with multicast gets every beacon many times.
    #[test]
    fn multicast_makes_unicast_needless() {
        let (mut known, now) = (Addresses::default(), Instant::now());
        known.set_seeds(vec![at(1)]);
        for node in [1, 2] {
            known.heard(now, &beacon(node, 1), ip(node as u8), Way::Multicast);
        }
        assert_eq!(targets(&mut known, now), []);
        assert_eq!(known.list(now, NodeId(1)), []);
        known.heard(now, &beacon(3, 1), ip(3), Way::Unicast);
        assert_eq!(targets(&mut known, now), [at(3)]);
        let peer = peer_address;
        assert_eq!(known.list(now, NodeId(1)), [peer(3, 3)]);
        assert_eq!(known.list(now, NodeId(3)), [peer(1, 1), peer(2, 2)]);
        // Multicast stops to work: unicast takes over.
        let later = now + MULTICAST_FOR;
        assert_eq!(targets(&mut known, later), [at(1), at(2), at(3)]);
    }

    /// If this fails, a node that lies about addresses fills the memory or makes a node its tool.
    #[test]
    fn what_is_told_is_bounded() {
        let (mut known, now) = (Addresses::default(), Instant::now());
        let all: Vec<_> =
            (0..10_000u64).map(|node| peer_address(node, (node % 200) as u8)).collect();
        known.told(now, NodeId(0), &all);
        assert!(known.told.len() <= ADDRESSES_MAX);
        assert!(targets(&mut known, now).len() <= 200);
    }
    /// If this fails, nodes of other zones are sent beacons, or are not found when they are spoken
    /// to; or a seed in another zone gets beacons for ever.
    #[test]
    fn other_zones_are_known_and_left_alone() {
        let (mut known, now) = (Addresses::default(), Instant::now());
        known.set_seeds(vec![at(1)]);
        let far = PeerAddress { zone: ZoneId(9), ..peer_address(1, 1) };
        known.told(now, NodeId(5), &[far]);
        assert_eq!(
            (known.address(NodeId(1)), known.datagrams(NodeId(1))),
            (Some(at(1)), Some(at(1)))
        );
        assert_eq!(known.reach(NodeId(1)), Some(far));
        assert_eq!(targets(&mut known, now), [at(1)]);
        known.heard_other_zone(now, Some(at(1)));
        assert_eq!(targets(&mut known, now), []);
        assert_eq!(targets(&mut known, now + OTHER_ZONE_FOR), [at(1)]);
        known.heard(now, &beacon(2, 1), ip(2), Way::Unicast);
        assert!(known.is_near(at(2)) && !known.is_near(at(1)));
        assert_eq!(known.reach(NodeId(2)), Some(peer_address(2, 2)));
        known.advertised(NodeId(2), at(77));
        assert_eq!(known.reach(NodeId(2)), Some(peer_address(2, 77)));
        assert_eq!(known.address(NodeId(2)), Some(at(2)));
    }
}
