//! One value for every shape that crosses a wire.

use bytes::Bytes;
use izna_proto::{
    App, Beacon, Bulletin, Callee, ClusterId, ComponentCopy, ComponentDemand, ComponentId,
    ComponentSpec, Delivery, DeliveryId, Digest, Door, Entries, Failure, FailureKind, Finish,
    Grants, Grounds, Held, Hello, Home, Limits, Link, Load, MemoryAnswer, MemoryError,
    MemoryOperation, Message, Needs, NodeId, Outcome, PROTOCOL, Payload, PeerAddress, Process,
    ProcessId, Refusal, Rest, Route, SlotId, Spread, SummaryLine, TableEntry, Trail, Traits, Warm,
    Wire, ZoneId, ZonePath, pack,
};

/// A value with its name and the rule of `docs/protocol.md` that describes it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The name of its files under `vectors`.
    pub name: String,
    /// The CDDL rule that it matches.
    pub rule: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

/// One value for every shape that crosses a wire.
pub fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    add(&mut samples, "message", links());
    add(&mut samples, "message", tables());
    add(&mut samples, "message", memory());
    add(&mut samples, "message", adoption());
    add(&mut samples, "process", processes());
    add(&mut samples, "outcome", outcomes());
    add(&mut samples, "bulletin", bulletins());
    samples
}

fn add<T: Wire>(samples: &mut Vec<Sample>, rule: &'static str, values: Vec<(&str, T)>) {
    samples.extend(values.into_iter().map(|(name, value)| Sample {
        name: format!("{rule}-{name}"),
        rule,
        bytes: value.to_bytes(),
    }));
}

fn links() -> Vec<(&'static str, Message)> {
    let (delivery, load) = (DeliveryId(300), busy());
    let refused = |refusal| Message::Refused { delivery, load, refusal };
    let deliver =
        |process| Message::Deliver(Delivery { id: delivery, load, queue_moves: 1, process });
    let held = |slot, process| Held { slot: SlotId(slot), process: ProcessId(process) };
    let peer = |node, address: &str| {
        let address = address.parse().ok();
        address.map(|address| PeerAddress { node: NodeId(node), zone: ZoneId(0x5a), address })
    };
    let peers =
        [peer(1, "10.0.0.1:7400"), peer(2, "[2001:db8::1]:7400")].into_iter().flatten().collect();
    vec![
        ("hello", Message::Hello(hello())),
        ("deliver", deliver(started())),
        ("deliver-after-a-call", deliver(resumed(Ok(value().into())))),
        ("finish-result", finish(Ok(value().into()))),
        ("finish-failure", finish(Err(failure(FailureKind::Trapped)))),
        ("accepted", Message::Accepted { delivery, load, level_us: Some(2300) }),
        (
            "accepted-idle",
            Message::Accepted { delivery: DeliveryId(0), load: Load::default(), level_us: None },
        ),
        ("refused-full", refused(Refusal::Full)),
        ("refused-component", refused(Refusal::Component)),
        ("refused-draining", refused(Refusal::Draining)),
        ("refused-hops", refused(Refusal::Hops)),
        ("refused-revision", refused(Refusal::Revision)),
        ("holding-none", Message::Holding(Vec::new())),
        ("holding", Message::Holding(vec![held(7, PROCESS), held(u64::MAX, u128::MAX)])),
        ("probe", Message::Probe { load }),
        ("alive", Message::Alive { load }),
        ("alive-most", Message::Alive { load: most() }),
        ("pull", Message::Pull { load: Load { idle: 2, ..load } }),
        ("pulled", Message::Pulled { load, given: 3 }),
        ("pulled-nothing", Message::Pulled { load: Load::default(), given: 0 }),
        ("peers", Message::Peers(peers)),
    ]
}

