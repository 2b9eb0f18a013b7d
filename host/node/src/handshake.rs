//! How a connection between two nodes begins, on both sides: TLS with certificates of the cluster,
//! then each says who it is. Until then only short messages are read.
//!
//! There are two kinds of connections, told apart by the protocol that TLS agrees on (ALPN): links
//! agree on none and carry messages; bulk connections carry pieces of artifacts, so that no message
//! waits behind them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use izna_proto::{
    Hello, Message, NodeId, Wire, is_spoken,
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX},
};
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{
    identity::{Peer, PeerError},
    own::Own,
    tls,
};

/// How long a handshake may take, greeting included.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long a dead machine's connection is kept.
const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(crate) type Frames<S> = Framed<S, LengthDelimitedCodec>;

/// Why a connection could not be made or broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("its address is not known: no beacon of it has been heard")]
    Unknown,
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("cannot establish TLS with {0}")]
    Handshake(SocketAddr, #[source] io::Error),
    #[error("{0} did not finish the handshake within {HANDSHAKE_MAX:?}")]
    Late(SocketAddr),
    #[error("the connection broke")]
    Transport(#[source] io::Error),
    #[error("the other side closed it")]
    Closed,
    #[error("the other side sent an invalid message")]
    Message(#[source] izna_proto::Error),
    #[error("the other side sent a message that is not allowed here")]
    Unexpected,
    #[error(
        "the other side speaks protocol {theirs}, this node {ours}: one of them needs another \
             version of izna"
    )]
    Protocol { theirs: u16, ours: u16 },
    #[error("the other side says that it is {said}, but its certificate is that of {proved}")]
    Name { said: String, proved: String },
    #[error("the other side's certificate is invalid")]
    Certificate(#[source] PeerError),
    #[error("the other side does not take bulk connections")]
    NoBulk,
}

/// Connect to a node and greet it, by one of [`tls::Configs`]. Not bounded in time.
async fn connect(
    config: Arc<ClientConfig>,
    own: &Own,
    peer: NodeId,
    address: SocketAddr,
) -> Result<(Frames<TlsStream<TcpStream>>, Hello), Broken> {
    let handshake = |error| Broken::Handshake(address, error);
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| Broken::Connect(address, error))?;
    tune(&stream).map_err(|error| Broken::Connect(address, error))?;
    let name = tls::dialled(peer).map_err(|error| handshake(io::Error::other(error)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(handshake)?;
    let proved = tls::peer(stream.get_ref().1.peer_certificates(), own.cluster);
    let proved = proved.map_err(Broken::Certificate)?;
    let mut frames = frames(stream);
    say_hello(&mut frames, own).await.map_err(handshake)?;
    // What is wrong with the own certificate is told only now.
    let hello = hear_hello(&mut frames, &proved).await.map_err(|error| match error {
        Broken::Transport(error) => handshake(error),
        other => other,
    })?;
    Ok((frames, hello))
}

/// Connect to a node and greet it, within [`HANDSHAKE_MAX`].
pub(crate) async fn dial(
    config: Arc<ClientConfig>,
    own: &Own,
    peer: NodeId,
    address: SocketAddr,
) -> Result<(Frames<TlsStream<TcpStream>>, Hello), Broken> {
    let connected = timeout(HANDSHAKE_MAX, connect(config, own, peer, address)).await;
    connected.map_err(|_| Broken::Late(address))?
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
    own: &Own,
) -> io::Result<()> {
    frames.send(Message::Hello(own.hello()).to_bytes()).await
}

/// Hear who the other side is; it must be who it proved to be. Longer messages may come then.
pub(crate) async fn hear_hello<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    proved: &Peer,
) -> Result<Hello, Broken> {
    let frame = frames.next().await.ok_or(Broken::Closed)?.map_err(Broken::Transport)?;
    let frame = frame.freeze();
    // The rest of another version's greeting may be anything.
    let ours = izna_proto::PROTOCOL;
    if let Some(theirs) = Hello::protocol_of(&frame).filter(|theirs| !is_spoken(*theirs)) {
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

/// An error with its causes, in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::duplex;

    use super::*;

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
}
