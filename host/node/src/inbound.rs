//! The links of others to here: who may make one, and what they say.
//!
//! Before the other side has proved its name nothing that it sends is decoded but TLS itself. One
//! that is no node costs a bounded share of sockets for a bounded time, and now and then a line of
//! the log.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use izna_core::Input;
use izna_proto::{Hello, Message, NodeId, Wire};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::Part,
    book::Abroad,
    links::{Broken, Frames, HANDSHAKE_MAX, frames, hear_hello, say_hello, tune},
    quiet::Quiet,
    shell::Shell,
    tls,
    writer::Flush,
};

/// Connections whose other side has not proved its name.
const HALF_OPEN_MAX: usize = 256;
/// Of these, from one address.
const HALF_OPEN_ADDRESS_MAX: usize = 32;
/// Links of other nodes.
const LINKS_MAX: usize = 2048;

/// The links of others.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    half_open: Mutex<HashMap<IpAddr, usize>>,
    links: Mutex<HashMap<NodeId, Link>>,
    refused: Quiet,
    unheard: Quiet,
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
    inbound: &'a Inbound,
    address: IpAddr,
}

impl Inbound {
    fn half_open(&self, address: IpAddr) -> Option<HalfOpen<'_>> {
        let mut half_open = self.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = half_open.values().sum();
        let count = half_open.entry(address).or_default();
        if all >= HALF_OPEN_MAX || *count >= HALF_OPEN_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(HalfOpen { inbound: self, address })
    }

    /// Take a node's link in place of its older one; none if it is older itself, or one too many.
    fn enter(&self, hello: &Hello) -> Option<(u64, CancellationToken)> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&node).is_some_and(|link| link.number == number) {
            links.remove(&node);
        }
    }
}

impl Drop for HalfOpen<'_> {
    fn drop(&mut self) {
        let mut half_open = self.inbound.half_open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = half_open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                half_open.remove(&self.address);
            }
        }
    }
}

/// Take links until the node stops.
pub(crate) async fn accept(shell: Arc<Shell>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let shell = shell.clone();
                shell.clone().spawn(async move { serve(&shell, stream, from).await });
            }
            Err(error) => {
                if let Some(left_out) = shell.inbound.unheard.take() {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, left_out, "cannot take connections of other nodes");
                }
                // Mostly there are no descriptors left: others must be closed first.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(shell: &Arc<Shell>, stream: TcpStream, from: SocketAddr) {
    let greeted = {
        let Some(_place) = shell.inbound.half_open(from.ip()) else {
            return refuse(shell, from, &"too many connections have not proved a name yet");
        };
        timeout(HANDSHAKE_MAX, greet(shell, stream)).await
    };
    let (frames, hello) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(why)) => return refuse(shell, from, &why),
        Err(_) => return refuse(shell, from, &Broken::Late(from)),
    };
    let Some((number, stop)) = shell.inbound.enter(&hello) else {
        return refuse(shell, from, &"the node has a newer link, or there are too many");
    };
    shell.set_name(hello.node, hello.name.as_str().into());
    let zone = shell.zone_of(&hello);
    if zone != shell.who.zone {
        // No beacon tells where it is: the link does.
        let (peer, incarnation) = (hello.node, hello.incarnation);
        let address = hello.advertise.unwrap_or((from.ip(), hello.peer_port).into());
        let news = Abroad { zone, links: Some(address), datagrams: None, incarnation };
        shell.lock_book().abroad(peer, news);
        shell.feed(Input::Called { peer, zone, incarnation });
    }
    let ended = stop.run_until_cancelled(listen(shell, frames, &hello)).await;
    shell.inbound.leave(hello.node, number);
    if let Some(Err(error)) = ended {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(peer = %hello.node, name = hello.name, error, "a link to here ended");
    }
}

fn refuse(shell: &Shell, from: SocketAddr, why: &dyn std::fmt::Display) {
    if let Some(left_out) = shell.inbound.refused.take() {
        tracing::warn!(%from, why = %why, left_out, "refused a connection to the port for nodes");
    }
}

