//! *Outcome*: each request that its gateway took in is answered once, in time, with what the
//! program comes to or with a failure that there is a reason for.

use izna_core::Reply;
use izna_proto::{FailureKind, Outcome};

use crate::{
    World,
    clients::{process_id, request_of},
};

/// An answer may be this much late: a timer's grain.
const GRACE_US: u64 = 1_000;

impl World {
    /// A gateway answers a client.
    pub(crate) fn replied(&mut self, n: usize, reply: &Reply) {
        let (now, calm) = (self.now, self.options.is_calm() && !self.options.undeploys);
        let node = &self.nodes[n];
        let (incarnation, resumed_at) = (node.incarnation, node.resumed_at);
        let request = &mut self.requests[request_of(reply.process)];
        request.replies += 1;
        let latest = request.deadline.max(resumed_at) + GRACE_US;
        let strict = request.last || calm;
        let small = self.options.admit_max < 1000;
        let wrong = if request.gateway != n || request.incarnation != incarnation {
            Some(String::from("a gateway answers a request that it was not asked"))
        } else if request.replies > 1 {
            Some(String::from("a client is answered twice"))
        } else if request.abandoned {
            Some(String::from("a client that went away is answered"))
        } else if now > latest {
            Some(format!("a client is answered {} us late", now - request.deadline))
        } else {
            let limits = Limits { strict, small, short: self.options.is_short() };
            let early = now + GRACE_US < request.deadline;
            judge(&reply.outcome, &request.expected, request.ran, early, limits)
        };
        self.seen.count(match &reply.outcome {
            Ok(_) => "reply: result",
            Err(failure) => match failure.kind {
                FailureKind::Failed => "reply: failed",
                FailureKind::Limit => "reply: limit",
                FailureKind::NotFound => "reply: not-found",
                FailureKind::Deadline => "reply: deadline",
                FailureKind::Unavailable => "reply: unavailable",
                FailureKind::Busy => "reply: busy",
                _ => "reply: other",
            },
        });
        if let Some(wrong) = wrong {
            self.fail("outcome", Some(reply.process), n, wrong);
        }
    }

    /// In the end no client waits.
    pub(crate) fn check_replies(&mut self) {
        for number in 0..self.requests.len() {
            let request = &self.requests[number];
            let gateway = request.gateway;
            let there = self.nodes[gateway].lives(request.incarnation);
            let due = request.submitted.is_some() && !request.abandoned;
            if there && due && request.replies == 0 {
                let message = String::from("a client is never answered");
                self.fail("outcome", Some(process_id(number)), gateway, message);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Limits {
    /// Nothing went wrong, or all is right again.
    strict: bool,
    /// Nodes take so few processes that they may be full.
    small: bool,
    /// Processes may have so few moves or steps that they reach the limit.
    short: bool,
}

/// What is wrong with an outcome, if something is.
fn judge(
    outcome: &Outcome,
    expected: &Outcome,
    ran: bool,
    early: bool,
    limits: Limits,
) -> Option<String> {
    let failure = match (outcome, expected) {
        (Ok(value), Ok(wanted)) if value == wanted => return None,
        (Ok(value), _) => return Some(format!("the result is {value:?}, not {expected:?}")),
        (Err(failure), _) => failure,
    };
    let as_expected = expected.as_ref().err().is_some_and(|wanted| {
        failure.kind == wanted.kind
            && (wanted.kind != FailureKind::Failed || failure.message == wanted.message)
    });
    let reason = match failure.kind {
        _ if as_expected => true,
        FailureKind::Deadline if early => return Some(String::from("too early for the deadline")),
        FailureKind::Deadline => !limits.strict || limits.small,
        FailureKind::Busy if ran => {
            return Some(String::from("busy is to say that nothing has run, and something has"));
        }
        FailureKind::Busy => !limits.strict || limits.small,
        FailureKind::Unavailable | FailureKind::NotFound => !limits.strict,
        FailureKind::Limit => limits.short || !limits.strict,
        _ => false,
    };
    (!reason).then(|| format!("a failure without a reason: {failure}; expected {expected:?}"))
}
