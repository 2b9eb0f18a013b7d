//! What comes out of a core, as a line of text.

use bytes::Bytes;
use izna_core::{AdoptionStage, Audience, Core, Note, Output};
use izna_proto::{
    ComponentCopy, ComponentId, Digest, Grounds, MemoryAnswer, MemoryError, MemoryOperation,
    Message, NodeId, Outcome, Payload, Process, Run,
};

use crate::words::{self, FIRST};

/// Whether a printed line is of this kind of output.
pub(crate) fn is(text: &str, kind: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["->", _, word, ..] => *word == kind,
        [word, ..] => *word == kind,
        [] => false,
    }
}

pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Run(step) => {
            let (held, process) = (step.held.0, step.process.0);
            let given = match &step.run {
                Run::Start { input } => format!("start {}", text(input)),
                Run::Resume { continuation, outcome } => {
                    format!("resume {} {}", text(continuation), ended(outcome))
                }
            };
            format!("run h{held} p{process} {}.{} {given}", step.component, step.function)
        }
        Output::Send { peer, message } => format!("-> {} {}", peer.0, said(message)),
        Output::Connect(peer) => format!("connect {}", peer.0),
        Output::Disconnect(peer) => format!("disconnect {}", peer.0),
        Output::Beacon(beacon) => {
            let closed = if beacon.load.accepting { "" } else { " closed" };
            format!("beacon wait {}{closed}", beacon.load.wait_us)
        }
        Output::Bulletin { audience, bulletin } => {
            let lines: Vec<String> =
                bulletin.lines.iter().map(|line| format!("{} idle", line.idle)).collect();
            let audience = match audience {
                Audience::Zone => String::from("the zone"),
                Audience::Nodes(of) => nodes(of),
            };
            let doors: Vec<String> =
                bulletin.doors.iter().map(|door| door.node.0.to_string()).collect();
            let (of, doors, lines) = (bulletin.zone.0, doors.join(","), lines.join(","));
            format!("bulletin of {of} to {audience}: doors {doors}; {lines}")
        }
        Output::Introduce { peer, node } => format!("introduce {} to {}", node.0, peer.0),
        Output::Keep { digest, holders } => {
            format!("keep {} from {}", name(digest), nodes(holders))
        }
        Output::Reply(reply) => {
            let trail = nodes(&reply.trail.nodes);
            format!(
                "reply p{} {} by {trail}",
                reply.process.0,
                ended(&reply.outcome.clone().map(Payload::into_inline))
            )
        }
        Output::Hold { digest, holders } => {
            format!("hold {} from {}", name(digest), nodes(holders))
        }
        Output::Release(digest) => format!("release {}", name(digest)),
        Output::Store(entry) => format!("store {}@{}", entry.name, entry.revision),
        Output::Changed { result: Ok(line), .. } => {
            format!("changed {}@{}", line.name, line.revision)
        }
        Output::Changed { result: Err(why), .. } => format!("not changed: {why}"),
        Output::Forget(name) => format!("forget {name}"),
        Output::MemoryAnswer { request, answer } => {
            format!("memory-answer {request} {}", answered(answer))
        }
        Output::Drained => String::from("drained"),
        Output::Note(note) => match note {
            Note::Joined(node) => format!("joined {}", node.0),
            Note::Left(node) => format!("left {}", node.0),
            Note::Restarted(node) => format!("restarted {}", node.0),
            Note::Twin(node) => format!("twin {}", node.0),
            Note::Lost { again, unknown } => format!("lost: {again} again, {unknown} unknown"),
            Note::NotReady(digest, why) => format!("not ready: {}: {why}", name(digest)),
            Note::Placed { process, component, why, .. } => {
                format!("placed p{} {component}: {why}", process.0)
            }
            Note::Spreads { component, targets, grounds, .. } => {
                format!("spreads {component} to {}: {}", nodes(targets), told(grounds))
            }
            Note::Adoption { component, stage, .. } => match stage {
                AdoptionStage::Begun(grounds) => format!("adopts {component}: {}", told(grounds)),
                AdoptionStage::Ready => format!("has adopted {component}"),
                AdoptionStage::GivenUp => format!("gives up {component}"),
                AdoptionStage::Failed => format!("cannot adopt {component}"),
            },
        },
    }
}

