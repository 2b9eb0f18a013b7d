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
    /// How much it had been told of the other node when it asked for the link, or had it.
    told: u64,
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

impl World {
    /// A node is told that its link to another is up or down.
    pub(crate) fn note_link(&mut self, n: usize, input: &Input) {
        let (to, state) = match input {
            Input::LinkUp { peer, .. } => (index(*peer), State::Up),
            Input::LinkDown(peer) => (index(*peer), State::Down),
            _ => return,
        };
        let told = self.checkers.ownership.told(n, to);
        *self.checkers.links.link(n, to) = Link { state, told };
    }

    /// A node wants a link.
    pub(crate) fn check_connect(&mut self, n: usize, peer: NodeId) {
        let to = index(peer);
        let told = self.checkers.ownership.told(n, to);
        let link = self.checkers.links.link(n, to);
        // That the other began anew is a reason to make another.
        let again = link.state != State::Down && link.told == told;
        let was = std::mem::replace(link, Link { state: State::Asked, told });
        if again {
            let message = format!("makes another link to node {to}: {:?}", was.state);
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
