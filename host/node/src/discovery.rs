//! How nodes find each other: sends the beacons that core makes, hears those of others, and tells
//! nodes without multicast of each other.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use izna_core::{Audience, Input};
use izna_proto::{Beacon, Bulletin, Message, NodeId, PeerAddress};
use tokio::{
    net::{UdpSocket, lookup_host},
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    addresses::{Remote, SharedAddresses, Way},
    datagrams::{DATAGRAM_BYTES_MAX, Opened, Refused, Seal, SourceLimit},
    driver::Driver,
    link_writer::Flush,
    log_limit::LogLimit,
    own::Own,
    peer_links::PeerLinks,
    sockets::Multicast,
};

/// A node that has heard nobody for this long says so.
const ALONE_AFTER: Duration = Duration::from_secs(3);
/// News of addresses are gathered for this long.
const GATHER: Duration = Duration::from_millis(100);
/// Addresses are looked at again after this long though nothing is new.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// Names of seeds are looked up again after this long.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);

/// Finds other nodes, and lets itself be found.
#[derive(Debug)]
pub(crate) struct Discovery {
    own: Arc<Own>,
    driver: Arc<Driver>,
    links: Arc<PeerLinks>,
    addresses: Arc<SharedAddresses>,
    seal: Seal,
    multicast: Option<Multicast>,
    /// None once the node has stopped.
    sockets: Mutex<Option<Sockets>>,
    seeds: Vec<String>,
    heard_self: AtomicBool,
    heard_others: AtomicBool,
    news: Notify,
    /// What each node was told last, over the link of that number.
    told: Mutex<HashMap<NodeId, (u64, Vec<PeerAddress>)>>,
    limits: LogLimits,
}

/// The limits of its log lines.
#[derive(Debug, Default)]
struct LogLimits {
    refused: LogLimit,
    unsent: LogLimit,
    flooded: LogLimit,
}

/// What [`Discovery`] is made of.
pub(crate) struct Parts {
    pub(crate) own: Arc<Own>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) links: Arc<PeerLinks>,
    pub(crate) addresses: Arc<SharedAddresses>,
    pub(crate) seal: Seal,
    pub(crate) multicast: Option<(UdpSocket, Multicast)>,
    pub(crate) unicast: UdpSocket,
    pub(crate) seeds: Vec<String>,
}

#[derive(Debug)]
struct Sockets {
    multicast: Option<Arc<UdpSocket>>,
    unicast: Arc<UdpSocket>,
    /// Kept from beacon to beacon for its room.
    targets: Vec<SocketAddr>,
}

