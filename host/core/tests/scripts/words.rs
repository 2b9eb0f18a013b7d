//! The words of a script's line, and what is written with them.

use std::sync::Arc;

use bytes::Bytes;
use izna_core::Duration;
use izna_proto::{
    Bulletin, Callee, ComponentCopy, ComponentDemand, ComponentId, ComponentSpec, Delivery,
    DeliveryId, Digest, Door, Entries, Failure, FailureKind, Finish, Grounds, Held, Home, Limits,
    Link, Load, MemoryError, MemoryOperation, Message, Needs, NodeId, Process, ProcessId, Refusal,
    Rest, SlotId, Spread, SummaryLine, TableEntry, Trail, Traits, Warm, ZoneId, pack,
};

use crate::machine::{app, idle_load};

/// The words of a line that are yet to be read.
pub(crate) struct Words<'a> {
    words: Vec<&'a str>,
}

/// The code of a component: `a` is one build of it, `a2` another.
pub(crate) fn digest(name: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes[0] = name.as_bytes()[0];
    bytes[1] = name.as_bytes().get(1).copied().unwrap_or(0);
    Digest(bytes)
}

/// `north/gpu`, `/gpu` or `north`: a zone and labels.
fn traits(word: &str) -> Traits {
    let mut words = word.split('/').map(Arc::<str>::from);
    let zone = words.next().filter(|zone| !zone.is_empty());
    Traits { zone, labels: words.collect() }
}

fn spread_of(word: &str) -> Spread {
    let (names, needs) = word.split_once('!').unwrap_or((word, ""));
    let Traits { zone, labels } = traits(needs);
    let spread = if names == "all" { Spread::all() } else { Spread::nodes(nodes(names)) };
    Spread { needs: Needs { zone, labels }, ..spread }
}

