//! The better of two random choices, on beacons; the own node is a third one.

use super::{Hearsay, Policy, Signal, Verdict, any_holder, beaconed_time_s, nobody, own_time_s};
use crate::placement::{cluster::Cluster, event::Id};

const CHOICES: usize = 2;
/// Draws until it takes what it has.
pub(super) const DRAWS_MAX: usize = 24;

#[derive(Debug, Default)]
pub(super) struct TwoChoices {
    hearsay: Hearsay,
}

impl Policy for TwoChoices {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        let holds = cluster.holds(at, component);
        let mut best = holds.then(|| (own_time_s(cluster, at, id), at));
        let few = cluster.holders_in(component, cluster.zone(at)).len() <= 2;
        let (mut chosen, mut last) = (0, None);
        for _ in 0..DRAWS_MAX {
            let Some(node) = any_holder(cluster, at, component) else { continue };
            if last == Some(node) && !few {
                continue;
            }
            let Some(beacon) = self.hearsay.of(cluster, at, node) else { continue };
            (chosen, last) = (chosen + 1, Some(node));
            let time_s = beaconed_time_s(cluster, at, node, id, &beacon);
            if best.is_none_or(|(least, _)| time_s < least) {
                best = Some((time_s, node));
            }
            if chosen == CHOICES {
                break;
            }
        }
        match best {
            Some((_, node)) if node == at => Verdict::Stay,
            Some((_, node)) => Verdict::Go(node),
            None => nobody(cluster),
        }
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if matches!(signal, Signal::Failed) {
            self.hearsay.failed(cluster.now, at, from);
        }
    }
}
