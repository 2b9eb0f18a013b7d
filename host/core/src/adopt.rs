//! Adoption at work: what nodes measure of components, whom they tell, and what the node that
//! decides about a component does. The rules are in `placement::adoption`.
//!
//! About a component decides the live holder with the lowest id: it is there as long as anyone
//! holds the component, everybody knows it, and when it dies the next one goes on. Two nodes whose
//! views differ may both decide for a moment; then one copy too many is taken in, and given up
//! again later. Nothing is told while no component is full and none was adopted.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use izna_proto::{
    App, ComponentDemand, ComponentId, ComponentSpec, DEMANDS_MAX, Grounds, Load, Message, NodeId,
    Spread,
};

use crate::{
    AdoptionStage, Core, Duration, Note, Time,
    core::{Inflow, Timer},
    holding::OwnCopy,
    peer::{Peer, PeerState},
    placement::{self, Adoption, DEMAND_US_FIRST, Demand, Holder, Spare, is_unneeded},
};

/// What was told is used for so many intervals.
const TOLD_INTERVALS: u32 = 4;
/// A node that was to take a component in and does not hold it is not asked again for this long.
const ASKED_FOR: Duration = Duration::from_secs(60);
/// What taking a component in costs where nobody has measured it, in processor seconds.
const LOAD_SECONDS: f64 = 1.0;
/// A node with this share of its memory in use, in thousandths, takes nothing in...
const MEMORY_SHORT: u16 = 800;
/// ...and with this share it gives up what it took in.
const MEMORY_TIGHT: u16 = 900;
/// The most figures of other nodes, and of this one, that are remembered.
const TOLD_MAX: usize = 65_536;
/// The least work that is worth telling of, in cores.
const RATE_MIN: f64 = 0.001;

/// What this node knows of components beyond what it holds.
#[derive(Debug, Default)]
pub(crate) struct Adoptions {
    /// Work that was turned away here because the holders are full.
    refused: BTreeMap<ComponentId, Inflow>,
    /// What nodes have measured, this one too, and when they told it.
    told: BTreeMap<(ComponentId, NodeId), (Time, ComponentDemand)>,
    /// Of what is more than a message tells, the last component of which each node was told.
    told_to: BTreeMap<NodeId, ComponentId>,
    /// The components about which this node decides.
    deciding: BTreeMap<ComponentId, Deciding>,
}

/// The state of the decisions about one component.
#[derive(Debug, Default)]
struct Deciding {
    adoption: Adoption,
    /// Who was told to take it in, and when.
    asked: BTreeMap<NodeId, Time>,
    /// Since when the others would do without each node that took it in.
    unneeded: BTreeMap<NodeId, Time>,
}

/// A holder as the node that decides sees it.
struct Member {
    node: NodeId,
    load: Load,
    adopted: bool,
}

impl Adoptions {
    /// A process was turned away because no holder of its component takes it.
    pub(crate) fn refused(&mut self, now: Time, component: ComponentId, demand_us: f64) {
        self.refused.entry(component).or_insert_with(|| Inflow::new(now)).add(demand_us);
    }

    /// What is believed of a component now.
    fn demands(&self, component: ComponentId) -> impl Iterator<Item = (NodeId, &ComponentDemand)> {
        let range = (component, NodeId(0))..=(component, NodeId(u64::MAX));
        self.told.range(range).map(|((_, node), (_, demand))| (*node, demand))
    }

    fn forget(&mut self, now: Time, interval: Duration) {
        self.told.retain(|_, (at, _)| now.since(*at) <= interval * TOLD_INTERVALS);
        self.refused.retain(|_, refused| refused.rate >= RATE_MIN);
        let told: BTreeSet<ComponentId> =
            self.told.keys().map(|(component, _)| *component).collect();
        self.deciding.retain(|component, _| told.contains(component));
        for deciding in self.deciding.values_mut() {
            deciding.asked.retain(|_, at| now.since(*at) < ASKED_FOR);
        }
    }
}

impl Core {
    /// Measure, tell who decides, and decide.
    pub(crate) fn look_after_components(&mut self) {
        let now = self.now;
        self.arm(now + self.config.adoption_interval, Timer::Adoption);
        self.copies.values_mut().for_each(|copy| copy.inflow.measure(now));
        self.adoptions.refused.values_mut().for_each(|refused| refused.measure(now));
        self.tell_demands();
        self.adoptions.forget(now, self.config.adoption_interval);
        let told: BTreeSet<ComponentId> =
            self.adoptions.told.keys().map(|(component, _)| *component).collect();
        for component in told {
            if self.decider(&component) == Some(self.config.node) {
                self.decide_about(component);
            }
        }
        self.make_room();
    }

