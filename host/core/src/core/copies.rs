//! Which components are here: those that the app table wants, those that this node took in by
//! itself, and those that it keeps until another node has them; and where their code comes from.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use izna_proto::{ComponentCopy, ComponentId, Digest, Message, NodeId, Spread};

use super::Core;
use crate::{
    components::Copy,
    io::{AdoptionStage, Note, Output},
    membership,
    time::Duration,
};

impl Core {
    /// The components that are ready here.
    pub fn holds(&self) -> impl Iterator<Item = &ComponentId> {
        self.components.ready().map(|(component, _)| component)
    }

    pub(super) fn inventory_sum(&self) -> u64 {
        let copies = self.components.ready();
        let adopted = copies.map(|(component, copy)| (component, copy.adopted.is_some()));
        membership::inventory_sum(adopted)
    }

    fn inventory(&self) -> Message {
        let copy = |(component, copy): (&ComponentId, &Copy)| ComponentCopy {
            component: *component,
            adopted: copy.adopted,
        };
        let copies = self.components.ready().map(copy).collect();
        Message::Inventory { epoch: self.epoch(), table: self.catalog.sum(), copies }
    }

    pub(super) fn send_inventory(&mut self, peer: NodeId) {
        let inventory = self.inventory();
        self.fx.send(peer, inventory);
    }

    /// Tell everyone at once what is held here, instead of by the next beacon: who holds a
    /// component that was adopted or given up is what others wait for.
    fn tell_inventory(&mut self) {
        let inventory = self.inventory();
        for peer in self.membership.present(&self.fx) {
            self.fx.send(peer, inventory.clone());
        }
    }

    /// Get the components that the table wants here, and give up those that nothing needs.
    pub(super) fn reconcile(&mut self) {
        let (node, traits) = (self.fx.config.node, &self.fx.config.traits);
        let mut current: BTreeMap<ComponentId, bool> = BTreeMap::new();
        for (app, spec) in self.catalog.components() {
            let (id, wanted) = (spec.id(&app.name), spec.spread.includes(node, traits));
            current.insert(id, wanted);
            if wanted {
                self.components.want(&self.fx, id, spec.digest);
            }
        }
        let old = self.catalog.superseded();
        let is_gone = |(id, copy): (&ComponentId, &Copy)| {
            let needed = match current.get(id) {
                Some(wanted) => *wanted || self.is_kept(id, copy),
                None => old.contains(id),
            };
            (!needed).then_some(*id)
        };
        let gone: Vec<ComponentId> = self.components.copies().filter_map(is_gone).collect();
        gone.iter().for_each(|id| self.components.remove(id));
        self.fetch_code();
    }

    /// Whether a component that the table wants elsewhere stays here.
    fn is_kept(&self, id: &ComponentId, copy: &Copy) -> bool {
        let Some((_, spec)) = self.catalog.component(*id) else { return false };
        let (config, spread) = (&self.fx.config, &spec.spread);
        if copy.adopted.is_some() && spread.may_adopt(config.node, &config.traits) {
            return true;
        }
        // A copy that is not ready serves nobody; the last one that is stays until others are.
        self.components.is_ready(id) && !self.is_held_as_wanted(id, spread)
    }

    /// Whether another live node holds a component that is to hold it.
    fn is_held_as_wanted(&self, id: &ComponentId, spread: &Spread) -> bool {
        let mut holders = self.membership.candidates(&self.fx, id);
        holders.any(|peer| spread.includes(peer.node, &peer.traits))
    }

    /// Ask for code that is not here, and let go of code that no component here has.
    pub(super) fn fetch_code(&mut self) {
        for digest in self.components.missing() {
            self.ask_for(digest);
        }
        self.components.release(&mut self.fx);
    }

    pub(super) fn ready(&mut self, digest: Digest, cost: Option<Duration>) {
        let adopted = self.components.obtained(&mut self.fx, digest, cost);
        self.adopted(&adopted);
    }

    /// Components that this node took in can run now.
    pub(super) fn adopted(&mut self, adopted: &[ComponentId]) {
        for id in adopted {
            self.note_adoption(*id, AdoptionStage::Ready);
        }
        if !adopted.is_empty() {
            self.fx.counters.adopted += adopted.len() as u64;
            self.tell_inventory();
            self.ask_for_work();
        }
    }

    pub(super) fn not_ready(&mut self, digest: Digest, why: String) {
        for id in self.components.not_obtained(&mut self.fx, digest, why) {
            self.note_adoption(id, AdoptionStage::Failed);
            self.components.remove(&id);
        }
        self.fetch_code();
    }

    pub(super) fn ask_again(&mut self, digest: Digest) {
        if self.components.asks_again(digest) {
            self.ask_for(digest);
        }
    }

    /// The nodes that run it have it for sure; where it was deployed it is too, though it may not
    /// run there.
    fn ask_for(&mut self, digest: Digest) {
        let mut holders = self.near_with_code(digest);
        // Another zone may have it.
        let peers = self.membership.peers().iter();
        let abroad = peers.filter(|peer| peer.linked && peer.zone.is_some());
        holders.extend(abroad.map(|peer| peer.node));
        self.connect_for(digest);
        self.fx.put(Output::Hold { digest, holders });
    }

    /// The nodes of this zone that may have code, those first that run it.
    pub(super) fn near_with_code(&self, digest: Digest) -> Vec<NodeId> {
        let mut holders = self.runners(&digest);
        let present = self.membership.present(&self.fx);
        let others: Vec<NodeId> = present.into_iter().filter(|p| !holders.contains(p)).collect();
        holders.extend(others);
        holders
    }

    /// The nodes of this zone that run code.
    pub(super) fn runners(&self, digest: &Digest) -> Vec<NodeId> {
        let specs = self.catalog.components().filter(|(_, spec)| spec.digest == *digest);
        let ids = specs.map(|(app, spec)| spec.id(&app.name));
        ids.flat_map(|id| self.membership.linked_holders(&id)).collect()
    }

    /// Give up a component that nobody said should be here.
    pub(super) fn let_go(&mut self, id: ComponentId) {
        self.note_adoption(id, AdoptionStage::GivenUp);
        self.fx.counters.given_up += 1;
        self.components.remove(&id);
        self.fetch_code();
        self.tell_inventory();
    }

    pub(super) fn note_adoption(&mut self, id: ComponentId, stage: AdoptionStage) {
        if let Some((app, spec)) = self.catalog.component(id) {
            let (app, component) = (app.name.clone(), spec.name.clone());
            self.fx.note(Note::Adoption { component, app, stage });
        }
    }
}
