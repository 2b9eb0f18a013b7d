//! What a core is told once: who it is, its limits, its intervals.

use izna_proto::{NodeId, Traits, ZoneId};

use crate::time::Duration;

/// The settings of a core. Limits end in `_max`; each is reached by a test.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Its count of restarts.
    pub incarnation: u64,
    /// Its zone.
    pub zone: ZoneId,
    /// The TCP port of its peer links, told in beacons.
    pub peer_port: u16,
    /// Steps that run at the same time: the usable cores, rounded up.
    pub cores: u16,
    /// Usable cores times speed, in thousandths.
    pub capacity_milli: u32,
    /// What components may ask of this node.
    pub traits: Traits,
    /// Where randomness comes from: equal seeds and inputs give equal outputs.
    pub seed: u64,

    /// Steps handed out to run and not yet sliced: one a core. The next one is handed out when one
    /// ends or is sliced, on the thread that ran it; what is not handed out can still move.
    pub slots_max: usize,
    /// Steps at all, with those that have used up a slice or wait for the host and so have given up
    /// their slot.
    pub sliced_max: usize,
    /// Whether each decision of placement is told as [`Note::Placed`](crate::Note::Placed).
    pub explains: bool,
    /// Processes held at all: running, queued, waiting for a node, on their way out.
    pub held_max: usize,
    /// Processes held beyond which a new one, of which nothing has run, is not taken.
    pub admit_max: usize,
    /// The expected wait beyond which a new process is not taken.
    pub admit_wait_max: Duration,
    /// Clients that wait for a reply at this node's gateway.
    pub waiting_max: usize,
    /// Migrations of one process, besides the few (`LEFT_MAX` of the protocol) that each of its
    /// steps allows it. A process that has reached it stays where it is.
    pub hops_max: u32,
    /// Steps of one process: what stops one that calls for ever.
    pub steps_max: u32,
    /// The bytes of one payload.
    pub payload_bytes_max: usize,
    /// The bytes of all payloads of one process.
    pub process_bytes_max: usize,
    /// Starts of one process by its gateway, the first included.
    pub attempts_max: u32,
    /// Deliveries remembered to tell a repeated one.
    pub recent_max: usize,
    /// Nodes in the view.
    pub peers_max: usize,
    /// Other zones that are known.
    pub zones_max: usize,
    /// Apps in the table, undeployed ones included.
    pub apps_max: usize,
    /// Components that this node takes in by itself.
    pub adopted_max: usize,
    /// Bytes of cluster memory kept here.
    pub memory_bytes_max: usize,
    /// The bytes of one value of cluster memory.
    pub memory_value_bytes_max: usize,
    /// Operations on cluster memory that wait for other nodes.
    pub memory_requests_max: usize,

    /// Between two beacons, give or take a tenth.
    pub beacon_interval: Duration,
    /// Between two bulletins of a zone.
    pub summary_interval: Duration,
    /// Without a beacon for this long a node is avoided.
    pub silent_after: Duration,
    /// Without a beacon for this long a node is probed.
    pub probe_after: Duration,
    /// Without an answer to a probe for this long a node is dead, and its link is closed.
    pub dead_after: Duration,
    /// Without any sign of life for this long a node is forgotten.
    pub forget_after: Duration,
    /// A node that owes an acknowledgement and gave none for this long is given nothing while there
    /// are others: 2 ms and two ways there and back.
    pub late_after: Duration,
    /// An unacknowledged delivery makes its target suspect after this long...
    pub suspect_after: Duration,
    /// ...and is drawn again after this long.
    pub acknowledge_timeout: Duration,
    /// Between two tellings to a gateway of which of its processes are held here.
    pub holding_interval: Duration,
    /// A process that nobody told its gateway of for this long is lost.
    pub lost_after: Duration,
    /// Between two tries to place a process that no node takes.
    pub retry_interval: Duration,
    /// How long a process waits for a node that holds its component.
    pub unplaced_max: Duration,
    /// How long an operation on cluster memory may take.
    pub memory_timeout: Duration,
    /// How long code of an old revision is kept for the processes that began with it.
    pub retain_revision: Duration,
    /// Between two looks at which components are to be adopted or given up.
    pub adoption_interval: Duration,
    /// How long the other holders must suffice before a component that was adopted is given up.
    pub unneeded_after: Duration,
    /// One way to a node of the own zone, for as long as it was not measured...
    pub hop_cost: Duration,
    /// ...and to another zone.
    pub zone_hop_cost: Duration,
    /// The processor time that a migration costs.
    pub move_cost: Duration,

    /// A deliberate defect, to test the tests.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<crate::Sabotage>,
}

impl Config {
    /// The defaults for a node.
    pub fn new(node: NodeId, incarnation: u64, cores: u16) -> Self {
        let millis = Duration::from_millis;
        Self {
            node,
            incarnation,
            zone: ZoneId::default(),
            peer_port: 0,
            cores,
            capacity_milli: u32::from(cores) * 1000,
            traits: Traits::default(),
            seed: node.0 ^ incarnation,
            slots_max: usize::from(cores),
            sliced_max: usize::from(cores) * 16,
            explains: false,
            held_max: 4096,
            admit_max: 2048,
            admit_wait_max: millis(500),
            waiting_max: 4096,
            hops_max: 64,
            steps_max: 100_000,
            payload_bytes_max: 4 << 20,
            process_bytes_max: 12 << 20,
            attempts_max: 4,
            recent_max: 16_384,
            peers_max: 1024,
            zones_max: 256,
            apps_max: 1024,
            adopted_max: 64,
            memory_bytes_max: 64 << 20,
            memory_value_bytes_max: 1 << 20,
            memory_requests_max: 4096,
            beacon_interval: millis(250),
            summary_interval: millis(1000),
            silent_after: millis(875),
            probe_after: millis(1000),
            dead_after: millis(1000),
            forget_after: millis(3_600_000),
            late_after: Duration::from_micros(2400),
            suspect_after: millis(20),
            acknowledge_timeout: millis(400),
            holding_interval: millis(100),
            lost_after: millis(600),
            retry_interval: millis(20),
            unplaced_max: millis(3000),
            memory_timeout: millis(250),
            retain_revision: millis(300_000),
            adoption_interval: millis(250),
            unneeded_after: millis(60_000),
            hop_cost: Duration::from_micros(100),
            zone_hop_cost: millis(1),
            move_cost: Duration::from_micros(30),
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }
}
