//! *Links*: a node makes one link to another at a time, and hands over processes only on one that it
//! was told is up.

use izna_core::Input;
use izna_proto::{Message, NodeId};

use super::Checker;
use crate::{World, world::index};

/// What each node was told of its links.
#[derive(Debug)]
pub(crate) struct Links {
    nodes: usize,
    links: Vec<Link>,
}

/// A link as the node that makes it knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    state: State,
    /// The latest life of the other node that it has heard of in this one of its own, and whether
    /// that began since it asked for the link: a reason to make another.
    incarnation: u64,
    is_news: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Down,
    Asked,
    Up,
}

impl Checker for Links {
    const NAME: &'static str = "links";
}

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, links: vec![Link::default(); nodes * nodes] }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    pub(crate) fn crashed(&mut self, n: usize) {
        (0..self.nodes).for_each(|to| *self.link(n, to) = Link::default());
    }
}

impl Link {
    fn is_in_life(&mut self, incarnation: u64) {
        if incarnation > self.incarnation {
            (self.incarnation, self.is_news) = (incarnation, true);
        }
    }
}

impl World {
    /// A node is told that its link to another is up or down, or that the other is there.
    pub(crate) fn note_link(&mut self, n: usize, input: &Input) {
        let links = &mut self.checkers.links;
        match input {
            Input::Heard(beacon) => {
                links.link(n, index(beacon.node)).is_in_life(beacon.incarnation);
            }
            Input::Called { peer, incarnation, .. } => {
                links.link(n, index(*peer)).is_in_life(*incarnation);
            }
            Input::LinkUp { peer, incarnation, .. } => {
                let link = links.link(n, index(*peer));
                let state = if *incarnation < link.incarnation { State::Down } else { State::Up };
                let incarnation = link.incarnation.max(*incarnation);
                *link = Link { state, incarnation, is_news: false };
            }
            Input::LinkDown(peer) => links.link(n, index(*peer)).state = State::Down,
            _ => {}
        }
    }

    /// A node wants a link.
    pub(crate) fn check_connect(&mut self, n: usize, peer: NodeId) {
        let to = index(peer);
        let link = self.checkers.links.link(n, to);
        let again = link.state != State::Down && !link.is_news;
        let was = std::mem::replace(&mut link.state, State::Asked);
        link.is_news = false;
        if again {
            let message = format!("makes another link to node {to}: {was:?}");
            self.fail::<Links>(None, n, message);
        }
    }

    /// A node hands over a process, or the end of one.
    pub(crate) fn check_link(&mut self, n: usize, peer: NodeId, message: &Message) {
        let (to, process) = match message {
            Message::Deliver(delivery) => (index(peer), delivery.process.id),
            Message::Finish(finish) => (index(peer), finish.process),
            _ => return,
        };
        let state = self.checkers.links.link(n, to).state;
        if state != State::Up {
            let message = format!("hands it to node {to} without a link: {state:?}");
            self.fail::<Links>(Some(process), n, message);
        }
    }
}
