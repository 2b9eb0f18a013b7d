//! The app table at work: changes made here, and anti-entropy with the others.

use alloc::{sync::Arc, vec::Vec};

use izna_proto::{Message, NodeId, Revision, TableEntry, Wire};
use rand::RngExt;

use super::Core;
use crate::{
    effects::Timer,
    io::{Change, Output},
    table_error::TableError,
};

/// The most bytes of one message with lines of the table, if it has more than one line...
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// ...and of all that answer one summary.
const ANSWER_BYTES_MAX: usize = 8 << 20;

impl Core {
    /// Someone changes an app here.
    pub(super) fn change(&mut self, request: u64, change: Change) {
        let result = self.try_change(change);
        self.fx.put(Output::Changed { request, result });
    }

    fn try_change(&mut self, change: Change) -> Result<TableEntry, TableError> {
        let line = self.catalog.line(change)?;
        self.merge(Vec::from([line.clone()]));
        if self.catalog.entry(&line.name) != Some(&line) {
            return Err(self.catalog.full(self.fx.config.apps_max));
        }
        for peer in self.membership.present(&self.fx) {
            self.fx.send(peer, Message::TableEntries(Vec::from([line.clone()])));
        }
        Ok(line)
    }

    /// Lines of the table, from wherever they come.
    pub(super) fn merge(&mut self, lines: Vec<TableEntry>) {
        for line in lines {
            if self.catalog.take(&mut self.fx, &line) {
                // Where it was deployed again its code is.
                let specs = line.app.iter().flat_map(|app| &app.components);
                specs.for_each(|spec| self.components.ask_soon(&mut self.fx, spec.digest));
            }
        }
        self.reconcile();
    }

    /// Lines as they were on disk.
    pub(super) fn restore(&mut self, lines: Vec<TableEntry>) {
        for line in lines {
            self.catalog.restore(&self.fx, line);
        }
        self.reconcile();
    }

    /// What is done ten times a second: tell gateways what is held here, look for lost processes,
    /// forget old revisions.
    pub(super) fn tell_holding(&mut self) {
        self.tell_gateways();
        self.find_lost();
        self.catalog.expire(&self.fx);
        self.reconcile();
        self.fx.arm(self.fx.now + self.fx.config.holding_interval, Timer::Holding);
    }

    /// Send lines of the table, in messages that a link takes. Of more than one answer should have,
    /// some are sent, others each time: those that are taken are not asked for again.
    fn send_lines(&mut self, peer: NodeId, mut lines: Vec<TableEntry>) {
        let bytes = |line: &TableEntry| line.to_bytes().len();
        if lines.iter().map(bytes).sum::<usize>() > ANSWER_BYTES_MAX {
            let first = self.fx.random.random_range(0..lines.len());
            lines.rotate_left(first);
        }
        let (mut message, mut message_bytes, mut sent_bytes) = (Vec::new(), 0, 0);
        for line in lines {
            let bytes = bytes(&line);
            if sent_bytes > 0 && sent_bytes + bytes > ANSWER_BYTES_MAX {
                break;
            }
            if message_bytes > 0 && message_bytes + bytes > MESSAGE_BYTES_MAX {
                self.fx.send(peer, Message::TableEntries(core::mem::take(&mut message)));
                message_bytes = 0;
            }
            (message_bytes, sent_bytes) = (message_bytes + bytes, sent_bytes + bytes);
            message.push(line);
        }
        if !message.is_empty() {
            self.fx.send(peer, Message::TableEntries(message));
        }
    }

    pub(super) fn table_summary(&mut self, peer: NodeId, summary: &[(Arc<str>, Revision)]) {
        let (mut missing, news) = self.catalog.compare(summary);
        let told = match self.membership.zone_of(peer) {
            None => self.membership.peer(peer).map_or(0, |peer| peer.inventory.table),
            Some(zone) => self.membership.zone(zone).map_or(0, |zone| zone.table),
        };
        if missing.is_empty() && !news && told != 0 && told != self.catalog.sum() {
            // Equal revisions that differ: two deployed at once. The bytes decide at the other
            // side.
            missing = self.catalog.entries().cloned().collect();
        }
        self.send_lines(peer, missing);
        if news {
            let summary = self.catalog.summary();
            self.fx.send(peer, Message::TableSummary(summary));
        }
    }
}
