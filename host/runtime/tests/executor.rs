//! The threads that steps run on: order, fairness, waiting, ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests run this")]

mod common;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use common::*;
use izna_proto::{FailureKind, StepEnd};
use izna_runtime::{Executor, Host, Spawner, StepLimits};

const LONG: Duration = Duration::from_secs(30);

/// Gives way once.
fn yield_now() -> impl Future<Output = ()> {
    let mut given = false;
    std::future::poll_fn(move |ctx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        ctx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// If this failed, tasks would be lost.
#[test]
fn every_task_runs_once() {
    let executor = Executor::new(3).unwrap();
    let (done, ended) = mpsc::channel();
    for task in 0..1000 {
        let done = done.clone();
        executor.spawn(async move {
            for _ in 0..task % 3 {
                yield_now().await;
            }
            done.send(task).unwrap();
        });
    }
    let mut tasks: Vec<i32> = (0..1000).map(|_| ended.recv_timeout(LONG).unwrap()).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, (0..1000).collect::<Vec<_>>());
}

/// If this failed, the core's order of steps would not be kept.
#[test]
fn fresh_tasks_run_in_the_order_of_their_arrival() {
    let executor = Executor::new(1).unwrap();
    let (open, gate) = mpsc::channel::<()>();
    executor.spawn(async move { gate.recv().unwrap() });
    let (done, ended) = mpsc::channel();
    for task in 0..100 {
        let done = done.clone();
        executor.spawn(async move { done.send(task).unwrap() });
    }
    open.send(()).unwrap();
    let order: Vec<i32> = (0..100).map(|_| ended.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}

/// If this failed, one long request would keep all short ones of a core waiting until it is
/// stopped.
#[test]
fn short_steps_finish_while_a_long_one_runs() {
    let runtime = runtime();
    let (echo, misbehave) = (guest(&runtime, "echo"), guest(&runtime, "misbehave"));
    let executor = Executor::new(1).unwrap();
    let host: Arc<dyn Host> = Arc::new(Notes::default());
    let limits = StepLimits { cpu_ms_max: 1000, ..LIMITS };
    let over = Arc::new(AtomicBool::new(false));
    let (long_done, long_ended) = mpsc::channel();
    let step = misbehave.step("spin".into(), start(numbers(&[])), limits, host.clone());
    executor.spawn({
        let over = over.clone();
        async move {
            let stepped = step.await;
            over.store(true, Ordering::SeqCst);
            long_done.send(stepped).unwrap();
        }
    });
    let (done, ended) = mpsc::channel();
    for task in 0..100 {
        let (done, over) = (done.clone(), over.clone());
        let step = echo.step("value".into(), start(numbers(&[task])), LIMITS, host.clone());
        executor.spawn(async move {
            let stepped = step.await;
            done.send((task, stepped.end, over.load(Ordering::SeqCst))).unwrap();
        });
    }
    for _ in 0..100 {
        let (task, end, over) = ended.recv_timeout(LONG).unwrap();
        assert_eq!((end, over), (StepEnd::Done(number(task).into()), false));
    }
    let long = long_ended.recv_timeout(LONG).unwrap();
    let StepEnd::Failed(failure) = long.end else { panic!("not stopped: {long:?}") };
    assert_eq!(failure.kind, FailureKind::Limit);
}

/// If this failed, long requests would starve on a node that has many short ones, or the other way
/// round.
#[test]
fn long_tasks_and_short_ones_share_a_core() {
    let executor = Executor::new(1).unwrap();
    let (slices, shorts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let until = Instant::now() + Duration::from_millis(300);
    let busy = |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    };
    let (done, ended) = mpsc::channel();
    for _ in 0..3 {
        let (slices, done) = (slices.clone(), done.clone());
        executor.spawn(async move {
            while Instant::now() < until {
                busy(Duration::from_millis(1));
                slices.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
            done.send(()).unwrap();
        });
    }
    fn chain(spawner: Spawner, until: Instant, count: Arc<AtomicUsize>, done: mpsc::Sender<()>) {
        spawner.clone().spawn(async move {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(20) {}
            count.fetch_add(1, Ordering::SeqCst);
            if Instant::now() < until {
                chain(spawner, until, count, done);
            } else {
                done.send(()).unwrap();
            }
        });
    }
    for _ in 0..4 {
        chain(executor.spawner(), until, shorts.clone(), done.clone());
    }
    for _ in 0..7 {
        ended.recv_timeout(LONG).unwrap();
    }
    // About half of 300 ms each; a machine that is busy with other things gives less to both.
    let (slices, shorts) = (slices.load(Ordering::SeqCst), shorts.load(Ordering::SeqCst));
    let (long_us, short_us) = (slices * 1000, shorts * 20);
    assert!(long_us > short_us / 5 && short_us > long_us / 5, "{slices} slices, {shorts} shorts");
}

/// If this failed, a chain of steps that spawn one another would keep everything else off its
/// thread.
#[test]
fn the_slot_does_not_starve_the_queue() {
    let executor = Executor::new(1).unwrap();
    fn chain(spawner: Spawner, stop: Arc<AtomicBool>) {
        spawner.clone().spawn(async move {
            if !stop.load(Ordering::SeqCst) {
                chain(spawner, stop);
            }
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    chain(executor.spawner(), stop.clone());
    let (done, ended) = mpsc::channel();
    executor.spawn(async move { done.send(()).unwrap() });
    ended.recv_timeout(LONG).unwrap();
    stop.store(true, Ordering::SeqCst);
}

/// If this failed, a second thread would sleep while a first one has work for both.
#[test]
fn work_wakes_idle_threads() {
    let executor = Executor::new(2).unwrap();
    // Two tasks that can only end together, spawned from a third that goes on running.
    let (done, ended) = mpsc::channel();
    let spawner = executor.spawner();
    executor.spawn(async move {
        let meeting = Arc::new(std::sync::Barrier::new(2));
        let other = meeting.clone();
        let done_other = done.clone();
        // The first goes to the slot, the second to the queue, from where the idle thread takes it.
        spawner.spawn(async move { done.send("slot").unwrap() });
        spawner.spawn(async move {
            other.wait();
            done_other.send("queue").unwrap();
        });
        meeting.wait();
    });
    let mut names = [ended.recv_timeout(LONG).unwrap(), ended.recv_timeout(LONG).unwrap()];
    names.sort_unstable();
    assert_eq!(names, ["queue", "slot"]);
}

/// A future that waits until it is told to end.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        std::future::poll_fn(move |ctx| {
            let mut state = gate.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(ctx.waker().clone());
            Poll::Pending
        })
    }
}

/// `future`, and a word when it first waits.
fn telling(
    future: impl Future<Output = ()> + Send + 'static,
    tell: impl FnOnce() + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let (mut future, mut tell) = (Box::pin(future), Some(tell));
    poll_fn(move |ctx| {
        let polled = future.as_mut().poll(ctx);
        if let (true, Some(tell)) = (polled.is_pending(), tell.take()) {
            tell();
        }
        polled
    })
}

/// If this failed, a waiting step would keep its thread, and the node would do nothing while it
/// waits.
#[test]
fn a_waiting_task_leaves_its_thread() {
    let executor = Executor::new(1).unwrap();
    let gate = Gate::default();
    let (done, ended) = mpsc::channel();
    let (parked, yields) = mpsc::channel();
    let waits = gate.wait();
    let after = done.clone();
    executor.spawn(telling(
        async move {
            waits.await;
            yield_now().await;
            after.send("waited").unwrap();
        },
        move || parked.send(()).unwrap(),
    ));
    yields.recv_timeout(LONG).unwrap();
    executor.spawn(async move { done.send("other").unwrap() });
    assert_eq!(ended.recv_timeout(LONG).unwrap(), "other");
    gate.open();
    assert_eq!(ended.recv_timeout(LONG).unwrap(), "waited");
}

/// If this failed, a defect in one task would take a core from the node.
#[test]
fn a_panic_ends_the_task_and_not_the_thread() {
    let executor = Executor::new(1).unwrap();
    for _ in 0..3 {
        executor.spawn(async { panic!("as asked") });
    }
    let (done, ended) = mpsc::channel();
    executor.spawn(async move { done.send(()).unwrap() });
    ended.recv_timeout(LONG).unwrap();
}

struct Tells(mpsc::Sender<&'static str>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// If this failed, a step past its deadline would hold its instance for ever.
#[test]
fn a_task_can_be_cancelled() {
    let executor = Executor::new(1).unwrap();
    let (tell, told) = mpsc::channel();
    let (started, running) = mpsc::channel();
    let tells = Tells(tell);
    let task = executor.spawn(telling(
        async move {
            let _tells = tells;
            std::future::pending::<()>().await;
        },
        move || started.send(()).unwrap(),
    ));
    running.recv_timeout(LONG).unwrap();
    task.cancel();
    assert_eq!(told.recv_timeout(LONG).unwrap(), "dropped");
}

/// If this failed, a node could not stop, or would leak what its steps hold.
#[test]
fn the_end_drops_what_is_left() {
    let executor = Executor::new(2).unwrap();
    let (tell, told) = mpsc::channel();
    let spawner = executor.spawner();
    let gate = Gate::default();
    let (parked, yields) = mpsc::channel();
    let (tells, waits) = (Tells(tell.clone()), gate.wait());
    executor.spawn(telling(
        async move {
            let _tells = tells;
            waits.await;
        },
        move || parked.send(()).unwrap(),
    ));
    yields.recv_timeout(LONG).unwrap();
    let endless = Tells(tell.clone());
    executor.spawn(async move {
        let _endless = endless;
        loop {
            yield_now().await;
        }
    });
    drop(executor);
    assert_eq!(told.recv_timeout(LONG).unwrap(), "dropped");
    // A waiting one goes when it is woken, a new one at once.
    gate.open();
    assert_eq!(told.recv_timeout(LONG).unwrap(), "dropped");
    let late = Tells(tell);
    spawner.spawn(async move { drop(late) });
    assert_eq!(told.recv_timeout(LONG).unwrap(), "dropped");
}

/// If this failed, a short task would wait for a worker to wake, or a thread that lends itself would
/// be kept by long ones.
#[test]
fn a_thread_that_lends_itself_runs_what_is_short() {
    let executor = Executor::new(1).unwrap();
    let spawner = executor.spawner();
    let here = std::thread::current().id();
    let (sender, told) = mpsc::channel();
    let tell = move || sender.send(std::thread::current().id()).unwrap();
    // One after the other, and the second by the first.
    let (first, second, inner) = (tell.clone(), tell.clone(), spawner.clone());
    spawner.lend(|| {
        spawner.spawn(async move {
            first();
            inner.spawn(async move { second() });
        });
    });
    assert_eq!((told.try_recv(), told.try_recv()), (Ok(here), Ok(here)));
    // What gives way, and what comes after a long one, is for the workers.
    let (first, second) = (tell.clone(), tell.clone());
    spawner.lend(|| {
        spawner.spawn(async move {
            first();
            yield_now().await;
            second();
        });
    });
    assert_eq!(told.recv_timeout(LONG).unwrap(), here);
    assert_ne!(told.recv_timeout(LONG).unwrap(), here);
    let inner = spawner.clone();
    spawner.lend(|| {
        spawner.spawn(async move {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1) {}
            inner.spawn(async move { tell() });
        });
    });
    assert_ne!(told.recv_timeout(LONG).unwrap(), here);
    // It does not stay lent.
    let (done, ended) = mpsc::channel();
    spawner.spawn(async move { done.send(std::thread::current().id()).unwrap() });
    assert_ne!(ended.recv_timeout(LONG).unwrap(), here);
}

/// If this failed, a setting that cannot work would be taken.
#[test]
fn there_is_at_least_one_thread() {
    let refused = Executor::new(0).unwrap_err().to_string();
    assert_eq!(refused, "invalid runtime setting `threads` 0: expected 1 to 1024");
}