impl Discovery {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { own, driver, links, addresses, seal, multicast, unicast, seeds } = parts;
        let (socket, multicast) = multicast.unzip();
        let (socket, unicast) = (socket.map(Arc::new), Arc::new(unicast));
        let sockets = Sockets { multicast: socket, unicast, targets: Vec::new() };
        Self {
            own,
            driver,
            links,
            addresses,
            seal,
            multicast,
            sockets: Mutex::new(Some(sockets)),
            seeds,
            heard_self: AtomicBool::new(false),
            heard_others: AtomicBool::new(false),
            news: Notify::new(),
            told: Mutex::default(),
            limits: LogLimits::default(),
        }
    }

    /// Whether beacons can come: by multicast, as shown by one's own, or from anybody.
    pub(crate) fn can_hear(&self) -> bool {
        self.multicast.is_none()
            || self.heard_self.load(Ordering::Relaxed)
            || self.addresses.lock().has_heard()
    }

    /// Send a beacon to everyone. Never waits: what does not go out now is dropped.
    pub(crate) fn send(&self, beacon: &Beacon) {
        let datagram = self.seal.beacon(beacon);
        self.send_to_all(&datagram, true, |targets| {
            self.addresses.lock().targets(Instant::now(), targets);
        });
    }

    /// Tell what a zone has to tell.
    pub(crate) fn tell(&self, audience: &Audience, mut bulletin: Bulletin) {
        if bulletin.zone == self.own.zone {
            let addresses = self.addresses.lock();
            for door in &mut bulletin.doors {
                door.address = match door.node == self.own.node {
                    true => self.own.reached_at(),
                    false => addresses.reach(door.node).map(|peer| peer.address),
                };
            }
        }
        let datagram = self.seal.bulletin(&bulletin);
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return tracing::error!(
                bytes = datagram.len(),
                "dropped a bulletin that is too long to be sent"
            );
        }
        let now = Instant::now();
        self.send_to_all(&datagram, *audience == Audience::Zone, |targets| {
            let addresses = self.addresses.lock();
            match audience {
                Audience::Zone => addresses.members(now, targets),
                Audience::Nodes(nodes) => {
                    targets.clear();
                    targets.extend(nodes.iter().filter_map(|node| addresses.datagrams(*node)));
                }
            }
        });
    }

    fn send_to_all(
        &self,
        datagram: &[u8],
        to_group: bool,
        find: impl FnOnce(&mut Vec<SocketAddr>),
    ) {
        let mut sockets = self.lock_sockets();
        let Some(Sockets { multicast: socket, unicast, targets }) = &mut *sockets else { return };
        if let (true, Some(socket), Some(multicast)) = (to_group, socket, &self.multicast) {
            let group = SocketAddr::from((multicast.group, multicast.port));
            self.send_to(socket, datagram, group);
        }
        find(targets);
        targets.iter().for_each(|target| self.send_to(unicast, datagram, *target));
    }

    /// Close the sockets, when the tasks that listen have ended.
    pub(crate) fn close(&self) {
        self.lock_sockets().take();
    }

    fn lock_sockets(&self) -> MutexGuard<'_, Option<Sockets>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_to(&self, socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
        match socket.try_send_to(datagram, to) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                if let Some(left_out) = self.limits.unsent.take() {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%to, error, left_out, "cannot send beacons");
                }
            }
            _ => {}
        }
    }

    fn hear(&self, datagram: &[u8], from: SocketAddr, way: Way) {
        let beacon = match self.seal.open(datagram) {
            Ok(Opened::Beacon(beacon)) => beacon,
            Ok(Opened::Bulletin(bulletin)) => return self.read(bulletin, from, way),
            Err(why) => return self.refuse(from, &why, way),
        };
        if beacon.zone != self.own.zone {
            // Where its datagrams come from is where it takes them, also behind a translator.
            let (zone, incarnation) = (beacon.zone, beacon.incarnation);
            let news = Remote { zone, links: None, datagrams: Some(from), incarnation };
            self.addresses.lock().set_remote(beacon.node, news);
            return self.driver.feed(Input::Heard(beacon));
        }
        if beacon.node == self.own.node {
            if beacon.incarnation == self.own.incarnation {
                self.heard_self.store(true, Ordering::Relaxed);
                return;
            }
        } else if self.addresses.lock().heard(Instant::now(), &beacon, from.ip(), way) {
            self.news.notify_one();
        }
        self.driver.feed(Input::Heard(beacon));
    }

    /// A bulletin.
    fn read(&self, bulletin: Bulletin, from: SocketAddr, way: Way) {
        let from_abroad = {
            let mut addresses = self.addresses.lock();
            let from_abroad = way == Way::Unicast && !addresses.is_near(from);
            if bulletin.zone != self.own.zone {
                addresses.heard_other_zone(Instant::now(), from_abroad.then_some(from));
                for door in &bulletin.doors {
                    let (zone, links) = (bulletin.zone, door.address);
                    let news = Remote { zone, links, datagrams: None, incarnation: 0 };
                    addresses.set_remote(door.node, news);
                }
            }
            from_abroad
        };
        self.driver.feed(Input::Told { bulletin, from_abroad });
    }

    fn refuse(&self, from: SocketAddr, why: &Refused, way: Way) {
        let own = self.own.zone;
        let is_other_cluster = matches!(why, Refused::Forged(zone) if *zone != own);
        if is_other_cluster && way == Way::Multicast {
            // Clusters may share a network and a group: that is worth one line.
            if !self.heard_others.swap(true, Ordering::Relaxed) {
                let text = "ignored a beacon of another cluster: nodes of two clusters do not join";
                tracing::info!(%from, %why, "{text}");
            }
        } else if let Some(left_out) = self.limits.refused.take() {
            let text = match is_other_cluster {
                true => {
                    "a node of another cluster has this one among its seeds, or has another \
                         beacon key; it cannot join"
                }
                false => "dropped a datagram: not a valid beacon",
            };
            tracing::warn!(%from, %why, left_out, "{text}");
        }
    }

    fn tell_all(&self) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, link) in self.links.up() {
            let list = self.addresses.lock().list(now, peer);
            // Over a new link nothing was told yet.
            let last = told.get(&peer).filter(|(over, _)| *over == link);
            let is_told = last.map_or(list.is_empty(), |(_, last)| *last == list);
            let send = || self.links.send(peer, &Message::Peers(list.clone()), Flush::Later);
            if !is_told && send() {
                told.insert(peer, (link, list));
            }
        }
    }

    /// Start all that goes on by itself.
    pub(crate) fn start(self: &Arc<Self>) {
        let tasks = &self.driver.tasks;
        if let Some(Sockets { multicast, unicast, .. }) = &*self.lock_sockets() {
            if let Some(socket) = multicast {
                let listen = self.clone().listen(socket.clone(), Way::Multicast);
                tasks.supervise("beacons by multicast", listen);
            }
            let listen = self.clone().listen(unicast.clone(), Way::Unicast);
            tasks.supervise("beacons by unicast", listen);
        }
        tasks.supervise("addresses for other nodes", self.clone().tell_of_peers());
        tasks.spawn("warning of a lone node", self.clone().warn_if_alone());
        if !self.seeds.is_empty() {
            tasks.supervise("look-up of seeds", self.clone().look_up_seeds());
        }
    }

    async fn listen(self: Arc<Self>, socket: Arc<UdpSocket>, way: Way) {
        let mut limit = SourceLimit::new(Instant::now());
        // One byte more than is looked at: what fills it is too long.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                // An answer of the network to what was sent to a port without a listener, mostly.
                sleep(Duration::from_millis(1)).await;
                continue;
            };
            if !limit.take(Instant::now(), from.ip()) {
                if let Some(left_out) = self.limits.flooded.take() {
                    tracing::warn!(%from, left_out, "dropped datagrams: too many from there");
                }
                continue;
            }
            let datagram = buffer.get(..length).filter(|bytes| bytes.len() <= DATAGRAM_BYTES_MAX);
            self.hear(datagram.unwrap_or_default(), from, way);
        }
    }

    async fn tell_of_peers(self: Arc<Self>) {
        loop {
            let news = async {
                tokio::select! {
                    () = self.news.notified() => {}
                    () = self.links.came_up() => {}
                }
            };
            let _ = timeout(TELL_INTERVAL, news).await;
            self.tell_all();
            sleep(GATHER).await;
        }
    }

    async fn look_up_seeds(self: Arc<Self>) {
        let mut unknown: HashMap<String, bool> = HashMap::new();
        loop {
            let mut addresses = Vec::new();
            for seed in &self.seeds {
                let found = lookup_host(seed.as_str()).await;
                let was_unknown = unknown.insert(seed.clone(), found.is_err()).unwrap_or(false);
                match found {
                    Ok(found) => addresses.extend(found),
                    Err(error) if !was_unknown => {
                        tracing::warn!(seed, %error, "cannot resolve a seed's name; will retry");
                    }
                    Err(_) => {}
                }
            }
            // The beacon socket has one family; addresses of the other cannot be sent to.
            let is_v4 = self.own.address.is_ipv4();
            addresses.retain(|address: &SocketAddr| address.is_ipv4() == is_v4);
            self.addresses.lock().set_seeds(addresses);
            sleep(LOOKUP_INTERVAL).await;
        }
    }

    async fn warn_if_alone(self: Arc<Self>) {
        sleep(ALONE_AFTER).await;
        if self.addresses.lock().has_heard() {
            return;
        }
        let seconds = ALONE_AFTER.as_secs();
        match &self.multicast {
            Some(Multicast { group, port, interface }) => {
                if self.heard_self.load(Ordering::Relaxed) {
                    return;
                }
                tracing::warn!(
                    "no beacon was heard within {seconds} s, not even this node's own: multicast \
                     to {group}:{port} does not work on the interface with the address \
                     {interface}; give the address of another interface, or name other nodes with \
                     --seed HOST:PORT"
                );
            }
            None if self.seeds.is_empty() => {}
            None => {
                let seeds = self.seeds.join(", ");
                tracing::warn!(
                    "no beacon was heard within {seconds} s from the seeds {seeds}: they are not \
                     running, belong to another cluster, or UDP from their port to port {} of \
                     this machine is blocked",
                    self.own.address.port()
                );
            }
        }
    }
}
