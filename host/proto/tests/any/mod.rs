//! Strategies for every type on the wire: any value that its decoder should take.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use izna_proto::{
    App, Bulletin, Callee, ClusterId, ComponentCopy, ComponentDemand, ComponentId, ComponentSpec,
    DOORS_MAX, Delivery, DeliveryId, Digest, Door, Entries, Failure, FailureKind, Finish, Grants,
    Grounds, Held, Hello, Home, LEFT_MAX, LINES_MAX, Limits, Link, Load, MemoryAnswer, MemoryError,
    MemoryOperation, Message, Needs, NodeId, Outcome, PATHS_MAX, PeerAddress, Process, ProcessId,
    Refusal, Rest, Route, SlotId, Spread, State, SummaryLine, TableEntry, Trail, Traits, Warm,
    ZoneId, ZonePath,
};
use proptest::{collection::vec, option, prelude::*};

fn name() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => vec(any::<u8>(), 200..300).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![7; 70_000])),
    ]
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

fn process_id() -> impl Strategy<Value = ProcessId> {
    any::<u128>().prop_map(ProcessId)
}

fn delivery_id() -> impl Strategy<Value = DeliveryId> {
    any::<u64>().prop_map(DeliveryId)
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub(crate) fn load() -> impl Strategy<Value = Load> {
    let small = (any::<u16>(), any::<u16>(), any::<u16>(), any::<u16>(), any::<bool>());
    let work = (any::<u32>(), any::<u32>(), any::<u32>());
    (any::<u64>(), (any::<u32>(), any::<u32>()), work, small).prop_map(
        |(at_us, (wait_us, queued), (capacity_milli, speed_milli, inflow_milli), small)| {
            let (idle, cpu, memory, network, accepting) = small;
            Load {
                at_us,
                wait_us,
                idle,
                capacity_milli,
                speed_milli,
                queued,
                inflow_milli,
                cpu_permille: cpu,
                memory_permille: memory,
                network_permille: network,
                accepting,
            }
        },
    )
}

fn zone() -> impl Strategy<Value = ZoneId> {
    any::<u32>().prop_map(ZoneId)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn door() -> impl Strategy<Value = Door> {
    (node(), any::<u32>(), option::of(address())).prop_map(|(node, capacity_milli, address)| Door {
        node,
        capacity_milli,
        address,
    })
}

fn summary() -> impl Strategy<Value = SummaryLine> {
    (any::<u32>(), any::<u8>(), any::<[u16; 4]>()).prop_map(|(component, doors, figures)| {
        let [idle, capacity, wait, speed] = figures;
        SummaryLine { component, doors, idle, capacity, wait, speed }
    })
}

fn path() -> impl Strategy<Value = ZonePath> {
    (zone(), any::<u16>(), any::<u16>()).prop_map(|(zone, round_trip, rate)| ZonePath {
        zone,
        round_trip,
        rate,
    })
}

/// The zone of a bulletin is not among its bytes.
pub(crate) fn bulletin() -> impl Strategy<Value = Bulletin> {
    let lists =
        (vec(door(), 0..=DOORS_MAX), vec(summary(), 0..=LINES_MAX), vec(path(), 0..=PATHS_MAX));
    let counts = (any::<u64>(), any::<u64>(), any::<u64>());
    ("[a-z]{0,32}", node(), counts, lists).prop_map(
        |(name, speaker, (incarnation, sequence, table), (doors, lines, paths))| Bulletin {
            zone: ZoneId::default(),
            name,
            speaker,
            incarnation,
            sequence,
            table,
            doors,
            lines,
            paths,
        },
    )
}

fn failure_kind() -> impl Strategy<Value = FailureKind> {
    prop_oneof![
        Just(FailureKind::Failed),
        Just(FailureKind::Trapped),
        Just(FailureKind::Limit),
        Just(FailureKind::Invalid),
        Just(FailureKind::NotFound),
        Just(FailureKind::Deadline),
        Just(FailureKind::Unavailable),
        Just(FailureKind::Busy),
        Just(FailureKind::Other),
    ]
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        payload().prop_map(|result| Ok(result.into())),
        (failure_kind(), "\\PC{0,40}").prop_map(|(kind, text)| Err(Failure::new(kind, text))),
    ]
}

pub(crate) fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        payload().prop_map(|input| State::Start { input: input.into() }),
        payload().prop_map(|kept| State::Waiting { continuation: kept.into() }),
        (payload(), outcome())
            .prop_map(|(kept, outcome)| State::Resume { continuation: kept.into(), outcome }),
    ]
}