    /// Who decides about a component: the live holder with the lowest id.
    fn decider(&self, component: &ComponentId) -> Option<NodeId> {
        let here = (self.is_ready(component) && !self.draining).then_some(self.config.node);
        let peers = self.view.candidates(self.now, component, &self.config);
        peers.map(|peer| peer.node).chain(here).min()
    }

    /// Tell of components that are full here, that this node took in, and of which it turned work
    /// away.
    fn tell_demands(&mut self) {
        let load = self.load();
        let mut figures: BTreeMap<ComponentId, ComponentDemand> = BTreeMap::new();
        for (component, copy) in self.ready_copies() {
            let demand = self.measured_demand(*component, copy);
            let full = placement::is_full(f64::from(load.wait_us), self.demand_us(copy));
            if full || copy.adopted.is_some() {
                figures.insert(*component, demand);
            }
        }
        for (component, refused) in &self.adoptions.refused {
            if refused.rate >= RATE_MIN {
                let copy = self.copies.get(component);
                let nothing = ComponentDemand {
                    component: *component,
                    inflow_milli: 0,
                    refused_milli: 0,
                    demand_us: 0,
                    load_ms: 0,
                };
                let own = copy.map_or(nothing, |copy| self.measured_demand(*component, copy));
                figures.entry(*component).or_insert(own).refused_milli = milli(refused.rate);
            }
        }
        let mut by_decider: BTreeMap<NodeId, Vec<ComponentDemand>> = BTreeMap::new();
        for demand in figures.into_values() {
            if let Some(decider) = self.decider(&demand.component) {
                by_decider.entry(decider).or_default().push(demand);
            }
        }
        self.adoptions.told_to.retain(|decider, _| by_decider.contains_key(decider));
        for (decider, mut demands) in by_decider {
            let last = self.adoptions.told_to.get(&decider).copied();
            if let Some(last) = take_turn(&mut demands, last) {
                self.adoptions.told_to.insert(decider, last);
            }
            if decider == self.config.node {
                self.told_demands(decider, load, demands);
            } else {
                self.send(decider, Message::Demands { load, demands });
            }
        }
    }

    fn demand_us(&self, copy: &OwnCopy) -> f64 {
        self.components.get(&copy.digest).map_or(DEMAND_US_FIRST, |component| component.demand_us)
    }

