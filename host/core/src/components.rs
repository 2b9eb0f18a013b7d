//! The components that this node holds or is getting, and their code. One code may be that of
//! several components, of one app or of more.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use izna_proto::{ComponentId, Digest, Grounds};

use crate::{
    effects::{Effects, Timer},
    inflow::Inflow,
    io::{Note, Output},
    placement::DEMAND_US_FIRST,
    time::{Duration, Time},
};

/// How fast the demand of a component follows its latest steps.
const DEMAND_SMOOTHING: f64 = 0.1;
/// Until a component that could not be obtained is asked for again; doubled each time...
const RETRY_MIN: Duration = Duration::from_millis(500);
/// ...up to this.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A component that was to be adopted and could not be obtained so often is left alone.
const TRIES_MAX: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Components {
    copies: BTreeMap<ComponentId, Copy>,
    code: BTreeMap<Digest, Code>,
}

/// A component that this node holds or is getting. Others read it; what changes it is below.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) digest: Digest,
    /// Why it was taken in, if nobody said that it should be here.
    pub(crate) adopted: Option<Grounds>,
    /// Work for it that comes here.
    inflow: Inflow,
    /// How often it could not be obtained.
    tries: u32,
}

impl Copy {
    fn new(now: Time, digest: Digest, adopted: Option<Grounds>) -> Self {
        Self { digest, adopted, inflow: Inflow::new(now), tries: 0 }
    }

    /// The work for it that comes here, in processor seconds a second.
    pub(crate) fn inflow(&self) -> f64 {
        self.inflow.rate()
    }
}

/// The code of components that this node holds or is getting. Others read it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Code {
    state: CodeState,
    /// The processor time of one step here, smoothed, in microseconds, and whether one has run.
    pub(crate) demand_us: f64,
    pub(crate) ran: bool,
    /// What getting it has cost, where it was compiled here.
    pub(crate) cost: Option<Duration>,
    /// How long it was not asked for after it could not be obtained the last time.
    delay: Duration,
    /// Why it could not be obtained the last time.
    why_not: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CodeState {
    Asked,
    /// It is asked for again then.
    Failed {
        again: Time,
    },
    Ready,
}

