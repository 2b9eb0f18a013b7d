//! The own links: one to each node that is spoken to. A link carries messages one way; what the
//! other answers comes on its own link to here ([`inbound`](crate::inbound)).
//!
//! Core says when to connect; this delays an attempt after one that failed. A link whose queue is
//! full is broken: it is closed, and what was in it is lost.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use izna_core::Input;
use izna_proto::{Hello, Message, NodeId, Wire};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{
    codec::{Framed, FramedParts, LengthDelimitedCodec},
    sync::CancellationToken,
};

use crate::{
    shell::Shell,
    tls,
    writer::{Ended, Flush, Writer},
};

/// The longest message: the largest process, and room.
pub(crate) const FRAME_BYTES_MAX: usize = 20 << 20;
/// The longest message before the other side's name is proved and told: the longest greeting, and
/// room for what another version has in it.
const HELLO_BYTES_MAX: usize = 4096;
/// How long a handshake may take, greeting included.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(2);
/// A link that was up for less counts as a failed attempt.
const STEADY: Duration = Duration::from_secs(5);
/// Between two warnings about one node that cannot be reached.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// How long a dead machine's connection is kept.
const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(crate) type Frames<S> = Framed<S, LengthDelimitedCodec>;

/// Why a link could not be made or broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("no beacon has told its address")]
    Unknown,
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("no secure connection to {0}")]
    Handshake(SocketAddr, #[source] io::Error),
    #[error("{0} did not finish the handshake within {HANDSHAKE_MAX:?}")]
    Late(SocketAddr),
    #[error("the connection broke")]
    Transport(#[source] io::Error),
    #[error("the other side closed it")]
    Closed,
    #[error("the other side sent what is no message")]
    Message(#[source] izna_proto::Error),
    #[error("the other side sent a message where none may be")]
    Unexpected,
    #[error(
        "the other side speaks protocol {theirs}, this node {ours}: one of them needs another \
             version of izna"
    )]
    Protocol { theirs: u16, ours: u16 },
    #[error("the other side says it is {said}, and its certificate says {proved}")]
    Name { said: String, proved: String },
    #[error("the other side's certificate is not good")]
    Certificate(#[source] crate::identity::PeerError),
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    peers: Mutex<HashMap<NodeId, Peer>>,
}

#[derive(Debug)]
struct Peer {
    /// Ends the attempt or link; one that was ended by a newer one tells nobody.
    stop: CancellationToken,
    attempt: u64,
    state: LinkState,
    failures: u32,
    warned: Option<Instant>,
}

#[derive(Debug)]
enum LinkState {
    Down,
    Connecting,
    Up { link: Arc<Link>, hello: Arc<Hello>, since: Instant },
}

type Link = Writer<Box<dyn Stream>>;

/// What a link writes to: TLS over TCP, or a pipe in tests.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Links {
    /// Send a message to a node; false if there is no link to it.
    pub(crate) fn send(&self, peer: NodeId, message: &Message, flush: Flush) -> bool {
        let Some(link) = self.link(peer) else { return false };
        // Outside of the lock: a process can have megabytes.
        let frame = message.to_bytes();
        let length = frame.len();
        if length > FRAME_BYTES_MAX {
            tracing::error!(%peer, length, "a message is too long to be sent");
            return false;
        }
        let sent = link.send(&frame, flush);
        if sent.is_err() {
            self.disconnect(peer);
        }
        sent.is_ok()
    }

    /// Have the link to a node write what was held back ([`Flush::Held`]), if it was not yet.
    pub(crate) fn wake(&self, peer: NodeId) {
        if let Some(link) = self.link(peer) {
            link.wake();
        }
    }

    fn link(&self, peer: NodeId) -> Option<Arc<Link>> {
        match self.lock().get(&peer) {
            Some(Peer { state: LinkState::Up { link, .. }, .. }) => Some(link.clone()),
            _ => None,
        }
    }

    /// Bytes that wait to be sent, in all links.
    pub(crate) fn unsent_bytes(&self) -> usize {
        let unsent = |peer: &Peer| match &peer.state {
            LinkState::Up { link, .. } => link.unsent_bytes(),
            _ => 0,
        };
        self.lock().values().map(unsent).sum()
    }

    /// The nodes whose link is up.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        let peers = self.lock();
        let up = peers.iter().filter(|(_, peer)| matches!(peer.state, LinkState::Up { .. }));
        up.map(|(node, _)| *node).collect()
    }

    /// Close the link to a node, or end the attempt.
    pub(crate) fn disconnect(&self, peer: NodeId) {
        if let Some(peer) = self.lock().get(&peer) {
            peer.stop.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begin an attempt: its number and delay. None if one is under way, or there is nothing to do.
    fn begin(&self, node: NodeId, incarnation: u64) -> Begin {
        let mut peers = self.lock();
        let peer = peers.entry(node).or_insert_with(|| Peer {
            stop: CancellationToken::new(),
            attempt: 0,
            state: LinkState::Down,
            failures: 0,
            warned: None,
        });
        match &peer.state {
            LinkState::Connecting => return Begin::UnderWay,
            LinkState::Up { hello, .. } if hello.incarnation >= incarnation => {
                return Begin::IsUp(hello.clone());
            }
            // That link leads to a node that has restarted since.
            LinkState::Up { .. } => peer.stop.cancel(),
            LinkState::Down => {}
        }
        peer.attempt += 1;
        peer.stop = CancellationToken::new();
        peer.state = LinkState::Connecting;
        let delay = match peer.failures {
            0 => Duration::ZERO,
            failures => DELAY_MIN.saturating_mul(1 << (failures - 1).min(10)).min(DELAY_MAX),
        };
        Begin::Attempt {
            attempt: peer.attempt,
            stop: peer.stop.clone(),
            delay: delay / 2 + jitter(delay / 2),
        }
    }

    /// The link of this attempt is up; false if a newer attempt has begun.
    fn is_up(&self, node: NodeId, attempt: u64, link: Arc<Link>, hello: Arc<Hello>) -> bool {
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(&node).filter(|peer| peer.attempt == attempt) else {
            return false;
        };
        peer.state = LinkState::Up { link, hello, since: Instant::now() };
        true
    }

    /// The link of this attempt is down, or could not be made; none if a newer attempt has begun,
    /// else whether to warn.
    fn is_down(&self, node: NodeId, attempt: u64) -> Option<bool> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&node).filter(|peer| peer.attempt == attempt)?;
        let was_steady =
            matches!(&peer.state, LinkState::Up { since, .. } if since.elapsed() >= STEADY);
        peer.failures = if was_steady { 0 } else { peer.failures.saturating_add(1) };
        peer.state = LinkState::Down;
        let warn =
            peer.failures > 1 && peer.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL);
        if warn {
            peer.warned = Some(Instant::now());
        }
        Some(warn)
    }
}