fn callee() -> impl Strategy<Value = Callee> {
    (name(), digest(), name(), payload()).prop_map(|(component, digest, function, input)| Callee {
        component,
        digest,
        function,
        input: input.into(),
    })
}

/// What is done with entries.
#[derive(Debug, Clone)]
enum Deed {
    Call(Callee, Bytes, Option<Warm>),
    Forward(Callee),
    Refuse(Bytes, Outcome),
    End(Outcome),
}

/// Entries as they become by calls and ends.
pub(crate) fn entries() -> impl Strategy<Value = Entries> {
    let warm = (node(), any::<u32>()).prop_map(|(node, replay_us)| Warm { node, replay_us });
    let deed = prop_oneof![
        4 => (callee(), payload(), option::of(warm)).prop_map(|(c, p, w)| Deed::Call(c, p, w)),
        1 => callee().prop_map(Deed::Forward),
        1 => (payload(), outcome()).prop_map(|(kept, outcome)| Deed::Refuse(kept, outcome)),
        1 => outcome().prop_map(Deed::End),
    ];
    let deeds = prop_oneof![9 => vec(deed.clone(), 0..6), 1 => vec(deed, 100)];
    (callee(), deeds).prop_map(|(first, deeds)| {
        let mut entries = Entries::new(first);
        for deed in deeds {
            let done = match deed {
                Deed::Call(..) if entries.are_full() => Ok(()),
                Deed::Call(callee, kept, warm) => {
                    entries.active_mut().into_iter().for_each(|entry| entry.warm = warm);
                    entries.call(callee, kept.into())
                }
                Deed::Forward(callee) => entries.forward(callee),
                Deed::Refuse(kept, outcome) => entries.refuse_call(kept.into(), outcome),
                Deed::End(outcome) => entries.end(outcome).map(|_| ()),
            };
            assert_eq!(done, Ok(()), "entries that a node makes fit together");
        }
        entries
    })
}

pub(crate) fn home() -> impl Strategy<Value = Home> {
    (node(), any::<u64>(), any::<u64>()).prop_map(|(node, incarnation, slot)| Home {
        node,
        incarnation,
        slot: SlotId(slot),
    })
}

pub(crate) fn trail() -> impl Strategy<Value = Trail> {
    (vec(node(), 0..=64), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(nodes, queued_us, ran_us, waited_us)| Trail { nodes, queued_us, ran_us, waited_us },
    )
}

pub(crate) fn process() -> impl Strategy<Value = Process> {
    let counts = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>());
    let rest = (any::<u64>(), any::<u64>(), option::of(name()), trail(), vec(node(), 0..=LEFT_MAX));
    (process_id(), name(), home(), counts, rest, entries()).prop_map(
        |(id, app, home, (revision, attempt, hops, steps), rest, entries)| {
            let (age_us, budget_us, traceparent, trail, left) = rest;
            Process {
                id,
                app,
                revision,
                attempt,
                hops,
                steps,
                age_us,
                budget_us,
                home,
                traceparent,
                trail,
                entries,
                left,
                rest: Rest::default(),
            }
        },
    )
}

pub(crate) fn grants() -> impl Strategy<Value = Grants> {
    let pairs = || vec(("\\PC{0,10}", "\\PC{0,30}"), 0..3);
    (pairs(), pairs(), vec("\\PC{0,20}", 0..3)).prop_map(|(env, config, hosts)| Grants {
        env,
        config,
        hosts,
    })
}

