//! *Core*: a core finds no contradiction in its own state.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Checker;
use crate::World;

/// What must be so within a core between two inputs.
pub(crate) struct Invariants;

impl Checker for Invariants {
    const NAME: &'static str = "core";
}

/// A look at all invariants costs as much as is held. Of a node that holds more processes than this,
/// it is taken after every second input, of one that holds twice as many after every third, and so
/// on.
const HELD_PER_CHECK: usize = 16;

impl World {
    pub(crate) fn check_core(&mut self, n: usize) {
        self.checks += 1;
        let Some(core) = &mut self.nodes[n].core else { return };
        if self.checks.is_multiple_of(1 + core.held().0 / HELD_PER_CHECK) {
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
