//! Adoption at work: what nodes measure of components, whom they tell, and what the node that
//! decides about a component does. The rules are in `placement::adoption`.
//!
//! About a component decides the live holder with the lowest id: it is there as long as anyone
//! holds the component, everybody knows it, and when it dies the next one goes on. Two nodes whose
//! views differ may both decide for a moment; then one copy too many is taken in, and given up
//! again later. Nothing is told while no component is full and none was adopted.

use alloc::{collections::BTreeMap, vec::Vec};

use izna_proto::{
    App, ComponentDemand, ComponentId, ComponentSpec, Grounds, Load, Message, NodeId, Spread,
};

use super::{Core, Drain};
use crate::{
    adoption::{Member, holder, milli},
    components::Copy,
    effects::Timer,
    io::{AdoptionStage, Note},
    membership::Peer,
    placement::{self, Holder, Spare},
    sabotage::Sabotage,
};

/// A node with this share of its memory in use, in thousandths, takes nothing in...
const MEMORY_SHORT: u16 = 800;
/// ...and with this share it gives up what it took in.
const MEMORY_TIGHT: u16 = 900;

impl Core {
    /// Measure, tell who decides, and decide.
    pub(super) fn look_after_components(&mut self) {
        self.fx.arm(self.fx.now + self.fx.config.adoption_interval, Timer::Adoption);
        self.components.measure_inflow(self.fx.now);
        self.adoption.measure(&self.fx);
        self.tell_demands();
        self.adoption.forget(&self.fx);
        for component in self.adoption.components() {
            if self.decider(&component) == Some(self.fx.config.node) {
                self.decide_about(component);
            }
        }
        self.make_room();
    }

    /// Who decides about a component: the live holder with the lowest id.
    fn decider(&self, component: &ComponentId) -> Option<NodeId> {
        let here = self.components.is_ready(component) && self.drain == Drain::No;
        let peers = self.membership.candidates(&self.fx, component).map(|peer| peer.node);
        peers.chain(here.then_some(self.fx.config.node)).min()
    }

    /// Tell of components that are full here, that this node took in, and of which it turned work
    /// away.
    fn tell_demands(&mut self) {
        let load = self.load();
        let mut figures: BTreeMap<ComponentId, ComponentDemand> = BTreeMap::new();
        for (component, copy) in self.components.ready() {
            let demand_us = self.components.demand_us(&copy.digest);
            let full = placement::is_full(f64::from(load.wait_us), demand_us);
            if full || copy.adopted.is_some() {
                figures.insert(*component, self.measured_demand(*component, copy));
            }
        }
        for (component, refused_milli) in self.adoption.refusals() {
            let nothing = ComponentDemand {
                component,
                inflow_milli: 0,
                refused_milli: 0,
                demand_us: 0,
                load_ms: 0,
            };
            let copy = self.components.get(&component);
            let own = copy.map_or(nothing, |copy| self.measured_demand(component, copy));
            figures.entry(component).or_insert(own).refused_milli = refused_milli;
        }
        let mut by_decider: BTreeMap<NodeId, Vec<ComponentDemand>> = BTreeMap::new();
        for demand in figures.into_values() {
            if let Some(decider) = self.decider(&demand.component) {
                by_decider.entry(decider).or_default().push(demand);
            }
        }
        self.adoption.take_turns(&mut by_decider);
        for (decider, demands) in by_decider {
            if decider == self.fx.config.node {
                self.told_demands(decider, load, demands);
            } else {
                self.fx.send(decider, Message::Demands { load, demands });
            }
        }
    }

