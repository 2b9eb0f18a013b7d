//! The driver of core: the one lock around it, its clock and alarm, and the node's tasks.
//!
//! Any thread feeds core ([`Driver::feed`]). Within the lock core decides and its outputs are
//! taken, each with its place in the order of what it is about ([`Perform::take`]); they are
//! performed after it, on the calling thread: a step whose successor runs here too never leaves its
//! thread.
//!
//! All that makes a node uses the driver. It knows nobody but who performs, by a trait.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use izna_core::{Core, Input, Output, Time};
use izna_runtime::Spawner;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
};

use crate::{
    link_writer::{Flush, Place, Writer},
    record::Recorded,
    supervision::Tasks,
};

/// Does what core puts out.
pub(crate) trait Perform: Send + Sync {
    /// Called within the lock of core, so in the order in which core has decided: take the output's
    /// place in that order. Must be short. None when there is nothing to do after the lock.
    fn take(&self, output: Output) -> Option<Taken>;

    /// Called after it, by the same thread. What is sent is flushed as `flush` says.
    fn perform(&self, taken: Taken, flush: Flush);
}

/// What core has put out, with its place among what its peer is told.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) output: Output,
    pub(crate) place: Option<Place>,
}

/// Drives core.
#[derive(Debug)]
pub(crate) struct Driver {
    /// The node's tasks.
    pub(crate) tasks: Tasks,
    core: Mutex<Recorded>,
    began: Instant,
    alarm: Alarm,
    /// It uses the driver itself, and so is not kept by it.
    performer: OnceLock<Weak<dyn Perform>>,
    spawner: Spawner,
    lent: AtomicU64,
}

/// When core wants to be woken, and when the task that does it will look.
#[derive(Debug)]
struct Alarm {
    at: AtomicI64,
    looks_at: AtomicI64,
    earlier: Notify,
}

thread_local! {
    /// Kept from call to call for its room.
    static OUTPUTS: RefCell<Vec<Taken>> = const { RefCell::new(Vec::new()) };
    /// How often this thread had slept when it was last asked.
    static SLEEPS: Cell<u64> = const { Cell::new(u64::MAX) };
}

impl std::fmt::Debug for dyn Perform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Perform")
    }
}

impl Driver {
    /// A driver of a new core. Must be called on the runtime where the node's tasks will be.
    pub(crate) fn new(config: izna_core::Config, record: Option<File>, spawner: Spawner) -> Self {
        Self {
            tasks: Tasks::new(),
            core: Mutex::new(Recorded::new(config, Time::default(), record)),
            began: Instant::now(),
            alarm: Alarm::new(),
            performer: OnceLock::new(),
            spawner,
            lent: AtomicU64::new(0),
        }
    }

    /// From now on this one does what core puts out. Called once, before core is fed.
    pub(crate) fn set_performer(&self, performer: Weak<dyn Perform>) {
        let is_first = self.performer.set(performer).is_ok();
        debug_assert!(is_first, "there is one performer");
    }

    /// Tell core what happened, and do what it wants done. Short; from any thread.
    pub(crate) fn feed(&self, input: Input) {
        self.drive(Flush::Later, |core, now| core.handle(now, input));
    }

    /// The same, for who does not go on with more of the like: what is sent leaves at once.
    pub(crate) fn feed_now(&self, input: Input) {
        self.drive(Flush::Now, |core, now| core.handle(now, input));
    }

    /// The same on a thread with sockets. If that slept until this came, it has nothing else to do,
    /// and a brief step that this brings about is run at once: what is sent goes out together with
    /// what it sends, or after what it replies. Otherwise this is flushed as `otherwise` says.
    pub(crate) fn feed_here(&self, input: Input, otherwise: Flush) {
        let Some(performer) = self.performer() else { return };
        let decided = self.decide(&*performer, |core, now| core.handle(now, input));
        let Some(((), mut outputs)) = decided else { return };
        let is_brief = |taken: &Taken| matches!(&taken.output, Output::Run(step) if step.brief);
        if outputs.iter().any(is_brief) && has_slept() {
            self.lent.fetch_add(1, Ordering::Relaxed);
            let places = outputs.iter().filter_map(|taken| taken.place.as_ref());
            let held: Vec<Arc<Writer>> = places.map(|place| place.writer().clone()).collect();
            self.spawner.lend(|| perform(&*performer, &mut outputs, Flush::Held));
            held.into_iter().for_each(|link| link.wake());
        } else {
            perform(&*performer, &mut outputs, otherwise);
        }
        OUTPUTS.replace(outputs);
    }

