//! Cores that are always busy, so that all experiments find them alike.

use std::process::{Child, Command};

/// A process that spins on a core whenever nothing else wants it. Cores of a machine share what
/// makes them fast; with all of them always busy, a second of processor time is worth the same
/// whether one node runs or eight.
#[derive(Debug)]
pub struct Spinner {
    child: Child,
}

impl Spinner {
    /// One for each core.
    pub fn on_all_cores() -> Vec<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = || {
            let mut command = Command::new("chrt");
            command.args(["--idle", "0", "sh", "-c", "while :; do :; done"]);
            command.spawn().map(|child| Self { child }).ok()
        };
        let spinners: Vec<Self> = (0..cores).map_while(|_| spin()).collect();
        if spinners.is_empty() {
            eprintln!("no chrt here: a node alone may run on a faster core than one of many");
        }
        spinners
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
