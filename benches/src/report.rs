//! Results as a table for people and as JSON for programs, in `target/bench`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::shipped;

/// Rows of the same columns.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One row more, a value for each column.
    pub fn row(&mut self, values: Vec<Value>) {
        self.rows.push(values);
    }

    /// The rows as objects.
    pub fn json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let pairs = self.columns.iter().zip(row);
            Value::Object(pairs.map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text =
            format!("| {} |\n|{}\n", self.columns.join(" | "), "---|".repeat(self.columns.len()));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(cell).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
        }
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// Keep `parts` as `target/bench/NAME.json`, beside what the machine was.
pub fn save(name: &str, parts: &[(&str, Value)]) -> Result<PathBuf> {
    let folder = shipped::target().join("bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name).with_extension("json");
    save_to(&path, parts)?;
    Ok(path)
}

/// Keep `parts` in this file, beside what the machine was.
pub fn save_to(path: &Path, parts: &[(&str, Value)]) -> Result<()> {
    let mut object = Map::new();
    object.insert("machine".into(), machine());
    for (key, value) in parts {
        object.insert((*key).to_owned(), value.clone());
    }
    let text = serde_json::to_string_pretty(&Value::Object(object))? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What the figures were measured on: nobody should compare them with another machine's.
fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    serde_json::json!({
        "cpu": model.map(|model| model.trim_start_matches([' ', '\t', ':'])),
        "cores": std::thread::available_parallelism().map(usize::from).unwrap_or(0),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
    })
}

/// A line that says whether an aim was reached.
pub fn aim(what: &str, reached: f64, unit: &str, aim: Aim) -> String {
    let (word, bound, kept) = match aim {
        Aim::AtMost(bound) => ("at most", bound, reached <= bound),
        Aim::AtLeast(bound) => ("at least", bound, reached >= bound),
    };
    let verdict = if kept { "kept" } else { "MISSED" };
    format!("{verdict:>6}  {what}: {reached:.2} {unit} (aim: {word} {bound} {unit})")
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
}
