//! The core of a node and, if it is recorded, the file of what it is told and what it puts out. The
//! simulator plays such a file (`izna-sim play`).

use std::{fs::File, io::Write as _, ops::Deref};

use izna_core::{Config, Core, Input, Output, Time, record::Recorder};

/// A core, to be told things through this alone.
#[derive(Debug)]
pub(crate) struct Recorded {
    core: Core,
    record: Option<(Recorder, File)>,
}

impl Recorded {
    pub(crate) fn new(config: Config, now: Time, file: Option<File>) -> Self {
        let recorder = |file| (Recorder::new(&config, now), file);
        let record = file.map(recorder);
        Self { core: Core::new(config, now), record }
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input) {
        self.record(|recorder| recorder.input(now, &input));
        self.core.handle(now, input);
    }

    pub(crate) fn tick(&mut self, now: Time) {
        self.record(|recorder| recorder.tick(now));
        self.core.tick(now);
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        let output = self.core.poll();
        if let (Some(output), Some((recorder, _))) = (&output, &mut self.record) {
            recorder.output(output);
        }
        output
    }

    /// Written before core is told, so that the file has what core failed at. A file that cannot be
    /// written ends the recording, not the node.
    fn record(&mut self, note: impl FnOnce(&mut Recorder)) {
        let Some((recorder, file)) = &mut self.record else { return };
        note(recorder);
        if let Err(error) = file.write_all(&recorder.take()) {
            tracing::error!(%error, "cannot write the recording; it ends here");
            self.record = None;
        }
    }
}

/// To look at.
impl Deref for Recorded {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// What came of the last input is not written yet.
impl Drop for Recorded {
    fn drop(&mut self) {
        self.record(Recorder::finish);
    }
}
