//! The connections of other nodes to here: who may make one, and what they say.
//!
//! Before the other side has proved its name nothing that it sends is decoded but TLS itself. One
//! that is no node costs a bounded share of sockets for a bounded time, and now and then a line of
//! the log.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use izna_core::Input;
use izna_proto::{Heard, Hello, Message, NodeId};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::{Remote, SharedAddresses},
    artifact_fetch::{ArtifactFetch, Piece},
    artifact_serve::ArtifactServe,
    driver::Driver,
    handshake::{Broken, Frames, HANDSHAKE_MAX, chain, frames, hear_hello, say_hello, tune},
    link_writer::Flush,
    log_limit::LogLimit,
    names::Names,
    own::Own,
    tls,
};

/// Connections whose other side has not proved its name.
const HALF_OPEN_MAX: usize = 256;
/// Of these, from one address.
const HALF_OPEN_ADDRESS_MAX: usize = 32;
/// Links of other nodes, and as many bulk connections.
const LINKS_MAX: usize = 2048;

/// Takes connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    own: Arc<Own>,
    driver: Arc<Driver>,
    names: Arc<Names>,
    addresses: Arc<SharedAddresses>,
    fetch: Arc<ArtifactFetch>,
    serve: Arc<ArtifactServe>,
    tls: Arc<ServerConfig>,
    places: Places,
    refused: LogLimit,
    unheard: LogLimit,
}

/// What [`Acceptor`] is made of.
pub(crate) struct Parts {
    pub(crate) own: Arc<Own>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) names: Arc<Names>,
    pub(crate) addresses: Arc<SharedAddresses>,
    pub(crate) fetch: Arc<ArtifactFetch>,
    pub(crate) serve: Arc<ArtifactServe>,
    pub(crate) tls: Arc<ServerConfig>,
}

/// Who has which connections to here, each kind within its limits.
#[derive(Debug, Default)]
struct Places {
    half_open: Mutex<HashMap<IpAddr, usize>>,
    links: Connections,
    bulk: Connections,
}

/// One connection of each node.
#[derive(Debug, Default)]
struct Connections(Mutex<HashMap<NodeId, Link>>);

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Link,
    Bulk,
}

#[derive(Debug)]
struct Link {
    number: u64,
    incarnation: u64,
    /// Ends the link when the node makes a new one: what is left in the old one is old.
    stop: CancellationToken,
}

/// One place among the half-open connections.
struct HalfOpen<'a> {
    places: &'a Places,
    address: IpAddr,
}

impl Places {
    fn half_open(&self, address: IpAddr) -> Option<HalfOpen<'_>> {
        let mut half_open = self.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = half_open.values().sum();
        let of_one = half_open.get(&address).copied().unwrap_or(0);
        if all >= HALF_OPEN_MAX || of_one >= HALF_OPEN_ADDRESS_MAX {
            return None;
        }
        half_open.insert(address, of_one + 1);
        Some(HalfOpen { places: self, address })
    }

    fn of(&self, kind: Kind) -> &Connections {
        match kind {
            Kind::Link => &self.links,
            Kind::Bulk => &self.bulk,
        }
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take a node's link in place of its older one; none if it is older itself, or one too many.
    fn enter(&self, hello: &Hello) -> Option<(u64, CancellationToken)> {
        let mut links = self.lock();
        let number = match links.get(&hello.node) {
            Some(link) if link.incarnation > hello.incarnation => return None,
            Some(link) => {
                link.stop.cancel();
                link.number + 1
            }
            None if links.len() >= LINKS_MAX => return None,
            None => 0,
        };
        let stop = CancellationToken::new();
        let link = Link { number, incarnation: hello.incarnation, stop: stop.clone() };
        links.insert(hello.node, link);
        Some((number, stop))
    }

    fn leave(&self, node: NodeId, number: u64) {
        let mut links = self.lock();
        if links.get(&node).is_some_and(|link| link.number == number) {
            links.remove(&node);
        }
    }
}

impl Drop for HalfOpen<'_> {
    fn drop(&mut self) {
        let mut half_open = self.places.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = half_open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                half_open.remove(&self.address);
            }
        }
    }
}

