//! What commands print: text for people, JSON for programs, errors.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::trouble::{Exit, Trouble};

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

/// Print text to the standard output. A reader that is gone wants no more, which is no error.
pub(crate) fn text(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Trouble::new(Exit::Io, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Print a value as JSON on lines of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Trouble> {
    text(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"))
}

/// Print an event as JSON on one line.
pub(crate) fn event(value: &impl Serialize) -> Result<(), Trouble> {
    text(&(serde_json::to_string(value).unwrap_or_default() + "\n"))
}

/// Print to the standard error.
pub(crate) fn error(text: &str) {
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Print why the program ends to the standard error, unless nobody takes it within a second.
pub(crate) fn last_error(text: String) {
    let (done, printed) = mpsc::channel();
    let print = move || {
        error(&text);
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(print).is_ok() {
        let _ = printed.recv_timeout(Duration::from_secs(1));
    }
}

/// Rows under their titles, in columns.
pub(crate) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let title_row: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let mut widths = vec![0; titles.len()];
    for row in rows.iter().chain([&title_row]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut said = String::new();
    for row in [&title_row].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        said += line.trim_end();
        said.push('\n');
    }
    said
}
