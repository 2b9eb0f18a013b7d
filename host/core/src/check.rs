//! What must be so between two inputs, whatever happened: stages, run queue, counters, deliveries and
//! timers agree.

use alloc::collections::BTreeSet;

use crate::{
    Core, HeldId,
    core::{ComponentState, Held, Place, Timer},
};

impl Core {
    /// Look whether all that belongs together agrees. Takes a time in proportion to what is held:
    /// for tests.
    ///
    /// # Panics
    /// When something does not: with what and where.
    pub fn check(&self) {
        let retries = self.timers.iter().filter_map(|(_, timer)| match timer {
            Timer::Retry(id) => Some(*id),
            _ => None,
        });
        let retries: BTreeSet<HeldId> = retries.collect();
        let leaving: BTreeSet<HeldId> = self.deliveries.values().map(|l| l.id).collect();
        for (id, held) in &self.held {
            self.check_held(*id, held, &retries, &leaving);
        }
        self.check_sums();
        self.check_timers();
    }

    fn check_held(
        &self,
        id: HeldId,
        held: &Held,
        retries: &BTreeSet<HeldId>,
        leaving: &BTreeSet<HeldId>,
    ) {
        let (process, place) = (held.process.id, &held.place);
        let retried = retries.contains(&id);
        let has_end = match place {
            Place::Queued => self.queue.contains(&(held.born, id)),
            Place::Running { .. } => true,
            Place::Leaving => leaving.contains(&id),
            Place::Homeless => retried,
            Place::Finishing(_) => retried || leaving.contains(&id),
        };
        assert!(has_end, "nothing will end the stage of {process}: {place:?}");
        let comes_back = matches!(place, Place::Running { .. } | Place::Leaving);
        let is_over = self.now >= held.deadline;
        let expires = self.timers.contains(&(held.deadline, Timer::Expire(id)));
        assert!(expires || (is_over && comes_back), "{process} has no deadline: {place:?}");
    }

    fn check_sums(&self) {
        let count = |is: fn(&Place) -> bool| self.held.values().filter(|h| is(&h.place)).count();
        let queued = count(|place| matches!(place, Place::Queued));
        assert_eq!(queued, self.queue.len(), "the run queue has others than those that are queued");
        let running = count(|place| matches!(place, Place::Running { sliced: false }));
        let sliced = count(|place| matches!(place, Place::Running { sliced: true }));
        let counted = (self.running, self.sliced);
        assert_eq!((running, sliced), counted, "steps in slots and beside are counted wrong");
        let waits = |held: &&Held| matches!(held.place, Place::Queued | Place::Running { .. });
        let work_us: f64 = self.held.values().filter(waits).map(|held| held.demand_us).sum();
        let counted_us = self.work_us;
        let is_near = (work_us - counted_us).abs() <= 1.0 + work_us * 1e-6;
        assert!(is_near, "{work_us} us of work wait, {counted_us} are counted");
    }

    fn check_timers(&self) {
        for (number, leaving) in &self.deliveries {
            let armed = self.timers.contains(&(leaving.until, Timer::Acknowledge(*number)));
            assert!(armed, "nobody waits for the answer to delivery {number}");
        }
        for (slot, waiting) in &self.slots {
            let armed = self.timers.contains(&(waiting.deadline, Timer::Slot(*slot)));
            assert!(armed, "the client of {slot} has no deadline");
        }
        for (request, until) in self.requests.waiting() {
            let armed = self.timers.contains(&(until, Timer::Memory(request)));
            assert!(armed, "request {request} to cluster memory waits for ever");
        }
        for (digest, component) in &self.components {
            if let ComponentState::Failed { again } = component.state {
                let armed = self.timers.contains(&(again, Timer::Component(*digest)));
                assert!(armed, "{digest} is never asked for again");
            }
        }
        for timer in [Timer::Beacon, Timer::Holding, Timer::Speak, Timer::Adoption] {
            let armed = self.timers.iter().any(|(_, armed)| *armed == timer);
            assert!(armed, "{timer:?} does not come any more");
        }
    }
}
