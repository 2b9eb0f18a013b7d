//! What cannot be tested on this machine: said with the reason, and counted by `cargo xtask ci`.

use std::env;
use std::fs::File;
use std::io::Write;

use anyhow::Result;

/// Names the file that gets a line for each test that is skipped.
const VARIABLE: &str = "IZNA_SKIPPED";

/// What a test needs, or none: then the test is skipped for the lack of `what`, which is told.
pub fn without<T>(what: &str, needed: Result<T>) -> Option<T> {
    match needed {
        Ok(needed) => Some(needed),
        Err(error) => {
            note(&format!("no {what}: {error:#}"));
            None
        }
    }
}

/// Say that something is not tested, and why.
fn note(reason: &str) {
    eprintln!("skipped: {reason}");
    let Some(path) = env::var_os(VARIABLE) else { return };
    // One write, so that lines of tests side by side do not mix.
    let written = File::options().append(true).create(true).open(&path);
    let written = written.and_then(|mut file| file.write_all(format!("{reason}\n").as_bytes()));
    if let Err(error) = written {
        eprintln!("cannot write {}: {error}", path.display());
    }
}
