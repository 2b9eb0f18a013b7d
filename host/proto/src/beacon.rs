//! The beacon: the datagram in which a node tells its load, and whether what it holds has changed.
//!
//! 48 bytes, all of fixed width and big endian: there is one from each node of a zone to each other
//! several times a second. Before the tag they are read by [`Beacon::decode`]; sealing and checking
//! the tag is the shell's, since it has the key.

use alloc::vec::Vec;

use crate::{Error, Load, NodeId, ZoneId};

/// What every beacon begins with: a name and the version of the format.
pub const BEACON_MAGIC: [u8; 2] = *b"Z3";
/// A beacon without its tag.
pub const BEACON_BYTES: usize = 40;
/// The tag at the end: HMAC-SHA256 under the cluster's beacon key, cut to 8 bytes.
pub const BEACON_TAG_BYTES: usize = 8;

/// The time of a load is told in steps of 2^8 microseconds: an uptime of nine years fits into five
/// bytes.
const AT_SHIFT: u32 = 8;
/// The largest figure that has a short form.
const FIGURE_MAX: u32 = 0xfff << 20;
/// Shares of use are told in 31 steps.
const SHARE_MAX: u16 = 31;

/// What a node tells everyone in its zone. It is a hint: it never does more than cause a connection
/// attempt, whose other side must prove its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// Its zone, and by that its cluster.
    pub zone: ZoneId,
    /// The node that sent it.
    pub node: NodeId,
    /// Its count of restarts; rises with each start. Four bytes.
    pub incarnation: u64,
    /// When it was sent, on the node's own clock in steps of 256 microseconds: rises with each beacon
    /// of this incarnation, and an old one is dropped. Five bytes.
    pub sequence: u64,
    /// The TCP port of its peer links, at the address that the beacon came from.
    pub peer_port: u16,
    /// Its load when the beacon was sent, rounded down as far as there is no room for all digits.
    /// Its time is not told but by the sequence.
    pub load: Load,
    /// A sum over the components that it holds and its app table: changes when these do, and others
    /// then ask for both.
    pub epoch: u16,
}

impl Beacon {
    /// The sequence of a beacon whose load was so at `at_us`.
    pub fn sequence_at(at_us: u64) -> u64 {
        at_us >> AT_SHIFT
    }

    /// The bytes of it, to which the tag is to be added.
    pub fn encode(&self) -> Vec<u8> {
        let load = &self.load;
        let mut bytes = Vec::with_capacity(BEACON_BYTES + BEACON_TAG_BYTES);
        bytes.extend_from_slice(&BEACON_MAGIC);
        bytes.extend_from_slice(&self.zone.0.to_be_bytes());
        bytes.extend_from_slice(&self.node.0.to_be_bytes());
        bytes.extend(self.incarnation.to_be_bytes().iter().skip(4));
        bytes.extend(self.sequence.to_be_bytes().iter().skip(3));
        bytes.extend_from_slice(&self.peer_port.to_be_bytes());
        bytes.push(u8::try_from(load.idle).unwrap_or(u8::MAX));
        let figures =
            [load.wait_us, load.capacity_milli, load.speed_milli, load.queued, load.inflow_milli];
        for figure in figures {
            bytes.extend_from_slice(&pack(figure).to_be_bytes());
        }
        let shares = [load.cpu_permille, load.memory_permille, load.network_permille];
        let accepting = u16::from(load.accepting);
        let state = shares.into_iter().fold(accepting, |all, share| (all << 5) | pack_share(share));
        bytes.extend_from_slice(&state.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    /// The beacon that these bytes, without the tag, are.
    ///
    /// # Errors
    /// When they are not as many as a beacon has, or begin with something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let foreign = Error::Shape { at: 0, expected: "a beacon" };
        let bytes: &[u8; BEACON_BYTES] = bytes.try_into().map_err(|_| foreign.clone())?;
        let mut rest = bytes.strip_prefix(&BEACON_MAGIC).ok_or(foreign)?;
        let mut take = |count: usize| {
            let (value, left) = rest.split_at_checked(count).unwrap_or_default();
            rest = left;
            value.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte))
        };
        #[expect(clippy::cast_possible_truncation, reason = "as many bytes as fit are taken")]
        let (zone, node, incarnation, sequence, peer_port, idle) =
            (take(4) as u32, take(8), take(4), take(5), take(2) as u16, take(1) as u16);
        #[expect(clippy::cast_possible_truncation, reason = "two bytes are taken")]
        let mut figure = || unpack(take(2) as u16);
        let (wait_us, capacity_milli, speed_milli) = (figure(), figure(), figure());
        let (queued, inflow_milli) = (figure(), figure());
        #[expect(clippy::cast_possible_truncation, reason = "as many bytes as fit are taken")]
        let (state, epoch) = (take(2) as u16, take(2) as u16);
        let share = |nth: u32| unpack_share(state >> (5 * nth));
        let load = Load {
            at_us: sequence << AT_SHIFT,
            wait_us,
            idle,
            capacity_milli,
            speed_milli,
            queued,
            inflow_milli,
            cpu_permille: share(2),
            memory_permille: share(1),
            network_permille: share(0),
            accepting: state >> 15 == 1,
        };
        let (zone, node) = (ZoneId(zone), NodeId(node));
        Ok(Self { zone, node, incarnation, sequence, peer_port, load, epoch })
    }
}

