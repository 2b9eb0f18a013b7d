//! What came of a run, and the lines of what happened in it.

use std::fmt;

use izna_core::{Input, Output};
use izna_proto::{Message, ProcessId};

use crate::{
    Options, World,
    check::Violation,
    clients::process_id,
    recordings::{self, Recording},
    seen::Seen,
};

/// Of what lines are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Of nothing: fast.
    Nothing,
    /// Of what concerns one process.
    Process(ProcessId),
    /// Of what concerns one node.
    Node(usize),
    /// Of everything but beacons.
    Everything,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Equal runs have equal hashes.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// How many clients came.
    pub requests: usize,
    /// What a checker found, if one did.
    pub violation: Option<Violation>,
    /// What was seen to happen.
    pub seen: Seen,
    /// What happened, as far as it was watched.
    pub lines: Vec<String>,
    /// What each core was told, if it was recorded.
    pub recordings: Vec<Recording>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} ms", self.checker, self.at as f64 / 1000.0)?;
        if let Some(process) = self.process {
            write!(f, ", process {}", process.0)?;
        }
        if let Some(node) = self.node {
            write!(f, ", node {node}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl World {
    /// Keep a line, if it is watched for.
    pub(crate) fn trace(
        &mut self,
        process: Option<ProcessId>,
        node: Option<usize>,
        text: impl FnOnce() -> String,
    ) {
        let watched = match self.watch {
            Watch::Nothing => false,
            Watch::Process(watched) => process == Some(watched),
            Watch::Node(watched) => node == Some(watched),
            Watch::Everything => true,
        };
        if watched {
            let at = self.now as f64 / 1000.0;
            let node = node.map_or(String::new(), |node| format!("node {node}"));
            let process = process.map_or(String::new(), |process| format!("process {}", process.0));
            self.lines.push(format!("{at:>10.3} {node:<9} {process:<13} {}", text()));
        }
    }

    pub(crate) fn trace_input(&mut self, n: usize, input: &Input) {
        let (process, text) = match input {
            Input::Heard(_) | Input::Told { .. } => return,
            Input::Received { peer, message } => {
                let (process, text) = told(message);
                (process, format!("<- node {}: {text}", peer.0 - 1))
            }
            Input::Submit(submission) => {
                let kind = if submission.idempotent { "idempotent" } else { "once" };
                let millis = submission.deadline.as_millis();
                (Some(submission.id), format!("submitted, {kind}, {millis} ms"))
            }
            Input::Stepped { held, end, .. } => {
                let process = self.nodes[n].core.as_ref().and_then(|core| core.process(*held));
                (process.map(|process| process.id), format!("stepped: {end:?}"))
            }
            Input::Abandon(slot) => {
                (Some(process_id(slot.0 as usize)), String::from("its client goes away"))
            }
            other => (None, format!("{other:?}")),
        };
        self.trace(process, Some(n), || text);
    }

    pub(crate) fn trace_output(&mut self, n: usize, output: &Output) {
        let (process, text) = match output {
            Output::Beacon(_) | Output::Bulletin { .. } => return,
            Output::Send { peer, message } => {
                let (process, text) = told(message);
                (process, format!("-> node {}: {text}", peer.0 - 1))
            }
            Output::Run(step) => {
                (Some(step.process), format!("runs {}: {:?}", step.component, step.run))
            }
            Output::Reply(reply) => (Some(reply.process), format!("replies {:?}", reply.outcome)),
            other => (None, format!("{other:?}")),
        };
        self.trace(process, Some(n), || text);
    }
}

/// A message in a few words, and the process it is about.
fn told(message: &Message) -> (Option<ProcessId>, String) {
    match message {
        Message::Deliver(delivery) => {
            let process = &delivery.process;
            let (id, attempt, hops) = (delivery.id, process.attempt, process.hops);
            let steps = process.steps;
            let text = format!("{id}: attempt {attempt}, {hops} hops, {steps} steps");
            (Some(process.id), text)
        }
        Message::Finish(finish) => {
            (Some(finish.process), format!("{}: finished {:?}", finish.id, finish.outcome))
        }
        Message::Accepted { delivery, .. } => (None, format!("{delivery} accepted")),
        Message::Refused { delivery, refusal, .. } => {
            (None, format!("{delivery} refused: {refusal:?}"))
        }
        Message::Holding(held) => (None, format!("holds {} processes", held.len())),
        Message::TableEntries(entries) => (None, format!("{} lines of the table", entries.len())),
        Message::Inventory { copies, .. } => (None, format!("runs {} components", copies.len())),
        Message::Demands { demands, .. } => {
            (None, format!("asks {} components for help", demands.len()))
        }
        Message::Adopt { component, .. } => (None, format!("wants {component} adopted")),
        Message::GiveUp { component } => (None, format!("wants {component} given up")),
        other => (None, format!("{other:?}")),
    }
}

/// How many of the last lines about a process are printed with a failure.
const LINES_MAX: usize = 60;

/// What is to be known to mend what a checker found: the seed with its options, what happened to
/// the process, and how to see it again. `flags` are those that changed the options.
pub fn explain(options: &Options, seed: u64, report: &Report, flags: &str) -> String {
    let Some(violation) = &report.violation else { return String::from("all is well") };
    let watch = match (violation.process, violation.node) {
        (Some(process), _) => Watch::Process(process),
        (None, Some(node)) => Watch::Node(node),
        (None, None) => Watch::Everything,
    };
    let again = crate::record(options, seed, watch);
    let folder = recordings::folder(seed);
    let recordings = match recordings::keep(&folder, &again.recordings) {
        Ok(()) => {
            format!("what each core was told: izna-sim play {}/node-*.cbor", folder.display())
        }
        Err(error) => format!("no recordings in {}: {error}", folder.display()),
    };
    let skipped = again.lines.len().saturating_sub(LINES_MAX);
    let lines = again.lines.get(skipped..).unwrap_or_default().join("\n");
    let expanded = toml::to_string(options).unwrap_or_default();
    format!(
        "seed {seed}: {violation}\n\nthe options that it drew:\n{expanded}\n\
         the last of what happened:\n{lines}\n\n{recordings}\n\
         to see it again: cargo run -p izna-sim -- replay --seed {seed}{flags} --trace"
    )
}