fn said(message: &Message) -> String {
    match message {
        Message::Deliver(delivery) => {
            format!("deliver {} {}", number(delivery.id.0), process(&delivery.process))
        }
        Message::Finish(finish) => {
            let (id, process) = (number(finish.id.0), finish.process.0);
            format!(
                "finish {id} p{process} {}",
                ended(&finish.outcome.clone().map(Payload::into_inline))
            )
        }
        Message::Accepted { delivery, load, level_us } => {
            let level = level_us.map_or(String::new(), |level| format!(" level {level}"));
            format!("accepted {} wait {}{level}", number(delivery.0), load.wait_us)
        }
        Message::Refused { delivery, refusal, .. } => {
            format!("refused {} {}", number(delivery.0), format!("{refusal:?}").to_lowercase())
        }
        Message::Holding(held) => {
            let held: Vec<String> = held.iter().map(|h| format!("p{}", h.process.0)).collect();
            format!("holding {}", held.join(","))
        }
        Message::AskInventory => String::from("ask-inventory"),
        Message::Inventory { copies, .. } => {
            let names: Vec<String> = copies.iter().map(copy).collect();
            format!("inventory {}", names.join(","))
        }
        Message::Demands { demands, .. } => {
            let figures = demands.iter().map(|demand| {
                let (inflow, refused) = (demand.inflow_milli, demand.refused_milli);
                format!("{} {inflow}+{refused}", component(&demand.component))
            });
            format!("demands {}", figures.collect::<Vec<_>>().join(","))
        }
        Message::Adopt { component: id, grounds } => {
            format!("adopt {} {}", component(id), told(grounds))
        }
        Message::GiveUp { component: id } => format!("give-up {}", component(id)),
        Message::TableSummary(summary) => {
            let lines: Vec<String> =
                summary.iter().map(|(name, revision)| format!("{name}@{revision}")).collect();
            format!("table-summary {}", lines.join(" "))
        }
        Message::TableEntries(entries) => {
            let lines: Vec<String> =
                entries.iter().map(|line| format!("{}@{}", line.name, line.revision)).collect();
            format!("table-entries {}", lines.join(" "))
        }
        Message::Memory { request, operation, .. } => {
            let operation = match operation {
                MemoryOperation::Get => String::from("get"),
                MemoryOperation::Put(value) => format!("put {}", text(value)),
                MemoryOperation::Remove => String::from("remove"),
            };
            format!("memory {} {operation}", number(*request))
        }
        Message::MemoryAnswer { request, answer } => {
            format!("memory-answer {} {}", number(*request), answered(answer))
        }
        Message::Probe { .. } => String::from("probe"),
        Message::Alive { .. } => String::from("alive"),
        Message::Pull { load } => format!("pull idle {}", load.idle),
        Message::Pulled { given, .. } => format!("pulled {given}"),
        other => format!("{other:?}"),
    }
}

fn copy(copy: &ComponentCopy) -> String {
    format!("{}{}", component(&copy.component), if copy.adopted.is_some() { "*" } else { "" })
}

/// The name of a component of app `app`, as the scripts write it.
fn component(id: &ComponentId) -> String {
    let letters = ('a'..='z').map(String::from);
    let builds = ["", "2", "3", "4"];
    let mut names = letters.flat_map(|letter| builds.map(|build| format!("{letter}{build}")));
    let found = names.find(|name| words::copy(name).component == *id);
    found.unwrap_or_else(|| id.to_string())
}

fn told(grounds: &Grounds) -> String {
    format!(
        "{} holders wait {} of {} us, {} of {}",
        grounds.holders,
        grounds.wait_us,
        grounds.demand_us,
        grounds.inflow_milli,
        grounds.capacity_milli
    )
}

fn process(process: &Process) -> String {
    let calls: Vec<&str> = process.entries.iter().map(|entry| &*entry.component).collect();
    let (id, attempt, hops) = (process.id.0, process.attempt, process.hops);
    let (steps, left) = (process.steps, nodes(&process.left));
    format!("p{id}.{attempt} {} hops {hops} steps {steps} left {left}", calls.join(">"))
}

fn answered(answer: &MemoryAnswer) -> String {
    match answer {
        Ok(Some(value)) => text(value),
        Ok(None) => String::from("none"),
        Err(MemoryError::Unavailable) => String::from("unavailable"),
        Err(MemoryError::TooLarge { max }) => format!("too large: max {max}"),
    }
}

fn ended(outcome: &Outcome<Bytes>) -> String {
    match outcome {
        Ok(value) => format!("ok {}", text(value)),
        Err(failure) => format!("({})", cut(&failure.to_string())),
    }
}

/// Enough of a failure to know it by.
fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_string(),
    }
}

fn text(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=8 => String::from_utf8_lossy(bytes).into_owned(),
        length => format!("[{length} bytes]"),
    }
}

fn name(digest: &Digest) -> String {
    let bytes = digest.0.iter().take_while(|byte| **byte != 0);
    bytes.map(|byte| char::from(*byte)).collect()
}

fn nodes(nodes: &[NodeId]) -> String {
    if nodes.is_empty() {
        return String::from("-");
    }
    nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",")
}

fn number(number: u64) -> String {
    format!("#{}", number.checked_sub(FIRST).unwrap_or(number))
}

/// What an operator would see.
pub(crate) fn status(core: &Core) -> String {
    let mut lines = Vec::new();
    for process in core.processes() {
        let (id, state) = (process.id.0, process.state.as_str());
        lines.push(format!("  p{id}.{} {} {state}", process.attempt, process.component));
    }
    for peer in core.peers() {
        let (node, state) = (peer.node.0, peer.state.as_str());
        lines.push(format!("  node {node} {state}, {} components", peer.holds));
    }
    if lines.is_empty() {
        lines.push(String::from("  nothing"));
    }
    lines.join("\n") + "\n"
}

/// Why each process is where it is, or goes where it goes.
pub(crate) fn why(core: &Core) -> String {
    let line = |process: izna_core::ProcessStatus| {
        let why = process.why.told(|node| node.0.to_string()).replace("; ", "\n      ");
        format!("  p{}: {why}\n", process.id.0)
    };
    core.processes().map(line).collect()
}
