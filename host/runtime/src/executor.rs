//! The threads that steps run on, and whose turn it is among the tasks that were given to them.
//!
//! There are two queues. A task that was spawned or woken is *fresh*; one that gave way while it
//! could go on (its slice of time was over) is *long*. Fresh tasks go first, in the order of their
//! arrival, but as long as there are long ones a worker gives them every second slice of its time:
//! a short task waits for a slice at most, and a long one gets at least half of a core between all
//! like it. A task that waits for the host is in no queue.
//!
//! What a running task spawns goes to a slot of its worker's own, which runs it next without waking
//! anyone: mostly it is the next step of the same process. A filled slot, and a worker that has
//! lived from its slot for a slice, give way to the queues. Workers without work sleep.
//!
//! Another thread may lend itself for what it spawns ([`Spawner::lend`]): a task that is soon over is
//! over before a sleeping worker would have begun it.
//!
//! Not here: how many tasks there may be. Whoever spawns has counted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_task::{Runnable, ScheduleInfo, WithInfo};

use crate::Error;

/// How long fresh tasks may keep long ones waiting.
const SLICE: Duration = Duration::from_millis(1);
/// How long a thread that lends itself goes on with another task.
const LENT: Duration = Duration::from_micros(200);
/// How many tasks of its slot a worker runs before it looks into the queues.
const SLOT_RUNS_MAX: u32 = 32;
/// The most threads.
const THREADS_MAX: usize = 1024;

/// Threads that run steps. Dropping it ends them, when the slices they are in are over; tasks that
/// are not finished are dropped then.
pub struct Executor {
    spawner: Spawner,
    threads: Vec<JoinHandle<()>>,
}

/// Gives tasks to an [`Executor`]; cheap to clone. After the executor's end it drops what it is
/// given.
#[derive(Clone)]
pub struct Spawner(Arc<Shared>);

/// A task that was spawned. Dropping this lets it go on by itself.
pub struct Task(Option<async_task::Task<()>>);

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
}

#[derive(Default)]
struct Queues {
    fresh: VecDeque<Runnable>,
    long: VecDeque<Runnable>,
    idle: usize,
    stopped: bool,
}

/// A thread's own view.
struct Worker {
    shared: Arc<Shared>,
    /// When it last looked into the queues, and how much of its slot it has run since.
    looked: Instant,
    slot_runs: u32,
    /// When the slice of a long task last ended here.
    long_ended: Instant,
}

thread_local! {
    /// The executor whose worker this thread is, as an address that is only compared.
    static OWNER: Cell<usize> = const { Cell::new(0) };
    /// The task that this worker runs next.
    static SLOT: RefCell<Option<Runnable>> = const { RefCell::new(None) };
}

impl Executor {
    /// `threads` threads, named `izna-step-0` and so on; one a core is right.
    pub fn new(threads: usize) -> Result<Self, Error> {
        if !(1..=THREADS_MAX).contains(&threads) {
            let (value, allowed) = (threads as u64, "1 to 1024");
            return Err(Error::Config { setting: "threads", value, allowed });
        }
        let mut executor =
            Self { spawner: Spawner(Arc::new(Shared::default())), threads: Vec::new() };
        for index in 0..threads {
            let (name, shared) = (format!("izna-step-{index}"), executor.spawner.0.clone());
            let thread = thread::Builder::new()
                .name(name.clone())
                .spawn(move || Worker::new(shared).run())
                .map_err(|source| Error::Thread { name, source })?;
            executor.threads.push(thread);
        }
        Ok(executor)
    }

    /// For those who spawn; it does not keep the threads alive.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// [`Spawner::spawn`].
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        self.spawner.spawn(future)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.spawner.0.lock().stopped = true;
        self.spawner.0.work.notify_all();
        let this = thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != this) {
            let _ = thread.join();
        }
        self.spawner.0.clear();
    }
}

impl Spawner {
    /// Run `future` on one of the threads. From a task that runs there this costs no lock: see the
    /// module.
    ///
    /// A panic of the future ends the task and is logged. Nobody is told: catch what must be told
    /// in the future.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let shared = self.0.clone();
        let schedule =
            WithInfo(move |runnable, info: ScheduleInfo| shared.schedule(runnable, info));
        let (runnable, task) = async_task::spawn(future, schedule);
        runnable.schedule();
        Task(Some(task))
    }
}

