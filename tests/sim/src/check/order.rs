//! *Order*: what a node says over one link comes out as it went in. What goes over different links,
//! or by datagram, may come in any order.

use super::Checker;
use crate::World;

/// What came out of each link last.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: usize,
    /// By source and target: of which link it was, and its number.
    last: Vec<(u32, u64)>,
}

impl Checker for Order {
    const NAME: &'static str = "order";
}

impl Order {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, last: vec![(0, 0); nodes * nodes] }
    }
}

impl World {
    /// The message of that number comes out of a link.
    pub(crate) fn check_order(&mut self, (from, to): (usize, usize), link: u32, number: u64) {
        let order = &mut self.checkers.order;
        let last = &mut order.last[from * order.nodes + to];
        if last.0 == link && last.1 >= number {
            let message = format!("message {number} of node {from} comes after its {}", last.1);
            return self.fail::<Order>(None, to, message);
        }
        // One of an earlier link says nothing of the order in this one.
        *last = (*last).max((link, number));
    }
}
