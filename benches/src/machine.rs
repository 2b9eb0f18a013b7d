//! The machine as something that tests share: those that load it must not disturb one another, in
//! whatever process they run.

use std::env;
use std::fs::File;

use anyhow::{Context, Result};

/// How much of the machine a cluster needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Others may run beside it.
    Shared,
    /// It is loaded or timed: nobody else may run.
    Alone,
    /// Whoever begins it has taken the machine already.
    Given,
}

/// The machine, until dropped.
#[derive(Debug)]
pub struct Share {
    _lock: Option<File>,
}

impl Machine {
    /// Wait for the machine.
    pub fn take(self) -> Result<Share> {
        let path = env::temp_dir().join("izna-machine.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match self {
            Self::Shared => file.lock_shared(),
            Self::Alone => file.lock(),
            Self::Given => return Ok(Share { _lock: None }),
        }
        .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Share { _lock: Some(file) })
    }
}