/// Why someone is not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it is not a node of izna: it looks like {0}")]
    Stranger(&'static str),
    #[error("it sent nothing")]
    Silent,
    #[error("no secure connection: {0}")]
    Tls(std::io::Error),
    #[error("{}", chain(.0))]
    Broken(#[from] Broken),
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn greet(
    shell: &Shell,
    stream: TcpStream,
) -> Result<(Frames<TlsStream<TcpStream>>, Hello), Refusal> {
    tune(&stream).map_err(Refusal::Tls)?;
    let mut start = [0; 8];
    let length = stream.peek(&mut start).await.map_err(Refusal::Tls)?;
    if let Some(stranger) = stranger(start.get(..length).unwrap_or_default())? {
        return Err(Refusal::Stranger(stranger));
    }
    let acceptor = TlsAcceptor::from(shell.tls.server.clone());
    let stream = acceptor.accept(stream).await.map_err(Refusal::Tls)?;
    let proved = tls::peer(stream.get_ref().1.peer_certificates(), shell.who.cluster);
    let proved = proved.map_err(Broken::Certificate)?;
    let mut frames = frames(stream);
    let heard = hear_hello(&mut frames, &proved).await;
    // One of another version is told which version this is.
    if matches!(heard, Ok(_) | Err(Broken::Protocol { .. })) {
        say_hello(&mut frames, shell).await.map_err(Broken::Transport)?;
    }
    Ok((frames, heard?))
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

async fn listen(
    shell: &Arc<Shell>,
    mut frames: Frames<TlsStream<TcpStream>>,
    hello: &Hello,
) -> Result<(), Broken> {
    let peer = hello.node;
    loop {
        let frame = frames.next().await.ok_or(Broken::Closed)?.map_err(Broken::Transport)?;
        match Message::from_bytes(frame.freeze()) {
            Ok(Message::Hello(_)) => return Err(Broken::Unexpected),
            Ok(Message::AskArtifact { digest, engine, offset }) => {
                shell.artifacts.asked(peer, Part { digest, engine, offset });
            }
            Ok(Message::Artifact { digest, engine, offset, length, piece }) => {
                shell.artifacts.arrived(peer, Part { digest, engine, offset }, length, piece);
            }
            Ok(Message::Peers(peers)) => shell.radio.told(shell, &peers),
            // Answers to all that has come together go out together.
            Ok(message) if has_frame(frames.read_buffer()) => {
                shell.feed(Input::Received { peer, message });
            }
            Ok(message) => shell.feed_here(Input::Received { peer, message }, Flush::Now),
            Err(error) => {
                if let Some(left_out) = shell.inbound.unheard.take() {
                    let name = &hello.name;
                    tracing::error!(%peer, name, %error, left_out, "a node sent no message");
                }
                return Err(Broken::Message(error));
            }
        }
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
        let inbound = Inbound::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let of_one: Vec<_> = (0..100).filter_map(|_| inbound.half_open(address(1))).collect();
        assert_eq!(of_one.len(), HALF_OPEN_ADDRESS_MAX);
        let of_all: Vec<_> =
            (2..250).flat_map(|n| [n; 4]).filter_map(|n| inbound.half_open(address(n))).collect();
        assert_eq!(of_one.len() + of_all.len(), HALF_OPEN_MAX);
        drop(of_one);
        assert!(inbound.half_open(address(1)).is_some());
    }

    /// If this fails, messages of a link that the other side gave up come among those of its new
    /// one.
    #[test]
    fn a_new_link_ends_the_old_one() {
        let inbound = Inbound::default();
        let (first, stop) = inbound.enter(&hello(1, 5)).unwrap();
        assert!(inbound.enter(&hello(1, 4)).is_none());
        assert!(!stop.is_cancelled());
        let (second, _) = inbound.enter(&hello(1, 5)).unwrap();
        assert!(stop.is_cancelled());
        inbound.leave(NodeId(1), first);
        assert!(inbound.enter(&hello(1, 4)).is_none());
        inbound.leave(NodeId(1), second);
        let count = (0..10_000).filter(|n| inbound.enter(&hello(*n, 1)).is_some()).count();
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
