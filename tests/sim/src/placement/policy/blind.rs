//! Without any load: a holder keeps a process, others give it to any holder.

use super::{Hearsay, Policy, Signal, Verdict, nobody};
use crate::placement::{cluster::Cluster, event::Id};

#[derive(Debug)]
pub(super) struct Blind {
    hearsay: Hearsay,
    by_capacity: bool,
}

impl Blind {
    /// All alike.
    pub(super) fn random() -> Self {
        Self { hearsay: Hearsay::default(), by_capacity: false }
    }

    /// By cores times speed.
    pub(super) fn by_capacity() -> Self {
        Self { hearsay: Hearsay::default(), by_capacity: true }
    }
}

impl Policy for Blind {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        if cluster.holds(at, component) {
            return Verdict::Stay;
        }
        let by_capacity = self.by_capacity;
        let drawn = self.hearsay.draw(cluster, at, component, |figures, _| {
            if by_capacity { f64::from(figures.cores) * figures.told_speed } else { 1.0 }
        });
        drawn.map_or_else(|| nobody(cluster), Verdict::Go)
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if matches!(signal, Signal::Failed) {
            self.hearsay.failed(cluster.now, at, from);
        }
    }
}
