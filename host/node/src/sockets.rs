//! The sockets of a node, and what can be wrong with their addresses.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// How often another port is tried when the system chose one that is free for TCP only.
const PORT_TRIES: usize = 16;
/// Room for the beacons of a large cluster while the node has no processor.
const RECEIVE_BYTES: usize = 4 << 20;

/// The multicast group of a cluster on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multicast {
    /// The group's address.
    pub group: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// The address of the network interface to use. There is no good guess: without one the system
    /// takes the default interface, and nodes elsewhere hear nothing.
    pub interface: Ipv4Addr,
}

impl Default for Multicast {
    fn default() -> Self {
        let group = Ipv4Addr::new(239, 73, 78, 65);
        Self { group, port: 7373, interface: Ipv4Addr::LOCALHOST }
    }
}

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Someone else has the port.
    #[error(
        "port {} of {} is in use by another program, perhaps another node; stop it, or choose \
         another port", address.port(), address.ip()
    )]
    InUse {
        /// The address with the port.
        address: SocketAddr,
    },
    /// The port is for the system.
    #[error("no permission to use port {}; choose one from 1024 on", address.port())]
    Forbidden {
        /// The address with the port.
        address: SocketAddr,
    },
    /// The machine does not have the address.
    #[error(
        "this machine has no network interface with the address {address}; `ip address` lists \
             those it has"
    )]
    NoInterface {
        /// The address.
        address: IpAddr,
    },
    /// The group's address is of one machine.
    #[error("{group} is not a multicast address; those are 224.0.0.0 to 239.255.255.255")]
    NotMulticast {
        /// The address.
        group: Ipv4Addr,
    },
    /// The system refused something else.
    #[error("cannot {operation} {address}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

fn failed(operation: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        ErrorKind::AddrInUse => Error::InUse { address },
        ErrorKind::AddrNotAvailable => Error::NoInterface { address: address.ip() },
        ErrorKind::PermissionDenied if address.port() < 1024 => Error::Forbidden { address },
        _ => Error::Io { operation, address, source },
    }
}

/// The sockets at a node's address: for links, and for beacons by unicast, of the same port.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, UdpSocket), Error> {
    let mut tries = 0;
    loop {
        let links = TcpListener::bind(address).await.map_err(failed("listen at", address))?;
        let bound = links.local_addr().map_err(failed("listen at", address))?;
        tries += 1;
        match UdpSocket::bind(bound).await {
            Ok(beacons) => return Ok((links, beacons)),
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && address.port() == 0
                    && tries < PORT_TRIES => {}
            Err(error) => return Err(failed("receive beacons at", bound)(error)),
        }
    }
}

/// The socket of a multicast group, for both directions. Needs no route and no privilege.
pub(crate) fn multicast(multicast: &Multicast) -> Result<UdpSocket, Error> {
    let Multicast { group, port, interface } = *multicast;
    if !group.is_multicast() {
        return Err(Error::NotMulticast { group });
    }
    let address = SocketAddr::from(SocketAddrV4::new(group, port));
    let socket = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        // Less is given where the system does not allow as much: beacons repeat.
        let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::from(address))?;
        Ok(socket)
    };
    let socket = socket().map_err(failed("listen at", address))?;
    let join = || -> io::Result<()> {
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Address(interface))?;
        socket.set_multicast_if_v4(&interface)?;
        socket.set_multicast_loop_v4(true)?;
        // Other groups of this port are not ours; the seal would refuse them too.
        let _ = socket.set_multicast_all_v4(false);
        socket.set_multicast_ttl_v4(1)
    };
    join().map_err(|source| match source.raw_os_error() {
        Some(NO_DEVICE) => Error::NoInterface { address: interface.into() },
        _ => failed("join the multicast group", address)(source),
    })?;
    UdpSocket::from_std(socket.into()).map_err(failed("listen at", address))
}

/// `ENODEV`.
const NO_DEVICE: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, an operator is not told which port is taken, or the node takes another.
    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let (links, _beacons) = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = links.local_addr().unwrap();
        let refused = listen(address).await.unwrap_err().to_string();
        let port = address.port();
        assert!(refused.starts_with(&format!("port {port} of 127.0.0.1 is in use")), "{refused}");
        drop(links);
        // Free for TCP, but not for UDP.
        let refused = listen(address).await.unwrap_err();
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    }

    /// If this fails, a node with a wrong address in its configuration is alone and silent.
    #[tokio::test]
    async fn wrong_addresses_are_told() {
        let refused = |group: [u8; 4], interface: [u8; 4]| {
            let (group, interface) = (group.into(), interface.into());
            multicast(&Multicast { group, port: 0, interface }).unwrap_err().to_string()
        };
        assert!(refused([10, 0, 0, 255], [127, 0, 0, 1]).contains("is not a multicast address"));
        // An address for documentation, which no machine has.
        let text = refused([239, 73, 78, 65], [192, 0, 2, 1]);
        assert!(text.contains("no network interface with the address 192.0.2.1"), "{text}");
        let text = listen("192.0.2.1:0".parse().unwrap()).await.unwrap_err().to_string();
        assert!(text.contains("no network interface with the address 192.0.2.1"), "{text}");
    }
}
