//! *Queue*: of what waits to run at a node, the oldest birth runs first.

use super::Checker;
use crate::{World, node::Effects};
use izna_core::{Output, ProcessState};

/// The order of the run queue.
pub(crate) struct Queue;

impl Checker for Queue {
    const NAME: &'static str = "queue";
}

impl World {
    pub(crate) fn check_queue(&mut self, n: usize, effects: &Effects) {
        let Some(core) = &self.nodes[n].core else { return };
        let runs = effects.outputs.iter().filter_map(|output| match output {
            Output::Run(step) => core.process(step.held),
            _ => None,
        });
        let Some(youngest) = runs.min_by_key(|process| process.age) else { return };
        let waits = core.processes().filter(|process| process.state == ProcessState::Queued);
        let older = waits.max_by_key(|process| process.age).filter(|p| p.age > youngest.age);
        if let Some(older) = older {
            let message =
                format!("runs before process {}, which is born earlier and waits", older.id.0);
            self.fail::<Queue>(Some(youngest.id), n, message);
        }
    }
}
