//! Beacons on the air: sends those that core makes, hears those of others, and tells nodes without
//! multicast of each other.

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
    beacon::{Budget, DATAGRAM_BYTES_MAX, Opened, Refused, Seal},
    book::{Abroad, Way},
    net::Multicast,
    quiet::Quiet,
    shell::{Background, Shell},
    writer::Flush,
};

/// A node that has heard nobody for this long says so.
const ALONE_AFTER: Duration = Duration::from_secs(3);
/// News of addresses are gathered for this long.
const GATHER: Duration = Duration::from_millis(100);
/// Addresses are looked at again after this long though nothing is new.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// Names of seeds are looked up again after this long.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Radio {
    seal: Seal,
    multicast: Option<Multicast>,
    /// None once the node has stopped.
    sockets: Mutex<Option<Sockets>>,
    seeds: Vec<String>,
    heard_self: AtomicBool,
    heard_others: AtomicBool,
    news: Notify,
    /// What each node was told last.
    told: Mutex<HashMap<NodeId, Vec<PeerAddress>>>,
    refused: Quiet,
    unsent: Quiet,
    flooded: Quiet,
}

#[derive(Debug)]
struct Sockets {
    multicast: Option<Arc<UdpSocket>>,
    unicast: Arc<UdpSocket>,
    /// Kept from beacon to beacon for its room.
    targets: Vec<SocketAddr>,
}

impl Radio {
    pub(crate) fn new(
        seal: Seal,
        multicast: Option<(UdpSocket, Multicast)>,
        unicast: UdpSocket,
        seeds: Vec<String>,
    ) -> Self {
        let (socket, multicast) = multicast.unzip();
        let (socket, unicast) = (socket.map(Arc::new), Arc::new(unicast));
        let sockets = Sockets { multicast: socket, unicast, targets: Vec::new() };
        Self {
            seal,
            multicast,
            sockets: Mutex::new(Some(sockets)),
            seeds,
            heard_self: AtomicBool::new(false),
            heard_others: AtomicBool::new(false),
            news: Notify::new(),
            told: Mutex::default(),
            refused: Quiet::default(),
            unsent: Quiet::default(),
            flooded: Quiet::default(),
        }
    }

    /// Whether beacons can come: by multicast, as shown by one's own, or from anybody.
    pub(crate) fn is_tuned(&self, shell: &Shell) -> bool {
        self.multicast.is_none()
            || self.heard_self.load(Ordering::Relaxed)
            || shell.lock_book().has_heard()
    }

    /// Send a beacon to everyone. Never waits: what does not go out now is dropped.
    pub(crate) fn send(&self, shell: &Shell, beacon: &Beacon) {
        let datagram = self.seal.beacon(beacon);
        self.send_to_all(&datagram, true, |targets| {
            shell.lock_book().targets(Instant::now(), targets);
        });
    }

    /// Tell what a zone has to tell.
    pub(crate) fn tell(&self, shell: &Shell, audience: &Audience, mut bulletin: Bulletin) {
        if bulletin.zone == shell.who.zone {
            let book = shell.lock_book();
            for door in &mut bulletin.doors {
                door.address = match door.node == shell.who.node {
                    true => shell.reached_at(),
                    false => book.reach(door.node).map(|peer| peer.address),
                };
            }
        }
        let datagram = self.seal.bulletin(&bulletin);
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return tracing::error!(bytes = datagram.len(), "a bulletin is too long to be sent");
        }
        let now = Instant::now();
        self.send_to_all(&datagram, *audience == Audience::Zone, |targets| {
            let book = shell.lock_book();
            match audience {
                Audience::Zone => book.members(now, targets),
                Audience::Nodes(nodes) => {
                    targets.clear();
                    targets.extend(nodes.iter().filter_map(|node| book.datagrams(*node)));
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
                if let Some(left_out) = self.unsent.take() {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%to, error, left_out, "cannot send beacons");
                }
            }
            _ => {}
        }
    }

    /// Another node told where nodes are.
    pub(crate) fn told(&self, shell: &Shell, peers: &[PeerAddress]) {
        shell.lock_book().told(Instant::now(), shell.who.node, peers);
    }

