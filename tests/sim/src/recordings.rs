//! Recordings of simulated cores, one for each life of each node.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::World;

/// What a core was told in one life of its node, and what it put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The node, by its number.
    pub node: usize,
    /// Which life.
    pub incarnation: u64,
    /// The recording.
    pub bytes: Vec<u8>,
}

impl World {
    /// A node's life ends: keep its recording, if there is one.
    pub(crate) fn keep_recording(&mut self, n: usize) {
        let incarnation = self.nodes[n].incarnation;
        if let Some(mut recorder) = self.nodes[n].recorder.take() {
            recorder.finish();
            self.recordings.push(Recording { node: n, incarnation, bytes: recorder.take() });
        }
    }
}

/// Write recordings into a folder, which is made: each into a file that is named for its node and
/// which life of it.
///
/// # Errors
/// When one cannot be written.
pub fn keep(folder: &Path, recordings: &[Recording]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for Recording { node, incarnation, bytes } in recordings {
        std::fs::write(folder.join(format!("node-{node}.{incarnation}.cbor")), bytes)?;
    }
    Ok(())
}

/// The folder for the recordings of a seed that failed.
pub(crate) fn folder(seed: u64) -> PathBuf {
    std::env::temp_dir().join(format!("izna-sim-{seed}-{}", std::process::id()))
}
