//! Those who wait for an answer that another thread brings: clients for their replies, steps for
//! cluster memory, fetches for pieces.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Who waits, by what they wait for.
#[derive(Debug)]
pub(crate) struct Waiters<K, T>(Mutex<HashMap<K, oneshot::Sender<T>>>);

/// One who waits. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Waiting<K: Eq + Hash, T> {
    waiters: Arc<Waiters<K, T>>,
    key: K,
    ended: bool,
    pub(crate) answer: oneshot::Receiver<T>,
}

impl<K, T> Default for Waiters<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Waiters<K, T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, oneshot::Sender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait for the answer to `key`. Who waited for it before waits no more.
    pub(crate) fn wait(self: &Arc<Self>, key: K) -> Waiting<K, T>
    where
        K: Clone,
    {
        let (sender, answer) = oneshot::channel();
        self.lock().insert(key.clone(), sender);
        Waiting { waiters: self.clone(), key, ended: false, answer }
    }

    /// The answer is here; dropped if nobody waits for it.
    pub(crate) fn answer(&self, key: &K, answer: T) {
        let waiting = self.lock().remove(key);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// Nobody is going to be answered.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

impl<K: Eq + Hash, T> Waiting<K, T> {
    /// End the wait; whether that was not over before, by an answer.
    pub(crate) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true) && self.waiters.lock().remove(&self.key).is_some()
    }
}

impl<K: Eq + Hash, T> Drop for Waiting<K, T> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, an answer goes to somebody else, or those who gave up take memory for good.
    #[test]
    fn each_is_answered_once_and_leaves_nothing() {
        let waiters = Arc::new(Waiters::default());
        let (mut one, mut two, three) = (waiters.wait(1), waiters.wait(2), waiters.wait(3));
        waiters.answer(&1, "one");
        waiters.answer(&1, "again");
        waiters.answer(&9, "nobody");
        assert_eq!(one.answer.try_recv(), Ok("one"));
        assert!(!one.end());
        assert!(two.end());
        assert!(!two.end());
        drop((one, two));
        assert_eq!(waiters.lock().len(), 1);
        drop(three);
        assert!(waiters.lock().is_empty());
    }
}
