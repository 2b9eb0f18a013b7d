//! What this node holds: the components that the app table wants here, those that it took in by
//! itself, and those that it keeps until another node has them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};

use izna_proto::{
    App, ComponentCopy, ComponentId, ComponentSpec, Digest, Entry, Grounds, Message, NodeId,
    Process, Spread,
};

use crate::{
    AdoptionStage, Assignment, Core, Duration, Note, Output, Time,
    core::{Component, ComponentState, Inflow, Timer},
    placement::DEMAND_US_FIRST,
    view,
};

/// Until a component that could not be had is asked for again; doubled each time...
const RETRY_MIN: Duration = Duration::from_millis(500);
/// ...up to this.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A component that was to be adopted and could not be had so often is left alone.
const TRIES_MAX: u32 = 3;

/// A component that this node holds or is getting.
#[derive(Debug)]
pub(crate) struct OwnCopy {
    pub(crate) digest: Digest,
    /// Why it was taken in, if nobody said that it should be here.
    pub(crate) adopted: Option<Grounds>,
    /// Work for it that comes here.
    pub(crate) inflow: Inflow,
    /// How often it could not be had.
    tries: u32,
}

impl OwnCopy {
    pub(crate) fn new(now: Time, digest: Digest, adopted: Option<Grounds>) -> Self {
        Self { digest, adopted, inflow: Inflow::new(now), tries: 0 }
    }
}

/// The component that an entry of a process runs.
pub(crate) fn component_of(process: &Process, entry: &Entry) -> ComponentId {
    ComponentId::of(&process.app, &entry.component, &entry.digest)
}

impl Core {
    /// The components that are ready here.
    pub fn holds(&self) -> impl Iterator<Item = &ComponentId> {
        self.ready_copies().map(|(component, _)| component)
    }

    pub(crate) fn ready_copies(&self) -> impl Iterator<Item = (&ComponentId, &OwnCopy)> {
        self.copies.iter().filter(|(_, copy)| self.has_code(&copy.digest))
    }

    pub(crate) fn is_ready(&self, component: &ComponentId) -> bool {
        self.copies.get(component).is_some_and(|copy| self.has_code(&copy.digest))
    }

    fn has_code(&self, digest: &Digest) -> bool {
        self.components.get(digest).is_some_and(|c| c.state == ComponentState::Ready)
    }

    pub(crate) fn inventory_sum(&self) -> u64 {
        let copies = self.ready_copies();
        view::inventory_sum(copies.map(|(component, copy)| (component, copy.adopted.is_some())))
    }

    fn inventory(&self) -> Message {
        let copies = self.ready_copies();
        let copy = |(component, copy): (&ComponentId, &OwnCopy)| ComponentCopy {
            component: *component,
            adopted: copy.adopted,
        };
        let copies = copies.map(copy).collect();
        Message::Inventory { epoch: self.epoch(), table: self.table.sum(), copies }
    }

    pub(crate) fn send_inventory(&mut self, peer: NodeId) {
        let inventory = self.inventory();
        self.send(peer, inventory);
    }

    /// Tell everyone at once what is held here, instead of by the next beacon: who holds a
    /// component that was adopted or given up is what others wait for.
    fn tell_inventory(&mut self) {
        let inventory = self.inventory();
        let peers: Vec<NodeId> = self.view.present(self.now, &self.config).collect();
        for peer in peers {
            self.send(peer, inventory.clone());
        }
    }

    /// Get the components that the table wants here, and give up those that nothing needs.
    pub(crate) fn reconcile(&mut self) {
        let (now, node) = (self.now, self.config.node);
        let mut current: BTreeMap<ComponentId, bool> = BTreeMap::new();
        for (app, component) in self.table.components() {
            let id = component.id(&app.name);
            let wanted = component.spread.includes(node, &self.config.traits);
            current.insert(id, wanted);
            if wanted {
                let copy = self.copies.entry(id);
                copy.or_insert_with(|| OwnCopy::new(now, component.digest, None)).adopted = None;
            }
        }
        let old = self.table.superseded();
        let goes = |(id, copy): (&ComponentId, &OwnCopy)| {
            let needed = match current.get(id) {
                Some(wanted) => *wanted || self.is_kept(id, copy),
                None => old.contains(id),
            };
            (!needed).then_some(*id)
        };
        let gone: Vec<ComponentId> = self.copies.iter().filter_map(goes).collect();
        for id in gone {
            self.copies.remove(&id);
        }
        self.fetch_code();
    }