impl Components {
    /// All that are held or are coming.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (&ComponentId, &Copy)> {
        self.copies.iter()
    }

    /// Those that can run.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (&ComponentId, &Copy)> {
        self.copies.iter().filter(|(_, copy)| self.has_code(&copy.digest))
    }

    pub(crate) fn get(&self, id: &ComponentId) -> Option<&Copy> {
        self.copies.get(id)
    }

    pub(crate) fn is_ready(&self, id: &ComponentId) -> bool {
        self.copies.get(id).is_some_and(|copy| self.has_code(&copy.digest))
    }

    pub(crate) fn code(&self, digest: &Digest) -> Option<&Code> {
        self.code.get(digest)
    }

    fn has_code(&self, digest: &Digest) -> bool {
        self.code.get(digest).is_some_and(|code| code.state == CodeState::Ready)
    }

    /// What a step of some code is expected to take, in microseconds, where steps of it have run.
    pub(crate) fn demand_us(&self, digest: &Digest) -> f64 {
        self.code.get(digest).map_or(DEMAND_US_FIRST, |code| code.demand_us)
    }

    /// A step of some code has run.
    pub(crate) fn ran(&mut self, digest: &Digest, used: Duration) {
        if let Some(code) = self.code.get_mut(digest) {
            code.demand_us += DEMAND_SMOOTHING * (used.as_secs_f64() * 1e6 - code.demand_us);
            code.ran = true;
        }
    }

    /// Work for a component has come here.
    pub(crate) fn arrived(&mut self, id: &ComponentId, demand_us: f64) {
        if let Some(copy) = self.copies.get_mut(id) {
            copy.inflow.add(demand_us);
        }
    }

    pub(crate) fn measure_inflow(&mut self, now: Time) {
        self.copies.values_mut().for_each(|copy| copy.inflow.measure(now));
    }

    /// The app table wants a component here.
    pub(crate) fn want(&mut self, fx: &Effects, id: ComponentId, digest: Digest) {
        let copy = self.copies.entry(id);
        copy.or_insert_with(|| Copy::new(fx.now, digest, None)).adopted = None;
    }

    /// This node takes a component in that nobody said should be here.
    pub(crate) fn adopt(
        &mut self,
        fx: &Effects,
        id: ComponentId,
        digest: Digest,
        grounds: Grounds,
    ) {
        let before = self.copies.insert(id, Copy::new(fx.now, digest, Some(grounds)));
        assert!(before.is_none(), "{id:?} is adopted where it is held");
    }

    /// How many this node has taken in by itself.
    pub(crate) fn adopted(&self) -> usize {
        self.copies.values().filter(|copy| copy.adopted.is_some()).count()
    }

    /// A component is not held here any more. Its code goes by [`Components::release`].
    pub(crate) fn remove(&mut self, id: &ComponentId) {
        self.copies.remove(id);
    }

    /// The code that is needed and was not asked for: it is from now on.
    pub(crate) fn missing(&mut self) -> Vec<Digest> {
        let wanted: BTreeSet<Digest> = self.copies.values().map(|copy| copy.digest).collect();
        let missing = wanted.into_iter().filter(|digest| !self.code.contains_key(digest));
        let missing: Vec<Digest> = missing.collect();
        for digest in &missing {
            let code = Code {
                state: CodeState::Asked,
                demand_us: DEMAND_US_FIRST,
                ran: false,
                cost: None,
                delay: Duration::ZERO,
                why_not: None,
            };
            self.code.insert(*digest, code);
        }
        missing
    }

    /// Let go of code that no component here has.
    pub(crate) fn release(&mut self, fx: &mut Effects) {
        let wanted: BTreeSet<Digest> = self.copies.values().map(|copy| copy.digest).collect();
        for (digest, code) in self.code.extract_if(.., |digest, _| !wanted.contains(digest)) {
            if let CodeState::Failed { again } = code.state {
                fx.disarm(again, Timer::Component(digest));
            }
            fx.put(Output::Release(digest));
        }
    }

    /// Code can run. Gives the components that were taken in for it, and can run now.
    pub(crate) fn obtained(
        &mut self,
        fx: &mut Effects,
        digest: Digest,
        cost: Option<Duration>,
    ) -> Vec<ComponentId> {
        let Some(code) = self.code.get_mut(&digest) else { return Vec::new() };
        let was = core::mem::replace(&mut code.state, CodeState::Ready);
        code.cost = cost.or(code.cost);
        code.why_not = None;
        if let CodeState::Failed { again } = was {
            fx.disarm(again, Timer::Component(digest));
        }
        if was == CodeState::Ready { Vec::new() } else { self.adopted_for(digest) }
    }

    /// Code could not be obtained. Gives the components that were to be taken in for it, and are
    /// not any more.
    pub(crate) fn not_obtained(
        &mut self,
        fx: &mut Effects,
        digest: Digest,
        why: String,
    ) -> Vec<ComponentId> {
        let Some(code) = self.code.get_mut(&digest) else { return Vec::new() };
        code.delay = (code.delay * 2).clamp(RETRY_MIN, RETRY_MAX);
        code.why_not = Some(why.clone());
        let again = fx.now + code.delay;
        let was = core::mem::replace(&mut code.state, CodeState::Failed { again });
        if let CodeState::Failed { again } = was {
            fx.disarm(again, Timer::Component(digest));
        }
        fx.arm(again, Timer::Component(digest));
        fx.note(Note::NotReady(digest, why));
        let mut ids = self.adopted_for(digest);
        ids.retain(|id| {
            let Some(copy) = self.copies.get_mut(id) else { return false };
            copy.tries += 1;
            copy.tries >= TRIES_MAX
        });
        ids
    }

    fn adopted_for(&self, digest: Digest) -> Vec<ComponentId> {
        let of = |copy: &Copy| copy.digest == digest && copy.adopted.is_some();
        self.copies.iter().filter(|(_, copy)| of(copy)).map(|(id, _)| *id).collect()
    }

    /// The timer of some code has come: whether it is asked for again, now.
    pub(crate) fn asks_again(&mut self, digest: Digest) -> bool {
        let Some(code) = self.code.get_mut(&digest) else { return false };
        let failed = matches!(code.state, CodeState::Failed { .. });
        if failed {
            code.state = CodeState::Asked;
        }
        failed
    }

    /// What kept code from being obtained may be over: do not wait as long as it was going to be.
    pub(crate) fn ask_soon(&mut self, fx: &mut Effects, digest: Digest) {
        let soon = fx.now + RETRY_MIN;
        let Some(code) = self.code.get_mut(&digest) else { return };
        code.delay = Duration::ZERO;
        let CodeState::Failed { again } = &mut code.state else { return };
        if *again > soon {
            let late = core::mem::replace(again, soon);
            fx.disarm(late, Timer::Component(digest));
            fx.arm(soon, Timer::Component(digest));
        }
    }

    /// The code that could not be obtained when it was last tried.
    pub(crate) fn failed(&self) -> Vec<Digest> {
        let failed = |code: &Code| matches!(code.state, CodeState::Failed { .. });
        self.code.iter().filter(|(_, code)| failed(code)).map(|(digest, _)| *digest).collect()
    }

    /// The same, with why.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.code.iter().filter_map(|(digest, code)| Some((*digest, code.why_not.as_deref()?)))
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        for (id, copy) in &self.copies {
            assert!(self.code.contains_key(&copy.digest), "nobody gets the code of {id:?}");
        }
        let wanted: BTreeSet<Digest> = self.copies.values().map(|copy| copy.digest).collect();
        assert_eq!(wanted.len(), self.code.len(), "code is held that no component has");
        for (digest, code) in &self.code {
            if let CodeState::Failed { again } = code.state {
                let armed = fx.is_armed(again, Timer::Component(*digest));
                assert!(armed, "{digest} failed and is never asked for again");
            }
        }
        assert!(self.adopted() <= fx.config.adopted_max, "too many components were adopted");
    }
}
