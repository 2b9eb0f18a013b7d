//! One core that a script drives.
//!
//! A line is `<milliseconds> <input>`, and what comes out is printed below it, with the time where
//! a timer brought it about. Before the first, `set <setting> <value>` changes the configuration
//! and `show <output>` has something printed that is mostly noise. The core is node 1 in its first
//! incarnation; components have one-letter names, functions are `f`; its deliveries and held
//! processes count from 1.

use std::{fmt::Write, sync::Arc};

use expect_test::Expect;
use izna_core::{
    Assignment, Change, Config, Core, Duration, HeldId, Input, Measurement, Output, Submission,
    Time,
};
use izna_proto::{
    App, Beacon, Call, Failure, FailureKind, Load, Message, NodeId, SlotId, StepEnd, ZoneId,
};

use crate::{print, words::Words};

/// Run a script and compare what comes out.
#[track_caller]
pub(crate) fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script));
}

/// What a script prints.
pub(crate) fn run(script: &str) -> String {
    let mut machine = Machine::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        machine.line(line);
    }
    machine.printed
}

struct Machine {
    config: Config,
    core: Option<Core>,
    show: Vec<String>,
    /// The beacons of the others count by themselves.
    sequence: u64,
    printed: String,
}

impl Machine {
    fn new() -> Self {
        let mut config = Config::new(NodeId(1), 1, 1);
        config.slots_max = 1;
        config.admit_wait_max = Duration::from_secs(1);
        config.beacon_interval = Duration::from_secs(1_000_000);
        config.summary_interval = Duration::from_secs(1_000_000);
        config.adoption_interval = Duration::from_secs(1_000_000);
        config.silent_after = Duration::from_secs(1_000_000);
        config.probe_after = Duration::from_secs(1_000_000);
        Self { config, core: None, show: Vec::new(), sequence: 0, printed: String::new() }
    }

    fn line(&mut self, line: &str) {
        let mut words = Words::new(line);
        match words.peek() {
            "set" => {
                words.next();
                let (setting, value) = (words.next(), words.number());
                set(&mut self.config, setting, value);
            }
            "show" => {
                words.next();
                self.show.push(words.next().to_string());
            }
            _ => self.input(line, words),
        }
    }

    fn input(&mut self, line: &str, mut words: Words<'_>) {
        let at = Time::from_micros((words.next().parse::<f64>().unwrap() * 1000.0) as i64);
        self.begin();
        // A node that was stopped finds all its timers gone off at once.
        if words.peek() != "stopped" {
            self.advance(at);
        }
        writeln!(self.printed, "{line}").unwrap();
        match words.peek() {
            "join" => return self.join(at, &mut words),
            "wait" => return,
            "stopped" => {
                self.core.as_mut().unwrap().tick(at);
                return self.drain("  ");
            }
            "timers" => {
                let timers = self.core.as_ref().unwrap().fill().timers;
                writeln!(self.printed, "  {timers} timers").unwrap();
                return;
            }
            "status" => {
                let core = self.core.as_ref().unwrap();
                self.printed += &print::status(core);
                return;
            }
            "why" => {
                let core = self.core.as_ref().unwrap();
                self.printed += &print::why(core);
                return;
            }
            _ => {}
        }
        let input = self.read(&mut words);
        self.handle(at, input, "  ");
    }

    fn begin(&mut self) {
        if self.core.is_none() {
            self.core = Some(Core::new(self.config.clone(), Time::from_micros(0)));
        }
    }

    fn handle(&mut self, at: Time, input: Input, indent: &str) {
        let core = self.core.as_mut().unwrap();
        core.handle(at, input);
        core.check();
        self.drain(indent);
    }

    fn drain(&mut self, indent: &str) {
        while let Some(output) = self.core.as_mut().unwrap().poll() {
            if let Some(text) = self.text(&output) {
                writeln!(self.printed, "{indent}{text}").unwrap();
            }
        }
    }

    fn text(&self, output: &Output) -> Option<String> {
        let text = print::output(output);
        let noise = [
            "beacon",
            "ask-inventory",
            "table-summary",
            "inventory",
            "holding",
            "store",
            "changed",
            "joined",
            "pull",
        ];
        let noisy = noise.iter().find(|noise| print::is(&text, noise));
        let shown = noisy.is_none_or(|noise| self.show.iter().any(|shown| shown == noise));
        shown.then_some(text)
    }

