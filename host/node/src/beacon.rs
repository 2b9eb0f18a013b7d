//! Beacons as datagrams: sealing, opening, and the budget of each source. Who sends when is core's;
//! where to is the [`book`](crate::book)'s.
//!
//! On the wire: magic, cluster id, the beacon's CBOR, and 16 bytes of HMAC-SHA256 over all before.
//! They are checked in that order, the tag in constant time, and the CBOR is read last.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use izna_proto::{BEACON_HEADER_BYTES, BEACON_MAGIC, BEACON_TAG_BYTES, Beacon, ClusterId, Wire};
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::identity::BeaconKey;

/// The longest datagram looked at: what fits every network, and many times what a beacon needs.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1200;
/// Datagrams of one address that are looked at within [`WINDOW`].
const SOURCE_DATAGRAMS_MAX: u32 = 4000;
/// Addresses counted apart; all further ones share one count.
const SOURCES_MAX: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);

/// The cluster's seal.
#[derive(Debug)]
pub(crate) struct Seal {
    key: hmac::Key,
    cluster: ClusterId,
}

/// Why a datagram is not a beacon of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is not a beacon")]
    Foreign,
    #[error("it is of the cluster {0}")]
    Cluster(ClusterId),
    #[error("its seal is wrong: the sender does not have this cluster's beacon key")]
    Forged,
    #[error("its content cannot be read: it may be of another version")]
    Unreadable(#[source] izna_proto::Error),
}

impl Seal {
    pub(crate) fn new(key: &BeaconKey, cluster: ClusterId) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), cluster }
    }

    /// The datagram for a beacon.
    pub(crate) fn seal(&self, beacon: &Beacon) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(128);
        datagram.extend_from_slice(&BEACON_MAGIC);
        datagram.extend_from_slice(&self.cluster.0.to_be_bytes());
        datagram.extend_from_slice(&beacon.to_bytes());
        let tag = hmac::sign(&self.key, &datagram);
        datagram.extend(tag.as_ref().iter().take(BEACON_TAG_BYTES));
        datagram
    }

    /// The beacon that a datagram holds. That it is no repetition is not known yet.
    pub(crate) fn open(&self, datagram: &[u8]) -> Result<Beacon, Refused> {
        let cut = datagram.len().checked_sub(BEACON_TAG_BYTES).filter(|c| *c > BEACON_HEADER_BYTES);
        let (body, tag) =
            cut.and_then(|cut| datagram.split_at_checked(cut)).ok_or(Refused::Foreign)?;
        let (header, cbor) = body.split_at_checked(BEACON_HEADER_BYTES).ok_or(Refused::Foreign)?;
        let cluster = header.strip_prefix(&BEACON_MAGIC).ok_or(Refused::Foreign)?;
        let cluster = cluster.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        if cluster != self.cluster.0 {
            return Err(Refused::Cluster(ClusterId(cluster)));
        }
        let right = hmac::sign(&self.key, body);
        let right = right.as_ref().get(..BEACON_TAG_BYTES).unwrap_or_default();
        if !bool::from(right.ct_eq(tag)) {
            return Err(Refused::Forged);
        }
        Beacon::from_bytes(Bytes::copy_from_slice(cbor)).map_err(Refused::Unreadable)
    }
}

/// How many datagrams each address may still send: a flood from one leaves the others heard.
#[derive(Debug)]
pub(crate) struct Budget {
    since: Instant,
    seen: HashMap<IpAddr, u32>,
    others: u32,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, seen: HashMap::new(), others: 0 }
    }

    /// Whether a datagram of `source` may be looked at.
    pub(crate) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.seen.clear();
            self.others = 0;
        }
        let is_counted = self.seen.len() < SOURCES_MAX || self.seen.contains_key(&source);
        let count =
            if is_counted { self.seen.entry(source).or_default() } else { &mut self.others };
        *count = count.saturating_add(1);
        *count <= SOURCE_DATAGRAMS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use izna_proto::{Load, NodeId};

    use super::*;

    fn seal() -> Seal {
        Seal::new(&[7; 32], ClusterId(9))
    }

    fn beacon() -> Beacon {
        let load = Load { accepting: true, capacity_milli: 2000, ..Load::default() };
        let (inventory, table) = (u64::MAX, 4);
        Beacon {
            node: NodeId(1),
            incarnation: 2,
            sequence: 3,
            peer_port: 4,
            load,
            inventory,
            table,
        }
    }

    /// If this fails, nodes do not hear each other.
    #[test]
    fn a_sealed_beacon_opens() {
        let datagram = seal().seal(&beacon());
        assert!(datagram.len() < 128, "{}", datagram.len());
        assert_eq!(seal().open(&datagram), Ok(beacon()));
    }

    /// If this fails, one without the key can make beacons, or change one on its way.
    #[test]
    fn forged_beacons_are_refused() {
        let datagram = seal().seal(&beacon());
        for at in 0..datagram.len() {
            for bit in 0..8 {
                let mut changed = datagram.clone();
                changed[at] ^= 1 << bit;
                assert!(seal().open(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        for length in 0..datagram.len() {
            assert!(seal().open(&datagram[..length]).is_err(), "{length} bytes");
        }
        let longer = [&datagram[..], &[0]].concat();
        assert_eq!(seal().open(&longer), Err(Refused::Forged));
        let other_key = Seal::new(&[8; 32], ClusterId(9)).seal(&beacon());
        assert_eq!(seal().open(&other_key), Err(Refused::Forged));
        let other_cluster = Seal::new(&[7; 32], ClusterId(8)).seal(&beacon());
        assert_eq!(seal().open(&other_cluster), Err(Refused::Cluster(ClusterId(8))));
        for foreign in
            [&b""[..], b"IZB2", b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n"]
        {
            assert_eq!(seal().open(foreign), Err(Refused::Foreign));
        }
    }

    /// If this fails, a node with the key but of another version, or a broken one, can stop others.
    #[test]
    fn authentic_nonsense_is_refused() {
        let seal = seal();
        for cbor in [&b"\x80"[..], b"\x9f\xff", &[0x81; 1000], b"\xff\xff"] {
            let mut datagram = [&BEACON_MAGIC[..], &9u64.to_be_bytes(), cbor].concat();
            let tag = hmac::sign(&seal.key, &datagram);
            datagram.extend_from_slice(&tag.as_ref()[..BEACON_TAG_BYTES]);
            assert!(matches!(seal.open(&datagram), Err(Refused::Unreadable(_))), "{cbor:x?}");
        }
    }

    /// If this fails, a flood from one address keeps the others from being heard.
    #[test]
    fn a_flood_is_cut() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let address = |n: u32| IpAddr::from(Ipv4Addr::from(n));
        let taken = |budget: &mut Budget, n, count: u32| {
            (0..count).filter(|_| budget.take(now, address(n))).count()
        };
        assert_eq!(taken(&mut budget, 1, 100_000), SOURCE_DATAGRAMS_MAX as usize);
        assert_eq!(taken(&mut budget, 2, 10), 10);
        (10..20_000).for_each(|n| assert!(budget.take(now, address(n)) || n > 4096));
        assert!(budget.seen.len() <= SOURCES_MAX);
        assert!(budget.take(now, address(2)));
        assert!(!budget.take(now, address(1)));
        assert!(budget.take(now + WINDOW, address(1)));
    }
}