enum Begin {
    UnderWay,
    IsUp(Arc<Hello>),
    Attempt { attempt: u64, stop: CancellationToken, delay: Duration },
}

/// Make a link to a node, as core asked for.
pub(crate) fn connect(shell: &Arc<Shell>, peer: NodeId) {
    let incarnation = shell.lock_book().incarnation(peer);
    match shell.links.begin(peer, incarnation) {
        Begin::UnderWay => {}
        Begin::IsUp(hello) => link_up(shell, peer, &hello),
        Begin::Attempt { attempt, stop, delay } => {
            let shell = shell.clone();
            shell.clone().spawn(async move {
                let ended = stop.run_until_cancelled(run(&shell, peer, attempt, delay)).await;
                if let Some(warn) = shell.links.is_down(peer, attempt) {
                    if let Some(Err(error)) = ended {
                        report(&shell, peer, warn, &error);
                    }
                    shell.feed(Input::LinkDown(peer));
                }
            });
        }
    }
}

fn report(shell: &Shell, peer: NodeId, warn: bool, error: &Broken) {
    let name = shell.name_of(peer);
    let name = name.as_deref().unwrap_or("?");
    let error: &dyn std::error::Error = error;
    if warn {
        tracing::warn!(%peer, name, error, "beacons of a node are heard, but no link to it holds");
    } else {
        tracing::debug!(%peer, name, error, "link ended");
    }
}

fn link_up(shell: &Arc<Shell>, peer: NodeId, hello: &Hello) {
    let name: Arc<str> = hello.name.as_str().into();
    shell.set_name(peer, name.clone());
    if let Some(address) = hello.advertise {
        shell.lock_book().advertised(peer, address);
    }
    shell.feed(Input::LinkUp {
        peer,
        incarnation: hello.incarnation,
        name,
        traits: hello.traits.clone(),
        zone: shell.zone_of(hello),
    });
    shell.radio.tell_peers(peer);
}

