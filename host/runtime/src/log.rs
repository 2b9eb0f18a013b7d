//! What guests write to standard output and error, and by `wasi:logging`: lines for [`Host::log`],
//! bounded in length and rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult, pipe};

use crate::record::Recorder;
use crate::{Host, Level, Stream};

/// A longer line is told in pieces of this size.
const LINE_BYTES_MAX: usize = 4 << 10;
/// What a component may write a second, and at once after a pause.
const BYTES_PER_SECOND: u64 = 64 << 10;
const BURST_BYTES: u64 = 64 << 10;
/// What a guest may write in one call.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What a component may still write. One for all steps of a component on a node: steps are too
/// short to be bounded one by one.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<Tokens>);

#[derive(Debug)]
struct Tokens {
    left: u64,
    at: Instant,
    dropped: u64,
}

/// One of a guest's two output streams.
pub(crate) struct Output {
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    host: Arc<dyn Host>,
    stream: Stream,
    budget: Arc<Budget>,
    line: Vec<u8>,
    /// What says whether all this was written before.
    recorder: Option<Arc<Recorder>>,
}

/// One handle that a guest holds on an [`Output`].
struct Writer(Arc<Mutex<Lines>>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Tokens { left: BURST_BYTES, at: Instant::now(), dropped: 0 }))
    }

    /// Whether `bytes` may be written at `now`; if so, also how many were dropped since it was last
    /// allowed.
    fn take(&self, bytes: usize, now: Instant) -> Option<u64> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes as u64;
        let elapsed_us =
            u64::try_from(now.saturating_duration_since(tokens.at).as_micros()).unwrap_or(u64::MAX);
        let fresh = elapsed_us.saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        if fresh > 0 {
            tokens.left = tokens.left.saturating_add(fresh).min(BURST_BYTES);
            tokens.at = now;
        }
        match tokens.left.checked_sub(bytes) {
            Some(left) => {
                tokens.left = left;
                Some(std::mem::take(&mut tokens.dropped))
            }
            None => {
                tokens.dropped = tokens.dropped.saturating_add(bytes);
                None
            }
        }
    }
}

impl Output {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        stream: Stream,
        budget: Arc<Budget>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        let lines = Lines { host, stream, budget, line: Vec::new(), recorder };
        Self { lines: Arc::new(Mutex::new(lines)) }
    }
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        if self.recorder.as_ref().is_some_and(|recorder| recorder.is_replaying()) {
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            for text in text.chunks(LINE_BYTES_MAX) {
                if self.line.len() + text.len() > LINE_BYTES_MAX {
                    self.tell();
                }
                self.line.extend_from_slice(text);
            }
            if ends {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        let line = std::mem::take(&mut self.line);
        tell_line(&*self.host, &self.budget, self.stream, &line);
    }
}

/// Tell what a guest logs: the lines of `message`, each after what it is about.
pub(crate) fn tell(host: &dyn Host, budget: &Budget, level: Level, context: &str, message: &str) {
    let stream = Stream::Log(level);
    for line in message.lines() {
        let line = if context.is_empty() { line.to_owned() } else { format!("{context}: {line}") };
        for piece in line.as_bytes().chunks(LINE_BYTES_MAX) {
            tell_line(host, budget, stream, piece);
        }
    }
}

fn tell_line(host: &dyn Host, budget: &Budget, stream: Stream, line: &[u8]) {
    if let Some(dropped) = budget.take(line.len() + 1, Instant::now()) {
        if dropped > 0 {
            host.log(stream, &format!("[dropped {dropped} bytes]"));
        }
        host.log(stream, &printable(line));
    }
}

impl Drop for Lines {
    /// The step is over: what stands without a line's end is a line all the same.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
    }
}

/// Text that changes nothing but the line it stands on: no colours, cursor movements or bells.
fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    for char in String::from_utf8_lossy(line).chars() {
        if char.is_control() && char != '\t' {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one.
        pipe::SinkOutputStream.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Writer(self.lines.clone()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxFuture;
    use izna_proto::{MemoryAnswer, MemoryOperation};
    use std::time::Duration;

    #[derive(Default)]
    struct Paper(Mutex<Vec<String>>);

    impl Host for Paper {
        fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
            Box::pin(async { Ok(None) })
        }

        fn log(&self, stream: Stream, line: &str) {
            self.0.lock().unwrap().push(format!("{stream}: {line}"));
        }
    }

    fn written(pieces: &[&[u8]]) -> Vec<String> {
        let paper = Arc::new(Paper::default());
        let output = Output::new(paper.clone(), Stream::Stderr, Arc::new(Budget::new()), None);
        let mut stream = output.p2_stream();
        for piece in pieces {
            stream.write(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop((stream, output));
        std::mem::take(&mut *paper.0.lock().unwrap())
    }

    /// If this failed, a guest's line would come in pieces, or its last one not at all.
    #[test]
    fn writes_become_lines() {
        assert_eq!(
            written(&[b"one\ntw", b"o\r\n", b"\nlast"]),
            ["stderr: one", "stderr: two", "stderr: ", "stderr: last"]
        );
    }

    /// If this failed, a guest could clear the operator's terminal or forge lines of the log.
    #[test]
    fn control_characters_are_escaped() {
        let lines = written(&[b"a\x1b[2Jb\x07\x00\tc\xff\rd\n"]);
        assert_eq!(lines, ["stderr: a\\u{1b}[2Jb\\u{7}\\u{0}\tc\u{fffd}\\rd"]);
    }

    /// If this failed, a logged message could forge lines of others, or a long one fill the log.
    #[test]
    fn logged_messages_are_lines_of_their_context() {
        let (paper, budget) = (Paper::default(), Budget::new());
        tell(&paper, &budget, Level::Warn, "shop", "one\ntwo\x1b[2J");
        tell(&paper, &budget, Level::Critical, "", &"x".repeat(5000));
        let lines = paper.0.into_inner().unwrap();
        assert_eq!(lines[..2], ["warn: shop: one", "warn: shop: two\\u{1b}[2J"]);
        let lengths: Vec<usize> = lines[2..].iter().map(String::len).collect();
        assert_eq!(lengths, ["critical: ".len() + 4096, "critical: ".len() + 904]);
    }

    /// If this failed, a line without end would fill the host's memory.
    #[test]
    fn a_long_line_is_cut() {
        let lines = written(&[&[b'x'; 10_000]]);
        let lengths: Vec<usize> = lines.iter().map(|line| line.len() - "stderr: ".len()).collect();
        assert_eq!(lengths, [4096, 4096, 1808]);
    }

    /// If this failed, a chatty guest would fill the node's disk, or its loss would not be told.
    #[test]
    fn the_rate_is_bounded_and_the_loss_is_told() {
        let began = Instant::now();
        let budget = Budget(Mutex::new(Tokens { left: BURST_BYTES, at: began, dropped: 0 }));
        assert_eq!(budget.take(BURST_BYTES as usize, began), Some(0));
        assert_eq!(budget.take(100, began), None);
        assert_eq!(budget.take(50, began), None);
        let later = began + Duration::from_secs(1);
        assert_eq!(budget.take(100, later), Some(150));
        assert_eq!(budget.take(100, later), Some(0));
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(budget.take(BURST_BYTES as usize, much_later), Some(0));
        assert_eq!(budget.take(1, much_later), None);
    }
}
