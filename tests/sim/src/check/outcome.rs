//! *Outcome*: each request is answered with what the program comes to or with a failure that there
//! is a reason for.

use izna_core::Reply;
use izna_proto::{FailureKind, Outcome};

use super::Checker;
use crate::{
    World,
    clients::{LAST_COUNT, request_of},
};

/// A deadline may come this much early: a timer's grain.
const GRACE_US: u64 = 1_000;

/// What clients are told.
pub(crate) struct Outcomes;

impl Checker for Outcomes {
    const NAME: &'static str = "outcome";
}

impl World {
    /// A gateway answers a client with this.
    pub(crate) fn judge(&mut self, n: usize, reply: &Reply) {
        let (now, calm) = (self.now, self.options.is_calm() && !self.options.undeploys);
        let request = &self.requests[request_of(reply.process)];
        let strict = request.last || calm;
        let small = self.options.admit_max < 1000 || self.options.last_are_many(LAST_COUNT);
        let limits = Limits { strict, small, short: self.options.is_short() };
        let early = now + GRACE_US < request.deadline;
        let wrong = judge(&reply.outcome, &request.expected, request.ran, early, limits);
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
            self.fail::<Outcomes>(Some(reply.process), n, wrong);
        }
    }
}

#[derive(Clone, Copy)]
struct Limits {
    /// Nothing went wrong, or all is right again.
    strict: bool,
    /// Nodes take so few processes, or so few nodes take any, that they may be full.
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
