//! Beacons and bulletins as datagrams: sealing, opening, and the limit of each source. Who sends
//! when is core's; where to, the [`addresses`](crate::addresses) say.
//!
//! On the wire: magic, zone, the content, and some bytes of HMAC-SHA256 over all before. The magic
//! and then the tag are checked, this in constant time, and the content is read last.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use izna_proto::{
    BEACON_BYTES, BEACON_MAGIC, BEACON_TAG_BYTES, BULLETIN_HEADER_BYTES, BULLETIN_MAGIC,
    BULLETIN_TAG_BYTES, Beacon, Bulletin, Wire, ZoneId,
};
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
}

/// What a datagram was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    Beacon(Beacon),
    Bulletin(Bulletin),
}

/// Why a datagram is not a beacon of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("not an izna beacon")]
    Foreign,
    #[error(
        "invalid authentication tag: the sender, in {0}, does not have this cluster's beacon key"
    )]
    Forged(ZoneId),
    #[error("cannot decode its content: it may be of another version")]
    Unreadable(#[source] izna_proto::Error),
}

impl Seal {
    pub(crate) fn new(key: &BeaconKey) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The datagram for a beacon.
    pub(crate) fn beacon(&self, beacon: &Beacon) -> Vec<u8> {
        self.seal(beacon.encode(), BEACON_TAG_BYTES)
    }

    /// The datagram for a bulletin.
    pub(crate) fn bulletin(&self, bulletin: &Bulletin) -> Vec<u8> {
        let zone = bulletin.zone.0.to_be_bytes();
        self.seal([&BULLETIN_MAGIC[..], &zone, &bulletin.to_bytes()].concat(), BULLETIN_TAG_BYTES)
    }

    fn seal(&self, mut body: Vec<u8>, tag_bytes: usize) -> Vec<u8> {
        let tag = hmac::sign(&self.key, &body);
        body.extend(tag.as_ref().iter().take(tag_bytes));
        body
    }

    /// What a datagram holds. That it is no repetition is not known yet.
    pub(crate) fn open(&self, datagram: &[u8]) -> Result<Opened, Refused> {
        if datagram.starts_with(&BEACON_MAGIC) {
            if datagram.len() != BEACON_BYTES + BEACON_TAG_BYTES {
                return Err(Refused::Foreign);
            }
            let (_, body) = self.checked(datagram, BEACON_TAG_BYTES)?;
            return Beacon::decode(body).map(Opened::Beacon).map_err(Refused::Unreadable);
        }
        if !datagram.starts_with(&BULLETIN_MAGIC) {
            return Err(Refused::Foreign);
        }
        let (zone, body) = self.checked(datagram, BULLETIN_TAG_BYTES)?;
        let cbor = body.get(BULLETIN_HEADER_BYTES..).unwrap_or_default();
        let bulletin = Bulletin::from_bytes(Bytes::copy_from_slice(cbor));
        let bulletin = bulletin.map_err(Refused::Unreadable)?;
        Ok(Opened::Bulletin(Bulletin { zone, ..bulletin }))
    }

    /// The zone of the sender, and all before the tag, which is right.
    fn checked<'a>(
        &self,
        datagram: &'a [u8],
        tag_bytes: usize,
    ) -> Result<(ZoneId, &'a [u8]), Refused> {
        let cut = datagram.len().checked_sub(tag_bytes).filter(|c| *c > BULLETIN_HEADER_BYTES);
        let (body, tag) =
            cut.and_then(|cut| datagram.split_at_checked(cut)).ok_or(Refused::Foreign)?;
        let zone = body.iter().take(BULLETIN_HEADER_BYTES).skip(BEACON_MAGIC.len());
        let zone = ZoneId(zone.fold(0, |zone, byte| (zone << 8) | u32::from(*byte)));
        let right = hmac::sign(&self.key, body);
        let right = right.as_ref().get(..tag_bytes).unwrap_or_default();
        if !bool::from(right.ct_eq(tag)) {
            return Err(Refused::Forged(zone));
        }
        Ok((zone, body))
    }
}

/// How many datagrams each address may still send: a flood from one leaves the others heard.
#[derive(Debug)]
pub(crate) struct SourceLimit {
    since: Instant,
    seen: HashMap<IpAddr, u32>,
    others: u32,
}

impl SourceLimit {
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

    use izna_proto::{
        DOORS_MAX, Door, LABEL_BYTES_MAX, LINES_MAX, Load, NodeId, PATHS_MAX, SummaryLine, ZonePath,
    };

    use super::*;

