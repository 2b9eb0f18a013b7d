//! Cluster memory: each key is kept by one node, chosen by rendezvous hashing over the nodes that
//! are there. Bounded and volatile: a cache. Here is the part that this node keeps, and what its
//! steps ask of the parts of others.

use alloc::{collections::BTreeMap, vec::Vec};

use bytes::Bytes;
use izna_proto::{MemoryAnswer, MemoryError, MemoryOperation, Message, NodeId};
use lru::LruCache;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    config::Config,
    effects::{Effects, Timer, first_number},
    io::Output,
    sabotage::Sabotage,
    time::{Duration, Time},
};

/// The longest key with its app's name, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// What keeping a value costs beside its bytes.
const OVERHEAD_BYTES: usize = 128;

/// A keeper that was late is waited for this part of the time that others are.
const TRIAL_PART: u32 = 16;
/// How long a keeper that was late is not asked; doubled each time it is late again.
const REST_MIN: Duration = Duration::from_millis(250);
const REST_MAX: Duration = Duration::from_secs(8);

/// The node among `nodes` that keeps `key`. When one node comes or goes, only its own keys move.
pub(crate) fn keeper(key: &[u8], nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    nodes.max_by_key(|node| (xxh3_64_with_seed(key, node.0), *node))
}

/// The key of an app's `key`: no app can name another's.
pub(crate) fn scoped(app: &str, key: &str) -> Result<Bytes, MemoryError> {
    if app.len() + key.len() + 1 > KEY_BYTES_MAX {
        return Err(MemoryError::TooLarge { max: KEY_BYTES_MAX as u64 });
    }
    // A name of an app has no zero byte, so the first one ends it.
    let mut scoped = Vec::with_capacity(app.len() + 1 + key.len());
    scoped.extend_from_slice(app.as_bytes());
    scoped.push(0);
    scoped.extend_from_slice(key.as_bytes());
    Ok(Bytes::from(scoped))
}

/// This node's side of cluster memory.
#[derive(Debug)]
pub(crate) struct Memory {
    part: Part,
    requests: Requests,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            part: Part::new(config.memory_bytes_max, config.memory_value_bytes_max),
            requests: Requests::new(first_number(config.incarnation)),
        }
    }

    /// The bytes that are kept here, with what keeping them costs.
    pub(crate) fn bytes(&self) -> usize {
        self.part.bytes
    }

    /// Requests that wait for other nodes.
    pub(crate) fn waiting(&self) -> usize {
        self.requests.waiting.len()
    }

    /// What a key that this node keeps is asked for.
    pub(crate) fn apply(
        &mut self,
        fx: &Effects,
        key: Bytes,
        operation: MemoryOperation,
    ) -> MemoryAnswer {
        if operation == MemoryOperation::Remove && fx.sabotaged(Sabotage::KeepRemoved) {
            return Ok(None);
        }
        self.part.apply(key, operation)
    }

    /// A local step asks for a key that `keeper` keeps, another node.
    pub(crate) fn ask(
        &mut self,
        fx: &mut Effects,
        request: u64,
        keeper: NodeId,
        (key, operation): (Bytes, MemoryOperation),
    ) {
        let has_room = self.requests.waiting.len() < fx.config.memory_requests_max;
        let max = fx.config.memory_timeout;
        let asked = has_room.then(|| self.requests.ask(fx.now, request, keeper, max)).flatten();
        let Some((wire, until)) = asked else { return fail(fx, request) };
        if fx.sabotaged(Sabotage::KeepTwice) {
            let _ = self.part.apply(key.clone(), operation.clone());
        }
        fx.counters.memory_requests += 1;
        fx.send(keeper, Message::Memory { request: wire, key, operation });
        fx.arm(until, Timer::Memory(wire));
    }

    /// A keeper has answered.
    pub(crate) fn answered(
        &mut self,
        fx: &mut Effects,
        peer: NodeId,
        wire: u64,
        answer: MemoryAnswer,
    ) {
        if let Some(asked) = self.requests.answered(fx.now, peer, wire) {
            fx.disarm(asked.until, Timer::Memory(wire));
            fx.put(Output::MemoryAnswer { request: asked.local, answer });
        }
    }

    /// The timer of a request has come.
    pub(crate) fn late(&mut self, fx: &mut Effects, wire: u64) {
        if let Some(request) = self.requests.late(fx.now, wire) {
            fail(fx, request);
        }
    }

    /// A node will answer nothing any more.
    pub(crate) fn lost(&mut self, fx: &mut Effects, peer: NodeId) {
        for (wire, asked) in self.requests.lost(peer) {
            fx.disarm(asked.until, Timer::Memory(wire));
            fail(fx, asked.local);
        }
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        let Part { values, bytes, bytes_max, .. } = &self.part;
        let counted: usize = values.iter().map(|(key, value)| cost(key, value)).sum();
        assert_eq!(*bytes, counted, "the bytes of cluster memory are counted wrong");
        assert!(*bytes <= *bytes_max, "cluster memory is over its limit");
        for (wire, asked) in &self.requests.waiting {
            assert!(fx.is_armed(asked.until, Timer::Memory(*wire)), "a request without an end");
        }
    }
}

