//! Identifiers: newtypes that print with a prefix. No identifier is ever reused for something else.

use core::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Error, Reader, Unfit, Wire, Writer};

/// A node, by its name: the first eight bytes of the SHA-256 of the name in its certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

/// One request in flight, a UUIDv7 made by the gateway that took it in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u128);

/// A place at a gateway where a client waits for a reply. Unique within one incarnation of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u64);

/// One delivery over one link, to tell its acknowledgement. Unique within one incarnation of the
/// source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// One call in a process. No other entry of the process has it, as long as the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) u32);

/// A cluster: the first eight bytes of the SHA-256 of its authority's certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// A zone of a cluster: the first four bytes of the SHA-256 of the cluster's id, eight bytes big
/// endian, and the zone's name. Another cluster's zone of that name has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ZoneId(pub u32);

/// The SHA-256 of immutable bytes, mostly of a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A component: an app, a name in it and code. A hash of the three; components of the same code
/// with other names are others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(pub u64);

impl ComponentId {
    /// The component of that name and code in an app.
    pub fn of(app: &str, component: &str, digest: &Digest) -> Self {
        // The digest is a good hash already; names have no control characters.
        let names = xxh3_64_with_seed(component.as_bytes(), xxh3_64_with_seed(app.as_bytes(), 1));
        Self(xxh3_64_with_seed(&digest.0, names))
    }

    /// The first four bytes: what a zone's bulletin names a component by.
    pub fn key(&self) -> u32 {
        self.0.to_be_bytes().iter().take(4).fold(0, |key, byte| (key << 8) | u32::from(*byte))
    }
}

impl Digest {
    /// The digest that `hex` (64 digits, with or without the `sha256:` prefix) writes out.
    pub fn parse(hex: &str) -> Option<Self> {
        let hex = hex.strip_prefix("sha256:").unwrap_or(hex).as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *byte = (digit(high)? << 4) | digit(low)?;
        }
        Some(Self(bytes))
    }

    /// The first eight bytes as a number: enough to tell components apart in a sum, never to trust
    /// one by.
    pub fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

impl ProcessId {
    /// The process that `text`, as printed, names.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("p-")?;
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(hex, 16).ok().map(Self)
    }
}

macro_rules! print {
    ($($name:ident $format:literal),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, $format, self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, $format, self.0) }
        }
    )* };
}
print!(
    NodeId "n-{:016x}", ClusterId "c-{:016x}", ZoneId "z-{:08x}", ProcessId "p-{:032x}",
    ComponentId "component-{:016x}", SlotId "slot-{}", DeliveryId "delivery-{}",
    EntryId "entry-{}"
);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{:012x}..", self.short() >> 16)
    }
}

macro_rules! wire_integer {
    ($($name:ident),*) => { $(
        impl Wire for $name {
            fn write(&self, writer: &mut Writer) {
                writer.unsigned(self.0);
            }

            fn read(reader: &mut Reader) -> Result<Self, Error> {
                reader.narrow().map(Self)
            }

            fn measure(&self) -> Result<usize, Unfit> {
                self.0.measure()
            }
        }
    )* };
}
wire_integer!(NodeId, SlotId, DeliveryId, ClusterId, ComponentId, ZoneId, EntryId);

impl Wire for ProcessId {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0.to_be_bytes());
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.fixed().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Ok(17)
    }
}

impl Wire for Digest {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.fixed().map(Self)
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Ok(34)
    }
}