    /// The link to a node is new: it was not told anything yet.
    pub(crate) fn tell_peers(&self, peer: NodeId) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.news.notify_one();
    }

    fn hear(&self, shell: &Arc<Shell>, datagram: &[u8], from: SocketAddr, way: Way) {
        let beacon = match self.seal.open(datagram) {
            Ok(Opened::Beacon(beacon)) => beacon,
            Ok(Opened::Bulletin(bulletin)) => return self.read(shell, bulletin, from, way),
            Err(why) => return self.refuse(shell, from, &why, way),
        };
        if beacon.zone != shell.who.zone {
            // Where its datagrams come from is where it takes them, also behind a translator.
            let (zone, incarnation) = (beacon.zone, beacon.incarnation);
            let news = Abroad { zone, links: None, datagrams: Some(from), incarnation };
            shell.lock_book().abroad(beacon.node, news);
            return shell.feed(Input::Heard(beacon));
        }
        if beacon.node == shell.who.node {
            if beacon.incarnation == shell.incarnation {
                self.heard_self.store(true, Ordering::Relaxed);
                return;
            }
        } else if shell.lock_book().heard(Instant::now(), &beacon, from.ip(), way) {
            self.news.notify_one();
        }
        shell.feed(Input::Heard(beacon));
    }

    /// A bulletin.
    fn read(&self, shell: &Arc<Shell>, bulletin: Bulletin, from: SocketAddr, way: Way) {
        let from_abroad = {
            let mut book = shell.lock_book();
            let from_abroad = way == Way::Unicast && !book.is_near(from);
            if bulletin.zone != shell.who.zone {
                book.heard_abroad(Instant::now(), from_abroad.then_some(from));
                for door in &bulletin.doors {
                    let (zone, links) = (bulletin.zone, door.address);
                    let news = Abroad { zone, links, datagrams: None, incarnation: 0 };
                    book.abroad(door.node, news);
                }
            }
            from_abroad
        };
        shell.feed(Input::Told { bulletin, from_abroad });
    }

    fn refuse(&self, shell: &Shell, from: SocketAddr, why: &Refused, way: Way) {
        let own = shell.who.zone;
        let is_other_cluster = matches!(why, Refused::Forged(zone) if *zone != own);
        if is_other_cluster && way == Way::Multicast {
            // Clusters may share a network and a group: that is worth one line.
            if !self.heard_others.swap(true, Ordering::Relaxed) {
                let text = "a beacon is left alone: nodes of two clusters do not join";
                tracing::info!(%from, %why, "{text}");
            }
        } else if let Some(left_out) = self.refused.take() {
            let text = match is_other_cluster {
                true => {
                    "a node of another cluster has this one among its seeds, or its beacon key \
                         is another one; it does not join"
                }
                false => "dropped a datagram: no good beacon",
            };
            tracing::warn!(%from, %why, left_out, "{text}");
        }
    }

    fn tell_all(&self, shell: &Shell) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in shell.links.up() {
            let list = shell.lock_book().list(now, peer);
            let last = told.entry(peer).or_default();
            if list != *last && shell.links.send(peer, &Message::Peers(list.clone()), Flush::Later)
            {
                *last = list;
            }
        }
    }
}

/// Start all that goes on by itself.
pub(crate) fn start(shell: &Arc<Shell>) {
    let spawn = |future: Background| shell.spawn(future);
    if let Some(Sockets { multicast, unicast, .. }) = &*shell.radio.lock_sockets() {
        if let Some(socket) = multicast {
            spawn(Box::pin(listen(shell.clone(), socket.clone(), Way::Multicast)));
        }
        spawn(Box::pin(listen(shell.clone(), unicast.clone(), Way::Unicast)));
    }
    spawn(Box::pin(tell(shell.clone())));
    spawn(Box::pin(warn_if_alone(shell.clone())));
    if !shell.radio.seeds.is_empty() {
        spawn(Box::pin(look_up_seeds(shell.clone())));
    }
}

async fn listen(shell: Arc<Shell>, socket: Arc<UdpSocket>, way: Way) {
    let radio = &shell.radio;
    let mut budget = Budget::new(Instant::now());
    // One byte more than is looked at: what fills it is too long.
    let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // An answer of the network to what was sent to a port without a listener, mostly.
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        if !budget.take(Instant::now(), from.ip()) {
            if let Some(left_out) = radio.flooded.take() {
                tracing::warn!(%from, left_out, "dropped datagrams: too many a second from there");
            }
            continue;
        }
        let datagram = buffer.get(..length).filter(|datagram| datagram.len() <= DATAGRAM_BYTES_MAX);
        radio.hear(&shell, datagram.unwrap_or_default(), from, way);
    }
}

async fn tell(shell: Arc<Shell>) {
    loop {
        let _ = timeout(TELL_INTERVAL, shell.radio.news.notified()).await;
        shell.radio.tell_all(&shell);
        sleep(GATHER).await;
    }
}

async fn look_up_seeds(shell: Arc<Shell>) {
    let mut unknown: HashMap<String, bool> = HashMap::new();
    loop {
        let mut addresses = Vec::new();
        for seed in &shell.radio.seeds {
            let found = lookup_host(seed.as_str()).await;
            let was_unknown = unknown.insert(seed.clone(), found.is_err()).unwrap_or(false);
            match found {
                Ok(found) => addresses.extend(found),
                Err(error) if !was_unknown => {
                    tracing::warn!(seed, %error, "a seed's name is not known; it is tried again");
                }
                Err(_) => {}
            }
        }
        // The beacon socket has one family; addresses of the other cannot be sent to.
        let is_v4 = shell.address.is_ipv4();
        addresses.retain(|address: &SocketAddr| address.is_ipv4() == is_v4);
        shell.lock_book().set_seeds(addresses);
        sleep(LOOKUP_INTERVAL).await;
    }
}

async fn warn_if_alone(shell: Arc<Shell>) {
    sleep(ALONE_AFTER).await;
    let radio = &shell.radio;
    if shell.lock_book().has_heard() {
        return;
    }
    let seconds = ALONE_AFTER.as_secs();
    match &radio.multicast {
        Some(Multicast { group, port, interface }) => {
            if radio.heard_self.load(Ordering::Relaxed) {
                return;
            }
            tracing::warn!(
                "no beacon was heard within {seconds} s, not even this node's own: multicast to \
                 {group}:{port} does not work on the interface with the address {interface}; give \
                 the address of another interface, or name other nodes with --seed HOST:PORT"
            );
        }
        None if radio.seeds.is_empty() => {}
        None => {
            let seeds = radio.seeds.join(", ");
            tracing::warn!(
                "no beacon was heard within {seconds} s from the seeds {seeds}: they do not run, \
                 are of another cluster, or UDP from their port to port {} of this machine does \
                 not get through",
                shell.address.port()
            );
        }
    }
}