pub(crate) fn component() -> impl Strategy<Value = ComponentSpec> {
    let limits = (any::<u64>(), any::<u32>());
    let link = (name(), name(), any::<bool>());
    let link = link.prop_map(|(name, target, local)| Link { name, target, local });
    (name(), digest(), vec(link, 0..4), limits, grants(), spread()).prop_map(
        |(name, digest, links, (memory_bytes_max, cpu_ms_max), grants, spread)| ComponentSpec {
            name,
            digest,
            links,
            limits: Limits { memory_bytes_max, cpu_ms_max },
            grants: grants.into(),
            spread,
        },
    )
}

fn label() -> impl Strategy<Value = Arc<str>> {
    "[a-z0-9-]{0,64}".prop_map(Arc::from)
}

fn spread() -> impl Strategy<Value = Spread> {
    let nodes = || vec(node(), 0..4);
    let needs = (option::of(label()), vec(label(), 0..4));
    (option::of(nodes()), nodes(), nodes(), needs, any::<bool>()).prop_map(
        |(nodes, added, removed, (zone, labels), adopts)| {
            let needs = Needs { zone, labels };
            Spread { nodes, added, removed, needs, adopts }
        },
    )
}

pub(crate) fn route() -> impl Strategy<Value = Route> {
    let methods = vec("[A-Z]{1,8}".prop_map(Arc::from), 0..3);
    ("\\PC{0,30}", name(), name(), any::<u32>(), any::<bool>(), methods).prop_map(
        |(path, component, function, deadline_ms, idempotent, methods)| Route {
            path,
            component,
            function,
            deadline_ms,
            idempotent,
            methods,
        },
    )
}

