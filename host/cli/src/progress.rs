//! Shows that something takes its time: nothing for the first second, then what it is.

use std::{
    io::IsTerminal,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

const QUIET: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(100);

/// Shown until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    done: Option<Sender<()>>,
    shown: Option<thread::JoinHandle<()>>,
}

impl Progress {
    /// Begin to wait for `what`, such as `compiling cache`.
    pub(crate) fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let (done, wait) = mpsc::channel();
        let show = move || {
            if wait.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            if !std::io::stderr().is_terminal() {
                output::error(&format!("{what} ..."));
                return;
            }
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.set_message(what);
            while wait.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
                bar.tick();
            }
            bar.finish_and_clear();
        };
        let shown = thread::Builder::new().name("progress".into()).spawn(show).ok();
        Self { done: Some(done), shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.take();
        if let Some(shown) = self.shown.take() {
            let _ = shown.join();
        }
    }
}
