//! Requests of local steps to cluster memory: answered here when this node keeps the key, else by
//! the node that does.

use izna_proto::{MemoryError, MemoryOperation, Message};

use crate::{Core, Output, core::Timer, memory};

impl Core {
    pub(crate) fn recall(
        &mut self,
        request: u64,
        app: &str,
        key: &str,
        operation: MemoryOperation,
    ) {
        let key = match memory::scoped(app, key) {
            Ok(key) => key,
            Err(error) => {
                return self.put(Output::MemoryAnswer { request, answer: Err(error) });
            }
        };
        let own = self.config.node;
        let present = self.view.present(self.now, &self.config);
        let keeper = memory::keeper(&key, present.chain([own])).unwrap_or(own);
        if keeper == own {
            let answer = self.part.apply(key, operation);
            return self.put(Output::MemoryAnswer { request, answer });
        }
        if self.requests.len() >= self.config.memory_requests_max {
            return self.recall_failed(request);
        }
        let max = self.config.memory_timeout;
        let Some((wire, until)) = self.requests.ask(self.now, request, keeper, max) else {
            return self.recall_failed(request);
        };
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::KeepTwice) {
            let _ = self.part.apply(key.clone(), operation.clone());
        }
        self.counters.memory_requests += 1;
        self.send(keeper, Message::Memory { request: wire, key, operation });
        self.arm(until, Timer::Memory(wire));
    }

    pub(crate) fn recall_late(&mut self, wire: u64) {
        if let Some(request) = self.requests.late(self.now, wire) {
            self.recall_failed(request);
        }
    }

    pub(crate) fn recall_failed(&mut self, request: u64) {
        self.put(Output::MemoryAnswer { request, answer: Err(MemoryError::Unavailable) });
    }
}
