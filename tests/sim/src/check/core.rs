//! *Core*: a core finds no contradiction in its own state.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Checker;
use crate::World;

/// What must be so within a core between two inputs.
pub(crate) struct Invariants;

impl Checker for Invariants {
    const NAME: &'static str = "core";
}

impl World {
    pub(crate) fn check_core(&self, n: usize) {
        if let Some(core) = &self.nodes[n].core {
            core.check();
        }
    }

    /// A core has found a contradiction, and is not to be used any more.
    pub(crate) fn contradiction(&mut self, n: usize, text: String) {
        self.fail::<Invariants>(None, n, text);
    }
}

/// Do it; the text of its panic if it panics. What it was about is not to be used any more then.
pub(crate) fn guarded(act: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
        text.unwrap_or_else(|| String::from("it panics without a text"))
    })
}