    fn seal() -> Seal {
        Seal::new(&[7; 32])
    }

    fn beacon() -> Beacon {
        let load = Load { accepting: true, capacity_milli: 2000, ..Load::default() };
        Beacon {
            zone: ZoneId(9),
            node: NodeId(1),
            incarnation: 2,
            sequence: 0,
            peer_port: 4,
            load,
            epoch: 77,
        }
    }

    fn bulletin() -> Bulletin {
        let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().ok();
        let door = |node| Door { node: NodeId(node), capacity_milli: u32::MAX, address };
        let line = |component| SummaryLine {
            component,
            doors: u8::MAX,
            idle: u16::MAX,
            capacity: u16::MAX,
            wait: u16::MAX,
            speed: u16::MAX,
        };
        Bulletin {
            zone: ZoneId(9),
            name: "z".repeat(LABEL_BYTES_MAX),
            speaker: NodeId(u64::MAX),
            incarnation: u64::MAX,
            sequence: u64::MAX,
            table: u64::MAX,
            doors: (0..DOORS_MAX).map(|n| door(u64::MAX - n as u64)).collect(),
            lines: (0..LINES_MAX).map(|n| line(u32::MAX - n as u32)).collect(),
            paths: Vec::new(),
        }
    }

    /// If this fails, nodes do not hear each other.
    #[test]
    fn a_sealed_beacon_opens() {
        let datagram = seal().beacon(&beacon());
        assert_eq!(datagram.len(), 48);
        assert_eq!(seal().open(&datagram), Ok(Opened::Beacon(beacon())));
    }

    /// If this fails, zones do not hear each other, or a full bulletin is too long to be sent.
    #[test]
    fn the_longest_bulletin_fits_a_datagram() {
        let datagram = seal().bulletin(&bulletin());
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX, "{}", datagram.len());
        assert_eq!(seal().open(&datagram), Ok(Opened::Bulletin(bulletin())));
        let path = ZonePath { zone: ZoneId(u32::MAX), round_trip: u16::MAX, rate: u16::MAX };
        let (doors, lines) = (Vec::new(), Vec::new());
        let far = Bulletin { doors, lines, paths: vec![path; PATHS_MAX], ..bulletin() };
        assert!(seal().bulletin(&far).len() <= DATAGRAM_BYTES_MAX);
    }

    /// If this fails, one without the key can make beacons, or change one on its way.
    #[test]
    fn forged_datagrams_are_refused() {
        for datagram in [seal().beacon(&beacon()), seal().bulletin(&bulletin())] {
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
            assert!(seal().open(&[&datagram[..], &[0]].concat()).is_err());
        }
        let other_key = Seal::new(&[8; 32]).beacon(&beacon());
        assert_eq!(seal().open(&other_key), Err(Refused::Forged(ZoneId(9))));
        for foreign in [&b""[..], b"Z3", b"Y3", b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250\r\n"]
        {
            assert_eq!(seal().open(foreign), Err(Refused::Foreign));
        }
    }

    /// If this fails, a node with the key but of another version, or a broken one, can stop others.
    #[test]
    fn authentic_nonsense_is_refused() {
        let seal = seal();
        for cbor in [&b"\x80"[..], b"\x9f\xff", &[0x81; 1000], b"\xff\xff"] {
            let body = [&BULLETIN_MAGIC[..], &9u32.to_be_bytes(), cbor].concat();
            let datagram = seal.seal(body, BULLETIN_TAG_BYTES);
            assert!(matches!(seal.open(&datagram), Err(Refused::Unreadable(_))), "{cbor:x?}");
        }
    }

    /// If this fails, a flood from one address keeps the others from being heard.
    #[test]
    fn a_flood_is_cut() {
        let now = Instant::now();
        let mut limit = SourceLimit::new(now);
        let address = |n: u32| IpAddr::from(Ipv4Addr::from(n));
        let taken = |limit: &mut SourceLimit, n, count: u32| {
            (0..count).filter(|_| limit.take(now, address(n))).count()
        };
        assert_eq!(taken(&mut limit, 1, 100_000), SOURCE_DATAGRAMS_MAX as usize);
        assert_eq!(taken(&mut limit, 2, 10), 10);
        (10..20_000).for_each(|n| assert!(limit.take(now, address(n)) || n > 4096));
        assert!(limit.seen.len() <= SOURCES_MAX);
        assert!(limit.take(now, address(2)));
        assert!(!limit.take(now, address(1)));
        assert!(limit.take(now + WINDOW, address(1)));
    }
}
