//! What this node knows of the demand for components, its own and what others told it, and the state
//! of the decisions that are its own to make. The rules are in `placement::adoption`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use izna_proto::{ComponentDemand, ComponentId, DEMANDS_MAX, Grounds, Load, NodeId};

use crate::{
    effects::Effects,
    inflow::Inflow,
    placement::{self, DEMAND_US_FIRST, Demand, Holder, Spare, is_unneeded},
    time::{Duration, Time},
};

/// What was told is used for so many intervals.
const TOLD_INTERVALS: u32 = 4;
/// A node that was to take a component in and does not hold it is not asked again for this long.
const ASKED_FOR: Duration = Duration::from_secs(60);
/// What taking a component in costs where nobody has measured it, in processor seconds.
const LOAD_SECONDS: f64 = 1.0;
/// The most figures of other nodes, and of this one, that are remembered.
const TOLD_MAX: usize = 65_536;
/// The least work that is worth telling of, in cores.
const RATE_MIN: f64 = 0.001;

#[derive(Debug, Default)]
pub(crate) struct Adoption {
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
    adoption: placement::Adoption,
    /// Who was told to take it in, and when.
    asked: BTreeMap<NodeId, Time>,
    /// Since when the others would do without each node that took it in.
    unneeded: BTreeMap<NodeId, Time>,
}

/// A holder as the node that decides sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) load: Load,
    pub(crate) adopted: bool,
}

impl Adoption {
    /// A process was turned away because no holder of its component takes it.
    pub(crate) fn refused(&mut self, fx: &Effects, component: ComponentId, demand_us: f64) {
        self.refused.entry(component).or_insert_with(|| Inflow::new(fx.now)).add(demand_us);
    }

    /// An interval ends.
    pub(crate) fn measure(&mut self, fx: &Effects) {
        self.refused.values_mut().for_each(|refused| refused.measure(fx.now));
    }

