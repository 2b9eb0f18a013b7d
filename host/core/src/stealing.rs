//! Work stealing: an idle node asks another for what waits there. Whom this one asked and may ask
//! again, and who has asked it.

use izna_proto::NodeId;

use crate::{
    effects::{Effects, Timer},
    placement::{Puller, Tokens},
    time::Time,
};

#[derive(Debug, Default)]
pub(crate) struct Stealing {
    puller: Puller,
    /// The request that is not answered yet.
    asked: Option<Asked>,
    count: u64,
    tokens: Tokens<NodeId>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    peer: NodeId,
    until: Time,
}

impl Stealing {
    pub(crate) fn may_ask(&self, fx: &Effects) -> bool {
        self.puller.may_ask(fx.now)
    }

    /// A node is asked for work.
    pub(crate) fn ask(&mut self, fx: &mut Effects, peer: NodeId) {
        fx.counters.pulls += 1;
        self.puller.ask();
        self.count += 1;
        let (number, until) = (self.count, fx.now + fx.config.acknowledge_timeout);
        assert!(self.asked.is_none(), "one request for work at a time");
        self.asked = Some(Asked { number, peer, until });
        fx.arm(until, Timer::Asked(number));
    }

    /// A node that was asked has given so many processes.
    pub(crate) fn answered(&mut self, fx: &mut Effects, peer: NodeId, given: u16) {
        if self.asked.is_some_and(|asked| asked.peer == peer) {
            fx.counters.pulls_served += u64::from(given > 0);
            self.ended(fx, usize::from(given));
        }
    }

    /// A request was not answered in time.
    pub(crate) fn unanswered(&mut self, fx: &mut Effects, number: u64) {
        if self.asked.is_some_and(|asked| asked.number == number) {
            self.ended(fx, 0);
        }
    }

    /// The link to a node broke.
    pub(crate) fn lost(&mut self, fx: &mut Effects, peer: NodeId) {
        if self.asked.is_some_and(|asked| asked.peer == peer) {
            self.ended(fx, 0);
        }
    }

    fn ended(&mut self, fx: &mut Effects, given: usize) {
        if let Some(Asked { number, until, .. }) = self.asked.take() {
            fx.disarm(until, Timer::Asked(number));
        }
        if let Some(again) = self.puller.answered(fx.now, given) {
            fx.arm(again, Timer::Pull);
        }
    }

    /// A node asked and got nothing: the next process that would wait here may be for it.
    pub(crate) fn keep(&mut self, fx: &Effects, peer: NodeId) {
        self.tokens.keep(fx.now, peer);
    }

    /// A node that asked lately and that `fits`.
    pub(crate) fn take(
        &mut self,
        fx: &Effects,
        fits: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.tokens.take(fx.now, fits)
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        if let Some(Asked { number, until, .. }) = self.asked {
            assert!(fx.is_armed(until, Timer::Asked(number)), "a request for work without an end");
        }
    }
}