async fn run(
    shell: &Arc<Shell>,
    peer: NodeId,
    attempt: u64,
    delay: Duration,
) -> Result<(), Broken> {
    sleep(delay).await;
    let address = shell.lock_book().address(peer).ok_or(Broken::Unknown)?;
    let dial = timeout(HANDSHAKE_MAX, dial(shell, peer, address));
    let (frames, hello) = dial.await.map_err(|_| Broken::Late(address))??;
    // After its greeting the other side says nothing here, but it can close.
    let FramedParts { io, read_buf, write_buf, .. } = frames.into_parts();
    if !read_buf.is_empty() || !write_buf.is_empty() {
        return Err(Broken::Unexpected);
    }
    let (link, hello) = (Arc::new(Link::new(Box::new(io))), Arc::new(hello));
    if !shell.links.is_up(peer, attempt, link.clone(), hello.clone()) {
        return Ok(());
    }
    link_up(shell, peer, &hello);
    Err(match link.run().await {
        Ended::Closed => Broken::Closed,
        Ended::Unexpected => Broken::Unexpected,
        Ended::Failed(error) => Broken::Transport(error),
    })
}

async fn dial(
    shell: &Shell,
    peer: NodeId,
    address: SocketAddr,
) -> Result<(Frames<TlsStream<TcpStream>>, Hello), Broken> {
    let handshake = |error| Broken::Handshake(address, error);
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| Broken::Connect(address, error))?;
    tune(&stream).map_err(|error| Broken::Connect(address, error))?;
    let name = tls::dialled(peer).map_err(|error| handshake(io::Error::other(error)))?;
    let connector = TlsConnector::from(shell.tls.client.clone());
    let stream = connector.connect(name, stream).await.map_err(handshake)?;
    let proved = tls::peer(stream.get_ref().1.peer_certificates(), shell.who.cluster);
    let proved = proved.map_err(Broken::Certificate)?;
    let mut frames = frames(stream);
    say_hello(&mut frames, shell).await.map_err(handshake)?;
    // What is wrong with the own certificate is told only now.
    let hello = hear_hello(&mut frames, &proved).await.map_err(|error| match error {
        Broken::Transport(error) => handshake(error),
        other => other,
    })?;
    Ok((frames, hello))
}

/// A stream cut into messages; short ones only until the greeting was heard.
pub(crate) fn frames<S: AsyncRead + AsyncWrite>(stream: S) -> Frames<S> {
    let mut codec = LengthDelimitedCodec::new();
    codec.set_max_frame_length(HELLO_BYTES_MAX);
    Framed::new(stream, codec)
}

/// Say who this node is.
pub(crate) async fn say_hello<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    shell: &Shell,
) -> io::Result<()> {
    frames.send(Message::Hello(shell.hello()).to_bytes()).await
}

/// Hear who the other side is; it must be who it proved to be. Longer messages may come then.
pub(crate) async fn hear_hello<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    proved: &crate::identity::Peer,
) -> Result<Hello, Broken> {
    let frame = frames.next().await.ok_or(Broken::Closed)?.map_err(Broken::Transport)?;
    let frame = frame.freeze();
    // The rest of another version's greeting may be anything.
    let ours = izna_proto::PROTOCOL;
    if let Some(theirs) =
        Hello::protocol_of(&frame).filter(|theirs| !izna_proto::is_spoken(*theirs))
    {
        return Err(Broken::Protocol { theirs, ours });
    }
    let Message::Hello(hello) = Message::from_bytes(frame).map_err(Broken::Message)? else {
        return Err(Broken::Unexpected);
    };
    if hello.node != proved.node || *hello.name != *proved.name {
        let (said, proved) = (hello.name, proved.name.to_string());
        return Err(Broken::Name { said, proved });
    }
    frames.codec_mut().set_max_frame_length(FRAME_BYTES_MAX);
    Ok(hello)
}

/// No delay, and an end to connections whose other machine is gone.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let alive = TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(SILENCE_MAX / 4);
    socket.set_tcp_keepalive(&alive.with_retries(3))?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))
}