impl Spawner {
    /// Do `work`, then run on this thread what it has spawned, and what that spawns, one after the
    /// other. It takes as long as the first task needs to its end, to its first wait, or to the end
    /// of its slice, and little more: what is left by then goes to the workers.
    pub fn lend(&self, work: impl FnOnce()) {
        let own = Arc::as_ptr(&self.0).addr();
        let before = OWNER.replace(own);
        work();
        if before == own {
            // It is a worker, or lends itself already.
            return;
        }
        let began = Instant::now();
        while let Some(runnable) = take_slot() {
            if began.elapsed() >= LENT {
                OWNER.set(before);
                runnable.schedule();
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| runnable.run())) {
                // Unlike a worker, this thread does not look into the queues next.
                Ok(true) => self.0.wake(self.0.lock()),
                Ok(false) => {}
                Err(_) => tracing::error!("a task of the executor panicked"),
            }
        }
        OWNER.set(before);
    }
}

impl Task {
    /// End the task: its future is dropped, on one of the threads if it is not running now, else
    /// after this slice. A future that must tell of its end tells it when it is dropped.
    pub fn cancel(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(self: &Arc<Self>, runnable: Runnable, info: ScheduleInfo) {
        let here = OWNER.get() == Arc::as_ptr(self).addr();
        let runnable =
            if here && !info.woken_while_running { fill_slot(runnable) } else { Some(runnable) };
        let Some(runnable) = runnable else { return };
        let mut queues = self.lock();
        if queues.stopped {
            drop(queues);
            // Outside of the lock, for dropping a future may spawn another.
            drop(runnable);
            return;
        }
        if info.woken_while_running {
            // The worker that calls this is about to look for work itself: no need to wake another
            // one.
            queues.long.push_back(runnable);
            return;
        }
        queues.fresh.push_back(runnable);
        self.wake(queues);
    }

    /// Wake a worker if there is work, outside of the lock: it would run into it.
    fn wake(&self, queues: MutexGuard<'_, Queues>) {
        let wakes = queues.idle > 0 && !(queues.fresh.is_empty() && queues.long.is_empty());
        drop(queues);
        if wakes {
            self.work.notify_one();
        }
    }

    /// Drop all tasks that are waiting for a thread.
    fn clear(&self) {
        loop {
            let mut queues = self.lock();
            let fresh = std::mem::take(&mut queues.fresh);
            let long = std::mem::take(&mut queues.long);
            // Dropping a future may spawn another.
            drop(queues);
            if fresh.is_empty() && long.is_empty() {
                return;
            }
        }
    }
}

/// Put a task into this thread's slot; gives it back if the slot is taken, or the thread is ending.
fn fill_slot(runnable: Runnable) -> Option<Runnable> {
    let mut runnable = Some(runnable);
    let _ = SLOT.try_with(|slot| {
        let mut slot = slot.borrow_mut();
        if slot.is_none() {
            *slot = runnable.take();
        }
    });
    runnable
}

fn take_slot() -> Option<Runnable> {
    SLOT.with(|slot| slot.borrow_mut().take())
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self { shared, looked: now, slot_runs: 0, long_ended: now }
    }

    fn run(mut self) {
        OWNER.set(Arc::as_ptr(&self.shared).addr());
        while let Some(runnable) = self.next() {
            // A panic has ended the task; the thread is as good as before.
            match catch_unwind(AssertUnwindSafe(|| runnable.run())) {
                Ok(true) => self.long_ended = Instant::now(),
                Ok(false) => {}
                Err(_) => tracing::error!("a task of the executor panicked"),
            }
        }
        OWNER.set(0);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(take_slot())));
    }

    /// The task whose turn it is; waits for one. None when the executor is at its end.
    fn next(&mut self) -> Option<Runnable> {
        let slot = take_slot();
        if slot.is_some() && self.slot_runs < SLOT_RUNS_MAX && self.looked.elapsed() < SLICE {
            self.slot_runs += 1;
            return slot;
        }
        self.slot_runs = 0;
        let mut queues = self.shared.lock();
        queues.fresh.extend(slot);
        loop {
            if queues.stopped {
                return None;
            }
            self.looked = Instant::now();
            if let Some(runnable) = self.pick(&mut queues) {
                self.shared.wake(queues);
                return Some(runnable);
            }
            queues.idle += 1;
            queues = self.shared.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
            queues.idle -= 1;
        }
    }

    fn pick(&self, queues: &mut Queues) -> Option<Runnable> {
        let long_is_due = self.looked.saturating_duration_since(self.long_ended) >= SLICE;
        if long_is_due && let Some(runnable) = queues.long.pop_front() {
            return Some(runnable);
        }
        queues.fresh.pop_front().or_else(|| queues.long.pop_front())
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}