    /// Look at core.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> Option<T> {
        let _fuse = Fuse { tasks: &self.tasks, was_panicking: thread::panicking() };
        self.lock_core().map(|core| look(&core))
    }

    /// How long the node has run.
    pub(crate) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// How often a thread with sockets lent itself to a step.
    pub(crate) fn lent(&self) -> u64 {
        self.lent.load(Ordering::Relaxed)
    }

    fn drive<T>(&self, flush: Flush, input: impl FnOnce(&mut Recorded, Time) -> T) -> Option<T> {
        let performer = self.performer()?;
        let (result, mut outputs) = self.decide(&*performer, input)?;
        perform(&*performer, &mut outputs, flush);
        OUTPUTS.replace(outputs);
        Some(result)
    }

    /// Let core decide; what is to be performed after the lock.
    fn decide<T>(
        &self,
        performer: &dyn Perform,
        input: impl FnOnce(&mut Recorded, Time) -> T,
    ) -> Option<(T, Vec<Taken>)> {
        let mut outputs = OUTPUTS.take();
        let result = {
            let _fuse = Fuse { tasks: &self.tasks, was_panicking: thread::panicking() };
            let mut core = self.lock_core()?;
            let result = input(&mut core, self.now());
            while let Some(output) = core.poll() {
                outputs.extend(performer.take(output));
            }
            self.alarm.set(core.deadline());
            result
        };
        // A woken step may take this thread's core: what others wait for goes out before.
        outputs.sort_by_key(|taken| matches!(taken.output, Output::Run(_)));
        Some((result, outputs))
    }

    /// None once the node is gone.
    fn performer(&self) -> Option<Arc<dyn Perform>> {
        self.performer.get()?.upgrade()
    }

    /// None once core has failed: then nothing that it says can be trusted.
    fn lock_core(&self) -> Option<MutexGuard<'_, Recorded>> {
        self.core.lock().ok()
    }

    /// The time as core is told it.
    fn now(&self) -> Time {
        let micros = self.began.elapsed().as_micros();
        Time::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Call core when it wants to be called though nothing happened.
    pub(crate) async fn wake(self: Arc<Self>) {
        loop {
            let at = self.alarm.at.load(Ordering::Acquire);
            let micros = at.saturating_sub(self.now().as_micros());
            if micros <= 0 {
                self.drive(Flush::Later, Recorded::tick);
                tokio::task::yield_now().await;
                continue;
            }
            let wait = Duration::from_micros(micros.unsigned_abs()).min(Duration::from_secs(3600));
            self.alarm.looks_at.store(at, Ordering::Release);
            // What was set to be earlier before the line above told nobody.
            if self.alarm.at.load(Ordering::Acquire) < at {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.alarm.earlier.notified() => {}
            }
        }
    }
}

fn perform(performer: &dyn Perform, outputs: &mut Vec<Taken>, flush: Flush) {
    outputs.drain(..).for_each(|taken| performer.perform(taken, flush));
}

/// Stops the node when core panics: it has found a contradiction in its own state.
struct Fuse<'a> {
    tasks: &'a Tasks,
    /// This thread was unwinding already, for another reason.
    was_panicking: bool,
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking {
            self.tasks.fail("it has found a contradiction in its own state (core panicked)");
        }
    }
}

/// Whether this thread has come to the end of what it had to do since it was last asked: what it
/// does now it was woken for, and it is not one of many. A sleep that ended at once counts. Always
/// false on a thread of a runtime with several threads.
fn has_slept() -> bool {
    let Ok(runtime) = Handle::try_current() else { return false };
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        return false;
    }
    let sleeps = runtime.metrics().worker_park_count(0);
    SLEEPS.replace(sleeps) != sleeps
}

impl Alarm {
    fn new() -> Self {
        Self { at: AtomicI64::new(0), looks_at: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }

    /// Called within the lock of core.
    fn set(&self, at: Option<Time>) {
        let at = at.map_or(i64::MAX, Time::as_micros);
        self.at.store(at, Ordering::Release);
        if at < self.looks_at.load(Ordering::Acquire) {
            self.earlier.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use izna_proto::NodeId;
    use izna_runtime::Executor;

    use super::*;

    /// Checks when it is called.
    struct Watch {
        driver: Arc<Driver>,
        taken: AtomicUsize,
        performed: AtomicUsize,
    }

    impl Perform for Watch {
        fn take(&self, output: Output) -> Option<Taken> {
            assert!(self.driver.core.try_lock().is_err(), "taken outside of the lock");
            self.taken.fetch_add(1, Ordering::Relaxed);
            Some(Taken { output, place: None })
        }

        fn perform(&self, _: Taken, _: Flush) {
            assert!(self.driver.core.try_lock().is_ok(), "performed within the lock");
            self.performed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps the performer alive.
    fn watched() -> (Arc<Watch>, Executor) {
        let executor = Executor::new(1).unwrap();
        let config = izna_core::Config::new(NodeId(1), 1, 1);
        let driver = Arc::new(Driver::new(config, None, executor.spawner()));
        let (taken, performed) = Default::default();
        let watch = Arc::new(Watch { driver: driver.clone(), taken, performed });
        let performer: Arc<dyn Perform> = watch.clone();
        driver.set_performer(Arc::downgrade(&performer));
        (watch, executor)
    }

    /// If this fails, places are not taken in the order of core's decisions, or everyone waits
    /// while one thread encodes.
    #[tokio::test]
    async fn outputs_are_taken_within_the_lock_and_performed_outside_of_it() {
        let (watch, _executor) = watched();
        // The first beacon at least.
        watch.driver.drive(Flush::Later, Recorded::tick);
        let [taken, performed] =
            [&watch.taken, &watch.performed].map(|count| count.load(Ordering::Relaxed));
        assert!(taken > 0);
        assert_eq!(taken, performed);
    }

    /// If this fails, a node goes on with a core that has contradicted itself.
    #[tokio::test]
    async fn a_panic_of_core_stops_the_node() {
        let (watch, _executor) = watched();
        let driver = watch.driver.clone();
        let panics = move || driver.drive(Flush::Now, |_, _| panic!("one and one are three"));
        assert!(tokio::task::spawn_blocking(panics).await.is_err());
        assert!(watch.driver.tasks.failure().unwrap().contains("contradiction"));
        assert!(watch.driver.look(|_| ()).is_none());
        watch.driver.feed(Input::Drain);
    }
}