pub(crate) fn table_entry() -> impl Strategy<Value = TableEntry> {
    let app = option::of((vec(component(), 0..4), vec(route(), 0..4)));
    (name(), any::<u64>(), app).prop_map(|(name, revision, app)| TableEntry {
        app: app.map(|(components, routes)| App { name: name.clone(), components, routes }),
        name,
        revision,
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let traits = (option::of(label()), vec(label(), 0..4));
    let who = (any::<u16>(), any::<u64>(), node(), any::<u64>());
    let rest =
        (option::of(address()), vec(label().prop_map(|l| l[..l.len().min(32)].into()), 0..4));
    (who, "[a-z0-9-]{0,64}", any::<u16>(), traits, rest).prop_map(
        |((protocol, cluster, node, incarnation), name, peer_port, (zone, labels), rest)| {
            let (advertise, features) = rest;
            Hello {
                protocol,
                cluster: ClusterId(cluster),
                node,
                incarnation,
                name,
                peer_port,
                traits: Traits { zone, labels },
                advertise,
                features,
            }
        },
    )
}

pub(crate) fn finish() -> impl Strategy<Value = Finish> {
    (delivery_id(), load(), process_id(), home(), outcome(), trail()).prop_map(
        |(id, load, process, home, outcome, trail)| Finish {
            id,
            load,
            process,
            home,
            outcome,
            trail,
        },
    )
}

pub(crate) fn held() -> impl Strategy<Value = Held> {
    (any::<u64>(), process_id()).prop_map(|(slot, process)| Held { slot: SlotId(slot), process })
}

pub(crate) fn peer_address() -> impl Strategy<Value = PeerAddress> {
    (node(), zone(), address()).prop_map(|(node, zone, address)| PeerAddress {
        node,
        zone,
        address,
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::Full),
        Just(Refusal::Component),
        Just(Refusal::Draining),
        Just(Refusal::Hops),
        Just(Refusal::Revision),
    ]
}

fn operation() -> impl Strategy<Value = MemoryOperation> {
    prop_oneof![
        Just(MemoryOperation::Get),
        payload().prop_map(MemoryOperation::Put),
        Just(MemoryOperation::Remove),
    ]
}

fn answer() -> impl Strategy<Value = MemoryAnswer> {
    prop_oneof![
        option::of(payload()).prop_map(Ok),
        any::<u64>().prop_map(|max| Err(MemoryError::TooLarge { max })),
        Just(Err(MemoryError::Unavailable)),
    ]
}

fn component_id() -> impl Strategy<Value = ComponentId> {
    any::<u64>().prop_map(ComponentId)
}

fn grounds() -> impl Strategy<Value = Grounds> {
    (node(), any::<[u32; 5]>()).prop_map(
        |(by, [holders, wait_us, demand_us, inflow_milli, capacity_milli])| Grounds {
            by,
            holders,
            wait_us,
            demand_us,
            inflow_milli,
            capacity_milli,
        },
    )
}

fn copy() -> impl Strategy<Value = ComponentCopy> {
    (component_id(), option::of(grounds()))
        .prop_map(|(component, adopted)| ComponentCopy { component, adopted })
}

fn demand() -> impl Strategy<Value = ComponentDemand> {
    (component_id(), any::<[u32; 4]>()).prop_map(
        |(component, [inflow_milli, refused_milli, demand_us, load_ms])| ComponentDemand {
            component,
            inflow_milli,
            refused_milli,
            demand_us,
            load_ms,
        },
    )
}

pub(crate) fn delivery() -> impl Strategy<Value = Delivery> {
    (delivery_id(), load(), any::<u8>(), process())
        .prop_map(|(id, load, queue_moves, process)| Delivery { id, load, queue_moves, process })
}

/// A message of any sort.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let links =
        prop_oneof![
            hello().prop_map(Message::Hello),
            delivery().prop_map(Message::Deliver),
            finish().prop_map(Message::Finish),
            (delivery_id(), load(), option::of(any::<u32>())).prop_map(
                |(delivery, load, level_us)| Message::Accepted { delivery, load, level_us }
            ),
            (delivery_id(), load(), refusal())
                .prop_map(|(delivery, load, refusal)| Message::Refused { delivery, load, refusal }),
            load().prop_map(|load| Message::Probe { load }),
            load().prop_map(|load| Message::Alive { load }),
            load().prop_map(|load| Message::Pull { load }),
            (load(), any::<u16>()).prop_map(|(load, given)| Message::Pulled { load, given }),
            vec(held(), 0..20).prop_map(Message::Holding),
            vec(peer_address(), 0..20).prop_map(Message::Peers),
        ];
    let tables = prop_oneof![
        Just(Message::AskInventory),
        (any::<u16>(), any::<u64>(), vec(copy(), 0..20))
            .prop_map(|(epoch, table, copies)| Message::Inventory { epoch, table, copies }),
        vec((name(), any::<u64>()), 0..20).prop_map(Message::TableSummary),
        vec(table_entry(), 0..4).prop_map(Message::TableEntries),
        (digest(), option::of(digest()), any::<u64>())
            .prop_map(|(digest, engine, offset)| Message::AskArtifact { digest, engine, offset }),
        (digest(), option::of(digest()), any::<u64>(), any::<u64>(), payload()).prop_map(
            |(digest, engine, offset, length, piece)| Message::Artifact {
                digest,
                engine,
                offset,
                length,
                piece
            }
        ),
    ];
    let adoption = prop_oneof![
        (load(), vec(demand(), 0..20))
            .prop_map(|(load, demands)| Message::Demands { load, demands }),
        (component_id(), grounds())
            .prop_map(|(component, grounds)| Message::Adopt { component, grounds }),
        component_id().prop_map(|component| Message::GiveUp { component }),
    ];
    let memory = prop_oneof![
        (any::<u64>(), vec(any::<u8>(), 0..60), operation()).prop_map(
            |(request, key, operation)| Message::Memory {
                request,
                key: Bytes::from(key),
                operation
            }
        ),
        (any::<u64>(), answer())
            .prop_map(|(request, answer)| Message::MemoryAnswer { request, answer }),
    ];
    prop_oneof![10 => links, 6 => tables, 2 => memory, 3 => adoption]
}
