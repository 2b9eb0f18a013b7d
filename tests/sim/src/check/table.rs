//! *Table*: in the end all nodes have the same apps, and hold the components that they are to hold.

use std::collections::BTreeSet;

use izna_core::Core;
use izna_proto::Digest;

use crate::{World, world::node_id};

impl World {
    pub(crate) fn check_tables(&mut self) {
        for n in 1..self.nodes.len() {
            let sum = |n: usize| self.nodes[n].core.as_ref().map(Core::table_sum);
            if sum(n) != sum(0) {
                let message = String::from("its app table is not that of node 0 in the end");
                self.fail("table", None, n, message);
            }
        }
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else { continue };
            let holds: BTreeSet<Digest> = core.holds().copied().collect();
            if let Some(lacks) = wanted(core, n).difference(&holds).next() {
                let message = format!("component {lacks} is not ready in the end");
                self.fail("table", None, n, message);
            }
        }
    }
}

/// What a node is to hold by its own table.
fn wanted(core: &Core, n: usize) -> BTreeSet<Digest> {
    let apps = core.table().filter_map(|line| line.app.as_ref());
    let components = apps.flat_map(|app| &app.components);
    let here = components.filter(|component| component.spread.includes(node_id(n)));
    here.map(|component| component.digest).collect()
}