impl Acceptor {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { own, driver, names, addresses, fetch, serve, tls } = parts;
        let (places, refused, unheard) = Default::default();
        Self { own, driver, names, addresses, fetch, serve, tls, places, refused, unheard }
    }

    /// Take connections until the node stops.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let acceptor = self.clone();
                    let serve = async move { acceptor.serve(stream, from).await };
                    self.driver.tasks.isolate("connection of a node", serve);
                }
                Err(error) => {
                    if let Some(left_out) = self.unheard.take() {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(error, left_out, "cannot accept connections of nodes");
                    }
                    // Mostly there are no descriptors left: others must be closed first.
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream, from: SocketAddr) {
        let greeted = {
            let Some(_place) = self.places.half_open(from.ip()) else {
                return self.refuse(from, &"too many connections have not proved a name yet");
            };
            timeout(HANDSHAKE_MAX, self.greet(stream)).await
        };
        let (frames, hello, kind) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(why)) => return self.refuse(from, &why),
            Err(_) => return self.refuse(from, &Broken::Late(from)),
        };
        let connections = self.places.of(kind);
        let Some((number, stop)) = connections.enter(&hello) else {
            return self.refuse(from, &"the node has a newer link, or there are too many");
        };
        let ended = match kind {
            Kind::Link => {
                self.link_is_up(&hello, from);
                stop.run_until_cancelled(self.listen(frames, &hello)).await
            }
            Kind::Bulk => stop.run_until_cancelled(self.take_bulk(frames, &hello)).await,
        };
        connections.leave(hello.node, number);
        if let Some(Err(error)) = ended {
            let (peer, error) = (hello.node, &error as &dyn std::error::Error);
            tracing::debug!(%peer, name = hello.name, ?kind, error, "a connection to here ended");
        }
    }

    fn link_is_up(&self, hello: &Hello, from: SocketAddr) {
        self.names.set(hello.node, hello.name.as_str().into());
        let zone = self.own.zone_of(hello);
        if zone != self.own.zone {
            // No beacon tells where it is: the link does.
            let (peer, incarnation) = (hello.node, hello.incarnation);
            let address = hello.advertise.unwrap_or((from.ip(), hello.peer_port).into());
            let news = Remote { zone, links: Some(address), datagrams: None, incarnation };
            self.addresses.lock().set_remote(peer, news);
            self.driver.feed(Input::Called { peer, zone, incarnation });
        }
    }

    fn refuse(&self, from: SocketAddr, why: &dyn std::fmt::Display) {
        if let Some(left_out) = self.refused.take() {
            let text = "refused a connection to the port for nodes";
            tracing::warn!(%from, why = %why, left_out, "{text}");
        }
    }

    async fn greet(
        &self,
        stream: TcpStream,
    ) -> Result<(Frames<TlsStream<TcpStream>>, Hello, Kind), Refusal> {
        tune(&stream).map_err(Refusal::Tls)?;
        let mut start = [0; 8];
        let length = stream.peek(&mut start).await.map_err(Refusal::Tls)?;
        if let Some(stranger) = stranger(start.get(..length).unwrap_or_default())? {
            return Err(Refusal::Stranger(stranger));
        }
        let acceptor = TlsAcceptor::from(self.tls.clone());
        let stream = acceptor.accept(stream).await.map_err(Refusal::Tls)?;
        let session = stream.get_ref().1;
        let kind = match session.alpn_protocol() {
            Some(tls::BULK) => Kind::Bulk,
            _ => Kind::Link,
        };
        let proved = tls::peer(session.peer_certificates(), self.own.cluster);
        let proved = proved.map_err(Broken::Certificate)?;
        let mut frames = frames(stream);
        let heard = hear_hello(&mut frames, &proved).await;
        // One of another version is told which version this is.
        if matches!(heard, Ok(_) | Err(Broken::Protocol { .. })) {
            say_hello(&mut frames, &self.own).await.map_err(Broken::Transport)?;
        }
        Ok((frames, heard?, kind))
    }

    /// What comes over a link. Artifacts do not: nothing is to wait behind them.
    async fn listen(
        &self,
        mut frames: Frames<TlsStream<TcpStream>>,
        hello: &Hello,
    ) -> Result<(), Broken> {
        let peer = hello.node;
        loop {
            match self.hear(&mut frames, hello).await? {
                Message::Hello(_) | Message::Artifact { .. } => return Err(Broken::Unexpected),
                Message::AskArtifact { digest, engine, offset } => {
                    self.serve.asked(peer, Piece { digest, engine, offset });
                }
                Message::Peers(peers) => {
                    self.addresses.lock().told(Instant::now(), self.own.node, &peers);
                }
                // Answers to all that has come together go out together.
                message if has_frame(frames.read_buffer()) => {
                    self.driver.feed(Input::Received { peer, message });
                }
                message => self.driver.feed_here(Input::Received { peer, message }, Flush::Now),
            }
        }
    }

    /// What comes over a bulk connection.
    async fn take_bulk(
        &self,
        mut frames: Frames<TlsStream<TcpStream>>,
        hello: &Hello,
    ) -> Result<(), Broken> {
        loop {
            let message = self.hear(&mut frames, hello).await?;
            let Message::Artifact { digest, engine, offset, length, piece: bytes } = message else {
                return Err(Broken::Unexpected);
            };
            self.fetch.arrived(hello.node, Piece { digest, engine, offset }, length, bytes);
        }
    }

    async fn hear(
        &self,
        frames: &mut Frames<TlsStream<TcpStream>>,
        hello: &Hello,
    ) -> Result<Message, Broken> {
        let (peer, name) = (hello.node, &hello.name);
        loop {
            let frame = frames.next().await.ok_or(Broken::Closed)?.map_err(Broken::Transport)?;
            match Message::hear(&frame.freeze()) {
                Ok(Heard::Message(message)) => return Ok(message),
                // It costs itself; what comes behind it is still of use.
                Ok(heard) => {
                    if let Heard::Refused { delivery: Some(delivery), .. } = heard {
                        self.driver.feed(Input::Unreadable { peer, delivery });
                    }
                    if let Some(left_out) = self.unheard.take() {
                        tracing::warn!(%peer, name, ?heard, left_out, "dropped a message");
                    }
                }
                Err(error) => {
                    if let Some(left_out) = self.unheard.take() {
                        tracing::error!(
                            %peer, name, %error, left_out,
                            "a node sent an invalid message"
                        );
                    }
                    return Err(Broken::Message(error));
                }
            }
        }
    }
}