    /// Whether a component that the table wants elsewhere stays here.
    fn is_kept(&self, id: &ComponentId, copy: &OwnCopy) -> bool {
        let Some((_, component)) = self.table.component(*id) else { return false };
        let (node, spread) = (self.config.node, &component.spread);
        if copy.adopted.is_some() && spread.may_adopt(node, &self.config.traits) {
            return true;
        }
        // A copy that is not ready serves nobody; the last one that is stays until others are.
        self.is_ready(id) && !self.is_held_as_wanted(id, spread)
    }

    /// Whether another live node holds a component that is to hold it.
    fn is_held_as_wanted(&self, id: &ComponentId, spread: &Spread) -> bool {
        let mut holders = self.view.candidates(self.now, id, &self.config);
        holders.any(|peer| spread.includes(peer.node, &peer.traits))
    }

    /// Ask for code that is not here, and let go of code that no component here has.
    pub(crate) fn fetch_code(&mut self) {
        let wanted: BTreeSet<Digest> = self.copies.values().map(|copy| copy.digest).collect();
        for digest in &wanted {
            if !self.components.contains_key(digest) {
                let component = Component {
                    state: ComponentState::Asked,
                    demand_us: DEMAND_US_FIRST,
                    ran: false,
                    cost: None,
                    delay: Duration::ZERO,
                    trouble: None,
                };
                self.components.insert(*digest, component);
                self.ask_for(*digest);
            }
        }
        let unneeded = self.components.keys().filter(|digest| !wanted.contains(digest));
        let unneeded: Vec<Digest> = unneeded.copied().collect();
        for digest in unneeded {
            let component = self.components.remove(&digest);
            if let Some(ComponentState::Failed { again }) = component.map(|c| c.state) {
                self.disarm(again, Timer::Component(digest));
            }
            self.put(Output::Release(digest));
        }
    }

    pub(crate) fn ready(&mut self, digest: Digest, cost: Option<Duration>) {
        let Some(component) = self.components.get_mut(&digest) else { return };
        let was = core::mem::replace(&mut component.state, ComponentState::Ready);
        component.cost = cost.or(component.cost);
        component.trouble = None;
        if was != ComponentState::Ready {
            self.adopted(&self.adopted_of(digest));
        }
    }

    /// Components that this node took in can run now.
    pub(crate) fn adopted(&mut self, adopted: &[ComponentId]) {
        for id in adopted {
            self.note_adoption(*id, AdoptionStage::Ready);
        }
        if !adopted.is_empty() {
            self.counters.adopted += adopted.len() as u64;
            self.tell_inventory();
            self.ask_for_work();
        }
    }

    pub(crate) fn not_ready(&mut self, digest: Digest, why: String) {
        let Some(component) = self.components.get_mut(&digest) else { return };
        component.delay = (component.delay * 2).clamp(RETRY_MIN, RETRY_MAX);
        let (delay, was) = (component.delay, component.state);
        component.trouble = Some(why.clone());
        let again = self.now + delay;
        component.state = ComponentState::Failed { again };
        if let ComponentState::Failed { again } = was {
            self.disarm(again, Timer::Component(digest));
        }
        self.arm(again, Timer::Component(digest));
        self.note(Note::NotReady(digest, why));
        for id in self.adopted_of(digest) {
            let Some(copy) = self.copies.get_mut(&id) else { continue };
            copy.tries += 1;
            if copy.tries >= TRIES_MAX {
                self.note_adoption(id, AdoptionStage::Failed);
                self.copies.remove(&id);
            }
        }
        self.fetch_code();
    }