/// `a`, `a2`, `b=a` or `a*`: a component of app `app`, another build of it, another of the same
/// code, an adopted one.
pub(crate) fn copy(word: &str) -> ComponentCopy {
    let (name, build) = match word.trim_end_matches('*') {
        word if word.contains('=') => word.split_once('=').unwrap(),
        build => (build.get(..1).unwrap(), build),
    };
    let grounds = Grounds { by: NodeId(2), holders: 1, ..Grounds::default() };
    ComponentCopy {
        component: ComponentId::of("app", name, &digest(build)),
        adopted: word.ends_with('*').then_some(grounds),
    }
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { words: line.split_whitespace().collect() }
    }

    pub(crate) fn peek(&self) -> &'a str {
        self.words.first().copied().unwrap_or_default()
    }

    pub(crate) fn next(&mut self) -> &'a str {
        assert!(!self.words.is_empty(), "the line ends too early");
        self.words.remove(0)
    }

    pub(crate) fn number(&mut self) -> u64 {
        let word = self.next();
        word.trim_start_matches('#').parse().unwrap_or_else(|_| panic!("not a number: {word}"))
    }

    /// The number after `name`, wherever it stands.
    pub(crate) fn option(&mut self, name: &str) -> Option<u64> {
        let at = self.words.iter().position(|word| *word == name)?;
        self.words.remove(at);
        Some(self.words.remove(at).parse().unwrap())
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| *word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    pub(crate) fn node(&mut self) -> NodeId {
        NodeId(self.number())
    }

    fn nodes(&mut self, name: &str) -> Vec<NodeId> {
        let Some(at) = self.words.iter().position(|word| *word == name) else { return Vec::new() };
        self.words.remove(at);
        nodes(self.words.remove(at))
    }

    pub(crate) fn digest(&mut self) -> Digest {
        digest(self.next())
    }

    /// `a,b2,c*`: components of app `app`, some of another build, some adopted.
    pub(crate) fn components(&mut self) -> Vec<ComponentCopy> {
        self.next().split(',').filter(|name| *name != "-").map(copy).collect()
    }

    /// One of them.
    pub(crate) fn component(&mut self) -> ComponentId {
        copy(self.next()).component
    }

    fn demand(&mut self) -> ComponentDemand {
        let number =
            |words: &mut Self, name: &str| u32::try_from(words.option(name).unwrap_or(0)).unwrap();
        ComponentDemand {
            component: self.component(),
            inflow_milli: number(self, "inflow"),
            refused_milli: number(self, "refused"),
            demand_us: number(self, "demand"),
            load_ms: number(self, "cost"),
        }
    }

    pub(crate) fn traits(&mut self) -> Traits {
        let Some(at) = self.words.iter().position(|word| *word == "traits") else {
            return Traits::default();
        };
        self.words.remove(at);
        traits(self.words.remove(at))
    }

    /// `a.f`: a component and a function.
    pub(crate) fn call(&mut self) -> (Arc<str>, Arc<str>) {
        let (component, function) = self.next().split_once('.').expect("component.function");
        (Arc::from(component), Arc::from(function))
    }

    /// A word, or so many bytes.
    pub(crate) fn payload(&mut self) -> Bytes {
        if let Some(bytes) = self.option("bytes") {
            return Bytes::from(vec![b'x'; bytes as usize]);
        }
        if self.words.is_empty() {
            return Bytes::from_static(b"in");
        }
        Bytes::copy_from_slice(self.next().as_bytes())
    }

    pub(crate) fn load(&mut self) -> Load {
        let wait_us = self.option("wait").unwrap_or(0);
        let idle = self.option("idle").unwrap_or(u64::from(wait_us == 0));
        Load {
            wait_us: u32::try_from(wait_us).unwrap(),
            idle: u16::try_from(idle).unwrap(),
            at_us: self.option("at").unwrap_or(0),
            inflow_milli: u32::try_from(self.option("busy").unwrap_or(0)).unwrap(),
            memory_permille: u16::try_from(self.option("memory").unwrap_or(0)).unwrap(),
            speed_milli: u32::try_from(self.option("speed").unwrap_or(0)).unwrap(),
            accepting: !self.flag("closed"),
            ..idle_load()
        }
    }

    /// `app a@all b@1,2 c=c2@all d!@all e@1!zone/label`: a name, and components with the nodes that
    /// hold them, and what a node must be.
    pub(crate) fn app(&mut self) -> izna_proto::App {
        let name = self.next();
        let specs: Vec<&str> = std::mem::take(&mut self.words);
        let names: Vec<&str> = specs.iter().map(|spec| split(spec).0).collect();
        // Links to a name with `!` are local.
        let link = |name: &&str| {
            let (name, local) = name.strip_suffix('!').map_or((*name, false), |name| (name, true));
            Link { name: Arc::from(name), target: Arc::from(name), local }
        };
        let links: Vec<Link> = names.iter().map(link).collect();
        let components = specs.iter().map(|spec| {
            let (name, build, spread) = split(spec);
            let (name, build) = (name.trim_end_matches('!'), build.trim_end_matches('!'));
            ComponentSpec {
                name: Arc::from(name),
                digest: digest(build),
                links: links.clone(),
                limits: Limits::default(),
                grants: Arc::default(),
                spread: spread_of(spread),
            }
        });
        app(name, components.collect())
    }

    /// `app@2 a@all ..`, or `app@2 gone`.
    pub(crate) fn table_entries(&mut self) -> Vec<TableEntry> {
        let (name, revision) = self.next().split_once('@').expect("name@revision");
        let gone = self.flag("gone");
        self.words.insert(0, name);
        let app = self.app();
        let entry = TableEntry {
            name: Arc::from(name),
            revision: revision.parse().unwrap(),
            app: (!gone).then_some(app),
        };
        vec![entry]
    }

    pub(crate) fn operation(&mut self) -> MemoryOperation {
        match self.next() {
            "get" => MemoryOperation::Get,
            "remove" => MemoryOperation::Remove,
            "put" => MemoryOperation::Put(self.payload()),
            other => panic!("no such operation: {other}"),
        }
    }

    /// `told 5 doors 7,8 holds 7 component a idle 3 wait 0`: what zone 5 tells, by its node 7.
    pub(crate) fn bulletin(&mut self, sequence: u64) -> Bulletin {
        let (doors, holds) = (self.nodes("doors"), self.nodes("holds"));
        let mut held = 0;
        for (nth, door) in doors.iter().enumerate() {
            held |= u8::from(holds.contains(door)) << nth;
        }
        let (idle, wait) = (self.option("idle").unwrap_or(0), self.option("wait").unwrap_or(0));
        let table = self.option("table").unwrap_or(0);
        let zone = ZoneId(u32::try_from(self.number()).unwrap());
        let line = (!self.words.is_empty()).then(|| SummaryLine {
            component: self.component().key(),
            doors: held,
            idle: u16::try_from(idle).unwrap(),
            capacity: pack(8000),
            wait: pack(u32::try_from(wait).unwrap()),
            speed: pack(1000),
        });
        let speaker = doors.first().copied().unwrap_or_default();
        let door = |node: &NodeId| Door { node: *node, capacity_milli: 4000, address: None };
        Bulletin {
            zone,
            name: String::from("far"),
            speaker,
            incarnation: 1,
            sequence,
            table,
            doors: doors.iter().map(door).collect(),
            lines: line.into_iter().collect(),
            paths: Vec::new(),
        }
    }

    pub(crate) fn message(&mut self) -> Message {
        match self.next() {
            "deliver" => Message::Deliver(self.delivery()),
            "finish" => Message::Finish(self.finish()),
            "accepted" => Message::Accepted {
                delivery: own(self.number()),
                level_us: self.option("level").map(|level| u32::try_from(level).unwrap()),
                load: self.load(),
            },
            "refused" => Message::Refused {
                delivery: own(self.number()),
                refusal: match self.next() {
                    "full" => Refusal::Full,
                    "component" => Refusal::Component,
                    "draining" => Refusal::Draining,
                    "hops" => Refusal::Hops,
                    "revision" => Refusal::Revision,
                    other => panic!("no such refusal: {other}"),
                },
                load: self.load(),
            },
            "holding" => {
                let processes = self.next().split(',').map(|word| word.parse::<u64>().unwrap());
                let held = |process: u64| Held {
                    slot: SlotId(process),
                    process: ProcessId(u128::from(process)),
                };
                Message::Holding(processes.map(held).collect())
            }
            "ask-inventory" => Message::AskInventory,
            "inventory" => {
                let table = self.option("table").unwrap_or(0);
                let epoch = u16::try_from(table).unwrap();
                Message::Inventory { epoch, table, copies: self.components() }
            }
            "table-summary" => Message::TableSummary(self.summary()),
            "table-entries" => Message::TableEntries(self.table_entries()),
            "memory" => Message::Memory {
                request: self.number(),
                key: Bytes::copy_from_slice(self.next().as_bytes()),
                operation: self.operation(),
            },
            "memory-answer" => Message::MemoryAnswer {
                request: own(self.number()).0,
                answer: match self.next() {
                    "none" => Ok(None),
                    "unavailable" => Err(MemoryError::Unavailable),
                    value => Ok(Some(Bytes::copy_from_slice(value.as_bytes()))),
                },
            },
            "probe" => Message::Probe { load: self.load() },
            "alive" => Message::Alive { load: self.load() },
            "demands" => {
                let demands = vec![self.demand()];
                Message::Demands { demands, load: self.load() }
            }
            "adopt" => Message::Adopt {
                component: self.component(),
                grounds: Grounds { by: NodeId(2), holders: 1, ..Grounds::default() },
            },
            "give-up" => Message::GiveUp { component: self.component() },
            "pull" => Message::Pull { load: self.load() },
            "pulled" => {
                let given = u16::try_from(self.number()).unwrap();
                Message::Pulled { load: self.load(), given }
            }
            other => panic!("no such message: {other}"),
        }
    }

    fn summary(&mut self) -> Vec<(Arc<str>, u64)> {
        let lines = std::mem::take(&mut self.words);
        let split = |word: &str| {
            let (name, revision) = word.split_once('@').expect("name@revision");
            (Arc::from(name), revision.parse().unwrap())
        };
        lines.into_iter().map(split).collect()
    }

    /// `#7 3 a.f home 2 hops 1 steps 2 ..`: delivery 7, process 3.
    fn delivery(&mut self) -> Delivery {
        let id = DeliveryId(self.number());
        let number = self.number();
        let (component, function) = self.call();
        let home = self.option("home").unwrap_or(2);
        let digest = digest(&component);
        let callee = Callee { component, digest, function, input: b"in".into() };
        let narrow = |number: Option<u64>| u32::try_from(number.unwrap_or(0)).unwrap();
        // Of a caller that waits, where, and what it takes to start it again.
        let replay_us = narrow(self.option("replay"));
        let entries = match self.option("warm") {
            None => Entries::new(callee),
            Some(node) => {
                let (component, function) = (Arc::from("a"), Arc::from("f"));
                let (digest, input) = (self::digest("a"), b"in".into());
                let mut entries = Entries::new(Callee { component, digest, function, input });
                let warm = Warm { node: NodeId(node), replay_us };
                entries.active_mut().unwrap().warm = Some(warm);
                entries.call(callee, b"k".into()).unwrap();
                entries
            }
        };
        let millis = |millis: u64| Duration::from_millis(millis).as_micros() as u64;
        let process = Process {
            id: ProcessId(u128::from(number)),
            app: Arc::from("app"),
            revision: self.option("revision").unwrap_or(1),
            attempt: narrow(self.option("attempt")),
            hops: narrow(Some(self.option("hops").unwrap_or(1))),
            steps: narrow(self.option("steps")),
            age_us: millis(self.option("age").unwrap_or(0)),
            budget_us: millis(self.option("budget").unwrap_or(10_000)),
            home: Home {
                node: NodeId(home),
                incarnation: self.option("incarnation").unwrap_or(1),
                slot: SlotId(number),
            },
            traceparent: None,
            trail: Trail::default(),
            entries,
            left: self.nodes("left"),
            rest: Rest::default(),
        };
        let queue_moves = u8::try_from(self.option("queue-moves").unwrap_or(0)).unwrap();
        Delivery { id, load: self.load(), queue_moves, process }
    }

    /// `#7 3 value`, with `incarnation` of the gateway.
    fn finish(&mut self) -> Finish {
        let (id, number) = (DeliveryId(self.number()), self.number());
        let incarnation = self.option("incarnation").unwrap_or(1);
        let failed = self.flag("failed");
        let value = self.payload();
        let outcome = match failed {
            true => Err(Failure::new(FailureKind::Failed, String::from_utf8_lossy(&value))),
            false => Ok(value.into()),
        };
        Finish {
            id,
            load: idle_load(),
            process: ProcessId(u128::from(number)),
            home: Home { node: NodeId(1), incarnation, slot: SlotId(number) },
            outcome,
            trail: Trail::default(),
        }
    }
}

/// Where the core's own deliveries and requests count from.
pub(crate) const FIRST: u64 = 1 << 40;

fn own(number: u64) -> DeliveryId {
    DeliveryId(FIRST + number)
}

fn nodes(word: &str) -> Vec<NodeId> {
    word.split(',').map(|node| NodeId(node.parse().unwrap())).collect()
}

/// `a=a2@1,2`: a name, a build and a spread.
fn split(spec: &str) -> (&str, &str, &str) {
    let (component, spread) = spec.split_once('@').expect("component@spread");
    let (name, build) = component.split_once('=').unwrap_or((component, component));
    (name, build, spread)
}