/// Why someone is not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("not an izna node: it looks like {0}")]
    Stranger(&'static str),
    #[error("it sent nothing")]
    Silent,
    #[error("cannot establish TLS: {0}")]
    Tls(std::io::Error),
    #[error("{}", chain(.0))]
    Broken(#[from] Broken),
}

/// What the first bytes look like if they are not the start of TLS. For a person who has mixed up
/// two ports; nothing is decoded.
fn stranger(start: &[u8]) -> Result<Option<&'static str>, Refusal> {
    const METHODS: [&[u8]; 8] =
        [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN"];
    match start {
        [] => Err(Refusal::Silent),
        // A handshake record.
        [0x16, ..] => Ok(None),
        _ if METHODS.iter().any(|method| start.starts_with(method)) => Ok(Some("HTTP")),
        _ if start.starts_with(b"PRI * ") => Ok(Some("HTTP/2")),
        _ if start.starts_with(b"SSH-") => Ok(Some("SSH")),
        _ => Ok(Some("something without TLS")),
    }
}

/// Whether a whole message has been read, so that the next one is here without waiting.
fn has_frame(read: &[u8]) -> bool {
    read.split_first_chunk()
        .is_some_and(|(length, rest)| rest.len() >= u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u64, incarnation: u64) -> Hello {
        let (cluster, name) = (izna_proto::ClusterId(1), String::new());
        Hello {
            protocol: izna_proto::PROTOCOL,
            cluster,
            node: NodeId(node),
            incarnation,
            name,
            peer_port: 1,
            traits: izna_proto::Traits::default(),
            advertise: None,
            features: Vec::new(),
        }
    }

    /// If this fails, strangers can use up the node's sockets.
    #[test]
    fn half_open_connections_are_bounded() {
        let places = Places::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let of_one: Vec<_> = (0..100).filter_map(|_| places.half_open(address(1))).collect();
        assert_eq!(of_one.len(), HALF_OPEN_ADDRESS_MAX);
        let of_all: Vec<_> =
            (2..250).flat_map(|n| [n; 4]).filter_map(|n| places.half_open(address(n))).collect();
        assert_eq!(of_one.len() + of_all.len(), HALF_OPEN_MAX);
        assert!(places.half_open(address(251)).is_none());
        assert!(!places.half_open.lock().unwrap().contains_key(&address(251)), "it costs nothing");
        drop(of_one);
        assert!(places.half_open(address(1)).is_some());
    }

    /// If this fails, messages of a link that the other side gave up come among those of its new
    /// one.
    #[test]
    fn a_new_link_ends_the_old_one() {
        let links = Connections::default();
        let (first, stop) = links.enter(&hello(1, 5)).unwrap();
        assert!(links.enter(&hello(1, 4)).is_none());
        assert!(!stop.is_cancelled());
        let (second, _) = links.enter(&hello(1, 5)).unwrap();
        assert!(stop.is_cancelled());
        links.leave(NodeId(1), first);
        assert!(links.enter(&hello(1, 4)).is_none());
        links.leave(NodeId(1), second);
        let count = (0..10_000).filter(|n| links.enter(&hello(*n, 1)).is_some()).count();
        assert_eq!(count, LINKS_MAX);
    }

    /// If this fails, an answer waits for a message that is not there yet.
    #[test]
    fn a_whole_message_is_seen() {
        let seen =
            [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\0\0\0\x02ab", b"\0\0\0\x02abc"].map(has_frame);
        assert_eq!(seen, [false, false, false, true, true]);
    }

    /// If this fails, an operator who mixed up two ports is not told so.
    #[test]
    fn strangers_are_named() {
        let named = |start: &[u8]| stranger(start).unwrap();
        assert_eq!(named(b"GET / HT"), Some("HTTP"));
        assert_eq!(named(b"PRI * HT"), Some("HTTP/2"));
        assert_eq!(named(b"SSH-2.0-"), Some("SSH"));
        assert_eq!(named(&[0xff; 8]), Some("something without TLS"));
        assert_eq!(named(&[0x16, 3, 1, 2]), None);
        assert!(stranger(b"").is_err());
    }
}