/// A figure in two bytes: eleven bits of it, and how far they are shifted. Up to 4095 exact, above
/// that at most one part in 2048 less.
pub fn pack(figure: u32) -> u16 {
    let shift = (32 - figure.leading_zeros()).saturating_sub(12);
    let digits = figure >> shift;
    #[expect(clippy::cast_possible_truncation, reason = "twelve bits, and a shift up to 20")]
    match digits.checked_sub(0x800) {
        None => digits as u16,
        Some(digits) => ((shift as u16 + 1) << 11) | digits as u16,
    }
}

/// The figure that [`pack`] has made smaller.
pub fn unpack(packed: u16) -> u32 {
    let digits = u32::from(packed & 0x7ff);
    match (packed >> 11).checked_sub(1) {
        None => digits,
        Some(shift) => {
            let figure = u64::from(digits | 0x800) << shift;
            u32::try_from(figure).unwrap_or(FIGURE_MAX)
        }
    }
}

fn pack_share(permille: u16) -> u16 {
    let share = (u32::from(permille.min(1000)) * u32::from(SHARE_MAX) + 500) / 1000;
    u16::try_from(share).unwrap_or(SHARE_MAX)
}

fn unpack_share(share: u16) -> u16 {
    (share & SHARE_MAX) * 1000 / SHARE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon() -> Beacon {
        let load = Load {
            at_us: 0x00ff_ffff_ff00,
            wait_us: 2_500_000,
            idle: 3,
            capacity_milli: 4000,
            speed_milli: 1250,
            queued: 17,
            inflow_milli: 700,
            cpu_permille: 1000,
            memory_permille: 516,
            network_permille: 0,
            accepting: true,
        };
        let (zone, node) = (ZoneId(0x0102_0304), NodeId(u64::MAX - 1));
        let (incarnation, sequence) = (0xfedc_ba98, Beacon::sequence_at(load.at_us));
        Beacon { zone, node, incarnation, sequence, peer_port: 7400, load, epoch: 0xfedc }
    }

    /// If this fails, nodes read other figures than were told, or a beacon has outgrown its bytes.
    #[test]
    fn a_beacon_is_read_as_it_was_written() {
        let (told, bytes) = (beacon(), beacon().encode());
        assert_eq!(bytes.len(), BEACON_BYTES);
        assert_eq!(BEACON_BYTES + BEACON_TAG_BYTES, 48);
        let heard = Beacon::decode(&bytes).unwrap();
        assert_eq!(heard.load.wait_us, 2_499_584, "one part in 2048 may be missing");
        let load = Load { wait_us: heard.load.wait_us, ..told.load };
        assert_eq!(heard, Beacon { load, ..told });
        let busy = Load { idle: 300, accepting: false, ..told.load };
        let heard = Beacon::decode(&Beacon { load: busy, ..told }.encode()).unwrap();
        assert_eq!((heard.load.idle, heard.load.accepting), (255, false));
    }

    /// If this fails, bytes of another length or format are taken for a beacon.
    #[test]
    fn other_bytes_are_refused() {
        let bytes = beacon().encode();
        for length in (0..BEACON_BYTES).chain([BEACON_BYTES + 1]) {
            let mut other = bytes.clone();
            other.resize(length, 0);
            assert!(Beacon::decode(&other).is_err(), "{length} bytes");
        }
        let mut other = bytes;
        other[1] = b'2';
        assert!(Beacon::decode(&other).is_err());
    }

    /// If this fails, a figure becomes another one on its way, or comes out of order.
    #[test]
    fn figures_lose_one_part_in_2048_at_most() {
        let mut last = 0;
        for figure in (0..5000).chain((5000..=u32::MAX).step_by(99_991)).chain([u32::MAX]) {
            let told = unpack(pack(figure));
            assert!(told <= figure && told >= last, "{figure} became {told}");
            assert!(f64::from(figure - told) <= f64::from(figure) / 2048.0, "{figure}: {told}");
            assert!(figure > 4095 || told == figure);
            last = told;
        }
        for packed in 0..=u16::MAX {
            assert_eq!(pack(unpack(packed)).max(packed), packed);
        }
    }
}
