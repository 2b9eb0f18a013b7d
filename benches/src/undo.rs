//! What must be undone however a run ends: at its end, by an error or a panic, when the part that
//! did it is dropped; by Ctrl-C or SIGTERM, in the reverse order of its doing.

use std::collections::BTreeMap;
use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell says of a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

type Act = Box<dyn FnOnce() + Send>;

static NEXT: AtomicU64 = AtomicU64::new(0);
static PENDING: Mutex<BTreeMap<u64, Act>> = Mutex::new(BTreeMap::new());
static HANDLER: Once = Once::new();

/// Something to undo. Dropping it undoes it.
pub struct Undo {
    number: u64,
}

impl Undo {
    /// Undo by `act`, once.
    pub fn new(act: impl FnOnce() + Send + 'static) -> Self {
        // Without a handler the rest still works: the next run sweeps up what this one left.
        HANDLER.call_once(|| {
            let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
            let _ = signals.map(|mut signals| {
                thread::spawn(move || signals.forever().next().map(|_| interrupted()))
            });
        });
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        pending(|map| map.insert(number, Box::new(act)));
        Self { number }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(act) = pending(|map| map.remove(&self.number)) {
            act();
        }
    }
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undo").field("number", &self.number).finish()
    }
}

fn pending<T>(change: impl FnOnce(&mut BTreeMap<u64, Act>) -> T) -> T {
    change(&mut PENDING.lock().unwrap_or_else(PoisonError::into_inner))
}

fn interrupted() {
    eprintln!("interrupted: ending the nodes and removing what they ran in");
    while let Some((_, act)) = pending(BTreeMap::pop_last) {
        act();
    }
    process::exit(INTERRUPTED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// If this fails, something is undone twice or never: a node is left running, or somebody
    /// else's process is killed.
    #[test]
    fn each_is_undone_once() {
        let count = Arc::new(AtomicU64::new(0));
        let theirs = count.clone();
        let undo = Undo::new(move || {
            theirs.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 0);
        drop(undo);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
