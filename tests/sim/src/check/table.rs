//! *Table*: no line of the app table gives way to an older one; in the end all nodes have the same
//! apps, and hold the components that they are to hold.

use std::collections::BTreeSet;

use izna_core::Core;
use izna_proto::{ComponentId, TableEntry};

use super::Checker;
use crate::{World, world::node_id};

/// The app table.
pub(crate) struct Tables;

impl Checker for Tables {
    const NAME: &'static str = "table";
}

impl World {
    /// A node keeps a line on its disk: none may take the place of a newer one.
    pub(crate) fn check_stored(&mut self, n: usize, line: &TableEntry) {
        let before = self.nodes[n].table.get(&line.name).map(|before| before.revision);
        if let Some(before) = before.filter(|before| *before > line.revision) {
            let (name, revision) = (&line.name, line.revision);
            let message = format!("{name} goes back from revision {before} to {revision}");
            self.fail::<Tables>(None, n, message);
        }
    }

    pub(crate) fn check_tables(&mut self) {
        for n in 1..self.nodes.len() {
            let sum = |n: usize| self.nodes[n].core.as_ref().map(Core::table_sum);
            if sum(n) != sum(0) {
                let message = String::from("its app table is not that of node 0 in the end");
                self.fail::<Tables>(None, n, message);
            }
        }
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else { continue };
            let holds: BTreeSet<ComponentId> = core.holds().copied().collect();
            if let Some(lacks) = wanted(core, n).difference(&holds).next() {
                let message = format!("component {lacks} is not ready in the end");
                self.fail::<Tables>(None, n, message);
            }
        }
    }
}

/// What a node is to hold by its own table.
fn wanted(core: &Core, n: usize) -> BTreeSet<ComponentId> {
    let apps = core.table().filter_map(|line| line.app.as_ref());
    let components = apps.flat_map(|app| app.components.iter().map(move |c| (app, c)));
    let (node, traits) = (node_id(n), core.traits());
    let here = components.filter(|(_, component)| component.spread.includes(node, traits));
    here.map(|(app, component)| component.id(&app.name)).collect()
}