fn fail(fx: &mut Effects, request: u64) {
    fx.put(Output::MemoryAnswer { request, answer: Err(MemoryError::Unavailable) });
}

/// The part of cluster memory that this node keeps.
#[derive(Debug)]
struct Part {
    values: LruCache<Bytes, Bytes>,
    bytes: usize,
    bytes_max: usize,
    value_bytes_max: usize,
}

impl Part {
    fn new(bytes_max: usize, value_bytes_max: usize) -> Self {
        Self { values: LruCache::unbounded(), bytes: 0, bytes_max, value_bytes_max }
    }

    fn apply(&mut self, key: Bytes, operation: MemoryOperation) -> MemoryAnswer {
        match operation {
            MemoryOperation::Get => Ok(self.values.get(&key).cloned()),
            MemoryOperation::Remove => {
                self.remove(&key);
                Ok(None)
            }
            MemoryOperation::Put(value) => {
                let cost = cost(&key, &value);
                let max = self.value_bytes_max.min(self.bytes_max);
                if value.len() > self.value_bytes_max || cost > self.bytes_max {
                    return Err(MemoryError::TooLarge { max: max as u64 });
                }
                self.remove(&key);
                while self.bytes + cost > self.bytes_max {
                    let Some((key, value)) = self.values.pop_lru() else { break };
                    self.bytes -= self::cost(&key, &value);
                }
                self.bytes += cost;
                // Both are often slices of a larger frame: keep them, not the frame.
                self.values.put(Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
                Ok(None)
            }
        }
    }

    fn remove(&mut self, key: &Bytes) {
        if let Some(value) = self.values.pop(key) {
            self.bytes -= cost(key, &value);
        }
    }
}

fn cost(key: &Bytes, value: &Bytes) -> usize {
    key.len() + value.len() + OVERHEAD_BYTES
}

/// Requests of local steps that other nodes are to answer.
#[derive(Debug)]
struct Requests {
    waiting: BTreeMap<u64, Asked>,
    next: u64,
    resting: BTreeMap<NodeId, Rest>,
}

/// A request of a local step, and when its wait ends.
#[derive(Debug, Clone, Copy)]
struct Asked {
    local: u64,
    keeper: NodeId,
    until: Time,
    /// Whether it tries a keeper that rests.
    tries: bool,
}

/// A keeper that was late: after `until` one request tries it again.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Time,
    length: Duration,
}

impl Requests {
    /// Requests whose numbers come after `first`.
    fn new(first: u64) -> Self {
        Self { waiting: BTreeMap::new(), next: first, resting: BTreeMap::new() }
    }

    /// Note a request of a local step to `keeper`, and how long it waits, at most `max`. Gives the
    /// number for the wire and the end of the wait; none if the keeper is not to be asked.
    ///
    /// What a cache has is not worth a long wait, and a keeper that is slow now is slow for all keys
    /// that it keeps. So one that was late rests. Then one request tries it, for a short time:
    /// enough good answers end that, and a late one makes the next rest longer.
    fn ask(&mut self, now: Time, local: u64, keeper: NodeId, max: Duration) -> Option<(u64, Time)> {
        let rest = self.resting.get_mut(&keeper);
        let tries = rest.is_some();
        if let Some(rest) = rest {
            if now < rest.until {
                return None;
            }
            rest.until = now + rest.length;
        }
        let until = now + if tries { max / TRIAL_PART } else { max };
        self.next += 1;
        self.waiting.insert(self.next, Asked { local, keeper, until, tries });
        Some((self.next, until))
    }

    /// The local request that `peer` answers, once.
    fn answered(&mut self, now: Time, peer: NodeId, request: u64) -> Option<Asked> {
        let asked = *self.waiting.get(&request).filter(|asked| asked.keeper == peer)?;
        self.waiting.remove(&request);
        if let Some(rest) = self.resting.get_mut(&peer).filter(|_| asked.tries) {
            *rest = Rest { until: now, length: rest.length / 2 };
            if rest.length < REST_MIN {
                self.resting.remove(&peer);
            }
        }
        Some(asked)
    }

    /// The local request that waited too long, if it still waits.
    fn late(&mut self, now: Time, request: u64) -> Option<u64> {
        let Asked { local, keeper, tries, .. } = self.waiting.remove(&request)?;
        let length = match self.resting.get(&keeper) {
            None => Some(REST_MIN),
            Some(rest) if tries => Some((rest.length * 2).min(REST_MAX)),
            // It was asked before the rest began.
            Some(_) => None,
        };
        if let Some(length) = length {
            self.resting.insert(keeper, Rest { until: now + length, length });
        }
        Some(local)
    }