fn tables() -> Vec<(&'static str, Message)> {
    let (digest, engine) = (digest(1), Some(digest(9)));
    let undeployed = TableEntry { name: "gone".into(), revision: 9, app: None };
    let artifact = |engine, offset, length, piece: &'static [u8]| Message::Artifact {
        digest,
        engine,
        offset,
        length,
        piece: Bytes::from_static(piece),
    };
    vec![
        ("ask-inventory", Message::AskInventory),
        ("inventory-empty", Message::Inventory { epoch: 0, table: 0, copies: Vec::new() }),
        (
            "inventory",
            Message::Inventory {
                epoch: u16::MAX,
                table: 0x0102_0304_0506_0708,
                copies: vec![deployed_copy(), adopted_copy()],
            },
        ),
        ("table-summary", Message::TableSummary(vec![("hello".into(), 3), ("gone".into(), 9)])),
        ("table-entries", Message::TableEntries(vec![deployed(), undeployed])),
        ("ask-artifact", Message::AskArtifact { digest, engine: None, offset: 1 << 20 }),
        ("ask-compiled", Message::AskArtifact { digest, engine, offset: 0 }),
        ("artifact", artifact(None, 1 << 20, (1 << 20) + 4, b"\0asm")),
        ("artifact-not-held", artifact(None, 0, 0, b"")),
        ("artifact-compiled", artifact(engine, 0, 4, b"\x7fELF")),
    ]
}

fn deployed_copy() -> ComponentCopy {
    ComponentCopy { component: ComponentId(0xc0de), adopted: None }
}

fn adopted_copy() -> ComponentCopy {
    ComponentCopy { component: ComponentId(u64::MAX), adopted: Some(grounds()) }
}

fn grounds() -> Grounds {
    Grounds {
        by: NodeId(0xa1),
        holders: 1,
        wait_us: 90_000,
        demand_us: 2000,
        inflow_milli: 3100,
        capacity_milli: 1000,
    }
}

fn adoption() -> Vec<(&'static str, Message)> {
    let component = ComponentId(0xc0de);
    let demand = ComponentDemand {
        component,
        inflow_milli: 980,
        refused_milli: 2120,
        demand_us: 2000,
        load_ms: 740,
    };
    let least = ComponentDemand {
        component: ComponentId(0),
        inflow_milli: 0,
        refused_milli: 0,
        demand_us: 0,
        load_ms: 0,
    };
    vec![
        ("demands", Message::Demands { load: busy(), demands: vec![demand, least] }),
        ("demands-none", Message::Demands { load: Load::default(), demands: Vec::new() }),
        ("adopt", Message::Adopt { component, grounds: grounds() }),
        ("adopt-least", Message::Adopt { component, grounds: Grounds::default() }),
        ("give-up", Message::GiveUp { component }),
    ]
}

fn memory() -> Vec<(&'static str, Message)> {
    let key = Bytes::from_static(b"hello\0visits");
    let ask = |operation| Message::Memory { request: 5, key: key.clone(), operation };
    let answer = |answer: MemoryAnswer| Message::MemoryAnswer { request: 5, answer };
    vec![
        ("memory-get", ask(MemoryOperation::Get)),
        ("memory-put", ask(MemoryOperation::Put(value()))),
        ("memory-remove", ask(MemoryOperation::Remove)),
        ("memory-answer-value", answer(Ok(Some(value())))),
        ("memory-answer-none", answer(Ok(None))),
        ("memory-answer-too-large", answer(Err(MemoryError::TooLarge { max: 65_536 }))),
        ("memory-answer-unavailable", answer(Err(MemoryError::Unavailable))),
    ]
}

