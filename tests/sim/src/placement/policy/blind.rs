//! Without any load: a holder keeps a process, others give it to any holder.

use super::{Hearsay, Policy, Signal, Verdict, any_holder, nobody};
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

/// Draws of a holder until none is taken to live.
const DRAWS_MAX: usize = 64;

impl Blind {
    fn any(&self, cluster: &mut Cluster<'_>, at: usize, component: usize) -> Option<usize> {
        (0..DRAWS_MAX).find_map(|_| {
            let node = any_holder(cluster, at, component)?;
            self.hearsay.of(cluster, at, node).map(|_| node)
        })
    }
}

impl Policy for Blind {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        if cluster.holds(at, component) {
            return Verdict::Stay;
        }
        let drawn = if self.by_capacity {
            self.hearsay.draw(cluster, at, component, |figures, _| {
                f64::from(figures.cores) * figures.told_speed
            })
        } else {
            self.any(cluster, at, component)
        };
        drawn.map_or_else(|| nobody(cluster), Verdict::Go)
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if matches!(signal, Signal::Failed) {
            self.hearsay.failed(cluster.now, at, from);
        }
    }
}