    /// What was turned away here and is worth telling of, in thousandths of a core.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (ComponentId, u32)> {
        let told = self.refused.iter().filter(|(_, refused)| refused.rate() >= RATE_MIN);
        told.map(|(component, refused)| (*component, milli(refused.rate())))
    }

    /// What the nodes that decide are told this time, of more than one message tells.
    pub(crate) fn take_turns(&mut self, told: &mut BTreeMap<NodeId, Vec<ComponentDemand>>) {
        self.told_to.retain(|decider, _| told.contains_key(decider));
        for (decider, demands) in told {
            let last = self.told_to.get(decider).copied();
            if let Some(last) = take_turn(demands, last) {
                self.told_to.insert(*decider, last);
            }
        }
    }

    /// A node, this one maybe, tells what it has measured of a component.
    pub(crate) fn told(&mut self, fx: &Effects, peer: NodeId, demand: ComponentDemand) {
        let of = (demand.component, peer);
        if self.told.len() < TOLD_MAX || self.told.contains_key(&of) {
            self.told.insert(of, (fx.now, demand));
        }
    }

    /// Forget what was told too long ago.
    pub(crate) fn forget(&mut self, fx: &Effects) {
        let (now, interval) = (fx.now, fx.config.adoption_interval);
        self.told.retain(|_, (at, _)| now.since(*at) <= interval * TOLD_INTERVALS);
        self.refused.retain(|_, refused| refused.rate() >= RATE_MIN);
        let told = self.components();
        self.deciding.retain(|component, _| told.contains(component));
        for deciding in self.deciding.values_mut() {
            deciding.asked.retain(|_, at| now.since(*at) < ASKED_FOR);
        }
    }

    /// The components of which something was told.
    pub(crate) fn components(&self) -> BTreeSet<ComponentId> {
        self.told.keys().map(|(component, _)| *component).collect()
    }

    /// What is believed of a component now.
    fn demands(&self, component: ComponentId) -> impl Iterator<Item = (NodeId, &ComponentDemand)> {
        let range = (component, NodeId(0))..=(component, NodeId(u64::MAX));
        self.told.range(range).map(|((_, node), (_, demand))| (*node, demand))
    }

    fn demand(&self, fx: &Effects, component: ComponentId) -> Demand {
        let demands = || self.demands(component).map(|(_, demand)| demand);
        let sum = |figure: fn(&ComponentDemand) -> u32| -> f64 {
            demands().map(|demand| f64::from(figure(demand))).sum::<f64>() / 1000.0
        };
        let most = |figure: fn(&ComponentDemand) -> u32| demands().map(figure).max().unwrap_or(0);
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
            period: fx.config.adoption_interval,
        }
    }

    /// Whether a node was told to take a component in, and has yet to.
    pub(crate) fn was_asked(&self, component: ComponentId, node: NodeId) -> bool {
        let deciding = self.deciding.get(&component);
        deciding.is_some_and(|deciding| deciding.asked.contains_key(&node))
    }

    /// These hold a component now: what was asked of them is done.
    pub(crate) fn holds(&mut self, component: ComponentId, members: &[Member]) {
        let deciding = self.deciding.entry(component).or_default();
        deciding.asked.retain(|node, _| !members.iter().any(|member| member.node == *node));
    }

    /// When all holders are full: who is to take the component in, and why.
    pub(crate) fn spread(
        &mut self,
        fx: &Effects,
        component: ComponentId,
        members: &[Member],
        mut spares: Vec<Spare<NodeId>>,
    ) -> Option<(Vec<NodeId>, Grounds)> {
        let demand = self.demand(fx, component);
        let holders: Vec<Holder> = members.iter().map(|member| holder(&member.load)).collect();
        let deciding = self.deciding.entry(component).or_default();
        let targets = deciding.adoption.look(fx.now, &demand, &holders, &mut spares);
        if targets.is_empty() {
            return None;
        }
        deciding.asked.extend(targets.iter().map(|target| (*target, fx.now)));
        let (inflow, capacity) = placement::totals(&holders);
        let least_us = holders.iter().map(|holder| holder.wait_us).fold(f64::INFINITY, f64::min);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let grounds = Grounds {
            by: fx.config.node,
            holders: u32::try_from(holders.len()).unwrap_or(u32::MAX),
            wait_us: least_us as u32,
            demand_us: demand.demand_us as u32,
            inflow_milli: milli(inflow + demand.refused),
            capacity_milli: milli(capacity),
        };
        Some((targets, grounds))
    }

    /// When some holders suffice: those that took the component in and give it up, the highest id
    /// first.
    pub(crate) fn shrink(
        &mut self,
        fx: &Effects,
        component: ComponentId,
        members: &[Member],
    ) -> Vec<NodeId> {
        let mut leaving: Vec<&Member> = members.iter().filter(|member| member.adopted).collect();
        leaving.sort_by_key(|member| core::cmp::Reverse(member.node));
        let mut staying: Vec<&Member> = members.iter().collect();
        let demand = self.demand(fx, component);
        let (mut moved, mut unneeded, mut goes) = (demand.refused, BTreeMap::new(), Vec::new());
        for member in leaving {
            let told = self.demands(component).find(|(node, _)| *node == member.node);
            // Without word from it nobody knows how much the others would have to do.
            let Some((_, demand)) = told else { break };
            moved += f64::from(demand.inflow_milli) / 1000.0;
            staying.retain(|other| other.node != member.node);
            let without: Vec<Holder> = staying.iter().map(|other| holder(&other.load)).collect();
            let inflow = placement::totals(&without).0 + moved;
            if !placement::suffice(inflow, &without) {
                break;
            }
            let before = self.deciding.get(&component);
            let since = before.and_then(|deciding| deciding.unneeded.get(&member.node));
            let since = since.copied().unwrap_or(fx.now);
            unneeded.insert(member.node, since);
            if is_unneeded(fx.now, since, fx.config.unneeded_after, inflow, &without) {
                goes.push(member.node);
            }
        }
        self.deciding.entry(component).or_default().unneeded = unneeded;
        goes
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

/// What the rules of adoption look at in a node's load.
pub(crate) fn holder(load: &Load) -> Holder {
    Holder {
        wait_us: f64::from(load.wait_us),
        inflow: f64::from(load.inflow_milli) / 1000.0,
        capacity: f64::from(load.capacity_milli) / 1000.0,
    }
}

/// A rate in thousandths.
pub(crate) fn milli(rate: f64) -> u32 {
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
