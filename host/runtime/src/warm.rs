//! Suspended functions that are kept as they stand, so that the results of their calls find them
//! here. Each is a hint: without it the function starts again from its record. So they are bounded
//! in number, memory and age, and the oldest go first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use izna_proto::{Digest, ProcessId};

use crate::component::Running;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many functions.
    pub(crate) count_max: usize,
    /// The linear memory of all of them.
    pub(crate) bytes_max: u64,
    /// For how long.
    pub(crate) age_max: Duration,
}

/// What has become of suspended functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmCounts {
    /// Kept now.
    pub kept: usize,
    /// Their linear memory, in bytes.
    pub bytes: u64,
    /// Went on where they stood.
    pub resumed: u64,
    /// Started again from their record.
    pub replayed: u64,
    /// Dropped for a limit.
    pub dropped: u64,
}

/// Which suspended function: all of it, down to the last byte of its record.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) process: ProcessId,
    pub(crate) digest: Digest,
    pub(crate) function: std::sync::Arc<str>,
    pub(crate) continuation: Bytes,
}

/// The functions that are kept.
pub(crate) struct Warm {
    limits: Limits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By their age, the oldest first.
    fibers: BTreeMap<u64, Fiber>,
    of: HashMap<ProcessId, Vec<u64>>,
    next: u64,
    counts: WarmCounts,
}

struct Fiber {
    key: Key,
    since: Instant,
    bytes: u64,
    running: Running,
}

impl Warm {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep a function that has just suspended.
    pub(crate) fn put(&self, key: Key, bytes: u64, running: Running) {
        let now = Instant::now();
        let mut kept = self.lock();
        let number = kept.next;
        kept.next += 1;
        kept.of.entry(key.process).or_default().push(number);
        kept.counts.bytes += bytes;
        kept.fibers.insert(number, Fiber { key, since: now, bytes, running });
        let over = kept.over(&self.limits, now);
        drop(kept);
        // Outside of the lock: it unwinds their stacks.
        drop(over);
    }

    /// The function, if it is here as it was when it suspended.
    pub(crate) fn take(&self, key: &Key) -> Option<Running> {
        let mut kept = self.lock();
        let numbers = kept.of.get(&key.process).cloned().unwrap_or_default();
        let found = numbers.into_iter().find(|number| {
            kept.fibers.get(number).is_some_and(|fiber| {
                let other = &fiber.key;
                other.digest == key.digest
                    && other.function == key.function
                    && other.continuation == key.continuation
            })
        });
        match found.and_then(|number| kept.remove(number)) {
            Some(fiber) => {
                kept.counts.resumed += 1;
                Some(fiber.running)
            }
            None => {
                kept.counts.replayed += 1;
                None
            }
        }
    }

    /// Drop those that are too old, or all.
    pub(crate) fn sweep(&self, all: bool) {
        let limits = if all { Limits { count_max: 0, ..self.limits } } else { self.limits };
        let over = self.lock().over(&limits, Instant::now());
        drop(over);
    }

    /// Make room for an instance: drop the oldest. False when there is none.
    pub(crate) fn make_room(&self) -> bool {
        let mut kept = self.lock();
        let oldest = kept.pop_oldest();
        drop(kept);
        oldest.is_some()
    }

    pub(crate) fn counts(&self) -> WarmCounts {
        let kept = self.lock();
        WarmCounts { kept: kept.fibers.len(), ..kept.counts }
    }
}

impl Kept {
    /// Take out what is over the limits.
    fn over(&mut self, limits: &Limits, now: Instant) -> Vec<Fiber> {
        let mut over = Vec::new();
        while let Some((_, oldest)) = self.fibers.first_key_value() {
            let is_old = now.saturating_duration_since(oldest.since) > limits.age_max;
            let is_full =
                self.fibers.len() > limits.count_max || self.counts.bytes > limits.bytes_max;
            if !is_old && !is_full {
                break;
            }
            over.extend(self.pop_oldest());
        }
        over
    }

    fn pop_oldest(&mut self) -> Option<Fiber> {
        let number = *self.fibers.first_key_value()?.0;
        self.counts.dropped += 1;
        self.remove(number)
    }

    fn remove(&mut self, number: u64) -> Option<Fiber> {
        let fiber = self.fibers.remove(&number)?;
        self.counts.bytes -= fiber.bytes;
        if let Some(numbers) = self.of.get_mut(&fiber.key.process) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.of.remove(&fiber.key.process);
            }
        }
        Some(fiber)
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