    /// Let the timers go off, up to a moment.
    fn advance(&mut self, to: Time) {
        while let Some(at) = self.core.as_ref().unwrap().deadline().filter(|at| *at < to) {
            let core = self.core.as_mut().unwrap();
            core.tick(at);
            core.check();
            let millis = at.as_micros() as f64 / 1000.0;
            self.drain(&format!("  at {millis}: "));
        }
    }

    /// A node appears in the view, linked, with what it holds.
    fn join(&mut self, at: Time, words: &mut Words<'_>) {
        words.next();
        let peer = words.node();
        let copies = words.components();
        let traits = words.traits();
        let (show, printed) = (std::mem::take(&mut self.show), self.printed.clone());
        let beacon = self.beacon(peer, words);
        self.handle(at, Input::Heard(beacon), "");
        let name = Arc::from(format!("node-{}", peer.0));
        let zone = ZoneId::default();
        self.handle(at, Input::LinkUp { peer, incarnation: 1, name, traits, zone }, "");
        let message = Message::Inventory { epoch: 0, table: 0, copies };
        self.handle(at, Input::Received { peer, message }, "");
        (self.show, self.printed) = (show, printed);
    }

    fn beacon(&mut self, node: NodeId, words: &mut Words<'_>) -> Beacon {
        self.sequence += 1;
        let load = words.load();
        let incarnation = words.option("incarnation").unwrap_or(1);
        let sequence = words.option("sequence").unwrap_or(self.sequence);
        let table = words.option("table").unwrap_or(0);
        let zone = ZoneId(u32::try_from(words.option("zone").unwrap_or(0)).unwrap());
        let epoch = u16::try_from(table).unwrap();
        Beacon { zone, node, incarnation, sequence, peer_port: 1, load, epoch }
    }

    fn read(&mut self, words: &mut Words<'_>) -> Input {
        match words.next() {
            "deploy" => change(Change::Deploy(words.app())),
            "undeploy" => change(Change::Undeploy(Arc::from(words.next()))),
            "restore" => Input::Restore(words.table_entries()),
            "ready" => {
                let cost = words.option("cost").map(Duration::from_millis);
                Input::Ready { digest: words.digest(), cost }
            }
            word @ ("hold" | "unhold") => change(Change::Assign {
                app: Arc::from("app"),
                component: Arc::from(words.next()),
                node: words.node(),
                assignment: match word {
                    "hold" => Assignment::Holds,
                    _ => Assignment::DoesNotHold,
                },
            }),
            "not-ready" => Input::NotReady(words.digest(), String::from("no")),
            "submit" => submit(words),
            "abandon" => Input::Abandon(SlotId(words.number())),
            "sliced" => Input::Sliced(HeldId(words.number())),
            word @ ("done" | "fail" | "call" | "forward") => step(word, words),
            "beacon" => {
                let node = words.node();
                Input::Heard(self.beacon(node, words))
            }
            "up" => {
                let peer = words.node();
                let incarnation = words.option("incarnation").unwrap_or(1);
                let zone = ZoneId(u32::try_from(words.option("zone").unwrap_or(0)).unwrap());
                let (name, traits) = (Arc::from(""), words.traits());
                Input::LinkUp { peer, incarnation, name, traits, zone }
            }
            "told" => Input::Told {
                from_abroad: words.flag("abroad"),
                bulletin: {
                    self.sequence += 1;
                    words.bulletin(self.sequence)
                },
            },
            "called" => {
                let zone = ZoneId(u32::try_from(words.option("zone").unwrap()).unwrap());
                Input::Called { peer: words.node(), zone, incarnation: 1 }
            }
            "down" => Input::LinkDown(words.node()),
            "unreadable" => {
                let peer = words.node();
                Input::Unreadable { peer, delivery: izna_proto::DeliveryId(words.number()) }
            }
            "from" => {
                let peer = words.node();
                Input::Received { peer, message: words.message() }
            }
            "measured" => Input::Measured(Measurement {
                own_cpu_us: 0,
                capacity_milli: 1000,
                cpu_permille: 0,
                memory_permille: u16::try_from(words.option("memory").unwrap()).unwrap(),
                network_permille: 0,
                unsent_us: u32::try_from(words.option("unsent").unwrap_or(0)).unwrap(),
            }),
            "memory" => Input::Memory {
                request: words.number(),
                app: Arc::from("app"),
                key: words.next().to_string(),
                operation: words.operation(),
            },
            "drain" => Input::Drain,
            other => panic!("no such input: {other}"),
        }
    }
}

