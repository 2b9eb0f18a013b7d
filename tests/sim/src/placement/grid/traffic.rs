//! What beacons and bulletins cost: the very encoders, with the figures of a busy cluster in them.

use std::fmt::Write;

use izna_proto::{
    BEACON_TAG_BYTES, BULLETIN_HEADER_BYTES, BULLETIN_TAG_BYTES, Beacon, Bulletin, DOORS_MAX, Door,
    LINES_MAX, Load, NodeId, PATHS_MAX, SummaryLine, Wire, ZoneId, ZonePath, pack,
};

/// What a datagram has on Ethernet beyond its payload: IPv4 and UDP heads, the frame's own, and the
/// gap before the next one.
const FRAME_BYTES: usize = 20 + 8 + 18 + 20;
/// Components of the cluster, all held in each zone.
const COMPONENTS: usize = 60;
/// Nodes of a zone.
const ZONE_NODES: usize = 100;
/// Between two beacons of a node, and two bulletins of a zone.
const BEACONS_PER_SECOND: f64 = 4.0;
const BULLETINS_PER_SECOND: f64 = 1.0;
/// Doors that are told directly.
const DOORS_TOLD: usize = 2;

/// Packets and bytes of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    packets: f64,
    bytes: f64,
}

impl Rate {
    fn add(&mut self, datagrams: &[usize], times: f64) {
        for payload in datagrams {
            self.packets += times;
            self.bytes += times * (payload + FRAME_BYTES) as f64;
        }
    }

    fn told(self) -> String {
        format!("{:.0} | {:.2}", self.packets, self.bytes * 8.0 / 1e6)
    }
}

/// The payload of a beacon.
fn beacon() -> usize {
    let load = Load {
        at_us: 86_400_000_000,
        wait_us: 1500,
        capacity_milli: 4000,
        speed_milli: 1000,
        queued: 12,
        inflow_milli: 3650,
        cpu_permille: 930,
        memory_permille: 410,
        accepting: true,
        ..Load::default()
    };
    let (zone, node) = (ZoneId(u32::MAX), NodeId(u64::MAX));
    let sequence = Beacon::sequence_at(load.at_us);
    let incarnation = 1_800_000_000;
    let beacon = Beacon { zone, node, incarnation, sequence, peer_port: 7400, load, epoch: 9 };
    beacon.encode().len() + BEACON_TAG_BYTES
}

/// The payloads of what a zone tells another one at once, and of what it tells its own.
fn bulletins(zones: usize) -> (Vec<usize>, Vec<usize>) {
    let address = "10.123.45.67:7400".parse().ok();
    let door = |n: usize| Door { node: NodeId(u64::MAX - n as u64), capacity_milli: 4000, address };
    let bulletin = |doors: usize, lines: usize, paths: usize| {
        let line = |n: usize| SummaryLine {
            component: u32::MAX - n as u32,
            doors: 0b0101_0101,
            idle: 100,
            capacity: pack(200_000),
            wait: pack(1500),
            speed: pack(1000),
        };
        let path = |n: usize| ZonePath {
            zone: ZoneId(u32::MAX - n as u32),
            round_trip: pack(4100),
            rate: pack(12_500),
        };
        let bulletin = Bulletin {
            zone: ZoneId(u32::MAX),
            name: String::from("zone-42"),
            speaker: NodeId(u64::MAX),
            incarnation: 1_800_000_000,
            sequence: 8_640_000,
            table: u64::MAX,
            doors: (0..doors).map(door).collect(),
            lines: (0..lines).map(line).collect(),
            paths: (0..paths).map(path).collect(),
        };
        BULLETIN_HEADER_BYTES + bulletin.to_bytes().len() + BULLETIN_TAG_BYTES
    };
    let parts = |count: usize, max: usize| {
        (0..count.div_ceil(max)).map(move |part| max.min(count - part * max))
    };
    let abroad = parts(COMPONENTS, LINES_MAX).map(|lines| bulletin(DOORS_MAX, lines, 0));
    let near = parts(zones - 1, PATHS_MAX).map(|paths| bulletin(0, 0, paths));
    (abroad.collect(), near.collect())
}

/// What one node receives each second, and its zone's speaker sends.
fn of(nodes: usize, zone_nodes: usize) -> (Rate, Rate) {
    let zones = nodes.div_ceil(zone_nodes);
    let (mut received, mut spoken) = (Rate::default(), Rate::default());
    received.add(&[beacon()], BEACONS_PER_SECOND * (zone_nodes.min(nodes) - 1) as f64);
    spoken.add(&[beacon()], BEACONS_PER_SECOND);
    if zones > 1 {
        let (abroad, near) = bulletins(zones);
        let others = (zones - 1) as f64 * BULLETINS_PER_SECOND;
        received.add(&abroad, others);
        received.add(&near, BULLETINS_PER_SECOND);
        spoken.add(&abroad, others * DOORS_TOLD as f64);
        spoken.add(&near, BULLETINS_PER_SECOND);
    }
    (received, spoken)
}

/// The table of `docs/placement.md`.
pub fn table() -> String {
    let (abroad, _) = bulletins(2);
    let mut text = format!(
        "A beacon has {} bytes of payload; what a zone tells another one of {COMPONENTS} \
         components has {} in {} datagrams.\n\n",
        beacon(),
        abroad.iter().sum::<usize>(),
        abroad.len()
    );
    text += "| nodes | zones | packets/s received by a node | Mbit/s ";
    text += "| packets/s sent by a speaker | Mbit/s |\n";
    text += "|---|---|---|---|---|---|\n";
    for nodes in [4, 16, 100, 1000, 10_000] {
        for zone_nodes in [nodes, ZONE_NODES] {
            if zone_nodes == ZONE_NODES && nodes <= ZONE_NODES {
                continue;
            }
            let (received, spoken) = of(nodes, zone_nodes);
            let zones = nodes.div_ceil(zone_nodes);
            let _ =
                writeln!(text, "| {nodes} | {zones} | {} | {} |", received.told(), spoken.told());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, beacons or bulletins have grown, and large clusters pay for it.
    #[test]
    fn a_large_cluster_costs_a_node_little() {
        assert_eq!(beacon(), 48);
        let (abroad, _) = bulletins(100);
        assert!(abroad.iter().all(|bytes| *bytes <= 1200), "{abroad:?}");
        let (flat, _) = of(10_000, 10_000);
        let (zoned, spoken) = of(10_000, 100);
        assert!(zoned.packets < 1000.0 && zoned.packets * 50.0 < flat.packets, "{zoned:?}");
        assert!(zoned.bytes * 8.0 < 5e6 && spoken.bytes * 8.0 < 10e6, "{zoned:?} {spoken:?}");
    }
}