fn processes() -> Vec<(&'static str, Process)> {
    let mut deep = started();
    deep.entries = chain(&[["front"; 24].as_slice(), &["leaf"]].concat());
    let mut forwarded = called();
    let _ = forwarded.entries.forward(callee("greeter-in-german"));
    let bare = Process {
        id: ProcessId(0),
        app: "".into(),
        revision: 0,
        attempt: 0,
        hops: 0,
        steps: 0,
        age_us: 0,
        budget_us: 0,
        home: Home { node: NodeId(0), incarnation: 0, slot: SlotId(0) },
        traceparent: None,
        trail: Trail::default(),
        entries: Entries::new(Callee {
            component: "".into(),
            digest: Digest([0; 32]),
            function: "".into(),
            input: Payload::default(),
        }),
        left: Vec::new(),
        rest: Rest::default(),
    };
    vec![
        ("bare", bare),
        ("start", started()),
        ("waiting", called()),
        ("resume", resumed(Ok(value().into()))),
        ("resume-after-a-failure", resumed(Err(failure(FailureKind::Deadline)))),
        ("deep", deep),
        ("forwarded", forwarded),
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let failed = |kind| Err(failure(kind));
    vec![
        ("result", Ok(value().into())),
        ("failed", failed(FailureKind::Failed)),
        ("trapped", failed(FailureKind::Trapped)),
        ("limit", failed(FailureKind::Limit)),
        ("invalid", failed(FailureKind::Invalid)),
        ("not-found", failed(FailureKind::NotFound)),
        ("deadline", failed(FailureKind::Deadline)),
        ("unavailable", failed(FailureKind::Unavailable)),
        ("busy", failed(FailureKind::Busy)),
        ("other", failed(FailureKind::Other)),
    ]
}

/// Beacons are no CBOR: their bytes are in `datagram.json`.
pub fn beacon() -> Beacon {
    let load = Load { at_us: 0x0102_0304_0500, ..busy() };
    Beacon {
        zone: ZoneId(0x0000_005a),
        node: NodeId(0x0102_0304_0506_0708),
        incarnation: 0x6a11_2233,
        sequence: Beacon::sequence_at(load.at_us),
        peer_port: 7401,
        load,
        epoch: 0xabcd,
    }
}

fn bulletins() -> Vec<(&'static str, Bulletin)> {
    let door = |node, address: &str| Door {
        node: NodeId(node),
        capacity_milli: 4000,
        address: address.parse().ok(),
    };
    let line = SummaryLine {
        component: ComponentId(0x0102_0304_0506_0708).key(),
        doors: 0b01,
        idle: 12,
        capacity: pack(48_000),
        wait: pack(1500),
        speed: pack(1250),
    };
    let path = ZonePath { zone: ZoneId(0x5b), round_trip: pack(4100), rate: pack(12_500) };
    let bare = Bulletin {
        zone: ZoneId::default(),
        name: String::new(),
        speaker: NodeId(0),
        incarnation: 0,
        sequence: 0,
        table: 0,
        doors: Vec::new(),
        lines: Vec::new(),
        paths: Vec::new(),
    };
    let full = Bulletin {
        name: "east".into(),
        speaker: NodeId(1),
        incarnation: 3,
        sequence: 86_400,
        table: 0x0102_0304_0506_0708,
        doors: vec![door(1, "10.0.0.1:7400"), door(2, "")],
        lines: vec![line],
        ..bare.clone()
    };
    let near = Bulletin { paths: vec![path], ..bare.clone() };
    vec![("bare", bare), ("full", full), ("near", near)]
}

const PROCESS: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0001;

fn digest(first: u8) -> Digest {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(first..).for_each(|(byte, value)| *byte = value);
    Digest(bytes)
}

fn busy() -> Load {
    Load {
        at_us: 86_400_000_000,
        wait_us: 1500,
        idle: 0,
        capacity_milli: 4000,
        speed_milli: 1000,
        queued: 12,
        inflow_milli: 3650,
        cpu_permille: 930,
        memory_permille: 410,
        network_permille: 20,
        accepting: true,
    }
}

fn most() -> Load {
    Load {
        at_us: u64::MAX,
        wait_us: u32::MAX,
        idle: u16::MAX,
        capacity_milli: u32::MAX,
        speed_milli: u32::MAX,
        queued: u32::MAX,
        inflow_milli: u32::MAX,
        cpu_permille: u16::MAX,
        memory_permille: u16::MAX,
        network_permille: u16::MAX,
        accepting: false,
    }
}

fn home() -> Home {
    Home { node: NodeId(0xa1), incarnation: 4, slot: SlotId(77) }
}

/// The CBOR of `["Ada"]`.
fn arguments() -> Payload {
    Payload::from(b"\x81\x63Ada")
}

/// The CBOR of `"Hello, Ada"`.
fn value() -> Bytes {
    Bytes::from_static(b"\x6aHello, Ada")
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "greeter: no greeting for “Ada”")
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        cluster: ClusterId(0xc1),
        node: NodeId(0xa1),
        incarnation: 4,
        name: "node-1".into(),
        peer_port: 7401,
        traits: Traits { zone: Some("north".into()), labels: vec!["gpu".into(), "ssd".into()] },
        advertise: "192.0.2.7:7401".parse().ok(),
        features: vec!["fork".into()],
    }
}