fn change(change: Change) -> Input {
    Input::Change { request: 1, change }
}

fn submit(words: &mut Words<'_>) -> Input {
    let number = words.number();
    let (component, function) = words.call();
    let bytes = words.option("bytes").unwrap_or(2);
    Input::Submit(Submission {
        slot: SlotId(number),
        id: izna_proto::ProcessId(u128::from(number)),
        app: Arc::from("app"),
        component,
        function,
        input: vec![b'i'; bytes as usize].into(),
        deadline: Duration::from_millis(words.option("deadline").unwrap_or(10_000)),
        idempotent: !words.flag("once"),
        traceparent: None,
    })
}

fn step(word: &str, words: &mut Words<'_>) -> Input {
    let held = HeldId(words.number());
    let end = match word {
        "done" => StepEnd::Done(words.payload().into()),
        "fail" => StepEnd::Failed(Failure::new(FailureKind::Failed, words.next())),
        _ => {
            let (component, function) = words.call();
            let keep = words.option("keep").unwrap_or(1);
            let continuation = vec![b'k'; keep as usize].into();
            let input = words.payload().into();
            let call = Call { component, function, input };
            match word {
                "call" => StepEnd::Suspend { call, continuation },
                _ => StepEnd::Forward(call),
            }
        }
    };
    let used = Duration::from_micros(words.option("used").unwrap_or(1000));
    let took = Duration::from_micros(words.option("took").unwrap_or(0)).max(used);
    let warm = words.flag("warm");
    Input::Stepped { held, end, used, took, warm }
}

fn set(config: &mut Config, setting: &str, value: u64) {
    let (count, millis) = (usize::try_from(value).unwrap(), Duration::from_millis(value));
    match setting {
        "cores" => config.cores = u16::try_from(value).unwrap(),
        "slots_max" => config.slots_max = count,
        "sliced_max" => config.sliced_max = count,
        "held_max" => config.held_max = count,
        "admit_max" => config.admit_max = count,
        "admit_wait_max" => config.admit_wait_max = millis,
        "waiting_max" => config.waiting_max = count,
        "hops_max" => config.hops_max = u32::try_from(value).unwrap(),
        "steps_max" => config.steps_max = u32::try_from(value).unwrap(),
        "payload_bytes_max" => config.payload_bytes_max = count,
        "process_bytes_max" => config.process_bytes_max = count,
        "attempts_max" => config.attempts_max = u32::try_from(value).unwrap(),
        "recent_max" => config.recent_max = count,
        "peers_max" => config.peers_max = count,
        "apps_max" => config.apps_max = count,
        "memory_bytes_max" => config.memory_bytes_max = count,
        "memory_value_bytes_max" => config.memory_value_bytes_max = count,
        "memory_requests_max" => config.memory_requests_max = count,
        "beacon_interval" => config.beacon_interval = millis,
        "silent_after" => config.silent_after = millis,
        "summary_interval" => config.summary_interval = millis,
        "acknowledge_timeout" => config.acknowledge_timeout = millis,
        "probe_after" => config.probe_after = millis,
        "lost_after" => config.lost_after = millis,
        "adopted_max" => config.adopted_max = count,
        "adoption_interval" => config.adoption_interval = millis,
        "unneeded_after" => config.unneeded_after = millis,
        "retain_revision" => config.retain_revision = millis,
        other => panic!("no such setting: {other}"),
    }
}

/// What scripts leave out of a load.
pub(crate) fn idle_load() -> Load {
    Load { wait_us: 0, idle: 1, capacity_milli: 1000, accepting: true, ..Load::default() }
}

/// An app as the scripts write it: every component may call every other.
pub(crate) fn app(name: &str, components: Vec<izna_proto::ComponentSpec>) -> App {
    App { name: Arc::from(name), components, routes: Vec::new() }
}