    fn adopted_of(&self, digest: Digest) -> Vec<ComponentId> {
        let of = |copy: &OwnCopy| copy.digest == digest && copy.adopted.is_some();
        self.copies.iter().filter(|(_, copy)| of(copy)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn ask_again(&mut self, digest: Digest) {
        let failed = |component: &&mut Component| component.has_failed();
        if let Some(component) = self.components.get_mut(&digest).filter(failed) {
            component.state = ComponentState::Asked;
            self.ask_for(digest);
        }
    }

    /// The code that could not be had, and the nodes that run it.
    pub(crate) fn failed_code(&self) -> Vec<(Digest, Vec<NodeId>)> {
        let failed = self.components.iter().filter(|(_, component)| component.has_failed());
        failed.map(|(digest, _)| (*digest, self.runners(digest))).collect()
    }

    /// Others run what could not be had than did before: it is asked for soon.
    pub(crate) fn look_at_holders(&mut self, before: Vec<(Digest, Vec<NodeId>)>) {
        for (digest, runners) in before {
            if self.runners(&digest) != runners {
                self.ask_soon(digest);
            }
        }
    }

    /// What kept code from being had may be over: do not wait as long as it was going to be.
    pub(crate) fn ask_soon(&mut self, digest: Digest) {
        let soon = self.now + RETRY_MIN;
        let Some(component) = self.components.get_mut(&digest) else { return };
        component.delay = Duration::ZERO;
        let ComponentState::Failed { again } = &mut component.state else { return };
        if *again > soon {
            let late = core::mem::replace(again, soon);
            self.disarm(late, Timer::Component(digest));
            self.arm(soon, Timer::Component(digest));
        }
    }

    /// The nodes that run it have it for sure; where it was deployed it is too, though it may not
    /// run there.
    fn ask_for(&mut self, digest: Digest) {
        let mut holders = self.near_with_code(digest);
        // Another zone may have it.
        let abroad = self.view.peers().iter().filter(|peer| peer.linked && peer.zone.is_some());
        holders.extend(abroad.map(|peer| peer.node));
        self.connect_for(digest);
        self.put(Output::Hold { digest, holders });
    }

    /// The nodes of this zone that may have code, those first that run it.
    pub(crate) fn near_with_code(&self, digest: Digest) -> Vec<NodeId> {
        let mut holders = self.runners(&digest);
        let others = self.view.present(self.now, &self.config);
        let others: Vec<NodeId> = others.filter(|peer| !holders.contains(peer)).collect();
        holders.extend(others);
        holders
    }

    /// The nodes of this zone that run code.
    fn runners(&self, digest: &Digest) -> Vec<NodeId> {
        let components = self.table.components().filter(|(_, c)| c.digest == *digest);
        let runners = components.map(|(app, c)| self.view.holders(&c.id(&app.name)));
        runners.flatten().collect()
    }

    /// Give up a component that nobody said should be here.
    pub(crate) fn let_go(&mut self, id: ComponentId) {
        self.note_adoption(id, AdoptionStage::GivenUp);
        self.counters.given_up += 1;
        self.copies.remove(&id);
        self.fetch_code();
        self.tell_inventory();
    }

    pub(crate) fn note_adoption(&mut self, id: ComponentId, stage: AdoptionStage) {
        if let Some((app, component)) = self.table.component(id) {
            let (app, component) = (app.name.clone(), component.name.clone());
            self.note(Note::Adoption { component, app, stage });
        }
    }

    /// Someone names a node that is to hold a component, or not to.
    pub(crate) fn assign(
        &mut self,
        name: &Arc<str>,
        component: &str,
        node: NodeId,
        assignment: Assignment,
    ) {
        self.not_deployed = None;
        let Some(app) = self.table.entry(name).and_then(|entry| entry.app.clone()) else { return };
        let holds = assignment == Assignment::Holds;
        let assigned = |spec: ComponentSpec| match &*spec.name == component {
            true => ComponentSpec { spread: spec.spread.with(node, holds), ..spec },
            false => spec,
        };
        let components = app.components.into_iter().map(assigned).collect();
        self.deploy(name.clone(), Some(App { components, ..app }));
    }
}
