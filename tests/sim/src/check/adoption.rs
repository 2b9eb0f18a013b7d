//! *Adoption*: a node gives up what it took in and nothing else, never the last copy as far as it
//! knows, and takes in no more than it may.

use std::{collections::BTreeSet, sync::Arc};

use izna_core::{AdoptionStage, Core, Note, Reason};
use izna_proto::{App, ComponentSpec};

use super::Checker;
use crate::{World, world::node_id};

/// What nodes have taken in.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    /// By node, app and component.
    taken: BTreeSet<(usize, Arc<str>, Arc<str>)>,
}

impl Checker for Adoption {
    const NAME: &'static str = "adoption";
}

impl Adoption {
    pub(crate) fn crashed(&mut self, n: usize) {
        self.taken.retain(|(node, ..)| *node != n);
    }
}

impl World {
    /// A node tells what becomes of a component that it took in.
    pub(crate) fn check_adoption(&mut self, n: usize, note: &Note) {
        let Note::Adoption { component, app, stage } = note else { return };
        let Some(core) = &self.nodes[n].core else { return };
        let of = (n, app.clone(), component.clone());
        let adoption = &mut self.checkers.adoption;
        let known = match stage {
            AdoptionStage::Begun(_) => {
                adoption.taken.insert(of);
                true
            }
            AdoptionStage::Ready => adoption.taken.contains(&of),
            AdoptionStage::GivenUp | AdoptionStage::Failed => adoption.taken.remove(&of),
        };
        let wrong = match stage {
            _ if !known => Some(format!("{stage:?}, and it was not taken in")),
            AdoptionStage::Begun(_) => {
                let (others, max) = (adopted(core, n, component), core_max(self, n));
                let over = others + 1 > max;
                over.then(|| format!("takes in one more than {max}"))
            }
            AdoptionStage::GivenUp => {
                let last = is_last(core, n, app, component);
                last.then(|| String::from("gives up what it believes is the last copy"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let message = format!("component {component} of {app}: {wrong}");
            self.fail::<Adoption>(None, n, message);
        }
    }
}

fn core_max(world: &World, n: usize) -> usize {
    world.nodes[n].config.adopted_max
}

fn components(core: &Core) -> impl Iterator<Item = (&App, &ComponentSpec)> {
    let apps = core.table().filter_map(|line| line.app.as_ref());
    apps.flat_map(|app| app.components.iter().map(move |component| (app, component)))
}

/// How many components beside this one a node took in and can run.
fn adopted(core: &Core, n: usize, but: &str) -> usize {
    let own = |(app, spec): &(&App, &ComponentSpec)| {
        let holders = core.holders(&app.name, spec);
        let mut own = holders.iter().filter(|holder| holder.node == node_id(n));
        own.any(|holder| matches!(holder.reason, Reason::Adopted(_))) && *spec.name != *but
    };
    components(core).filter(own).count()
}

/// Whether nobody else holds it, as far as the node knows.
fn is_last(core: &Core, n: usize, app: &str, component: &str) -> bool {
    let spec = components(core).find(|(of, spec)| *of.name == *app && *spec.name == *component);
    spec.is_some_and(|(_, spec)| {
        core.holders(app, spec).iter().all(|holder| holder.node == node_id(n))
    })
}
