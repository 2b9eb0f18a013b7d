//! The beacon: the datagram in which a node tells its load and what it holds.
//!
//! On the wire: [`BEACON_MAGIC`], the cluster's id (8 bytes, big endian), the beacon's CBOR, a
//! 16-byte tag over all before it. Magic, cluster and tag are checked before a byte of the CBOR is
//! read; the shell does that, since it has the key.

use crate::{Error, Load, NodeId, Reader, Wire, Writer};

/// What every beacon begins with: a name and the version of the format.
pub const BEACON_MAGIC: [u8; 4] = *b"IZB2";
/// Magic and cluster id: what may be looked at before the tag is checked.
pub const BEACON_HEADER_BYTES: usize = 12;
/// The tag at the end: HMAC-SHA256 under the cluster's beacon key, cut to 16 bytes.
pub const BEACON_TAG_BYTES: usize = 16;

/// What a node tells everyone. It is a hint: it never does more than cause a connection attempt,
/// whose other side must prove its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// The node that sent it.
    pub node: NodeId,
    /// Its count of restarts; rises with each start.
    pub incarnation: u64,
    /// Rises by one with each beacon of this incarnation; an old one is dropped.
    pub sequence: u64,
    /// The TCP port of its peer links, at the address that the beacon came from.
    pub peer_port: u16,
    /// Its load when the beacon was sent.
    pub load: Load,
    /// A sum over the components it holds: changes when they do, and others then ask for the list.
    pub inventory: u64,
    /// A sum over its app table: changes when the table does.
    pub table: u64,
}

impl Wire for Beacon {
    fn write(&self, writer: &mut Writer) {
        writer.array(7);
        self.node.write(writer);
        writer.unsigned(self.incarnation);
        writer.unsigned(self.sequence);
        writer.unsigned(self.peer_port);
        self.load.write(writer);
        writer.unsigned(self.inventory);
        writer.unsigned(self.table);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(7, |r| {
            Ok(Self {
                node: NodeId::read(r)?,
                incarnation: r.unsigned()?,
                sequence: r.unsigned()?,
                peer_port: r.narrow()?,
                load: Load::read(r)?,
                inventory: r.unsigned()?,
                table: r.unsigned()?,
            })
        })
    }
}
