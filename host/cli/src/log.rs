//! The log of a node, on the standard error. Writing it never stops or slows down a node: lines are
//! handed to a thread of their own. What that cannot take, since the reader is slow or the disk is
//! full, is dropped and counted.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::{
    output::Format,
    trouble::{Exit, Trouble},
};

/// Lines that wait for the thread that writes them. A line of a guest has some KiB at most.
const LINES_MAX: usize = 4096;

/// The log, while it is written to. Dropping it writes what waits, if that is taken soon.
#[derive(Debug)]
pub(crate) struct Log {
    _writer: WorkerGuard,
    losses: Losses,
}

/// How many lines did not get into the log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Losses {
    dropped: ErrorCounter,
    failed: Arc<AtomicU64>,
}

impl Losses {
    /// Lines that were dropped since too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }

    /// Lines that could not be written.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Log {
    /// Log to the standard error what `filter` lets through.
    pub(crate) fn start(filter: &str, format: Format) -> Result<Self, Trouble> {
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            let what = format!("invalid log filter `{filter}`");
            Trouble::new(Exit::Config, what).why(error.to_string()).fix("try --log info")
        })?;
        let (failed, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let out = Counted {
            out: io::stderr(),
            failed: Arc::clone(&failed),
            dropped: Arc::clone(&dropped),
            told: 0,
        };
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .thread_name("izna-log")
            .finish(out);
        let losses = Losses { dropped: writer.error_counter(), failed };
        // Nobody else sets it.
        let _ = dropped.set(losses.dropped.clone());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(writer)
            // Else an error of the log would be printed, to the same place.
            .log_internal_errors(false);
        // A second call, in tests, keeps the first.
        let _ = match format {
            Format::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
            Format::Json => builder.json().try_init(),
        };
        std::panic::set_hook(Box::new(|panic| {
            // What the default hook does, but for writing to where the write may wait for good.
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("?");
            tracing::error!(thread, "{panic}");
        }));
        Ok(Self { _writer: guard, losses })
    }

    pub(crate) fn losses(&self) -> Losses {
        self.losses.clone()
    }
}

/// A writer whose errors are counted, and end nothing. Tells when lines were dropped.
struct Counted<W> {
    out: W,
    failed: Arc<AtomicU64>,
    dropped: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.out.write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.told {
            let count = dropped - self.told;
            self.told = dropped;
            // Goes to the end of what waits, or is dropped and told with the next.
            tracing::warn!(count, "log lines were dropped: they are not read as fast as they come");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is wrong has been counted.
        let _ = self.out.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// If this fails, a full disk ends the log for good, or nobody learns that lines are missing.
    #[test]
    fn errors_of_the_log_are_counted_and_end_nothing() {
        let failed = Arc::new(AtomicU64::new(0));
        let mut log =
            Counted { out: Full, failed: failed.clone(), dropped: Arc::default(), told: 0 };
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        log.flush().unwrap();
        assert_eq!(failed.load(Ordering::Relaxed), 2);
    }
}