    /// The requests that a node will not answer any more.
    fn lost(&mut self, peer: NodeId) -> Vec<(u64, Asked)> {
        self.resting.remove(&peer);
        self.waiting.extract_if(.., |_, asked| asked.keeper == peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(part: &mut Part, key: &'static str, bytes: usize) -> MemoryAnswer {
        let value = Bytes::from(alloc::vec![1; bytes]);
        part.apply(Bytes::from_static(key.as_bytes()), MemoryOperation::Put(value))
    }

    fn has(part: &mut Part, key: &'static str) -> bool {
        let key = Bytes::from_static(key.as_bytes());
        part.apply(key, MemoryOperation::Get).unwrap().is_some()
    }

    /// If this fails, a slow keeper costs each step that asks it a long wait, or is not asked any
    /// more when it is fast again.
    #[test]
    fn a_slow_keeper_rests() {
        let (keeper, max) = (NodeId(7), Duration::from_millis(160));
        let mut requests = Requests::new(0);
        let mut now = Time::from_micros(0);
        let first = requests.ask(now, 1, keeper, max).unwrap();
        let second = requests.ask(now, 2, keeper, max).unwrap();
        assert_eq!(first.1, now + max);
        now = now + max;
        assert_eq!(requests.late(now, first.0), Some(1));
        assert_eq!(requests.late(now, second.0), Some(2));
        let mut length = REST_MIN;
        for _ in 0..9 {
            assert_eq!(requests.ask(now, 3, keeper, max), None);
            assert_eq!(
                requests.ask(now, 3, NodeId(8), max).map(|(_, until)| until),
                Some(now + max)
            );
            now = now + length;
            let (wire, until) = requests.ask(now, 4, keeper, max).unwrap();
            assert_eq!(until, now + max / TRIAL_PART);
            assert_eq!(requests.ask(now, 5, keeper, max), None, "one tries it");
            now = until;
            assert_eq!(requests.late(now, wire), Some(4));
            length = (length * 2).min(REST_MAX);
        }
        now = now + length;
        while length >= REST_MIN {
            let (wire, until) = requests.ask(now, 6, keeper, max).unwrap();
            assert_eq!(until, now + max / TRIAL_PART);
            assert!(requests.answered(now, keeper, wire).is_some());
            length /= 2;
        }
        assert_eq!(requests.ask(now, 7, keeper, max).map(|(_, until)| until), Some(now + max));
    }

    /// If this fails, cluster memory grows over its limit, or drops the wrong values.
    #[test]
    fn least_recently_used_goes_first() {
        let mut part = Part::new(3 * (OVERHEAD_BYTES + 101), 1000);
        for key in ["a", "b", "c"] {
            put(&mut part, key, 100).unwrap();
        }
        assert!(has(&mut part, "a"));
        put(&mut part, "d", 100).unwrap();
        assert!(has(&mut part, "a") && !has(&mut part, "b") && has(&mut part, "c"));
        assert!(part.bytes <= 3 * (OVERHEAD_BYTES + 101));
    }

    /// If this fails, the count of bytes drifts until nothing or everything fits.
    #[test]
    fn bytes_are_counted_right() {
        let mut part = Part::new(100_000, 1000);
        for round in 0..100 {
            put(&mut part, "a", round * 10).unwrap();
            put(&mut part, "b", 7).unwrap();
            part.apply(Bytes::from_static(b"b"), MemoryOperation::Remove).unwrap();
        }
        part.apply(Bytes::from_static(b"a"), MemoryOperation::Remove).unwrap();
        assert_eq!(part.bytes, 0);
    }

    /// If this fails, a kept key or value keeps the whole frame that it came in, and cluster memory
    /// takes many times its limit.
    #[test]
    fn what_is_kept_does_not_keep_its_frame() {
        let frame = Bytes::from(alloc::vec![7; 1 << 16]);
        let mut part = Part::new(100_000, 1000);
        let value = MemoryOperation::Put(frame.slice(10..20));
        part.apply(frame.slice(0..10), value).unwrap();
        assert!(frame.is_unique());
        assert!(part.apply(frame.slice(0..10), MemoryOperation::Get).unwrap().is_some());
    }

    /// If this fails, one value can push out everything else.
    #[test]
    fn values_are_limited() {
        let mut part = Part::new(100_000, 1000);
        assert_eq!(put(&mut part, "a", 1001), Err(MemoryError::TooLarge { max: 1000 }));
        assert!(put(&mut part, "a", 1000).is_ok());
        assert!(scoped("app", &"k".repeat(KEY_BYTES_MAX)).is_err());
    }

    /// If this fails, a node that comes or goes moves keys that are not its own.
    #[test]
    fn rendezvous_moves_few_keys() {
        let nodes = |count: u64| (0..count).map(NodeId);
        let mut moved = 0;
        for key in 0u32..1000 {
            let key = key.to_be_bytes();
            let (four, five) = (keeper(&key, nodes(4)), keeper(&key, nodes(5)));
            assert!(four == five || five == Some(NodeId(4)));
            moved += usize::from(four != five);
        }
        assert!((120..280).contains(&moved), "{moved} of 1000 moved");
    }
}