    fn measured_demand(&self, component: ComponentId, copy: &Copy) -> ComponentDemand {
        let code = self.components.code(&copy.digest);
        let ran = code.is_some_and(|code| code.ran);
        let cost = code.and_then(|code| code.cost).unwrap_or_default();
        let demand_us = self.components.demand_us(&copy.digest);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        ComponentDemand {
            component,
            inflow_milli: milli(copy.inflow()),
            refused_milli: 0,
            demand_us: if ran { (demand_us as u32).max(1) } else { 0 },
            load_ms: u32::try_from(cost.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Another node tells what it has measured.
    pub(super) fn told_demands(&mut self, peer: NodeId, load: Load, demands: Vec<ComponentDemand>) {
        if peer != self.fx.config.node {
            self.membership.told_load(&self.fx, peer, load);
        }
        for demand in demands {
            // Who decides holds the component; in another's view that may have been this node.
            if self.components.get(&demand.component).is_some() {
                self.adoption.told(&self.fx, peer, demand);
            }
        }
    }

    fn decide_about(&mut self, component: ComponentId) {
        let Some((app, spec)) = self.catalog.component(component) else { return };
        let mut spread = spec.spread.clone();
        // Of components that must be held together no node takes in one alone.
        spread.adopts &= !has_company(app, &spec.name);
        let names = (app.name.clone(), spec.name.clone());
        let members = self.members(&component);
        self.adoption.holds(component, &members);
        let spares = self.spares(&component, &spread);
        let decided = self.adoption.spread(&self.fx, component, &members, spares);
        if let Some((targets, grounds)) = decided {
            for target in &targets {
                self.fx.send(*target, Message::Adopt { component, grounds });
            }
            let (app, component) = names;
            self.fx.note(Note::Spreads { component, app, targets, grounds });
        }
        for node in self.adoption.shrink(&self.fx, component, &members) {
            if node == self.fx.config.node {
                self.give_up(component);
            } else {
                self.fx.send(node, Message::GiveUp { component });
            }
        }
    }

    /// The live holders of a component.
    fn members(&self, component: &ComponentId) -> Vec<Member> {
        let member = |peer: &Peer| Member {
            node: peer.node,
            load: *peer.belief.load(),
            adopted: peer.adopted(component).is_some(),
        };
        let peers = self.membership.candidates(&self.fx, component);
        let mut members: Vec<Member> = peers.map(member).collect();
        let own = self.components.get(component);
        if let Some(copy) = own.filter(|_| self.components.is_ready(component)) {
            let (node, adopted) = (self.fx.config.node, copy.adopted.is_some());
            members.push(Member { node, load: self.load(), adopted });
        }
        members
    }

    /// The nodes that could take a component in now.
    fn spares(&self, component: &ComponentId, spread: &Spread) -> Vec<Spare<NodeId>> {
        let may = |peer: &&Peer| {
            let load = peer.belief.load();
            // Another zone is not helped by a copy here, nor the other way: bulletins tell too little.
            peer.is_near()
                && self.membership.is_live(&self.fx, peer.node)
                && load.idle > 0
                && load.memory_permille < MEMORY_SHORT
                && !peer.holds(component)
                && !self.adoption.was_asked(*component, peer.node)
                && spread.may_adopt(peer.node, &peer.traits)
        };
        let spare = |peer: &Peer| {
            let Holder { inflow, capacity, .. } = holder(peer.belief.load());
            Spare { node: peer.node, inflow, capacity }
        };
        self.membership.peers().iter().filter(may).map(spare).collect()
    }

    /// The node that decides wants this one to take a component in.
    pub(super) fn adopt(&mut self, component: ComponentId, grounds: Grounds) {
        let Some((_, spec)) = self.catalog.component(component) else { return };
        let config = &self.fx.config;
        if self.drain != Drain::No
            || self.components.get(&component).is_some()
            || !spec.spread.may_adopt(config.node, &config.traits)
            || self.meter.memory_permille() >= MEMORY_SHORT
            || (self.components.adopted() >= config.adopted_max
                && !self.fx.sabotaged(Sabotage::AdoptAll))
        {
            self.fx.counters.not_adopted += 1;
            return;
        }
        self.components.adopt(&self.fx, component, spec.digest, grounds);
        self.note_adoption(component, AdoptionStage::Begun(grounds));
        self.fetch_code();
        if self.components.is_ready(&component) {
            // Another component of the same code is here.
            self.adopted(&[component]);
        }
    }

    /// The node that decides does not need this one's copy any more. The last copy stays: another
    /// must be there whose node was told to hold it, or has a lower id and so goes later.
    pub(super) fn give_up(&mut self, component: ComponentId) {
        let copy = self.components.get(&component);
        if copy.is_some_and(|copy| self.may_give_up(&component, copy)) {
            self.let_go(component);
        }
    }

    fn may_give_up(&self, component: &ComponentId, copy: &Copy) -> bool {
        let own = self.fx.config.node;
        let stays = |peer: &Peer| peer.adopted(component).is_none() || peer.node < own;
        let mut others = self.membership.candidates(&self.fx, component);
        self.fx.sabotaged(Sabotage::GiveUpLast) || (copy.adopted.is_some() && others.any(stays))
    }

    /// When memory is short: give up the component that has the least work, of those that were taken
    /// in and that others have.
    fn make_room(&mut self) {
        if self.meter.memory_permille() < MEMORY_TIGHT {
            return;
        }
        let spare = self.components.copies().filter(|(id, copy)| self.may_give_up(id, copy));
        let least = spare.min_by(|a, b| a.1.inflow().total_cmp(&b.1.inflow()));
        if let Some(component) = least.map(|(component, _)| *component) {
            self.give_up(component);
        }
    }
}

/// Whether a local link leads from a component, or to it.
fn has_company(app: &App, component: &str) -> bool {
    let local = |spec: &ComponentSpec| {
        let mut links = spec.links.iter().filter(|link| link.local);
        links.any(|link| &*spec.name == component || &*link.target == component)
    };
    app.components.iter().any(local)
}