fn callee(component: &str) -> Callee {
    Callee {
        component: component.into(),
        digest: digest(1),
        function: "greet".into(),
        input: arguments(),
    }
}

/// A chain of calls whose callers wait at a node as they stand.
fn chain(components: &[&str]) -> Entries {
    let mut callees = components.iter().map(|component| callee(component));
    let mut entries = Entries::new(callees.next().unwrap_or_else(|| callee("")));
    for callee in callees {
        if let Some(entry) = entries.active_mut() {
            entry.warm = Some(Warm { node: NodeId(0xa2), replay_us: 250 });
        }
        let _ = entries.call(callee, (&[0x01]).into());
    }
    entries
}

fn started() -> Process {
    Process {
        id: ProcessId(PROCESS),
        app: "hello".into(),
        revision: 3,
        attempt: 0,
        hops: 1,
        steps: 0,
        age_us: 250,
        budget_us: 5_000_000,
        home: home(),
        traceparent: None,
        trail: Trail::default(),
        entries: Entries::new(callee("greeter")),
        left: vec![NodeId(0xa1)],
        rest: Rest::default(),
    }
}

fn trail(nodes: &[NodeId]) -> Trail {
    Trail { nodes: nodes.to_vec(), queued_us: 1_200, ran_us: 4_096, waited_us: 70_000 }
}

/// A process whose first entry waits for its second.
fn called() -> Process {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    Process {
        steps: 1,
        hops: 2,
        traceparent: Some(trace.into()),
        trail: trail(&[NodeId(0xa1)]),
        entries: chain(&["front", "greeter"]),
        left: Vec::new(),
        ..started()
    }
}

fn resumed(outcome: Outcome) -> Process {
    let mut process = called();
    process.steps = 2;
    process.trail = trail(&[NodeId(0xa1), NodeId(0xa2)]);
    let _ = process.entries.end(outcome);
    process
}

fn finish(outcome: Outcome) -> Message {
    Message::Finish(Finish {
        id: DeliveryId(301),
        load: busy(),
        process: ProcessId(PROCESS),
        home: home(),
        outcome,
        trail: trail(&[NodeId(0xa1), NodeId(0xa2)]),
    })
}

fn deployed() -> TableEntry {
    let pair = |name: &str, value: &str| vec![(name.into(), value.into())];
    let granted = Grants {
        env: pair("GREETING", "hello"),
        config: pair("ttl", "60"),
        hosts: vec!["https://api.example.com".into()],
    };
    let component = |name: &str, links, grants: Grants, spread| ComponentSpec {
        name: name.into(),
        digest: digest(1),
        links,
        limits: Limits::default(),
        grants: grants.into(),
        spread,
    };
    let link = Link { name: "greeter".into(), target: "greeter-in-german".into(), local: true };
    let nodes = Spread {
        added: vec![NodeId(0xa3)],
        removed: vec![NodeId(0xa2)],
        needs: Needs { zone: Some("north".into()), labels: vec!["gpu".into()] },
        adopts: false,
        ..Spread::nodes(vec![NodeId(0xa1), NodeId(0xa2)])
    };
    let app = App {
        name: "hello".into(),
        components: vec![
            component("front", vec![link], granted, Spread::all()),
            component("greeter-in-german", Vec::new(), Grants::default(), nodes),
        ],
        routes: vec![Route {
            path: "/hello/{name}".into(),
            component: "front".into(),
            function: "handle".into(),
            deadline_ms: 5000,
            idempotent: true,
            methods: Vec::new(),
        }],
    };
    TableEntry { name: "hello".into(), revision: 3, app: Some(app) }
}
