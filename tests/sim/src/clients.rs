//! The clients: who asks what at which gateway, and what is to come of it.

use std::sync::Arc;

use bytes::Bytes;
use izna_core::{Duration, Input, Submission};
use izna_proto::{Outcome, ProcessId, SlotId};
use rand::{Rng, RngExt};

use crate::{
    Options, World,
    check::Copies,
    event::{Event, Moment},
    program::component_name,
};

/// How long the last clients wait, and the world with them.
pub(crate) const LAST_US: Moment = 1_300_000;
const LAST_DEADLINE_US: Moment = 900_000;
pub(crate) const LAST_COUNT: usize = 60;

/// One client's request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) gateway: usize,
    /// Of the gateway, when it took the request in.
    pub(crate) incarnation: u64,
    pub(crate) idempotent: bool,
    /// It came after everything was right again: it must be answered with its result.
    pub(crate) last: bool,
    pub(crate) expected: Outcome,
    pub(crate) deadline_us: Moment,
    /// When the gateway took it in, and until when it is to be answered.
    pub(crate) submitted: Option<Moment>,
    pub(crate) deadline: Moment,
    pub(crate) abandoned: bool,
    pub(crate) replies: u32,
    /// A step of its process ran.
    pub(crate) ran: bool,
    /// Its process, by attempt.
    pub(crate) attempts: Vec<Copies>,
}

pub(crate) fn process_id(request: usize) -> ProcessId {
    ProcessId(request as u128 + 1)
}

pub(crate) fn request_of(process: ProcessId) -> usize {
    usize::try_from(process.0 - 1).expect("only simulated processes are named")
}

impl World {
    /// The next client comes.
    pub(crate) fn arrival(&mut self) {
        if self.healed {
            return;
        }
        let mean_us = 1e6 / self.options.arrivals_per_second;
        let wait = -self.random.random::<f64>().max(1e-9).ln() * mean_us;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        self.queue.push(self.now + wait as Moment + 1, Event::Arrival);
        let [low, high] = self.options.deadline_ms;
        let deadline_us = self.random.random_range(low..=high) * 1000;
        let options = self.options.clone();
        self.ask(&options, deadline_us, false);
    }

    /// Some clients come to a cluster of which all is right: they must get what they ask for.
    pub(crate) fn last_arrivals(&mut self) {
        let small = Options { depth_max: 1, step_us: 100.0, ..self.options.clone() };
        for _ in 0..LAST_COUNT {
            self.ask(&small, LAST_DEADLINE_US, true);
        }
    }

    fn ask(&mut self, options: &Options, deadline_us: Moment, last: bool) {
        let gateways = options.gateways.min(self.nodes.len());
        let gateway = self.random.random_range(0..gateways);
        if self.nodes[gateway].core.is_none() {
            // Nobody is there to connect to.
            return;
        }
        let app = self.random.random_range(0..self.apps.len());
        let others = u32::try_from(options.components).expect("a few components");
        let component = self.random.random_range(0..others);
        let (input, expected) = self.programs.draw(&mut self.random, options, component);
        let request = self.requests.len();
        let idempotent = self.random.random_bool(options.idempotent);
        self.requests.push(Request {
            gateway,
            incarnation: 0,
            idempotent,
            last,
            expected,
            deadline_us,
            submitted: None,
            deadline: Moment::MAX,
            abandoned: false,
            replies: 0,
            ran: false,
            attempts: Vec::new(),
        });
        if !last && self.random.random_bool(options.abandon) {
            let at = self.now + self.random.random_range(0..deadline_us);
            self.queue.push(at, Event::Abandon { request });
        }
        let app = self.apps[app].name.clone();
        let submission = submission(request, app, component, input, idempotent, deadline_us);
        self.fold(8, gateway);
        self.input(gateway, Input::Submit(submission));
    }

    /// A client goes away.
    pub(crate) fn abandon(&mut self, number: usize) {
        let request = &self.requests[number];
        let there = self.nodes[request.gateway].lives(request.incarnation);
        if there && request.submitted.is_some() && request.replies == 0 {
            let gateway = request.gateway;
            self.seen.count("client gone");
            self.input(gateway, Input::Abandon(SlotId(number as u64)));
        }
    }
}

fn submission(
    request: usize,
    app: Arc<str>,
    component: u32,
    input: Bytes,
    idempotent: bool,
    deadline_us: Moment,
) -> Submission {
    Submission {
        slot: SlotId(request as u64),
        id: process_id(request),
        app,
        component: component_name(component),
        function: Arc::from("run"),
        input: input.into(),
        idempotent,
        deadline: Duration::from_micros(deadline_us),
        traceparent: None,
    }
}

/// Some of the numbers below `of`, each at most once.
pub(crate) fn sample(random: &mut impl Rng, of: usize, count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    for at in 0..count.min(of) {
        let other = random.random_range(at..of);
        all.swap(at, other);
    }
    all.truncate(count);
    all
}
