//! The clock of running guests: an OS thread that advances the engine's epoch while steps run, and
//! sleeps when none does. A node that does nothing is not woken by it.
//!
//! It is a thread and not a task: workers that are all busy would never run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// Ticks without a running step before the thread goes to sleep. Waking it costs a system call, so
/// that it stays awake between steps that follow one another closely.
const IDLE_TICKS: u32 = 32;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// While it lives, the clock ticks.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine, tick: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, for_thread) = (engine.weak(), shared.clone());
        let advance = move || {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new()
            .name("izna-ticker".into())
            .spawn(move || for_thread.run(tick, advance))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A guest is about to run.
    pub(crate) fn running(&self) -> Running<'_> {
        // Sequentially consistent with the other side in `Shared::run`: either it sees this count
        // or we see it asleep.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    #[cold]
    fn wake(&self) {
        self.shared.asleep.store(false, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    #[cfg(test)]
    fn is_asleep(&self) -> bool {
        self.shared.asleep.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.wake();
        // The last owner of the runtime may be the future of a step, but never this thread: it owns
        // nothing of it.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, tick: Duration, advance: impl Fn()) {
        let mut idle = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TICKS {
                self.sleep();
                idle = 0;
            }
            thread::sleep(tick);
            advance();
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) > 0 {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    /// If this failed, an idle node would wake up a thousand times a second, or a busy one would
    /// lose its clock.
    #[test]
    fn ticks_only_while_something_runs() {
        let engine = Engine::new(&wasmtime::Config::new()).unwrap();
        let ticker = Ticker::start(&engine, Duration::from_millis(1)).unwrap();
        until(|| ticker.is_asleep());
        let running = ticker.running();
        assert!(!ticker.is_asleep());
        thread::sleep(Duration::from_millis(100));
        assert!(!ticker.is_asleep());
        drop(running);
        until(|| ticker.is_asleep());
    }

    /// If this failed, a node could not stop while its clock sleeps.
    #[test]
    fn ends_when_dropped_asleep() {
        let engine = Engine::new(&wasmtime::Config::new()).unwrap();
        let ticker = Ticker::start(&engine, Duration::from_millis(1)).unwrap();
        until(|| ticker.is_asleep());
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            drop(ticker);
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    fn until(condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(10), "did not happen in 10 s");
            thread::yield_now();
        }
    }
}
