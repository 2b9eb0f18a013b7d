//! *Bound*: everything stays within its limit, and in the end nothing is left.

use izna_proto::{LEFT_MAX, Process};

use super::Checker;
use crate::World;

/// Limits, and what is left.
pub(crate) struct Bound;

impl Checker for Bound {
    const NAME: &'static str = "bound";
}

impl World {
    pub(crate) fn check_bounds(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        let (fill, config) = (core.fill(), &node.config);
        let over = [
            ("processes held", fill.held, config.held_max),
            ("processes queued", fill.queued, config.held_max),
            ("steps in slots", fill.running, config.slots_max),
            ("steps", fill.running + fill.sliced, config.sliced_max),
            ("clients", fill.waiting, config.waiting_max),
            ("deliveries remembered", fill.recent, config.recent_max),
            ("nodes in the view", fill.peers, config.peers_max),
            ("apps", fill.apps, config.apps_max),
            ("requests to memory", fill.memory_requests, config.memory_requests_max),
        ];
        if let Some((what, is, max)) = over.iter().find(|(_, is, max)| is > max) {
            let message = format!("{is} {what}, over the limit of {max}");
            self.fail::<Bound>(None, n, message);
        }
    }

    pub(crate) fn check_process(&mut self, n: usize, process: &Process) {
        let hops_max = self.nodes[n].config.hops_max + process.steps * LEFT_MAX as u32;
        if process.hops > hops_max {
            let message = format!("{} hops, over the limit of {hops_max}", process.hops);
            self.fail::<Bound>(Some(process.id), n, message);
        }
    }

    /// In the end no process is held and no client waits.
    pub(crate) fn check_rest(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else {
                return self.fail::<Bound>(None, n, String::from("it did not start again"));
            };
            let (held, waiting) = core.held();
            let left = core.processes().next().map(|process| (process.id, process.state));
            if held + waiting > 0 {
                let message =
                    format!("holds {held} processes and {waiting} clients in the end: {left:?}");
                self.fail::<Bound>(left.map(|(process, _)| process), n, message);
            }
        }
    }
}