    fn measured_demand(&self, component: ComponentId, copy: &OwnCopy) -> ComponentDemand {
        let code = self.components.get(&copy.digest);
        let ran = code.is_some_and(|code| code.ran);
        let cost = code.and_then(|code| code.cost).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        ComponentDemand {
            component,
            inflow_milli: milli(copy.inflow.rate),
            refused_milli: 0,
            demand_us: if ran { (self.demand_us(copy) as u32).max(1) } else { 0 },
            load_ms: u32::try_from(cost.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Another node tells what it has measured.
    pub(crate) fn told_demands(&mut self, peer: NodeId, load: Load, demands: Vec<ComponentDemand>) {
        if peer != self.config.node {
            self.view.told_load(self.now, peer, load);
        }
        for demand in demands {
            // Who decides holds the component; in another's view that may have been this node.
            let of = (demand.component, peer);
            let is_here = self.copies.contains_key(&demand.component);
            let has_room =
                self.adoptions.told.len() < TOLD_MAX || self.adoptions.told.contains_key(&of);
            if is_here && has_room {
                self.adoptions.told.insert(of, (self.now, demand));
            }
        }
    }

    fn decide_about(&mut self, component: ComponentId) {
        let Some((app, spec)) = self.table.component(component) else { return };
        let mut spread = spec.spread.clone();
        // Of components that must be held together no node takes in one alone.
        spread.adopts &= !has_company(app, &spec.name);
        let members = self.members(&component);
        let mut deciding = self.adoptions.deciding.remove(&component).unwrap_or_default();
        deciding.asked.retain(|node, _| !members.iter().any(|member| member.node == *node));
        self.spread(component, &spread, &members, &mut deciding);
        self.shrink(component, &members, &mut deciding);
        self.adoptions.deciding.insert(component, deciding);
    }

    /// The live holders of a component.
    fn members(&self, component: &ComponentId) -> Vec<Member> {
        let member = |peer: &Peer| Member {
            node: peer.node,
            load: *peer.belief.load(),
            adopted: peer.adopted(component).is_some(),
        };
        let peers = self.view.candidates(self.now, component, &self.config);
        let mut members: Vec<Member> = peers.map(member).collect();
        if let Some(copy) = self.copies.get(component).filter(|_| self.is_ready(component)) {
            let adopted = copy.adopted.is_some();
            members.push(Member { node: self.config.node, load: self.load(), adopted });
        }
        members
    }

    /// When all holders are full: others are to take the component in.
    fn spread(
        &mut self,
        component: ComponentId,
        spread: &Spread,
        members: &[Member],
        deciding: &mut Deciding,
    ) {
        let demand = self.demand(component);
        let holders: Vec<Holder> = members.iter().map(|member| holder(&member.load)).collect();
        let mut spares = self.spares(&component, spread, deciding);
        let targets = deciding.adoption.look(self.now, &demand, &holders, &mut spares);
        if targets.is_empty() {
            return;
        }
        let (inflow, capacity) = placement::totals(&holders);
        let least_us = holders.iter().map(|holder| holder.wait_us).fold(f64::INFINITY, f64::min);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let grounds = Grounds {
            by: self.config.node,
            holders: u32::try_from(holders.len()).unwrap_or(u32::MAX),
            wait_us: least_us as u32,
            demand_us: demand.demand_us as u32,
            inflow_milli: milli(inflow + demand.refused),
            capacity_milli: milli(capacity),
        };
        for target in &targets {
            deciding.asked.insert(*target, self.now);
            self.send(*target, Message::Adopt { component, grounds });
        }
        if let Some((app, spec)) = self.table.component(component) {
            let (app, component) = (app.name.clone(), spec.name.clone());
            self.note(Note::Spreads { component, app, targets, grounds });
        }
    }

    fn demand(&self, component: ComponentId) -> Demand {
        let demands = || self.adoptions.demands(component).map(|(_, demand)| demand);
        let sum = |part: fn(&ComponentDemand) -> u32| -> f64 {
            demands().map(|demand| f64::from(part(demand))).sum::<f64>() / 1000.0
        };
        let most = |part: fn(&ComponentDemand) -> u32| demands().map(part).max().unwrap_or(0);
        let (demand_us, load_ms) = (most(|d| d.demand_us), most(|d| d.load_ms));
        let demand_us = if demand_us == 0 { DEMAND_US_FIRST } else { f64::from(demand_us) };
        // Who has never run a step of it counts what it turned away with a guess.
        let guess = sum(|demand| if demand.demand_us == 0 { demand.refused_milli } else { 0 });
        let known = sum(|demand| if demand.demand_us == 0 { 0 } else { demand.refused_milli });
        let refused = known + guess * demand_us / DEMAND_US_FIRST;
        Demand {
            demand_us,
            inflow: sum(|demand| demand.inflow_milli),
            refused,
            load_seconds: match load_ms {
                0 => LOAD_SECONDS,
                load_ms => f64::from(load_ms) / 1000.0,
            },
            period: self.config.adoption_interval,
        }
    }

    /// The nodes that could take a component in now.
    fn spares(
        &self,
        component: &ComponentId,
        spread: &Spread,
        deciding: &Deciding,
    ) -> Vec<Spare<NodeId>> {
        let may = |peer: &&Peer| {
            let load = peer.belief.load();
            // Another zone is not helped by a copy here, nor the other way: bulletins tell too little.
            peer.is_near()
                && peer.state(self.now, &self.config) == PeerState::Live
                && load.idle > 0
                && load.memory_permille < MEMORY_SHORT
                && !peer.holds(component)
                && !deciding.asked.contains_key(&peer.node)
                && spread.may_adopt(peer.node, &peer.traits)
        };
        let spare = |peer: &Peer| {
            let Holder { inflow, capacity, .. } = holder(peer.belief.load());
            Spare { node: peer.node, inflow, capacity }
        };
        self.view.peers().iter().filter(may).map(spare).collect()
    }

    /// When some holders suffice: those that took the component in give it up, the highest id
    /// first.
    fn shrink(&mut self, component: ComponentId, members: &[Member], deciding: &mut Deciding) {
        let mut leaving: Vec<&Member> = members.iter().filter(|member| member.adopted).collect();
        leaving.sort_by_key(|member| core::cmp::Reverse(member.node));
        let mut staying: Vec<&Member> = members.iter().collect();
        let demand = self.demand(component);
        let (mut moved, mut unneeded, mut goes) = (demand.refused, BTreeMap::new(), Vec::new());
        for member in leaving {
            let mut demands = self.adoptions.demands(component);
            let told = demands.find(|(node, _)| *node == member.node);
            // Without word from it nobody knows how much the others would have to do.
            let Some((_, demand)) = told else { break };
            moved += f64::from(demand.inflow_milli) / 1000.0;
            staying.retain(|other| other.node != member.node);
            let without: Vec<Holder> = staying.iter().map(|other| holder(&other.load)).collect();
            let inflow = placement::totals(&without).0 + moved;
            if !placement::suffice(inflow, &without) {
                break;
            }
            let since = deciding.unneeded.get(&member.node).copied().unwrap_or(self.now);
            unneeded.insert(member.node, since);
            if is_unneeded(self.now, since, self.config.unneeded_after, inflow, &without) {
                goes.push(member.node);
            }
        }
        deciding.unneeded = unneeded;
        for node in goes {
            if node == self.config.node {
                self.give_up(component);
            } else {
                self.send(node, Message::GiveUp { component });
            }
        }
    }

    /// The node that decides wants this one to take a component in.
    pub(crate) fn adopt(&mut self, component: ComponentId, grounds: Grounds) {
        let Some((_, spec)) = self.table.component(component) else { return };
        let (node, traits) = (self.config.node, &self.config.traits);
        let adopted = self.copies.values().filter(|copy| copy.adopted.is_some()).count();
        #[cfg(feature = "sabotage")]
        let adopted = if self.sabotaged(crate::Sabotage::AdoptAll) { 0 } else { adopted };
        if self.draining
            || self.copies.contains_key(&component)
            || !spec.spread.may_adopt(node, traits)
            || self.measured.memory_permille >= MEMORY_SHORT
            || adopted >= self.config.adopted_max
        {
            self.counters.not_adopted += 1;
            return;
        }
        let copy = OwnCopy::new(self.now, spec.digest, Some(grounds));
        self.copies.insert(component, copy);
        self.note_adoption(component, AdoptionStage::Begun(grounds));
        self.fetch_code();
        if self.is_ready(&component) {
            // Another component of the same code is here.
            self.adopted(&[component]);
        }
    }

    /// The node that decides does not need this one's copy any more. The last copy stays: another
    /// must be there whose node was told to hold it, or has a lower id and so goes later.
    pub(crate) fn give_up(&mut self, component: ComponentId) {
        if self.copies.get(&component).is_some_and(|copy| self.may_give_up(&component, copy)) {
            self.let_go(component);
        }
    }

    fn may_give_up(&self, component: &ComponentId, copy: &OwnCopy) -> bool {
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::GiveUpLast) {
            return true;
        }
        let stays = |peer: &Peer| peer.adopted(component).is_none() || peer.node < self.config.node;
        let mut others = self.view.candidates(self.now, component, &self.config);
        copy.adopted.is_some() && others.any(stays)
    }

    /// When memory is short: give up the component that has the least work, of those that were taken
    /// in and that others have.
    fn make_room(&mut self) {
        if self.measured.memory_permille < MEMORY_TIGHT {
            return;
        }
        let spare = self.copies.iter().filter(|(id, copy)| self.may_give_up(id, copy));
        let least = spare.min_by(|a, b| a.1.inflow.rate.total_cmp(&b.1.inflow.rate));
        if let Some(component) = least.map(|(component, _)| *component) {
            self.give_up(component);
        }
    }
}

/// Of more than one message tells, in the order of the components, those that come after the `last`
/// that was told of; gives the last of these.
fn take_turn(demands: &mut Vec<ComponentDemand>, last: Option<ComponentId>) -> Option<ComponentId> {
    if demands.len() > DEMANDS_MAX {
        let next = demands.partition_point(|demand| Some(demand.component) <= last);
        demands.rotate_left(next);
        demands.truncate(DEMANDS_MAX);
    }
    demands.last().map(|demand| demand.component)
}

/// Whether a local link leads from a component, or to it.
fn has_company(app: &App, component: &str) -> bool {
    let local = |spec: &ComponentSpec| {
        let mut links = spec.links.iter().filter(|link| link.local);
        links.any(|link| &*spec.name == component || &*link.target == component)
    };
    app.components.iter().any(local)
}

fn holder(load: &Load) -> Holder {
    Holder {
        wait_us: f64::from(load.wait_us),
        inflow: f64::from(load.inflow_milli) / 1000.0,
        capacity: f64::from(load.capacity_milli) / 1000.0,
    }
}

fn milli(rate: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let milli = libm::round(rate * 1000.0) as u32;
    milli
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    /// If this fails, of many components the same ones are told of each time, and nobody decides
    /// about the others.
    #[test]
    fn each_component_is_told_of_in_turn() {
        let demand = |number: u64| ComponentDemand {
            component: ComponentId(number),
            inflow_milli: 0,
            refused_milli: 0,
            demand_us: 0,
            load_ms: 0,
        };
        let (mut told, mut last) = (BTreeSet::new(), None);
        for _ in 0..3 {
            let mut demands: Vec<ComponentDemand> = (0..3000).map(demand).collect();
            last = take_turn(&mut demands, last);
            assert_eq!(demands.len(), DEMANDS_MAX);
            told.extend(demands.iter().map(|demand| demand.component));
        }
        assert_eq!(told.len(), 3000);
        let mut few = Vec::from([demand(1), demand(2)]);
        assert_eq!(take_turn(&mut few, Some(ComponentId(1))), Some(ComponentId(2)));
        assert_eq!(few.len(), 2);
    }
}
