//! *Memory*: what a node keeps of cluster memory is what was put there last, each operation done
//! once, at one node; a step is answered once, with a value that was put under that key or none; and
//! all of it within its limit.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use izna_core::{Input, Output};
use izna_proto::{MemoryAnswer, MemoryError, MemoryOperation, Message, NodeId};

use super::Checker;
use crate::{World, node::Effects};

/// What was put where.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What each node keeps. It may have dropped any of it.
    kept: Vec<BTreeMap<Bytes, Bytes>>,
    /// All that steps have put, in their order: a value begins with its number.
    written: Vec<Write>,
    /// What a node is asked now.
    asked: Option<Asked>,
}

/// A value that a step puts into cluster memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) app: Arc<str>,
    pub(crate) key: u8,
}

#[derive(Debug)]
struct Asked {
    /// The node that asks; none for a step of the same node.
    peer: Option<NodeId>,
    request: u64,
    key: Bytes,
    operation: MemoryOperation,
}

impl Checker for Memory {
    const NAME: &'static str = "memory";
}

impl Memory {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { kept: vec![BTreeMap::new(); nodes], written: Vec::new(), asked: None }
    }

    pub(crate) fn crashed(&mut self, n: usize) {
        self.kept[n].clear();
    }

    /// Note a value that is put now; gives its number.
    pub(crate) fn write(&mut self, write: Write) -> u64 {
        self.written.push(write);
        self.written.len() as u64
    }

    /// Whether a value was put there.
    pub(crate) fn was_put(&self, value: &Bytes, there: &Write) -> bool {
        let number = number(value).and_then(|number| usize::try_from(number).ok()?.checked_sub(1));
        number.and_then(|number| self.written.get(number)) == Some(there)
    }

    /// A node is asked to do something in its part of it, or in whoever's part it is.
    pub(crate) fn asked(&mut self, input: &Input) {
        self.asked = match input {
            Input::Received { peer, message: Message::Memory { request, key, operation } } => {
                let (key, operation) = (key.clone(), operation.clone());
                Some(Asked { peer: Some(*peer), request: *request, key, operation })
            }
            Input::Memory { request, app, key, operation } => {
                let key = Bytes::from([app.as_bytes(), &[0], key.as_bytes()].concat());
                let operation = operation.clone();
                Some(Asked { peer: None, request: *request, key, operation })
            }
            _ => None,
        };
    }
}

/// The number that a value begins with.
fn number(value: &Bytes) -> Option<u64> {
    value.first_chunk().map(|number| u64::from_be_bytes(*number))
}

impl World {
    pub(crate) fn check_memory(&mut self, n: usize, effects: &Effects) {
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        let (bytes, max) = (core.memory_bytes(), node.config.memory_bytes_max);
        if bytes > max {
            let message = format!("keeps {bytes} bytes, over the limit of {max}");
            return self.fail::<Memory>(None, n, message);
        }
        let Some(asked) = self.checkers.memory.asked.take() else { return };
        let mut answers = effects.outputs.iter().filter_map(|output| asked.answer(output));
        let (answer, second) = (answers.next(), answers.next());
        let wrong = match (answer, second) {
            (_, Some(second)) => Some(format!("answers twice, with {second:?} too")),
            (None, _) if asked.peer.is_some() => Some(String::from("gives no answer")),
            (None, _) => None,
            (Some(answer), _) => self.checkers.memory.done(n, &asked, answer),
        };
        if let Some(wrong) = wrong {
            let (key, request) =
                (String::from_utf8_lossy(&asked.key).replace('\0', " "), asked.request);
            self.fail::<Memory>(None, n, format!("request {request} of {key}: {wrong}"));
        }
    }

    /// In the end no step waits for an answer.
    pub(crate) fn check_requests(&mut self) {
        for n in 0..self.nodes.len() {
            let waiting = self.nodes[n].executor.waiting();
            if waiting > 0 && self.nodes[n].core.is_some() {
                let message = format!("{waiting} steps are never answered");
                self.fail::<Memory>(None, n, message);
            }
        }
    }

    /// A step gets an answer.
    pub(crate) fn check_answer(
        &mut self,
        n: usize,
        there: &Write,
        operation: &MemoryOperation,
        answer: &MemoryAnswer,
    ) {
        let right = match (operation, answer) {
            (MemoryOperation::Get, Ok(Some(value))) => self.checkers.memory.was_put(value, there),
            (MemoryOperation::Put(_), Err(MemoryError::TooLarge { .. })) => true,
            (_, Ok(None) | Err(MemoryError::Unavailable)) => true,
            _ => false,
        };
        if !right {
            let message = format!("{operation:?} of {there:?} is answered with {answer:?}");
            self.fail::<Memory>(None, n, message);
        }
    }

    /// An answer that no step waits for.
    pub(crate) fn answered_twice(&mut self, n: usize, request: u64) {
        self.fail::<Memory>(None, n, format!("request {request} is answered twice"));
    }
}

impl Asked {
    /// What an output answers to it.
    fn answer<'a>(&self, output: &'a Output) -> Option<&'a MemoryAnswer> {
        match output {
            Output::Send { peer, message: Message::MemoryAnswer { request, answer } } => {
                (self.peer == Some(*peer) && self.request == *request).then_some(answer)
            }
            Output::MemoryAnswer { request, answer } => {
                (self.peer.is_none() && self.request == *request).then_some(answer)
            }
            _ => None,
        }
    }
}

impl Memory {
    /// A node has done it, and answers so: what is wrong with that.
    fn done(&mut self, n: usize, asked: &Asked, answer: &MemoryAnswer) -> Option<String> {
        let kept = &mut self.kept[n];
        match (&asked.operation, answer) {
            (MemoryOperation::Get, Ok(Some(value))) => {
                let last = kept.get(&asked.key);
                let wrong = last != Some(value);
                let (gives, last) = (number(value), last.and_then(number));
                wrong.then(|| format!("gives {gives:?}, where {last:?} was put last"))
            }
            (MemoryOperation::Put(value), Ok(None)) => {
                kept.insert(asked.key.clone(), value.clone());
                None
            }
            (MemoryOperation::Get | MemoryOperation::Remove, Ok(None)) => {
                kept.remove(&asked.key);
                None
            }
            (MemoryOperation::Put(_), Err(MemoryError::TooLarge { .. })) => None,
            (_, Err(MemoryError::Unavailable)) if asked.peer.is_none() => None,
            _ => Some(format!("answers {answer:?}")),
        }
    }
}
