//! Runs the cases of `tests/cases` on the built binary: `cases [NAME...]`. A case is a folder with
//! a `case.toml` (see `script.rs`); some are a program of `programs`. Those that are wrong today are
//! listed in `known-wrong.txt`, which only gets shorter: a case that is listed and right fails the
//! run as one that is wrong and not listed does. `LONG=1` adds those that take long.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

mod guest;
mod programs;
mod script;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result};
use izna_bench::shipped;

use crate::script::Case;

/// What a case gave.
#[derive(Debug)]
enum Verdict {
    Right,
    /// What it gave, and what it should.
    Wrong(String),
    /// It takes long, and that was not asked for.
    Left,
}

fn main() -> Result<ExitCode> {
    let folder = shipped::root().join("tests/cases");
    let list = fs::read_to_string(folder.join("known-wrong.txt"))?;
    let known: BTreeSet<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let asked: Vec<String> = env::args().skip(1).collect();
    let long = env::var_os("LONG").is_some_and(|long| !long.is_empty());
    let mut results = Vec::new();
    for path in folders(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if asked.is_empty() || asked.contains(&name) {
            let case = Case::read(&path)?;
            let begun = Instant::now();
            let verdict = verdict(&path, &case, long || asked.contains(&name));
            match &verdict {
                Verdict::Wrong(what) => println!("{name}: {what}\n  if wrong, {}", case.about),
                Verdict::Right => println!("{name}: right"),
                Verdict::Left => println!("{name}: left out, LONG=1 runs it"),
            }
            results.push((name, verdict, begun.elapsed()));
        }
    }
    println!("\n{:<14} {:<16} {:>7}", "case", "verdict", "seconds");
    let mut unexpected = 0;
    for (name, verdict, took) in &results {
        let (word, expected) = match (verdict, known.contains(name.as_str())) {
            (Verdict::Right, false) => ("right", true),
            (Verdict::Right, true) => ("RIGHT, BUT LISTED", false),
            (Verdict::Wrong(_), true) => ("wrong, as known", true),
            (Verdict::Wrong(_), false) => ("WRONG", false),
            (Verdict::Left, _) => ("left out", true),
        };
        println!("{name:<14} {word:<16} {:>7.1}", took.as_secs_f64());
        unexpected += usize::from(!expected);
    }
    let count = |wanted: fn(&Verdict) -> bool| results.iter().filter(|r| wanted(&r.1)).count();
    let right = count(|verdict| matches!(verdict, Verdict::Right));
    let wrong = count(|verdict| matches!(verdict, Verdict::Wrong(_)));
    let left = count(|verdict| matches!(verdict, Verdict::Left));
    println!("{right} right, {wrong} wrong, {left} left out; known to be wrong: {}", known.len());
    if unexpected > 0 {
        println!("{unexpected} not as tests/cases/known-wrong.txt says: mend it, or take it off");
    }
    Ok(if unexpected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(folder: &Path, case: &Case, long: bool) -> Verdict {
    if case.long && !long {
        return Verdict::Left;
    }
    let result = match &case.program {
        None => script::run(folder, case),
        Some(program) => programs::run(program, folder),
    };
    match result {
        Ok(None) => Verdict::Right,
        Ok(Some(wrong)) => Verdict::Wrong(wrong),
        Err(error) => Verdict::Wrong(format!("wrong: {error:#}")),
    }
}

/// The folders of the cases, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).context("tests/cases cannot be listed")? {
        let path = entry?.path();
        if path.join("case.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
