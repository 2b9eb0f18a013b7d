//! Requests of local steps to cluster memory: answered here when this node keeps the key, else by
//! the node that does.

use izna_proto::MemoryOperation;

use super::Core;
use crate::{io::Output, memory};

impl Core {
    pub(super) fn recall(
        &mut self,
        request: u64,
        app: &str,
        key: &str,
        operation: MemoryOperation,
    ) {
        let key = match memory::scoped(app, key) {
            Ok(key) => key,
            Err(error) => {
                return self.fx.put(Output::MemoryAnswer { request, answer: Err(error) });
            }
        };
        let own = self.fx.config.node;
        let nodes = self.membership.present(&self.fx).into_iter().chain([own]);
        let keeper = memory::keeper(&key, nodes).unwrap_or(own);
        if keeper == own {
            let answer = self.memory.apply(&self.fx, key, operation);
            self.fx.put(Output::MemoryAnswer { request, answer });
        } else {
            self.memory.ask(&mut self.fx, request, keeper, (key, operation));
        }
    }
}