/// Up to `most`, evenly: nodes that lost the same peer do not all come back at once.
fn jitter(most: Duration) -> Duration {
    let mut byte = [0];
    // Without a random byte there is no jitter, which is no harm.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    most.mul_f64(f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn attempt(links: &Links) -> (u64, Duration) {
        match links.begin(NodeId(1), 1) {
            Begin::Attempt { attempt, delay, .. } => (attempt, delay),
            _ => panic!("no attempt"),
        }
    }

    fn hello() -> Hello {
        Hello {
            protocol: izna_proto::PROTOCOL,
            cluster: izna_proto::ClusterId(1),
            node: NodeId(1),
            incarnation: 1,
            name: "one".to_string(),
            peer_port: 1,
            traits: izna_proto::Traits::default(),
            advertise: None,
            features: Vec::new(),
        }
    }

    /// The other end of the link that is up then.
    fn up(links: &Links, attempt: u64) -> DuplexStream {
        let (here, there) = duplex(64);
        let link = Arc::new(Link::new(Box::new(here)));
        assert!(links.is_up(NodeId(1), attempt, link, Arc::new(hello())));
        there
    }

    /// What a node makes of a greeting by `node-1`, the node 1.
    async fn heard(frame: bytes::Bytes) -> Result<Hello, Broken> {
        let (here, there) = duplex(1 << 16);
        let (mut here, mut there) = (frames(here), frames(there));
        there.send(frame).await.unwrap();
        let proved = crate::identity::Peer { node: NodeId(1), name: "node-1".into() };
        hear_hello(&mut here, &proved).await
    }

    /// If this fails, a node with many labels is linked to nobody.
    #[tokio::test]
    async fn the_longest_greeting_is_heard() {
        use izna_proto::{LABEL_BYTES_MAX, LABELS_MAX};
        let word = |nth: usize| Arc::from(format!("{nth:0>width$}", width = LABEL_BYTES_MAX));
        let traits = izna_proto::Traits {
            zone: Some(word(99)),
            labels: (0..LABELS_MAX).map(word).collect(),
        };
        let advertise = Some("[ffff:ffff::ffff]:65535".parse().unwrap());
        let hello = Hello { name: "node-1".into(), traits, advertise, ..hello() };
        let said = Message::Hello(hello.clone()).to_bytes();
        assert_eq!(heard(said).await.unwrap(), hello);
    }

    /// If this fails, who runs two versions of izna in one cluster is told of broken messages.
    #[tokio::test]
    async fn another_version_is_told_so() {
        // A greeting of protocol 9, with two values where this version has eight.
        let said = bytes::Bytes::from_static(&[0x82, 0x00, 0x82, 0x09, 0x01]);
        let ours = izna_proto::PROTOCOL;
        let error = heard(said).await.unwrap_err();
        assert!(matches!(error, Broken::Protocol { theirs: 9, ours: o } if o == ours), "{error:?}");
        let said = bytes::Bytes::from_static(&[0x82, 0x01, 0x82, 0x09, 0x01]);
        assert!(matches!(heard(said).await, Err(Broken::Message(_))), "it is no greeting");
    }

    /// If this fails, a node that cannot be reached is dialled ten times a second by everyone.
    #[test]
    fn attempts_are_delayed_after_failures() {
        let links = Links::default();
        let (first, delay) = attempt(&links);
        assert_eq!(delay, Duration::ZERO);
        assert!(matches!(links.begin(NodeId(1), 1), Begin::UnderWay));
        assert_eq!(links.is_down(NodeId(1), first), Some(false));
        let mut last = Duration::ZERO;
        for failures in 1..20u32 {
            let (number, delay) = attempt(&links);
            let full = DELAY_MIN.saturating_mul(1 << (failures - 1).min(10)).min(DELAY_MAX);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} after {failures}");
            assert_eq!(links.is_down(NodeId(1), number), Some(failures == 1));
            last = delay;
        }
        assert!(last >= DELAY_MAX / 2);
    }

    /// If this fails, the end of an old link is taken for the end of the new one.
    #[test]
    fn an_old_attempt_says_nothing() {
        let links = Links::default();
        let (first, _) = attempt(&links);
        let _other = up(&links, first);
        assert!(matches!(links.begin(NodeId(1), 1), Begin::IsUp(_)));
        let Begin::Attempt { attempt: second, .. } = links.begin(NodeId(1), 2) else { panic!() };
        assert_eq!(links.is_down(NodeId(1), first), None);
        assert!(links.is_down(NodeId(1), second).is_some());
    }

    /// If this fails, a node that reads slowly is sent ever more.
    #[test]
    fn a_full_link_is_closed() {
        let links = Links::default();
        assert!(!links.send(NodeId(1), &Message::AskInventory, Flush::Later));
        let Begin::Attempt { attempt, stop, .. } = links.begin(NodeId(1), 1) else { panic!() };
        let _other = up(&links, attempt);
        let piece = bytes::Bytes::from(vec![0; 9 << 20]);
        let digest = izna_proto::Digest([0; 32]);
        let large = Message::Artifact { digest, engine: None, offset: 0, length: 9 << 20, piece };
        let fitting = (0..20).take_while(|_| links.send(NodeId(1), &large, Flush::Later)).count();
        assert_eq!(fitting, 7);
        assert!(stop.is_cancelled());
    }
}
